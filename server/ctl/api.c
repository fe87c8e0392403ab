// Question, loop, answer. The loop runs only while a call waits; between calls nothing moves.
#include "server/ctl/api.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/mqtt_link.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REPEAT_MS 3000
#define KEEPALIVE_S 30

struct api {
	struct ctl *ctl;
	struct seat seat;
	struct api_session session;
	uv_loop_t loop;
	uv_timer_t timer;
	uv_signal_t interrupt;
	struct mqtt_link *link;
	struct arena arena;
	struct buf payload;
	struct answer_parts parts;
	api_watcher watcher;
	void *watcher_ctx;
	const char *const *filters;
	size_t filter_count;
	bool subscribed, answered, gave_up, timer_fired, interrupted, loop_open;
	char why[256];
};

// ---- what comes in

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct api *a = ctx;
	struct topic answers = topic_apir(a->session.seat, a->session.level);
	struct topic offers = topic_of(TOPIC_OFFER, a->session.seat);
	const char *filters[2] = {answers.s, offers.s};

	(void)session_present;
	log_debug("CTL-CONNECTED", "host=%s via=%s", log_quote(via->host), link_via_word(via->via));
	if (link_subscribe(a->link, filters, 2, 1, 1) != ERR_OK)
		log_warn("CTL-SUBSCRIBE", "why=%s", log_quote(err_text()));
	if (a->filter_count > 0 &&
		link_subscribe(a->link, a->filters, a->filter_count, 1, 2) != ERR_OK)
		log_warn("CTL-SUBSCRIBE", "why=%s", log_quote(err_text()));
}

static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct api *a = ctx;

	a->subscribed = false;
	text_format(a->why, sizeof(a->why), "%s", why);
	a->gave_up = retry_ms < 0;
	log_debug("CTL-DISCONNECTED", "why=%s", log_quote(why));
}

static void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	struct api *a = ctx;

	for (size_t i = 0; i < count; i++) {
		if (reasons[i] >= 128)
			log_warn("CTL-SUBSCRIBE", "reason=%d", reasons[i]);
	}
	a->subscribed = a->subscribed || token == 1;
}

static void answer_take(struct api *a, const struct link_message *m)
{
	struct api_answer answer;

	arena_reset(&a->arena);
	if (api_session_answer(&a->session, &a->arena, m->topic, m->payload, &answer) != ERR_OK) {
		log_warn("CTL-ANSWER-REFUSED", "why=%s", log_quote(err_text()));
		return;
	}
	if (answer_parts_take(&a->parts, &answer))
		a->answered = true;
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct api *a = ctx;
	struct topic_parts parts;

	if (topic_parse(m->topic, m->topic_length, &parts) != ERR_OK)
		return;
	if (parts.kind == TOPIC_APIR && !m->retained) {
		answer_take(a, m);
	} else if (parts.kind == TOPIC_OFFER && !m->retained) {
		if (api_session_offer(&a->session, m->topic, m->payload) != ERR_OK)
			log_warn("CTL-OFFER-REFUSED", "why=%s", log_quote(err_text()));
	} else if (a->watcher && parts.kind != TOPIC_OFFER && parts.kind != TOPIC_APIR) {
		a->watcher(a->watcher_ctx, m->topic, m->payload, m->retained);
	}
}

// ---- waiting

static void on_timer(uv_timer_t *t)
{
	((struct api *)t->data)->timer_fired = true;
}

static void on_interrupt(uv_signal_t *s, int number)
{
	(void)number;
	((struct api *)s->data)->interrupted = true;
}

// Runs the loop until *done, an interrupt, the end of the link, or `ms`. True when *done.
static bool run_until(struct api *a, const bool *done, int64_t ms)
{
	a->timer_fired = ms <= 0;
	if (ms > 0)
		uv_timer_start(&a->timer, on_timer, (uint64_t)ms, 0);
	while (!*done && !a->timer_fired && !a->interrupted && !a->gave_up)
		uv_run(&a->loop, UV_RUN_ONCE);
	uv_timer_stop(&a->timer);
	return *done;
}

static enum err wait_error(const struct api *a, const char *what)
{
	if (a->interrupted)
		return err_set(ERR_CLOSED, "interrupted");
	if (a->gave_up || !a->subscribed)
		return err_set(ERR_CLOSED, "cannot reach the control broker: %s",
			*a->why ? a->why : "no answer yet");
	return err_set(ERR_TIMEOUT, "%s (seat %s, waited %u s)", what, a->session.seat,
		a->ctl->timeout_ms / 1000);
}

static int64_t left_ms(struct mono end)
{
	return mono_since_ms(end, clock_now().mono);
}

static enum err sign_in(struct api *a, struct mono end)
{
	struct topic topic = topic_of(TOPIC_API, a->session.seat);

	while (left_ms(end) > 0) {
		int64_t ms = left_ms(end) < REPEAT_MS ? left_ms(end) : REPEAT_MS;

		if (!run_until(a, &a->subscribed, ms)) {
			if (a->interrupted || a->gave_up)
				break;
			continue;
		}
		TRY(api_session_sign_in(&a->session, clock_now().wall.ms, &a->payload));
		enum err e = link_publish(a->link, topic.s, buf_bytes(&a->payload), 1, false, 0);
		if (e != ERR_OK && e != ERR_CLOSED)
			return e;
		if (run_until(a, &a->session.signed_in, ms))
			return ERR_OK;
		if (a->interrupted || a->gave_up)
			break;
	}
	return wait_error(
		a, "heliod does not answer the sign-in: is it running, and is this seat enrolled?");
}

// ---- life

static enum err link_start(struct api *a)
{
	const struct ctl_settings *s = &a->ctl->settings;
	struct link_address addresses[LINK_WAYS];
	size_t count = control_addresses(&s->control, addresses);

	if (count == 0)
		return err_set(ERR_NOT_FOUND, "[control] name and ip are not set");
	struct link_config config = {.client_id = a->seat.id,
		.addresses = addresses,
		.address_count = count,
		.tls = s->tls,
		.ca_file = a->seat.ca,
		.cert_file = a->seat.cert,
		.key_file = a->seat.key,
		.keepalive_s = KEEPALIVE_S,
		.receive_maximum = 100,
		.connect_timeout_s = 5,
		.backoff_min_ms = 200,
		.backoff_max_ms = 3000,
		.outstanding_max = 4,
		.outbox_max = 64,
		.inbox_messages = INBOX_MESSAGES,
		.inbox_bytes = INBOX_BYTES,
		.once = true};
	struct link_events events = {
		.up = on_up, .down = on_down, .message = on_message, .subscribed = on_subscribed};
	link_library_init();
	return link_new(&a->loop, &config, &events, a, &a->link);
}

static void loop_start(struct api *a)
{
	uv_loop_init(&a->loop);
	uv_timer_init(&a->loop, &a->timer);
	uv_signal_init(&a->loop, &a->interrupt);
	a->timer.data = a->interrupt.data = a;
	uv_signal_start(&a->interrupt, on_interrupt, SIGINT);
	a->loop_open = true;
}

enum err api_open(struct ctl *c, struct api **out)
{
	struct api *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(ERR_MEMORY, "no memory");
	a->ctl = c;
	a->seat.lock = -1;
	arena_init(&a->arena, 2 * 1024 * 1024, 10000);
	buf_init(&a->payload, LIMIT_API);
	enum err e = seat_take(&c->settings, c->seat, &a->seat);
	if (e == ERR_OK) {
		api_session_init(&a->session, a->seat.id, a->seat.identity, &a->seat.trust.root,
			&a->seat.memory);
		loop_start(a);
		e = link_start(a);
	}
	if (e == ERR_OK)
		e = sign_in(a, mono_add_ms(clock_now().mono, c->timeout_ms));
	if (e != ERR_OK) {
		char why[512];

		text_format(why, sizeof(why), "%s", err_text());
		api_close(a);
		return err_set(e, "%s", why);
	}
	*out = a;
	return ERR_OK;
}

void api_close(struct api *a)
{
	if (!a)
		return;
	if (a->loop_open) {
		if (a->link)
			link_close(a->link, true);
		uv_close((uv_handle_t *)&a->timer, NULL);
		uv_close((uv_handle_t *)&a->interrupt, NULL);
		uv_run(&a->loop, UV_RUN_DEFAULT);
		uv_loop_close(&a->loop);
		a->seat.memory = a->session.memory;
		api_session_fini(&a->session);
	}
	seat_leave(&a->seat);
	answer_parts_end(&a->parts);
	arena_fini(&a->arena);
	buf_fini(&a->payload);
	free(a);
}

bool api_interrupted(const struct api *a)
{
	return a->interrupted;
}

const char *api_seat(const struct api *a)
{
	return a->session.seat;
}

const struct root *api_root(const struct api *a)
{
	return &a->seat.trust.root;
}

enum err api_wait(struct api *a, uint32_t ms)
{
	static const bool never = false;

	run_until(a, &never, ms);
	return a->interrupted || a->gave_up ? wait_error(a, "the link is gone") : ERR_OK;
}

enum err api_watch(
	struct api *a, const char *const *filters, size_t count, api_watcher take, void *ctx)
{
	a->watcher = take;
	a->watcher_ctx = ctx;
	a->filters = filters;
	a->filter_count = count;
	return link_subscribe(a->link, filters, count, 1, 2);
}

// ---- a call

static enum err word_error(const char *word)
{
	for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
		if (strcmp(err_word((enum err)e), word) == 0)
			return (enum err)e;
	}
	return ERR_DENIED;
}

static enum err reply_take(struct api *a, struct api_result *out)
{
	*out = (struct api_result){0};
	if (!a->parts.ok)
		return err_set(word_error(a->parts.error_word), "%s",
			*a->parts.error ? a->parts.error : "the server refused without a word");
	buf_init(&out->json, ANSWER_BYTES_MAX);
	enum err e = answer_parts_join(&a->parts, &out->json);
	if (e == ERR_OK)
		e = json_parse(buf_bytes(&out->json), &out->document);
	if (e != ERR_OK)
		api_result_free(out);
	return e;
}

static enum err question_send(struct api *a, const struct api_question *q)
{
	struct topic topic = topic_of(TOPIC_API, a->session.seat);

	TRY(api_session_request(&a->session, q, &a->payload));
	enum err e = link_publish(a->link, topic.s, buf_bytes(&a->payload), 1, false, 0);
	return e == ERR_CLOSED ? ERR_OK : e;
}

static void parts_restart(struct api *a, uint64_t request_id)
{
	answer_parts_end(&a->parts);
	answer_parts_begin(&a->parts, request_id);
	a->answered = false;
}

// The session outlived a start of the server, the boot it echoed did not: the request had no
// effect.
static bool server_has_restarted(const struct api *a)
{
	return !a->parts.ok && strcmp(a->parts.error_word, "boot") == 0;
}

enum err api_call(struct api *a, const char *verb, const struct arg *args, size_t count,
	struct bytes body, struct api_result *out)
{
	struct mono end = mono_add_ms(clock_now().mono, a->ctl->timeout_ms);
	struct api_question q = {.verb = verb,
		.args = args,
		.arg_count = count,
		.body = body,
		.request_id = api_session_next_request(&a->session, clock_now().wall.ms)};

	parts_restart(a, q.request_id);
	for (int tries = 1; left_ms(end) > 0; tries++) {
		int64_t ms = left_ms(end) < REPEAT_MS ? left_ms(end) : REPEAT_MS;

		if (tries % 3 == 0)
			TRY(sign_in(a, end));
		TRY(question_send(a, &q));
		bool answered = run_until(a, &a->answered, ms);
		if (answered && !server_has_restarted(a))
			return reply_take(a, out);
		if (answered) {
			parts_restart(a, q.request_id);
			TRY(sign_in(a, end));
		}
		if (a->interrupted || a->gave_up)
			break;
	}
	return wait_error(a, "heliod does not answer");
}

void api_result_free(struct api_result *r)
{
	buf_fini(&r->json);
	cJSON_Delete(r->document);
	*r = (struct api_result){0};
}

// ---- the usual way

void api_verb_add(struct api_verb *v, const char *name, const char *value)
{
	assert(v->arg_count < CTL_COUNT(v->args));
	if (value)
		v->args[v->arg_count++] = (struct arg){name, value};
}

enum err api_verb_moment(struct api_verb *v, const struct args *a, const char *name)
{
	const char *text = args_get(a, name, NULL);

	if (!text)
		return ERR_OK;
	assert(v->moment_count < CTL_COUNT(v->moments));
	TRY(ctl_moment(text, name, v->moments[v->moment_count]));
	api_verb_add(v, name, v->moments[v->moment_count++]);
	return ERR_OK;
}

bool api_simple(
	struct ctl *c, const struct api_verb *v, struct api_result *out, enum exit_code *code)
{
	struct api *a = NULL;
	enum err e = api_open(c, &a);

	*out = (struct api_result){0};
	if (e == ERR_OK)
		e = api_call(a, v->verb, v->args, v->arg_count, v->body, out);
	*code = e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
	api_close(a);
	if (e != ERR_OK)
		return true;
	if (c->json) {
		json_print_bytes(stdout, buf_bytes(&out->json));
		api_result_free(out);
		return true;
	}
	return false;
}

enum exit_code api_show(struct ctl *c, const struct api_verb *v,
	void (*show)(const struct ctl *c, const cJSON *document))
{
	struct api_result r;
	enum exit_code code;

	if (api_simple(c, v, &r, &code))
		return code;
	show(c, r.document);
	api_result_free(&r);
	return EXIT_DONE;
}

#define PAGE_ROWS "1000" // a heartbeat waits at most for the making of so many

// The page at `from`, whose rows go behind those of `whole`.
static enum err page_add(
	struct api *a, const struct api_verb *v, const char *list, cJSON *whole, double from)
{
	struct api_verb at = *v;
	struct api_result page;
	char text[24];

	snprintf(text, sizeof(text), "%.0f", from);
	api_verb_add(&at, "from", text);
	TRY(api_call(a, at.verb, at.args, at.arg_count, at.body, &page));
	cJSON *rows = cJSON_GetObjectItem(whole, list);
	cJSON *more = cJSON_GetObjectItem(page.document, list);
	for (cJSON *one; rows && more && (one = cJSON_DetachItemFromArray(more, 0));)
		cJSON_AddItemToArray(rows, one);
	cJSON *next = cJSON_DetachItemFromObject(page.document, "next");
	enum err e = ERR_OK;
	if (next && !(cJSON_IsNumber(next) && next->valuedouble > from))
		e = err_set(ERR_FORMAT, "the pages of %s do not go on", v->verb);
	cJSON_DeleteItemFromObject(whole, "next");
	if (next && e == ERR_OK)
		cJSON_AddItemToObject(whole, "next", next);
	else
		cJSON_Delete(next);
	api_result_free(&page);
	return e;
}

static enum err pages_call(
	struct api *a, const struct api_verb *v, const char *list, struct api_result *out)
{
	const cJSON *next;
	enum err e = api_call(a, v->verb, v->args, v->arg_count, v->body, out);

	while (e == ERR_OK && (next = cJSON_GetObjectItem(out->document, "next")))
		e = page_add(a, v, list, out->document, next->valuedouble);
	return e;
}

enum exit_code api_show_all(struct ctl *c, const struct api_verb *v, const char *list,
	void (*show)(const struct ctl *c, const cJSON *document))
{
	struct api *a = NULL;
	struct api_result r = {0};
	struct api_verb paged = *v;
	enum err e = api_open(c, &a);

	api_verb_add(&paged, "max", PAGE_ROWS);
	if (e == ERR_OK)
		e = pages_call(a, &paged, list, &r);
	enum exit_code code = e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
	api_close(a);
	if (e == ERR_OK && c->json)
		json_print(stdout, r.document, false);
	else if (e == ERR_OK)
		show(c, r.document);
	api_result_free(&r);
	return code;
}
