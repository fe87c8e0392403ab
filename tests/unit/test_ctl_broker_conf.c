// Rendering the broker templates.
#include "tests/unit/helper.h"

#include "server/ctl/broker_conf.h"

static const char *find(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "a") == 0 ? "1" : strcmp(name, "long_name") == 0 ? "{{ a }}" : NULL;
}

static enum err filled(const char *text, char out[256])
{
	SCOPED_BUF struct buf b;

	buf_init(&b, 255);
	enum err e = template_fill(bytes_of(text, strlen(text)), find, NULL, &b);
	memcpy(out, b.data ? (char *)b.data : "", b.size);
	out[b.size] = '\0';
	return e;
}

static void names_are_replaced_and_nothing_else(void **state)
{
	char out[256];

	(void)state;
	assert_int_equal(filled("x {{ a }}{{a}} {{  long_name  }} { } {a} }} %", out), ERR_OK);
	// A value is not read again: no second round.
	assert_string_equal(out, "x 11 {{ a }} { } {a} }} %");
	assert_int_equal(filled("", out), ERR_OK);
	assert_int_equal(filled("{", out), ERR_OK);
	assert_string_equal(out, "{");
}

static void more_than_names_is_refused(void **state)
{
	static const char *const more[] = {"{% if x %}", "{# no #}", "{{ a|upper }}", "{{ a",
		"{{ a }", "{{ }}", "{{ 'a' }}", "{{", "{{ a\n}}", "{{ a.b }}"};
	char out[256];

	(void)state;
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		assert_int_equal(filled(more[i], out), ERR_UNSUPPORTED);
	assert_int_equal(filled("{{ unknown }}", out), ERR_NOT_FOUND);
	assert_non_null(strstr(err_text(), "unknown"));
}

static void every_built_in_template_renders(void **state)
{
	static const char *const kinds[] = {"control", "data", "test"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		static struct broker_conf b;
		SCOPED_BUF struct buf out;
		char file[64];

		buf_init(&out, BROKER_CONF_MAX);
		assert_int_equal(broker_conf_open(&b, kinds[i], NULL), ERR_OK);
		assert_int_equal(broker_conf_set(&b, "port", "4711"), ERR_OK);
		snprintf(file, sizeof(file), "%s.conf.j2", kinds[i]);
		assert_int_equal(broker_conf_render(&b, file, &out), ERR_OK);
		assert_int_equal(buf_append(&out, "", 1), ERR_OK);
		assert_non_null(strstr((char *)out.data, "\nlistener 4711 "));
		assert_null(strstr((char *)out.data, "{{"));
		// Twice the same.
		SCOPED_BUF struct buf again;
		buf_init(&again, BROKER_CONF_MAX);
		assert_int_equal(broker_conf_render(&b, file, &again), ERR_OK);
		assert_int_equal(again.size + 1, out.size);
		broker_conf_close(&b);
	}
}

static void values_that_would_break_a_line_are_refused(void **state)
{
	static struct broker_conf b;

	(void)state;
	assert_int_equal(broker_conf_open(&b, "control", NULL), ERR_OK);
	assert_int_equal(broker_conf_set(&b, "port", "1\nallow_anonymous true"), ERR_FORMAT);
	assert_int_equal(broker_conf_set(&b, "port", "{{ x }}"), ERR_FORMAT);
	assert_int_equal(broker_conf_set(&b, "servers", "a b/c"), ERR_FORMAT);
	assert_int_equal(broker_conf_set(&b, "servers", "+"), ERR_FORMAT);
	assert_int_equal(broker_conf_set(&b, "nothing", "1"), ERR_NOT_FOUND);
	assert_int_equal(broker_conf_set(&b, "kind", "data"), ERR_NOT_FOUND);
	assert_int_equal(broker_conf_set(&b, "servers", "  a   b.2 "), ERR_OK);
	assert_int_equal(broker_conf_set(&b, "publishers", ""), ERR_OK);
	SCOPED_BUF struct buf out;
	buf_init(&out, BROKER_CONF_MAX);
	assert_int_equal(broker_conf_render(&b, "acl-control.j2", &out), ERR_OK);
	assert_int_equal(buf_append(&out, "", 1), ERR_OK);
	assert_non_null(strstr((char *)out.data, "\nuser a\n"));
	assert_non_null(strstr((char *)out.data, "\nuser b.2\n"));
	assert_null(strstr((char *)out.data, "helio/v1/pub/publisher"));
	broker_conf_close(&b);
	assert_int_equal(broker_conf_open(&b, "emperor", NULL), ERR_NOT_FOUND);
	broker_conf_close(&b);
}

static void put(const char *folder, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), ERR_OK);
}

static void damaged_defaults_are_named(void **state)
{
	static struct broker_conf b;
	static const char *const bad[] = {
		"port: 1\n", "port \"1\"\n", ": \"1\"\n", "port: \"1\n", "- port: \"1\"\n"};

	put(*state, "defaults-test.yml", "kind: \"test\"\n");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(*state, "defaults.yml", bad[i]);
		assert_int_equal(broker_conf_open(&b, "test", *state), ERR_FORMAT);
		assert_non_null(strstr(err_text(), "defaults.yml:1"));
		broker_conf_close(&b);
	}
	put(*state, "defaults.yml", "a: \"{{ b }}\"\nb: \"{{ a }}\"\n");
	put(*state, "test.conf.j2", "x");
	assert_int_equal(broker_conf_open(&b, "test", *state), ERR_OK);
	SCOPED_BUF struct buf out;
	buf_init(&out, 1000);
	assert_int_equal(broker_conf_render(&b, "test.conf.j2", &out), ERR_FORMAT);
	broker_conf_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_replaced_and_nothing_else),
		cmocka_unit_test(more_than_names_is_refused),
		cmocka_unit_test(every_built_in_template_renders),
		cmocka_unit_test(values_that_would_break_a_line_are_refused),
		cmocka_unit_test_setup_teardown(
			damaged_defaults_are_named, temp_dir_make, temp_dir_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
