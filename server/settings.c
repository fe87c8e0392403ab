#include "server/settings.h"

#include "server/relays.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define AT(field) offsetof(struct heliod_settings, field)
#define ROOM(field) sizeof(((struct heliod_settings *)0)->field)
#define FILE_AT(section, key, field, least, def, help)                                             \
	{                                                                                          \
		section, key, SETTING_PATH, AT(field), ROOM(field), least, 0, def, NULL, help      \
	}
#define NUMBER(section, key, field, min, max, def, help)                                           \
	{                                                                                          \
		section, key, SETTING_U32, AT(field), 0, min, max, def, NULL, help                 \
	}
#define NUMBER64(section, key, field, min, max, def, help)                                         \
	{                                                                                          \
		section, key, SETTING_U64, AT(field), 0, min, max, def, NULL, help                 \
	}
#define WORD(section, key, field, words, def, help)                                                \
	{                                                                                          \
		section, key, SETTING_WORD, AT(field), ROOM(field), 1, 0, def, words, help         \
	}
#define YES_NO(section, key, field, def, help)                                                     \
	{                                                                                          \
		section, key, SETTING_BOOL, AT(field), 0, 0, 0, def, NULL, help                    \
	}

const struct setting heliod_rows[] = {
	FLEET_ROWS(struct heliod_settings, fleet, "server", "online key"),
	FILE_AT("server", "state_dir", state_dir, 1, NULL, "where the state lies"),
	{"server", "store", SETTING_STRING, AT(store), ROOM(store), 1, 0, "sqlite", NULL,
		"sqlite: a file in state_dir; postgresql://...: a database that is there already, "
		"as "
		"libpq writes its address (keep the password in ~/.pgpass)"},
	YES_NO("server", "stand_by", stand_by, "no",
		"several servers have this store: one serves, the others take over when it does "
		"not; "
		"only with postgresql"),
	YES_NO("server", "share", share, "no",
		"several servers have this store: each answers its part of the clients, and takes "
		"over what another one leaves; one of them leads; only with postgresql"),
	NUMBER("server", "lease_ms", lease_ms, 500, 60000, "2000",
		"another server takes over so long after the last word of one that has died"),
	FILE_AT("server", "enrol_dir", enrol_dir, 0, "",
		"folder of *.enrol files, read at start and on SIGHUP"),
#define POLICY_NUMBER(name, least, most, def, seen, help)                                          \
	NUMBER("server", #name, policy.name, least, most, #def, help),
	POLICY_SETTINGS(POLICY_NUMBER) // of policy.h
	NUMBER("control", "messages_per_s", control_messages_per_s, 1, 100000000, "80000",
		"messages that the control broker can take in a second; intervals grow before"),
	NUMBER("server", "silent_after_s", silent_after_s, 1, 30 * 86400, "600",
		"a client not heard for so long is silent"),
	NUMBER("server", "reconnect_spread_s", reconnect_spread_s, 0, 3600, "5",
		"least time within which the clients come back after a gap, and nobody's silence "
		"counts; a second for each 1500 clients where that is more"),
	NUMBER("server", "mass_silence_percent", mass_silence_percent, 1, 100, "5",
		"more clients silent at once: decisions wait"),
	NUMBER("server", "offers_per_s", offers_per_s, 1, 1000000, "1000",
		"sign-ins answered per second, in all"),
	NUMBER("server", "offers_per_client_min", offers_per_client_min, 1, 60000, "30",
		"sign-ins answered per principal and minute"),
	NUMBER("server", "messages_per_s", messages_per_s, 0, 60000, "1000",
		"messages of one principal that are looked at in a second; 0: no limit"),
	NUMBER("server", "medium_after_s", medium_after_s, 0, 365 * 86400, "604800",
		"what a client silent for longer is to have goes on a medium; not before "
		"silent_after_s; 0: never"),
	NUMBER("server", "medium_never_after_s", medium_never_after_s, 0, 365 * 86400, "86400",
		"the same for a client that was enrolled so long ago and never heard; 0: at once"),
	NUMBER("server", "media_keep", media_keep, 0, 1000000, "10000",
		"media orders that are over and stay to be looked at; then the oldest go"),
	NUMBER("server", "queue_high_water", queue_high_water, 2, 1000000, "64",
		"elements of a queue; then display events consolidate"),
	NUMBER("server", "queue_max", queue_max, 2, 1000000, "1024",
		"elements of a queue; then the slowest clients are detached"),
	NUMBER("server", "view_period_s", view_period_s, 1, 86400, "30",
		"an unchanged state is published at most this often"),
	NUMBER("server", "views_per_s", views_per_s, 1, 1000000, "2000",
		"states published per second, in all; a quarter under load"),
	NUMBER("server", "host_period_ms", host_period_ms, 100, 3600000, "5000",
		"how often the server says that it lives"),
	NUMBER("server", "save_period_s", save_period_s, 1, 3600, "30",
		"how often last_heard is saved"),
	NUMBER64("server", "rate_bytes_per_s", rate_bytes_per_s, 0, UINT64_C(1) << 50, "0",
		"most a client may fetch per second; 0: its share of the data broker"),
#define FRESH(key, kind)                                                                           \
	NUMBER("freshness", key, fresh_s[kind], 0, 365 * 86400, "0",                               \
		"oldest answer of this kind that is good enough; older: asked for again; 0: only " \
		"when "                                                                            \
		"somebody asks")
	FRESH("display_s", INFO_DISPLAY),
	FRESH("usage_s", INFO_USAGE),
	FRESH("holdings_s", INFO_HOLDINGS),
	FRESH("software_s", INFO_SOFTWARE),
	FRESH("logs_s", INFO_LOGS),
	FRESH("screenshot_s", INFO_SCREENSHOT),
	NUMBER("usage", "keep_days", usage_keep_days, 1, 36500, "400",
		"what was shown before is forgotten"),
	NUMBER("usage", "rows_per_client", usage_rows_max, 100, 1000000000, "1000000",
		"of more showings the oldest are forgotten"),
	{"data", "broker", SETTING_LIST, AT(brokers), 0, 0, 0, "", NULL,
		"a data broker: id name ip port capacity_bytes_per_s, and none behind it for one "
		"that tells no $SYS"},
	{"data", "relay", SETTING_LIST, AT(relays), 0, 0, 0, "", NULL,
		"a data broker that serves one site, before any other: BROKER CUSTOMER/PLACE, or "
		"BROKER CUSTOMER/* for all its places"},
	NUMBER("data", "relay_patience_s", relay_patience_s, 0, 86400, "300",
		"who asks waits so long for the relay of its site to be filled"),
	{"data", "budget", SETTING_LIST, AT(budgets), 0, 0, 0, "", NULL,
		"what may leave a broker, go to a site or to a client: broker ID, site "
		"CUSTOMER/PLACE or client ID (* for each that has none), bytes_per_s (0: no "
		"limit), for a broker also how many may fetch at once; helioctl budget changes it"},
	NUMBER("data", "sys_interval_s", sys_interval_s, 1, 3600, "10",
		"the sys_interval of the data brokers"),
	NUMBER("data", "recent_period_s", recent_period_s, 0, 86400, "5",
		"a publishing target within this time is not chosen again; 0: no such rule"),
	WORD("data", "recent_fallback", recent_fallback, "defer|oldest", "defer",
		"all are recent: the publisher waits, or the one used longest ago"),
	NUMBER("data", "linger_s", linger_s, 0, 30 * 86400, "300",
		"content without a lease is withdrawn after this"),
	NUMBER("data", "first_viewer_grace_s", first_viewer_grace_s, 0, 30 * 86400, "3600",
		"content that nobody ever asked for is withdrawn after this; 0: never"),
	NUMBER("data", "lease_ttl_s", lease_ttl_s, 1, 86400, "90",
		"a lease that no heartbeat lists ends after this, or after three intervals"),
	NUMBER64("data", "share_bytes_per_s", share_bytes_per_s, 0, UINT64_C(1) << 50, "1000000",
		"a package is put on a further data broker before who fetches it gets less; 0: "
		"never"),
	NUMBER64("data", "transfers_bytes", transfers_bytes, 0, UINT64_C(1) << 50, "2147483648",
		"memory of a data broker for what is on its way to all who fetch there; who finds "
		"none free waits; with the content below its memory_limit; 0: no limit"),
	NUMBER64("data", "queue_bytes", queue_bytes, 0, UINT64_C(1) << 50, "134217728",
		"the max_queued_bytes of the data brokers: no client is granted more at a time; 0: "
		"no limit"),
	NUMBER("data", "broker_away_s", broker_away_s, 1, 86400, "15",
		"content that is wanted moves when its broker is away for so long"),
	NUMBER("data", "unreachable_s", unreachable_s, 0, 86400, "600",
		"a data broker that a client twice could not fetch from is not granted to it for "
		"so long; 0: no such rule"),
	NUMBER("data", "stalled_after_s", stalled_after_s, 0, 86400, "120",
		"a transfer that does not move for so long, though its client is heard, is "
		"reported and goes on from another data broker; 0: never"),
	YES_NO("probe", "enabled", probe, "yes", "test the brokers at start and every period"),
	YES_NO("probe", "refuse", probe_refuse, "yes",
		"do not use a broker that would lose data or let strangers in"),
	NUMBER("probe", "period_s", probe_period_s, 60, 86400, "3600", "how often"),
};

const size_t heliod_row_count = sizeof(heliod_rows) / sizeof(heliod_rows[0]);

// ---------------------------------------------------------------- checks

static enum err brokers_check(const struct heliod_settings *s)
{
	struct data_brokers b;

	TRY(setting_blame("data", "broker",
		data_brokers_init(
			&b, s->brokers.items, s->brokers.count, s->fleet.tls, s->sys_interval_s)));
	enum err e =
		setting_blame("data", "relay", relays_init(&b, s->relays.items, s->relays.count));
	data_brokers_fini(&b);
	return e;
}

bool heliod_is_one_of_several(const struct heliod_settings *s)
{
	return s->stand_by || s->share;
}

static enum err budgets_check(const struct heliod_settings *s)
{
	struct budgets *b = budgets_new();
	enum err e = ERR_OK;

	for (size_t i = 0; i < s->budgets.count && e == ERR_OK; i++)
		e = budgets_line(b, s->budgets.items[i]);
	budgets_free(b);
	return setting_blame("data", "budget", e);
}

// With less than one slot every fetch would wait for ever.
static enum err transfers_check(const struct heliod_settings *s)
{
	if (s->transfers_bytes == 0 || s->transfers_bytes >= WINDOW_SLOT_LEAST)
		return ERR_OK;
	return setting_blame("data", "transfers_bytes",
		err_set(ERR_RANGE,
			"%" PRIu64 " is less than one transfer takes: at least %d, or 0 for "
			"no limit",
			s->transfers_bytes, WINDOW_SLOT_LEAST));
}

bool heliod_store_is_file(const struct heliod_settings *s)
{
	return strcmp(s->store, "sqlite") == 0;
}

static enum err store_check(const struct heliod_settings *s)
{
	if (heliod_store_is_file(s) && heliod_is_one_of_several(s))
		return err_set(ERR_RANGE, "[server] %s needs a store in postgresql",
			s->stand_by ? "stand_by" : "share");
	if (s->stand_by && s->share)
		return err_set(ERR_RANGE,
			"[server] stand_by and share: a server either stands by or answers");
	if (heliod_store_is_file(s) || strncmp(s->store, "postgresql://", 13) == 0)
		return ERR_OK;
	return err_set(ERR_RANGE, "[server] store is neither sqlite nor postgresql://...");
}

enum err heliod_settings_check(const void *settings)
{
	const struct heliod_settings *s = settings;

	TRY(store_check(s));
	if (s->queue_max < s->queue_high_water)
		return err_set(ERR_RANGE, "[server] queue_max is below queue_high_water");
	if (s->policy.interval_ms < s->policy.interval_min_ms ||
		s->policy.interval_ms > s->policy.interval_max_ms)
		return err_set(ERR_RANGE,
			"[server] interval_ms is not between interval_min_ms and interval_max_ms");
	if (s->policy.interval_busy_ms &&
		(s->policy.interval_busy_ms < s->policy.interval_min_ms ||
			s->policy.interval_busy_ms > s->policy.interval_max_ms))
		return err_set(ERR_RANGE, "[server] interval_busy_ms is not between "
					  "interval_min_ms and interval_max_ms");
	TRY(brokers_check(s));
	TRY(budgets_check(s));
	TRY(transfers_check(s));
	TRY(fleet_settings_check(&s->fleet, true));
	if (s->enrol_dir[0] && access(s->enrol_dir, R_OK | X_OK) != 0)
		return err_set_errno("[server] enrol_dir = %s", s->enrol_dir);
	return ERR_OK;
}

// ---------------------------------------------------------------- for the rooms

void heliod_core_config(const struct heliod_settings *s, struct core_config *out)
{
	uint32_t silent_least_s = (uint32_t)(((uint64_t)s->policy.interval_ms * 3 + 999) / 1000);

	core_config_default(out);
	out->server_id = s->fleet.id;
	out->interval_ms = s->policy.interval_ms;
	out->interval_busy_ms = policy_busy_ms(&s->policy);
	out->interval_min_ms = s->policy.interval_min_ms;
	out->interval_max_ms = s->policy.interval_max_ms;
	out->attempts_max = s->policy.attempts_max;
	out->mismatch_limit = s->policy.mismatch_limit;
	out->resend_limit = s->policy.resend_limit;
	out->resyncs_per_s = s->policy.resyncs_per_s;
	out->busy_beats_per_s = s->policy.busy_beats_per_s;
	out->operations_per_s = s->policy.operations_per_s;
	out->op_deadline_s = s->policy.op_deadline_s;
	out->private_in_a_row = s->policy.private_in_a_row;
	out->silent_after_s =
		s->silent_after_s > silent_least_s ? s->silent_after_s : silent_least_s;
	out->reconnect_spread_s = s->reconnect_spread_s;
	out->mass_silence_percent = s->mass_silence_percent;
	out->offers_per_s = s->offers_per_s;
	out->offers_per_client_min = s->offers_per_client_min;
	out->messages_per_s = s->messages_per_s;
	out->queue_high_water = s->queue_high_water;
	out->queue_max = s->queue_max;
	out->view_period_s = s->view_period_s;
	out->views_per_s = s->views_per_s;
	out->host_period_ms = s->host_period_ms;
	out->save_period_s = s->save_period_s;
	out->rate_bytes_per_s = s->rate_bytes_per_s;
	out->usage_keep_days = s->usage_keep_days;
	out->usage_rows_max = s->usage_rows_max;
}

void heliod_presence_config(const struct heliod_settings *s, struct presence_config *out)
{
	*out = (struct presence_config){
		.recent_period_s = s->recent_period_s,
		.recent_fallback_oldest = strcmp(s->recent_fallback, "oldest") == 0,
		.linger_s = s->linger_s,
		.first_viewer_grace_s = s->first_viewer_grace_s,
		.lease_ttl_s = s->lease_ttl_s,
		.store_is_shared = heliod_is_one_of_several(s),
		.share_bytes_per_s = s->share_bytes_per_s,
		.windows = {.budget_bytes = s->transfers_bytes, .queue_bytes = s->queue_bytes},
		.relay_patience_s = s->relay_patience_s,
		.reconnect_spread_s = s->reconnect_spread_s,
		.broker_away_s = s->broker_away_s,
		.unreachable_s = s->unreachable_s,
		.stalled_after_s = s->stalled_after_s,
		.directive_repeat_ms = 5000,
		.client_rate_bytes_per_s = s->rate_bytes_per_s,
		.budgets = s->budgets.items,
		.budget_count = s->budgets.count,
		.route = {.attempts_max = s->policy.attempts_max},
	};
}

void heliod_media_config(const struct heliod_settings *s, struct media_config *out)
{
	*out = (struct media_config){
		.route =
			{
				.has_medium = s->medium_after_s != 0,
				.period_ms = (int64_t)s->medium_after_s * 1000,
				.never_ms = (int64_t)s->medium_never_after_s * 1000,
			},
		.keep = s->media_keep,
	};
}

void heliod_freshness(const struct heliod_settings *s, struct freshness *out)
{
	*out = (struct freshness){0};
	memcpy(out->by_settings_s, s->fresh_s, sizeof(out->by_settings_s));
}
