// The line that ends a text which must be whole:  end TAB <64 hex digits> NEWLINE , the digits
// being the SHA-256 of all bytes before it. What was cut or altered does not pass it.
#ifndef HELIO_PROTO_END_LINE_H
#define HELIO_PROTO_END_LINE_H

#include "proto/digest.h"

#define END_LINE_SIZE (4 + 64 + 1)

// sum: of all that was written before. line gets a NUL behind it.
void end_line_make(const struct digest *sum, char line[END_LINE_SIZE + 1]);
// Takes the line off the text once its digest holds; sum may be NULL. what: the text's name in a
// sentence. Errors: ERR_CORRUPT.
enum err end_line_take(struct bytes *text, const char *what, struct digest *sum) MUST_CHECK;

#endif
