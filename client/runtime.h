// The running agent: the core, and the doers around it, on one loop.
//
//   runtime.c           start, the control link, the timer, the end
//   runtime_port.c      what the core asks for: save, publish, fetch, commands, views
//   runtime_commands.c  the verbs that need the display, the store or a program
//   runtime_reboot.c    the verb reboot, over the end of this process
//   runtime_import.c    packages from a medium
//   runtime_update.c    software that a handler installs
//   runtime_key.c       where identity keys lie
#ifndef HELIO_CLIENT_RUNTIME_H
#define HELIO_CLIENT_RUNTIME_H

#include "client/agent.h"
#include "client/display_side.h"
#include "client/fetcher.h"
#include "client/gather.h"
#include "client/output_shelf.h"
#include "client/process.h"
#include "client/settings.h"
#include "client/side_link.h"
#include "client/state_file.h"
#include "client/update_rows.h"
#include "proto/trust.h"

#define RUNTIME_COMMANDS 32

struct updates;

struct runtime {
	uv_loop_t loop;
	const struct agent_settings *settings;
	struct agent_core core;
	struct agent_config config;
	bool core_there, loop_there;
	struct arena scratch;
	struct buf out;
	struct trust trust;
	struct sign_key *key, *next_key; // next_key: of a rotation that is under way, NULL: none
	char key_dir[300], key_name[20];
	struct state_file state_file;
	struct depot store;
	struct display_side display;
	struct display_later later;            // what is shown from a moment on
	int64_t told_offset_ms, told_floor_ms; // what the display was told of the time
	struct fetcher_config fetcher_config;
	struct fetcher *fetcher;
	struct side_link *side;
	struct gather gather;
	struct output_shelf outputs;
	struct mqtt_link *link;
	uv_timer_t timer, once_timer, reboot_timer, later_timer;
	int lock_fd;
	struct named_command commands[RUNTIME_COMMANDS];
	size_t command_count;
	struct process *reboot_check, *reboot_order;
	bool reboot_free; // reboot_check said so
	struct process *process;
	uint64_t process_op, clear_op; // the operation that waits for it, 0: none
	char trouble[16];
	char view_image[513], view_name[AGENT_NAME_MAX + 1], view_version[AGENT_NAME_MAX + 1];
	uint8_t ip[16];
	size_t ip_size;
	struct import *import;
	struct updates *updates;
	enum update_restart restart; // how this process goes on when the loop has ended
	bool offline;                // imports from a medium, and ends
	bool once, stopping;
	int exit_code;
};

extern const struct agent_port runtime_port;

// Opens everything and begins to connect. What was opened is closed by runtime_run or runtime_fini.
enum err runtime_init(
	struct runtime *rt, const struct agent_settings *settings, bool once) MUST_CHECK;
// Without a link: to import from a medium.
enum err runtime_init_offline(struct runtime *rt, const struct agent_settings *settings) MUST_CHECK;
void runtime_stop(void *rt);
void runtime_fini(struct runtime *rt);
// Sets the timer to the core's next deadline. After every event.
void runtime_arm(struct runtime *rt);

// What was fetched is shown, or counts from now on.
enum err runtime_installed(struct runtime *rt, const struct fetch_result *r) MUST_CHECK;

// runtime_commands.c
void runtime_command(void *ctx, uint64_t op_id, const struct execute_command *e);
void runtime_command_stop(void *ctx, uint64_t op_id);
// True while the program of a stopped operation still ends.
bool runtime_command_ends(void *ctx, uint64_t op_id);
// The end of what a program said, as one line of plain text.
void runtime_tail(struct bytes output, char *out, size_t size);
// The pool let go: what waited for that.
void runtime_idle(struct runtime *rt);
// The images of slot `name` are what the display shows from now on.
enum err runtime_show(struct runtime *rt, const char *name) MUST_CHECK;

// runtime_moment.c
// A package that is held is shown from a moment on.
enum err runtime_later(
	struct runtime *rt, const struct held_package *h, int64_t at_unix_ms) MUST_CHECK;
// Something else is shown by order: what waits does not come any more.
void runtime_later_superseded(struct runtime *rt);
// After a start.
void runtime_later_resume(struct runtime *rt);
// What the server says of the time, when it changed.
void runtime_clock_tell(struct runtime *rt);

// runtime_reboot.c
// The kernel's boot id. Errors: ERR_IO, ERR_FORMAT.
enum err runtime_boot_id(const struct runtime *rt, struct id16 *out) MUST_CHECK;
void runtime_reboot(struct runtime *rt, uint64_t op_id);
void runtime_reboot_stop(struct runtime *rt, uint64_t op_id);
// After a start: how did it end, or does it go on?
void runtime_reboot_resume(struct runtime *rt);
void runtime_reboot_close(struct runtime *rt);

// runtime_key.c
enum err runtime_keys_open(struct runtime *rt) MUST_CHECK;
enum err port_key_next(void *ctx, const struct sign_key **next) MUST_CHECK;
enum err port_key_commit(void *ctx) MUST_CHECK;

#endif
