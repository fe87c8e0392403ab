// A store that somebody, or a dying disk, changed: bytes bent, pages gone or in each other's place,
// a file cut or grown. It is refused in a sentence, or what can be read of it is read; nothing
// crashes, hangs or reads beyond (the same program runs under the sanitizers).
#include "tests/unit/operator_world.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
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

static void a_store_that_was_bent_is_refused_or_read(void **state)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store_that_was_bent_is_refused_or_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
