// What the files of the running updates share. No other room includes this.
#ifndef HELIO_CLIENT_RUNTIME_UPDATE_PARTS_H
#define HELIO_CLIENT_RUNTIME_UPDATE_PARTS_H

#include "client/runtime_update.h"

#include "client/update_handler.h"

#define UPDATE_LOOK_MS 500
#define UPDATE_AGAIN_MS 1000

struct updates {
	struct runtime *rt;
	struct update_table table;
	struct update_list list;
	bool locked; // the file is a later agent's: nothing is touched
	uv_timer_t timer;
	bool timer_there;
	// the verb at work
	struct update_record doing; // as it was when the verb began
	struct update_call call;
	struct update_said said;
	unsigned step;
	bool checked;  // prepare: the package was read
	bool checking; // the process is the application's check
	bool restarting;
	struct process *process;
	uv_work_t work;
	bool working;
	enum err work_result;
	unsigned unsure; // how often the verb of this state found out nothing
	struct mono again, since; // since: of the present state, in this process
	// the trial
	uint64_t beats_before;
	char health[LIMIT_TEXT]; // what the last check said
	char refusal[LIMIT_TEXT];
};

// runtime_update.c
// The step, on disk; or not taken.
bool update_take(struct updates *u, struct update_record *r, enum update_event event,
	const char *word, const char *detail);
// The list, on disk; or as it was.
bool update_list_save(struct updates *u, const struct update_list *before);
void update_step_tell(
	const struct updates *u, const struct update_record *r, enum update_state from);
// Counts a failure that ended and is not counted yet. In memory.
void update_count_failure(struct updates *u, struct update_record *r);
void update_look_soon(struct updates *u);
// The record that the verb at work is for, unless something else became of it meanwhile.
struct update_record *update_of_verb(struct updates *u);
// Its moment has come, and its window is open.
enum err update_window_look(
	const struct updates *u, const struct update_record *r, bool *open) MUST_CHECK;
int64_t update_wall_ms(const struct updates *u);

#endif
