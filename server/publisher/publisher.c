#include "publisher.h"
#include "keyring.h"
#include "medium_shelf.h"
#include "orders.h"
#include "proto/base/log.h"
#include "recorder.h"
#include <stdlib.h>
#include <string.h>

#define TICK_MS 100

// ---- events

static void on_session(void *ctx)
{
	struct publisher *p = ctx;

	transmit_session(p->transmit);
	shelf_session(p->shelf);
}

static void on_directive(void *ctx, const struct directive *d, bool asked)
{
	struct publisher *p = ctx;

	if (asked)
		waiters_answer(p, d);
	if (d->kind == DIRECTIVE_CONTENT_KEY)
		keyring_directive(p, d);
	else if (d->kind == DIRECTIVE_RECORD)
		recorder_directive(p, d);
	else if (d->kind == DIRECTIVE_MEDIUM_ENDED)
		shelf_ended(p->shelf, d->medium_order);
	else if (d->kind == DIRECTIVE_PACKAGE_ORDER)
		orders_directive(p->orders, d);
	else if (d->kind == DIRECTIVE_SERVE_BASES)
		deltas_directive(p->deltas, d);
	else
		transmit_directive(p->transmit, d, asked);
	if (asked)
		orders_answered(p->orders, d);
}

// The disk takes writes again: what could not be obeyed meanwhile is asked for once more.
static void store_is_back(struct publisher *p)
{
	struct control_status s;

	control_get_status(p->control, &s);
	if (s.in_session)
		transmit_session(p->transmit);
}

static void on_tick(uv_timer_t *t)
{
	struct publisher *p = t->data;
	struct now now = clock_now();

	control_tick(p->control, now.mono);
	transmit_tick(p->transmit, now.mono);
	waiters_tick(p, now.mono);
	if (store_tick(&p->store, now.mono))
		store_is_back(p);
	orders_tick(p->orders, now);
	shelf_tick(p->shelf, now);
}

// ---- start

static void config_fill(struct publisher *p, uv_loop_t *loop)
{
	const struct fleet_settings *s = &p->settings->fleet;

	p->config = (struct publisher_config){.loop = loop,
		.id = s->id,
		.identity = p->identity,
		.root = &p->trust.root,
		.tls = s->tls,
		.ca_file = s->ca,
		.cert_file = s->cert,
		.key_file = s->tls_key,
		.control = p->control_addresses,
		.control_count = control_addresses(&s->control, p->control_addresses),
		.station_patience_ms = p->settings->station_patience_ms};
}

static enum err connections_start(struct publisher *p)
{
	const struct control_events events = {
		.ctx = p, .in_session = on_session, .directive = on_directive};

	TRY(control_new(&p->config, &p->store, &events, &p->control));
	TRY(transmit_new(&p->config, &p->store, p->control, &p->transmit));
	TRY(orders_new(p, &p->orders));
	transmit_on_command(p->transmit, commands_answer, p);
	TRY(deltas_new(p->config.loop, &p->store, p->control, p->transmit, &p->deltas));
	transmit_on_job(p->transmit, deltas_report, p->deltas);
	return socket_open(p->config.loop, p->settings->socket, publisher_serve, p, &p->socket);
}

enum err publisher_start(
	struct publisher *p, const struct publisher_settings *settings, uv_loop_t *loop)
{
	memset(p, 0, sizeof *p);
	p->settings = settings;
	p->store.lock_fd = -1;
	TRY(sign_key_read(settings->fleet.key, &p->identity));
	TRY(trust_open(&p->trust, settings->fleet.root_file, settings->fleet.root_key));
	TRY(store_open(&p->store, settings->state_dir));
	config_fill(p, loop);
	work_line_init(&p->work, loop);
	TRY(shelf_open(p, &p->shelf));
	TRY(connections_start(p));
	uv_timer_init(loop, &p->tick);
	p->tick.data = p;
	uv_timer_start(&p->tick, on_tick, TICK_MS, TICK_MS);
	log_info("PUBLISHER-STARTED", "id=%s state=%s objects=%zu", settings->fleet.id,
		log_quote(settings->state_dir), p->store.known.object_count);
	return ERR_OK;
}

// ---- end

void publisher_stop(struct publisher *p)
{
	if (p->stopping)
		return;
	p->stopping = true;
	p->cancel = true;
	waiters_tick(p, clock_now().mono);
	work_line_stop(&p->work);
	deltas_stop(p->deltas);
	socket_close(p->socket);
	orders_free(p->orders);
	transmit_free(p->transmit);
	control_free(p->control);
	p->socket = NULL;
	p->transmit = NULL;
	p->control = NULL;
	uv_close((uv_handle_t *)&p->tick, NULL);
}

void publisher_fini(struct publisher *p)
{
	deltas_free(p->deltas);
	shelf_free(p->shelf);
	store_close(&p->store);
	sign_key_free(p->identity);
	trust_close(&p->trust);
	p->identity = NULL;
}
