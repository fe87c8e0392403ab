// The window of one page: what is asked for, what arrived and goes to the workers, what they have
// stored. What is wrong is asked for again.
#include "client/fetcher_parts.h"

#include <stdlib.h>
#include <string.h>

#define PROGRESS_PERIOD_MS 100

// ---- the plan of the page

// It yields a chunk that is missing.
static bool object_is_needed(const struct fetch *f, const struct object *o)
{
	for (uint32_t c = o->first_chunk; c < o->first_chunk + o->chunk_count; c++) {
		if (!staging_has_chunk(&f->staging, f->page, c))
			return true;
	}
	return false;
}

// Of the last page it is known to the byte what is to come, of earlier ones at most how much.
static void plan_count(struct fetch *f)
{
	uint64_t page = 0;
	for (size_t i = 0; i < f->plan.count; i++)
		page += f->plan.items[i].size_bytes;
	if (f->page + 1 == f->manifest.page_count || page > f->to_come)
		f->to_come = page;
	log_info("FETCH-PLAN", "package=%s page=%u objects=%zu bytes=%llu base=%s",
		digest_short(&f->package), f->page, f->plan.count, (unsigned long long)page,
		fetch_is_delta(f) ? digest_short(&f->base) : "-");
	fetch_tell_bytes(f);
}

// Of this client, this package and this page: nobody walks through it as another one does, and who
// is first with one package is not first with all.
static uint64_t order_seed(const struct fetch *f)
{
	struct digest own = sha256(f->config->client_id, strlen(f->config->client_id));
	uint64_t seed = 0;
	for (size_t i = 0; i < sizeof own.b; i++)
		own.b[i] ^= f->package.b[i];
	own = sha256(own.b, sizeof own.b);
	memcpy(&seed, own.b, sizeof seed);
	return seed + f->page;
}

enum err fetch_objects_begin(struct fetch *f)
{
	const struct index_page *x = &f->index_page;
	struct fetch_item *items = arena_array(&f->page_arena, x->object_count + 1, sizeof *items);
	uint32_t *order = arena_array(&f->page_arena, x->object_count + 1, sizeof *order);
	uint8_t *waves = arena_array(&f->page_arena, x->object_count + 1, 1);
	size_t count = 0;
	if (items == NULL || order == NULL || waves == NULL)
		return err_set(ERR_MEMORY, "no memory for the plan of a page");
	TRY(index_page_waves(x, &f->staged_page.plan, waves));
	for (uint32_t i = 0; i < x->object_count; i++) {
		const struct object *o = &x->objects[i];
		if (!object_is_needed(f, o))
			continue;
		items[count++] = (struct fetch_item){
			.topic = o->sha256,
			.size_bytes = o->size_bytes,
			.wave = waves[i],
			.tag = i,
		};
	}
	fetch_plan_init(&f->plan, &f->pace, items, order, count, order_seed(f), fetch_now());
	fetch_pool_page(&f->pool, &f->staging, &f->staged_page, f->has_bases ? &f->bases : NULL);
	f->planned = true;
	plan_count(f);
	return ERR_OK;
}

// ---- objects that wait for others

static const struct object *object_of(const struct fetch *f, uint32_t item)
{
	return &f->index_page.objects[f->plan.items[item].tag];
}

static void object_give(struct fetch *f, uint32_t item, struct link_payload *payload)
{
	if (fetch_pool_put(&f->pool, object_of(f, item), item, payload) == ERR_OK)
		return;
	link_payload_free(payload);
	fetch_plan_bad(&f->plan, item);
}

// To the workers, or aside until what it is told with is stored.
static void object_park(struct fetch *f, uint32_t item, struct link_payload *payload)
{
	if (!f->has_bases || base_source_is_ready(&f->bases, object_of(f, item))) {
		object_give(f, item, payload);
		return;
	}
	if (f->parked_count == FETCH_WINDOW_MAX) {
		link_payload_free(payload);
		fetch_plan_bad(&f->plan, item);
		return;
	}
	fetch_plan_park(&f->plan, item, true);
	f->parked[f->parked_count++] = (struct fetch_parked){.payload = *payload, .item = item};
}

static void parked_look(struct fetch *f)
{
	for (size_t i = 0; i < f->parked_count;) {
		struct fetch_parked p = f->parked[i];
		if (!base_source_is_ready(&f->bases, object_of(f, p.item))) {
			i++;
			continue;
		}
		f->parked[i] = f->parked[--f->parked_count];
		fetch_plan_park(&f->plan, p.item, false);
		object_give(f, p.item, &p.payload);
	}
}

void fetch_parked_drop(struct fetch *f)
{
	for (size_t i = 0; i < f->parked_count; i++)
		link_payload_free(&f->parked[i].payload);
	f->parked_count = 0;
}

// ---- what the workers have done

static void object_stored(struct fetch *f, uint32_t item)
{
	const struct object *o = object_of(f, item);
	for (uint32_t c = o->first_chunk; c < o->first_chunk + o->chunk_count; c++)
		staging_mark(&f->staging, f->page, c);
	uint32_t size = f->plan.items[item].size_bytes;
	f->to_come -= size < f->to_come ? size : f->to_come;
	fetch_plan_stored(&f->plan, item);
	f->link_tries = 0;
}

// False: the fetch has ended.
static bool object_end(struct fetch *f, const struct pool_object *it, const char *why)
{
	if (it->result == ERR_OK) {
		object_stored(f, it->item);
		return true;
	}
	if (it->result == ERR_CORRUPT) {
		log_warn("FETCH-WRONG-BYTES", "object=%s broker=%s why=%s",
			digest_short(&f->plan.items[it->item].topic), f->broker, log_quote(why));
		fetch_plan_bad(&f->plan, it->item);
		return true;
	}
	bool disk = it->result == ERR_NO_SPACE || it->result == ERR_READ_ONLY;
	if (fetch_is_delta(f) && !disk) {
		fetch_plan_stored(&f->plan, it->item); // gone through; its chunks stay missing
		fetch_fall_back_later(f, why);
		return true;
	}
	fetch_fail_err(f, it->result, "hash", why);
	return false;
}

static void tell_progress(struct fetch *f)
{
	struct mono now = fetch_now();
	if (mono_since_ms(now, f->told) < PROGRESS_PERIOD_MS)
		return;
	f->told = now;
	fetch_tell_bytes(f);
	f->owner->events.progress(f->owner->ctx, f->staging.have,
		f->staging.page_first[f->staging.manifest.page_count]);
}

void fetch_objects_drain(struct fetch *f)
{
	struct pool_object done[FETCH_WINDOW_MAX];
	char why[256];
	if (f->phase != FETCH_OBJECTS || !f->planned)
		return;
	size_t n = fetch_pool_drain(&f->pool, done, FETCH_WINDOW_MAX, why, sizeof why);
	for (size_t i = 0; i < n; i++) {
		if (!object_end(f, &done[i], why))
			return;
	}
	parked_look(f);
	tell_progress(f);
	fetch_objects_pump(f);
}

// ---- arrivals

void fetch_objects_message(
	struct fetch *f, const struct digest *object, const struct link_message *m)
{
	int64_t item = f->planned ? fetch_plan_find(&f->plan, object) : -1;
	struct link_payload payload;
	if (item < 0)
		return;
	if (m->payload.size == 0)
		return; // withdrawn just now: silence, and the watchdog asks again
	if (!fetch_plan_arrived(&f->plan, (uint32_t)item, fetch_now()))
		return;
	if (m->payload.size > LIMIT_OBJECT || link_message_take(m, &payload) != ERR_OK) {
		fetch_plan_bad(&f->plan, (uint32_t)item);
		return;
	}
	object_park(f, (uint32_t)item, &payload);
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
	fetch_pool_page_end(&f->pool);
	fetch_parked_drop(f);
	for (size_t i = 0; i < f->plan.count && count < LIMIT_MISSING; i++) {
		if (f->plan.items[i].state == ITEM_MISSING)
			missing[count++] = f->plan.items[i].topic;
	}
	if (count != 0 && fetch_is_delta(f)) {
		fetch_fall_back(f, "the broker does not have all of its objects");
		return;
	}
	if (count != 0) {
		fetch_missing(f, missing, count);
		return;
	}
	f->page++;
	fetch_next_page(f);
}

// Nothing more is asked for; when the workers are done, the full index takes over.
static void objects_abandon(struct fetch *f)
{
	struct topic topics[FETCH_BATCH];
	size_t n = 0;
	for (size_t i = 0; i < f->plan.count; i++) {
		struct fetch_item *it = &f->plan.items[i];
		if (!it->subscribed)
			continue;
		it->subscribed = false;
		topics[n++] = topic_chunk(f->publisher, &it->topic);
		if (n == FETCH_BATCH) {
			fetch_unsubscribe(f, topics, n);
			n = 0;
		}
	}
	fetch_unsubscribe(f, topics, n);
	fetch_parked_drop(f);
	if (fetch_pool_is_busy(&f->pool) || f->pool.held != 0)
		return;
	fetch_pool_page_end(&f->pool);
	fetch_fall_back(f, "its objects gave wrong output");
}

void fetch_objects_pump(struct fetch *f)
{
	struct fetch_step step;
	if (f->phase != FETCH_OBJECTS || !f->planned)
		return;
	if (!f->up)
		return;
	if (f->falls_back) {
		objects_abandon(f);
		return;
	}
	fetch_plan_step(&f->plan, fetch_now(), &step);
	step_send(f, &step);
	if (f->phase != FETCH_OBJECTS)
		return;
	if (step.finished && !fetch_pool_is_busy(&f->pool)) {
		objects_finish(f);
		return;
	}
	fetch_timer_set(f, step.wait_ms, TIMER_PUMP);
}
