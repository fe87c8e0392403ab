// A program of the device's own for all five verbs:
//   /PATH ARG... VERB FOLDER VERSION PACKAGE     VERB: prepare install verify commit rollback
// 0 is success; 75 says that the device could not, not that the release is bad. Each verb may be
// asked again after it was cut; verify is asked often.
#include "client/update_handler.h"

static enum update_plan script_plan(
	const struct update_call *c, unsigned step, struct update_argv *out)
{
	if (step != 0)
		return PLAN_END;
	hex_encode(c->package.b, sizeof c->package.b, out->text);
	const char *more[] = {update_verb_word(c->verb), c->folder, c->version, out->text, NULL};
	return update_program(&c->row->program, out, more);
}

const struct update_handler update_script = {
	.word = "script",
	.restart = RESTART_NONE,
	.plan = script_plan,
};
