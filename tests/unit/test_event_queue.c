// The managed event queue alone: its elements, its pointers, and the convergence property under
// random histories, held against a model that keeps every event for ever.
#include "helper.h"
#include "server/event_queue.h"

struct fixture {
	struct event_queue q;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	queue_init(&f->q, "art", 7, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	queue_fini(&f->q);
	free(f);
	return 0;
}

// Bodies of these tests: pairs of bytes (key, value).
static uint32_t append(struct event_queue *q, enum element_type type, uint8_t key, uint8_t value)
{
	const uint8_t body[2] = {key, value};
	struct element *e = NULL;
	const struct element_data d = {.type = type,
		.body = bytes_of(body, 2),
		.text = "x",
		.author = "a",
		.flow_id = value};

	assert_int_equal(queue_append(q, &d, &e), ERR_OK);
	return e->seq;
}

struct merge_buffer {
	uint8_t body[2 * 256];
	size_t max_keys;
	size_t runs;
};

static enum err merge(void *ctx, struct element *const *run, size_t count, struct element_data *out)
{
	struct merge_buffer *m = ctx;
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		for (size_t b = 0; b < run[i]->body.size; b += 2) {
			size_t at = 0;
			while (at < size && m->body[at] != run[i]->body.data[b])
				at += 2;
			if (at == size)
				size += 2;
			if (size / 2 > m->max_keys)
				return err_set(ERR_FULL, "too many keys");
			m->body[at] = run[i]->body.data[b];
			m->body[at + 1] = run[i]->body.data[b + 1];
		}
	*out = (struct element_data){
		.type = ELEMENT_DISPLAY, .body = bytes_of(m->body, size), .text = "merged"};
	return ERR_OK;
}

static enum err merged(
	void *ctx, struct element *const *run, size_t count, const struct element *into)
{
	struct merge_buffer *m = ctx;

	assert_ptr_equal(run[count - 1], into);
	m->runs++;
	return ERR_OK;
}

static size_t consolidate(struct event_queue *q, size_t max_keys)
{
	static struct merge_buffer m;
	size_t gone = 0;

	m = (struct merge_buffer){.max_keys = max_keys};
	assert_int_equal(
		queue_consolidate(q, &(struct queue_merge){&m, merge, merged}, &gone), ERR_OK);
	assert_int_equal(queue_check(q), ERR_OK);
	return gone;
}

static void S004_2_append_turns_the_tail_into_the_element_in_place(void **state)
{
	struct event_queue *q = &((struct fixture *)*state)->q;
	uint32_t pointer = q->tail_seq;

	queue_stand(q, pointer);
	assert_null(queue_show(q, pointer));
	uint32_t seq = append(q, ELEMENT_DISPLAY, 1, 1);
	assert_int_equal(seq, pointer);
	assert_int_equal(queue_show(q, pointer)->seq, pointer);
	assert_int_equal(queue_show(q, pointer)->standing, 1);
	assert_int_equal(q->tail_seq, seq + 1);
	queue_advance(q, &pointer);
	assert_null(queue_show(q, pointer));
	assert_int_equal(q->standing_tail, 1);
	uint32_t up_to = 0;
	assert_int_equal(queue_trim(q, INT64_MAX, &up_to), 1);
	assert_int_equal(up_to, seq);
	assert_int_equal(q->count, 0);
}

static void S004_2_null_head_is_no_element(void **state)
{
	struct event_queue *q = &((struct fixture *)*state)->q;

	assert_true(queue_is_detached(q, POINTER_HEAD));
	assert_false(queue_is_detached(q, q->tail_seq));
	assert_true(queue_is_detached(q, q->tail_seq + 1));
	queue_stand(q, POINTER_HEAD);
	queue_leave(q, POINTER_HEAD);
	assert_int_equal(q->standing_tail, 0);
}

static void S004_10_only_runs_of_display_events_are_chosen(void **state)
{
	struct event_queue *q = &((struct fixture *)*state)->q;
	uint32_t pointer = q->tail_seq;

	queue_stand(q, pointer);
	append(q, ELEMENT_DISPLAY, 1, 1);
	append(q, ELEMENT_DISPLAY, 1, 2);
	uint32_t control = append(q, ELEMENT_CONTROL, 0, 0);
	append(q, ELEMENT_DISPLAY, 2, 3);
	uint32_t last = append(q, ELEMENT_DISPLAY, 1, 4);
	const uint8_t *control_body = queue_show(q, control)->body.data;
	assert_int_equal(consolidate(q, 100), 2);
	assert_int_equal(q->count, 3);
	assert_int_equal(queue_show(q, pointer)->seq, 2);
	assert_int_equal(queue_show(q, pointer)->body.data[1], 2);
	assert_ptr_equal(queue_show(q, control)->body.data, control_body);
	assert_int_equal(queue_show(q, last)->body.size, 4);
	assert_int_equal(consolidate(q, 100), 0);
}

static void S004_10_a_single_display_and_other_kinds_are_never_chosen(void **state)
{
	struct event_queue *q = &((struct fixture *)*state)->q;
	static const enum element_type types[] = {ELEMENT_DISPLAY, ELEMENT_CONTROL, ELEMENT_DISPLAY,
		ELEMENT_COMMAND, ELEMENT_COMMAND, ELEMENT_REQUEST, ELEMENT_REQUEST,
		ELEMENT_SOFTWARE, ELEMENT_SOFTWARE, ELEMENT_INTERVAL, ELEMENT_INTERVAL};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		append(q, types[i], 1, (uint8_t)i);
	assert_int_equal(consolidate(q, 100), 0);
	assert_int_equal(q->count, sizeof(types) / sizeof(types[0]));
}

static void a_run_that_one_response_cannot_hold_stays_as_it_is(void **state)
{
	struct event_queue *q = &((struct fixture *)*state)->q;

	for (uint8_t i = 0; i < 5; i++)
		append(q, ELEMENT_DISPLAY, i, i);
	assert_int_equal(consolidate(q, 3), 0);
	assert_int_equal(q->count, 5);
}

static void S004_13_pointers_at_chosen_events_show_the_consolidated_one(void **state)
{
	struct event_queue *q = &((struct fixture *)*state)->q;
	uint32_t first = q->tail_seq;

	queue_stand(q, first);
	append(q, ELEMENT_DISPLAY, 1, 1);
	uint32_t second = append(q, ELEMENT_DISPLAY, 2, 2);
	queue_stand(q, second);
	uint32_t third = append(q, ELEMENT_CONTROL, 0, 0);
	queue_stand(q, third);
	assert_int_equal(consolidate(q, 100), 1);
	assert_ptr_equal(queue_show(q, first), queue_show(q, second));
	assert_int_equal(queue_show(q, first)->standing, 2);
	assert_int_equal(queue_show(q, third)->standing, 1);
	queue_advance(q, &first);
	queue_advance(q, &second);
	assert_int_equal(first, third);
	assert_int_equal(second, third);
	assert_int_equal(queue_show(q, third)->standing, 3);
}

static void S004_18_dropping_the_head_detaches_who_stands_there(void **state)
{
	struct event_queue *q = &((struct fixture *)*state)->q;
	uint32_t slow = q->tail_seq, fast = slow;

	queue_stand(q, slow);
	queue_stand(q, fast);
	append(q, ELEMENT_COMMAND, 1, 1);
	append(q, ELEMENT_COMMAND, 1, 2);
	queue_advance(q, &fast);
	queue_drop_head(q);
	assert_true(queue_is_detached(q, slow));
	assert_false(queue_is_detached(q, fast));
	assert_int_equal(q->detached, 1);
	queue_leave(q, slow);
	assert_int_equal(queue_check(q), ERR_OK);
}

static void a_queue_is_loaded_as_it_was(void **state)
{
	struct event_queue *q = &((struct fixture *)*state)->q;
	const struct element_data d = {.type = ELEMENT_DISPLAY, .text = "t"};

	assert_int_equal(queue_load(q, 5, 9, &d), ERR_OK);
	assert_int_equal(queue_load(q, 10, 10, &d), ERR_OK);
	assert_int_equal(queue_load(q, 12, 12, &d), ERR_CORRUPT);
	assert_int_equal(queue_load(q, 0, 0, &d), ERR_CORRUPT);
	assert_int_equal(q->tail_seq, 11);
	assert_int_equal(queue_show(q, 7)->seq, 9);
	assert_true(queue_is_detached(q, 4));
	assert_int_equal(queue_check(q), ERR_OK);
}

// ---- the property (M16): random histories; every client ends with the values of one who took each
// event, and sees each control event that it did not skip by a snapshot exactly once and in order.

#define KEYS 8
#define CLIENTS 6

struct reader {
	uint32_t pointer;
	uint8_t values[KEYS];
	uint8_t last_control;
};

struct history {
	struct event_queue q;
	struct reader readers[CLIENTS];
	uint8_t truth[KEYS], controls;
	uint64_t seed;
};

static uint32_t dice(struct history *h, uint32_t sides)
{
	h->seed = h->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(h->seed >> 33) % sides;
}

static void reader_take(struct history *h, struct reader *r)
{
	if (queue_is_detached(&h->q, r->pointer)) {
		memcpy(r->values, h->truth, KEYS);
		r->last_control = h->controls;
		r->pointer = h->q.tail_seq;
		queue_stand(&h->q, r->pointer);
		return;
	}
	const struct element *e = queue_show(&h->q, r->pointer);
	if (!e)
		return;
	for (size_t b = 0; e->type == ELEMENT_DISPLAY && b < e->body.size; b += 2)
		r->values[e->body.data[b]] = e->body.data[b + 1];
	if (e->type == ELEMENT_CONTROL) {
		assert_int_equal(e->body.data[1], (uint8_t)(r->last_control + 1));
		r->last_control = e->body.data[1];
	}
	queue_advance(&h->q, &r->pointer);
	uint32_t up_to = 0;
	(void)queue_trim(&h->q, INT64_MAX, &up_to);
}

static void history_step(struct history *h)
{
	uint32_t what = dice(h, 100);

	if (what < 35) {
		uint8_t key = (uint8_t)dice(h, KEYS), value = (uint8_t)dice(h, 256);
		h->truth[key] = value;
		append(&h->q, ELEMENT_DISPLAY, key, value);
	} else if (what < 42) {
		append(&h->q, ELEMENT_CONTROL, 0, ++h->controls);
	} else if (what < 50) {
		consolidate(&h->q, KEYS);
	} else if (what < 54 && h->q.head && h->q.count > 4) {
		queue_drop_head(&h->q);
	} else if (what < 56) {
		struct reader *r = &h->readers[dice(h, CLIENTS)];
		queue_leave(&h->q, r->pointer);
		r->pointer = POINTER_HEAD;
	} else {
		reader_take(h, &h->readers[dice(h, CLIENTS)]);
	}
	uint32_t up_to = 0;
	(void)queue_trim(&h->q, INT64_MAX, &up_to);
}

static void standing_is_right(const struct history *h)
{
	uint64_t counted = h->q.standing_tail, standing = 0;

	for (const struct element *e = h->q.head; e; e = e->after)
		counted += e->standing;
	for (size_t i = 0; i < CLIENTS; i++)
		standing += !queue_is_detached(&h->q, h->readers[i].pointer);
	assert_int_equal(counted, standing);
}

// Everybody takes what is left, and then has what one has who took each event.
static void history_converges(struct history *h)
{
	for (size_t i = 0; i < CLIENTS; i++) {
		struct reader *r = &h->readers[i];
		while (queue_is_detached(&h->q, r->pointer) || queue_show(&h->q, r->pointer))
			reader_take(h, r);
		assert_memory_equal(r->values, h->truth, KEYS);
		assert_int_equal(r->last_control, h->controls);
	}
	assert_int_equal(h->q.standing_tail, CLIENTS);
}

static void S004_14_every_client_converges_over_3000_random_histories(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct history h = {.seed = seed};
		queue_init(&h.q, "art", 1, 1);
		for (int i = 0; i < 60; i++)
			history_step(&h);
		assert_int_equal(queue_check(&h.q), ERR_OK);
		standing_is_right(&h);
		history_converges(&h);
		assert_int_equal(h.q.count, 0);
		queue_fini(&h.q);
	}
}

static void S004_13_a_hundred_thousand_operations_keep_the_invariants(void **state)
{
	(void)state;
	struct history h = {.seed = 99};

	queue_init(&h.q, "art", 1, 1);
	for (int i = 0; i < 100000; i++) {
		history_step(&h);
		while (h.q.count > 200)
			queue_drop_head(&h.q);
		assert_int_equal(queue_check(&h.q), ERR_OK);
		if (i % 97 == 0)
			standing_is_right(&h);
		if (i % 5000 == 4999)
			history_converges(&h);
	}
	queue_fini(&h.q);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(S004_2_append_turns_the_tail_into_the_element_in_place),
		T(S004_2_null_head_is_no_element),
		T(S004_10_only_runs_of_display_events_are_chosen),
		T(S004_10_a_single_display_and_other_kinds_are_never_chosen),
		T(a_run_that_one_response_cannot_hold_stays_as_it_is),
		T(S004_13_pointers_at_chosen_events_show_the_consolidated_one),
		T(S004_18_dropping_the_head_detaches_who_stands_there),
		T(a_queue_is_loaded_as_it_was),
		cmocka_unit_test(S004_14_every_client_converges_over_3000_random_histories),
		cmocka_unit_test(S004_13_a_hundred_thousand_operations_keep_the_invariants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
