// The agent's lasting memory as text; see agent_state.h.
//
// One record a line: a word and its fields. `end` carries the SHA-256 of all bytes before it.
// A word that this version does not know is an error: who changes the format raises the number in
// the first line.
#include "client/agent_state.h"

#include "client/escape.h"
#include "proto/digest.h"
#include "proto/topics.h"

#include <stdlib.h>
#include <string.h>

#define STATE_MAGIC "helio-agent-state"
#define STATE_VERSION 3
#define STATE_VERSION_LEAST 1 // without reboots; 2: without the spread

void agent_state_init(struct agent_state *s, const struct id16 *store_id)
{
	*s = (struct agent_state){.store_id = *store_id};
	buf_init(&s->body, LIMIT_RESPONSE);
}

void agent_state_fini(struct agent_state *s)
{
	buf_fini(&s->body);
	free(s->floors);
	free(s->changes);
	s->floors = NULL;
	s->changes = NULL;
}

// ---- writing

// The state is written with most answers: numbers and digits go in by hand, in one piece a line.

#define DIGITS_MAX 20 // of 2^64 - 1

// Writes word and tab; `more` bytes and a newline find room behind them.
static enum err put_word(struct buf *out, const char *word, size_t more)
{
	size_t size = strlen(word);
	TRY(buf_reserve(out, size + 1 + more + 1));
	memcpy(out->data + out->size, word, size);
	out->data[out->size + size] = '\t';
	out->size += size + 1;
	return ERR_OK;
}

static enum err put_hex(struct buf *out, const char *word, const void *data, size_t size)
{
	TRY(put_word(out, word, 2 * size));
	char *to = (char *)out->data + out->size;
	hex_encode(data, size, to); // its NUL is where the newline goes
	to[2 * size] = '\n';
	out->size += 2 * size + 1;
	return ERR_OK;
}

static enum err put_u64(struct buf *out, const char *word, uint64_t value)
{
	char digits[DIGITS_MAX];
	size_t first = DIGITS_MAX;
	do
		digits[--first] = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	TRY(put_word(out, word, DIGITS_MAX - first));
	memcpy(out->data + out->size, digits + first, DIGITS_MAX - first);
	out->size += DIGITS_MAX - first;
	out->data[out->size++] = '\n';
	return ERR_OK;
}

static enum err put_text(struct buf *out, const char *word, const char *text)
{
	TRY(put_word(out, word, 0));
	TRY(escape_append(out, text));
	return buf_append(out, "\n", 1);
}

static enum err put_op(struct buf *out, const struct op_record *op)
{
	TRY(buf_printf(out, "op\t%llu\t%d\t%d\t%u\t%llu\t%d\t", (unsigned long long)op->op_id,
		(int)op->kind, (int)op->status, op->percent, (unsigned long long)op->report_id,
		op->started ? 1 : 0));
	TRY(escape_append(out, op->detail));
	return buf_append(out, "\n", 1);
}

static enum err put_reboot(struct buf *out, const struct reboot_record *r)
{
	char hex[33];
	hex_encode(r->boot_id.b, sizeof r->boot_id.b, hex);
	return buf_printf(out, "reboot\t%llu\t%s\t%d\t%llu\t%llu\n", (unsigned long long)r->op_id,
		hex, r->ordered ? 1 : 0, (unsigned long long)r->begun_ms,
		(unsigned long long)r->ordered_ms);
}

static enum err put_lists(struct buf *out, const struct agent_state *s)
{
	uint64_t first = s->done_count > AGENT_DONE_OPS ? s->done_count - AGENT_DONE_OPS : 0;
	for (uint64_t i = first; i < s->done_count; i++)
		TRY(put_u64(out, "done", s->done[i % AGENT_DONE_OPS]));
	for (size_t i = 0; i < s->floor_count; i++) {
		TRY(buf_printf(out, "floor\t%llu\t", (unsigned long long)s->floors[i].counter));
		TRY(escape_append(out, s->floors[i].name));
		TRY(buf_append(out, "\n", 1));
	}
	for (size_t i = 0; i < s->change_count; i++) {
		const struct pending_change *c = &s->changes[i];
		TRY(buf_printf(
			out, "pending\t%llu\t%s\t", (unsigned long long)c->change_id, c->key));
		TRY(escape_append(out, c->value));
		TRY(buf_append(out, "\n", 1));
	}
	return ERR_OK;
}

enum err agent_state_encode(const struct agent_state *s, struct buf *out)
{
	buf_clear(out);
	TRY(put_u64(out, STATE_MAGIC, STATE_VERSION));
	TRY(put_u64(out, "generation", s->generation));
	TRY(put_hex(out, "store", s->store_id.b, sizeof s->store_id.b));
	TRY(put_u64(out, "boot", s->boot_counter));
	TRY(put_hex(out, "lineage", s->lineage.b, sizeof s->lineage.b));
	TRY(put_u64(out, "session", s->session_id));
	TRY(put_u64(out, "response", s->last_response_id));
	TRY(put_u64(out, "change", s->change_id));
	TRY(put_u64(out, "report", s->report_id));
	TRY(put_u64(out, "display", s->display_command));
	TRY(put_u64(out, "interval_ms", s->interval_ms));
	TRY(put_u64(out, "reconnect_spread_ms", s->reconnect_spread_ms));
	TRY(put_u64(out, "time_floor_ms", (uint64_t)s->time_floor_ms));
	TRY(put_u64(out, "uncertain", s->uncertain ? 1 : 0));
	TRY(put_text(out, "showing", s->showing));
	if (s->op.op_id != 0)
		TRY(put_op(out, &s->op));
	if (s->reboot.op_id != 0)
		TRY(put_reboot(out, &s->reboot));
	if (s->body.size != 0)
		TRY(put_hex(out, "body", s->body.data, s->body.size));
	TRY(put_lists(out, s));
	return record_end(out);
}

// ---- reading

static enum err get_op(struct agent_state *s, char **f, size_t count)
{
	uint64_t kind, status, percent, started;
	if (count != 8)
		return err_set(ERR_CORRUPT, "the operation's line is broken");
	TRY(record_u64(f[1], &s->op.op_id));
	TRY(record_u64(f[2], &kind));
	TRY(record_u64(f[3], &status));
	TRY(record_u64(f[4], &percent));
	TRY(record_u64(f[5], &s->op.report_id));
	TRY(record_u64(f[6], &started));
	s->op.started = started != 0;
	if (kind < KIND_SEND_INFORMATION || kind > KIND_EXECUTE_COMMAND || status < OP_ACCEPTED ||
		status > OP_UNKNOWN || percent > 100)
		return err_set(ERR_CORRUPT, "the operation's line is out of range");
	s->op.kind = (enum response_kind)kind;
	s->op.status = (enum op_status)status;
	s->op.percent = (uint32_t)percent;
	if (!escape_decode(f[7]) || !str_copy(s->op.detail, sizeof s->op.detail, f[7]))
		return err_set(ERR_CORRUPT, "the operation's detail is broken");
	return ERR_OK;
}

static enum err get_reboot(struct agent_state *s, char **f, size_t count)
{
	uint64_t ordered, begun, at;
	if (count != 6)
		return err_set(ERR_CORRUPT, "the reboot's line is broken");
	TRY(record_u64(f[1], &s->reboot.op_id));
	TRY(hex_decode(f[2], s->reboot.boot_id.b, sizeof s->reboot.boot_id.b));
	TRY(record_u64(f[3], &ordered));
	TRY(record_u64(f[4], &begun));
	TRY(record_u64(f[5], &at));
	if (begun > INT64_MAX || at > INT64_MAX)
		return err_set(ERR_CORRUPT, "the reboot's line is out of range");
	s->reboot.ordered = ordered != 0;
	s->reboot.begun_ms = (int64_t)begun;
	s->reboot.ordered_ms = (int64_t)at;
	return ERR_OK;
}

static enum err get_body(struct agent_state *s, const char *hex)
{
	size_t size = strlen(hex) / 2;
	buf_clear(&s->body);
	TRY(buf_reserve(&s->body, size));
	TRY(hex_decode(hex, s->body.data, size));
	s->body.size = size;
	return ERR_OK;
}

static enum err get_floor(struct agent_state *s, char **f, size_t count)
{
	uint64_t counter;
	if (count != 3 || !escape_decode(f[2]))
		return err_set(ERR_CORRUPT, "a floor's line is broken");
	TRY(record_u64(f[1], &counter));
	return agent_state_raise_floor(s, f[2], counter);
}

static enum err get_pending(struct agent_state *s, char **f, size_t count)
{
	uint64_t id;
	if (count != 4 || !escape_decode(f[3]))
		return err_set(ERR_CORRUPT, "a change's line is broken");
	TRY(record_u64(f[1], &id));
	uint64_t highest = s->change_id;
	s->change_id = id - 1;
	enum err e = agent_state_add_change(s, f[2], f[3]);
	s->change_id = highest > id ? highest : id;
	return e;
}

static enum err get_number(struct agent_state *s, const char *word, const char *field, bool *known)
{
	struct {
		const char *word;
		uint64_t *to;
	} rows[] = {
		{"generation", &s->generation},
		{"boot", &s->boot_counter},
		{"session", &s->session_id},
		{"response", &s->last_response_id},
		{"change", &s->change_id},
		{"report", &s->report_id},
		{"display", &s->display_command},
	};
	*known = true;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (strcmp(word, rows[i].word) == 0)
			return record_u64(field, rows[i].to);
	}
	uint64_t value = 0;
	if (strcmp(word, "interval_ms") == 0) {
		TRY(record_u64(field, &value));
		s->interval_ms = value <= HEARTBEAT_MAX_MS ? (uint32_t)value : 0;
	} else if (strcmp(word, "reconnect_spread_ms") == 0) {
		TRY(record_u64(field, &value));
		s->reconnect_spread_ms = value <= RECONNECT_SPREAD_MAX_MS ? (uint32_t)value : 0;
	} else if (strcmp(word, "time_floor_ms") == 0) {
		TRY(record_u64(field, &value));
		s->time_floor_ms = value <= INT64_MAX ? (int64_t)value : 0;
	} else if (strcmp(word, "uncertain") == 0) {
		TRY(record_u64(field, &value));
		s->uncertain = value != 0;
	} else if (strcmp(word, "done") == 0) {
		TRY(record_u64(field, &value));
		agent_state_add_op(s, value);
	} else {
		*known = false;
	}
	return ERR_OK;
}

static enum err get_record(struct agent_state *s, char *line)
{
	char *f[8];
	size_t count = record_fields(line, f, 8);
	if (count < 2)
		return err_set(ERR_CORRUPT, "a line of the state has no value");
	bool known;
	TRY(get_number(s, f[0], f[1], &known));
	if (known)
		return ERR_OK;
	if (strcmp(f[0], "store") == 0)
		return hex_decode(f[1], s->store_id.b, sizeof s->store_id.b);
	if (strcmp(f[0], "lineage") == 0)
		return hex_decode(f[1], s->lineage.b, sizeof s->lineage.b);
	if (strcmp(f[0], "op") == 0)
		return get_op(s, f, count);
	if (strcmp(f[0], "reboot") == 0)
		return get_reboot(s, f, count);
	if (strcmp(f[0], "body") == 0)
		return get_body(s, f[1]);
	if (strcmp(f[0], "floor") == 0)
		return get_floor(s, f, count);
	if (strcmp(f[0], "pending") == 0)
		return get_pending(s, f, count);
	if (strcmp(f[0], "showing") == 0 && escape_decode(f[1]) &&
		str_copy(s->showing, sizeof s->showing, f[1]))
		return ERR_OK;
	return err_set(ERR_CORRUPT, "the state holds an unknown line");
}

static enum err read_text(struct bytes text, struct agent_state *s)
{
	SCOPED_FREE char *copy = NULL;
	TRY(record_body(text, "the state", &copy));
	char *cursor = copy;
	TRY(record_magic(record_line(&cursor), &(struct record_format){STATE_MAGIC, "the state",
						       STATE_VERSION_LEAST, STATE_VERSION}));
	for (char *line; (line = record_line(&cursor)) != NULL;) {
		if (get_record(s, line) != ERR_OK)
			return err_set(ERR_CORRUPT, "the state cannot be read");
	}
	return ERR_OK;
}

enum err agent_state_decode(struct bytes text, struct agent_state *out)
{
	struct id16 none = {{0}};
	agent_state_fini(out);
	agent_state_init(out, &none);
	enum err e = read_text(text, out);
	if (e != ERR_OK) {
		agent_state_fini(out);
		agent_state_init(out, &none);
	}
	return e;
}

// ---- lists

bool agent_state_knows_op(const struct agent_state *s, uint64_t op_id)
{
	uint64_t count = s->done_count < AGENT_DONE_OPS ? s->done_count : AGENT_DONE_OPS;
	for (uint64_t i = 0; i < count; i++) {
		if (s->done[i] == op_id)
			return true;
	}
	return false;
}

void agent_state_add_op(struct agent_state *s, uint64_t op_id)
{
	s->done[s->done_count++ % AGENT_DONE_OPS] = op_id;
}

static struct security_floor *floor_find(const struct agent_state *s, const char *name)
{
	for (size_t i = 0; i < s->floor_count; i++) {
		if (strcmp(s->floors[i].name, name) == 0)
			return &s->floors[i];
	}
	return NULL;
}

uint64_t agent_state_floor(const struct agent_state *s, const char *name)
{
	const struct security_floor *f = floor_find(s, name);
	return f != NULL ? f->counter : 0;
}

enum err agent_state_raise_floor(struct agent_state *s, const char *name, uint64_t counter)
{
	struct security_floor *f = floor_find(s, name);
	if (f == NULL) {
		if (s->floor_count == LIMIT_SOFTWARE)
			return err_set(ERR_FULL, "more than %d kinds of software", LIMIT_SOFTWARE);
		struct security_floor *more =
			realloc(s->floors, (s->floor_count + 1) * sizeof *more);
		if (more == NULL)
			return err_set(ERR_MEMORY, "no memory for a floor");
		s->floors = more;
		f = &more[s->floor_count];
		f->counter = 0;
		if (!str_copy(f->name, sizeof f->name, name))
			return err_set(ERR_RANGE, "the name of a package is too long");
		s->floor_count++;
	}
	if (counter > f->counter)
		f->counter = counter;
	return ERR_OK;
}

enum err agent_state_add_change(struct agent_state *s, const char *key, const char *value)
{
	if (s->change_count == LIMIT_CHANGES)
		return err_set(ERR_FULL, "%d changes wait already", LIMIT_CHANGES);
	struct pending_change *more = realloc(s->changes, (s->change_count + 1) * sizeof *more);
	if (more == NULL)
		return err_set(ERR_MEMORY, "no memory for a change");
	s->changes = more;
	struct pending_change *c = &more[s->change_count];
	if (!id_is_valid(key) || !str_copy(c->key, sizeof c->key, key) ||
		!str_copy(c->value, sizeof c->value, value))
		return err_set(ERR_RANGE, "the key or value of a change is not allowed");
	c->change_id = ++s->change_id;
	s->change_count++;
	return ERR_OK;
}

void agent_state_drop_changes(struct agent_state *s, uint64_t up_to_id)
{
	size_t drop = 0;
	while (drop < s->change_count && s->changes[drop].change_id <= up_to_id)
		drop++;
	if (drop == 0)
		return;
	s->change_count -= drop;
	memmove(s->changes, s->changes + drop, s->change_count * sizeof *s->changes);
}
