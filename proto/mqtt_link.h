// The link to one broker: Paho MQTT C (async) behind a plain interface, MQTT 5, TLS 1.3.
//
// Paho's threads only put what arrives into a bounded inbox and wake the loop (uv_async). All
// callbacks below run on the loop's thread, in a turn of the link. The rules in protocol.md
// ("Traps") are kept in here: TCP_NODELAY is set after connect; at most `outstanding_max` publishes
// are under way; reason codes are looked at; automatic reconnect is off and the addresses are
// walked in order with full-jitter back-off, which goes on growing until a connection has lasted for
// its longest rest; no timeout is below 3 s; sessions begin clean.
// One link belongs to one loop; several links of a process may go to the same broker.
// Behind this door Paho frees nothing at the end of the process: its threads, one loopback
// connection that wakes them, and its lists live as long as it.
#ifndef HELIO_MQTT_LINK_H
#define HELIO_MQTT_LINK_H

#include "proto/base/clock.h"
#include "proto/base/mem.h"
#include <uv.h>

// SRV: host is the name of a service, as _heliograph._tcp.example, and stands for its targets in
// their order, each with its own name and port.
enum link_via { LINK_VIA_NAME, LINK_VIA_IP, LINK_VIA_SRV };
const char *link_via_word(enum link_via via);

struct link_address {
	const char *host;         // name or literal
	uint16_t port;            // SRV: the records say it
	enum link_via via;
};

struct link_config {
	const char *client_id;
	const struct link_address *addresses;   // walked in order, first one first after each connection
	size_t address_count;                   // 1..8; copied
	bool tls;                               // false only for loopback tests
	const char *ca_file, *cert_file, *key_file;   // copied
	uint16_t keepalive_s;     // a dead peer is noticed within 1.5 of it (from 4 s on); 0: never
	uint16_t receive_maximum;               // 0: 65535
	uint32_t connect_timeout_s;             // >= 3
	uint32_t backoff_min_ms, backoff_max_ms; // full jitter between 0 and min(max, min << n); 0: 1 s, 60 s
	// Publishes that expect an answer (QoS 1, or a token) under way; the others wait in order.
	// 0: CONTROL_OUTSTANDING. More than 4 of chunk size make Paho slow.
	uint32_t outstanding_max;
	size_t outbox_max;                      // waiting publishes, then ERR_FULL; 0: 1000
	// Full: the message is dropped and counted, and its PUBACK has left: the application asks
	// again. 0: INBOX_MESSAGES, INBOX_BYTES.
	size_t inbox_messages, inbox_bytes;
	const char *will_topic;                 // NULL: none
	struct bytes will_payload;
	int will_qos;
	bool will_retained;
	bool once;                              // do not connect again after the first failure of every address
};

struct link_message {
	const char *topic;        // NUL-terminated copy; may hold anything: compare with the table
	size_t topic_length;      // larger than strlen when a NUL is inside
	struct bytes payload;     // borrowed until the callback returns
	int qos;
	bool retained, duplicate;
	void *memory;             // the link's: see link_message_take
};

// A payload that outlives its callback. Of a large one the memory itself changes hands; a small one
// is copied. Freed on any thread.
struct link_payload {
	struct bytes bytes;
	void *memory;
	bool copied;
};

#define LINK_AHEAD 7

struct link_events {
	// Connected: subscribe here; subscriptions do not survive a reconnect.
	void (*up)(void *ctx, const struct link_address *via, bool session_present);
	// Connection lost, or an address refused or unreachable: once for each. why: one sentence,
	// borrowed. retry_ms: until the next try; 0: the next address at once; -1: none will come
	// (config.once). Every token under way was told -1 before.
	void (*down)(void *ctx, const char *why, int64_t retry_ms);
	void (*message)(void *ctx, const struct link_message *m);
	// Optional: the topic of a message that comes LINK_AHEAD messages after the next one, if it is
	// here already. A hint: memory can be asked for.
	void (*ahead)(void *ctx, const char *topic, size_t topic_length);
	// For publishes with a non-zero token: the PUBACK came; 0 accepted, >= 128 refused with this
	// MQTT 5 reason code; -1: the connection broke before. QoS 0: 0 when written to the socket.
	// (Paho's asynchronous client gives 0 for 16, "no matching subscribers", too.)
	void (*published)(void *ctx, uint64_t token, int reason);
	// One per link_subscribe call, unless the connection breaks before: each filter's reason code
	// in order (>= 128: refused).
	void (*subscribed)(void *ctx, uint64_t token, const int *reasons, size_t count);
};

struct link_stats {
	uint64_t received_messages, received_bytes, dropped_messages;
	uint64_t sent_messages, sent_bytes;
	uint32_t connects;
	uint32_t outstanding, waiting;
};

struct mqtt_link;

// Call once per process before the first link_new, while there is one thread. Takes http_proxy and
// https_proxy out of the environment (Paho would obey them), and tells malloc to keep blocks of a
// chunk's size, which makes fetches up to a third faster.
void link_library_init(void);

// Starts connecting at once. events and strings of config are copied; ctx is borrowed.
enum err link_new(uv_loop_t *loop, const struct link_config *config, const struct link_events *events,
                  void *ctx, struct mqtt_link **out) MUST_CHECK;
// Stops all callbacks at once, disconnects, and frees when the loop has closed the handles. May be
// called in a callback of the link itself, and in any state. graceful: publishes handed over before
// still leave, for 1 s at most, and the will does not. graceful false: the broker sends the will.
void link_close(struct mqtt_link *l, bool graceful);

bool link_is_up(const struct mqtt_link *l);
// The last answer to our CONNECT was that MQTT 5 is not spoken there.
bool link_is_too_old(const struct mqtt_link *l);
// "10.0.0.7:8883" of the address now used, "" when down.
const char *link_peer(const struct mqtt_link *l);

// token 0: no `published` callback. The bytes are copied. Order is kept, also between QoS 0 and 1.
// Errors: ERR_CLOSED when down, ERR_FULL, ERR_RANGE (topic, or more than the broker takes).
enum err link_publish(struct mqtt_link *l, const char *topic, struct bytes payload, int qos, bool retained,
                      uint64_t token) MUST_CHECK;
// As one SUBSCRIBE / UNSUBSCRIBE packet. count 1..64.
enum err link_subscribe(struct mqtt_link *l, const char *const *filters, size_t count, int qos,
                        uint64_t token) MUST_CHECK;
enum err link_unsubscribe(struct mqtt_link *l, const char *const *filters, size_t count) MUST_CHECK;

// Only inside the message callback of m, at most once for it. Errors: ERR_MEMORY.
enum err link_message_take(const struct link_message *m, struct link_payload *out) MUST_CHECK;
void link_payload_free(struct link_payload *p);

// Called from the loop by itself; a program that commits per turn sets a turn hook instead:
// before(ctx) at the beginning of a drain, after(ctx) at its end, at most `batch` callbacks between.
// A turn that began is always ended, also when link_close() was called inside it. batch 0: 256.
void link_set_turn(struct mqtt_link *l, size_t batch, void (*before)(void *), void (*after)(void *));

// Changes the back-off of later rests.
void link_set_backoff(struct mqtt_link *l, uint32_t min_ms, uint32_t max_ms);
// The time within which a whole fleet finds its way back, as its server says: no later rest is drawn
// from less. 0: none, as at the beginning. Who lost a connection cannot know whether it was alone, so
// the first try waits, too.
void link_set_spread(struct mqtt_link *l, uint32_t spread_ms);
// Pure. The rest after so many walks that failed in a row: full jitter between 0 and
// max(spread, min(max, min << rounds)).
uint32_t link_rest_ms(
	uint32_t min_ms, uint32_t max_ms, uint32_t spread_ms, uint32_t rounds, uint64_t random);

// Words of an MQTT 5 reason code, or of -1.
const char *link_reason_text(int reason);

void link_get_stats(const struct mqtt_link *l, struct link_stats *out);

// Local address of the route to host (UDP connect + getsockname): 4 or 16 bytes. S001-c32.
enum err route_local_address(const char *host, uint16_t port, uint8_t out[16], size_t *size) MUST_CHECK;

#endif
