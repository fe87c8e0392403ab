// What can be seen by looking: the findings of the moment for `doctor`, and the signed views of the
// data brokers' load.
#include "server/server_inside.h"

#include "proto/base/descriptors.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "server/db/rows_usage.h"
#include <inttypes.h>

#define DISK_LOW_BYTES (64 * 1024 * 1024)
#define DIRECTIVE_LATE_MS 30000
#define VIEW_PERIOD_MS 5000
#define DOUBTFUL_MOST 16 // clients that doctor names

static void look_brokers(struct server *s, struct findings *out)
{
	char what[256];

	if (s->brokers.count == 0)
		finding_add(out, FINDING_ERROR, "", "DATA-BROKERS",
			"no data broker is configured: no package can travel",
			"[data] broker = id name ip port capacity_bytes_per_s");
	if (s->brokers.count == 1)
		finding_add(out, FINDING_WARN, "", "DATA-BROKERS",
			"there is one data broker: plurality=1 is for development",
			"[data] broker = a second one");
	if (!s->control.up)
		finding_add(out, FINDING_ERROR, "control", "CONTROL-DOWN",
			"the control broker is not reachable", "[control] name, ip and port");
	for (size_t i = 0; i < s->brokers.count; i++) {
		const struct data_broker *b = &s->brokers.items[i];

		text_format(what, sizeof(what), "not reachable: %s", b->why);
		if (!b->up)
			finding_add(out, FINDING_ERROR, b->id, "BROKER-DOWN", what,
				"systemctl status mosquitto, on its machine");
		else if (!data_broker_is_fresh(b, s->brokers.sys_interval_s, s->now.mono))
			finding_add(out, FINDING_WARN, b->id, "BROKER-STALE",
				"its uptime was not seen for three of its intervals",
				"sys_interval in mosquitto.conf, as [data] sys_interval_s");
	}
}

// What brokers tell of those who take more than they should, or less than they asked for.
static void look_rates(struct server *s, struct findings *out)
{
	char what[256];

	for (size_t i = 0; i < s->brokers.count; i++) {
		const struct data_broker *b = &s->brokers.items[i];

		snprintf(what, sizeof(what),
			"%.0f bytes/s left it over the last minute, its budget is %" PRIu64
			": somebody takes more than was told",
			b->sent_bytes_per_s, b->budget_bytes_per_s);
		if (data_broker_is_overdrawn(b, s->now.mono))
			finding_add(out, FINDING_WARN, b->id, "BROKER-OVERDRAWN", what,
				"helioctl leases: measured above granted; its log says who else");
		snprintf(what, sizeof(what), "it dropped %" PRIu64 " messages in silence",
			b->dropped);
		if (b->dropped)
			finding_add(out, FINDING_WARN, b->id, "BROKER-DROPS", what,
				"its max_queued_bytes no less than [data] queue_bytes, its "
				"max_queued_messages 1000");
	}
}

static void look_packages(struct server *s, struct findings *out)
{
	struct package *k, *next;
	char what[LIMIT_TEXT + 1], id[LIMIT_ID + 1];

	HASH_ITER(hh, s->presence->packages, k, next)
	{
		int64_t age_ms = s->now.wall.ms - k->since.ms;

		snprintf(id, sizeof(id), "PACKAGE-%s", digest_short(&k->id));
		text_format(what, sizeof(what), "%s %s is %s: %s", k->name, k->version,
			place_state_word(k->state), k->detail);
		if (k->state == PLACE_DEFERRED && age_ms > DIRECTIVE_LATE_MS)
			finding_add(out, FINDING_WARN, "", id, what,
				"a data broker that is reachable; helioctl brokers");
		text_format(what, sizeof(what), "publisher %s does not answer %s for %s %s",
			k->publisher, directive_word(k->directive), k->name, k->version);
		if (!k->answered && k->directive && age_ms > DIRECTIVE_LATE_MS)
			finding_add(out, FINDING_WARN, "", id, what,
				"systemctl status helio-publisher, on its machine");
	}
}

static void look_clients(struct server *s, struct findings *out)
{
	char what[256], id[LIMIT_ID + 1], mend[128];
	struct client_brief c;
	size_t cursor = 0;

	while (core_client_walk(s->core, &cursor, &c)) {
		if (c.role != ROLE_CLIENT || c.state != CS_CLONE_SUSPECT)
			continue;
		snprintf(id, sizeof(id), "CLONE-%.50s", c.id);
		text_format(what, sizeof(what), "%s may be two devices with one identity", c.id);
		snprintf(mend, sizeof(mend), "helioctl client accept %s", c.id);
		finding_add(out, FINDING_WARN, "", id, what, mend);
	}
}

static enum err usage_tell(void *ctx, const char *client, uint64_t count)
{
	char what[256], id[LIMIT_ID + 1], mend[128];

	snprintf(id, sizeof(id), "USAGE-%.50s", client);
	text_format(what, sizeof(what),
		"%" PRIu64 " showings of %s are in no sum: two devices of this name told them",
		count, client);
	snprintf(mend, sizeof(mend), "helioctl usage gaps %s", client);
	finding_add(ctx, FINDING_WARN, "", id, what, mend);
	return ERR_OK;
}

static void look_usage(struct server *s, struct findings *out)
{
	enum err e = rows_usage_doubtful(core_db(s->core), DOUBTFUL_MOST, out, usage_tell);

	if (e != ERR_OK)
		log_debug("USAGE-LOOK", "why=%s", log_quote(err_text()));
}

void server_look(void *ctx, struct findings *out)
{
	struct server *s = ctx;
	uint64_t free_bytes = 0;
	char what[256];

	look_brokers(s, out);
	look_rates(s, out);
	look_packages(s, out);
	look_clients(s, out);
	orders_look(&s->orders, out);
	media_look(&s->media, out);
	look_usage(s, out);
	if (core_is_degraded(s->core))
		finding_add(out, FINDING_ERROR, "", "STORE",
			"the store cannot be written: nobody is answered",
			"df and dmesg on the server");
	if (descriptors_are_exhausted())
		finding_add(out, FINDING_ERROR, "", "DESCRIPTORS",
			"no descriptor is left: new connections and files fail",
			"LimitNOFILE= of the service; ls -l /proc/PID/fd says who holds them");
	if (core_mass_silence(s->core))
		finding_add(out, FINDING_WARN, "", "MASS-SILENCE",
			"many clients fell silent at once: decisions wait",
			"the network between here and there; gone indeed: helioctl silence "
			"release");
	if (disk_free(s->settings->state_dir, &free_bytes) == ERR_OK &&
		free_bytes < DISK_LOW_BYTES) {
		text_format(what, sizeof(what), "%" PRIu64 " bytes are free where the state lies",
			free_bytes);
		finding_add(out, FINDING_WARN, "", "DISK", what, "more room for state_dir");
	}
	if (s->control.up && out->count == 0)
		finding_add(out, FINDING_OK, "", "ALL", "nothing is wrong", "");
}

// ---------------------------------------------------------------- views

static struct data_server_load load_of(const struct server *s, const struct data_broker *b)
{
	return (struct data_server_load){
		.broker_id = b->id,
		.reachable = b->up && !b->refused,
		.stale = !data_broker_is_fresh(b, s->brokers.sys_interval_s, s->now.mono),
		.sent_bytes_per_s = b->sent_bytes_per_s,
		.capacity_bytes_per_s = b->capacity_bytes_per_s,
		.granted_bytes_per_s = b->granted_bytes_per_s,
		.leases = b->leases,
		.last_target_unix_ms = b->last_target.ms,
		.placements = b->placements,
	};
}

// What is worth a view before its time.
static uint64_t load_mark(const struct data_server_load *v)
{
	return (uint64_t)v->reachable | (uint64_t)v->stale << 1 | (uint64_t)v->leases << 2 |
	       (uint64_t)v->placements << 34;
}

static void view_publish(struct server *s, struct server_link *l)
{
	struct data_server_load v = load_of(s, l->broker);
	struct topic topic = topic_of(TOPIC_VIEW_DS, l->name);
	SCOPED_BUF struct buf payload = {0};

	if (l->view_hash == load_mark(&v) && mono_since_ms(s->now.mono, l->view_next) < 0)
		return;
	l->view_hash = load_mark(&v);
	l->view_next = mono_add_ms(s->now.mono, VIEW_PERIOD_MS);
	buf_init(&payload, LIMIT_VIEW);
	if (data_server_load_encode(&v, &payload) != ERR_OK ||
		core_publish_signed(s->core, NULL, topic.s, &payload, 1, true) != ERR_OK)
		log_warn("VIEW-DS", "broker=%s why=%s", l->name, log_quote(err_text()));
}

void server_views(struct server *s)
{
	for (size_t i = 0; i < s->brokers.count && s->control.up; i++)
		view_publish(s, &s->data[i]);
}
