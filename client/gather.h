// What a question of the server asks for, collected and put into the spool.
//
//   usage        the display's ledger
//   software     what the slots show, and with [agent] inventory every package of the system
//   logs         a source that the settings name, or this program's own newest records
//   output       what the program of an operation said, from the shelf
//   screenshot   asked of the display through the folder they share
//
// No shell; every program, file and wait has a limit in time and bytes. What does not fit is cut
// and the report says so; what cannot be had at all ends the operation with a sentence.
#ifndef HELIO_CLIENT_GATHER_H
#define HELIO_CLIENT_GATHER_H

#include "client/agent.h"
#include "client/display_side.h"
#include "client/output_shelf.h"
#include "client/process.h"
#include "client/report_spool.h"
#include "client/settings.h"

struct gather {
	uv_loop_t *loop;
	const struct agent_settings *settings;
	const struct depot *store;
	const struct display_side *display;
	const struct output_shelf *outputs;
	struct report_spool spool;
	void (*ready)(void *ctx, uint64_t report_id, const struct report_ready *r);
	void *ctx;
	// of the question at work
	uint64_t report_id; // 0: none
	struct send_information what;
	char unit[257], pattern[257];
	struct process *process;
	struct usage_gather {
		struct ledger_read ledger;
		struct arena arena; // of the rows of one part
		struct shown *rows;
		size_t count, total, max;
		bool open;
	} usage;
	uv_timer_t timer;
	bool timer_there;
	struct mono asked;
	uint64_t screenshots; // asked for since the start
};

#define GATHER_OWN_LOG_BYTES (128 * 1024) // of this program's records

// ready is called once for each gather_begin, also from inside it, unless gather_stop comes first.
enum err gather_init(struct gather *g, uv_loop_t *loop, const struct agent_settings *settings,
	const struct depot *store, const struct display_side *display,
	const struct output_shelf *outputs) MUST_CHECK;
void gather_begin(struct gather *g, uint64_t report_id, const struct send_information *s);
void gather_stop(struct gather *g);
// The timer's handle is closed; after the loop has ended, gather_fini.
void gather_close(struct gather *g);
void gather_fini(struct gather *g);

#endif
