// See update_file.h. One record a line: a word and its fields; `end` carries the SHA-256 of all
// bytes before it. Later agents may add words: who meets one that it does not know passes over it,
// so that the agent before an update reads what the one after it wrote.
#include "client/update_file.h"

#include "client/escape.h"
#include "proto/base/file.h"
#include "proto/digest.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAGIC "helio-updates"
#define FILE_VERSION 1

// ---- writing

static enum err put_texts(struct buf *out, const char *const *texts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		TRY(buf_append(out, "\t", 1));
		TRY(escape_append(out, texts[i]));
	}
	return buf_append(out, "\n", 1);
}

static enum err put_record(struct buf *out, const struct update_record *r)
{
	char package[65], boot[33];
	const char *texts[] = {r->name, r->version, r->token, r->reason, r->detail};
	hex_encode(r->package.b, sizeof r->package.b, package);
	hex_encode(r->boot_id.b, sizeof r->boot_id.b, boot);
	TRY(buf_printf(out, "update\t%s\t%u\t%s\t%llu\t%llu\t%d\t%s\t%llu",
		update_state_word(r->state), r->tries, package,
		(unsigned long long)r->security_counter, (unsigned long long)r->not_before_ms,
		(r->restarted ? 1 : 0) + (r->penalised ? 2 : 0) + (r->unheard ? 4 : 0), boot,
		(unsigned long long)r->op_id));
	return put_texts(out, texts, 5);
}

static enum err put_penalty(struct buf *out, const struct update_penalty *p)
{
	char package[65];
	const char *texts[] = {p->name, p->version, p->reason};
	hex_encode(p->package.b, sizeof p->package.b, package);
	TRY(buf_printf(out, "penalty\t%s\t%u\t%llu", package, p->failures,
		(unsigned long long)p->until_unix_ms));
	return put_texts(out, texts, 3);
}

enum err update_list_encode(const struct update_list *list, struct buf *out)
{
	buf_clear(out);
	TRY(buf_printf(out, "%s\t%d\n", FILE_MAGIC, FILE_VERSION));
	for (size_t i = 0; i < UPDATES_MAX; i++) {
		if (list->records[i].state != UPDATE_NONE)
			TRY(put_record(out, &list->records[i]));
	}
	for (size_t i = 0; i < list->penalty_count; i++)
		TRY(put_penalty(out, &list->penalties[i]));
	return record_end(out);
}

// ---- reading

static bool get_text(char *out, size_t size, char *field)
{
	return escape_decode(field) && str_copy(out, size, field);
}

static enum update_state state_of_word(const char *word)
{
	for (int s = UPDATE_FETCHED; s < UPDATE_STATES; s++) {
		if (strcmp(update_state_word((enum update_state)s), word) == 0)
			return (enum update_state)s;
	}
	return UPDATE_NONE;
}

static enum err get_record(struct update_record *r, char **f, size_t count)
{
	uint64_t tries, not_before, flags;
	if (count != 14)
		return err_set(ERR_CORRUPT, "the line of an update is broken");
	r->state = state_of_word(f[1]);
	TRY(record_u64(f[2], &tries));
	TRY(hex_decode(f[3], r->package.b, sizeof r->package.b));
	TRY(record_u64(f[4], &r->security_counter));
	TRY(record_u64(f[5], &not_before));
	TRY(record_u64(f[6], &flags));
	TRY(hex_decode(f[7], r->boot_id.b, sizeof r->boot_id.b));
	TRY(record_u64(f[8], &r->op_id));
	r->tries = tries < UINT32_MAX ? (uint32_t)tries : UINT32_MAX;
	r->not_before_ms = not_before <= INT64_MAX ? (int64_t)not_before : INT64_MAX;
	r->restarted = (flags & 1) != 0;
	r->penalised = (flags & 2) != 0;
	r->unheard = (flags & 4) != 0;
	if (r->state == UPDATE_NONE || !get_text(r->name, sizeof r->name, f[9]) ||
		!get_text(r->version, sizeof r->version, f[10]) ||
		!get_text(r->token, sizeof r->token, f[11]) ||
		!get_text(r->reason, sizeof r->reason, f[12]) ||
		!get_text(r->detail, sizeof r->detail, f[13]))
		return err_set(ERR_CORRUPT, "the line of an update is out of range");
	return ERR_OK;
}

static enum err get_penalty(struct update_penalty *p, char **f, size_t count)
{
	uint64_t failures, until;
	if (count != 7)
		return err_set(ERR_CORRUPT, "the line of a penalty is broken");
	TRY(hex_decode(f[1], p->package.b, sizeof p->package.b));
	TRY(record_u64(f[2], &failures));
	TRY(record_u64(f[3], &until));
	p->failures = failures < UINT32_MAX ? (uint32_t)failures : UINT32_MAX;
	p->until_unix_ms = until <= INT64_MAX ? (int64_t)until : INT64_MAX;
	if (!get_text(p->name, sizeof p->name, f[4]) ||
		!get_text(p->version, sizeof p->version, f[5]) ||
		!get_text(p->reason, sizeof p->reason, f[6]))
		return err_set(ERR_CORRUPT, "the line of a penalty is out of range");
	return ERR_OK;
}

static enum err get_line(struct update_list *list, char *line, size_t *records)
{
	char *f[15];
	size_t count = record_fields(line, f, 15);
	if (count != 0 && strcmp(f[0], "update") == 0 && *records < UPDATES_MAX)
		return get_record(&list->records[(*records)++], f, count);
	if (count != 0 && strcmp(f[0], "penalty") == 0 && list->penalty_count < PENALTIES_MAX)
		return get_penalty(&list->penalties[list->penalty_count++], f, count);
	return ERR_OK;
}

static enum err read_text(struct bytes text, struct update_list *out)
{
	SCOPED_FREE char *copy = NULL;
	size_t records = 0;
	TRY(record_body(text, "the updates file", &copy));
	char *cursor = copy;
	TRY(record_magic(
		record_line(&cursor), &(struct record_format){FILE_MAGIC, "the updates file",
					      FILE_VERSION, FILE_VERSION}));
	for (char *line; (line = record_line(&cursor)) != NULL;) {
		if (get_line(out, line, &records) != ERR_OK)
			return err_set(ERR_CORRUPT, "the updates file cannot be read");
	}
	return ERR_OK;
}

enum err update_list_decode(struct bytes text, struct update_list *out)
{
	*out = (struct update_list){0};
	enum err e = read_text(text, out);
	if (e != ERR_OK)
		*out = (struct update_list){0};
	return e;
}

// ---- the file

enum err update_file_read(const char *state_dir, struct update_list *out)
{
	char path[300];
	SCOPED_BUF struct buf text;
	buf_init(&text, UPDATE_FILE_MAX);
	*out = (struct update_list){0};
	TRY(path_join(path, sizeof path, state_dir, "updates"));
	enum err e = file_read(path, &text);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	if (e == ERR_FULL)
		return err_set(ERR_CORRUPT, "the updates file is too large");
	TRY(e);
	return update_list_decode(buf_bytes(&text), out);
}

enum err update_file_write(const char *state_dir, const struct update_list *list)
{
	char path[300];
	SCOPED_BUF struct buf text;
	buf_init(&text, UPDATE_FILE_MAX);
	TRY(path_join(path, sizeof path, state_dir, "updates"));
	TRY(update_list_encode(list, &text));
	return file_write_atomic(path, text.data, text.size, 0600);
}
