// The settings of heliod: one row each, one file.
#ifndef HELIO_SERVER_SETTINGS_H
#define HELIO_SERVER_SETTINGS_H

#include "proto/fleet_settings.h"
#include "server/core.h"
#include "server/freshness.h"
#include "server/media_orders.h"
#include "server/policy.h"
#include "server/presence.h"

struct heliod_settings {
	struct fleet_settings fleet;
	char state_dir[PATH_MAX], enrol_dir[PATH_MAX];
	char store[1024]; // "sqlite": a file in state_dir; else the address of a PostgreSQL
	bool stand_by, share;
	uint32_t lease_ms;
	uint32_t messages_per_s;
	struct policy policy; // what decides answers
	uint32_t silent_after_s, reconnect_spread_s, control_messages_per_s;
	uint32_t mass_silence_percent, offers_per_s, offers_per_client_min;
	uint32_t queue_high_water, queue_max;
	uint32_t medium_after_s, medium_never_after_s, media_keep;
	uint32_t view_period_s, views_per_s, host_period_ms, save_period_s;
	uint64_t rate_bytes_per_s, share_bytes_per_s;

	uint32_t fresh_s[INFO_SCREENSHOT + 1]; // by kind
	uint32_t usage_keep_days, usage_rows_max;

	struct setting_list brokers, relays, budgets;
	uint32_t sys_interval_s, recent_period_s, linger_s, first_viewer_grace_s, lease_ttl_s;
	uint32_t broker_away_s, unreachable_s, relay_patience_s, stalled_after_s;
	uint64_t transfers_bytes, queue_bytes; // of each data broker
	char recent_fallback[16];

	bool probe, probe_refuse;
	uint32_t probe_period_s;
};

extern const struct setting heliod_rows[];
extern const size_t heliod_row_count;

// --check-config: what one row cannot say, and that every file can be read and fits the others.
enum err heliod_settings_check(const void *settings) MUST_CHECK;

bool heliod_is_one_of_several(const struct heliod_settings *s); // on one store
bool heliod_store_is_file(const struct heliod_settings *s);
void heliod_core_config(const struct heliod_settings *s, struct core_config *out);
void heliod_media_config(const struct heliod_settings *s, struct media_config *out);
void heliod_freshness(const struct heliod_settings *s, struct freshness *out);
void heliod_presence_config(const struct heliod_settings *s, struct presence_config *out);

#endif
