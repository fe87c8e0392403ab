// What the stream at hand can show: a terminal or not, colours or not, how many columns.
#ifndef HELIO_CTL_TERM_H
#define HELIO_CTL_TERM_H

#include <stdbool.h>
#include <stdio.h>

struct term {
	FILE *file;
	bool tty;
	bool colour;   // a terminal, and neither NO_COLOR nor TERM=dumb
	bool utf8;     // the locale takes characters beyond ASCII
	size_t width;  // columns; 0: no limit
	size_t height; // rows; 0: unknown
};

enum style {
	STYLE_PLAIN,
	STYLE_BOLD,
	STYLE_DIM,
	STYLE_GOOD,
	STYLE_WARN,
	STYLE_BAD,
	STYLE_COUNT
};

struct term term_of(FILE *file);
// The escape sequences to begin and end a style; "" without colours.
const char *term_begin(const struct term *t, enum style style);
const char *term_end(const struct term *t, enum style style);
// Prints text that is escaped already (text.h), with a new line at its end. The cursor stands in
// column `at`; on a terminal lines break between words, and go on in column `indent`.
void term_wrap(const struct term *t, const char *text, size_t at, size_t indent);

#endif
