// Which pictures of a folder are added: what the disk does not list is not absent.
#include "server/ctl/ctl.h"
#include "tests/unit/failing_readdir.h"
#include "tests/unit/helper.h"

#include <fcntl.h>

struct run {
	enum exit_code code;
	struct buf said; // on standard error
};

static void file_put(const char *dir, const char *name)
{
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(file_write_atomic(path, "x", 1, 0644), ERR_OK);
}

// Nobody is there to take the pictures: what was found first is told by how it ends.
static struct run add(const char *dir, bool recursive, int listings)
{
	char path[200];
	const char *words[] = {dir};
	struct args_option option = {.name = "recursive", .value = ""};
	const struct args a = {
		.words = words, .word_count = 1, .options = &option, .option_count = recursive};
	struct ctl c = {.timeout_ms = 60000, .quiet = true};
	struct run r;

	(void)snprintf(path, sizeof(path), "%s.said", dir);
	SCOPED_FD int to = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	SCOPED_FD int kept = dup(STDERR_FILENO);
	assert_true(to >= 0 && kept >= 0 && dup2(to, STDERR_FILENO) >= 0);
	(void)str_copy(c.settings.publisher_socket, sizeof(c.settings.publisher_socket),
		"/nonexistent/socket");
	listings_left = listings;
	r.code = cmd_image_add(&c, &a);
	listings_left = -1;
	assert_true(dup2(kept, STDERR_FILENO) >= 0);
	buf_init(&r.said, 10000);
	assert_int_equal(file_read(path, &r.said), ERR_OK);
	assert_int_equal(buf_append(&r.said, "", 1), ERR_OK);
	assert_int_equal(unlink(path), 0);
	return r;
}

static void assert_said(struct run r, const char *what, bool is)
{
	bool found = strstr((const char *)r.said.data, what) != NULL;

	if (found != is)
		fail_msg("%s '%s': %s", is ? "not" : "wrongly", what, (const char *)r.said.data);
	assert_int_not_equal(r.code, EXIT_DONE);
	buf_fini(&r.said);
}

static void a_folder_that_is_not_listed_to_its_end_is_not_added(void **state)
{
	const char *dir = *state;

	file_put(dir, "a.jpg");
	file_put(dir, "b.jpg");
	for (int calls = 0; calls < 5; calls++) // ., .., the two, and the end
		for (int recursive = 0; recursive < 2; recursive++)
			assert_said(add(dir, recursive != 0, calls), "cannot read folder", true);
	// The control: all were found, and only the publisher is not there.
	assert_said(add(dir, false, -1), "cannot read folder", false);
	assert_said(add(dir, true, 5), "/nonexistent/socket", true);
}

static void a_folder_below_that_is_not_listed_to_its_end_is_told(void **state)
{
	const char *dir = *state;
	char below[200];

	(void)snprintf(below, sizeof(below), "%s/below", dir);
	assert_int_equal(dir_make(below), ERR_OK);
	file_put(dir, "a.jpg");
	file_put(below, "b.jpg");
	for (int calls = 5; calls < 9; calls++) // behind those of the folder itself
		assert_said(add(dir, true, calls), "/below", true);
	assert_said(add(dir, true, 9), "/below", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_folder_that_is_not_listed_to_its_end_is_not_added,
			temp_dir_make, temp_dir_drop),
		cmocka_unit_test_setup_teardown(
			a_folder_below_that_is_not_listed_to_its_end_is_told, temp_dir_make,
			temp_dir_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
