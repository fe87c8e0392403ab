// The agent's lasting memory: what is written reads back, what is damaged is noticed, and one of
// two copies is always whole.
#include "client/escape.h"
#include "client/state_file.h"
#include "proto/digest.h"
#include "tests/unit/helper.h"

#include <fcntl.h>
#include <sys/stat.h>

static const struct id16 store_id = {{1, 2, 3}};

static void state_fill(struct agent_state *s)
{
	agent_state_init(s, &store_id);
	s->generation = 3;
	s->boot_counter = 7;
	s->lineage.b[15] = 9;
	s->session_id = UINT64_MAX;
	s->last_response_id = 5ull << 32 | 6;
	s->interval_ms = 300;
	s->reconnect_spread_ms = 10000;
	s->time_floor_ms = 1700000000000;
	assert_true(str_copy(s->showing, sizeof s->showing, "spring"));
	s->op = (struct op_record){.op_id = 5ull << 32 | 6,
		.kind = KIND_EXECUTE_COMMAND,
		.status = OP_RUNNING,
		.percent = 41,
		.report_id = 4,
		.started = true,
		.detail = "100%\ttab\nline"};
	assert_int_equal(buf_append(&s->body, "\0body\xff", 6), ERR_OK);
	for (uint64_t i = 1; i <= 300; i++)
		agent_state_add_op(s, i);
	assert_int_equal(agent_state_raise_floor(s, "firmware", 12), ERR_OK);
	assert_int_equal(agent_state_add_change(s, "brightness", "a\tb%\n"), ERR_OK);
	assert_int_equal(agent_state_add_change(s, "volume", ""), ERR_OK);
}

static void what_is_written_reads_back(void **state)
{
	struct agent_state a, b;
	SCOPED_BUF struct buf text;
	SCOPED_BUF struct buf again;
	(void)state;
	buf_init(&text, AGENT_STATE_MAX);
	buf_init(&again, AGENT_STATE_MAX);
	state_fill(&a);
	agent_state_init(&b, &store_id);
	assert_int_equal(agent_state_encode(&a, &text), ERR_OK);
	assert_int_equal(agent_state_decode(buf_bytes(&text), &b), ERR_OK);
	assert_int_equal(agent_state_encode(&b, &again), ERR_OK);
	assert_int_equal(text.size, again.size);
	assert_memory_equal(text.data, again.data, text.size);
	assert_string_equal(b.op.detail, a.op.detail);
	assert_true(b.op.started);
	assert_int_equal(b.body.size, 6);
	assert_true(agent_state_knows_op(&b, 300));
	assert_true(agent_state_knows_op(&b, 45));
	assert_false(agent_state_knows_op(&b, 44)); // only the last 256
	assert_int_equal(b.reconnect_spread_ms, 10000);
	assert_int_equal(agent_state_floor(&b, "firmware"), 12);
	assert_int_equal(b.change_count, 2);
	assert_string_equal(b.changes[0].value, "a\tb%\n");
	assert_int_equal(b.changes[1].change_id, 2);
	assert_int_equal(b.change_id, 2);
	agent_state_drop_changes(&b, 1);
	assert_int_equal(b.change_count, 1);
	agent_state_fini(&a);
	agent_state_fini(&b);
}

static void every_flipped_bit_and_every_cut_is_noticed(void **state)
{
	struct agent_state a, b;
	SCOPED_BUF struct buf text;
	(void)state;
	buf_init(&text, AGENT_STATE_MAX);
	state_fill(&a);
	a.done_count = 0;
	agent_state_init(&b, &store_id);
	assert_int_equal(agent_state_encode(&a, &text), ERR_OK);
	for (size_t bit = 0; bit < text.size * 8; bit++) {
		text.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_int_not_equal(agent_state_decode(buf_bytes(&text), &b), ERR_OK);
		text.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	for (size_t size = 0; size < text.size; size++)
		assert_int_equal(agent_state_decode(bytes_of(text.data, size), &b), ERR_CORRUPT);
	assert_int_equal(agent_state_decode(buf_bytes(&text), &b), ERR_OK);
	agent_state_fini(&a);
	agent_state_fini(&b);
}

static void floors_never_fall_and_are_bounded(void **state)
{
	struct agent_state s;
	char name[16];
	(void)state;
	agent_state_init(&s, &store_id);
	for (int i = 0; i < LIMIT_SOFTWARE; i++) {
		(void)snprintf(name, sizeof name, "s%d", i);
		assert_int_equal(agent_state_raise_floor(&s, name, 5), ERR_OK);
	}
	assert_int_equal(agent_state_raise_floor(&s, "one-too-many", 5), ERR_FULL);
	assert_int_equal(agent_state_raise_floor(&s, "s3", 4), ERR_OK);
	assert_int_equal(agent_state_floor(&s, "s3"), 5);
	assert_int_equal(agent_state_floor(&s, "unknown"), 0);
	agent_state_fini(&s);
}

static void save(struct state_file *f, uint64_t boot)
{
	struct agent_state s;
	SCOPED_BUF struct buf text;
	buf_init(&text, AGENT_STATE_MAX);
	agent_state_init(&s, &store_id);
	s.boot_counter = boot;
	assert_int_equal(agent_state_encode(&s, &text), ERR_OK);
	assert_int_equal(state_file_write(f, buf_bytes(&text)), ERR_OK);
	agent_state_fini(&s);
}

static void scribble(const char *path)
{
	int fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "#", 1, 30), 1);
	close(fd);
}

static void the_copy_before_is_used_when_the_newest_is_damaged_and_says_so(void **state)
{
	struct state_file f;
	struct agent_state s;
	enum state_source source;
	agent_state_init(&s, &store_id);
	assert_int_equal(state_file_init(&f, *state), ERR_OK);
	assert_int_equal(state_file_read(&f, &s, &source), ERR_OK);
	assert_int_equal(source, STATE_NEW);
	struct id16 fresh = s.store_id;
	assert_memory_not_equal(&fresh, &store_id, sizeof fresh);
	save(&f, 1);
	save(&f, 2);
	assert_int_equal(state_file_read(&f, &s, &source), ERR_OK);
	assert_int_equal(source, STATE_READ);
	assert_int_equal(s.boot_counter, 2);
	assert_false(s.uncertain);
	scribble(f.path);
	assert_int_equal(state_file_read(&f, &s, &source), ERR_OK);
	assert_int_equal(source, STATE_PREVIOUS);
	assert_true(s.uncertain);
	assert_true(s.boot_counter >= 2); // never below what was used
	agent_state_fini(&s);
}

static void a_cut_between_the_two_renames_loses_nothing_that_was_promised(void **state)
{
	struct state_file f;
	struct agent_state s;
	enum state_source source;
	agent_state_init(&s, &store_id);
	assert_int_equal(state_file_init(&f, *state), ERR_OK);
	save(&f, 5);
	assert_int_equal(rename(f.path, f.prev), 0);
	assert_int_equal(state_file_read(&f, &s, &source), ERR_OK);
	assert_int_equal(source, STATE_READ);
	assert_int_equal(s.boot_counter, 5);
	assert_false(s.uncertain);
	agent_state_fini(&s);
}

static void with_both_copies_damaged_a_new_store_begins_and_the_old_ones_are_kept_aside(
	void **state)
{
	struct state_file f;
	struct agent_state s;
	enum state_source source;
	char bad[400];
	agent_state_init(&s, &store_id);
	assert_int_equal(state_file_init(&f, *state), ERR_OK);
	save(&f, 1);
	save(&f, 2);
	scribble(f.path);
	scribble(f.prev);
	assert_int_equal(state_file_read(&f, &s, &source), ERR_OK);
	assert_int_equal(source, STATE_LOST);
	assert_int_equal(s.boot_counter, 0);
	assert_memory_not_equal(&s.store_id, &store_id, sizeof store_id);
	(void)snprintf(bad, sizeof bad, "%s.bad", f.path);
	assert_int_equal(access(bad, F_OK), 0);
	agent_state_fini(&s);
}

static void a_state_of_a_newer_agent_is_never_overwritten(void **state)
{
	struct state_file f;
	struct agent_state s;
	enum state_source source;
	SCOPED_BUF struct buf text;
	buf_init(&text, AGENT_STATE_MAX);
	agent_state_init(&s, &store_id);
	assert_int_equal(state_file_init(&f, *state), ERR_OK);
	assert_int_equal(buf_printf(&text, "helio-agent-state\t4\nsomething\tnew\n"), ERR_OK);
	struct digest d = sha256(text.data, text.size);
	assert_int_equal(buf_printf(&text, "end\t%s\n", digest_hex(&d)), ERR_OK);
	assert_int_equal(file_write_atomic(f.path, text.data, text.size, 0600), ERR_OK);
	assert_int_equal(state_file_read(&f, &s, &source), ERR_VERSION);
	assert_int_equal(access(f.path, F_OK), 0);
	agent_state_fini(&s);
}

static void text_fields_survive_any_byte(void **state)
{
	char text[256], *f[3];
	SCOPED_BUF struct buf out;
	(void)state;
	buf_init(&out, 4096);
	for (int i = 1; i < 256; i++)
		text[i - 1] = (char)i;
	text[255] = '\0';
	assert_int_equal(escape_append(&out, text), ERR_OK);
	assert_int_equal(buf_append(&out, "", 1), ERR_OK);
	assert_null(strpbrk((char *)out.data, "\t\n\r"));
	assert_true(escape_decode((char *)out.data));
	assert_string_equal((char *)out.data, text);
	char broken[] = "a%zz", cut[] = "a%4", nul[] = "a%00";
	assert_false(escape_decode(broken));
	assert_false(escape_decode(cut));
	assert_false(escape_decode(nul));
	char line[] = "a\tb\tc\td";
	assert_int_equal(record_fields(line, f, 3), 3);
	assert_string_equal(f[2], "c\td");
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, temp_dir_make, temp_dir_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_reads_back),
		cmocka_unit_test(every_flipped_bit_and_every_cut_is_noticed),
		cmocka_unit_test(floors_never_fall_and_are_bounded),
		IN_FOLDER(the_copy_before_is_used_when_the_newest_is_damaged_and_says_so),
		IN_FOLDER(a_cut_between_the_two_renames_loses_nothing_that_was_promised),
		IN_FOLDER(
			with_both_copies_damaged_a_new_store_begins_and_the_old_ones_are_kept_aside),
		IN_FOLDER(a_state_of_a_newer_agent_is_never_overwritten),
		cmocka_unit_test(text_fields_survive_any_byte),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
