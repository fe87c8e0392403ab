// Who fetches how fast (S001-c28): the book of live transfers, and what each may take.
//
//   lease begins, ends --+
//   budgets, caps -------+-> links and flows -> rate_share -> the rate that each is due
//                                                               |
//   a heartbeat of its client is answered, or it is granted  ---+-> rates_tell -> the rate told
//
// Two sums are kept apart. What is *due* divides each budget to the last byte, and is worked out
// anew when something changed and somebody asks, at most once in a while: not once a lease. What is
// *told* follows at each client's next heartbeat: down at once, up only as far as an operator's
// budget has room left by what the others were told last. So a budget that an operator set is not
// exceeded while a transfer begins or another ends. A broker's capacity is no promise to anybody:
// it is divided, and not guarded so.
//
// A client that another server answers is told by that one (told_rates.h). It is *offered* a rate,
// and the next offer waits until the client was told that one; until then the higher of both counts
// as told. So an operator's budget holds over all servers, whatever is on its way between them.
//
// How fast a client goes at most may not be known: it was told that there is no limit, before there
// was one; or this server has just begun to lead, and has not heard it yet. Until it has, no other
// one of its budgets is told more than before.
//
// Pure but for memory: times come in, rates go out.
#ifndef HELIO_SERVER_RATES_H
#define HELIO_SERVER_RATES_H

#include "proto/base/clock.h"
#include "server/budgets.h"

struct rates;

struct rates_lease {
	uint64_t id;
	const char *client, *broker;
	const char *site;              // "": none
	uint64_t capacity_bytes_per_s; // of the broker
	uint32_t told_for_ms; // what it was told holds so long, unless it is told something else
	bool is_restored;     // it began before a start of ours
	uint64_t stored;      // then: the rate that it was offered last, by the store; 0: no limit
};

struct rates_view {
	uint64_t due_bytes_per_s, told_bytes_per_s; // 0: no limit
	const char *site;                           // "": none
};

struct rates *rates_new(uint64_t client_cap_bytes_per_s); // of who has no budget; 0: none
void rates_free(struct rates *r);
void rates_clear(struct rates *r); // the flows

struct budgets *rates_budgets(struct rates *r);
// Budgets were changed.
void rates_budgets_changed(struct rates *r);

// The rate it is told now.
uint64_t rates_join(struct rates *r, const struct rates_lease *lease, struct mono now);
void rates_leave(struct rates *r, uint64_t lease);
// Its client is answered: the rate to tell it. channel_cap: 0, none. 0 when it has no flow.
uint64_t rates_tell(struct rates *r, uint64_t lease, uint64_t channel_cap, uint32_t told_for_ms,
	struct mono now);
// What the server that answers a client shows with a heartbeat.
struct rates_shown {
	uint64_t channel_cap; // 0: none
	uint32_t told_for_ms;
	bool is_known; // it knows the lease, and:
	uint64_t rate; // what it was offered last
	uint64_t told; // what it told the client last
};
// *rate: what it is to tell from now on. False: it knows that, or there is no such flow.
bool rates_offer(struct rates *r, uint64_t lease, const struct rates_shown *shown, struct mono now,
	uint64_t *rate);
// Works out what is due, if something changed. Returns true when it did.
bool rates_settle(struct rates *r, struct mono now);

// False: no such flow.
bool rates_look(const struct rates *r, uint64_t lease, struct rates_view *out);
// What may leave a broker: its capacity or budget, the lower.
uint64_t rates_of_broker(const struct rates *r, const char *broker, uint64_t capacity_bytes_per_s);
// Transfers that may run at a broker at once; 0: no limit.
uint32_t rates_fetches(const struct rates *r, const char *broker);
// What a client may take at most; 0: no limit.
uint64_t rates_client_cap(const struct rates *r, const char *client);
size_t rates_count(const struct rates *r);

#endif
