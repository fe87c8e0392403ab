// A bar on standard error while something long is under way; nothing when that is no terminal.
#ifndef HELIO_CTL_PROGRESS_H
#define HELIO_CTL_PROGRESS_H

#include "proto/base/clock.h"
#include "server/ctl/ctl.h"

struct progress {
	const struct ctl *ctl;
	struct mono began, drawn;
	bool on, visible, bytes; // bytes: amounts are bytes
};

void progress_begin(struct progress *p, const struct ctl *c, bool amounts_are_bytes);
// Draws at most ten times a second. what: escaped here.
void progress_show(struct progress *p, uint64_t done, uint64_t total, const char *what);
// Clears the line.
void progress_end(struct progress *p);

// "1.4 MB", "312 kB", "17 B"; in one of 8 rotating buffers.
const char *amount_text(uint64_t bytes);
// "3 s", "4 min", "2 h", "5 d"; "-" for less than 0.
const char *age_text(int64_t ms);

#endif
