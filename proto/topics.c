// The table, and what is derived from it: builders, filters, and the way back.
#include "proto/topics.h"

#include "proto/digest.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define C TOPIC_CLIENT
#define S TOPIC_SERVER
#define P TOPIC_PUBLISHER
#define O TOPIC_OPERATOR
#define CB TOPIC_CONTROL
#define DB TOPIC_DATA

// kind, name, pattern, writers, readers, brokers, qos, retained, writer is level, reader is level, limit, message
static const struct topic_row rows[TOPIC_KIND_COUNT] = {
	{ TOPIC_HB, "hb", "helio/v1/hb/%s/%c", C, S, CB, 0, false, true, false, LIMIT_HEARTBEAT, "Heartbeat" },
	{ TOPIC_OFFER, "offer", "helio/v1/offer/%i", S, C | P | O, CB, 1, false, false, true, LIMIT_OFFER, "SessionOffer" },
	{ TOPIC_RSP, "rsp", "helio/v1/rsp/%c", S, C, CB, 1, false, false, true, LIMIT_RESPONSE, "Response" },
	{ TOPIC_REPORT, "report", "helio/v1/report/%s/%c", C, S, CB, 1, false, true, false, LIMIT_REPORT, "Report" },
	{ TOPIC_INBOX, "inbox", "helio/v1/inbox/%c", C, S, DB, 1, false, true, false, LIMIT_REPORT, "Report" },
	{ TOPIC_WANT, "want", "helio/v1/want/%s/%c", C, S, CB, 1, false, true, false, LIMIT_WANT, "Want" },
	{ TOPIC_GRANT, "grant", "helio/v1/grant/%c", S, C, CB, 1, false, false, true, LIMIT_GRANT, "Grant" },
	{ TOPIC_PUB, "pub", "helio/v1/pub/%p", P, S, CB, 1, false, true, false, LIMIT_PUBLISHER_MSG, "PublisherMsg" },
	{ TOPIC_PUBCMD, "pubcmd", "helio/v1/pubcmd/%p", S, P, CB, 1, false, false, true, LIMIT_DIRECTIVE, "Directive" },
	{ TOPIC_BYE, "bye", "helio/v1/bye/%s/%c", C, S, CB, 1, false, true, false, 64, "" },
	{ TOPIC_VIEW_STATE, "view/state", "helio/v1/view/state/%i", S, O, CB, 1, true, false, false, LIMIT_VIEW, "StateView" },
	{ TOPIC_VIEW_QUEUE, "view/queue", "helio/v1/view/queue/%i", S, O, CB, 1, true, false, false, LIMIT_VIEW, "QueueView" },
	{ TOPIC_VIEW_MEDIA, "view/media", "helio/v1/view/media/%i/%i", S, O, CB, 1, true, false, false, LIMIT_VIEW, "MediaOrder" },
	{ TOPIC_VIEW_DS, "view/ds", "helio/v1/view/ds/%i", S, O, CB, 1, true, false, false, LIMIT_VIEW, "DataServerLoad" },
	{ TOPIC_API, "api", "helio/v1/api/%i", O, S, CB, 1, false, true, false, LIMIT_API, "ApiRequest" },
	{ TOPIC_APIR, "apir", "helio/v1/apir/%i/%i", S, O, CB, 1, false, false, true, LIMIT_API, "ApiAnswer" },
	{ TOPIC_HOST, "host", "helio/v1/host/%i", S, C | P | O, CB | DB, 1, true, false, false, 512, "HostState" },
	{ TOPIC_PKG, "pkg", "helio/v1/pkg/%p/%h", P, C | S | O, DB, 1, true, true, false, LIMIT_ENVELOPE, "Envelope" },
	{ TOPIC_IDX, "idx", "helio/v1/idx/%p/%h/%h", P, C | S | O, DB, 1, true, true, false, LIMIT_INDEX + 4096, "Envelope" },
	{ TOPIC_MARK, "mark", "helio/v1/mark/%p", P, P | S | O, DB, 1, true, true, false, 64, "" },
	{ TOPIC_CHUNK, "chunk", "helio/v1/chunk/%p/%h", P, C | S | O, DB, 1, true, true, false, LIMIT_OBJECT, "" },
	{ TOPIC_CMD, "cmd", "helio/v1/cmd/%p/%h", P, C | S | O, DB, 1, true, true, false, LIMIT_ENVELOPE, "Envelope" },
};

#undef C
#undef S
#undef P
#undef O
#undef CB
#undef DB

const struct topic_row *topic_row(enum topic_kind kind)
{
	assert((unsigned)kind < TOPIC_KIND_COUNT && rows[kind].kind == kind);
	return &rows[kind];
}

static bool id_level_is_valid(const char *level, size_t n)
{
	return n > 0 && n <= LIMIT_ID && name_is_plain(level, n);
}

bool id_is_valid(const char *id)
{
	return id_level_is_valid(id, strnlen(id, LIMIT_ID + 1));
}

uint8_t shard_byte(const char *id)
{
	return sha256(id, strlen(id)).b[0];
}

void shard_of(const char *id, char out[3])
{
	uint8_t shard = shard_byte(id);

	hex_encode(&shard, 1, out);
}

// ---- builders: the pattern with its levels filled in, left to right

static struct topic topic_fill(enum topic_kind kind, const char *const *levels)
{
	struct topic t;
	size_t at = 0;

	for (const char *p = topic_row(kind)->pattern; *p; p++) {
		if (*p != '%') {
			t.s[at++] = *p;
			continue;
		}
		p++;
		const char *level = *levels++;
		size_t n = strlen(level);

		assert(at + n < sizeof(t.s));
		memcpy(t.s + at, level, n);
		at += n;
	}
	t.s[at] = '\0';
	return t;
}

static struct topic topic_sharded(enum topic_kind kind, const char *client)
{
	char shard[3];

	assert(id_is_valid(client));
	shard_of(client, shard);
	return topic_fill(kind, (const char *const[]){ shard, client });
}

struct topic topic_hb(const char *client)
{
	return topic_sharded(TOPIC_HB, client);
}

struct topic topic_report(const char *client)
{
	return topic_sharded(TOPIC_REPORT, client);
}

struct topic topic_want(const char *client)
{
	return topic_sharded(TOPIC_WANT, client);
}

struct topic topic_bye(const char *client)
{
	return topic_sharded(TOPIC_BYE, client);
}

struct topic topic_of(enum topic_kind kind, const char *id)
{
	assert(id_is_valid(id));
	return topic_fill(kind, (const char *const[]){ id });
}

struct topic topic_apir(const char *seat, const char *level)
{
	assert(id_is_valid(seat) && id_is_valid(level));
	return topic_fill(TOPIC_APIR, (const char *const[]){ seat, level });
}

struct topic topic_view_media(const char *client, const char *order)
{
	assert(id_is_valid(client) && id_is_valid(order));
	return topic_fill(TOPIC_VIEW_MEDIA, (const char *const[]){ client, order });
}

static struct topic topic_digest(enum topic_kind kind, const char *publisher, const struct digest *d,
	const char *last)
{
	char hex[65];

	assert(id_is_valid(publisher));
	hex_encode(d->b, sizeof(d->b), hex);
	return topic_fill(kind, (const char *const[]){ publisher, hex, last });
}

struct topic topic_pkg(const char *publisher, const struct digest *package)
{
	return topic_digest(TOPIC_PKG, publisher, package, "");
}

struct topic topic_idx(const char *publisher, const struct digest *package,
	const struct digest *base_or_null)
{
	char base[65] = "full";

	if (base_or_null && !digest_is_zero(base_or_null))
		hex_encode(base_or_null->b, sizeof(base_or_null->b), base);
	return topic_digest(TOPIC_IDX, publisher, package, base);
}

struct topic topic_chunk(const char *publisher, const struct digest *object)
{
	return topic_digest(TOPIC_CHUNK, publisher, object, "");
}

struct topic topic_cmd(const char *publisher, const struct digest *object)
{
	return topic_digest(TOPIC_CMD, publisher, object, "");
}

struct topic topic_filter(enum topic_kind kind)
{
	return topic_fill(kind, (const char *const[]){ "+", "+", "+" });
}

// ---- the way back

static bool digest_level_parse(const char *level, size_t n, struct digest *out)
{
	char hex[65];

	if (n != 64)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (level[i] >= 'A' && level[i] <= 'F')
			return false;
	}
	memcpy(hex, level, n);
	hex[n] = '\0';
	return hex_decode(hex, out->b, sizeof(out->b)) == ERR_OK;
}

static bool shard_level_parse(const char *level, size_t n, char out[3])
{
	const char *digits = "0123456789abcdef"; // memchr: strchr would find a NUL too

	if (n != 2 || !memchr(digits, level[0], 16) || !memchr(digits, level[1], 16))
		return false;
	memcpy(out, level, 2);
	out[2] = '\0';
	return true;
}

// One level against one %x of a pattern. The second id or digest of a pattern goes into `level`.
static bool level_take(char what, const char *level, size_t n, struct topic_parts *out, bool *have_digest)
{
	switch (what) {
	case 's':
		return shard_level_parse(level, n, out->shard);
	case 'h':
		if (!*have_digest) {
			*have_digest = true;
			return digest_level_parse(level, n, &out->digest);
		}
		memcpy(out->level, level, n <= LIMIT_ID ? n : 0);
		struct digest base;
		return (n == 4 && memcmp(level, "full", 4) == 0) || digest_level_parse(level, n, &base);
	default:
		if (!id_level_is_valid(level, n))
			return false;
		memcpy(out->id[0] ? out->level : out->id, level, n);
		return true;
	}
}

static bool row_match(const struct topic_row *row, const char *topic, size_t length,
	struct topic_parts *out)
{
	const char *end = topic + length;
	bool have_digest = false;

	*out = (struct topic_parts){ .kind = row->kind };
	for (const char *p = row->pattern; *p; p++) {
		if (*p != '%') {
			if (topic == end || *topic++ != *p)
				return false;
			continue;
		}
		const char *slash = memchr(topic, '/', (size_t)(end - topic));
		size_t n = (size_t)((slash ? slash : end) - topic);

		if (!level_take(*++p, topic, n, out, &have_digest))
			return false;
		topic += n;
	}
	return topic == end;
}

enum err topic_take_apart(const char *topic, size_t length, struct topic_parts *out)
{
	if (length >= LIMIT_TOPIC)
		return err_set(ERR_FORMAT, "a topic of %zu bytes", length);
	for (int k = 0; k < TOPIC_KIND_COUNT; k++) {
		if (row_match(&rows[k], topic, length, out))
			return ERR_OK;
	}
	return err_set(ERR_FORMAT, "no such topic");
}

bool topic_shard_is(const struct topic_parts *parts, uint8_t shard)
{
	char hex[3];

	hex_encode(&shard, 1, hex);
	return !parts->shard[0] || memcmp(hex, parts->shard, 2) == 0;
}

enum err topic_parse(const char *topic, size_t length, struct topic_parts *out)
{
	TRY(topic_take_apart(topic, length, out));
	if (!out->shard[0] || topic_shard_is(out, shard_byte(out->id)))
		return ERR_OK;
	return err_set(ERR_RANGE, "%s does not belong to shard %s", out->id, out->shard);
}
