// The window of one page, and the pool that verifies and writes.
//
// The loop takes over what arrived into a queue of at most a window; a job takes a few objects at
// once, checks each against the index and the manifest and writes its chunks to their places. What
// is wrong is asked for again.
#include "client/fetcher_parts.h"

#include <stdlib.h>
#include <string.h>

#define PROGRESS_PERIOD_MS 100

// ---- the plan of the page

static bool object_is_needed(const struct fetch *f, const struct object *o)
{
	for (uint32_t c = o->first_chunk; c < o->first_chunk + o->chunk_count; c++) {
		if (!staging_has_chunk(&f->staging, f->page, c))
			return true;
	}
	return false;
}

enum err fetch_objects_begin(struct fetch *f)
{
	const struct index_page *x = &f->index_page;
	struct fetch_item *items = arena_array(&f->page_arena, x->object_count + 1, sizeof *items);
	uint32_t *order = arena_array(&f->page_arena, x->object_count + 1, sizeof *order);
	uint64_t seed;
	size_t count = 0;
	if (items == NULL || order == NULL)
		return err_set(ERR_MEMORY, "no memory for the plan of a page");
	for (uint32_t i = 0; i < x->object_count; i++) {
		const struct object *o = &x->objects[i];
		if (!object_is_needed(f, o))
			continue;
		items[count++] = (struct fetch_item){
			.topic = o->sha256,
			.size_bytes = o->size_bytes,
			.tag = i,
		};
	}
	struct digest own = sha256(f->config->client_id, strlen(f->config->client_id));
	memcpy(&seed, own.b, sizeof seed);
	fetch_plan_init(&f->plan, &f->pace, items, order, count, seed + f->page, fetch_now());
	f->planned = true;
	return ERR_OK;
}

// ---- jobs

static void job_object(struct object_job *job, struct arrival *a)
{
	struct fetch *f = job->f;
	const struct object *o = &f->index_page.objects[f->plan.items[a->item].tag];
	const struct chunk_ref *run = &f->staged_page.plan.chunks[o->first_chunk];
	struct bytes plain;
	a->result = object_open(job->decoder, o, run, a->payload.bytes, bytes_of(NULL, 0), &plain);
	if (a->result == ERR_OK)
		a->result = staging_write(
			&f->staging, &f->staged_page, o->first_chunk, o->chunk_count, plain);
	if (a->result != ERR_OK && !str_copy(job->why, sizeof job->why, err_text()))
		(void)str_copy(job->why, sizeof job->why, err_word(a->result));
}

static void job_run(uv_work_t *work)
{
	struct object_job *job = work->data;
	for (size_t i = 0; i < job->count; i++) {
		job_object(job, &job->list[i]);
		link_payload_free(&job->list[i].payload);
	}
}

static void object_stored(struct fetch *f, uint32_t item)
{
	const struct object *o = &f->index_page.objects[f->plan.items[item].tag];
	for (uint32_t c = o->first_chunk; c < o->first_chunk + o->chunk_count; c++)
		staging_mark(&f->staging, f->page, c);
	fetch_plan_stored(&f->plan, item);
	f->link_tries = 0;
}

// False: the fetch has ended.
static bool arrival_end(struct fetch *f, const struct arrival *a, const char *why)
{
	if (a->result == ERR_OK) {
		object_stored(f, a->item);
		return true;
	}
	if (a->result == ERR_CORRUPT) {
		log_warn("FETCH-WRONG-BYTES", "object=%s broker=%s why=%s",
			digest_short(&f->plan.items[a->item].topic), f->broker, log_quote(why));
		fetch_plan_bad(&f->plan, a->item);
		return true;
	}
	fetch_fail_err(f, a->result, "hash", why);
	return false;
}

static void tell_progress(struct fetch *f)
{
	struct mono now = fetch_now();
	if (mono_since_ms(now, f->told) < PROGRESS_PERIOD_MS)
		return;
	f->told = now;
	f->owner->events.progress(f->owner->ctx, f->staging.have,
		f->staging.page_first[f->staging.manifest.page_count]);
}

static void job_after(uv_work_t *work, int status)
{
	struct object_job *job = work->data;
	struct fetch *f = job->f;
	(void)status;
	job->busy = false;
	f->jobs_busy--;
	if (f->phase == FETCH_OVER) {
		fetch_released(f);
		return;
	}
	for (size_t i = 0; i < job->count; i++) {
		if (!arrival_end(f, &job->list[i], job->why))
			return;
	}
	tell_progress(f);
	fetch_objects_pump(f);
}

static void jobs_feed(struct fetch *f)
{
	for (size_t j = 0; j < FETCH_JOBS && f->queue_count != 0; j++) {
		struct object_job *job = &f->jobs[j];
		if (job->busy)
			continue;
		size_t take =
			f->queue_count < FETCH_JOB_OBJECTS ? f->queue_count : FETCH_JOB_OBJECTS;
		memcpy(job->list, f->queue, take * sizeof f->queue[0]);
		f->queue_count -= take;
		memmove(f->queue, f->queue + take, f->queue_count * sizeof f->queue[0]);
		job->count = take;
		job->f = f;
		job->work.data = job;
		if (uv_queue_work(f->owner->loop, &job->work, job_run, job_after) != 0) {
			fetch_fail(f, "io", "the pool takes no work");
			return;
		}
		job->busy = true;
		f->jobs_busy++;
	}
}

void fetch_objects_drop(struct fetch *f)
{
	for (size_t i = 0; i < f->queue_count; i++)
		link_payload_free(&f->queue[i].payload);
	f->queue_count = 0;
}

// ---- arrivals

void fetch_objects_message(
	struct fetch *f, const struct digest *object, const struct link_message *m)
{
	int64_t item = f->planned ? fetch_plan_find(&f->plan, object) : -1;
	if (item < 0 || f->queue_count == FETCH_WINDOW_MAX)
		return;
	if (m->payload.size == 0)
		return; // withdrawn just now: silence, and the watchdog asks again
	if (!fetch_plan_arrived(&f->plan, (uint32_t)item, fetch_now()))
		return;
	struct arrival *a = &f->queue[f->queue_count];
	if (m->payload.size > LIMIT_OBJECT || link_message_take(m, &a->payload) != ERR_OK) {
		fetch_plan_bad(&f->plan, (uint32_t)item);
		return;
	}
	a->item = (uint32_t)item;
	f->queue_count++;
}

// ---- the window moves

static void step_send(struct fetch *f, const struct fetch_step *step)
{
	struct topic topics[FETCH_BATCH];
	for (size_t i = 0; i < step->unsubscribe_count;) {
		size_t n = 0;
		for (; i < step->unsubscribe_count && n < FETCH_BATCH; i++)
			topics[n++] = topic_chunk(
				f->publisher, &f->plan.items[step->unsubscribe[i]].topic);
		fetch_unsubscribe(f, topics, n);
	}
	for (size_t i = 0; i < step->subscribe_count; i++)
		topics[i] = topic_chunk(f->publisher, &f->plan.items[step->subscribe[i]].topic);
	if (step->subscribe_count != 0)
		fetch_subscribe(f, topics, step->subscribe_count);
}

static void objects_finish(struct fetch *f)
{
	struct digest missing[LIMIT_MISSING];
	size_t count = 0;
	f->planned = false;
	for (size_t i = 0; i < f->plan.count && count < LIMIT_MISSING; i++) {
		if (f->plan.items[i].state == ITEM_MISSING)
			missing[count++] = f->plan.items[i].topic;
	}
	if (count != 0) {
		fetch_missing(f, missing, count);
		return;
	}
	f->page++;
	fetch_next_page(f);
}

void fetch_objects_pump(struct fetch *f)
{
	struct fetch_step step;
	if (f->phase != FETCH_OBJECTS || !f->planned)
		return;
	jobs_feed(f);
	if (f->phase != FETCH_OBJECTS)
		return;
	if (!f->up)
		return;
	fetch_plan_step(&f->plan, fetch_now(), &step);
	step_send(f, &step);
	if (f->phase != FETCH_OBJECTS)
		return;
	if (step.finished && f->jobs_busy == 0 && f->queue_count == 0) {
		objects_finish(f);
		return;
	}
	fetch_timer_set(f, step.wait_ms, TIMER_PUMP);
}
