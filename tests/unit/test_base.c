// The ground: errors, arena, buffer, hex, files, settings, token bucket.
#include "tests/unit/helper.h"
#include "tests/unit/bad_paths.h"

#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/ratelimit.h"
#include "proto/base/settings.h"
#include "proto/base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static void an_error_keeps_its_sentence_and_knows_errno(void **state)
{
	(void)state;
	assert_int_equal(err_set(ERR_RANGE, "x is %d", 7), ERR_RANGE);
	assert_string_equal(err_text(), "x is 7");
	err_set(ERR_RANGE, "outer: %s", err_text());
	assert_string_equal(err_text(), "outer: x is 7");
	errno = ENOSPC;
	assert_int_equal(err_set_errno("write"), ERR_NO_SPACE);
	errno = EROFS;
	assert_int_equal(err_set_errno("write"), ERR_READ_ONLY);
	for (int e = 0; e < ERR_COUNT; e++)
		assert_string_not_equal(err_word((enum err)e), "?");
}

static void an_arena_never_exceeds_budget_or_count(void **state)
{
	(void)state;
	struct arena a;

	arena_init(&a, 1000, 5);
	assert_null(arena_alloc(&a, 1001));
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_null(arena_array(&a, SIZE_MAX / 2, 4));
	uint8_t *p = arena_alloc(&a, 100);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % 16, 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	for (int i = 0; i < 4; i++)
		assert_non_null(arena_alloc(&a, 1));
	assert_null(arena_alloc(&a, 1));
	memset(p, 0xff, 100);
	arena_reset(&a);
	p = arena_alloc(&a, 100);
	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	assert_string_equal(arena_printf(&a, "%s-%d", "ab", 12), "ab-12");
	arena_fini(&a);
}

static void an_arena_grows_over_blocks(void **state)
{
	(void)state;
	struct arena a;
	char *texts[2000];

	arena_init(&a, 1 << 20, 1 << 20);
	for (int i = 0; i < 2000; i++)
		texts[i] = arena_printf(&a, "text %d", i);
	for (int i = 0; i < 2000; i++) {
		char expected[32];

		snprintf(expected, sizeof(expected), "text %d", i);
		assert_string_equal(texts[i], expected);
	}
	arena_fini(&a);
}

static void a_buffer_stops_at_its_limit(void **state)
{
	(void)state;
	struct buf b;

	buf_init(&b, 1000);
	for (int i = 0; i < 100; i++)
		assert_int_equal(buf_append(&b, "0123456789", 10), ERR_OK);
	assert_int_equal(buf_append(&b, "x", 1), ERR_FULL);
	assert_int_equal(b.size, 1000);
	assert_memory_equal(b.data + 990, "0123456789", 10);
	buf_fini(&b);
}

static void hex_goes_both_ways_and_refuses_the_rest(void **state)
{
	(void)state;
	uint8_t out[4];
	char hex[9];

	assert_int_equal(hex_decode("00ffA5c3", out, 4), ERR_OK);
	hex_encode(out, 4, hex);
	assert_string_equal(hex, "00ffa5c3");
	assert_int_equal(hex_decode("00ff", out, 4), ERR_FORMAT);
	assert_int_equal(hex_decode("00ffA5cg", out, 4), ERR_FORMAT);
	assert_int_equal(hex_decode("00ffA5c3aa", out, 4), ERR_FORMAT);
}

static void C3_only_plain_relative_paths_are_safe(void **state)
{
	(void)state;
	static const char *const good[] = { "a", "a/b/c.jpg", "0001-sea.jpg", "A_b-c/9", "x..y", "con" };
	char longest[202];

	bad_paths_make();
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(path_is_safe(good[i]));
	for (size_t i = 0; i < BAD_PATH_COUNT; i++)
		assert_false(path_is_safe(bad_paths[i]));
	memset(longest, 'a', 101);
	longest[101] = '\0';
	assert_false(path_is_safe(longest));
	longest[100] = '\0';
	assert_true(path_is_safe(longest));
}

static void a_file_is_replaced_whole(void **state)
{
	const char *dir = *state;
	char path[300], other[300];
	SCOPED_BUF struct buf b;
	struct stat st;

	buf_init(&b, 10);
	assert_int_equal(path_join(path, sizeof(path), dir, "f"), ERR_OK);
	assert_int_equal(file_read(path, &b), ERR_NOT_FOUND);
	assert_int_equal(file_write_atomic(path, "hello", 5, 0600), ERR_OK);
	assert_int_equal(file_write_atomic(path, "0123456789", 10, 0644), ERR_OK);
	assert_int_equal(file_read(path, &b), ERR_OK);
	assert_int_equal(b.size, 10);
	assert_int_equal(file_read_secret(path, &b), ERR_DENIED);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(path_join(other, sizeof(other), dir, "f.tmp"), ERR_OK);
	assert_int_equal(stat(other, &st), -1);
	assert_int_equal(file_write_atomic(path, "01234567890", 11, 0600), ERR_OK);
	assert_int_equal(file_read(path, &b), ERR_FULL);
}

static void a_tree_is_removed_and_links_are_not_followed(void **state)
{
	const char *dir = *state;
	char keep[300], tree[300], inner[310], link[320], file[330];
	struct stat st;

	snprintf(keep, sizeof(keep), "%s/keep", dir);
	snprintf(tree, sizeof(tree), "%s/tree", dir);
	snprintf(inner, sizeof(inner), "%s/a/b", tree);
	snprintf(link, sizeof(link), "%s/out", inner);
	snprintf(file, sizeof(file), "%s/file", keep);
	assert_int_equal(dir_make(keep), ERR_OK);
	assert_int_equal(file_write_atomic(file, "x", 1, 0600), ERR_OK);
	assert_int_equal(dir_make(inner), ERR_OK);
	assert_int_equal(symlink(keep, link), 0);
	assert_int_equal(tree_remove(tree), ERR_OK);
	assert_int_equal(stat(tree, &st), -1);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(tree_remove(tree), ERR_OK);
}

static void a_lock_is_held_once(void **state)
{
	char path[300];
	int first = -1, second = -1;

	snprintf(path, sizeof(path), "%s/lock", (const char *)*state);
	assert_int_equal(lock_take(path, &first), ERR_OK);
	assert_int_equal(lock_take(path, &second), ERR_EXISTS);
	close(first);
	assert_int_equal(lock_take(path, &second), ERR_OK);
	close(second);
}

struct sample {
	char name[16], path[300], level[8];
	uint32_t port;
	uint64_t size;
	bool on;
	struct setting_list items;
};

static const struct setting sample_rows[] = {
	{ "a", "name", SETTING_STRING, offsetof(struct sample, name), 16, 1, 0, NULL, NULL, "a name" },
	{ "a", "path", SETTING_PATH, offsetof(struct sample, path), 300, 0, 0, "", NULL, "a path" },
	{ "b", "level", SETTING_WORD, offsetof(struct sample, level), 8, 1, 0, "info", "debug|info|warn", "words" },
	{ "b", "port", SETTING_U32, offsetof(struct sample, port), 0, 1, 65535, "8883", NULL, "a port" },
	{ "b", "size", SETTING_U64, offsetof(struct sample, size), 0, 0, UINT64_MAX, "0", NULL, "bytes" },
	{ "b", "on", SETTING_BOOL, offsetof(struct sample, on), 0, 0, 0, "no", NULL, "a switch" },
	{ "b", "item", SETTING_LIST, offsetof(struct sample, items), 0, 0, 0, "", NULL, "a list" },
};

static enum err sample_read(const char *dir, const char *text, struct sample *out)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/settings.ini", dir);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), ERR_OK);
	memset(out, 0, sizeof(*out));
	enum err e = settings_read(path, sample_rows, sizeof(sample_rows) / sizeof(*sample_rows), out);

	if (e != ERR_OK)
		settings_fini(sample_rows, sizeof(sample_rows) / sizeof(*sample_rows), out);
	return e;
}

static void settings_fill_defaults_then_the_file(void **state)
{
	struct sample s;

	assert_int_equal(sample_read(*state, "[a]\nname = x\npath = sub/f\n[b]\nlevel=warn\nport=1\non=yes\nitem=1\nitem=2\n", &s), ERR_OK);
	assert_string_equal(s.name, "x");
	assert_string_equal(s.level, "warn");
	assert_int_equal(s.port, 1);
	assert_true(s.on);
	assert_int_equal(s.items.count, 2);
	assert_string_equal(s.items.items[1], "2");
	assert_true(s.path[0] == '/' && strstr(s.path, "/sub/f"));
	settings_fini(sample_rows, sizeof(sample_rows) / sizeof(*sample_rows), &s);
}

static void bad_settings_name_file_line_and_row(void **state)
{
	static const struct {
		const char *text, *says;
		enum err e;
	} cases[] = {
		{ "[a]\n", "name is missing", ERR_NOT_FOUND },
		{ "[a]\nname=x\nfoo=1\n", ":3: [a] foo is not a setting", ERR_FORMAT },
		{ "[a]\nname=0123456789012345\n", "longer than 15", ERR_RANGE },
		{ "[a]\nname=x\n[b]\nport=0\n", ":4: [b] port = 0 lies outside 1..65535", ERR_RANGE },
		{ "[a]\nname=x\n[b]\nport=65536\n", "outside", ERR_RANGE },
		{ "[a]\nname=x\n[b]\nport=-1\n", "not a number", ERR_FORMAT },
		{ "[a]\nname=x\n[b]\nport=8x\n", "not a number", ERR_FORMAT },
		{ "[a]\nname=x\n[b]\non=maybe\n", "neither true nor false", ERR_FORMAT },
		{ "[a]\nname=x\n[b]\nlevel=loud\n", "not one of", ERR_RANGE },
		{ "[a]\nname=x\n[b]\nlevel=inf\n", "not one of", ERR_RANGE },
		{ "[a]\nname=x\nname=y\n", "given twice", ERR_EXISTS },
		{ "[a]\nname=x\nrubbish\n", ":3", ERR_FORMAT },
		// Good lines, and worse ones, follow: the first error is told, where it stands.
		{ "[a]\nname=x\nfoo=1\n[b]\nport=1\nsize=2\n", ":3: [a] foo is not a setting", ERR_FORMAT },
		{ "[a]\nname=x\n[b]\nport=0\nsize=x\n", ":4: [b] port = 0", ERR_RANGE },
		{ "[a]\nname=x\nrubbish\n[b]\nport=0\n", ":5: [b] port = 0", ERR_RANGE },
	};
	struct sample s;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(sample_read(*state, cases[i].text, &s), cases[i].e);
		if (!strstr(err_text(), cases[i].says))
			fail_msg("case %zu says: %s", i, err_text());
	}
}

static void a_token_bucket_keeps_its_rate(void **state)
{
	(void)state;
	struct ratelimit r;
	struct mono t = { 1000 };
	uint64_t sent = 0;

	ratelimit_init(&r, 1000, 200, t);
	for (int ms = 0; ms < 10000; ms++) {
		struct mono now = { 1000 + ms };

		while (ratelimit_take(&r, 150, now))
			sent += 150;
	}
	assert_in_range(sent, 9900, 10350);
	struct mono end = mono_add_ms(t, 9999);
	int64_t wait_ms = ratelimit_wait_ms(&r, 150, end);
	assert_in_range(wait_ms, 1, 151);
	assert_false(ratelimit_take(&r, 150, mono_add_ms(end, wait_ms - 2)));
	assert_true(ratelimit_take(&r, 150, mono_add_ms(end, wait_ms)));
	// Larger than the bucket: goes when the bucket is full, and time pays for it.
	ratelimit_init(&r, 1000, 200, t);
	assert_true(ratelimit_take(&r, 5000, t));
	assert_false(ratelimit_take(&r, 1, mono_add_ms(t, 4799)));
	assert_true(ratelimit_take(&r, 1, mono_add_ms(t, 4802)));
	ratelimit_set(&r, 0, 0, t);
	assert_true(ratelimit_take(&r, UINT32_MAX, t));
}

static void a_log_value_cannot_make_a_second_line(void **state)
{
	(void)state;
	assert_string_equal(log_quote("plain"), "plain");
	assert_string_equal(log_quote("two words"), "\"two words\"");
	assert_string_equal(log_quote("a\nb\x1b]"), "\"a\\x0ab\\x1b]\"");
	assert_string_equal(log_quote(""), "\"\"");
	// C11: no text moves a cursor, turns the reading direction or hides.
	assert_string_equal(log_quote("a\xe2\x80\xae z"), "\"a\\u{202e} z\"");
	assert_string_equal(log_quote("\xc2\x9b"), "\"\\u{9b}\"");
	assert_string_equal(log_quote("\xff\xc3"), "\"\\xff\\xc3\"");
	assert_string_equal(log_quote("\xc3\xa4 \xef\xbf\xbd"), "\"\xc3\xa4 \xef\xbf\xbd\"");
}

static void wall_time_is_printed_as_utc(void **state)
{
	(void)state;
	char out[32];

	wall_format((struct wall){ 0 }, out);
	assert_string_equal(out, "1970-01-01T00:00:00.000Z");
	wall_format((struct wall){ 1795238275123 }, out);
	assert_string_equal(out, "2026-11-21T05:17:55.123Z");
}

static void C11_a_sentence_and_a_record_are_one_line_of_plain_text(void **state)
{
	char kept[4096];

	(void)state;
	assert_int_equal(err_set(ERR_RANGE, "no %s here", "a\r\n\x1b]52;c\x07\xe2\x80\xae\xff\xc3\xa4"), ERR_RANGE);
	assert_string_equal(err_text(), "no a   ]52;c     \xc3\xa4 here");
	log_keep(sizeof(kept));
	log_error("HOSTILE", "raw=%s", "a\nFORGED \x1b[2J\xe2\x80\xae\xc2\x9b");
	size_t size = log_kept(kept, sizeof(kept) - 1);
	kept[size] = '\0';
	assert_true(strchr(kept, '\n') == kept + size - 1);
	assert_non_null(strstr(kept, " HOSTILE raw=a FORGED  [2J"));
	assert_null(strstr(kept, "\xe2"));
	for (const char *p = kept; p < kept + size - 1; p++)
		assert_in_range((unsigned char)*p, 0x20, 0x7e);
}

static bool is_utf8(const char *s)
{
	size_t size = strlen(s);

	for (size_t i = 0, n; i < size; i += n)
		if (text_next(s + i, size - i, &n) == 0xfffd && n == 1)
			return false;
	return true;
}

// What a cut at `most` bytes gives of s: as much as there is, and no half of a character.
static void assert_cut(const char *s, const char *cut, size_t most)
{
	size_t size = strlen(cut);

	assert_true(size <= most && memcmp(s, cut, size) == 0);
	assert_true(is_utf8(cut));
	assert_true(strlen(s) <= most ? size == strlen(s) : size + 4 > most);
}

// Characters of one to four bytes, begun at every offset, cut at every place.
static void C11_text_is_cut_between_characters(void **state)
{
	static const char *const characters[] = {"x", "\u00fc", "\u20ac", "\U0001f600"};
	char text[2200], cut[64], one[2];

	(void)state;
	for (size_t c = 0; c < 4; c++) {
		for (size_t before = 0; before < 4; before++) {
			size_t at = before, n = strlen(characters[c]);
			memset(text, 'a', before);
			for (; at + n < 48; at += n)
				memcpy(text + at, characters[c], n);
			text[at] = '\0';
			for (size_t most = 1; most < 60; most++) {
				text_format(cut, most + 1, "%s", text);
				assert_cut(text, cut, most);
				text_format(cut, sizeof(cut), "%.*s", text_most(text, most), text);
				assert_cut(text, cut, most);
			}
			// A record, a value and a sentence cut what is longer than they are.
			for (; at + n < sizeof(text); at += n)
				memcpy(text + at, characters[c], n);
			text[at] = '\0';
			assert_true(is_utf8(log_quote(text)) && !strchr(log_quote(text), '\\'));
			err_set(ERR_IO, "%s", text);
			assert_cut(text, err_text(), 1023);
		}
	}
	text_format(one, 1, "x");
	assert_string_equal(one, "");
	// What was no UTF-8 before the cut is left to others.
	assert_int_equal(text_whole("a\xff\x80\x80\x80\x80", 6), 6);
	assert_int_equal(text_whole("\x80\x80\x80", 3), 3);
	assert_int_equal(text_whole("", 0), 0);
	assert_int_equal(text_whole("\xf0\x9f\x98", 3), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C11_a_sentence_and_a_record_are_one_line_of_plain_text),
		cmocka_unit_test(an_error_keeps_its_sentence_and_knows_errno),
		cmocka_unit_test(an_arena_never_exceeds_budget_or_count),
		cmocka_unit_test(an_arena_grows_over_blocks),
		cmocka_unit_test(a_buffer_stops_at_its_limit),
		cmocka_unit_test(hex_goes_both_ways_and_refuses_the_rest),
		cmocka_unit_test(C3_only_plain_relative_paths_are_safe),
		cmocka_unit_test_setup_teardown(a_file_is_replaced_whole, temp_dir_make, temp_dir_drop),
		cmocka_unit_test_setup_teardown(a_tree_is_removed_and_links_are_not_followed, temp_dir_make, temp_dir_drop),
		cmocka_unit_test_setup_teardown(a_lock_is_held_once, temp_dir_make, temp_dir_drop),
		cmocka_unit_test_setup_teardown(settings_fill_defaults_then_the_file, temp_dir_make, temp_dir_drop),
		cmocka_unit_test_setup_teardown(bad_settings_name_file_line_and_row, temp_dir_make, temp_dir_drop),
		cmocka_unit_test(a_token_bucket_keeps_its_rate),
		cmocka_unit_test(a_log_value_cannot_make_a_second_line),
		cmocka_unit_test(C11_text_is_cut_between_characters),
		cmocka_unit_test(wall_time_is_printed_as_utc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
