#include "tests/fleet/fleet_device.h"

#include "client/agent_parts.h"
#include "proto/base/file.h"
#include <stdio.h>
#include <string.h>

struct key32 fleet_secret(const char *prefix, uint64_t seed, size_t index)
{
	char text[160];
	struct key32 secret;
	int n = snprintf(text, sizeof(text), "%s/%llu/%zu", prefix, (unsigned long long)seed, index);
	struct digest d = sha256(text, (size_t)n);

	memcpy(secret.b, d.b, sizeof(secret.b));
	return secret;
}

void fleet_id(const char *prefix, size_t index, char out[LIMIT_ID + 1])
{
	snprintf(out, LIMIT_ID + 1, "%.40s%06zu", prefix, index);
}

// ---------------------------------------------------------------- the port: memory and the mini link

static enum err port_save(void *ctx, struct bytes state)
{
	(void)ctx;
	(void)state;
	return ERR_OK;
}

static enum err port_publish(void *ctx, const char *topic, struct bytes payload, int qos)
{
	struct fleet_device *d = ctx;

	if (d->link.state != MINI_UP)
		return err_set(ERR_CLOSED, "not connected");
	return mini_publish(&d->link, topic, payload, qos, false, NULL);
}

static void port_subscribe(void *ctx, const char *const *topics, size_t count, int qos)
{
	struct fleet_device *d = ctx;

	if (d->link.state == MINI_UP && mini_subscribe(&d->link, topics, count, qos) != ERR_OK)
		mini_close(&d->link);
}

static void port_unsubscribe(void *ctx, const char *topic)
{
	struct fleet_device *d = ctx;

	if (d->link.state == MINI_UP && mini_unsubscribe(&d->link, &topic, 1) != ERR_OK)
		mini_close(&d->link);
}

static void port_view(void *ctx, struct arena *a, struct agent_view *out)
{
	(void)ctx;
	(void)a;
	*out = (struct agent_view){ .ip = { 127, 0, 0, 1 },
		.ip_size = 4,
		.free_bytes = 1ull << 30,
		.showing_image = "",
		.showing_name = "",
		.showing_version = "",
		.screen_width_px = 1920,
		.screen_height_px = 1080,
		.display_alive = true,
		.trouble = "" };
}

static void port_holdings(void *ctx, struct arena *a, struct holdings *out)
{
	(void)ctx;
	(void)a;
	*out = (struct holdings){ .full = true };
}

static bool is_held(const struct fleet_device *d, const struct digest *package)
{
	return !digest_is_zero(&d->held) && digest_equal(&d->held, package);
}

static void port_holding(void *ctx, const struct digest *package, struct holding *out)
{
	*out = (struct holding){ .package = *package, .complete = is_held(ctx, package) };
}

static enum err port_activate(void *ctx, const struct package_ref *package)
{
	if (is_held(ctx, &package->package))
		return ERR_OK;
	return err_set(ERR_UNSUPPORTED, "a simulated device holds no packages");
}

static void port_fetch(void *ctx, const struct fetch_order *order)
{
	struct fleet_device *d = ctx;

	if (d->fetch) {
		d->fetch(d, order);
		return;
	}
	d->order_package = order->package->package;
	d->order_waiting = true;
}

static void port_fetch_pace(void *ctx, uint64_t rate_bytes_per_s, bool hold)
{
	(void)ctx;
	(void)rate_bytes_per_s;
	(void)hold;
}

static void port_fetch_stop(void *ctx)
{
	struct fleet_device *d = ctx;

	d->order_waiting = false;
	if (d->fetch_stop)
		d->fetch_stop(d);
}

static void port_command(void *ctx, uint64_t op_id, const struct execute_command *command)
{
	struct fleet_device *d = ctx;
	struct command_result r = { .status = OP_DONE, .rc = 0, .detail = command->verb };

	agent_command_done(&d->core, clock_now(), op_id, &r);
}

static void port_command_stop(void *ctx, uint64_t op_id)
{
	(void)ctx;
	(void)op_id;
}

static void port_command_fetch(void *ctx, uint64_t op_id, const struct command_ref *ref)
{
	struct fleet_device *d = ctx;

	(void)ref;
	agent_command_fetched(&d->core, clock_now(), op_id,
		err_set(ERR_UNSUPPORTED, "a simulated device fetches nothing"), (struct bytes){ NULL, 0 });
}

static enum err port_changes(void *ctx, const struct change *changes, size_t count)
{
	(void)ctx;
	(void)changes;
	(void)count;
	return ERR_OK;
}

static void port_usage(void *ctx, struct arena *a, int64_t since_unix_ms, size_t max, struct shown **rows, size_t *count)
{
	(void)ctx;
	(void)a;
	(void)since_unix_ms;
	(void)max;
	*rows = NULL;
	*count = 0;
}

static void port_send_elsewhere(void *ctx, const struct address *to, const char *topic, struct bytes payload)
{
	(void)ctx;
	(void)to;
	(void)topic;
	(void)payload;
}

static void port_random(void *ctx, void *out, size_t size)
{
	(void)ctx;
	random_fill(out, size);
}

static void port_session_began(void *ctx, uint64_t session_id, const struct session_keys *keys)
{
	(void)session_id;
	(void)keys;
	((struct fleet_device *)ctx)->signed_in = true;
}

static const struct agent_port port = {
	.save = port_save,
	.publish = port_publish,
	.subscribe = port_subscribe,
	.unsubscribe = port_unsubscribe,
	.view = port_view,
	.holdings = port_holdings,
	.holding = port_holding,
	.activate = port_activate,
	.fetch = port_fetch,
	.fetch_pace = port_fetch_pace,
	.fetch_stop = port_fetch_stop,
	.command = port_command,
	.command_stop = port_command_stop,
	.command_fetch = port_command_fetch,
	.changes = port_changes,
	.usage = port_usage,
	.send_elsewhere = port_send_elsewhere,
	.random = port_random,
	.session_began = port_session_began,
};

// ---------------------------------------------------------------- life

enum err fleet_device_init(struct fleet_device *d, const char *prefix, uint64_t seed, size_t index,
	const struct root *root, struct arena *scratch, struct buf *out)
{
	struct key32 secret = fleet_secret(prefix, seed, index);
	struct agent_state state;
	struct id16 store;

	memset(d, 0, sizeof(*d));
	d->link.fd = -1;
	d->link.events = &fleet_device_events;
	d->link.ctx = d;
	fleet_id(prefix, index, d->id);
	memcpy(d->link.client_id, d->id, sizeof(d->id));
	TRY(sign_key_load(&secret, &d->key));
	d->config = (struct agent_config){ .client_id = d->id,
		.version = "0.1.0",
		.hw_class = "fleet",
		.key = d->key,
		.root = root,
		.interval_ms = 3600 * 1000,
		.response_max_age_ms = 60000,
		.scratch = scratch,
		.out = out };
	// The same device comes back with the same disk.
	struct digest home = sha256(secret.b, sizeof(secret.b));
	memcpy(store.b, home.b, sizeof(store.b));
	agent_state_init(&state, &store);
	TRY(agent_init(&d->core, &d->config, &port, d, &state));
	d->core_ready = true;
	return ERR_OK;
}

void fleet_device_fini(struct fleet_device *d)
{
	mini_client_fini(&d->link);
	if (d->core_ready)
		agent_fini(&d->core);
	sign_key_free(d->key);
}

void fleet_device_beat(struct fleet_device *d, struct now now, int64_t intended_us)
{
	d->intended_us[(d->core.session.hb_seq + 1) % BEATS_REMEMBERED] = intended_us;
	arena_reset(d->config.scratch);
	heartbeat_send(&d->core, now);
	// In the place of the grid's next one: an interval that is told counts from here.
	d->core.grid.last = now.mono;
	d->core.grid.next = mono_add_ms(now.mono, d->core.grid.interval_ms);
}

static void order_fail(struct fleet_device *d, struct now now)
{
	if (!d->order_waiting)
		return;
	d->order_waiting = false;
	agent_fetch_failed(&d->core, now, "unsupported", "a simulated device holds no packages");
}

void fleet_device_tick(struct fleet_device *d, struct now now)
{
	arena_reset(d->config.scratch);
	order_fail(d, now);
	agent_tick(&d->core, now);
	mini_keepalive(&d->link, now.mono);
}

static void on_up(struct mini_client *c, uint8_t reason)
{
	struct fleet_device *d = c->ctx;

	if (reason == 0)
		agent_link_up(&d->core, clock_now());
}

static void on_down(struct mini_client *c)
{
	struct fleet_device *d = c->ctx;

	agent_link_down(&d->core, clock_now());
}

static void on_message(struct mini_client *c, const char *topic, struct bytes payload, bool retained)
{
	struct fleet_device *d = c->ctx;

	arena_reset(d->config.scratch);
	agent_message(&d->core, clock_now(), topic, strlen(topic), payload, retained);
	order_fail(d, clock_now());
	if (d->core.session.answered_seq != d->answered_seq) {
		d->answered_seq = d->core.session.answered_seq;
		if (d->answered)
			d->answered(d, d->answered_seq);
	}
	if (d->heard)
		d->heard(d);
}

const struct mini_events fleet_device_events = { .up = on_up, .down = on_down, .message = on_message };
