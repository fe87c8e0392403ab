// Who waits for which object of the shelf, and whose turn it is.
//
// A client that subscribes to an object waits for it. Clients take turns, a few objects each. What
// was handed to a client counts as its until it unsubscribes or leaves: at most client_bytes, so
// that nobody fills the broker's memory by asking. What is on its way to all of them through the
// broker's memory is at most budget_bytes: what was handed lately, or less when the memory says so.
// A client's turn is one object long until it unsubscribed from one that it was handed. Who holds
// something and unsubscribes from nothing for long is stuck: the others come first, and do not wait
// for memory that it fills. When the memory is full nevertheless, only who reads is handed
// anything. Pure: times and numbers come in.
#ifndef HELIO_SHELF_QUEUE_H
#define HELIO_SHELF_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHELF_TOPIC_MAX 160  // with its end
#define SHELF_WANTS_MAX 1000 // of one client, as many as the broker queues for it
#define SHELF_TURN 16        // objects of one client before the next one's
#define SHELF_AHEAD 8

struct shelf_limits {
	uint64_t client_bytes, budget_bytes;
	uint64_t memory_bytes; // with so much in memory only who reads is handed anything
	int64_t stuck_ms;  // who said of nothing for so long that it has it comes after the others
	int64_t settle_ms; // so long after it was handed an object is in the broker's memory at
			   // most
};

struct shelf_queue;

struct shelf_queue *shelf_queue_new(const struct shelf_limits *limits);
void shelf_queue_free(struct shelf_queue *q);

// It subscribes, again perhaps: then it is handed the object again.
void shelf_queue_want(struct shelf_queue *q, const char *client, const char *topic);
void shelf_queue_drop(struct shelf_queue *q, const char *client, const char *topic);
void shelf_queue_gone(struct shelf_queue *q, const char *client);

// A turn begins: all that the turn before handed was delivered. backlog_bytes: what was handed and
// is still in the broker's memory, or more.
void shelf_queue_turn(struct shelf_queue *q, uint64_t backlog_bytes, int64_t now_ms);
// The topic of the object that is handed next; NULL: none now. Valid until the next call.
const char *shelf_queue_next(struct shelf_queue *q);
// The topic of one of the next SHELF_AHEAD objects, each of them once; NULL: none. Valid until the
// next call. A hint: it can be asked for from the disk.
const char *shelf_queue_ahead(struct shelf_queue *q);
// What shelf_queue_next gave is being handed: who waits for it takes it. size 0: it is not there,
// and its client waits no more.
void shelf_queue_hand(struct shelf_queue *q, size_t size);
// The broker is about to deliver it to this client. True: the client waited for it, and has it now.
// Who waits for it in another one's turn waits on when the budget is spent, and when it holds
// something and may be one that does not read.
bool shelf_queue_take(
	struct shelf_queue *q, const char *client, const char *topic, size_t size, int64_t now_ms);

size_t shelf_queue_clients(const struct shelf_queue *q);
uint64_t shelf_queue_recent_bytes(const struct shelf_queue *q);
uint64_t shelf_queue_held_bytes(const struct shelf_queue *q); // by all clients
bool shelf_queue_is_spent(const struct shelf_queue *q);       // the budget
bool shelf_queue_has_waiting(const struct shelf_queue *q);

#endif
