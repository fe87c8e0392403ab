// A binary heap; see due_list.h.
#include "server/due_list.h"

#include <stdlib.h>
#include <string.h>

void due_fini(struct due_list *d)
{
	free(d->items);
	free(d->parked);
	*d = (struct due_list){0};
}

void due_clear(struct due_list *d)
{
	d->count = 0;
	if (d->parked_size)
		memset(d->parked, 0, d->parked_size);
}

static enum err heap_reserve(struct due_list *d)
{
	size_t cap = d->cap ? d->cap * 2 : 64;

	if (d->count < d->cap)
		return ERR_OK;
	struct due_item *more = realloc(d->items, cap * sizeof(*more));
	if (!more)
		return err_set(ERR_MEMORY, "no memory for who is due");
	d->items = more;
	d->cap = cap;
	return ERR_OK;
}

enum err due_put(struct due_list *d, uint32_t place, uint32_t due_s)
{
	TRY(heap_reserve(d));
	size_t at = d->count++;
	while (at > 0 && d->items[(at - 1) / 2].due_s > due_s) {
		d->items[at] = d->items[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	d->items[at] = (struct due_item){due_s, place};
	return ERR_OK;
}

bool due_take(struct due_list *d, uint32_t now_s, uint32_t *place)
{
	size_t at = 0;

	if (d->count == 0 || d->items[0].due_s > now_s)
		return false;
	*place = d->items[0].place;
	struct due_item last = d->items[--d->count];
	for (size_t child; (child = 2 * at + 1) < d->count; at = child) {
		if (child + 1 < d->count && d->items[child + 1].due_s < d->items[child].due_s)
			child++;
		if (last.due_s <= d->items[child].due_s)
			break;
		d->items[at] = d->items[child];
	}
	d->items[at] = last;
	return true;
}

enum err due_park(struct due_list *d, uint32_t place)
{
	if (place >= d->parked_size) {
		size_t size = d->parked_size ? d->parked_size : 64;
		while (size <= place)
			size *= 2;
		uint8_t *more = realloc(d->parked, size);
		if (!more)
			return err_set(ERR_MEMORY, "no memory for who is due");
		memset(more + d->parked_size, 0, size - d->parked_size);
		d->parked = more;
		d->parked_size = size;
	}
	d->parked[place] = 1;
	return ERR_OK;
}

enum err due_wake(struct due_list *d, uint32_t place, uint32_t now_s)
{
	if (place >= d->parked_size || !d->parked[place])
		return ERR_OK;
	TRY(due_put(d, place, now_s));
	d->parked[place] = 0;
	return ERR_OK;
}
