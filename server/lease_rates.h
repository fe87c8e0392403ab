// The rates of the presence server's leases: joins leases, budgets and their rows with rates.h.
//
//   lease granted, loaded, ended   -> a flow begins, ends
//   answer to a client that fetches -> lease_rate_tell -> the rate in its header
//   letter of the server that answers it -> lease_rate_offer -> a letter back (told_rates.h)
//   heartbeat of a client            -> how far it came; stalled: reported, and moved
//   operator sets a budget          -> row, and all rates follow at the next answers
#ifndef HELIO_SERVER_LEASE_RATES_H
#define HELIO_SERVER_LEASE_RATES_H

#include "server/presence.h"

// With the budgets of the settings, which were checked.
struct rates *lease_rates_new(const struct presence_config *config);
// The budgets that are stored.
enum err lease_rates_load(struct presence *p) MUST_CHECK;

// Both count it at its broker.
void lease_rate_begin(struct presence *p, struct lease *l, struct now now);
// stored: the rate in its row, of before this start; 0: no limit.
void lease_rate_restore(struct presence *p, struct lease *l, uint64_t stored, struct now now);
// What each would have of a broker, were there one more.
uint64_t lease_rate_share(const struct presence *p, const struct data_broker *b);
// About what one more would get there.
uint64_t lease_rate_next(const struct presence *p, const char *client, const struct data_broker *b);
// 0: the client has no lease.
uint64_t lease_rate_tell(struct presence *p, const char *client, uint64_t channel_rate,
	uint32_t told_interval_ms, struct now now);

// What a client was told holds so long, when it is not heard.
uint32_t lease_told_for_ms(uint32_t interval_ms);
// The same of a client that another server answers, as that one shows the lease. *rate: what that
// server is to tell from now on. False: nothing new.
bool lease_rate_offer(struct presence *p, const char *client, uint64_t lease,
	const struct rates_shown *shown, struct now now, uint64_t *rate);

// A heartbeat shows how far the transfer came. One that makes no progress is said to be so, once,
// and its client is sent to another broker where there is one.
void lease_progress_heard(struct presence *p, const char *client, const struct holding *h,
	uint32_t told_interval_ms, struct now now);

// Both are stored, and hold from now on. Errors: those of budget_check and budgets_put.
enum err lease_budget_set(struct presence *p, const struct budget *b) MUST_CHECK;
// Back to the settings. Errors: ERR_NOT_FOUND.
enum err lease_budget_unset(struct presence *p, enum budget_kind kind, const char *name) MUST_CHECK;

#endif
