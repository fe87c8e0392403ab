// The history of media is bounded: of the orders that are over, the oldest go when there are more
// than media_keep. One that still says that its client gets no other medium of the package (an
// operator gave it up, or it arrived, and the client is silent since) stays.
//
//   an order ends, or a start -> some rows a tick, by number -> row and view go -> until enough
//   went
#include "server/media_orders.h"

#include "proto/base/log.h"
#include "proto/topics.h"
#include <inttypes.h>
#include <stdio.h>

static bool is_awaited(struct media *m, const struct media_row *r, struct arena *a)
{
	struct package_ref *packages = NULL;
	size_t count = 0;

	if (core_client_awaits(m->core, r->client, a, &packages, &count) != ERR_OK)
		return false;
	for (size_t i = 0; i < count; i++)
		if (digest_equal(&packages[i].package, &r->package))
			return true;
	return false;
}

static bool may_go(struct media *m, const struct media_row *r)
{
	SCOPED_ARENA struct arena a = {0};
	struct away_client at;

	if (core_away_find(m->core, r->client, &at) != ERR_OK)
		return true; // nobody's any more
	if (!media_settles(r, at.last_heard.ms))
		return true;
	arena_init(&a, 1024 * 1024, 16384);
	return !is_awaited(m, r, &a);
}

static enum err row_end(struct media *m, const struct media_row *r)
{
	char level[24];

	(void)snprintf(level, sizeof(level), "%" PRIu64, r->number);
	struct topic topic = topic_view_media(r->client, level);
	TRY(rows_media_delete(core_db(m->core), r->number));
	return core_unretain(m->core, topic.s);
}

// One look at MEDIA_PRUNED_PER_TICK rows; *more: others follow, or are still too many.
static enum err some_prune(struct media *m, bool *more)
{
	SCOPED_ARENA struct arena a = {0};
	struct media_row *rows = NULL;
	uint64_t over = 0, gone = 0;
	size_t count = 0;

	*more = false;
	TRY(rows_media_over(core_db(m->core), &over));
	if (over <= m->config.keep)
		return ERR_OK;
	arena_init(&a, 1024 * 1024, 65536);
	TRY(rows_media_list(core_db(m->core),
		&(struct media_filter){
			.over = true, .after = m->pruned_after, .max = MEDIA_PRUNED_PER_TICK},
		&a, &rows, &count));
	for (size_t i = 0; i < count && over - gone > m->config.keep; i++) {
		m->pruned_after = rows[i].number;
		if (!may_go(m, &rows[i]))
			continue;
		TRY(row_end(m, &rows[i]));
		gone++;
	}
	if (gone)
		log_info("MEDIA-PRUNED", "orders=%" PRIu64 " kept=%" PRIu64, gone, over - gone);
	*more = count == MEDIA_PRUNED_PER_TICK && over - gone > m->config.keep;
	return ERR_OK;
}

void media_prune(struct media *m)
{
	bool more = false;

	if (!m->prune)
		return;
	if (some_prune(m, &more) != ERR_OK)
		log_warn("MEDIA-UNPRUNED", "why=%s", log_quote(err_text()));
	m->prune = more;
	if (!more)
		m->pruned_after = 0;
}
