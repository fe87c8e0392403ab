// The way out: one walk over the plain struct, straight into bytes, in the order of the field
// numbers and in the shortest form: what protobuf-c would pack (a test compares). What proto3 takes
// for absent (0, nothing) is not written.
#include "proto/codec.h"

#include <assert.h>
#include <string.h>

#define VARINT_MAX 10

enum wire {
	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2
};

// One encode. Above the limit nothing is written any more, only counted: the sentence names the
// size.
struct writer {
	struct buf *out;
	size_t size, limit;
};

// ---- bytes

static size_t varint_put(uint8_t *at, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		at[n++] = (uint8_t)(value | 0x80);
	at[n++] = (uint8_t)value;
	return n;
}

static size_t varint_size(uint64_t value)
{
	return (size_t)(9 * (64 - __builtin_clzll(value | 1)) + 64) / 64;
}

// Room for `more` bytes, or NULL while only counting.
static inline enum err room(struct writer *w, size_t more, uint8_t **at)
{
	struct buf *b = w->out;

	*at = NULL;
	if (more > w->limit || w->size > w->limit - more)
		return ERR_OK;
	b->size = w->size;
	if (!b->data || more > b->cap - b->size)
		TRY(buf_reserve(b, more));
	*at = b->data + b->size;
	return ERR_OK;
}

static enum err put(struct writer *w, const void *data, size_t size)
{
	uint8_t *at;

	TRY(room(w, size, &at));
	if (at && size)
		memcpy(at, data, size);
	w->size += size;
	return ERR_OK;
}

static enum err put_number(struct writer *w, uint32_t field, uint64_t value)
{
	uint8_t bytes[2 * VARINT_MAX];
	size_t n;

	if (value == 0)
		return ERR_OK;
	n = varint_put(bytes, (uint64_t)field << 3 | WIRE_VARINT);
	n += varint_put(bytes + n, value);
	return put(w, bytes, n);
}

static enum err put_bytes(struct writer *w, uint32_t field, struct bytes value)
{
	uint8_t head[2 * VARINT_MAX];
	size_t n = varint_put(head, (uint64_t)field << 3 | WIRE_BYTES);

	n += varint_put(head + n, value.size);
	TRY(put(w, head, n));
	return put(w, value.data, value.size);
}

// ---- values

static enum err write_level(struct writer *w, const struct codec_path *path,
	const struct codec_table *t, const void *from);

static inline enum err number_check(
	const struct codec_path *path, const struct codec_row *row, uint64_t value)
{
	if (__builtin_expect(value >= row->min && value <= row->max, 1))
		return ERR_OK;
	return codec_check_number(path, row, value);
}

static enum err write_number(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const uint8_t *from)
{
	uint64_t value = 0;
	uint32_t small;

	if (row->kind == CODEC_BOOL)
		return put_number(w, field, from[row->at] != 0);
	if (row->kind == CODEC_U32 || row->kind == CODEC_ENUM) {
		memcpy(&small, from + row->at, sizeof(small));
		value = small;
	} else {
		memcpy(&value, from + row->at, sizeof(value));
	}
	TRY(number_check(path, row, value));
	return put_number(w, field, value);
}

static enum err write_double(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const uint8_t *from)
{
	uint8_t bytes[VARINT_MAX + 8];
	double value;

	memcpy(&value, from + row->at, sizeof(value));
	TRY(codec_check_double(path, row, value));
	if (value == 0)
		return ERR_OK;
	size_t n = varint_put(bytes, (uint64_t)field << 3 | WIRE_64);
	memcpy(bytes + n, &value, sizeof(value));
	return put(w, bytes, n + sizeof(value));
}

static enum err write_text(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const char *text)
{
	struct bytes value = text ? bytes_of(text, strlen(text)) : bytes_of("", 0);

	TRY(codec_check_text(path, row, value));
	return value.size ? put_bytes(w, field, value) : ERR_OK;
}

static enum err write_bytes(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, struct bytes value)
{
	TRY(codec_check_bytes(path, row, value));
	return value.size ? put_bytes(w, field, value) : ERR_OK;
}

static enum err write_fixed(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const uint8_t *value)
{
	TRY(codec_check_bytes(path, row, bytes_of(value, row->size)));
	bool zero = value[0] == 0 && memcmp(value, value + 1, row->size - 1) == 0;
	return zero ? ERR_OK : put_bytes(w, field, bytes_of(value, row->size));
}

// Most messages inside of messages are shorter than 128 bytes: one byte is left for the length, and
// the others move up.
static enum err write_message(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const void *from)
{
	uint8_t head[2 * VARINT_MAX];
	size_t n = varint_put(head, (uint64_t)field << 3 | WIRE_BYTES);

	head[n] = 0;
	TRY(put(w, head, n + 1));
	size_t begin = w->size;
	TRY(write_level(w, path, row->table, from));
	size_t size = w->size - begin, more = varint_size(size) - 1;
	uint8_t *at;
	TRY(room(w, more, &at));
	w->size += more;
	if (!at)
		return ERR_OK;
	at = w->out->data + begin;
	if (more)
		memmove(at + more, at, size);
	(void)varint_put(at - 1, size);
	return ERR_OK;
}

static enum err write_submessage(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const void *from)
{
	struct codec_path sub = {path, row->name, CODEC_NO_INDEX};

	TRY(codec_check_present(path, row, from != NULL));
	return from ? write_message(w, &sub, row, field, from) : ERR_OK;
}

// ---- lists

static enum err write_u32s(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const uint32_t *list, size_t count)
{
	uint8_t bytes[2 * VARINT_MAX];
	size_t size = 0;

	for (size_t i = 0; i < count; i++) {
		TRY(codec_check_number(path, row, list[i]));
		size += varint_size(list[i]);
	}
	if (count == 0)
		return ERR_OK;
	size_t n = varint_put(bytes, (uint64_t)field << 3 | WIRE_BYTES);
	n += varint_put(bytes + n, size);
	TRY(put(w, bytes, n));
	for (size_t i = 0; i < count; i++)
		TRY(put(w, bytes, varint_put(bytes, list[i])));
	return ERR_OK;
}

static enum err write_element(struct writer *w, const struct codec_path *path, size_t index,
	const struct codec_row *row, uint32_t field, const uint8_t *list)
{
	if (row->kind == CODEC_MESSAGES) {
		struct codec_path sub = {path, row->name, index};
		return write_message(w, &sub, row, field, list + index * row->size);
	}
	struct bytes value = bytes_of(list + index * row->size, row->size);
	if (row->kind == CODEC_TEXTS) {
		const char *text = ((const char *const *)(const void *)list)[index];
		value = text ? bytes_of(text, strlen(text)) : bytes_of("", 0);
		TRY(codec_check_text(path, row, value));
	} else {
		TRY(codec_check_bytes(path, row, value));
	}
	return put_bytes(w, field, value);
}

static enum err write_list(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const uint8_t *from)
{
	const void *list;
	size_t count;

	memcpy(&list, from + row->at, sizeof(list));
	memcpy(&count, from + row->count_at, sizeof(count));
	TRY(codec_check_count(path, row, count));
	assert(list || count == 0);
	if (row->kind == CODEC_U32S)
		return write_u32s(w, path, row, field, list, count);
	for (size_t i = 0; i < count; i++)
		TRY(write_element(w, path, i, row, field, list));
	return ERR_OK;
}

// ---- messages

// A submessage that is already encoded: the last field before auth.
static enum err write_spliced(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const uint8_t *from)
{
	const struct bytes *value = (const void *)(from + row->received);

	TRY(codec_check_present(path, row, value->size > 0));
	if (value->size > row->max)
		return codec_refuse(path, row->name, ERR_RANGE, "has %zu bytes, at most %zu",
			value->size, (size_t)row->max);
	return put_bytes(w, field, *value);
}

static enum err write_row(struct writer *w, const struct codec_path *path,
	const struct codec_row *row, uint32_t field, const uint8_t *from)
{
	const void *value = from + row->at;

	switch (row->kind) {
	case CODEC_SCHEMA:
		return put_number(w, field, 1);
	case CODEC_AUTH:
	case CODEC_SKIP: // an outline is read, never written
		return ERR_OK;
	case CODEC_U32:
	case CODEC_U64:
	case CODEC_I64:
	case CODEC_BOOL:
	case CODEC_ENUM:
		return write_number(w, path, row, field, from);
	case CODEC_DOUBLE:
		return write_double(w, path, row, field, from);
	case CODEC_ID:
	case CODEC_TEXT:
		return write_text(w, path, row, field, *(const char *const *)value);
	case CODEC_FIXED:
		return write_fixed(w, path, row, field, value);
	case CODEC_BYTES:
		return write_bytes(w, path, row, field, *(const struct bytes *)value);
	case CODEC_MESSAGE:
		if (row->flags & CODEC_SPLICED)
			return write_spliced(w, path, row, field, from);
		return write_submessage(w, path, row, field, *(const void *const *)value);
	case CODEC_MESSAGES:
	case CODEC_TEXTS:
	case CODEC_FIXEDS:
	case CODEC_U32S:
		return write_list(w, path, row, field, from);
	}
	return ERR_OK;
}

static enum err write_level(struct writer *w, const struct codec_path *path,
	const struct codec_table *t, const void *from)
{
	for (size_t i = 0; i < t->row_count; i++)
		TRY(write_row(w, path, &t->rows[i], t->descriptor->fields[i].id, from));
	return t->check ? t->check(path, from) : ERR_OK;
}

static enum err encode(const struct codec_table *t, const void *message, struct buf *out)
{
	struct codec_path path = {NULL, t->name, CODEC_NO_INDEX};
	bool sealed = t->rows[t->row_count - 1].kind == CODEC_AUTH;
	struct writer w = {.out = out, .limit = t->limit - (sealed ? CODEC_AUTH_BYTES : 0)};

	assert(t->limit > CODEC_AUTH_BYTES);
	TRY(write_level(&w, &path, t, message));
	if (w.size > w.limit)
		return codec_refuse(
			&path, NULL, ERR_RANGE, "has %zu bytes, at most %zu", w.size, w.limit);
	out->size = w.size;
	return ERR_OK;
}

// Clears out first; it holds a whole message or nothing.
enum err codec_encode(const struct codec_table *t, const void *message, struct buf *out)
{
	buf_clear(out);
	enum err result = encode(t, message, out);
	if (result != ERR_OK)
		buf_clear(out);
	return result;
}
