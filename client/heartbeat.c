// What stands in a heartbeat: the answer to the last response, the operation, the device's state,
// what is held, and changes that the server does not hold yet.
#include "client/agent_parts.h"

#include <string.h>

static enum ack beat_ack(const struct agent_core *c)
{
	// The beat that is being made is not counted: two before it had no answer.
	if (c->damaged || agent_unanswered(c) > 2)
		return ACK_RESEND;
	if (!c->any_response)
		return ACK_NOTHING;
	return c->command_running ? ACK_BUSY : ACK_RESPONSE;
}

static const char *beat_state(const struct agent_core *c, const struct agent_view *view)
{
	if (view->trouble != NULL && view->trouble[0] != '\0')
		return view->trouble;
	if (c->unsaved)
		return "state-unsaved";
	if (c->command_running)
		return "running";
	switch (c->retrieve.phase) {
	case RETRIEVE_ASK:
	case RETRIEVE_LATER:
		return "waiting";
	case RETRIEVE_FETCH:
	case RETRIEVE_COMMAND:
		return "fetching";
	case RETRIEVE_SWITCH:
		return "updating";
	case RETRIEVE_NONE:
		break;
	}
	return c->report.open ? "reporting" : "idle";
}

static void beat_status(const struct agent_core *c, const struct agent_view *v, struct status *out)
{
	*out = (struct status){
		.state = beat_state(c, v),
		.agent_version = c->config->version,
		.free_bytes = v->free_bytes,
		.showing_package = v->showing_package,
		.showing_image = v->showing_image,
		.interval_ms = c->grid.interval_ms,
		.clock_quality = v->clock_is_ntp        ? 3
				 : c->server_time_known ? 2
							: 1,
		.hw_class = c->config->hw_class,
		.software = v->software,
		.software_count = v->software_count,
		.screen_width_px = v->screen_width_px,
		.screen_height_px = v->screen_height_px,
		.updates = v->updates,
		.update_count = v->update_count,
	};
}

// 0: it does not look.
static uint32_t looked_mb(const struct agent_core *c)
{
	bool fetches = c->retrieve.phase == RETRIEVE_FETCH && c->port->fetch_looked_bytes != NULL;
	return fetches ? (uint32_t)(c->port->fetch_looked_bytes(c->ctx) >> 20) : 0;
}

// What the operation is at, for people.
static const char *beat_detail(const struct agent_core *c)
{
	uint32_t mb = looked_mb(c);
	const char *text = mb == 0 ? NULL
				   : arena_printf(c->config->scratch,
					     "looks through its own files: %u MB so far", mb);
	return text != NULL ? text : c->state.op.detail;
}

static void item_holding(
	const struct agent_core *c, const struct retrieve_item *item, struct holding *out)
{
	*out = (struct holding){.package = item->package};
	c->port->holding(c->ctx, &item->package, out);
	out->package = item->package;
	out->lease = item->complete ? 0 : item->lease;
	if (!out->complete && item->chunks_total != 0) {
		out->chunks_have = item->chunks_have;
		out->chunks_total = item->chunks_total;
	}
	if (out->lease != 0 && item == &c->retrieve.items[c->retrieve.at])
		out->looked_mb = looked_mb(c);
}

static void add_leases(const struct agent_core *c, struct holdings *h)
{
	for (size_t i = 0; i < c->retrieve.item_count; i++) {
		const struct retrieve_item *item = &c->retrieve.items[i];
		for (size_t k = 0; k < h->item_count && item->lease != 0; k++) {
			if (digest_equal(&h->items[k].package, &item->package))
				item_holding(c, item, &h->items[k]);
		}
	}
}

static struct holdings *beat_holdings(struct agent_core *c)
{
	struct arena *a = c->config->scratch;
	struct holdings *h = arena_alloc(a, sizeof *h);
	if (h == NULL)
		return NULL;
	if (c->full_wanted) {
		c->port->holdings(c->ctx, a, h);
		h->full = true;
		add_leases(c, h);
		return h;
	}
	size_t count = c->retrieve.item_count;
	if (count == 0)
		return NULL;
	h->items = arena_array(a, count, sizeof *h->items);
	if (h->items == NULL)
		return NULL;
	h->item_count = count;
	for (size_t i = 0; i < count; i++)
		item_holding(c, &c->retrieve.items[i], &h->items[i]);
	return h;
}

static struct change *beat_changes(struct agent_core *c)
{
	struct change *out = arena_array(c->config->scratch, c->state.change_count, sizeof *out);
	for (size_t i = 0; out != NULL && i < c->state.change_count; i++) {
		const struct pending_change *p = &c->state.changes[i];
		out[i] = (struct change){
			.change_id = p->change_id, .key = p->key, .value = p->value};
	}
	return out;
}

static enum err beat_encode(struct agent_core *c, struct now now)
{
	struct client_session *s = &c->session;
	struct agent_view view = {0};
	struct status status;
	c->port->view(c->ctx, c->config->scratch, &view);
	beat_status(c, &view, &status);
	struct operation op = {
		.op_id = c->state.op.op_id,
		.status = c->state.op.status,
		.detail = beat_detail(c),
		.percent = c->state.op.percent,
	};
	struct heartbeat h = {
		.client_id = c->config->client_id,
		.ip_address = bytes_of(view.ip, view.ip_size),
		.session_id = s->id,
		.seq = s->hb_seq,
		.sent_unix_ms = now.wall.ms,
		.last_response_id = c->last_response_id,
		.ack = beat_ack(c),
		.op = op.op_id != 0 ? &op : NULL,
		.status = &status,
		.holdings = beat_holdings(c),
		.boot = s->boot,
	};
	if (c->state.change_count != 0 && (h.changes = beat_changes(c)) != NULL)
		h.change_count = c->state.change_count;
	return heartbeat_encode(&h, c->config->out);
}

void heartbeat_send(struct agent_core *c, struct now now)
{
	struct client_session *s = &c->session;
	struct topic topic = topic_hb(c->config->client_id);
	if (!s->current || !c->link_up)
		return;
	s->hb_seq++;
	enum err e = beat_encode(c, now);
	if (e == ERR_OK)
		e = session_publish(c, topic.s, 0);
	if (e != ERR_OK) {
		s->hb_seq--;
		log_warn("BEAT-UNSENT", "client=%s why=%s", c->config->client_id,
			log_quote(err_text()));
		return;
	}
	s->beats[s->hb_seq % ANSWER_WINDOW_BEATS] =
		(struct beat_record){.seq = s->hb_seq, .sent = now.mono};
	c->counters.beats++;
	if (c->full_wanted && c->full_seq == 0)
		c->full_seq = s->hb_seq;
}
