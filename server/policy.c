// The table of policy.h as data.
#include "server/policy.h"

#define BUSY_MS 2000

#define ROW(name, least, most, def, seen, help)                                                    \
	{#name, offsetof(struct policy, name), least, most, seen},
const struct policy_row policy_rows[] = {POLICY_SETTINGS(ROW)};
const size_t policy_row_count = sizeof(policy_rows) / sizeof(policy_rows[0]);

void policy_default(struct policy *p)
{
#define DEFAULT(name, least, most, def, seen, help) .name = def,
	*p = (struct policy){POLICY_SETTINGS(DEFAULT)};
}

uint32_t policy_busy_ms(const struct policy *p)
{
	uint32_t busy = p->interval_busy_ms;

	if (busy == 0)
		busy = p->interval_ms < BUSY_MS ? p->interval_ms : BUSY_MS;
	return busy < p->interval_min_ms ? p->interval_min_ms : busy;
}
