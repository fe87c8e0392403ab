// See medium_return.h.
#include "client/medium_return.h"

#include "client/medium_file.h"
#include "proto/envelope.h"
#include "proto/medium.h"

#include <stdio.h>

#define USAGE_ROWS_MAX 40000

static enum err length_add(struct buf *out, size_t size)
{
	uint8_t b[4] = {
		(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16), (uint8_t)(size >> 24)};
	return buf_append(out, b, sizeof b);
}

static enum err part_add(
	const struct return_source *s, const struct medium_return *part, struct buf *out)
{
	SCOPED_BUF struct buf payload, envelope;
	union {
		const struct sign_key *constant;
		struct sign_key *key;
	} key = {.constant = s->key};
	buf_init(&payload, LIMIT_RETURN);
	buf_init(&envelope, LIMIT_RETURN + LIMIT_OFFER);
	TRY(medium_return_encode(part, &payload));
	TRY(envelope_make(PURPOSE_MEDIUM_RETURN, buf_bytes(&payload),
		(struct sign_key *const[1]){key.key}, 1, &envelope));
	TRY(length_add(out, envelope.size));
	return buf_append(out, envelope.data, envelope.size);
}

static enum err parts_add(
	const struct return_source *s, struct shown *rows, size_t count, struct buf *out)
{
	size_t parts = count == 0 ? 1 : (count + LIMIT_RETURN_ROWS - 1) / LIMIT_RETURN_ROWS;
	struct medium_return part = {
		.client_id = s->client_id,
		.store_id = s->store_id,
		.written_unix_ms = s->now_unix_ms,
		.clock_quality = s->clock_quality,
		.parts = (uint32_t)parts,
		.results = s->results,
		.result_count = s->result_count,
	};
	for (size_t i = 0; i < parts; i++) {
		size_t at = i * LIMIT_RETURN_ROWS;
		part.part = (uint32_t)i;
		part.usage = rows + at;
		part.usage_count = count - at < LIMIT_RETURN_ROWS ? count - at : LIMIT_RETURN_ROWS;
		TRY(part_add(s, &part, out));
		part.result_count = 0; // they stand in the first part
	}
	return ERR_OK;
}

enum err return_make(const struct return_source *s, struct buf *out, size_t *rows)
{
	SCOPED_ARENA struct arena a;
	struct shown *usage = NULL;
	size_t count = 0;
	arena_init(&a, 32 * 1024 * 1024, USAGE_ROWS_MAX * 2);
	display_usage(s->display, &a, 0, USAGE_ROWS_MAX, &usage, &count);
	*rows = count;
	buf_clear(out);
	return parts_add(s, usage, count, out);
}

enum err return_write(const char *dir, const char *client_id, struct bytes bytes)
{
	char path[LIMIT_TOPIC];
	(void)snprintf(path, sizeof path, MEDIUM_RETURN "/%s.bin", client_id);
	return medium_file_write(dir, path, bytes);
}
