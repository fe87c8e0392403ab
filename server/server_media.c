// The ports that join media orders with the core, the presence server and the publishers.
#include "server/server_inside.h"

#include "proto/envelope.h"
#include "server/db/rows.h"
#include "server/db/rows_customer.h"
#include <string.h>

static enum err customer_of(struct server *s, const char *client, struct arena *a, const char **out)
{
	struct customer_client at;
	enum err e = rows_customer_client_find(core_db(s->core), client, a, out, &at);

	if (e == ERR_NOT_FOUND)
		*out = "";
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static bool key_is_none(const struct sealed_key *key)
{
	static const struct id16 none;

	return memcmp(&key->key_id, &none, sizeof(none)) == 0;
}

// What lies on the medium, signed for one client, as a response and a grant would be.
static enum err order_seal(struct server *s, const struct media_row *row, struct buf *out)
{
	SCOPED_BUF struct buf payload;
	struct package_ref ref = {
		.package = row->package,
		.publisher = row->publisher,
		.kind = row->kind,
		.name = row->name,
		.version = row->version,
		.activate = row->activate,
		.activate_unix_ms = row->activate_unix_ms,
	};
	struct medium m = {
		.client_id = row->client,
		.order = row->number,
		.package = &ref,
		.created_unix_ms = row->created_ms,
	};
	struct sign_key *const keys[1] = {s->online};

	SCOPED_ARENA struct arena a;
	struct principal_row client;
	struct sealed_key sealed;

	arena_init(&a, 64 * 1024, 256);
	buf_init(&payload, LIMIT_MANIFEST_ROOT);
	TRY(rows_principal_find(core_db(s->core), row->client, &a, &client));
	m.client_name = client.name;
	TRY(customer_of(s, row->client, &a, &m.customer));
	TRY(content_keys_for_medium(
		&s->content_keys, &row->package, &client, row->number, &sealed));
	if (!key_is_none(&sealed))
		m.key = &sealed;
	TRY(core_principal_key(s->core, row->publisher, ROLE_PUBLISHER, &m.publisher_key));
	TRY(medium_encode(&m, &payload));
	return envelope_make(PURPOSE_MEDIUM, buf_bytes(&payload), keys, 1, out);
}

// What the client said that it holds whole. An order that a person wanted is whole: the device may
// have lost its disk.
static enum err held_fill(
	struct server *s, const struct media_row *order, struct arena *a, struct directive *d)
{
	if (media_is_by_hand(order))
		return ERR_OK;
	TRY(core_client_holdings(s->core, order->client, a, &d->held, &d->held_count));
	if (d->held_count > LIMIT_HOLDINGS)
		d->held_count = LIMIT_HOLDINGS;
	return ERR_OK;
}

static enum err record(void *ctx, const struct media_row *order)
{
	struct server *s = ctx;
	SCOPED_BUF struct buf envelope;
	SCOPED_ARENA struct arena a = {0};
	struct directive d = {.kind = DIRECTIVE_RECORD, .package = order->package, .reason = ""};

	buf_init(&envelope, LIMIT_MEDIUM_ENVELOPE);
	enum err e = order_seal(s, order, &envelope);
	if (e != ERR_OK) // not for the publisher's absence
		return e == ERR_NOT_FOUND ? ERR_UNSUPPORTED : e;
	d.medium = buf_bytes(&envelope);
	arena_init(&a, 64 * 1024, 256);
	TRY(held_fill(s, order, &a, &d));
	return core_send_directive(s->core, order->publisher, &d);
}

static void ended(void *ctx, const char *publisher, uint64_t order)
{
	struct server *s = ctx;
	struct directive d = {.kind = DIRECTIVE_MEDIUM_ENDED, .medium_order = order, .reason = ""};

	if (core_send_directive(s->core, publisher, &d) != ERR_OK)
		log_debug("MEDIUM-ENDED-UNTOLD", "order=%llu publisher=%s why=%s",
			(unsigned long long)order, publisher, log_quote(err_text()));
}

void server_media_said(struct server *s, const char *publisher, const struct medium_outcome *o)
{
	media_recorded(&s->media, publisher,
		&(struct media_recorded){
			.order = o->order,
			.medium_kind = o->medium_kind,
			.path = o->path,
			.sha256 = o->sha256,
			.size_bytes = o->size_bytes,
			.failed = o->failed,
		});
}

void server_media_open(struct server *s)
{
	struct media_config config;
	const struct media_ports ports = {.ctx = s, .record = record, .ended = ended};

	heliod_media_config(s->settings, &config);
	media_init(&s->media, &config, &ports, s->core);
}

static void on_distributed(void *ctx, struct core *core, const char *queue)
{
	struct server *s = ctx;

	(void)core;
	(void)queue;
	media_distributed(&s->media);
}

void server_held(struct server *s, const char *client)
{
	s->presence->holdings_changed = true;
	media_held(&s->media, client);
}

static void on_held(void *ctx, struct core *core, const char *client)
{
	struct server *s = ctx;

	(void)core;
	if (!server_pass(s, LETTER_HELD, client, 0, 0))
		server_held(s, client);
}

static void on_operation_ended(void *ctx, struct core *core, const struct operation_info *op)
{
	struct server *s = ctx;

	// Of others only what goes on by a medium.
	if (!core_leads(core) && (op->kind != KIND_RETRIEVE_INFORMATION || !op->is_final ||
					 op->outcome != OP_FAILED))
		return;
	if (!server_pass(s, LETTER_ENDED, op->client, op->op_id, 0))
		media_operation_ended(&s->media, op);
}

static enum err on_content_keys(void *ctx, struct core *core, const struct caller *to,
	struct bytes body, struct sealed_key **keys, size_t *count)
{
	struct server *s = ctx;

	(void)core;
	return content_keys_for_response(&s->content_keys, to, body, keys, count);
}

void server_media_hooks(struct core_hooks *hooks)
{
	hooks->content_keys = on_content_keys;
	hooks->distributed = on_distributed;
	hooks->held = on_held;
	hooks->operation_ended = on_operation_ended;
}
