// The agent's settings; see settings.h.
#include "client/settings.h"

#include "client/command_table.h"
#include "client/update_rows.h"
#include "proto/topics.h"

#include <stdlib.h>
#include <string.h>

#define AT(field) SETTING_AT(struct agent_settings, field)

static const struct setting rows[] = {
	FLEET_ROWS(struct agent_settings, fleet, "client", "identity key"),
	{"control", "keepalive_s", SETTING_U32, AT(control_keepalive_s), 5, 3600, "60", NULL,
		"MQTT keep-alive"},
	{"control", "connect_timeout_s", SETTING_U32, AT(connect_timeout_s), 3, 120, "10", NULL,
		"how long one address is tried"},
	{"control", "backoff_min_ms", SETTING_U32, AT(backoff_min_ms), 100, 60000, "1000", NULL,
		"first wait after every address failed; full jitter, doubled each time"},
	{"control", "backoff_max_ms", SETTING_U32, AT(backoff_max_ms), 100, 3600000, "60000", NULL,
		"longest wait"},
	{"agent", "state_dir", SETTING_PATH, AT(state_dir), 1, 0, "/var/lib/heliograph", NULL,
		"state, packages, staging, slots and the folder shared with the display"},
	{"agent", "interval_ms", SETTING_U32, AT(interval_ms), 200, 86400000, "5000", NULL,
		"heartbeat interval until the server says otherwise"},
	{"agent", "response_max_age_ms", SETTING_U32, AT(response_max_age_ms), 1000, 86400000,
		"60000", NULL, "an answer to an older heartbeat is refused"},
	{"agent", "window_kib", SETTING_U32, AT(window_kib), 256, 65536, "1536", NULL,
		"bytes on the way while fetching: speed on long lines against memory"},
	{"agent", "seed", SETTING_LIST, AT(seeds), 0, 0, "", NULL,
		"a folder or file that no package installed and that may hold parts of one: the "
		"software that the device was made with; repeated"},
	{"agent", "reserve_bytes", SETTING_U64, AT(reserve_bytes), 0, UINT64_MAX / 2, "16777216",
		NULL, "of the disk that are never filled"},
	{"agent", "hw_class", SETTING_STRING, AT(hw_class), 0, 0, "", NULL,
		"hardware class; software for another one is refused"},
	{"agent", "product", SETTING_STRING, AT(product), 0, 0, "", NULL,
		"product; a package for another one is refused"},
	{"agent", "report_to", SETTING_LIST, AT(report_hosts), 0, 0, "", NULL,
		"HOST or HOST:PORT of a data broker that a report may be sent to; repeated"},
	{"agent", "reboot", SETTING_STRING, AT(reboot), 1, 0, "/usr/bin/systemctl reboot", NULL,
		"/PATH ARG... that reboots the device; no shell"},
	{"agent", "reboot_check", SETTING_STRING, AT(reboot_check), 0, 0, "", NULL,
		"/PATH ARG... that is asked before a reboot: any exit but 0 defers it; so does the "
		"file display/defer in state_dir"},
	{"agent", "reboot_defer_max_s", SETTING_U32, AT(reboot_defer_max_s), 0, 43200, "3600", NULL,
		"after this a reboot is deferred no longer"},
	{"agent", "reboot_wait_s", SETTING_U32, AT(reboot_wait_s), 1, 86400, "300", NULL,
		"a reboot that has not happened so long after its order has failed"},
	{"agent", "medium_dir", SETTING_PATH, AT(medium_dir), 0, 0, "", NULL,
		"folder below which sticks and discs are mounted, such as /media: what is mounted "
		"there is imported by itself; empty: only by helio-agent import"},
	{"agent", "box_key", SETTING_PATH, AT(box_key), 0, 0, "", NULL,
		"X25519 key of the enrolment, for encrypted packages on a medium; empty: box.key "
		"beside the identity key"},
	{"agent", "inventory", SETTING_BOOL, AT(inventory), 0, 1, "false", NULL,
		"the software report lists every package of the system (dpkg-query)"},
	{"logs", "unit", SETTING_LIST, AT(log_units), 0, 0, "", NULL,
		"NAME file /PATH, NAME journal UNIT or NAME run /PATH ARG... : a log the operator "
		"may "
		"ask for; the agent's own is always there as agent; no shell; repeated"},
	{"logs", "journal", SETTING_STRING, AT(journal), 1, 0, "/usr/bin/journalctl", NULL,
		"/PATH ARG... that reads the journal, for NAME journal UNIT; no shell"},
	{"commands", "run", SETTING_LIST, AT(commands), 0, 0, "", NULL,
		"NAME TIMEOUT_S /PATH ARG... : a command the operator may ask for; a last word ... "
		"lets the "
		"operator's arguments follow; no shell; repeated"},
	{"commands", "outputs_kept", SETTING_U32, AT(outputs_kept), 0, OUTPUT_SHELF_MAX, "8", NULL,
		"of so many of the last commands the whole output is kept for who asks"},
	{"commands", "output_max_bytes", SETTING_U32, AT(output_max_bytes), 0, LIMIT_REPORT_BYTES,
		"1048576", NULL, "of one of them, at most so much"},
	{"update", "handler", SETTING_LIST, AT(update_handlers), 0, 0, "", NULL,
		"NAME symlink /ROOT, NAME rauc [/PATH ARG...], NAME swupdate [/PATH ARG...] or "
		"NAME "
		"script /PATH ARG...: what installs software of this name; repeated"},
	{"update", "restart", SETTING_LIST, AT(update_restarts), 0, 0, "", NULL,
		"NAME none, exec, exit, reboot or /PATH ARG...: what starts it anew; exec and "
		"exit: "
		"it is this agent; repeated"},
	{"update", "check", SETTING_LIST, AT(update_checks), 0, 0, "", NULL,
		"NAME /PATH ARG...: says with 0 that the new one is well; repeated"},
	{"update", "commit", SETTING_LIST, AT(update_commits), 0, 0, "", NULL,
		"NAME /PATH ARG...: for swupdate, makes the boot loader keep what runs; repeated"},
	{"update", "rollback", SETTING_LIST, AT(update_rollbacks), 0, 0, "", NULL,
		"NAME /PATH ARG...: for swupdate, makes it start what ran before; repeated"},
	{"update", "window", SETTING_LIST, AT(update_windows), 0, 0, "", NULL,
		"NAME HH:MM-HH:MM [ZONE], or * for all: installed only then; repeated"},
	{"update", "trial_beats", SETTING_U32, AT(update_trial_beats), 1, 1000, "3", NULL,
		"answered heartbeats that the new one needs"},
	{"update", "trial_s", SETTING_U32, AT(update_trial_s), 1, 86400, "300", NULL,
		"within this time, else it is rolled back"},
	{"update", "trial_starts", SETTING_U32, AT(update_trial_starts), 1, 20, "3", NULL,
		"starts that it may need for that"},
	{"update", "install_tries", SETTING_U32, AT(update_install_tries), 1, 20, "3", NULL,
		"beginnings of an installation that is cut again and again"},
	{"update", "penalty_s", SETTING_U32, AT(update_penalty_s), 1, 31536000, "86400", NULL,
		"what failed is not tried again so long; doubled with each failure"},
	{"update", "attempts", SETTING_U32, AT(update_attempts), 1, 100, "3", NULL,
		"after so many failures not before an operator allows it"},
	{"update", "timeout_s", SETTING_U32, AT(update_timeout_s), 1, 86400, "1800", NULL,
		"longest time of one program of a handler"},
	{"test", "dump_session_key", SETTING_PATH, AT(dump_session_key), 0, 0, "", NULL,
		"tests alone, with HELIO_TEST=1: file for the session's MAC keys"},
	{"test", "boot_id_file", SETTING_PATH, AT(boot_id_file), 0, 0, "", NULL,
		"tests alone, with HELIO_TEST=1: instead of the kernel's boot id"},
};

const struct setting *agent_setting_rows(size_t *count)
{
	*count = sizeof rows / sizeof rows[0];
	return rows;
}

// ---- commands

// Cuts the next word off, in place; NULL at the end.
static char *next_word(char **cursor)
{
	char *word = *cursor + strspn(*cursor, " \t");
	if (*word == '\0')
		return NULL;
	char *end = word + strcspn(word, " \t");
	*cursor = *end == '\0' ? end : end + 1;
	*end = '\0';
	return word;
}

enum err words_split(struct words *w, const char *line)
{
	*w = (struct words){0};
	if (!str_copy(w->text, sizeof w->text, line))
		return err_set(ERR_RANGE, "a program's line is too long");
	char *cursor = w->text;
	for (char *word; (word = next_word(&cursor)) != NULL;) {
		if (w->argc == AGENT_COMMAND_ARGS)
			return err_set(
				ERR_RANGE, "a program has more than %d words", AGENT_COMMAND_ARGS);
		w->argv[w->argc++] = word;
	}
	if (w->argc == 0 || w->argv[0][0] != '/')
		return err_set(ERR_FORMAT, "a program is named by its absolute path");
	return ERR_OK;
}

static enum err command_words(struct named_command *c, char *cursor)
{
	size_t count = 0;
	for (char *word; (word = next_word(&cursor)) != NULL;) {
		if (count == 0) {
			c->name = word;
		} else if (count == 1) {
			char *end;
			unsigned long seconds = strtoul(word, &end, 10);
			if (*end != '\0' || seconds < 1 || seconds > 86400)
				return err_set(ERR_RANGE,
					"[commands] run: the timeout is 1 to 86400 seconds");
			c->timeout_ms = (uint32_t)seconds * 1000;
		} else if (c->argc == AGENT_COMMAND_ARGS) {
			return err_set(ERR_RANGE, "[commands] run: more than %d words",
				AGENT_COMMAND_ARGS);
		} else {
			c->argv[c->argc++] = word;
		}
		count++;
	}
	if (c->argc == 0)
		return err_set(ERR_FORMAT, "[commands] run wants NAME TIMEOUT_S /PATH ARG...");
	return ERR_OK;
}

enum err named_command_parse(const char *line, struct named_command *out)
{
	*out = (struct named_command){.line = strdup(line)};
	if (out->line == NULL)
		return err_set(ERR_MEMORY, "no memory for a command");
	TRY(command_words(out, out->line));
	if (!id_is_valid(out->name) || command_row_find(out->name) != NULL)
		return err_set(ERR_FORMAT, "[commands] run: %s cannot be the name of a command",
			out->name);
	if (out->argv[0][0] != '/')
		return err_set(ERR_FORMAT, "[commands] run: the program of %s is no absolute path",
			out->name);
	if (strcmp(out->argv[out->argc - 1], "...") == 0) {
		out->takes_args = true;
		out->argv[--out->argc] = NULL;
	}
	if (out->argc == 0)
		return err_set(ERR_FORMAT, "[commands] run: %s names no program", out->name);
	return ERR_OK;
}

void named_command_fini(struct named_command *c)
{
	free(c->line);
	c->line = NULL;
}

// ---- logs

enum err log_source_parse(const char *line, struct log_source *out)
{
	static const char *const kinds[] = {
		[LOG_FILE] = "file", [LOG_JOURNAL] = "journal", [LOG_RUN] = "run"};
	char copy[700], *cursor = copy;
	*out = (struct log_source){0};
	if (!str_copy(copy, sizeof copy, line))
		return err_set(ERR_RANGE, "[logs] unit: a line is too long");
	const char *name = next_word(&cursor), *kind = next_word(&cursor);
	cursor += strspn(cursor, " \t");
	size_t k = 0;
	while (kind != NULL && k < 3 && strcmp(kinds[k], kind) != 0)
		k++;
	if (name == NULL || kind == NULL || k == 3 || *cursor == '\0')
		return err_set(ERR_FORMAT,
			"[logs] unit wants NAME file /PATH, NAME journal UNIT or NAME run /PATH "
			"ARG...");
	if (!id_is_valid(name) || strcmp(name, "agent") == 0 ||
		!str_copy(out->name, sizeof out->name, name))
		return err_set(ERR_FORMAT, "[logs] unit: %s cannot be the name of a log", name);
	out->kind = (enum log_source_kind)k;
	if (!str_copy(out->text, sizeof out->text, cursor))
		return err_set(ERR_RANGE, "[logs] unit: a line is too long");
	if (out->kind != LOG_JOURNAL && out->text[0] != '/')
		return err_set(ERR_FORMAT, "[logs] unit: %s is no absolute path", out->text);
	if (out->kind == LOG_JOURNAL && (out->text[0] == '-' || strpbrk(out->text, " \t") != NULL))
		return err_set(ERR_FORMAT, "[logs] unit: %s is no unit of the journal", out->text);
	return ERR_OK;
}

// ---- check

static enum err logs_check(const struct setting_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct log_source source;
		struct words words;
		TRY(log_source_parse(list->items[i], &source));
		if (source.kind == LOG_RUN)
			TRY(words_split(&words, source.text));
	}
	return ERR_OK;
}

static enum err commands_check(const struct setting_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct named_command c;
		enum err e = named_command_parse(list->items[i], &c);
		named_command_fini(&c);
		TRY(e);
	}
	return ERR_OK;
}

static enum err updates_check(const struct agent_settings *s)
{
	SCOPED_FREE struct update_table *table = malloc(sizeof *table);
	return table != NULL ? update_table_parse(s, table)
			     : err_set(ERR_MEMORY, "no memory for the updates' settings");
}

enum err agent_settings_check(const void *settings)
{
	const struct agent_settings *s = settings;
	TRY(fleet_settings_check(&s->fleet, false));
	const char *test = getenv("HELIO_TEST");
	bool tested = test != NULL && strcmp(test, "1") == 0;
	if (!tested && (s->dump_session_key[0] != '\0' || s->boot_id_file[0] != '\0'))
		return err_set(ERR_DENIED, "[test] dump_session_key and boot_id_file are refused "
					   "without HELIO_TEST=1");
	struct words words;
	TRY(words_split(&words, s->reboot));
	TRY(words_split(&words, s->journal));
	if (s->reboot_check[0] != '\0')
		TRY(words_split(&words, s->reboot_check));
	TRY(logs_check(&s->log_units));
	TRY(updates_check(s));
	return commands_check(&s->commands);
}
