// Everyone who signs in: clients, publishers and operators' seats, by id.
//
// A fleet of a million is held in memory, so `struct client` is what a heartbeat needs and no more;
// what few clients have (an open operation, a private queue, an offer) stands in `struct
// client_rare`, and what many have in common is a number of the intern table. Clients live in
// blocks that never move: a pointer holds until the client is removed. A client's number is its
// place and is used again.
#ifndef HELIO_SERVER_CLIENT_TABLE_H
#define HELIO_SERVER_CLIENT_TABLE_H

#include "proto/base/clock.h"
#include "proto/message.h"
#include "server/intern.h"

#define CLIENT_NONE UINT32_MAX
#define CLIENT_MAX (1u << 24)
#define CLIENT_BLOCK 16384 // clients in a block: 2 MiB, a huge page

enum client_flag {
	CLIENT_USED = 1, // the place holds a principal
	CLIENT_REVOKED = 2,
	CLIENT_DIRTY = 4,           // the row waits for the turn's flush
	CLIENT_VIEW_DUE = 8,        // the StateView waits for its turn
	CLIENT_HOLDINGS_KNOWN = 16, // since it was detached, everything it holds was told
	CLIENT_TIMED = 32,          // stands in the reach wheel
	CLIENT_STALE_ROW = 64,      // last_heard or status is newer than the row; saved in batches
	CLIENT_FRESH = 128, // no response of this session and boot yet: the next beat proves itself
};

// What the server keeps of an operation that is open, or waits to be opened again.
struct open_operation {
	uint64_t op_id, first_op_id;
	uint64_t before_id; // P: D before this one
	uint64_t flow_id, event_seq;
	uint64_t cancel_flow;          // an operator asked to cancel it; 0: no
	struct open_operation *passed; // that operation, still open
	struct wall opened;
	uint32_t deadline_tick; // attended
	uint32_t command_s;     // how long its command may take; 0: no command
	uint32_t attempt;
	uint16_t resends, patience;
	uint16_t progress; // times that the deadline was moved
	uint16_t looks;    // of looked_mb, in LOOK_STEP_MB
	uint8_t kind, status, percent, state;
	bool reported, resync;
	bool command; // runs at most once: also one that is fetched first
	char queue[LIMIT_ID + 2];
	char detail[LIMIT_TEXT + 1];
	size_t body_size;
	uint8_t body[]; // the encoded ResponseBody, sent again verbatim
};

// A channel of a client after its first one.
struct membership {
	uint32_t pointer; // in the channel's queue; 0: NULL_HEAD
	uint16_t channel; // number of the queue
};

// What came in the minute at hand.
struct per_minute {
	uint32_t minute, count;
};

struct offer;
struct report_parts;
struct client_rare {
	struct open_operation *open;  // at most one; a cancel holds the passed one
	struct open_operation *retry; // failed; opens again when the client is free
	struct offer *offers;
	struct report_parts *parts;
	struct event_queue *private;
	uint32_t private_pointer;
	struct membership *more; // channels after the first, as the operator named them
	uint32_t more_count;
	uint64_t resend_shown; // what the client showed when it last asked for the response again
	struct mono resend_counted;                         // and when that counted
	uint64_t change_id, report_id;                      // highest held
	uint64_t report_seq, inbox_seq, want_seq, peer_seq; // upward, per topic
	uint64_t grant_seq, directive_seq, answer_seq;      // downward, per topic
	uint32_t interval_set_ms;
	uint32_t status_interval_ms;
	uint16_t in_a_row; // answers from the private queue
	struct per_minute sign_ins, changes;
	uint16_t corrections;          // of disagreements, since it last agreed for a while
	uint16_t correction_wait;      // beats until the next one
	uint8_t agreed_beats;          // in a row, since the last correction
	uint32_t rest_tick, rest_tail; // no snapshot before this attended time while the tail stays
	uint32_t exhausted;            // times in a row
	uint8_t interval_beats;        // in a row with another interval than told
	bool alerted;
	bool hasty; // it comes more often than it was told
};

// Two cache lines.
struct client {
	struct key32 mac_up;        // of the current session; mac-down follows from it
	uint64_t d;                 // last response of kinds 2 to 4
	struct client_rare *rare;   // NULL: nothing rare
	uint32_t session_id;        // 0: none
	uint32_t session_expires_s; // wall
	uint32_t seq;               // of the last accepted heartbeat of this boot
	uint32_t v;                 // counter of the last response of this incarnation, 0: none
	uint32_t pointer;           // in the channel's queue; 0: NULL_HEAD
	uint32_t heard_tick;        // attended
	uint32_t heard_s;           // wall, and its milliseconds below
	uint32_t told_interval_ms;
	uint32_t why; // last entry of the why log, 0: none
	uint32_t wheel_next;
	uint32_t ip;                         // itself, or interned: client_ip
	uint32_t profile, showing, holdings; // interned
	uint32_t id_at;                      // place of the id
	uint16_t channel;                    // number of the queue
	uint16_t heard_ms;
	uint16_t mismatches;
	uint16_t free;   // of its disk: free_pack
	uint16_t view_s; // when the last StateView went out; wraps around
	uint8_t state, reach, role, flags;
	uint8_t last_kind, last_reason;
	uint8_t ack_resends; // beats in a row that asked again and showed the same response
	uint8_t shard;       // of its topics
	bool last_was_resend : 1;
	bool other_interval : 1; // than it was told: its rare part holds which
	bool elsewhere : 1;      // another server's (share.h): what its row says, no more
	bool ip_is_v4;           // ip holds the four bytes
};
_Static_assert(sizeof(struct client) == 128, "struct client is two cache lines");

// Messages of a turn that are looked up ahead: the places in memory are asked for while others are
// judged.
#define CLIENT_AHEAD 8

// Who knows of more principals than the table holds yet.
struct client_source {
	void *ctx;
	void (*fetch)(void *ctx, const char *id); // adds it, if there is one
};

struct client_table {
	struct id16 key;
	const struct client_source *source; // NULL: the table holds all
	uint32_t ahead[CLIENT_AHEAD];       // hashes
	uint32_t ahead_next;
	struct client **blocks;
	uint32_t block_count, block_cap;
	uint32_t count, high; // principals now; places ever used
	uint32_t free_first;  // chain through wheel_next
	uint32_t *slots;      // by hash: number + 1, above it 7 more bits of the hash; 0 empty
	uint32_t slot_count;
	char **id_blocks;
	uint32_t id_block_count, id_block_cap;
	size_t id_used;   // bytes in the last id block
	uint32_t clients; // of role CLIENT
};

// A number of bytes in 16 bits, 5 of them an exponent: never more than it was, at most 0.1 % less.
uint16_t free_pack(uint64_t bytes);
uint64_t free_unpack(uint16_t packed);

void client_table_init(struct client_table *t, const struct id16 *hash_key);
// Frees rare parts through rare_free, which may be NULL.
void client_table_fini(struct client_table *t, void (*rare_free)(struct client_rare *rare));
// CLIENT_NONE when unknown, to the source too.
uint32_t client_table_find(const struct client_table *t, const char *id);
bool client_table_holds(const struct client_table *t, const char *id); // the source is not asked
// A message from this client follows CLIENT_AHEAD - 1 messages later: nothing but speed.
void client_table_ahead(struct client_table *t, const char *id, size_t length);
struct client *client_at(const struct client_table *t, uint32_t number); // asserted
const char *client_id(const struct client_table *t, const struct client *c);
// id is valid and unknown. Errors: ERR_FULL, ERR_MEMORY.
enum err client_table_add(
	struct client_table *t, const char *id, enum role role, uint32_t *number) MUST_CHECK;
// The caller has let go of everything rare and interned. A place that stands in the reach wheel is
// used again only after the wheel has let go of it (client_table_release).
void client_table_remove(struct client_table *t, uint32_t number);
void client_table_release(struct client_table *t, uint32_t number);
// The number behind *cursor that is in use; CLIENT_NONE at the end. *cursor begins at 0.
uint32_t client_table_next(const struct client_table *t, size_t *cursor);
// Makes the rare part when there is none. NULL when out of memory.
struct client_rare *client_rare_get(struct client *c);

// The address as the client said it; room: for four bytes.
struct bytes client_ip(const struct client *c, const struct intern *in, uint8_t room[4]);
// True when it changed.
bool client_set_ip(struct client *c, struct intern *in, struct bytes ip);
struct wall client_heard(const struct client *c);
void client_set_heard(struct client *c, struct wall at);

#endif
