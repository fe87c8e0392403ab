// The way out: one walk over the plain struct, from the last field to the first, straight into the
// bytes, from the last to the first. So the length of a submessage is known when it is written, and
// nothing is measured before. What comes out is what protobuf-c would pack; the unit test holds it
// as a witness.
//
// The bytes stand at the end of the room of `out` until all is there, then they move to its front.
#include "proto/codec.h"

#include <assert.h>
#include <string.h>

#define ROOM_FIRST 512

enum wire {
	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2
};

struct encoder {
	struct buf *out;
	size_t size;  // written so far; with `over`: counted only
	size_t limit; // of the whole message, auth not included
	bool over;    // the message is longer
	enum err failed;
};

// ---- bytes, backwards

// Room for n bytes more, when the buffer has none at hand. False: what is written counts only.
static bool encoder_grow(struct encoder *e, size_t n)
{
	struct buf *out = e->out;
	size_t before = out->cap, need = e->size + n;

	if (e->over)
		return false;
	if (need > e->limit) {
		e->over = true;
		return false;
	}
	e->failed =
		buf_reserve(out, need < ROOM_FIRST && out->max >= ROOM_FIRST ? ROOM_FIRST : need);
	if (e->failed != ERR_OK) {
		e->over = true;
		return false;
	}
	if (e->size)
		memmove(out->data + out->cap - e->size, out->data + before - e->size, e->size);
	return true;
}

// Where the next n bytes go, or NULL.
static inline uint8_t *encoder_take(struct encoder *e, size_t n)
{
	bool room = !e->over && n <= e->out->cap - e->size && e->size + n <= e->limit;

	if (__builtin_expect(!room, 0))
		room = encoder_grow(e, n);
	e->size += n;
	return room ? e->out->data + e->out->cap - e->size : NULL;
}

static inline size_t varint_size(uint64_t value)
{
	return (size_t)(70 - __builtin_clzll(value | 1)) / 7;
}

static inline uint8_t *varint_write(uint8_t *to, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*to++ = (uint8_t)(value | 0x80);
	*to++ = (uint8_t)value;
	return to;
}

static void put_varint(struct encoder *e, uint64_t tag, uint64_t value)
{
	uint8_t *to = encoder_take(e, varint_size(tag) + varint_size(value));

	if (to)
		(void)varint_write(varint_write(to, tag), value);
}

static void put_bytes(struct encoder *e, uint64_t tag, struct bytes value)
{
	uint8_t *to = encoder_take(e, varint_size(tag) + varint_size(value.size) + value.size);

	if (!to)
		return;
	to = varint_write(varint_write(to, tag), value.size);
	if (value.size)
		memcpy(to, value.data, value.size);
}

// ---- fields; each writes nothing for what is absent

static inline enum err number_check(
	const struct codec_path *path, const struct codec_row *row, uint64_t value)
{
	if (__builtin_expect(value >= row->min && value <= row->max, 1))
		return ERR_OK;
	return codec_check_number(path, row, value);
}

static enum err put_number(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, uint32_t number, const uint8_t *from)
{
	uint64_t value = 0;
	uint32_t small;

	if (row->kind == CODEC_BOOL) {
		value = from[row->at] != 0;
	} else if (row->kind == CODEC_U32 || row->kind == CODEC_ENUM) {
		memcpy(&small, from + row->at, sizeof(small));
		value = small;
		TRY(number_check(path, row, value));
	} else {
		memcpy(&value, from + row->at, sizeof(value));
		TRY(number_check(path, row, value));
	}
	if (value)
		put_varint(e, (uint64_t)number << 3 | WIRE_VARINT, value);
	return ERR_OK;
}

static enum err put_double(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, uint32_t number, const uint8_t *from)
{
	uint64_t tag = (uint64_t)number << 3 | WIRE_64;
	uint64_t bits;
	double value;

	memcpy(&value, from + row->at, sizeof(value));
	memcpy(&bits, from + row->at, sizeof(bits));
	TRY(codec_check_double(path, row, value));
	if (!(value < 0 || value > 0))
		return ERR_OK;
	uint8_t *to = encoder_take(e, varint_size(tag) + 8);
	if (!to)
		return ERR_OK;
	to = varint_write(to, tag);
	for (int i = 0; i < 8; i++)
		to[i] = (uint8_t)(bits >> 8 * i);
	return ERR_OK;
}

static struct bytes text_bytes(const char *text)
{
	return text ? bytes_of(text, strlen(text)) : bytes_of("", 0);
}

static enum err put_text(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, uint32_t number, const char *text)
{
	struct bytes value = text_bytes(text);

	TRY(codec_check_text(path, row, value));
	if (value.size)
		put_bytes(e, (uint64_t)number << 3 | WIRE_BYTES, value);
	return ERR_OK;
}

static enum err put_data(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, uint32_t number, struct bytes value)
{
	TRY(codec_check_bytes(path, row, value));
	if (value.size)
		put_bytes(e, (uint64_t)number << 3 | WIRE_BYTES, value);
	return ERR_OK;
}

static enum err put_fixed(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, uint32_t number, const uint8_t *value)
{
	TRY(codec_check_bytes(path, row, bytes_of(value, row->size)));
	bool zero = value[0] == 0 && memcmp(value, value + 1, row->size - 1) == 0;
	if (!zero)
		put_bytes(e, (uint64_t)number << 3 | WIRE_BYTES, bytes_of(value, row->size));
	return ERR_OK;
}

static enum err put_message(
	struct encoder *e, struct codec_path *path, const struct codec_table *t, const void *from);

// A submessage and what stands before it: its length and tag.
static enum err put_inner(struct encoder *e, struct codec_path *path, const struct codec_table *t,
	uint32_t number, const void *from)
{
	size_t before = e->size;

	TRY(put_message(e, path, t, from));
	put_varint(e, (uint64_t)number << 3 | WIRE_BYTES, e->size - before);
	return ERR_OK;
}

// Of a spliced one the bytes are there already.
static enum err put_spliced(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, uint32_t number, const uint8_t *from)
{
	const struct bytes *value = (const void *)(from + row->received);

	TRY(codec_check_present(path, row, value->size > 0));
	if (value->size > row->max)
		return codec_refuse(path, row->name, ERR_RANGE, "has %zu bytes, at most %zu",
			value->size, (size_t)row->max);
	put_bytes(e, (uint64_t)number << 3 | WIRE_BYTES, *value);
	return ERR_OK;
}

static enum err put_submessage(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, uint32_t number, const uint8_t *from)
{
	const void *message = *(const void *const *)(const void *)(from + row->at);
	struct codec_path sub = {path, row->name, CODEC_NO_INDEX};

	if (row->flags & CODEC_SPLICED)
		return put_spliced(e, path, row, number, from);
	TRY(codec_check_present(path, row, message != NULL));
	return message ? put_inner(e, &sub, row->table, number, message) : ERR_OK;
}

// ---- lists

// One field with all the numbers in it.
static enum err put_numbers(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, uint32_t number, const uint32_t *list, size_t count)
{
	size_t before = e->size;

	for (size_t i = count; i-- > 0;) {
		TRY(codec_check_number(path, row, list[i]));
		uint8_t *to = encoder_take(e, varint_size(list[i]));
		if (to)
			(void)varint_write(to, list[i]);
	}
	if (count)
		put_varint(e, (uint64_t)number << 3 | WIRE_BYTES, e->size - before);
	return ERR_OK;
}

static enum err put_element(struct encoder *e, struct codec_path *path, const struct codec_row *row,
	uint32_t number, const uint8_t *list, size_t index)
{
	uint64_t tag = (uint64_t)number << 3 | WIRE_BYTES;
	struct codec_path sub = {path, row->name, index};
	struct bytes value;

	if (row->kind == CODEC_MESSAGES)
		return put_inner(e, &sub, row->table, number, list + index * row->size);
	if (row->kind == CODEC_TEXTS) {
		value = text_bytes(((const char *const *)(const void *)list)[index]);
		TRY(codec_check_text(path, row, value));
	} else {
		value = bytes_of(list + index * row->size, row->size);
		TRY(codec_check_bytes(path, row, value));
	}
	put_bytes(e, tag, value);
	return ERR_OK;
}

static enum err put_list(struct encoder *e, struct codec_path *path, const struct codec_row *row,
	uint32_t number, const uint8_t *from)
{
	const void *list;
	size_t count;

	memcpy(&list, from + row->at, sizeof(list));
	memcpy(&count, from + row->count_at, sizeof(count));
	TRY(codec_check_count(path, row, count));
	assert(list || count == 0);
	if (row->kind == CODEC_U32S)
		return put_numbers(e, path, row, number, list, count);
	for (size_t i = count; i-- > 0;)
		TRY(put_element(e, path, row, number, list, i));
	return ERR_OK;
}

// ---- messages

static inline enum err put_row(struct encoder *e, struct codec_path *path,
	const struct codec_row *row, uint32_t number, const uint8_t *from)
{
	const void *value = from + row->at;

	switch (row->kind) {
	case CODEC_SCHEMA:
		put_varint(e, (uint64_t)number << 3 | WIRE_VARINT, 1);
		break;
	case CODEC_AUTH:
	case CODEC_SKIP: // an outline is read, never written
		break;
	case CODEC_U32:
	case CODEC_U64:
	case CODEC_I64:
	case CODEC_BOOL:
	case CODEC_ENUM:
		return put_number(e, path, row, number, from);
	case CODEC_DOUBLE:
		return put_double(e, path, row, number, from);
	case CODEC_ID:
	case CODEC_TEXT:
		return put_text(e, path, row, number, *(const char *const *)value);
	case CODEC_FIXED:
		return put_fixed(e, path, row, number, value);
	case CODEC_BYTES:
		return put_data(e, path, row, number, *(const struct bytes *)value);
	case CODEC_MESSAGE:
		return put_submessage(e, path, row, number, from);
	case CODEC_MESSAGES:
	case CODEC_TEXTS:
	case CODEC_FIXEDS:
	case CODEC_U32S:
		return put_list(e, path, row, number, from);
	}
	return ERR_OK;
}

static enum err put_message(
	struct encoder *e, struct codec_path *path, const struct codec_table *t, const void *from)
{
	for (size_t i = t->row_count; i-- > 0;)
		TRY(put_row(e, path, &t->rows[i], t->descriptor->fields[i].id, from));
	return t->check ? t->check(path, from) : ERR_OK;
}

static enum err encode(struct encoder *e, const struct codec_table *t, const void *message)
{
	struct codec_path path = {NULL, t->name, CODEC_NO_INDEX};

	TRY(put_message(e, &path, t, message));
	TRY(e->failed);
	if (e->over)
		return codec_refuse(
			&path, NULL, ERR_RANGE, "has %zu bytes, at most %zu", e->size, e->limit);
	return ERR_OK;
}

// Clears out first; it holds a whole message or nothing.
enum err codec_encode(const struct codec_table *t, const void *message, struct buf *out)
{
	bool sealed = t->rows[t->row_count - 1].kind == CODEC_AUTH;
	struct encoder e = {.out = out, .limit = t->limit - (sealed ? CODEC_AUTH_BYTES : 0)};

	assert(t->limit > CODEC_AUTH_BYTES);
	buf_clear(out);
	TRY(encode(&e, t, message));
	if (e.size)
		memmove(out->data, out->data + out->cap - e.size, e.size);
	out->size = e.size;
	return ERR_OK;
}
