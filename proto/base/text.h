// Text that comes from outside, on its way to a log, a terminal or a sentence (attack C11): what
// could move the cursor, end a line, turn the reading direction or hide.
#ifndef HELIO_BASE_TEXT_H
#define HELIO_BASE_TEXT_H

#include "proto/base/err.h"

// One code point of valid UTF-8 from s[size >= 1]; *length bytes of it. 0xfffd and 1 for a byte
// that begins none.
uint32_t text_next(const char *s, size_t size, size_t *length);

// True for what must not reach a terminal raw: controls, and format characters of Unicode.
bool text_is_hostile(uint32_t code_point);

// Each byte of what is hostile, or is no UTF-8, becomes a blank.
void text_blank(char *s, size_t size);

// ---- text that is cut: by a limit of a message, of a record, of a table. Between characters, for
// half of one is no UTF-8, and a message that holds it is refused as a whole.

// Bytes of s[size] without what a cut left of its last character. What is no UTF-8 stays.
size_t text_whole(const char *s, size_t size);

// At most `most` bytes of s, for "%.*s".
int text_most(const char *s, size_t most);

// snprintf for people: what does not fit is cut. size > 0.
void text_format(char *out, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
