// The heart of heliod: everything of the conversation, with no socket, no event loop and no clock
// of its own. Bytes come in with the time, bytes go out through ports; between them lies one
// database commit. So a test or a simulator drives it as well as the program does.
//
//   for each message of a turn:   core_message(core, broker, topic, length, payload, retained, now)
//   about once a second:          core_tick(core, now)          also when nothing arrives
//   at the end of every turn:     core_turn_end(core, now)      what it ran is on the disk, then
//                                                               the outbox is published
//   when the store told:          core_stored(core, now)        (a pipelined store, db.h)
//
// A loop that wants answers first says core_turn_tell instead, and core_rest when nobody waits.
//
// Nothing leaves before everything it promises is on disk: every core_send_* and core_publish only
// appends to the outbox. A turn that changed no row stores nothing; turns that end while an earlier
// group goes to the disk become one group (departures.c).
//
// A commit that fails (disk full, read-only, broken) is logged as `fatal state-write`; the outbox
// is dropped, everything in memory is thrown away and loaded again as after a crash, and until that
// works (with back-off, by itself) nobody gets an answer. Hooks are told by `reload`.
//
// Whoever signs in is a principal: clients, publishers and operators' seats share one namespace of
// ids, one table, one gate. The gate authenticates a message (topic, size, MAC or signature,
// session, boot, rising seq) before any handler sees it.
//
// Ownership: pointers given to a handler die when it returns; pointers got from an arena live as
// long as the arena. No pointer into the core is handed out.
#ifndef HELIO_SERVER_CORE_H
#define HELIO_SERVER_CORE_H

#include "proto/base/clock.h"
#include "proto/message.h"
#include "proto/sign.h"

struct core;
struct db;
struct letter_said;

// ---------------------------------------------------------------- settings

// core_config_default fills everything but the pointers. Ranges are checked by core_new.
struct core_config {
	const char *server_id;             // copied
	const struct sign_key *online_key; // borrowed for the life of the core
	const char *incarnation_file;      // copied; outside the backups. NULL: none (tests)
	bool store_is_shared; // other servers' starts are in it too: a higher incarnation is theirs

	uint32_t interval_ms;           // heartbeat interval of an idle client
	uint32_t interval_busy_ms;      // while an operation is open
	uint32_t interval_min_ms;       // no response says less,
	uint32_t interval_max_ms;       // or more
	uint32_t silent_after_s;        // attended seconds until SILENT, at least 3 intervals
	uint32_t reconnect_spread_s;    // the least: see reconnect_spread_ms
	uint32_t mass_silence_percent;  // more at once: decisions wait (core_mass_silence)
	uint64_t session_life_ms;       // jittered by up to a tenth
	uint32_t offers_per_s;          // sign-ins in all
	uint32_t offers_per_client_min; // and per principal and minute
	uint32_t messages_per_s;        // of one principal; more are dropped. 0: no limit
	uint32_t attempts_max;          // of SEND and RETRIEVE
	uint32_t mismatch_limit; // resends of one response before a resync; resyncs before an alert
	uint32_t resend_limit;   // beats in a row that one response did not reach, before a resync
	uint32_t resyncs_per_s;  // of all clients: a late server must not make itself later
	uint32_t busy_beats_per_s; // of all clients at work; 0: no bound
	uint32_t operations_per_s; // of channels, begun: others wait for their turn
	uint32_t op_deadline_s;    // attended time without progress
	uint32_t private_in_a_row; // answers from the private queue before the channel is looked at
	uint32_t queue_high_water; // elements; then DISPLAY runs consolidate
	uint32_t queue_max;        // elements; then the slowest are detached
	uint32_t view_period_s;    // a StateView of an unchanged client at most this often
	uint32_t views_per_s;      // fleet-wide budget of StateViews
	uint32_t host_period_ms;   // HostState
	uint32_t save_period_s;    // last_heard and status are saved in batches
	uint32_t why_entries;      // answers remembered in memory, of all clients together
	uint64_t rate_bytes_per_s; // told in every response; 0: no limit
	uint32_t usage_keep_days;  // of what was shown
	uint32_t usage_rows_max;   // of one client; the oldest go
};

void core_config_default(struct core_config *c);

// ---------------------------------------------------------------- ports and hooks

#define CORE_ALL_BROKERS "*"

struct core_ports {
	void *ctx;
	// broker: NULL for the control broker, CORE_ALL_BROKERS, or a data broker's id. The bytes
	// are copied by the port. A failure is the port's to count: whoever matters repeats.
	void (*publish)(void *ctx, const char *broker, const char *topic, struct bytes payload,
		int qos, bool retained);
	// Cryptographic in the program, seeded in a simulator.
	void (*random)(void *ctx, void *out, size_t size);
	// SessionOffers need an X25519 pair; a simulator may give fixed ones.
	void (*x25519)(void *ctx, struct key32 *secret, struct key32 *share);
	// Several servers on one store (share.h): is this shard (0..255), or the lead (256), ours?
	// Changes only before core_share_changed. NULL: everything is.
	bool (*owns)(void *ctx, unsigned place);
	// The number of this server's term, which nobody else ever has (shards.h).
	uint64_t (*term)(void *ctx);
};

// Who sent an authenticated message. Borrowed.
struct caller {
	const char *id;
	enum role role;
	uint64_t session_id;
	const char *broker; // NULL: the control broker
	struct now now;
	struct arena *arena; // lives until the handler returns
};

// An operation as it ended, or as it stands.
struct operation_info {
	char client[LIMIT_ID + 1];
	uint64_t op_id, first_op_id; // first_op_id: of attempt 1
	enum response_kind kind;
	uint32_t attempt;
	uint64_t flow_id;
	char queue[LIMIT_ID + 2]; // "channel", "@client", "" for the server's own
	uint64_t event_seq;
	enum op_status status;  // last status reported; 0: none
	enum op_status outcome; // 0: open. Of several attempts only the last one's is final.
	bool is_final;          // no further attempt follows
	uint32_t percent;
	char detail[LIMIT_TEXT + 1];
	struct wall opened, ended;
};

// All optional. ctx is handed to each. Handlers run inside the turn; what they write to core_db()
// and send belongs to the turn's commit.
struct core_hooks {
	void *ctx;
	// After the gate: authenticated, in session, of this boot, seq has risen.
	void (*want)(void *ctx, struct core *core, const struct caller *who, const struct want *m);
	void (*pub)(void *ctx, struct core *core, const struct caller *who,
		const struct publisher_msg *m);
	void (*api)(void *ctx, struct core *core, const struct caller *who,
		const struct api_request *m);
	// A heartbeat listed this holding with a lease: renew it. Called for every such item.
	void (*lease_renew)(void *ctx, struct core *core, const char *client,
		const struct holding *h, uint32_t told_interval_ms, struct now now);
	// The rate to tell a client that retrieves, whose channel allows it channel_rate (0: any).
	// 0: it has no lease.
	uint64_t (*lease_rate)(void *ctx, struct core *core, const char *client,
		uint64_t channel_rate, uint32_t told_interval_ms, struct now now);
	// An operation got its outcome (each attempt is one operation).
	void (*operation_ended)(void *ctx, struct core *core, const struct operation_info *op);
	// A new report was recorded (each report id once, after its last part). m->data holds all
	// parts.
	void (*report)(
		void *ctx, struct core *core, const struct caller *who, const struct report *m);
	// Fills what a PackageRef says, strings in the arena; activate is the core's. ERR_NOT_FOUND
	// when the package does not exist or was withdrawn by the operator: it is then not told to
	// anybody.
	enum err (*package_find)(void *ctx, struct core *core, const struct digest *package,
		struct arena *arena, struct package_ref *out);
	// A client is heard that was not, at its place of core_client_at. Nothing is done here that
	// takes time: after an outage it is the whole fleet.
	void (*online)(void *ctx, struct core *core, size_t place);
	// An event that names packages was appended to the queue.
	void (*distributed)(void *ctx, struct core *core, const char *queue);
	// The keys of sealed packages that an encoded body names, sealed for this client's session,
	// in the arena. May be NULL: nothing is sealed.
	enum err (*content_keys)(void *ctx, struct core *core, const struct caller *to,
		struct bytes body, struct sealed_key **keys, size_t *count);
	// What the client says it holds is another set than before.
	void (*held)(void *ctx, struct core *core, const char *client);
	// The client reports a screen of another size than before.
	void (*screen)(void *ctx, struct core *core, const char *client);
	// A principal was revoked or removed: forget leases, placements.
	void (*principal_gone)(void *ctx, struct core *core, const char *id, enum role role);
	// Everything in memory was thrown away: read your rows again. An error counts as a failed
	// load.
	enum err (*reload)(void *ctx, struct core *core);
	// A letter of another server (share.h) that is for the rooms above the core. Errors fail
	// the turn.
	enum err (*letter)(void *ctx, struct core *core, const struct letter_said *l);
	// The leader's grant left for a client that is answered here.
	void (*granted)(void *ctx, struct core *core, const char *client, const struct grant *m);
	// Inside the turn, before the commit: flush what is dirty. An error fails the commit.
	enum err (*before_commit)(void *ctx, struct core *core);
};

// ---------------------------------------------------------------- life

// Loads the state, draws boot and incarnation (committed before the first answer). db is borrowed
// and open; its schema is made by schema_migrate. hooks may be set later, before the first message.
// Errors: ERR_RANGE (config), ERR_IO, ERR_NO_SPACE, ERR_READ_ONLY, ERR_CORRUPT.
enum err core_new(const struct core_config *config, struct db *db, const struct core_ports *ports,
	struct now now, struct core **out) MUST_CHECK;
// Saves last_heard and publishes HostState{up = false}: call core_turn_end before core_free for a
// clean end.
void core_shutdown(struct core *core, struct now now);
void core_free(struct core *core);

void core_set_hooks(struct core *core, const struct core_hooks *hooks); // copied

void core_message(struct core *core, const char *from_broker, const char *topic,
	size_t topic_length, struct bytes payload, bool retained, struct now now);
// Optional, of the message that is handed in CORE_AHEAD messages later: its client is fetched from
// memory meanwhile.
#define CORE_AHEAD 7
void core_ahead(struct core *core, const char *topic, size_t topic_length);
void core_tick(struct core *core, struct now now);
void core_turn_end(struct core *core, struct now now);
// The same, but for what nobody waits for: the commit, where the answers need none, and views.
void core_turn_tell(struct core *core, struct now now);
bool core_rest_waits(const struct core *core);
bool core_rest_is_urgent(const struct core *core, struct now now); // also when somebody waits
void core_rest(struct core *core, struct now now);                 // between turns
// Of a pipelined store (db_pipeline), when it told: what waited for the disk leaves.
void core_stored(struct core *core, struct now now);
// Waits for the disk: after it nothing waits. For a planned end.
void core_settle(struct core *core, struct now now);

// The control broker answered (up) or is gone. Attended time passes only while it is up.
void core_link(struct core *core, bool up, struct now now);
// How much of what they can do the server and its control broker do now, 0..1, about once a second:
// intervals follow the larger one (frequency.h).
void core_set_load(struct core *core, double server, double broker, struct now now);
// Says the host state now: a broker that was just reached has none, or an old one.
void core_host_say(struct core *core, struct now now);
// After a turn: something that is due waits for the next one, which should come soon.
bool core_is_due(const struct core *core);
// Nothing of this turn is to be written: it may end before the next message, so that its answers
// leave while that is judged.
bool core_is_clean(const struct core *core);

// A large fleet is loaded while it is answered already: a client that speaks comes first. Loads up
// to `max` more, between turns; a turn's end follows. False when none is left.
bool core_load_some(struct core *core, size_t max, struct now now);
bool core_is_loading(const struct core *core);

// True while the database cannot be written: nobody gets an answer.
bool core_is_degraded(const struct core *core);
// The store takes writes again, as another one of this program's has seen: where the core waits
// longer than that to try it, it tries within so long.
void core_recover_within(struct core *core, int64_t ms, struct now now);
// Payload of the will on helio/v1/host/<server>, for the link's config: HostState with up = false.
enum err core_host_will(struct core *core, struct buf *out) MUST_CHECK;

struct db *core_db(struct core *core);
struct now core_now(const struct core *core); // of the message or tick at hand
struct arena *core_arena(struct core *core);  // reset after each message and tick
const struct id16 *core_boot(const struct core *core);
uint64_t core_incarnation(const struct core *core);
void core_random(struct core *core, void *out, size_t size);
uint64_t core_flow_new(struct core *core); // one number from an operator's act to its effect
const struct core_config *core_get_config(const struct core *core);

// ---------------------------------------------------------------- sending

// Fill the message but for client_id/publisher/seat, session_id, seq and boot: those and the MAC
// are set here. Errors: ERR_NOT_FOUND (unknown, or not signed in), ERR_RANGE, ERR_FULL.
enum err core_send_grant(struct core *core, const char *client, struct grant *m) MUST_CHECK;
enum err core_send_directive(
	struct core *core, const char *publisher, struct directive *m) MUST_CHECK;
// json is cut into parts of at most 128 KiB. error and error_word NULL: ok.
struct api_reply {
	uint64_t request_id;
	const char *answer_level;
	const char *error_word, *error;
	struct bytes json;
};
enum err core_send_api_answer(
	struct core *core, const char *seat, const struct api_reply *r) MUST_CHECK;
// For the views of other rooms: signs with the online key and queues it.
enum err core_publish_signed(struct core *core, const char *broker, const char *topic,
	struct buf *payload, int qos, bool retained) MUST_CHECK;
// Takes such a view away.
enum err core_unretain(struct core *core, const char *topic) MUST_CHECK;

// ---------------------------------------------------------------- principals

// From a verified enrolment. The same key again is success; another key ERR_EXISTS (remove first).
// A client comes to the channel "default", at NULL_HEAD.
enum err core_enrol(struct core *core, const struct enrolment *e) MUST_CHECK;
enum err core_principal_revoke(
	struct core *core, const char *id) MUST_CHECK; // row stays, nothing is accepted
enum err core_principal_remove(
	struct core *core, const char *id) MUST_CHECK; // forgotten; may enrol again
// The identity key: signs a publisher's index. ERR_NOT_FOUND, ERR_DENIED when revoked.
enum err core_principal_key(
	struct core *core, const char *id, enum role role, struct key32 *out) MUST_CHECK;

struct client_info {
	char id[LIMIT_ID + 1];
	char name[LIMIT_ID + 1]; // only from core_client_find
	enum role role;
	bool revoked;
	enum client_state state;
	enum reach reach;
	uint64_t session_id, seq, response_id;
	enum response_kind last_kind; // 0: none
	enum reason_code last_reason; // 0: none
	struct wall last_heard;       // 0: never
	uint8_t ip[16];
	size_t ip_size;
	uint32_t mismatches;
	uint32_t interval_ms;        // last told
	uint32_t interval_set_ms;    // by an operator; 0: policy
	uint32_t interval_status_ms; // what the client says it keeps
	char channel[LIMIT_ID + 1];
	uint64_t pointer_seq;         // in the channel's queue
	enum element_type pointer_at; // HEAD, TAIL, or the element shown
	struct client_place {
		char channel[LIMIT_ID + 1];
		uint32_t weight;
		uint64_t pointer_seq;
		enum element_type pointer_at;
	} places[LIMIT_CLIENT_CHANNELS]; // all its channels, as the operator named them
	size_t place_count;
	uint32_t private_elements; // waiting in its private queue
	bool has_operation;
	struct operation_info operation; // only from core_client_find, with has_operation
	struct digest showing_package;
	char showing_image[LIMIT_TEXT + 1];
	char agent_version[LIMIT_ID + 1];
	char agent_state[LIMIT_ID + 1]; // the agent's own word
	char hw_class[LIMIT_ID + 1];
	uint64_t free_bytes;  // 0 until it is heard
	size_t holding_count; // complete packages
};

// Where it stands in a channel; NULL: it is not in it.
const struct client_place *client_info_place(const struct client_info *info, const char *channel);
size_t core_client_count(const struct core *core); // role CLIENT
// Errors: ERR_NOT_FOUND.
enum err core_client_find(struct core *core, const char *id, struct client_info *out) MUST_CHECK;
// Every principal in no particular order: *cursor begins at 0; false at the end.
bool core_client_next(struct core *core, size_t *cursor, struct client_info *out);
// What a command asks of each of a fleet; core_client_at tells the rest of those that it is for.
struct client_brief {
	size_t place;
	const char *id; // borrowed until the principal is removed
	enum role role;
	bool revoked;
	enum client_state state;
	enum reach reach;
	uint64_t free_bytes; // said last; 0: not yet
};
// As core_client_next.
bool core_client_walk(struct core *core, size_t *cursor, struct client_brief *out);
bool core_client_is_in(struct core *core, size_t place, const char *channel);
// Of who was just walked over: asks the store for nothing.
bool core_client_holds_at(struct core *core, size_t place, const struct digest *package);
// Each principal has a place below core_client_places for as long as it exists and the core does
// not load again; false: this one is free.
size_t core_client_places(const struct core *core);
bool core_client_at(struct core *core, size_t place, struct client_info *out);
bool core_client_holds(struct core *core, const char *id, const struct digest *package); // complete
bool core_client_shows(
	struct core *core, const char *id, const struct digest *package); // said last
uint64_t core_client_free_bytes(struct core *core, const char *id);       // said last; 0: not yet
// How many clients hold the one package complete and not the other. Costs a look at every distinct
// set of holdings, not at every client.
uint64_t core_holders(struct core *core, const struct digest *package, const struct digest *but);
// Into the arena. Errors: ERR_NOT_FOUND, ERR_FULL.
enum err core_client_holdings(struct core *core, const char *id, struct arena *a,
	struct digest **out, size_t *count) MUST_CHECK;
enum err core_client_software(struct core *core, const char *id, struct arena *a,
	struct software_version **out, size_t *count) MUST_CHECK;
// Updates that it is at, or that failed there. Errors: as above.
enum err core_client_updates(struct core *core, const char *id, struct arena *a,
	struct update_status **out, size_t *count) MUST_CHECK;
enum err core_client_set_channel(struct core *core, const char *id, const char *channel) MUST_CHECK;
// Several channels; what a client changes becomes an event of the first. Each is made when first
// named. Errors: ERR_NOT_FOUND, ERR_RANGE (1 to LIMIT_CLIENT_CHANNELS, each once).
enum err core_client_set_channels(
	struct core *core, const char *id, const char *const *names, size_t count) MUST_CHECK;
// 0: back to the policy. Clamped to interval_min_ms..interval_max_ms. Rides in the next response
// (claim 34).
enum err core_client_set_interval(
	struct core *core, const char *id, uint32_t interval_ms) MUST_CHECK;
enum err core_client_clear_clone(struct core *core, const char *id) MUST_CHECK;
enum reach core_client_reach(struct core *core, const char *id); // 0: unknown id
uint32_t core_client_told_interval_ms(struct core *core, const char *id);
// As it last reported it, up to 65535 a side; 0, 0: it did not. False: no such client.
bool core_client_screen(struct core *core, const char *id, uint32_t *width_px, uint32_t *height_px);
// So many fell silent at once that what follows from silence waits: for their heartbeats, or for a
// person who says that they are gone indeed. It outlives a restart.
bool core_mass_silence(const struct core *core);
// After a gap attended time stands still for as long.
uint32_t core_reconnect_spread_ms(const struct core *core);
// Told to every client, which draws a moment within it before it connects again. No more than an
// interval, as long as the fleet is not too large for that.
uint32_t core_reconnect_told_ms(const struct core *core);
// Errors: ERR_NOT_NOW when nothing waits.
enum err core_mass_silence_release(struct core *core, const char *by) MUST_CHECK;

// ---------------------------------------------------------------- queues

// What an element of a queue is. Exactly the part that its type needs:
//   DISPLAY  packages and/or changes      SOFTWARE  packages        REQUEST  request
//   COMMAND  command                      COMMAND_REF  command_ref  INTERVAL  interval_ms
// CONTROL elements are made by core_channel_control alone.
struct event {
	enum element_type type;
	const struct digest *packages; // known to package_find
	size_t package_count;
	bool activate;            // show, or switch to it
	int64_t activate_unix_ms; // not before this moment; 0: at once
	const struct change *changes;
	size_t change_count;
	const struct send_information *request;
	const struct execute_command *command;
	const struct command_ref *command_ref;
	uint32_t interval_ms;
	uint64_t flow_id;   // 0: a new one
	const char *author; // seat or client
	const char *text;   // one line for views and why; NULL: made here
};

// queue: a channel's name, or "@client" for the private queue of a client. A channel is made when
// first used. seq and flow may be NULL. Errors: ERR_RANGE, ERR_NOT_FOUND (client, package),
// ERR_FULL (queue_max of a private queue).
enum err core_append_event(struct core *core, const char *queue, const struct event *e,
	uint64_t *seq, uint64_t *flow) MUST_CHECK;

enum channel_control {
	CONTROL_PAUSE = 1,
	CONTROL_RESUME,
	CONTROL_RATE,
	CONTROL_CLOSE,
	CONTROL_EPOCH
};
// value: bytes per second for RATE. Changes the channel's state at once and records the event.
enum err core_channel_control(struct core *core, const char *channel, enum channel_control what,
	uint64_t value, const char *author, uint64_t *flow) MUST_CHECK;
// Which elements became one: numbers of the chosen, the last of them is the new one's.
struct consolidated {
	uint32_t into, *chose;
	size_t count;
};
// Consolidates all DISPLAY runs now. Into the arena. Errors: ERR_NOT_FOUND.
enum err core_channel_consolidate(struct core *core, const char *channel, struct arena *a,
	struct consolidated **out, size_t *count) MUST_CHECK;
// Of a client's channels the heaviest is served first, and of what several set its value counts; of
// equal ones the first by name. 0..1000, 100 when nobody said. Errors: ERR_NOT_FOUND, ERR_RANGE.
enum err core_channel_set_weight(
	struct core *core, const char *channel, uint32_t weight) MUST_CHECK;
// Looks at every element and every pointer: each shows an element of the list, each is counted
// once. Errors: ERR_NOT_FOUND, ERR_CORRUPT with a sentence.
struct queue_check {
	uint64_t elements, at_elements, at_tail, detached;
};
enum err core_queue_check(
	struct core *core, const char *channel, struct queue_check *out) MUST_CHECK;

struct channel_info {
	char name[LIMIT_ID + 1];
	uint32_t weight;
	uint64_t epoch, tail_seq, clients, pointers, pointers_at_tail;
	size_t elements;
	bool paused, closed;
	uint64_t rate_bytes_per_s;
};
bool core_channel_next(struct core *core, size_t *cursor, struct channel_info *out);
enum err core_channel_find(
	struct core *core, const char *channel, struct channel_info *out) MUST_CHECK;

// What a channel wants now: one slot per (kind, package name), and the one before, for rollback.
struct channel_slot {
	enum package_kind kind;
	const char *name, *version;
	struct digest package, previous; // previous zero: none
};
enum err core_channel_slots(struct core *core, const char *channel, struct arena *a,
	struct channel_slot **out, size_t *count) MUST_CHECK;
// True when some channel's slot, current or an element still in a queue, names the package.
bool core_package_is_wanted(struct core *core, const struct digest *package);

// Cancels an open operation of a client (op_id 0: whichever is open): EXECUTE_COMMAND cancel.
// Errors: ERR_NOT_FOUND, ERR_NOT_NOW (none open).
enum err core_operation_cancel(struct core *core, const char *client, uint64_t op_id,
	const char *author, uint64_t *flow) MUST_CHECK;
// Takes a signed command back, for ever: whoever was not told of it will not be, and the *cancelled
// clients that were told and are not done are told to give it up. ref->from is not looked at.
enum err core_command_withdraw(struct core *core, const struct command_ref *ref, const char *author,
	size_t *cancelled) MUST_CHECK;
enum err core_command_is_withdrawn(
	struct core *core, const struct command_ref *ref, bool *is) MUST_CHECK;
// Operations of a flow (client NULL) or of a client (flow 0), newest first, at most max.
enum err core_operations(struct core *core, const char *client, uint64_t flow, size_t max,
	struct arena *a, struct operation_info **out, size_t *count) MUST_CHECK;
// A REQUEST or COMMAND that a client was never told, because it was detached from the queue.
struct skipped_event {
	const char *client, *queue, *author, *text;
	uint64_t seq, flow_id;
	enum element_type type;
	struct wall at;
};
// Of a client (queue NULL), or of one event of a queue (client NULL), newest first.
enum err core_skipped(struct core *core, const char *client, const char *queue, uint64_t seq,
	size_t max, struct arena *a, struct skipped_event **out, size_t *count) MUST_CHECK;
// The last complete report of a kind. Errors: ERR_NOT_FOUND.
struct stored_report {
	struct wall received;
	struct report report;
};
enum err core_report_find(struct core *core, const char *client, enum info_kind what,
	struct arena *a, struct stored_report *out) MUST_CHECK;
// Rows of the usage ledger, newest first.
struct usage_row {
	struct digest package;
	const char *image;
	int64_t from_unix_ms;
	uint32_t duration_ms;
	enum shown_result result;
};
enum err core_usage(struct core *core, const char *client, size_t max, struct arena *a,
	struct usage_row **out, size_t *count) MUST_CHECK;
// Forgets what is older, or more, than the settings let stand.
enum err core_usage_trim(struct core *core, const char *client) MUST_CHECK;

// ---------------------------------------------------------------- explaining

// One answer, or a run of equal NO_ACTION answers.
struct why_entry {
	struct wall first, last;
	uint32_t count;
	uint64_t response_id, in_reply_to_seq, op_id;
	enum response_kind kind;
	enum client_state state;
	enum reason_code code;
	const char *text;
	const char *queue; // "" when no element stood behind it
	uint64_t event_seq, flow_id;
	uint32_t attempt;
	unsigned rule;         // of ACCORDANCE.md, that judged the heartbeat; 0: none did
	const char *rule_name; // as this program numbers them
	uint32_t interval_ms;  // told with the last of them
	const char *interval_by;
};
// Newest first. Errors: ERR_NOT_FOUND.
enum err core_why(struct core *core, const char *client, size_t max, struct arena *a,
	struct why_entry **out, size_t *count) MUST_CHECK;

enum err core_state_view(
	struct core *core, const char *client, struct arena *a, struct state_view *out) MUST_CHECK;
enum err core_queue_view(
	struct core *core, const char *queue, struct arena *a, struct queue_view *out) MUST_CHECK;

// Counters since the start, for status and metrics.
struct core_counter {
	const char *name; // "heartbeats", "answers.no-action", "reject.replay" ...
	uint64_t value;
};
size_t core_counters(const struct core *core, struct core_counter *out, size_t max);

#endif
