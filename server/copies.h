// Further copies of a package, on other data brokers than its first one.
//
// When so many fetch that each would get less than [data] share_bytes_per_s of its broker, the same
// package is placed once more, by the same choice: least busy, no recent target, on none that has
// it already. New leases go to where the share is largest; who asks while a copy is made waits for
// it, a bounded time. A copy is read back like the first one before anybody is granted it. Without
// a lease it lingers and is withdrawn, before the first one is; when the first one is lost, a copy
// takes its place instead of a new transmission (never that of a relay). A broker that the first
// placement leaves stays here, as STOPPING, until the publisher has withdrawn what lies there.
//
// A client whose site has a relay (relays.h) is granted the copy there. When there is none yet, the
// first who asks has it made, and all of the site wait as long as relay_patience_s says. Who can be
// served a small delta by the first placement does not wait and has none made.
//
// Directive ids rise per package over all its placements; a publisher obeys the highest one of each
// broker. Deltas are offered from the first placement alone.
#ifndef HELIO_SERVER_COPIES_H
#define HELIO_SERVER_COPIES_H

#include "server/presence.h"

#define COPY_PATIENCE_MS 20000 // who asks waits so long for a copy that is being made
#define COPY_RETRY_MS 10000    // after a failure
#define COPY_SILENT_MS 30000   // no word of one that is being sent: it is given up
#define RELAY_PAYS 4           // a relay is filled where deltas cost more than a share of this

// Copies of a package, [LIMIT] DATA_BROKERS_MAX - 1; the first placement is struct package's own.
struct copy {
	char broker[LIMIT_ID + 1];
	enum place_state state; // SENDING, VERIFYING, STORED, LINGER or STOPPING
	enum directive_kind directive;
	uint64_t directive_id;
	bool answered;
	struct wall since;
	struct id16 mark;
	struct digest index_sha256;

	// In memory.
	struct mono directive_sent, begun, heard, verified;
	bool reading_back;
	int64_t idle_since_attended_ms, retry_at_ms;
	uint32_t leases, failures;
};

struct copy *copies_find(const struct package *k, const char *broker); // NULL: none
// Leases on the first placement.
uint32_t copies_first_leases(const struct package *k);
void copies_free(struct package *k);
enum err copies_load(struct presence *p, struct now now) MUST_CHECK;

// Where this client is granted the package from: the largest share among what is read back,
// reachable, and not known to be out of the client's reach. NULL: nowhere.
const char *copies_choose(
	struct presence *p, const struct package *k, const char *client, struct now now);
// The relay of its site is being filled, or the share at `place` is too small and a further copy is
// on its way: begun now, if need be.
bool copies_wait(struct presence *p, struct package *k, const struct waiting *w, const char *place,
	struct now now);

void copies_tick(struct presence *p, struct package *k, struct now now);
void copies_broker(
	struct presence *p, struct package *k, const char *broker, bool up, struct now now);
// True when the verdict was about a copy.
bool copies_readback(struct presence *p, struct package *k, const char *broker,
	enum readback_verdict verdict, const char *why, struct now now);
// True when the message answers a copy's directive.
bool copies_said(
	struct presence *p, struct package *k, const struct publisher_msg *m, struct now now);
// The publisher is new, or asks: what is in force for the copies.
void copies_send(struct presence *p, struct package *k, struct now now);
// A client misses objects, or the broker, of this copy: it is read back.
void copies_doubt(struct presence *p, struct package *k, struct copy *c, struct now now);
void copies_stop(struct presence *p, struct package *k, const char *because, struct now now);
// The publisher is gone, or withdrew everything by itself: nothing is left to be told.
void copies_drop(struct presence *p, struct package *k);

// The first placement leaves this broker: what lies there is withdrawn.
void copies_leave(struct presence *p, struct package *k, const char *broker, const char *because,
	struct now now);
// A stored copy becomes the first placement. False: there is none.
bool copies_adopt(struct presence *p, struct package *k, const char *because, struct now now);
// The first placement comes to this broker.
void copies_yield(struct presence *p, struct package *k, const char *broker);

#endif
