// Order of trust: signature or MAC, identity, sequence; only then a field is used.
#include "server/ctl/api_session.h"

#include "proto/base/file.h"
#include <stdlib.h>
#include <string.h>

void api_session_init(struct api_session *s, const char *seat, const struct sign_key *identity,
	const struct root *root, const struct seat_memory *memory)
{
	uint8_t level[8];

	*s = (struct api_session){.identity = identity, .root = root, .memory = *memory};
	str_copy(s->seat, sizeof(s->seat), seat);
	random_fill(level, sizeof(level));
	hex_encode(level, sizeof(level), s->level);
	buf_init(&s->sign_in, LIMIT_API);
}

void api_session_fini(struct api_session *s)
{
	buf_fini(&s->sign_in);
	secret_wipe(s, sizeof(*s));
}

// ---- signing in

enum err api_session_sign_in(struct api_session *s, int64_t now_unix_ms, struct buf *out)
{
	struct sign_in in = {.public_key = *sign_key_public(s->identity),
		.store_id = s->memory.store_id,
		.boot_counter = s->memory.boot_counter,
		.lineage = s->memory.lineage};
	struct topic topic = topic_of(TOPIC_API, s->seat);

	s->signed_in = false;
	s->seq_out = s->seq_in = 0;
	random_fill(in.nonce.b, sizeof(in.nonce.b));
	x25519_generate(&s->secret, &in.x25519_share);
	struct api_request m = {.seat = s->seat,
		.seq = 1,
		.verb = "sign-in",
		.sign_in = &in,
		.request_id = api_session_next_request(s, now_unix_ms),
		.answer_level = s->level};
	TRY(api_request_encode(&m, &s->sign_in));
	TRY(seal_signature(&s->sign_in, topic.s, s->identity));
	buf_clear(out);
	return buf_append(out, s->sign_in.data, s->sign_in.size);
}

static enum err offer_key_check(const struct api_session *s, const char *topic,
	struct bytes payload, const struct session_offer *offer)
{
	for (size_t i = 0; i < s->root->online_key_count; i++) {
		struct digest id = key_id(&s->root->online_keys[i]);

		if (digest_equal(&id, &offer->server_key_id))
			return seal_check_signature(payload, topic, &s->root->online_keys[i]);
	}
	return err_set(ERR_AUTH, "the server's key is not in the root of trust");
}

enum err api_session_offer(struct api_session *s, const char *topic, struct bytes payload)
{
	SCOPED_ARENA struct arena arena;
	struct session_offer offer;

	arena_init(&arena, 64 * 1024, 256);
	if (s->sign_in.size == 0 || s->signed_in)
		return err_set(ERR_NOT_NOW, "an offer that nobody asked for");
	if (strcmp(topic, topic_of(TOPIC_OFFER, s->seat).s) != 0)
		return err_set(ERR_AUTH, "an offer on a foreign topic");
	TRY(session_offer_decode(&arena, payload, &offer));
	TRY(offer_key_check(s, topic, payload, &offer));
	struct digest sum = sha256(s->sign_in.data, s->sign_in.size);
	if (strcmp(offer.principal, s->seat) != 0 || !digest_equal(&offer.sign_in_sha256, &sum))
		return err_set(ERR_STALE, "an offer for another sign-in");
	TRY(session_derive(
		&s->secret, &offer.x25519_share, buf_bytes(&s->sign_in), payload, &s->keys));
	secret_wipe(&s->secret, sizeof(s->secret));
	s->session_id = offer.session_id;
	s->boot = offer.boot;
	s->memory.lineage = offer.next_lineage;
	s->signed_in = true;
	return ERR_OK;
}

// ---- asking

uint64_t api_session_next_request(struct api_session *s, int64_t now_unix_ms)
{
	uint64_t from_clock = now_unix_ms > 0 ? (uint64_t)now_unix_ms << 12 : 0;

	s->memory.request_id =
		from_clock > s->memory.request_id ? from_clock : s->memory.request_id + 1;
	return s->memory.request_id;
}

enum err api_session_request(struct api_session *s, const struct api_question *q, struct buf *out)
{
	if (!s->signed_in)
		return err_set(ERR_NOT_NOW, "not signed in");
	struct api_request m = {.seat = s->seat,
		.session_id = s->session_id,
		.seq = ++s->seq_out,
		.boot = s->boot,
		.request_id = q->request_id,
		.verb = q->verb,
		.args = (struct arg *)(uintptr_t)q->args,
		.arg_count = q->arg_count,
		.answer_level = s->level,
		.body = q->body};
	TRY(api_request_encode(&m, out));
	return seal_mac(out, topic_of(TOPIC_API, s->seat).s, &s->keys.mac_up);
}

enum err api_session_answer(struct api_session *s, struct arena *a, const char *topic,
	struct bytes payload, struct api_answer *out)
{
	if (!s->signed_in)
		return err_set(ERR_NOT_NOW, "an answer before a question");
	if (strcmp(topic, topic_apir(s->seat, s->level).s) != 0)
		return err_set(ERR_AUTH, "an answer on a foreign topic");
	TRY(seal_check_mac(payload, topic, &s->keys.mac_down));
	TRY(api_answer_decode(a, payload, out));
	if (strcmp(out->seat, s->seat) != 0 || out->session_id != s->session_id)
		return err_set(ERR_AUTH, "an answer of another session");
	if (out->seq <= s->seq_in)
		return err_set(ERR_STALE, "a replayed answer");
	s->seq_in = out->seq;
	return ERR_OK;
}

// ---- joining

void answer_parts_begin(struct answer_parts *p, uint64_t request_id)
{
	*p = (struct answer_parts){.request_id = request_id};
}

void answer_parts_end(struct answer_parts *p)
{
	for (uint32_t i = 0; i < p->parts; i++)
		buf_fini(&p->part[i]);
	free(p->part);
	*p = (struct answer_parts){0};
}

static bool parts_open(struct answer_parts *p, const struct api_answer *a)
{
	uint32_t parts = a->parts > 0 ? a->parts : 1;

	if (parts > ANSWER_PARTS_MAX)
		return false;
	p->part = calloc(parts, sizeof(*p->part));
	if (!p->part)
		return false;
	p->parts = parts;
	p->ok = a->ok;
	str_copy(p->error, sizeof(p->error), a->error);
	str_copy(p->error_word, sizeof(p->error_word), a->error_word);
	for (uint32_t i = 0; i < parts; i++)
		buf_init(&p->part[i], ANSWER_BYTES_MAX);
	return true;
}

bool answer_parts_take(struct answer_parts *p, const struct api_answer *a)
{
	if (a->request_id != p->request_id)
		return false;
	if (!p->part && !parts_open(p, a))
		return false;
	if (a->part >= p->parts || (a->parts > 0 ? a->parts : 1) != p->parts || a->ok != p->ok)
		return false;
	struct buf *part = &p->part[a->part];
	if (part->data)
		return p->have == p->parts;
	// One byte more than needed tells an empty part from one that has not come.
	if (buf_reserve(part, a->json.size + 1) != ERR_OK ||
		buf_append(part, a->json.data, a->json.size) != ERR_OK)
		return false;
	p->have++;
	return p->have == p->parts;
}

enum err answer_parts_join(const struct answer_parts *p, struct buf *out)
{
	buf_clear(out);
	for (uint32_t i = 0; i < p->parts; i++)
		TRY(buf_append(out, p->part[i].data, p->part[i].size));
	return ERR_OK;
}
