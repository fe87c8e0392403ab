// Rows decide, libinih reads.
#include "proto/base/settings.h"
#include "proto/base/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reading {
	const char *file;
	const struct setting *rows;
	size_t count;
	void *out;
	bool *seen;
	enum err error;
};

static enum err number_parse(const struct setting *row, const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno)
		return err_set(
			ERR_FORMAT, "[%s] %s = %s is not a number", row->section, row->key, text);
	if (v < row->min || v > row->max)
		return err_set(ERR_RANGE, "[%s] %s = %s lies outside %llu..%llu", row->section,
			row->key, text, (unsigned long long)row->min, (unsigned long long)row->max);
	*out = v;
	return ERR_OK;
}

static enum err bool_parse(const struct setting *row, const char *text, bool *out)
{
	static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {
									"false", "no", "off"};

	for (size_t i = 0; i < 3; i++) {
		if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
			*out = strcmp(text, yes[i]) == 0;
			return ERR_OK;
		}
	}
	return err_set(
		ERR_FORMAT, "[%s] %s = %s is neither true nor false", row->section, row->key, text);
}

static bool word_is_one_of(const char *words, const char *text)
{
	size_t n = strlen(text);

	for (const char *p = words; p; p = strchr(p, '|')) {
		if (*p == '|')
			p++;
		if (strncmp(p, text, n) == 0 && n > 0 && (p[n] == '|' || p[n] == '\0'))
			return true;
	}
	return false;
}

static enum err string_store(
	const struct setting *row, const char *text, const char *file, char *to)
{
	char path[PATH_MAX];
	const char *slash = strrchr(file, '/');

	if (strlen(text) < row->min)
		return err_set(ERR_RANGE, "[%s] %s must not be empty", row->section, row->key);
	if (row->type == SETTING_PATH && *text && *text != '/' && slash) {
		int n = snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - file), file, text);

		if (n < 0 || (size_t)n >= sizeof(path))
			return err_set(ERR_RANGE, "[%s] %s is too long", row->section, row->key);
		text = path;
	}
	if (!str_copy(to, row->size, text))
		return err_set(ERR_RANGE, "[%s] %s is longer than %zu characters", row->section,
			row->key, row->size - 1);
	return ERR_OK;
}

static enum err list_add(struct setting_list *list, const char *text)
{
	if (list->count >= 1000)
		return err_set(ERR_FULL, "more than 1000 values for one key");
	char **items = realloc(list->items, (list->count + 1) * sizeof(*items));
	if (!items)
		return err_set(ERR_MEMORY, "no memory for settings");
	list->items = items;
	items[list->count] = strdup(text);
	if (!items[list->count])
		return err_set(ERR_MEMORY, "no memory for settings");
	list->count++;
	return ERR_OK;
}

static enum err value_store(
	const struct setting *row, const char *text, const char *file, void *out)
{
	void *to = (char *)out + row->offset;
	uint64_t number;

	switch (row->type) {
	case SETTING_STRING:
	case SETTING_PATH:
		return string_store(row, text, file, to);
	case SETTING_WORD:
		if (!word_is_one_of(row->words, text))
			return err_set(ERR_RANGE, "[%s] %s = %s is not one of %s", row->section,
				row->key, text, row->words);
		return string_store(row, text, file, to);
	case SETTING_U32:
		TRY(number_parse(row, text, &number));
		*(uint32_t *)to = (uint32_t)number;
		return ERR_OK;
	case SETTING_U64:
		TRY(number_parse(row, text, &number));
		*(uint64_t *)to = number;
		return ERR_OK;
	case SETTING_BOOL:
		return bool_parse(row, text, to);
	case SETTING_LIST:
		return list_add(to, text);
	}
	return err_set(ERR_RANGE, "[%s] %s has a row without a type", row->section, row->key);
}

// Called by libinih for each pair; 0 stops with the line number.
static int pair_take(void *user, const char *section, const char *key, const char *value)
{
	struct reading *r = user;

	if (r->error != ERR_OK)
		return 0; // libinih goes on; the first error is the one that is told
	for (size_t i = 0; i < r->count; i++) {
		const struct setting *row = &r->rows[i];

		if (strcmp(row->section, section) != 0 || strcmp(row->key, key) != 0)
			continue;
		if (r->seen[i] && row->type != SETTING_LIST) {
			r->error = err_set(ERR_EXISTS, "[%s] %s is given twice", section, key);
			return 0;
		}
		r->seen[i] = true;
		r->error = value_store(row, value, r->file, r->out);
		return r->error == ERR_OK;
	}
	r->error = err_set(ERR_FORMAT, "[%s] %s is not a setting of this program", section, key);
	return 0;
}

static enum err defaults_store(struct reading *r)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct setting *row = &r->rows[i];

		if (row->def && row->type != SETTING_LIST)
			TRY(value_store(row, row->def, r->file, r->out));
	}
	return ERR_OK;
}

static enum err required_check(const struct reading *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (!r->rows[i].def && !r->seen[i])
			return err_set(ERR_NOT_FOUND, "%s: [%s] %s is missing (%s)", r->file,
				r->rows[i].section, r->rows[i].key, r->rows[i].help);
	}
	return ERR_OK;
}

// ---- places

struct place {
	char section[64], key[64];
	int line, count;
};

// libinih does not tell lines, so the section and the key are looked for once more.
static void place_look(const char *file, struct place *p)
{
	FILE *f = fopen(file, "re");
	SCOPED_FREE char *line = NULL;
	size_t room = 0, length = strlen(p->key);
	char section[64] = "";

	for (int number = 1; f && getline(&line, &room, f) > 0; number++) {
		const char *at = line + strspn(line, " \t");

		if (*at == '[') {
			if (sscanf(at, "[%63[^]]]", section) != 1)
				section[0] = '\0';
		} else if (strcmp(section, p->section) == 0 && strncmp(at, p->key, length) == 0) {
			at += length;
			at += strspn(at, " \t");
			if (*at == '=' || *at == ':') {
				p->line = number;
				p->count++;
			}
		}
	}
	if (f)
		fclose(f);
}

// Where err_text() begins with a setting that stands in the file once, its line; else `line`; 0:
// none.
static enum err place_tell(const char *file, int line, enum err e)
{
	struct place p = {.line = 0};
	char why[512];

	text_format(why, sizeof(why), "%s", err_text());
	if (sscanf(why, "[%63[^]]] %63[A-Za-z0-9_]", p.section, p.key) == 2)
		place_look(file, &p);
	if (p.count == 1)
		line = p.line;
	if (line > 0)
		return err_set(e, "%s:%d: %s", file, line, why);
	return err_set(e, "%s: %s", file, why);
}

enum err settings_read(const char *file, const struct setting *rows, size_t count, void *out)
{
	SCOPED_FREE bool *seen = calloc(count ? count : 1, sizeof(bool));
	char absolute[PATH_MAX];

	if (!seen)
		return err_set(ERR_MEMORY, "no memory for settings");
	if (!realpath(file, absolute))
		return err_set_errno("cannot read the settings %s", file);
	struct reading r = {
		.file = absolute, .rows = rows, .count = count, .out = out, .seen = seen};
	TRY(defaults_store(&r));
	int line = ini_parse(absolute, pair_take, &r);
	if (line < 0)
		return err_set_errno("cannot read the settings %s", file);
	if (line > 0 && r.error == ERR_OK)
		return err_set(ERR_FORMAT, "%s:%d: not a section, a pair or a comment", file, line);
	if (line > 0)
		return place_tell(file, line, r.error);
	return required_check(&r);
}

// ---- checks

enum err setting_blame(const char *section, const char *key, enum err e)
{
	char why[512];

	if (e == ERR_OK)
		return ERR_OK;
	text_format(why, sizeof(why), "%s", err_text());
	return err_set(e, "[%s] %s: %s", section, key, why);
}

enum err setting_file_check(const char *section, const char *key, const char *path, bool secret)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (!*path)
		return err_set(ERR_RANGE, "[%s] %s is missing", section, key);
	if (fd < 0)
		return err_set_errno("[%s] %s: cannot open %s", section, key, path);
	if (fstat(fd, &st) < 0)
		return err_set_errno("[%s] %s: cannot look at %s", section, key, path);
	if (!S_ISREG(st.st_mode))
		return err_set(ERR_FORMAT, "[%s] %s: %s is not a file", section, key, path);
	if (secret && (st.st_mode & 077))
		return err_set(ERR_DENIED, "[%s] %s: %s can be read by others: chmod 600 %s",
			section, key, path, path);
	return ERR_OK;
}

enum err settings_place(const char *file, enum err e)
{
	return e == ERR_OK ? ERR_OK : place_tell(file, 0, e);
}

void settings_fini(const struct setting *rows, size_t count, void *settings)
{
	for (size_t i = 0; i < count; i++) {
		if (rows[i].type != SETTING_LIST)
			continue;
		struct setting_list *list =
			(struct setting_list *)(void *)((char *)settings + rows[i].offset);

		for (size_t k = 0; k < list->count; k++)
			free(list->items[k]);
		free(list->items);
		*list = (struct setting_list){NULL, 0};
	}
}

static void row_explain(const struct setting *row, FILE *to)
{
	fprintf(to, "  %-22s %s", row->key, row->help);
	if (row->type == SETTING_U32 || row->type == SETTING_U64)
		fprintf(to, " [%llu..%llu]", (unsigned long long)row->min,
			(unsigned long long)row->max);
	if (row->type == SETTING_WORD)
		fprintf(to, " [%s]", row->words);
	if (row->type == SETTING_LIST)
		fprintf(to, " (may be repeated)");
	else if (!row->def)
		fprintf(to, " (must be given)");
	else if (*row->def)
		fprintf(to, " (default %s)", row->def);
	fputc('\n', to);
}

void settings_explain(const struct setting *rows, size_t count, FILE *to)
{
	const char *section = "";

	for (size_t i = 0; i < count; i++) {
		if (strcmp(section, rows[i].section) != 0)
			fprintf(to, "[%s]\n", rows[i].section);
		section = rows[i].section;
		row_explain(&rows[i], to);
	}
}
