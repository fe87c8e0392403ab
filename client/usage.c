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

// The picture's name stays in the line.
static bool row_parse(char *line, struct shown *out)
{
	char *f[8];
	uint64_t from, duration;
	if (record_fields(line, f, 8) != 7)
		return false;
	*out = (struct shown){0};
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
	return true;
}

static FILE *ledger_open(const struct display_side *d, const char *name)
{
	char path[300];
	return path_join(path, sizeof path, d->dir, name) == ERR_OK ? fopen(path, "re") : NULL;
}

struct usage_read {
	struct arena *a;
	int64_t since_unix_ms;
	size_t max;
	uint64_t last_seq;
	struct shown *rows;
	size_t count;
};

static void ledger_read(const struct display_side *d, const char *name, struct usage_read *x)
{
	char line[2048];
	FILE *in = ledger_open(d, name);
	while (in != NULL && x->count < x->max && fgets(line, sizeof line, in) != NULL) {
		size_t n = strcspn(line, "\n");
		bool whole = line[n] == '\n';
		struct shown row;
		line[n] = '\0';
		if (!whole || !row_parse(line, &row) || row.ledger_seq <= x->last_seq)
			continue;
		x->last_seq = row.ledger_seq;
		if (row.from_unix_ms < x->since_unix_ms)
			continue;
		row.image = arena_strdup(x->a, row.image);
		if (row.image == NULL)
			break;
		x->rows[x->count++] = row;
	}
	if (in != NULL)
		fclose(in);
}

void display_usage(const struct display_side *d, struct arena *a, int64_t since_unix_ms, size_t max,
	struct shown **rows, size_t *count)
{
	struct usage_read x = {.a = a, .since_unix_ms = since_unix_ms, .max = max};
	x.rows = arena_array(a, max == 0 ? 1 : max, sizeof *x.rows);
	if (x.rows != NULL) {
		ledger_read(d, "shown.log.1", &x); // the part before, while it is kept
		ledger_read(d, "shown.log", &x);
	}
	*rows = x.rows;
	*count = x.count;
}
