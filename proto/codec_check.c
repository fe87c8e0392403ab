// Ranges of values, and the bytes of a payload against the rows, before protobuf-c sees them.
//
// The walk goes as deep as the schema, never deeper: the schema has no recursive type. A message
// may be written in one way only where that costs nothing: shortest varints, no field twice.
#include "proto/codec.h"

#include "proto/topics.h"
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// ---- sentences

struct sentence {
	char s[400];
	size_t used;
};

static void PRINTF_LIKE(2, 0)
	sentence_add_va(struct sentence *out, const char *format, va_list args)
{
	size_t room = sizeof(out->s) - out->used;
	int n = vsnprintf(out->s + out->used, room, format, args);

	if (n > 0)
		out->used += (size_t)n < room ? (size_t)n : room - 1;
}

static void PRINTF_LIKE(2, 3) sentence_add(struct sentence *out, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	sentence_add_va(out, format, args);
	va_end(args);
}

enum err codec_refuse(
	const struct codec_path *path, const char *field, enum err e, const char *format, ...)
{
	const struct codec_path *levels[CODEC_DEPTH_MAX];
	struct sentence out = {.used = 0};
	size_t n = 0;
	va_list args;

	for (const struct codec_path *p = path; p && n < CODEC_DEPTH_MAX; p = p->up)
		levels[n++] = p;
	for (size_t i = n; i-- > 0;) {
		sentence_add(&out, "%s%s", i + 1 < n ? "." : "", levels[i]->name);
		if (levels[i]->index != CODEC_NO_INDEX)
			sentence_add(&out, "[%zu]", levels[i]->index);
	}
	sentence_add(&out, "%s%s ", field ? "." : "", field ? field : "");
	va_start(args, format);
	sentence_add_va(&out, format, args);
	va_end(args);
	return err_set(e, "%s", out.s);
}

// ---- values, the same for both directions

enum err codec_check_number(
	const struct codec_path *path, const struct codec_row *row, uint64_t value)
{
	if (value >= row->min && value <= row->max)
		return ERR_OK;
	if (value == 0 && (row->flags & CODEC_OR_ZERO))
		return ERR_OK;
	if (row->kind == CODEC_SCHEMA)
		return codec_refuse(path, row->name, ERR_VERSION, "is %" PRIu64 ", not 1", value);
	if (value == 0 && (row->flags & CODEC_REQUIRED))
		return codec_refuse(path, row->name, ERR_RANGE, "is missing or 0");
	if (row->kind == CODEC_I64 && value > INT64_MAX)
		return codec_refuse(path, row->name, ERR_RANGE, "is %" PRId64 ", at least %" PRIu64,
			(int64_t)value, row->min);
	if (value < row->min)
		return codec_refuse(path, row->name, ERR_RANGE, "is %" PRIu64 ", at least %" PRIu64,
			value, row->min);
	return codec_refuse(
		path, row->name, ERR_RANGE, "is %" PRIu64 ", at most %" PRIu64, value, row->max);
}

enum err codec_check_double(
	const struct codec_path *path, const struct codec_row *row, double value)
{
	if (isfinite(value) && value >= 0 && value <= (double)row->max)
		return ERR_OK;
	return codec_refuse(
		path, row->name, ERR_RANGE, "is %g, from 0 to %" PRIu64, value, row->max);
}

// Length of the UTF-8 character at p, 0 when it is none or a control character.
static size_t character_size(const uint8_t *p, size_t room)
{
	if (p[0] < 0x80)
		return p[0] >= 0x20 && p[0] != 0x7f;
	size_t size = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
	if (size == 0 || size > room)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	bool control = p[0] == 0xc2 && p[1] < 0xa0;
	bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
	bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
	bool beyond = p[0] == 0xf4 && p[1] >= 0x90;
	return control || overlong || surrogate || beyond ? 0 : size;
}

static enum err id_check(
	const struct codec_path *path, const struct codec_row *row, struct bytes text)
{
	char id[LIMIT_ID + 1];

	assert(row->max <= LIMIT_ID && text.size <= row->max);
	memcpy(id, text.data, text.size);
	id[text.size] = '\0';
	if (!id_is_valid(id))
		return codec_refuse(
			path, row->name, ERR_RANGE, "is no id of [A-Za-z0-9._-]{1,%d}", LIMIT_ID);
	return ERR_OK;
}

enum err codec_check_text(
	const struct codec_path *path, const struct codec_row *row, struct bytes text)
{
	if (text.size == 0)
		return codec_check_present(path, row, false);
	if (text.size > row->max)
		return codec_refuse(path, row->name, ERR_RANGE, "has %zu bytes, at most %" PRIu64,
			text.size, row->max);
	if (row->kind == CODEC_ID)
		return id_check(path, row, text);
	for (size_t i = 0, n; i < text.size; i += n) {
		n = character_size(text.data + i, text.size - i);
		if (n == 0)
			return codec_refuse(
				path, row->name, ERR_FORMAT, "is no clean UTF-8 at byte %zu", i);
	}
	return ERR_OK;
}

static bool is_zero(struct bytes b)
{
	for (size_t i = 0; i < b.size; i++) {
		if (b.data[i])
			return false;
	}
	return true;
}

static enum err fixed_check(
	const struct codec_path *path, const struct codec_row *row, struct bytes value)
{
	bool element = row->kind == CODEC_FIXEDS;

	if (value.size != row->size && (value.size || element))
		return codec_refuse(path, row->name, ERR_RANGE, "has %zu bytes, not %zu",
			value.size, row->size);
	if ((element || (row->flags & CODEC_REQUIRED)) && is_zero(value))
		return codec_refuse(path, row->name, ERR_RANGE, "is missing or all zero");
	return ERR_OK;
}

enum err codec_check_bytes(
	const struct codec_path *path, const struct codec_row *row, struct bytes value)
{
	if (row->kind != CODEC_BYTES)
		return fixed_check(path, row, value);
	if (value.size > row->max)
		return codec_refuse(path, row->name, ERR_RANGE, "has %zu bytes, at most %" PRIu64,
			value.size, row->max);
	return codec_check_present(path, row, value.size > 0);
}

enum err codec_check_count(
	const struct codec_path *path, const struct codec_row *row, uint64_t count)
{
	if (count > row->count_max)
		return codec_refuse(path, row->name, ERR_RANGE,
			"has %" PRIu64 " elements, at most %" PRIu64, count, row->count_max);
	return codec_check_present(path, row, count > 0);
}

enum err codec_check_present(
	const struct codec_path *path, const struct codec_row *row, bool present)
{
	if (!present && (row->flags & CODEC_REQUIRED))
		return codec_refuse(path, row->name,
			row->kind == CODEC_SCHEMA ? ERR_VERSION : ERR_RANGE, "is missing");
	return ERR_OK;
}

// ---- bytes

enum wire {
	WIRE_VARINT = 0,
	WIRE_64 = 1,
	WIRE_BYTES = 2,
	WIRE_32 = 5
};

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

static bool take_bytes(struct cursor *c, struct bytes *out)
{
	uint64_t size;

	if (!take_varint(c, &size) || size > cursor_left(c))
		return false;
	*out = bytes_of(c->at, (size_t)size);
	c->at += size;
	return true;
}

static bool skip_value(struct cursor *c, unsigned wire)
{
	struct bytes b;
	uint64_t n;
	size_t fixed = wire == WIRE_64 ? 8 : 4;

	if (wire == WIRE_VARINT)
		return take_varint(c, &n);
	if (wire == WIRE_BYTES)
		return take_bytes(c, &b);
	if ((wire != WIRE_64 && wire != WIRE_32) || cursor_left(c) < fixed)
		return false;
	c->at += fixed;
	return true;
}

// One message of the payload under way.
struct walk {
	const struct codec_table *table;
	struct codec_path path;
	struct cursor cursor;
	bool unknown_allowed;
	struct bytes *received;          // NULL in submessages
	uint32_t counts[CODEC_ROWS_MAX]; // how often each field was seen
};

static enum err walk_message(struct walk *w);

static enum err cut(const struct walk *w, const char *field)
{
	return codec_refuse(&w->path, field, ERR_FORMAT, "is cut short or malformed");
}

static const struct codec_row *row_find(const struct codec_table *t, uint32_t number)
{
	const ProtobufCFieldDescriptor *fields = t->descriptor->fields;

	if (number - 1 < t->row_count && fields[number - 1].id == number)
		return &t->rows[number - 1];
	for (size_t i = t->row_count; i-- > 0 && fields[i].id >= number;) {
		if (fields[i].id == number)
			return &t->rows[i];
	}
	return NULL;
}

static enum err walk_varint(struct walk *w, const struct codec_row *row)
{
	uint64_t value;

	if (!take_varint(&w->cursor, &value))
		return cut(w, row->name);
	return codec_check_number(&w->path, row, value);
}

static enum err walk_double(struct walk *w, const struct codec_row *row)
{
	double value;

	if (cursor_left(&w->cursor) < sizeof(value))
		return cut(w, row->name);
	memcpy(&value, w->cursor.at, sizeof(value));
	w->cursor.at += sizeof(value);
	return codec_check_double(&w->path, row, value);
}

// Numbers of a list, one after the other in one field.
static enum err walk_packed(struct walk *w, const struct codec_row *row, uint32_t *count)
{
	struct bytes value;
	uint64_t number;

	if (!take_bytes(&w->cursor, &value))
		return cut(w, row->name);
	struct cursor c = {value.data, value.data + value.size};
	while (c.at < c.end) {
		if (!take_varint(&c, &number))
			return cut(w, row->name);
		TRY(codec_check_number(&w->path, row, number));
		if (++*count > row->count_max)
			break;
	}
	return codec_check_count(&w->path, row, *count);
}

static enum err walk_submessage(
	struct walk *w, const struct codec_row *row, struct bytes value, size_t index)
{
	struct walk sub = {.table = row->table,
		.path = {&w->path, row->name, index},
		.cursor = {value.data, value.data + value.size},
		.unknown_allowed = w->unknown_allowed};

	if (row->flags & CODEC_SPLICED && value.size > row->max)
		return codec_refuse(&w->path, row->name, ERR_RANGE,
			"has %zu bytes, at most %" PRIu64, value.size, row->max);
	return walk_message(&sub);
}

static enum err walk_bytes(struct walk *w, const struct codec_row *row, size_t index)
{
	struct bytes value;

	if (!take_bytes(&w->cursor, &value))
		return cut(w, row->name);
	if (w->received && (row->flags & CODEC_RECEIVED))
		*w->received = value;
	switch (row->kind) {
	case CODEC_AUTH:
		if (value.size > row->max)
			return codec_refuse(&w->path, row->name, ERR_RANGE,
				"has %zu bytes, at most %" PRIu64, value.size, row->max);
		return ERR_OK;
	case CODEC_ID:
	case CODEC_TEXT:
	case CODEC_TEXTS:
		return codec_check_text(&w->path, row, value);
	case CODEC_FIXED:
	case CODEC_FIXEDS:
	case CODEC_BYTES:
		return codec_check_bytes(&w->path, row, value);
	case CODEC_MESSAGE:
		return walk_submessage(w, row, value, CODEC_NO_INDEX);
	case CODEC_MESSAGES:
		return walk_submessage(w, row, value, index);
	case CODEC_U32S:
	case CODEC_SCHEMA:
	case CODEC_U32:
	case CODEC_U64:
	case CODEC_I64:
	case CODEC_DOUBLE:
	case CODEC_BOOL:
	case CODEC_ENUM:
		break;
	}
	return codec_refuse(&w->path, row->name, ERR_FORMAT, "has another wire type");
}

static bool wire_fits(enum codec_kind kind, unsigned wire)
{
	switch (kind) {
	case CODEC_SCHEMA:
	case CODEC_U32:
	case CODEC_U64:
	case CODEC_I64:
	case CODEC_BOOL:
	case CODEC_ENUM:
		return wire == WIRE_VARINT;
	case CODEC_DOUBLE:
		return wire == WIRE_64;
	case CODEC_U32S:
		return wire == WIRE_BYTES || wire == WIRE_VARINT;
	case CODEC_AUTH:
	case CODEC_ID:
	case CODEC_TEXT:
	case CODEC_FIXED:
	case CODEC_BYTES:
	case CODEC_MESSAGE:
	case CODEC_MESSAGES:
	case CODEC_TEXTS:
	case CODEC_FIXEDS:
		return wire == WIRE_BYTES;
	}
	return false;
}

static enum err walk_row(struct walk *w, const struct codec_row *row, unsigned wire)
{
	uint32_t *count = &w->counts[row - w->table->rows];

	if (!wire_fits(row->kind, wire))
		return codec_refuse(&w->path, row->name, ERR_FORMAT, "has another wire type");
	if (row->kind == CODEC_U32S && wire == WIRE_BYTES)
		return walk_packed(w, row, count);
	*count += 1;
	if (row->kind >= CODEC_MESSAGES)
		TRY(codec_check_count(&w->path, row, *count));
	else if (*count > 1)
		return codec_refuse(&w->path, row->name, ERR_FORMAT, "stands there twice");
	if (wire == WIRE_VARINT)
		return walk_varint(w, row);
	return wire == WIRE_64 ? walk_double(w, row) : walk_bytes(w, row, *count - 1);
}

static enum err walk_field(struct walk *w)
{
	uint64_t key;

	if (!take_varint(&w->cursor, &key) || key > UINT32_MAX || key < 8)
		return cut(w, NULL);
	uint32_t number = (uint32_t)(key >> 3);
	const struct codec_row *row = row_find(w->table, number);
	if (row)
		return walk_row(w, row, key & 7);
	if (!w->unknown_allowed)
		return codec_refuse(
			&w->path, NULL, ERR_FORMAT, "has an unknown field %" PRIu32, number);
	return skip_value(&w->cursor, key & 7) ? ERR_OK : cut(w, NULL);
}

static enum err walk_message(struct walk *w)
{
	const struct codec_table *t = w->table;

	assert(t->row_count <= CODEC_ROWS_MAX);
	while (w->cursor.at < w->cursor.end)
		TRY(walk_field(w));
	for (size_t i = 0; i < t->row_count; i++) {
		if (t->rows[i].flags & CODEC_REQUIRED)
			TRY(codec_check_present(&w->path, &t->rows[i], w->counts[i] > 0));
	}
	return ERR_OK;
}

enum err codec_check_payload(
	const struct codec_table *t, struct bytes payload, struct bytes *received)
{
	struct walk w = {.table = t,
		.path = {NULL, t->name, CODEC_NO_INDEX},
		.cursor = {payload.data, payload.data + payload.size},
		.unknown_allowed = t->unknown_allowed,
		.received = received};

	return walk_message(&w);
}
