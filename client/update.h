// Software updates, decided: where an update stands, what an event makes of it, when it may be
// installed, and what failed and is not tried again. Pure; no clock, file or process.
//
//   FETCHED -> WAITING -> INSTALLING -> [RESTARTING ->] TRIAL -> COMMITTING -> CONFIRMED
//      |          |           |              |            |          |
//      +----------+-----------+--------------+--- ROLLING_BACK -> [REVERTING ->] ROLLED_BACK,
//      BROKEN
//
//   update_file.c     the records, durable before what they say is done
//   update_rows.c     what the settings say: one line of each kind for a name of software
//   update_handler.h  the contract of the handlers; update_{symlink,rauc,swupdate,script}.c
//   update_guard.c    the agent's own update: who starts, counts
//   runtime_update.c  the doer
//
// Invariants:
//  - A state is on disk before its work begins; every work may be done again.
//  - What ran before runs again after every end but CONFIRMED; BROKEN says that this failed.
//  - The security floor rises, and the slot moves, with CONFIRMED alone.
//  - Each work that a power cut can interrupt has a count of its beginnings, and a limit.
#ifndef HELIO_CLIENT_UPDATE_H
#define HELIO_CLIENT_UPDATE_H

#include "client/agent_state.h"
#include "proto/message.h"

#define UPDATES_MAX 8        // names of software that are under way or told of
#define PENALTIES_MAX 32     // hashes that failed; the oldest goes
#define UPDATE_TOKEN_MAX 120 // what ran before, in the handler's own word
#define UPDATE_REASON_MAX 24
// Words of failures that are not the release's: they cost no penalty.
#define UPDATE_GIVEN_UP "cancelled"
#define UPDATE_DAMAGED "damaged"
#define UPDATE_DEVICE "device" // its disk, its memory, its programs: nothing was found out

enum update_state {
	UPDATE_NONE,
	UPDATE_FETCHED,      // complete and verified; its handler looks at it
	UPDATE_WAITING,      // for its window, its moment, its turn
	UPDATE_INSTALLING,   // the handler writes
	UPDATE_RESTARTING,   // written; what runs it is to start anew
	UPDATE_TRIAL,        // it runs; heartbeats and checks decide
	UPDATE_COMMITTING,   // good; the handler makes it final
	UPDATE_CONFIRMED,    // end
	UPDATE_ROLLING_BACK, // the handler undoes
	UPDATE_REVERTING,    // undone; what runs it is to start anew
	UPDATE_ROLLED_BACK,  // end: what ran before runs
	UPDATE_BROKEN,       // end: not even that could be had
	UPDATE_STATES
};

enum update_event {
	UPDATE_DONE,      // the work of the state succeeded, and nothing is to start anew
	UPDATE_RESTART,   // it succeeded, and something is to start anew
	UPDATE_OPEN,      // nothing is waited for any more
	UPDATE_FAILED,    // the work failed
	UPDATE_LATE,      // its time is over
	UPDATE_STARTED,   // the agent started: whatever was under way was cut
	UPDATE_CANCELLED, // the operator gave it up
	UPDATE_EVENTS
};

struct update_limits {
	uint32_t install_tries, trial_starts, undo_tries;
};

struct update_record {
	char name[AGENT_NAME_MAX + 1], version[AGENT_NAME_MAX + 1]; // "" name: free
	struct digest package;
	uint64_t security_counter;
	enum update_state state;
	uint32_t tries;        // beginnings of the present state's work
	int64_t not_before_ms; // wall clock; 0: at once
	bool restarted;        // the new one was, or may have been, started
	bool penalised;        // its failure is counted
	bool unheard;   // a medium brought it to a device without a link: no heartbeats are asked
	uint64_t op_id; // the operation that began it; 0: none, a medium
	struct id16 boot_id; // the kernel's, when the restart was asked for
	char token[UPDATE_TOKEN_MAX + 1];
	char reason[UPDATE_REASON_MAX + 1]; // word of the failure
	char detail[LIMIT_TEXT];
};

struct update_penalty {
	struct digest package;
	char name[AGENT_NAME_MAX + 1], version[AGENT_NAME_MAX + 1];
	char reason[UPDATE_REASON_MAX + 1];
	uint32_t failures;
	int64_t until_unix_ms; // INT64_MAX: until an operator clears it
};

struct update_list {
	struct update_record records[UPDATES_MAX];
	struct update_penalty penalties[PENALTIES_MAX];
	size_t penalty_count;
};

const char *update_state_word(enum update_state s);
bool update_is_final(enum update_state s);
// Its handler is, or may be, at work on the device: one at a time.
bool update_is_at_work(enum update_state s);

// The state after the event; UPDATE_NONE: the event has no meaning there, nothing changes.
enum update_state update_next(
	const struct update_record *r, enum update_event event, const struct update_limits *l);
// Takes the step. False when it has no meaning there. word and detail tell of FAILED, LATE and
// CANCELLED, and may be NULL otherwise.
bool update_step(struct update_record *r, enum update_event event, const struct update_limits *l,
	const char *word, const char *detail);

// ---- the list

struct update_record *update_find(struct update_list *list, const char *name);
// The one at work, or NULL.
struct update_record *update_at_work(struct update_list *list);
// A free record, else one that ended; NULL: none.
struct update_record *update_place(struct update_list *list, const char *name);

const struct update_penalty *update_penalty_find(
	const struct update_list *list, const struct digest *package);
// Holds at this moment?
bool update_penalty_holds(const struct update_penalty *p, int64_t now_unix_ms);
// One more failure: the first waits base_ms, each further one twice as long; after `most` for ever.
void update_penalise(struct update_list *list, const struct update_record *r, int64_t now_unix_ms,
	int64_t base_ms, uint32_t most);
// name: that of software, or the package in hex. Returns how many.
size_t update_penalty_clear(struct update_list *list, const char *name);

// ---- windows

// Every day from one minute to another; over midnight when from > until; empty when equal.
struct update_window {
	bool given;
	uint16_t from_min, until_min; // of the local day
	char zone[LIMIT_ID + 1];      // IANA name, "": UTC
};

// "HH:MM-HH:MM" or "HH:MM-HH:MM ZONE". Errors: ERR_FORMAT.
enum err update_window_parse(const char *text, struct update_window *out) MUST_CHECK;
// offset_s: of the zone from UTC at this moment.
bool update_window_is_open(const struct update_window *w, int64_t unix_ms, int32_t offset_s);

#endif
