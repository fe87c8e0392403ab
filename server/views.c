// What others may read: StateView and QueueView, retained and signed with the online key, and the
// host state that says whether we live. A changed client's view goes out with the turn of the
// change, before the response that changed it; an unchanged one at most once per period. Each kind
// has a budget of its own, so that what changed never waits for what did not. When a whole fleet is
// due, as after a start, a list takes the first of them and the table is looked through for the
// others, a part with a turn: a list of all would cost each client four bytes for good.
#include "proto/base/text.h"
#include "server/core_inside.h"
#include <string.h>

#define VIEWS_LISTED 4096u // due and in the list; of more, their flag alone is remembered
#define VIEWS_LOOK 4096u   // places of the table that a turn looks through for those

void view_due(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	if (c->role != ROLE_CLIENT || c->flags & CLIENT_VIEW_DUE)
		return;
	c->flags |= CLIENT_VIEW_DUE;
	if (core->view_due.count - core->view_due.first == VIEWS_LISTED)
		core->views_beyond = core->views_again = true;
	else if (!number_list_add(&core->view_due, number))
		c->flags &= (uint8_t)~CLIENT_VIEW_DUE;
}

void view_old(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	if (c->role != ROLE_CLIENT || c->flags & CLIENT_VIEW_DUE ||
		!ratelimit_take(&core->views_unchanged, 1, core->now.mono))
		return;
	c->flags |= CLIENT_VIEW_DUE;
	if (!number_list_add(&core->view_old, number))
		c->flags &= (uint8_t)~CLIENT_VIEW_DUE;
}

// ---- what a client says of itself, as one interned value:
//      agent_version NUL hw_class NUL state NUL (name NUL version NUL package[32])*
//      and when there are any, NUL and the updates (told_updates.c)

enum err profile_encode(const struct status *s, struct buf *out)
{
	buf_clear(out);
	TRY(buf_append(out, s->agent_version, strlen(s->agent_version) + 1));
	TRY(buf_append(out, s->hw_class, strlen(s->hw_class) + 1));
	TRY(buf_append(out, s->state, strlen(s->state) + 1));
	for (size_t i = 0; i < s->software_count; i++) {
		const struct software_version *v = &s->software[i];
		TRY(buf_append(out, v->name, strlen(v->name) + 1));
		TRY(buf_append(out, v->version, strlen(v->version) + 1));
		TRY(buf_append(out, v->package.b, sizeof(v->package.b)));
	}
	return told_updates_encode(s, out);
}

static bool take_equal(struct bytes *b, const void *data, size_t size)
{
	if (b->size < size || memcmp(b->data, data, size) != 0)
		return false;
	*b = bytes_of(b->data + size, b->size - size);
	return true;
}

static bool take_text(struct bytes *b, const char *text)
{
	return take_equal(b, text, strlen(text) + 1);
}

bool profile_is(struct bytes profile, const struct status *s)
{
	bool equal = take_text(&profile, s->agent_version) && take_text(&profile, s->hw_class) &&
		     take_text(&profile, s->state);

	for (size_t i = 0; i < s->software_count && equal; i++) {
		const struct software_version *v = &s->software[i];
		equal = take_text(&profile, v->name) && take_text(&profile, v->version) &&
			take_equal(&profile, v->package.b, sizeof(v->package.b));
	}
	return equal && told_updates_are(profile, s);
}

static const char *text_take(struct bytes *b)
{
	const char *text = (const char *)b->data;
	size_t length = b->size ? strnlen(text, b->size) : 0;

	if (length == b->size) {
		*b = bytes_of(NULL, 0);
		return "";
	}
	*b = bytes_of(b->data + length + 1, b->size - length - 1);
	return text;
}

void profile_split(struct bytes profile, struct profile *out)
{
	out->agent_version = text_take(&profile);
	out->hw_class = text_take(&profile);
	out->state = text_take(&profile);
	out->software = profile;
	while (profile.size && profile.data[0]) {
		(void)text_take(&profile);
		(void)text_take(&profile);
		size_t package = sizeof(struct digest);
		package = profile.size < package ? profile.size : package;
		profile = bytes_of(profile.data + package, profile.size - package);
	}
	out->software.size -= profile.size;
	out->updates = profile;
}

enum err profile_software(
	struct bytes software, struct arena *a, struct software_version **out, size_t *count)
{
	*count = 0;
	*out = arena_array(a, LIMIT_SOFTWARE, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for the software list");
	while (software.size && *count < LIMIT_SOFTWARE) {
		struct software_version *v = &(*out)[(*count)++];
		v->name = arena_strdup(a, text_take(&software));
		v->version = arena_strdup(a, text_take(&software));
		if (software.size < sizeof(v->package.b) || !v->name || !v->version)
			return err_set(ERR_CORRUPT, "a stored software list is cut");
		memcpy(v->package.b, software.data, sizeof(v->package.b));
		software = bytes_of(
			software.data + sizeof(v->package.b), software.size - sizeof(v->package.b));
	}
	return ERR_OK;
}

// ---- what it shows: package[32] image NUL, then its screen: width[2] height[2], when it told one;
//      nothing at all when it shows nothing on no screen

#define SCREEN_BYTES 4
#define SIDE_MAX 65535u

static bool screen_pack(const struct status *s, uint8_t out[SCREEN_BYTES])
{
	uint32_t w = s->screen_width_px < SIDE_MAX ? s->screen_width_px : SIDE_MAX;
	uint32_t h = s->screen_height_px < SIDE_MAX ? s->screen_height_px : SIDE_MAX;
	const uint8_t bytes[SCREEN_BYTES] = {
		(uint8_t)(w >> 8), (uint8_t)w, (uint8_t)(h >> 8), (uint8_t)h};

	memcpy(out, bytes, sizeof(bytes));
	return w && h;
}

static bool shows_nothing(const struct status *s)
{
	return !s->showing_image[0] && digest_is_zero(&s->showing_package);
}

enum err showing_encode(const struct status *s, struct buf *out)
{
	uint8_t screen[SCREEN_BYTES];
	bool has_screen = screen_pack(s, screen);

	buf_clear(out);
	if (shows_nothing(s) && !has_screen)
		return ERR_OK;
	TRY(buf_append(out, s->showing_package.b, sizeof(s->showing_package.b)));
	TRY(buf_append(out, s->showing_image, strlen(s->showing_image) + 1));
	return has_screen ? buf_append(out, screen, sizeof(screen)) : ERR_OK;
}

bool showing_is(struct bytes showing, const struct status *s)
{
	uint8_t screen[SCREEN_BYTES];
	bool has_screen = screen_pack(s, screen);

	if (shows_nothing(s) && !has_screen)
		return showing.size == 0;
	return take_equal(&showing, s->showing_package.b, sizeof(s->showing_package.b)) &&
	       take_text(&showing, s->showing_image) &&
	       (!has_screen || take_equal(&showing, screen, sizeof(screen))) && showing.size == 0;
}

void showing_split(struct bytes showing, struct digest *package, const char **image)
{
	memset(package, 0, sizeof(*package));
	*image = "";
	if (showing.size <= sizeof(package->b))
		return;
	memcpy(package->b, showing.data, sizeof(package->b));
	*image = (const char *)showing.data + sizeof(package->b);
}

void showing_screen(struct bytes showing, uint32_t *width_px, uint32_t *height_px)
{
	size_t before = sizeof(struct digest);

	*width_px = *height_px = 0;
	if (showing.size <= before)
		return;
	before += strnlen((const char *)showing.data + before, showing.size - before) + 1;
	if (showing.size != before + SCREEN_BYTES)
		return;
	const uint8_t *b = showing.data + before;
	*width_px = (uint32_t)b[0] << 8 | b[1];
	*height_px = (uint32_t)b[2] << 8 | b[3];
}

// ---- StateView

static enum err more_channels_fill(
	struct core *core, uint32_t number, struct arena *a, struct state_view *out)
{
	struct client *c = client_at(&core->clients, number);
	size_t more = membership_count(c) - 1;

	if (more == 0)
		return ERR_OK;
	out->more_channels = arena_array(a, more, sizeof(*out->more_channels));
	if (!out->more_channels)
		return err_set(ERR_FULL, "no room for the channels of a client");
	for (size_t i = 0; i < more; i++)
		out->more_channels[i] = membership_at(core, c, i + 1).channel->queue.name;
	out->more_channel_count = more;
	return ERR_OK;
}

enum err core_state_view(
	struct core *core, const char *client, struct arena *a, struct state_view *out)
{
	uint32_t number = client_table_find(&core->clients, client);
	struct profile profile;
	uint8_t *ip = arena_alloc(a, 4);

	if (number == CLIENT_NONE)
		return err_set(ERR_NOT_FOUND, "no client %s", client);
	if (!ip)
		return err_set(ERR_FULL, "no room for the view of %s", client);
	const struct client *c = client_at(&core->clients, number);
	const struct open_operation *open = client_open(c);
	profile_split(intern_get(&core->interned, c->profile), &profile);
	*out = (struct state_view){
		.client_id = client_id(&core->clients, c),
		.state = (enum client_state)c->state,
		.reach = (enum reach)c->reach,
		.response_id = c->v ? core_response_id(core, c, c->v) : c->d,
		.op_id = open ? open->op_id : 0,
		.op_status = open ? (enum op_status)open->status : 0,
		.seq = c->seq,
		.last_heard_unix_ms = client_heard(c).ms,
		.ip_address = client_ip(c, &core->interned, ip),
		.mismatches = c->mismatches,
		.channel = channel_of(core, c)->queue.name,
		.interval_ms = c->told_interval_ms,
		.session_id = c->session_id,
		.view_unix_ms = core->now.wall.ms,
		.agent_version = profile.agent_version,
		.last_kind = (enum response_kind)c->last_kind,
	};
	TRY(more_channels_fill(core, number, a, out));
	// A resend of D is the last thing said.
	if (c->last_was_resend)
		out->response_id = c->d;
	showing_split(intern_get(&core->interned, c->showing), &out->showing_package,
		&out->showing_image);
	return profile_software(profile.software, a, &out->software, &out->software_count);
}

static enum err view_send(struct core *core, const char *topic, struct buf *payload)
{
	TRY(seal_signature(payload, topic, core->config.online_key));
	return outbox_add(&core->views,
		&(struct outbox_message){
			.topic = topic, .payload = buf_bytes(payload), .qos = 1, .retained = true});
}

static enum err state_view_send(struct core *core, uint32_t number)
{
	const char *id = client_id(&core->clients, client_at(&core->clients, number));
	struct topic topic = topic_of(TOPIC_VIEW_STATE, id);
	struct state_view view;

	TRY(core_state_view(core, id, &core->arena, &view));
	TRY(state_view_encode(&view, &core->message));
	return view_send(core, topic.s, &core->message);
}

static void view_flush(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	c->flags &= (uint8_t)~CLIENT_VIEW_DUE;
	c->view_s = (uint16_t)(core->now.mono.ms / 1000);
	enum err e = state_view_send(core, number);
	if (e != ERR_OK)
		log_warn("VIEW-FAILED", "client=%s why=%s", client_id(&core->clients, c),
			log_quote(err_text()));
	core->views_sent++;
	arena_reset(&core->arena);
}

static bool view_is_due(const struct core *core, uint32_t number)
{
	const struct client *c = client_at(&core->clients, number);

	return c->flags & CLIENT_USED && c->flags & CLIENT_VIEW_DUE;
}

// The list is empty: a part of the table is looked through for those it had no room for. Who is
// listed twice by this is sent once.
static void views_collect(struct core *core)
{
	uint32_t high = core->clients.high, left = high - core->views_cursor;
	uint32_t end = core->views_cursor + (left < VIEWS_LOOK ? left : VIEWS_LOOK);

	if (core->views_cursor == 0)
		core->views_again = false;
	for (; core->views_cursor < end; core->views_cursor++)
		if (view_is_due(core, core->views_cursor) &&
			!number_list_add(&core->view_due, core->views_cursor))
			return;
	if (end < high)
		return;
	core->views_cursor = 0;
	core->views_beyond = core->views_again;
}

// What is over the budget, or more than a turn may hold, stays due, in its order, and goes out with
// a later turn, merged with what happens meanwhile. Nobody looks at it before.
void views_flush(struct core *core, bool beside_answers)
{
	struct number_list *due = &core->view_due;
	size_t max = beside_answers ? VIEWS_BESIDE_ANSWERS : VIEWS_PER_TURN;
	unsigned cost = core->pace.pressed ? VIEW_COST_PRESSED : 1;

	for (size_t sent = 0; due->first < due->count; due->first++) {
		uint32_t number = due->items[due->first];
		if (!view_is_due(core, number))
			continue;
		if (sent++ == max || !ratelimit_take(&core->views_allowed, cost, core->now.mono))
			break;
		view_flush(core, number);
	}
	number_list_settle(due);
	if (core->views_beyond && due->first == due->count)
		views_collect(core);
	// Each of these was allowed when it was noted; a removed client's number may be another's.
	for (size_t i = 0; i < core->view_old.count; i++)
		if (view_is_due(core, core->view_old.items[i]))
			view_flush(core, core->view_old.items[i]);
	core->view_old.count = 0;
}

bool core_is_due(const struct core *core)
{
	return (core->view_due.first < core->view_due.count || core->views_beyond) &&
	       !core->degraded;
}

void view_remove(struct core *core, const char *client)
{
	struct topic topic = topic_of(TOPIC_VIEW_STATE, client);

	if (core_unretain(core, topic.s) != ERR_OK)
		log_warn("VIEW-FAILED", "client=%s why=%s", client, log_quote(err_text()));
}

// ---- QueueView

static size_t pointers_shown(size_t clients)
{
	return clients < LIMIT_VIEW_POINTERS ? clients : LIMIT_VIEW_POINTERS;
}

static void pointers_fill(struct core *core, const struct channel *ch, struct queue_view *out)
{
	const struct event_queue *q = &ch->queue;
	uint32_t high = core->clients.high, looked = high < 4096 ? high : 4096;
	size_t room = pointers_shown(ch->clients);

	for (uint32_t i = 0; i < looked && out->pointer_count < room; i++) {
		struct client *c = client_at(&core->clients, i);
		bool is_client = c->flags & CLIENT_USED && c->role == ROLE_CLIENT;
		size_t at = is_client ? membership_find(core, c, ch) : SIZE_MAX;
		if (at == SIZE_MAX)
			continue;
		uint32_t pointer = *membership_at(core, c, at).pointer;
		struct queue_pointer *p = &out->pointers[out->pointer_count++];
		p->client_id = client_id(&core->clients, c);
		p->at = ELEMENT_HEAD;
		if (queue_is_detached(q, pointer))
			continue;
		const struct element *e = queue_show(q, pointer);
		p->seq = e ? e->seq : q->tail_seq;
		p->at = e ? e->type : ELEMENT_TAIL;
	}
}

static enum err element_fill(const struct element *e, struct arena *a, struct queue_element *out)
{
	*out = (struct queue_element){
		.seq = e->seq,
		.first_seq = e->first_seq,
		.type = e->type,
		.text = e->text,
		.flow_id = e->flow_id,
		.standing = e->standing,
	};
	if (e->first_seq != e->seq)
		out->text = arena_printf(
			a, "%u..%u %.*s", e->first_seq, e->seq, text_most(e->text, 400), e->text);
	return out->text ? ERR_OK : err_set(ERR_FULL, "no room for a view");
}

#define VIEW_END ((LIMIT_VIEW_ELEMENTS - 2) / 2) // elements shown of each end of a long queue

// HEAD, the elements, TAIL; of a long queue its two ends.
static enum err elements_fill(const struct event_queue *q, struct arena *a, struct queue_view *out)
{
	uint32_t place = 0;

	size_t shown = q->count < 2 * VIEW_END ? q->count : 2 * VIEW_END;

	out->elements = arena_array(a, shown + 2, sizeof(*out->elements));
	if (!out->elements)
		return err_set(ERR_FULL, "no room for the view of %s", q->name);
	out->elements[out->element_count++] =
		(struct queue_element){.type = ELEMENT_HEAD, .text = "", .standing = out->detached};
	for (const struct element *e = q->head; e; e = e->after, place++)
		if (place < VIEW_END || place + VIEW_END >= q->count)
			TRY(element_fill(e, a, &out->elements[out->element_count++]));
	out->elements[out->element_count++] = (struct queue_element){.seq = q->tail_seq,
		.first_seq = q->tail_seq,
		.type = ELEMENT_TAIL,
		.text = "",
		.standing = q->standing_tail};
	return ERR_OK;
}

static uint64_t standing_total(const struct event_queue *q)
{
	uint64_t total = q->standing_tail;

	for (const struct element *e = q->head; e; e = e->after)
		total += e->standing;
	return total;
}

static enum err private_queue_find(struct core *core, const char *client, struct event_queue **out)
{
	uint32_t number = client_table_find(&core->clients, client);
	const struct client *c = number == CLIENT_NONE ? NULL : client_at(&core->clients, number);

	if (!c || !c->rare || !c->rare->private)
		return err_set(ERR_NOT_FOUND, "nothing waits in the private queue of %s", client);
	*out = c->rare->private;
	return ERR_OK;
}

static enum err pointers_room(struct arena *a, size_t clients, struct queue_view *out)
{
	out->pointers = arena_array(a, pointers_shown(clients), sizeof(*out->pointers));
	return out->pointers ? ERR_OK : err_set(ERR_FULL, "no room for a view");
}

static void queue_fill(const struct event_queue *q, struct queue_view *out)
{
	out->epoch = q->epoch;
	out->element_total = q->count;
	out->pointer_total = standing_total(q);
	out->paused = q->paused;
	out->closed = q->closed;
	out->rate_bytes_per_s = q->rate_bytes_per_s;
}

static enum err private_view(
	struct core *core, const char *client, struct arena *a, struct queue_view *out)
{
	struct event_queue *q = NULL;

	TRY(private_queue_find(core, client, &q));
	TRY(pointers_room(a, 1, out));
	queue_fill(q, out);
	out->pointers[out->pointer_count++] = (struct queue_pointer){
		.client_id = client,
		.seq = q->head ? q->head->seq : q->tail_seq,
		.at = q->head ? q->head->type : ELEMENT_TAIL,
	};
	return elements_fill(q, a, out);
}

enum err core_queue_view(
	struct core *core, const char *queue, struct arena *a, struct queue_view *out)
{
	*out = (struct queue_view){.channel = queue[0] == '@' ? queue + 1 : queue};
	if (queue[0] == '@')
		return private_view(core, queue + 1, a, out);
	const struct channel *ch = channel_find(core, queue);
	if (!ch)
		return err_set(ERR_NOT_FOUND, "no channel %s", queue);
	TRY(pointers_room(a, ch->clients, out));
	queue_fill(&ch->queue, out);
	out->weight = ch->weight;
	out->detached = ch->clients - out->pointer_total;
	pointers_fill(core, ch, out);
	return elements_fill(&ch->queue, a, out);
}

static enum err queue_view_send(struct core *core, struct channel *ch)
{
	struct topic topic = topic_of(TOPIC_VIEW_QUEUE, ch->queue.name);
	struct queue_view view;

	TRY(core_queue_view(core, ch->queue.name, &core->arena, &view));
	TRY(queue_view_encode(&view, &core->message));
	return view_send(core, topic.s, &core->message);
}

#define QUEUE_VIEW_EVERY_MS 50 // of one channel

void channels_flush_views(struct core *core)
{
	for (uint32_t i = 0; i < core->channel_count && core->channel_views_due; i++) {
		struct channel *ch = core->channels[i];
		if (!ch->view_due || core->now.mono.ms < ch->view_after.ms)
			continue;
		ch->view_due = false;
		core->channel_views_due--;
		ch->view_after = mono_add_ms(core->now.mono, QUEUE_VIEW_EVERY_MS);
		enum err e = queue_view_send(core, ch);
		if (e != ERR_OK)
			log_warn("VIEW-FAILED", "channel=%s why=%s", ch->queue.name,
				log_quote(err_text()));
		arena_reset(&core->arena);
	}
}

// ---- HostState

static enum err host_encode(struct core *core, bool up, struct buf *out)
{
	return host_state_encode(
		&(struct host_state){
			.server = core->server_id,
			.counter = core->host_counter,
			.boot = core->boot,
			.server_unix_ms = core->now.wall.ms,
			.period_ms = core->config.host_period_ms,
			.up = up,
		},
		out);
}

void host_publish(struct core *core, bool up)
{
	struct topic topic = topic_of(TOPIC_HOST, core->server_id);

	core->host_counter++;
	enum err e = host_encode(core, up, &core->message);
	if (e == ERR_OK)
		e = core_publish_signed(core, CORE_ALL_BROKERS, topic.s, &core->message, 1, true);
	if (e != ERR_OK)
		log_warn("HOST-STATE-FAILED", "why=%s", log_quote(err_text()));
}

void core_host_say(struct core *core, struct now now)
{
	core->now = now;
	core->host_at = mono_add_ms(now.mono, core->config.host_period_ms);
	if (!core->degraded)
		host_publish(core, true);
}

enum err core_host_will(struct core *core, struct buf *out)
{
	return host_encode(core, false, out);
}
