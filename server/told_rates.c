// See told_rates.h.
#include "server/told_rates.h"

#include "proto/base/mem.h"
#include "proto/base/ratelimit.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(text) abort()
#include <uthash.h>

struct entry {
	char client[LIMIT_ID + 1];
	struct told_rate said;
	UT_hash_handle hh;
};

struct told_rates {
	struct entry *by_client;
};

struct told_rates *told_rates_new(void)
{
	struct told_rates *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	return t;
}

void told_rates_clear(struct told_rates *t)
{
	struct entry *e, *next;

	HASH_ITER(hh, t->by_client, e, next)
	{
		HASH_DEL(t->by_client, e);
		free(e);
	}
}

void told_rates_free(struct told_rates *t)
{
	if (!t)
		return;
	told_rates_clear(t);
	free(t);
}

static struct entry *entry_find(const struct told_rates *t, const char *client)
{
	struct entry *e;

	HASH_FIND_STR(t->by_client, client, e);
	return e;
}

void told_rates_set(
	struct told_rates *t, const char *client, uint64_t lease, uint64_t rate, bool client_knows)
{
	struct entry *e = entry_find(t, client);

	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			abort();
		str_copy(e->client, sizeof(e->client), client);
		HASH_ADD_STR(t->by_client, client, e);
		client_knows = true; // as far as anybody here can say
	}
	if (client_knows)
		e->said.told = rate;
	e->said.lease = lease;
	e->said.rate = rate;
}

const struct told_rate *told_rates_find(const struct told_rates *t, const char *client)
{
	const struct entry *e = entry_find(t, client);

	return e ? &e->said : NULL;
}

uint64_t told_rates_tell(struct told_rates *t, const char *client, uint64_t channel_cap)
{
	struct entry *e = entry_find(t, client);

	if (!e)
		return 0;
	e->said.channel_cap = channel_cap;
	e->said.told = rate_lower(e->said.rate, channel_cap);
	return e->said.told;
}

void told_rates_drop(struct told_rates *t, const char *client)
{
	struct entry *e = entry_find(t, client);

	if (!e)
		return;
	HASH_DEL(t->by_client, e);
	free(e);
}

void told_progress_write(const struct told_progress *p, char out[TOLD_PROGRESS_TEXT])
{
	snprintf(out, TOLD_PROGRESS_TEXT,
		"%" PRIu32 " %" PRIu32 " %" PRIu32 " %d %" PRIu64 " %" PRIu64 " %" PRIu64, p->have,
		p->total, p->looked_mb, p->is_known, p->rate, p->told, p->channel_cap);
}

enum err told_progress_read(const char *text, struct told_progress *out)
{
	int known = 0, end = 0;

	*out = (struct told_progress){0};
	if (sscanf(text,
		    "%" SCNu32 " %" SCNu32 " %" SCNu32 " %1d %" SCNu64 " %" SCNu64 " %" SCNu64 "%n",
		    &out->have, &out->total, &out->looked_mb, &known, &out->rate, &out->told,
		    &out->channel_cap, &end) != 7 ||
		text[end] != '\0' || known < 0 || known > 1)
		return err_set(ERR_FORMAT, "the letter tells no progress");
	out->is_known = known;
	return ERR_OK;
}
