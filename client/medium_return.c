// See medium_return.h.
#include "client/medium_return.h"

#include "client/medium_file.h"
#include "proto/base/file.h"
#include "proto/envelope.h"
#include "proto/medium.h"

#include <stdio.h>
#include <stdlib.h>

struct writing {
	const struct return_source *source;
	struct ledger_read ledger;
	struct arena arena; // names of one part
	struct shown rows[LIMIT_RETURN_ROWS];
	struct buf payload, envelope;
	struct return_done *done;
};

static enum err part_seal(struct writing *w, const struct medium_return *part)
{
	union {
		const struct sign_key *constant;
		struct sign_key *key;
	} key = {.constant = w->source->key};
	buf_clear(&w->payload);
	buf_clear(&w->envelope);
	TRY(medium_return_encode(part, &w->payload));
	return envelope_make(PURPOSE_MEDIUM_RETURN, buf_bytes(&w->payload),
		(struct sign_key *const[1]){key.key}, 1, &w->envelope);
}

// Behind its length.
static enum err part_write(struct writing *w, int fd)
{
	size_t size = w->envelope.size;
	const uint8_t b[4] = {
		(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16), (uint8_t)(size >> 24)};
	TRY(fd_write_all(fd, b, sizeof b));
	TRY(fd_write_all(fd, w->envelope.data, size));
	w->done->bytes += sizeof b + size;
	return ERR_OK;
}

static size_t rows_next(struct writing *w, size_t max)
{
	bool end;
	arena_reset(&w->arena);
	return ledger_slice(&w->ledger, &w->arena, SIZE_MAX, w->rows, max, &end);
}

// How many rows there are: each part says how many parts there are.
static size_t rows_count(struct writing *w)
{
	size_t count = 0, n;
	while ((n = rows_next(w, LIMIT_RETURN_ROWS)) != 0)
		count += n;
	ledger_rewind(&w->ledger);
	return count;
}

static enum err parts_fill(void *ctx, int fd)
{
	struct writing *w = ctx;
	const struct return_source *s = w->source;
	size_t count = rows_count(w);
	struct medium_return part = {
		.client_id = s->client_id,
		.store_id = s->store_id,
		.written_unix_ms = s->now_unix_ms,
		.clock_quality = s->clock_quality,
		.parts = (uint32_t)(count == 0
					    ? 1
					    : (count + LIMIT_RETURN_ROWS - 1) / LIMIT_RETURN_ROWS),
		.results = s->results,
		.result_count = s->result_count,
		.usage = w->rows,
	};
	for (; part.part < part.parts; part.part++) {
		size_t left = count - w->done->rows;
		part.usage_count =
			rows_next(w, left < LIMIT_RETURN_ROWS ? left : LIMIT_RETURN_ROWS);
		TRY(part_seal(w, &part));
		if (w->done->bytes + w->envelope.size + 4 > MEDIUM_RETURN_MAX) {
			w->done->left_out = true;
			return ERR_OK;
		}
		TRY(part_write(w, fd));
		w->done->rows += part.usage_count;
		part.result_count = 0; // they stand in the first part
	}
	return ERR_OK;
}

enum err return_write(const struct return_source *s, const char *dir, struct return_done *done)
{
	char path[LIMIT_TOPIC];
	struct writing *w = calloc(1, sizeof *w);
	if (w == NULL)
		return err_set(ERR_MEMORY, "no memory for what is told");
	*done = (struct return_done){0};
	*w = (struct writing){.source = s, .done = done};
	buf_init(&w->payload, LIMIT_RETURN);
	buf_init(&w->envelope, LIMIT_RETURN + LIMIT_OFFER);
	arena_init(&w->arena, 1024 * 1024, 4096);
	ledger_begin(&w->ledger, s->display, 0);
	(void)snprintf(path, sizeof path, MEDIUM_RETURN "/%s.bin", s->client_id);
	enum err e = medium_file_put(dir, path, w, parts_fill);
	ledger_end(&w->ledger);
	arena_fini(&w->arena);
	buf_fini(&w->payload);
	buf_fini(&w->envelope);
	free(w);
	return e;
}
