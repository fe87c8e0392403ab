// See update_rows.h.
#include "client/update_rows.h"

#include "client/update_handler.h"
#include "proto/base/zone.h"

#include <string.h>

// Cuts the first word off a copy of the line; the rest follows, without leading blanks.
static enum err line_cut(
	const char *key, const char *line, char word[AGENT_NAME_MAX + 1], const char **rest)
{
	size_t length = strcspn(line, " \t");
	if (length == 0 || length > AGENT_NAME_MAX)
		return err_set(ERR_FORMAT, "[update] %s begins with the name of software", key);
	memcpy(word, line, length);
	word[length] = '\0';
	*rest = line + length + strspn(line + length, " \t");
	return ERR_OK;
}

static struct update_row *row_find(struct update_table *t, const char *name)
{
	for (size_t i = 0; i < t->count; i++) {
		if (strcmp(t->rows[i].name, name) == 0)
			return &t->rows[i];
	}
	return NULL;
}

const struct update_row *update_row_find(const struct update_table *t, const char *name)
{
	for (size_t i = 0; i < t->count; i++) {
		if (strcmp(t->rows[i].name, name) == 0)
			return &t->rows[i];
	}
	return NULL;
}

const struct update_row *update_row_self(const struct update_table *t)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->rows[i].restart == RESTART_EXEC || t->rows[i].restart == RESTART_EXIT)
			return &t->rows[i];
	}
	return NULL;
}

// ---- handler

static enum err handler_parse(struct update_table *t, const char *line)
{
	char name[AGENT_NAME_MAX + 1], word[AGENT_NAME_MAX + 1];
	const char *rest;
	TRY(line_cut("handler", line, name, &rest));
	if (row_find(t, name) != NULL)
		return err_set(ERR_FORMAT, "[update] handler: %s has two", name);
	if (t->count == UPDATES_MAX)
		return err_set(ERR_FULL, "[update] handler: more than %d", UPDATES_MAX);
	TRY(line_cut("handler", rest, word, &rest));
	struct update_row *row = &t->rows[t->count];
	*row = (struct update_row){.handler = update_handler_find(word)};
	(void)str_copy(row->name, sizeof row->name, name);
	if (row->handler == NULL)
		return err_set(ERR_FORMAT,
			"[update] handler: %s is none of symlink, rauc, swupdate, script", word);
	if (row->handler->takes_root) {
		if (rest[0] != '/' || strpbrk(rest, " \t") != NULL ||
			!str_copy(row->root, sizeof row->root, rest))
			return err_set(
				ERR_FORMAT, "[update] handler: %s %s wants /ROOT", name, word);
	} else {
		const char *program = rest[0] != '\0' ? rest : row->handler->program;
		if (program == NULL || words_split(&row->program, program) != ERR_OK)
			return err_set(ERR_FORMAT, "[update] handler: %s %s wants /PATH ARG...",
				name, word);
	}
	row->restart = row->handler->restart;
	t->count++;
	return ERR_OK;
}

static enum err handlers_parse(struct update_table *t, const struct setting_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		TRY(handler_parse(t, list->items[i]));
	return ERR_OK;
}

// ---- the other rows

static enum err restart_parse(struct update_row *row, const char *rest)
{
	static const char *const words[] = {[RESTART_NONE] = "none",
		[RESTART_EXEC] = "exec",
		[RESTART_EXIT] = "exit",
		[RESTART_REBOOT] = "reboot"};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(rest, words[i]) != 0)
			continue;
		row->restart = (enum update_restart)i;
		return ERR_OK;
	}
	row->restart = RESTART_PROGRAM;
	if (words_split(&row->restart_program, rest) != ERR_OK)
		return err_set(ERR_FORMAT,
			"[update] restart: %s wants none, exec, exit, reboot or /PATH ARG...",
			row->name);
	return ERR_OK;
}

static enum err check_parse(struct update_row *row, const char *rest)
{
	return words_split(&row->check, rest);
}

static enum err commit_parse(struct update_row *row, const char *rest)
{
	return words_split(&row->commit, rest);
}

static enum err rollback_parse(struct update_row *row, const char *rest)
{
	return words_split(&row->rollback, rest);
}

static enum err window_parse(struct update_row *row, const char *rest)
{
	int32_t offset_s;
	TRY(update_window_parse(rest, &row->window));
	return zone_offset(row->window.zone, 0, &offset_s);
}

static enum err rows_parse(struct update_table *t, const char *key, const struct setting_list *list,
	enum err (*parse)(struct update_row *row, const char *rest))
{
	for (size_t i = 0; i < list->count; i++) {
		char name[AGENT_NAME_MAX + 1], why[LIMIT_TEXT];
		const char *rest;
		bool any = false;
		TRY(line_cut(key, list->items[i], name, &rest));
		for (size_t k = 0; k < t->count; k++) {
			if (strcmp(name, t->rows[k].name) != 0 && strcmp(name, "*") != 0)
				continue;
			any = true;
			enum err e = parse(&t->rows[k], rest);
			if (e != ERR_OK && !str_copy(why, sizeof why, err_text()))
				why[0] = '\0';
			if (e != ERR_OK)
				return why[0] == '[' ? e : err_set(e, "[update] %s: %s", key, why);
		}
		if (!any)
			return err_set(ERR_FORMAT, "[update] %s: %s has no handler", key, name);
	}
	return ERR_OK;
}

static enum err table_check(const struct update_table *t)
{
	size_t selves = 0;
	for (size_t i = 0; i < t->count; i++) {
		const struct update_row *row = &t->rows[i];
		bool self = row->restart == RESTART_EXEC || row->restart == RESTART_EXIT;
		selves += self ? 1 : 0;
		if (self && !row->handler->takes_root)
			return err_set(ERR_FORMAT,
				"[update] restart: %s is this agent, which is updated by symlink",
				row->name);
		if (row->handler->wants_rollback && row->rollback.argc == 0)
			return err_set(ERR_FORMAT,
				"[update] rollback: %s has none, and %s cannot go back by itself",
				row->name, row->handler->word);
	}
	return selves <= 1 ? ERR_OK
			   : err_set(ERR_FORMAT, "[update] restart: only one can be this agent");
}

enum err update_table_parse(const struct agent_settings *s, struct update_table *out)
{
	*out = (struct update_table){0};
	TRY(handlers_parse(out, &s->update_handlers));
	TRY(rows_parse(out, "restart", &s->update_restarts, restart_parse));
	TRY(rows_parse(out, "check", &s->update_checks, check_parse));
	TRY(rows_parse(out, "commit", &s->update_commits, commit_parse));
	TRY(rows_parse(out, "rollback", &s->update_rollbacks, rollback_parse));
	TRY(rows_parse(out, "window", &s->update_windows, window_parse));
	return table_check(out);
}
