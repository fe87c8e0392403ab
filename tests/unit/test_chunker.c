// The chunker: lengths, determinism, and that an inserted byte costs one or two chunks only.
#include "proto/base/mem.h"
#include "proto/chunker.h"
#include "proto/digest.h"
#include "proto/limits.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA_SIZE (48u * 1024 * 1024)
#define GOLDEN_CUTS "add1ebd0c7b009e0ecf9d7662780d99620ae8e2b23b572842aeae3d77929577d"

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint8_t *random_data(size_t size, uint64_t seed)
{
	uint8_t *p = malloc(size + 8);

	assert_non_null(p);
	for (size_t i = 0; i < size; i += 8) {
		uint64_t r = next_random(&seed);
		memcpy(p + i, &r, 8);
	}
	return p;
}

// Words of a small vocabulary with counters between them: the shape of logs, JSON, machine code
// tables.
static uint8_t *structured_data(size_t size)
{
	static const char *const words[] = {"{\"id\":", ",\"name\":\"screen\"", "},\n",
		"0x00000000 ", "mov ", "eax,", "heliograph ", "\t\t"};
	uint8_t *p = malloc(size + 64);
	size_t at = 0;
	uint64_t seed = 7;

	assert_non_null(p);
	while (at < size) {
		uint64_t r = next_random(&seed);
		int n = snprintf(
			(char *)p + at, 64, "%s%u", words[r & 7], (unsigned)(r >> 8) % 1000);
		at += (size_t)n;
	}
	return p;
}

struct cuts {
	size_t count, total, min, max; // min and max of all but the last
	struct digest *chunks;
};

static struct cuts cut_all(const uint8_t *data, size_t size)
{
	struct cuts c = {.min = SIZE_MAX};

	c.chunks = calloc(size / CHUNK_MIN + 2, sizeof *c.chunks);
	assert_non_null(c.chunks);
	for (size_t at = 0; at < size;) {
		size_t n = chunk_cut(data + at, size - at);
		assert_true(n >= 1 && n <= size - at && n <= CHUNK_MAX);
		c.chunks[c.count++] = sha256(data + at, n);
		at += n;
		c.total += n;
		if (at < size) {
			c.min = n < c.min ? n : c.min;
			c.max = n > c.max ? n : c.max;
		}
	}
	return c;
}

static void a_small_file_is_one_chunk(void **state)
{
	(void)state;
	uint8_t *p = random_data(CHUNK_AVG + 1, 1);

	assert_int_equal(chunk_cut(p, 1), 1);
	assert_int_equal(chunk_cut(p, CHUNK_MIN), CHUNK_MIN);
	assert_int_equal(chunk_cut(p, CHUNK_AVG), CHUNK_AVG);
	free(p);
}

static void lengths_keep_their_limits(void **state)
{
	(void)state;
	uint8_t *p = random_data(DATA_SIZE, 2);
	struct cuts c = cut_all(p, DATA_SIZE);

	assert_int_equal(c.total, DATA_SIZE);
	assert_true(c.min >= CHUNK_MIN);
	assert_true(c.max <= CHUNK_MAX);
	free(c.chunks);
	free(p);
}

static void equal_bytes_without_a_cut_end_at_the_maximum(void **state)
{
	(void)state;
	uint8_t *p = calloc(1, 4 * CHUNK_MAX);

	assert_non_null(p);
	assert_int_equal(chunk_cut(p, 4 * CHUNK_MAX), CHUNK_MAX);
	assert_int_equal(chunk_cut(p, CHUNK_MAX - 1), CHUNK_MAX - 1);
	free(p);
}

static void average_of(uint8_t *p, size_t size)
{
	struct cuts c = cut_all(p, size);
	size_t average = size / c.count;

	print_message("%zu chunks, average %zu KiB, %zu..%zu\n", c.count, average / 1024,
		c.min / 1024, c.max / 1024);
	assert_in_range(average, 128 * 1024, 256 * 1024);
	free(c.chunks);
	free(p);
}

static void random_data_averages_128_to_256_kib(void **state)
{
	(void)state;
	average_of(random_data(DATA_SIZE, 3), DATA_SIZE);
}

static void structured_data_averages_128_to_256_kib(void **state)
{
	(void)state;
	average_of(structured_data(DATA_SIZE), DATA_SIZE);
}

static size_t shared_chunks(const struct cuts *a, const struct cuts *b)
{
	size_t shared = 0;

	for (size_t i = 0; i < b->count; i++)
		for (size_t k = 0; k < a->count; k++)
			if (digest_equal(&a->chunks[k], &b->chunks[i])) {
				shared++;
				break;
			}
	return shared;
}

static void change_and_compare(uint8_t *p, size_t at, size_t insert, size_t remove)
{
	struct cuts before = cut_all(p, DATA_SIZE);
	size_t size = DATA_SIZE + insert - remove;
	uint8_t *q = malloc(size);

	assert_non_null(q);
	memcpy(q, p, at);
	memset(q + at, 'x', insert);
	memcpy(q + at + insert, p + at + remove, DATA_SIZE - at - remove);
	struct cuts after = cut_all(q, size);
	size_t shared = shared_chunks(&before, &after);
	assert_true(shared < after.count); // the change is seen
	assert_true(shared * 10 > after.count * 9);
	free(q);
	free(before.chunks);
	free(after.chunks);
}

static void a_changed_place_leaves_over_nine_tenths_shared(void **state)
{
	(void)state;
	uint8_t *p = random_data(DATA_SIZE, 4);
	uint8_t *s = structured_data(DATA_SIZE);

	for (size_t at = 1; at + 100 < DATA_SIZE; at += DATA_SIZE / 5) {
		change_and_compare(p, at, 1, 0);
		change_and_compare(p, at, 0, 1);
		change_and_compare(s, at, 1, 0);
		change_and_compare(s, at, 5000, 17);
	}
	free(p);
	free(s);
}

// What comes after the chunk must not move its end: a reader of a stream sees only CHUNK_MAX.
static void a_cut_needs_only_chunk_max_bytes(void **state)
{
	(void)state;
	uint8_t *p = random_data(DATA_SIZE, 5);

	for (size_t at = 0; at + 2 * CHUNK_MAX < DATA_SIZE; at += 999983)
		assert_int_equal(chunk_cut(p + at, CHUNK_MAX), chunk_cut(p + at, DATA_SIZE - at));
	free(p);
}

// Another Gear table or other masks would end all deduplication with what lies on brokers and
// devices.
static void the_cuts_are_fixed_for_ever(void **state)
{
	(void)state;
	uint8_t *p = random_data(DATA_SIZE, 6);
	struct cuts c = cut_all(p, DATA_SIZE);
	struct digest all = sha256(c.chunks, c.count * sizeof *c.chunks);

	assert_string_equal(digest_hex(&all), GOLDEN_CUTS);
	free(c.chunks);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_file_is_one_chunk),
		cmocka_unit_test(lengths_keep_their_limits),
		cmocka_unit_test(equal_bytes_without_a_cut_end_at_the_maximum),
		cmocka_unit_test(random_data_averages_128_to_256_kib),
		cmocka_unit_test(structured_data_averages_128_to_256_kib),
		cmocka_unit_test(a_changed_place_leaves_over_nine_tenths_shared),
		cmocka_unit_test(a_cut_needs_only_chunk_max_bytes),
		cmocka_unit_test(the_cuts_are_fixed_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
