// Rows of a device's ledger, from a report or a stick, into the store.
//
//   rows -> usage, each once -> the time that each boot of each ledger covers -> two at once?
//
// One device shows one picture at a time, and its boots follow each other. When two ledgers of one
// client, or two boots of one, cover the same time by clocks that are known to be right, two
// devices answer to one name: which of them stood where the customer pays for it nobody knows.
// Their rows of that time are kept, marked as doubtful, left out of every sum, and counted apart.
#ifndef HELIO_SERVER_USAGE_TAKE_H
#define HELIO_SERVER_USAGE_TAKE_H

#include "proto/message.h"
#include "server/db/db.h"

// Clocks that differ by less are not two devices: NTP and the server's time may differ so much
// before the one or the other is believed (CLOCK_TRUST_MS of the display).
#define USAGE_OVERLAP_MS 60000

enum err usage_take(struct db *db, const char *client, const struct id16 *store_id,
	const struct shown *rows, size_t count) MUST_CHECK;

#endif
