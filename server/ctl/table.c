// Two passes: measure, then print. The gap between columns is two blanks; no line ends in blanks.
#include "server/ctl/table.h"

#include "server/ctl/text.h"
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct cell {
	char *text; // escaped
	enum style style;
};

struct table {
	struct table_column columns[TABLE_COLUMNS_MAX];
	size_t column_count;
	struct cell *cells;
	size_t cell_count, cell_cap;
};

static void *must(void *p)
{
	if (!p) {
		fputs("helioctl: no memory\n", stderr);
		abort();
	}
	return p;
}

struct table *table_new(const struct table_column *columns, size_t count)
{
	struct table *t = must(calloc(1, sizeof(*t)));

	assert(count > 0 && count <= TABLE_COLUMNS_MAX);
	memcpy(t->columns, columns, count * sizeof(*columns));
	t->column_count = count;
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->cell_count; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}

void table_add_style(struct table *t, const char *text, enum style style)
{
	SCOPED_BUF struct buf safe;

	if (t->cell_count >= TABLE_ROWS_MAX * t->column_count)
		return;
	if (t->cell_count == t->cell_cap) {
		t->cell_cap = t->cell_cap ? t->cell_cap * 2 : 64;
		t->cells = must(realloc(t->cells, t->cell_cap * sizeof(*t->cells)));
	}
	buf_init(&safe, 64 * 1024);
	text = text ? text : "";
	// A cell that is too long for us is cut by the escape running full, which is fine.
	enum err e = text_escape(&safe, text, (size_t)text_most(text, 4096));
	char *copy = must(calloc(1, safe.size + 1));
	if (e == ERR_OK && safe.size > 0)
		memcpy(copy, safe.data, safe.size);
	t->cells[t->cell_count++] = (struct cell){copy, style};
}

void table_add(struct table *t, const char *text)
{
	table_add_style(t, text, STYLE_PLAIN);
}

void table_addf(struct table *t, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	table_add(t, text);
}

size_t table_rows(const struct table *t)
{
	return t->cell_count / t->column_count;
}

static void widths_measure(const struct table *t, size_t rows, size_t width[TABLE_COLUMNS_MAX])
{
	for (size_t c = 0; c < t->column_count; c++) {
		width[c] = text_width(t->columns[c].title);
		for (size_t r = 0; r < rows; r++) {
			size_t w = text_width(t->cells[r * t->column_count + c].text);

			width[c] = w > width[c] ? w : width[c];
		}
	}
}

#define SHRINK_COMFORT 48 // a cell that still says something
#define SHRINK_LEAST 8
#define HIDDEN SIZE_MAX

static size_t widths_sum(const struct table *t, const size_t width[TABLE_COLUMNS_MAX])
{
	size_t sum = 0, shown = 0;

	for (size_t c = 0; c < t->column_count; c++) {
		if (width[c] == HIDDEN)
			continue;
		sum += width[c];
		shown++;
	}
	return sum + 2 * (shown > 0 ? shown - 1 : 0);
}

// The longest column that may still be cut, down to `least`; column_count when there is none.
static size_t longest_find(
	const struct table *t, const size_t width[TABLE_COLUMNS_MAX], size_t least)
{
	size_t longest = t->column_count;

	for (size_t c = 0; c < t->column_count; c++) {
		bool can = t->columns[c].shrink && width[c] != HIDDEN && width[c] > least;

		if (can && (longest == t->column_count || width[c] > width[longest]))
			longest = c;
	}
	return longest;
}

static bool column_drop(const struct table *t, size_t width[TABLE_COLUMNS_MAX])
{
	for (size_t c = t->column_count; c > 0; c--) {
		if (t->columns[c - 1].drop && width[c - 1] != HIDDEN) {
			width[c - 1] = HIDDEN;
			return true;
		}
	}
	return false;
}

static void widths_fit(const struct table *t, size_t width[TABLE_COLUMNS_MAX], size_t limit)
{
	size_t whole[TABLE_COLUMNS_MAX], least = SHRINK_COMFORT;

	memcpy(whole, width, sizeof(whole));
	while (widths_sum(t, width) > limit) {
		size_t longest = longest_find(t, width, least);

		if (longest < t->column_count) {
			width[longest]--;
			continue;
		}
		if (!column_drop(t, width)) {
			if (least == SHRINK_LEAST)
				return;
			least = SHRINK_LEAST;
			continue;
		}
		// The others may have their full width back, and be cut anew.
		for (size_t c = 0; c < t->column_count; c++)
			width[c] = width[c] == HIDDEN ? HIDDEN : whole[c];
	}
}

// *owed: blanks between the cell before and this one, printed when something stands behind them.
static void cell_print(const struct term *term, const struct table_column *column, size_t width,
	const char *text, enum style style, size_t *owed)
{
	size_t w = text_width(text), n = strlen(text);
	const char *tail = "";

	if (w > width) {
		n = text_cut(text, width - 1);
		tail = term->utf8 ? "\xe2\x80\xa6" : "~";
		w = width;
	}
	size_t pad = width - w, before = column->right ? pad : 0;
	if (w > 0)
		fprintf(term->file, "%*s%s%.*s%s%s", (int)(*owed + before), "",
			term_begin(term, style), (int)n, text, tail, term_end(term, style));
	*owed = w > 0 ? pad - before + 2 : *owed + width + 2;
}

static void head_print(
	const struct table *t, const struct term *term, const size_t width[TABLE_COLUMNS_MAX])
{
	size_t owed = 0;

	for (size_t c = 0; c < t->column_count; c++) {
		if (width[c] != HIDDEN)
			cell_print(term, &t->columns[c], width[c], t->columns[c].title, STYLE_DIM,
				&owed);
	}
	fputc('\n', term->file);
}

void table_print_head(const struct table *t, const struct term *term, size_t rows)
{
	size_t width[TABLE_COLUMNS_MAX], all = table_rows(t);

	rows = rows < all ? rows : all;
	widths_measure(t, rows, width);
	if (term->width > 0)
		widths_fit(t, width, term->width);
	head_print(t, term, width);
	for (size_t row = 0; row < rows; row++) {
		size_t owed = 0;

		for (size_t c = 0; c < t->column_count; c++) {
			const struct table_column *column = &t->columns[c];
			const struct cell *cell = &t->cells[row * t->column_count + c];

			if (width[c] != HIDDEN)
				cell_print(term, column, width[c], cell->text, cell->style, &owed);
		}
		fputc('\n', term->file);
	}
}

void table_print(const struct table *t, const struct term *term)
{
	table_print_head(t, term, SIZE_MAX);
}
