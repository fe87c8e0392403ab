// The operator API: its table, its arguments, and one effect for one request, with the real core
// and store.
#include "tests/unit/operator_world.h"

#include "proto/base/log.h"
#include "server/db/rows_content.h"
#include "server/db/rows_letter.h"
#include "server/db/rows_shard.h"
#include "server/enrol.h"
#include "server/operator.h"

// ---------------------------------------------------------------- the table and its arguments

static void every_verb_is_complete_and_unique(void **state)
{
	const struct verb_row *v, *other;

	(void)state;
	for (size_t i = 0; (v = operator_verb_at(i)); i++) {
		assert_non_null(v->run);
		assert_true(v->help[0]);
		assert_ptr_equal(operator_verb_find(v->name), v);
		for (size_t j = 0; j < i && (other = operator_verb_at(j)); j++)
			assert_string_not_equal(v->name, other->name);
		for (size_t a = 0; a < VERB_ARGS && v->args[a].name; a++) {
			assert_string_not_equal(arg_type_word(v->args[a].type), "?");
			assert_true(v->args[a].help[0]);
			assert_int_equal(v->args[a].type == ARG_WORD, v->args[a].words != NULL);
		}
	}
	assert_null(operator_verb_find("nonsense"));
	assert_null(operator_verb_find(""));
}

static struct arg list33[LIMIT_ARGS + 3];

static const struct {
	const char *verb;
	struct arg args[4];
	size_t count;
	size_t body;
	enum err e;
} arguments[] = {
	{"status", {{0}}, 0, 0, ERR_OK},
	{"status", {{"reach", "silent"}}, 1, 0, ERR_OK},
	{"status", {{"reach", "sil"}}, 1, 0, ERR_FORMAT},
	{"status", {{"reach", ""}}, 1, 0, ERR_FORMAT},
	{"status", {{"reach", "online|late"}}, 1, 0, ERR_FORMAT},
	{"status", {{"colour", "red"}}, 1, 0, ERR_FORMAT},
	{"client-show", {{0}}, 0, 0, ERR_FORMAT},
	{"client-show", {{"client", "f1"}}, 1, 0, ERR_OK},
	{"client-show", {{"client", "f1"}, {"client", "f2"}}, 2, 0, ERR_FORMAT},
	{"client-show", {{"client", "../f1"}}, 1, 0, ERR_FORMAT},
	{"client-show", {{"client", ""}}, 1, 0, ERR_FORMAT},
	{"client-show", {{"client", "f1"}}, 1, 9, ERR_FORMAT},
	{"enrol", {{0}}, 0, 0, ERR_FORMAT},
	{"enrol", {{0}}, 0, 9, ERR_OK},
	{"interval", {{"client", "f1"}, {"ms", "500"}}, 2, 0, ERR_OK},
	{"interval", {{"client", "f1"}, {"ms", "-1"}}, 2, 0, ERR_FORMAT},
	{"interval", {{"client", "f1"}, {"ms", "5x"}}, 2, 0, ERR_FORMAT},
	{"interval", {{"client", "f1"}, {"ms", ""}}, 2, 0, ERR_FORMAT},
	{"interval", {{"client", "f1"}, {"ms", "4294967296"}}, 2, 0, ERR_RANGE},
	{"cancel", {{"client", "f1"}, {"op", "99999999999999999999"}}, 2, 0, ERR_RANGE},
	{"package-show", {{"package", "abcdef12"}}, 1, 0, ERR_OK},
	{"package-show", {{"package", "abcdef1"}}, 1, 0, ERR_FORMAT},
	{"package-show", {{"package", "ABCDEF12"}}, 1, 0, ERR_FORMAT},
	{"channel-publish", {{"channel", "a"}, {"package", "abcdef12"}, {"activate", "yes"}}, 3, 0,
		ERR_FORMAT},
	{"channel-publish", {{"channel", "a"}, {"package", "abcdef12"}, {"activate", "false"}}, 3,
		0, ERR_OK},
	{"exec", {{"client", "f1"}, {"verb", "ping"}, {"arg", "a"}, {"arg", "b"}}, 4, 0, ERR_OK},
};

static void arguments_are_checked_against_their_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		const struct verb_row *v = operator_verb_find(arguments[i].verb);

		assert_non_null(v);
		if (operator_args_check(v, arguments[i].args, arguments[i].count,
			    bytes_of("123456789", arguments[i].body)) != arguments[i].e)
			fail_msg("case %zu, %s: %s", i, arguments[i].verb, err_text());
	}
}

static void lists_and_texts_have_their_limits(void **state)
{
	const struct verb_row *v = operator_verb_find("exec");
	char longest[LIMIT_TEXT + 2];

	(void)state;
	list33[0] = (struct arg){"verb", "ping"};
	for (size_t i = 1; i < LIMIT_ARGS + 2; i++)
		list33[i] = (struct arg){"arg", "x"};
	assert_int_equal(operator_args_check(v, list33, LIMIT_ARGS + 1, (struct bytes){0}), ERR_OK);
	assert_int_equal(
		operator_args_check(v, list33, LIMIT_ARGS + 2, (struct bytes){0}), ERR_FORMAT);
	memset(longest, 'x', sizeof(longest));
	longest[LIMIT_TEXT + 1] = 0;
	list33[1].value = longest;
	assert_int_equal(operator_args_check(v, list33, 2, (struct bytes){0}), ERR_RANGE);
	longest[LIMIT_TEXT] = 0;
	assert_int_equal(operator_args_check(v, list33, 2, (struct bytes){0}), ERR_OK);
}

// ---------------------------------------------------------------- with a core

static void every_reading_verb_answers_an_empty_fleet(void **state)
{
	static const struct {
		const char *verb;
		struct arg args[2];
		size_t count;
	} calls[] = {
		{"help", {{0}}, 0},
		{"status", {{0}}, 0},
		{"counters", {{0}}, 0},
		{"doctor", {{0}}, 0},
		{"client-list", {{0}}, 0},
		{"client-list", {{"role", "publisher"}}, 1},
		{"client-show", {{"client", "f1"}}, 1},
		{"channel-list", {{0}}, 0},
		{"why", {{"client", "f1"}}, 1},
		{"queue", {{"channel", "default"}}, 1},
		{"operations", {{"client", "f1"}}, 1},
		{"package-list", {{0}}, 0},
		{"brokers", {{0}}, 0},
		{"servers", {{0}}, 0},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		enum err e;
		cJSON *j = ask(w, calls[i].verb, calls[i].args, calls[i].count, &e);
		char *text;

		if (!j)
			fail_msg("%s: %s", calls[i].verb, err_text());
		text = cJSON_PrintUnformatted(j);
		cJSON *again = cJSON_Parse(text); // what was written as raw numbers is JSON
		assert_non_null(again);
		cJSON_Delete(again);
		free(text);
		cJSON_Delete(j);
	}
}

static void status_counts_and_filters(void **state)
{
	struct world *w = *state;
	struct arg one[] = {{"client", "f2"}};
	enum err e;
	cJSON *j = ask(w, "status", NULL, 0, &e);

	assert_true(number_of(j, "total") == 2);
	assert_true(number_of(j, "never") == 2);
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(j, "clients")), 2);
	cJSON_Delete(j);
	j = ask(w, "status", one, 1, &e);
	assert_string_equal(
		text_of(cJSON_GetArrayItem(cJSON_GetObjectItem(j, "clients"), 0), "id"), "f2");
	assert_true(number_of(j, "total") == 1);
	cJSON_Delete(j);
}

// Each client stands on one page, and no page is longer than was asked for.
static void a_large_fleet_is_told_in_pages(void **state)
{
	struct world *w = *state;
	static const char *const verbs[] = {"status", "client-list"};
	enum err e;

	for (size_t i = 0; i < 2; i++) {
		char from[24] = "0", first[LIMIT_ID + 1] = "";
		struct arg page[] = {{"max", "1"}, {"from", from}};
		size_t pages = 0;
		for (bool more = true; more; pages++) {
			cJSON *j = ask(w, verbs[i], page, 2, &e);
			const cJSON *list = cJSON_GetObjectItem(j, "clients");
			assert_int_equal(e, ERR_OK);
			assert_int_equal(cJSON_GetArraySize(list), 1);
			const char *id = text_of(cJSON_GetArrayItem(list, 0), "id");
			assert_string_not_equal(id, first);
			(void)str_copy(first, sizeof(first), id);
			more = cJSON_HasObjectItem(j, "next");
			if (more)
				(void)snprintf(from, sizeof(from), "%.0f", number_of(j, "next"));
			cJSON_Delete(j);
		}
		assert_int_equal(pages, 2);
	}
}

static void a_rollout_goes_forward_and_back(void **state)
{
	struct world *w = *state;
	struct digest v1, v2;
	struct arg create[] = {{"channel", "art"}}, move[] = {{"client", "f1"}, {"channel", "art"}};
	enum err e;
	cJSON *j;

	offer(w, "1", &v1);
	offer(w, "2", &v2);
	struct arg first[] = {{"channel", "art"}, {"package", digest_hex(&v1)}};
	assert_null(ask(w, "channel-publish", first, 2, &e));
	assert_int_equal(e, ERR_NOT_FOUND); // no such channel: a typing error makes none
	cJSON_Delete(ask(w, "channel-create", create, 1, &e));
	assert_int_equal(e, ERR_OK);
	cJSON_Delete(ask(w, "client-channel", move, 2, &e));
	assert_int_equal(e, ERR_OK);
	cJSON_Delete(ask(w, "channel-publish", first, 2, &e));
	assert_int_equal(e, ERR_OK);
	assert_null(ask(w, "channel-rollback", create, 1, &e));
	assert_int_equal(e, ERR_NOT_FOUND); // there was none before
	struct arg second[] = {{"channel", "art"}, {"package", digest_short(&v2)}};
	j = ask(w, "channel-publish", second, 2, &e);
	assert_non_null(j);
	assert_string_equal(text_of(j, "version"), "2");
	assert_string_equal(text_of(j, "queue"), "art");

	struct arg flow[] = {{"flow", text_of(j, "flow")}};
	cJSON *f = ask(w, "flow", flow, 1, &e);
	assert_non_null(f);
	assert_true(number_of(f, "total") == 1);
	assert_true(number_of(f, "waiting") == 1);
	assert_true(cJSON_IsFalse(cJSON_GetObjectItem(f, "finished")));
	assert_string_equal(
		text_of(cJSON_GetArrayItem(cJSON_GetObjectItem(f, "clients"), 0), "state"),
		"waiting");
	cJSON_Delete(f);
	cJSON_Delete(j);

	j = ask(w, "channel-rollback", create, 1, &e);
	assert_non_null(j);
	assert_string_equal(text_of(j, "package"), digest_hex(&v1));
	assert_string_equal(text_of(j, "previous"), digest_hex(&v2));
	cJSON_Delete(j);
}

static void packages_are_named_by_a_beginning_that_is_only_theirs(void **state)
{
	struct world *w = *state;
	struct digest v1;
	struct arg wrong[] = {{"package", "0000000000"}};
	enum err e;

	offer(w, "1", &v1);
	assert_null(ask(w, "package-show", wrong, 1, &e));
	assert_int_equal(e, ERR_NOT_FOUND);
	struct arg right[] = {{"package", digest_short(&v1)}};
	cJSON *j = ask(w, "package-show", right, 1, &e);
	assert_non_null(j);
	assert_string_equal(text_of(j, "name"), "art");
	assert_true(number_of(cJSON_GetObjectItem(j, "manifest"), "file_count") == 1);
	cJSON_Delete(j);
}

static void an_operator_cannot_saw_off_its_own_branch(void **state)
{
	struct world *w = *state;
	struct arg me[] = {{"client", "alice.1"}}, publisher[] = {{"client", "pub"}};
	enum err e;

	assert_null(ask(w, "client-revoke", me, 1, &e));
	assert_int_equal(e, ERR_DENIED);
	assert_null(ask(w, "client-remove", me, 1, &e));
	assert_int_equal(e, ERR_DENIED);
	assert_null(ask(w, "why", publisher, 1, &e)); // no client
	assert_int_equal(e, ERR_NOT_FOUND);
}

static size_t queue_length(struct world *w)
{
	struct queue_view v;

	return core_queue_view(w->core, "@f1", &w->arena, &v) == ERR_OK ? v.element_count : 0;
}

static void call(
	struct world *w, uint64_t request_id, const char *verb, struct arg *args, size_t count)
{
	struct api_request m = {.seat = "alice.1",
		.request_id = request_id,
		.verb = verb,
		.args = args,
		.arg_count = count,
		.answer_level = "1"};

	handle_api(&w->room, "alice.1", ROLE_OPERATOR, &m, &w->arena, w->now);
	core_turn_end(w->core, w->now);
}

static void one_request_has_one_effect(void **state)
{
	struct world *w = *state;
	struct arg ask_display[] = {{"client", "f1"}, {"what", "display"}};
	struct api_answer_row row;
	size_t before = queue_length(w), after;

	call(w, 10, "ask", ask_display, 2);
	after = queue_length(w);
	assert_true(after > before);
	call(w, 10, "ask", ask_display, 2);
	call(w, 10, "ask", ask_display, 2);
	assert_int_equal(queue_length(w), after);
	assert_int_equal(rows_api_find(w->db, "alice.1", 10, &w->arena, &row), ERR_OK);
	assert_string_equal(row.verb, "ask");
	assert_string_equal(row.error_word, "");
	assert_true(row.json.size > 10);
	call(w, 11, "ask", ask_display, 2);
	assert_int_equal(queue_length(w), after + 1);
}

static void a_refusal_is_remembered_too(void **state)
{
	struct world *w = *state;
	struct arg nobody[] = {{"client", "f9"}, {"what", "display"}};
	struct api_answer_row row;

	call(w, 20, "ask", nobody, 2);
	assert_int_equal(rows_api_find(w->db, "alice.1", 20, &w->arena, &row), ERR_OK);
	assert_string_equal(row.error_word, "not-found");
	assert_true(row.error[0]);
}

static void old_requests_are_forgotten_and_refused(void **state)
{
	struct world *w = *state;
	struct api_answer_row row = {.seat = "alice.1", .verb = "x", .error_word = "", .error = ""};

	for (uint64_t i = 1; i <= API_ANSWERS_KEPT + 10; i++) {
		row.request_id = i;
		assert_int_equal(rows_api_put(w->db, &row), ERR_OK);
	}
	assert_int_equal(rows_api_find(w->db, "alice.1", 1, &w->arena, &row), ERR_STALE);
	assert_int_equal(rows_api_find(w->db, "alice.1", 10, &w->arena, &row), ERR_STALE);
	assert_int_equal(rows_api_find(w->db, "alice.1", 11, &w->arena, &row), ERR_OK);
	assert_int_equal(rows_api_find(w->db, "alice.1", 9999, &w->arena, &row), ERR_NOT_FOUND);
	assert_int_equal(rows_api_find(w->db, "alice.2", 1, &w->arena, &row), ERR_NOT_FOUND);
}

static void only_operators_are_heard(void **state)
{
	struct world *w = *state;
	struct arg ask_display[] = {{"client", "f1"}, {"what", "display"}};
	struct api_request m = {.seat = "f2",
		.request_id = 1,
		.verb = "ask",
		.args = ask_display,
		.arg_count = 2,
		.answer_level = "1"};
	size_t before = queue_length(w);

	handle_api(&w->room, "f2", ROLE_CLIENT, &m, &w->arena, w->now);
	core_turn_end(w->core, w->now);
	assert_int_equal(queue_length(w), before);
}

// ---------------------------------------------------------------- enrolments

static void enrolment_make(struct sign_key *key, const char *id, enum role role, struct buf *out)
{
	struct enrolment e = {.id = id, .role = role, .name = "x", .public_key = {{1}}};
	struct key32 secret;
	struct buf payload;

	x25519_generate(&secret, &e.public_key);
	buf_init(&payload, 4096);
	assert_int_equal(enrolment_encode(&e, &payload), ERR_OK);
	assert_int_equal(
		envelope_make(PURPOSE_ENROLMENT, buf_bytes(&payload), &key, 1, out), ERR_OK);
	buf_fini(&payload);
}

static void only_an_enrol_key_enrols(void **state)
{
	struct world *w = *state;
	struct enrolment e;
	struct buf b;

	buf_init(&b, LIMIT_ENVELOPE);
	enrolment_make(w->keys.stranger, "n1", ROLE_CLIENT, &b);
	assert_int_equal(
		enrol_open(&w->keys.root, "server.1", buf_bytes(&b), &w->arena, &e), ERR_AUTH);
	enrolment_make(
		w->keys.image, "n1", ROLE_CLIENT, &b); // a key of the root, for another purpose
	assert_int_equal(
		enrol_open(&w->keys.root, "server.1", buf_bytes(&b), &w->arena, &e), ERR_AUTH);
	enrolment_make(w->keys.enrol, "n1", ROLE_SERVER, &b);
	assert_int_equal(enrol_open(&w->keys.root, "server.1", buf_bytes(&b), &w->arena, &e),
		ERR_UNSUPPORTED);
	enrolment_make(w->keys.enrol, "server.1", ROLE_CLIENT, &b);
	assert_int_equal(
		enrol_open(&w->keys.root, "server.1", buf_bytes(&b), &w->arena, &e), ERR_DENIED);
	b.data[b.size / 2] ^= 1;
	assert_int_not_equal(
		enrol_open(&w->keys.root, "server.9", buf_bytes(&b), &w->arena, &e), ERR_OK);
	enrolment_make(w->keys.enrol, "n1", ROLE_CLIENT, &b);
	assert_int_equal(
		enrol_open(&w->keys.root, "server.1", buf_bytes(&b), &w->arena, &e), ERR_OK);
	assert_string_equal(e.id, "n1");
	buf_fini(&b);
}

static void put_file(const char *dir, const char *name, struct bytes b)
{
	char path[512];

	assert_int_equal(path_join(path, sizeof(path), dir, name), ERR_OK);
	assert_int_equal(file_write_atomic(path, b.data, b.size, 0600), ERR_OK);
}

// Two files at a time: a large folder is read between turns.
static struct enrol_result scan(struct world *w, const char *dir)
{
	struct enrol_scan s = {
		.core = w->core, .root = &w->keys.root, .own_id = "server.1", .dir = dir};

	assert_int_equal(enrol_scan_begin(&s), ERR_OK);
	while (enrol_scan_some(&s, 2, w->now))
		assert_true(enrol_scan_is_open(&s));
	assert_false(enrol_scan_is_open(&s));
	return s.result;
}

static void a_folder_is_read_and_each_file_taken_once(void **state)
{
	struct world *w = *state;
	char dir[] = "/tmp/helio-unit-enrol-XXXXXX";
	struct enrol_scan nowhere = {.core = w->core, .dir = "/nonexistent"};
	struct client_info info;
	struct enrol_result r;
	struct buf b;

	assert_non_null(mkdtemp(dir));
	buf_init(&b, LIMIT_ENVELOPE);
	enrolment_make(w->keys.enrol, "n1", ROLE_CLIENT, &b);
	put_file(dir, "n1.enrol", buf_bytes(&b));
	put_file(dir, ".hidden.enrol", bytes_of("junk", 4));
	put_file(dir, "n1.txt", bytes_of("junk", 4));
	put_file(dir, "bad.enrol", bytes_of("junk", 4));
	put_file(dir, "empty.enrol", bytes_of("", 0));
	enrolment_make(w->keys.stranger, "n2", ROLE_CLIENT, &b);
	put_file(dir, "n2.enrol", buf_bytes(&b));
	enrolment_make(w->keys.enrol, "server.2", ROLE_SERVER, &b);
	put_file(dir, "server.enrol", buf_bytes(&b));

	r = scan(w, dir);
	core_turn_end(w->core, w->now);
	assert_int_equal(r.files, 5);
	assert_int_equal(r.added, 1);
	assert_int_equal(r.bad, 3);
	assert_int_equal(core_client_find(w->core, "n1", &info), ERR_OK);
	assert_int_equal(core_client_find(w->core, "n2", &info), ERR_NOT_FOUND);

	assert_int_equal(core_principal_remove(w->core, "n1"), ERR_OK);
	core_turn_end(w->core, w->now);
	r = scan(w, dir);
	assert_int_equal(r.added, 0); // what was removed does not come back by itself
	assert_int_equal(core_client_find(w->core, "n1", &info), ERR_NOT_FOUND);
	assert_int_equal(enrol_scan_begin(&nowhere), ERR_NOT_FOUND);
	assert_false(enrol_dir_is_large(dir));
	assert_false(enrol_dir_is_large("/nonexistent"));
	assert_int_equal(tree_remove(dir), ERR_OK);
	buf_fini(&b);
}

static const cJSON *server_at(const cJSON *j, int at)
{
	return cJSON_GetArrayItem(cJSON_GetObjectItem(j, "servers"), at);
}

static const char *range_at(const cJSON *o, int at)
{
	return cJSON_GetArrayItem(cJSON_GetObjectItem(o, "ranges"), at)->valuestring;
}

static void letter_lies(struct world *w, unsigned place)
{
	assert_int_equal(
		rows_letter_put(
			w->db, &(struct letter_row){.place = place, .client = "f1", .text = ""}, 1),
		ERR_OK);
}

// One alone has it all; of several each has what the store says, and the rest is nobody's.
static void servers_are_told_as_the_store_has_them(void **state)
{
	struct world *w = *state;
	uint64_t first = 0, second = 0;
	enum err e;
	cJSON *j = ask(w, "servers", NULL, 0, &e);

	assert_false(cJSON_IsTrue(cJSON_GetObjectItem(j, "shared")));
	assert_string_equal(range_at(server_at(j, 0), 0), "00-ff");
	assert_true(number_of(server_at(j, 0), "shards") == 256);
	cJSON_Delete(j);
	assert_int_equal(rows_server_term(w->db, "server.1", 5000, &first), ERR_OK);
	assert_int_equal(rows_server_term(w->db, "server.2", 5000, &second), ERR_OK);
	for (unsigned i = 0; i < SHARDS; i++)
		if (i < 64 || i >= 250)
			assert_int_equal(rows_shard_take(w->db, i, "server.2", second), ERR_OK);
		else if (i != 100)
			assert_int_equal(rows_shard_take(w->db, i, "server.1", first), ERR_OK);
	assert_int_equal(rows_shard_take(w->db, SHARD_LEAD, "server.1", first), ERR_OK);
	letter_lies(w, 0);
	letter_lies(w, 255);
	letter_lies(w, 100);
	letter_lies(w, SHARD_LEAD);
	letter_lies(w, LETTER_TO_ALL);
	j = ask(w, "servers", NULL, 0, &e);
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(j, "shared")));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(j, "servers")), 2);
	assert_string_equal(text_of(server_at(j, 0), "server"), "server.1");
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(server_at(j, 0), "leads")));
	assert_string_equal(range_at(server_at(j, 0), 0), "40-63");
	assert_string_equal(range_at(server_at(j, 0), 1), "65-f9");
	assert_true(number_of(server_at(j, 0), "shards") == 185);
	assert_true(number_of(server_at(j, 0), "letters") == 1);
	assert_false(cJSON_IsTrue(cJSON_GetObjectItem(server_at(j, 1), "leads")));
	assert_string_equal(range_at(server_at(j, 1), 0), "00-3f");
	assert_string_equal(range_at(server_at(j, 1), 1), "fa-ff");
	assert_true(number_of(server_at(j, 1), "letters") == 2);
	assert_true(number_of(server_at(j, 1), "fencing") == (double)second);
	assert_true(number_of(server_at(j, 1), "left_ms") > 0);
	assert_string_equal(range_at(cJSON_GetObjectItem(j, "nobody"), 0), "64-64");
	assert_true(number_of(cJSON_GetObjectItem(j, "nobody"), "letters") == 1);
	assert_true(number_of(j, "letters_to_all") == 1);
	cJSON_Delete(j);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_make, world_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verb_is_complete_and_unique),
		cmocka_unit_test(arguments_are_checked_against_their_rows),
		cmocka_unit_test(lists_and_texts_have_their_limits),
		T(every_reading_verb_answers_an_empty_fleet),
		T(status_counts_and_filters),
		T(a_large_fleet_is_told_in_pages),
		T(servers_are_told_as_the_store_has_them),
		T(a_rollout_goes_forward_and_back),
		T(packages_are_named_by_a_beginning_that_is_only_theirs),
		T(an_operator_cannot_saw_off_its_own_branch),
		T(one_request_has_one_effect),
		T(a_refusal_is_remembered_too),
		T(old_requests_are_forgotten_and_refused),
		T(only_operators_are_heard),
		T(only_an_enrol_key_enrols),
		T(a_folder_is_read_and_each_file_taken_once),
	};

	log_set_level((enum log_level)(LOG_ERROR + 1));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
