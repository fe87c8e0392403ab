// Bad input to the codecs: malformed bytes, texts, memory.
#include "tests/unit/codec_helper.h"

// ---- bad bytes

static void an_empty_payload_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (tables[i]->limit > 0)
			assert_refused(tables[i], bytes_of("", 0), ERR_FORMAT, "is empty");
	}
}

static void a_payload_above_its_limit_is_refused_unread(void **state)
{
	uint8_t *zero = calloc(1, 2 * 1024 * 1024);

	(void)state;
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (tables[i]->limit == 0)
			continue;
		assert_refused(tables[i], bytes_of(zero, tables[i]->limit + 1), ERR_RANGE,
			"bytes, at most");
		assert_int_equal(arena.used, 0);
	}
	free(zero);
}

static void every_prefix_and_every_flipped_bit_is_survived(void **state)
{
	size_t refused = 0;

	(void)state;
	for (size_t i = 0; i < SAMPLE_COUNT; i++) {
		const struct codec_table *t = samples[i].table;

		assert_int_equal(codec_encode(t, samples[i].message, &out), ERR_OK);
		for (size_t n = 0; n < out.size; n++)
			refused += decode_exact(t, bytes_of(out.data, n)) != ERR_OK;
		for (size_t bit = 0; bit < out.size * 8; bit++) {
			out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
			refused += decode_exact(t, buf_bytes(&out)) != ERR_OK;
			out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		assert_int_equal(decode_exact(t, buf_bytes(&out)), ERR_OK);
	}
	assert_true(refused > 10000);
}

struct tail {
	const char *what;
	const char *bytes;
	size_t size;
	enum err err;
	const char *sentence;
};

#define TAIL(b) b, sizeof(b) - 1

// Appended to a valid heartbeat.
static const struct tail tails[] = {
	{"unknown field", TAIL("\xa0\x06\x01"), ERR_FORMAT, "heartbeat has an unknown field 100"},
	{"unknown text", TAIL("\xa2\x06\x01x"), ERR_FORMAT, "heartbeat has an unknown field 100"},
	{"schema twice", TAIL("\x08\x01"), ERR_FORMAT, "heartbeat.schema stands there twice"},
	{"id twice",
		TAIL("\x12\x01"
		     "b"),
		ERR_FORMAT, "heartbeat.client_id stands there twice"},
	{"message twice", TAIL("\x52\x00"), ERR_FORMAT, "heartbeat.status stands there twice"},
	{"text as number", TAIL("\x10\x01"), ERR_FORMAT,
		"heartbeat.client_id has another wire type"},
	{"number as bytes", TAIL("\x3a\x01x"), ERR_FORMAT,
		"heartbeat.last_response_id has another wire type"},
	{"number as fixed",
		TAIL("\x39"
		     "12345678"),
		ERR_FORMAT, "heartbeat.last_response_id has another wire type"},
	{"a tag alone", TAIL("\x38"), ERR_FORMAT, "heartbeat.last_response_id is cut short"},
	{"half a varint", TAIL("\x38\x80"), ERR_FORMAT, "heartbeat.last_response_id is cut short"},
	{"varint of 11 bytes", TAIL("\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_FORMAT,
		"heartbeat.last_response_id is cut short"},
	{"varint above 64 bits", TAIL("\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), ERR_FORMAT,
		"heartbeat.last_response_id is cut short"},
	{"varint not shortest", TAIL("\x38\x81\x00"), ERR_FORMAT,
		"heartbeat.last_response_id is cut short"},
	{"length beyond the end", TAIL("\x4a\x05\x08\x01"), ERR_FORMAT,
		"heartbeat.op is cut short"},
	{"length of 2^63", TAIL("\x4a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), ERR_FORMAT,
		"heartbeat.op is cut short"},
	{"field 0", TAIL("\x00\x01"), ERR_FORMAT, "heartbeat is cut short"},
	{"tag above 32 bits", TAIL("\x88\x80\x80\x80\x10\x01"), ERR_FORMAT,
		"heartbeat is cut short"},
	{"a group", TAIL("\xa3\x06\xa4\x06"), ERR_FORMAT, "heartbeat has an unknown field 100"},
	{"auth too long",
		TAIL("\xfa\x7f\x41"
		     "01234567890123456789012345678901234567890123456789012345678901234"),
		ERR_RANGE, "heartbeat.auth has 65 bytes, at most 64"},
	{"auth twice", TAIL("\xfa\x7f\x01x\xfa\x7f\x01x"), ERR_FORMAT,
		"heartbeat.auth stands there twice"},
	{"enum 0", TAIL("\x4a\x04\x08\x01\x10\x00"), ERR_RANGE,
		"heartbeat.op.status is missing or 0"},
	{"enum unknown", TAIL("\x4a\x04\x08\x01\x10\x08"), ERR_RANGE,
		"heartbeat.op.status is 8, at most 7"},
	{"enum negative", TAIL("\x4a\x0d\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		ERR_RANGE, "heartbeat.op.status is 18446744073709551615, at most 7"},
	{"enum cut to 32 bits", TAIL("\x4a\x08\x08\x01\x10\x81\x80\x80\x80\x10"), ERR_RANGE,
		"heartbeat.op.status is 4294967297, at most 7"},
	{"percent", TAIL("\x4a\x07\x08\x01\x10\x02\x20\x82\x01"), ERR_RANGE,
		"heartbeat.op.percent is 130, at most 100"},
	{"bool 2", TAIL("\x5a\x02\x08\x02"), ERR_RANGE, "heartbeat.holdings.full is 2, at most 1"},
	{"short digest", TAIL("\x5a\x05\x12\x03\x0a\x01x"), ERR_RANGE,
		"heartbeat.holdings.items[0].package has 1 bytes, not 32"},
	{"no digest", TAIL("\x5a\x04\x12\x02\x10\x01"), ERR_RANGE,
		"heartbeat.holdings.items[0].package is missing"},
	{"unknown field deep inside", TAIL("\x5a\x05\x12\x03\xa0\x06\x01"), ERR_FORMAT,
		"heartbeat.holdings.items[0] has an unknown field 100"},
	{"boot of 15 bytes",
		TAIL("\x6a\x0f"
		     "123456789012345"),
		ERR_RANGE, "heartbeat.boot has 15 bytes, not 16"},
	{"negative time", TAIL("\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ERR_RANGE,
		"heartbeat.sent_unix_ms is -1, at least 0"},
	{"seq of 2^63", TAIL("\x28\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), ERR_RANGE,
		"heartbeat.seq is 9223372036854775808, at most 9223372036854775807"},
	{"sign-in inside a session", TAIL("\x72\x00"), ERR_RANGE,
		"heartbeat.sign_in.public_key is missing"},
	{"key missing in a change", TAIL("\x62\x02\x08\x01"), ERR_RANGE,
		"heartbeat.changes[0].key is missing"},
};

static void malformed_bytes_are_refused_with_a_sentence(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		assert_int_equal(heartbeat_encode(&sample_heartbeat_least, &out), ERR_OK);
		assert_int_equal(buf_append(&out, tails[i].bytes, tails[i].size), ERR_OK);
		enum err e = decode_exact(&codec_heartbeat, buf_bytes(&out));
		if (e != tails[i].err || !strstr(err_text(), tails[i].sentence))
			fail_msg("%s: %s \"%s\"", tails[i].what, err_word(e), err_text());
	}
}

static void schema_must_be_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < SAMPLE_COUNT; i++) {
		const struct codec_table *t = samples[i].table;

		if (t->rows[0].kind != CODEC_SCHEMA)
			continue;
		assert_int_equal(codec_encode(t, samples[i].message, &out), ERR_OK);
		assert_int_equal(out.data[0], 0x08);
		assert_int_equal(out.data[1], 1);
		assert_refused(t, bytes_of(out.data + 2, out.size - 2),
			out.size == 2 ? ERR_FORMAT : ERR_VERSION,
			out.size == 2 ? "empty" : "schema is missing");
		out.data[1] = 0;
		assert_refused(t, buf_bytes(&out), ERR_VERSION, "schema is 0, not 1");
		out.data[1] = 2;
		assert_refused(t, buf_bytes(&out), ERR_VERSION, "schema is 2, not 1");
	}
}

static void unknown_fields_are_for_signed_payloads_only(void **state)
{
	static const uint8_t unknown[] = {0xa0, 0x06, 0x01, 0xa2, 0x06, 0x01, 'x'};
	size_t allowed = 0;

	(void)state;
	for (size_t i = 0; i < SAMPLE_COUNT; i++) {
		const struct codec_table *t = samples[i].table;

		assert_int_equal(codec_encode(t, samples[i].message, &out), ERR_OK);
		assert_int_equal(buf_append(&out, unknown, sizeof(unknown)), ERR_OK);
		enum err e = decode_exact(t, buf_bytes(&out));
		assert_int_equal(e, t->unknown_allowed ? ERR_OK : ERR_FORMAT);
		allowed += e == ERR_OK;
	}
	assert_true(allowed > 0);
}

struct text_case {
	const char *text;
	size_t size;
	bool good;
};

static const struct text_case texts[] = {
	{TAIL("plain"), true},
	{TAIL("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), true},
	{TAIL("\xc2\xa0"), true},
	{TAIL("\xed\x9f\xbf\xee\x80\x80"), true},
	{TAIL("\xf4\x8f\xbf\xbf"), true},
	{TAIL("a\0b"), false},
	{TAIL("\0"), false},
	{TAIL("a\nb"), false},
	{TAIL("\x1b]52;c;x\x07"), false},
	{TAIL("\x7f"), false},
	{TAIL("\xc2\x85"), false},
	{TAIL("\xff"), false},
	{TAIL("\x80"), false},
	{TAIL("\xc0\x80"), false},
	{TAIL("\xc1\xbf"), false},
	{TAIL("\xe0\x9f\xbf"), false},
	{TAIL("\xed\xa0\x80"), false},
	{TAIL("\xf0\x8f\xbf\xbf"), false},
	{TAIL("\xf4\x90\x80\x80"), false},
	{TAIL("\xf5\x80\x80\x80"), false},
	{TAIL("\xe2\x82"), false},
	{TAIL("a\xf0\x9f\x98"), false},
	{TAIL("\xe2\x28\xa1"), false},
};

// An answer that failed, and its sentence as bytes of our choice.
static void answer_with_error(const void *text, size_t size)
{
	struct api_answer a = {.seat = "a", .session_id = 1, .error_word = "not-found", .parts = 1};
	uint8_t head[3] = {0x3a, (uint8_t)size, 0};
	size_t head_size = 2;

	if (size >= 0x80) {
		head[1] = (uint8_t)(size | 0x80);
		head[2] = (uint8_t)(size >> 7);
		head_size = 3;
	}
	assert_int_equal(api_answer_encode(&a, &out), ERR_OK);
	assert_int_equal(buf_append(&out, head, head_size), ERR_OK);
	assert_int_equal(buf_append(&out, text, size), ERR_OK);
}

static void texts_are_clean_utf8(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		answer_with_error(texts[i].text, texts[i].size);
		if (texts[i].good)
			assert_int_equal(decode_exact(&codec_api_answer, buf_bytes(&out)), ERR_OK);
		else
			assert_refused(&codec_api_answer, buf_bytes(&out), ERR_FORMAT,
				"api_answer.error is no clean UTF-8");
	}
}

static void texts_have_a_length(void **state)
{
	char text[LIMIT_TEXT + 1];

	(void)state;
	memset(text, 'x', sizeof(text));
	answer_with_error(text, LIMIT_TEXT);
	assert_int_equal(decode_exact(&codec_api_answer, buf_bytes(&out)), ERR_OK);
	answer_with_error(text, LIMIT_TEXT + 1);
	assert_refused(&codec_api_answer, buf_bytes(&out), ERR_RANGE,
		"api_answer.error has 513 bytes, at most 512");
}

static void ids_are_topic_levels(void **state)
{
	static const char *const bad[] = {"a/b", "+", "#", "a b", "\xc3\xa9",
		"0123456789012345678901234567890123456789012345678901234567890123x"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct host_state h = sample_host;

		h.server = bad[i];
		assert_int_equal(host_state_encode(&h, &out), ERR_RANGE);
		assert_non_null(strstr(err_text(), "host_state.server "));
	}
	assert_int_equal(host_state_encode(&sample_host_will, &out), ERR_OK);
	out.data[4] = '/';
	assert_refused(&codec_host_state, buf_bytes(&out), ERR_RANGE, "host_state.server is no id");
}

// ---- memory

static void lists_are_counted_before_memory_is_spent(void **state)
{
	(void)state;
	buf_clear(&out);
	assert_int_equal(buf_append(&out, "\x08\x01", 2), ERR_OK);
	for (size_t i = 0; i < (LIMIT_INDEX_PAGE - 2) / 2; i++)
		assert_int_equal(buf_append(&out, "\x12\x00", 2), ERR_OK);
	assert_refused(&codec_index_page, buf_bytes(&out), ERR_RANGE,
		"index_page.objects has 98303 elements, at most 4096");
	assert_int_equal(arena.used, 0);
}

// The attack that makes protobuf-c take 137 MB for 2 MB (trust-and-faults.md M8), at every table
// and every list, at the largest payload there may be.
static void empty_submessages_cannot_multiply_memory(void **state)
{
	size_t attacks = 0;

	(void)state;
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		const struct codec_table *t = tables[i];

		for (size_t k = 0; t->limit > 0 && k < t->row_count; k++) {
			const ProtobufCFieldDescriptor *f = &t->descriptor->fields[k];
			uint8_t element[] = {(uint8_t)(f->id << 3 | 2), 0};

			if (t->rows[k].kind != CODEC_MESSAGES || f->id > 15)
				continue;
			for (size_t n = 1; n <= t->limit / 2; n *= 2) {
				buf_clear(&out);
				for (size_t j = 0; j < n; j++)
					assert_int_equal(buf_append(&out, element, 2), ERR_OK);
				assert_int_not_equal(decode_err(t, buf_bytes(&out)), ERR_OK);
				assert_true(arena.used <= 64 * 1024 + 12 * out.size + 1024);
				assert_true(arena.count <= 16);
				attacks++;
			}
		}
	}
	assert_true(attacks > 50);
}

static void two_megabytes_of_empty_submessages_are_refused(void **state)
{
	const size_t size = 2 * 1024 * 1024;
	uint8_t *attack = malloc(size);

	(void)state;
	for (size_t i = 0; i < size; i += 2) {
		attack[i] = 0x62; // heartbeat.changes
		attack[i + 1] = 0;
	}
	assert_refused(&codec_heartbeat, bytes_of(attack, size), ERR_RANGE,
		"heartbeat has 2097152 bytes, at most 16384");
	assert_int_equal(arena.used, 0);
	assert_refused(&codec_heartbeat, bytes_of(attack, LIMIT_HEARTBEAT), ERR_RANGE,
		"heartbeat.changes has 8192 elements, at most 32");
	assert_int_equal(arena.used, 0);
	free(attack);
}

// One text, as the last field, of a size that fills the arena's steps of 16.
static void the_last_text_has_room_for_its_nul(void **state)
{
	uint8_t host[2 + 18 + 2 + LIMIT_ID] = {0x08, 1, 0x22, 16};
	struct host_state h;

	(void)state;
	memset(host + 4, 'b', 16);
	host[20] = 0x12;
	host[21] = LIMIT_ID;
	memset(host + 22, 'x', LIMIT_ID);
	arena_reset(&arena);
	assert_int_equal(host_state_decode(&arena, bytes_of(host, sizeof(host)), &h), ERR_OK);
	assert_int_equal(strlen(h.server), LIMIT_ID);
	assert_true(arena.used > LIMIT_ID);
}

static void an_arena_that_is_too_small_is_an_error(void **state)
{
	struct arena small;
	struct heartbeat h;
	size_t full = 0;

	(void)state;
	assert_int_equal(heartbeat_encode(&sample_heartbeat, &out), ERR_OK);
	for (size_t budget = 0; budget < 2000; budget += 16) {
		arena_init(&small, budget, 1000);
		enum err e = heartbeat_decode(&small, buf_bytes(&out), &h);
		assert_true(e == ERR_OK || e == ERR_FULL);
		full += e == ERR_FULL;
		arena_fini(&small);
	}
	assert_true(full > 10 && full < 120);
	arena_init(&small, 100000, 3);
	assert_int_equal(heartbeat_decode(&small, buf_bytes(&out), &h), ERR_FULL);
	assert_null(h.status);
	arena_fini(&small);
}

// What a full page needs, so that its budget is not set too tight.
static void the_largest_pages_decode_within_the_budget(void **state)
{
	static struct object objects[4096];
	static struct file_entry files[2200];
	static char paths[2200][8];
	struct index_page index = {.objects = objects, .object_count = 4096};
	struct manifest_page page = {.files = files, .file_count = 1100};
	struct picture_info picture = {
		.width_px = 1920, .height_px = 1080, .tags = sample_tags, .tag_count = 2};

	(void)state;
	for (uint32_t i = 0; i < 4096; i++)
		objects[i] =
			(struct object){.coding = CODING_RAW, .first_chunk = i, .chunk_count = 1};
	assert_int_equal(index_page_encode(&index, &out), ERR_OK);
	assert_int_equal(decode_exact(&codec_index_page, buf_bytes(&out)), ERR_OK);
	for (size_t i = 0; i < 2200; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%04zu", i);
		files[i] = (struct file_entry){.path = paths[i], .sha256 = SAMPLE_SHA_A};
	}
	page.file_count = 2200;
	assert_int_equal(manifest_page_encode(&page, &out), ERR_OK);
	assert_int_equal(decode_exact(&codec_manifest_page, buf_bytes(&out)), ERR_OK);
	for (size_t i = 0; i < 1100; i++)
		files[i].picture = &picture;
	page.file_count = 1100;
	assert_int_equal(manifest_page_encode(&page, &out), ERR_OK);
	assert_true(out.size > 70000);
	assert_int_equal(decode_exact(&codec_manifest_page, buf_bytes(&out)), ERR_OK);
}

static void delta_objects_fill_an_index_page(void **state)
{
	static struct object objects[2250];
	struct index_page page = {.objects = objects, .object_count = 2250};

	(void)state;
	for (uint32_t i = 0; i < 2250; i++) {
		objects[i] = sample_objects[0];
		objects[i].first_chunk = i;
		objects[i].base_count = objects[i].base_size_count = 1;
		objects[i].own_run_count = 0;
	}
	assert_int_equal(index_page_encode(&page, &out), ERR_OK);
	assert_true(out.size > 180000);
	assert_int_equal(decode_exact(&codec_index_page, buf_bytes(&out)), ERR_OK);
}

// Above what is packed unmeasured, above the encoder's stack, and above the limit.
static void long_messages_are_encoded_and_too_long_ones_refused(void **state)
{
	static struct holding items[LIMIT_HOLDINGS];
	struct holdings holdings = {true, items, LIMIT_HOLDINGS};
	struct heartbeat h = sample_heartbeat;
	struct api_request r = sample_request;
	static uint8_t body[LIMIT_API];

	(void)state;
	for (size_t i = 0; i < LIMIT_HOLDINGS; i++)
		items[i] = sample_holding_items[1];
	h.holdings = &holdings;
	assert_int_equal(heartbeat_encode(&h, &out), ERR_OK);
	assert_true(out.size > UINT16_C(5000));
	assert_int_equal(decode_exact(&codec_heartbeat, buf_bytes(&out)), ERR_OK);
	holdings.item_count++;
	assert_int_equal(heartbeat_encode(&h, &out), ERR_RANGE);
	assert_string_equal(err_text(), "heartbeat.holdings.items has 101 elements, at most 100");
	r.body = bytes_of(body, sizeof(body));
	assert_int_equal(api_request_encode(&r, &out), ERR_RANGE);
	assert_non_null(strstr(err_text(), "bytes, at most 262077"));
	assert_int_equal(out.size, 0);
}

static void a_buffer_that_is_too_small_is_an_error(void **state)
{
	struct buf small;

	(void)state;
	assert_int_equal(heartbeat_encode(&sample_heartbeat, &out), ERR_OK);
	buf_init(&small, out.size - 1);
	assert_int_equal(heartbeat_encode(&sample_heartbeat, &small), ERR_FULL);
	assert_int_equal(small.size, 0);
	buf_fini(&small);
	buf_init(&small, out.size);
	assert_int_equal(heartbeat_encode(&sample_heartbeat, &small), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&small), buf_bytes(&out)));
	buf_fini(&small);
}

static void lists_may_be_written_packed_or_not(void **state)
{
	static const uint8_t sizes[] = {0x30, 5, 0x30, 6, 0x32, 1, 7};
	static const uint32_t want[] = {5, 6, 7};
	uint8_t page[5 + 3 + 34 + 98 + sizeof(sizes)] = {0x08, 1, 0x12, 0x80 | 14, 1};
	struct manifest_page p;

	(void)state;
	memset(page + 5, 'z', sizeof(page) - 5);
	memcpy(page + 5, "\x0a\x01", 2);
	memcpy(page + 8, "\x1a\x20", 2);
	memcpy(page + 42, "\x2a\x60", 2);
	memcpy(page + 140, sizes, sizeof(sizes));
	arena_reset(&arena);
	assert_int_equal(manifest_page_decode(&arena, bytes_of(page, sizeof(page)), &p), ERR_OK);
	assert_int_equal(p.files[0].chunk_count, 3);
	assert_memory_equal(p.files[0].chunk_size, want, sizeof(want));
	page[sizeof(page) - 1] = 0;
	assert_refused(&codec_manifest_page, bytes_of(page, sizeof(page)), ERR_RANGE,
		"manifest_page.files[0].chunk_size is 0, at least 1");
}

// Texts are looked at eight bytes at a time while they are plain: every byte at every place.
static void a_text_is_clean_by_each_of_its_bytes(void **state)
{
	const struct codec_row *row = &codec_reason.rows[1];
	const struct codec_path path = {NULL, "reason", CODEC_NO_INDEX};
	uint8_t text[20];

	(void)state;
	for (size_t size = 1; size <= sizeof(text); size++)
		for (size_t at = 0; at < size; at++)
			for (unsigned byte = 0; byte < 0x100; byte++) {
				memset(text, byte & 1 ? '~' : ' ', sizeof(text));
				text[at] = (uint8_t)byte;
				bool clean = byte >= 0x20 && byte < 0x7f;
				enum err e = codec_check_text(&path, row, bytes_of(text, size));
				assert_int_equal(e, clean ? ERR_OK : ERR_FORMAT);
				if (at + 2 > size)
					continue;
				text[at] = 0xc3; // with what follows: one of two bytes
				text[at + 1] = (uint8_t)byte;
				e = codec_check_text(&path, row, bytes_of(text, size));
				clean = byte >= 0x80 && byte < 0xc0;
				assert_int_equal(e, clean ? ERR_OK : ERR_FORMAT);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_clean_by_each_of_its_bytes),
		cmocka_unit_test(an_empty_payload_is_refused),
		cmocka_unit_test(a_payload_above_its_limit_is_refused_unread),
		cmocka_unit_test(every_prefix_and_every_flipped_bit_is_survived),
		cmocka_unit_test(malformed_bytes_are_refused_with_a_sentence),
		cmocka_unit_test(schema_must_be_one),
		cmocka_unit_test(unknown_fields_are_for_signed_payloads_only),
		cmocka_unit_test(texts_are_clean_utf8),
		cmocka_unit_test(texts_have_a_length),
		cmocka_unit_test(ids_are_topic_levels),
		cmocka_unit_test(lists_are_counted_before_memory_is_spent),
		cmocka_unit_test(empty_submessages_cannot_multiply_memory),
		cmocka_unit_test(two_megabytes_of_empty_submessages_are_refused),
		cmocka_unit_test(the_last_text_has_room_for_its_nul),
		cmocka_unit_test(an_arena_that_is_too_small_is_an_error),
		cmocka_unit_test(the_largest_pages_decode_within_the_budget),
		cmocka_unit_test(delta_objects_fill_an_index_page),
		cmocka_unit_test(long_messages_are_encoded_and_too_long_ones_refused),
		cmocka_unit_test(a_buffer_that_is_too_small_is_an_error),
		cmocka_unit_test(lists_may_be_written_packed_or_not),
	};

	return cmocka_run_group_tests_name("codec_input", tests, setup, teardown);
}
