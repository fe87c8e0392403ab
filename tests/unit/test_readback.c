// The server's own look at a data broker: what proves a package, and each thing that does not.
#include "tests/unit/content_fixture.h"

#include "proto/base/log.h"
#include "server/readback.h"

struct world {
	struct fixture_keys keys;
	struct readback *r;
	struct now now;
	char subscribed[256][LIMIT_TOPIC];
	size_t subscribed_count;
	int unsubscribed, done;
	enum readback_verdict verdict;
	char why[LIMIT_TEXT + 1];
	struct buf manifest, index;
	struct digest package, object;
	struct readback_order order;
	bool subscribe_fails;
};

static enum err fake_subscribe(
	void *ctx, const char *broker, const char *const *filters, size_t count)
{
	struct world *w = ctx;

	assert_string_equal(broker, "da");
	assert_in_range(count, 1, 64);
	if (w->subscribe_fails)
		return err_set(ERR_CLOSED, "down");
	for (size_t i = 0; i < count; i++)
		str_copy(w->subscribed[w->subscribed_count++], LIMIT_TOPIC, filters[i]);
	return ERR_OK;
}

static void fake_unsubscribe(
	void *ctx, const char *broker, const char *const *filters, size_t count)
{
	(void)broker;
	(void)filters;
	((struct world *)ctx)->unsubscribed += (int)count;
}

static void fake_done(void *ctx, const char *broker, const struct digest *package,
	enum readback_verdict verdict, const char *why, struct now now)
{
	struct world *w = ctx;
	(void)broker;

	(void)now;
	(void)package;
	w->done++;
	w->verdict = verdict;
	str_copy(w->why, sizeof(w->why), why);
}

static void index_make(struct world *w, struct sign_key *key, const struct digest *package)
{
	struct object page_object = {.coding = CODING_RAW, .chunk_count = 1};
	struct index_page_ref page = {.sha256 = w->object, .size_bytes = 3, .object = &page_object};
	struct index idx = {.package = *package,
		.object_count = 1,
		.object_bytes = 3,
		.page_objects = &page_object,
		.page_object_count = 1,
		.pages = &page,
		.page_count = 1};
	struct buf payload;

	buf_init(&payload, LIMIT_INDEX);
	assert_int_equal(index_encode(&idx, &payload), ERR_OK);
	assert_int_equal(
		envelope_make(PURPOSE_INDEX, buf_bytes(&payload), &key, 1, &w->index), ERR_OK);
	w->order.index_sha256 = sha256(w->index.data, w->index.size);
	buf_fini(&payload);
}

static int world_make(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct readback_ports ports = {w, fake_subscribe, fake_unsubscribe, fake_done};

	fixture_keys_make(&w->keys);
	buf_init(&w->manifest, LIMIT_ENVELOPE);
	buf_init(&w->index, LIMIT_INDEX + 4096);
	w->object = sha256("xyz", 3);
	fixture_manifest(PACKAGE_IMAGES, "art", "1", &w->keys.image, 1, &w->manifest, &w->package);
	w->order = (struct readback_order){.package = w->package,
		.publisher = "pub",
		.publisher_key = *sign_key_public(w->keys.publisher),
		.mark = {{7}}};
	index_make(w, w->keys.publisher, &w->package);
	w->r = readback_new("da", &w->keys.root, &ports);
	*state = w;
	return 0;
}

static int world_drop(void **state)
{
	struct world *w = *state;

	readback_free(w->r);
	buf_fini(&w->manifest);
	buf_fini(&w->index);
	fixture_keys_free(&w->keys);
	free(w);
	return 0;
}

static void arrive(struct world *w, struct topic t, struct bytes payload, bool retained)
{
	struct topic_parts parts;

	assert_int_equal(topic_parse(t.s, strlen(t.s), &parts), ERR_OK);
	assert_true(readback_message(w->r, &parts, payload, retained, w->now));
}

static void mark_arrives(struct world *w, uint8_t mark)
{
	struct id16 m = {{mark}};

	arrive(w, topic_of(TOPIC_MARK, "pub"), bytes_of(m.b, 16), true);
}

static void manifest_arrives(struct world *w)
{
	arrive(w, topic_pkg("pub", &w->package), buf_bytes(&w->manifest), true);
}

static void index_arrives(struct world *w)
{
	arrive(w, topic_idx("pub", &w->package, NULL), buf_bytes(&w->index), true);
}

static void object_arrives(struct world *w, const char *bytes)
{
	arrive(w, topic_chunk("pub", &w->object), bytes_of(bytes, strlen(bytes)), true);
}

static void late(struct world *w)
{
	w->now.mono.ms += READBACK_DEADLINE_MS;
	readback_tick(w->r, w->now);
}

static void what_is_all_there_is_proven(void **state)
{
	struct world *w = *state;

	readback_add(w->r, &w->order, w->now);
	assert_int_equal(w->subscribed_count, 3);
	for (size_t i = 0; i < 3; i++) // explicit topics, no wildcard
		assert_null(strpbrk(w->subscribed[i], "+#"));
	mark_arrives(w, 7);
	manifest_arrives(w);
	assert_int_equal(w->done, 0);
	index_arrives(w);
	assert_int_equal(w->subscribed_count, 4); // the last object, as the index names it
	assert_string_equal(w->subscribed[3], topic_chunk("pub", &w->object).s);
	assert_int_equal(w->done, 0);
	object_arrives(w, "xyz");
	assert_int_equal(w->done, 1);
	assert_int_equal(w->verdict, READBACK_PROVEN);
	assert_int_equal(w->unsubscribed, 4); // so that the next look is a fresh one
	assert_true(readback_is_idle(w->r));
}

static void a_live_message_proves_nothing(void **state)
{
	struct world *w = *state;
	struct id16 m = {{7}};

	readback_add(w->r, &w->order, w->now);
	arrive(w, topic_of(TOPIC_MARK, "pub"), bytes_of(m.b, 16), false);
	arrive(w, topic_pkg("pub", &w->package), buf_bytes(&w->manifest), false);
	arrive(w, topic_idx("pub", &w->package, NULL), buf_bytes(&w->index), false);
	late(w);
	assert_int_equal(w->done, 1);
	assert_int_equal(w->verdict, READBACK_LOST);
}

// From a shelf: its name is its content, and the rest was retained.
static void an_object_needs_no_mark_of_being_retained(void **state)
{
	struct world *w = *state;

	readback_add(w->r, &w->order, w->now);
	mark_arrives(w, 7);
	manifest_arrives(w);
	index_arrives(w);
	arrive(w, topic_chunk("pub", &w->object), bytes_of("xyy", 3), false);
	assert_int_equal(w->done, 0);
	arrive(w, topic_chunk("pub", &w->object), bytes_of("xyz", 3), false);
	assert_int_equal(w->verdict, READBACK_PROVEN);
}

static void nothing_there_is_lost_after_the_deadline(void **state)
{
	struct world *w = *state;

	readback_add(w->r, &w->order, w->now);
	w->now.mono.ms += READBACK_DEADLINE_MS - 1;
	readback_tick(w->r, w->now);
	assert_int_equal(w->done, 0);
	w->now.mono.ms++;
	readback_tick(w->r, w->now);
	assert_int_equal(w->verdict, READBACK_LOST);
}

static void another_mark_is_another_memory(void **state)
{
	struct world *w = *state;

	readback_add(w->r, &w->order, w->now);
	mark_arrives(w, 8);
	manifest_arrives(w);
	index_arrives(w);
	assert_int_equal(w->done, 1); // no need to wait
	assert_int_equal(w->verdict, READBACK_LOST);
	assert_non_null(strstr(w->why, "mark"));
}

static void an_index_that_is_not_the_publishers_is_refused(void **state)
{
	struct world *w = *state;
	struct digest other = {{1}};

	index_make(w, w->keys.stranger, &w->package);
	readback_add(w->r, &w->order, w->now);
	mark_arrives(w, 7);
	manifest_arrives(w);
	index_arrives(w);
	assert_int_equal(w->verdict, READBACK_LOST);
	index_make(w, w->keys.publisher, &other); // of another package
	readback_add(w->r, &w->order, w->now);
	mark_arrives(w, 7);
	manifest_arrives(w);
	index_arrives(w);
	assert_int_equal(w->done, 2);
	assert_int_equal(w->verdict, READBACK_LOST);
	index_make(w, w->keys.publisher, &w->package);
	w->order.index_sha256.b[0] ^= 1; // not the one that was announced
	readback_add(w->r, &w->order, w->now);
	mark_arrives(w, 7);
	manifest_arrives(w);
	index_arrives(w);
	assert_int_equal(w->done, 3);
	assert_int_equal(w->verdict, READBACK_LOST);
}

static void a_wrong_or_missing_object_is_told_apart(void **state)
{
	struct world *w = *state;
	struct digest missed = sha256("missed", 6);

	w->order.objects = &missed;
	w->order.object_count = 1;
	readback_add(w->r, &w->order, w->now);
	mark_arrives(w, 7);
	manifest_arrives(w);
	index_arrives(w);
	object_arrives(w, "xyy"); // wrong bytes under the right name
	arrive(w, topic_chunk("pub", &missed), bytes_of("missed", 6), true);
	assert_int_equal(w->done, 0);
	late(w);
	assert_int_equal(w->done, 0);
	assert_string_equal(w->subscribed[w->subscribed_count - 1], topic_of(TOPIC_MARK, "pub").s);
	mark_arrives(w, 7); // behind all that lies there
	assert_int_equal(w->done, 1);
	assert_int_equal(w->verdict, READBACK_OBJECTS_MISSING);
}

// Many seconds pass between its parts, and not one of them is missing.
static void what_comes_slowly_is_there(void **state)
{
	struct world *w = *state;

	readback_add(w->r, &w->order, w->now);
	w->now.mono.ms += READBACK_DEADLINE_MS - 1;
	readback_tick(w->r, w->now);
	mark_arrives(w, 7);
	w->now.mono.ms += READBACK_DEADLINE_MS - 1;
	readback_tick(w->r, w->now);
	manifest_arrives(w);
	late(w);
	late(w);
	late(w);
	index_arrives(w);
	late(w);
	late(w);
	late(w);
	assert_int_equal(w->done, 0);
	object_arrives(w, "xyz");
	assert_int_equal(w->done, 1);
	assert_int_equal(w->verdict, READBACK_PROVEN);
	assert_int_equal(w->unsubscribed, 6); // the mark was asked for three times
	// One that says nothing any more is not waited for without an end.
	readback_add(w->r, &w->order, w->now);
	mark_arrives(w, 7);
	manifest_arrives(w);
	index_arrives(w);
	late(w);
	w->now.mono.ms += READBACK_FENCE_MS;
	readback_tick(w->r, w->now);
	assert_int_equal(w->done, 2);
	assert_int_equal(w->verdict, READBACK_OBJECTS_MISSING);
}

// A publisher sends what it may, every two seconds, and never what was asked for.
static void what_drips_without_an_end_is_not_waited_for(void **state)
{
	struct world *w = *state;
	const int64_t began = w->now.mono.ms;

	readback_add(w->r, &w->order, w->now);
	mark_arrives(w, 7);
	manifest_arrives(w);
	index_arrives(w);
	while (w->done == 0 && w->now.mono.ms - began < 10 * READBACK_FENCE_MS) {
		w->now.mono.ms += READBACK_DEADLINE_MS * 2 / 3;
		object_arrives(w, "xya");
		readback_tick(w->r, w->now);
	}
	assert_int_equal(w->done, 1);
	assert_int_equal(w->verdict, READBACK_OBJECTS_MISSING);
	assert_in_range(w->now.mono.ms - began, READBACK_FENCE_MS,
		2 * READBACK_FENCE_MS + 2 * READBACK_DEADLINE_MS);
}

static void a_mark_behind_the_objects_that_is_another_one_is_another_memory(void **state)
{
	struct world *w = *state;

	readback_add(w->r, &w->order, w->now);
	mark_arrives(w, 7);
	manifest_arrives(w);
	index_arrives(w);
	late(w);
	mark_arrives(w, 8);
	assert_int_equal(w->done, 1);
	assert_int_equal(w->verdict, READBACK_LOST);
}

static void a_broken_connection_says_nothing(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 30; i++)
		readback_add(w->r, &w->order, w->now);
	readback_reset(w->r, w->now);
	assert_int_equal(w->done, 30);
	assert_int_equal(w->verdict, READBACK_BROKEN);
	assert_int_equal(w->unsubscribed, 0);
	assert_true(readback_is_idle(w->r));
	w->subscribe_fails = true;
	readback_add(w->r, &w->order, w->now);
	assert_int_equal(w->done, 31);
	assert_int_equal(w->verdict, READBACK_BROKEN);
}

static void many_are_read_in_batches(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 30; i++)
		readback_add(w->r, &w->order, w->now);
	for (int i = 0; i < 10 && !readback_is_idle(w->r); i++)
		late(w);
	assert_int_equal(w->done, 30);
	assert_true(readback_is_idle(w->r));
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_make, world_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_all_there_is_proven),
		T(a_live_message_proves_nothing),
		T(an_object_needs_no_mark_of_being_retained),
		T(nothing_there_is_lost_after_the_deadline),
		T(another_mark_is_another_memory),
		T(an_index_that_is_not_the_publishers_is_refused),
		T(a_wrong_or_missing_object_is_told_apart),
		T(what_comes_slowly_is_there),
		T(what_drips_without_an_end_is_not_waited_for),
		T(a_mark_behind_the_objects_that_is_another_one_is_another_memory),
		T(a_broken_connection_says_nothing),
		T(many_are_read_in_batches),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
