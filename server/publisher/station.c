#include "delta_store.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/content.h"
#include "proto/link_addresses.h"
#include "proto/topics.h"
#include "station_inside.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BREAKS_MAX 5        // connections in a row that broke before anything was acknowledged
#define RESTARTS_MAX 3      // transmissions begun again because the broker forgot, then FAILED
#define MARK_ABSENT_MS 250  // after the SUBACK behind it the retained mark would have come
#define MARK_VERIFY_MS 3000 // the same, when a wrong guess would send everything again
#define MARK_PATIENCE_MS 10000
#define STALL_MS 60000 // nothing acknowledged for so long
#define IDLE_MS 10000
#define PROGRESS_MS 1000
#define NO_OBJECT SIZE_MAX

static struct mono mono_now(void)
{
	return clock_now().mono;
}

// ---- jobs

static struct job *job_head(struct station *s)
{
	return s->job_count ? &s->jobs[0] : NULL;
}

static void run_clear(struct station *s)
{
	free(s->run.objects);
	buf_fini(&s->run.manifest);
	buf_fini(&s->run.index);
	s->run = (struct run){0};
	for (size_t i = 0; i < SLOTS; i++) // what is still in flight belongs to nobody now
		s->slots[i].object = NO_OBJECT;
}

void station_job_drop(struct station *s, size_t at)
{
	free(s->jobs[at].resend);
	free(s->jobs[at].envelope);
	s->job_count--;
	memmove(&s->jobs[at], &s->jobs[at + 1], (s->job_count - at) * sizeof s->jobs[0]);
}

static void job_pop(struct station *s)
{
	run_clear(s);
	station_job_drop(s, 0);
	s->jobs_ended++;
	s->idle_since = mono_now();
	s->progress_at = s->idle_since;
}

static void report(struct station *s, enum job_event event, const char *detail)
{
	const struct job *j = job_head(s);
	struct job_report r = {.kind = j->kind,
		.event = event,
		.broker = s->broker,
		.package = j->package,
		.base = j->base,
		.directive_id = j->directive_id,
		.sent_bytes = s->run.sent_bytes,
		.total_bytes = s->run.total_bytes,
		.objects = (uint32_t)s->run.object_count,
		.mark = s->mark,
		.detail = detail};

	if (event == JOB_STORED && j->kind != JOB_COMMAND)
		r.index_sha256 = sha256(s->run.index.data, s->run.index.size);
	s->told_at = mono_now();
	s->events.report(s->events.ctx, &r);
}

static void job_fail(struct station *s, const char *why)
{
	struct job *j = job_head(s);
	char text[300];

	text_format(text, sizeof text, "%s", why);
	log_warn("PUBLISH-FAILED", "broker=%s package=%s directive=%llu why=%s", s->broker,
		digest_short(&j->package), (unsigned long long)j->directive_id, log_quote(text));
	if (j->kind == JOB_TRANSMIT &&
		store_end(s->store, claim_fail(s->store, s->broker, &j->key)) != ERR_OK)
		log_error("PUBLISHER-STORE-WRITE", "why=%s", log_quote(err_text()));
	report(s, JOB_FAILED, text);
	job_pop(s);
}

// What was acknowledged until now need not be sent again.
static void progress_note(struct station *s)
{
	if (!job_head(s) || job_head(s)->kind != JOB_TRANSMIT || s->mark_state != MARK_KNOWN)
		return;
	if (store_end(s->store, claim_objects(s->store, s->broker, s->run.objects,
					s->run.object_count)) != ERR_OK)
		log_error("PUBLISHER-STORE-WRITE", "why=%s", log_quote(err_text()));
}

static bool is_delta(const struct job *j)
{
	return !digest_is_zero(&j->base);
}

// ---- publishing

static enum err send_bytes(
	struct station *s, const struct topic *t, struct bytes payload, size_t object)
{
	for (size_t i = 0; i < SLOTS; i++) {
		if (s->slots[i].token != 0)
			continue;
		TRY(link_publish(s->link, t->s, payload, 1, true, ++s->last_token));
		s->slots[i] = (struct slot){.token = s->last_token, .object = object};
		s->outstanding++;
		return ERR_OK;
	}
	return err_set(ERR_FULL, "too many publishes are under way");
}

static enum err object_send(struct station *s, size_t at)
{
	struct send_object *o = &s->run.objects[at];
	struct topic t = topic_chunk(s->config->id, &o->sha256);
	SCOPED_BUF struct buf b;

	buf_init(&b, LIMIT_OBJECT);
	if (job_head(s)->kind == JOB_WITHDRAW)
		return send_bytes(s, &t, (struct bytes){0}, at);
	TRY(blob_read(&s->store->objects, &o->sha256, &b));
	return send_bytes(s, &t, buf_bytes(&b), at);
}

static enum err envelope_send(struct station *s, bool index)
{
	const struct job *j = job_head(s);
	struct topic t =
		index ? topic_idx(s->config->id, &j->package, is_delta(j) ? &j->base : NULL)
		      : topic_pkg(s->config->id, &j->package);
	struct bytes payload = buf_bytes(index ? &s->run.index : &s->run.manifest);

	if (job_head(s)->kind == JOB_WITHDRAW)
		payload = (struct bytes){0};
	return send_bytes(s, &t, payload, NO_OBJECT);
}

// Objects as long as there is room: large ones few at a time, withdrawals more.
static enum err objects_send(struct station *s)
{
	size_t room = job_head(s)->kind == JOB_WITHDRAW ? SLOTS : CHUNK_OUTSTANDING;

	while (s->run.next < s->run.object_count && s->outstanding < room) {
		struct send_object *o = &s->run.objects[s->run.next];
		if (!o->there && !o->done)
			TRY(object_send(s, s->run.next));
		s->run.next++;
	}
	return ERR_OK;
}

// ---- beginning and end of a job

static bool is_listed(const struct job *j, const struct digest *object)
{
	for (size_t i = 0; i < j->resend_count; i++)
		if (digest_equal(&j->resend[i], object))
			return true;
	return false;
}

static enum err withdraw_start(struct station *s)
{
	const struct job *j = job_head(s);
	struct run *r = &s->run;

	r->phase = PHASE_INDEX;
	return store_end(s->store, withdraw_begin(s->store, s->broker, &j->key, j->directive_id,
					   &r->objects, &r->object_count));
}

static enum err transmit_start(struct station *s)
{
	const struct job *j = job_head(s);
	struct run *r = &s->run;

	TRY(envelopes_make(
		s->store, s->config->identity, &j->package, &j->base, &r->manifest, &r->index));
	TRY(store_end(s->store, claim_package(s->store, s->broker, &j->key, j->directive_id,
					&r->objects, &r->object_count)));
	for (size_t i = 0; i < r->object_count; i++) {
		if (is_listed(j, &r->objects[i].sha256))
			r->objects[i].there = false;
		if (!r->objects[i].there)
			r->total_bytes += r->objects[i].size_bytes;
	}
	r->phase = PHASE_OBJECTS;
	log_info("PUBLISH-SENDING", "broker=%s package=%s objects=%zu bytes=%llu", s->broker,
		digest_short(&j->package), r->object_count, (unsigned long long)r->total_bytes);
	report(s, JOB_PROGRESS, "");
	return ERR_OK;
}

static enum err command_start(struct station *s)
{
	const struct job *j = job_head(s);
	struct topic t = topic_cmd(s->config->id, &j->package);

	s->run.phase = PHASE_END;
	return send_bytes(s, &t, bytes_of(j->envelope, j->envelope_size), NO_OBJECT);
}

static void command_end(struct station *s)
{
	log_info("PUBLISH-COMMAND", "broker=%s command=%s bytes=%zu", s->broker,
		digest_short(&job_head(s)->package), job_head(s)->envelope_size);
	report(s, JOB_STORED, "");
	job_pop(s);
}

static enum err job_begin(struct station *s)
{
	switch (job_head(s)->kind) {
	case JOB_TRANSMIT:
		return transmit_start(s);
	case JOB_WITHDRAW:
		return withdraw_start(s);
	case JOB_COMMAND:
		return command_start(s);
	}
	return err_set(ERR_RANGE, "no such job");
}

static enum err job_end(struct station *s)
{
	const struct job *j = job_head(s);
	if (j->kind == JOB_COMMAND) {
		command_end(s);
		return ERR_OK;
	}
	bool withdraw = j->kind == JOB_WITHDRAW;

	TRY(store_end(s->store, withdraw ? withdraw_end(s->store, s->broker, &j->key)
					 : claim_complete(s->store, s->broker, &j->key)));
	log_info(withdraw ? "PUBLISH-STOPPED" : "PUBLISH-STORED", "broker=%s package=%s bytes=%llu",
		s->broker, digest_short(&j->package), (unsigned long long)s->run.sent_bytes);
	report(s, withdraw ? JOB_STOPPED : JOB_STORED, "");
	job_pop(s);
	return ERR_OK;
}

// ---- mark

// A new mark: every object counts as absent, and what this job had done is undone.
static enum err mark_renew(struct station *s)
{
	struct topic t = topic_of(TOPIC_MARK, s->config->id);
	struct run *r = &s->run;

	random_fill(s->mark.b, sizeof s->mark.b);
	TRY(store_end(s->store, broker_forget(s->store, s->broker, &s->mark)));
	r->next = 0;
	r->sent_bytes = 0;
	r->total_bytes = 0;
	for (size_t i = 0; i < r->object_count; i++) {
		r->objects[i].there = r->objects[i].done = r->objects[i].noted = false;
		r->total_bytes += r->objects[i].size_bytes;
	}
	if (r->phase == PHASE_VERIFY)
		r->phase = PHASE_OBJECTS;
	TRY(send_bytes(s, &t, bytes_of(s->mark.b, sizeof s->mark.b), NO_OBJECT));
	s->mark_state = MARK_KNOWN;
	return ERR_OK;
}

// A fresh SUBSCRIBE makes the broker send its retained mark; a second SUBSCRIBE behind it shows, by
// its SUBACK, that the mark would have been sent by now.
static enum err mark_ask(struct station *s)
{
	struct topic mark = topic_of(TOPIC_MARK, s->config->id);
	struct topic behind = topic_pkg(s->config->id, &(struct digest){{0}});
	const char *filters[2] = {mark.s, behind.s};

	if (s->mark_subscribed)
		TRY(link_unsubscribe(s->link, filters, 2));
	s->mark_subscribed = true;
	s->mark_state = MARK_READING;
	s->mark_behind.ms = 0;
	s->mark_asked = mono_now();
	TRY(link_subscribe(s->link, &filters[0], 1, 1, ++s->last_token));
	s->barrier_token = ++s->last_token;
	return link_subscribe(s->link, &filters[1], 1, 1, s->barrier_token);
}

// The first word to a broker of this connection: is its memory the one we knew?
static enum err mark_begin(struct station *s)
{
	static const struct id16 none;

	TRY(broker_mark(s->store, s->broker, &s->mark));
	if (memcmp(s->mark.b, none.b, sizeof none.b) == 0)
		return mark_renew(s);
	return mark_ask(s);
}

// It forgot everything. What was to be withdrawn is withdrawn by that.
static enum err mark_is_gone(struct station *s)
{
	const struct job *j = job_head(s);

	log_warn("PUBLISH-MARK-GONE", "broker=%s", s->broker);
	if (++s->run.restarts > RESTARTS_MAX)
		return err_set(ERR_STALE, "the broker forgets what it was sent, again and again");
	TRY(mark_renew(s));
	if (j->kind != JOB_WITHDRAW)
		return ERR_OK;
	return job_end(s);
}

static enum err mark_came(struct station *s, struct bytes payload)
{
	if (!bytes_equal(payload, bytes_of(s->mark.b, sizeof s->mark.b)))
		return mark_is_gone(s);
	s->mark_state = MARK_KNOWN;
	if (s->run.phase == PHASE_VERIFY)
		s->run.phase = PHASE_MANIFEST;
	return ERR_OK;
}

// ---- steps

static enum err objects_step(struct station *s)
{
	struct run *r = &s->run;

	TRY(objects_send(s));
	if (r->next < r->object_count || s->outstanding > 0)
		return ERR_OK;
	if (job_head(s)->kind == JOB_WITHDRAW)
		return job_end(s);
	r->phase = PHASE_VERIFY;
	return mark_ask(s);
}

// Manifest and index go one by one, each when nothing before it is in flight: transmission in this
// order, withdrawal in the other.
static enum err envelope_step(struct station *s)
{
	bool withdraw = job_head(s)->kind == JOB_WITHDRAW;
	bool index = s->run.phase == PHASE_INDEX;

	if (s->outstanding > 0)
		return ERR_OK;
	if (!index && is_delta(job_head(s))) { // the manifest is the package's affair
		s->run.phase = withdraw ? PHASE_OBJECTS : PHASE_INDEX;
		return ERR_OK;
	}
	if (withdraw)
		s->run.phase = index ? PHASE_MANIFEST : PHASE_OBJECTS;
	else
		s->run.phase = index ? PHASE_END : PHASE_INDEX;
	return envelope_send(s, index);
}

static enum err job_step(struct station *s)
{
	if (s->mark_state == MARK_READING)
		return ERR_OK;
	if (s->mark_state == MARK_UNKNOWN)
		return mark_begin(s);
	switch (s->run.phase) {
	case PHASE_BEGIN:
		if (s->outstanding > 0)
			return ERR_OK; // of the job before
		return job_begin(s);
	case PHASE_OBJECTS:
		return objects_step(s);
	case PHASE_MANIFEST:
	case PHASE_INDEX:
		return envelope_step(s);
	case PHASE_END:
		return s->outstanding == 0 ? job_end(s) : ERR_OK;
	case PHASE_VERIFY:
		break;
	}
	return ERR_OK;
}

// An error ends the job, but for one: the connection broke and we are about to be told.
static void judge(struct station *s, enum err e)
{
	if (e == ERR_OK || !job_head(s))
		return;
	if (e != ERR_CLOSED) {
		job_fail(s, err_text());
		return;
	}
	if (s->up)
		s->down_since = mono_now();
	s->up = false;
}

// As far as it goes without waiting.
void station_advance(struct station *s)
{
	for (bool again = true; again && s->up && job_head(s);) {
		size_t ended = s->jobs_ended;
		enum phase phase = s->run.phase;
		enum mark_state mark = s->mark_state;
		if (s->run.replaced && s->outstanding > 0)
			return;
		if (s->run.replaced) {
			progress_note(s);
			job_pop(s);
		} else
			judge(s, job_step(s));
		again = s->jobs_ended != ended || s->run.phase != phase || s->mark_state != mark;
	}
}

// A word from the broker, and whatever follows from it.
static void after(struct station *s, enum err e)
{
	judge(s, e);
	station_advance(s);
}

// ---- events of the link

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct station *s = ctx;

	(void)via;
	(void)session_present;
	s->up = s->stood = true;
	s->mark_state = MARK_UNKNOWN;
	s->mark_subscribed = false;
	s->progress_at = mono_now();
	log_info("STATION-UP", "broker=%s at=%s", s->broker, link_peer(s->link));
	station_advance(s);
}

// What was not acknowledged is sent again, if the mark is still there.
static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct station *s = ctx;
	struct run *r = &s->run;

	(void)retry_ms;
	if (s->up)
		s->down_since = mono_now();
	s->up = false;
	text_format(s->why, sizeof s->why, "%s", why);
	memset(s->slots, 0, sizeof s->slots);
	s->outstanding = 0;
	s->mark_state = MARK_UNKNOWN;
	r->next = 0;
	if (r->phase != PHASE_BEGIN)
		r->phase = job_head(s)->kind == JOB_COMMAND    ? PHASE_BEGIN
			   : job_head(s)->kind == JOB_WITHDRAW ? PHASE_INDEX
							       : PHASE_OBJECTS;
	if (r->replaced)
		job_pop(s);
	else if (s->stood && job_head(s) && ++r->breaks >= BREAKS_MAX) {
		char text[600];
		text_format(text, sizeof text, "broker %s takes nothing and breaks off: %s",
			s->broker, s->why);
		job_fail(s, text);
	}
	s->stood = false;
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct station *s = ctx;
	struct topic mark = topic_of(TOPIC_MARK, s->config->id);

	if (s->mark_state == MARK_READING && m->retained && m->topic_length == strlen(mark.s) &&
		strcmp(m->topic, mark.s) == 0 && job_head(s))
		after(s, mark_came(s, m->payload));
}

static void on_published(void *ctx, uint64_t token, int reason)
{
	struct station *s = ctx;
	size_t i = 0;

	while (i < SLOTS && s->slots[i].token != token)
		i++;
	if (i == SLOTS || reason < 0)
		return; // of before a reconnect, or the reconnect is about to be told
	size_t object = s->slots[i].object;
	s->slots[i].token = 0;
	s->outstanding--;
	s->progress_at = mono_now();
	if (reason >= 128 && job_head(s)) {
		char text[200];
		text_format(text, sizeof text, "the broker refuses: %s (%d)",
			link_reason_text(reason), reason);
		job_fail(s, text);
	} else if (object < s->run.object_count && !s->run.objects[object].done) {
		s->run.objects[object].done = true;
		s->run.breaks = 0;
		s->run.sent_bytes += s->run.objects[object].size_bytes;
	}
	station_advance(s);
}

static void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	struct station *s = ctx;

	(void)reasons;
	(void)count;
	if (token == s->barrier_token)
		s->mark_behind = mono_now();
}

// ---- life

enum err station_link_start(struct station *s)
{
	static const struct link_events events = {.up = on_up,
		.down = on_down,
		.message = on_message,
		.published = on_published,
		.subscribed = on_subscribed};
	struct link_address a[2];
	struct link_config c = {.client_id = s->config->id,
		.addresses = a,
		.address_count = link_addresses(s->host, s->ip, s->port, a),
		.tls = s->tls,
		.ca_file = s->config->ca_file,
		.cert_file = s->config->cert_file,
		.key_file = s->config->key_file,
		.keepalive_s = 20,
		.receive_maximum = 20,
		.connect_timeout_s = 5,
		.backoff_min_ms = 250,
		.backoff_max_ms = 5000,
		.outstanding_max = SLOTS,
		.outbox_max = 2 * SLOTS,
		.inbox_messages = 256,
		.inbox_bytes = 1024 * 1024};
	s->down_since = mono_now();
	return link_new(s->config->loop, &c, &events, s, &s->link);
}

static void link_stop(struct station *s)
{
	if (s->link)
		link_close(s->link, true);
	s->link = NULL;
	s->up = false;
	memset(s->slots, 0, sizeof s->slots);
	s->outstanding = 0;
}

enum err station_new(const struct publisher_config *config, struct store *store,
	const struct address *to, const struct station_events *events, struct station **out)
{
	struct station *s = calloc(1, sizeof *s);

	if (!s)
		return err_set(ERR_MEMORY, "no memory for a station");
	s->config = config;
	s->store = store;
	s->events = *events;
	s->port = to->port;
	s->tls = to->tls;
	s->idle_since = mono_now();
	if (!str_copy(s->broker, sizeof s->broker, to->broker_id) ||
		!str_copy(s->host, sizeof s->host, to->host) ||
		!str_copy(s->ip, sizeof s->ip, to->ip) || (!s->host[0] && !s->ip[0])) {
		free(s);
		return err_set(ERR_RANGE, "the address of broker %s is not usable", to->broker_id);
	}
	*out = s;
	return ERR_OK;
}

void station_free(struct station *s)
{
	if (!s)
		return;
	link_stop(s);
	run_clear(s);
	while (s->job_count > 0)
		station_job_drop(s, 0);
	free(s);
}

const char *station_broker(const struct station *s)
{
	return s->broker;
}

bool station_is_at(const struct station *s, const struct address *to)
{
	return strcmp(s->host, to->host) == 0 && strcmp(s->ip, to->ip) == 0 &&
	       s->port == to->port && s->tls == to->tls;
}

bool station_is_idle(const struct station *s)
{
	return s->job_count == 0 && mono_since_ms(mono_now(), s->idle_since) > IDLE_MS;
}

// ---- time

static void mark_tick(struct station *s, struct mono now)
{
	int64_t patience = s->run.phase == PHASE_VERIFY ? MARK_VERIFY_MS : MARK_ABSENT_MS;

	if (s->mark_behind.ms != 0 && mono_since_ms(now, s->mark_behind) > patience)
		after(s, mark_is_gone(s));
	else if (mono_since_ms(now, s->mark_asked) > MARK_PATIENCE_MS)
		after(s, err_set(ERR_TIMEOUT, "broker %s does not answer", s->broker));
}

void station_tick(struct station *s, struct mono now)
{
	char text[400];

	if (!job_head(s)) {
		if (s->link && station_is_idle(s))
			link_stop(s);
		return;
	}
	if (!s->up && mono_since_ms(now, s->down_since) > s->config->station_patience_ms) {
		text_format(text, sizeof text, "broker %s is out of reach: %s", s->broker, s->why);
		job_fail(s, text);
		return;
	}
	if (s->up && s->mark_state == MARK_READING)
		mark_tick(s, now);
	else if (s->up && mono_since_ms(now, s->progress_at) > STALL_MS)
		after(s, err_set(ERR_TIMEOUT, "broker %s acknowledges nothing", s->broker));
	if (job_head(s) && job_head(s)->kind == JOB_TRANSMIT && s->run.phase == PHASE_OBJECTS &&
		mono_since_ms(now, s->told_at) > PROGRESS_MS) {
		progress_note(s);
		report(s, JOB_PROGRESS, "");
	}
}

void station_get_status(const struct station *s, struct station_status *out)
{
	*out = (struct station_status){.broker = s->broker,
		.up = s->up,
		.job = s->job_count ? s->jobs[0].kind : 0,
		.sent_bytes = s->run.sent_bytes,
		.total_bytes = s->run.total_bytes,
		.jobs = s->job_count};
}
