// Sign-in: a signed message of session 0 obtains an offer and changes nothing else. The first valid
// message inside the offered session makes it current and ends the old one.
//
// An offer lives 60 s, in memory only, and serves once. Session ids rise: none at or below the
// current one can become current. The lineage token that travels in each offer names the session it
// was given for, under a key of ours: who comes back with the token of an earlier session runs on a
// copy of the device's disk.
//
// A sign-in that the next identity key signed too (proto/rotation.h) rotates the key, in the commit
// that makes its session current: the id stays, the key before is of no use any more.
#include "proto/rotation.h"
#include "server/core_inside.h"
#include <stdlib.h>
#include <string.h>

#define SESSION_IDS_AHEAD 600u // one write for the sign-ins of ten minutes
#define LINEAGE_COUNTER 8      // bytes of a token that name the session; the rest proves it

static struct id16 lineage_make(const struct core *core, const char *id, uint64_t session_id)
{
	struct id16 token = {0};
	uint8_t counter[LINEAGE_COUNTER];

	for (size_t i = 0; i < LINEAGE_COUNTER; i++)
		counter[i] = (uint8_t)(session_id >> (8 * (LINEAGE_COUNTER - 1 - i)));
	const struct sha256_part parts[2] = {{counter, sizeof(counter)}, {id, strlen(id)}};
	struct digest proof = hmac_sha256(&core->lineage_key, parts, 2);
	memcpy(token.b, counter, sizeof(counter));
	memcpy(token.b + sizeof(counter), proof.b, sizeof(token.b) - sizeof(counter));
	return token;
}

// The session the token was given for; 0: none, or not ours.
static uint64_t lineage_session(const struct core *core, const char *id, const struct id16 *token)
{
	uint64_t session_id = 0;

	for (size_t i = 0; i < LINEAGE_COUNTER; i++)
		session_id = session_id << 8 | token->b[i];
	struct id16 right = lineage_make(core, id, session_id);
	return mac_equal(bytes_of(right.b, sizeof(right.b)), bytes_of(token->b, sizeof(token->b)))
		       ? session_id
		       : 0;
}

// ---- the list of offers

static void offer_wipe(struct offer *o)
{
	secret_wipe(&o->keys, sizeof(o->keys));
	free(o);
}

void offers_expire(struct core *core)
{
	struct offer_list *l = &core->offers;

	while (l->first &&
		(l->first->principal == CLIENT_NONE || l->first->expires.ms <= core->now.mono.ms)) {
		struct offer *o = l->first;
		if (o->principal != CLIENT_NONE) {
			// Each principal's list is in the order of time too: the oldest is its
			// first.
			client_at(&core->clients, o->principal)->rare->offers =
				o->next_of_principal;
		}
		l->first = o->next_in_time;
		if (!l->first)
			l->last = NULL;
		l->count--;
		offer_wipe(o);
	}
}

void offers_forget(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	if (!c->rare)
		return;
	for (struct offer *o = c->rare->offers; o; o = o->next_of_principal) {
		o->principal = CLIENT_NONE;
		secret_wipe(&o->keys, sizeof(o->keys));
	}
	c->rare->offers = NULL;
}

void offers_fini(struct core *core)
{
	for (struct offer *o = core->offers.first, *next; o; o = next) {
		next = o->next_in_time;
		offer_wipe(o);
	}
	core->offers.first = core->offers.last = NULL;
	core->offers.count = 0;
}

static uint32_t offers_of(const struct client *c)
{
	uint32_t count = 0;

	for (const struct offer *o = c->rare ? c->rare->offers : NULL; o; o = o->next_of_principal)
		count++;
	return count;
}

bool sign_in_allowed(struct core *core, uint32_t number)
{
	const struct client *c = client_at(&core->clients, number);

	offers_expire(core);
	return offers_of(c) < core->config.offers_per_client_min &&
	       patience_sign_in(core, number) && core->offers.count < OFFERS_WAITING_MAX &&
	       ratelimit_take(&core->offers.all, 1, core->now.mono);
}

struct offer *offer_find(
	struct core *core, uint32_t number, struct bytes payload, const char *topic)
{
	const struct client *c = client_at(&core->clients, number);

	offers_expire(core);
	for (struct offer *o = c->rare ? c->rare->offers : NULL; o; o = o->next_of_principal)
		if (o->session_id > c->session_id &&
			seal_check_mac(payload, topic, &o->keys.mac_up) == ERR_OK)
			return o;
	return NULL;
}

// ---- offering

// Session ids rise for ever, also above those that were offered, taken by the device and then
// forgotten here. They follow the wall clock as long as it goes forward, and the monotonic one when
// it was set back; what a start may have offered is reserved in the store before it leaves.
static uint64_t session_clock(struct core *core)
{
	uint64_t wall = core->now.wall.ms > 0 ? (uint64_t)core->now.wall.ms / 1000 : 0;
	uint64_t own = core->session_base +
		       (uint64_t)(mono_since_ms(core->now.mono, core->session_at) / 1000);

	if (wall <= own)
		return own;
	core->session_base = wall;
	core->session_at = core->now.mono;
	return wall;
}

static enum err session_ids_reserve(struct core *core, uint64_t used)
{
	core->session_reserved = used + SESSION_IDS_AHEAD;
	return rows_meta_raise(core->db, "session-reserved", (int64_t)core->session_reserved);
}

enum err session_ids_load(struct core *core)
{
	int64_t reserved = 0;

	TRY(rows_meta_number(core->db, "session-reserved", &reserved));
	core->session_base = core->incarnation;
	if (reserved > 0 && (uint64_t)reserved > core->session_base)
		core->session_base = (uint64_t)reserved;
	if (core->restored)
		core->session_base += DAY_S; // more was offered than this store knows
	core->session_at = core->now.mono;
	return session_ids_reserve(core, session_clock(core));
}

static enum err session_id_next(struct core *core, uint32_t number, const char *id, uint64_t *out)
{
	const struct client *c = client_at(&core->clients, number);
	struct device_row device;

	TRY(rows_device_find(core->db, id, &device));
	uint64_t next =
		device.highest_session > c->session_id ? device.highest_session : c->session_id;
	for (const struct offer *o = c->rare->offers; o; o = o->next_of_principal)
		if (o->session_id > next)
			next = o->session_id;
	uint64_t clock = session_clock(core);
	*out = next + 1 > clock ? next + 1 : clock;
	if (*out >= core->session_reserved)
		TRY(session_ids_reserve(core, *out));
	return *out < UINT32_MAX ? ERR_OK : err_set(ERR_FULL, "%s has used up its session ids", id);
}

static enum err offer_encode(struct core *core, const char *id, const struct client *c,
	const struct offer *o, const struct sign_in *in, const struct key32 *share,
	struct bytes payload)
{
	struct topic topic = topic_of(TOPIC_OFFER, id);

	TRY(session_offer_encode(
		&(struct session_offer){
			.principal = id,
			.session_id = o->session_id,
			.x25519_share = *share,
			.nonce = in->nonce,
			.boot = client_boot(core, c),
			.server_key_id = core->key_id,
			.next_lineage = lineage_make(core, id, o->session_id),
			.highest_change_id = c->rare->change_id,
			.highest_report_id = c->rare->report_id,
			.sign_in_sha256 = sha256(payload.data, payload.size),
			.server_unix_ms = core->now.wall.ms,
			.incarnation = core->incarnations[c->shard],
			.identity_key_id = key_id(o->rotates ? &o->next_key : &in->public_key),
		},
		&core->scratch));
	return seal_signature(&core->scratch, topic.s, core->config.online_key);
}

static void offer_link(struct core *core, struct client *c, struct offer *o)
{
	struct offer **at = &c->rare->offers;

	while (*at)
		at = &(*at)->next_of_principal;
	*at = o;
	if (core->offers.last)
		core->offers.last->next_in_time = o;
	else
		core->offers.first = o;
	core->offers.last = o;
	core->offers.count++;
}

static enum err offer_make(struct core *core, uint32_t number, const struct sign_in *in,
	struct bytes payload, struct offer *o)
{
	struct client *c = client_at(&core->clients, number);
	const char *id = client_id(&core->clients, c);
	struct topic topic = topic_of(TOPIC_OFFER, id);
	struct key32 secret, share;

	*o = (struct offer){
		.principal = number,
		.expires = mono_add_ms(core->now.mono, OFFER_LIFE_MS),
		.store_id = in->store_id,
		.lineage = in->lineage,
		.boot_counter = in->boot_counter,
		.rotates = sign_in_rotates(in),
		.next_key = in->next_key,
	};
	TRY(session_id_next(core, number, id, &o->session_id));
	core->ports.x25519(core->ports.ctx, &secret, &share);
	enum err e = offer_encode(core, id, c, o, in, &share, payload);
	if (e == ERR_OK)
		e = session_derive(
			&secret, &in->x25519_share, payload, buf_bytes(&core->scratch), &o->keys);
	secret_wipe(&secret, sizeof(secret));
	TRY(e);
	return outbox_send(core, NULL, topic.s, &core->scratch, 1, false);
}

void sign_in_offer(
	struct core *core, uint32_t number, const struct sign_in *in, struct bytes payload)
{
	struct client *c = client_at(&core->clients, number);
	struct offer *o = client_rare_get(c) ? calloc(1, sizeof(*o)) : NULL;

	if (!o)
		return;
	enum err e = offer_make(core, number, in, payload, o);
	if (e != ERR_OK) {
		log_warn("OFFER-FAILED", "id=%s why=%s", client_id(&core->clients, c),
			log_quote(err_text()));
		offer_wipe(o);
		return;
	}
	offer_link(core, c, o);
	log_debug("OFFER", "id=%s session=%llu", client_id(&core->clients, c),
		(unsigned long long)o->session_id);
}

// ---- completing

// What the sign-in told about the device itself.
static enum err device_judge(
	struct core *core, uint32_t number, const struct offer *o, struct device_row *device)
{
	struct client *c = client_at(&core->clients, number);
	const char *id = client_id(&core->clients, c);
	const struct id16 none = {0};
	bool first = memcmp(device->store_id.b, none.b, sizeof(none.b)) == 0;
	bool same_store = memcmp(device->store_id.b, o->store_id.b, sizeof(none.b)) == 0;

	if (!first && !same_store) {
		log_warn("NEW-STORE",
			"client=%s why=\"the device lost its disk, or is another one\"", id);
		TRY(operations_abandon(core, number, "the device lost its store"));
		TRY(channel_detach(core, number, "the device lost its store"));
		intern_drop(&core->interned, c->holdings);
		c->holdings = 0;
		c->d = 0;
		// Its numbers begin anew. What the old store still had under way came too late for
		// the offer to tell the highest.
		c->rare->report_id = c->rare->change_id = 0;
		c->flags &= (uint8_t)~CLIENT_HOLDINGS_KNOWN;
	} else if (!first) {
		uint64_t token = lineage_session(core, id, &o->lineage);
		bool stale = token != 0 && token < c->session_id;
		if (stale || o->boot_counter < device->boot_counter) {
			log_error("CLONE-SUSPECT", "client=%s why=\"%s\"", id,
				stale ? "it came back with the token of an earlier session"
				      : "its boot counter went back");
			client_set_state(core, number, CS_CLONE_SUSPECT,
				"two devices seem to use this identity");
		}
	}
	device->store_id = o->store_id;
	if (o->boot_counter > device->boot_counter || !same_store)
		device->boot_counter = o->boot_counter;
	return ERR_OK;
}

static enum err client_complete(struct core *core, uint32_t number, const struct offer *o)
{
	const char *id = client_id(&core->clients, client_at(&core->clients, number));
	struct device_row device;

	TRY(rows_device_find(core->db, id, &device));
	TRY(device_judge(core, number, o, &device));
	device.highest_session = o->session_id;
	TRY(rows_device_put(core->db, id, &device));
	client_dirty(core, number);
	view_due(core, number);
	return ERR_OK;
}

static enum err key_rotate(struct core *core, const char *id, const struct key32 *next)
{
	struct digest name = key_id(next);

	TRY(rows_principal_rekey(core->db, id, next, core->now.wall.ms));
	log_warn("KEY-ROTATED", "id=%s key=%s", id, digest_hex(&name));
	return ERR_OK;
}

enum err sign_in_complete(struct core *core, uint32_t number, struct offer *o)
{
	struct client *c = client_at(&core->clients, number);
	const char *id = client_id(&core->clients, c);
	uint16_t jitter = 0;

	core_random(core, &jitter, sizeof(jitter));
	int64_t life_ms = (int64_t)core->config.session_life_ms;
	int64_t expires_ms = core->now.wall.ms + life_ms - life_ms / 10 * jitter / UINT16_MAX;
	if (c->role == ROLE_CLIENT)
		TRY(client_complete(core, number, o));
	if (o->rotates)
		TRY(key_rotate(core, id, &o->next_key));
	TRY(rows_session_put(core->db, &(struct session_row){.id = id,
					       .session_id = o->session_id,
					       .keys = o->keys,
					       .expires_ms = expires_ms}));
	c->session_id = (uint32_t)o->session_id;
	c->session_expires_s = (uint32_t)(expires_ms / 1000);
	c->mac_up = o->keys.mac_up;
	c->seq = 0;
	c->flags |= CLIENT_FRESH;
	c->rare->report_seq = c->rare->inbox_seq = c->rare->want_seq = c->rare->peer_seq = 0;
	c->rare->grant_seq = c->rare->directive_seq = c->rare->answer_seq = 0;
	offers_forget(core, number);
	core->sign_ins++;
	log_info("SESSION", "id=%s session=%u role=%s", id, c->session_id,
		role_word((enum role)c->role));
	return ERR_OK;
}
