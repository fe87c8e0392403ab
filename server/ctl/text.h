// Text that comes from outside, made safe for a terminal (attack C11): whatever is not a printable
// character of valid UTF-8 becomes a visible escape, so that no name can move the cursor, end a
// line, turn the reading direction or set the clipboard.
#ifndef HELIO_CTL_TEXT_H
#define HELIO_CTL_TEXT_H

#include "proto/base/mem.h"
#include "proto/base/text.h"
#include <stdio.h>

// Appends s[size] to out. Controls and bytes that are not UTF-8 become \xNN; bidirectional and
// invisible format characters \u{NNNN}. Errors: ERR_FULL, ERR_MEMORY.
enum err text_escape(struct buf *out, const char *s, size_t size) MUST_CHECK;

// Prints s escaped. At most 64 KiB of it.
void text_print(FILE *to, const char *s);

// Appends to the list in out[size], with a blank between two of them; what does not fit is cut.
void text_join(char *out, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);

// Columns that already escaped text takes on a terminal.
size_t text_width(const char *s);

// Bytes of s that fit into `columns`.
size_t text_cut(const char *s, size_t columns);

#endif
