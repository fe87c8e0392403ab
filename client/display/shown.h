// The ledger of what was shown: `shown.log` in the folder shared with the agent, one row a picture,
// fields separated by tabs:
//
//   ledger_seq  boot_id  package  image_path  from_unix_ms  duration_ms  clock  planned_ms  result
//   reason
//
// ledger_seq rises by one for ever, over restarts and parts, so a gap is a loss and nothing else.
// boot_id: 32 hex digits of the kernel's boot. clock: 3 synchronised, 1 not known to be. result:
// whole, cut, skipped or failed (proto/shown.h); of what was not shown at all the duration is 0.
// reason:
// `-` for none. Rows of an older program end behind the clock.
//
// A row is written when the picture's time is over. What runs is noted in `shown.open`, which a
// crash leaves behind; at the next start it becomes a row. A torn last line is cut off. When the
// file is full it becomes `shown.log.1` (replacing that), and a new one begins: read .1 first, then
// this. Written at once, synced every SHOWN_SYNC_ROWS rows or SHOWN_SYNC_MS, in a quiet moment:
// kill -9 loses nothing, a power cut at most the last half minute.
#ifndef HELIO_DISPLAY_SHOWN_H
#define HELIO_DISPLAY_SHOWN_H

#include "proto/base/clock.h"
#include "proto/base/mem.h"
#include "proto/shown.h"

struct shown_row {
	struct digest package;
	const char *path;
	struct wall from;
	int64_t duration_ms;
	unsigned clock;
	uint32_t planned_ms;
	enum shown_result result;
	const char *reason; // a word, "" none
};

struct shown_log {
	char dir[512];
	char boot[33];
	int fd;
	uint64_t seq; // of the last row written
	size_t size, part_max;
	unsigned unsynced;
	struct mono synced;
	bool open_noted;
};

// Repairs what a crash left and takes over its open row. part_max: bytes of one part.
// Errors: ERR_IO, ERR_NO_SPACE, ERR_READ_ONLY.
enum err shown_open(struct shown_log *s, const char *dir, size_t part_max) MUST_CHECK;
void shown_close(struct shown_log *s);

// Appends a row. After an error the row is lost, and its number with it: the gap shows.
enum err shown_append(struct shown_log *s, const struct shown_row *row) MUST_CHECK;
// Notes what runs now, with its duration so far; replaces the note before. Not synced.
enum err shown_note(struct shown_log *s, const struct shown_row *row) MUST_CHECK;
// Syncs when it is time to. May take long on a slow disk: only in a quiet moment.
enum err shown_sync(struct shown_log *s, struct mono now, bool force) MUST_CHECK;

#endif
