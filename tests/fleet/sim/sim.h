// helio-sim: a whole fleet under one virtual clock. The server's core (server/core.h) with a store
// in memory, a model broker and up to some thousand agents' cores (client/agent.h) live in one
// process; a seed decides what is lost, doubled, late, killed or stepped, and when. The same seed
// gives the same run to the byte.
//
//   run.c     one seed: events in the order of time, the end of faults, the quiet end
//   host.c    the server: starts, turns, kills at three places of a turn, its store, its hooks
//   store.c   the store of a run
//   device.c  a device: the agent's core, its disk, its power
//   doer.c    what a device does: fetches, commands, values; each effect is written down
//   broker.c  the model broker: links, QoS, retained messages, wills
//   acts.c    what operators do, at random
//   faults.c  what goes wrong, at random
//   ledger.c  what was seen of every operation and act, and what must be true of it
//   check.c   what must be true at any time, and at the quiet end
//   jobs.c    the seeds, shared out to the processors
//   crypto.c  MACs, signatures and shares as seeded stand-ins; digests are the real ones
//
// Nothing of the product is changed for the simulator: it sits behind core_ports, core_hooks and
// agent_port.
#ifndef HELIO_TESTS_FLEET_SIM_H
#define HELIO_TESTS_FLEET_SIM_H

#include "client/agent.h"
#include "proto/topics.h"
#include "server/core.h"
#include "server/db/db.h"
#include <stdio.h>

#define SIM_EPOCH_MS 1795000000000ll
#define SIM_PACKAGES 64 // of a run; a heartbeat lists at most LIMIT_HOLDINGS
#define SIM_KEYS 3
#define SIM_SLOTS 4
#define SIM_CHANNELS 3
#define SIM_ACTS 4096
#define SIM_TEXT 400
#define SIM_HEARD 4096 // messages of a turn

enum sim_fault {
	FAULT_LOSS = 1,        // messages vanish
	FAULT_DUP = 2,         // messages come twice
	FAULT_REORDER = 4,     // messages overtake each other
	FAULT_DELAY = 8,       // a link stands still for a while
	FAULT_DAMAGE = 16,     // a bit flips
	FAULT_LINK = 32,       // connections break
	FAULT_BROKER = 64,     // the broker restarts and forgets everything
	FAULT_SERVER = 128,    // the server is killed or restarted
	FAULT_STALL = 256,     // the server stands still
	FAULT_STORE = 512,     // the server's store takes no writes for a while
	FAULT_AGENT = 1024,    // devices lose power, also within a write of their state
	FAULT_DISK = 2048,     // a device's disk takes no writes for a while
	FAULT_TORN = 4096,     // the newest copy of a device's state is damaged
	FAULT_WIPE = 8192,     // a device loses its disk
	FAULT_CLOCK = 16384,   // wall clocks step
	FAULT_DOER = 32768,    // fetches and commands fail
	FAULT_RESTORE = 65536, // the server's store comes back from a backup
	FAULT_FULL = 131072,   // the server's disk is full for a while
	FAULT_STORM = 262144,  // all devices lose power at once, and sign in together
	FAULT_REVOKE = 524288  // a device is revoked, and enrolled again later
};
#define FAULTS_ALL (2u * FAULT_REVOKE - 1)
// Under these alone no client may ever be in disagreement.
#define FAULTS_OF_THE_WAY (FAULT_LOSS | FAULT_DUP | FAULT_REORDER | FAULT_DELAY | FAULT_DOER)

// What a model does wrong on purpose, so that the invariants can be seen to bite.
enum sim_breakage {
	BREAK_NOTHING,
	BREAK_DISK,    // a device's disk says "stored" and forgets: commands run twice
	BREAK_RESEND,  // the server's resends never leave
	BREAK_FETCH,   // a fetch says it is done and holds nothing
	BREAK_VALUES,  // a device drops the values it was told
	BREAK_COMMAND, // the doer runs a command twice
	BREAK_REPORT,  // the server's record of a report is taken twice
	BREAK_STATE,   // a device begins anew from what its disk held at first
	BREAK_OUTCOME, // an outcome is told twice, and differs
	BREAK_KILL,    // a device that is killed may run its command again
	// The server's memory is bent between two turns:
	BREAK_POINTER, // a pointer shows what does not exist
	BREAK_LOST,    // a pointer moves, and its event is given to nobody
	BREAK_AGAIN,   // a pointer moves back
	BREAK_OPEN,    // an open operation is forgotten
	BREAK_ACCORD,  // the state is not what the last response set
	BREAK_IDS,     // ids are given again
	BREAK_SNAPSHOT // a snapshot says that nothing is lacking
};

struct sim_config {
	uint64_t seed;
	uint32_t agents, beats; // beats of one agent until faults stop
	unsigned faults;
	enum sim_breakage broken;
	bool trace;
	const char *store; // a copy of the store at the end goes here; NULL: none
};

struct sim_result {
	uint64_t hash, heartbeats, messages, operations, starts, virtual_ms;
	char violated[SIM_TEXT]; // "" when all held
};

// ---- random numbers

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return n ? rng_next(r) % n : 0;
}

static inline int64_t rng_between(struct rng *r, int64_t low, int64_t high)
{
	return low + (int64_t)rng_below(r, (uint64_t)(high - low + 1));
}

static inline bool rng_chance(struct rng *r, uint32_t per_mille)
{
	return rng_below(r, 1000) < per_mille;
}

void rng_fill(struct rng *r, void *out, size_t size);

// ---- events

enum sim_event {
	EVENT_TICK,    // a device's deadline
	EVENT_DELIVER, // a message arrives
	EVENT_TURN,    // of the server
	EVENT_SERVER_TICK,
	EVENT_SERVER_START,
	EVENT_SERVER_LINK,
	EVENT_POWER,   // a device comes back
	EVENT_CONNECT, // a device's link
	EVENT_FETCH,
	EVENT_COMMAND,
	EVENT_ACT,
	EVENT_FAULT,
	EVENT_BROKER,
	EVENT_MEND // what a fault broke for a while is whole again
};

struct message {
	uint32_t refs;
	uint32_t topic_length, size;
	bool retained;
	char data[]; // topic NUL payload
};

struct event_item {
	int64_t at;
	uint64_t order;
	struct message *message;
	uint32_t who;   // a device, or DEST_SERVER
	uint32_t token; // an event of an older token counts for nothing
	uint32_t more;
	uint8_t kind;
};

#define DEST_SERVER UINT32_MAX

struct heap {
	struct event_item *items;
	size_t count, cap;
	uint64_t order;
};

// ---- a device

struct device {
	struct sim *sim;
	uint32_t index;
	char id[16];
	struct agent_config config;
	struct agent_core core;
	bool alive, link_up, host_wanted;
	bool gone; // power went within a call: nothing that the core still does has an effect
	bool disk_full, cut_armed, cut_keeps;
	bool lying; // BREAK_DISK
	uint32_t link_token, power_token, tick_token, fetch_token, command_token;
	int64_t tick_at, mono_base, wall_offset;
	int64_t up_last, down_last; // of its link: order is kept up to here
	struct buf disk, disk_before;
	// its doers
	bool fetching, fetch_held;
	uint32_t fetch_package;
	bool fetch_activate;
	uint64_t command_op;
	uint32_t command_act;
	uint64_t held;    // bit of each package
	uint32_t showing; // package + 1
	uint32_t values[SIM_KEYS];
	uint64_t beats; // of earlier starts
	uint8_t *ran;   // [SIM_ACTS] how often each act's command ran
	uint32_t installed[SIM_PACKAGES];
	uint32_t channel;
	uint64_t unheard; // the most beats in a row without an answer
	bool revoked;
	bool excused; // an operator took back what it was to retrieve
};

// ---- ledger

struct op_seen {
	uint64_t op_id, first_op_id, flow_id, body_hash, event_seq;
	enum response_kind kind;
	uint32_t act; // number + 1
	uint32_t reports;
	enum op_status outcome;
	bool ended, final, is_resync, before_restore;
	uint64_t ended_turn;
};

struct op_list {
	struct op_seen *items;
	size_t count, cap;
	uint64_t last_seq[SIM_CHANNELS], last_epoch[SIM_CHANNELS], last_private;
};

enum act_kind {
	ACT_PACKAGE,
	ACT_SOFTWARE,
	ACT_VALUE,
	ACT_ASK,
	ACT_COMMAND
};

struct act {
	enum act_kind kind;
	bool committed, dropped, before_restore, may_expire;
	uint32_t client;  // + 1: its private queue; 0: a channel
	uint32_t channel; // of a channel's act
	uint64_t seq, flow;
	uint8_t *expects; // clients that must get it, [agents]; a channel's only
};

enum note_kind {
	NOTE_ENDED,
	NOTE_REPORT,
	NOTE_ACT
};

// Of a turn that is not committed yet.
struct note {
	enum note_kind kind;
	uint32_t client, act;
	struct operation_info op;
};

// ---- all of it

enum kill_place {
	KILL_NOT,
	KILL_BEFORE_COMMIT,
	KILL_BEFORE_PUBLISH,
	KILL_WHILE_PUBLISHING
};

struct server_host {
	struct db *db;
	struct core *core;
	struct core_config config;
	struct core_ports ports;
	bool link_up, deaf, stalled, turn_waits, read_only, committed, disk_full;
	enum kill_place kill_next;
	int64_t publishes_left; // of a turn that is killed while it publishes; -1: all
	uint32_t start_token, link_token;
	int64_t mono_base, wall_offset;
	struct message *will;
	struct message **inbox;
	size_t inbox_count, inbox_cap;
	uint32_t heard[SIM_HEARD]; // the devices of this turn's messages
	size_t heard_count;
	uint64_t lease, starts, turns;
	char folder[64], backup[96], incarnation[96];
	uint32_t stores;
	bool has_backup;
	uint32_t backup_act;
};

struct model_broker {
	bool up;
	uint32_t token; // of this start
	struct message *host;
	uint64_t views;
	int64_t server_up_last, server_down_last;
};

struct sim {
	struct sim_config config;
	struct rng way, fate, acts_random, ids;
	struct heap heap;
	int64_t now;
	bool quiet; // faults have stopped
	struct server_host server;
	struct model_broker broker;
	struct device *devices;
	struct op_list *ops; // [agents]
	struct act *acts;
	uint32_t act_count;
	struct note *notes;
	size_t note_count, note_cap;
	uint32_t package_count, last_packages; // the first of the quiet end
	uint32_t value_count, last_values;
	struct sign_key *online, **keys;
	struct key32 online_public;
	struct root root;
	struct arena scratch, arena;
	struct buf out;
	uint32_t interval_ms, loss, dup, reorder;
	bool restored, any_restart;
	struct sim_result *result;
};

void sim_run(const struct sim_config *config, struct sim_result *result);

// jobs.c
#define JOBS_MAX 64
struct job_plan {
	uint64_t first, last;
	void *ctx;
	void (*run)(void *ctx, uint64_t seed, struct sim_result *out);      // in any process
	void (*take)(void *ctx, uint64_t seed, const struct sim_result *r); // in order, in ours
};
unsigned jobs_of_machine(void);
void jobs_run(const struct job_plan *plan, unsigned count);

// The first violation is kept; the run ends.
void violate(struct sim *s, const char *format, ...) PRINTF_LIKE(2, 3);
bool sim_is_violated(const struct sim *s);
void trace(struct sim *s, const char *format, ...) PRINTF_LIKE(2, 3);
void sim_mix(struct sim *s, uint64_t value);
uint64_t hash_bytes(const void *data, size_t size, uint64_t hash);

void heap_push(struct sim *s, int64_t at, enum sim_event kind, uint32_t who, uint32_t token,
	struct message *m, uint32_t more);
bool heap_pop(struct sim *s, struct event_item *out);
void heap_fini(struct heap *h);

// host.c
void host_init(struct sim *s);
void host_fini(struct sim *s);
void host_start(struct sim *s);
void host_kill(struct sim *s, int64_t away_ms);
void host_shutdown(struct sim *s, int64_t away_ms);
void host_deliver(struct sim *s, struct message *m);
void host_turn(struct sim *s);
// An act in a turn of its own; false when it was not committed.
bool host_commit(struct sim *s);
void host_tick(struct sim *s);
void host_link(struct sim *s, bool up);
void host_backup(struct sim *s);
void host_restore(struct sim *s);
void host_read_only(struct sim *s, bool on);
void host_disk_full(struct sim *s, bool on);
// A device is revoked; later it is enrolled again. False: the server cannot do it now.
bool host_revoke(struct sim *s, uint32_t index);
bool host_enrol_again(struct sim *s, uint32_t index);
struct now host_now(const struct sim *s);
enum err sim_package_find(void *ctx, struct core *core, const struct digest *package,
	struct arena *arena, struct package_ref *out);

// store.c
struct db *store_take(void); // empty, with all its tables
void store_give_back(struct db *db, bool read_only);

// device.c
void device_init(struct sim *s, uint32_t index);
void device_fini(struct device *d);
void device_power_on(struct device *d);
void device_power_off(struct device *d, int64_t away_ms);
void device_link(struct device *d, bool up);
void device_message(struct device *d, struct message *m);
void device_tick(struct device *d);
void device_arm(struct device *d);
void device_wipe(struct device *d);
struct now device_now(const struct device *d);
extern const struct agent_port sim_port;

// doer.c
uint32_t package_index(const struct digest *package);
struct digest package_digest(uint32_t index);
bool package_is_software(uint32_t index);
void doer_stop(struct device *d);
void doer_fetched(struct device *d, uint32_t token);
void doer_command_over(struct device *d, uint32_t token);
extern const char *const value_keys[SIM_KEYS];
uint32_t value_number(const char *value);
// The doers' half of the port.
void doer_view(void *ctx, struct arena *a, struct agent_view *out);
void doer_holdings(void *ctx, struct arena *a, struct holdings *out);
void doer_holding(void *ctx, const struct digest *package, struct holding *out);
enum err doer_activate(void *ctx, const struct package_ref *package);
void doer_fetch(void *ctx, const struct fetch_order *order);
void doer_fetch_pace(void *ctx, uint64_t rate, bool hold);
void doer_fetch_stop(void *ctx);
void doer_command(void *ctx, uint64_t op_id, const struct execute_command *command);
void doer_command_stop(void *ctx, uint64_t op_id);
void doer_command_fetch(void *ctx, uint64_t op_id, const struct command_ref *ref);
enum err doer_changes(void *ctx, const struct change *changes, size_t count);
void doer_usage(
	void *ctx, struct arena *a, int64_t since, size_t max, struct shown **rows, size_t *count);

// broker.c
void message_free(struct message *m);
struct message *message_new(const char *topic, struct bytes payload, bool retained);
void broker_init(struct sim *s);
void broker_fini(struct sim *s);
void broker_from_device(struct device *d, const char *topic, struct bytes payload, int qos);
void broker_from_server(
	struct sim *s, const char *topic, struct bytes payload, int qos, bool retained);
void broker_arrive(struct sim *s, const struct event_item *e);
void broker_host_wanted(struct device *d, bool wanted);
void broker_will_of_server(struct sim *s);
void broker_restart(struct sim *s);

// acts.c, faults.c
void act_random(struct sim *s);
#define ACTS_FIRST 1u
#define ACTS_AGAIN 2u
#define ACTS_NEWER 3u
// Another version of what the channel was given a while ago.
void act_newer(struct sim *s, uint32_t channel, uint32_t package);
void acts_last(struct sim *s, bool first);
void fault_random(struct sim *s);
void faults_stop(struct sim *s);

// ledger.c
void ledger_init(struct sim *s);
void ledger_fini(struct sim *s);
void ledger_note(struct sim *s, const struct note *n);
void ledger_commit(struct sim *s);
void ledger_forget(struct sim *s); // the turn was not committed
void ledger_published(struct sim *s, const char *topic, struct bytes payload);
bool ledger_is_resend(struct sim *s, uint32_t client, uint64_t op_id);
void ledger_ran(struct device *d, uint32_t act);
void ledger_restored(struct sim *s, uint32_t acts_before);
void ledger_enrolled_again(struct sim *s, uint32_t client);
// NULL: its operations are as the server holds them; open_op and passed_op are open, or 0.
const char *ledger_disagrees(struct sim *s, uint32_t client, uint64_t open_op, uint64_t passed_op);
void ledger_check_end(struct sim *s);

// check.c
// What must be true of every client and queue: each QUEUES_EVERY turns, and at the end.
void check_queues(struct sim *s);
// What must be true of one client: after each turn that heard it.
void check_client(struct sim *s, uint32_t index);
// Bends the server's memory, as config.broken says.
void server_bend(struct sim *s);
// "" when everything has come to rest; otherwise what has not.
const char *check_rest(struct sim *s);
void check_end(struct sim *s);

// crypto.c
void crypto_seed(uint64_t seed);

#endif
