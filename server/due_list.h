// Who is due when: places (numbers of clients) by the second in which each is to be looked at, so
// that a tick takes those that are due and never walks the others. A place whose turn came while
// nothing could be done is parked, and costs nothing until something wakes it.
//
//   put -> heap by second -> take -> looked at -> put again | park ... wake -> put
//
// Each place is at most once in the heap or parked; who puts it twice looks at it twice, no more.
// Cost: put and take O(log n), park and wake O(1) and O(log n); 8 bytes a place and one to park it.
#ifndef HELIO_SERVER_DUE_LIST_H
#define HELIO_SERVER_DUE_LIST_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct due_item {
	uint32_t due_s, place;
};

struct due_list {
	struct due_item *items; // a heap, the earliest first
	size_t count, cap;
	uint8_t *parked; // by place
	size_t parked_size;
};

// All zero is an empty one.
void due_fini(struct due_list *d);
void due_clear(struct due_list *d);
// Errors: ERR_MEMORY.
enum err due_put(struct due_list *d, uint32_t place, uint32_t due_s) MUST_CHECK;
enum err due_park(struct due_list *d, uint32_t place) MUST_CHECK;
enum err due_wake(struct due_list *d, uint32_t place, uint32_t now_s) MUST_CHECK; // if it is parked
// The earliest that is due; false: none is. It is out of the list then.
bool due_take(struct due_list *d, uint32_t now_s, uint32_t *place);

#endif
