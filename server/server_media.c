// The ports that join media orders with the core, the presence server and the publishers.
#include "server/server_inside.h"

static enum err record(void *ctx, const struct media_row *order)
{
	(void)ctx;
	return err_set(ERR_NOT_FOUND, "publisher %s records no media", order->publisher);
}

void server_media_open(struct server *s)
{
	struct media_config config;
	const struct media_ports ports = {.ctx = s, .record = record};

	heliod_media_config(s->settings, &config);
	media_init(&s->media, &config, &ports, s->core, s->presence);
}

static void on_distributed(void *ctx, struct core *core, const char *queue)
{
	struct server *s = ctx;

	(void)core;
	(void)queue;
	media_distributed(&s->media);
}

static void on_held(void *ctx, struct core *core, const char *client)
{
	struct server *s = ctx;

	(void)core;
	media_held(&s->media, client);
}

static void on_operation_ended(void *ctx, struct core *core, const struct operation_info *op)
{
	struct server *s = ctx;

	(void)core;
	media_operation_ended(&s->media, op);
}

void server_media_hooks(struct core_hooks *hooks)
{
	hooks->distributed = on_distributed;
	hooks->held = on_held;
	hooks->operation_ended = on_operation_ended;
}
