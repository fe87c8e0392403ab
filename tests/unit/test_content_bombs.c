// Four gigabytes of zeros in 131 kB (attack C15), as each kind of object: with an honest promise,
// with the promise of what was signed, with none, behind a huge window, a dictionary, another
// frame; as a chunk, told with a prefix, as a patch, and sealed. Nothing yields more than was
// signed, and memory grows by no more than that. The control: libzstd itself goes on and on.
#include "tests/unit/memory_meter.h"

#include "proto/content.h"
#include "proto/delta.h"
#include "proto/digest.h"
#include "proto/seal_content.h"
#include <fcntl.h>
#include <zstd.h>

#define ZEROS (UINT64_C(4) << 30)
#define BLOCK (128u * 1024) // what one block may yield
#define SIGNED_BYTES 3000u
// A megabyte that is yielded, one and a quarter of a patch, and what libzstd works with.
#define RSS_BOUND_KIB (4 * 1024)

// ---- the frame, by hand (RFC 8878)

enum shape {
	SHAPE_HONEST,     // promises all of it
	SHAPE_MODEST,     // promises what was signed
	SHAPE_SILENT,     // promises nothing
	SHAPE_WINDOWED,   // promises what was signed, and wants a window of gigabytes
	SHAPE_DICTIONARY, // names one
	SHAPE_COUNT
};

static void le_put(struct buf *b, uint64_t n, size_t size)
{
	for (size_t i = 0; i < size; i++, n >>= 8) {
		uint8_t byte = (uint8_t)n;
		assert_int_equal(buf_append(b, &byte, 1), ERR_OK);
	}
}

static void frame_head(struct buf *b, enum shape shape, uint64_t promise)
{
	static const uint8_t flags[SHAPE_COUNT] = {[SHAPE_HONEST] = 3 << 6,
		[SHAPE_MODEST] = 3 << 6,
		[SHAPE_SILENT] = 0,
		[SHAPE_WINDOWED] = 3 << 6,
		[SHAPE_DICTIONARY] = 3 << 6 | 3};

	le_put(b, 0xfd2fb528, 4);
	le_put(b, flags[shape], 1);
	le_put(b, shape == SHAPE_WINDOWED ? 21 << 3 : 7 << 3, 1); // 2 GiB; 128 KiB
	if (shape == SHAPE_DICTIONARY)
		le_put(b, 77, 4);
	if (shape != SHAPE_SILENT)
		le_put(b, promise, 8);
}

static void bomb_make(struct buf *b, enum shape shape, uint64_t promise)
{
	buf_clear(b);
	frame_head(b, shape, promise);
	for (uint64_t done = 0; done < ZEROS; done += BLOCK) {
		le_put(b, (uint64_t)BLOCK << 3 | 1 << 1 | (done + BLOCK == ZEROS), 3); // a run
		le_put(b, 0, 1);
	}
	assert_in_range(b->size, 1000, LIMIT_OBJECT);
}

// ---- throwing it

static const uint8_t base[2000];

struct thrown {
	struct object_decoder *d;
	struct chunk_ref run[1];
	uint8_t zeros[SIGNED_BYTES];
	size_t worst_kib, count;
};

static enum err throw_it(struct thrown *t, enum coding coding, struct bytes bomb)
{
	uint32_t sizes[1] = {sizeof(base)};
	struct digest name = sha256(base, sizeof(base));
	bool has_base = coding == CODING_ZSTD_PREFIX || coding == CODING_BSDIFF_ZSTD;
	struct object o = {.sha256 = sha256(bomb.data, bomb.size),
		.size_bytes = (uint32_t)bomb.size,
		.coding = coding,
		.chunk_count = 1,
		.base_chunks = &name,
		.base_sizes = sizes,
		.base_count = has_base,
		.base_size_count = has_base};
	struct bytes plain = {0};
	size_t before = meter_begin_kib();
	enum err e = object_open(t->d, &o, t->run, bomb,
		has_base ? bytes_of(base, sizeof(base)) : (struct bytes){0}, &plain);
	size_t grown = meter_grown_kib(before);
	t->worst_kib = grown > t->worst_kib ? grown : t->worst_kib;
	t->count++;
	assert_true(e != ERR_OK || plain.size == SIGNED_BYTES);
	return e;
}

// How much libzstd yields, at most as much as is asked for.
static uint64_t control(struct bytes bomb, uint64_t most)
{
	SCOPED_FREE uint8_t *out = malloc(BLOCK * 8);
	ZSTD_DCtx *d = ZSTD_createDCtx();
	ZSTD_inBuffer in = {bomb.data, bomb.size, 0};
	uint64_t total = 0;

	assert_true(out && d);
	while (total < most && in.pos < in.size) {
		ZSTD_outBuffer to = {out, BLOCK * 8, 0};
		assert_false(ZSTD_isError(ZSTD_decompressStream(d, &to, &in)));
		total += to.pos;
	}
	ZSTD_freeDCtx(d);
	return total;
}

static void sealed_too(struct thrown *t, struct bytes bomb)
{
	struct key32 key = {{1, 2, 3}};
	SCOPED_BUF struct buf closed;

	buf_init(&closed, LIMIT_OBJECT + 64);
	assert_int_equal(content_seal(&key, bomb, &closed), ERR_OK);
	object_decoder_key(t->d, &key);
	assert_int_equal(throw_it(t, CODING_ZSTD, buf_bytes(&closed)), ERR_FORMAT);
	object_decoder_key(t->d, NULL);
}

static void C15_four_gigabytes_of_zeros_yield_what_was_signed_or_nothing(void **state)
{
	static const enum coding codings[] = {
		CODING_RAW, CODING_ZSTD, CODING_ZSTD_PREFIX, CODING_BSDIFF_ZSTD};
	static const uint64_t promises[] = {SIGNED_BYTES, DELTA_PATCH_MAX, ZEROS};
	struct thrown t = {0};
	struct buf b;

	(void)state;
	buf_init(&b, LIMIT_OBJECT);
	t.run[0] = (struct chunk_ref){sha256(t.zeros, SIGNED_BYTES), SIGNED_BYTES};
	assert_int_equal(object_decoder_new(&t.d), ERR_OK);
	for (int shape = 0; shape < SHAPE_COUNT; shape++) {
		bomb_make(&b, (enum shape)shape, shape == SHAPE_HONEST ? ZEROS : SIGNED_BYTES);
		for (size_t c = 0; c < sizeof(codings) / sizeof(codings[0]); c++)
			assert_int_equal(throw_it(&t, codings[c], buf_bytes(&b)), ERR_FORMAT);
		sealed_too(&t, buf_bytes(&b));
	}
	for (size_t i = 0; i < sizeof(promises) / sizeof(promises[0]); i++) {
		bomb_make(&b, SHAPE_MODEST, promises[i]);
		assert_int_equal(throw_it(&t, CODING_BSDIFF_ZSTD, buf_bytes(&b)), ERR_FORMAT);
	}
	// The same zeros, as many as were signed: taken. And a good frame with a bomb behind it.
	uint8_t good[ZSTD_COMPRESSBOUND(SIGNED_BYTES)];
	size_t n = ZSTD_compress(good, sizeof(good), t.zeros, SIGNED_BYTES, 3);
	assert_int_equal(throw_it(&t, CODING_ZSTD, bytes_of(good, n)), ERR_OK);
	bomb_make(&b, SHAPE_HONEST, ZEROS);
	SCOPED_BUF struct buf both;
	buf_init(&both, LIMIT_OBJECT);
	assert_int_equal(buf_append(&both, good, n), ERR_OK);
	assert_int_equal(buf_append(&both, b.data, b.size), ERR_OK);
	assert_int_equal(throw_it(&t, CODING_ZSTD, buf_bytes(&both)), ERR_FORMAT);
	print_message("%zu bombs of %zu bytes: at most %zu KiB\n", t.count, b.size, t.worst_kib);
#if !defined(__SANITIZE_ADDRESS__)
	assert_true(t.worst_kib <= RSS_BOUND_KIB);
#endif
	assert_true(control(buf_bytes(&b), 256u << 20) >= 256u << 20); // they are bombs
	object_decoder_free(t.d);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C15_four_gigabytes_of_zeros_yield_what_was_signed_or_nothing),
	};

	return cmocka_run_group_tests_name("content_bombs", tests, NULL, NULL);
}
