#include "server/leases.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(text) abort()
#include <uthash.h>

struct lease_key {
	char client[LIMIT_ID + 1];
	struct digest package;
};

// The newest lease of a client stands in by_client, and the others behind it.
struct node {
	struct lease lease;
	struct lease_key key;
	struct node *older;
	UT_hash_handle by_id, by_key, by_client;
};

struct leases {
	struct node *by_id, *by_key, *by_client;
};

struct leases *leases_new(void)
{
	struct leases *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	return l;
}

void leases_clear(struct leases *l)
{
	struct node *n, *next;

	HASH_CLEAR(by_key, l->by_key);
	HASH_CLEAR(by_client, l->by_client);
	HASH_ITER(by_id, l->by_id, n, next)
	{
		HASH_DELETE(by_id, l->by_id, n);
		free(n);
	}
}

void leases_free(struct leases *l)
{
	if (!l)
		return;
	leases_clear(l);
	free(l);
}

size_t leases_count(const struct leases *l)
{
	return HASH_CNT(by_id, l->by_id);
}

uint32_t lease_ttl_ms(uint32_t ttl_min_ms, uint32_t told_interval_ms)
{
	uint64_t ttl_ms = (uint64_t)told_interval_ms * LEASE_TTL_INTERVALS;

	if (ttl_ms < ttl_min_ms)
		ttl_ms = ttl_min_ms;
	return ttl_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ttl_ms;
}

static struct lease_key key_of(const char *client, const struct digest *package)
{
	struct lease_key key;

	memset(&key, 0, sizeof(key));
	str_copy(key.client, sizeof(key.client), client);
	key.package = *package;
	return key;
}

static struct node *newest_of(struct leases *l, const char *client)
{
	struct node *n;

	HASH_FIND(by_client, l->by_client, client, strlen(client), n);
	return n;
}

struct lease *leases_newest(struct leases *l, const char *client)
{
	struct node *n = newest_of(l, client);

	return n ? &n->lease : NULL;
}

static void newest_is(struct leases *l, struct node *n)
{
	HASH_ADD(by_client, l->by_client, lease.client, strlen(n->lease.client), n);
}

static void newest_add(struct leases *l, struct node *n)
{
	n->older = newest_of(l, n->lease.client);
	if (n->older)
		HASH_DELETE(by_client, l->by_client, n->older);
	newest_is(l, n);
}

static void newest_remove(struct leases *l, struct node *n)
{
	struct node *newer = newest_of(l, n->lease.client);

	if (newer == n) {
		HASH_DELETE(by_client, l->by_client, n);
		if (n->older)
			newest_is(l, n->older);
		return;
	}
	while (newer && newer->older != n)
		newer = newer->older;
	if (newer)
		newer->older = n->older;
}

enum err leases_add(struct leases *l, const struct lease *lease)
{
	struct node *n;

	if (leases_find(l, lease->id) || leases_of_client(l, lease->client, &lease->package))
		return err_set(ERR_EXISTS, "%s has a lease on %s already", lease->client,
			digest_short(&lease->package));
	if (leases_count(l) >= LEASES_MAX)
		return err_set(ERR_FULL, "%d leases are out", LEASES_MAX);
	n = calloc(1, sizeof(*n));
	if (!n)
		return err_set(ERR_MEMORY, "no memory for a lease");
	n->lease = *lease;
	n->key = key_of(lease->client, &lease->package);
	HASH_ADD(by_id, l->by_id, lease.id, sizeof(n->lease.id), n);
	HASH_ADD(by_key, l->by_key, key, sizeof(n->key), n);
	newest_add(l, n);
	return ERR_OK;
}

struct lease *leases_find(struct leases *l, uint64_t id)
{
	struct node *n;

	HASH_FIND(by_id, l->by_id, &id, sizeof(id), n);
	return n ? &n->lease : NULL;
}

struct lease *leases_of_client(struct leases *l, const char *client, const struct digest *package)
{
	struct lease_key key = key_of(client, package);
	struct node *n;

	HASH_FIND(by_key, l->by_key, &key, sizeof(key), n);
	return n ? &n->lease : NULL;
}

void leases_remove(struct leases *l, struct lease *lease)
{
	struct node *n = (struct node *)lease; // the first member

	newest_remove(l, n);
	HASH_DELETE(by_id, l->by_id, n);
	HASH_DELETE(by_key, l->by_key, n);
	free(n);
}

struct lease *leases_next(struct leases *l, void **cursor)
{
	struct node *n = *cursor ? *cursor : l->by_id;

	if (!n || *cursor == l)
		return NULL;
	*cursor = n->by_id.next ? n->by_id.next : (void *)l; // l itself: the end
	return &n->lease;
}

bool leases_renew(
	struct leases *l, uint64_t id, const char *client, int64_t attended_ms, uint32_t ttl_ms)
{
	struct lease *lease = leases_find(l, id);

	if (!lease || strcmp(lease->client, client) != 0)
		return false;
	lease->ttl_ms = ttl_ms;
	lease->expires_attended_ms = attended_ms + ttl_ms;
	return true;
}
