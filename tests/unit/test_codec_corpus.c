// The seeds of the fuzz targets are the samples of the codecs, every topic, envelopes and pages,
// and each gets as deep into its target as it should. With HELIO_WRITE_CORPUS set it writes them.
#include "tests/unit/codec_helper.h"

#include "proto/content.h"
#include "proto/topics.h"
#include "tests/fuzz/fuzz_envelope.h"
#include <libgen.h>

struct family {
	const struct codec_table *table;
	const char *target;
};

static const struct family families[] = {
	{&codec_heartbeat, "heartbeat"},
	{&codec_session_offer, "heartbeat"},
	{&codec_response, "response"},
	{&codec_response_body, "response"},
	{&codec_report, "report"},
	{&codec_want, "want_grant"},
	{&codec_grant, "want_grant"},
	{&codec_publisher_msg, "publisher"},
	{&codec_directive, "publisher"},
	{&codec_envelope_parts, "envelope"},
	{&codec_manifest, "manifest"},
	{&codec_manifest_page, "manifest"},
	{&codec_index, "index"},
	{&codec_index_page, "index"},
	{&codec_signed_command, "trust"},
	{&codec_medium, "trust"},
	{&codec_medium_return, "trust"},
	{&codec_root, "trust"},
	{&codec_enrolment, "trust"},
	{&codec_host_state, "trust"},
	{&codec_state_view, "view"},
	{&codec_queue_view, "view"},
	{&codec_media_order, "view"},
	{&codec_data_server_load, "view"},
	{&codec_api_request, "api"},
	{&codec_api_answer, "api"},
};

static const char *target_of(const struct codec_table *t)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		if (families[i].table == t)
			return families[i].target;
	}
	fail_msg("no fuzz target for %s", t->name);
	return NULL;
}

// tests/fuzz/corpus/fuzz_TARGET/NAME, from where this file stands.
static void seed_path(char *path, size_t size, const char *target, const char *name)
{
	char file[] = __FILE__;
	char folder[512];

	snprintf(folder, sizeof(folder), "%s/../fuzz/corpus/fuzz_%s", dirname(file), target);
	if (getenv("HELIO_WRITE_CORPUS"))
		assert_int_equal(dir_make(folder), ERR_OK);
	snprintf(path, size, "%s/%s", folder, name);
}

static void assert_seed(const char *target, const char *name, struct bytes want)
{
	SCOPED_BUF struct buf seed;
	char path[600];

	seed_path(path, sizeof(path), target, name);
	if (getenv("HELIO_WRITE_CORPUS"))
		assert_int_equal(file_write_atomic(path, want.data, want.size, 0644), ERR_OK);
	buf_init(&seed, 1024 * 1024);
	if (file_read(path, &seed) != ERR_OK)
		fail_msg("%s", err_text());
	if (!bytes_equal(buf_bytes(&seed), want))
		fail_msg("%s is not what the samples say; HELIO_WRITE_CORPUS=1 writes it", path);
}

static void every_sample_is_a_seed(void **state)
{
	char name[128];

	(void)state;
	for (size_t i = 0; i < SAMPLE_COUNT; i++) {
		const struct sample *s = &samples[i];

		assert_int_equal(codec_encode(s->table, s->message, &out), ERR_OK);
		snprintf(name, sizeof(name), "%s-%s", s->table->name, s->name);
		assert_seed(target_of(s->table), name, buf_bytes(&out));
	}
}

static struct topic topic_sample(enum topic_kind kind, const struct digest *d)
{
	switch (kind) {
	case TOPIC_HB:
		return topic_hb("screen-1");
	case TOPIC_REPORT:
		return topic_report("screen-1");
	case TOPIC_WANT:
		return topic_want("screen-1");
	case TOPIC_BYE:
		return topic_bye("screen-1");
	case TOPIC_APIR:
		return topic_apir("alice.1", "a1");
	case TOPIC_VIEW_MEDIA:
		return topic_view_media("screen-1", "7");
	case TOPIC_PKG:
		return topic_pkg("studio.1", d);
	case TOPIC_IDX:
		return topic_idx("studio.1", d, d);
	case TOPIC_CHUNK:
		return topic_chunk("studio.1", d);
	case TOPIC_CMD:
		return topic_cmd("studio.1", d);
	case TOPIC_OFFER:
	case TOPIC_RSP:
	case TOPIC_INBOX:
	case TOPIC_GRANT:
	case TOPIC_PUB:
	case TOPIC_PUBCMD:
	case TOPIC_VIEW_STATE:
	case TOPIC_VIEW_QUEUE:
	case TOPIC_VIEW_DS:
	case TOPIC_API:
	case TOPIC_HOST:
	case TOPIC_MARK:
	case TOPIC_KIND_COUNT:
		break;
	}
	return topic_of(kind, "some.id_1");
}

static void every_topic_is_a_seed(void **state)
{
	const struct digest d = SAMPLE_SHA_A;
	struct topic_parts parts;
	char name[64];

	(void)state;
	for (int k = 0; k < TOPIC_KIND_COUNT; k++) {
		struct topic t = topic_sample((enum topic_kind)k, &d);

		assert_int_equal(topic_parse(t.s, strlen(t.s), &parts), ERR_OK);
		assert_int_equal(parts.kind, k);
		snprintf(name, sizeof(name), "%s", topic_row((enum topic_kind)k)->name);
		for (char *c = name; *c; c++)
			*c = *c == '/' ? '-' : *c;
		assert_seed("topic", name, bytes_of(t.s, strlen(t.s)));
	}
	struct topic full = topic_idx("studio.1", &d, NULL);
	assert_seed("topic", "idx-full", bytes_of(full.s, strlen(full.s)));
	assert_seed("topic", "nul-inside", bytes_of("helio/v1/offer/a\0b", 18));
	assert_seed("topic", "nul-for-shard", bytes_of("helio/v1/bye/\0\0/screen-1", 24));
	assert_seed("topic", "wrong-shard", bytes_of("helio/v1/hb/zz/screen-1", 23));
}

static void signed_envelopes_are_seeds(void **state)
{
	struct sign_key *key;
	struct bytes payload;
	char name[32];

	(void)state;
	assert_int_equal(sign_key_load(&fuzz_secret, &key), ERR_OK);
	for (int p = 0; p < PURPOSE_COUNT; p++) {
		enum purpose purpose = (enum purpose)p;

		assert_int_equal(
			envelope_make(purpose, bytes_of(FUZZ_SIGNED, sizeof(FUZZ_SIGNED) - 1), &key,
				1, &out),
			ERR_OK);
		assert_int_equal(envelope_open(purpose, buf_bytes(&out), sign_key_public(key), 1, 1,
					 &payload),
			ERR_OK);
		snprintf(name, sizeof(name), "signed-%d", p);
		assert_seed("envelope", name, buf_bytes(&out));
	}
	sign_key_free(key);
}

static uint32_t two_sizes[] = {70000, 30000};
static struct file_entry page_files[] = {
	{.path = "0001-bridge.jpg",
		.size_bytes = 1000,
		.sha256 = SAMPLE_SHA_A,
		.picture = &sample_picture},
	{.path = "0002-river.jpg",
		.size_bytes = 100000,
		.sha256 = SAMPLE_SHA_B,
		.chunk_sha256 =
			SAMPLE_BYTES("1111111111111111111111111111111122222222222222222222222222"
				     "222222"),
		.chunk_size = two_sizes,
		.chunk_count = 2},
	{.path = "0003-again.jpg", .size_bytes = 1000, .sha256 = SAMPLE_SHA_A},
};

static void assert_page_seed(const char *name, struct object *objects, size_t count, bool gaps)
{
	struct manifest_page page = {.files = page_files, .file_count = 3};
	struct index_page index = {.objects = objects, .object_count = count};
	struct page_carry carry = {.files = 0};
	struct page_plan plan;
	struct page_ref ref = {.sha256 = SAMPLE_SHA_A, .chunk_count = 3, .file_count = 3};
	SCOPED_BUF struct buf seed;

	buf_init(&seed, 4096);
	assert_int_equal(manifest_page_encode(&page, &out), ERR_OK);
	ref.size_bytes = (uint32_t)out.size;
	uint8_t head[4] = {(uint8_t)out.size, (uint8_t)(out.size >> 8)};
	assert_int_equal(buf_append(&seed, head, sizeof(head)), ERR_OK);
	assert_int_equal(buf_append(&seed, out.data, out.size), ERR_OK);
	assert_int_equal(index_page_encode(&index, &out), ERR_OK);
	assert_int_equal(buf_append(&seed, out.data, out.size), ERR_OK);
	arena_reset(&arena);
	if (page_plan_make(&arena, &page, &ref, &carry, &plan) != ERR_OK)
		fail_msg("%s", err_text());
	if (index_page_check(&index, &plan, gaps) != ERR_OK)
		fail_msg("%s", err_text());
	assert_seed("page", name, buf_bytes(&seed));
}

static void pages_with_their_index_are_seeds(void **state)
{
	struct object full[] = {
		{.coding = CODING_RAW, .chunk_count = 1}, {.sha256 = SAMPLE_SHA_B,
								  .size_bytes = 60000,
								  .coding = CODING_ZSTD,
								  .first_chunk = 1,
								  .chunk_count = 2}};
	struct object delta[] = {{.sha256 = SAMPLE_SHA_B,
		.size_bytes = 500,
		.coding = CODING_ZSTD_PREFIX,
		.first_chunk = 2,
		.chunk_count = 1,
		.base_chunks = sample_digests,
		.base_count = 2,
		.base_sizes = sample_base_sizes,
		.base_size_count = 2}};
	uint32_t before[] = {0, 1};
	struct object own[] = {
		{.coding = CODING_RAW, .chunk_count = 1}, {.sha256 = SAMPLE_SHA_B,
								  .size_bytes = 60000,
								  .coding = CODING_ZSTD_PREFIX,
								  .first_chunk = 1,
								  .chunk_count = 2,
								  .own_runs = before,
								  .own_run_count = 2}};

	(void)state;
	assert_page_seed("full", full, 2, false);
	assert_page_seed("delta", delta, 1, true);
	assert_page_seed("own", own, 2, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_sample_is_a_seed),
		cmocka_unit_test(every_topic_is_a_seed),
		cmocka_unit_test(signed_envelopes_are_seeds),
		cmocka_unit_test(pages_with_their_index_are_seeds),
	};

	return cmocka_run_group_tests_name("codec_corpus", tests, setup, teardown);
}
