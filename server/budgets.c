// See budgets.h.
#include "server/budgets.h"

#include "proto/topics.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(text) abort()
#include <uthash.h>

struct budget_key {
	uint32_t kind;
	char name[BUDGET_NAME + 1];
};

struct node {
	struct budget_key key;
	struct budget set, stored;
	bool is_set, is_stored;
	UT_hash_handle hh;
};

struct budgets {
	struct node *nodes;
};

struct budgets *budgets_new(void)
{
	struct budgets *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	return b;
}

void budgets_free(struct budgets *b)
{
	struct node *n, *next;

	if (!b)
		return;
	HASH_ITER(hh, b->nodes, n, next)
	{
		HASH_DEL(b->nodes, n);
		free(n);
	}
	free(b);
}

// ---------------------------------------------------------------- words and lines

static const char *const words[] = {
	[BUDGET_BROKER] = "broker", [BUDGET_SITE] = "site", [BUDGET_CLIENT] = "client"};

const char *budget_word(enum budget_kind kind)
{
	return kind >= BUDGET_BROKER && kind <= BUDGET_CLIENT ? words[kind] : "?";
}

enum err budget_kind_parse(const char *word, enum budget_kind *out)
{
	for (int k = BUDGET_BROKER; k <= BUDGET_CLIENT; k++)
		if (strcmp(word, words[k]) == 0) {
			*out = (enum budget_kind)k;
			return ERR_OK;
		}
	return err_set(ERR_FORMAT, "a budget is of a broker, a site or a client, not %.40s", word);
}

static enum err id_check(const char *id)
{
	return id_is_valid(id) ? ERR_OK : err_set(ERR_FORMAT, "%.64s is no id", id);
}

enum err budget_check(const struct budget *b)
{
	if (strcmp(b->name, "*") != 0)
		TRY(b->kind == BUDGET_SITE ? site_check(b->name, false) : id_check(b->name));
	if (b->bytes_per_s > BUDGET_RATE_MAX)
		return err_set(ERR_RANGE, "a rate is at most %" PRIu64 " bytes/s", BUDGET_RATE_MAX);
	if (b->fetches && b->kind != BUDGET_BROKER)
		return err_set(ERR_RANGE, "only at a broker transfers are counted");
	if (b->fetches > BUDGET_FETCHES_MAX)
		return err_set(ERR_RANGE, "at most %d transfers at once", BUDGET_FETCHES_MAX);
	return ERR_OK;
}

static enum err number_parse(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	*out = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || *out > max)
		return err_set(ERR_RANGE, "%.40s is no number up to %" PRIu64, text, max);
	return ERR_OK;
}

enum err budget_parse(const char *line, struct budget *out)
{
	char kind[16], name[BUDGET_NAME + 2], rate[24], fetches[24], more;
	int n = sscanf(line, "%15s %102s %23s %23s %c", kind, name, rate, fetches, &more);
	uint64_t value = 0;

	_Static_assert(sizeof(name) == 103, "the name's room");
	*out = (struct budget){0};
	if (n < 3 || n > 4)
		return err_set(ERR_FORMAT,
			"a budget is: broker|site|client NAME BYTES_PER_S [FETCHES], not %.80s",
			line);
	TRY(budget_kind_parse(kind, &out->kind));
	if (!str_copy(out->name, sizeof(out->name), name))
		return err_set(ERR_RANGE, "the name %.40s... is too long", name);
	TRY(number_parse(rate, BUDGET_RATE_MAX, &out->bytes_per_s));
	if (n == 4)
		TRY(number_parse(fetches, BUDGET_FETCHES_MAX, &value));
	out->fetches = (uint32_t)value;
	return budget_check(out);
}

// ---------------------------------------------------------------- the table

static struct node *node_find(const struct budgets *b, enum budget_kind kind, const char *name)
{
	struct budget_key key;
	struct node *n;

	memset(&key, 0, sizeof(key));
	key.kind = kind;
	if (!str_copy(key.name, sizeof(key.name), name))
		return NULL;
	HASH_FIND(hh, b->nodes, &key, sizeof(key), n);
	return n;
}

static const struct budget *node_holds(const struct node *n)
{
	return n->is_stored ? &n->stored : &n->set;
}

enum err budgets_put(struct budgets *b, const struct budget *one)
{
	struct node *n = node_find(b, one->kind, one->name);

	if (n && n->is_set && !one->is_stored)
		return err_set(ERR_EXISTS, "the budget of %s %s is named twice",
			budget_word(one->kind), one->name);
	if (!n) {
		if (HASH_COUNT(b->nodes) >= BUDGETS_MAX)
			return err_set(ERR_FULL, "there are %d budgets", BUDGETS_MAX);
		n = calloc(1, sizeof(*n));
		if (!n)
			return err_set(ERR_MEMORY, "no memory for a budget");
		n->key.kind = one->kind;
		str_copy(n->key.name, sizeof(n->key.name), one->name);
		HASH_ADD(hh, b->nodes, key, sizeof(n->key), n);
	}
	if (one->is_stored) {
		n->stored = *one;
		n->is_stored = true;
	} else {
		n->set = *one;
		n->is_set = true;
	}
	return ERR_OK;
}

enum err budgets_line(struct budgets *b, const char *line)
{
	struct budget one;

	TRY(budget_parse(line, &one));
	return budgets_put(b, &one);
}

static void node_unset(struct budgets *b, struct node *n)
{
	n->is_stored = false;
	if (n->is_set)
		return;
	HASH_DEL(b->nodes, n);
	free(n);
}

bool budgets_unset(struct budgets *b, enum budget_kind kind, const char *name)
{
	struct node *n = node_find(b, kind, name);

	if (!n || !n->is_stored)
		return false;
	node_unset(b, n);
	return true;
}

void budgets_unset_all(struct budgets *b)
{
	struct node *n, *next;

	HASH_ITER(hh, b->nodes, n, next)
	{
		node_unset(b, n);
	}
}

const struct budget *budgets_find(const struct budgets *b, enum budget_kind kind, const char *name)
{
	const struct node *n = node_find(b, kind, name);

	if (!n)
		n = node_find(b, kind, "*");
	return n ? node_holds(n) : NULL;
}

const struct budget *budgets_next(const struct budgets *b, void **cursor)
{
	struct node *n = *cursor ? ((struct node *)*cursor)->hh.next : b->nodes;

	*cursor = n;
	return n ? node_holds(n) : NULL;
}
