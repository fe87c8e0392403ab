// Text records: one a line, fields separated by single tabs, values percent-encoded where a byte
// would break that. The state file, the playlist and the display's files are written so.
#ifndef HELIO_CLIENT_ESCAPE_H
#define HELIO_CLIENT_ESCAPE_H

#include "proto/base/mem.h"

// Appends s; '%', control characters and DEL become %XX. Errors: ERR_FULL, ERR_MEMORY.
enum err escape_append(struct buf *out, const char *s) MUST_CHECK;

// Undoes it in place. False for a broken %XX or a NUL hidden in one.
bool escape_decode(char *s);

// Walks a text: the next line without its newline, NUL-terminated in place. NULL at the end.
char *record_line(char **cursor);

// Splits a line at its tabs, in place. Returns the number of fields, at most max; the rest of an
// overlong line stays in the last field.
size_t record_fields(char *line, char **fields, size_t max);

// The whole field as a decimal number. Errors: ERR_FORMAT.
enum err record_u64(const char *field, uint64_t *out) MUST_CHECK;

// A text that must be whole ends with a line of its digest (end_line.h).
// Errors: ERR_FULL, ERR_MEMORY.
enum err record_end(struct buf *text) MUST_CHECK;
// What stands before that line, as a copy with a NUL behind it, freed by the caller. what: the
// text's name in a sentence. Errors: ERR_CORRUPT (no such line, or another digest), ERR_MEMORY.
enum err record_body(struct bytes text, const char *what, char **out) MUST_CHECK;

// Its first line: a word and the number of its format.
struct record_format {
	const char *magic, *what; // what: the text's name in a sentence
	uint64_t least, newest;
};
// line: NULL, there is none. Errors: ERR_CORRUPT, ERR_VERSION.
enum err record_magic(char *line, const struct record_format *format) MUST_CHECK;

#endif
