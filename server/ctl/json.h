// JSON at the edge: answers of the server and of the publisher come in, documents for scripts go
// out. cJSON keeps numbers as double, so integers of more than 15 digits are turned into strings
// before it sees them; what is handed on to scripts are the bytes that came, made safe.
#ifndef HELIO_CTL_JSON_H
#define HELIO_CTL_JSON_H

#include "proto/base/mem.h"
#include <cjson/cJSON.h>
#include <stdio.h>

// Errors: ERR_FORMAT. *out is freed with cJSON_Delete.
enum err json_parse(struct bytes text, cJSON **out) MUST_CHECK;

// "" when absent or of another type; numbers kept as string count as text too.
const char *json_text(const cJSON *object, const char *key);
double json_number(const cJSON *object, const char *key);
uint64_t json_u64(const cJSON *object, const char *key);
bool json_bool(const cJSON *object, const char *key);

void json_add_u64(cJSON *object, const char *key, uint64_t value);
void json_add_i64(cJSON *object, const char *key, int64_t value);
void json_add_hex(cJSON *object, const char *key, const void *data, size_t size);

// One document and a newline. Whatever could harm a terminal inside strings is written as \uNNNN,
// which means the same to every reader of JSON.
void json_print_bytes(FILE *to, struct bytes text);
void json_print(FILE *to, const cJSON *document, bool indented);

static inline void json_scope(cJSON **j)
{
	cJSON_Delete(*j);
}
#define SCOPED_JSON __attribute__((cleanup(json_scope)))

#endif
