#include "server/unreachable.h"

#include "proto/limits.h"
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(text) abort()
#include <uthash.h>

struct pair_key {
	char client[LIMIT_ID + 1], broker[LIMIT_ID + 1];
};

struct pair {
	struct pair_key key;
	uint32_t complaints;
	struct mono last; // the complaint that counted last
	UT_hash_handle hh;
};

struct unreachable {
	struct pair *pairs; // in the order of their first complaint
	int64_t period_ms;
};

struct unreachable *unreachable_new(uint32_t period_s)
{
	struct unreachable *u = calloc(1, sizeof(*u));

	if (!u)
		abort();
	u->period_ms = (int64_t)period_s * 1000;
	return u;
}

static void pair_drop(struct unreachable *u, struct pair *p)
{
	HASH_DEL(u->pairs, p);
	free(p);
}

void unreachable_free(struct unreachable *u)
{
	struct pair *p, *next;

	if (!u)
		return;
	HASH_ITER(hh, u->pairs, p, next)
	{
		pair_drop(u, p);
	}
	free(u);
}

static struct pair *pair_find(const struct unreachable *u, const char *client, const char *broker)
{
	struct pair_key key;
	struct pair *p;

	memset(&key, 0, sizeof(key));
	if (!str_copy(key.client, sizeof(key.client), client) ||
		!str_copy(key.broker, sizeof(key.broker), broker))
		return NULL;
	HASH_FIND(hh, u->pairs, &key, sizeof(key), p);
	return p;
}

static bool pair_is_old(const struct unreachable *u, const struct pair *p, struct mono now)
{
	return mono_since_ms(now, p->last) >= u->period_ms;
}

static struct pair *pair_add(struct unreachable *u, const char *client, const char *broker)
{
	struct pair *p;

	if (HASH_COUNT(u->pairs) >= UNREACHABLE_MAX)
		pair_drop(u, u->pairs);
	p = calloc(1, sizeof(*p));
	if (!p)
		abort();
	if (!str_copy(p->key.client, sizeof(p->key.client), client) ||
		!str_copy(p->key.broker, sizeof(p->key.broker), broker)) {
		free(p);
		return NULL;
	}
	HASH_ADD(hh, u->pairs, key, sizeof(p->key), p);
	return p;
}

void unreachable_note(
	struct unreachable *u, const char *client, const char *broker, struct mono now)
{
	struct pair *p = pair_find(u, client, broker);

	if (u->period_ms == 0)
		return;
	if (p && pair_is_old(u, p, now))
		p->complaints = 0;
	if (!p)
		p = pair_add(u, client, broker);
	if (!p || p->complaints >= UNREACHABLE_COMPLAINTS)
		return;
	p->complaints++;
	p->last = now;
}

void unreachable_forget(struct unreachable *u, const char *client, const char *broker)
{
	struct pair *p = pair_find(u, client, broker);

	if (p)
		pair_drop(u, p);
}

bool unreachable_is(
	const struct unreachable *u, const char *client, const char *broker, struct mono now)
{
	const struct pair *p = pair_find(u, client, broker);

	return p && p->complaints >= UNREACHABLE_COMPLAINTS && !pair_is_old(u, p, now);
}
