// Keys of customers whose packages are sealed (proto/seal_content.h; S001-c29).
//
//   customer-encrypt on|rotate -> a new key, current -> every publisher that is signed in, and each
//   that signs in later: Directive CONTENT_KEY -> packages built from now on are sealed with it
//   a client is told to retrieve a sealed package -> its key rides in the header of that response,
//   sealed for the session; a medium bears it sealed for the client's enrolled box key
//
// Keys stand in the store, whose folder only heliod may read; a backup of the store holds them too.
#ifndef HELIO_SERVER_CONTENT_KEYS_H
#define HELIO_SERVER_CONTENT_KEYS_H

#include "server/core.h"
#include "server/db/rows.h"
#include "server/db/rows_key.h"

#define CONTENT_KEYS_PUBLISHERS 32 // that are told what is new; others are told again and again

#define CONTENT_KEYS_CACHE 64

struct content_keys {
	struct core *core;
	const struct root *root;
	bool any;            // a key was ever made
	uint64_t generation; // rises with each change
	struct {
		struct digest package;
		struct id16 key_id; // zero: it is not sealed
	} cache[CONTENT_KEYS_CACHE];
	size_t cache_next;
	struct {
		char publisher[LIMIT_ID + 1];
		uint64_t session_id, generation;
	} told[CONTENT_KEYS_PUBLISHERS];
};

enum err content_keys_init(
	struct content_keys *k, struct core *core, const struct root *root) MUST_CHECK;

// An operator: a new key; or, with on false, none. out: what is current now. Inside a turn.
enum err content_keys_turn(
	struct content_keys *k, const char *customer, bool on, struct key_row *out) MUST_CHECK;
// A publisher said something: it is told what it does not know in this session.
void content_keys_heard(struct content_keys *k, const char *publisher, uint64_t session_id);

// The keys of the sealed packages that the body of a response names, for this client and session.
// Into the arena; none when nothing is sealed. Errors: ERR_NOT_FOUND (the key is gone) ...
enum err content_keys_for_response(struct content_keys *k, const struct caller *to,
	const struct response_body *body, struct sealed_key **out, size_t *count) MUST_CHECK;
// For one client's medium; *out stays zero when the package is not sealed. Errors: ERR_NOT_FOUND
// (no box key is enrolled, or the key is gone).
enum err content_keys_for_medium(struct content_keys *k, const struct digest *package,
	const struct principal_row *client, uint64_t order, struct sealed_key *out) MUST_CHECK;

#endif
