// What the rooms of the core share; nobody outside of the core includes this.
//
//   message -> gate -> (sign_in | handle_heartbeat | handle_report | hooks) -> respond -> outbox
//
// Rooms call each other downward in this order:
//   core  restore  gate  sign_in  handle_*  principals  operations  respond  channels  views  reach
//   why  client_state
// and all of them stand on the tables (client_table, intern, event_queue, outbox) and the rows of
// db/.
#ifndef HELIO_SERVER_CORE_INSIDE_H
#define HELIO_SERVER_CORE_INSIDE_H

#include "proto/base/log.h"
#include "proto/base/ratelimit.h"
#include "proto/no_action.h"
#include "proto/session.h"
#include "proto/topics.h"
#include "server/accordance.h"
#include "server/client_table.h"
#include "server/core.h"
#include "server/db/rows.h"
#include "server/event_queue.h"
#include "server/frequency.h"
#include "server/intern.h"
#include "server/next_event.h"
#include "server/outbox.h"
#include "server/share.h"

// ---- limits of the core, each with its reason

#define CORE_ARENA_BYTES (8u * 1024 * 1024) // one message, decoded, and what its answer needs
#define CORE_ARENA_COUNT 65536u
#define DAY_S (24u * 3600)
#define API_PART_BYTES (128u * 1024) // a part of an API answer
#define OFFERS_WAITING_MAX 65536u
#define TELLINGS_PER_S 20u
#define RAISE_COST 600u // seconds; each opens an epoch for every channel
#define RAISES_AT_ONCE 8u
#define PRIVATE_QUEUE_MAX 256u // elements
#define CHANNELS_MAX 65535u
#define CHANNEL_WEIGHT_MAX 1000u
#define CHANNEL_WEIGHT_DEFAULT 100u
#define TICK_MS 10 // attended time in a client's record
#define WHEEL_SLOTS 4096u
#define WHEEL_SLOT_TICKS 10u // 100 ms
#define SOONER_SLOTS 256u
#define MASS_SILENCE_LEAST 20u // clients; fewer at once are a few devices
#define LATE_SLACK_MS 200      // after two and a half intervals; wheel and tick add as much again
#define VIEWS_PER_TURN 16      // signed in a turn: 0.7 ms
#define VIEWS_BESIDE_ANSWERS 2 // in a turn whose answers wait for them; the others come soon after
#define VIEW_COST_PRESSED 4    // of the budget, where the loop is pressed
#define SAVE_ROWS_PER_S 2000u  // of last_heard and status; 2 % of a core
#define HISTORY_MS (90ll * 24 * 3600 * 1000) // answers, ended operations, retired events
#define COMMAND_GRACE_S 60u                  // to begin, and to tell, a command that runs long
#define REST_FIRST_S 60u                     // after exhausted attempts; doubles
#define REST_MAX_S 3600u
#define PROGRESS_MAX 1000u // times that an operation moves its deadline by going on
#define LOOK_STEP_MB 64u   // a client that reads so much of its own files goes on
#define RECOVER_FIRST_MS 1000
#define RECOVER_MAX_MS 30000
#define ATTENDED_STEP_MS 5000  // a longer gap between two calls was not attended
#define ATTENDED_COUNT_MS 1000 // of a shorter one, at most so much

// ---- why a message was refused

enum reject {
	REJECT_TOPIC,
	REJECT_RETAINED,
	REJECT_SIZE,
	REJECT_UNKNOWN,
	REJECT_REVOKED,
	REJECT_SIGNATURE,
	REJECT_SCHEMA,
	REJECT_FORMAT,
	REJECT_NO_STATUS,
	REJECT_IP,
	REJECT_IDENTITY,
	REJECT_SESSION,
	REJECT_BOOT,
	REJECT_REPLAY,
	REJECT_KEY,
	REJECT_OFFERS,
	REJECT_TOO_MANY,
	REJECT_ROLE,
	REJECT_COUNT
};

// ---- the why log: NO_ACTION and resends, in memory

struct why_item {
	uint64_t response_id, op_id;
	int64_t first_ms;
	const char *text;        // a literal
	uint32_t client, before; // number of the client's entry before this one, 0: none
	uint32_t count;
	uint32_t seq;
	uint32_t last_ms;      // since the first
	uint32_t interval_ms;  // the last one told
	uint32_t pace_ms;      // when its pace was looked at last, since the first, and what was
	uint32_t pace_told_ms; // told then
	uint8_t kind, state, code;
	uint8_t rule, interval_by; // of accordance, 0: none judged; enum frequency_by
};

struct why_log {
	struct why_item *items;
	uint32_t size, next; // next number; numbers begin at 1
};

// ---- offers

struct offer {
	struct offer *next_of_principal, *next_in_time;
	uint32_t principal; // CLIENT_NONE once it was used or forgotten
	uint64_t session_id;
	struct session_keys keys;
	struct mono expires;
	struct id16 store_id, lineage;
	uint64_t boot_counter;
	bool rotates; // next_key is the identity key once this session is current
	struct key32 next_key;
};

struct offer_list {
	struct offer *first, *last;
	uint32_t count;
	struct ratelimit all;
};

// ---- channels

struct channel {
	struct event_queue queue;
	uint16_t number;
	uint16_t weight;  // what weighs more is served first, and its values count
	uint32_t clients; // of role CLIENT, wherever they stand
	bool view_due, row_due;
	uint32_t epoch_seq;     // the event that opened this epoch; 0: unknown
	struct mono view_after; // not before
	bool told;              // the others are to read it again
};

// Parts of one report that came so far; they lie in the store, so that a restart asks for none of
// them again. A part comes in order or not at all.
struct report_parts {
	uint64_t report_id;
	uint32_t next, parts;
	enum info_kind what;
	size_t bytes;
};

// Messages of the second at hand, by the sender's number.
#define METER_PLACES 65536u
struct message_meter {
	int64_t second;
	uint16_t counts[METER_PLACES];
};

struct number_list {
	uint32_t *items;
	size_t first, count, cap; // what stands before first is done with
};

// The leader's look at the clients of the others (mirrors.c).
struct mirrors {
	struct mirror_term {
		uint64_t term, seen; // up to this write of it
		bool is_over;        // it writes no more
	} * terms;
	size_t term_count, term_cap;
	uint64_t highest; // no later term is known
	struct mono trim_at;
	int64_t before_ms; // elements that are older may go where nobody stands
};

struct core {
	struct core_config config;
	char *server_id, *incarnation_file;
	struct core_ports ports;
	struct core_hooks hooks;
	struct db *db;
	struct digest key_id; // of the online key

	struct now now;
	struct arena arena;
	struct buf body, message, scratch;
	struct no_action no_action;
	struct outbox outbox;
	struct outbox views;                         // go out before the outbox
	struct outbox outbox_leaving, views_leaving; // of the group that goes to the disk now
	struct rest {
		unsigned groups; // that ended since, and
		bool answers;    // somebody was answered in one
		struct mono since;
	} rest;
	struct pace {
		struct mono since;
		size_t answers;    // since then
		size_t idle;       // of these, to clients that nothing waits for
		bool pressed;      // as many in the time before that views come after them
		double idle_per_s; // smoothed
	} pace;

	struct id16 boot, hash_key;
	uint32_t incarnation;
	uint32_t incarnations[SHARDS]; // of the responses to a shard's clients
	uint32_t forgotten_v; // the highest number of an answer to a client that was removed since
	struct key32 lineage_key;
	uint64_t flow_count;
	uint64_t session_base;     // no session id below this one, and
	struct mono session_at;    // one more for each second since
	uint64_t session_reserved; // in the store: what a later start begins with
	bool restored;             // this start found an older store

	struct client_table clients;
	struct client_source source; // while clients are still loaded
	char loaded_up_to[LIMIT_ID + 1];
	bool loading, trim_waits; // for the end of loading
	struct intern interned;
	struct channel **channels;
	uint32_t channel_count, channel_cap, channel_views_due;
	uint16_t *channel_slots; // number + 1 by hash
	uint32_t channel_slot_count;
	struct offer_list offers;
	struct why_log why;
	uint8_t judged_by; // rule of accordance behind the answer in work; 0: none
	struct number_list dirty, view_due;
	bool views_beyond, views_again; // clients are due that the list had no room for; since then
	uint32_t views_cursor;          // where the look for them goes on
	uint32_t wheel[WHEEL_SLOTS];    // first client of a slot, or CLIENT_NONE
	uint32_t wheel_tick;            // first tick of the slot to look at next
	struct number_list sooner[SOONER_SLOTS]; // pairs: client, tick when the wheel looks itself

	// attended time
	bool link_up;
	struct mono link_since;
	struct mono attended_at;
	int64_t attended_ms, spread_ms;
	uint32_t silent_window_tick, silent_in_window;
	bool mass_silence;
	uint32_t silent_count;     // clients that are SILENT
	uint32_t silent_before;    // that were so before the mass silence
	int64_t attended_until_ms; // wall time until which the last start attended; 0: unknown
	struct mono attended_noted;

	struct mono host_at, save_at, prune_at;
	uint64_t host_counter; // rises over all starts
	struct frequency_policy intervals;
	struct frequency frequency;
	size_t save_cursor;
	struct ratelimit resyncs_allowed;
	struct ratelimit operations_allowed;
	uint32_t operations_spared; // of these, while thousands are answered all the time
	bool turn_waits;            // of the client that is answered now: it shall ask again soon
	uint32_t turn_ms;           // then: when those before it had their turn
	int64_t turn_due_us;        // when the last that waits has its turn
	struct ratelimit raises_allowed; // of the incarnation, on a client's word
	struct ratelimit tellings;       // log lines of what devices do wrong
	struct message_meter meter;
	struct ratelimit views_allowed;   // of clients that changed
	struct ratelimit views_unchanged; // of those that did not, besides
	struct number_list view_old;      // those of this turn

	// Several servers on one store (share.h).
	bool shared, leads;
	bool ours[SHARD_PLACES];
	uint32_t gains[SHARDS]; // times that a shard came since the start
	const bool *gaining;    // while these come: only their rows are looked at
	uint64_t letters_seen;  // to all
	uint32_t channels_told; // that everybody is to read again
	uint64_t changes;       // rows written while another leads
	struct mirrors mirrors;
	bool enrolment_waits; // until a removed client's server has let go of it
	uint64_t of_others;   // messages that another server answers

	bool degraded;
	struct mono recover_at;
	int64_t recover_ms;

	uint64_t rejects[REJECT_COUNT];
	struct log_gate reject_gates[REJECT_COUNT];
	uint64_t heartbeats, stale_boots, sign_ins, answers[5], resends, mismatches, reports, wants,
		publisher_messages, requests, commits_failed, views_sent, restored_count,
		skipped_messages, untold, alerts, hasty, updates_failed;
};

// An authenticated message, on its way through the gate.
struct passed {
	uint32_t number;
	struct client *client;
	const char *id;     // borrowed from the table
	bool fresh_session; // this message made its session current
};

// ---- departures.c: the end of turns; what they said leaves when their commit is on the disk

void said_forget(struct core *core); // of the turns that are not committed
// Thousands of clients that nothing waits for are answered in a second, and were for a while.
void pace_count_idle(struct core *core);
bool pace_lasts(const struct core *core);
// All that is committed is on the disk, and left.
enum err departures_settle(struct core *core) MUST_CHECK;

// ---- restore.c

enum err core_load(struct core *core) MUST_CHECK;
void core_unload(struct core *core);
enum err incarnation_open(struct core *core) MUST_CHECK; // at each start, in the open transaction
enum err incarnation_seal(struct core *core) MUST_CHECK; // after its commit
// A client remembers a later start of the server: ours is an older store. False when not
// believable.
bool incarnation_raise(struct core *core, uint32_t shown);
void core_fail(struct core *core, enum err e, const char *what);
uint64_t core_response_id(const struct core *core, const struct client *c, uint32_t v);

enum err principal_load(void *core, const struct client_row *row) MUST_CHECK;
// What its row says, but for where it stands in queues.
enum err client_fill(struct core *core, uint32_t number, const struct client_row *row) MUST_CHECK;
// From now on it is watched here.
void client_begin(struct core *core, uint32_t number);
// One more number of the store, for the responses to the shards that came.
enum err incarnation_gain(struct core *core, const bool *gained) MUST_CHECK;
struct element_data element_data_of(const struct event_row *row); // borrowed from it
// An element of the channel that was read may be the one that opened its epoch.
void channel_epoch_note(struct core *core, struct channel *ch, const struct element *e);
enum err private_event_load(void *core, const struct event_row *row) MUST_CHECK;
enum err client_rows_load(struct core *core) MUST_CHECK; // what hangs on clients

// ---- loading.c

enum err loading_begin(struct core *core) MUST_CHECK;
enum err loading_finish(struct core *core) MUST_CHECK; // all of the rest, now
void loading_forget(struct core *core);

// ---- share.c

void share_read(struct core *core); // what the port says
bool share_loads(const struct core *core, const struct client_row *row);
// The client of a row that is to be loaded; CLIENT_NONE: not here. also_elsewhere: the leader's
// look at others' clients too.
uint32_t share_client(struct core *core, const char *id, bool also_elsewhere);
// A client that came to us, at its first word or while all are loaded.
enum err share_take(struct core *core, uint32_t number) MUST_CHECK;
bool share_is_ours(const struct core *core, const struct topic_parts *parts);
void share_fail(struct core *core, enum err e); // of the store: the turn's
// What its messages must echo: another one each time that its shard comes, since what was counted
// of it before is forgotten.
struct id16 client_boot(const struct core *core, const struct client *c);

// ---- letters.c

enum err letter_to_client(struct core *core, const char *client, enum letter kind,
	const struct letter_said *l) MUST_CHECK;
enum err letter_to_all(struct core *core, const struct letter_said *l) MUST_CHECK;
// The leader tells of its channels that changed; before a commit.
enum err channels_tell(struct core *core) MUST_CHECK;
void letters_take(struct core *core);

// ---- mirrors.c

void mirrors_tick(struct core *core);
// A row is written: whoever leads is to look at it.
enum err mirror_tell(struct core *core, uint32_t number) MUST_CHECK;
// Before everything is loaded: what changes from now on is read after it.
enum err mirrors_begin(struct core *core) MUST_CHECK;
// The row anew, where the last look at it is old.
void mirror_look(struct core *core, uint32_t number);
void mirror_look_anew(struct core *core, uint32_t number); // however lately it was
// Everything that the store has by now.
enum err mirrors_look_all(struct core *core) MUST_CHECK;
enum err mirror_update(struct core *core, uint32_t number, const struct client_row *row) MUST_CHECK;
// Its channels after the first: its rows bring them again.
void mirror_places_drop(struct core *core, struct client *c);
void mirrors_fini(struct core *core);

// ---- followed.c

// What the leader wrote of a channel. Not for the leader.
enum err channel_follow(struct core *core, const char *name) MUST_CHECK;
enum err channels_follow_all(struct core *core) MUST_CHECK;

// ---- gate.c

void gate_message(struct core *core, const char *broker, const char *topic, size_t topic_length,
	struct bytes payload, bool retained);
void gate_reject(struct core *core, enum reject why, const char *id, const char *topic);
const char *reject_word(enum reject why);

// ---- sign_in.c

// The message was signed by the enrolled key and is of session 0.
void sign_in_offer(
	struct core *core, uint32_t number, const struct sign_in *in, struct bytes payload);
// Before the signature is looked at: is there room for another offer?
bool sign_in_allowed(struct core *core, uint32_t number);
struct offer *offer_find(
	struct core *core, uint32_t number, struct bytes payload, const char *topic);
enum err sign_in_complete(struct core *core, uint32_t number, struct offer *offer) MUST_CHECK;
// After the incarnation, in the load's transaction.
enum err session_ids_load(struct core *core) MUST_CHECK;
void offers_expire(struct core *core);
void offers_forget(struct core *core, uint32_t number);
void offers_fini(struct core *core);

// ---- handle_*.c

void handle_heartbeat(struct core *core, const struct passed *p, const struct heartbeat *h);
void handle_report(
	struct core *core, const struct passed *p, const struct report *r, const char *broker);
enum err report_parts_load(void *core, const struct report_part_row *row) MUST_CHECK;
// What came so far is of no use any more.
void report_parts_drop(struct core *core, uint32_t number);

// ---- patience.c

// Each is true when it may be, and counts it.
bool patience_message(struct core *core, uint32_t number);
bool patience_sign_in(struct core *core, uint32_t number);
bool patience_change(struct core *core, struct client_rare *rare);
// So many beats came in span_ms, and no less than told_ms was to lie between two of them.
void patience_pace(
	struct core *core, uint32_t number, uint32_t beats, int64_t span_ms, uint32_t told_ms);
bool patience_tell(struct core *core); // a log line of what a device does wrong
// A correction that opens an operation follows; it has a rare part.
void patience_disagreed(struct core *core, uint32_t number, bool by_cancel, const char *why);
void patience_judged(struct client_rare *rare, const struct accordance *a); // of each beat

// ---- operations.c

struct answer {
	enum response_kind kind;
	enum client_state state;
	enum reason_code code;
	const char *text;
	const char *queue; // "" none
	uint64_t event_seq, flow_id;
	uint32_t attempt;     // 1..
	uint64_t first_op_id; // 0: this one
	uint64_t before_id;   // what the client has, when that is not D; 0: D
	struct send_information *send;
	struct retrieve_information *retrieve;
	struct execute_command *execute;
	bool resync;
	struct open_operation *passed; // the operation that this one cancels; ownership moves
};

// Opens an operation with this answer to heartbeat `seq`: id, body, rows, state, response.
enum err operation_open(
	struct core *core, uint32_t number, uint64_t seq, const struct answer *a) MUST_CHECK;
// The open operation got its outcome; what follows (retry, detach, nothing) is decided here.
enum err operation_close(
	struct core *core, uint32_t number, enum op_status outcome, const char *because) MUST_CHECK;
enum err operation_close_passed(
	struct core *core, uint32_t number, enum op_status outcome) MUST_CHECK;
// flow: one that was drawn already.
enum err operation_cancel_as(struct core *core, const char *client, uint64_t op_id,
	const char *author, uint64_t flow) MUST_CHECK;
// Of this server's clients: those that were told are told to give it up.
enum err operations_withdraw(struct core *core, const struct command_ref *ref, const char *author,
	size_t *cancelled) MUST_CHECK;
enum err operation_retry(struct core *core, uint32_t number, uint64_t seq) MUST_CHECK;
// give.c: leaves out the packages that were withdrawn since. False when nothing is left.
bool retrieve_still_exists(struct core *core, struct retrieve_information *r);
// Every operation of the client ends: commands as UNKNOWN, the others as FAILED, without a retry.
enum err operations_abandon(struct core *core, uint32_t number, const char *because) MUST_CHECK;
// Every package of the open RETRIEVE is held.
bool operation_is_complete(
	struct core *core, const struct client *c, const struct open_operation *op);
void operation_describe(const struct core *core, const struct client *c,
	const struct open_operation *op, struct operation_info *out);
struct open_operation *operation_from_row(const struct operation_row *row);
struct open_operation *client_open(const struct client *c); // NULL: none
uint32_t operation_deadline(const struct core *core, const struct open_operation *op);

// ---- respond.c

enum err respond_no_action(struct core *core, uint32_t number, uint64_t seq, enum reason_code code,
	const char *why) MUST_CHECK;
// The body of the open operation once more.
enum err respond_resend(struct core *core, uint32_t number, uint64_t seq, enum reason_code code,
	const char *why) MUST_CHECK;
enum err respond_stale_boot(
	struct core *core, uint32_t number, const struct heartbeat *h) MUST_CHECK;
enum err respond_body(struct core *core, uint32_t number, uint64_t seq, struct bytes body,
	enum response_kind kind) MUST_CHECK;
uint32_t respond_interval(const struct core *core, const struct client *c);
// Whose control state rides in the client's responses.
const struct event_queue *queue_of_control(const struct core *core, const struct client *c);
enum frequency_by respond_interval_by(const struct core *core, const struct client *c);
// Copies the kind's part of a stored body into the arena and fills *a from it.
enum err body_open(struct core *core, struct bytes body, struct response_body *out) MUST_CHECK;

// ---- channels.c

struct channel *channel_find(const struct core *core, const char *name);
struct channel *channel_of(const struct core *core, const struct client *c);
enum err channel_make(struct core *core, const char *name, struct channel **out) MUST_CHECK;
enum err channel_load(struct core *core, const struct queue_row *row) MUST_CHECK;
void channels_fini(struct core *core);
enum err channels_new_epoch(struct core *core, const char *because) MUST_CHECK;
// "channel" or "@client"; *client is CLIENT_NONE for a channel.
enum err queue_of_name(struct core *core, const char *name, struct event_queue **queue,
	uint32_t *client) MUST_CHECK;
enum err private_queue_get(struct core *core, uint32_t number, struct event_queue **out) MUST_CHECK;
void private_queue_free(struct client_rare *rare);
void channel_touch(struct core *core, struct channel *ch);
// What the others read of it is another than before.
void channel_changed(struct core *core, struct channel *ch);
// Elements on which nobody stands any more leave the queue; their rows become history.
enum err channel_trim(struct core *core, struct event_queue *q) MUST_CHECK;
// As core_append_event, of any type; the body is made.
enum err channel_append(struct core *core, const char *queue, const struct event *ev,
	const struct response_body *body, uint64_t *seq, uint64_t *flow) MUST_CHECK;
// Runs of DISPLAY elements become one each. a NULL: nobody asks which.
enum err channel_join(struct core *core, struct event_queue *q, struct arena *a,
	struct consolidated **out, size_t *count) MUST_CHECK;
enum err channel_append_changes(
	struct core *core, uint32_t number, const struct change *changes, size_t count) MUST_CHECK;
void channels_flush_views(struct core *core);

// ---- memberships.c: the channels of a client; 0 is its first, which struct client itself holds

struct place {
	struct channel *channel;
	uint32_t *pointer;
};
size_t membership_count(const struct client *c); // 1..LIMIT_CLIENT_CHANNELS
struct place membership_at(const struct core *core, struct client *c, size_t i);
// SIZE_MAX: the client is not in the channel.
size_t membership_find(const struct core *core, struct client *c, const struct channel *ch);
// The heaviest channel first, of equal ones by name.
size_t memberships_by_weight(
	const struct core *core, struct client *c, size_t order[LIMIT_CLIENT_CHANNELS]);
// Which channel is served now, and what it shows.
size_t memberships_choose(
	const struct core *core, struct client *c, bool resting, struct channel_offer *out);
// Rises when anything comes for this client, in whichever of its channels.
uint32_t memberships_tails(const struct core *core, struct client *c, bool pointers);
// What stands in the row of a client that was not changed since: a pointer of an earlier epoch is
// worth nothing, its client is told the new one first.
uint32_t pointer_of_row(const struct channel *ch, uint64_t epoch, uint32_t pointer);
enum err membership_load(void *core, const struct membership_row *row) MUST_CHECK;
// The channel weighs something else: every value may be another one.
enum err memberships_anew(struct core *core, const struct channel *ch) MUST_CHECK;
enum err memberships_write(struct core *core, uint32_t number) MUST_CHECK;
// The client leaves all its queues; only memory.
void memberships_leave(struct core *core, struct client *c);
enum err membership_detach(
	struct core *core, uint32_t number, size_t i, const char *because) MUST_CHECK;
enum err memberships_detach_fallen(struct core *core, uint32_t number) MUST_CHECK;

// ---- channel_control.c: what the server itself decides about a queue

enum err channel_write(struct core *core, struct channel *ch) MUST_CHECK;
enum err channel_epoch_open(struct core *core, struct channel *ch) MUST_CHECK;
bool element_is_epoch(struct core *core, const struct element *e);

// ---- give.c

enum err channel_detach(struct core *core, uint32_t number, const char *because) MUST_CHECK;
// What the element at the client's pointer says, as an answer; then the pointer moves. `at`: in
// which of its channels.
enum err channel_take(struct core *core, uint32_t number, uint64_t seq, size_t at) MUST_CHECK;
// Does the element that the queues would give next (act, at) overtake the open RETRIEVE?
bool next_overtakes(struct core *core, uint32_t number, enum next_act act, size_t at);
enum err private_take(struct core *core, uint32_t number, uint64_t seq) MUST_CHECK;
enum err channel_snapshot(struct core *core, uint32_t number, uint64_t seq) MUST_CHECK;
enum err channel_ask_holdings(struct core *core, uint32_t number, uint64_t seq) MUST_CHECK;

// ---- overtake.c

// The open operation is a RETRIEVE that this one overtakes, and one response can hold both.
bool open_is_overtaken(
	struct core *core, const struct client *c, const struct retrieve_information *newer);
// Ends it as CANCELLED, and joins what it asked for into *a.
enum err open_overtake(struct core *core, uint32_t number, struct answer *a) MUST_CHECK;

// ---- client_state.c

// The one place where state changes: logs from -> to, because; marks row and view.
void client_set_state(
	struct core *core, uint32_t number, enum client_state to, const char *because);
// by -1: it goes, or changes; 1: it came, or has changed. Of clients that are not elsewhere.
void client_count(struct core *core, const struct client *c, int by);
void client_set_reach(struct core *core, uint32_t number, enum reach to, const char *because);
void client_dirty(struct core *core, uint32_t number);
enum err clients_flush(struct core *core) MUST_CHECK;
enum err client_row_write(struct core *core, uint32_t number) MUST_CHECK;
bool client_state_change_is_known(enum client_state from, enum client_state to);

// ---- holdings: a sorted set of package ids, interned

bool client_holds(const struct core *core, const struct client *c, const struct digest *package);
// True when the set changed.
bool client_merge_holdings(struct core *core, struct client *c, const struct holdings *h);

// ---- reach.c

void attended_advance(struct core *core);
uint32_t attended_tick(const struct core *core);
void reach_watch(struct core *core, uint32_t number);
void reach_heard(struct core *core, uint32_t number);
// The client is told a shorter interval than before_ms: it is missed sooner.
void reach_sooner(struct core *core, uint32_t number, uint32_t before_ms);
void reach_run(struct core *core);
enum err reach_load(struct core *core) MUST_CHECK; // before the clients
// How long a loaded client had been silent when the server last attended.
uint32_t reach_silent_ticks(const struct core *core, const struct client *c);
// Writes down that we attended until now, while somebody is silent: a start goes on from there.
void reach_note(struct core *core);
void reach_fini(struct core *core);

// ---- views.c

void view_due(struct core *core, uint32_t number);
// The same that was said before, with the time; only as far as that is allowed.
void view_old(struct core *core, uint32_t number);
// beside_answers: of a group that answers somebody; few views then, so that nobody waits for them.
// Where the loop is pressed (core->pace) they have a part of their budget.
void views_flush(struct core *core, bool beside_answers);
void view_remove(struct core *core, const char *client);
void host_publish(struct core *core, bool up);
enum err profile_encode(const struct status *s, struct buf *out) MUST_CHECK;
bool profile_is(struct bytes profile, const struct status *s); // what profile_encode would make
// ---- told_updates.c: the end of a profile
enum err told_updates_encode(const struct status *s, struct buf *out) MUST_CHECK;
bool told_updates_are(struct bytes told, const struct status *s);
enum err told_updates_read(
	struct bytes told, struct arena *a, struct update_status **out, size_t *count) MUST_CHECK;
// The client said of this package that it failed there and is not tried now.
bool client_is_penalised(struct core *core, const struct client *c, const struct digest *package);
// Takes such software out of r. True when that was something.
bool retrieve_drop_penalised(
	struct core *core, const struct client *c, struct retrieve_information *r);
// A profile comes that says more: new failures are told in the log, and counted.
void told_updates_alert(struct core *core, const struct client *c, const struct status *s);

// ---- views.c
enum err showing_encode(const struct status *s, struct buf *out) MUST_CHECK;
bool showing_is(struct bytes showing, const struct status *s);
struct profile {
	const char *agent_version, *hw_class, *state;
	struct bytes software, updates;
};
void profile_split(struct bytes profile, struct profile *out);
enum err profile_software(struct bytes software, struct arena *a, struct software_version **out,
	size_t *count) MUST_CHECK;
void showing_split(struct bytes showing, struct digest *package, const char **image);
void showing_screen(struct bytes showing, uint32_t *width_px, uint32_t *height_px); // 0, 0: untold

// ---- why.c

enum err why_init(struct why_log *w, uint32_t size) MUST_CHECK;
void why_fini(struct why_log *w);
void why_add(struct core *core, uint32_t number, const struct why_item *item);

// ---- principals.c

void rare_free(struct client_rare *rare);
void principal_forget(struct core *core, uint32_t number); // out of memory, not of the store
// In memory, with the log and the hook: what the leader decided.
void principal_revoked(struct core *core, uint32_t number);
void principal_removed(struct core *core, uint32_t number);

// ---- core.c

enum err outbox_send(struct core *core, const char *broker, const char *topic,
	const struct buf *payload, int qos, bool retained) MUST_CHECK;
// With the key downward of the client's session.
enum err client_seal(const struct client *c, struct buf *payload, const char *topic) MUST_CHECK;
bool number_list_add(struct number_list *l, uint32_t number);
// Gives the room before `first` back, now and then.
void number_list_settle(struct number_list *l);

#endif
