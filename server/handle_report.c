// One report: recorded once under its id, acknowledged by the next response's acked_report_id.
// Parts come in order; a part that does not fit is ignored, and the client says it again. Only when
// the report has arrived does DONE of the operation that asked for it count.
#include "server/core_inside.h"
#include <stdlib.h>
#include <string.h>

void report_parts_free(struct report_parts *parts)
{
	if (!parts)
		return;
	buf_fini(&parts->data);
	free(parts);
}

// True when r completes the report; *data is then all of it (borrowed from the parts or from r).
static bool parts_take(struct client_rare *rare, const struct report *r, struct bytes *data)
{
	struct report_parts *p = rare->parts;

	*data = r->data;
	if (r->parts <= 1)
		return true;
	if (r->part == 0) {
		report_parts_free(p);
		p = rare->parts = calloc(1, sizeof(*p));
		if (!p)
			return false;
		*p = (struct report_parts){
			.report_id = r->report_id, .parts = r->parts, .what = r->what};
		buf_init(&p->data, REPORT_PARTS_BYTES);
	}
	if (!p || p->report_id != r->report_id || p->parts != r->parts || p->what != r->what ||
		p->next != r->part)
		return false;
	if (buf_append(&p->data, r->data.data, r->data.size) != ERR_OK)
		return false;
	p->next++;
	*data = buf_bytes(&p->data);
	return p->next == p->parts;
}

static enum err usage_record(struct core *core, const char *id, const struct report *r)
{
	struct device_row device;

	if (r->usage_count == 0)
		return ERR_OK;
	TRY(rows_device_find(core->db, id, &device));
	for (size_t i = 0; i < r->usage_count; i++)
		TRY(rows_usage_add(core->db, id, &device.store_id, &r->usage[i]));
	return ERR_OK;
}

static enum err report_store(
	struct core *core, const char *id, const struct report *r, struct bytes data)
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
						 .data = data,
					 });
}

static enum err operation_reported(
	struct core *core, const struct passed *p, const struct report *r)
{
	struct open_operation *op = client_open(p->client);

	if (op && op->passed && op->passed->op_id == r->op_id)
		op = op->passed;
	if (!op || op->op_id != r->op_id || op->kind != KIND_SEND_INFORMATION || op->reported)
		return ERR_OK;
	op->reported = true;
	return rows_operation_progress(core->db, p->id, op->op_id, (enum op_status)op->status,
		op->percent, op->detail, true);
}

// A device that lost the newest copy of its state answers the same question again, under another
// number: it is acknowledged, and the first answer stays.
static bool operation_was_reported(const struct passed *p, const struct report *r)
{
	const struct open_operation *op = client_open(p->client);

	if (op && op->passed && op->passed->op_id == r->op_id)
		op = op->passed;
	return op && op->op_id == r->op_id && op->reported;
}

static enum err report_take(
	struct core *core, const struct passed *p, const struct report *r, const char *broker)
{
	struct client_rare *rare = client_rare_get(p->client);
	struct bytes data;

	if (!rare)
		return err_set(ERR_MEMORY, "no memory for a report");
	if (r->report_id <= rare->report_id)
		return operation_reported(core, p, r); // said again: recorded already
	if (operation_was_reported(p, r)) {
		rare->report_id = r->report_id;
		client_dirty(core, p->number);
		return ERR_OK;
	}
	TRY(usage_record(core, p->id, r));
	if (!parts_take(rare, r, &data))
		return ERR_OK;
	TRY(report_store(core, p->id, r, data));
	if (r->holdings && client_merge_holdings(core, p->client, r->holdings))
		client_dirty(core, p->number);
	if (r->what == INFO_HOLDINGS && r->holdings)
		p->client->flags |= CLIENT_HOLDINGS_KNOWN;
	TRY(operation_reported(core, p, r));
	rare->report_id = r->report_id;
	client_dirty(core, p->number);
	core->reports++;
	log_info("REPORT", "client=%s what=%s report=%llu op=%llu bytes=%zu rows=%zu", p->id,
		info_kind_word(r->what), (unsigned long long)r->report_id,
		(unsigned long long)r->op_id, data.size, r->usage_count);
	if (core->hooks.report) {
		struct report whole = *r;
		whole.data = data;
		const struct caller who = {
			.id = p->id,
			.role = ROLE_CLIENT,
			.session_id = p->client->session_id,
			.broker = broker,
			.now = core->now,
			.arena = &core->arena,
		};
		core->hooks.report(core->hooks.ctx, core, &who, &whole);
	}
	report_parts_free(rare->parts);
	rare->parts = NULL;
	return ERR_OK;
}

void handle_report(
	struct core *core, const struct passed *p, const struct report *r, const char *broker)
{
	if (p->client->state == CS_CLONE_SUSPECT)
		return;
	if (report_take(core, p, r, broker) != ERR_OK)
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
			items[i].from_unix_ms, items[i].duration_ms};
	return ERR_OK;
}
