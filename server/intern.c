// Open addressing with linear probing over numbers; removal shifts the followers back, so there are
// no tombstones.
#include "server/intern.h"
#include "server/sip_hash.h"
#include <stdlib.h>
#include <string.h>

struct intern_value {
	uint32_t users, hash;
	uint32_t size;
	uint8_t data[];
};

#define FIRST_SLOTS 64

// A free place holds the number of the next free one, as an odd "pointer".
static struct intern_value *free_link(uint32_t next)
{
	return (struct intern_value *)((uintptr_t)next * 2 + 1);
}

static bool is_free(const struct intern_value *v)
{
	return (uintptr_t)v & 1;
}

void intern_init(struct intern *in, const struct id16 *hash_key)
{
	*in = (struct intern){.key = *hash_key};
}

void intern_fini(struct intern *in)
{
	for (uint32_t i = 0; i < in->count; i++)
		if (!is_free(in->values[i]))
			free(in->values[i]);
	free(in->values);
	free(in->slots);
	*in = (struct intern){0};
}

struct bytes intern_get(const struct intern *in, uint32_t number)
{
	if (number == 0)
		return bytes_of(NULL, 0);
	const struct intern_value *v = in->values[number - 1];
	return bytes_of(v->data, v->size);
}

bool intern_next(const struct intern *in, uint32_t *at, struct bytes *value, uint32_t *users)
{
	while (*at < in->count) {
		const struct intern_value *v = in->values[(*at)++];
		if (is_free(v))
			continue;
		*value = bytes_of(v->data, v->size);
		*users = v->users;
		return true;
	}
	return false;
}

static uint32_t slot_find(const struct intern *in, uint32_t hash, struct bytes value)
{
	uint32_t mask = in->slot_count - 1, at = hash & mask;

	for (; in->slots[at]; at = (at + 1) & mask) {
		const struct intern_value *v = in->values[in->slots[at] - 1];
		if (v->hash == hash && v->size == value.size &&
			memcmp(v->data, value.data, value.size) == 0)
			break;
	}
	return at;
}

static bool slots_grow(struct intern *in)
{
	uint32_t count = in->slot_count ? in->slot_count * 2 : FIRST_SLOTS;
	uint32_t *slots = calloc(count, sizeof(*slots));

	if (!slots)
		return false;
	for (uint32_t i = 0; i < in->slot_count; i++) {
		if (!in->slots[i])
			continue;
		uint32_t at = in->values[in->slots[i] - 1]->hash & (count - 1);
		while (slots[at])
			at = (at + 1) & (count - 1);
		slots[at] = in->slots[i];
	}
	free(in->slots);
	in->slots = slots;
	in->slot_count = count;
	return true;
}

static bool number_new(struct intern *in, uint32_t *number)
{
	if (in->free_first) {
		*number = in->free_first;
		in->free_first = (uint32_t)((uintptr_t)in->values[*number - 1] / 2);
		return true;
	}
	if (in->count == INTERN_COUNT_MAX)
		return false;
	if (in->count == in->cap) {
		uint32_t cap = in->cap ? in->cap * 2 : FIRST_SLOTS;
		struct intern_value **values = realloc(in->values, cap * sizeof(*values));
		if (!values)
			return false;
		in->values = values;
		in->cap = cap;
	}
	*number = ++in->count;
	return true;
}

uint32_t intern_take(struct intern *in, struct bytes value)
{
	uint32_t number = 0;

	if (value.size == 0 || value.size > INTERN_VALUE_MAX)
		return 0;
	if ((in->used + 1) * 4 > in->slot_count * 3 && !slots_grow(in))
		return 0;
	uint32_t hash = (uint32_t)sip_hash(&in->key, value.data, value.size);
	uint32_t at = slot_find(in, hash, value);
	if (in->slots[at]) {
		in->values[in->slots[at] - 1]->users++;
		return in->slots[at];
	}
	struct intern_value *v = malloc(sizeof(*v) + value.size);
	if (!v)
		return 0;
	if (!number_new(in, &number)) {
		free(v);
		return 0;
	}
	*v = (struct intern_value){.users = 1, .hash = hash, .size = (uint32_t)value.size};
	memcpy(v->data, value.data, value.size);
	in->values[number - 1] = v;
	in->slots[at] = number;
	in->used++;
	in->bytes += sizeof(*v) + value.size;
	return number;
}

static void slot_remove(struct intern *in, uint32_t at)
{
	uint32_t mask = in->slot_count - 1, next = (at + 1) & mask;

	for (; in->slots[next]; next = (next + 1) & mask) {
		uint32_t home = in->values[in->slots[next] - 1]->hash & mask;
		if (((next - home) & mask) >= ((next - at) & mask)) {
			in->slots[at] = in->slots[next];
			at = next;
		}
	}
	in->slots[at] = 0;
}

void intern_drop(struct intern *in, uint32_t number)
{
	if (number == 0)
		return;
	struct intern_value *v = in->values[number - 1];
	if (--v->users > 0)
		return;
	slot_remove(in, slot_find(in, v->hash, bytes_of(v->data, v->size)));
	in->bytes -= sizeof(*v) + v->size;
	in->used--;
	in->values[number - 1] = free_link(in->free_first);
	in->free_first = number;
	free(v);
}

bool intern_set(struct intern *in, uint32_t *held, struct bytes value)
{
	if (bytes_equal(intern_get(in, *held), value))
		return false;
	uint32_t number = intern_take(in, value);
	intern_drop(in, *held);
	bool changed = number != *held;
	*held = number;
	return changed;
}
