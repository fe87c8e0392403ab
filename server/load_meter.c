#include "server/load_meter.h"

static double share(double part, double whole)
{
	double s = whole > 0 ? part / whole : 0;

	return s < 0 ? 0 : s > 1 ? 1 : s;
}

double load_of_server(struct load_meter *m, const struct load_reading *r, struct mono now)
{
	struct load_reading last = m->last;
	double passed_ms = m->read ? (double)mono_since_ms(now, m->last_at) : 0;

	m->last = *r;
	m->last_at = now;
	m->read = true;
	if (passed_ms <= 0)
		return 0;
	if (r->dropped != last.dropped)
		return 1;
	double busy = 1 - share((double)(r->idle_ns - last.idle_ns) / 1e6, passed_ms);
	double other = share((double)(r->other_us - last.other_us) / 1e3, passed_ms);
	return busy > other ? busy : other;
}

void load_broker_count(struct load_meter *m, uint64_t count, struct mono now)
{
	int64_t passed_ms = mono_since_ms(now, m->count_at);

	if (m->counted && count >= m->count && passed_ms > 0)
		m->messages_per_s = (double)(count - m->count) * 1000 / (double)passed_ms;
	else
		m->messages_per_s = 0;
	m->counted = true;
	m->count = count;
	m->count_at = now;
}

double load_of_broker(const struct load_meter *m, uint32_t capacity_per_s, struct mono now)
{
	if (!m->counted || mono_since_ms(now, m->count_at) > LOAD_COUNT_OLD_MS)
		return 0;
	return share(m->messages_per_s, capacity_per_s);
}
