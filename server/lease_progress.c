// See lease_progress.h.
#include "server/lease_progress.h"

#include "proto/limits.h"

static void sample_take(struct lease_progress *p, const struct lease_shown *s)
{
	int64_t passed_ms = mono_since_ms(s->now, p->sample_at);
	double bytes, rate;

	if (passed_ms < PROGRESS_SAMPLE_MS || s->total == 0)
		return;
	bytes = s->have > p->sample_have ? (double)(s->have - p->sample_have) *
						   (double)s->object_bytes / (double)s->total
					 : 0;
	rate = bytes * 1000 / (double)passed_ms;
	p->bytes_per_s = (uint64_t)(p->bytes_per_s ? (rate + (double)p->bytes_per_s) / 2 : rate);
	p->sample_have = s->have;
	p->sample_at = s->now;
}

void lease_progress_note(struct lease_progress *p, const struct lease_shown *s)
{
	int64_t silent_ms = s->attended_ms - p->heard_attended_ms - s->silence_ms;
	bool moved = s->have != p->have || s->total != p->total || s->looked_mb != p->looked_mb;

	p->heard_attended_ms = s->attended_ms;
	if (silent_ms > 0)
		p->moved_attended_ms += silent_ms;
	if (moved) {
		p->moved_attended_ms = s->attended_ms;
		p->is_stalled = false;
	}
	if (!p->is_known && s->total) {
		p->is_known = true;
		p->sample_have = s->have;
		p->sample_at = s->now;
	}
	p->have = s->have;
	p->total = s->total;
	p->looked_mb = s->looked_mb;
	if (p->is_known)
		sample_take(p, s);
}

int64_t lease_patience_ms(uint32_t patience_ms, uint32_t interval_ms, uint64_t rate_bytes_per_s)
{
	int64_t most = patience_ms, beats = 3 * (int64_t)interval_ms, object = 0;

	if (rate_bytes_per_s)
		object = (int64_t)(4 * UINT64_C(1000) * LIMIT_OBJECT / rate_bytes_per_s);
	most = beats > most ? beats : most;
	return object > most ? object : most;
}

bool lease_progress_stands(const struct lease_progress *p, int64_t attended_ms, int64_t patience_ms)
{
	bool is_whole = p->total && p->have >= p->total;

	return !is_whole && attended_ms - p->moved_attended_ms >= patience_ms;
}
