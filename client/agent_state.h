// What the agent must know after a power cut, as one small text with its own SHA-256.
//
// The shape is pure: bytes in, bytes out. Where it lies (state.bin, and state.prev, the copy
// before it) is state_file.c. A version that is newer than ours is refused, never overwritten.
#ifndef HELIO_CLIENT_AGENT_STATE_H
#define HELIO_CLIENT_AGENT_STATE_H

#include "proto/base/mem.h"
#include "proto/message.h"

#define AGENT_DONE_OPS 256           // operation ids remembered (exactly once)
#define AGENT_STATE_MAX (256 * 1024) // body in hex, 256 ids, floors and changes
#define AGENT_NAME_MAX 100           // a package name

// The operation in the slot: open, or the last one that ended.
struct op_record {
	uint64_t op_id; // 0: none yet
	enum response_kind kind;
	enum op_status status;
	uint32_t percent;
	uint64_t report_id; // SEND_INFORMATION: the report that answers it
	bool started;       // a command began to run: never again
	char detail[LIMIT_TEXT];
};

// A reboot that was asked for. Times are of the monotonic clock of that boot of the kernel, so they
// outlive the agent and end with the boot.
struct reboot_record {
	uint64_t op_id;      // 0: none
	struct id16 boot_id; // the kernel's, when it was asked for
	bool ordered;        // the program was started: never again
	int64_t begun_ms, ordered_ms;
};

// Lowest security counter that software of this name may have.
struct security_floor {
	char name[AGENT_NAME_MAX + 1];
	uint64_t counter;
};

struct pending_change {
	uint64_t change_id;
	char key[LIMIT_ID + 1];
	char value[256];
};

struct agent_state {
	uint64_t generation; // rises with each save
	struct id16 store_id;
	uint64_t boot_counter;
	struct id16 lineage;
	uint64_t session_id;              // highest that was ever current
	uint64_t last_response_id;        // of kinds 2 to 4: stored before it is acted upon
	uint64_t change_id;               // highest used
	uint64_t report_id;               // highest used
	uint64_t display_command;         // number of the last command written for the display
	uint32_t interval_ms;             // last told by the server, 0: never
	uint32_t reconnect_spread_ms;     // last told by the server
	int64_t time_floor_ms;            // the server's time, never falls
	bool uncertain;                   // the newest copy was lost: a resent command may have run
	char showing[AGENT_NAME_MAX + 1]; // slot of images on the screen, "" none yet
	struct op_record op;
	struct reboot_record reboot;
	struct buf body;               // encoded ResponseBody of op, empty when there is none
	uint64_t done[AGENT_DONE_OPS]; // ring, done_count rises for ever
	uint64_t done_count;
	struct security_floor *floors; // owned, at most LIMIT_SOFTWARE
	size_t floor_count;
	struct pending_change *changes; // owned, at most LIMIT_CHANGES
	size_t change_count;
};

// A first state: random store id, everything else zero.
void agent_state_init(struct agent_state *s, const struct id16 *store_id);
void agent_state_fini(struct agent_state *s);

// Clears out. Errors: ERR_FULL, ERR_MEMORY.
enum err agent_state_encode(const struct agent_state *s, struct buf *out) MUST_CHECK;
// out: initialised. On error out is as after init. Errors: ERR_CORRUPT, ERR_VERSION, ERR_MEMORY.
enum err agent_state_decode(struct bytes text, struct agent_state *out) MUST_CHECK;

bool agent_state_knows_op(const struct agent_state *s, uint64_t op_id);
void agent_state_add_op(struct agent_state *s, uint64_t op_id);

uint64_t agent_state_floor(const struct agent_state *s, const char *name);
// Raises, never lowers. Errors: ERR_FULL, ERR_MEMORY.
enum err agent_state_raise_floor(
	struct agent_state *s, const char *name, uint64_t counter) MUST_CHECK;

// Errors: ERR_FULL, ERR_RANGE (too long), ERR_MEMORY.
enum err agent_state_add_change(
	struct agent_state *s, const char *key, const char *value) MUST_CHECK;
void agent_state_drop_changes(struct agent_state *s, uint64_t up_to_id);

#endif
