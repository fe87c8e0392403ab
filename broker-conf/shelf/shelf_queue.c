#include "broker-conf/shelf/shelf_queue.h"

#include <stdlib.h>
#include <string.h>

#define uthash_fatal(text) abort()
#include <uthash.h>
#include <utlist.h>

enum want_state {
	WANT_WAITS = 1, // in its client's list
	WANT_HANDED,    // the broker delivers it now, if the client may have it
	WANT_HAS        // in the list of what settles, until `settled`
};

struct client;

struct want {
	char topic[SHELF_TOPIC_MAX];
	struct client *client;
	enum want_state state;
	bool settles, is_late, is_ahead; // is_late: taken by one who is stuck
	uint64_t held_bytes; // handed and not unsubscribed, each time that it was asked for
	size_t way_bytes;    // of memory that it takes on its way
	int64_t had_ms;
	struct want *prev, *next;               // of its client's that wait
	struct want *settle_prev, *settle_next; // of all that settle, oldest first
	UT_hash_handle hh;
};

struct client {
	char *id;
	struct want *wants; // by topic
	struct want *waits; // in order
	uint64_t held_bytes;
	unsigned turn;
	bool has_moved; // it said of something that it has it: it unsubscribed
	bool is_stuck;  // it holds something, and said of nothing that it has it for stuck_ms
	bool in_ring, in_holders;
	int64_t moved_ms;
	struct client *prev, *next;             // of its ring
	struct client *holds_prev, *holds_next; // of those who hold something and are not stuck
	UT_hash_handle hh;
};

struct shelf_queue {
	struct shelf_limits limits;
	struct client *clients; // by id
	struct client *ring;    // those with waits and room, in order of their turns
	struct client *stuck;   // those of them who are stuck
	struct client *holders; // who moved longest ago comes first
	struct want *settling;
	int64_t now_ms;
	uint64_t stuck_bytes;            // held by who is stuck
	uint64_t low_bytes, lower_bytes; // the least backlog of this second, and of the one before
	int64_t low_ms;
	uint64_t recent_bytes;  // of what settles
	uint64_t held_bytes;    // of all clients
	uint64_t way_bytes;     // of them at most so much is still in memory
	uint64_t late_bytes;    // of what settles, apart: of those who are stuck
	uint64_t turn_bytes;    // handed in this turn, and not taken yet
	uint64_t backlog_bytes; // at its beginning
	struct want *now;       // what shelf_queue_next gave
};

struct shelf_queue *shelf_queue_new(const struct shelf_limits *limits)
{
	struct shelf_queue *q = calloc(1, sizeof(*q));

	if (!q)
		abort();
	q->limits = *limits;
	return q;
}

// ---------------------------------------------------------------- lists

static bool has_room(const struct shelf_queue *q, const struct client *c)
{
	return c->held_bytes == 0 || c->held_bytes < q->limits.client_bytes;
}

static struct client **ring_of(struct shelf_queue *q, const struct client *c)
{
	return c->is_stuck ? &q->stuck : &q->ring;
}

// In a ring as long as there is something to be handed to it.
static void ring_judge(struct shelf_queue *q, struct client *c)
{
	bool belongs = c->waits && has_room(q, c);
	struct client **ring = ring_of(q, c);

	if (belongs && !c->in_ring) {
		c->turn = 0;
		DL_APPEND(*ring, c);
	} else if (!belongs && c->in_ring) {
		DL_DELETE(*ring, c);
	}
	c->in_ring = belongs;
}

static void stuck_set(struct shelf_queue *q, struct client *c, bool stuck)
{
	if (c->is_stuck == stuck)
		return;
	if (c->in_ring)
		DL_DELETE(*ring_of(q, c), c);
	c->in_ring = false;
	c->is_stuck = stuck;
	if (stuck)
		q->stuck_bytes += c->held_bytes;
	else
		q->stuck_bytes -= c->held_bytes;
	ring_judge(q, c);
}

static void holders_leave(struct shelf_queue *q, struct client *c)
{
	if (c->in_holders)
		DL_DELETE2(q->holders, c, holds_prev, holds_next);
	c->in_holders = false;
}

static void holders_join(struct shelf_queue *q, struct client *c)
{
	c->moved_ms = q->now_ms;
	c->in_holders = true;
	DL_APPEND2(q->holders, c, holds_prev, holds_next);
}

static void hold(struct shelf_queue *q, struct want *w, size_t size)
{
	struct client *c = w->client;

	if (c->held_bytes == 0 && !c->is_stuck && !c->in_holders)
		holders_join(q, c);
	w->held_bytes += size;
	c->held_bytes += size;
	q->held_bytes += size;
	q->stuck_bytes += c->is_stuck ? size : 0;
}

// It has it, or left it.
static void hold_end(struct shelf_queue *q, struct want *w)
{
	struct client *c = w->client;

	if (!w->held_bytes)
		return;
	stuck_set(q, c, false);
	holders_leave(q, c);
	c->has_moved = true;
	c->held_bytes -= w->held_bytes;
	q->held_bytes -= w->held_bytes;
	w->held_bytes = 0;
	if (c->held_bytes)
		holders_join(q, c);
}

static void settled(struct shelf_queue *q, struct want *w)
{
	if (!w->settles)
		return;
	w->settles = false;
	*(w->is_late ? &q->late_bytes : &q->recent_bytes) -= w->way_bytes;
	DL_DELETE2(q->settling, w, settle_prev, settle_next);
}

// It is in no list any more.
static void want_leave(struct shelf_queue *q, struct want *w)
{
	struct client *c = w->client;

	if (q->now == w)
		q->now = NULL;
	if (w->state == WANT_WAITS)
		DL_DELETE(c->waits, w);
	settled(q, w);
}

static void want_free(struct shelf_queue *q, struct want *w)
{
	want_leave(q, w);
	hold_end(q, w);
	HASH_DEL(w->client->wants, w);
	free(w);
}

static void client_free(struct shelf_queue *q, struct client *c)
{
	struct want *w, *next;

	HASH_ITER(hh, c->wants, w, next)
	{
		want_free(q, w);
	}
	ring_judge(q, c);
	holders_leave(q, c);
	HASH_DEL(q->clients, c);
	free(c->id);
	free(c);
}

void shelf_queue_free(struct shelf_queue *q)
{
	struct client *c, *next;

	if (!q)
		return;
	HASH_ITER(hh, q->clients, c, next)
	{
		client_free(q, c);
	}
	free(q);
}

// ---------------------------------------------------------------- what clients do

static struct client *client_find(const struct shelf_queue *q, const char *id)
{
	struct client *c;

	HASH_FIND_STR(q->clients, id, c);
	return c;
}

static struct client *client_add(struct shelf_queue *q, const char *id)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c || !(c->id = strdup(id)))
		abort();
	HASH_ADD_KEYPTR(hh, q->clients, c->id, strlen(c->id), c);
	return c;
}

static struct want *want_find(const struct client *c, const char *topic)
{
	struct want *w;

	HASH_FIND_STR(c->wants, topic, w);
	return w;
}

static struct want *want_add(struct client *c, const char *topic)
{
	struct want *w = calloc(1, sizeof(*w));

	if (!w)
		abort();
	memcpy(w->topic, topic, strlen(topic) + 1);
	w->client = c;
	HASH_ADD_STR(c->wants, topic, w);
	return w;
}

void shelf_queue_want(struct shelf_queue *q, const char *client, const char *topic)
{
	struct client *c = client_find(q, client);
	struct want *w;

	if (strlen(topic) >= SHELF_TOPIC_MAX)
		return;
	if (!c)
		c = client_add(q, client);
	w = want_find(c, topic);
	if (!w && HASH_COUNT(c->wants) >= SHELF_WANTS_MAX)
		return;
	if (w)
		want_leave(q, w);
	else
		w = want_add(c, topic);
	w->state = WANT_WAITS;
	w->is_ahead = false;
	DL_APPEND(c->waits, w);
	ring_judge(q, c);
}

void shelf_queue_drop(struct shelf_queue *q, const char *client, const char *topic)
{
	struct client *c = client_find(q, client);
	struct want *w = c ? want_find(c, topic) : NULL;

	if (!w)
		return;
	want_free(q, w);
	ring_judge(q, c);
	if (!c->wants)
		client_free(q, c);
}

void shelf_queue_gone(struct shelf_queue *q, const char *client)
{
	struct client *c = client_find(q, client);

	if (c)
		client_free(q, c);
}

// ---------------------------------------------------------------- whose turn it is

// What the stuck may fill of the memory: two copies of what they hold, and no more than was always
// there in the last second or two, and what they took since.
static uint64_t stuck_backlog(struct shelf_queue *q, uint64_t backlog_bytes)
{
	uint64_t most;

	if (q->now_ms - q->low_ms >= 1000) {
		q->lower_bytes = q->low_bytes;
		q->low_bytes = backlog_bytes;
		q->low_ms = q->now_ms;
	}
	if (q->low_bytes > backlog_bytes)
		q->low_bytes = backlog_bytes;
	most = (q->low_bytes < q->lower_bytes ? q->low_bytes : q->lower_bytes) + q->late_bytes;
	if (most > 2 * q->stuck_bytes)
		most = 2 * q->stuck_bytes;
	return most < backlog_bytes ? most : backlog_bytes;
}

void shelf_queue_turn(struct shelf_queue *q, uint64_t backlog_bytes, int64_t now_ms)
{
	uint64_t moving;

	q->now_ms = now_ms;
	while (q->settling && now_ms - q->settling->had_ms >= q->limits.settle_ms)
		settled(q, q->settling);
	while (q->holders && now_ms - q->holders->moved_ms >= q->limits.stuck_ms) {
		struct client *c = q->holders;

		holders_leave(q, c);
		stuck_set(q, c, true);
	}
	moving = backlog_bytes - stuck_backlog(q, backlog_bytes);
	q->way_bytes = q->recent_bytes < moving ? q->recent_bytes : moving;
	q->turn_bytes = 0;
	q->backlog_bytes = backlog_bytes;
}

bool shelf_queue_is_spent(const struct shelf_queue *q)
{
	uint64_t on_its_way = q->way_bytes + q->turn_bytes;

	return on_its_way && on_its_way >= q->limits.budget_bytes;
}

// Memory is full of what nobody reads: one object a turn, to who holds none or is known to read.
static struct client *modest_find(const struct shelf_queue *q)
{
	struct client *c;

	if (q->turn_bytes > 0)
		return NULL;
	DL_FOREACH(q->ring, c)
	{
		if (c->held_bytes == 0 || c->has_moved)
			return c;
	}
	return NULL;
}

static struct client *turn_find(struct shelf_queue *q)
{
	struct client *c = q->ring;

	if (q->backlog_bytes + q->turn_bytes >= q->limits.memory_bytes)
		return modest_find(q);
	if (q->stuck && q->late_bytes + q->turn_bytes < q->limits.budget_bytes / 4) {
		c = q->stuck;
		DL_DELETE(q->stuck, c);
		DL_APPEND(q->stuck, c);
		return c;
	}
	if (!c || c->turn < (c->has_moved ? SHELF_TURN : 1))
		return c;
	DL_DELETE(q->ring, c);
	DL_APPEND(q->ring, c);
	c->turn = 0;
	return q->ring;
}

const char *shelf_queue_next(struct shelf_queue *q)
{
	struct client *c = shelf_queue_is_spent(q) ? NULL : turn_find(q);

	q->now = c ? c->waits : NULL;
	return c ? q->now->topic : NULL;
}

const char *shelf_queue_ahead(struct shelf_queue *q)
{
	struct client *c;
	struct want *w;
	int seen = 0;

	for (c = q->ring; c && seen < SHELF_AHEAD; c = c->next)
		for (w = c->waits; w && seen < SHELF_AHEAD; w = w->next, seen++)
			if (!w->is_ahead) {
				w->is_ahead = true;
				return w->topic;
			}
	return NULL;
}

void shelf_queue_hand(struct shelf_queue *q, size_t size)
{
	struct want *w = q->now;
	struct client *c;

	q->now = NULL;
	if (!w)
		return;
	c = w->client;
	c->turn++;
	DL_DELETE(c->waits, w);
	w->state = WANT_HANDED;
	w->way_bytes = 2 * size; // the broker's copy, and the one in the packet to this client
	q->turn_bytes += w->way_bytes;
	if (size == 0)
		want_free(q, w);
	ring_judge(q, c);
	if (!c->wants)
		client_free(q, c);
}

// In another one's turn: who may be one that does not read takes no second object so.
static bool may_share(const struct shelf_queue *q, const struct client *c)
{
	return !c->is_stuck && (c->has_moved || c->held_bytes == 0) && !shelf_queue_is_spent(q);
}

bool shelf_queue_take(
	struct shelf_queue *q, const char *client, const char *topic, size_t size, int64_t now_ms)
{
	struct client *c = client_find(q, client);
	struct want *w = c ? want_find(c, topic) : NULL;

	if (!w || w->state == WANT_HAS)
		return false;
	if (w->state == WANT_WAITS && !may_share(q, c))
		return false;
	if (w->state == WANT_WAITS) {
		want_leave(q, w); // another one's turn brings it to this one too
		w->way_bytes = size;
	} else {
		q->turn_bytes -= q->turn_bytes < w->way_bytes ? q->turn_bytes : w->way_bytes;
	}
	w->state = WANT_HAS;
	hold(q, w, size);
	w->had_ms = now_ms;
	w->settles = true;
	w->is_late = c->is_stuck;
	*(w->is_late ? &q->late_bytes : &q->recent_bytes) += w->way_bytes;
	q->way_bytes += w->is_late ? 0 : w->way_bytes;
	DL_APPEND2(q->settling, w, settle_prev, settle_next);
	ring_judge(q, c);
	return true;
}

uint64_t shelf_queue_held_bytes(const struct shelf_queue *q)
{
	return q->held_bytes;
}

bool shelf_queue_has_waiting(const struct shelf_queue *q)
{
	return q->ring || q->stuck;
}

size_t shelf_queue_clients(const struct shelf_queue *q)
{
	return HASH_COUNT(q->clients);
}

uint64_t shelf_queue_recent_bytes(const struct shelf_queue *q)
{
	return q->recent_bytes;
}
