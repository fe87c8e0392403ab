// See reboot.h.
#include "client/reboot.h"

#include <string.h>

enum reboot_step reboot_decide(const struct reboot_record *r, const struct reboot_limits *l,
	const struct reboot_look *look)
{
	if (memcmp(&r->boot_id, &look->boot_id, sizeof r->boot_id) != 0)
		return REBOOT_HAPPENED;
	if (r->ordered)
		return look->mono_ms - r->ordered_ms > l->wait_max_ms ? REBOOT_MISSED : REBOOT_WAIT;
	if (look->deferred && look->mono_ms - r->begun_ms < l->defer_max_ms)
		return REBOOT_WAIT;
	return REBOOT_ORDER;
}

uint32_t reboot_percent(
	const struct reboot_record *r, const struct reboot_limits *l, int64_t mono_ms)
{
	int64_t gone = mono_ms - r->begun_ms;
	if (r->ordered || l->defer_max_ms <= 0 || gone >= l->defer_max_ms)
		return 99;
	return gone <= 0 ? 0 : (uint32_t)(gone * 99 / l->defer_max_ms);
}
