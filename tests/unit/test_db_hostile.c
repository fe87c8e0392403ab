// A store that somebody, or a dying disk, changed: bytes bent, pages gone or in each other's place,
// a file cut or grown. It is refused in a sentence, or what can be read of it is read; nothing
// crashes, hangs or reads beyond (the same program runs under the sanitizers).
#include "tests/unit/operator_world.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS 300 // HELIO_LONG=1: 10,000
#define PAGE 4096
#define CLIENTS 40

struct store {
	char folder[64], file[96];
	struct buf whole;
	uint64_t random;
	struct sign_key *online;
	size_t refused, opened, lost;
};

static uint64_t dice(struct store *s, uint64_t below)
{
	s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
	return (s->random >> 20) % below;
}

static enum err core_on(struct store *s, struct db *db, struct core **out)
{
	static const struct core_ports ports = {
		.publish = port_publish, .random = port_random, .x25519 = port_x25519};
	struct core_config c;

	core_config_default(&c);
	c.online_key = s->online;
	return core_new(&c, db, &ports, clock_now(), out);
}

static void store_make(struct store *s)
{
	struct world w = {0};
	char id[16];

	assert_int_equal(db_sqlite_open(s->file, &w.db), ERR_OK);
	assert_int_equal(schema_migrate(w.db), ERR_OK);
	assert_int_equal(core_on(s, w.db, &w.core), ERR_OK);
	for (int i = 0; i < CLIENTS; i++) {
		(void)snprintf(id, sizeof(id), "f%d", i);
		enrol_id(&w, id, ROLE_CLIENT);
		assert_int_equal(core_channel_control(
					 w.core, "default", CONTROL_RATE, 1000, "alice.1", NULL),
			ERR_OK);
	}
	core_turn_end(w.core, clock_now());
	core_free(w.core);
	db_close(w.db);
	buf_init(&s->whole, 16 << 20);
	assert_int_equal(file_read(s->file, &s->whole), ERR_OK);
	assert_true(s->whole.size > 20 * PAGE);
}

// ---- what happens to it

static void bytes_bend(struct store *s, struct buf *b)
{
	for (uint64_t n = 1 + dice(s, 8); n > 0; n--)
		b->data[dice(s, b->size)] = (uint8_t)dice(s, 256);
}

static void head_bend(struct store *s, struct buf *b)
{
	b->data[dice(s, 100)] = (uint8_t)dice(s, 256);
}

static void page_zero(struct store *s, struct buf *b)
{
	memset(b->data + dice(s, b->size / PAGE) * PAGE, 0, PAGE);
}

static void pages_swap(struct store *s, struct buf *b)
{
	uint8_t *to = b->data + dice(s, b->size / PAGE) * PAGE;

	memmove(to, s->whole.data + dice(s, b->size / PAGE) * PAGE, PAGE);
}

static void file_cut(struct store *s, struct buf *b)
{
	b->size = (size_t)dice(s, b->size);
}

static void page_head_bend(struct store *s, struct buf *b)
{
	b->data[dice(s, b->size / PAGE) * PAGE + dice(s, 12)] = (uint8_t)dice(s, 256);
}

static void (*const bends[])(struct store *, struct buf *) = {
	bytes_bend, head_bend, page_zero, pages_swap, file_cut, page_head_bend};

static void leavings_remove(const struct store *s)
{
	static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
	char path[128];

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", s->file, endings[i]);
		(void)unlink(path);
	}
}

static void use(struct store *s, struct db *db)
{
	struct world w = {.db = db};

	if (core_on(s, db, &w.core) != ERR_OK) {
		assert_true(err_text()[0]);
		s->refused++;
		return;
	}
	while (core_load_some(w.core, 400, clock_now()))
		;
	core_tick(w.core, clock_now());
	core_turn_end(w.core, clock_now());
	if (core_client_count(w.core) == CLIENTS)
		s->opened++;
	else
		s->lost++;
	core_free(w.core);
}

static void round_do(struct store *s, size_t which)
{
	struct buf bent;
	struct db *db = NULL;

	buf_init(&bent, 16 << 20);
	assert_int_equal(buf_append(&bent, s->whole.data, s->whole.size), ERR_OK);
	bends[which](s, &bent);
	leavings_remove(s);
	assert_int_equal(file_write_atomic(s->file, bent.data, bent.size, 0600), ERR_OK);
	enum err e = db_sqlite_open(s->file, &db);
	if (e == ERR_OK)
		e = schema_migrate(db);
	if (e == ERR_OK) {
		use(s, db);
	} else {
		assert_true(err_text()[0]);
		s->refused++;
	}
	if (db)
		db_close(db);
	buf_fini(&bent);
}

static void C13_a_store_that_was_bent_is_refused_or_read(void **state)
{
	struct store s = {.random = 13, .online = fixture_key()};
	const char *more = getenv("HELIO_LONG");
	size_t rounds = more && more[0] == '1' ? 10000 : ROUNDS;

	(void)state;
	store_must_be_file();
	log_init("test", LOG_ERROR);
	(void)snprintf(s.folder, sizeof(s.folder), "%s/helio-bent-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"); // no disk is waited for
	assert_non_null(mkdtemp(s.folder));
	(void)snprintf(s.file, sizeof(s.file), "%s/heliod.db", s.folder);
	store_make(&s);
	for (size_t i = 0; i < rounds; i++)
		round_do(&s, i % (sizeof(bends) / sizeof(bends[0])));
	assert_true(s.refused > rounds / 4); // bent for good
	assert_true(s.opened > rounds / 20); // the control: where nothing is kept, nothing is lost
	print_message(
		"%zu refused, %zu opened, %zu with some rows lost\n", s.refused, s.opened, s.lost);
	buf_fini(&s.whole);
	sign_key_free(s.online);
	assert_int_equal(tree_remove(s.folder), ERR_OK);
}

// ---- a file that somebody else made

// A file of SQLite with these statements in it, in the place of ours.
static void file_plant(const struct store *s, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(s->file, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int principals(sqlite3 *db)
{
	sqlite3_stmt *q = NULL;

	assert_int_equal(
		sqlite3_prepare_v2(db, "SELECT count(*) FROM principal", -1, &q, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	int n = sqlite3_column_int(q, 0);
	sqlite3_finalize(q);
	return n;
}

static void trigger_is_still(const struct store *s)
{
	static const char touch[] = "UPDATE principal SET id = id";
	struct db *db = NULL;
	sqlite3 *plain = NULL;

	file_plant(s, "CREATE TRIGGER evil AFTER UPDATE ON principal BEGIN "
		      "DELETE FROM principal; END");
	assert_int_equal(db_sqlite_open(s->file, &db), ERR_OK);
	assert_int_equal(db_run_values(db, touch, NULL, 0), ERR_OK);
	assert_int_equal(db_commit(db), ERR_OK);
	db_close(db);
	assert_int_equal(sqlite3_open(s->file, &plain), SQLITE_OK);
	assert_true(principals(plain) >= CLIENTS);
	assert_int_equal(sqlite3_exec(plain, touch, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(principals(plain), 0); // the control: elsewhere it acts
	assert_int_equal(sqlite3_close(plain), SQLITE_OK);
}

// What stands in its schema is not trusted: a later version, tables that only look like ours, and
// triggers that would act when we write.
static void C13_a_store_of_somebody_else_is_refused_or_does_nothing(void **state)
{
	static const char *const plants[] = {
		"PRAGMA user_version = 999",
		"CREATE TABLE meta(x); PRAGMA user_version = 1",
		"CREATE TABLE client(x); CREATE TABLE meta(key, value)",
		"CREATE VIEW principal AS SELECT 1 AS id",
		"CREATE VIEW meta AS SELECT load_extension('/tmp/evil') AS key, 1 AS value",
		"CREATE TABLE meta(key TEXT PRIMARY KEY, value); INSERT INTO meta VALUES('schema', "
		"999)",
		"CREATE TABLE meta(key TEXT PRIMARY KEY, value); INSERT INTO meta VALUES('schema', "
		"-1)",
	};
	struct store s = {.random = 17, .online = fixture_key()};

	(void)state;
	store_must_be_file();
	log_init("test", LOG_ERROR);
	(void)snprintf(s.folder, sizeof(s.folder), "%s/helio-plant-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(s.folder));
	(void)snprintf(s.file, sizeof(s.file), "%s/heliod.db", s.folder);
	store_make(&s);
	for (size_t i = 0; i < sizeof(plants) / sizeof(plants[0]); i++) {
		struct db *db = NULL;
		leavings_remove(&s);
		file_plant(&s, plants[i]);
		enum err e = db_sqlite_open(s.file, &db);
		if (e == ERR_OK)
			e = schema_migrate(db);
		print_message("%s: %s\n", plants[i], e == ERR_OK ? "opened" : err_text());
		assert_true(e == ERR_OK || err_text()[0]);
		if (e == ERR_OK)
			use(&s, db);
		if (db)
			db_close(db);
	}
	assert_int_equal(s.opened, 0); // none of them holds our clients
	leavings_remove(&s);           // the control: ours does
	assert_int_equal(file_write_atomic(s.file, s.whole.data, s.whole.size, 0600), ERR_OK);
	struct db *db = NULL;
	assert_int_equal(db_sqlite_open(s.file, &db), ERR_OK);
	assert_int_equal(schema_migrate(db), ERR_OK);
	use(&s, db);
	assert_int_equal(s.opened, 1);
	db_close(db);
	// A trigger in a store that is ours else: it would empty a table with the first write.
	trigger_is_still(&s);
	buf_fini(&s.whole);
	sign_key_free(s.online);
	assert_int_equal(tree_remove(s.folder), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C13_a_store_that_was_bent_is_refused_or_read),
		cmocka_unit_test(C13_a_store_of_somebody_else_is_refused_or_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
