// See media_orders.h.
#include "server/media_orders.h"

#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/topics.h"
#include "server/db/rows.h"
#include "server/db/rows_content.h"
#include <inttypes.h>
#include <stdio.h>

#define REASON_ASKED "asked"

struct media_asked {
	uint64_t order;
	struct mono next;
	uint32_t times;
	UT_hash_handle hh;
};

bool media_is_by_hand(const struct media_row *r)
{
	return strcmp(r->reason, REASON_ASKED) == 0;
}

static void failed(const char *what)
{
	log_warn("MEDIA-FAILED", "what=%s why=%s", what, log_quote(err_text()));
}

// ---------------------------------------------------------------- one order

static void view_say(struct media *m, const struct media_row *r)
{
	char level[24];
	SCOPED_BUF struct buf payload = {0};

	(void)snprintf(level, sizeof(level), "%" PRIu64, r->number);
	struct topic topic = topic_view_media(r->client, level);
	const struct media_order view = {
		.client_id = r->client,
		.order = r->number,
		.package = r->package,
		.state = r->state,
		.reason = r->reason,
		.medium_kind = r->medium_kind,
		.path = r->path,
		.sha256 = r->sha256,
		.created_unix_ms = r->created_ms,
	};
	buf_init(&payload, LIMIT_VIEW);
	if (media_order_encode(&view, &payload) != ERR_OK ||
		core_publish_signed(m->core, NULL, topic.s, &payload, 1, true) != ERR_OK)
		failed("view");
}

static void asked_forget(struct media *m, uint64_t order)
{
	struct media_asked *a;

	HASH_FIND(hh, m->asked, &order, sizeof(order), a);
	if (!a)
		return;
	HASH_DEL(m->asked, a);
	free(a);
}

static enum err order_store(struct media *m, struct media_row *r)
{
	r->changed_ms = core_now(m->core).wall.ms;
	TRY(rows_media_put(core_db(m->core), r));
	if (r->state != MEDIA_PENDING)
		asked_forget(m, r->number);
	m->prune |= !media_is_open(r->state);
	if (!media_is_open(r->state) && r->path[0])
		m->ports.ended(m->ports.ctx, r->publisher, r->number);
	view_say(m, r);
	return ERR_OK;
}

// False: the state refuses the event.
static enum err order_step(struct media *m, struct media_row *r, enum media_event e, bool *stepped)
{
	enum media_state to = media_step(r->state, e);

	*stepped = to != 0;
	if (!to)
		return ERR_OK;
	log_info("MEDIA", "order=%" PRIu64 " client=%s package=%s from=%s to=%s because=%s",
		r->number, r->client, digest_short(&r->package), media_state_word(r->state),
		media_state_word(to), log_quote(media_event_word(e)));
	r->state = to;
	if (e != MEDIA_EV_RECORD)
		r->detail = media_event_word(e);
	return order_store(m, r);
}

static enum err orders_open(struct media *m, const char *client, const struct digest *package,
	struct arena *a, struct media_row **out, size_t *count)
{
	return rows_media_list(core_db(m->core),
		&(struct media_filter){
			.client = client, .package = package, .open = true, .max = LIMIT_HOLDINGS},
		a, out, count);
}

// An older order of the same name is of no use any more.
static enum err older_end(struct media *m, const struct media_row *newer, struct arena *a)
{
	struct media_row *rows = NULL;
	size_t count = 0;
	bool stepped;

	TRY(orders_open(m, newer->client, NULL, a, &rows, &count));
	for (size_t i = 0; i < count; i++)
		if (rows[i].number != newer->number && rows[i].kind == newer->kind &&
			strcmp(rows[i].name, newer->name) == 0)
			TRY(order_step(m, &rows[i], MEDIA_EV_NEWER, &stepped));
	return ERR_OK;
}

// Counted once a tick: each count reads all that wait.
static enum err room_take(struct media *m)
{
	if (!m->counted)
		TRY(rows_media_count(core_db(m->core), MEDIA_PENDING, &m->pending));
	m->counted = true;
	if (m->pending >= MEDIA_OPEN_MAX)
		return err_set(ERR_FULL, "%" PRIu64 " media wait to be recorded", m->pending);
	m->pending++;
	return ERR_OK;
}

static enum err order_make(struct media *m, const char *client, const struct package_ref *p,
	const char *reason, uint64_t failed_op, struct arena *a)
{
	struct media_row r = {
		.number = core_flow_new(m->core),
		.client = client,
		.publisher = p->publisher,
		.name = p->name,
		.version = p->version,
		.kind = p->kind,
		.package = p->package,
		.activate = p->activate,
		.activate_unix_ms = p->activate ? p->activate_unix_ms : 0,
		.state = MEDIA_PENDING,
		.reason = reason,
		.medium_kind = "",
		.path = "",
		.detail = "",
		.failed_op = failed_op,
		.created_ms = core_now(m->core).wall.ms,
	};

	TRY(room_take(m));
	log_info("ROUTE", "route client=%s via=MEDIUM reason=%s package=%s name=%s version=%s",
		client, reason, digest_short(&p->package), log_quote(p->name),
		log_quote(p->version));
	log_info("MEDIA-ORDER", "order=%" PRIu64 " client=%s package=%s reason=%s", r.number,
		client, digest_short(&p->package), reason);
	m->ordered++;
	TRY(order_store(m, &r));
	m->pending_after = 0;
	return older_end(m, &r, a);
}

// ---------------------------------------------------------------- who gets one

bool media_settles(const struct media_row *r, int64_t last_heard_ms)
{
	if (media_is_open(r->state))
		return true;
	bool by_hand = r->state == MEDIA_CANCELLED &&
		       strcmp(r->detail, media_event_word(MEDIA_EV_CANCEL)) == 0;
	return r->created_ms > last_heard_ms && (by_hand || r->state == MEDIA_ARRIVED);
}

// This silence has an order for this package already.
static enum err is_ordered(struct media *m, const char *client, const struct digest *package,
	int64_t last_heard_ms, struct arena *a, bool *ordered)
{
	struct media_row *rows = NULL;
	size_t count = 0;

	*ordered = false;
	TRY(rows_media_list(core_db(m->core),
		&(struct media_filter){.client = client, .package = package, .max = 256}, a, &rows,
		&count));
	for (size_t i = 0; i < count; i++)
		*ordered |= media_settles(&rows[i], last_heard_ms);
	return ERR_OK;
}

static enum err route_of(
	struct media *m, const struct away_client *c, struct arena *a, struct route_decision *out)
{
	struct route_client at = {
		.reach = c->reach,
		.silent_ms = c->silent_ms,
		.mass_silence = core_mass_silence(m->core),
	};

	if (c->reach == REACH_NEVER && m->config.route.never_ms) {
		struct principal_row row;
		TRY(rows_principal_find(core_db(m->core), c->id, a, &row));
		at.silent_ms = core_now(m->core).wall.ms - row.enrolled_ms;
	}
	*out = route_decide(&at, &m->config.route);
	return ERR_OK;
}

static enum err package_route(struct media *m, const struct away_client *c,
	const struct route_decision *way, const struct package_ref *p, struct arena *a, bool *made)
{
	bool ordered = false;

	if (way->route == ROUTE_LINK) {
		if (m->named)
			log_info("ROUTE-LINK", "route client=%s via=LINK reason=%s package=%s",
				c->id, route_reason_word(way->why), digest_short(&p->package));
		return ERR_OK;
	}
	TRY(is_ordered(m, c->id, &p->package, c->last_heard.ms, a, &ordered));
	if (ordered)
		return ERR_OK;
	*made = true;
	return order_make(m, c->id, p, route_reason_word(way->why), 0, a);
}

static enum err client_route(struct media *m, const struct away_client *c)
{
	SCOPED_ARENA struct arena a = {0};
	struct package_ref *packages = NULL;
	struct route_decision way;
	size_t count = 0;
	bool made = false;

	arena_init(&a, 1024 * 1024, 16384);
	TRY(core_client_awaits(m->core, c->id, &a, &packages, &count));
	if (count == 0)
		return ERR_OK;
	TRY(route_of(m, c, &a, &way));
	for (size_t i = 0; i < count; i++)
		TRY(package_route(m, c, &way, &packages[i], &a, &made));
	return made ? core_client_to_medium(m->core, c->id, "it is served by a medium") : ERR_OK;
}

// ---------------------------------------------------------------- the walk

static void walk_begin(struct media *m)
{
	m->walking = true;
	m->named = m->again && core_client_count(m->core) <= MEDIA_NAMED_MAX;
	m->again = false;
	m->cursor = 0;
}

static void walk_some(struct media *m, struct now now)
{
	size_t budget = MEDIA_LOOKED_PER_TICK, away = 0;
	size_t most = m->named ? MEDIA_NAMED_MAX : MEDIA_AWAY_PER_TICK;
	struct away_client c;

	while (away < most && core_away_next(m->core, &m->cursor, &budget, m->named, &c)) {
		away++;
		if (client_route(m, &c) != ERR_OK) {
			failed("route");
			m->again = true;
			m->walking = false;
			m->walk_next = mono_add_ms(now.mono, MEDIA_WALK_PERIOD_MS);
			return;
		}
	}
	if (away < most && budget > 0) {
		m->walking = false;
		m->walk_next = mono_add_ms(now.mono, MEDIA_WALK_PERIOD_MS);
	}
}

// ---------------------------------------------------------------- telling publishers

static bool is_due(struct media *m, uint64_t order, struct now now)
{
	struct media_asked *a;

	HASH_FIND(hh, m->asked, &order, sizeof(order), a);
	if (a && mono_since_ms(now.mono, a->next) < 0)
		return false;
	if (!a) {
		a = calloc(1, sizeof(*a));
		if (!a)
			return false;
		a->order = order;
		HASH_ADD(hh, m->asked, order, sizeof(order), a);
	}
	int64_t wait = (int64_t)MEDIA_TELL_AGAIN_MS << (a->times < 6 ? a->times : 6);
	a->times++;
	a->next = mono_add_ms(now.mono, wait < MEDIA_TELL_MAX_MS ? wait : MEDIA_TELL_MAX_MS);
	return true;
}

// Why it is not recorded stands with the order, for whoever looks, and once in the log.
static void untold(struct media *m, struct media_row *r, enum err e)
{
	char why[LIMIT_TEXT + 1];
	enum log_level loud = e == ERR_NOT_FOUND ? LOG_INFO : LOG_WARN;

	text_format(why, sizeof(why), "%s", err_text());
	if (strcmp(r->detail, why) == 0)
		return;
	log_write(loud, "MEDIA-UNTOLD", "order=%" PRIu64 " client=%s publisher=%s why=%s",
		r->number, r->client, r->publisher, log_quote(why));
	r->detail = why;
	if (order_store(m, r) != ERR_OK)
		failed("untold");
}

static void pending_tell(struct media *m, struct now now)
{
	SCOPED_ARENA struct arena a = {0};
	struct media_row *rows = NULL;
	size_t count = 0;

	arena_init(&a, 256 * 1024, 4096);
	if (rows_media_list(core_db(m->core),
		    &(struct media_filter){.state = MEDIA_PENDING,
			    .after = m->pending_after,
			    .max = MEDIA_TOLD_PER_TICK},
		    &a, &rows, &count) != ERR_OK) {
		failed("pending");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (!is_due(m, rows[i].number, now))
			continue;
		enum err e = m->ports.record(m->ports.ctx, &rows[i]);
		if (e != ERR_OK)
			untold(m, &rows[i], e);
	}
	m->pending_after = count == MEDIA_TOLD_PER_TICK ? rows[count - 1].number : 0;
}

void media_tick(struct media *m, struct now now)
{
	m->counted = false;
	if (core_is_degraded(m->core))
		return;
	if (!core_is_loading(m->core) && m->config.route.has_medium) {
		if (!m->walking && (m->again || mono_since_ms(now.mono, m->walk_next) >= 0))
			walk_begin(m);
		if (m->walking)
			walk_some(m, now);
	}
	pending_tell(m, now);
	if (!core_is_loading(m->core))
		media_prune(m);
}

// ---------------------------------------------------------------- what happens elsewhere

void media_distributed(struct media *m)
{
	m->again = true;
}

static enum err failure_order(struct media *m, const struct operation_info *op)
{
	SCOPED_ARENA struct arena a = {0};
	struct package_ref *packages = NULL;
	struct bytes encoded;
	struct response_body body;
	size_t count = 0;
	bool known = false;

	arena_init(&a, 1024 * 1024, 16384);
	TRY(core_client_awaits(m->core, op->client, &a, &packages, &count));
	TRY(rows_operation_body(core_db(m->core), op->client, op->op_id, &a, &encoded));
	TRY(response_body_decode(&a, encoded, &body));
	for (size_t i = 0; body.retrieve && i < body.retrieve->package_count; i++)
		for (size_t k = 0; k < count; k++) {
			if (!digest_equal(
				    &packages[k].package, &body.retrieve->packages[i].package))
				continue;
			TRY(is_ordered(m, op->client, &packages[k].package, INT64_MAX, &a, &known));
			if (!known)
				TRY(order_make(m, op->client, &packages[k],
					route_reason_word(ROUTE_SEND_FAILED), op->op_id, &a));
		}
	return ERR_OK;
}

// S001-c7: the last attempt failed. What an operator or a new store ended is no failure of the
// link.
void media_operation_ended(struct media *m, const struct operation_info *op)
{
	struct route_policy policy = m->config.route;

	policy.attempts_max = core_get_config(m->core)->attempts_max;
	if (op->kind != KIND_RETRIEVE_INFORMATION || !op->is_final || op->outcome != OP_FAILED)
		return;
	struct route_client at = {.reach = REACH_ONLINE, .failed_attempts = op->attempt};
	if (route_decide(&at, &policy).route == ROUTE_MEDIUM && failure_order(m, op) != ERR_OK)
		failed("send-failed");
}

static enum err client_fetches(struct media *m, const char *client, const struct digest *package)
{
	SCOPED_ARENA struct arena a = {0};
	struct media_row *rows = NULL;
	size_t count = 0;
	bool stepped;

	arena_init(&a, 64 * 1024, 1024);
	TRY(orders_open(m, client, package, &a, &rows, &count));
	for (size_t i = 0; i < count; i++)
		// Of a link that failed before the attempt alone proves nothing.
		if (strcmp(rows[i].reason, route_reason_word(ROUTE_SEND_FAILED)) != 0)
			TRY(order_step(m, &rows[i], MEDIA_EV_RETURN, &stepped));
	return ERR_OK;
}

void media_fetches(struct media *m, const char *client, const struct digest *package)
{
	if (client_fetches(m, client, package) != ERR_OK)
		failed("fetches");
}

// The client is to have another version by now; not so an order that a person wanted.
static enum err order_unwanted(struct media *m, struct media_row *r, struct arena *a)
{
	struct package_ref *packages = NULL;
	size_t count = 0;
	bool stepped;

	if (media_is_by_hand(r))
		return ERR_OK;
	TRY(core_client_awaits(m->core, r->client, a, &packages, &count));
	for (size_t i = 0; i < count; i++)
		if (digest_equal(&packages[i].package, &r->package))
			return ERR_OK;
	return order_step(m, r, MEDIA_EV_NEWER, &stepped);
}

static enum err order_held(struct media *m, struct media_row *r, struct arena *a)
{
	const char *broker = NULL;
	int64_t granted_ms = 0;
	bool stepped;

	if (!core_client_holds(m->core, r->client, &r->package))
		return order_unwanted(m, r, a);
	TRY(rows_fetched_find(core_db(m->core), r->client, &r->package, a, &broker, &granted_ms));
	bool by_link = granted_ms >= r->created_ms;
	return order_step(m, r, by_link ? MEDIA_EV_BY_LINK : MEDIA_EV_BY_MEDIUM, &stepped);
}

static enum err client_holds_now(struct media *m, const char *client)
{
	SCOPED_ARENA struct arena a = {0};
	struct media_row *rows = NULL;
	size_t count = 0;

	arena_init(&a, 4 * 1024 * 1024, 65536);
	TRY(orders_open(m, client, NULL, &a, &rows, &count));
	for (size_t i = 0; i < count; i++)
		TRY(order_held(m, &rows[i], &a));
	return ERR_OK;
}

void media_held(struct media *m, const char *client)
{
	if (client_holds_now(m, client) != ERR_OK)
		failed("held");
}

static enum err recorded_store(
	struct media *m, const char *publisher, const struct media_recorded *r, struct arena *a)
{
	struct media_row row;
	bool stepped;

	enum err e = rows_media_find(core_db(m->core), r->order, a, &row);
	if (e == ERR_NOT_FOUND && !r->failed[0]) { // it is over, and forgotten
		m->ports.ended(m->ports.ctx, publisher, r->order);
		return ERR_OK;
	}
	TRY(e);
	if (strcmp(row.publisher, publisher) != 0)
		return err_set(ERR_DENIED, "the order is another publisher's");
	if (!media_is_open(row.state) && !r->failed[0])
		m->ports.ended(m->ports.ctx, publisher, r->order);
	if (row.state != MEDIA_PENDING)
		return ERR_OK; // said again, or decided otherwise meanwhile
	if (r->failed[0]) {
		log_warn("MEDIA-UNRECORDED", "order=%" PRIu64 " client=%s why=%s", row.number,
			row.client, log_quote(r->failed));
		if (strcmp(row.detail, r->failed) == 0)
			return ERR_OK;
		row.detail = r->failed;
		return order_store(m, &row);
	}
	row.medium_kind = r->medium_kind;
	row.path = r->path;
	row.sha256 = r->sha256;
	row.size_bytes = r->size_bytes;
	row.detail = "";
	return order_step(m, &row, MEDIA_EV_RECORD, &stepped);
}

void media_recorded(struct media *m, const char *publisher, const struct media_recorded *r)
{
	SCOPED_ARENA struct arena a = {0};

	arena_init(&a, 64 * 1024, 1024);
	if (recorded_store(m, publisher, r, &a) != ERR_OK)
		failed("recorded");
}

enum err media_told(
	struct media *m, struct media_row *row, bool has_it, const char *detail, bool *changed)
{
	*changed = false;
	if (has_it)
		return order_step(m, row, MEDIA_EV_BY_MEDIUM, changed);
	if (!media_is_open(row->state) || strcmp(row->detail, detail) == 0)
		return ERR_OK;
	log_warn("MEDIA-REFUSED", "order=%" PRIu64 " client=%s why=%s", row->number, row->client,
		log_quote(detail));
	row->detail = detail;
	*changed = true;
	return order_store(m, row);
}

void media_say_open(struct media *m)
{
	SCOPED_ARENA struct arena a = {0};
	struct media_row *rows = NULL;
	size_t count = 0;

	arena_init(&a, 4 * 1024 * 1024, 65536);
	if (rows_media_list(core_db(m->core), &(struct media_filter){.open = true, .max = 1000}, &a,
		    &rows, &count) != ERR_OK)
		failed("say");
	for (size_t i = 0; i < count; i++)
		view_say(m, &rows[i]);
}

// ---------------------------------------------------------------- an operator

enum err media_act(
	struct media *m, uint64_t order, enum media_event e, struct arena *a, struct media_row *out)
{
	bool stepped = false;

	TRY(rows_media_find(core_db(m->core), order, a, out));
	enum media_state before = out->state;
	TRY(order_step(m, out, e, &stepped));
	return stepped ? ERR_OK
		       : err_set(ERR_NOT_NOW, "media order %" PRIu64 " is %s", order,
				 media_state_word(before));
}

enum err media_route(
	struct media *m, const char *client, struct away_client *at, struct route_decision *out)
{
	SCOPED_ARENA struct arena a = {0};

	arena_init(&a, 16 * 1024, 64);
	TRY(core_away_find(m->core, client, at));
	return route_of(m, at, &a, out);
}

static enum err one_by_hand(struct media *m, const char *client, const struct package_ref *p,
	struct arena *a, struct media_row *out)
{
	struct media_row *rows = NULL;
	size_t count = 0;

	TRY(orders_open(m, client, &p->package, a, &rows, &count));
	if (count)
		return err_set(ERR_EXISTS, "media order %" PRIu64 " is %s", rows[0].number,
			media_state_word(rows[0].state));
	TRY(order_make(m, client, p, REASON_ASKED, 0, a));
	TRY(orders_open(m, client, &p->package, a, &rows, &count));
	if (!count)
		return err_set(ERR_NOT_FOUND, "the order is not open any more");
	*out = rows[count - 1];
	return ERR_OK;
}

// What the operator names; else what the client is to have and does not hold.
static enum err by_hand_choose(struct media *m, const char *client, const struct package *k,
	struct arena *a, struct package_ref **out, size_t *count)
{
	if (!k) {
		TRY(core_client_awaits(m->core, client, a, out, count));
		return *count ? ERR_OK
			      : err_set(ERR_NOT_FOUND,
					"%s holds what its channels show: name a package", client);
	}
	*out = arena_array(a, 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for a media order");
	**out = (struct package_ref){
		.package = k->id,
		.publisher = k->publisher,
		.kind = k->kind,
		.name = k->name,
		.version = k->version,
		.activate = true,
	};
	*count = 1;
	return ERR_OK;
}

enum err media_order_by_hand(struct media *m, const char *client, const struct package *k,
	int64_t at_unix_ms, struct arena *a, struct media_row **out, size_t *count)
{
	struct package_ref *packages = NULL;

	TRY(by_hand_choose(m, client, k, a, &packages, count));
	*out = arena_array(a, *count, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu media orders", *count);
	for (size_t i = 0; i < *count; i++) {
		if (at_unix_ms)
			packages[i].activate_unix_ms = at_unix_ms;
		TRY(one_by_hand(m, client, &packages[i], a, &(*out)[i]));
	}
	return ERR_OK;
}

// The first order that waits for something that a person can mend, and how many do.
static void look_waiting(struct media *m, struct findings *out)
{
	SCOPED_ARENA struct arena a = {0};
	struct media_row *rows = NULL;
	char what[LIMIT_TEXT + 1], mend[128];
	size_t count = 0;

	arena_init(&a, 256 * 1024, 4096);
	if (rows_media_list(core_db(m->core),
		    &(struct media_filter){
			    .state = MEDIA_PENDING, .told = true, .max = MEDIA_LOOKED_AT},
		    &a, &rows, &count) != ERR_OK ||
		!count)
		return;
	text_format(what, sizeof(what), "%zu%s %s; %" PRIu64 " for %s: %s", count,
		count == MEDIA_LOOKED_AT ? " and more" : "",
		count == 1 ? "medium cannot be recorded" : "media cannot be recorded",
		rows[0].number, rows[0].client, rows[0].detail);
	(void)snprintf(mend, sizeof(mend), "helioctl media show %" PRIu64, rows[0].number);
	finding_add(out, FINDING_WARN, "", "MEDIA-WAIT", what, mend);
}

void media_look(struct media *m, struct findings *out)
{
	char what[LIMIT_TEXT + 1];
	uint64_t count = 0;

	look_waiting(m, out);
	if (rows_media_count(core_db(m->core), MEDIA_RECORDED, &count) != ERR_OK || !count)
		return;
	text_format(what, sizeof(what),
		"%llu recorded %s to be posted to devices that the link does not reach",
		(unsigned long long)count, count == 1 ? "medium waits" : "media wait");
	finding_add(out, FINDING_WARN, "", "MEDIA-TO-POST", what,
		"helioctl media list --state recorded");
}

// ---------------------------------------------------------------- life

void media_init(struct media *m, const struct media_config *config, const struct media_ports *ports,
	struct core *core)
{
	*m = (struct media){
		.config = *config,
		.ports = *ports,
		.core = core,
		.prune = true,
	};
}

void media_fini(struct media *m)
{
	struct media_asked *a, *next;

	HASH_ITER(hh, m->asked, a, next)
	{
		HASH_DEL(m->asked, a);
		free(a);
	}
}
