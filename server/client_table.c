// Blocks of clients, open addressing over their numbers (linear probing, removal shifts back), ids
// in blocks of text of their own. Ids of removed principals are not reclaimed before the next
// start.
#include "server/client_table.h"
#include "proto/topics.h"
#include "server/sip_hash.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_SLOTS 64
#define HUGE (2u * 1024 * 1024)
#define ID_BLOCK HUGE
#define SLOT_NUMBER 0x01ffffffu // CLIENT_MAX needs 25 bits: 0 is an empty slot
#define SLOT_MARK (~SLOT_NUMBER)

uint16_t free_pack(uint64_t bytes)
{
	unsigned exponent = 0;

	while (exponent < 31 && bytes >> exponent > 0x7ff)
		exponent++;
	uint64_t mantissa = bytes >> exponent;
	return (uint16_t)(exponent << 11 | (mantissa < 0x7ff ? mantissa : 0x7ff));
}

uint64_t free_unpack(uint16_t packed)
{
	return (uint64_t)(packed & 0x7ff) << (packed >> 11);
}

// ---- memory: zeroed pages of its own. A fleet is looked at in random order: with pages of 4 KiB
// nearly every look would first wait for the table of pages. The first block stays small.

static void *pages_new(size_t size, bool huge)
{
	size_t room = huge ? size + HUGE : size;
	uint8_t *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (!huge)
		return p;
	size_t before = (HUGE - (uintptr_t)p % HUGE) % HUGE;
	if (before)
		(void)munmap(p, before);
	if (room - before - size)
		(void)munmap(p + before + size, room - before - size);
	(void)madvise(p + before, size, MADV_HUGEPAGE); // a wish
	return p + before;
}

static void pages_free(void *p, size_t size)
{
	if (p)
		(void)munmap(p, size);
}

void client_table_init(struct client_table *t, const struct id16 *hash_key)
{
	*t = (struct client_table){.key = *hash_key, .free_first = CLIENT_NONE};
}

void client_table_fini(struct client_table *t, void (*rare_free)(struct client_rare *rare))
{
	size_t cursor = 0;

	for (uint32_t n = 0; rare_free && (n = client_table_next(t, &cursor)) != CLIENT_NONE;) {
		struct client *c = client_at(t, n);
		if (c->rare)
			rare_free(c->rare);
	}
	for (uint32_t i = 0; i < t->block_count; i++)
		pages_free(t->blocks[i], sizeof(struct client) * CLIENT_BLOCK);
	for (uint32_t i = 0; i < t->id_block_count; i++)
		pages_free(t->id_blocks[i], ID_BLOCK);
	free(t->blocks);
	free(t->id_blocks);
	pages_free(t->slots, t->slot_count * sizeof(*t->slots));
	*t = (struct client_table){0};
}

struct client *client_at(const struct client_table *t, uint32_t number)
{
	assert(number < t->high);
	return &t->blocks[number / CLIENT_BLOCK][number % CLIENT_BLOCK];
}

const char *client_id(const struct client_table *t, const struct client *c)
{
	return t->id_blocks[c->id_at / ID_BLOCK] + c->id_at % ID_BLOCK;
}

// The low bits choose the place, the high ones stand in the slot: hardly any client but the right
// one is looked at.
static uint32_t hash_of(const struct client_table *t, const char *id, size_t length)
{
	return (uint32_t)sip_hash(&t->key, id, length);
}

static uint32_t slot_of(uint32_t hash, uint32_t number)
{
	return (hash & SLOT_MARK) | (number + 1);
}

static uint32_t slot_number(uint32_t slot)
{
	return (slot & SLOT_NUMBER) - 1;
}

static uint32_t home_of(const struct client_table *t, const char *id)
{
	return hash_of(t, id, strlen(id));
}

static uint32_t slot_find(const struct client_table *t, const char *id)
{
	uint32_t hash = home_of(t, id), mask = t->slot_count - 1, at = hash & mask;

	for (; t->slots[at]; at = (at + 1) & mask)
		if (((t->slots[at] ^ hash) & SLOT_MARK) == 0 &&
			strcmp(client_id(t, client_at(t, slot_number(t->slots[at]))), id) == 0)
			break;
	return at;
}

static uint32_t guess(const struct client_table *t, uint32_t hash);

static uint32_t number_of(const struct client_table *t, const char *id)
{
	if (t->slot_count == 0)
		return CLIENT_NONE;
	// Whom was it that was looked up ahead for this message?
	uint32_t ahead = guess(t, t->ahead[t->ahead_next % CLIENT_AHEAD]);
	if (ahead != CLIENT_NONE && strcmp(client_id(t, client_at(t, ahead)), id) == 0)
		return ahead;
	uint32_t found = t->slots[slot_find(t, id)];
	return found ? slot_number(found) : CLIENT_NONE;
}

uint32_t client_table_find(const struct client_table *t, const char *id)
{
	uint32_t number = number_of(t, id);

	if (number != CLIENT_NONE || !t->source)
		return number;
	t->source->fetch(t->source->ctx, id);
	return number_of(t, id);
}

bool client_table_holds(const struct client_table *t, const char *id)
{
	return number_of(t, id) != CLIENT_NONE;
}

// The number that a hash ahead leads to, without looking at the client: usually the right one.
static uint32_t guess(const struct client_table *t, uint32_t hash)
{
	uint32_t mask = t->slot_count - 1, at = hash & mask;

	for (int i = 0; i < 4 && t->slots[at]; i++, at = (at + 1) & mask)
		if (((t->slots[at] ^ hash) & SLOT_MARK) == 0)
			return slot_number(t->slots[at]);
	return CLIENT_NONE;
}

// Three places that depend on each other: the slot, the client, its id. Each is asked for some
// messages before the next one needs it.
void client_table_ahead(struct client_table *t, const char *id, size_t length)
{
	if (t->slot_count == 0)
		return;
	uint32_t *ahead = t->ahead, next = t->ahead_next++;
	uint32_t client = guess(t, ahead[(next - 2) % CLIENT_AHEAD]);
	uint32_t text = guess(t, ahead[(next - 5) % CLIENT_AHEAD]);

	ahead[next % CLIENT_AHEAD] = hash_of(t, id, length);
	__builtin_prefetch(&t->slots[ahead[next % CLIENT_AHEAD] & (t->slot_count - 1)]);
	if (client != CLIENT_NONE) {
		__builtin_prefetch(client_at(t, client), 1);
		__builtin_prefetch((const char *)client_at(t, client) + 64, 1);
	}
	if (text != CLIENT_NONE)
		__builtin_prefetch(client_id(t, client_at(t, text)));
}

static enum err slots_grow(struct client_table *t)
{
	uint32_t count = t->slot_count ? t->slot_count * 2 : FIRST_SLOTS;
	size_t size = count * sizeof(*t->slots);
	uint32_t *slots = pages_new(size, size >= HUGE);

	if (!slots)
		return err_set(ERR_MEMORY, "no memory for the client table");
	for (uint32_t i = 0; i < t->slot_count; i++) {
		if (!t->slots[i])
			continue;
		uint32_t at = home_of(t, client_id(t, client_at(t, slot_number(t->slots[i])))) &
			      (count - 1);
		while (slots[at])
			at = (at + 1) & (count - 1);
		slots[at] = t->slots[i];
	}
	pages_free(t->slots, t->slot_count * sizeof(*t->slots));
	t->slots = slots;
	t->slot_count = count;
	return ERR_OK;
}

// One more block at the end of a list of blocks.
static enum err block_add(void **list, uint32_t *count, uint32_t *cap, size_t size)
{
	if (*count == *cap) {
		uint32_t more = *cap ? *cap * 2 : 16;
		void **grown = realloc(*list, more * sizeof(*grown));
		if (!grown)
			return err_set(ERR_MEMORY, "no memory for the client table");
		*list = grown;
		*cap = more;
	}
	void *block = pages_new(size, *count > 0);
	if (!block)
		return err_set(ERR_MEMORY, "no memory for the client table");
	((void **)*list)[(*count)++] = block;
	return ERR_OK;
}

static enum err id_store(struct client_table *t, const char *id, uint32_t *at)
{
	size_t size = strlen(id) + 1;

	if (t->id_block_count == 0 || t->id_used + size > ID_BLOCK) {
		if (t->id_block_count == UINT32_MAX / ID_BLOCK)
			return err_set(ERR_FULL, "the table of ids is full until the next start");
		TRY(block_add(
			(void **)&t->id_blocks, &t->id_block_count, &t->id_block_cap, ID_BLOCK));
		t->id_used = 0;
	}
	memcpy(t->id_blocks[t->id_block_count - 1] + t->id_used, id, size);
	*at = (t->id_block_count - 1) * ID_BLOCK + (uint32_t)t->id_used;
	t->id_used += size;
	return ERR_OK;
}

static enum err place_take(struct client_table *t, uint32_t *number)
{
	if (t->free_first != CLIENT_NONE) {
		*number = t->free_first;
		t->free_first = client_at(t, *number)->wheel_next;
		return ERR_OK;
	}
	if (t->high == CLIENT_MAX)
		return err_set(ERR_FULL, "the server holds %u principals", CLIENT_MAX);
	if (t->high == t->block_count * CLIENT_BLOCK)
		TRY(block_add((void **)&t->blocks, &t->block_count, &t->block_cap,
			sizeof(struct client) * CLIENT_BLOCK));
	*number = t->high++;
	return ERR_OK;
}

enum err client_table_add(struct client_table *t, const char *id, enum role role, uint32_t *number)
{
	uint32_t at = 0;

	assert(!client_table_holds(t, id));
	if ((t->count + 1) * 4 > t->slot_count * 3)
		TRY(slots_grow(t));
	TRY(id_store(t, id, &at));
	TRY(place_take(t, number));
	*client_at(t, *number) = (struct client){
		.id_at = at,
		.shard = shard_byte(id),
		.role = (uint8_t)role,
		.flags = CLIENT_USED,
		.state = CS_IDLE,
		.reach = REACH_NEVER,
	};
	t->slots[slot_find(t, id)] = slot_of(home_of(t, id), *number);
	t->count++;
	t->clients += role == ROLE_CLIENT;
	return ERR_OK;
}

void client_table_remove(struct client_table *t, uint32_t number)
{
	struct client *c = client_at(t, number);
	uint32_t mask = t->slot_count - 1, at = slot_find(t, client_id(t, c));

	assert(slot_number(t->slots[at]) == number && !c->rare);
	for (uint32_t next = (at + 1) & mask; t->slots[next]; next = (next + 1) & mask) {
		uint32_t home =
			home_of(t, client_id(t, client_at(t, slot_number(t->slots[next])))) & mask;
		if (((next - home) & mask) >= ((next - at) & mask)) {
			t->slots[at] = t->slots[next];
			at = next;
		}
	}
	t->slots[at] = 0;
	t->count--;
	t->clients -= c->role == ROLE_CLIENT;
	// Who stands in the wheel holds those behind it; the wheel lets it go.
	bool timed = c->flags & CLIENT_TIMED;
	*c = (struct client){.flags = timed ? CLIENT_TIMED : 0, .wheel_next = c->wheel_next};
	if (!timed)
		client_table_release(t, number);
}

void client_table_release(struct client_table *t, uint32_t number)
{
	*client_at(t, number) = (struct client){.wheel_next = t->free_first};
	t->free_first = number;
}

uint32_t client_table_next(const struct client_table *t, size_t *cursor)
{
	for (; *cursor < t->high; (*cursor)++)
		if (client_at(t, (uint32_t)*cursor)->flags & CLIENT_USED)
			return (uint32_t)(*cursor)++;
	return CLIENT_NONE;
}

struct client_rare *client_rare_get(struct client *c)
{
	if (!c->rare)
		c->rare = calloc(1, sizeof(*c->rare));
	return c->rare;
}

struct bytes client_ip(const struct client *c, const struct intern *in, uint8_t room[4])
{
	if (!c->ip_is_v4)
		return intern_get(in, c->ip);
	memcpy(room, &c->ip, 4);
	return bytes_of(room, 4);
}

bool client_set_ip(struct client *c, struct intern *in, struct bytes ip)
{
	uint32_t held = c->ip_is_v4 ? 0 : c->ip, number = 0;
	bool v4 = ip.size == 4;

	if (!v4 && !c->ip_is_v4)
		return intern_set(in, &c->ip, ip);
	if (v4)
		memcpy(&number, ip.data, 4);
	else
		number = intern_take(in, ip);
	bool changed = v4 != c->ip_is_v4 || number != c->ip;
	intern_drop(in, held);
	c->ip = number;
	c->ip_is_v4 = v4;
	return changed;
}

struct wall client_heard(const struct client *c)
{
	return (struct wall){c->heard_s ? (int64_t)c->heard_s * 1000 + c->heard_ms : 0};
}

void client_set_heard(struct client *c, struct wall at)
{
	int64_t ms = at.ms < 0 ? 0 : at.ms;

	c->heard_s = (uint32_t)(ms / 1000);
	c->heard_ms = (uint16_t)(ms % 1000);
}
