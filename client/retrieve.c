// RETRIEVE_INFORMATION: want -> grant -> the doer fetches -> release, one package after the other.
//
// A want is repeated under its request id until it is answered; PUBACK is no answer. A package that
// is held complete is only switched to. A broker that failed and objects that are missing go back
// to the server with the next request; too many of them in a row, without a byte of progress, end
// the operation. Releases are told until they are acknowledged, and nothing waits for them.
#include "client/agent_parts.h"
#include "proto/base/ratelimit.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A want or an answer is lost only together with its connection or its server, and both are
// noticed: repeating is for what nobody thought of, and a crowd whose answers are late is not to
// ask twice meanwhile.
#define WANT_FIRST_MS 4000
#define WANT_MAX_MS 30000
#define FAILED_FIRST_MS 1000
#define LATER_MIN_MS 200
#define LATER_MAX_MS (10 * 60 * 1000)
#define FAILURES_MAX 6
#define RELEASE_TRIES 10
#define SWITCH_LOOK_MS 250

void retrieve_fini(struct agent_core *c)
{
	free(c->retrieve.items);
	free(c->retrieve.missing);
	c->retrieve = (struct retrieve_job){0};
}

static struct retrieve_item *item_now(struct agent_core *c)
{
	struct retrieve_job *job = &c->retrieve;
	return job->at < job->item_count ? &job->items[job->at] : NULL;
}

static void want_send(struct agent_core *c, struct want *w)
{
	struct client_session *s = &c->session;
	struct topic topic = topic_want(c->config->client_id);
	w->client_id = c->config->client_id;
	w->session_id = s->id;
	w->seq = ++s->want_seq;
	w->boot = s->boot;
	if (want_encode(w, c->config->out) != ERR_OK || session_publish(c, topic.s, 1) != ERR_OK)
		log_debug("WANT-UNSENT", "why=%s", log_quote(err_text()));
}

// ---- release

static void release_send(struct agent_core *c, struct now now, struct release_job *r)
{
	struct fetch_release release = {
		.package = r->package,
		.lease = r->lease,
		.outcome = r->outcome,
		.request_id = r->request_id,
	};
	struct want want = {.release = &release};
	r->next = mono_add_ms(now.mono, agent_backoff_ms(c, r->tries, WANT_FIRST_MS, WANT_MAX_MS));
	if (!c->session.current || !c->link_up)
		return;
	if (++r->tries > RELEASE_TRIES) {
		log_warn("RELEASE-GIVEN-UP", "client=%s package=%s", c->config->client_id,
			digest_short(&r->package));
		r->request_id = 0;
		return;
	}
	want_send(c, &want);
}

static void item_release(
	struct agent_core *c, struct now now, struct retrieve_item *item, enum op_status outcome)
{
	if (item->lease == 0)
		return;
	struct release_job *slot = &c->releases[0];
	for (size_t i = 0; i < AGENT_RELEASES; i++) {
		if (c->releases[i].request_id == 0) {
			slot = &c->releases[i];
			break;
		}
		if (c->releases[i].request_id < slot->request_id)
			slot = &c->releases[i]; // the oldest one has to go: its lease ends by age
	}
	*slot = (struct release_job){
		.package = item->package,
		.lease = item->lease,
		.request_id = ++c->request_counter,
		.outcome = outcome,
	};
	item->lease = 0;
	release_send(c, now, slot);
}

// ---- want

static struct package_ref item_ref(const struct retrieve_item *item)
{
	return (struct package_ref){
		.package = item->package,
		.publisher = item->publisher,
		.kind = item->kind,
		.name = item->name,
		.version = item->version,
		.size_bytes = item->size_bytes,
		.activate = item->activate,
		.activate_unix_ms = item->activate_unix_ms,
	};
}

static void want_fetch(struct agent_core *c, struct now now)
{
	struct retrieve_job *job = &c->retrieve;
	struct retrieve_item *item = item_now(c);
	struct fetch_request request = {
		.package = item->package,
		.publisher = item->publisher,
		.request_id = job->request_id,
		.chunks_have = item->chunks_have,
		.chunks_total = item->chunks_total,
		.missing_objects = job->missing,
		.missing_count = job->missing_count,
		.failed_broker = job->failed_broker,
	};
	struct package_ref ref = item_ref(item);
	if (c->port->base != NULL && !c->port->base(c->ctx, &ref, &request.base))
		request.base = (struct digest){{0}};
	struct want want = {.fetch = &request};
	job->next =
		mono_add_ms(now.mono, agent_backoff_ms(c, job->tries, WANT_FIRST_MS, WANT_MAX_MS));
	if (!c->session.current || !c->link_up)
		return;
	job->tries++;
	want_send(c, &want);
}

static void want_new(struct agent_core *c, struct now now)
{
	struct retrieve_job *job = &c->retrieve;
	job->phase = RETRIEVE_ASK;
	job->request_id = ++c->request_counter;
	job->is_deferred = false;
	job->tries = 0;
	want_fetch(c, now);
}

// ---- begin and go on

static void item_fill(struct retrieve_item *to, const struct package_ref *from)
{
	*to = (struct retrieve_item){
		.package = from->package,
		.kind = from->kind,
		.size_bytes = from->size_bytes,
		.activate = from->activate,
		.activate_unix_ms = from->activate_unix_ms,
	};
}

static enum err items_copy(struct retrieve_job *job, const struct retrieve_information *r)
{
	free(job->items);
	free(job->missing);
	*job = (struct retrieve_job){0};
	if (r->package_count == 0)
		return ERR_OK;
	job->items = calloc(r->package_count, sizeof *job->items);
	if (job->items == NULL)
		return err_set(ERR_MEMORY, "no memory for %zu packages", r->package_count);
	for (size_t i = 0; i < r->package_count; i++) {
		struct retrieve_item *item = &job->items[i];
		item_fill(item, &r->packages[i]);
		if (!str_copy(item->publisher, sizeof item->publisher, r->packages[i].publisher) ||
			!str_copy(item->name, sizeof item->name, r->packages[i].name) ||
			!str_copy(item->version, sizeof item->version, r->packages[i].version))
			return err_set(ERR_RANGE,
				"the name, version or publisher of a package is too long");
	}
	job->item_count = r->package_count;
	return ERR_OK;
}

// No further try changes it; what else the operation names is done all the same.
static void item_refuse(struct retrieve_job *job, const char *why)
{
	if (job->refusal[0] == '\0')
		text_format(job->refusal, sizeof job->refusal, "%s", why);
}

// Held already: only switched to, or kept for later. False: not yet, or the operation ended.
static bool item_skip_held(struct agent_core *c, struct now now, struct retrieve_item *item)
{
	struct retrieve_job *job = &c->retrieve;
	struct package_ref ref = item_ref(item);
	item->complete = true;
	enum err e = c->port->activate(c->ctx, &ref);
	if (e == ERR_OK)
		return true;
	if (e == ERR_NOT_NOW) {
		job->phase = RETRIEVE_SWITCH;
		job->next = mono_add_ms(now.mono, SWITCH_LOOK_MS);
		c->state.op.status = OP_RUNNING;
		return false;
	}
	if (e == ERR_STALE) {
		item_refuse(job, err_text());
		return true;
	}
	job->phase = RETRIEVE_NONE;
	operation_end(c, now, OP_FAILED, "activate: %s", err_text());
	return false;
}

// What failed here before is not fetched again.
static bool item_is_refused(struct agent_core *c, const struct retrieve_item *item)
{
	struct package_ref ref = item_ref(item);
	const char *why = NULL;
	if (c->port->refuses != NULL && item->kind == PACKAGE_SOFTWARE && item->activate)
		why = c->port->refuses(c->ctx, &ref);
	if (why != NULL)
		item_refuse(&c->retrieve, why);
	return why != NULL;
}

void agent_switch_progress(struct agent_core *c, uint32_t percent, const char *text)
{
	struct retrieve_job *job = &c->retrieve;
	(void)str_copy(job->note, sizeof job->note, text);
	if (job->phase != RETRIEVE_SWITCH || !operation_is_open(c))
		return;
	c->state.op.percent = percent > 99 ? 99 : percent;
	(void)str_copy(c->state.op.detail, sizeof c->state.op.detail, text);
}

void retrieve_step(struct agent_core *c, struct now now)
{
	struct retrieve_job *job = &c->retrieve;
	for (; job->at < job->item_count; job->at++) {
		struct retrieve_item *item = &job->items[job->at];
		struct holding held = {.package = item->package};
		if (item_is_refused(c, item))
			continue;
		c->port->holding(c->ctx, &item->package, &held);
		if (!held.complete) {
			item->chunks_have = held.chunks_have;
			item->chunks_total = held.chunks_total;
			want_new(c, now);
			return;
		}
		if (!item_skip_held(c, now, item))
			return;
	}
	bool refused = job->refusal[0] != '\0';
	job->phase = RETRIEVE_NONE;
	const char *text = refused ? job->refusal : job->note;
	operation_end(c, now, refused ? OP_REFUSED : OP_DONE, "%s%s%s", text,
		text[0] != '\0' && job->rotten[0] != '\0' ? "; " : "", job->rotten);
}

static bool interval_is_legal(uint32_t interval_ms)
{
	return interval_ms >= HEARTBEAT_MIN_MS && interval_ms <= HEARTBEAT_MAX_MS;
}

void retrieve_begin(struct agent_core *c, struct now now, const struct retrieve_information *r)
{
	struct retrieve_job *job = &c->retrieve;
	if (items_copy(job, r) != ERR_OK) {
		operation_end(c, now, OP_FAILED, "%s", err_text());
		return;
	}
	if (r->heartbeat_interval_ms != 0) {
		if (!interval_is_legal(r->heartbeat_interval_ms)) {
			operation_end(c, now, OP_REFUSED, "interval: %u ms is not within %d and %d",
				r->heartbeat_interval_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS);
			return;
		}
		c->state.interval_ms = r->heartbeat_interval_ms;
		beat_grid_set(&c->grid, now.mono, r->heartbeat_interval_ms);
	}
	if (r->change_count != 0 &&
		c->port->changes(c->ctx, r->changes, r->change_count) != ERR_OK) {
		operation_end(c, now, OP_FAILED, "changes: %s", err_text());
		return;
	}
	if (r->package_count == 0 && r->command == NULL && r->change_count == 0 &&
		r->heartbeat_interval_ms == 0) {
		operation_end(c, now, OP_REFUSED, "nothing is named");
		return;
	}
	// A package is only accepted until it is granted.
	if (r->command != NULL || r->package_count == 0)
		c->state.op.status = OP_RUNNING;
	if (r->command != NULL) {
		job->phase = RETRIEVE_COMMAND;
		c->port->command_fetch(c->ctx, c->state.op.op_id, r->command);
		return;
	}
	retrieve_step(c, now);
}

void retrieve_stop(struct agent_core *c, struct now now, enum op_status outcome)
{
	struct retrieve_job *job = &c->retrieve;
	struct retrieve_item *item = item_now(c);
	if (job->phase == RETRIEVE_FETCH)
		c->port->fetch_stop(c->ctx);
	if (job->phase == RETRIEVE_COMMAND)
		c->port->command_stop(c->ctx, c->state.op.op_id);
	if (item != NULL)
		item_release(c, now, item, outcome);
	job->phase = RETRIEVE_NONE;
}

// What a package's signed manifest says against this device.
static bool is_refusal(const char *word)
{
	static const char *const words[] = {
		"kind", "hw-class", "product", "agent-version", "security-counter"};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(word, words[i]) == 0)
			return true;
	}
	return false;
}

static void retrieve_fail(struct agent_core *c, struct now now, const char *word, const char *text)
{
	char why[LIMIT_TEXT];
	retrieve_stop(c, now, OP_FAILED);
	if (is_refusal(word)) {
		text_format(why, sizeof why, "reason=%s %s", word, text);
		item_refuse(&c->retrieve, why);
		c->retrieve.at++;
		retrieve_step(c, now);
		return;
	}
	operation_end(c, now, OP_FAILED, "reason=%s %s", word, text);
}

// ---- grants

static void grant_never(struct agent_core *c, struct now now, const struct grant *g)
{
	retrieve_stop(c, now, OP_FAILED);
	operation_end(c, now, OP_FAILED, "%s", g->reason);
}

static void grant_release_acked(struct agent_core *c, const struct grant *g)
{
	for (size_t i = 0; i < AGENT_RELEASES; i++) {
		if (c->releases[i].request_id == g->request_id)
			c->releases[i].request_id = 0;
	}
}

static void grant_later(struct agent_core *c, struct now now, const struct grant *g)
{
	struct retrieve_job *job = &c->retrieve;
	int64_t wait_ms = g->retry_after_ms;
	wait_ms = wait_ms < LATER_MIN_MS   ? LATER_MIN_MS
		  : wait_ms > LATER_MAX_MS ? LATER_MAX_MS
					   : wait_ms;
	if (job->phase == RETRIEVE_FETCH)
		c->port->fetch_stop(c->ctx);
	job->phase = RETRIEVE_LATER;
	job->is_deferred = true;
	job->next = mono_add_ms(now.mono, wait_ms);
	log_info("GRANT-LATER", "client=%s retry_after_ms=%lld why=%s", c->config->client_id,
		(long long)wait_ms, log_quote(g->reason));
}

// The want was repeated before its answer came, and was answered twice: what it began goes on.
static bool grant_is_repeat(
	const struct retrieve_job *job, const struct retrieve_item *item, const struct grant *g)
{
	return job->phase == RETRIEVE_FETCH && item->lease != 0 && item->lease == g->lease &&
	       strcmp(job->broker, g->from->broker_id) == 0;
}

void retrieve_grant(struct agent_core *c, struct now now, const struct grant *g)
{
	struct retrieve_job *job = &c->retrieve;
	struct retrieve_item *item = item_now(c);
	if (g->release_acked) {
		grant_release_acked(c, g);
		return;
	}
	bool waiting = job->phase == RETRIEVE_ASK || job->phase == RETRIEVE_FETCH ||
		       (job->phase == RETRIEVE_LATER && job->is_deferred);
	if (!waiting || item == NULL || g->request_id != job->request_id ||
		!digest_equal(&g->package, &item->package)) {
		log_debug("GRANT-STRANGE", "client=%s", c->config->client_id);
		return;
	}
	if (!g->granted) {
		if (g->retry_after_ms == 0)
			grant_never(c, now, g);
		else
			grant_later(c, now, g);
		return;
	}
	if (g->from != NULL && grant_is_repeat(job, item, g)) {
		log_debug("GRANT-REPEATED", "client=%s lease=%llu", c->config->client_id,
			(unsigned long long)g->lease);
		job->granted_bytes_per_s = g->rate_bytes_per_s;
		agent_pace(c, rate_lower(g->rate_bytes_per_s, c->rate_bytes_per_s), c->hold);
		return;
	}
	if (g->from == NULL || strcmp(g->publisher, item->publisher) != 0 ||
		!str_copy(job->broker, sizeof job->broker, g->from->broker_id)) {
		log_warn("GRANT-REFUSED", "client=%s why=\"publisher or broker do not fit\"",
			c->config->client_id);
		return;
	}
	free(job->missing);
	job->missing = NULL;
	job->missing_count = 0;
	job->failed_broker[0] = '\0';
	job->phase = RETRIEVE_FETCH;
	c->state.op.status = OP_RUNNING;
	item->lease = g->lease;
	struct package_ref ref = item_ref(item);
	struct fetch_order order = {
		.package = &ref,
		.grant = g,
		.rate_bytes_per_s = rate_lower(g->rate_bytes_per_s, c->rate_bytes_per_s),
		.hold = c->hold,
		.floor = agent_state_floor(&c->state, item->name),
	};
	job->granted_bytes_per_s = g->rate_bytes_per_s;
	c->paced_bytes_per_s = order.rate_bytes_per_s;
	log_info("GRANT", "client=%s package=%s broker=%s lease=%llu rate=%llu window=%u",
		c->config->client_id, digest_short(&item->package), job->broker,
		(unsigned long long)g->lease, (unsigned long long)order.rate_bytes_per_s,
		g->window);
	c->port->fetch(c->ctx, &order);
}

// ---- what the doer says

static uint32_t percent_of(const struct retrieve_job *job)
{
	double sum = 0;
	for (size_t i = 0; i < job->item_count; i++) {
		const struct retrieve_item *item = &job->items[i];
		if (item->complete)
			sum += 1;
		else if (item->chunks_total != 0)
			sum += (double)item->chunks_have / item->chunks_total;
	}
	uint32_t percent = (uint32_t)(100.0 * sum / (double)job->item_count);
	return percent > 99 ? 99 : percent;
}

void agent_fetch_progress(struct agent_core *c, uint32_t have, uint32_t total)
{
	struct retrieve_item *item = item_now(c);
	if (item == NULL || c->retrieve.phase != RETRIEVE_FETCH)
		return;
	if (have > item->chunks_have)
		c->retrieve.failures = 0;
	item->chunks_have = have;
	item->chunks_total = total;
	c->state.op.percent = percent_of(&c->retrieve);
}

void agent_fetch_bytes(struct agent_core *c, uint64_t to_come, bool delta)
{
	struct retrieve_item *item = item_now(c);
	struct op_record *op = &c->state.op;
	if (item == NULL || c->retrieve.phase != RETRIEVE_FETCH)
		return;
	(void)snprintf(op->detail, sizeof op->detail, "%llu bytes to come%s",
		(unsigned long long)to_come, delta ? ", as a delta" : "");
}

void agent_fetch_rotten(struct agent_core *c, const struct digest *package, uint32_t chunks)
{
	(void)snprintf(c->retrieve.rotten, sizeof c->retrieve.rotten,
		"%u rotten chunks in the held package %s", chunks, digest_short(package));
}

void agent_fetch_done(struct agent_core *c, struct now now, const struct digest *package)
{
	struct retrieve_item *item = item_now(c);
	if (item == NULL || c->retrieve.phase != RETRIEVE_FETCH ||
		!digest_equal(package, &item->package))
		return;
	item->complete = true;
	item_release(c, now, item, OP_DONE);
	// Software, and pictures for a moment to come, are held now, and only then switched to.
	if (item->kind != PACKAGE_SOFTWARE && item->activate_unix_ms == 0)
		c->retrieve.at++;
	c->retrieve.failures = 0;
	retrieve_step(c, now);
}

void agent_fetch_failed(struct agent_core *c, struct now now, const char *word, const char *text)
{
	if (c->retrieve.phase == RETRIEVE_FETCH)
		retrieve_fail(c, now, word, text);
}

static void fetch_ask_again(struct agent_core *c, struct now now, const char *word, const char *why)
{
	struct retrieve_job *job = &c->retrieve;
	if (++job->failures > FAILURES_MAX) {
		retrieve_fail(c, now, word, why);
		return;
	}
	if (job->failures == 1) {
		want_new(c, now);
		return;
	}
	job->phase = RETRIEVE_LATER;
	job->next = mono_add_ms(
		now.mono, agent_backoff_ms(c, job->failures - 2, FAILED_FIRST_MS, WANT_MAX_MS));
}

void agent_fetch_missing(
	struct agent_core *c, struct now now, const struct digest *objects, size_t count)
{
	struct retrieve_job *job = &c->retrieve;
	if (job->phase != RETRIEVE_FETCH)
		return;
	if (count > LIMIT_MISSING)
		count = LIMIT_MISSING;
	free(job->missing);
	job->missing_count = 0;
	job->missing = malloc((count + 1) * sizeof *job->missing);
	if (job->missing != NULL) {
		memcpy(job->missing, objects, count * sizeof *objects);
		job->missing_count = count;
	}
	log_warn("FETCH-MISSING", "client=%s broker=%s objects=%zu first=%s", c->config->client_id,
		job->broker, count, count != 0 ? digest_short(&objects[0]) : "");
	fetch_ask_again(c, now, "missing", "the brokers do not have all objects");
}

void agent_fetch_broker_failed(struct agent_core *c, struct now now, const char *why)
{
	struct retrieve_job *job = &c->retrieve;
	if (job->phase != RETRIEVE_FETCH)
		return;
	if (!str_copy(job->failed_broker, sizeof job->failed_broker, job->broker))
		job->failed_broker[0] = '\0';
	log_warn("FETCH-BROKER-FAILED", "client=%s broker=%s why=%s", c->config->client_id,
		job->broker, log_quote(why));
	fetch_ask_again(c, now, "broker", why);
}

// ---- time

void retrieve_session_changed(struct agent_core *c, struct now now)
{
	if (c->retrieve.phase == RETRIEVE_ASK)
		want_fetch(c, now);
	for (size_t i = 0; i < AGENT_RELEASES; i++) {
		if (c->releases[i].request_id != 0)
			c->releases[i].next = now.mono;
	}
}

void retrieve_tick(struct agent_core *c, struct now now)
{
	struct retrieve_job *job = &c->retrieve;
	if (job->phase == RETRIEVE_ASK && mono_since_ms(now.mono, job->next) >= 0)
		want_fetch(c, now);
	if (job->phase == RETRIEVE_LATER && mono_since_ms(now.mono, job->next) >= 0)
		want_new(c, now);
	if (job->phase == RETRIEVE_SWITCH && mono_since_ms(now.mono, job->next) >= 0)
		retrieve_step(c, now);
	for (size_t i = 0; i < AGENT_RELEASES; i++) {
		struct release_job *r = &c->releases[i];
		if (r->request_id != 0 && mono_since_ms(now.mono, r->next) >= 0)
			release_send(c, now, r);
	}
}

bool retrieve_deadline(const struct agent_core *c, struct mono *out)
{
	const struct retrieve_job *job = &c->retrieve;
	bool any = job->phase == RETRIEVE_ASK || job->phase == RETRIEVE_LATER ||
		   job->phase == RETRIEVE_SWITCH;
	if (any)
		*out = job->next;
	for (size_t i = 0; i < AGENT_RELEASES; i++) {
		const struct release_job *r = &c->releases[i];
		if (r->request_id != 0 && (!any || mono_since_ms(*out, r->next) > 0)) {
			*out = r->next;
			any = true;
		}
	}
	return any;
}
