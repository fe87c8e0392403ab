// A server that shares a store with others (share.h): what it tells the leader of its clients, and
// what it makes of such letters when it leads. Nobody but the leader has packages, orders and media
// in memory; the others look up in the store what they need.
#include "server/server_inside.h"

#include "server/db/rows_content.h"
#include "server/share.h"

// ---------------------------------------------------------------- to the leader

static void post(struct server *s, const struct letter_said *l)
{
	if (core_letter_to_lead(s->core, l) != ERR_OK)
		log_error("LETTER-LOST", "kind=%d client=%s why=%s", (int)l->kind, l->client,
			log_quote(err_text())); // the turn fails with it
}

bool server_pass_want(struct server *s, const char *client, const struct want *m)
{
	if (core_leads(s->core))
		return false;
	SCOPED_BUF struct buf body;

	buf_init(&body, LIMIT_WANT);
	if (want_encode(m, &body) != ERR_OK) {
		log_warn("WANT-UNTOLD", "client=%s why=%s", client, log_quote(err_text()));
		return true;
	}
	post(s, &(struct letter_said){
			.kind = LETTER_WANT, .client = client, .body = buf_bytes(&body)});
	return true;
}

bool server_pass(struct server *s, enum letter kind, const char *client, uint64_t a, uint64_t b)
{
	if (core_leads(s->core))
		return false;
	post(s, &(struct letter_said){.kind = kind, .client = client, .a = a, .b = b});
	return true;
}

// ---------------------------------------------------------------- as the leader

static enum err want_heard(struct server *s, struct core *core, const struct letter_said *l)
{
	struct want m;

	TRY(want_decode(core_arena(core), l->body, &m));
	handle_want(s->presence, l->client, &m, core_now(core));
	if (m.fetch)
		media_fetches(&s->media, l->client, &m.fetch->package);
	return ERR_OK;
}

#define ENDED_LOOKS 16 // newest operations of a client

static enum err ended_heard(struct server *s, struct core *core, const struct letter_said *l)
{
	struct operation_info *ops = NULL;
	size_t count = 0;

	TRY(core_operations(core, l->client, 0, ENDED_LOOKS, core_arena(core), &ops, &count));
	for (size_t i = 0; i < count; i++)
		if (ops[i].op_id == l->a)
			media_operation_ended(&s->media, &ops[i]);
	return ERR_OK;
}

static enum err on_letter(void *ctx, struct core *core, const struct letter_said *l)
{
	struct server *s = ctx;

	switch ((int)l->kind) {
	case LETTER_WANT:
		return want_heard(s, core, l);
	case LETTER_RENEW:
		presence_lease_renew(s->presence, l->client, l->a, (uint32_t)l->b);
		return ERR_OK;
	case LETTER_ENDED:
		return ended_heard(s, core, l);
	case LETTER_HELD:
		server_held(s, l->client);
		return ERR_OK;
	case LETTER_SCREEN:
		orders_screen(&s->orders, l->client);
		return ERR_OK;
	default:
		return err_set(ERR_VERSION, "a letter of kind %d", (int)l->kind);
	}
}

void server_share_hooks(struct core_hooks *hooks)
{
	hooks->letter = on_letter;
}

// ---------------------------------------------------------------- looked up

enum err server_package_row(struct server *s, const struct digest *package, struct arena *arena,
	struct package_ref *out)
{
	bool withdrawn = false;

	*out = (struct package_ref){.package = *package};
	TRY(rows_package_ref(core_db(s->core), arena, out, PLACE_WITHDRAWN, &withdrawn));
	return withdrawn ? err_set(ERR_NOT_FOUND, "no package %s", digest_short(package)) : ERR_OK;
}

// ---------------------------------------------------------------- shards come and go

static bool owns(void *ctx, unsigned place)
{
	const struct server *s = ctx;

	return place < SHARD_PLACES && s->shards.owner[place] == SHARD_MINE;
}

void server_share_port(struct server *s, struct core_ports *out)
{
	out->owns = s->settings->share ? owns : NULL;
}

enum err server_share_leaving(void *ctx, const unsigned *shards, size_t count)
{
	struct server *s = ctx;

	return s->core ? core_share_leave(s->core, shards, count) : ERR_OK;
}

void server_share_changed(struct server *s)
{
	bool led = core_leads(s->core);

	core_share_changed(s->core, s->now);
	server_turn_end(s);
	if (core_leads(s->core) && !led)
		server_enrolments_again(s);
}

void server_share_tick(struct server *s)
{
	if (s->settings->share)
		core_share_tick(s->core, s->now);
}

// Whose work the rooms above the core are.
bool server_leads(const struct server *s)
{
	return core_leads(s->core);
}
