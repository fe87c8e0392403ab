// Pieces are found by a small hash of their key and compared in full; the one that is not right is
// made anew in its place.
#include "proto/no_action.h"
#include "proto/codec.h"
#include "proto/topics.h"
#include <string.h>

// Tags of what is written here: one byte each, but that of the body.
#define TAG_NUMBER(field) ((field) << 3)
#define TAG_BYTES(field) ((field) << 3 | 2)
#define BOOT_SIZE (2 + sizeof(((struct response *)0)->boot))
#define WRITTEN_MAX (2 + 2 + LIMIT_ID + 3 * 11 + 3 + 11) // beside the pieces

void no_action_init(struct no_action *n)
{
	memset(n, 0, sizeof(*n));
	buf_init(&n->body, LIMIT_RESPONSE);
	buf_init(&n->whole, LIMIT_RESPONSE);
}

void no_action_fini(struct no_action *n)
{
	buf_fini(&n->body);
	buf_fini(&n->whole);
}

static uint8_t *varint_put(uint8_t *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	return at;
}

static uint8_t *number_put(uint8_t *at, unsigned field, uint64_t value)
{
	if (value == 0)
		return at;
	*at++ = (uint8_t)TAG_NUMBER(field);
	return varint_put(at, value);
}

static uint8_t *bytes_put(uint8_t *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
	return at + size;
}

// ---- the piece of the header

// All of the struct, its padding too: a new field counts by itself, and what differs for no reason
// makes a piece anew.
static void head_key(const struct response *r, struct response *key)
{
	memcpy(key, r, sizeof(*key));
	key->client_id = NULL;
	key->session_id = key->in_reply_to_seq = 0;
	key->server_unix_ms = 0;
	key->body = NULL;
	key->body_bytes = bytes_of(NULL, 0);
}

// Encoded with a client of one letter, session 1, and a body: all behind the first 7 bytes and
// before the last ones is the piece.
static enum err head_make(
	struct no_action *n, const struct response *key, struct no_action_head *out)
{
	static const uint8_t body[] = {TAG_NUMBER(1), 1};
	static const uint8_t before[] = {TAG_NUMBER(1), 1, TAG_BYTES(2), 1, 'x', TAG_NUMBER(3), 1};
	const size_t after = 3 + sizeof(body);
	struct response r = *key;

	out->size = 0;
	r.client_id = "x";
	r.session_id = 1;
	r.body_bytes = bytes_of(body, sizeof(body));
	TRY(response_encode(&r, &n->whole));
	const uint8_t *at = n->whole.data;
	size_t size = n->whole.size - sizeof(before) - after;
	if (size == 0 || size > sizeof(out->bytes) || memcmp(at, before, sizeof(before)) != 0)
		return ERR_OK;
	memcpy(out->bytes, at + sizeof(before), size);
	bool boot = out->bytes[0] == TAG_BYTES(5);
	out->boot_size = boot ? BOOT_SIZE : 0;
	memcpy(&out->key, key, sizeof(out->key));
	out->size = (uint8_t)size;
	return ERR_OK;
}

static enum err head_get(
	struct no_action *n, const struct response *r, const struct no_action_head **out)
{
	struct response key;
	uint64_t hash = (r->heartbeat_interval_ms ^ r->epoch ^ r->rate_bytes_per_s ^
				r->acked_change_id ^ r->acked_report_id ^ r->next_beat_ms) *
			0x9e3779b97f4a7c15;
	struct no_action_head *head = &n->heads[(hash >> 32) % NO_ACTION_HEADS];

	*out = head;
	head_key(r, &key);
	if (head->size && memcmp(&head->key, &key, sizeof(key)) == 0)
		return ERR_OK;
	return head_make(n, &key, head);
}

// ---- the piece of the body

static struct response_body body_of(uint64_t response_id, enum client_state state,
	const struct reason *reason, const char *channel)
{
	struct response_body b = {
		.response_id = response_id,
		.kind = KIND_NO_ACTION,
		.state = state,
		.channel = channel,
	};

	b.reason = (struct reason *)reason; // encoding changes nothing
	return b;
}

static enum err tail_make(struct no_action *n, enum client_state state, const struct reason *reason,
	const char *channel, struct no_action_tail *out)
{
	static const uint8_t before[] = {TAG_NUMBER(1), 1};
	struct response_body b = body_of(1, state, reason, channel);

	out->size = 0;
	TRY(response_body_encode(&b, &n->body));
	size_t size = n->body.size - sizeof(before);
	if (size > sizeof(out->bytes) || memcmp(n->body.data, before, sizeof(before)) != 0 ||
		!str_copy(out->text, sizeof(out->text), reason->text) ||
		!str_copy(out->channel, sizeof(out->channel), channel))
		return ERR_OK;
	memcpy(out->bytes, n->body.data + sizeof(before), size);
	out->state = state;
	out->code = reason->code;
	out->size = (uint8_t)size;
	return ERR_OK;
}

static enum err tail_get(struct no_action *n, enum client_state state, const struct reason *reason,
	const char *channel, const struct no_action_tail **out)
{
	uint32_t hash = (uint32_t)state * 31 + (uint32_t)reason->code;

	for (const char *p = channel; *p; p++)
		hash = hash * 31 + (uint8_t)*p;
	struct no_action_tail *tail = &n->tails[hash % NO_ACTION_TAILS];
	*out = tail;
	if (tail->size && tail->state == state && tail->code == reason->code &&
		strcmp(tail->text, reason->text) == 0 && strcmp(tail->channel, channel) == 0)
		return ERR_OK;
	return tail_make(n, state, reason, channel, tail);
}

// ---- all of it

// What the rows of the codec ask of the values that are written here.
static bool is_plain(const struct response *r, uint64_t response_id)
{
	return r->client_id && id_is_valid(r->client_id) && r->session_id > 0 &&
	       r->session_id <= CODEC_COUNTER_MAX && r->in_reply_to_seq <= CODEC_COUNTER_MAX &&
	       r->server_unix_ms >= 0 && r->server_unix_ms <= CODEC_TIME_MAX && response_id > 0;
}

static enum err encode_whole(struct no_action *n, const struct response *header,
	uint64_t response_id, enum client_state state, const struct reason *reason,
	const char *channel, struct buf *out)
{
	struct response_body b = body_of(response_id, state, reason, channel);
	struct response r = *header;

	TRY(response_body_encode(&b, &n->body));
	r.body_bytes = buf_bytes(&n->body);
	return response_encode(&r, out);
}

static uint8_t *head_put(uint8_t *at, const struct response *r, const struct no_action_head *head)
{
	size_t id_size = strlen(r->client_id);

	at = number_put(at, 1, 1);
	*at++ = TAG_BYTES(2);
	*at++ = (uint8_t)id_size;
	at = bytes_put(at, r->client_id, id_size);
	at = number_put(at, 3, r->session_id);
	at = number_put(at, 4, r->in_reply_to_seq);
	at = bytes_put(at, head->bytes, head->boot_size);
	at = number_put(at, 6, (uint64_t)r->server_unix_ms);
	return bytes_put(at, head->bytes + head->boot_size, (size_t)head->size - head->boot_size);
}

static uint8_t *body_put(uint8_t *at, uint64_t response_id, const struct no_action_tail *tail)
{
	uint8_t id[11];
	size_t id_size = (size_t)(number_put(id, 1, response_id) - id);

	at = varint_put(at, TAG_BYTES(20));
	at = varint_put(at, id_size + tail->size);
	at = bytes_put(at, id, id_size);
	return bytes_put(at, tail->bytes, tail->size);
}

enum err no_action_encode(struct no_action *n, const struct response *header, uint64_t response_id,
	enum client_state state, const struct reason *reason, const char *channel, struct buf *out)
{
	const struct no_action_head *head = NULL;
	const struct no_action_tail *tail = NULL;

	buf_clear(out);
	if (!is_plain(header, response_id))
		return encode_whole(n, header, response_id, state, reason, channel, out);
	TRY(tail_get(n, state, reason, channel, &tail));
	TRY(head_get(n, header, &head));
	if (!head->size || !tail->size)
		return encode_whole(n, header, response_id, state, reason, channel, out);
	TRY(buf_reserve(out, WRITTEN_MAX + (size_t)head->size + tail->size));
	uint8_t *end = body_put(head_put(out->data, header, head), response_id, tail);
	out->size = (size_t)(end - out->data);
	return ERR_OK;
}
