// Which lines of a log answer a question. Pure: text in, text out.
//
// A line's time is what stands at its beginning: 2026-11-21T05:17:55.123Z (also with an offset,
// with a blank for T, or without a zone: local time), or Nov 21 05:17:55 (of the last twelve
// months). A line without a time belongs to the line before it; before the first time that can be
// read, lines are kept, so that a log without times is not silently empty.
#ifndef HELIO_CLIENT_LOGS_H
#define HELIO_CLIENT_LOGS_H

#include "proto/base/clock.h"
#include "proto/base/mem.h"

struct log_question {
	int64_t since_unix_ms; // 0: from the beginning
	const char *pattern;   // a line must hold this; "": any
	uint32_t lines;        // the last so many; 0: all
	size_t max_bytes;      // whole lines, the newest
};

// begins_inside: text is the end of a longer log, so its first line may be half a line.
// *truncated: lines that were asked for did not fit, or may lie before the text.
// Errors: ERR_FULL, ERR_MEMORY.
enum err logs_choose(struct bytes text, bool begins_inside, const struct log_question *q,
	struct wall now, struct buf *out, bool *truncated) MUST_CHECK;
// Milliseconds since 1970, or -1.
int64_t log_line_time(const char *line, size_t size, struct wall now);

#endif
