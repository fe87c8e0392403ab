// The presence server: which package lies on which data broker, for whom, and who is told so
// (US 7,620,699; S002). It owns packages, their placements, the leases on them and the load of the
// data brokers; publishers and consumers reach it through handle_pub.c and handle_want.c, operators
// through operator_package.c.
//
// Invariants:
//  - A grant names a broker whose copy *we* read back over the present connection, nothing else.
//  - Directive ids rise per package; what the last one said follows from the stored row alone, so
//  it can be
//    said again after a restart. It is said again until the publisher answers.
//  - STOP needs zero live leases; nothing is granted while STOPPING.
//  - A lease and a waiting request are demand. Demand brings content back; without it content goes.
//
// A package has one placement that follows the chain of placement.h, and further copies while more
// fetch it than one broker serves well (copies.h). TRANSMIT to another broker than before replaces
// the placement: what lies at the earlier one is withdrawn as a copy is. Every entrance runs inside
// a turn of the core: rows are written through the core's transaction, messages leave after its
// commit. A write that fails is remembered and fails the commit (presence_store_error); the core
// then calls presence_load.
#ifndef HELIO_SERVER_PRESENCE_H
#define HELIO_SERVER_PRESENCE_H

#include "server/data_brokers.h"
#include "server/db/db.h"
#include "server/distribute.h"
#include "server/leases.h"
#include "server/placement.h"
#include "server/rates.h"
#include "server/unreachable.h"
#include "server/windows.h"

// uthash reports a lack of memory by this.
#define uthash_fatal(text) abort()
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define PRESENCE_PACKAGES_MAX 100000
#define PRESENCE_WAITING_MAX 100000 // of all packages
#define PRESENCE_BASES_MAX 4        // older packages that a package is served from as a delta
#define PRESENCE_MISSING_MAX 8      // objects of a client's complaint that are looked at
#define PRESENCE_RETRY_MS 1000      // a client that waits comes again after this
#define PRESENCE_REFUSED_RETRY_MS 60000
#define PRESENCE_TURN_MS 30000 // who stands in a line comes again after this at the latest
#define PRESENCE_BACKOFF_MAX_MS 60000
#define PRESENCE_CHECKED_MS 10000  // a copy read back this lately is not read again for a complaint
#define PRESENCE_MEASURED_MS 60000 // after this a lease is part of the broker's measured load

struct presence_config {
	uint32_t recent_period_s;
	bool recent_fallback_oldest;
	uint32_t linger_s;             // without a lease, after there was one
	uint32_t first_viewer_grace_s; // without ever a lease; 0: for ever
	uint32_t lease_ttl_s;          // the least
	uint32_t reconnect_spread_s; // attended time stands still this long after a gap, until told
	uint32_t broker_away_s;      // then content that is wanted moves
	uint32_t stalled_after_s;    // a transfer that does not move for so long is moved; 0: never
	uint32_t unreachable_s; // a broker that a client cannot reach is out of question for it
	uint32_t directive_repeat_ms;
	uint32_t relay_patience_s;        // who asks waits so long for its relay to be filled
	uint64_t client_rate_bytes_per_s; // of who has no budget; 0: no cap but the broker's share
	char *const *budgets;             // [budget_count], lines of budgets.h, borrowed
	size_t budget_count;
	bool store_is_shared;       // other servers read how fast each may go
	uint64_t share_bytes_per_s; // who would get less of a broker waits for a copy; 0: none
	struct window_limits windows;
	struct route_policy route;
};

// What is to be read back: mark, manifest, index, its last object, and these objects.
struct readback_order {
	struct digest package;
	const char *publisher;
	struct key32 publisher_key;
	struct id16 mark;
	struct digest index_sha256;
	const struct digest *objects;
	size_t object_count;
};

enum readback_verdict {
	READBACK_PROVEN = 1,
	READBACK_LOST,            // mark, manifest or index are not there, or not the ones claimed
	READBACK_OBJECTS_MISSING, // those are there, one of the objects is not
	READBACK_BROKEN           // our connection broke: nothing is known
};

struct presence_ports {
	void *ctx;
	enum err (*send_directive)(void *ctx, const char *publisher, struct directive *m);
	enum err (*send_grant)(void *ctx, const char *client, struct grant *m);
	enum err (*publisher_key)(void *ctx, const char *publisher, struct key32 *out);
	// Is this package among what the server told the client to fetch?
	bool (*is_meant)(void *ctx, const char *client, const struct digest *package);
	uint32_t (*told_interval_ms)(void *ctx, const char *client);
	struct route_client (*client)(void *ctx, const char *client);
	uint64_t (*lease_id)(void *ctx); // unique for ever
	// So many are silent at once that nothing is withdrawn for want of demand. NULL: never.
	bool (*mass_silence)(void *ctx);
	// Reads over the server's own connection; presence_readback is called with the verdict.
	void (*readback)(void *ctx, const char *broker, const struct readback_order *order);
	// What became of an order: an error is told to the publisher. NULL: no order stands here.
	enum err (*ordered)(void *ctx, const char *publisher, const struct order_outcome *m);
	// How many clients, roughly, hold this package complete and not the other; and does this
	// one hold it? NULL: nobody knows, and there are no deltas.
	uint64_t (*holders)(void *ctx, const struct digest *package, const struct digest *but);
	bool (*holds)(void *ctx, const char *client, const struct digest *package);
	// Where it stands: "CUSTOMER/PLACE", "" for nowhere; valid until the next call. NULL:
	// nowhere.
	const char *(*site)(void *ctx, const char *client);
};

// A client that asked and was told to come again.
struct waiting {
	char client[LIMIT_ID + 1];
	uint64_t request_id;
	struct digest base; // that it holds; zero: it wants the full index
	int64_t until_attended_ms;
	struct package *package;
	struct data_broker *at; // in whose line it stands; NULL: in none
	uint64_t ticket;        // rises along the line
	struct waiting *prev, *next;
	UT_hash_handle hh;
};

struct package_base {
	struct digest id;
	bool stored; // the publisher says that its delta lies beside the package
	uint64_t object_bytes;
};

struct package {
	struct digest id;
	char publisher[LIMIT_ID + 1], name[LIMIT_ID + 1], version[LIMIT_ID + 1];
	enum package_kind kind;
	uint64_t size_bytes, object_bytes;
	struct wall offered;

	// Its placement, as stored.
	enum place_state state;
	char broker[LIMIT_ID + 1];
	enum directive_kind directive;        // 0: none yet
	uint64_t directive_id, directive_top; // top: the highest that was ever said
	bool answered;
	struct wall since, verified; // verified 0: never
	struct id16 mark;
	struct digest index_sha256;
	bool viewed; // had a lease since it was stored
	bool barred; // withdrawn by an operator: an offer does not bring it back
	char detail[LIMIT_TEXT + 1];

	// In memory.
	struct mono directive_sent, verified_mono;
	bool reading_back;
	int64_t idle_since_attended_ms, retry_at_ms; // retry_at: monotonic
	uint32_t failures;
	char avoid[LIMIT_ID + 1];
	struct digest missing[PRESENCE_MISSING_MAX];
	size_t missing_count;
	uint64_t sent_bytes, total_bytes;
	uint32_t leases; // on all its placements
	struct waiting *waiting;
	struct copy *copies; // [copy_count], copies.h
	size_t copy_count;
	int64_t copy_retry_at_ms;                      // monotonic
	struct package_base bases[PRESENCE_BASES_MAX]; // bases.h
	size_t base_count;
	bool bases_due, bases_told;
	UT_hash_handle hh;
};

struct presence {
	struct presence_config config;
	struct presence_ports ports;
	struct data_brokers *brokers;
	struct db *db;
	struct package *packages; // by id
	struct leases *leases;
	struct rates *rates;
	struct unreachable *unreachable;
	size_t waiting_count;
	int64_t attended_ms;
	struct mono last_tick;
	bool ticked, attended; // attended: the control broker answers
	int64_t spread_ms, spread_left_ms;
	enum err store_error;
	uint64_t grants, denials, directives, stalls, moves;
	bool holdings_changed; // since the bases were looked at
	struct mono bases_looked;
};

// Nothing is loaded yet. brokers and db are borrowed.
struct presence *presence_new(const struct presence_config *config,
	const struct presence_ports *ports, struct data_brokers *brokers, struct db *db);
void presence_free(struct presence *p);

// Forgets everything in memory and reads the rows. What was stored is to be read back first.
enum err presence_load(struct presence *p, struct now now) MUST_CHECK;
// The first failed write since the last call, for core_hooks.before_commit.
enum err presence_store_error(struct presence *p) MUST_CHECK;

void presence_tick(struct presence *p, struct now now);
void presence_control(struct presence *p, bool up);
// The fleet has grown: how long it takes to find its way back after a gap.
void presence_spread(struct presence *p, uint32_t spread_ms);
void presence_broker(
	struct presence *p, const char *broker, bool up, const char *why, struct now now);
void presence_readback(struct presence *p, const char *broker, const struct digest *package,
	enum readback_verdict verdict, const char *why, struct now now);
void presence_principal_gone(struct presence *p, const char *id, enum role role, struct now now);
void presence_lease_renew(
	struct presence *p, const char *client, uint64_t lease, uint32_t told_interval_ms);
// Errors: ERR_NOT_FOUND, ERR_NOT_NOW.
enum err presence_withdraw(struct presence *p, const struct digest *id, struct now now) MUST_CHECK;
enum err presence_restore(struct presence *p, const struct digest *id, struct now now) MUST_CHECK;

// Attended time up to this moment: presence_tick advances attended_ms only now and then.
int64_t presence_attended_ms(const struct presence *p, struct now now);
struct package *presence_find(struct presence *p, const struct digest *id); // NULL: none

// ---- for handle_pub.c and handle_want.c

bool package_is_wanted(const struct package *k); // leases or waiting requests
// False, with a log line, when the state refuses it. Stores the row.
bool package_step(struct presence *p, struct package *k, enum place_event e, const char *because,
	struct now now);
void package_store(struct presence *p, const struct package *k);
// It is a publishing target now.
void target_note(struct presence *p, struct data_broker *b, struct now now);
// Chooses a broker and tells the publisher TRANSMIT or DEFER. request_id: of the message this
// answers, or 0.
void package_place(struct presence *p, struct package *k, uint64_t request_id, const char *because,
	struct now now);
void package_stop(struct presence *p, struct package *k, const char *because, struct now now);
void directive_issue(struct presence *p, struct package *k, enum directive_kind kind,
	uint64_t request_id, struct now now);
// The directive in force, again.
void directive_send(struct presence *p, struct package *k, uint64_t request_id, struct now now);
void package_read_back(struct presence *p, struct package *k);
void lease_end(struct presence *p, struct lease *l, const char *because, struct now now);
// Leases at this broker are demand for what replaces it: their holders wait, and are served anew.
void leases_to_waiting(struct presence *p, struct package *k, const char *broker, struct now now);
// Where a further copy would be placed. NULL: nowhere now.
struct data_broker *package_choose_further(struct presence *p, struct package *k, struct now now);
// A broker that this client may reach is there, besides the one of the first placement.
bool other_broker_exists(
	const struct presence *p, const struct package *k, const char *client, struct mono now);
// handle_want.c: the transfer makes no progress here. Another broker that has the package, or may
// have it when nobody else fetches here, serves the client. The lease may be gone after it.
bool lease_move(struct presence *p, struct lease *l, struct now now);
// handle_want.c: grants everybody who waits for a package that was just proven.
void waiting_serve(struct presence *p, struct package *k, struct now now);
// Who stands first in a broker's line is granted as soon as a slot is free.
void lines_serve(struct presence *p, struct now now);
// Those who still wait for a stored package cannot reach its broker. Nobody else fetches: it moves.
void waiting_move(struct presence *p, struct package *k, struct now now);
void waiting_add(struct presence *p, struct package *k, const char *client, uint64_t request_id,
	const struct digest *base);
void waiting_drop(struct presence *p, struct package *k, struct waiting *w);
void presence_store(struct presence *p, enum err e);
void presence_clear(struct presence *p); // forgets packages and leases, in memory alone
// Content is there, or on its way there or from there.
bool place_is_on_broker(enum place_state s);
bool place_is_stored(enum place_state s); // read back, whether somebody fetches it or not
// A lease begins (sign > 0) or ends at a broker.
void broker_count(struct presence *p, const char *broker, int sign, const struct lease *l);

// ---- messages

struct root;
// A publisher's message, authenticated.
void handle_pub(struct presence *p, const struct root *root, const char *publisher,
	const struct publisher_msg *m, struct arena *a, struct now now);
// A client's.
void handle_want(struct presence *p, const char *client, const struct want *m, struct now now);

#endif
