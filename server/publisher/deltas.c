// See deltas.h.
#include "deltas.h"
#include "delta_store.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICE 15

enum wanted_state {
	WANTED_WAITING,
	WANTED_MAKING,
	WANTED_MADE,
	WANTED_FAILED // not tried again until the server names it anew after having dropped it
};

struct wanted {
	struct digest package, base;
	enum wanted_state state;
};

struct deltas {
	struct store *store;
	struct control *control;
	struct transmit *transmit;
	struct wanted wanted[DELTAS_MAX];
	size_t count;
	// of the thread
	uv_thread_t thread;
	uv_async_t ended;
	bool running, stopping;
	_Atomic bool cancel;
	struct digest package, base; // at work
	struct delta_job job;
	struct delta_built built;
	enum err result;
	char why[256];
	struct mono begun;
};

// ---- the list

static struct wanted *wanted_find(
	struct deltas *d, const struct digest *package, const struct digest *base)
{
	for (size_t i = 0; i < d->count; i++)
		if (digest_equal(&d->wanted[i].package, package) &&
			digest_equal(&d->wanted[i].base, base))
			return &d->wanted[i];
	return NULL;
}

static void tell(struct deltas *d, enum publisher_state state, const struct wanted *w,
	const struct job_report *r, const char *detail)
{
	char why[LIMIT_TEXT + 1];
	struct publisher_msg m = {.state = state,
		.package = w->package,
		.base = w->base,
		.broker_id = r ? r->broker : "",
		.detail = detail ? why : NULL};

	text_format(why, sizeof why, "%s", detail ? detail : "");
	if (r) {
		m.mark = r->mark;
		m.index_sha256 = r->index_sha256;
		m.objects = r->objects;
	}
	if (state == PUB_STORED &&
		delta_find(d->store, &w->package, &w->base, NULL, &m.object_bytes) != ERR_OK)
		return;
	if (control_request(d->control, &m, NULL) != ERR_OK)
		log_warn("DELTA-UNTOLD", "package=%s why=%s", digest_short(&w->package),
			log_quote(err_text()));
}

// Where the package lies whole.
static void delta_send(struct deltas *d, const struct wanted *w)
{
	if (w->state == WANTED_MADE && transmit_delta(d->transmit, &w->package, &w->base) != ERR_OK)
		log_warn("DELTA-UNSENT", "package=%s base=%s why=%s", digest_short(&w->package),
			digest_short(&w->base), log_quote(err_text()));
}

// ---- making

static void thread_main(void *arg)
{
	struct deltas *d = arg;

	(void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE); // of this thread alone
	d->result = delta_build(&d->job, &d->built);
	if (d->result != ERR_OK)
		text_format(d->why, sizeof d->why, "%s", err_text());
	uv_async_send(&d->ended);
}

static void job_fini(struct delta_job *j)
{
	buf_fini(&j->manifest);
	buf_fini(&j->index);
	buf_fini(&j->base_manifest);
	buf_fini(&j->base_index);
}

static enum err job_init(struct deltas *d, const struct wanted *w)
{
	struct delta_job *j = &d->job;

	*j = (struct delta_job){.objects = &d->store->objects, .cancel = &d->cancel};
	buf_init(&j->manifest, LIMIT_MANIFEST_ROOT);
	buf_init(&j->index, LIMIT_INDEX);
	buf_init(&j->base_manifest, LIMIT_MANIFEST_ROOT);
	buf_init(&j->base_index, LIMIT_INDEX);
	TRY(package_bytes(d->store, &w->package, &j->manifest, NULL, &j->index));
	return package_bytes(d->store, &w->base, &j->base_manifest, NULL, &j->base_index);
}

static enum err make_begin(struct deltas *d, struct wanted *w)
{
	uint64_t bytes = 0;

	if (delta_find(d->store, &w->package, &w->base, NULL, &bytes) == ERR_OK) {
		w->state = WANTED_MADE;
		delta_send(d, w);
		return ERR_OK;
	}
	enum err e = job_init(d, w);
	d->cancel = false;
	d->package = w->package;
	d->base = w->base;
	d->begun = clock_now().mono;
	if (e == ERR_OK && uv_thread_create(&d->thread, thread_main, d) != 0)
		e = err_set(ERR_MEMORY, "no thread for a delta");
	if (e != ERR_OK) {
		job_fini(&d->job);
		return e;
	}
	d->running = true;
	w->state = WANTED_MAKING;
	return ERR_OK;
}

static void make_next(struct deltas *d)
{
	for (size_t i = 0; i < d->count && !d->running && !d->stopping; i++) {
		struct wanted *w = &d->wanted[i];
		if (w->state != WANTED_WAITING || make_begin(d, w) == ERR_OK)
			continue;
		w->state = WANTED_FAILED;
		log_warn("DELTA-FAILED", "package=%s base=%s why=%s", digest_short(&w->package),
			digest_short(&w->base), log_quote(err_text()));
		tell(d, PUB_FAILED, w, NULL, err_text());
	}
}

static void made(struct deltas *d, struct wanted *w)
{
	enum err e = d->result;

	if (e == ERR_OK)
		e = delta_add(d->store, &d->built);
	else
		(void)err_set(e, "%s", d->why);
	w->state = e == ERR_OK ? WANTED_MADE : WANTED_FAILED;
	if (e != ERR_OK) {
		log_warn("DELTA-FAILED", "package=%s base=%s why=%s", digest_short(&w->package),
			digest_short(&w->base), log_quote(err_text()));
		tell(d, PUB_FAILED, w, NULL, err_text());
		return;
	}
	log_info("DELTA-MADE", "package=%s base=%s object_bytes=%llu new_bytes=%llu ms=%lld",
		digest_short(&w->package), digest_short(&w->base),
		(unsigned long long)d->built.object_bytes, (unsigned long long)d->built.new_bytes,
		(long long)mono_since_ms(clock_now().mono, d->begun));
	delta_send(d, w);
}

static void on_ended(uv_async_t *async)
{
	struct deltas *d = async->data;

	if (!d->running)
		return;
	uv_thread_join(&d->thread);
	d->running = false;
	struct wanted *w = wanted_find(d, &d->package, &d->base);
	if (w && !d->stopping)
		made(d, w);
	if (d->result == ERR_OK)
		delta_built_fini(&d->built);
	job_fini(&d->job);
	make_next(d);
}

// ---- what the server wants

static bool is_named(const struct directive *m, const struct digest *base)
{
	for (size_t i = 0; i < m->held_count; i++)
		if (digest_equal(&m->held[i], base))
			return true;
	return false;
}

static void wanted_drop(struct deltas *d, size_t at)
{
	if (d->wanted[at].state == WANTED_MAKING)
		d->cancel = true;
	d->wanted[at] = d->wanted[--d->count];
}

struct unnamed {
	const struct directive *m;
	struct digest bases[64];
	size_t count;
};

static bool unnamed_collect(void *ctx, const struct delta_row *row)
{
	struct unnamed *u = ctx;

	if (!is_named(u->m, &row->base))
		u->bases[u->count++] = row->base;
	return u->count < sizeof u->bases / sizeof u->bases[0];
}

// What was made and is not named any more: from every broker, then from the store
// (deltas_report).
static void made_drop(struct deltas *d, const struct digest *package, const struct digest *base)
{
	bool lies = false;

	log_info("DELTA-DROPPED", "package=%s base=%s", digest_short(package), digest_short(base));
	enum err e = transmit_delta_stop(d->transmit, package, base, &lies);
	if (e == ERR_OK && !lies)
		e = delta_remove(d->store, package, base);
	if (e != ERR_OK)
		log_warn("DELTA-STAYS", "package=%s why=%s", digest_short(package),
			log_quote(err_text()));
}

void deltas_directive(struct deltas *d, const struct directive *m)
{
	struct unnamed u = {.m = m};

	for (size_t i = d->count; i-- > 0;)
		if (digest_equal(&d->wanted[i].package, &m->package) &&
			!is_named(m, &d->wanted[i].base))
			wanted_drop(d, i);
	if (delta_list(d->store, &m->package, unnamed_collect, &u) != ERR_OK)
		u.count = 0;
	for (size_t i = 0; i < u.count; i++)
		made_drop(d, &m->package, &u.bases[i]);
	for (size_t i = 0; i < m->held_count && d->count < DELTAS_MAX; i++) {
		struct wanted *w = wanted_find(d, &m->package, &m->held[i]);
		if (!w) {
			d->wanted[d->count++] =
				(struct wanted){.package = m->package, .base = m->held[i]};
			log_info("DELTA-WANTED", "package=%s base=%s", digest_short(&m->package),
				digest_short(&m->held[i]));
		} else {
			delta_send(d, w); // said again: so is what lies there
		}
	}
	make_next(d);
}

void deltas_report(void *ctx, const struct job_report *r)
{
	struct deltas *d = ctx;
	struct wanted *w = wanted_find(d, &r->package, &r->base);

	if (digest_is_zero(&r->base)) { // the package is whole there: its deltas follow
		for (size_t i = 0; r->event == JOB_STORED && i < d->count; i++)
			if (digest_equal(&d->wanted[i].package, &r->package))
				delta_send(d, &d->wanted[i]);
		return;
	}
	if (w && (r->event == JOB_STORED || r->event == JOB_FAILED))
		tell(d, r->event == JOB_STORED ? PUB_STORED : PUB_FAILED, w, r,
			r->detail ? r->detail : "");
	if (!w && r->event == JOB_STOPPED &&
		delta_remove(d->store, &r->package, &r->base) != ERR_OK)
		log_warn("DELTA-REMAINS", "package=%s why=%s", digest_short(&r->package),
			log_quote(err_text()));
}

// ---- life

enum err deltas_new(uv_loop_t *loop, struct store *store, struct control *control,
	struct transmit *transmit, struct deltas **out)
{
	struct deltas *d = calloc(1, sizeof *d);

	if (!d)
		return err_set(ERR_MEMORY, "no memory for deltas");
	d->store = store;
	d->control = control;
	d->transmit = transmit;
	if (uv_async_init(loop, &d->ended, on_ended) != 0) {
		free(d);
		return err_set(ERR_IO, "no wake-up for deltas");
	}
	d->ended.data = d;
	*out = d;
	return ERR_OK;
}

void deltas_stop(struct deltas *d)
{
	if (!d)
		return;
	d->stopping = true;
	d->cancel = true;
	if (d->running) {
		uv_thread_join(&d->thread);
		d->running = false;
		if (d->result == ERR_OK)
			delta_built_fini(&d->built);
		job_fini(&d->job);
	}
	uv_close((uv_handle_t *)&d->ended, NULL);
}

void deltas_free(struct deltas *d)
{
	free(d);
}

void deltas_get_status(const struct deltas *d, struct deltas_status *out)
{
	*out = (struct deltas_status){.wanted = d->count, .making = d->running};
	for (size_t i = 0; i < d->count; i++)
		out->made += d->wanted[i].state == WANTED_MADE;
}
