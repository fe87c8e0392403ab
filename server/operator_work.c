// Verbs about what clients do: questions, commands, and how far each of them is.
#include "server/operator.h"

#include "proto/topics.h"
#include "server/db/rows.h"
#include "server/db/rows_content.h"
#include "server/freshness.h"

#define OPERATIONS_MAX 20000
#define DEFAULT_TIMEOUT_MS 60000

static enum err no_memory(void)
{
	return err_set(ERR_FULL, "no memory for this request");
}

// ---------------------------------------------------------------- ask, exec, cancel

static enum info_kind info_kind_of(const char *word)
{
	for (int k = INFO_DISPLAY; k <= INFO_OUTPUT; k++)
		if (strcmp(info_kind_word((enum info_kind)k), word) == 0)
			return (enum info_kind)k;
	return INFO_DISPLAY;
}

#define FRESH_WORDS "display|usage|holdings|software|logs|screenshot"
#define INFO_WORDS FRESH_WORDS "|output"

static enum err address_of(struct operator_call *c, const char *client, struct address *out)
{
	const char *id = call_text(c, "to");
	const struct data_broker *b = data_brokers_find(c->room->presence->brokers, id);
	struct topic inbox = topic_of(TOPIC_INBOX, client);

	if (!b)
		return err_set(ERR_NOT_FOUND, "no data broker %s", id);
	*out = data_broker_address(b, arena_strdup(c->arena, inbox.s));
	return out->topic ? ERR_OK : no_memory();
}

// The copy that is there, while it is no older than the question or the policy allows.
static enum err ask_copy(struct operator_call *c, const char *client,
	const struct send_information *ask, bool *fresh)
{
	const struct freshness *f = c->room->freshness;
	uint32_t policy = f && ask->what <= INFO_SCREENSHOT ? f->max_age_s[ask->what] : 0;
	uint32_t max_age = (uint32_t)call_u64(c, "max_age", policy);
	struct wall received = {0};

	if (call_text(c, "to"))
		return ERR_OK;
	if (ask->what == INFO_OUTPUT)
		max_age = UINT32_MAX; // what a program said will not be otherwise
	TRY(freshness_copy(c->room->core, client, ask, max_age, c->now, &received, fresh));
	if (!*fresh)
		return ERR_OK;
	put_text(c->json, "client", client);
	put_text(c->json, "what", info_kind_word(ask->what));
	put_bool(c->json, "fresh", true);
	put_time(c->json, "received_unix_ms", received);
	put_number(c->json, "age_s", (uint64_t)(c->now.wall.ms - received.ms) / 1000);
	put_number(c->json, "max_age_s", max_age);
	return ERR_OK;
}

// ---------------------------------------------------------------- freshness

static void json_freshness(struct operator_call *c)
{
	const struct freshness *f = c->room->freshness;
	cJSON *list = put_list(c->json, "freshness");

	for (int k = INFO_DISPLAY; k <= INFO_SCREENSHOT; k++) {
		cJSON *o = put_item(list);

		put_text(o, "what", info_kind_word((enum info_kind)k));
		put_number(o, "max_age_s", f->max_age_s[k]);
		put_number(o, "by_settings_s", f->by_settings_s[k]);
	}
	put_number(c->json, "asked", f->asked);
}

static enum err run_freshness(struct operator_call *c)
{
	struct freshness *f = c->room->freshness;
	const char *word = call_text(c, "what");
	enum info_kind what = info_kind_of(word ? word : "");
	bool reset = call_bool(c, "reset", false), sets = call_text(c, "max_age") != NULL;

	if (!word && (sets || reset))
		return err_set(ERR_FORMAT, "freshness of what?");
	if (sets && reset)
		return err_set(ERR_FORMAT, "either an age, or back to the settings");
	if (sets)
		TRY(freshness_set(
			f, core_db(c->room->core), what, (uint32_t)call_u64(c, "max_age", 0)));
	if (reset)
		TRY(freshness_reset(f, core_db(c->room->core), what));
	json_freshness(c);
	return ERR_OK;
}

// ---------------------------------------------------------------- ask

static enum err run_ask(struct operator_call *c)
{
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	struct address to;
	struct send_information ask = {
		.what = info_kind_of(call_text(c, "what")),
		.since_unix_ms = (int64_t)call_u64(c, "since", 0),
		.max_bytes = (uint32_t)call_u64(c, "max_bytes", 0),
		.unit = call_text(c, "unit"),
		.pattern = call_text(c, "pattern"),
		.lines = (uint32_t)call_u64(c, "lines", 0),
		.of_op = call_u64(c, "op", 0),
	};
	struct event e = {.type = ELEMENT_REQUEST, .request = &ask};
	const char *queue;
	bool fresh = false;

	if (!info)
		return no_memory();
	if ((ask.what == INFO_OUTPUT) != (ask.of_op != 0))
		return err_set(ERR_FORMAT, "output is asked of an operation, and nothing else is");
	TRY(call_client(c, "client", info));
	TRY(ask_copy(c, info->id, &ask, &fresh));
	if (fresh)
		return ERR_OK;
	if (call_text(c, "to")) {
		TRY(address_of(c, info->id, &to));
		ask.to = &to;
	}
	queue = arena_printf(c->arena, "@%s", info->id);
	return queue ? call_append(c, queue, &e, NULL) : no_memory();
}

static enum err run_exec(struct operator_call *c)
{
	const char **args = arena_array(c->arena, LIMIT_ARGS, sizeof(*args)), *queue;
	struct execute_command command = {
		.verb = call_text(c, "verb"),
		.args = args,
		.timeout_ms = (uint32_t)call_u64(c, "timeout", DEFAULT_TIMEOUT_MS),
		.expires_unix_ms = (int64_t)call_u64(c, "expires", 0),
		.max_output_bytes = (uint32_t)call_u64(c, "max_output", 0),
	};
	struct event e = {.type = ELEMENT_COMMAND, .command = &command};

	if (!args)
		return no_memory();
	for (size_t i = 0; i < c->arg_count; i++)
		if (strcmp(c->args[i].name, "arg") == 0)
			args[command.arg_count++] = c->args[i].value;
	if (strcmp(command.verb, "control") == 0)
		return err_set(ERR_DENIED, "control is the channel's: channel pause, resume, rate");
	if (command.expires_unix_ms && command.expires_unix_ms <= c->now.wall.ms)
		return err_set(ERR_STALE, "the command has expired already");
	TRY(call_queue(c, &queue));
	return call_append(c, queue, &e, NULL);
}

static enum err run_cancel(struct operator_call *c)
{
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	uint64_t flow = 0;
	const char *queue;

	if (!info)
		return no_memory();
	TRY(call_client(c, "client", info));
	TRY(core_operation_cancel(c->room->core, info->id, call_u64(c, "op", 0), c->seat, &flow));
	queue = arena_printf(c->arena, "@%s", info->id);
	return queue ? call_event_done(c, queue, flow, 0, NULL) : no_memory();
}

// ---------------------------------------------------------------- why, queue, operations

static void json_why(cJSON *o, const struct why_entry *w)
{
	put_time(o, "first_unix_ms", w->first);
	put_time(o, "last_unix_ms", w->last);
	put_number(o, "count", w->count);
	put_id(o, "response_id", w->response_id);
	put_number(o, "in_reply_to_seq", w->in_reply_to_seq);
	put_id(o, "op_id", w->op_id);
	put_text(o, "kind", response_kind_word(w->kind));
	put_text(o, "state", client_state_word(w->state));
	put_text(o, "reason", reason_word(w->code));
	put_text(o, "text", w->text);
	put_text(o, "queue", w->queue);
	put_number(o, "event_seq", w->event_seq);
	put_id(o, "flow", w->flow_id);
	put_number(o, "attempt", w->attempt);
	put_number(o, "rule", w->rule);
	put_text(o, "rule_name", w->rule_name);
	put_number(o, "interval_ms", w->interval_ms);
	put_text(o, "interval_by", w->interval_by);
}

static enum err run_why(struct operator_call *c)
{
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	struct why_entry *list = NULL;
	size_t count = 0, max = call_u64(c, "max", 20);
	cJSON *entries;

	if (!info)
		return no_memory();
	TRY(call_client(c, "client", info));
	TRY(core_why(c->room->core, info->id, max < 1000 ? max : 1000, c->arena, &list, &count));
	put_text(c->json, "client", info->id);
	put_text(c->json, "state", client_state_word(info->state));
	put_text(c->json, "reach", reach_word(info->reach));
	entries = put_list(c->json, "entries");
	for (size_t i = 0; i < count; i++)
		json_why(put_item(entries), &list[i]);
	return ERR_OK;
}

static void json_queue_view(cJSON *o, const struct queue_view *v)
{
	put_number(o, "epoch", v->epoch);
	put_number(o, "weight", v->weight);
	put_bool(o, "paused", v->paused);
	put_bool(o, "closed", v->closed);
	put_number(o, "rate_bytes_per_s", v->rate_bytes_per_s);
	put_number(o, "pointer_total", v->pointer_total);
	put_number(o, "element_total", v->element_total);
	put_number(o, "detached", v->detached);
}

static enum err run_queue(struct operator_call *c)
{
	struct queue_view v;
	const char *queue;
	cJSON *list;

	TRY(call_queue(c, &queue));
	TRY(core_queue_view(c->room->core, queue, c->arena, &v));
	put_text(c->json, "queue", queue);
	json_queue_view(c->json, &v);
	list = put_list(c->json, "elements");
	for (size_t i = 0; i < v.element_count; i++) {
		cJSON *o = put_item(list);

		put_number(o, "seq", v.elements[i].seq);
		put_number(o, "first_seq", v.elements[i].first_seq);
		put_text(o, "type", element_type_word(v.elements[i].type));
		put_text(o, "text", v.elements[i].text);
		put_number(o, "standing", v.elements[i].standing);
		put_id(o, "flow", v.elements[i].flow_id);
	}
	list = put_list(c->json, "pointers");
	for (size_t i = 0; i < v.pointer_count; i++) {
		cJSON *o = put_item(list);

		put_text(o, "client", v.pointers[i].client_id);
		put_number(o, "seq", v.pointers[i].seq);
		put_text(o, "at", element_type_word(v.pointers[i].at));
	}
	return ERR_OK;
}

// What was passed over stands among the operations: it was asked for, and will not happen.
static enum err json_skipped(
	struct operator_call *c, cJSON *list, const char *client, uint64_t flow, size_t max)
{
	struct skipped_event *skipped = NULL;
	struct flow_row row = {0};
	size_t count = 0;

	if (!client && rows_flow_find(core_db(c->room->core), flow, c->arena, &row) != ERR_OK)
		return ERR_OK;
	TRY(core_skipped(
		c->room->core, client, row.queue, row.seq, max, c->arena, &skipped, &count));
	for (size_t i = 0; i < count; i++) {
		cJSON *o = put_item(list);

		put_text(o, "client", skipped[i].client);
		put_text(o, "kind",
			response_kind_word(skipped[i].type == ELEMENT_REQUEST
						   ? KIND_SEND_INFORMATION
						   : KIND_EXECUTE_COMMAND));
		put_id(o, "flow", skipped[i].flow_id);
		put_text(o, "queue", skipped[i].queue);
		put_number(o, "event_seq", skipped[i].seq);
		put_text(o, "outcome", "skipped");
		put_bool(o, "final", true);
		put_text(o, "detail", skipped[i].text);
		put_text(o, "author", skipped[i].author);
		put_time(o, "opened_unix_ms", skipped[i].at);
		put_time(o, "ended_unix_ms", skipped[i].at);
	}
	return ERR_OK;
}

static enum err run_operations(struct operator_call *c)
{
	const char *client = call_text(c, "client");
	uint64_t flow = call_u64(c, "flow", 0);
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	struct operation_info *ops = NULL;
	size_t count = 0, max = call_u64(c, "max", 50);
	cJSON *list;

	if (!info)
		return no_memory();
	if (!client == !flow)
		return err_set(ERR_FORMAT, "operations needs either a client or a flow");
	if (client)
		TRY(call_client(c, "client", info));
	TRY(core_operations(
		c->room->core, client, flow, max < 1000 ? max : 1000, c->arena, &ops, &count));
	list = put_list(c->json, "operations");
	for (size_t i = 0; i < count; i++)
		json_operation(put_item(list), &ops[i]);
	return json_skipped(c, list, client, flow, max < 1000 ? max : 1000);
}

// ---------------------------------------------------------------- reports

static void base64_add(cJSON *o, const char *name, struct bytes b)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc((b.size + 2) / 3 * 4 + 1);
	size_t n = 0;

	if (!text)
		abort();
	for (size_t i = 0; i < b.size; i += 3) {
		uint32_t v = (uint32_t)b.data[i] << 16;

		v |= i + 1 < b.size ? (uint32_t)b.data[i + 1] << 8 : 0;
		v |= i + 2 < b.size ? b.data[i + 2] : 0;
		text[n++] = digits[v >> 18];
		text[n++] = digits[v >> 12 & 63];
		text[n++] = i + 1 < b.size ? digits[v >> 6 & 63] : '=';
		text[n++] = i + 2 < b.size ? digits[v & 63] : '=';
	}
	text[n] = 0;
	cJSON_AddStringToObject(o, name, text);
	free(text);
}

static void json_display(cJSON *o, const struct display_info *d)
{
	put_digest(o, "showing_package", &d->showing_package);
	put_text(o, "showing_image", d->showing_image);
	put_text(o, "showing_name", d->showing_name);
	put_text(o, "showing_version", d->showing_version);
	put_number(o, "width_px", d->width_px);
	put_number(o, "height_px", d->height_px);
	put_number(o, "free_bytes", d->free_bytes);
	put_bool(o, "display_alive", d->display_alive);
}

static void json_report_holdings(cJSON *list, const struct holdings *h)
{
	for (size_t i = 0; h && i < h->item_count; i++) {
		cJSON *o = put_item(list);

		put_digest(o, "package", &h->items[i].package);
		put_bool(o, "complete", h->items[i].complete);
		put_number(o, "chunks_have", h->items[i].chunks_have);
		put_number(o, "chunks_total", h->items[i].chunks_total);
	}
}

static void json_report_software(cJSON *list, const struct report *r)
{
	for (size_t i = 0; i < r->software_count; i++) {
		cJSON *o = put_item(list);

		put_text(o, "name", r->software[i].name);
		put_text(o, "version", r->software[i].version);
		put_digest(o, "package", &r->software[i].package);
	}
}

static enum err json_usage(struct operator_call *c, const char *client)
{
	struct usage_row *rows = NULL;
	size_t count = 0, max = call_u64(c, "max", 100);
	cJSON *list;

	TRY(core_usage(c->room->core, client, max < 10000 ? max : 10000, c->arena, &rows, &count));
	list = put_list(c->json, "usage");
	for (size_t i = 0; i < count; i++) {
		cJSON *o = put_item(list);

		put_digest(o, "package", &rows[i].package);
		put_text(o, "image", rows[i].image);
		put_number(o, "from_unix_ms",
			rows[i].from_unix_ms > 0 ? (uint64_t)rows[i].from_unix_ms : 0);
		put_number(o, "duration_ms", rows[i].duration_ms);
		put_text(o, "result", rows[i].result ? shown_result_word(rows[i].result) : "");
	}
	return ERR_OK;
}

static void json_report_part(cJSON *o, const struct report *r)
{
	switch (r->what) {
	case INFO_DISPLAY:
		if (r->display)
			json_display(put_object(o, "display"), r->display);
		break;
	case INFO_HOLDINGS:
		json_report_holdings(put_list(o, "holdings"), r->holdings);
		break;
	case INFO_SOFTWARE:
		json_report_software(put_list(o, "software"), r);
		break;
	case INFO_LOGS:
	case INFO_SCREENSHOT:
	case INFO_OUTPUT:
		base64_add(o, "data", r->data);
		break;
	case INFO_USAGE:
		break; // the ledger's rows
	}
}

// Of which operation: the question knows.
static enum err json_output_of(struct operator_call *c, const char *client, uint64_t asked_by)
{
	struct response_body body;
	struct bytes said;

	TRY(rows_operation_body(core_db(c->room->core), client, asked_by, c->arena, &said));
	TRY(response_body_decode(c->arena, said, &body));
	put_id(c->json, "output_of", body.send ? body.send->of_op : 0);
	return ERR_OK;
}

static enum err run_reports(struct operator_call *c)
{
	const char *word = call_text(c, "what") ? call_text(c, "what") : "display";
	enum info_kind what = info_kind_of(word);
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	struct stored_report s;

	if (!info)
		return no_memory();
	TRY(call_client(c, "client", info));
	TRY(core_report_find(c->room->core, info->id, what, c->arena, &s));
	put_text(c->json, "client", info->id);
	put_text(c->json, "what", word);
	put_time(c->json, "received_unix_ms", s.received);
	put_id(c->json, "report_id", s.report.report_id);
	put_id(c->json, "op_id", s.report.op_id);
	put_bool(c->json, "truncated", s.report.truncated);
	if (what == INFO_OUTPUT)
		TRY(json_output_of(c, info->id, s.report.op_id));
	if (what == INFO_USAGE)
		return json_usage(c, info->id);
	json_report_part(c->json, &s.report);
	return ERR_OK;
}

// ---------------------------------------------------------------- flow

#define FLOW_TOLD_WHOLE 1000 // clients; beyond, only whether they are done

struct flow_call {
	struct operator_call *call;
	struct flow_row row;
	struct operation_info *ops;
	size_t op_count;
	struct skipped_event *skipped; // by client
	size_t skipped_count;
	uint64_t total, done, failed, open, waiting, expired;
	bool is_expired; // its time is over: who was not told will not be told
	bool is_withdrawn;
	cJSON *list;
};

static int by_client_newest_first(const void *a, const void *b)
{
	const struct operation_info *x = a, *y = b;
	int order = strcmp(x->client, y->client);

	if (order)
		return order;
	return (x->op_id < y->op_id) - (x->op_id > y->op_id);
}

// The latest attempt of this client: the first of its run in the sorted list.
static const struct operation_info *flow_operation(const struct flow_call *f, const char *client)
{
	size_t low = 0, high = f->op_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(f->ops[middle].client, client) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < f->op_count && strcmp(f->ops[low].client, client) == 0 ? &f->ops[low] : NULL;
}

static bool flow_was_skipped(const struct flow_call *f, const char *client)
{
	size_t low = 0, high = f->skipped_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(f->skipped[middle].client, client);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static const char *flow_state(
	const struct flow_call *f, const struct client_info *i, const struct operation_info *op)
{
	const struct client_place *place = client_info_place(i, f->row.queue);
	bool has_package = !digest_is_zero(&f->row.package);
	bool is_private = f->row.queue[0] == '@';
	bool is_past =
		place && place->pointer_at != ELEMENT_HEAD && place->pointer_seq > f->row.seq;

	if (!op && f->is_expired)
		return "expired";
	if (!op && f->is_withdrawn)
		return "withdrawn";
	if (!op && flow_was_skipped(f, i->id))
		return "skipped";
	if (op && !op->outcome)
		return "open";
	if (op && op->outcome == OP_DONE)
		return "done";
	if (op && op->is_final)
		return "failed";
	if (op)
		return "open"; // another attempt follows
	// Who holds a version already still has to make it current when the channel goes back to
	// it.
	if (has_package && (is_private || is_past) &&
		core_client_holds(f->call->room->core, i->id, &f->row.package))
		return "done";
	if (is_private)
		return i->private_elements > 0 || i->has_operation ? "waiting" : "skipped";
	return is_past && !has_package ? "skipped" : "waiting";
}

// What came of a package at this client: from where it was fetched, and the first picture of it
// that the client reported, or what its last heartbeat shows.
static enum err flow_pictures(struct flow_call *f, cJSON *o, const struct client_info *i)
{
	struct db *db = core_db(f->call->room->core);
	const struct digest *package = &f->row.package;
	struct usage_item shown = {0};
	const char *broker = "";
	int64_t granted_ms = 0;

	if (digest_is_zero(package) || f->total > FLOW_TOLD_WHOLE)
		return ERR_OK;
	TRY(rows_fetched_find(db, i->id, package, f->call->arena, &broker, &granted_ms));
	put_text(o, "fetched_from", broker);
	put_time(o, "granted_unix_ms", (struct wall){granted_ms});
	enum err e = rows_usage_first(db, i->id, package, f->row.at_ms, f->call->arena, &shown);
	if (e != ERR_OK && e != ERR_NOT_FOUND)
		return e;
	bool shows = digest_equal(&i->showing_package, package);
	put_bool(o, "shows_it", shows);
	put_time(o, "shown_unix_ms", (struct wall){shown.from_unix_ms});
	put_text(o, "shown_image", e == ERR_OK ? shown.image : shows ? i->showing_image : "");
	return ERR_OK;
}

static enum err flow_client(struct flow_call *f, const struct client_info *i)
{
	const struct operation_info *op = flow_operation(f, i->id);
	const char *state = flow_state(f, i, op);
	cJSON *o = put_item(f->list);

	f->total++;
	f->done += strcmp(state, "done") == 0;
	f->failed += strcmp(state, "failed") == 0;
	f->open += strcmp(state, "open") == 0;
	f->waiting += strcmp(state, "waiting") == 0;
	f->expired += strcmp(state, "expired") == 0;
	put_text(o, "client", i->id);
	put_text(o, "state", state);
	put_text(o, "reach", reach_word(i->reach));
	put_id(o, "op_id", op ? op->op_id : 0);
	put_text(o, "kind", op ? response_kind_word(op->kind) : "");
	put_text(o, "status",
		op && op->outcome  ? op_status_word(op->outcome)
		: op && op->status ? op_status_word(op->status)
				   : "");
	put_number(o, "percent", op ? op->percent : 0);
	put_text(o, "detail", op ? op->detail : "");
	put_number(o, "attempt", op ? op->attempt : 0);
	put_time(o, "told_unix_ms", op ? op->opened : (struct wall){0});
	put_time(o, "ended_unix_ms", op ? op->ended : (struct wall){0});
	return flow_pictures(f, o, i);
}

static enum err flow_clients(struct flow_call *f)
{
	struct client_info *info = arena_alloc(f->call->arena, sizeof(*info));
	struct core *core = f->call->room->core;
	const char *queue = f->row.queue;
	struct client_brief brief;
	size_t cursor = 0;

	if (!info)
		return no_memory();
	if (queue[0] == '@') {
		if (core_client_find(core, queue + 1, info) == ERR_OK)
			TRY(flow_client(f, info));
		return ERR_OK;
	}
	while (core_client_walk(core, &cursor, &brief))
		if (brief.role == ROLE_CLIENT && !brief.revoked &&
			core_client_is_in(core, brief.place, queue) &&
			core_client_at(core, brief.place, info))
			TRY(flow_client(f, info));
	return ERR_OK;
}

// Is what it gave over, for whoever was not told?
static enum err flow_over(struct flow_call *f)
{
	struct core *core = f->call->room->core;
	struct response_body body;
	struct bytes bytes;

	if (strncmp(f->row.verb, "exec", 4) != 0 ||
		rows_event_body(core_db(core), f->row.queue, f->row.seq, f->call->arena, &bytes) !=
			ERR_OK ||
		response_body_decode(f->call->arena, bytes, &body) != ERR_OK)
		return ERR_OK;
	int64_t expires = body.execute ? body.execute->expires_unix_ms : 0;
	f->is_expired = expires && expires <= f->call->now.wall.ms;
	if (!body.retrieve || !body.retrieve->command)
		return ERR_OK;
	return core_command_is_withdrawn(core, body.retrieve->command, &f->is_withdrawn);
}

static enum err run_flow(struct operator_call *c)
{
	struct flow_call f = {.call = c};
	uint64_t flow = call_u64(c, "flow", 0);

	TRY(rows_flow_find(core_db(c->room->core), flow, c->arena, &f.row));
	TRY(core_operations(
		c->room->core, NULL, flow, OPERATIONS_MAX, c->arena, &f.ops, &f.op_count));
	if (f.op_count > 0)
		qsort(f.ops, f.op_count, sizeof(*f.ops), by_client_newest_first);
	TRY(core_skipped(c->room->core, NULL, f.row.queue, f.row.seq, OPERATIONS_MAX, c->arena,
		&f.skipped, &f.skipped_count));
	f.list = cJSON_CreateArray();
	enum err e = flow_over(&f);
	if (e == ERR_OK)
		e = flow_clients(&f);
	put_id(c->json, "flow", flow);
	put_text(c->json, "queue", f.row.queue);
	put_text(c->json, "verb", f.row.verb);
	put_text(c->json, "seat", f.row.seat);
	put_number(c->json, "event_seq", f.row.seq);
	put_time(c->json, "at_unix_ms", (struct wall){f.row.at_ms});
	put_digest(c->json, "package", &f.row.package);
	put_number(c->json, "total", f.total);
	put_number(c->json, "done", f.done);
	put_number(c->json, "failed", f.failed);
	put_number(c->json, "open", f.open);
	put_number(c->json, "waiting", f.waiting);
	put_number(c->json, "expired", f.expired);
	put_number(c->json, "skipped", f.skipped_count);
	put_bool(c->json, "finished", f.open + f.waiting == 0);
	cJSON_AddItemToObject(c->json, "clients", f.list);
	return e;
}

static const struct verb_row rows[] = {
	{.name = "ask",
		.help = "asks a client for information",
		.writes = true,
		.run = run_ask,
		.args = {{"client", ARG_ID, true, NULL, "whom"},
			{"what", ARG_WORD, true, INFO_WORDS, "what to send"},
			{"since", ARG_U64, false, NULL, "Unix milliseconds: only what is newer"},
			{"max_bytes", ARG_U32, false, NULL, "at most this much"},
			{"unit", ARG_TEXT, false, NULL, "logs: of which unit"},
			{"pattern", ARG_TEXT, false, NULL, "logs: only lines that hold this"},
			{"lines", ARG_U32, false, NULL, "logs: the last so many"},
			{"op", ARG_U64, false, NULL, "output: of this operation"},
			{"max_age", ARG_U32, false, NULL,
				"seconds: an answer that is no older will do (the policy's)"},
			{"to", ARG_ID, false, NULL,
				"a data broker instead of the control broker"}}},
	{.name = "freshness",
		.help = "how old an answer may be before the server asks again, by kind",
		.writes = true,
		.run = run_freshness,
		.args = {{"what", ARG_WORD, false, FRESH_WORDS, "of this kind"},
			{"max_age", ARG_U32, false, NULL, "seconds; 0: only when somebody asks"},
			{"reset", ARG_BOOL, false, NULL, "back to the settings"}}},
	{.name = "exec",
		.help = "lets a client, or all of a channel, execute a command of its closed list",
		.writes = true,
		.run = run_exec,
		.args = {{"client", ARG_ID, false, NULL, "whom"},
			{"channel", ARG_ID, false, NULL, "or every client of it"},
			{"verb", ARG_ID, true, NULL, "the command"},
			{"arg", ARG_LIST, false, NULL, "an argument; may be repeated"},
			{"timeout", ARG_U32, false, NULL, "milliseconds it may run (60000)"},
			{"expires", ARG_U64, false, NULL,
				"Unix milliseconds after which it is not begun; 0: never"},
			{"max_output", ARG_U32, false, NULL,
				"bytes of its output that are kept (what the agent's settings "
				"allow)"}}},
	{.name = "cancel",
		.help = "ends an open operation of a client",
		.writes = true,
		.run = run_cancel,
		.args = {{"client", ARG_ID, true, NULL, "whose"},
			{"op", ARG_U64, false, NULL, "which; 0: the open one"}}},
	{.name = "why",
		.help = "the answers a client got, each with its reason",
		.run = run_why,
		.args = {{"client", ARG_ID, true, NULL, "whose"},
			{"max", ARG_U32, false, NULL, "how many (20)"}}},
	{.name = "queue",
		.help = "the elements of a queue and who stands where",
		.run = run_queue,
		.args = {{"channel", ARG_ID, false, NULL, "of a channel"},
			{"client", ARG_ID, false, NULL, "or the private one of a client"}}},
	{.name = "operations",
		.help = "operations of a client or of a flow, newest first",
		.run = run_operations,
		.args = {{"client", ARG_ID, false, NULL, "of a client"},
			{"flow", ARG_U64, false, NULL, "or of a flow"},
			{"max", ARG_U32, false, NULL, "how many (50)"}}},
	{.name = "reports",
		.help = "what a client sent last",
		.run = run_reports,
		.args = {{"client", ARG_ID, true, NULL, "whose"},
			{"what", ARG_WORD, false, INFO_WORDS, "of which kind (display)"},
			{"max", ARG_U32, false, NULL, "usage: how many rows (100)"}}},
	{.name = "flow",
		.help = "how far every client is with what an operator began",
		.run = run_flow,
		.args = {{"flow", ARG_U64, true, NULL, "the number that the act returned"}}},
};

const struct verb_table operator_work_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
