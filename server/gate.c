// The gate: what every message passes before anything of it is believed, in the order of
// protocol.md: topic, size, authentication by session or sign-in, schema, session, boot, seq, not
// retained. A failure changes nothing; it is counted by its reason and logged at most once a second
// per reason.
#include "proto/rotation.h"
#include "server/core_inside.h"
#include <string.h>

static const char *const reject_words[REJECT_COUNT] = {
	[REJECT_TOPIC] = "topic",
	[REJECT_RETAINED] = "retained",
	[REJECT_SIZE] = "size",
	[REJECT_UNKNOWN] = "unknown-client",
	[REJECT_REVOKED] = "revoked",
	[REJECT_SIGNATURE] = "signature",
	[REJECT_SCHEMA] = "schema",
	[REJECT_FORMAT] = "format",
	[REJECT_NO_STATUS] = "no-status",
	[REJECT_IP] = "ip",
	[REJECT_IDENTITY] = "identity",
	[REJECT_SESSION] = "session",
	[REJECT_BOOT] = "boot",
	[REJECT_REPLAY] = "replay",
	[REJECT_KEY] = "key",
	[REJECT_OFFERS] = "offers",
	[REJECT_TOO_MANY] = "too-many",
	[REJECT_ROLE] = "role",
};

const char *reject_word(enum reject why)
{
	return (unsigned)why < REJECT_COUNT ? reject_words[why] : "?";
}

// The decoder's sentence, which names the field: who is newer than we are is refused in words.
static const char *reject_sentence(enum reject why)
{
	bool decoded = why == REJECT_SCHEMA || why == REJECT_FORMAT || why == REJECT_NO_STATUS ||
		       why == REJECT_IP;

	return decoded ? err_text() : "";
}

void gate_reject(struct core *core, enum reject why, const char *id, const char *topic)
{
	struct log_gate *gate = &core->reject_gates[why];

	core->rejects[why]++;
	if (!log_gate_open(gate, core->now.mono.ms, 1000))
		return;
	log_warn("GATE-REJECT", "reject reason=%s id=%s topic=%s count=%llu why=%s",
		reject_word(why), log_quote(id), log_quote(topic),
		(unsigned long long)core->rejects[why], log_quote(reject_sentence(why)));
}

// One message on its way: what was read, and what all kinds have in common.
struct incoming {
	const char *topic, *broker;
	struct topic_parts parts;
	struct bytes payload;
	uint32_t number;
	struct client *client;
	union {
		struct heartbeat heartbeat;
		struct report report;
		struct want want;
		struct publisher_msg publisher;
		struct api_request api;
	};
	const char *id;
	uint64_t session_id, seq;
	struct id16 boot;
	const struct sign_in *sign_in;
};

static enum role role_of_topic(enum topic_kind kind)
{
	if (kind == TOPIC_PUB)
		return ROLE_PUBLISHER;
	return kind == TOPIC_API ? ROLE_OPERATOR : ROLE_CLIENT;
}

static bool kind_is_ours(enum topic_kind kind, bool from_data_broker)
{
	if (from_data_broker)
		return kind == TOPIC_INBOX;
	return kind == TOPIC_HB || kind == TOPIC_REPORT || kind == TOPIC_WANT ||
	       kind == TOPIC_PUB || kind == TOPIC_API;
}

#define COMMON(m, name)                                                                            \
	do {                                                                                       \
		in->id = (m).name;                                                                 \
		in->session_id = (m).session_id;                                                   \
		in->seq = (m).seq;                                                                 \
		in->boot = (m).boot;                                                               \
	} while (0)

static enum err decode(struct core *core, struct incoming *in)
{
	switch ((int)in->parts.kind) {
	case TOPIC_HB:
		TRY(heartbeat_decode(&core->arena, in->payload, &in->heartbeat));
		COMMON(in->heartbeat, client_id);
		in->sign_in = in->heartbeat.sign_in;
		return ERR_OK;
	case TOPIC_REPORT:
	case TOPIC_INBOX:
		TRY(report_decode(&core->arena, in->payload, &in->report));
		COMMON(in->report, client_id);
		return ERR_OK;
	case TOPIC_WANT:
		TRY(want_decode(&core->arena, in->payload, &in->want));
		COMMON(in->want, client_id);
		return ERR_OK;
	case TOPIC_PUB:
		TRY(publisher_msg_decode(&core->arena, in->payload, &in->publisher));
		COMMON(in->publisher, publisher);
		in->sign_in = in->publisher.sign_in;
		return ERR_OK;
	default:
		TRY(api_request_decode(&core->arena, in->payload, &in->api));
		COMMON(in->api, seat);
		in->sign_in = in->api.sign_in;
		return ERR_OK;
	}
}

// The codec's sentence names the field; two of them have a word of their own.
static enum reject reject_of_decode(enum err e)
{
	if (e == ERR_VERSION)
		return REJECT_SCHEMA;
	if (strstr(err_text(), "schema"))
		return REJECT_SCHEMA;
	if (strstr(err_text(), "heartbeat.status is missing") ||
		strstr(err_text(), "status: is missing"))
		return REJECT_NO_STATUS;
	return strstr(err_text(), "ip_address") ? REJECT_IP : REJECT_FORMAT;
}

// ---- sign-in

static bool sign_in_is_meant(const struct incoming *in)
{
	if (in->session_id != 0 || !in->sign_in)
		return false;
	if (in->parts.kind == TOPIC_PUB)
		return in->publisher.state == PUB_SIGN_IN;
	return in->parts.kind != TOPIC_API || strcmp(in->api.verb, "sign-in") == 0;
}

static bool gate_sign_in(struct core *core, struct incoming *in, enum reject *why)
{
	struct principal_row row;

	*why = REJECT_OFFERS;
	if (!sign_in_allowed(core, in->number))
		return false;
	*why = REJECT_KEY;
	if (rows_principal_find(core->db, in->parts.id, &core->arena, &row) != ERR_OK)
		return false;
	*why = REJECT_SIGNATURE;
	if (seal_check_signature(in->payload, in->topic, &row.public_key) != ERR_OK)
		return false;
	enum err e = decode(core, in);
	*why = e == ERR_OK ? REJECT_SESSION : reject_of_decode(e);
	if (e != ERR_OK || !sign_in_is_meant(in))
		return false;
	*why = REJECT_IDENTITY;
	if (strcmp(in->id, in->parts.id) != 0)
		return false;
	*why = REJECT_KEY;
	if (memcmp(in->sign_in->public_key.b, row.public_key.b, sizeof(row.public_key.b)) != 0)
		return false;
	if (sign_in_rotates(in->sign_in) && rotation_check(in->id, in->sign_in) != ERR_OK)
		return false;
	sign_in_offer(core, in->number, in->sign_in, in->payload);
	return true;
}

// ---- in session

static uint64_t *seq_of(struct client_rare *rare, enum topic_kind kind)
{
	switch ((int)kind) {
	case TOPIC_REPORT:
		return &rare->report_seq;
	case TOPIC_INBOX:
		return &rare->inbox_seq;
	case TOPIC_WANT:
		return &rare->want_seq;
	default:
		return &rare->peer_seq;
	}
}

static bool seq_take(struct client *c, enum topic_kind kind, uint64_t seq)
{
	if (kind == TOPIC_HB) {
		if (seq <= c->seq || seq > UINT32_MAX)
			return false;
		c->seq = (uint32_t)seq;
		return true;
	}
	struct client_rare *rare = client_rare_get(c);
	if (!rare || seq <= *seq_of(rare, kind))
		return false;
	*seq_of(rare, kind) = seq;
	return true;
}

// The MAC fails under the current key and every offered one. If the message names another session
// it is of an old one; nothing else of it is looked at.
static enum reject reject_of_mac(struct core *core, struct incoming *in)
{
	if (in->client->session_id == 0)
		return REJECT_SESSION;
	if (decode(core, in) == ERR_OK && in->session_id != in->client->session_id)
		return REJECT_SESSION;
	return REJECT_SIGNATURE;
}

static bool session_is_current(const struct core *core, const struct client *c)
{
	return c->session_id != 0 && core->now.wall.ms / 1000 < (int64_t)c->session_expires_s;
}

// An authenticated message of another start of the server: its sender learns the present boot.
static void answer_stale_boot(struct core *core, struct incoming *in)
{
	enum err e = ERR_OK;

	if (in->parts.kind == TOPIC_HB)
		e = respond_stale_boot(core, in->number, &in->heartbeat);
	else if (in->parts.kind == TOPIC_PUB)
		e = core_send_directive(core, in->parts.id,
			&(struct directive){.kind = DIRECTIVE_NOTED, .reason = "boot"});
	else if (in->parts.kind == TOPIC_API)
		e = core_send_api_answer(core, in->parts.id,
			&(struct api_reply){
				.request_id = in->api.request_id,
				.answer_level = in->api.answer_level,
				.error_word = "boot",
				.error = "the request answers an earlier start of the server: sign "
					 "in again",
			});
	if (e != ERR_OK)
		log_warn("ANSWER-FAILED", "id=%s why=%s", in->parts.id, log_quote(err_text()));
}

static bool gate_session(
	struct core *core, struct incoming *in, enum reject *why, bool *fresh_session)
{
	struct client *c = in->client;
	struct offer *offer = NULL;
	bool current =
		c->session_id && seal_check_mac(in->payload, in->topic, &c->mac_up) == ERR_OK;

	if (!current)
		offer = offer_find(core, in->number, in->payload, in->topic);
	if (!current && !offer) {
		*why = reject_of_mac(core, in);
		return false;
	}
	enum err e = decode(core, in);
	*why = e == ERR_OK ? REJECT_IDENTITY : reject_of_decode(e);
	if (e != ERR_OK || strcmp(in->id, in->parts.id) != 0)
		return false;
	*why = REJECT_SESSION;
	if (in->session_id != (current ? c->session_id : offer->session_id) || in->sign_in)
		return false;
	if (current && !session_is_current(core, c))
		return false;
	if (offer && in->parts.kind != TOPIC_HB && c->role == ROLE_CLIENT)
		return false; // only a heartbeat makes a client's session current
	*why = REJECT_BOOT;
	struct id16 boot = client_boot(core, c);
	if (memcmp(in->boot.b, boot.b, sizeof(in->boot.b)) != 0) {
		if (current)
			answer_stale_boot(core, in);
		return false;
	}
	*why = REJECT_REPLAY;
	if (offer) {
		if (in->seq == 0 || sign_in_complete(core, in->number, offer) != ERR_OK)
			return false;
		*fresh_session = true;
	}
	return seq_take(c, in->parts.kind, in->seq);
}

// ---- onward

static void hand_on(struct core *core, struct incoming *in, bool fresh_session)
{
	const struct core_hooks *h = &core->hooks;
	const struct passed p = {in->number, in->client, in->parts.id, fresh_session};
	const struct caller who = {
		.id = in->parts.id,
		.role = (enum role)in->client->role,
		.session_id = in->client->session_id,
		.broker = in->broker,
		.now = core->now,
		.arena = &core->arena,
	};

	switch ((int)in->parts.kind) {
	case TOPIC_HB:
		handle_heartbeat(core, &p, &in->heartbeat);
		return;
	case TOPIC_REPORT:
	case TOPIC_INBOX:
		handle_report(core, &p, &in->report, in->broker);
		return;
	case TOPIC_WANT:
		core->wants++;
		if (h->want)
			h->want(h->ctx, core, &who, &in->want);
		return;
	case TOPIC_PUB:
		core->publisher_messages++;
		if (h->pub)
			h->pub(h->ctx, core, &who, &in->publisher);
		return;
	default:
		core->requests++;
		if (h->api)
			h->api(h->ctx, core, &who, &in->api);
		return;
	}
}

static bool gate_authenticate(struct core *core, struct incoming *in, enum reject *why)
{
	struct sealed sealed;
	bool fresh_session = false;

	*why = REJECT_SIGNATURE;
	if (seal_split(in->payload, &sealed) != ERR_OK)
		return false;
	if (sealed.auth.size == sizeof(((struct signature *)0)->b))
		return gate_sign_in(core, in, why);
	if (!gate_session(core, in, why, &fresh_session))
		return false;
	hand_on(core, in, fresh_session);
	return true;
}

static bool gate_outside(struct core *core, struct incoming *in, bool retained, enum reject *why)
{
	*why = REJECT_RETAINED;
	if (retained)
		return false;
	*why = REJECT_SIZE;
	if (in->payload.size == 0 || in->payload.size > topic_row(in->parts.kind)->limit)
		return false;
	*why = REJECT_UNKNOWN;
	in->number = client_table_find(&core->clients, in->parts.id);
	if (in->number == CLIENT_NONE) {
		if (in->parts.shard[0] && !topic_shard_is(&in->parts, shard_byte(in->parts.id)))
			*why = REJECT_TOPIC;
		return false;
	}
	in->client = client_at(&core->clients, in->number);
	share_fail(core, share_take(core, in->number));
	*why = REJECT_TOPIC;
	if (!topic_shard_is(&in->parts, in->client->shard))
		return false;
	*why = REJECT_TOO_MANY;
	if (!patience_message(core, in->number))
		return false;
	*why = REJECT_REVOKED;
	if (in->client->flags & CLIENT_REVOKED)
		return false;
	*why = REJECT_ROLE;
	return in->client->role == role_of_topic(in->parts.kind);
}

void gate_message(struct core *core, const char *broker, const char *topic, size_t topic_length,
	struct bytes payload, bool retained)
{
	struct incoming in = {.topic = topic, .broker = broker, .payload = payload};
	enum reject why = REJECT_TOPIC;

	if (topic_take_apart(topic, topic_length, &in.parts) != ERR_OK) {
		gate_reject(core, REJECT_TOPIC, "", topic);
		return;
	}
	if (in.parts.kind == TOPIC_BYE) {
		log_debug("BYE", "client=%s", in.parts.id); // a hint, never heard
		return;
	}
	if (!share_is_ours(core, &in.parts)) {
		core->of_others++;
		return;
	}
	if (!kind_is_ours(in.parts.kind, broker != NULL) ||
		!gate_outside(core, &in, retained, &why) || !gate_authenticate(core, &in, &why))
		gate_reject(core, why, in.parts.id, topic);
}
