// The life of a link: create, one turn after another, close.
//
// Paho's threads push into the inbox and wake the loop; link_drain() is the only place that calls
// the program back. See mqtt_link_internal.h for the other files of this room.
#include "proto/mqtt_link_internal.h"

#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/limits.h"
#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MALLOC_KEEP_BYTES (2 * 1024 * 1024)

void link_library_init(void)
{
	MQTTAsync_init_options options = MQTTAsync_init_options_initializer;

	static bool done;

	if (done)
		return;
	done = true;
	// Chunks come and go by the thousand: without this each one is mapped, touched and unmapped
	// anew, which costs a fetch over TLS a third of its speed.
	mallopt(M_MMAP_THRESHOLD, MALLOC_KEEP_BYTES);
	mallopt(M_TRIM_THRESHOLD, MALLOC_KEEP_BYTES);
	// Paho would send every connection, to loopback too, through a proxy named here.
	if (getenv("http_proxy") || getenv("https_proxy"))
		log_info(
			"LINK-PROXY-IGNORED", "why=\"MQTT connections go to the broker directly\"");
	unsetenv("http_proxy");
	unsetenv("https_proxy");
	options.do_openssl_init = 1;
	MQTTAsync_global_init(&options);
	waker_open();
}

// ---- waking Paho

static bool is_busy(const struct mqtt_link *l)
{
	return l->state == LINK_CONNECTING || l->state == LINK_CLOSING || l->subs_count > 0 ||
	       !send_is_idle(l);
}

// Changes whenever Paho's sending thread was given something or got rid of something.
static uint64_t progress(const struct mqtt_link *l)
{
	uint64_t unwritten = l->conn ? atomic_load(&l->conn->unwritten) : 0;

	return l->completions + l->stats.sent_messages + (unwritten << 40);
}

static void on_nudge(uv_timer_t *timer)
{
	struct mqtt_link *l = timer->data;
	uint64_t now = progress(l);

	l->nudge_fast = is_busy(l);
	if (l->nudge_fast && now == l->nudge_seen)
		waker_poke_sender();
	if (!l->nudge_fast || now == l->nudge_seen)
		waker_poke_receiver();
	l->nudge_seen = now;
	uv_timer_start(timer, on_nudge, l->nudge_fast ? LINK_NUDGE_MS : LINK_TICK_MS, 0);
}

void link_nudge(struct mqtt_link *l)
{
	if (l->nudge_fast || l->state == LINK_CLOSED)
		return;
	l->nudge_fast = true;
	l->nudge_seen = progress(l);
	uv_timer_start(&l->nudge, on_nudge, LINK_NUDGE_MS, 0);
}

// ---- the turn

static void finish(struct mqtt_link *l);

void link_fail_later(struct mqtt_link *l)
{
	uv_timer_stop(&l->timer);
	inbox_push_event(&l->inbox, ITEM_DOWN, l->generation, NULL, 0);
	uv_async_send(&l->wake);
}

// Paho holds back all it has, SUBSCRIBE too, once the broker's maximum is under way, and then waits
// for its one-second tick: a quarter stays free.
static size_t outstanding_below(size_t most, uint32_t receive_maximum)
{
	uint32_t free = receive_maximum < 8 ? 1 : receive_maximum / 4;

	if (receive_maximum <= 1)
		return 1;
	return most < receive_maximum - free ? most : receive_maximum - free;
}

static void on_up(struct mqtt_link *l)
{
	const struct link_news *n = &l->conn->news;
	const struct link_address *a = walk_address(l);

	walk_succeeded(l);
	l->state = LINK_UP;
	l->too_old = false;
	l->stats.connects++;
	l->packet_max = n->packet_max;
	l->keepalive_limit_s = n->server_keepalive_s;
	l->outstanding_limit =
		outstanding_below(l->config.outstanding_max, (uint32_t)n->receive_maximum);
	bool found = socket_set_nodelay(a->port, l->resolved, l->resolved_count, l->peer,
			     sizeof(l->peer)) > 0 ||
		     socket_set_nodelay(a->port, NULL, 0, l->peer, sizeof(l->peer)) > 0;
	if (!found && MQTTAsync_isConnected(l->conn->handle))
		log_warn("LINK-NODELAY", "host=%s port=%u why=\"the socket was not found\"",
			log_quote(a->host), a->port);
	if (l->events.up)
		l->events.up(l->ctx, a, n->session_present);
}

static void on_down(struct mqtt_link *l)
{
	bool was_up = l->state == LINK_UP;

	bool unclear = l->conn && !conn_explain(l, was_up);
	conn_close(l);
	if (l->closing) {
		finish(l);
		return;
	}
	if (unclear && walk_ask_why(l))
		return;
	l->state = LINK_RESTING;
	l->peer[0] = '\0';
	send_abandon(l);
	if (l->closing)
		return;
	int64_t retry_ms = walk_failed(l, was_up);
	if (l->events.down)
		l->events.down(l->ctx, l->why, retry_ms);
}

static void on_message_item(struct mqtt_link *l, struct link_item *item)
{
	struct link_message m = inbox_message(&l->inbox, item);

	l->stats.received_messages++;
	l->stats.received_bytes += m.payload.size;
	if (!l->closing && l->events.message)
		l->events.message(l->ctx, &m);
}

static void handle(struct mqtt_link *l, struct link_item *item)
{
	if (item->generation != l->generation)
		return;
	switch (item->kind) {
	case ITEM_MESSAGE:
		on_message_item(l, item);
		break;
	case ITEM_UP:
		if (!l->closing)
			on_up(l);
		break;
	case ITEM_DOWN:
		on_down(l);
		break;
	case ITEM_PUBLISHED:
		send_published(l, item->done.slot, item->done.reason);
		break;
	case ITEM_SUBSCRIBED:
		send_subscribed(l, item->done.slot);
		break;
	case ITEM_CLOSED:
		if (l->closing)
			finish(l);
		break;
	}
}

static bool turn_begin(struct mqtt_link *l)
{
	if (l->closing || !l->turn_before)
		return !l->closing;
	l->turn_before(l->ctx);
	return true;
}

static void look_ahead(struct mqtt_link *l)
{
	size_t length;
	const char *topic =
		l->events.ahead ? inbox_ahead(&l->inbox, LINK_AHEAD - 1, &length) : NULL;

	if (topic && l->state == LINK_UP)
		l->events.ahead(l->ctx, topic, length);
}

static size_t drain_items(struct mqtt_link *l, bool *turn)
{
	struct link_item *item;
	size_t n = 0;

	while (n < l->batch && l->state != LINK_CLOSED && (item = inbox_next(&l->inbox))) {
		if (!*turn)
			*turn = turn_begin(l);
		look_ahead(l);
		handle(l, item);
		inbox_item_free(&l->inbox, item);
		n++;
	}
	return n;
}

// Returns how many items were handled.
static size_t link_drain(struct mqtt_link *l)
{
	bool turn = false;

	if (l->state == LINK_CLOSED)
		return 0;
	size_t handled = drain_items(l, &turn);
	if (!l->closing || l->graceful)
		send_pump(l);
	if (turn && l->turn_after)
		l->turn_after(l->ctx);
	if (l->state == LINK_CLOSED)
		return handled;
	if (l->state == LINK_CLOSING && l->graceful && send_is_idle(l)) {
		finish(l);
		return handled;
	}
	if (atomic_load(&l->inbox.broken) && l->conn) {
		atomic_store(&l->inbox.broken, false);
		conn_close(l);
		text_format(l->why, sizeof(l->why), "there is no memory for what the broker said");
		link_fail_later(l);
	}
	if (!inbox_is_empty(&l->inbox))
		uv_async_send(&l->wake);
	return handled;
}

static void on_poll(uv_timer_t *timer)
{
	struct mqtt_link *l = timer->data;

	if (link_drain(l) >= LINK_WAKES_PER_MS || l->state == LINK_CLOSED)
		return;
	uv_timer_stop(timer);
	atomic_store(&l->polling, false);
	uv_async_send(&l->wake); // for what came before the flag was seen
}

// A wake costs Paho's thread a system call and often another CPU's attention: 2 microseconds beside
// the 7 that a message takes there. A busy inbox is looked at by the clock instead.
static void on_wake(uv_async_t *wake)
{
	struct mqtt_link *l = wake->data;

	link_drain(l);
	if (l->state == LINK_CLOSED || atomic_load(&l->polling))
		return;
	if (l->wakes_ms != uv_now(l->loop)) {
		l->wakes_ms = uv_now(l->loop);
		l->wakes = 0;
	}
	if (++l->wakes <= LINK_WAKES_PER_MS)
		return;
	l->wakes = 0;
	atomic_store(&l->polling, true);
	uv_timer_start(&l->poll, on_poll, 1, 1);
}

// ---- create

static bool copy_string(const char **at)
{
	if (!*at)
		return true;
	*at = strdup(*at);
	return *at != NULL;
}

// What could not be copied is NULL afterwards, so that config_free() frees copies only.
static enum err config_copy(struct mqtt_link *l, const struct link_config *config)
{
	struct link_config *c = &l->config;
	const char **strings[] = {
		&c->client_id, &c->ca_file, &c->cert_file, &c->key_file, &c->will_topic};
	bool all = true;

	*c = *config;
	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++)
		all = copy_string(strings[i]) && all;
	for (size_t i = 0; i < config->address_count; i++) {
		l->addresses[i] = config->addresses[i];
		all = copy_string(&l->addresses[i].host) && all;
	}
	c->addresses = l->addresses;
	if (config->will_payload.size > 0) {
		uint8_t *copy = malloc(config->will_payload.size);
		if (copy)
			memcpy(copy, config->will_payload.data, config->will_payload.size);
		c->will_payload.data = copy;
		all = copy && all;
	}
	return all ? ERR_OK : err_set(ERR_MEMORY, "no memory for a link");
}

static void config_free(struct mqtt_link *l)
{
	const struct link_config *c = &l->config;

	free((void *)c->client_id);
	free((void *)c->ca_file);
	free((void *)c->cert_file);
	free((void *)c->key_file);
	free((void *)c->will_topic);
	if (c->will_payload.size > 0)
		free((void *)c->will_payload.data);
	for (size_t i = 0; i < c->address_count; i++)
		free((void *)l->addresses[i].host);
}

static enum err config_check(const struct link_config *c)
{
	if (!c->client_id || c->client_id[0] == '\0')
		return err_set(ERR_RANGE, "a link needs a client id");
	if (c->address_count < 1 || c->address_count > LINK_ADDRESSES_MAX)
		return err_set(ERR_RANGE, "a link has 1 to %d addresses, not %zu",
			LINK_ADDRESSES_MAX, c->address_count);
	for (size_t i = 0; i < c->address_count; i++)
		if (!c->addresses[i].host || strlen(c->addresses[i].host) > 255 ||
			c->addresses[i].host[0] == '\0' ||
			(c->addresses[i].port == 0 && c->addresses[i].via != LINK_VIA_SRV))
			return err_set(
				ERR_RANGE, "address %zu of a link has no host or no port", i);
	if (c->connect_timeout_s < 3)
		return err_set(ERR_RANGE, "a connect timeout is 3 s at least, not %u s",
			c->connect_timeout_s);
	if (c->tls && !c->ca_file)
		return err_set(ERR_RANGE, "TLS without a CA file would trust everybody");
	return ERR_OK;
}

static void defaults(struct link_config *c)
{
	if (c->outstanding_max == 0)
		c->outstanding_max = CONTROL_OUTSTANDING;
	if (c->outbox_max == 0)
		c->outbox_max = 1000;
	if (c->inbox_messages == 0)
		c->inbox_messages = INBOX_MESSAGES;
	if (c->inbox_bytes == 0)
		c->inbox_bytes = INBOX_BYTES;
	if (c->backoff_max_ms == 0)
		c->backoff_max_ms = 60000;
	if (c->backoff_min_ms == 0)
		c->backoff_min_ms = 1000;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct mqtt_link *l = handle->data;

	if (--l->handles_open > 0)
		return;
	inbox_fini(&l->inbox);
	config_free(l);
	free(l);
}

static void handles_close(struct mqtt_link *l)
{
	uv_close((uv_handle_t *)&l->wake, on_handle_closed);
	uv_close((uv_handle_t *)&l->timer, on_handle_closed);
	uv_close((uv_handle_t *)&l->nudge, on_handle_closed);
	uv_close((uv_handle_t *)&l->poll, on_handle_closed);
}

enum err link_new(uv_loop_t *loop, const struct link_config *config,
	const struct link_events *events, void *ctx, struct mqtt_link **out)
{
	TRY(config_check(config));
	link_library_init();
	struct mqtt_link *l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(ERR_MEMORY, "no memory for a link");
	enum err e = config_copy(l, config);
	if (e == ERR_OK && uv_async_init(loop, &l->wake, on_wake) != 0)
		e = err_set(ERR_IO, "the loop takes no further link");
	if (e != ERR_OK) {
		config_free(l);
		free(l);
		return e;
	}
	uv_timer_init(loop, &l->timer);
	uv_timer_init(loop, &l->nudge);
	uv_timer_init(loop, &l->poll);
	l->handles_open = 4;
	l->wake.data = l->timer.data = l->nudge.data = l->poll.data = l;
	l->loop = loop;
	l->events = *events;
	l->ctx = ctx;
	l->batch = LINK_BATCH;
	defaults(&l->config);
	inbox_init(&l->inbox, l->config.inbox_messages, l->config.inbox_bytes);
	TAILQ_INIT(&l->pubs);
	TAILQ_INIT(&l->subs);
	TAILQ_INIT(&l->outbox);
	walk_start(l);
	*out = l;
	return ERR_OK;
}

// ---- close

static void finish(struct mqtt_link *l)
{
	if (l->state == LINK_CLOSED)
		return;
	l->state = LINK_CLOSED;
	conn_close(l);
	send_abandon(l);
	handles_close(l);
}

static void on_close_limit(uv_timer_t *timer)
{
	finish(timer->data);
}

// What was published is written, and acknowledged where it asks for that, before the DISCONNECT.
void link_close(struct mqtt_link *l, bool graceful)
{
	bool was_up = l->state == LINK_UP;

	assert(!l->closing);
	l->closing = true;
	l->graceful = graceful;
	uv_timer_stop(&l->timer);
	walk_requests_drop(l);
	if (was_up && (graceful ? !send_is_idle(l) : conn_disconnect_with_will(l))) {
		l->state = LINK_CLOSING;
		atomic_store(&l->pump_wanted, true);
		uv_timer_start(&l->timer, on_close_limit, LINK_CLOSE_MS, 0);
		link_nudge(l);
		uv_async_send(&l->wake);
		return;
	}
	finish(l);
}

// ---- questions

bool link_is_up(const struct mqtt_link *l)
{
	return l->state == LINK_UP;
}

bool link_is_too_old(const struct mqtt_link *l)
{
	return l->too_old;
}

const char *link_peer(const struct mqtt_link *l)
{
	return l->peer;
}

void link_set_turn(struct mqtt_link *l, size_t batch, void (*before)(void *), void (*after)(void *))
{
	l->batch = batch ? batch : LINK_BATCH;
	l->turn_before = before;
	l->turn_after = after;
}

void link_set_spread(struct mqtt_link *l, uint32_t spread_ms)
{
	l->spread_ms = spread_ms;
}

void link_set_backoff(struct mqtt_link *l, uint32_t min_ms, uint32_t max_ms)
{
	l->config.backoff_min_ms = min_ms;
	l->config.backoff_max_ms = max_ms;
}

void link_get_stats(const struct mqtt_link *l, struct link_stats *out)
{
	*out = l->stats;
	out->dropped_messages = atomic_load(&l->inbox.dropped);
	out->outstanding = (uint32_t)l->outstanding;
	out->waiting = (uint32_t)l->waiting;
}
