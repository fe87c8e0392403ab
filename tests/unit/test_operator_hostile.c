// Text that would be more than text: in every argument of every verb of the operator API, and in
// its bodies. Nothing of it is ever a statement: the store works on, holds the same tables, and
// what nobody named is as it was; the answer is one document of JSON. With a control: a statement
// made by joining texts is seen.
#include "tests/unit/operator_world.h"

#include "server/freshness.h"
#include "server/media_orders.h"
#include <stdio.h>

static const char *const strings[] = {
	"'; DROP TABLE client; --",
	"' OR '1'='1",
	"\" OR \"\"=\"",
	"x'); DELETE FROM principal; --",
	"x','y','z'); --",
	"' UNION SELECT secret FROM content_key --",
	"%' OR name LIKE '%",
	"_%\\",
	"'",
	"''",
	"\"",
	"`",
	"\\",
	"\\'",
	"--",
	"/*",
	"*/ ;",
	";",
	"$1",
	"$1' $2",
	"?1",
	":name",
	"@p",
	"NULL",
	"x'00'",
	"CAST(1 AS BLOB)",
	"a || b",
	"1; ATTACH '/tmp/evil.db' AS evil",
	"\xc3\xbf\xe2\x80\xae'",
	"{\"name\":\"'; DROP TABLE customer; --\",\"plans\":[]}",
	"[\"'\",\"--\"]",
	"sea' and \"city",
	"\x1b]52;c;aGk=\x07'",
};
#define STRINGS (sizeof(strings) / sizeof(strings[0]))

struct hostile {
	struct world *w;
	struct media media;
	struct freshness freshness;
	struct digest package;
	char package_hex[65], folder[64];
	int64_t tables;
	size_t asked, done; // requests, and those that were not refused
};

static enum err record_nothing(void *ctx, const struct media_row *order)
{
	(void)ctx;
	(void)order;
	return err_set(ERR_NOT_FOUND, "no publisher");
}

static void ended_nothing(void *ctx, const char *publisher, uint64_t order)
{
	(void)ctx;
	(void)publisher;
	(void)order;
}

// ---- judging

static int64_t count_of(struct db *db, const char *sql)
{
	struct db_rows rows;
	int64_t n = -1;

	if (db_query_values(db, &rows, sql, NULL, 0) != ERR_OK)
		return -1;
	if (db_next(&rows))
		n = db_int(&rows, 0);
	return db_end(&rows) == ERR_OK ? n : -1;
}

// All tables are there, and so is what no request ever named.
static bool is_whole(const struct hostile *h)
{
	struct db *db = h->w->db;

	return !db->failed && count_of(db, "SELECT count(*) FROM sqlite_master") == h->tables &&
	       count_of(db, "SELECT count(*) FROM principal WHERE id IN ('alice.1', 'pub')") == 2 &&
	       count_of(db, "SELECT count(*) FROM customer WHERE id = 'untouched'") == 1 &&
	       count_of(db, "SELECT count(*) FROM media_order WHERE client = 'untouched'") == 1;
}

// ---- asking

// In the arena.
static const char *usual(struct hostile *h, const struct arg_row *a)
{
	static const struct {
		const char *name, *value;
	} known[] = {{"client", "f1"}, {"channel", "default"}, {"customer", "acme"},
		{"publisher", "pub"}, {"broker", "da"}, {"plan", "p1"}, {"place", "hall"},
		{"id", "f1"}, {"expression", "sea"}};
	char text[32];

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, a->name) == 0)
			return known[i].value;
	if (a->type == ARG_PACKAGE)
		return h->package_hex;
	if (a->type == ARG_BOOL)
		return "true";
	if (a->type == ARG_WORD)
		(void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(a->words, "|"), a->words);
	else if (strcmp(a->name, "revision") == 0)
		(void)snprintf(text, sizeof(text), "%lld",
			(long long)count_of(
				h->w->db, "SELECT revision FROM customer WHERE id = 'acme'"));
	else
		(void)snprintf(text, sizeof(text), "%s",
			a->type == ARG_U32 || a->type == ARG_U64 ? "1" : "x1");
	return arena_strdup(&h->w->arena, text);
}

static bool is_wanted(const struct arg_row *a, const char *also)
{
	return a->required || strcmp(a->name, "revision") == 0 || strcmp(a->name, also) == 0;
}

// One request: the argument `at` (VERB_ARGS: none) is `text`, and the body too where there is one;
// beside it stands what is required, and the argument `also`.
static void hostile_ask(
	struct hostile *h, const struct verb_row *v, size_t at, const char *text, const char *also)
{
	struct arg args[VERB_ARGS];
	size_t count = 0;

	arena_reset(&h->w->arena);
	for (size_t i = 0; i < VERB_ARGS && v->args[i].name; i++)
		if (i == at || is_wanted(&v->args[i], also))
			args[count++] = (struct arg){v->args[i].name,
				arena_strdup(&h->w->arena, i == at ? text : usual(h, &v->args[i]))};
	struct operator_call c = {.room = &h->w->room,
		.verb = v,
		.seat = "alice.1",
		.args = args,
		.arg_count = count,
		.body = v->body ? bytes_of(text, strlen(text)) : (struct bytes){0},
		.arena = &h->w->arena,
		.now = h->w->now,
		.json = cJSON_CreateObject()};
	enum err e = operator_args_check(v, args, count, c.body);
	if (e == ERR_OK)
		e = v->run(&c);
	core_turn_end(h->w->core, h->w->now);
	char *printed = cJSON_PrintUnformatted(c.json);
	cJSON *again = cJSON_Parse(printed);
	if (!printed || !again || core_is_degraded(h->w->core) || e == ERR_IO || e == ERR_CORRUPT ||
		!is_whole(h))
		fail_msg("%s %s=%s: %s, %s", v->name, at < VERB_ARGS ? v->args[at].name : "body",
			text, err_word(e), err_text());
	h->asked++;
	h->done += e == ERR_OK;
	cJSON_Delete(again);
	cJSON_free(printed);
	cJSON_Delete(c.json);
}

static void hostile_open(struct hostile *h, struct world *w)
{
	const struct media_ports ports = {.record = record_nothing, .ended = ended_nothing};
	const struct media_config config = {.route = {.has_medium = true}, .keep = 1000};
	const struct arg customers[2][1] = {{{"customer", "acme"}}, {{"customer", "untouched"}}};
	struct media_row other = {.number = 1,
		.client = "untouched",
		.publisher = "pub",
		.name = "art",
		.version = "1",
		.kind = PACKAGE_IMAGES,
		.state = MEDIA_POSTED,
		.reason = "silent",
		.medium_kind = "",
		.path = "",
		.detail = ""};
	enum err e;

	*h = (struct hostile){.w = w};
	media_init(&h->media, &config, &ports, w->core);
	w->room.media = &h->media;
	w->room.freshness = &h->freshness;
	(void)snprintf(h->folder, sizeof(h->folder), "/tmp/helio-hostile-XXXXXX");
	assert_non_null(mkdtemp(h->folder));
	w->room.state_dir = h->folder;
	offer(w, "1", &h->package);
	(void)snprintf(h->package_hex, sizeof(h->package_hex), "%s", digest_hex(&h->package));
	for (size_t i = 0; i < 2; i++) {
		cJSON *json = ask(w, "customer-add", customers[i], 1, &e);
		assert_non_null(json);
		cJSON_Delete(json);
	}
	assert_int_equal(rows_media_put(w->db, &other), ERR_OK);
	assert_int_equal(db_commit(w->db), ERR_OK);
	h->tables = count_of(w->db, "SELECT count(*) FROM sqlite_master");
	assert_true(h->tables > 20 && is_whole(h));
}

static void hostile_close(struct hostile *h)
{
	media_fini(&h->media);
	freshness_fini(&h->freshness);
	assert_int_equal(tree_remove(h->folder), ERR_OK);
}

// What is text stays that text, to the byte.
static void name_is(struct hostile *h, const char *text)
{
	struct db_rows rows;

	assert_int_equal(db_query_values(h->w->db, &rows,
				 "SELECT name FROM customer WHERE id = 'acme'", NULL, 0),
		ERR_OK);
	assert_true(db_next(&rows));
	assert_string_equal(db_text(&rows, 0), text);
	assert_int_equal(db_end(&rows), ERR_OK);
}

// What an earlier request took away.
static void again_make(struct hostile *h)
{
	const struct arg acme = {"customer", "acme"};
	enum err e;

	if (count_of(h->w->db, "SELECT count(*) FROM principal WHERE id = 'f1'") == 0)
		enrol_id(h->w, "f1", ROLE_CLIENT);
	if (count_of(h->w->db, "SELECT count(*) FROM customer WHERE id = 'acme'") == 0)
		cJSON_Delete(ask(h->w, "customer-add", &acme, 1, &e));
	h->w->now.wall.ms += 1000;
}

static void C12_text_of_a_request_is_never_a_statement(void **state)
{
	struct hostile h;
	const struct verb_row *v;

	store_must_be_file();
	log_init("test", LOG_ERROR);
	hostile_open(&h, *state);
	for (size_t i = 0; (v = operator_verb_at(i)); i++)
		for (size_t at = 0; at <= VERB_ARGS; at++) {
			bool is_body = at == VERB_ARGS;
			if (is_body ? !v->body : !v->args[at].name)
				continue;
			again_make(&h);
			for (size_t s = 0; s < STRINGS; s++) {
				hostile_ask(&h, v, at, strings[s], "client");
				hostile_ask(&h, v, at, strings[s], "channel");
				if (strcmp(v->name, "customer-set") == 0 &&
					strcmp(is_body ? "" : v->args[at].name, "name") == 0)
					name_is(&h, strings[s]);
			}
		}
	assert_true(h.asked > 10000 && h.done > 500);
	hostile_close(&h);
}

// The control: the judge sees it when a text becomes one.
static void C12_a_text_that_becomes_a_statement_is_seen(void **state)
{
	struct hostile h;
	char sql[200];

	store_must_be_file();
	hostile_open(&h, *state);
	(void)snprintf(sql, sizeof(sql), "UPDATE customer SET name = '%s' WHERE id = 'acme'",
		"'; DELETE FROM customer; --");
	assert_int_equal(h.w->db->engine->exec(h.w->db, sql), ERR_OK);
	assert_false(is_whole(&h));
	hostile_close(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			C12_text_of_a_request_is_never_a_statement, world_make, world_drop),
		cmocka_unit_test_setup_teardown(
			C12_a_text_that_becomes_a_statement_is_seen, world_make, world_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
