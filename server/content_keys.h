// Keys of customers whose packages are sealed (proto/seal_content.h; S001-c29).
//
//   customer-encrypt on|rotate -> a new key, current -> the publisher of that customer, now and in
//   each of its sessions: Directive CONTENT_KEY -> packages built from now on are sealed with it
//   the customer goes to another publisher -> a new key, told to that one; the former is told to
//   forget, and what it still knows opens nothing that is made from then on
//   a client is told to retrieve a sealed package -> its key rides in the header of that response,
//   sealed for the session; a medium bears it sealed for the client's enrolled box key
//
// Keys stand in the store, whose folder only heliod may read; a backup of the store holds them too.
#ifndef HELIO_SERVER_CONTENT_KEYS_H
#define HELIO_SERVER_CONTENT_KEYS_H

#include "server/core.h"
#include "server/db/rows.h"
#include "server/db/rows_key.h"

#define CONTENT_KEYS_CACHE 64
#define CONTENT_KEYS_PER_TURN 256 // told to one publisher; a tick goes on

struct keys_told; // which publisher knows what in its session

struct content_keys {
	struct core *core;
	const struct root *root;
	bool any; // a key was ever made
	struct {
		struct digest package;
		struct id16 key_id; // zero: it is not sealed
	} cache[CONTENT_KEYS_CACHE];
	size_t cache_next;
	struct keys_told *told;
};

enum err content_keys_init(
	struct content_keys *k, struct core *core, const struct root *root) MUST_CHECK;
void content_keys_fini(struct content_keys *k);

// An operator: a new key; or, with on false, none. out: what is current now. Inside a turn.
enum err content_keys_turn(
	struct content_keys *k, const char *customer, bool on, struct key_row *out) MUST_CHECK;
// A customer has another publisher (now), or is removed (now NULL). Inside the turn of the edit.
enum err content_keys_moved(struct content_keys *k, const char *customer, const char *before,
	const char *now) MUST_CHECK;
// A publisher said something: it is told what it does not know in this session.
void content_keys_heard(struct content_keys *k, const char *publisher, uint64_t session_id);
// Goes on with what did not fit into one turn.
void content_keys_tick(struct content_keys *k);

// The keys of the sealed packages that the encoded body of a response names, for this client and
// session. Into the arena; none, and the body is not opened, while no customer has a key. Errors:
// ERR_NOT_FOUND (the key is gone) ...
enum err content_keys_for_response(struct content_keys *k, const struct caller *to,
	struct bytes body, struct sealed_key **out, size_t *count) MUST_CHECK;
// For one client's medium; *out stays zero when the package is not sealed. Errors: ERR_NOT_FOUND
// (no box key is enrolled, or the key is gone).
enum err content_keys_for_medium(struct content_keys *k, const struct digest *package,
	const struct principal_row *client, uint64_t order, struct sealed_key *out) MUST_CHECK;

#endif
