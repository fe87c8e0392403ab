// The blocking parts of a fetch, in the pool: look at staging, plan a page, install.
#include "client/fetcher_parts.h"

#include "client/installer.h"

#include <stdlib.h>

// The sentence of an error lives in the thread that found it.
static void work_end(struct fetch *f, enum err e)
{
	f->work_result = e;
	if (e != ERR_OK && !str_copy(f->work_why, sizeof f->work_why, err_text()))
		(void)str_copy(f->work_why, sizeof f->work_why, err_word(e));
}

static void work_start(
	struct fetch *f, enum fetch_phase phase, uv_work_cb run, uv_after_work_cb after)
{
	f->phase = phase;
	f->work.data = f;
	f->work_busy = true;
	if (uv_queue_work(f->owner->loop, &f->work, run, after) != 0) {
		f->work_busy = false;
		fetch_fail(f, "io", "the pool takes no work");
	}
}

// True: go on. False: the fetch is over, and may be gone.
static bool work_after(uv_work_t *work, const char *word)
{
	struct fetch *f = work->data;
	f->work_busy = false;
	if (f->phase == FETCH_OVER) {
		fetch_released(f);
		return false;
	}
	if (f->work_result == ERR_OK)
		return true;
	fetch_fail_err(f, f->work_result, word, f->work_why);
	return false;
}

// ---- staging

static void stage_run(uv_work_t *work)
{
	struct fetch *f = work->data;
	const struct fetcher_config *c = f->config;
	const struct staging_order order = {.id = f->package,
		.manifest = &f->manifest,
		.envelope = buf_bytes(&f->envelope),
		.reserve_bytes = c->reserve_bytes,
		.look = &f->look};
	work_end(f, staging_open(&f->staging, c->store, &order));
}

static void stage_after(uv_work_t *work, int status)
{
	struct fetch *f = work->data;
	(void)status;
	f->staged = true;
	if (!work_after(work, "io"))
		return;
	const struct staging *s = &f->staging;
	f->staging.rot = &f->rot;
	uint32_t total = s->page_first[s->manifest.page_count];
	if (s->resumed)
		log_info("FETCH-RESUME", "resume have=%u of=%u package=%s", s->have, total,
			digest_short(&f->package));
	f->owner->events.progress(f->owner->ctx, s->have, total);
	fetch_next_page(f);
}

void fetch_stage_start(struct fetch *f)
{
	work_start(f, FETCH_STAGE, stage_run, stage_after);
}

// ---- a page

static void plan_run(uv_work_t *work)
{
	struct fetch *f = work->data;
	work_end(f, staging_begin_page(
			    &f->staging, f->page, &f->page_arena, &f->carry, &f->staged_page));
}

static void plan_after(uv_work_t *work, int status)
{
	(void)status;
	if (work_after(work, "manifest"))
		fetch_page_planned(work->data);
}

// ---- old bytes

static void bases_run(uv_work_t *work)
{
	struct fetch *f = work->data;
	work_end(f, base_source_find(
			    &f->bases, &f->staging, &f->staged_page, &f->base, &f->index_page));
}

static void bases_after(uv_work_t *work, int status)
{
	(void)status;
	if (work_after(work, "io"))
		fetch_bases_found(work->data);
}

void fetch_bases_start(struct fetch *f)
{
	work_start(f, FETCH_BASES, bases_run, bases_after);
}

void fetch_plan_start(struct fetch *f)
{
	f->carry_before = f->carry;
	f->carry_of = f->page;
	f->carry_moved = true;
	arena_reset(&f->page_arena);
	work_start(f, FETCH_PLAN, plan_run, plan_after);
}

// ---- install

// After a failed sync nobody knows what is on the disk, and the next sync would not tell; and what
// is no package with all its chunks there never becomes one: all is fetched anew.
static enum err sealed(struct fetch *f)
{
	enum err e = install_seal(f->config->store, &f->package, &f->manifest);
	if ((e == ERR_IO || e == ERR_FORMAT) && staging_drop(f->config->store, &f->package) != ERR_OK)
		log_warn("STAGING-UNDROPPED", "package=%s", digest_short(&f->package));
	return e;
}

static enum err install(struct fetch *f)
{
	struct depot *store = f->config->store;
	const struct manifest *m = &f->manifest;
	TRY(page_carry_finish(&f->carry, m));
	TRY(sealed(f));
	TRY(install_rename(store, &f->package));
	// Software is switched to when it is held, by its handler.
	return f->activate && m->kind == PACKAGE_IMAGES
		       ? depot_activate(store, m->kind, m->name, &f->package)
		       : depot_keep(store, m->kind, m->name, &f->package);
}

static void install_run(uv_work_t *work)
{
	struct fetch *f = work->data;
	work_end(f, install(f));
}

static void install_after(uv_work_t *work, int status)
{
	struct fetch *f = work->data;
	(void)status;
	bool over = f->phase == FETCH_OVER;
	if (over && f->work_result == ERR_OK && depot_scan(f->config->store) != ERR_OK)
		log_warn("STORE-UNREAD", "why=%s", log_quote(err_text()));
	if (!work_after(work, f->work_result == ERR_FORMAT ? "manifest" : "io"))
		return;
	struct fetcher *owner = f->owner;
	if (depot_scan(f->config->store) != ERR_OK) {
		fetch_fail(f, "io", err_text());
		return;
	}
	struct fetch_result r = {
		.package = f->package,
		.kind = f->manifest.kind,
		.name = f->manifest.name,
		.version = f->manifest.version,
		.security_counter = f->manifest.security_counter,
		.activated = f->activate,
		.rotten_in = f->rot.package,
		.rotten_chunks = f->rot.count,
	};
	if (r.rotten_chunks != 0)
		log_warn("FETCH-BASE-ROTTEN", "package=%s held=%s chunks=%u",
			digest_short(&f->package), digest_short(&r.rotten_in), r.rotten_chunks);
	log_info("FETCH-DONE",
		"package=%s name=%s version=%s seconds=%.3f received_bytes=%llu copied_bytes=%llu",
		digest_short(&f->package), log_quote(r.name), log_quote(r.version),
		(double)mono_since_ms(fetch_now(), f->begun) / 1000,
		(unsigned long long)f->received_bytes, (unsigned long long)f->staging.copied_bytes);
	f->phase = FETCH_OVER;
	owner->events.done(owner->ctx, &r);
	fetch_released(f);
}

void fetch_install_start(struct fetch *f)
{
	log_info("FETCH-COMPLETE", "package=%s seconds=%.3f", digest_short(&f->package),
		(double)mono_since_ms(fetch_now(), f->begun) / 1000);
	work_start(f, FETCH_INSTALL, install_run, install_after);
}
