// See usage_take.h.
#include "server/usage_take.h"

#include "proto/base/log.h"
#include "server/db/rows.h"
#include "server/db/rows_usage.h"

#include <inttypes.h>

#define OTHERS_MOST 16

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

// By a clock that somebody vouched for. Of what older programs told the boot is not known.
static bool is_trusted(const struct shown *row)
{
	return row->clock_quality > 1 && row->boot_counter != 0;
}

// What was marked when the source ended earlier need not be looked at again: only the time that is
// new, and what was too short to say.
static enum err doubts_mark(struct db *db, const char *client, const struct usage_source *all,
	int64_t new_from_ms, int64_t new_until_ms)
{
	struct usage_source others[OTHERS_MOST];
	size_t count = 0;

	TRY(rows_usage_source_others(
		db, client, all, USAGE_OVERLAP_MS, others, OTHERS_MOST, &count));
	for (size_t i = 0; i < count; i++) {
		int64_t from_ms = max64(max64(all->first_ms, others[i].first_ms), new_from_ms);
		int64_t until_ms = min64(min64(all->last_ms, others[i].last_ms), new_until_ms);

		log_warn("USAGE-TWO-AT-ONCE",
			"client=%s boot=%016" PRIx64 " other=%016" PRIx64 " from_ms=%" PRId64
			" until_ms=%" PRId64,
			client, all->boot, others[i].boot, from_ms, until_ms);
		TRY(rows_usage_doubt(db, client, from_ms, until_ms, all));
		TRY(rows_usage_doubt(db, client, from_ms, until_ms, &others[i]));
	}
	return ERR_OK;
}

// own: what the rows that just came cover.
static enum err source_take(struct db *db, const char *client, const struct usage_source *own)
{
	struct usage_source all = *own, before;
	int64_t new_from_ms = own->first_ms, new_until_ms = own->last_ms;
	enum err e = rows_usage_source_find(db, client, own, &before);

	if (e == ERR_OK) {
		new_from_ms = min64(new_from_ms, before.last_ms);
		new_until_ms = max64(new_until_ms, before.first_ms);
		all.first_ms = min64(own->first_ms, before.first_ms);
		all.last_ms = max64(own->last_ms, before.last_ms);
	} else if (e != ERR_NOT_FOUND) {
		return e;
	}
	TRY(rows_usage_source_put(db, client, &all));
	return doubts_mark(
		db, client, &all, new_from_ms - USAGE_OVERLAP_MS, new_until_ms + USAGE_OVERLAP_MS);
}

// Rows of one boot.
static enum err boot_take(struct db *db, const char *client, const struct id16 *store_id,
	const struct shown *rows, size_t count)
{
	struct usage_source own = {.store_id = *store_id,
		.boot = rows->boot_counter,
		.first_ms = INT64_MAX,
		.last_ms = INT64_MIN};

	for (size_t i = 0; i < count; i++) {
		TRY(rows_usage_add(db, client, store_id, &rows[i]));
		if (!is_trusted(&rows[i]))
			continue;
		own.first_ms = min64(own.first_ms, rows[i].from_unix_ms);
		own.last_ms = max64(own.last_ms, rows[i].from_unix_ms);
	}
	if (own.first_ms > own.last_ms)
		return ERR_OK;
	return source_take(db, client, &own);
}

enum err usage_take(struct db *db, const char *client, const struct id16 *store_id,
	const struct shown *rows, size_t count)
{
	for (size_t i = 0, n; i < count; i += n) {
		for (n = 1; i + n < count && rows[i + n].boot_counter == rows[i].boot_counter;)
			n++;
		TRY(boot_take(db, client, store_id, rows + i, n));
	}
	return ERR_OK;
}
