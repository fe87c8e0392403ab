#include "tests/bench/core/reference.h"

#include "server/sip_hash.h"
#include <stdlib.h>
#include <string.h>

struct peer {
	struct key32 up, down;
	uint64_t response_id;
	uint32_t seq;
	char id[20];
};

struct reference {
	struct peer *peers;
	uint32_t *slots;
	size_t mask;
	struct id16 key;
	struct arena arena;
	struct buf body, message, out;
};

static size_t home_of(const struct reference *r, const char *id)
{
	return (size_t)sip_hash(&r->key, id, strlen(id)) & r->mask;
}

struct reference *reference_new(size_t count)
{
	struct reference *r = calloc(1, sizeof(*r));
	size_t slots = 64;

	while (slots < count * 2)
		slots *= 2;
	if (!r || !(r->peers = calloc(count, sizeof(*r->peers))) ||
		!(r->slots = calloc(slots, sizeof(*r->slots))))
		bench_die("memory");
	r->mask = slots - 1;
	arena_init(&r->arena, 1 << 20, 4096);
	buf_init(&r->body, LIMIT_RESPONSE);
	buf_init(&r->message, LIMIT_RESPONSE);
	buf_init(&r->out, 64u << 20);
	for (size_t i = 0; i < count; i++) {
		char id[LIMIT_ID + 1];
		bench_id(i, id);
		(void)str_copy(r->peers[i].id, sizeof(r->peers[i].id), id);
		bench_keys(i, &r->peers[i].up, &r->peers[i].down);
		size_t at = home_of(r, id);
		while (r->slots[at])
			at = (at + 1) & r->mask;
		r->slots[at] = (uint32_t)i + 1;
	}
	return r;
}

void reference_free(struct reference *r)
{
	free(r->peers);
	free(r->slots);
	arena_fini(&r->arena);
	buf_fini(&r->body);
	buf_fini(&r->message);
	buf_fini(&r->out);
	free(r);
}

static struct peer *peer_find(struct reference *r, const char *id)
{
	for (size_t at = home_of(r, id); r->slots[at]; at = (at + 1) & r->mask)
		if (strcmp(r->peers[r->slots[at] - 1].id, id) == 0)
			return &r->peers[r->slots[at] - 1];
	bench_die("unknown client");
}

static void answer(struct reference *r, struct peer *p, const struct heartbeat *h)
{
	struct reason reason = {REASON_CAUGHT_UP, "nothing waits"};
	struct topic topic = topic_of(TOPIC_RSP, p->id);

	MUST(response_body_encode(&(struct response_body){.response_id = ++p->response_id,
					  .kind = KIND_NO_ACTION,
					  .state = CS_IDLE,
					  .reason = &reason,
					  .channel = "default"},
		&r->body));
	MUST(response_encode(&(struct response){.client_id = p->id,
				     .session_id = h->session_id,
				     .in_reply_to_seq = h->seq,
				     .boot = h->boot,
				     .server_unix_ms = h->sent_unix_ms,
				     .heartbeat_interval_ms = 30000,
				     .epoch = 3,
				     .body_bytes = buf_bytes(&r->body)},
		&r->message));
	MUST(seal_mac(&r->message, topic.s, &p->down));
	MUST(buf_append(&r->out, r->message.data, r->message.size));
}

void reference_give(struct reference *r, const struct beats *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct heartbeat h;
		arena_reset(&r->arena);
		MUST(heartbeat_decode(&r->arena, beats_payload(b, i), &h));
		struct peer *p = peer_find(r, h.client_id);
		MUST(seal_check_mac(beats_payload(b, i), b->topic[i].s, &p->up));
		p->seq = (uint32_t)h.seq;
		answer(r, p, &h);
		if (i % BENCH_TURN == BENCH_TURN - 1)
			buf_clear(&r->out);
	}
	buf_clear(&r->out);
}
