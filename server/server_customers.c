// The ports that join customers' orders with the core and the publishers.
#include "server/server_inside.h"

enum err server_customers_open(struct server *s)
{
	orders_init(&s->orders, s->core, s->presence);
	if (!server_leads(s))
		return ERR_OK;
	return orders_load(&s->orders);
}

enum err server_customers_said(void *ctx, const char *publisher, const struct order_outcome *m)
{
	struct server *s = ctx;

	return orders_outcome(&s->orders, publisher, m);
}

static void on_screen(void *ctx, struct core *core, const char *client)
{
	struct server *s = ctx;

	(void)core;
	if (!server_pass(s, LETTER_SCREEN, client, 0, 0))
		orders_screen(&s->orders, client);
}

void server_customers_hooks(struct core_hooks *hooks)
{
	hooks->screen = on_screen;
}
