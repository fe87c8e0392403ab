// See shard_watch.h.
#include "server/shard_watch.h"
#include <string.h>

int64_t shard_watch_begin(struct shard_watch *w, uint32_t lease_ms, struct mono now)
{
	int64_t passed_ms = w->has_looked ? mono_since_ms(now, w->looked_at) : 0;
	int64_t most_ms = lease_ms / SHARD_WATCH_PART;

	w->step_ms = passed_ms < 0 ? 0 : passed_ms < most_ms ? passed_ms : most_ms;
	w->looked_at = now;
	w->has_looked = true;
	for (size_t i = 0; i < w->count; i++)
		w->seen[i].is_here = false;
	return passed_ms;
}

static struct shard_seen *seen_find(struct shard_watch *w, const struct server_row *row)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->seen[i].fencing == row->fencing &&
			strcmp(w->seen[i].holder, row->holder) == 0)
			return &w->seen[i];
	return NULL;
}

static struct shard_seen *seen_add(struct shard_watch *w, const struct server_row *row)
{
	struct shard_seen *s = &w->seen[w->count];

	if (w->count == SHARD_WATCHED)
		return NULL;
	*s = (struct shard_seen){.fencing = row->fencing, .until_ms = row->until_ms};
	if (!str_copy(s->holder, sizeof(s->holder), row->holder))
		return NULL;
	w->count++;
	return s;
}

void shard_watch_see(struct shard_watch *w, const struct server_row *row)
{
	struct shard_seen *s = seen_find(w, row);

	if (s)
		s->still_ms = s->until_ms == row->until_ms ? s->still_ms + w->step_ms : 0;
	else
		s = seen_add(w, row);
	if (!s)
		return;
	s->until_ms = row->until_ms;
	s->is_over = row->left_ms <= 0 || row->left_ms > SHARD_LEASE_MOST_MS;
	s->is_here = true;
}

void shard_watch_end(struct shard_watch *w, struct mono now)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->count; i++)
		if (w->seen[i].is_here)
			w->seen[kept++] = w->seen[i];
	w->count = kept;
	w->looked_at = now;
}

bool shard_watch_is_dead(const struct shard_seen *s, uint32_t lease_ms)
{
	return s->is_over && s->still_ms >= lease_ms;
}

int64_t shard_watch_left_ms(const struct shard_watch *w, uint32_t lease_ms)
{
	int64_t least_ms = lease_ms;

	for (size_t i = 0; i < w->count; i++) {
		int64_t left_ms = lease_ms - w->seen[i].still_ms;
		if (left_ms > 0 && left_ms < least_ms)
			least_ms = left_ms;
	}
	return least_ms;
}
