// SWUpdate: the package holds one image (*.swu), whose own signature SWUpdate checks as well. How
// the boot loader keeps or leaves what was installed is the device's own affair: the settings name
// the programs for that.
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
	const char *check[] = {"-c", "-i", c->image, NULL}, *install[] = {"-i", c->image, NULL};
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

const struct update_handler update_swupdate = {
	.word = "swupdate",
	.program = "/usr/bin/swupdate",
	.suffix = ".swu",
	.restart = RESTART_REBOOT,
	.wants_rollback = true,
	.plan = swupdate_plan,
};
