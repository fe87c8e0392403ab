// A table for people: columns as wide as what stands in them. On a terminal that is too narrow the
// columns marked `shrink` give way, longest first; their cells end in an ellipsis. Before they are
// too short to say anything, columns marked `drop` are left out, the last one first. Cells are
// escaped as they come in (text.h).
#ifndef HELIO_CTL_TABLE_H
#define HELIO_CTL_TABLE_H

#include "proto/base/mem.h"
#include "server/ctl/term.h"

struct table_column {
	const char *title; // borrowed for the life of the table
	bool right;        // aligned to the right: numbers
	bool shrink;       // may be cut
	bool drop;         // may be left out, the last one first, when cutting is not enough
};

struct table;

#define TABLE_COLUMNS_MAX 16
#define TABLE_ROWS_MAX 200000

// Aborts when out of memory, as all of table_*: a command line tool has nothing better to do.
struct table *table_new(const struct table_column *columns, size_t count);
void table_free(struct table *t);
// Cells come row by row, left to right. text NULL counts as "".
void table_add(struct table *t, const char *text);
void table_add_style(struct table *t, const char *text, enum style style);
void table_addf(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
size_t table_rows(const struct table *t);
// Header (dim), rows. Nothing for an empty table but its header.
void table_print(const struct table *t, const struct term *term);
// At most `rows` rows.
void table_print_head(const struct table *t, const struct term *term, size_t rows);

#endif
