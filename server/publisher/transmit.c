#include "transmit.h"
#include "delta_store.h"
#include "proto/base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct transmit {
	const struct publisher_config *config;
	struct store *store;
	struct control *control;
	struct station *stations[STATIONS_MAX];
	size_t count;
	struct log_gate ignored_gate;
	void (*command_done)(void *ctx, const struct job_report *r);
	void *command_ctx;
	void (*job_done)(void *ctx, const struct job_report *r);
	void *job_ctx;
};

static void complain(const char *id, const struct digest *package)
{
	log_warn(id, "package=%s why=%s", digest_short(package), log_quote(err_text()));
}

// ---- messages to the server

static struct publisher_msg message_of(enum publisher_state state, const struct job_report *r)
{
	return (struct publisher_msg){.state = state,
		.package = r->package,
		.directive_id = r->directive_id,
		.broker_id = r->broker,
		.sent_bytes = r->sent_bytes,
		.total_bytes = r->total_bytes,
		.objects = r->objects,
		.detail = r->detail,
		.mark = r->mark,
		.index_sha256 = r->index_sha256};
}

static void tell_outcome(struct transmit *t, enum publisher_state state, const struct job_report *r)
{
	struct publisher_msg m = message_of(state, r);
	struct directives said;
	struct package p;

	if (package_find(t->store, &r->package, &p) != ERR_OK ||
		directive_look(t->store, &r->package, r->broker, &said) != ERR_OK ||
		said.at > r->directive_id ||
		(state == PUB_STORED && said.of_none > r->directive_id))
		return; // it was taken back meanwhile
	m.object_bytes = p.object_bytes;
	if (control_request(t->control, &m, NULL) != ERR_OK)
		complain("PUBLISH-TELL-FAILED", &r->package);
}

static void on_report(void *ctx, const struct job_report *r)
{
	struct transmit *t = ctx;
	struct publisher_msg m;

	if (r->kind == JOB_COMMAND) {
		if (t->command_done)
			t->command_done(t->command_ctx, r);
		return;
	}
	if (!digest_is_zero(&r->base)) { // a delta is deltas.c's
		if (t->job_done)
			t->job_done(t->job_ctx, r);
		return;
	}
	switch (r->event) {
	case JOB_PROGRESS:
		m = message_of(PUB_SENDING, r);
		control_tell(t->control, &m);
		break;
	case JOB_STORED:
		tell_outcome(t, PUB_STORED, r);
		if (t->job_done)
			t->job_done(t->job_ctx, r);
		break;
	case JOB_STOPPED:
		tell_outcome(t, PUB_STOPPED, r);
		break;
	case JOB_FAILED:
		tell_outcome(t, PUB_FAILED, r);
		break;
	}
}

// ---- stations

static struct station *station_find(struct transmit *t, const char *broker)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(station_broker(t->stations[i]), broker) == 0)
			return t->stations[i];
	return NULL;
}

static void station_drop(struct transmit *t, const struct station *s)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->stations[i] != s)
			continue;
		station_free(t->stations[i]);
		t->stations[i] = t->stations[--t->count];
		return;
	}
}

static enum err station_get(struct transmit *t, const struct address *to, struct station **out)
{
	const struct station_events events = {.ctx = t, .report = on_report};
	struct station *s = station_find(t, to->broker_id);

	if (s && !station_is_at(s, to)) { // the broker moved
		station_drop(t, s);
		s = NULL;
	}
	if (!s) {
		if (t->count == STATIONS_MAX)
			return err_set(ERR_FULL, "at most %d data brokers", STATIONS_MAX);
		TRY(store_end(t->store, broker_put(t->store, to)));
		TRY(station_new(t->config, t->store, to, &events, &s));
		t->stations[t->count++] = s;
	}
	*out = s;
	return ERR_OK;
}

// ---- commands

enum err transmit_command(struct transmit *t, const struct address *to, const struct digest *sha256,
	struct bytes envelope)
{
	struct station *s = NULL;

	TRY(station_get(t, to, &s));
	return station_command(s, sha256, envelope);
}

void transmit_on_command(
	struct transmit *t, void (*done)(void *ctx, const struct job_report *r), void *ctx)
{
	t->command_done = done;
	t->command_ctx = ctx;
}

// ---- directives

static enum err obey_transmit(struct transmit *t, const struct directive *d)
{
	struct station *s = NULL;
	struct job_report begun = {.broker = d->to ? d->to->broker_id : "",
		.package = d->package,
		.directive_id = d->directive_id};

	if (!d->to)
		return err_set(ERR_FORMAT, "the directive names no broker");
	TRY(station_get(t, d->to, &s));
	if (d->kind == DIRECTIVE_TRANSMIT &&
		station_has(s, JOB_TRANSMIT, &d->package, d->directive_id)) {
		struct publisher_msg m = message_of(PUB_SENDING, &begun);
		control_tell(t->control, &m); // said again: we are at it
		return ERR_OK;
	}
	return station_transmit(s, &d->package, d->directive_id,
		d->kind == DIRECTIVE_REPAIR ? d->objects : NULL,
		d->kind == DIRECTIVE_REPAIR ? d->object_count : 0);
}

struct stop {
	struct transmit *t;
	const char *broker; // NULL: all
	char brokers[STATIONS_MAX][LIMIT_ID + 1];
	size_t count;
};

static bool stop_collect(void *ctx, const struct placement *p)
{
	struct stop *s = ctx;

	if (!s->broker || strcmp(s->broker, p->broker) == 0)
		(void)str_copy(s->brokers[s->count++], sizeof s->brokers[0], p->broker);
	return s->count < STATIONS_MAX;
}

// What lies where: of a package, or of a delta by its id.
static enum err stop_list(
	struct transmit *t, const struct digest *key, const char *broker, struct stop *s)
{
	*s = (struct stop){.t = t, .broker = broker};
	return placement_list(t->store, key, stop_collect, s);
}

static enum err station_known(struct transmit *t, const char *broker, struct station **out)
{
	SCOPED_ARENA struct arena a;
	struct address to;

	arena_init(&a, 4096, 16);
	TRY(broker_address(t->store, broker, &a, &to));
	return station_get(t, &to, out);
}

static enum err stop_at(
	struct transmit *t, const char *broker, const struct digest *package, uint64_t directive_id)
{
	struct station *s = NULL;

	TRY(station_known(t, broker, &s));
	if (station_has(s, JOB_WITHDRAW, package, directive_id))
		return ERR_OK;
	return station_withdraw(s, package, directive_id);
}

struct delta_bases {
	struct digest of[64];
	size_t count;
};

static bool delta_collect(void *ctx, const struct delta_row *d)
{
	struct delta_bases *b = ctx;

	b->of[b->count++] = d->base;
	return b->count < sizeof b->of / sizeof b->of[0];
}

static enum err delta_stop_at(struct transmit *t, const struct digest *package,
	const struct digest *base, const char *broker, bool *lies)
{
	struct digest id = delta_id(package, base);
	struct station *station = NULL;
	struct stop s;

	TRY(stop_list(t, &id, broker, &s));
	for (size_t i = 0; i < s.count; i++) {
		*lies = true;
		TRY(station_known(t, s.brokers[i], &station));
		TRY(station_delta(station, JOB_WITHDRAW, package, base));
	}
	return ERR_OK;
}

// A package's deltas go before it.
static enum err deltas_stop_all(
	struct transmit *t, const struct digest *package, const char *broker)
{
	struct delta_bases b = {0};
	bool lies = false;

	TRY(delta_list(t->store, package, delta_collect, &b));
	for (size_t i = 0; i < b.count; i++)
		TRY(delta_stop_at(t, package, &b.of[i], broker, &lies));
	return ERR_OK;
}

static enum err stop_all(struct transmit *t, const struct digest *package, uint64_t directive_id,
	const char *broker, size_t *count)
{
	struct stop s;

	TRY(deltas_stop_all(t, package, broker));
	TRY(stop_list(t, package, broker, &s));
	for (size_t i = 0; i < s.count; i++)
		TRY(stop_at(t, s.brokers[i], package, directive_id));
	*count = s.count;
	return ERR_OK;
}

static enum err obey_stop(struct transmit *t, const struct directive *d)
{
	const char *broker = d->to ? d->to->broker_id : NULL;
	struct job_report none = {.broker = broker ? broker : "",
		.package = d->package,
		.directive_id = d->directive_id};
	size_t count = 0;

	TRY(stop_all(t, &d->package, d->directive_id, broker, &count));
	if (count == 0) // nothing lies there
		tell_outcome(t, PUB_STOPPED, &none);
	return ERR_OK;
}

// WAIT, DEFER: what an earlier directive began ends within an object, and goes on there when it is
// directed again. What is to be taken away is stopped by name.
static void obey_pause(struct transmit *t, const struct directive *d)
{
	for (size_t i = 0; i < t->count; i++)
		station_pause(t->stations[i], &d->package);
}

// The least that it must have to be in force.
static uint64_t directive_floor(const struct directive *d, const struct directives *said)
{
	if (!d->to)
		return said->highest;
	if (d->kind == DIRECTIVE_STOP || said->at > said->of_none)
		return said->at;
	return said->of_none;
}

static enum err directive_judge(struct transmit *t, const struct directive *d, bool asked)
{
	const char *broker = d->to ? d->to->broker_id : "";
	struct directives said;
	struct package p;

	TRY(package_find(t->store, &d->package, &p));
	if (p.state != PACKAGE_OFFERED &&
		!(p.state == PACKAGE_WITHDRAWN && d->kind == DIRECTIVE_STOP))
		return err_set(ERR_DENIED, "the package is not offered");
	TRY(directive_look(t->store, &d->package, broker, &said));
	uint64_t floor = directive_floor(d, &said);
	if (d->directive_id < floor && !asked)
		return err_set(ERR_STALE, "directive %llu came after %llu",
			(unsigned long long)d->directive_id, (unsigned long long)floor);
	if (d->directive_id == said.at)
		return ERR_OK;
	bool anew = d->directive_id < floor;
	enum err e = directive_note(t->store, &d->package, broker, d->directive_id, anew);
	if (e == ERR_OK && (anew || d->directive_id > p.directive_id))
		e = package_set_directive(t->store, &d->package, d->directive_id);
	return store_end(t->store, e);
}

static enum err directive_obey(struct transmit *t, const struct directive *d)
{
	switch (d->kind) {
	case DIRECTIVE_TRANSMIT:
	case DIRECTIVE_REPAIR:
		return obey_transmit(t, d);
	case DIRECTIVE_STOP:
		return obey_stop(t, d);
	case DIRECTIVE_WAIT:
	case DIRECTIVE_DEFER: // the server directs again when it is time
		obey_pause(t, d);
		return ERR_OK;
	case DIRECTIVE_NOTED:
		return ERR_OK;
	case DIRECTIVE_PACKAGE_ORDER: // orders.c
	case DIRECTIVE_RECORD:        // recorder.c
	case DIRECTIVE_SERVE_BASES:   // deltas.c
	case DIRECTIVE_CONTENT_KEY:   // keyring.c
	case DIRECTIVE_MEDIUM_ENDED:  // medium_shelf.c
		break;
	}
	return err_set(ERR_UNSUPPORTED, "%s is no matter of transmission", directive_word(d->kind));
}

void transmit_directive(struct transmit *t, const struct directive *d, bool asked)
{
	if (d->kind == DIRECTIVE_NOTED || d->kind == DIRECTIVE_RECORD ||
		digest_is_zero(&d->package))
		return;
	enum err e = directive_judge(t, d, asked);
	if (e == ERR_OK) {
		log_info("DIRECTIVE", "kind=%s package=%s directive=%llu broker=%s reason=%s",
			directive_word(d->kind), digest_short(&d->package),
			(unsigned long long)d->directive_id, d->to ? d->to->broker_id : "-",
			log_quote(d->reason));
		e = directive_obey(t, d);
	}
	if (e != ERR_OK && log_gate_open(&t->ignored_gate, clock_now().mono.ms, 1000))
		log_warn("DIRECTIVE-IGNORED", "kind=%s package=%s directive=%llu why=%s",
			directive_word(d->kind), digest_short(&d->package),
			(unsigned long long)d->directive_id, log_quote(err_text()));
}

// ---- offers

enum err transmit_offer(struct transmit *t, const struct digest *package, uint64_t *request_id)
{
	SCOPED_BUF struct buf envelope;
	struct package p;

	buf_init(&envelope, LIMIT_ENVELOPE);
	TRY(package_find(t->store, package, &p));
	TRY(package_bytes(t->store, package, NULL, &envelope, NULL));
	if (envelope.size == 0)
		return err_set(ERR_NOT_NOW, "package %s %s is not signed", p.name, p.version);
	if (p.state != PACKAGE_OFFERED)
		TRY(store_end(t->store, package_set_state(t->store, package, PACKAGE_OFFERED)));
	struct publisher_msg m = {.state = PUB_OFFER,
		.package = *package,
		.manifest = buf_bytes(&envelope),
		.total_bytes = p.size_bytes,
		.objects = p.objects,
		.object_bytes = p.object_bytes};
	return control_request(t->control, &m, request_id);
}

enum err transmit_withdraw(struct transmit *t, const struct digest *package)
{
	struct publisher_msg m = {.state = PUB_WITHDRAWN, .package = *package};
	struct package p;
	size_t count = 0;

	TRY(package_find(t->store, package, &p));
	TRY(store_end(t->store, package_set_state(t->store, package, PACKAGE_WITHDRAWN)));
	if (p.state == PACKAGE_OFFERED || p.state == PACKAGE_WITHDRAWN)
		TRY(control_request(t->control, &m, NULL));
	return stop_all(t, package, p.directive_id, NULL, &count);
}

struct offers {
	struct digest *packages;
	enum package_state *states;
	size_t count, cap;
};

static bool offers_collect(void *ctx, const struct package *p)
{
	struct offers *o = ctx;

	if (p->state != PACKAGE_OFFERED && p->state != PACKAGE_WITHDRAWN)
		return true;
	if (o->count == o->cap) {
		o->cap = o->cap ? o->cap * 2 : 64;
		struct digest *packages = realloc(o->packages, o->cap * sizeof *packages);
		if (packages)
			o->packages = packages;
		enum package_state *states = realloc(o->states, o->cap * sizeof *states);
		if (states)
			o->states = states;
		if (!packages || !states)
			return false;
	}
	o->states[o->count] = p->state;
	o->packages[o->count++] = p->id;
	return true;
}

void transmit_session(struct transmit *t)
{
	struct offers o = {0};
	size_t count = 0;

	if (package_list(t->store, offers_collect, &o) != ERR_OK)
		log_error("PUBLISHER-STORE-READ", "why=%s", log_quote(err_text()));
	for (size_t i = 0; i < o.count; i++) {
		struct package p;
		enum err e = package_find(t->store, &o.packages[i], &p);
		if (e == ERR_OK && o.states[i] == PACKAGE_OFFERED)
			e = transmit_offer(t, &o.packages[i], NULL);
		else if (e == ERR_OK)
			e = stop_all(t, &o.packages[i], p.directive_id, NULL, &count);
		if (e != ERR_OK)
			complain("OFFER-FAILED", &o.packages[i]);
	}
	free(o.packages);
	free(o.states);
}

// ---- deltas

struct stored {
	char brokers[STATIONS_MAX][LIMIT_ID + 1];
	size_t count;
};

static bool stored_collect(void *ctx, const struct placement *p)
{
	struct stored *s = ctx;

	if (p->state == PLACEMENT_STORED)
		(void)str_copy(s->brokers[s->count++], sizeof s->brokers[0], p->broker);
	return s->count < STATIONS_MAX;
}

enum err transmit_delta(struct transmit *t, const struct digest *package, const struct digest *base)
{
	struct stored s = {0};
	struct station *station = NULL;

	TRY(placement_list(t->store, package, stored_collect, &s));
	for (size_t i = 0; i < s.count; i++) {
		TRY(station_known(t, s.brokers[i], &station));
		TRY(station_delta(station, JOB_TRANSMIT, package, base));
	}
	return ERR_OK;
}

enum err transmit_delta_stop(
	struct transmit *t, const struct digest *package, const struct digest *base, bool *lies)
{
	*lies = false;
	return delta_stop_at(t, package, base, NULL, lies);
}

void transmit_on_job(
	struct transmit *t, void (*done)(void *ctx, const struct job_report *r), void *ctx)
{
	t->job_done = done;
	t->job_ctx = ctx;
}

// ---- life

enum err transmit_new(const struct publisher_config *config, struct store *store,
	struct control *control, struct transmit **out)
{
	struct transmit *t = calloc(1, sizeof *t);

	if (!t)
		return err_set(ERR_MEMORY, "no memory");
	t->config = config;
	t->store = store;
	t->control = control;
	*out = t;
	return ERR_OK;
}

void transmit_free(struct transmit *t)
{
	if (!t)
		return;
	while (t->count > 0)
		station_free(t->stations[--t->count]);
	free(t);
}

void transmit_tick(struct transmit *t, struct mono now)
{
	for (size_t i = 0; i < t->count; i++)
		station_tick(t->stations[i], now);
}

size_t transmit_stations(const struct transmit *t, struct station_status out[STATIONS_MAX])
{
	for (size_t i = 0; i < t->count; i++)
		station_get_status(t->stations[i], &out[i]);
	return t->count;
}
