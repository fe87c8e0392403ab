// A station is one data broker as this publisher serves it: a connection and a queue of jobs, one
// at a time. It knows the order of publishing and never breaks it:
//
//   transmit   mark, objects, [mark read back on the same unbroken connection], manifest, index
//   withdraw   index, manifest, objects that no other package needs there
//   command    one signed command, or its withdrawal; it is in no store and has no claim
//
// After every connect the mark is read first. If it is gone the broker forgot everything: a new
// mark is drawn and every object counts as absent. What a broker holds is known from claims
// (store.h), which are committed before the first byte; what it acknowledged is noted at least once
// a second, so that a transmission which is interrupted goes on where it stopped.
#ifndef HELIO_PUBLISHER_STATION_H
#define HELIO_PUBLISHER_STATION_H

#include "publisher_config.h"
#include "store.h"

struct station;

enum job_kind {
	JOB_TRANSMIT = 1,
	JOB_WITHDRAW,
	JOB_COMMAND // `package` is the SHA-256 of the envelope
};
enum job_event {
	JOB_PROGRESS = 1, // at most one a second
	JOB_STORED,       // complete, mark read back, index visible
	JOB_STOPPED,      // nothing of the package lies there any more
	JOB_FAILED
};

struct job_report {
	enum job_kind kind;
	enum job_event event;
	const char *broker;
	struct digest package;
	struct digest base; // of a delta; else zero
	uint64_t directive_id;
	uint64_t sent_bytes, total_bytes; // of this job
	uint32_t objects;
	struct id16 mark;           // with JOB_STORED
	struct digest index_sha256; // with JOB_STORED: of the envelope
	const char *detail;         // with JOB_FAILED: one sentence; borrowed
};

struct station_events {
	void *ctx;
	void (*report)(void *ctx, const struct job_report *r);
};

struct station_status {
	const char *broker;
	bool up;
	enum job_kind job; // 0: idle
	uint64_t sent_bytes, total_bytes;
	size_t jobs;
};

// Address: host and ip, tried in this order. Everything is copied; config and store are borrowed.
enum err station_new(const struct publisher_config *config, struct store *store,
	const struct address *to, const struct station_events *events,
	struct station **out) MUST_CHECK;
// Drops the connection; jobs end without a report.
void station_free(struct station *s);

const char *station_broker(const struct station *s);
bool station_is_at(const struct station *s, const struct address *to);
bool station_is_idle(const struct station *s); // no job, and none for a while

// Replaces a job of the same package that waits or runs: a transmission stops within one object.
// resend: these objects are sent although they were acknowledged (REPAIR). Errors: ERR_FULL.
enum err station_transmit(struct station *s, const struct digest *package, uint64_t directive_id,
	const struct digest *resend, size_t resend_count) MUST_CHECK;
enum err station_withdraw(
	struct station *s, const struct digest *package, uint64_t directive_id) MUST_CHECK;

// A transmission of this package that waits or runs ends within one object, and nothing is
// withdrawn: another one goes on where it stopped.
void station_pause(struct station *s, const struct digest *package);

// A delta, or its withdrawal; the package itself is to lie there. Nothing happens when that waits
// or runs already. Errors: ERR_FULL.
enum err station_delta(struct station *s, enum job_kind kind, const struct digest *package,
	const struct digest *base) MUST_CHECK;

// envelope: copied; empty takes the command away. Errors: ERR_FULL, ERR_MEMORY.
enum err station_command(
	struct station *s, const struct digest *sha256, struct bytes envelope) MUST_CHECK;

// This very job waits or runs. package: of a delta its id.
bool station_has(const struct station *s, enum job_kind kind, const struct digest *package,
	uint64_t directive_id);

// About ten times a second while there is a job: time limits, progress.
void station_tick(struct station *s, struct mono now);
void station_get_status(const struct station *s, struct station_status *out);

#endif
