// Collecting what was asked for; see gather.h.
#include "client/gather.h"

#include "client/escape.h"
#include "client/logs.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define USAGE_ROWS_MAX 40000
#define USAGE_ROWS_PER_PART 400   // of the longest path they stay below LIMIT_REPORT
#define USAGE_LINES_PER_TURN 2000 // about 2 ms
#define USAGE_ROW_BYTES 96        // a usual row, to honour max_bytes
#define SOFTWARE_PER_PART 1000
#define LOG_READ_MAX (4 * 1024 * 1024) // newest bytes of a log that are looked at
#define LOG_BYTES_DEFAULT (256 * 1024)
#define PICTURE_BYTES_DEFAULT (2 * 1024 * 1024)
#define PROGRAM_MS 10000
#define SCREENSHOT_POLL_MS 100
#define SCREENSHOT_MS 20000
#define DPKG "/usr/bin/dpkg-query"

// ---- the end

static void tell(struct gather *g, const struct report_ready *r)
{
	uint64_t id = g->report_id;
	g->report_id = 0;
	if (id != 0)
		g->ready(g->ctx, id, r);
}

static void tell_end(struct gather *g, enum op_status status, const char *detail)
{
	char copy[LIMIT_TEXT];
	text_format(copy, sizeof copy, "%s", detail);
	spool_drop(&g->spool);
	tell(g, &(struct report_ready){.status = status, .detail = copy});
}

// Refused: it will not be otherwise when it is asked again. Failed: it may.
static void tell_error(struct gather *g, enum err e)
{
	bool refused = e == ERR_UNSUPPORTED || e == ERR_NOT_FOUND || e == ERR_DENIED ||
		       e == ERR_RANGE || e == ERR_FORMAT;
	tell_end(g, refused ? OP_REFUSED : OP_FAILED, err_text());
}

static void tell_ready(struct gather *g)
{
	enum err e = spool_commit(&g->spool);
	if (e != ERR_OK)
		tell_error(g, e);
	else
		tell(g, &(struct report_ready){.parts = g->spool.parts});
}

static uint32_t bytes_max(const struct gather *g, uint32_t otherwise)
{
	uint32_t max = g->what.max_bytes != 0 ? g->what.max_bytes : otherwise;
	return max < LIMIT_REPORT_BYTES ? max : LIMIT_REPORT_BYTES;
}

static enum err data_spool(struct gather *g, struct bytes data, bool truncated)
{
	struct report part = {.what = g->what.what, .truncated = truncated};
	TRY(spool_begin(&g->spool, g->report_id));
	do {
		size_t take = data.size < LIMIT_REPORT_PART ? data.size : LIMIT_REPORT_PART;
		part.data = bytes_of(data.data, take);
		TRY(spool_add(&g->spool, &part));
		data.data += take;
		data.size -= take;
	} while (data.size > 0);
	return ERR_OK;
}

// ---- usage
//
// A slice of the ledger a turn, so that heartbeats and transfers go on while a month is read.

static void usage_end(struct gather *g)
{
	if (!g->usage.open)
		return;
	ledger_end(&g->usage.ledger);
	arena_fini(&g->usage.arena);
	g->usage.open = false;
}

static enum err usage_part_begin(struct usage_gather *u)
{
	arena_reset(&u->arena);
	u->count = 0;
	u->rows = arena_array(&u->arena, USAGE_ROWS_PER_PART, sizeof *u->rows);
	return u->rows != NULL ? ERR_OK : err_set(ERR_MEMORY, "no memory for a part of usage");
}

static enum err usage_part_add(struct gather *g, bool truncated)
{
	struct usage_gather *u = &g->usage;
	TRY(spool_add(&g->spool, &(struct report){.what = INFO_USAGE,
					 .usage = u->rows,
					 .usage_count = u->count,
					 .truncated = truncated}));
	return usage_part_begin(u);
}

// *end: the report is whole. When it has all that it may have, one row more is looked for, so that
// what was left out is told.
static enum err usage_turn(struct gather *g, bool *end)
{
	struct usage_gather *u = &g->usage;
	struct shown more;
	size_t room = USAGE_ROWS_PER_PART - u->count, left = u->max - u->total;
	bool full = left == 0;
	size_t n = ledger_slice(&u->ledger, &u->arena, USAGE_LINES_PER_TURN,
		full ? &more : u->rows + u->count,
		full          ? 1
		: room < left ? room
			      : left,
		end);
	if (full) {
		*end = *end || n > 0;
		return *end ? usage_part_add(g, n > 0) : ERR_OK;
	}
	u->count += n;
	u->total += n;
	bool due = u->count == USAGE_ROWS_PER_PART && u->total < u->max;
	return due || (*end && (u->count > 0 || u->total == 0)) ? usage_part_add(g, false) : ERR_OK;
}

static void on_usage_time(uv_timer_t *timer)
{
	struct gather *g = timer->data;
	bool end = false;
	enum err e = usage_turn(g, &end);
	if (e == ERR_OK && !end)
		return;
	uv_timer_stop(&g->timer);
	usage_end(g);
	if (e == ERR_OK)
		tell_ready(g);
	else
		tell_error(g, e);
}

static enum err usage_begin(struct gather *g, bool *later)
{
	struct usage_gather *u = &g->usage;
	*u = (struct usage_gather){.max = USAGE_ROWS_MAX, .open = true};
	if (g->what.max_bytes / USAGE_ROW_BYTES < u->max && g->what.max_bytes != 0)
		u->max = g->what.max_bytes / USAGE_ROW_BYTES + 1;
	arena_init(&u->arena, 4 * 1024 * 1024, 64 * 1024);
	ledger_begin(&u->ledger, g->display, g->what.since_unix_ms);
	TRY(usage_part_begin(u));
	TRY(spool_begin(&g->spool, g->report_id));
	uv_timer_start(&g->timer, on_usage_time, 0, 1);
	*later = true;
	return ERR_OK;
}

// ---- software

struct inventory {
	struct software_version *rows;
	size_t count;
	bool full;
};

static void inventory_add(struct inventory *v, const struct software_version *row)
{
	if (v->count == LIMIT_INVENTORY)
		v->full = true;
	else
		v->rows[v->count++] = *row;
}

// Lines "name TAB version"; others, such as a warning, are passed over.
static void inventory_parse(struct inventory *v, struct arena *a, struct bytes text)
{
	char *copy = arena_alloc(a, text.size + 1), *cursor = copy, *f[2];
	if (copy == NULL)
		return;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	for (char *line; (line = record_line(&cursor)) != NULL;) {
		if (record_fields(line, f, 2) == 2 && f[0][0] != '\0' && f[1][0] != '\0' &&
			strlen(f[0]) <= LIMIT_ID && strlen(f[1]) <= 64)
			inventory_add(v, &(struct software_version){.name = f[0], .version = f[1]});
	}
}

static enum err software_spool(struct gather *g, struct bytes packages)
{
	SCOPED_ARENA struct arena a;
	struct software_version *own = NULL;
	struct inventory v = {0};
	size_t own_count = 0;
	arena_init(&a, 4 * 1024 * 1024, 1000);
	v.rows = arena_array(&a, LIMIT_INVENTORY, sizeof *v.rows);
	if (v.rows == NULL)
		return err_set(ERR_MEMORY, "no memory for an inventory");
	depot_software(g->store, &a, &own, &own_count);
	inventory_add(
		&v, &(struct software_version){.name = "helio-agent", .version = HELIO_VERSION});
	for (size_t i = 0; i < own_count; i++)
		inventory_add(&v, &own[i]);
	inventory_parse(&v, &a, packages);
	TRY(spool_begin(&g->spool, g->report_id));
	for (size_t at = 0; at < v.count; at += SOFTWARE_PER_PART) {
		struct report part = {.what = INFO_SOFTWARE,
			.software = v.rows + at,
			.software_count =
				v.count - at < SOFTWARE_PER_PART ? v.count - at : SOFTWARE_PER_PART,
			.truncated = v.full};
		TRY(spool_add(&g->spool, &part));
	}
	return ERR_OK;
}

// ---- logs

static enum err log_spool(struct gather *g, struct bytes text, bool begins_inside)
{
	SCOPED_BUF struct buf chosen;
	bool truncated;
	const struct log_question q = {.since_unix_ms = g->what.since_unix_ms,
		.pattern = g->pattern,
		.lines = g->what.lines,
		.max_bytes = bytes_max(g, LOG_BYTES_DEFAULT)};
	buf_init(&chosen, LIMIT_REPORT_BYTES);
	TRY(logs_choose(text, begins_inside, &q, clock_now().wall, &chosen, &truncated));
	return data_spool(g, buf_bytes(&chosen), truncated);
}

// A regular file's end; a pipe or a device would make the agent wait.
static enum err log_file_spool(struct gather *g, const char *path)
{
	struct stat st;
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_set_errno("the log %s cannot be read", path);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return err_set(ERR_UNSUPPORTED, "%s is no file", path);
	off_t from = st.st_size > LOG_READ_MAX ? st.st_size - LOG_READ_MAX : 0;
	size_t size = (size_t)(st.st_size - from);
	SCOPED_FREE char *text = malloc(size + 1);
	if (text == NULL)
		return err_set(ERR_MEMORY, "no memory for a log");
	ssize_t n = pread(fd, text, size, from);
	if (n < 0)
		return err_set_errno("the log %s cannot be read", path);
	return log_spool(g, bytes_of(text, (size_t)n), from > 0);
}

static enum err log_own_spool(struct gather *g)
{
	SCOPED_FREE char *text = malloc(GATHER_OWN_LOG_BYTES);
	if (text == NULL)
		return err_set(ERR_MEMORY, "no memory for a log");
	return log_spool(g, bytes_of(text, log_kept(text, GATHER_OWN_LOG_BYTES)), false);
}

// ---- programs

static void on_program(void *ctx, const struct process_end *end)
{
	struct gather *g = ctx;
	enum err e = ERR_OK;
	g->process = NULL;
	if (end->timed_out || end->stopped)
		e = err_set(ERR_TIMEOUT, "the program took longer than %d s", PROGRAM_MS / 1000);
	else if (end->signal != 0 || end->exit_code != 0)
		e = err_set(ERR_IO, "the program ended with rc=%d signal=%d", end->exit_code,
			end->signal);
	else if (g->what.what == INFO_SOFTWARE)
		e = software_spool(g, end->tail);
	else
		e = log_spool(g, end->tail, end->output_bytes > end->tail.size);
	if (e == ERR_OK)
		tell_ready(g);
	else
		tell_error(g, e);
}

static enum err program_begin(struct gather *g, const char *const *argv, size_t tail_max)
{
	static const struct process_events events = {.done = on_program};
	const struct process_order order = {.argv = argv,
		.cwd = g->settings->state_dir,
		.timeout_ms = PROGRAM_MS,
		.tail_max = tail_max};
	if (g->process != NULL)
		process_kill(g->process);
	g->process = NULL;
	return process_start(g->loop, &order, &events, g, &g->process);
}

static void argv_add(struct words *w, const char *word)
{
	if (w->argc < AGENT_COMMAND_ARGS)
		w->argv[w->argc++] = word;
}

// The unit is the settings' word and the date a number: nothing that the question holds becomes a
// word of the program. The number of lines only spares it the older ones, when no pattern chooses
// among them.
static enum err journal_start(struct gather *g, const char *unit)
{
	char named[530], since[40], lines[40];
	struct words w;
	TRY(words_split(&w, g->settings->journal));
	if (access(w.argv[0], X_OK) != 0)
		return err_set(ERR_UNSUPPORTED, "unsupported: there is no journal here");
	if (w.argc + 6 > AGENT_COMMAND_ARGS)
		return err_set(ERR_RANGE, "[logs] journal has too many words");
	(void)snprintf(named, sizeof named, "--unit=%s", unit);
	(void)snprintf(
		since, sizeof since, "--since=@%lld", (long long)(g->what.since_unix_ms / 1000));
	(void)snprintf(lines, sizeof lines, "--lines=%u", g->what.lines);
	argv_add(&w, "--no-pager");
	argv_add(&w, "--quiet");
	argv_add(&w, "--output=short-iso");
	argv_add(&w, named);
	if (g->what.since_unix_ms > 0)
		argv_add(&w, since);
	if (g->what.lines > 0 && g->pattern[0] == '\0')
		argv_add(&w, lines);
	return program_begin(g, w.argv, LOG_READ_MAX);
}

// The log that the question names. *later: a program is at work.
static enum err log_begin(struct gather *g, bool *later)
{
	const struct setting_list *list = &g->settings->log_units;
	struct log_source source;
	struct words words;
	if (g->unit[0] == '\0' || strcmp(g->unit, "agent") == 0)
		return log_own_spool(g);
	for (size_t i = 0; i < list->count; i++) {
		TRY(log_source_parse(list->items[i], &source));
		if (strcmp(source.name, g->unit) != 0)
			continue;
		if (source.kind == LOG_FILE)
			return log_file_spool(g, source.text);
		*later = true;
		if (source.kind == LOG_JOURNAL)
			return journal_start(g, source.text);
		TRY(words_split(&words, source.text));
		return program_begin(g, words.argv, LOG_READ_MAX);
	}
	return err_set(ERR_NOT_FOUND, "unknown log: the settings name no unit %s", g->unit);
}

static enum err software_begin(struct gather *g, bool *later)
{
	static const char *const argv[] = {DPKG, "-W", "-f", "${Package}\t${Version}\n", NULL};
	if (!g->settings->inventory || access(DPKG, X_OK) != 0)
		return software_spool(g, bytes_of("", 0));
	*later = true;
	return program_begin(g, argv, 1024 * 1024);
}

// ---- screenshots

static void on_screenshot_time(uv_timer_t *timer)
{
	struct gather *g = timer->data;
	SCOPED_BUF struct buf png;
	buf_init(&png, LIMIT_REPORT_BYTES);
	enum err e = display_screenshot_take(g->display, g->screenshots, &png);
	bool over = mono_since_ms(clock_now().mono, g->asked) > SCREENSHOT_MS;
	if (e == ERR_NOT_NOW && !over)
		return;
	uv_timer_stop(&g->timer);
	if (e == ERR_NOT_NOW)
		e = err_set(ERR_TIMEOUT, "the display did not answer");
	if (e == ERR_OK)
		e = data_spool(g, buf_bytes(&png), false);
	if (e == ERR_OK)
		tell_ready(g);
	else
		tell_error(g, e);
}

static enum err screenshot_begin(struct gather *g, bool *later)
{
	struct display_status status;
	display_status_read(g->display, &status);
	if (!status.alive)
		return err_set(ERR_UNSUPPORTED, "unsupported: no display is running");
	g->screenshots++;
	TRY(display_screenshot_ask(
		g->display, g->screenshots, bytes_max(g, PICTURE_BYTES_DEFAULT)));
	*later = true;
	g->asked = clock_now().mono;
	uv_timer_start(&g->timer, on_screenshot_time, SCREENSHOT_POLL_MS, SCREENSHOT_POLL_MS);
	return ERR_OK;
}

// ---- the output of a command

static enum err output_spool(struct gather *g)
{
	SCOPED_BUF struct buf output;
	bool cut;
	buf_init(&output, LIMIT_REPORT_BYTES);
	TRY(shelf_find(g->outputs, g->what.of_op, &output, &cut));
	struct bytes data = buf_bytes(&output);
	uint32_t max = bytes_max(g, LIMIT_REPORT_BYTES);
	if (data.size > max)
		data.size = max;
	return data_spool(g, data, cut || data.size < output.size);
}

// ---- a question

static enum err kind_begin(struct gather *g, bool *later)
{
	switch (g->what.what) {
	case INFO_USAGE:
		return usage_begin(g, later);
	case INFO_SOFTWARE:
		return software_begin(g, later);
	case INFO_LOGS:
		return log_begin(g, later);
	case INFO_SCREENSHOT:
		return screenshot_begin(g, later);
	case INFO_OUTPUT:
		return output_spool(g);
	case INFO_DISPLAY:
	case INFO_HOLDINGS:
		break;
	}
	return err_set(ERR_UNSUPPORTED, "unsupported: nothing is gathered for this");
}

void gather_begin(struct gather *g, uint64_t report_id, const struct send_information *s)
{
	bool later = false;
	g->report_id = report_id;
	g->what = *s;
	if (!str_copy(g->unit, sizeof g->unit, s->unit) ||
		!str_copy(g->pattern, sizeof g->pattern, s->pattern)) {
		tell_end(g, OP_REFUSED, "a word of the question is too long");
		return;
	}
	if (spool_open(&g->spool, report_id) == ERR_OK) {
		tell(g, &(struct report_ready){.parts = g->spool.parts, .again = true});
		return;
	}
	enum err e = kind_begin(g, &later);
	if (e != ERR_OK) {
		usage_end(g);
		tell_error(g, e);
	} else if (!later) {
		tell_ready(g);
	}
}

void gather_stop(struct gather *g)
{
	g->report_id = 0;
	if (g->process != NULL)
		process_kill(g->process);
	g->process = NULL;
	if (g->timer_there)
		uv_timer_stop(&g->timer);
	usage_end(g);
	spool_drop(&g->spool);
}

// ---- life

enum err gather_init(struct gather *g, uv_loop_t *loop, const struct agent_settings *settings,
	const struct depot *store, const struct display_side *display,
	const struct output_shelf *outputs)
{
	*g = (struct gather){.loop = loop,
		.settings = settings,
		.store = store,
		.display = display,
		.outputs = outputs};
	// A display that is asked under a number of the agent's last life must not be believed.
	g->screenshots = (uint64_t)clock_now().wall.ms;
	TRY(spool_init(&g->spool, settings->state_dir));
	g->timer.data = g;
	if (uv_timer_init(loop, &g->timer) != 0)
		return err_set(ERR_MEMORY, "no timers");
	g->timer_there = true;
	return ERR_OK;
}

void gather_close(struct gather *g)
{
	if (g->process != NULL)
		process_kill(g->process);
	g->process = NULL;
	if (g->timer_there)
		uv_close((uv_handle_t *)&g->timer, NULL);
	g->timer_there = false;
}

void gather_fini(struct gather *g)
{
	usage_end(g);
	if (g->loop != NULL)
		spool_fini(&g->spool);
}
