// What the files of the link share with each other, and with nobody else.
//
//   mqtt_link.c        life of a link: create, turn, close
//   mqtt_link_walk.c   which address next, when, and through which resolver answer
//   mqtt_link_paho.c   one connection: a Paho handle, its callbacks, its sentences
//   mqtt_link_send.c   publishes, subscriptions, the outbox
//   mqtt_link_inbox.c  the only place where Paho's threads and the loop meet
//   mqtt_link_socket.c TCP_NODELAY, the peer's address, the local address
//   mqtt_link_waker.c  wakes Paho's threads out of their naps
//
// One Paho handle serves one connection and is destroyed with it: nothing that was queued in a
// broken connection can leave through the next one. Whatever Paho's threads report carries the
// generation of its connection, and the loop ignores what belongs to an earlier one.
#ifndef HELIO_MQTT_LINK_INTERNAL_H
#define HELIO_MQTT_LINK_INTERNAL_H

#include "proto/mqtt_link.h"
#include "proto/srv.h"
#include <MQTTAsync.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define LINK_ADDRESSES_MAX 8
#define LINK_RESOLVED_MAX 8
#define LINK_FILTERS_MAX 64
// Subscriptions under way; a fetch has two or three, a server at its start a dozen.
#define LINK_SUBSCRIBES_MAX 256
// QoS 0 messages and bytes handed to Paho and not written yet: its queue has no bound of its own.
#define LINK_UNWRITTEN_MESSAGES 64
#define LINK_UNWRITTEN_BYTES (4 * 1024 * 1024)
#define LINK_BATCH 256
#define LINK_CLOSE_MS 1000
// How often Paho's threads are woken: while something is under way without progress, and idle.
#define LINK_NUDGE_MS 5
#define LINK_TICK_MS 500
// More wakes than this within a millisecond, and the loop looks by itself every millisecond.
#define LINK_WAKES_PER_MS 16

// ---- inbox

enum item_kind { ITEM_MESSAGE, ITEM_UP, ITEM_DOWN, ITEM_PUBLISHED, ITEM_SUBSCRIBED, ITEM_CLOSED };

struct link_item {
	enum item_kind kind;
	uint32_t generation;
	union {
		struct {
			MQTTAsync_message *large; // Paho's own memory, freed by the loop
			char *large_topic;
			size_t at; // of a small one: topic, NUL, payload in batch->bytes
			uint32_t topic_length, payload_size;
			uint8_t qos;
			bool retained, duplicate;
		} message;
		struct {
			void *slot; // of mqtt_link_send.c
			int reason;
		} done;
	};
};

struct link_batch {
	struct link_item *items;
	size_t count, cap, next;
	uint8_t *bytes;
	size_t used, bytes_cap;
};

struct link_inbox {
	pthread_mutex_t lock;
	struct link_batch in; // Paho's threads append here
	struct link_batch out; // the loop's alone
	size_t messages_max, bytes_max;
	atomic_size_t messages, bytes; // in both batches
	atomic_uint_fast64_t dropped;
	atomic_bool broken; // no memory for an event that must not be lost
};

void inbox_init(struct link_inbox *b, size_t messages_max, size_t bytes_max);
void inbox_fini(struct link_inbox *b);
// Any thread. Takes topic and message in every case (frees them when it drops).
void inbox_push_message(struct link_inbox *b, uint32_t generation, char *topic, size_t topic_length,
                        MQTTAsync_message *message);
void inbox_push_event(struct link_inbox *b, enum item_kind kind, uint32_t generation, void *slot,
                      int reason);
// Loop only. The next item, or NULL. Valid until the next call of inbox_next.
struct link_item *inbox_next(struct link_inbox *b);
// The topic of a message that stands `skip` items behind the next one; NULL: none is here yet, or it
// is a large one.
const char *inbox_ahead(const struct link_inbox *b, size_t skip, size_t *length);
struct link_message inbox_message(const struct link_inbox *b, struct link_item *item);
void inbox_item_free(struct link_inbox *b, struct link_item *item);
bool inbox_is_empty(struct link_inbox *b);

// ---- one connection

// What Paho's threads found out; written before the event is pushed, read after it is taken.
struct link_news {
	bool session_present;
	int receive_maximum, server_keepalive_s;
	uint32_t packet_max;
	int code;          // Paho's or a CONNACK's
	int disconnect;    // reason of a DISCONNECT packet, -1 none
	char message[96];  // Paho's own words
	char tls[160];     // the first fault OpenSSL named
	bool over;         // the end was reported
};

struct link_conn {
	struct mqtt_link *link;
	MQTTAsync handle;
	uint32_t generation;
	struct link_news news;
	int buffer_max; // publishes Paho may queue before it drops the oldest
	atomic_size_t unwritten, unwritten_bytes;
};

struct pub_slot {
	TAILQ_ENTRY(pub_slot) entry;
	struct link_conn *conn;
	uint64_t token;
	size_t size;
	int qos;
};

struct sub_slot {
	TAILQ_ENTRY(sub_slot) entry;
	struct link_conn *conn;
	uint64_t token;
	size_t count;
	int reasons[LINK_FILTERS_MAX];
};

struct waiting {
	TAILQ_ENTRY(waiting) entry;
	uint64_t token;
	int qos;
	bool retained;
	size_t size;
	uint8_t *payload; // behind the topic
	char topic[];
};

TAILQ_HEAD(pub_list, pub_slot);
TAILQ_HEAD(sub_list, sub_slot);
TAILQ_HEAD(waiting_list, waiting);

enum link_state {
	LINK_RESTING,   // until the back-off timer fires
	LINK_RESOLVING,
	LINK_CONNECTING,
	LINK_UP,
	LINK_ENDED,     // config.once, every address failed
	LINK_CLOSING,   // waits for what is under way
	LINK_CLOSED,    // waits for the loop to close the handles
};

// Paho has one word for a refused connection and for a certificate with another name. This asks
// the peer once more, on libuv's pool, and only after a failure.
struct link_probe {
	uv_work_t request;
	struct mqtt_link *link; // NULL: nobody wants the answer
	struct sockaddr_storage to;
	int error;              // errno of connect()
};

struct link_resolve {
	uv_getaddrinfo_t request;
	struct mqtt_link *link; // NULL: nobody wants the answer
};

struct link_srv {
	uv_work_t request;
	struct mqtt_link *link; // NULL: nobody wants the answer
	char name[256];
	struct srv_list found;
	char why[256]; // "" when found
};

struct mqtt_link {
	uv_loop_t *loop;
	uv_async_t wake;
	uv_timer_t nudge;
	uint64_t nudge_seen; // progress at the last nudge
	bool nudge_fast;
	uv_timer_t poll;
	atomic_bool polling;     // Paho's threads need not wake the loop for a message
	uint64_t wakes_ms;       // the millisecond in which `wakes` were counted
	unsigned wakes;
	uv_timer_t timer; // back-off, connect limit or closing limit: never two at a time
	int handles_open;
	struct link_events events;
	void *ctx;
	size_t batch;
	void (*turn_before)(void *), (*turn_after)(void *);

	struct link_address addresses[LINK_ADDRESSES_MAX];
	struct link_config config;

	enum link_state state;
	bool closing, graceful;
	size_t address_now;
	uint32_t rounds;           // walks that failed since the last good connection
	uint64_t up_since_ms;
	uint32_t spread_ms;        // of the fleet
	int keepalive_limit_s;     // the broker's, once it said so
	struct link_resolve *resolve;
	struct link_probe *probe;
	struct link_srv *srv_ask;
	struct srv_list srv;       // of the service at address_now; none: to be asked for
	size_t srv_now;
	struct link_address srv_address; // targets[srv_now]
	struct sockaddr_storage resolved[LINK_RESOLVED_MAX];
	size_t resolved_count;
	char peer[80];

	uint32_t generation;
	struct link_conn *conn;
	struct link_inbox inbox;

	struct pub_list pubs;      // handed over, in order
	struct sub_list subs;
	struct waiting_list outbox;
	size_t outstanding, outstanding_limit, waiting, subs_count;
	uint64_t completions;
	uint32_t packet_max;
	atomic_bool pump_wanted;   // the outbox waits for Paho to write
	struct link_stats stats;
	bool too_old; // what answered speaks no MQTT 5
	char why[512];
};

// mqtt_link.c
// Something was begun that Paho's threads must not sleep over.
void link_nudge(struct mqtt_link *l);
// Reports down on the next turn, with l->why as the sentence.
void link_fail_later(struct mqtt_link *l);

// mqtt_link_walk.c
void walk_start(struct mqtt_link *l);              // the address at address_now
void walk_requests_drop(struct mqtt_link *l);      // forget answers that are under way
// True: the reason of a failed connection is asked for, and ITEM_DOWN comes again with it.
bool walk_ask_why(struct mqtt_link *l);
int64_t walk_failed(struct mqtt_link *l, bool was_up); // plans the next try; what `down` reports
void walk_succeeded(struct mqtt_link *l);
const struct link_address *walk_address(const struct mqtt_link *l);

// mqtt_link_paho.c
enum err conn_open(struct mqtt_link *l) MUST_CHECK;
// Ends all callbacks of this connection. A connection that still stands gets a DISCONNECT.
void conn_close(struct mqtt_link *l);
// Asks the broker to end it and to publish the will; ITEM_CLOSED follows. False: not possible.
bool conn_disconnect_with_will(struct mqtt_link *l);
// One sentence into l->why. False: Paho does not tell a refused connection from a refused
// certificate, and the sentence names both.
bool conn_explain(struct mqtt_link *l, bool was_up);

// mqtt_link_send.c
void send_pump(struct mqtt_link *l);
void send_published(struct mqtt_link *l, struct pub_slot *slot, int reason);
void send_subscribed(struct mqtt_link *l, struct sub_slot *slot);
// Every token is told -1, and nothing is left. Frees only when the link is closing.
void send_abandon(struct mqtt_link *l);
bool send_is_idle(const struct mqtt_link *l);
// Bytes handed to Paho whose fate is not known.
size_t send_unsure_bytes(const struct mqtt_link *l);
// mqtt_link_paho.c: Paho's own return codes.
int publish_paho(struct link_conn *conn, const char *topic, struct bytes payload, int qos,
                 bool retained, struct pub_slot *slot);
int subscribe_paho(struct link_conn *conn, const char *const *filters, size_t count, int qos,
                   struct sub_slot *slot);
int unsubscribe_paho(struct link_conn *conn, const char *const *filters, size_t count);

// mqtt_link_socket.c
// Sets TCP_NODELAY on every connected TCP socket of the process with this remote port and, where
// `known` is not empty, one of these addresses. Returns how many; the first one's peer in `peer`.
size_t socket_set_nodelay(uint16_t port, const struct sockaddr_storage *known, size_t count, char *peer,
                          size_t peer_size);
// 0, or the errno of a TCP connection to that address. Blocks for 2 s at most.
int socket_try(const struct sockaddr_storage *to);
// True when a socket of this process has this local address.
bool socket_is_local_end(const struct sockaddr_storage *local);
void socket_format(const struct sockaddr *address, char *out, size_t size);

// mqtt_link_waker.c
void waker_open(void);
void waker_poke_receiver(void);
void waker_poke_sender(void);

#endif
