// One heartbeat, in the order of protocol.md: record, judge, complete, select, set and answer. The
// gate has authenticated it. The deciders (accordance, next_event) are pure; here is only who is
// asked in what order, and what is written down.
#include "server/core_inside.h"
#include <stdio.h>
#include <string.h>

// A step failed. When the store failed the whole turn goes; anything else is our own limit and is
// told once.
static void beat_failed(struct core *core, const struct passed *p)
{
	log_error("BEAT-UNANSWERED", "client=%s why=%s", p->id, log_quote(err_text()));
	(void)core;
}

// ---- 2. record

// Only a beat that shows something we said lately proves that the client lives now.
static bool beat_is_fresh(
	const struct core *core, const struct client *c, const struct heartbeat *h)
{
	uint64_t shown = h->last_response_id, newest = core_response_id(core, c, c->v);

	if (c->flags & CLIENT_FRESH)
		return true;
	if (c->last_was_resend && shown == c->d)
		return true;
	return c->v != 0 && shown <= newest && newest - shown < HEARD_WINDOW_RESPONSES;
}

static void record_address(struct core *core, const struct passed *p, const struct heartbeat *h)
{
	bool had = p->client->ip != 0;

	if (!client_set_ip(p->client, &core->interned, h->ip_address))
		return;
	p->client->flags |= CLIENT_STALE_ROW;
	if (had && patience_tell(core))
		log_info("ADDRESS-CHANGED", "client=%s", p->id);
}

static void record_status(struct core *core, const struct passed *p, const struct status *s)
{
	struct client *c = p->client;
	struct buf *b = &core->scratch;
	uint32_t width_px, height_px, new_width_px, new_height_px;

	c->free = free_pack(s->free_bytes);
	// Mostly nothing is new.
	if (!profile_is(intern_get(&core->interned, c->profile), s)) {
		told_updates_alert(core, c, s);
		if (profile_encode(s, b) == ERR_OK &&
			intern_set(&core->interned, &c->profile, buf_bytes(b)))
			c->flags |= CLIENT_STALE_ROW;
	}
	if (showing_is(intern_get(&core->interned, c->showing), s) ||
		showing_encode(s, b) != ERR_OK)
		return;
	showing_screen(intern_get(&core->interned, c->showing), &width_px, &height_px);
	if (!intern_set(&core->interned, &c->showing, buf_bytes(b)))
		return;
	c->flags |= CLIENT_STALE_ROW;
	view_due(core, p->number);
	showing_screen(intern_get(&core->interned, c->showing), &new_width_px, &new_height_px);
	if ((new_width_px != width_px || new_height_px != height_px) && core->hooks.screen)
		core->hooks.screen(core->hooks.ctx, core, p->id);
}

static void record_holdings(struct core *core, const struct passed *p, const struct holdings *h)
{
	const struct core_hooks *hooks = &core->hooks;

	if (client_merge_holdings(core, p->client, h))
		client_dirty(core, p->number);
	for (size_t i = 0; i < h->item_count && hooks->lease_renew; i++)
		if (h->items[i].lease)
			hooks->lease_renew(hooks->ctx, core, p->id, &h->items[i],
				p->client->told_interval_ms, core->now);
}

// The keys a client may change for its channel.
static bool change_is_known(const char *key)
{
	static const char *const keys[] = {"showing", "skip", "orientation"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

// Each change counts once: ids rise. One of an unknown key is acknowledged, so that it ends, and
// not passed on. Of too many in a minute the rest comes again, for it is not acknowledged.
static enum err record_changes(struct core *core, const struct passed *p, const struct heartbeat *h)
{
	struct client_rare *rare = h->change_count ? client_rare_get(p->client) : NULL;
	size_t count = 0;

	if (!rare)
		return ERR_OK;
	struct change *fresh = arena_array(&core->arena, h->change_count, sizeof(*fresh));
	if (!fresh)
		return err_set(ERR_FULL, "no room for changes");
	for (size_t i = 0; i < h->change_count; i++) {
		if (h->changes[i].change_id <= rare->change_id)
			continue;
		if (!patience_change(core, rare))
			break;
		rare->change_id = h->changes[i].change_id;
		client_dirty(core, p->number);
		if (change_is_known(h->changes[i].key))
			fresh[count++] = h->changes[i];
		else if (patience_tell(core))
			log_warn("CHANGE-REFUSED",
				"client=%s key=%s why=\"no client may change this\"", p->id,
				log_quote(h->changes[i].key));
	}
	return count ? channel_append_changes(core, p->number, fresh, count) : ERR_OK;
}

static void mismatch_note(
	struct core *core, const struct passed *p, const char *word, const char *why)
{
	core->mismatches++;
	if (p->client->mismatches < UINT16_MAX)
		p->client->mismatches++;
	p->client->flags |= CLIENT_STALE_ROW;
	view_due(core, p->number);
	if (patience_tell(core))
		log_info("MISMATCH", "mismatch why=%s client=%s text=%s", word, p->id,
			log_quote(why));
}

// A client that keeps another interval than it was told, after it was told.
static void record_interval(struct core *core, const struct passed *p, const struct heartbeat *h)
{
	struct client *c = p->client;
	bool told = c->v && h->last_response_id == core_response_id(core, c, c->v);
	bool other = told && h->status->interval_ms != c->told_interval_ms;

	if (!c->other_interval && !other)
		return;
	struct client_rare *rare = client_rare_get(c);
	if (!rare)
		return;
	c->other_interval = other;
	rare->status_interval_ms = other ? h->status->interval_ms : 0;
	rare->interval_beats =
		other ? (uint8_t)(rare->interval_beats + (rare->interval_beats < 4)) : 0;
	if (rare->interval_beats == 3)
		mismatch_note(
			core, p, "interval", "the client keeps another interval than it was told");
}

static bool view_is_old(struct core *core, const struct client *c)
{
	uint16_t age = (uint16_t)((uint16_t)(core->now.mono.ms / 1000) - c->view_s);

	// A broker that was reached anew may have forgotten all of them.
	return age >= core->config.view_period_s ||
	       age > mono_since_ms(core->now.mono, core->link_since) / 1000;
}

static enum err beat_record(struct core *core, const struct passed *p, const struct heartbeat *h)
{
	if (beat_is_fresh(core, p->client, h))
		reach_heard(core, p->number);
	record_address(core, p, h);
	record_status(core, p, h->status);
	if (h->holdings)
		record_holdings(core, p, h->holdings);
	record_interval(core, p, h);
	if (view_is_old(core, p->client))
		view_old(core, p->number);
	if (p->client->state == CS_CLONE_SUSPECT)
		return ERR_OK;
	return record_changes(core, p, h);
}

// ---- 3. judge

// How far the client is with its own files, in steps.
static uint16_t looks_of(const struct heartbeat *h)
{
	uint64_t mb = 0;

	for (size_t i = 0; h->holdings && i < h->holdings->item_count; i++)
		mb += h->holdings->items[i].looked_mb;
	return (uint16_t)(mb / LOOK_STEP_MB);
}

static void progress_note(struct core *core, const struct passed *p, const struct heartbeat *h)
{
	struct open_operation *op = client_open(p->client);
	const struct operation *shown = h->op;

	if (!op || !shown)
		return;
	if (op->passed && shown->op_id == op->passed->op_id)
		op = op->passed;
	if (shown->op_id != op->op_id)
		return;
	uint16_t looks = looks_of(h);
	bool changed =
		op->status != shown->status || op->percent != shown->percent || op->looks != looks;
	bool goes_on = changed && op->progress < PROGRESS_MAX;
	// Who is told to hold still makes no progress.
	bool held =
		op->kind == KIND_RETRIEVE_INFORMATION && queue_of_control(core, p->client)->paused;
	op->progress = (uint16_t)(op->progress + goes_on);
	if (goes_on || held)
		op->deadline_tick = operation_deadline(core, op);
	if (op->status != shown->status)
		view_due(core, p->number);
	op->status = (uint8_t)shown->status;
	op->percent = (uint8_t)shown->percent;
	op->looks = looks;
	(void)str_copy(op->detail, sizeof(op->detail), shown->detail);
}

// Beats in a row that D did not reach, by their own word or by what they show. A client that shows
// something newer each time hears us, only late: it starts anew. Beats that come in one heap after
// a stall of the network asked once: none of them could know our answer to another.
static void resends_count(struct core *core, const struct passed *p, const struct heartbeat *h)
{
	struct client *c = p->client;
	bool unheard = h->ack == ACK_RESEND || (client_open(c) && h->last_response_id < c->d);
	struct client_rare *rare = unheard ? client_rare_get(c) : NULL;

	if (!rare) {
		c->ack_resends = 0;
		return;
	}
	if (rare->resend_shown != h->last_response_id)
		c->ack_resends = 0;
	else if (c->ack_resends && mono_since_ms(core->now.mono, rare->resend_counted) <
					   (int64_t)c->told_interval_ms / 2)
		return;
	rare->resend_shown = h->last_response_id;
	rare->resend_counted = core->now.mono;
	c->ack_resends = (uint8_t)(c->ack_resends + (c->ack_resends < UINT8_MAX));
}

static struct accordance beat_judge(
	struct core *core, const struct passed *p, const struct heartbeat *h)
{
	const struct client *c = p->client;
	struct open_operation *op = client_open(c);
	bool says_done = op && h->op && h->op->op_id == op->op_id && h->op->status == OP_DONE;
	bool full = h->holdings && h->holdings->full;

	if (op && op->resync && full)
		op->reported = true;
	struct accordance_state s = {
		.state = (enum client_state)c->state,
		.d = c->d,
		.v = c->v ? core_response_id(core, c, c->v) : c->d,
		.incarnation = core->incarnations[c->shard],
		.mismatch_limit = core->config.mismatch_limit,
		.resend_limit = core->config.resend_limit,
		.ack_resends = c->ack_resends,
	};
	if (op) {
		s.p = op->before_id;
		s.open_op = op->op_id;
		s.passed_op = op->passed ? op->passed->op_id : 0;
		s.reported = op->reported;
		s.complete = says_done && op->kind == KIND_RETRIEVE_INFORMATION &&
			     operation_is_complete(core, c, op);
		s.is_resync = op->resync;
		s.full_holdings = op->resync && op->reported;
		s.patience = op->patience;
		s.resends = op->resends;
	}
	return accordance_judge(&s, &(struct accordance_shown){
					    .last_response_id = h->last_response_id,
					    .ack = h->ack,
					    .op_id = h->op ? h->op->op_id : 0,
					    .op_status = h->op ? h->op->status : 0,
				    });
}

static void judgement_count(struct core *core, const struct passed *p, const struct accordance *a)
{
	struct client *c = p->client;
	struct open_operation *op = client_open(c);

	if (a->mismatch)
		mismatch_note(core, p, reason_word(a->code), a->why);
	if (!op)
		return;
	if (a->waits)
		op->patience++;
	if (a->outcome == ACCORD_RESEND && a->mismatch)
		op->resends++;
	else if (a->outcome == ACCORD && !a->waits)
		op->resends = 0;
}

// ---- 4. completion

static bool is_overdue(const struct core *core, const struct open_operation *op)
{
	return (int32_t)(attended_tick(core) - op->deadline_tick) > 0;
}

// We give it up, and the client is at it and cannot know: that is no disagreement, it is told.
static enum err deadline_over(
	struct core *core, const struct passed *p, struct open_operation *op, struct accordance *a)
{
	(void)str_copy(op->detail, sizeof(op->detail), "no progress within the deadline");
	TRY(operation_close(core, p->number, op->command ? OP_UNKNOWN : OP_FAILED, "deadline"));
	if (p->client->rare->retry)
		return ERR_OK;
	a->outcome = ACCORD_CANCEL;
	a->code = REASON_CANCEL_UNKNOWN;
	a->why = "no progress within the deadline: the operation is given up";
	return ERR_OK;
}

static enum err beat_complete(struct core *core, const struct passed *p, struct accordance *a)
{
	struct open_operation *op = client_open(p->client);

	if (!op)
		return ERR_OK;
	if (a->passed_completes)
		TRY(operation_close_passed(core, p->number, a->passed_completes));
	if (a->completes) {
		if (op->resync && a->completes == OP_DONE)
			p->client->flags |= CLIENT_HOLDINGS_KNOWN;
		return operation_close(core, p->number, a->completes, op_status_word(a->completes));
	}
	if (a->outcome != ACCORD || !is_overdue(core, op))
		return ERR_OK;
	return deadline_over(core, p, op, a);
}

// ---- 5. select

static struct next_event beat_select(struct core *core, const struct passed *p,
	const struct heartbeat *h, const struct accordance *a, size_t *at)
{
	struct client *c = p->client;
	const struct client_rare *rare = c->rare;
	struct channel_offer offer;
	struct next_input in = {
		.state = (enum client_state)c->state,
		.accordance = a,
		.busy = h->ack == ACK_BUSY,
		.asked_again = h->ack == ACK_RESEND,
		.open = client_open(c) != NULL,
		.holdings_known = c->flags & CLIENT_HOLDINGS_KNOWN,
		.private_limit = core->config.private_in_a_row,
		.private_shows = QUEUE_NONE,
	};

	in.resting = rare && rare->rest_tail == memberships_tails(core, c, false) &&
		     (int32_t)(rare->rest_tick - attended_tick(core)) > 0;
	*at = memberships_choose(core, c, in.resting, &offer);
	in.channel_shows = offer.shows;
	in.channel_type = offer.type;
	in.held = offer.held;
	if (rare) {
		in.retry = rare->retry != NULL;
		in.correction_waits = rare->correction_wait > 0;
		in.cancel_asked = rare->open && rare->open->cancel_flow && !rare->open->resync;
		in.private_in_a_row = rare->in_a_row;
		if (rare->private && rare->private->count && !rare->private->paused)
			in.private_shows = QUEUE_ELEMENT;
	}
	if (in.open && a->outcome == ACCORD)
		in.overtakes = next_overtakes(core, p->number, next_event_of_queues(&in).act, *at);
	if ((a->outcome == ACCORD_RESYNC || a->outcome == ACCORD_RESTORED) && !in.correction_waits)
		in.correction_waits = !ratelimit_take(&core->resyncs_allowed, 1, core->now.mono);
	struct next_event next = next_event_decide(&in);
	if (!next_event_is_of_many(&in, &next) ||
		ratelimit_take_above(&core->operations_allowed, 1,
			pace_lasts(core) ? core->operations_spared : 0, core->now.mono))
		return next;
	in.turn_waits = true;
	return next_event_decide(&in);
}

// Who waits comes again one after the other, as fast as turns are given; not all at once, to be
// sent away once more.
static uint32_t turn_place(struct core *core)
{
	int64_t now_us = core->now.mono.ms * 1000;

	if (core->turn_due_us < now_us)
		core->turn_due_us = now_us;
	int64_t due_us = core->turn_due_us + 1000000 / core->config.operations_per_s;
	int64_t ms = (due_us - now_us) / 1000;
	if (ms > core->intervals.idle_ms)
		return HEARTBEAT_MAX_MS; // the ordinary interval is sooner: no place is used up
	core->turn_due_us = due_us;
	return (uint32_t)ms;
}

// ---- 6. act

static enum err act_cancel(struct core *core, const struct passed *p, const struct heartbeat *h,
	const struct next_event *next)
{
	char number[24];
	const char *args[1] = {number};
	struct client_rare *rare = client_rare_get(p->client);
	struct open_operation *passed = rare ? rare->open : NULL;
	uint64_t op_id = passed ? passed->op_id : h->op->op_id;
	struct execute_command command = {
		.verb = "cancel", .args = args, .arg_count = 1, .timeout_ms = 60000};

	if (!rare)
		return err_set(ERR_MEMORY, "no memory for an operation");
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)op_id);
	struct answer a = {
		.kind = KIND_EXECUTE_COMMAND,
		.state = CS_AWAIT_COMMAND,
		.code = next->code,
		.text = next->why,
		.queue = "",
		.flow_id = passed ? passed->cancel_flow : core_flow_new(core),
		.attempt = 1,
		.execute = &command,
		.passed = passed,
	};
	if (passed) {
		passed->cancel_flow = 0;
		TRY(rows_operation_cancel(core->db, p->id, passed->op_id, 0));
		rare->open = NULL;
	}
	enum err e = operation_open(core, p->number, h->seq, &a);
	if (e != ERR_OK && !rare->open)
		rare->open = passed;
	return e;
}

static enum err act_resync(struct core *core, const struct passed *p, const struct heartbeat *h,
	const struct next_event *next)
{
	struct client_rare *rare = client_rare_get(p->client);
	struct execute_command command = {.verb = "resync", .timeout_ms = 60000};

	if (!rare)
		return err_set(ERR_MEMORY, "no memory for an operation");
	struct open_operation *op = rare->open;
	// Who has not received D yet may still show what came before it.
	uint64_t before_id = op && h->last_response_id < p->client->d ? op->before_id : 0;
	if (op) {
		if (!op->resync)
			(void)str_copy(op->detail, sizeof(op->detail),
				"the client and the server disagreed");
		enum op_status outcome = op->command ? OP_UNKNOWN : OP_FAILED;
		TRY(operation_close(core, p->number, outcome, next->why));
	}
	p->client->ack_resends = 0;
	patience_disagreed(core, p->number, false, next->why);
	return operation_open(core, p->number, h->seq,
		&(struct answer){
			.kind = KIND_EXECUTE_COMMAND,
			.state = CS_RESYNC,
			.code = next->code,
			.text = next->why,
			.queue = "",
			.flow_id = core_flow_new(core),
			.attempt = 1,
			.execute = &command,
			.before_id = before_id,
			.resync = true,
		});
}

static enum err beat_act(struct core *core, const struct passed *p, const struct heartbeat *h,
	const struct next_event *next, size_t at)
{
	switch (next->act) {
	case NEXT_NOTHING:
		return respond_no_action(core, p->number, h->seq, next->code, next->why);
	case NEXT_RESEND:
		return respond_resend(core, p->number, h->seq, next->code, next->why);
	case NEXT_CANCEL:
	case NEXT_CANCEL_OPEN:
		return act_cancel(core, p, h, next);
	case NEXT_RESYNC:
		return act_resync(core, p, h, next);
	case NEXT_RETRY:
		return operation_retry(core, p->number, h->seq);
	case NEXT_PRIVATE:
		return private_take(core, p->number, h->seq);
	case NEXT_CHANNEL:
		return channel_take(core, p->number, h->seq, at);
	case NEXT_ASK_HOLDINGS:
		return channel_ask_holdings(core, p->number, h->seq);
	case NEXT_SNAPSHOT:
		return channel_snapshot(core, p->number, h->seq);
	}
	return err_set(ERR_RANGE, "no such act");
}

// No pointer can be trusted: the leader opens a new epoch of every channel.
static enum err older_store(struct core *core, const struct passed *p, uint32_t shown)
{
	if (core->leads)
		return channels_new_epoch(core, "a client remembers a later start of the server");
	return core_letter_to_lead(
		core, &(struct letter_said){.kind = LETTER_OLDER, .client = p->id, .a = shown});
}

static enum err beat_answer(struct core *core, const struct passed *p, const struct heartbeat *h)
{
	size_t at = 0;

	TRY(beat_record(core, p, h));
	TRY(memberships_detach_fallen(core, p->number));
	progress_note(core, p, h);
	resends_count(core, p, h);
	struct accordance a = beat_judge(core, p, h);
	if (a.outcome == ACCORD_RESTORED &&
		incarnation_raise(core, (uint32_t)(h->last_response_id >> 32)))
		TRY(older_store(core, p, (uint32_t)(h->last_response_id >> 32)));
	core->judged_by = (uint8_t)a.rule;
	judgement_count(core, p, &a);
	TRY(beat_complete(core, p, &a));
	if (p->client->rare)
		patience_judged(p->client->rare, &a);
	struct next_event next = beat_select(core, p, h, &a, &at);
	if (next.act == NEXT_CANCEL && a.mismatch && client_rare_get(p->client))
		patience_disagreed(core, p->number, true, next.why);
	if (next.code == REASON_CAUGHT_UP)
		pace_count_idle(core);
	core->turn_waits = next.code == REASON_TURN;
	if (core->turn_waits)
		core->turn_ms = turn_place(core);
	enum err e = beat_act(core, p, h, &next, at);
	core->turn_waits = false;
	return e;
}

void handle_heartbeat(struct core *core, const struct passed *p, const struct heartbeat *h)
{
	core->heartbeats++;
	if (beat_answer(core, p, h) != ERR_OK)
		beat_failed(core, p);
	core->judged_by = 0;
}
