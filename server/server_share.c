// A server that shares a store with others (share.h): what it tells the leader of its clients, and
// what it makes of such letters when it leads. Nobody but the leader has packages, orders and media
// in memory; the others look up in the store what they need.
#include "server/server_inside.h"

#include "server/db/rows_content.h"
#include "server/lease_rates.h"
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
	if (m->release)
		told_rates_drop(s->told_rates, client);
	return true;
}

// The newest lease of a client whose shard has just come stands in the store.
static const struct told_rate *told_rate_of(struct server *s, const char *client, uint64_t lease)
{
	const struct told_rate *t = told_rates_find(s->told_rates, client);
	uint64_t rate = 0;

	if (t && t->lease >= lease)
		return t->lease == lease ? t : NULL;
	if (rows_lease_rate(core_db(s->core), lease, &rate) != ERR_OK)
		return NULL;
	told_rates_set(s->told_rates, client, lease, rate, true);
	return told_rates_find(s->told_rates, client);
}

bool server_pass_renewal(
	struct server *s, const char *client, const struct holding *h, uint32_t told_interval_ms)
{
	struct told_progress p = {
		.have = h->chunks_have, .total = h->chunks_total, .looked_mb = h->looked_mb};
	char text[TOLD_PROGRESS_TEXT];

	if (core_leads(s->core))
		return false;
	const struct told_rate *t = told_rate_of(s, client, h->lease);
	if (t) {
		p.is_known = true;
		p.rate = t->rate;
		p.told = t->told;
		p.channel_cap = t->channel_cap;
	}
	told_progress_write(&p, text);
	post(s, &(struct letter_said){.kind = LETTER_RENEW,
			.client = client,
			.text = text,
			.a = h->lease,
			.b = told_interval_ms});
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

static enum err renewal_heard(struct server *s, struct core *core, const struct letter_said *l)
{
	struct told_progress shown;
	uint32_t told_ms = (uint32_t)l->b;
	uint64_t rate = 0;

	TRY(told_progress_read(l->text, &shown));
	presence_lease_renew(s->presence, l->client, l->a, told_ms);
	lease_progress_heard(s->presence, l->client,
		&(struct holding){.lease = l->a,
			.chunks_have = shown.have,
			.chunks_total = shown.total,
			.looked_mb = shown.looked_mb},
		told_ms, core_now(core));
	if (!lease_rate_offer(s->presence, l->client, l->a,
		    &(struct rates_shown){.channel_cap = shown.channel_cap,
			    .told_for_ms = lease_told_for_ms(told_ms),
			    .is_known = shown.is_known,
			    .rate = shown.rate,
			    .told = shown.told},
		    core_now(core), &rate))
		return ERR_OK;
	return core_letter_to_owner(
		core, &(struct letter_said){
			      .kind = LETTER_RATE, .client = l->client, .a = l->a, .b = rate});
}

static enum err on_letter(void *ctx, struct core *core, const struct letter_said *l)
{
	struct server *s = ctx;

	switch ((int)l->kind) {
	case LETTER_WANT:
		return want_heard(s, core, l);
	case LETTER_RENEW:
		return renewal_heard(s, core, l);
	case LETTER_RATE:
		told_rates_set(s->told_rates, l->client, l->a, l->b, false);
		return ERR_OK;
	case LETTER_LEFT:
		server_enrolments_again(s);
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

static void on_granted(void *ctx, struct core *core, const char *client, const struct grant *m)
{
	struct server *s = ctx;

	(void)core;
	if (m->granted)
		told_rates_set(s->told_rates, client, m->lease, m->rate_bytes_per_s, true);
}

void server_share_hooks(struct core_hooks *hooks)
{
	hooks->letter = on_letter;
	hooks->granted = on_granted;
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

static uint64_t term(void *ctx)
{
	const struct server *s = ctx;

	return s->shards.fencing;
}

void server_share_port(struct server *s, struct core_ports *out)
{
	out->owns = s->settings->share ? owns : NULL;
	out->term = term;
}

enum err server_share_leaving(void *ctx, const unsigned *shards, size_t count)
{
	struct server *s = ctx;

	return s->core ? core_share_leave(s->core, shards, count) : ERR_OK;
}

void server_share_changed(struct server *s)
{
	bool led = core_leads(s->core);

	told_rates_clear(s->told_rates); // the store knows those that stay, too
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
