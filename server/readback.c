#include "server/readback.h"

#include "proto/base/log.h"
#include "proto/base/text.h"
#include "server/offer.h"
#include <stdio.h>

struct order {
	struct digest package;
	char publisher[LIMIT_ID + 1];
	struct key32 publisher_key;
	struct id16 mark;
	struct digest index_sha256;
	struct digest objects[PRESENCE_MISSING_MAX + 1]; // and the last one of the index
	bool seen[PRESENCE_MISSING_MAX + 1];
	size_t object_count;
	bool has_mark, has_manifest, has_index, failed;
	char why[LIMIT_TEXT + 1];
};

enum phase {
	PHASE_IDLE,
	PHASE_HEADS,
	PHASE_OBJECTS
};

struct readback {
	const char *broker;
	const struct root *root;
	struct readback_ports ports;
	struct order *queue; // [READBACK_QUEUE], the first `batch` of them are being read
	size_t count, batch;
	enum phase phase;
	struct mono deadline;
	struct mono latest;       // of the phase: what drips without an end moves it no further
	char fence[LIMIT_ID + 1]; // whose mark was asked for behind the objects; "": nobody's yet
	bool fence_came;
	struct topic filters[READBACK_BATCH * (PRESENCE_MISSING_MAX + 4)];
	size_t filter_count;
	struct arena arena;
};

struct readback *readback_new(
	const char *broker, const struct root *root, const struct readback_ports *ports)
{
	struct readback *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->queue = calloc(READBACK_QUEUE, sizeof(*r->queue));
	if (!r->queue)
		abort();
	r->broker = broker;
	r->root = root;
	r->ports = *ports;
	arena_init(&r->arena, 4 * 1024 * 1024, 65536);
	return r;
}

void readback_free(struct readback *r)
{
	if (!r)
		return;
	arena_fini(&r->arena);
	free(r->queue);
	free(r);
}

bool readback_is_idle(const struct readback *r)
{
	return r->phase == PHASE_IDLE && r->count == 0;
}

// ---------------------------------------------------------------- filters

static void filter_add(struct readback *r, struct topic t)
{
	for (size_t i = 0; i < r->filter_count; i++)
		if (strcmp(r->filters[i].s, t.s) == 0)
			return;
	r->filters[r->filter_count++] = t;
}

// Filters from `first` on, in packets of at most 64.
static enum err filters_send(struct readback *r, size_t first, bool subscribe)
{
	while (first < r->filter_count) {
		const char *packet[64];
		size_t n = 0;

		while (n < 64 && first < r->filter_count)
			packet[n++] = r->filters[first++].s;
		if (subscribe)
			TRY(r->ports.subscribe(r->ports.ctx, r->broker, packet, n));
		else
			r->ports.unsubscribe(r->ports.ctx, r->broker, packet, n);
	}
	return ERR_OK;
}

// ---------------------------------------------------------------- a batch

static void order_fail(struct order *o, const char *why)
{
	if (o->failed)
		return;
	o->failed = true;
	text_format(o->why, sizeof(o->why), "%s", why);
}

static bool heads_are_done(const struct readback *r)
{
	for (size_t i = 0; i < r->batch; i++) {
		const struct order *o = &r->queue[i];

		if (!o->failed && !(o->has_mark && o->has_manifest && o->has_index))
			return false;
	}
	return true;
}

// An order whose mark is here, and something else of it has not come in this phase.
static const struct order *missing_find(const struct readback *r)
{
	for (size_t i = 0; i < r->batch; i++) {
		const struct order *o = &r->queue[i];

		if (o->failed || !o->has_mark)
			continue;
		if (r->phase == PHASE_HEADS && !(o->has_manifest && o->has_index))
			return o;
		for (size_t j = 0; r->phase == PHASE_OBJECTS && j < o->object_count; j++)
			if (!o->seen[j])
				return o;
	}
	return NULL;
}

static bool objects_are_done(const struct readback *r)
{
	for (size_t i = 0; i < r->batch; i++)
		for (size_t j = 0; !r->queue[i].failed && j < r->queue[i].object_count; j++)
			if (!r->queue[i].seen[j])
				return false;
	return true;
}

static enum readback_verdict order_verdict(const struct order *o, const char **why)
{
	*why = "";
	if (o->failed) {
		*why = o->why;
		return READBACK_LOST;
	}
	*why = !o->has_mark       ? "the publisher's mark is not there"
	       : !o->has_manifest ? "the manifest is not there"
	       : !o->has_index    ? "the index is not there"
				  : "";
	if (**why)
		return READBACK_LOST;
	for (size_t j = 0; j < o->object_count; j++)
		if (!o->seen[j]) {
			*why = "an object is not there";
			return READBACK_OBJECTS_MISSING;
		}
	return READBACK_PROVEN;
}

// The batch leaves the queue first: `done` may add orders.
static void batch_end(struct readback *r, bool broken, struct now now)
{
	struct order done[READBACK_BATCH];
	size_t count = r->batch;

	memcpy(done, r->queue, count * sizeof(done[0]));
	memmove(r->queue, r->queue + count, (r->count - count) * sizeof(r->queue[0]));
	r->count -= count;
	r->batch = 0;
	r->phase = PHASE_IDLE;
	if (!broken && filters_send(r, 0, false) != ERR_OK)
		log_debug("READBACK-UNSUBSCRIBE", "broker=%s", r->broker);
	r->filter_count = 0;
	for (size_t i = 0; i < count; i++) {
		const char *why = "our connection to the data broker broke";
		enum readback_verdict v = broken ? READBACK_BROKEN : order_verdict(&done[i], &why);

		log_info("READBACK", "broker=%s package=%s verdict=%s why=%s", r->broker,
			digest_short(&done[i].package),
			v == READBACK_PROVEN            ? "proven"
			: v == READBACK_LOST            ? "lost"
			: v == READBACK_OBJECTS_MISSING ? "objects-missing"
							: "broken",
			log_quote(why));
		r->ports.done(r->ports.ctx, r->broker, &done[i].package, v, why, now);
	}
}

static void phase_begin(struct readback *r, enum phase phase, struct now now)
{
	r->phase = phase;
	r->fence[0] = 0;
	r->fence_came = false;
	r->deadline = mono_add_ms(now.mono, READBACK_DEADLINE_MS);
	r->latest = mono_add_ms(now.mono, READBACK_FENCE_MS);
}

static void batch_begin(struct readback *r, struct now now)
{
	r->batch = r->count < READBACK_BATCH ? r->count : READBACK_BATCH;
	r->filter_count = 0;
	phase_begin(r, PHASE_HEADS, now);
	for (size_t i = 0; i < r->batch; i++) {
		const struct order *o = &r->queue[i];

		filter_add(r, topic_of(TOPIC_MARK, o->publisher));
		filter_add(r, topic_pkg(o->publisher, &o->package));
		filter_add(r, topic_idx(o->publisher, &o->package, NULL));
	}
	if (filters_send(r, 0, true) != ERR_OK)
		batch_end(r, true, now);
}

static void objects_begin(struct readback *r, struct now now)
{
	size_t first = r->filter_count;

	phase_begin(r, PHASE_OBJECTS, now);
	for (size_t i = 0; i < r->batch; i++) {
		const struct order *o = &r->queue[i];

		for (size_t j = 0; !o->failed && o->has_mark && o->has_manifest && o->has_index &&
				   j < o->object_count;
			j++)
			filter_add(r, topic_chunk(o->publisher, &o->objects[j]));
	}
	if (r->filter_count == first)
		batch_end(r, false, now);
	else if (filters_send(r, first, true) != ERR_OK)
		batch_end(r, true, now);
}

// False: nobody's mark is here, so there is nothing to wait for.
static bool fence_set(struct readback *r, struct now now)
{
	const struct order *o = missing_find(r);
	struct topic mark = o ? topic_of(TOPIC_MARK, o->publisher) : (struct topic){.s = ""};
	const char *filter = mark.s;

	if (!o)
		return false;
	str_copy(r->fence, sizeof(r->fence), o->publisher);
	r->deadline = mono_add_ms(now.mono, READBACK_FENCE_MS);
	r->ports.unsubscribe(r->ports.ctx, r->broker, &filter, 1);
	if (r->ports.subscribe(r->ports.ctx, r->broker, &filter, 1) != ERR_OK)
		batch_end(r, true, now);
	return true;
}

// All that is to come in this phase has come, or would have.
static bool phase_is_over(struct readback *r, struct now now)
{
	bool late = mono_since_ms(now.mono, r->deadline) >= 0;

	if (r->fence_came || (r->phase == PHASE_HEADS ? heads_are_done(r) : objects_are_done(r)))
		return true;
	return late && (r->fence[0] || !fence_set(r, now));
}

static void advance(struct readback *r, struct now now)
{
	if (r->phase == PHASE_HEADS && phase_is_over(r, now))
		objects_begin(r, now);
	else if (r->phase == PHASE_OBJECTS && phase_is_over(r, now))
		batch_end(r, false, now);
	if (r->phase == PHASE_IDLE && r->count > 0)
		batch_begin(r, now);
}

// ---------------------------------------------------------------- what arrives

static void take_mark(struct order *o, struct bytes payload)
{
	if (payload.size == sizeof(o->mark.b) &&
		memcmp(payload.data, o->mark.b, sizeof(o->mark.b)) == 0)
		o->has_mark = true;
	else
		order_fail(o, "the mark is another one: the broker forgot what was stored before");
}

static void take_manifest(struct readback *r, struct order *o, struct bytes payload)
{
	struct manifest man;
	struct digest id;

	if (offer_open(r->root, payload, &r->arena, &man, &id) != ERR_OK)
		order_fail(o, err_text());
	else if (!digest_equal(&id, &o->package))
		order_fail(o, "the manifest there is another package's");
	else
		o->has_manifest = true;
}

// The object published last before the index: the one that yields the last index page.
static void last_object_learn(struct order *o, const struct index *idx)
{
	const struct index_page_ref *last =
		idx->page_count ? &idx->pages[idx->page_count - 1] : NULL;

	if (!last || !last->object || o->object_count > PRESENCE_MISSING_MAX)
		return;
	o->objects[o->object_count++] =
		digest_is_zero(&last->object->sha256) ? last->sha256 : last->object->sha256;
}

static enum err index_open(
	struct readback *r, const struct order *o, struct bytes envelope, struct index *out)
{
	struct digest sha = sha256(envelope.data, envelope.size);
	struct bytes payload;

	if (!digest_equal(&sha, &o->index_sha256))
		return err_set(ERR_CORRUPT, "the index is not the one that was announced");
	TRY(envelope_open(PURPOSE_INDEX, envelope, &o->publisher_key, 1, 1, &payload));
	TRY(index_decode(&r->arena, payload, out));
	if (!digest_equal(&out->package, &o->package) || !digest_is_zero(&out->base))
		return err_set(ERR_CORRUPT, "the index is another package's");
	return ERR_OK;
}

static void take_index(struct readback *r, struct order *o, struct bytes payload)
{
	struct index idx;

	if (index_open(r, o, payload, &idx) != ERR_OK) {
		order_fail(o, err_text());
		return;
	}
	if (!o->has_index)
		last_object_learn(o, &idx);
	o->has_index = true;
}

static void take_object(struct order *o, const struct digest *id, struct bytes payload)
{
	struct digest sha = sha256(payload.data, payload.size);

	for (size_t j = 0; j < o->object_count; j++)
		if (digest_equal(&o->objects[j], id) && digest_equal(&sha, id))
			o->seen[j] = true;
}

// Something came: the line is slow, or there is much to come.
static void deadline_move(struct readback *r, struct now now)
{
	if (r->phase == PHASE_IDLE || r->fence[0])
		return;
	r->deadline = mono_add_ms(now.mono, READBACK_DEADLINE_MS);
	if (mono_since_ms(r->deadline, r->latest) > 0)
		r->deadline = r->latest;
}

static bool order_is_named(const struct order *o, const struct topic_parts *t, bool with_package)
{
	return strcmp(o->publisher, t->id) == 0 &&
	       (!with_package || digest_equal(&o->package, &t->digest));
}

static bool kind_is_read(enum topic_kind kind)
{
	return kind == TOPIC_MARK || kind == TOPIC_PKG || kind == TOPIC_IDX || kind == TOPIC_CHUNK;
}

bool readback_message(struct readback *r, const struct topic_parts *topic, struct bytes payload,
	bool retained, struct now now)
{
	if (!kind_is_read(topic->kind))
		return false;
	retained = retained || topic->kind == TOPIC_CHUNK; // a shelf delivers them unmarked
	if (retained)
		deadline_move(r, now);
	if (retained && topic->kind == TOPIC_MARK && r->fence[0])
		r->fence_came = r->fence_came || strcmp(r->fence, topic->id) == 0;
	for (size_t i = 0; retained && i < r->batch; i++) {
		struct order *o = &r->queue[i];

		if (topic->kind == TOPIC_MARK && order_is_named(o, topic, false))
			take_mark(o, payload);
		else if (topic->kind == TOPIC_PKG && order_is_named(o, topic, true))
			take_manifest(r, o, payload);
		else if (topic->kind == TOPIC_IDX && order_is_named(o, topic, true) &&
			 strcmp(topic->level, "full") == 0)
			take_index(r, o, payload);
		else if (topic->kind == TOPIC_CHUNK && order_is_named(o, topic, false))
			take_object(o, &topic->digest, payload);
	}
	arena_reset(&r->arena);
	advance(r, now);
	return true;
}

void readback_add(struct readback *r, const struct readback_order *order, struct now now)
{
	struct order *o;

	if (r->count >= READBACK_QUEUE) {
		r->ports.done(r->ports.ctx, r->broker, &order->package, READBACK_BROKEN,
			"too many packages are read back", now);
		return;
	}
	o = &r->queue[r->count++];
	*o = (struct order){.package = order->package,
		.publisher_key = order->publisher_key,
		.mark = order->mark,
		.index_sha256 = order->index_sha256};
	str_copy(o->publisher, sizeof(o->publisher), order->publisher);
	for (size_t i = 0; i < order->object_count && i < PRESENCE_MISSING_MAX; i++)
		o->objects[o->object_count++] = order->objects[i];
	advance(r, now);
}

void readback_reset(struct readback *r, struct now now)
{
	while (r->count > 0) {
		r->batch = r->count < READBACK_BATCH ? r->count : READBACK_BATCH;
		batch_end(r, true, now);
	}
	r->phase = PHASE_IDLE;
	r->filter_count = 0;
}

void readback_tick(struct readback *r, struct now now)
{
	advance(r, now);
}
