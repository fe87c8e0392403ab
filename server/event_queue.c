// See event_queue.h. The list gives the order, the ring gives the place.
#include "server/event_queue.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_RING 16u
#define RUN_MAX 256u // members of one consolidated element; a longer run makes several

void queue_init(struct event_queue *q, const char *name, uint64_t epoch, uint32_t tail_seq)
{
	assert(tail_seq >= 1);
	*q = (struct event_queue){
		.epoch = epoch,
		.tail_seq = tail_seq,
		.floor_seq = tail_seq,
		.looked_seq = tail_seq,
	};
	bool fits = str_copy(q->name, sizeof(q->name), name);
	assert(fits);
	(void)fits;
}

static void element_free(struct element *e)
{
	free((void *)(uintptr_t)e->body.data);
	free(e->text);
	free(e->author);
	free(e);
}

void queue_fini(struct event_queue *q)
{
	for (struct element *e = q->head, *after; e; e = after) {
		after = e->after;
		element_free(e);
	}
	free(q->ring);
	*q = (struct event_queue){0};
}

static struct element **ring_at(const struct event_queue *q, uint32_t seq)
{
	return &q->ring[seq & (q->ring_size - 1)];
}

static enum err ring_reserve(struct event_queue *q, uint32_t numbers)
{
	uint32_t size = q->ring_size ? q->ring_size : FIRST_RING;

	while (size < numbers)
		size *= 2;
	if (size == q->ring_size)
		return ERR_OK;
	struct element **ring = calloc(size, sizeof(struct element *));
	if (!ring)
		return err_set(ERR_MEMORY, "no memory for queue %s", q->name);
	for (uint32_t n = q->floor_seq; n < q->tail_seq && q->ring; n++)
		ring[n & (size - 1)] = *ring_at(q, n);
	free(q->ring);
	q->ring = ring;
	q->ring_size = size;
	return ERR_OK;
}

static bool element_fill(struct element *e, const struct element_data *d)
{
	uint8_t *body = malloc(d->body.size ? d->body.size : 1);
	char *text = strdup(d->text ? d->text : "");
	char *author = strdup(d->author ? d->author : "");

	if (!body || !text || !author) {
		free(body);
		free(text);
		free(author);
		return false;
	}
	if (d->body.size)
		memcpy(body, d->body.data, d->body.size);
	e->type = d->type;
	e->flow_id = d->flow_id;
	e->at = d->at;
	e->body = bytes_of(body, d->body.size);
	e->text = text;
	e->author = author;
	return true;
}

static enum err element_link(struct event_queue *q, uint32_t first_seq, uint32_t seq,
	const struct element_data *d, struct element **out)
{
	TRY(ring_reserve(q, seq - q->floor_seq + 1));
	struct element *e = calloc(1, sizeof(*e));
	if (!e || !element_fill(e, d)) {
		free(e);
		return err_set(ERR_MEMORY, "no memory for queue %s", q->name);
	}
	e->first_seq = first_seq;
	e->seq = seq;
	e->before = q->last;
	if (q->last)
		q->last->after = e;
	else
		q->head = e;
	q->last = e;
	for (uint32_t n = first_seq; n <= seq; n++)
		*ring_at(q, n) = e;
	q->count++;
	q->tail_seq = seq + 1;
	*out = e;
	return ERR_OK;
}

enum err queue_append(struct event_queue *q, const struct element_data *d, struct element **out)
{
	if (q->tail_seq == UINT32_MAX)
		return err_set(ERR_FULL, "queue %s has used up its numbers", q->name);
	TRY(element_link(q, q->tail_seq, q->tail_seq, d, out));
	(*out)->standing = q->standing_tail;
	q->standing_tail = 0;
	while (q->tail_seq - q->floor_seq > QUEUE_SPAN_MAX)
		queue_drop_head(q);
	return ERR_OK;
}

enum err queue_load(
	struct event_queue *q, uint32_t first_seq, uint32_t seq, const struct element_data *d)
{
	struct element *e = NULL;

	if (first_seq == 0 || seq < first_seq || seq == UINT32_MAX ||
		seq - first_seq >= QUEUE_SPAN_MAX)
		return err_set(ERR_CORRUPT, "queue %s: element %u has bad numbers", q->name, seq);
	if (!q->head) {
		q->floor_seq = first_seq;
		q->looked_seq = first_seq;
	} else if (first_seq != q->tail_seq) {
		return err_set(ERR_CORRUPT, "queue %s: element %u does not follow", q->name, seq);
	}
	return element_link(q, first_seq, seq, d, &e);
}

bool queue_is_detached(const struct event_queue *q, uint32_t pointer)
{
	return pointer == POINTER_HEAD || pointer < q->floor_seq || pointer > q->tail_seq;
}

struct element *queue_show(const struct event_queue *q, uint32_t pointer)
{
	assert(!queue_is_detached(q, pointer));
	return pointer == q->tail_seq ? NULL : *ring_at(q, pointer);
}

static uint32_t *standing_at(struct event_queue *q, uint32_t pointer)
{
	struct element *e = queue_show(q, pointer);

	return e ? &e->standing : &q->standing_tail;
}

void queue_stand(struct event_queue *q, uint32_t pointer)
{
	if (!queue_is_detached(q, pointer))
		++*standing_at(q, pointer);
}

void queue_leave(struct event_queue *q, uint32_t pointer)
{
	if (queue_is_detached(q, pointer))
		return;
	uint32_t *standing = standing_at(q, pointer);
	assert(*standing > 0);
	--*standing;
}

void queue_advance(struct event_queue *q, uint32_t *pointer)
{
	struct element *e = queue_show(q, *pointer);

	assert(e && e->standing > 0);
	e->standing--;
	*pointer = e->seq + 1;
	++*standing_at(q, *pointer);
}

static void head_free(struct event_queue *q)
{
	struct element *e = q->head;

	q->floor_seq = e->seq + 1;
	if (q->looked_seq < q->floor_seq)
		q->looked_seq = q->floor_seq;
	q->head = e->after;
	if (q->head)
		q->head->before = NULL;
	else
		q->last = NULL;
	q->count--;
	element_free(e);
}

uint32_t queue_trim(struct event_queue *q, int64_t before_ms, uint32_t *up_to)
{
	uint32_t gone = 0;

	*up_to = 0;
	while (q->head && q->head->standing == 0 && q->head->at.ms < before_ms) {
		*up_to = q->head->seq;
		head_free(q);
		gone++;
	}
	return gone;
}

void queue_drop_head(struct event_queue *q)
{
	assert(q->head);
	q->detached += q->head->standing;
	head_free(q);
}

// run[count] becomes its last member.
static enum err run_merge(
	struct event_queue *q, const struct queue_merge *m, struct element **run, size_t count)
{
	struct element *into = run[count - 1];
	struct element fresh = {0};
	struct element_data data = {0};

	TRY(m->merge(m->ctx, run, count, &data));
	if (!element_fill(&fresh, &data))
		return err_set(ERR_MEMORY, "no memory for queue %s", q->name);
	free((void *)(uintptr_t)into->body.data);
	free(into->text);
	free(into->author);
	into->body = fresh.body;
	into->text = fresh.text;
	into->author = fresh.author;
	into->flow_id = fresh.flow_id;
	into->at = fresh.at;
	into->first_seq = run[0]->first_seq;
	into->before = run[0]->before;
	if (into->before)
		into->before->after = into;
	else
		q->head = into;
	for (size_t i = 0; i + 1 < count; i++)
		into->standing += run[i]->standing;
	for (uint32_t n = into->first_seq; n < into->seq; n++)
		*ring_at(q, n) = into;
	enum err e = m->merged(m->ctx, run, count, into);
	for (size_t i = 0; i + 1 < count; i++)
		element_free(run[i]);
	q->count -= (uint32_t)count - 1;
	return e;
}

static struct element *look_from(const struct event_queue *q)
{
	if (!q->head)
		return NULL;
	struct element *e = q->looked_seq >= q->tail_seq ? q->last : *ring_at(q, q->looked_seq);
	// The run that goes on may begin one element earlier: everything before is consolidated
	// already.
	return e->before ? e->before : e;
}

enum err queue_consolidate(struct event_queue *q, const struct queue_merge *m, size_t *gone)
{
	struct element *run[RUN_MAX], *after = NULL;
	size_t count = 0;

	*gone = 0;
	for (struct element *e = look_from(q); e; e = after) {
		after = e->after;
		if (e->type == ELEMENT_DISPLAY)
			run[count++] = e;
		bool ends = e->type != ELEMENT_DISPLAY || !after || count == RUN_MAX;
		if (!ends)
			continue;
		if (count >= 2) {
			enum err made = run_merge(q, m, run, count);
			if (made == ERR_OK)
				*gone += count - 1;
			else if (made != ERR_FULL)
				return made;
		}
		count = 0;
	}
	q->looked_seq = q->tail_seq;
	return ERR_OK;
}

enum err queue_check(const struct event_queue *q)
{
	uint32_t next = q->floor_seq, count = 0;

	for (const struct element *e = q->head; e; e = e->after, count++) {
		if (e->first_seq != next || e->seq < e->first_seq)
			return err_set(ERR_CORRUPT,
				"queue %s: element %u covers %u..%u but %u is next", q->name,
				e->seq, e->first_seq, e->seq, next);
		for (uint32_t n = e->first_seq; n <= e->seq; n++)
			if (*ring_at(q, n) != e)
				return err_set(ERR_CORRUPT,
					"queue %s: number %u shows another element", q->name, n);
		if (e->after ? e->after->before != e : q->last != e)
			return err_set(ERR_CORRUPT, "queue %s: element %u is linked wrongly",
				q->name, e->seq);
		next = e->seq + 1;
	}
	if (next != q->tail_seq || count != q->count)
		return err_set(ERR_CORRUPT,
			"queue %s: %u elements up to %u, but %u counted up to %u", q->name, count,
			next, q->count, q->tail_seq);
	return ERR_OK;
}
