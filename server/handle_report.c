// One report: recorded once under its id, acknowledged by the next response's acked_report_id.
//
//   gate -> asked for? -> (parts in the store -> whole) -> usage rows, report row -> DONE counts
//
// It must answer a question that this client was asked; anything else makes no row. Parts come in
// order and are committed as they come: every response says how many are held, and the client goes
// on behind them, also after either side was killed. A part that does not fit is ignored. Only when
// the whole report has arrived does DONE of the operation that asked for it count.
#include "server/core_inside.h"
#include "server/db/rows_usage.h"
#include "server/usage_take.h"
#include <stdlib.h>
#include <string.h>

void report_parts_drop(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	if (!c->rare || !c->rare->parts)
		return;
	free(c->rare->parts);
	c->rare->parts = NULL;
	if (rows_report_parts_drop(core->db, client_id(&core->clients, c)) != ERR_OK)
		log_error("REPORT-PARTS", "client=%s why=%s", client_id(&core->clients, c),
			log_quote(err_text()));
}

enum err report_parts_load(void *ctx, const struct report_part_row *row)
{
	struct core *core = ctx;
	uint32_t number = share_client(core, row->client, false);
	struct client_rare *rare =
		number != CLIENT_NONE ? client_rare_get(client_at(&core->clients, number)) : NULL;

	if (number == CLIENT_NONE)
		return ERR_OK;
	if (rare)
		rare->parts = calloc(1, sizeof(*rare->parts));
	if (!rare || !rare->parts)
		return err_set(ERR_MEMORY, "no memory for a report");
	*rare->parts = (struct report_parts){.report_id = row->report_id,
		.next = row->part + 1,
		.parts = row->parts,
		.what = row->what,
		.bytes = row->bytes};
	return ERR_OK;
}

// ---- was it asked for?

static enum err report_refuse(
	struct core *core, const struct passed *p, const struct report *r, const char *reason)
{
	if (patience_tell(core))
		log_warn("REPORT-REFUSED", "client=%s reason=%s what=%s report=%llu op=%llu", p->id,
			reason, info_kind_word(r->what), (unsigned long long)r->report_id,
			(unsigned long long)r->op_id);
	return err_set(ERR_DENIED, "reason=%s", reason);
}

// The question, open or ended: a report that comes after the deadline is still an answer.
static enum err report_is_answer(struct core *core, const struct passed *p, const struct report *r)
{
	const struct open_operation *op = client_open(p->client);
	struct response_body body;
	struct bytes said;

	if (op && op->passed && op->passed->op_id == r->op_id)
		op = op->passed;
	if (op && op->op_id == r->op_id)
		said = bytes_of(op->body, op->body_size);
	else if (rows_operation_body(core->db, p->id, r->op_id, &core->arena, &said) != ERR_OK)
		return report_refuse(core, p, r, "op");
	if (response_body_decode(&core->arena, said, &body) != ERR_OK || !body.send)
		return report_refuse(core, p, r, "op");
	return body.send->what == r->what ? ERR_OK : report_refuse(core, p, r, "what");
}

// ---- parts

static bool part_fits(struct report_parts *parts, const struct report *r)
{
	return parts && parts->report_id == r->report_id && parts->parts == r->parts &&
	       parts->what == r->what && parts->next == r->part;
}

static enum err parts_begin(struct core *core, const struct passed *p, const struct report *r)
{
	struct client_rare *rare = p->client->rare;

	report_parts_drop(core, p->number);
	rare->parts = calloc(1, sizeof(*rare->parts));
	if (!rare->parts)
		return err_set(ERR_MEMORY, "no memory for a report");
	*rare->parts = (struct report_parts){
		.report_id = r->report_id, .parts = r->parts, .what = r->what};
	return ERR_OK;
}

enum err core_usage_trim(struct core *core, const char *client)
{
	return rows_usage_trim(core->db, client,
		core->now.wall.ms - (int64_t)core->config.usage_keep_days * 86400000,
		core->config.usage_rows_max);
}

static enum err usage_record(struct core *core, const char *id, const struct report *r)
{
	struct device_row device;

	if (r->usage_count == 0)
		return ERR_OK;
	TRY(rows_device_find(core->db, id, &device));
	TRY(usage_take(core->db, id, &device.store_id, r->usage, r->usage_count));
	if (r->part + 1 < r->parts)
		return ERR_OK;
	return core_usage_trim(core, id);
}

// *whole: r was the last part. A part that does not fit changes nothing. Each row of the usage
// ledger is written once, however often it comes.
static enum err part_take(
	struct core *core, const struct passed *p, const struct report *r, bool *whole)
{
	struct client_rare *rare = p->client->rare;

	*whole = r->parts <= 1;
	if (*whole)
		return usage_record(core, p->id, r);
	if (r->part == 0 && (!rare->parts || r->report_id > rare->parts->report_id))
		TRY(parts_begin(core, p, r));
	if (!part_fits(rare->parts, r))
		return ERR_OK;
	TRY(report_encode(r, &core->scratch));
	if (rare->parts->bytes + core->scratch.size > 2 * LIMIT_REPORT_BYTES)
		return report_refuse(core, p, r, "size");
	TRY(usage_record(core, p->id, r));
	TRY(rows_report_part_put(core->db, &(struct report_part_row){
						   .client = p->id,
						   .report_id = r->report_id,
						   .what = r->what,
						   .part = r->part,
						   .parts = r->parts,
						   .body = buf_bytes(&core->scratch),
					   }));
	rare->parts->bytes += core->scratch.size;
	*whole = ++rare->parts->next == r->parts;
	return ERR_OK;
}

struct joining {
	struct core *core;
	struct buf data;
	struct software_version *software; // in the core's arena
	size_t software_count;
	bool truncated;
};

static enum err part_join(void *ctx, const struct report_part_row *row)
{
	struct joining *j = ctx;
	struct report part;
	SCOPED_ARENA struct arena passing; // only the names of software must live on
	arena_init(&passing, 4 * LIMIT_REPORT, 64);
	struct arena *a = j->software ? &j->core->arena : &passing;
	struct bytes body = arena_copy(a, row->body);

	if (!body.data)
		return err_set(ERR_FULL, "no room for a report");
	TRY(report_decode(a, body, &part));
	TRY(buf_append(&j->data, part.data.data, part.data.size));
	j->truncated = j->truncated || part.truncated;
	for (size_t i = 0; i < part.software_count; i++) {
		if (j->software_count == LIMIT_INVENTORY)
			return ERR_OK;
		j->software[j->software_count++] = part.software[i];
	}
	return ERR_OK;
}

// *whole: r with everything that its parts brought; the data lives in j.
static enum err parts_join(struct core *core, const struct passed *p, const struct report *r,
	struct joining *j, struct report *whole)
{
	*whole = *r;
	if (r->parts <= 1)
		return ERR_OK;
	if (r->what == INFO_SOFTWARE) {
		j->software = arena_array(&core->arena, LIMIT_INVENTORY, sizeof(*j->software));
		if (!j->software)
			return err_set(ERR_FULL, "no room for a report");
	}
	TRY(rows_report_parts_each(core->db, p->id, j, part_join));
	whole->data = buf_bytes(&j->data);
	whole->truncated = j->truncated;
	whole->software = j->software;
	whole->software_count = j->software_count;
	return ERR_OK;
}

// ---- recording

static enum err report_store(struct core *core, const char *id, const struct report *r)
{
	struct report kept = *r;

	kept.data = bytes_of(NULL, 0);
	kept.part = 0;
	kept.parts = 1;
	TRY(report_encode(&kept, &core->scratch));
	return rows_report_put(core->db, &(struct report_row){
						 .client = id,
						 .what = r->what,
						 .report_id = r->report_id,
						 .received_ms = core->now.wall.ms,
						 .body = buf_bytes(&core->scratch),
						 .data = r->data,
					 });
}

static enum err operation_reported(
	struct core *core, const struct passed *p, const struct report *r)
{
	struct open_operation *op = client_open(p->client);

	if (op && op->passed && op->passed->op_id == r->op_id)
		op = op->passed;
	if (!op || op->op_id != r->op_id)
		return rows_operation_answer(core->db, p->id, r->op_id); // it came too late
	if (op->kind != KIND_SEND_INFORMATION || op->reported)
		return ERR_OK;
	op->reported = true;
	return rows_operation_progress(core->db, p->id, op->op_id, (enum op_status)op->status,
		op->percent, op->detail, true);
}

// The operation knows whether it was answered, also when it has ended: one question has one answer.
// A device that lost the newest copy of its state answers the same question again under another
// number, or the next question under the same one.
static enum err report_is_known(
	struct core *core, const struct passed *p, const struct report *r, bool *known)
{
	const struct open_operation *op = client_open(p->client);

	if (op && op->passed && op->passed->op_id == r->op_id)
		op = op->passed;
	if (op && op->op_id == r->op_id && op->kind == KIND_SEND_INFORMATION) {
		*known = op->reported;
		return ERR_OK;
	}
	*known = r->report_id <= p->client->rare->report_id;
	return *known ? ERR_OK : rows_operation_answered(core->db, p->id, r->op_id, known);
}

// The highest one is acknowledged.
static void report_count(struct core *core, const struct passed *p, const struct report *r)
{
	struct client_rare *rare = p->client->rare;

	if (r->report_id > rare->report_id)
		rare->report_id = r->report_id;
	client_dirty(core, p->number);
}

static void report_tell(
	struct core *core, const struct passed *p, const struct report *whole, const char *broker)
{
	const struct caller who = {
		.id = p->id,
		.role = ROLE_CLIENT,
		.session_id = p->client->session_id,
		.broker = broker,
		.now = core->now,
		.arena = &core->arena,
	};

	core->reports++;
	log_info("REPORT",
		"client=%s what=%s report=%llu op=%llu via=%s parts=%u bytes=%zu rows=%zu", p->id,
		info_kind_word(whole->what), (unsigned long long)whole->report_id,
		(unsigned long long)whole->op_id, broker ? broker : "control", whole->parts,
		whole->data.size, whole->usage_count);
	if (core->hooks.report)
		core->hooks.report(core->hooks.ctx, core, &who, whole);
}

static enum err report_take(
	struct core *core, const struct passed *p, const struct report *r, const char *broker)
{
	struct client_rare *rare = client_rare_get(p->client);
	struct joining j = {.core = core};
	struct report whole;
	bool is_whole, known;

	if (!rare)
		return err_set(ERR_MEMORY, "no memory for a report");
	TRY(report_is_known(core, p, r, &known));
	if (known) {
		report_count(core, p, r);
		return ERR_OK;
	}
	TRY(report_is_answer(core, p, r));
	TRY(part_take(core, p, r, &is_whole));
	if (!is_whole)
		return ERR_OK;
	buf_init(&j.data, 2 * LIMIT_REPORT_BYTES);
	enum err e = parts_join(core, p, r, &j, &whole);
	if (e == ERR_OK)
		e = report_store(core, p->id, &whole);
	if (e == ERR_OK)
		e = operation_reported(core, p, r);
	if (e == ERR_OK) {
		if (r->holdings && client_merge_holdings(core, p->client, r->holdings))
			client_dirty(core, p->number);
		if (r->what == INFO_HOLDINGS && r->holdings)
			p->client->flags |= CLIENT_HOLDINGS_KNOWN;
		report_count(core, p, r);
		report_parts_drop(core, p->number);
		report_tell(core, p, &whole, broker);
	}
	buf_fini(&j.data);
	return e;
}

void handle_report(
	struct core *core, const struct passed *p, const struct report *r, const char *broker)
{
	if (p->client->state == CS_CLONE_SUSPECT)
		return;
	enum err e = report_take(core, p, r, broker);
	if (e != ERR_OK && e != ERR_DENIED)
		log_error("REPORT-UNRECORDED", "client=%s why=%s", p->id, log_quote(err_text()));
}

enum err core_report_find(struct core *core, const char *client, enum info_kind what,
	struct arena *a, struct stored_report *out)
{
	struct report_row row;

	TRY(rows_report_find(core->db, client, what, a, &row));
	TRY(report_decode(a, row.body, &out->report));
	out->report.data = row.data;
	out->received = (struct wall){row.received_ms};
	return ERR_OK;
}

enum err core_usage(struct core *core, const char *client, size_t max, struct arena *a,
	struct usage_row **out, size_t *count)
{
	struct usage_item *items = NULL;

	TRY(rows_usage_list(core->db, client, max, a, &items, count));
	*out = arena_array(a, *count ? *count : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu rows", *count);
	for (size_t i = 0; i < *count; i++)
		(*out)[i] = (struct usage_row){items[i].package, items[i].image,
			items[i].from_unix_ms, items[i].duration_ms, items[i].result};
	return ERR_OK;
}
