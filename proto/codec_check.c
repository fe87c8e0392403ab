// The range of every value, and the sentence that says which one is outside.
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

// Eight bytes at once: each of 0x20 to 0x7e. A byte below or 0x7f carries into its highest bit.
static bool all_printable(const uint8_t *p)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return !((word | ((word & ~high) + ones) | ~((word & ~high) + ones * 0x60)) & high);
}

static size_t printable_size(struct bytes text)
{
	size_t size = 0;

	while (text.size - size >= sizeof(uint64_t) && all_printable(text.data + size))
		size += sizeof(uint64_t);
	return size;
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
	for (size_t i = printable_size(text), n; i < text.size; i += n) {
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
		return codec_refuse(
			path, row->name, ERR_RANGE, "has %zu bytes, not %d", value.size, row->size);
	if ((element || (row->flags & CODEC_REQUIRED)) && is_zero(value))
		return codec_refuse(path, row->name, ERR_RANGE, "is missing or all zero");
	return ERR_OK;
}

enum err codec_check_bytes(
	const struct codec_path *path, const struct codec_row *row, struct bytes value)
{
	if (row->kind == CODEC_FIXED || row->kind == CODEC_FIXEDS)
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
			"has %" PRIu64 " elements, at most %" PRIu32, count, row->count_max);
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
