// A store in a folder of its own, with the server's tables; which engine opens it, the test says.
#ifndef HELIO_TESTS_UNIT_STORE_FIXTURE_H
#define HELIO_TESTS_UNIT_STORE_FIXTURE_H

#include "helper.h"
#include "proto/base/file.h"
#include "server/db/rows.h"
#include "server/db/schema.h"
#include "store_rig.h"

typedef enum err (*store_open_fn)(const char *file, struct db **out);

struct fixture {
	char *folder, file[128];
	store_open_fn open;
	void (*test)(void **state); // of a table of tests that run on several engines
	struct db *db;              // NULL: this engine is not at hand
};

static inline int fixture_make(void **state, store_open_fn open)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->open = open;
	if (temp_dir_make((void **)&f->folder) != 0)
		return -1;
	(void)snprintf(f->file, sizeof(f->file), "%s/heliod.db", f->folder);
	enum err e = open(f->file, &f->db);
	if (e == ERR_UNSUPPORTED || (e == ERR_OK && schema_migrate(f->db) == ERR_OK))
		return 0;
	print_error("%s\n", err_text());
	return -1;
}

static inline int fixture_drop(void **state)
{
	struct fixture *f = *state;

	db_close(f->db);
	int rc = temp_dir_drop((void **)&f->folder);
	free(f);
	return rc;
}

static inline void fixture_reopen(struct fixture *f)
{
	db_close(f->db);
	f->db = NULL;
	assert_int_equal(f->open(f->file, &f->db), ERR_OK);
	assert_int_equal(schema_migrate(f->db), ERR_OK);
}

static inline int64_t fixture_number(struct fixture *f, const char *name)
{
	int64_t n = 0;

	assert_int_equal(rows_meta_number(f->db, name, &n), ERR_OK);
	return n;
}

// A part of the store as it is now ("", "-wal", "-redo"), beside it.
static inline void fixture_copy(struct fixture *f, const char *to, const char *part)
{
	char from_part[200], to_part[200];
	struct buf b;

	(void)snprintf(from_part, sizeof(from_part), "%s%s", f->file, part);
	(void)snprintf(to_part, sizeof(to_part), "%s%s", to, part);
	buf_init(&b, 1u << 30);
	enum err e = file_read(from_part, &b);
	assert_true(e == ERR_OK || e == ERR_NOT_FOUND);
	(void)unlink(to_part);
	if (e == ERR_OK)
		assert_int_equal(file_write_atomic(to_part, b.data, b.size, 0600), ERR_OK);
	buf_fini(&b);
}

#endif
