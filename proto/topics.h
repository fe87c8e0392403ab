// The topics: one table says what each is for, who writes it, who reads it, with which QoS and
// whether it is retained. The broker's ACL is checked against this table (tests/rules), and no
// other place in the tree spells a topic.
#ifndef HELIO_TOPICS_H
#define HELIO_TOPICS_H

#include "proto/base/mem.h"
#include "proto/limits.h"

enum topic_kind {
	TOPIC_HB, TOPIC_OFFER, TOPIC_RSP, TOPIC_REPORT, TOPIC_INBOX, TOPIC_WANT, TOPIC_GRANT,
	TOPIC_PUB, TOPIC_PUBCMD, TOPIC_BYE, TOPIC_VIEW_STATE, TOPIC_VIEW_QUEUE, TOPIC_VIEW_MEDIA,
	TOPIC_VIEW_DS, TOPIC_API, TOPIC_APIR, TOPIC_HOST, TOPIC_PKG, TOPIC_IDX, TOPIC_MARK,
	TOPIC_CHUNK, TOPIC_CMD,
	TOPIC_KIND_COUNT
};

enum topic_role { TOPIC_CLIENT = 1, TOPIC_SERVER = 2, TOPIC_PUBLISHER = 4, TOPIC_OPERATOR = 8 };
enum topic_broker { TOPIC_CONTROL = 1, TOPIC_DATA = 2 };

// What a level of a pattern stands for.
//   %c client (own id)  %s shard  %p publisher  %h digest in hex (or "full")  %i any id
struct topic_row {
	enum topic_kind kind;
	const char *name;          // "hb"
	const char *pattern;       // "helio/v1/hb/%s/%c"
	unsigned writers, readers; // enum topic_role bits
	unsigned brokers;          // enum topic_broker bits
	int qos;                   // of the usual message; rsp: 0 for NO_ACTION, 1 otherwise
	bool retained;
	bool writer_is_level;      // the writer's identity is the level %c, %p or %i: ACL %u
	bool reader_is_level;      // only the one named by the level reads it
	size_t limit;              // bytes of a payload
	const char *message;       // protobuf message name, "" for plain bytes
};

const struct topic_row *topic_row(enum topic_kind kind);

// [A-Za-z0-9._-]{1,64}
bool id_is_valid(const char *id);

// First byte of SHA-256(id) as two hex digits.
void shard_of(const char *id, char out[3]);

struct topic {
	char s[LIMIT_TOPIC];
};

// Builders. ids are asserted valid: check what comes from outside first.
struct topic topic_hb(const char *client);
struct topic topic_report(const char *client);
struct topic topic_want(const char *client);
struct topic topic_bye(const char *client);
struct topic topic_of(enum topic_kind kind, const char *id);            // one id level: offer rsp inbox grant pub pubcmd view/state view/queue view/ds api host mark
struct topic topic_apir(const char *seat, const char *level);
struct topic topic_view_media(const char *client, const char *order);
struct topic topic_pkg(const char *publisher, const struct digest *package);
struct topic topic_idx(const char *publisher, const struct digest *package, const struct digest *base_or_null);
struct topic topic_chunk(const char *publisher, const struct digest *object);
struct topic topic_cmd(const char *publisher, const struct digest *object);
// Filter with + for every level that varies ("helio/v1/hb/+/+").
struct topic topic_filter(enum topic_kind kind);

struct topic_parts {
	enum topic_kind kind;
	char shard[3];
	char id[LIMIT_ID + 1];        // client, publisher, seat, channel, broker, server
	char level[LIMIT_ID + 1];     // apir level, media order, idx base ("full" or hex)
	struct digest digest;         // pkg, idx, chunk, cmd
};

// Takes a topic apart against the table. Errors: ERR_FORMAT for anything the table does not hold
// (NUL, bad UTF-8, wrong level, wrong shard: ERR_RANGE for a shard that is not the id's own).
enum err topic_parse(const char *topic, size_t length, struct topic_parts *out) MUST_CHECK;
// The same, but whether the shard is the id's own is left to who knows it (topic_shard_is).
enum err topic_take_apart(const char *topic, size_t length, struct topic_parts *out) MUST_CHECK;
// The first byte of SHA-256(id); a topic without a shard has every shard.
uint8_t shard_byte(const char *id);
bool topic_shard_is(const struct topic_parts *parts, uint8_t shard);

#endif
