// The ports and hooks that join core, presence server and operator API.
#include "server/server_inside.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "server/customer_edit.h"
#include "server/db/rows_customer.h"
#include "server/lease_rates.h"

// ---------------------------------------------------------------- core: ports

static void link_send(
	struct server_link *l, const char *topic, struct bytes payload, int qos, bool retained)
{
	if (l->link && link_is_up(l->link) &&
		link_publish(l->link, topic, payload, qos, retained, 0) == ERR_OK)
		return;
	l->unsent++;
	if (log_gate_open(&l->unsent_gate, l->server->now.mono.ms, 10000))
		log_info("UNSENT", "broker=%s topic=%s unsent=%llu", l->name, log_quote(topic),
			(unsigned long long)l->unsent);
}

static void core_publish(void *ctx, const char *broker, const char *topic, struct bytes payload,
	int qos, bool retained)
{
	struct server *s = ctx;
	struct server_link *l;

	if (!broker || strcmp(broker, CORE_ALL_BROKERS) == 0)
		link_send(&s->control, topic, payload, qos, retained);
	if (!broker)
		return;
	if (strcmp(broker, CORE_ALL_BROKERS) == 0) {
		for (size_t i = 0; i < s->brokers.count; i++)
			link_send(&s->data[i], topic, payload, qos, retained);
		return;
	}
	l = server_link_find(s, broker);
	if (l)
		link_send(l, topic, payload, qos, retained);
}

static void core_random_port(void *ctx, void *out, size_t size)
{
	(void)ctx;
	random_fill(out, size);
}

static void core_x25519(void *ctx, struct key32 *secret, struct key32 *share)
{
	(void)ctx;
	x25519_generate(secret, share);
}

void server_core_ports(struct server *s, struct core_ports *out)
{
	*out = (struct core_ports){.ctx = s,
		.publish = core_publish,
		.random = core_random_port,
		.x25519 = core_x25519};
	server_share_port(s, out);
}

// ---------------------------------------------------------------- core: hooks

static void on_want(void *ctx, struct core *core, const struct caller *who, const struct want *m)
{
	struct server *s = ctx;

	(void)core;
	if (server_pass_want(s, who->id, m))
		return;
	handle_want(s->presence, who->id, m, who->now);
	if (m->fetch)
		media_fetches(&s->media, who->id, &m->fetch->package);
}

static void on_pub(
	void *ctx, struct core *core, const struct caller *who, const struct publisher_msg *m)
{
	struct server *s = ctx;

	(void)core;
	if (m->recorded)
		server_media_said(s, who->id, m->recorded);
	orders_publisher(&s->orders, who->id, who->session_id);
	content_keys_heard(&s->content_keys, who->id, who->session_id);
	handle_pub(s->presence, &s->trust.root, who->id, m, who->arena, who->now);
}

static void on_api(
	void *ctx, struct core *core, const struct caller *who, const struct api_request *m)
{
	struct server *s = ctx;

	(void)core;
	handle_api(&s->room, who->id, who->role, m, &s->arena, who->now);
	arena_reset(&s->arena);
}

static void on_lease_renew(void *ctx, struct core *core, const char *client,
	const struct holding *h, uint32_t told_interval_ms, struct now now)
{
	struct server *s = ctx;

	(void)core;
	if (server_pass_renewal(s, client, h, told_interval_ms))
		return;
	presence_lease_renew(s->presence, client, h->lease, told_interval_ms);
	lease_progress_heard(s->presence, client, h, told_interval_ms, now);
}

static uint64_t on_lease_rate(void *ctx, struct core *core, const char *client,
	uint64_t channel_rate, uint32_t told_interval_ms, struct now now)
{
	struct server *s = ctx;

	if (!core_leads(core))
		return told_rates_tell(s->told_rates, client, channel_rate);
	return lease_rate_tell(s->presence, client, channel_rate, told_interval_ms, now);
}

static enum err on_package_find(void *ctx, struct core *core, const struct digest *package,
	struct arena *arena, struct package_ref *out)
{
	struct server *s = ctx;
	if (!core_leads(core))
		return server_package_row(s, package, arena, out);
	const struct package *k = presence_find(s->presence, package);
	if (!k || k->state == PLACE_WITHDRAWN)
		return err_set(ERR_NOT_FOUND, "no package %s", digest_short(package));
	*out = (struct package_ref){
		.package = k->id,
		.publisher = arena_strdup(arena, k->publisher),
		.kind = k->kind,
		.name = arena_strdup(arena, k->name),
		.version = arena_strdup(arena, k->version),
		.size_bytes = k->size_bytes,
	};
	if (!out->publisher || !out->name || !out->version)
		return err_set(ERR_FULL, "no room for a package reference");
	return ERR_OK;
}

static void on_online(void *ctx, struct core *core, size_t place)
{
	struct server *s = ctx;

	if (core_leads(core))
		freshness_online(&s->freshness, place, core_now(core));
}

static void on_principal_gone(void *ctx, struct core *core, const char *id, enum role role)
{
	struct server *s = ctx;

	told_rates_drop(s->told_rates, id);
	if (!core_leads(core))
		return;
	presence_principal_gone(s->presence, id, role, core_now(core));
	if (role == ROLE_CLIENT)
		customer_client_gone(&s->orders, id);
}

static enum err on_reload(void *ctx, struct core *core)
{
	struct server *s = ctx;

	told_rates_clear(s->told_rates); // what was said in a turn that failed was not said
	if (!core_leads(core))
		return ERR_OK;
	freshness_again(&s->freshness);
	TRY(presence_load(s->presence, core_now(core)));
	return orders_load(&s->orders);
}

static enum err on_before_commit(void *ctx, struct core *core)
{
	struct server *s = ctx;

	(void)core;
	return presence_store_error(s->presence);
}

void server_core_hooks(struct server *s, struct core_hooks *out)
{
	*out = (struct core_hooks){
		.ctx = s,
		.want = on_want,
		.pub = on_pub,
		.api = on_api,
		.lease_renew = on_lease_renew,
		.lease_rate = on_lease_rate,
		.package_find = on_package_find,
		.online = on_online,
		.principal_gone = on_principal_gone,
		.reload = on_reload,
		.before_commit = on_before_commit,
	};
	server_media_hooks(out);
	server_customers_hooks(out);
	server_share_hooks(out);
}

// ---------------------------------------------------------------- presence: ports

static enum err send_directive(void *ctx, const char *publisher, struct directive *m)
{
	struct server *s = ctx;

	return core_send_directive(s->core, publisher, m);
}

static enum err send_grant(void *ctx, const char *client, struct grant *m)
{
	struct server *s = ctx;

	return core_send_grant(s->core, client, m);
}

static enum err publisher_key(void *ctx, const char *publisher, struct key32 *out)
{
	struct server *s = ctx;

	return core_principal_key(s->core, publisher, ROLE_PUBLISHER, out);
}

static bool queue_names(struct server *s, const char *queue, const struct digest *package)
{
	SCOPED_ARENA struct arena a;
	struct channel_slot *slots = NULL;
	size_t count = 0;

	arena_init(&a, 1024 * 1024, 4096);
	if (core_channel_slots(s->core, queue, &a, &slots, &count) != ERR_OK)
		return false;
	for (size_t i = 0; i < count; i++)
		if (digest_equal(&slots[i].package, package) ||
			digest_equal(&slots[i].previous, package))
			return true;
	return false;
}

// Meant for a client: what its channel, or its private queue, wants now or wanted just before.
static bool is_meant(void *ctx, const char *client, const struct digest *package)
{
	struct server *s = ctx;
	struct client_info info;
	char private_queue[LIMIT_ID + 2];

	if (core_client_find(s->core, client, &info) != ERR_OK || info.role != ROLE_CLIENT)
		return false;
	snprintf(private_queue, sizeof(private_queue), "@%s", client);
	for (size_t i = 0; i < info.place_count; i++)
		if (queue_names(s, info.places[i].channel, package))
			return true;
	return queue_names(s, private_queue, package);
}

static uint64_t holders(void *ctx, const struct digest *package, const struct digest *but)
{
	struct server *s = ctx;

	return core_holders(s->core, package, but);
}

static bool holds(void *ctx, const char *client, const struct digest *package)
{
	struct server *s = ctx;

	return core_client_holds(s->core, client, package);
}

static uint32_t told_interval_ms(void *ctx, const char *client)
{
	struct server *s = ctx;

	return core_client_told_interval_ms(s->core, client);
}

static struct route_client client_for_route(void *ctx, const char *client)
{
	struct server *s = ctx;

	return (struct route_client){
		.reach = core_client_reach(s->core, client),
		.mass_silence = core_mass_silence(s->core),
	};
}

static bool mass_silence(void *ctx)
{
	struct server *s = ctx;

	return core_mass_silence(s->core);
}

// Unique for ever: the incarnation never comes again.
static uint64_t lease_id(void *ctx)
{
	struct server *s = ctx;

	return core_incarnation(s->core) << 32 | ++s->lease_counter;
}

static const char *site(void *ctx, const char *client)
{
	struct server *s = ctx;
	struct customer_client at = {0};
	const char *owner = "";
	SCOPED_ARENA struct arena a;
	enum err e;

	arena_init(&a, 64 * 1024, 256);
	e = rows_customer_client_find(core_db(s->core), client, &a, &owner, &at);
	if (e != ERR_OK || !at.place || !at.place[0])
		return "";
	snprintf(s->site, sizeof(s->site), "%s/%s", owner, at.place);
	return s->site;
}

static void read_back(void *ctx, const char *broker, const struct readback_order *order)
{
	struct server *s = ctx;
	struct server_link *l = server_link_find(s, broker);

	if (l)
		readback_add(l->readback, order, s->now);
}

void server_presence_ports(struct server *s, struct presence_ports *out)
{
	*out = (struct presence_ports){
		.ctx = s,
		.send_directive = send_directive,
		.send_grant = send_grant,
		.publisher_key = publisher_key,
		.is_meant = is_meant,
		.told_interval_ms = told_interval_ms,
		.client = client_for_route,
		.lease_id = lease_id,
		.mass_silence = mass_silence,
		.holders = holders,
		.holds = holds,
		.readback = read_back,
		.ordered = server_customers_said,
		.site = site,
	};
}
