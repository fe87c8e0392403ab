// Delta coding: what is made of old bytes reads back, and bent bytes are an error, never a wrong
// result.
#include "proto/content.h"
#include "proto/delta.h"
#include "proto/digest.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static size_t random_below(uint64_t *state, size_t n)
{
	return n ? (size_t)(next_random(state) % n) : 0;
}

// Bytes of a small alphabet, so that grams repeat, or of all.
static void noise_fill(uint8_t *out, size_t size, unsigned letters, uint64_t *state)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(next_random(state) % letters);
}

// New bytes as a release makes them: pieces of the old at other places, some with a byte in eight
// changed by a little, some new.
static size_t edited(const uint8_t *old, size_t old_size, uint8_t *out, size_t max, uint64_t *state)
{
	size_t n = 0, pieces = 1 + random_below(state, 12);

	for (size_t p = 0; p < pieces; p++) {
		size_t room = max - n, length = random_below(state, room / 2 + 1);
		unsigned kind = (unsigned)random_below(state, 3);
		size_t from = random_below(state, old_size + 1);
		if (kind == 0 || old_size == 0)
			noise_fill(out + n, length, 256, state);
		if (length > old_size - from)
			length = kind == 0 || old_size == 0 ? length : old_size - from;
		for (size_t i = 0; kind != 0 && old_size != 0 && i < length; i++) {
			bool bent = kind == 2 && next_random(state) % 8 == 0;
			out[n + i] = (uint8_t)(old[from + i] + (bent ? 4 : 0));
		}
		n += length;
	}
	return n;
}

static void a_patch_gives_the_new_bytes_back(void **state)
{
	(void)state;
	const size_t max = 200 * 1000;
	uint64_t random = 20;
	struct delta_maker *m = NULL;
	SCOPED_FREE uint8_t *old = malloc(max), *plain = NULL, *out = NULL;
	SCOPED_BUF struct buf patch;

	plain = malloc(max);
	out = malloc(max + 1);
	buf_init(&patch, DELTA_PATCH_MAX);
	assert_int_equal(delta_maker_new(&m), ERR_OK);
	for (int round = 0; round < 60; round++) {
		size_t old_size = random_below(&random, round % 4 == 0 ? 64 : max);
		noise_fill(old, old_size, round % 3 == 0 ? 2 : 256, &random);
		size_t size = edited(old, old_size, plain, max, &random);
		assert_int_equal(
			delta_make(m, bytes_of(old, old_size), bytes_of(plain, size), &patch),
			ERR_OK);
		memset(out, 0xa5, max + 1);
		assert_int_equal(
			delta_apply(bytes_of(old, old_size), buf_bytes(&patch), out, size), ERR_OK);
		assert_memory_equal(out, plain, size);
		assert_int_equal(out[size], 0xa5);
	}
	delta_maker_free(m);
	free(plain);
	free(out);
	plain = out = NULL;
}

// Every patch of one bent byte, one byte less or one more: nothing is written outside, and what
// comes out is an error or bytes of the promised length.
static void a_bent_patch_stays_inside_its_bounds(void **state)
{
	(void)state;
	uint64_t random = 7;
	uint8_t old[3000], plain[3000], out[3001];
	struct delta_maker *m = NULL;
	SCOPED_BUF struct buf patch;

	buf_init(&patch, DELTA_PATCH_MAX);
	assert_int_equal(delta_maker_new(&m), ERR_OK);
	noise_fill(old, sizeof old, 256, &random);
	size_t size = edited(old, sizeof old, plain, sizeof plain, &random);
	assert_int_equal(
		delta_make(m, bytes_of(old, sizeof old), bytes_of(plain, size), &patch), ERR_OK);
	for (size_t i = 0; i < patch.size; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			patch.data[i] ^= (uint8_t)(1u << bit);
			out[size] = 0xa5;
			enum err e = delta_apply(
				bytes_of(old, sizeof old), buf_bytes(&patch), out, size);
			assert_true(e == ERR_FORMAT ||
				    (e == ERR_OK && memcmp(out, plain, size) != 0) ||
				    i < 16); // a seek that nothing follows
			assert_int_equal(out[size], 0xa5);
			patch.data[i] ^= (uint8_t)(1u << bit);
		}
	}
	for (size_t cut = 0; cut < patch.size; cut++)
		assert_int_equal(delta_apply(bytes_of(old, sizeof old), bytes_of(patch.data, cut),
					 out, size),
			ERR_FORMAT);
	assert_int_equal(buf_append(&patch, "x", 1), ERR_OK);
	assert_int_equal(
		delta_apply(bytes_of(old, sizeof old), buf_bytes(&patch), out, size), ERR_FORMAT);
	delta_maker_free(m);
}

static void a_patch_that_lies_is_refused(void **state)
{
	(void)state;
	const uint8_t old[8] = "old old", nothing[1] = {0};
	uint8_t out[8];
	static const struct {
		const char *what;
		size_t size;
		uint8_t bytes[16];
	} cases[] = {
		{"no header", 0, {0}},
		{"a number without end", 5, {0xff, 0xff, 0xff, 0xff, 0xff}},
		{"a number above 32 bits", 6, {0xff, 0xff, 0xff, 0xff, 0x7f, 0}},
		{"control beyond the patch", 2, {4, 0}},
		{"diff beyond the patch", 2, {0, 4}},
		{"half a triple", 3, {1, 0, 8}},
		{"more output than promised", 5, {3, 0, 0, 9, 0}},
		{"less output than promised", 12, {3, 0, 0, 7, 0, 1, 2, 3, 4, 5, 6, 7}},
		{"extra that is not there", 6, {3, 0, 0, 8, 0, 1}},
		{"diff that is not there", 6, {3, 1, 8, 0, 0, 1}},
		{"a seek before the base", 13, {3, 8, 8, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"a seek behind the base", 13, {3, 8, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"bytes left over", 14, {3, 0, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (delta_apply(bytes_of(old, 8), bytes_of(cases[i].bytes, cases[i].size), out,
			    8) != ERR_FORMAT)
			fail_msg("%s was taken", cases[i].what);
	// The base is shorter than the diff wants.
	const uint8_t whole[13] = {3, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	assert_int_equal(delta_apply(bytes_of(old, 8), bytes_of(whole, 13), out, 8), ERR_OK);
	assert_memory_equal(out, old, 8);
	assert_int_equal(delta_apply(bytes_of(old, 7), bytes_of(whole, 13), out, 8), ERR_FORMAT);
	assert_int_equal(
		delta_apply(bytes_of(nothing, 0), bytes_of(whole, 13), out, 8), ERR_FORMAT);
}

// ---- objects

struct delta_case {
	uint8_t *old, *plain;
	size_t old_size, size;
	struct chunk_ref run[2];
	struct digest bases[1];
	uint32_t base_sizes[1];
	struct object o;
	struct bytes transported;
	struct object_encoder *e;
	struct object_decoder *d;
};

static void case_begin(struct delta_case *x, size_t old_size, size_t size)
{
	const struct object_profile profile = {.zstd_level = 9, .keep_percent = 95};

	*x = (struct delta_case){.old_size = old_size, .size = size};
	x->old = malloc(old_size);
	x->plain = malloc(size);
	assert_int_equal(object_encoder_new(&profile, &x->e), ERR_OK);
	assert_int_equal(object_decoder_new(&x->d), ERR_OK);
}

static void case_encode(struct delta_case *x)
{
	uint32_t half = (uint32_t)(x->size / 2), rest = (uint32_t)(x->size - half);

	x->run[0] = (struct chunk_ref){sha256(x->plain, half), half};
	x->run[1] = (struct chunk_ref){sha256(x->plain + half, rest), rest};
	x->bases[0] = sha256(x->old, x->old_size);
	x->base_sizes[0] = (uint32_t)x->old_size;
	x->o = (struct object){.chunk_count = 2,
		.base_chunks = x->bases,
		.base_count = 1,
		.base_sizes = x->base_sizes,
		.base_size_count = 1};
	assert_int_equal(object_encode_delta(x->e, x->run, bytes_of(x->plain, x->size),
				 bytes_of(x->old, x->old_size), &x->o, &x->transported),
		ERR_OK);
}

static enum err case_open(struct delta_case *x, struct bytes transported)
{
	struct bytes plain;
	enum err e = object_open(
		x->d, &x->o, x->run, transported, bytes_of(x->old, x->old_size), &plain);

	if (e == ERR_OK)
		assert_true(bytes_equal(plain, bytes_of(x->plain, x->size)));
	return e;
}

static void case_end(struct delta_case *x)
{
	object_encoder_free(x->e);
	object_decoder_free(x->d);
	free(x->old);
	free(x->plain);
}

// Old code moved by a few bytes: every fourth word is an address and rises by the same amount.
static void moved_code(struct delta_case *x)
{
	uint64_t random = 3;

	noise_fill(x->old, x->old_size, 256, &random);
	memcpy(x->plain, x->old, x->size);
	for (size_t i = 12; i + 4 <= x->size; i += 16)
		x->plain[i] = (uint8_t)(x->plain[i] + 24);
}

static void moved_code_travels_as_a_patch(void **state)
{
	(void)state;
	struct delta_case x;

	case_begin(&x, 120000, 120000);
	moved_code(&x);
	case_encode(&x);
	assert_int_equal(x.o.coding, CODING_BSDIFF_ZSTD);
	assert_in_range(x.o.size_bytes, 1, 1000);
	assert_int_equal(case_open(&x, x.transported), ERR_OK);
	case_end(&x);
}

static void shuffled_text_travels_behind_its_prefix(void **state)
{
	(void)state;
	struct delta_case x;
	uint64_t random = 11;

	case_begin(&x, 100000, 60000);
	noise_fill(x.old, x.old_size, 256, &random);
	for (size_t i = 0; i < x.size; i += 20)
		memcpy(x.plain + i, x.old + 20 * random_below(&random, 5000), 20);
	case_encode(&x);
	assert_int_equal(x.o.coding, CODING_ZSTD_PREFIX);
	assert_in_range(x.o.size_bytes, 1, 20000);
	assert_int_equal(case_open(&x, x.transported), ERR_OK);
	case_end(&x);
}

static void nothing_in_common_still_reads_back(void **state)
{
	(void)state;
	struct delta_case x;
	uint64_t random = 5;

	case_begin(&x, OBJECT_BASE_MAX, OBJECT_OUTPUT_MAX);
	noise_fill(x.old, x.old_size, 256, &random);
	noise_fill(x.plain, x.size, 256, &random);
	case_encode(&x);
	assert_in_range(x.o.size_bytes, 1, LIMIT_OBJECT);
	assert_int_equal(case_open(&x, x.transported), ERR_OK);
	case_end(&x);
}

static void every_bent_byte_of_a_delta_object_is_an_error(void **state)
{
	(void)state;
	struct delta_case x;

	case_begin(&x, 8000, 8000);
	moved_code(&x);
	case_encode(&x);
	SCOPED_BUF struct buf bent;
	buf_init(&bent, LIMIT_OBJECT);
	assert_int_equal(buf_append(&bent, x.transported.data, x.transported.size), ERR_OK);
	for (size_t i = 0; i < bent.size; i++) {
		bent.data[i] ^= 0x10;
		assert_int_equal(case_open(&x, buf_bytes(&bent)), ERR_CORRUPT);
		// A publisher that signs such bytes is not believed either.
		struct digest honest = x.o.sha256;
		x.o.sha256 = sha256(bent.data, bent.size);
		enum err e = case_open(&x, buf_bytes(&bent));
		assert_true(e == ERR_FORMAT || e == ERR_OK); // OK only with the right bytes
		x.o.sha256 = honest;
		bent.data[i] ^= 0x10;
	}
	for (size_t i = 0; i < x.old_size; i += 97) { // one rotten base byte
		x.old[i] ^= 1;
		assert_int_equal(case_open(&x, buf_bytes(&bent)), ERR_FORMAT);
		x.old[i] ^= 1;
	}
	assert_int_equal(case_open(&x, buf_bytes(&bent)), ERR_OK);
	x.old_size--;
	assert_int_equal(case_open(&x, buf_bytes(&bent)), ERR_FORMAT);
	x.old_size++;
	case_end(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_patch_gives_the_new_bytes_back),
		cmocka_unit_test(a_bent_patch_stays_inside_its_bounds),
		cmocka_unit_test(a_patch_that_lies_is_refused),
		cmocka_unit_test(moved_code_travels_as_a_patch),
		cmocka_unit_test(shuffled_text_travels_behind_its_prefix),
		cmocka_unit_test(nothing_in_common_still_reads_back),
		cmocka_unit_test(every_bent_byte_of_a_delta_object_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
