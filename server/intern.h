// Equal values once: what many clients have in common (the version of their agent, what they show,
// what they hold) is stored one time and named by a number. Counted: a value dies with its last
// user, so a fleet that lies about itself cannot fill the table for good. Number 0 is the empty
// value and needs no counting.
#ifndef HELIO_SERVER_INTERN_H
#define HELIO_SERVER_INTERN_H

#include "proto/base/mem.h"

#define INTERN_VALUE_MAX 8192       // one value
#define INTERN_COUNT_MAX (1u << 22) // values

struct intern_value;
struct intern {
	struct id16 key;
	struct intern_value **values; // by number
	uint32_t count, cap, free_first;
	uint32_t *slots; // numbers by hash, open addressing; 0 empty
	uint32_t slot_count, used;
	size_t bytes;
};

void intern_init(struct intern *in, const struct id16 *hash_key);
void intern_fini(struct intern *in);
// The number of these bytes, counted once more. 0 when they are empty, too long, or the table is
// full: the value is then simply not remembered.
uint32_t intern_take(struct intern *in, struct bytes value);
void intern_drop(struct intern *in, uint32_t number);
struct bytes intern_get(const struct intern *in, uint32_t number);
// Every value and how many use it, in no order; *at begins at 0. False: that was all.
bool intern_next(const struct intern *in, uint32_t *at, struct bytes *value, uint32_t *users);
// *held becomes the number of value; nothing is hashed when it is that already. True when it
// changed.
bool intern_set(struct intern *in, uint32_t *held, struct bytes value);

#endif
