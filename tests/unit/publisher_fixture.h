// Folders of the tests of the publisher: a store and the tree that packages are made of, or the
// objects alone.
#ifndef HELIO_TESTS_UNIT_PUBLISHER_FIXTURE_H
#define HELIO_TESTS_UNIT_PUBLISHER_FIXTURE_H

#include "tests/unit/helper.h"

#include "proto/base/file.h"
#include "server/publisher/store.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct store_home {
	char dir[64], tree[128], state[128];
	struct store store;
};

static inline void store_home_make(struct store_home *h)
{
	snprintf(h->dir, sizeof h->dir, "/tmp/helio-unit-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	snprintf(h->state, sizeof h->state, "%s/state", h->dir);
	snprintf(h->tree, sizeof h->tree, "%s/tree", h->dir);
	assert_int_equal(dir_make(h->tree), ERR_OK);
	assert_int_equal(store_open(&h->store, h->state), ERR_OK);
}

static inline void store_home_drop(struct store_home *h)
{
	store_close(&h->store);
	assert_int_equal(tree_remove(h->dir), ERR_OK);
}

struct object_home {
	char dir[64];
	struct blob_store images, objects;
	struct known known;
};

static inline void object_home_make(struct object_home *h)
{
	char path[96];

	snprintf(h->dir, sizeof h->dir, "/tmp/helio-unit-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	snprintf(path, sizeof path, "%s/objects", h->dir);
	assert_int_equal(blob_store_open(&h->objects, path), ERR_OK);
	known_init(&h->known);
}

static inline void object_home_drop(struct object_home *h)
{
	assert_int_equal(tree_remove(h->dir), ERR_OK);
}

#endif
