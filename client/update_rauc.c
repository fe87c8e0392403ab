// RAUC: the package holds one bundle (*.raucb), whose own signature RAUC checks as well. What ran
// before is a slot's name; that the new slot was booted, and not the old one by the boot loader's
// choice, is read from `rauc status`. Needs the RAUC service (D-Bus), as `rauc install` does.
//
// RAUC makes the slot that it wrote the first one to start as its last act. A device that loses its
// power just then starts the new one, before anybody noted that it is installed: to install again
// would write over the old one, which is what a roll back needs.
#include "client/update_handler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const status_words[] = {"status", "--output-format=shell", NULL};

// ---- status

// KEY='value' at the beginning of a line; the value without its quotes.
static bool shell_value(const char *text, const char *key, char *out, size_t size)
{
	size_t n = strlen(key);
	for (const char *line = text; line != NULL && *line != '\0';
		line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL) {
		if (strncmp(line, key, n) != 0 || line[n] != '=' || line[n + 1] != '\'')
			continue;
		size_t length = strcspn(line + n + 2, "'\n");
		if (length >= size)
			return false;
		memcpy(out, line + n + 2, length);
		out[length] = '\0';
		return true;
	}
	return false;
}

enum err rauc_booted(struct bytes output, char *slot, size_t size)
{
	char slots[2048], key[40], state[40], *save = NULL;
	SCOPED_FREE char *text = malloc(output.size + 1);
	unsigned number = 1;
	if (text == NULL)
		return err_set(ERR_MEMORY, "no memory for a status");
	memcpy(text, output.data, output.size);
	text[output.size] = '\0';
	if (!shell_value(text, "RAUC_SYSTEM_SLOTS", slots, sizeof slots))
		return err_set(ERR_FORMAT, "rauc status names no slots");
	for (char *word = strtok_r(slots, " ", &save); word != NULL;
		word = strtok_r(NULL, " ", &save), number++) {
		(void)snprintf(key, sizeof key, "RAUC_SLOT_STATE_%u", number);
		if (shell_value(text, key, state, sizeof state) && strcmp(state, "booted") == 0)
			return str_copy(slot, size, word)
				       ? ERR_OK
				       : err_set(ERR_RANGE, "the name of a slot is too long");
	}
	return err_set(ERR_FORMAT, "rauc status names no booted slot");
}

// ---- verbs

static enum update_plan rauc_plan(
	const struct update_call *c, unsigned step, struct update_argv *out)
{
	const struct words *rauc = &c->row->program;
	const char *info[] = {"info", c->image, NULL}, *install[] = {"install", c->image, NULL};
	const char *good[] = {"status", "mark-good", NULL};
	const char *back[] = {"status", "mark-active", c->token, NULL};
	switch (c->verb) {
	case UPDATE_PREPARE:
		return step == 0   ? update_program(rauc, out, status_words)
		       : step == 1 ? update_program(rauc, out, info)
				   : PLAN_END;
	case UPDATE_INSTALL:
		return step == 0   ? update_program(rauc, out, status_words)
		       : step == 1 ? update_program(rauc, out, install)
				   : PLAN_END;
	case UPDATE_VERIFY:
		return step == 0 ? update_program(rauc, out, status_words) : PLAN_END;
	case UPDATE_COMMIT:
		return step == 0 ? update_program(rauc, out, good) : PLAN_END;
	case UPDATE_ROLL_BACK:
		return step == 0   ? update_program(rauc, out, back)
		       : step == 1 ? update_program(rauc, out, status_words)
				   : PLAN_END;
	case UPDATE_VERBS:
		break;
	}
	return PLAN_END;
}

static enum err rauc_judge(
	const struct update_call *c, unsigned step, struct bytes output, struct update_said *said)
{
	char slot[UPDATE_TOKEN_MAX + 1];
	bool status = c->verb == UPDATE_VERIFY ||
		      ((c->verb == UPDATE_PREPARE || c->verb == UPDATE_INSTALL) && step == 0) ||
		      (c->verb == UPDATE_ROLL_BACK && step == 1);
	if (!status)
		return ERR_OK;
	TRY(rauc_booted(output, slot, sizeof slot));
	if (c->verb == UPDATE_PREPARE)
		(void)str_copy(said->token, sizeof said->token, slot);
	else if (c->verb == UPDATE_INSTALL)
		said->new_runs = c->tries > 1 && strcmp(slot, c->token) != 0; // begun before
	else
		said->old_runs = strcmp(slot, c->token) == 0;
	return ERR_OK;
}

// Only what reads the bundle can say something against it.
static enum update_verdict rauc_weigh(
	const struct update_call *c, unsigned step, const struct update_end *end)
{
	enum update_verdict v = update_weigh(end);
	bool of_bundle = (c->verb == UPDATE_PREPARE || c->verb == UPDATE_INSTALL) && step == 1;
	bool no_service = c->verb == UPDATE_INSTALL && update_says(end->output, "D-Bus error");
	return v == VERDICT_BAD && (!of_bundle || no_service) ? VERDICT_UNSURE : v;
}

const struct update_handler update_rauc = {
	.word = "rauc",
	.program = "/usr/bin/rauc",
	.suffix = ".raucb",
	.restart = RESTART_REBOOT,
	.plan = rauc_plan,
	.weigh = rauc_weigh,
	.judge = rauc_judge,
};
