// The derived variables stand in one table here and in broker-conf/blocks.yml for Ansible.
#include "server/ctl/broker_conf.h"

#include "proto/base/file.h"
#include "proto/topics.h"
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- where templates come from

static enum err source_read(const struct broker_conf *b, const char *name, struct buf *out)
{
	char path[PATH_MAX];

	if (b->folder) {
		TRY(path_join(path, sizeof(path), b->folder, name));
		return file_read(path, out);
	}
	for (size_t i = 0; i < broker_template_count; i++) {
		if (strcmp(broker_templates[i].name, name) == 0) {
			buf_clear(out);
			return buf_append(out, broker_templates[i].data, broker_templates[i].size);
		}
	}
	return err_set(ERR_NOT_FOUND, "there is no template %s", name);
}

// ---- substitution

static enum err placeholder_fill(struct bytes text, size_t *at,
	const char *(*find)(void *ctx, const char *name), void *ctx, struct buf *out)
{
	const char *s = (const char *)text.data;
	char name[64];
	size_t i = *at + 2, n = 0;

	while (i < text.size && s[i] == ' ')
		i++;
	while (i < text.size && n + 1 < sizeof(name) &&
		(isalnum((unsigned char)s[i]) || s[i] == '_'))
		name[n++] = s[i++];
	name[n] = '\0';
	while (i < text.size && s[i] == ' ')
		i++;
	if (n == 0 || i + 2 > text.size || s[i] != '}' || s[i + 1] != '}')
		return err_set(ERR_UNSUPPORTED,
			"a template has more than plain {{ name }} at byte %zu", *at);
	const char *value = find(ctx, name);
	if (!value)
		return err_set(
			ERR_NOT_FOUND, "a template names %s, and there is no such variable", name);
	*at = i + 2;
	return buf_append(out, value, strlen(value));
}

enum err template_fill(struct bytes text, const char *(*find)(void *ctx, const char *name),
	void *ctx, struct buf *out)
{
	for (size_t i = 0; i < text.size;) {
		const char *s = (const char *)text.data + i;

		if (s[0] != '{' || i + 1 >= text.size ||
			(s[1] != '{' && s[1] != '%' && s[1] != '#')) {
			TRY(buf_append(out, s, 1));
			i++;
			continue;
		}
		if (s[1] != '{')
			return err_set(ERR_UNSUPPORTED,
				"a template has more than plain {{ name }} at byte %zu", i);
		TRY(placeholder_fill(text, &i, find, ctx, out));
	}
	return ERR_OK;
}

static const char *variable_find(void *ctx, const char *name)
{
	const struct broker_conf *b = ctx;

	for (size_t i = 0; i < b->count; i++) {
		if (strcmp(b->variables[i].name, name) == 0)
			return b->variables[i].value;
	}
	return NULL;
}

const char *broker_conf_get(const struct broker_conf *b, const char *name)
{
	return variable_find((void *)(uintptr_t)b, name);
}

static enum err variable_store(
	struct broker_conf *b, const char *name, const char *value, size_t n, const char *meaning)
{
	struct broker_variable *v = NULL;

	for (size_t i = 0; i < b->count && !v; i++)
		v = strcmp(b->variables[i].name, name) == 0 ? &b->variables[i] : NULL;
	if (!v && b->count == BROKER_VARIABLES_MAX)
		return err_set(ERR_FULL, "more than %d variables", BROKER_VARIABLES_MAX);
	char *copy = strndup(value, n);
	if (!copy)
		return err_set(ERR_MEMORY, "no memory for variables");
	if (!v) {
		v = &b->variables[b->count++];
		str_copy(v->name, sizeof(v->name), name);
	}
	free(v->value);
	v->value = copy;
	if (meaning && *meaning) {
		free(v->meaning);
		v->meaning = strdup(meaning);
	}
	return ERR_OK;
}

// ---- defaults: comments, blank lines, and  name: "value"

static enum err defaults_line(struct broker_conf *b, const char *file, int number, char *line,
	char *meaning, size_t meaning_size)
{
	char name[64];
	size_t n = strcspn(line, ":"), have = strlen(meaning);

	if (line[0] == '#') {
		snprintf(meaning + have, meaning_size - have, "%s%s", have ? " " : "",
			line + strspn(line, "# "));
		return ERR_OK;
	}
	if (line[0] == '\0') {
		meaning[0] = '\0';
		return ERR_OK;
	}
	size_t size = strlen(line);
	if (n == 0 || n >= sizeof(name) ||
		strspn(line, "abcdefghijklmnopqrstuvwxyz_0123456789") != n || size < n + 4 ||
		memcmp(line + n, ": \"", 3) != 0 || line[size - 1] != '"')
		return err_set(ERR_FORMAT, "%s:%d: not `name: \"value\"`", file, number);
	memcpy(name, line, n);
	name[n] = '\0';
	TRY(variable_store(b, name, line + n + 3, size - n - 4, meaning));
	meaning[0] = '\0';
	return ERR_OK;
}

static enum err defaults_read(struct broker_conf *b, const char *file)
{
	SCOPED_BUF struct buf text;
	char meaning[1024] = "";
	int number = 0;

	buf_init(&text, 64 * 1024);
	TRY(source_read(b, file, &text));
	TRY(buf_append(&text, "", 1));
	for (char *line = (char *)text.data, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		TRY(defaults_line(b, file, ++number, line, meaning, sizeof(meaning)));
	}
	return ERR_OK;
}

enum err broker_conf_open(struct broker_conf *b, const char *kind, const char *folder)
{
	static const char *const kinds[] = {"control", "data", "test"};
	char file[64];
	bool known = false;

	*b = (struct broker_conf){.folder = folder};
	for (size_t i = 0; i < 3; i++)
		known = known || strcmp(kinds[i], kind) == 0;
	if (!known)
		return err_set(ERR_NOT_FOUND, "a broker is control, data or test, not %.40s", kind);
	str_copy(b->kind, sizeof(b->kind), kind);
	snprintf(file, sizeof(file), "defaults-%s.yml", b->kind);
	TRY(defaults_read(b, "defaults.yml"));
	return defaults_read(b, file);
}

void broker_conf_close(struct broker_conf *b)
{
	for (size_t i = 0; i < b->count; i++) {
		free(b->variables[i].value);
		free(b->variables[i].meaning);
	}
	b->count = 0;
}

// ---- setting

// Calls take() for each word of a list. Errors: those of take, ERR_RANGE for a word too long.
static enum err words_each(
	const char *list, enum err (*take)(void *ctx, const char *word), void *ctx)
{
	char word[256];

	for (const char *p = list + strspn(list, " "); *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		if (n >= sizeof(word))
			return err_set(ERR_RANGE, "a word of a list is longer than %zu characters",
				sizeof(word) - 1);
		memcpy(word, p, n);
		word[n] = '\0';
		TRY(take(ctx, word));
		p += n;
	}
	return ERR_OK;
}

static enum err id_take(void *ctx, const char *word)
{
	(void)ctx;
	if (!id_is_valid(word))
		return err_set(ERR_FORMAT, "%s is not an id ([A-Za-z0-9._-], at most 64)", word);
	return ERR_OK;
}

enum err broker_conf_set(struct broker_conf *b, const char *name, const char *value)
{
	static const char *const id_lists[] = {
		"servers", "publishers", "operators", "readers", "watchers"};

	if (strcmp(name, "kind") == 0 || !broker_conf_get(b, name))
		return err_set(ERR_NOT_FOUND, "a %s broker has no variable %.63s", b->kind, name);
	for (const char *p = value; *p; p++) {
		// A line break would make a line of its own in the file; braces, a template.
		if ((unsigned char)*p < ' ' || *p == 0x7f || *p == '{' || *p == '}')
			return err_set(ERR_FORMAT,
				"the value of %s has a character that cannot stand in a line",
				name);
	}
	for (size_t i = 0; i < sizeof(id_lists) / sizeof(id_lists[0]); i++) {
		if (strcmp(id_lists[i], name) == 0)
			TRY(words_each(value, id_take, NULL));
	}
	return variable_store(b, name, value, strlen(value), NULL);
}

// ---- rendering

struct block_fill {
	struct broker_conf *b;
	const char *file, *word_name;
	const char *word;
	struct buf *out;
};

static const char *block_find(void *ctx, const char *name)
{
	const struct block_fill *f = ctx;

	if (strcmp(name, f->word_name) == 0)
		return f->word;
	return broker_conf_get(f->b, name);
}

static enum err block_take(void *ctx, const char *word)
{
	struct block_fill *f = ctx;
	SCOPED_BUF struct buf text;

	buf_init(&text, 64 * 1024);
	TRY(source_read(f->b, f->file, &text));
	f->word = word;
	return template_fill(buf_bytes(&text), block_find, f, f->out);
}

static const struct block_row {
	const char *variable, *file, *words, *word_name; // file: %s is the kind of broker
} block_rows[] = {
	{"crl_line", "blocks/crl.j2", "crl_file", "crl_file"},
	{"listeners", "blocks/listener.j2", "binds", "bind"},
	{"log_lines", "blocks/log-type.j2", "log_types", "log_type"},
	{"shelf_lines", "blocks/shelf.j2", "shelf_plugin", "shelf_plugin"},
	{"acl_users", "blocks/acl-%s-server.j2", "servers", "id"},
	{"acl_users", "blocks/acl-%s-publisher.j2", "publishers", "id"},
	{"acl_users", "blocks/acl-%s-operator.j2", "operators", "id"},
	{"acl_users", "blocks/acl-%s-reader.j2", "readers", "id"},
	{"acl_users", "blocks/acl-%s-watcher.j2", "watchers", "id"},
};

// A test broker has no rules, and only a data broker has a shelf.
static bool row_applies(const struct block_row *row, const char *kind)
{
	if (strcmp(row->variable, "shelf_lines") == 0)
		return strcmp(kind, "data") == 0;
	return strcmp(kind, "test") != 0 || strcmp(row->variable, "acl_users") != 0;
}

// "blocks/acl-%s-server.j2" with the kind in place.
static void block_file(char out[96], const char *pattern, const char *kind)
{
	const char *hole = strstr(pattern, "%s");

	if (hole)
		snprintf(out, 96, "%.*s%s%s", (int)(hole - pattern), pattern, kind, hole + 2);
	else
		snprintf(out, 96, "%s", pattern);
}

static enum err blocks_make(struct broker_conf *b)
{
	SCOPED_BUF struct buf text;
	const char *variable = "";

	buf_init(&text, BROKER_CONF_MAX);
	for (size_t i = 0; i < sizeof(block_rows) / sizeof(block_rows[0]); i++) {
		const struct block_row *row = &block_rows[i];
		char file[96];

		if (!row_applies(row, b->kind))
			continue;
		if (strcmp(variable, row->variable) != 0)
			buf_clear(&text);
		variable = row->variable;
		block_file(file, row->file, b->kind);
		struct block_fill fill = {
			.b = b, .file = file, .word_name = row->word_name, .out = &text};
		TRY(words_each(broker_conf_get(b, row->words), block_take, &fill));
		TRY(variable_store(
			b, variable, text.size ? (const char *)text.data : "", text.size, NULL));
	}
	return ERR_OK;
}

// Defaults name each other: ca_file is {{ conf_dir }}/ca.crt.
static enum err value_resolve(struct broker_conf *b, struct broker_variable *v)
{
	SCOPED_BUF struct buf text;

	buf_init(&text, 64 * 1024);
	TRY(template_fill(bytes_of(v->value, strlen(v->value)), variable_find, b, &text));
	return variable_store(
		b, v->name, text.size ? (const char *)text.data : "", text.size, NULL);
}

static enum err values_resolve(struct broker_conf *b)
{
	for (int round = 0; round < 4; round++) {
		bool again = false;

		for (size_t i = 0; i < b->count; i++) {
			if (!strstr(b->variables[i].value, "{{"))
				continue;
			TRY(value_resolve(b, &b->variables[i]));
			again = true;
		}
		if (!again)
			return ERR_OK;
	}
	return err_set(ERR_FORMAT, "the defaults name each other in a circle");
}

enum err broker_conf_render(struct broker_conf *b, const char *file, struct buf *out)
{
	SCOPED_BUF struct buf text;

	buf_init(&text, BROKER_CONF_MAX);
	TRY(values_resolve(b));
	TRY(blocks_make(b));
	TRY(source_read(b, file, &text));
	buf_clear(out);
	return template_fill(buf_bytes(&text), variable_find, b, out);
}
