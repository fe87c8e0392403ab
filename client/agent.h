// The agent's core: everything the agent decides in its conversation with the server, without a
// socket, a file, a process or a clock. Events come in as calls, with the time; actions go out
// through the port. One loop may run one core (main) or thousands (tests/fleet, a simulator under
// a virtual clock).
//
//   session.c     sign-in, offers, which responses are taken
//   heartbeat.c   the beat and what stands in it
//   operations.c  the one operation in the slot: stored before it begins, never executed twice
//   execute.c     commands: what the core answers itself, what goes to the doer, what was fetched
//   rotate.c      a new identity key for the same id
//   retrieve.c    want -> grant -> (the doer fetches) -> release
//   send_info.c   reports, repeated until the server acknowledged them
//
// Invariants:
//  - What a heartbeat acknowledges is on disk: port.save returned before last_response_id shows it.
//  - An operation id begins at most once in the life of a store, EXECUTE also across power cuts.
//  - At most one operation is open; at most one fetch is under way.
//  - All calls of one core come from one thread; the port never calls back into the core from
//    inside a port function, unless its comment says so.
#ifndef HELIO_CLIENT_AGENT_H
#define HELIO_CLIENT_AGENT_H

#include "client/agent_state.h"
#include "client/beat_grid.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/envelope.h"
#include "proto/session.h"
#include "proto/sign.h"
#include "proto/topics.h"

#define AGENT_REPORT_WINDOW 4 // parts of a report that are not acknowledged yet
#define AGENT_RELEASES 8

// What the doer sees of the device at this moment. Strings live in the arena it was given.
struct agent_view {
	uint8_t ip[16];
	size_t ip_size; // 4 or 16
	uint64_t free_bytes;
	struct digest showing_package;
	const char *showing_image, *showing_name, *showing_version;
	uint32_t screen_width_px, screen_height_px;
	bool display_alive, clock_is_ntp;
	struct software_version *software;
	size_t software_count;
	struct update_status *updates;
	size_t update_count;
	const char *trouble; // "" or one word about the store: no-space, read-only, io
};

// One package that is to be fetched under one grant. Borrowed during the call.
struct fetch_order {
	const struct package_ref *package;
	const struct grant *grant;
	uint64_t rate_bytes_per_s; // the lower of the grant's and the response's; 0: none
	bool hold;
	uint64_t floor;     // lowest security counter, for SOFTWARE
	const char *medium; // folder that holds what a broker would; NULL: the grant's broker
};

// How a doer answers a command. detail: one short text.
struct command_result {
	enum op_status status; // final
	int rc;
	const char *detail;
};

// How gathering ended.
struct report_ready {
	enum op_status status; // 0: the parts are there; else final, with its detail
	uint32_t parts;
	bool again; // they lay there already, from before a restart
	const char *detail;
};

// What the core needs done. All but the report_* are required. ctx is the caller's.
struct agent_port {
	// On disk, durable, before it returns. Errors are shown as trouble and tried again.
	enum err (*save)(void *ctx, struct bytes state);
	// On the control link. Errors: ERR_CLOSED, ERR_FULL: the core repeats what matters.
	enum err (*publish)(void *ctx, const char *topic, struct bytes payload, int qos);
	void (*subscribe)(void *ctx, const char *const *topics, size_t count, int qos);
	void (*unsubscribe)(void *ctx, const char *topic);
	void (*view)(void *ctx, struct arena *a, struct agent_view *out);
	// Everything held or begun: at most LIMIT_HOLDINGS, in the arena.
	void (*holdings)(void *ctx, struct arena *a, struct holdings *out);
	// Also for a package that is not held: complete false.
	void (*holding)(void *ctx, const struct digest *package, struct holding *out);
	// Shows or switches to a package that is held complete; keeps it for later without
	// `activate`. ERR_NOT_NOW: it goes on; the core asks again.
	enum err (*activate)(void *ctx, const struct package_ref *package);
	// Why this software is not even fetched, or NULL. The function may be NULL: never.
	const char *(*refuses)(void *ctx, const struct package_ref *package);
	// The operator gave up the operation that wanted a switch. May be NULL.
	void (*switch_cancel)(void *ctx, uint64_t op_id);
	// Begins, or goes on under another grant. Ends with agent_fetch_*.
	void (*fetch)(void *ctx, const struct fetch_order *order);
	void (*fetch_pace)(void *ctx, uint64_t rate_bytes_per_s, bool hold);
	void (*fetch_stop)(void *ctx);
	// Of this device's own files read for the fetch while nothing comes. May be NULL: 0.
	uint64_t (*fetch_looked_bytes)(void *ctx);
	// Runs one verb of the closed list; ends with agent_command_done, also from inside the
	// call.
	void (*command)(void *ctx, uint64_t op_id, const struct execute_command *command);
	void (*command_stop)(void *ctx, uint64_t op_id);
	// The program of a stopped command still ends; then agent_command_stopped follows. May be
	// NULL: never.
	bool (*command_ends)(void *ctx, uint64_t op_id);
	// Fetches a command by reference; ends with agent_command_fetched.
	void (*command_fetch)(void *ctx, uint64_t op_id, const struct command_ref *ref);
	// A key of encrypted packages: kept, durable. May be NULL: none is kept.
	enum err (*content_key)(void *ctx, const struct key32 *key);
	// Values that other clients changed (RETRIEVE changes).
	enum err (*changes)(void *ctx, const struct change *changes, size_t count);
	// Rows after since_unix_ms, oldest first, at most max, in the arena.
	void (*usage)(void *ctx, struct arena *a, int64_t since_unix_ms, size_t max,
		struct shown **rows, size_t *count);
	// Collects what a question asks for, durable under report_id, and ends with
	// agent_report_ready, also from inside the call; what lies there from before a restart is
	// taken again. NULL: only what fits one message is told, and no logs and no screenshots.
	void (*report_gather)(void *ctx, uint64_t report_id, const struct send_information *s);
	// One of the parts that are there, into the arena: what it says, without its header.
	enum err (*report_part)(void *ctx, struct arena *a, uint32_t part, struct report *out);
	// Nobody needs it any more: ends gathering, removes the parts.
	void (*report_stop)(void *ctx);
	// A sealed report for a data broker. May be called again with the same bytes' successor.
	void (*send_elsewhere)(
		void *ctx, const struct address *to, const char *topic, struct bytes payload);
	// Rotation of the identity key; both may be NULL: refused. key_next makes the next key, or
	// gives the one that waits already, durable before it returns; it is the doer's. key_commit
	// lets it be the key, durable; it stays valid.
	enum err (*key_next)(void *ctx, const struct sign_key **next);
	enum err (*key_commit)(void *ctx);
	void (*random)(void *ctx, void *out, size_t size);
	// A session became current. For tests that check MACs with other tools; may do nothing.
	void (*session_began)(void *ctx, uint64_t session_id, const struct session_keys *keys);
	// The package that an update of this name begins from: what its slot shows, if it is held.
	// False: none. NULL: never.
	bool (*base)(void *ctx, const struct package_ref *package, struct digest *out);
};

// Borrowed for the life of the core; may be shared by many cores of one thread.
struct agent_config {
	const char *client_id, *version, *hw_class;
	const struct sign_key *key;
	const struct sign_key *next_key; // of a rotation that was cut short; NULL: none
	const struct root *root;
	uint32_t interval_ms; // until the server says otherwise
	uint32_t response_max_age_ms;
	const char *const *report_hosts; // HOST or HOST:PORT that a report may be sent to
	size_t report_host_count;
	struct arena *scratch; // of one event
	struct buf *out;       // of one message, at least LIMIT_REPORT
};

// ---- inside (other rooms of the agent read, only the agent's own files write)

struct beat_record {
	uint64_t seq;
	struct mono sent;
	uint64_t answered_by; // response id + 1, 0: not yet
};

struct client_session {
	bool asking; // a sign-in is under way
	struct key32 ask_secret;
	struct buf ask; // the whole payload
	struct mono ask_sent, ask_next;
	uint32_t ask_tries;
	bool ask_rotates; // both keys signed it
	bool ask_is_next; // the next key alone signed it
	bool with_next;   // the current session makes the next key the key; no answer came yet

	bool current;
	uint64_t id;
	struct session_keys keys;
	struct id16 boot;
	uint64_t boot_seq; // the beat whose answer told the boot
	struct mono since;
	int64_t life_ms;
	uint64_t hb_seq, report_seq, inbox_seq, want_seq; // last used
	uint64_t grant_seq;                               // highest seen
	uint64_t answered_seq;                            // highest beat that was answered
	struct beat_record beats[ANSWER_WINDOW_BEATS];
};

enum host_trust {
	HOST_UNKNOWN,
	HOST_FRESH,
	HOST_STALE
};

#define HOSTS_WATCHED 8 // servers of one fleet; of more, those that were heard last

// What one server says of itself: each counts for itself, and a counter is compared with nobody
// else's.
struct host_seen {
	char server[LIMIT_ID + 1]; // "": free
	bool risen;
	uint64_t counter;
	struct id16 boot;
	uint32_t period_ms;
	struct mono heard;
};

struct host_watch {
	bool subscribed;
	struct host_seen of[HOSTS_WATCHED];
};

enum retrieve_phase {
	RETRIEVE_NONE,
	RETRIEVE_ASK,
	RETRIEVE_LATER,
	RETRIEVE_FETCH,
	RETRIEVE_COMMAND,
	RETRIEVE_SWITCH // what is held begins to run; asked again and again
};

struct retrieve_item {
	struct digest package;
	char publisher[LIMIT_ID + 1];
	char name[AGENT_NAME_MAX + 1], version[AGENT_NAME_MAX + 1];
	enum package_kind kind;
	uint64_t size_bytes;
	bool activate, complete;
	int64_t activate_unix_ms;
	uint64_t lease;
	uint32_t chunks_have, chunks_total;
};

struct retrieve_job {
	enum retrieve_phase phase;
	struct retrieve_item *items; // owned
	size_t item_count, at;
	uint64_t request_id;
	uint32_t tries;    // of the present request
	bool is_deferred;  // the server said later: its grant may come before we ask again
	uint32_t failures; // brokers and missing objects in a row, without progress
	struct mono next;
	struct digest *missing; // owned, for the next request
	size_t missing_count;
	char failed_broker[LIMIT_ID + 1];
	char broker[LIMIT_ID + 1]; // granted now
	uint64_t granted_bytes_per_s;
	char note[120];           // what the switch says of itself
	char rotten[80];          // of a held package, met while fetching: told with the outcome
	char refusal[LIMIT_TEXT]; // of the first item that this device will never take
};

struct release_job {
	struct digest package;
	uint64_t lease, request_id; // 0: free
	enum op_status outcome;
	uint32_t tries;
	struct mono next;
};

struct report_job {
	bool open, gathering;
	bool fresh;                 // gathered since the start: nothing of it was sent before
	uint32_t parts, held, sent; // parts: in all; held: by the server, from the first on
	uint32_t told;              // held, as the last response says
	uint32_t tries;
	struct mono next;
};

struct agent_counters {
	uint64_t beats, responses, refused, damaged, sign_ins, offers, resends, operations;
};

struct agent_core {
	const struct agent_config *config;
	const struct agent_port *port;
	void *ctx;
	struct agent_state state;
	struct client_session session;
	struct host_watch host;
	struct beat_grid grid;
	struct retrieve_job retrieve;
	struct release_job releases[AGENT_RELEASES];
	struct report_job report;
	bool link_up;
	bool ready;        // the boot counter of this start is on disk
	bool damaged;      // since the last good response something broken came
	bool any_response; // in this session
	uint64_t last_response_id;
	bool full_wanted;           // the next beats carry everything held
	uint64_t full_seq;          // first beat that carried it, 0 none
	uint64_t rate_bytes_per_s;  // of the last response, 0: none
	uint64_t paced_bytes_per_s; // what the doer was told last
	bool hold;
	uint64_t epoch;
	bool command_running;
	bool cancelling;      // the operation in the slot is a cancel that waits for the program
	uint64_t stopping_op; // the operation whose program still ends, 0: none
	const struct sign_key *key, *next_key; // next_key: a rotation is under way, NULL: none
	uint64_t stopped_op; // the open operation that the one in the slot put an end to
	bool unsaved;        // the state in memory is newer than the disk's
	struct mono save_next;
	uint64_t request_counter;
	int64_t server_offset_ms; // server time minus monotonic time
	bool server_time_known;
	struct agent_counters counters;
	struct log_gate refused_gate, save_gate;
};

// Takes over `state` (which counts as moved) and raises the boot counter. Nothing is sent yet.
enum err agent_init(struct agent_core *c, const struct agent_config *config,
	const struct agent_port *port, void *ctx, struct agent_state *state) MUST_CHECK;
void agent_fini(struct agent_core *c);

// ---- events

void agent_link_up(struct agent_core *c, struct now now);
void agent_link_down(struct agent_core *c, struct now now);
// Topic of `topic_length` bytes; the payload is borrowed.
void agent_message(struct agent_core *c, struct now now, const char *topic, size_t topic_length,
	struct bytes payload, bool retained);
// Does what is due. Call at agent_deadline(), or earlier, or later.
void agent_tick(struct agent_core *c, struct now now);
struct mono agent_deadline(const struct agent_core *c, struct mono now);

void agent_fetch_progress(struct agent_core *c, uint32_t have, uint32_t total);
// Bytes that are still to come; delta: made of what is held.
void agent_fetch_bytes(struct agent_core *c, uint64_t to_come, bool delta);
// A held package lacks what its manifest says: the operation's outcome tells it. Before
// agent_fetch_done.
void agent_fetch_rotten(struct agent_core *c, const struct digest *package, uint32_t chunks);
// Verified, installed, and switched to when the order said so.
void agent_fetch_done(struct agent_core *c, struct now now, const struct digest *package);
// How far a switch is, and what it is at; the last text is the outcome's.
void agent_switch_progress(struct agent_core *c, uint32_t percent, const char *text);
// word: manifest, signature, hash, size, path, no-space, hw-class, floor, kind, io ...
void agent_fetch_failed(struct agent_core *c, struct now now, const char *word, const char *text);
// The granted broker does not have these, or is of no use (why).
void agent_fetch_missing(
	struct agent_core *c, struct now now, const struct digest *objects, size_t count);
void agent_fetch_broker_failed(struct agent_core *c, struct now now, const char *why);

void agent_command_done(
	struct agent_core *c, struct now now, uint64_t op_id, const struct command_result *r);
// How far a running command says it is. detail: one short text, NULL: as it was.
void agent_command_progress(
	struct agent_core *c, uint64_t op_id, uint32_t percent, const char *detail);
// The program of a stopped command is gone, and all it had started.
void agent_command_stopped(struct agent_core *c, struct now now, uint64_t op_id);
// The envelope whose SHA-256 the reference named, or err with err_text().
void agent_command_fetched(
	struct agent_core *c, struct now now, uint64_t op_id, enum err e, struct bytes envelope);

void agent_report_ready(
	struct agent_core *c, struct now now, uint64_t report_id, const struct report_ready *r);

// A visual change made here; it goes up with the beats until the server holds it.
enum err agent_change(struct agent_core *c, const char *key, const char *value) MUST_CHECK;
// The state's fields that doers own (showing, floors, display_command) were changed: store them.
enum err agent_state_save(struct agent_core *c) MUST_CHECK;

// The server's time if it was ever told, else the wall clock; never below the floor.
int64_t agent_time_ms(const struct agent_core *c, struct now now);
// An answered heartbeat of this start (--once).
bool agent_was_answered(const struct agent_core *c);
enum host_trust agent_host_trust(const struct agent_core *c, struct mono now);
uint64_t agent_unanswered(const struct agent_core *c);

#endif
