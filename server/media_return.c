// See media_return.h.
#include "server/media_return.h"

#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/envelope.h"
#include "server/db/rows.h"
#include "server/usage_take.h"
#include <inttypes.h>
#include <stdio.h>

static enum err part_open(struct media *m, const char *client, struct bytes envelope,
	struct arena *a, struct medium_return *out)
{
	struct key32 key;
	struct bytes payload;

	TRY(core_principal_key(m->core, client, ROLE_CLIENT, &key));
	TRY(envelope_open(PURPOSE_MEDIUM_RETURN, envelope, &key, 1, 1, &payload));
	TRY(medium_return_decode(a, payload, out));
	if (strcmp(out->client_id, client) != 0)
		return err_set(ERR_AUTH, "what is signed by %s is of %s", client, out->client_id);
	return ERR_OK;
}

static enum err usage_merge(
	struct media *m, const struct medium_return *part, struct media_merged *out)
{
	struct db *db = core_db(m->core);
	uint64_t before = 0, after = 0, first = UINT64_MAX, last = 0;

	out->rows = part->usage_count;
	if (out->rows == 0)
		return ERR_OK;
	for (size_t i = 0; i < part->usage_count; i++) {
		first = part->usage[i].ledger_seq < first ? part->usage[i].ledger_seq : first;
		last = part->usage[i].ledger_seq > last ? part->usage[i].ledger_seq : last;
	}
	TRY(rows_usage_count(db, part->client_id, &part->store_id, first, last, &before));
	TRY(usage_take(db, part->client_id, &part->store_id, part->usage, part->usage_count));
	TRY(rows_usage_count(db, part->client_id, &part->store_id, first, last, &after));
	out->rows_new = (size_t)(after - before);
	return part->part + 1 < part->parts ? ERR_OK : core_usage_trim(m->core, part->client_id);
}

static bool outcome_is_good(const char *word)
{
	return strcmp(word, "installed") == 0 || strcmp(word, "held") == 0;
}

static enum err result_merge(struct media *m, const char *client, const struct medium_result *r,
	struct arena *a, struct media_merged *out)
{
	struct media_row row;
	char detail[LIMIT_ID + 32];
	bool changed = false;
	enum err e = rows_media_find(core_db(m->core), r->order, a, &row);

	out->orders++;
	if (e == ERR_NOT_FOUND)
		return ERR_OK; // forgotten here meanwhile
	TRY(e);
	if (strcmp(row.client, client) != 0)
		return err_set(
			ERR_AUTH, "media order %" PRIu64 " is not one of %s", r->order, client);
	if (outcome_is_good(r->outcome)) {
		if (!digest_equal(&row.package, &r->package))
			return err_set(ERR_AUTH, "media order %" PRIu64 " is of another package",
				r->order);
		TRY(media_told(m, &row, true, "", &changed));
	} else {
		text_format(detail, sizeof(detail), "refused by the device: %s", r->outcome);
		TRY(media_told(m, &row, false, detail, &changed));
	}
	out->orders_new += changed;
	return ERR_OK;
}

enum err media_merge(
	struct media *m, const char *client, struct bytes envelope, struct media_merged *out)
{
	SCOPED_ARENA struct arena a = {0};
	struct medium_return part;

	*out = (struct media_merged){0};
	arena_init(&a, 8 * 1024 * 1024, 65536);
	TRY(part_open(m, client, envelope, &a, &part));
	out->part = part.part;
	out->parts = part.parts;
	out->written_ms = part.written_unix_ms;
	TRY(usage_merge(m, &part, out));
	for (size_t i = 0; i < part.result_count; i++)
		TRY(result_merge(m, client, &part.results[i], &a, out));
	log_info("MEDIA-MERGED", "client=%s part=%u parts=%u rows=%zu new=%zu orders=%zu new=%zu",
		client, part.part, part.parts, out->rows, out->rows_new, out->orders,
		out->orders_new);
	return ERR_OK;
}
