// See later.h. A record: its head, the values, the bytes of texts and blobs in their order, up to a
// multiple of eight bytes.
#include "server/db/later.h"

#include <string.h>

struct record {
	const char *sql;
	uint32_t count, size; // values; bytes of the record
};

struct kept {
	uint32_t type, size; // of its bytes
	union {
		int64_t i;
		double r;
	};
};

static bool has_bytes(const struct db_value *v)
{
	return v->type == DB_TEXT || v->type == DB_BLOB;
}

static size_t bytes_begin(size_t count)
{
	return sizeof(struct record) + count * sizeof(struct kept);
}

void later_init(struct later *l, size_t bytes_max)
{
	buf_init(&l->records, bytes_max);
}

void later_fini(struct later *l)
{
	if (l->records.data)
		secret_wipe(l->records.data, l->records.cap);
	buf_fini(&l->records);
}

bool later_add(struct later *l, const char *sql, const struct db_value *values, size_t count)
{
	size_t size = bytes_begin(count), end = size;

	if (count > LATER_VALUES)
		return false;
	for (size_t i = 0; i < count; i++)
		size += has_bytes(&values[i]) ? values[i].b.size : 0;
	size = (size + 7) / 8 * 8;
	if (size > UINT32_MAX || buf_reserve(&l->records, size) != ERR_OK)
		return false;
	uint8_t *at = l->records.data + l->records.size;
	struct record head = {.sql = sql, .count = (uint32_t)count, .size = (uint32_t)size};
	memcpy(at, &head, sizeof(head));
	for (size_t i = 0; i < count; i++) {
		const struct db_value *v = &values[i];
		struct kept k = {.type = v->type, .i = v->i};
		if (v->type == DB_REAL)
			k.r = v->r;
		if (has_bytes(v)) {
			k.size = (uint32_t)v->b.size;
			if (k.size)
				memcpy(at + end, v->b.data, k.size);
			end += k.size;
		}
		memcpy(at + sizeof(head) + i * sizeof(k), &k, sizeof(k));
	}
	memset(at + end, 0, size - end);
	l->records.size += size;
	return true;
}

size_t later_bytes(const struct later *l)
{
	return l->records.size;
}

void later_clear(struct later *l)
{
	l->records.size = 0;
}

void later_swap(struct later *a, struct later *b)
{
	struct later kept = *a;

	*a = *b;
	*b = kept;
}

static enum err record_run(const uint8_t *at, const struct record *head, later_fn fn, void *ctx)
{
	struct db_value values[LATER_VALUES];
	const uint8_t *bytes = at + bytes_begin(head->count);
	struct kept k;

	for (size_t i = 0; i < head->count; i++) {
		memcpy(&k, at + sizeof(*head) + i * sizeof(k), sizeof(k));
		values[i] = (struct db_value){.type = (enum db_type)k.type};
		if (k.type == DB_REAL)
			values[i].r = k.r;
		else if (has_bytes(&values[i]))
			values[i].b = bytes_of(bytes, k.size);
		else
			values[i].i = k.i;
		bytes += k.size;
	}
	return fn(ctx, head->sql, values, head->count);
}

enum err later_run(const struct later *l, later_fn fn, void *ctx)
{
	struct record head;

	for (size_t at = 0; at < l->records.size; at += head.size) {
		memcpy(&head, l->records.data + at, sizeof(head));
		TRY(record_run(l->records.data + at, &head, fn, ctx));
	}
	return ERR_OK;
}
