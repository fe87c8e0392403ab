// In place of db_postgres.c where the program is built without libpq (HELIO_POSTGRES=OFF).
#include "server/db/db.h"

enum err db_postgres_open(const char *url, bool shared, struct db **out)
{
	(void)url;
	(void)shared;
	*out = NULL;
	return err_set(ERR_UNSUPPORTED,
		"this program was built without PostgreSQL "
		"(HELIO_POSTGRES=OFF): use sqlite, or build it with libpq-dev");
}
