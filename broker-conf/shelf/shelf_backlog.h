// How much of what was handed to clients is still in the broker's memory.
//
// No event of the plugin interface tells when a message has left, but the heap does: what is in use
// above what was in use when nothing was under way. That base is learned in quiet moments. It is
// never more than what is in use now, and what the broker is known to keep for good is added to it.
// Pure: numbers come in.
#ifndef HELIO_SHELF_BACKLOG_H
#define HELIO_SHELF_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

struct shelf_backlog {
	uint64_t base_bytes;
};

// The broker keeps so many bytes more, which no client takes away.
void shelf_backlog_keep(struct shelf_backlog *b, uint64_t bytes);
// used_bytes: of the heap. quiet: nothing was handed lately, and nobody waits. held_bytes: what
// clients were handed before and did not say they have; it may be here still.
uint64_t shelf_backlog_bytes(
	struct shelf_backlog *b, uint64_t used_bytes, bool quiet, uint64_t held_bytes);

#endif
