// Leases: who is fetching what from where, at which rate (S002-8 to S002-11).
//
// A lease lives while the client's heartbeats list it, for at most ttl after the last of them; ttl
// is at least three of the intervals that were told to that client. Lease age is counted in
// *attended* milliseconds, the clock of the presence server that stands still while we could not
// hear anybody; so a restart or an outage of ours ends no lease. After a restart a lease begins a
// full ttl anew.
//
// Pure but for memory: the rows are rows_lease.c's.
#ifndef HELIO_SERVER_LEASES_H
#define HELIO_SERVER_LEASES_H

#include "proto/base/clock.h"
#include "proto/message.h"
#include "server/lease_progress.h"

#define LEASES_MAX 1000000
#define LEASE_TTL_INTERVALS 3

struct lease {
	uint64_t id;
	char client[LIMIT_ID + 1], broker[LIMIT_ID + 1];
	struct digest package;
	struct digest base;  // the delta it was granted from; zero: the full index
	uint64_t request_id; // of the request that obtained it
	struct wall granted;
	int64_t granted_attended_ms, expires_attended_ms;
	uint32_t ttl_ms;
	uint64_t rate_bytes_per_s; // that its client was told last (rates.h)
	uint64_t window_bytes, slot_bytes; // windows.h
	struct lease_progress progress;
	struct digest complaint; // hash of the objects that it missed last
	struct mono complained;
};

struct leases;

struct leases *leases_new(void); // aborts when out of memory
void leases_free(struct leases *l);
void leases_clear(struct leases *l);
size_t leases_count(const struct leases *l);

uint32_t lease_ttl_ms(uint32_t ttl_min_ms, uint32_t told_interval_ms);

// Copies *lease; at most one per client and package. Errors: ERR_EXISTS, ERR_FULL.
enum err leases_add(struct leases *l, const struct lease *lease) MUST_CHECK;
struct lease *leases_find(struct leases *l, uint64_t id);
struct lease *leases_of_client(struct leases *l, const char *client, const struct digest *package);
// The one of this client that was granted last. NULL: none.
struct lease *leases_newest(struct leases *l, const char *client);
// Frees it.
void leases_remove(struct leases *l, struct lease *lease);
// Every lease in the order of granting; *cursor begins at NULL. The one returned may be removed.
struct lease *leases_next(struct leases *l, void **cursor);

// False when there is no such lease of that client.
bool leases_renew(
	struct leases *l, uint64_t id, const char *client, int64_t attended_ms, uint32_t ttl_ms);


#endif
