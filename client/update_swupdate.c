// SWUpdate: the package holds one image (*.swu), whose own signature SWUpdate checks as well. How
// the boot loader keeps or leaves what was installed is the device's own affair: the settings name
// the programs for that.
//
// Its exit code alone says too little. Up to 2022.12 it asks itself for its status before its own
// installer woke, when the whole image fits into a socket's buffer; then it ends with 1 for an
// image that is good, with its work done, or not begun, or cut in its middle. What counts is what
// the installer said. And `-c` alone runs the configured post-update command; with `-n` it does
// not.
//
// It knows nothing of slots either. A device with two has a program around it that says which one
// is written, and that does nothing when what runs is not kept yet: the device was then cut after
// the last act of an installation, and to do it again would write over what a roll back needs.
#include "client/update_handler.h"

static enum update_plan own_program(
	const struct words *program, unsigned step, struct update_argv *out)
{
	const char *const none[] = {NULL};
	return step == 0 && program->argc != 0 ? update_program(program, out, none) : PLAN_END;
}

static enum update_plan swupdate_plan(
	const struct update_call *c, unsigned step, struct update_argv *out)
{
	const char *check[] = {"-n", "-c", "-i", c->image, NULL};
	const char *install[] = {"-i", c->image, NULL};
	switch (c->verb) {
	case UPDATE_PREPARE:
		return step == 0 ? update_program(&c->row->program, out, check) : PLAN_END;
	case UPDATE_INSTALL:
		return step == 0 ? update_program(&c->row->program, out, install) : PLAN_END;
	case UPDATE_COMMIT:
		return own_program(&c->row->commit, step, out);
	case UPDATE_ROLL_BACK:
		return own_program(&c->row->rollback, step, out);
	case UPDATE_VERIFY:
	case UPDATE_VERBS:
		break;
	}
	return PLAN_END;
}

static enum update_verdict swupdate_weigh(
	const struct update_call *c, unsigned step, const struct update_end *end)
{
	enum update_verdict v = update_weigh(end);
	(void)step;
	if (v != VERDICT_BAD || end->timed_out || end->signal != 0 ||
		(c->verb != UPDATE_PREPARE && c->verb != UPDATE_INSTALL))
		return v;
	// Its installer's last word; "[0]" are the errors on the way.
	if (update_says(end->output, "SWUPDATE failed [1]"))
		return VERDICT_BAD;
	// Installed, and yet 1: the post-update command did not run, or failed.
	return c->verb == UPDATE_PREPARE && update_says(end->output, "SWUPDATE successful")
		       ? VERDICT_GOOD
		       : VERDICT_UNSURE;
}

const struct update_handler update_swupdate = {
	.word = "swupdate",
	.program = "/usr/bin/swupdate",
	.suffix = ".swu",
	.restart = RESTART_REBOOT,
	.wants_rollback = true,
	.plan = swupdate_plan,
	.weigh = swupdate_weigh,
};
