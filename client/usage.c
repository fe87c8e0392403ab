// What was shown: the display's ledger, as rows of a report.
//
// The ledger only grows at its end (shown.log, and shown.log.1, the part before); a line that was
// cut, or whose number does not rise, is left out, so that a row is counted once however often it
// is sent.
#include "client/display_side.h"

#include "client/escape.h"
#include "proto/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t clock_quality(const char *word)
{
	uint64_t n;
	if (strcmp(word, "ntp") == 0)
		return 3;
	if (strcmp(word, "server") == 0)
		return 2;
	return record_u64(word, &n) == ERR_OK && n >= 1 && n <= 3 ? (uint32_t)n : 1;
}

// The kernel's boot as the ledger names it (32 hex digits): 63 bits of its first half, which a
// store's integer holds, are enough to tell two apart.
static uint64_t boot_number(const char *boot_id)
{
	uint8_t b[8];
	uint64_t n = 0;
	char half[17] = {0};
	if (strlen(boot_id) < 16)
		return 0;
	memcpy(half, boot_id, 16);
	if (hex_decode(half, b, sizeof b) != ERR_OK)
		return 0;
	for (size_t i = 0; i < sizeof b; i++)
		n = n << 8 | b[i];
	return n & INT64_MAX;
}

// How the turn ended; a row of an older display does not say it. Picture and reason stay in the
// line.
static bool end_parse(char **f, struct shown *out)
{
	uint64_t planned;
	if (record_u64(f[7], &planned) != ERR_OK || planned > UINT32_MAX)
		return false;
	out->planned_ms = (uint32_t)planned;
	for (int r = SHOWN_WHOLE; r <= SHOWN_FAILED; r++)
		if (strcmp(f[8], shown_result_word((enum shown_result)r)) == 0)
			out->result = (enum shown_result)r;
	size_t n = strspn(f[9], "abcdefghijklmnopqrstuvwxyz-");
	out->reason = strcmp(f[9], "-") == 0 ? "" : f[9];
	return out->result != 0 && f[9][n] == '\0' && n <= SHOWN_REASON_MAX;
}

static bool row_parse(char *line, struct shown *out)
{
	char *f[11];
	uint64_t from, duration;
	size_t fields = record_fields(line, f, 11);
	if (fields != 7 && fields != 10)
		return false;
	*out = (struct shown){.reason = ""};
	if (record_u64(f[0], &out->ledger_seq) != ERR_OK || record_u64(f[4], &from) != ERR_OK ||
		record_u64(f[5], &duration) != ERR_OK || duration > UINT32_MAX ||
		from > INT64_MAX ||
		hex_decode(f[2], out->package.b, sizeof out->package.b) != ERR_OK ||
		!escape_decode(f[3]))
		return false;
	out->boot_counter = boot_number(f[1]);
	out->image = f[3];
	out->from_unix_ms = (int64_t)from;
	out->duration_ms = (uint32_t)duration;
	out->clock_quality = clock_quality(f[6]);
	return fields == 7 || end_parse(f, out);
}

static FILE *part_open(const struct display_side *d, const char *name)
{
	char path[300];
	return path_join(path, sizeof path, d->dir, name) == ERR_OK ? fopen(path, "re") : NULL;
}

// Both at once, the present part first: when the display begins a new one meanwhile, nothing is
// missed, and what is seen twice does not rise.
void ledger_begin(struct ledger_read *x, const struct display_side *d, int64_t since_unix_ms)
{
	*x = (struct ledger_read){.since_unix_ms = since_unix_ms};
	x->in[1] = part_open(d, "shown.log");
	x->in[0] = part_open(d, "shown.log.1");
}

void ledger_end(struct ledger_read *x)
{
	for (size_t i = 0; i < 2; i++)
		if (x->in[i] != NULL)
			fclose(x->in[i]);
	*x = (struct ledger_read){.part = 2};
}

void ledger_rewind(struct ledger_read *x)
{
	for (size_t i = 0; i < 2; i++)
		if (x->in[i] != NULL)
			rewind(x->in[i]);
	x->part = 0;
	x->last_seq = 0;
}

// False: nothing more is there.
static bool line_next(struct ledger_read *x, char *line, size_t size)
{
	for (; x->part < 2; x->part++)
		if (x->in[x->part] != NULL && fgets(line, (int)size, x->in[x->part]) != NULL)
			return true;
	return false;
}

static bool row_take(struct ledger_read *x, char *line, struct shown *row)
{
	size_t n = strcspn(line, "\n");
	bool whole = line[n] == '\n';
	line[n] = '\0';
	if (!whole || !row_parse(line, row) || row->ledger_seq <= x->last_seq)
		return false;
	x->last_seq = row->ledger_seq;
	return row->from_unix_ms >= x->since_unix_ms;
}

size_t ledger_slice(struct ledger_read *x, struct arena *a, size_t lines, struct shown *rows,
	size_t max, bool *end)
{
	char line[2048];
	size_t count = 0;
	*end = false;
	for (; lines > 0 && count < max; lines--) {
		if (!line_next(x, line, sizeof line)) {
			*end = true;
			break;
		}
		if (!row_take(x, line, &rows[count]))
			continue;
		rows[count].image = arena_strdup(a, rows[count].image);
		if (rows[count].reason[0] != '\0')
			rows[count].reason = arena_strdup(a, rows[count].reason);
		if (rows[count].image == NULL || rows[count].reason == NULL) {
			*end = true;
			break;
		}
		count++;
	}
	return count;
}

void display_usage(const struct display_side *d, struct arena *a, int64_t since_unix_ms, size_t max,
	struct shown **rows, size_t *count)
{
	struct ledger_read x;
	bool end;
	*count = 0;
	*rows = arena_array(a, max == 0 ? 1 : max, sizeof **rows);
	ledger_begin(&x, d, since_unix_ms);
	if (*rows != NULL)
		*count = ledger_slice(&x, a, SIZE_MAX, *rows, max, &end);
	ledger_end(&x);
}
