// Of a server that answers clients and does not lead: how fast each of its clients may fetch.
//
//   leader: rates.h divides -> a grant, or a letter when it is another rate -> told_rates_set
//   a client that fetches is answered -> told_rates_tell -> the rate in the answer's header
//   each heartbeat of it -> a letter to the leader: how far it is, what it was told -> rates_offer
//
// One lease of a client counts: the one that the leader spoke of last, which is the newest that
// lives. A later one may have ended, so its number says nothing. What is not known here, since a
// shard has just come, stands in the lease's row. Pure but for memory.
#ifndef HELIO_SERVER_TOLD_RATES_H
#define HELIO_SERVER_TOLD_RATES_H

#include "proto/base/err.h"
#include "proto/limits.h"
#include <stdbool.h>
#include <stdint.h>

struct told_rates;

struct told_rate {
	uint64_t lease;
	uint64_t rate;        // that the leader said last; 0: no limit
	uint64_t told;        // that the client was told last
	uint64_t channel_cap; // 0: none
};

// How far a transfer is, and at which rate: the text of a letter.
struct told_progress {
	uint32_t have, total, looked_mb;
	bool is_known; // the rest is
	uint64_t rate, told, channel_cap;
};

struct told_rates *told_rates_new(void); // aborts when out of memory
void told_rates_free(struct told_rates *t);
void told_rates_clear(struct told_rates *t);

// By its grant, or by the store: then its client was told so much too. By a letter: it was not yet.
void told_rates_set(
	struct told_rates *t, const char *client, uint64_t lease, uint64_t rate, bool client_knows);
// NULL: no lease that is known of.
const struct told_rate *told_rates_find(const struct told_rates *t, const char *client);
// The rate to tell a client that is answered now; 0: none.
uint64_t told_rates_tell(struct told_rates *t, const char *client, uint64_t channel_cap);
void told_rates_drop(struct told_rates *t, const char *client);

#define TOLD_PROGRESS_TEXT 128
void told_progress_write(const struct told_progress *p, char out[TOLD_PROGRESS_TEXT]);
// Errors: ERR_FORMAT.
enum err told_progress_read(const char *text, struct told_progress *out) MUST_CHECK;

#endif
