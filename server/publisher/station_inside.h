// What a station is made of: station.c runs the job at the head of the queue, station_jobs.c takes
// jobs in. For these two alone.
#ifndef HELIO_PUBLISHER_STATION_INSIDE_H
#define HELIO_PUBLISHER_STATION_INSIDE_H

#include "station.h"

#define JOBS_MAX 256
#define SLOTS CONTROL_OUTSTANDING

enum phase {
	PHASE_BEGIN,
	PHASE_OBJECTS,
	PHASE_VERIFY, // transmit: the mark is read back
	PHASE_MANIFEST,
	PHASE_INDEX,
	PHASE_END
};

struct job {
	enum job_kind kind;
	struct digest package, base;
	struct digest key; // of claims: the package, or the delta's id
	uint64_t directive_id;
	struct digest *resend;
	size_t resend_count;
	uint8_t *envelope; // of a command
	size_t envelope_size;
};

// The job at the head of the queue, once it is under way.
struct run {
	enum phase phase;
	struct send_object *objects;
	size_t object_count, next;
	uint64_t sent_bytes, total_bytes;
	unsigned restarts, breaks;
	bool replaced; // another job of the same package waits: end as soon as nothing is in flight
	struct buf manifest, index; // envelopes
};

struct slot {
	uint64_t token; // 0: free
	size_t object;  // index, or NO_OBJECT for manifest, index and mark
};

enum mark_state {
	MARK_UNKNOWN,
	MARK_READING,
	MARK_KNOWN
};

struct station {
	const struct publisher_config *config;
	struct store *store;
	struct station_events events;
	char broker[LIMIT_ID + 1], host[256], ip[64];
	uint32_t port;
	bool tls;
	struct mqtt_link *link;
	bool up, stood; // stood: since on_down was told last
	struct mono down_since, progress_at, told_at, idle_since;
	char why[300];
	// mark, as far as this connection knows
	struct id16 mark;
	enum mark_state mark_state;
	bool mark_subscribed;
	struct mono mark_asked, mark_behind; // behind: when the SUBACK after it came; ms 0: not yet
	uint64_t barrier_token;
	// jobs
	struct job jobs[JOBS_MAX];
	size_t job_count, jobs_ended;
	struct run run;
	struct slot slots[SLOTS];
	size_t outstanding;
	uint64_t last_token;
};

// As far as it goes without waiting.
void station_advance(struct station *s);
void station_job_drop(struct station *s, size_t at);
enum err station_link_start(struct station *s) MUST_CHECK;

#endif
