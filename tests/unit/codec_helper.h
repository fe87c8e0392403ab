// What the tests of the codecs share: plain structs seen through their rows, and refusals.
#ifndef HELIO_TESTS_CODEC_HELPER_H
#define HELIO_TESTS_CODEC_HELPER_H

#include "tests/unit/codec_samples.h"
#include "tests/unit/helper.h"

static struct arena arena;
static struct buf out;
static struct buf bodies[2];

#define DECLARE(type, message) &codec_##type,
static const struct codec_table *const tables[] = {CODEC_TABLES(DECLARE)};
#undef DECLARE
#define TABLE_COUNT (sizeof(tables) / sizeof(tables[0]))

static inline int setup(void **state)
{
	(void)state;
	arena_init(&arena, 8 * 1024 * 1024, 100000);
	buf_init(&out, 2 * 1024 * 1024);
	return samples_prepare(bodies) == ERR_OK ? 0 : -1;
}

static inline int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	buf_fini(&out);
	buf_fini(&bodies[0]);
	buf_fini(&bodies[1]);
	return 0;
}

static inline bool is_list(const struct codec_row *row)
{
	return row->kind >= CODEC_MESSAGES;
}

static inline bool is_number(const struct codec_row *row)
{
	return row->kind >= CODEC_U32 && row->kind <= CODEC_ENUM && row->kind != CODEC_DOUBLE;
}

static inline bool is_small(const struct codec_row *row)
{
	return row->kind == CODEC_U32 || row->kind == CODEC_ENUM || row->kind == CODEC_BOOL ||
	       row->kind == CODEC_SCHEMA;
}

// ---- plain structs, seen through their rows

static inline const void *member(const void *m, size_t at)
{
	return (const uint8_t *)m + at;
}

static inline void *pointer_at(const void *m, size_t at)
{
	void *p;

	memcpy(&p, member(m, at), sizeof(p));
	return p;
}

static inline size_t count_of(const void *m, const struct codec_row *row)
{
	size_t n;

	memcpy(&n, member(m, row->count_at), sizeof(n));
	return n;
}

static inline size_t number_size(const struct codec_row *row)
{
	return row->kind == CODEC_BOOL ? 1 : is_small(row) ? 4 : 8;
}

static inline size_t element_size(const struct codec_row *row)
{
	return row->kind == CODEC_TEXTS ? sizeof(char *) : row->kind == CODEC_U32S ? 4 : row->size;
}

static inline const char *text_at(const void *m, size_t at)
{
	const char *s = pointer_at(m, at);

	return s ? s : "";
}

static inline bool is_default(const void *m, const struct codec_row *row)
{
	static const uint8_t zero[64];

	switch (row->kind) {
	case CODEC_SCHEMA:
	case CODEC_AUTH:
	case CODEC_SKIP:
		return false;
	case CODEC_ID:
	case CODEC_TEXT:
		return text_at(m, row->at)[0] == '\0';
	case CODEC_FIXED:
		return memcmp(member(m, row->at), zero, row->size) == 0;
	case CODEC_BYTES:
		return ((const struct bytes *)member(m, row->at))->size == 0;
	case CODEC_MESSAGE:
		return !pointer_at(m, row->at);
	case CODEC_MESSAGES:
	case CODEC_TEXTS:
	case CODEC_FIXEDS:
	case CODEC_U32S:
		return count_of(m, row) == 0;
	case CODEC_U32:
	case CODEC_U64:
	case CODEC_I64:
	case CODEC_DOUBLE:
	case CODEC_BOOL:
	case CODEC_ENUM:
		return memcmp(member(m, row->at), zero, number_size(row)) == 0;
	}
	return true;
}

static inline void assert_equal(const struct codec_table *t, const void *a, const void *b);

static inline void assert_lists_equal(const struct codec_row *row, const void *a, const void *b)
{
	size_t n = count_of(a, row), size = element_size(row);
	const uint8_t *x = pointer_at(a, row->at), *y = pointer_at(b, row->at);

	assert_int_equal(n, count_of(b, row));
	for (size_t i = 0; i < n; i++) {
		if (row->kind == CODEC_MESSAGES)
			assert_equal(row->table, x + i * size, y + i * size);
		else if (row->kind == CODEC_TEXTS)
			assert_string_equal(text_at(x, i * size), text_at(y, i * size));
		else
			assert_memory_equal(x + i * size, y + i * size, size);
	}
}

static inline void assert_rows_equal(const struct codec_row *row, const void *a, const void *b)
{
	const struct bytes *x = member(a, row->at), *y = member(b, row->at);

	if (row->kind == CODEC_SCHEMA || row->kind == CODEC_AUTH)
		return;
	if (is_list(row)) {
		assert_lists_equal(row, a, b);
	} else if (row->kind == CODEC_MESSAGE) {
		assert_int_equal(!pointer_at(a, row->at), !pointer_at(b, row->at));
		if (pointer_at(a, row->at))
			assert_equal(row->table, pointer_at(a, row->at), pointer_at(b, row->at));
	} else if (row->kind == CODEC_ID || row->kind == CODEC_TEXT) {
		assert_string_equal(text_at(a, row->at), text_at(b, row->at));
	} else if (row->kind == CODEC_BYTES) {
		assert_int_equal(x->size, y->size);
		if (x->size)
			assert_memory_equal(x->data, y->data, x->size);
	} else {
		size_t size = row->kind == CODEC_FIXED ? row->size : number_size(row);

		assert_memory_equal(x, y, size);
	}
}

static inline void assert_equal(const struct codec_table *t, const void *a, const void *b)
{
	for (size_t i = 0; i < t->row_count; i++)
		assert_rows_equal(&t->rows[i], a, b);
}

// ---- helpers

static inline void *decoded(const struct codec_table *t, struct bytes payload, enum err *e)
{
	void *m = malloc(t->size);

	assert_non_null(m);
	memset(m, 0xa5, t->size);
	arena_reset(&arena);
	*e = codec_decode(t, &arena, payload, m);
	return m;
}

static inline enum err decode_err(const struct codec_table *t, struct bytes payload)
{
	enum err e;

	free(decoded(t, payload, &e));
	return e;
}

// Decodes from memory of exactly this size, so that a sanitizer sees one byte too many.
static inline enum err decode_exact(const struct codec_table *t, struct bytes payload)
{
	uint8_t *copy = malloc(payload.size ? payload.size : 1);

	assert_non_null(copy);
	if (payload.size)
		memcpy(copy, payload.data, payload.size);
	enum err e = decode_err(t, bytes_of(copy, payload.size));
	free(copy);
	return e;
}

static inline void assert_refused(
	const struct codec_table *t, struct bytes payload, enum err want, const char *sentence)
{
	enum err e = decode_exact(t, payload);

	if (e != want || !strstr(err_text(), sentence))
		fail_msg("%s: %s \"%s\", wanted %s \"%s\"", t->name, err_word(e), err_text(),
			err_word(want), sentence);
}

#endif
