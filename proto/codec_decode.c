// The way in: one walk over received bytes, straight into the plain struct.
//
// The walk goes as deep as the schema, never deeper: the schema has no recursive type. Nothing is
// allocated for what has not been counted and allowed. Varints stand in their shortest form and no
// field stands twice, so that two readers cannot see two messages.
#include "proto/codec.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum wire {
	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2,
	WIRE_32 = 5
};

// ---- bytes

struct cursor {
	const uint8_t *at, *end;
};

static size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

static bool take_long_varint(struct cursor *c, uint64_t *out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70 && c->at < c->end; shift += 7) {
		uint8_t byte = *c->at++;

		if (shift == 63 && byte > 1)
			return false;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*out = value;
			return byte != 0; // a last byte of 0 adds nothing: not the shortest form
		}
	}
	return false;
}

static inline bool take_varint(struct cursor *c, uint64_t *out)
{
	if (c->at < c->end && *c->at < 0x80) {
		*out = *c->at++;
		return true;
	}
	return take_long_varint(c, out);
}

static inline bool take_bytes(struct cursor *c, struct bytes *out)
{
	uint64_t size;

	if (!take_varint(c, &size) || size > cursor_left(c))
		return false;
	*out = (struct bytes){c->at, (size_t)size};
	c->at += size;
	return true;
}

// The number of the next field and its wire type; a tag takes at most 5 bytes.
static inline bool take_tag(struct cursor *c, uint32_t *number, unsigned *wire)
{
	uint64_t tag;

	if (!take_varint(c, &tag) || tag > UINT32_MAX || tag < 8)
		return false;
	*number = (uint32_t)(tag >> 3);
	*wire = tag & 7;
	return true;
}

static bool skip_value(struct cursor *c, unsigned wire)
{
	size_t fixed = wire == WIRE_64 ? 8 : 4;
	struct bytes b;
	uint64_t n;

	if (wire == WIRE_VARINT)
		return take_varint(c, &n);
	if (wire == WIRE_BYTES)
		return take_bytes(c, &b);
	if ((wire != WIRE_64 && wire != WIRE_32) || cursor_left(c) < fixed)
		return false;
	c->at += fixed;
	return true;
}

// ---- memory

// One decode. Its budget lies inside the budget of the arena.
struct decoder {
	struct arena *arena;
	size_t bytes_left, allocations_left;
	const uint8_t *payload_end;
	uint8_t *pool; // where texts and bytes go; made when the first one comes
	bool unknown_allowed;
};

// One message of it.
struct level {
	struct decoder *decoder;
	const struct codec_table *table;
	struct codec_path path;
	struct cursor cursor;
	uint8_t *to;   // the plain struct, zeroed
	uint32_t seen; // bit per row
};

static enum err level_alloc(
	struct level *l, const struct codec_row *row, size_t count, size_t size, void **out)
{
	struct decoder *d = l->decoder;
	size_t total;

	*out = NULL;
	if (!__builtin_mul_overflow(count, size, &total) && total <= d->bytes_left &&
		d->allocations_left > 0)
		*out = arena_alloc(d->arena, total);
	if (!*out)
		return codec_refuse(&l->path, row->name, ERR_FULL, "needs too much memory");
	d->bytes_left -= total;
	d->allocations_left--;
	return ERR_OK;
}

// A copy with a NUL behind it. What follows in the payload always fits the pool: every further text
// brings a tag and a length, two bytes or more, and needs one for its NUL.
static enum err pool_copy(
	struct level *l, const struct codec_row *row, struct bytes value, const uint8_t **out)
{
	struct decoder *d = l->decoder;
	void *pool;

	if (!d->pool) {
		TRY(level_alloc(l, row, (size_t)(d->payload_end - value.data) + 1, 1, &pool));
		d->pool = pool;
	}
	*out = d->pool;
	memcpy(d->pool, value.data, value.size);
	d->pool += value.size;
	*d->pool++ = '\0';
	return ERR_OK;
}

static enum err cut(const struct level *l, const char *field)
{
	return codec_refuse(&l->path, field, ERR_FORMAT, "is cut short or malformed");
}

// ---- lists

// Elements of a packed list: every varint has one byte without the high bit.
static uint64_t packed_count(struct bytes b)
{
	uint64_t count = 0;

	for (size_t i = 0; i < b.size; i++)
		count += b.data[i] < 0x80;
	return count;
}

// How many elements of a list stand in the rest of the message, its first value included. Where
// this stops at malformed bytes, so will the walk.
static uint64_t elements_ahead(
	struct cursor c, const struct codec_row *row, uint32_t number, unsigned wire)
{
	uint64_t count = 0;
	uint32_t next = number;
	struct bytes value;

	do {
		bool packed = row->kind == CODEC_U32S && wire == WIRE_BYTES && next == number;

		if (packed && !take_bytes(&c, &value))
			break;
		if (next == number)
			count += packed ? packed_count(value) : 1;
		if (!packed && !skip_value(&c, wire))
			break;
	} while (take_tag(&c, &next, &wire));
	return count;
}

static size_t element_size(const struct codec_row *row)
{
	if (row->kind == CODEC_TEXTS)
		return sizeof(char *);
	return row->kind == CODEC_U32S ? sizeof(uint32_t) : row->size;
}

static enum err list_begin(
	struct level *l, const struct codec_row *row, uint32_t number, unsigned wire)
{
	uint64_t count = elements_ahead(l->cursor, row, number, wire);
	void *list = NULL;

	TRY(codec_check_count(&l->path, row, count));
	if (count > 0)
		TRY(level_alloc(l, row, (size_t)count, element_size(row), &list));
	memcpy(l->to + row->at, &list, sizeof(list));
	return ERR_OK;
}

// The place of the next element; list_begin made room for all of them.
static uint8_t *list_next(struct level *l, const struct codec_row *row)
{
	size_t *count = (size_t *)(void *)(l->to + row->count_at);
	uint8_t *list;

	memcpy(&list, l->to + row->at, sizeof(list));
	return list + (*count)++ * element_size(row);
}

// ---- values

static enum err decode_level(struct level *l);

static inline enum err number_check(struct level *l, const struct codec_row *row, uint64_t value)
{
	if (__builtin_expect(value >= row->min && value <= row->max, 1))
		return ERR_OK;
	return codec_check_number(&l->path, row, value);
}

static enum err decode_varint(struct level *l, const struct codec_row *row)
{
	uint64_t value;

	if (!take_varint(&l->cursor, &value))
		return cut(l, row->name);
	TRY(number_check(l, row, value));
	uint32_t small = (uint32_t)value;
	if (row->kind == CODEC_U32S)
		memcpy(list_next(l, row), &small, sizeof(small));
	else if (row->kind == CODEC_BOOL)
		l->to[row->at] = value != 0;
	else if (row->kind == CODEC_U32 || row->kind == CODEC_ENUM)
		memcpy(l->to + row->at, &small, sizeof(small));
	else if (row->kind != CODEC_SCHEMA)
		memcpy(l->to + row->at, &value, sizeof(value));
	return ERR_OK;
}

static enum err decode_double(struct level *l, const struct codec_row *row)
{
	double value;

	if (cursor_left(&l->cursor) < sizeof(value))
		return cut(l, row->name);
	memcpy(&value, l->cursor.at, sizeof(value));
	l->cursor.at += sizeof(value);
	memcpy(l->to + row->at, &value, sizeof(value));
	return codec_check_double(&l->path, row, value);
}

static enum err decode_packed(struct level *l, const struct codec_row *row, struct bytes value)
{
	struct cursor c = {value.data, value.data + value.size};
	uint64_t number;

	while (c.at < c.end) {
		if (!take_varint(&c, &number))
			return cut(l, row->name);
		TRY(number_check(l, row, number));
		uint32_t small = (uint32_t)number;
		memcpy(list_next(l, row), &small, sizeof(small));
	}
	return ERR_OK;
}

static enum err decode_text(
	struct level *l, const struct codec_row *row, struct bytes value, uint8_t *slot)
{
	const uint8_t *copy;

	TRY(codec_check_text(&l->path, row, value));
	TRY(pool_copy(l, row, value, &copy));
	memcpy(slot, &copy, sizeof(copy));
	return ERR_OK;
}

static enum err decode_fixed(
	struct level *l, const struct codec_row *row, struct bytes value, uint8_t *slot)
{
	TRY(codec_check_bytes(&l->path, row, value));
	if (value.size > 0)
		memcpy(slot, value.data, row->size);
	return ERR_OK;
}

static enum err decode_bytes(struct level *l, const struct codec_row *row, struct bytes value)
{
	TRY(codec_check_bytes(&l->path, row, value));
	if (row->flags & CODEC_RECEIVED)
		return ERR_OK;
	if (value.size > 0)
		TRY(pool_copy(l, row, value, &value.data));
	memcpy(l->to + row->at, &value, sizeof(value));
	return ERR_OK;
}

static enum err decode_submessage(
	struct level *l, const struct codec_row *row, struct bytes value, void *to, size_t index)
{
	struct level sub = {.decoder = l->decoder,
		.table = row->table,
		.path = {&l->path, row->name, index},
		.cursor = {value.data, value.data + value.size},
		.to = to};

	return decode_level(&sub);
}

static enum err decode_message(struct level *l, const struct codec_row *row, struct bytes value)
{
	void *to;

	if ((row->flags & CODEC_SPLICED) && value.size > row->max)
		return codec_refuse(&l->path, row->name, ERR_RANGE,
			"has %zu bytes, at most %" PRIu64, value.size, row->max);
	TRY(level_alloc(l, row, 1, row->size, &to));
	memcpy(l->to + row->at, &to, sizeof(to));
	return decode_submessage(l, row, value, to, CODEC_NO_INDEX);
}

static enum err decode_element(struct level *l, const struct codec_row *row, struct bytes value)
{
	size_t index;

	memcpy(&index, l->to + row->count_at, sizeof(index));
	return decode_submessage(l, row, value, list_next(l, row), index);
}

static enum err decode_value(struct level *l, const struct codec_row *row, struct bytes value)
{
	switch (row->kind) {
	case CODEC_AUTH:
		return codec_check_bytes(&l->path, row, value);
	case CODEC_ID:
	case CODEC_TEXT:
		return decode_text(l, row, value, l->to + row->at);
	case CODEC_TEXTS:
		return decode_text(l, row, value, list_next(l, row));
	case CODEC_FIXED:
		return decode_fixed(l, row, value, l->to + row->at);
	case CODEC_FIXEDS:
		return decode_fixed(l, row, value, list_next(l, row));
	case CODEC_BYTES:
		return decode_bytes(l, row, value);
	case CODEC_MESSAGE:
		return decode_message(l, row, value);
	case CODEC_MESSAGES:
		return decode_element(l, row, value);
	case CODEC_SKIP:
		return ERR_OK;
	case CODEC_U32S:
		return decode_packed(l, row, value);
	case CODEC_SCHEMA:
	case CODEC_U32:
	case CODEC_U64:
	case CODEC_I64:
	case CODEC_DOUBLE:
	case CODEC_BOOL:
	case CODEC_ENUM:
		break;
	}
	return cut(l, row->name);
}

// ---- fields

// How a kind stands on the wire. U32S may also come as single varints: a reader must take both.
static const uint8_t wires[] = {[CODEC_SCHEMA] = WIRE_VARINT,
	[CODEC_AUTH] = WIRE_BYTES,
	[CODEC_U32] = WIRE_VARINT,
	[CODEC_U64] = WIRE_VARINT,
	[CODEC_I64] = WIRE_VARINT,
	[CODEC_DOUBLE] = WIRE_64,
	[CODEC_BOOL] = WIRE_VARINT,
	[CODEC_ENUM] = WIRE_VARINT,
	[CODEC_ID] = WIRE_BYTES,
	[CODEC_TEXT] = WIRE_BYTES,
	[CODEC_FIXED] = WIRE_BYTES,
	[CODEC_BYTES] = WIRE_BYTES,
	[CODEC_MESSAGE] = WIRE_BYTES,
	[CODEC_SKIP] = WIRE_BYTES,
	[CODEC_MESSAGES] = WIRE_BYTES,
	[CODEC_TEXTS] = WIRE_BYTES,
	[CODEC_FIXEDS] = WIRE_BYTES,
	[CODEC_U32S] = WIRE_BYTES};

static inline bool wire_fits(const struct codec_row *row, unsigned wire)
{
	return wire == wires[row->kind] || (row->kind == CODEC_U32S && wire == WIRE_VARINT);
}

// The row of a field, row_count when there is none. Most fields are numbered without a gap.
static inline size_t row_find(const struct codec_table *t, uint32_t number)
{
	const ProtobufCFieldDescriptor *fields = t->descriptor->fields;

	if (__builtin_expect(number <= t->row_count && fields[number - 1].id == number, 1))
		return number - 1;
	for (size_t i = t->row_count; i-- > 0 && fields[i].id >= number;) {
		if (fields[i].id == number)
			return i;
	}
	return t->row_count;
}

static enum err decode_row(struct level *l, size_t index, uint32_t number, unsigned wire)
{
	const struct codec_row *row = &l->table->rows[index];
	bool again = l->seen >> index & 1, list = row->kind >= CODEC_MESSAGES;
	struct bytes value;

	if (!wire_fits(row, wire))
		return codec_refuse(&l->path, row->name, ERR_FORMAT, "has another wire type");
	if (again && !list)
		return codec_refuse(&l->path, row->name, ERR_FORMAT, "stands there twice");
	if (list && !again)
		TRY(list_begin(l, row, number, wire));
	l->seen |= UINT32_C(1) << index;
	if (wire == WIRE_VARINT)
		return decode_varint(l, row);
	if (wire == WIRE_64)
		return decode_double(l, row);
	if (!take_bytes(&l->cursor, &value))
		return cut(l, row->name);
	if (row->flags & CODEC_RECEIVED)
		memcpy(l->to + row->received, &value, sizeof(value));
	return decode_value(l, row, value);
}

static enum err decode_field(struct level *l)
{
	uint32_t number;
	unsigned wire;

	if (!take_tag(&l->cursor, &number, &wire))
		return cut(l, NULL);
	size_t index = row_find(l->table, number);
	if (index < l->table->row_count)
		return decode_row(l, index, number, wire);
	if (!l->decoder->unknown_allowed)
		return codec_refuse(
			&l->path, NULL, ERR_FORMAT, "has an unknown field %" PRIu32, number);
	return skip_value(&l->cursor, wire) ? ERR_OK : cut(l, NULL);
}

// What did not come: refused, or the empty text.
static enum err decode_absent(struct level *l)
{
	static const char *const empty = "";

	uint32_t absent = ~l->seen & ((UINT32_C(1) << l->table->row_count) - 1);

	for (; absent; absent &= absent - 1) {
		const struct codec_row *row = &l->table->rows[__builtin_ctz(absent)];

		if (row->flags & CODEC_REQUIRED)
			return codec_check_present(&l->path, row, false);
		if (row->kind == CODEC_ID || row->kind == CODEC_TEXT)
			memcpy(l->to + row->at, &empty, sizeof(empty));
	}
	return ERR_OK;
}

static enum err decode_level(struct level *l)
{
	const struct codec_table *t = l->table;

	assert(t->row_count <= CODEC_ROWS_MAX);
	while (l->cursor.at < l->cursor.end)
		TRY(decode_field(l));
	TRY(decode_absent(l));
	return t->check ? t->check(&l->path, l->to) : ERR_OK;
}

static enum err decode_payload(
	const struct codec_table *t, struct decoder *d, struct bytes payload, uint8_t *message)
{
	struct level l = {.decoder = d,
		.table = t,
		.path = {NULL, t->name, CODEC_NO_INDEX},
		.cursor = {payload.data, payload.data + payload.size},
		.to = message};

	if (payload.size == 0)
		return codec_refuse(&l.path, NULL, ERR_FORMAT, "is empty");
	if (payload.size > t->limit)
		return codec_refuse(&l.path, NULL, ERR_RANGE, "has %zu bytes, at most %zu",
			payload.size, t->limit);
	return decode_level(&l);
}

enum err codec_decode(
	const struct codec_table *t, struct arena *a, struct bytes payload, void *message)
{
	size_t factor = t->factor ? t->factor : 8;
	struct decoder d = {.arena = a,
		.bytes_left =
			64 * 1024 + factor * (payload.size < t->limit ? payload.size : t->limit),
		.allocations_left = t->allocations ? t->allocations : 4096,
		.payload_end = payload.data + payload.size,
		.unknown_allowed = t->unknown_allowed};

	assert(t->limit > 0);
	memset(message, 0, t->size);
	enum err e = decode_payload(t, &d, payload, message);
	if (e != ERR_OK)
		memset(message, 0, t->size);
	return e;
}
