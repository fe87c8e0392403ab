// Where a test keeps its store: in a file of SQLite, or, with HELIO_TEST_STORE=postgresql, in a
// schema of its own of the PostgreSQL that HELIO_TEST_POSTGRES names (tests/with_postgres).
#ifndef HELIO_TESTS_UNIT_STORE_RIG_H
#define HELIO_TESTS_UNIT_STORE_RIG_H

#include "proto/digest.h"
#include "server/db/db.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline bool store_is_postgres(void)
{
	const char *word = getenv("HELIO_TEST_STORE");

	return word && strcmp(word, "postgresql") == 0;
}

static inline const char *store_postgres(void)
{
	return getenv("HELIO_TEST_POSTGRES");
}

// The schema that stands for the file.
static inline enum err store_postgres_of(const char *file, bool shared, struct db **out)
{
	char url[512], make[64];
	struct digest d = sha256(file, strlen(file));

	*out = NULL;
	if (!store_postgres())
		return err_set(ERR_UNSUPPORTED, "no PostgreSQL: run it by tests/with_postgres");
	(void)snprintf(url, sizeof(url), "%s&options=-csearch_path%%3Dh%.12s", store_postgres(),
		digest_short(&d));
	(void)snprintf(make, sizeof(make), "CREATE SCHEMA IF NOT EXISTS h%.12s", digest_short(&d));
	TRY(db_postgres_open(url, shared, out));
	return (*out)->engine->exec(*out, make);
}

static inline enum err store_postgres_open(const char *file, struct db **out)
{
	return store_postgres_of(file, false, out);
}

// ":memory:": a store that nobody opens again.
static inline enum err store_open(const char *file, struct db **out)
{
	static unsigned count;
	char name[64];

	if (store_is_postgres() && strcmp(file, ":memory:") == 0) {
		(void)snprintf(name, sizeof(name), "memory %d %u", (int)getpid(), ++count);
		return store_postgres_open(name, out);
	}
	return store_is_postgres() ? store_postgres_open(file, out) : db_sqlite_open(file, out);
}

// For a test about the file itself; what is saved and restored of PostgreSQL is pg_dump's work.
#define store_must_be_file()                                                                       \
	do {                                                                                       \
		if (store_is_postgres()) {                                                         \
			print_message("a store in PostgreSQL has no file\n");                      \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

// Like a disk that takes no writes any more.
static inline enum err store_read_only(struct db *db, bool on)
{
	if (strcmp(db->engine->name, "sqlite") == 0)
		return db->engine->exec(db, on ? "PRAGMA query_only=ON" : "PRAGMA query_only=OFF");
	return db->engine->exec(db, on ? "SET default_transaction_read_only = on"
				       : "SET default_transaction_read_only = off");
}

#endif
