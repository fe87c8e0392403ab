// How a field of a message becomes a member of a JSON object. Absent values are left out, so that
// the line stays short; `j` is the object at hand, `m` the message.
#ifndef HELIO_CTL_DECODE_FIELDS_H
#define HELIO_CTL_DECODE_FIELDS_H

#include "server/ctl/json.h"
#include <string.h>

static inline void field_text(cJSON *j, const char *key, const char *value)
{
	if (value && *value)
		cJSON_AddStringToObject(j, key, value);
}

static inline void field_u64(cJSON *j, const char *key, uint64_t value)
{
	if (value != 0)
		json_add_u64(j, key, value);
}

static inline void field_i64(cJSON *j, const char *key, int64_t value)
{
	if (value != 0)
		json_add_i64(j, key, value);
}

static inline void field_flag(cJSON *j, const char *key, bool value)
{
	cJSON_AddBoolToObject(j, key, value);
}

static inline void field_hex(cJSON *j, const char *key, const void *data, size_t size)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++) {
		if (p[i] != 0) {
			json_add_hex(j, key, data, size);
			return;
		}
	}
}

#define TEXT(name) field_text(j, #name, m->name)
#define NUMBER(name) field_u64(j, #name, m->name)
#define TIME(name) field_i64(j, #name, m->name)
#define FLAG(name) field_flag(j, #name, m->name)
#define FIXED(name) field_hex(j, #name, m->name.b, sizeof(m->name.b))
#define WORD(name, word_of) field_text(j, #name, m->name ? word_of(m->name) : "")
// A part that may be absent.
#define PART(name, write)                                                                          \
	do {                                                                                       \
		if (m->name)                                                                       \
			write(cJSON_AddObjectToObject(j, #name), m->name);                         \
	} while (0)
// A list of parts: `items` and its count.
#define LIST(name, items, count, write)                                                            \
	do {                                                                                       \
		cJSON *list_ = m->count > 0 ? cJSON_AddArrayToObject(j, name) : NULL;              \
		for (size_t i_ = 0; i_ < m->count; i_++) {                                         \
			cJSON *one_ = cJSON_CreateObject();                                        \
			cJSON_AddItemToArray(list_, one_);                                         \
			write(one_, &m->items[i_]);                                                \
		}                                                                                  \
	} while (0)
#define DIGESTS(name, items, count)                                                                \
	do {                                                                                       \
		cJSON *list_ = m->count > 0 ? cJSON_AddArrayToObject(j, name) : NULL;              \
		for (size_t i_ = 0; i_ < m->count; i_++) {                                         \
			char hex_[2 * sizeof(m->items[i_].b) + 1];                                 \
			hex_encode(m->items[i_].b, sizeof(m->items[i_].b), hex_);                  \
			cJSON_AddItemToArray(list_, cJSON_CreateString(hex_));                     \
		}                                                                                  \
	} while (0)
#define TEXTS(name, items, count)                                                                  \
	do {                                                                                       \
		cJSON *list_ = m->count > 0 ? cJSON_AddArrayToObject(j, name) : NULL;              \
		for (size_t i_ = 0; i_ < m->count; i_++)                                           \
			cJSON_AddItemToArray(list_, cJSON_CreateString(m->items[i_]));             \
	} while (0)

#endif
