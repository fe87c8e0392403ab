// A small MQTT 5 client for tests, many connections on one epoll: CONNECT, SUBSCRIBE, PUBLISH and
// PUBACK at QoS 0 and 1, PINGREQ. Paho keeps its handles in a list, so that thousands of clients in
// one Paho process would measure Paho.
//
// No back-off and no reconnect in here: whoever drives decides. Every callback runs inside
// mini_loop_run. Memory per idle connection: the struct and what is in flight.
#ifndef HELIO_TESTS_FLEET_MINI_MQTT_H
#define HELIO_TESTS_FLEET_MINI_MQTT_H

#include "proto/base/clock.h"
#include "proto/base/mem.h"
#include <netinet/in.h>

struct mini_client;
struct mini_tls; // certificates of one identity, or of the CA alone

struct mini_events {
	void (*up)(struct mini_client *c, uint8_t reason); // CONNACK; reason 0: connected
	void (*down)(struct mini_client *c);               // closed by the peer or broken; already closed
	void (*message)(struct mini_client *c, const char *topic, struct bytes payload, bool retained);
	void (*puback)(struct mini_client *c, uint16_t packet, uint8_t reason);
};

enum mini_state { MINI_CLOSED, MINI_CONNECTING, MINI_HANDSHAKE, MINI_WAIT_CONNACK, MINI_UP };

struct mini_client {
	const struct mini_events *events;
	void *ctx;
	struct mini_loop *loop;
	enum mini_state state;
	int fd;
	void *ssl;
	struct buf in, out;
	size_t out_done;
	bool want_write;
	uint16_t next_packet, keepalive_s, receive_maximum;
	struct mono last_sent;
	char client_id[65];
};

struct mini_loop {
	int epoll;
	uint64_t received_bytes, sent_bytes, received_messages;
};

enum err mini_loop_init(struct mini_loop *l) MUST_CHECK;
void mini_loop_fini(struct mini_loop *l);
// Handles what is ready, waiting at most timeout_ms. Returns how many sockets were ready.
int mini_loop_run_us(struct mini_loop *l, int64_t timeout_us);
int mini_loop_run(struct mini_loop *l, int timeout_ms);

enum err mini_tls_new(const char *ca, const char *cert, const char *key, struct mini_tls **out) MUST_CHECK;
void mini_tls_free(struct mini_tls *t);

// Begins to connect. local: source address (127.0.0.2 ... for more ports), NULL: any. tls NULL: plain.
// host: the name that the broker's certificate must carry.
enum err mini_connect(struct mini_client *c, struct mini_loop *l, const struct sockaddr_in *to,
	const struct sockaddr_in *local, struct mini_tls *tls, const char *host) MUST_CHECK;
void mini_close(struct mini_client *c);
void mini_client_fini(struct mini_client *c);

// Packet id of a QoS 1 publish in *packet (may be NULL). Errors: ERR_CLOSED, ERR_FULL.
enum err mini_publish(struct mini_client *c, const char *topic, struct bytes payload, int qos, bool retained,
	uint16_t *packet) MUST_CHECK;
enum err mini_subscribe(struct mini_client *c, const char *const *filters, size_t count, int qos) MUST_CHECK;
enum err mini_unsubscribe(struct mini_client *c, const char *const *filters, size_t count) MUST_CHECK;
// Sends PINGREQ when half the keepalive has passed without a packet.
void mini_keepalive(struct mini_client *c, struct mono now);

#endif
