// Stations against a real Mosquitto: the order of publishing, the mark, restarts, stops, refusals.
// The witness is mosquitto_sub.
#include "proto/content.h"
#include "proto/digest.h"
#include "proto/topics.h"
#include "publisher_broker.h"
#include "server/publisher/station.h"
#include <sys/stat.h>

#define PUB "p1"

struct fixture {
	char dir[64];
	struct broker broker;
	uv_loop_t loop;
	uv_timer_t timer;
	struct store store;
	struct sign_key *identity, *release;
	struct publisher_config config;
	struct station *station;
	struct digest package;
	// what was reported
	size_t stored, stopped, failed, progress;
	struct job_report last;
	char detail[400];
	void (*on_progress)(struct fixture *f);
	int64_t deadline_ms;
};

static void on_report(void *ctx, const struct job_report *r)
{
	struct fixture *f = ctx;

	f->last = *r;
	snprintf(f->detail, sizeof f->detail, "%s", r->detail);
	f->stored += r->event == JOB_STORED;
	f->stopped += r->event == JOB_STOPPED;
	f->failed += r->event == JOB_FAILED;
	f->progress += r->event == JOB_PROGRESS;
	if (r->event == JOB_PROGRESS && f->on_progress)
		f->on_progress(f);
}

static void on_timer(uv_timer_t *t)
{
	struct fixture *f = t->data;

	station_tick(f->station, clock_now().mono);
}

// Until one more of *what was reported, or until ms have passed; of five seconds or more that is
// how long it takes on an idle machine, and much more is waited.
static bool run_until(struct fixture *f, const size_t *what, size_t count, int64_t ms)
{
	int64_t end = clock_now().mono.ms + (ms < 5000 ? ms : PATIENCE_MS);

	while (*what < count && clock_now().mono.ms < end)
		uv_run(&f->loop, UV_RUN_ONCE);
	return *what >= count;
}

static void key_make(struct sign_key **out)
{
	struct key32 secret;

	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, out), ERR_OK);
}

// Software of `count` files of noise, each `size` bytes, from seed on.
static struct digest package_make(
	struct fixture *f, const char *version, size_t count, size_t size, uint64_t seed)
{
	char tree[100], path[150];
	struct tree t;
	struct package_built b;
	struct package p = {.kind = PACKAGE_SOFTWARE, .name = "app"};
	struct sign_key *keys[1] = {f->release};
	struct buf envelope;
	bool existing = true;
	uint8_t *noise = malloc(size);

	snprintf(tree, sizeof tree, "%s/tree-%s", f->dir, version);
	assert_int_equal(dir_make(tree), ERR_OK);
	for (size_t i = 0; i < count; i++) {
		uint64_t z = seed + i;
		for (size_t k = 0; k < size; k++) {
			z = z * 6364136223846793005u + 1442695040888963407u;
			noise[k] = (uint8_t)(z >> 56);
		}
		snprintf(path, sizeof path, "%s/f%04zu", tree, i);
		assert_int_equal(file_write_atomic(path, noise, size, 0644), ERR_OK);
	}
	free(noise);
	int fd = open(tree, O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_walk(fd, UINT64_MAX, &t), ERR_OK);
	struct pack_file *files = calloc(t.count, sizeof *files);
	for (size_t i = 0; i < t.count; i++)
		files[i] = (struct pack_file){
			.path = t.files[i].path, .tree = &t.files[i], .size = t.files[i].size};
	struct pack_job job = {
		.info = {.kind = PACKAGE_SOFTWARE, .name = "app", .version = version},
		.files = files,
		.file_count = t.count,
		.root_fd = fd,
		.images = &f->store.images,
		.objects = &f->store.objects,
		.known = &f->store.known};
	assert_int_equal(package_build(&job, &b), ERR_OK);
	assert_int_equal(package_add(&f->store, &p, &b, NULL, 0, &existing), ERR_OK);
	buf_init(&envelope, LIMIT_ENVELOPE);
	assert_int_equal(
		envelope_make(PURPOSE_MANIFEST, buf_bytes(&b.manifest), keys, 1, &envelope),
		ERR_OK);
	assert_int_equal(
		store_end(&f->store, package_set_envelope(&f->store, &b.id, buf_bytes(&envelope))),
		ERR_OK);
	struct digest id = b.id;
	buf_fini(&envelope);
	package_built_fini(&b);
	free(files);
	tree_fini(&t);
	close(fd);
	return id;
}

static void station_begin(struct fixture *f)
{
	const struct station_events events = {.ctx = f, .report = on_report};
	const struct address to = {
		.broker_id = "da", .host = "", .ip = "127.0.0.1", .port = f->broker.port};

	assert_int_equal(store_end(&f->store, broker_put(&f->store, &to)), ERR_OK);
	assert_int_equal(station_new(&f->config, &f->store, &to, &events, &f->station), ERR_OK);
}

static int setup_with(void **state, const char *acl)
{
	struct fixture *f = calloc(1, sizeof *f);

	snprintf(f->dir, sizeof f->dir, "/tmp/helio-transmit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	broker_start(&f->broker, acl);
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->timer);
	f->timer.data = f;
	key_make(&f->identity);
	key_make(&f->release);
	assert_int_equal(store_open(&f->store, f->dir), ERR_OK);
	f->config = (struct publisher_config){
		.loop = &f->loop, .id = PUB, .identity = f->identity, .station_patience_ms = 20000};
	station_begin(f);
	uv_timer_start(&f->timer, on_timer, 50, 50);
	f->package = package_make(f, "1", 12, 400000, 1);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, NULL);
}

static int setup_no_chunks(void **state)
{
	return setup_with(
		state, "topic read #\ntopic write helio/v1/mark/#\ntopic write helio/v1/pkg/#\n");
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	station_free(f->station);
	uv_close((uv_handle_t *)&f->timer, NULL);
	while (uv_loop_close(&f->loop) == UV_EBUSY)
		uv_run(&f->loop, UV_RUN_ONCE);
	store_close(&f->store);
	sign_key_free(f->identity);
	sign_key_free(f->release);
	broker_end(&f->broker);
	assert_int_equal(tree_remove(f->dir), ERR_OK);
	free(f);
	return 0;
}

static void transmit(struct fixture *f, const struct digest *package, uint64_t directive)
{
	size_t before = f->stored;

	assert_int_equal(station_transmit(f->station, package, directive, NULL, 0), ERR_OK);
	if (!run_until(f, &f->stored, before + 1, 20000))
		fail_msg("not stored: %s", f->detail);
}

static void withdraw(struct fixture *f, const struct digest *package, uint64_t directive)
{
	size_t before = f->stopped;

	assert_int_equal(station_withdraw(f->station, package, directive), ERR_OK);
	if (!run_until(f, &f->stopped, before + 1, 20000))
		fail_msg("not stopped: %s", f->detail);
}

// Everything that the package needs lies on the broker, byte for byte, for a late subscriber.
static void is_complete(struct fixture *f, const struct digest *package)
{
	struct buf got, want;
	struct send_object *objects = NULL;
	size_t count = 0;
	struct key32 key = *sign_key_public(f->identity);
	struct bytes payload;
	struct topic t = topic_pkg(PUB, package);

	buf_init(&got, LIMIT_PACKET);
	buf_init(&want, LIMIT_PACKET);
	assert_true(witness_read(&f->broker, t.s, &got));
	assert_int_equal(package_bytes(&f->store, package, NULL, &want, NULL), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&got), buf_bytes(&want)));
	t = topic_idx(PUB, package, NULL);
	assert_true(witness_read(&f->broker, t.s, &got));
	assert_int_equal(
		envelope_open(PURPOSE_INDEX, buf_bytes(&got), &key, 1, 1, &payload), ERR_OK);
	assert_int_equal(package_bytes(&f->store, package, NULL, NULL, &want), ERR_OK);
	assert_true(bytes_equal(payload, buf_bytes(&want)));
	assert_int_equal(claim_package(&f->store, "da", package, 0, &objects, &count), ERR_OK);
	db_rollback(f->store.db); // only the list was wanted
	for (size_t i = 0; i < count; i++) {
		t = topic_chunk(PUB, &objects[i].sha256);
		assert_true(witness_read(&f->broker, t.s, &got));
		struct digest is = sha256(got.data, got.size);
		assert_true(digest_equal(&is, &objects[i].sha256));
	}
	free(objects);
	buf_fini(&got);
	buf_fini(&want);
}

static enum placement_state placement_is;
static bool placement_note(void *ctx, const struct placement *p)
{
	(void)ctx;
	placement_is = p->state;
	return true;
}

static enum placement_state placement_of(struct fixture *f, const struct digest *package)
{
	placement_is = 0;
	assert_int_equal(placement_list(&f->store, package, placement_note, NULL), ERR_OK);
	return placement_is;
}

// ---- tests

static void a_package_is_stored_and_readable_by_anybody(void **state)
{
	struct fixture *f = *state;
	struct buf mark;

	transmit(f, &f->package, 7);
	assert_int_equal(f->last.directive_id, 7);
	assert_int_equal(f->last.sent_bytes, f->last.total_bytes);
	is_complete(f, &f->package);
	assert_int_equal(placement_of(f, &f->package), PLACEMENT_STORED);
	buf_init(&mark, 64);
	assert_true(witness_read(&f->broker, topic_of(TOPIC_MARK, PUB).s, &mark));
	assert_int_equal(mark.size, 16);
	assert_memory_equal(mark.data, &f->last.mark, 16);
	buf_fini(&mark);
}

static void a_withdrawn_package_leaves_only_the_mark(void **state)
{
	struct fixture *f = *state;

	transmit(f, &f->package, 1);
	assert_true(witness_count(&f->broker, "helio/v1/#") > 12);
	withdraw(f, &f->package, 2);
	assert_int_equal(witness_count(&f->broker, "helio/v1/#"), 1);
	assert_int_equal(placement_of(f, &f->package), 0);
	transmit(f, &f->package, 3); // and it may come again
	is_complete(f, &f->package);
}

static void a_second_version_sends_only_what_is_new(void **state)
{
	struct fixture *f = *state;

	transmit(f, &f->package, 1);
	uint64_t first = f->last.sent_bytes;
	struct digest v2 = package_make(f, "2", 13, 400000, 1); // one file more
	transmit(f, &v2, 1);
	assert_true(first > 12 * 400000);
	assert_in_range(f->last.sent_bytes, 400000, 410000);
	is_complete(f, &v2);
	withdraw(f, &f->package, 2); // what v2 needs stays
	is_complete(f, &v2);
	withdraw(f, &v2, 2);
	assert_int_equal(witness_count(&f->broker, "helio/v1/#"), 1);
}

static void a_stored_package_that_is_directed_again_is_verified_not_sent(void **state)
{
	struct fixture *f = *state;

	transmit(f, &f->package, 1);
	transmit(f, &f->package, 1);
	assert_int_equal(f->last.sent_bytes, 0);
	assert_int_equal(f->last.total_bytes, 0);
	is_complete(f, &f->package);
}

static void a_broker_that_forgot_gets_everything_again(void **state)
{
	struct fixture *f = *state;
	struct id16 mark;

	transmit(f, &f->package, 1);
	mark = f->last.mark;
	broker_kill(&f->broker);
	broker_run(&f->broker);
	assert_int_equal(witness_count(&f->broker, "helio/v1/#"), 0);
	transmit(f, &f->package, 2);
	assert_true(f->last.sent_bytes > 12 * 400000);
	assert_memory_not_equal(&mark, &f->last.mark, 16);
	is_complete(f, &f->package);
}

static void kill_and_run(struct fixture *f)
{
	f->on_progress = NULL;
	broker_kill(&f->broker);
	broker_run(&f->broker);
}

// The trap of protocol.md: objects acknowledged by a broker that no longer exists.
static void a_broker_that_restarts_in_the_middle_ends_complete(void **state)
{
	struct fixture *f = *state;
	struct digest large = package_make(f, "9", 150, 400000, 77);

	f->on_progress = NULL;
	assert_int_equal(station_transmit(f->station, &large, 1, NULL, 0), ERR_OK);
	struct station_status s = {0};
	for (int i = 0; i < 20000 && s.sent_bytes < 10000000; i++) {
		uv_run(&f->loop, UV_RUN_ONCE);
		station_get_status(f->station, &s);
	}
	assert_true(s.sent_bytes >= 10000000 && f->stored == 0);
	kill_and_run(f);
	if (!run_until(f, &f->stored, 1, 40000))
		fail_msg("not stored: %s", f->detail);
	is_complete(f, &large);
}

static void a_stop_in_the_middle_ends_within_an_object(void **state)
{
	struct fixture *f = *state;
	struct digest large = package_make(f, "9", 150, 400000, 77);
	struct station_status s = {0};

	assert_int_equal(station_transmit(f->station, &large, 1, NULL, 0), ERR_OK);
	for (int i = 0; i < 20000 && s.sent_bytes < 4000000; i++) {
		uv_run(&f->loop, UV_RUN_ONCE);
		station_get_status(f->station, &s);
	}
	assert_true(s.sent_bytes >= 4000000);
	withdraw(f, &large, 2);
	assert_int_equal(f->stored, 0);
	assert_int_equal(witness_count(&f->broker, "helio/v1/#"), 1);
}

static void a_pause_ends_within_an_object_and_the_next_goes_on_there(void **state)
{
	struct fixture *f = *state;
	struct digest large = package_make(f, "9", 150, 400000, 77);
	struct station_status s = {0};
	uint64_t sent, whole;
	size_t lying;

	assert_int_equal(station_transmit(f->station, &large, 1, NULL, 0), ERR_OK);
	for (int i = 0; i < 20000 && s.sent_bytes < 4000000; i++) {
		uv_run(&f->loop, UV_RUN_ONCE);
		station_get_status(f->station, &s);
	}
	sent = s.sent_bytes;
	whole = s.total_bytes;
	station_pause(f->station, &large);
	for (int i = 0; i < 20000 && s.jobs > 0; i++) {
		uv_run(&f->loop, UV_RUN_ONCE);
		station_get_status(f->station, &s);
	}
	assert_int_equal(s.jobs, 0);
	assert_int_equal(f->stored + f->stopped + f->failed, 0);
	lying = witness_count(&f->broker, "helio/v1/chunk/#");
	assert_true(lying > 2 && witness_count(&f->broker, "helio/v1/pkg/#") == 0);
	// Nothing comes while it pauses; then only what is missing.
	for (int i = 0; i < 20; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(witness_count(&f->broker, "helio/v1/chunk/#"), lying);
	transmit(f, &large, 2);
	assert_true(f->last.sent_bytes + sent <= whole);
	is_complete(f, &large);
}

static void a_repair_sends_the_named_objects_again(void **state)
{
	struct fixture *f = *state;
	struct send_object *objects = NULL;
	size_t count = 0;

	transmit(f, &f->package, 1);
	assert_int_equal(claim_package(&f->store, "da", &f->package, 1, &objects, &count), ERR_OK);
	db_rollback(f->store.db);
	size_t before = f->stored;
	assert_int_equal(
		station_transmit(f->station, &f->package, 2, &objects[count - 1].sha256, 1),
		ERR_OK);
	assert_true(run_until(f, &f->stored, before + 1, 10000));
	assert_int_equal(f->last.sent_bytes, objects[count - 1].size_bytes);
	free(objects);
	is_complete(f, &f->package);
}

static void a_refused_publish_is_a_named_failure(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(station_transmit(f->station, &f->package, 1, NULL, 0), ERR_OK);
	assert_true(run_until(f, &f->failed, 1, 10000));
	assert_non_null(strstr(f->detail, "135"));
	assert_int_equal(placement_of(f, &f->package), PLACEMENT_FAILED);
	assert_int_equal(witness_count(&f->broker, "helio/v1/idx/#"), 0);
}

static void a_broker_out_of_reach_is_a_named_failure(void **state)
{
	struct fixture *f = *state;

	broker_kill(&f->broker);
	f->config.station_patience_ms = 1500;
	assert_int_equal(station_transmit(f->station, &f->package, 1, NULL, 0), ERR_OK);
	assert_true(run_until(f, &f->failed, 1, 15000));
	assert_non_null(strstr(f->detail, "out of reach"));
	broker_run(&f->broker); // and the next one works
	f->config.station_patience_ms = 20000;
	transmit(f, &f->package, 2);
	is_complete(f, &f->package);
}

static void an_unsigned_package_is_not_sent(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_end(&f->store,
				 package_set_envelope(&f->store, &f->package, (struct bytes){0})),
		ERR_OK);
	assert_int_equal(station_transmit(f->station, &f->package, 1, NULL, 0), ERR_OK);
	assert_true(run_until(f, &f->failed, 1, 10000));
	assert_non_null(strstr(f->detail, "not signed"));
	assert_int_equal(witness_count(&f->broker, "helio/v1/chunk/#"), 0);
}

// A byte rots in the store: it is found before it leaves.
static void a_rotten_object_is_not_sent(void **state)
{
	struct fixture *f = *state;
	struct send_object *objects = NULL;
	size_t count = 0;

	assert_int_equal(claim_package(&f->store, "da", &f->package, 1, &objects, &count), ERR_OK);
	db_rollback(f->store.db);
	assert_int_equal(
		blob_put(&f->store.objects, &objects[count / 2].sha256, bytes_of("rot", 3)),
		ERR_OK);
	free(objects);
	assert_int_equal(station_transmit(f->station, &f->package, 1, NULL, 0), ERR_OK);
	assert_true(run_until(f, &f->failed, 1, 10000));
	assert_int_equal(witness_count(&f->broker, "helio/v1/idx/#"), 0);
}

#define WITH(test, up) cmocka_unit_test_setup_teardown(test, up, teardown)

int main(void)
{
	link_library_init();
	const struct CMUnitTest tests[] = {
		WITH(a_package_is_stored_and_readable_by_anybody, setup),
		WITH(a_withdrawn_package_leaves_only_the_mark, setup),
		WITH(a_second_version_sends_only_what_is_new, setup),
		WITH(a_stored_package_that_is_directed_again_is_verified_not_sent, setup),
		WITH(a_broker_that_forgot_gets_everything_again, setup),
		WITH(a_broker_that_restarts_in_the_middle_ends_complete, setup),
		WITH(a_stop_in_the_middle_ends_within_an_object, setup),
		WITH(a_pause_ends_within_an_object_and_the_next_goes_on_there, setup),
		WITH(a_repair_sends_the_named_objects_again, setup),
		WITH(a_refused_publish_is_a_named_failure, setup_no_chunks),
		WITH(a_broker_out_of_reach_is_a_named_failure, setup),
		WITH(an_unsigned_package_is_not_sent, setup),
		WITH(a_rotten_object_is_not_sent, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
