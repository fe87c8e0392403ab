// What the server directs, and what becomes of it. One station per data broker; a directive becomes
// a job there, a finished job becomes a message to the server. No package is ever sent to a data
// broker without a directive; only the highest directive of a package at a broker is obeyed, and
// only for packages that were offered. STOP everywhere, WAIT and DEFER name no broker: they end
// every transmission that an earlier directive began. What lies on brokers of a package that the
// operator withdrew is withdrawn unasked.
#ifndef HELIO_PUBLISHER_TRANSMIT_H
#define HELIO_PUBLISHER_TRANSMIT_H

#include "control.h"
#include "station.h"

struct transmit;

// All borrowed for its life.
enum err transmit_new(const struct publisher_config *config, struct store *store,
	struct control *control, struct transmit **out) MUST_CHECK;
void transmit_free(struct transmit *t);

// Says that the package exists. Errors: ERR_NOT_NOW (not signed), ERR_NOT_FOUND.
enum err transmit_offer(
	struct transmit *t, const struct digest *package, uint64_t *request_id) MUST_CHECK;
// The operator withdrew it: tells the server, and takes it from every broker.
enum err transmit_withdraw(struct transmit *t, const struct digest *package) MUST_CHECK;

// Puts a signed command on its topic at this data broker, or takes it away (empty). `done` of
// transmit_on_command follows. Errors: ERR_FULL, ERR_MEMORY, ERR_RANGE.
enum err transmit_command(struct transmit *t, const struct address *to, const struct digest *sha256,
	struct bytes envelope) MUST_CHECK;
void transmit_on_command(
	struct transmit *t, void (*done)(void *ctx, const struct job_report *r), void *ctx);

// The delta of the package from this base: to every broker where the package lies, and away from
// wherever the delta lies (*lies: anywhere). Errors: ERR_NOT_FOUND, ERR_FULL.
enum err transmit_delta(
	struct transmit *t, const struct digest *package, const struct digest *base) MUST_CHECK;
enum err transmit_delta_stop(struct transmit *t, const struct digest *package,
	const struct digest *base, bool *lies) MUST_CHECK;
// done: of every job of a delta, and of every package that is stored.
void transmit_on_job(
	struct transmit *t, void (*done)(void *ctx, const struct job_report *r), void *ctx);

// A session began, or the server restarted: offers again what is offered.
void transmit_session(struct transmit *t);
// asked: it answers a request of ours, so that it is in force whatever its number.
void transmit_directive(struct transmit *t, const struct directive *d, bool asked);
void transmit_tick(struct transmit *t, struct mono now);

#define STATIONS_MAX 32
size_t transmit_stations(const struct transmit *t, struct station_status out[STATIONS_MAX]);

#endif
