// The symlink handler, ended before each of its steps: `current` names the old release or the new
// one, whole, at every moment; and who comes after ends what was begun, or undoes it.
#include "client/installer.h"
#include "client/update_handler.h"
#include "proto/base/file.h"
#include "tests/unit/helper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct rig {
	char dir[64];
	struct update_row row;
	struct update_call call;
};

static void put(const char *dir, const char *name, const char *text)
{
	char path[DEPOT_PATH];
	assert_int_equal(path_join(path, sizeof path, dir, name), ERR_OK);
	char *slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(dir_make(path), ERR_OK);
	*slash = '/';
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0755), ERR_OK);
}

// Release 1 lies there, switched to; the package of release 2 waits.
static void rig_open(struct rig *x)
{
	*x = (struct rig){.dir = "/tmp/helio-unit-XXXXXX"};
	assert_non_null(mkdtemp(x->dir));
	x->row = (struct update_row){.name = "app", .handler = &update_symlink};
	(void)snprintf(x->row.root, sizeof x->row.root, "%s/app", x->dir);
	put(x->row.root, "releases/1/bin/run", "one");
	put(x->row.root, "releases/1/end", "whole");
	char path[DEPOT_PATH];
	(void)snprintf(path, sizeof path, "%s/current", x->row.root);
	assert_int_equal(symlink("releases/1", path), 0);
	x->call = (struct update_call){
		.row = &x->row, .name = "app", .version = "2", .token = "1", .package = {{7}}};
	(void)snprintf(x->call.folder, sizeof x->call.folder, "%s/package", x->dir);
	put(x->call.folder, "bin/run", "two");
	put(x->call.folder, "end", "whole");
}

static void rig_close(struct rig *x)
{
	assert_int_equal(tree_remove(x->dir), ERR_OK);
}

static enum err verb(struct rig *x, enum update_verb v)
{
	struct update_said said = {0};
	x->call.verb = v;
	return update_symlink.work(&x->call, &said);
}

static void assert_file(const struct rig *x, const char *name, const char *want)
{
	char path[DEPOT_PATH];
	SCOPED_BUF struct buf text;
	buf_init(&text, 1000);
	assert_int_equal(path_join(path, sizeof path, x->row.root, name), ERR_OK);
	assert_int_equal(file_read(path, &text), ERR_OK);
	assert_int_equal(text.size, strlen(want));
	assert_memory_equal(text.data, want, text.size);
}

// What `current` names: 1 or 2, and all of it.
static int current(const struct rig *x)
{
	char path[DEPOT_PATH], target[64] = "";
	(void)snprintf(path, sizeof path, "%s/current", x->row.root);
	ssize_t n = readlink(path, target, sizeof target - 1);
	assert_int_equal(n, 10);
	int release = target[9] - '0';
	assert_true(release == 1 || release == 2);
	assert_file(x, "current/bin/run", release == 1 ? "one" : "two");
	assert_file(x, "current/end", "whole");
	return release;
}

static unsigned steps_left;

static bool end_here(const char *step)
{
	(void)step;
	if (steps_left-- == 0)
		_exit(9);
	return true;
}

// In a process of its own, ended before its step number `at`. False: it came to its end.
static bool verb_cut(struct rig *x, enum update_verb v, unsigned at)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		install_step_hook = end_here;
		steps_left = at;
		_exit(verb(x, v) == ERR_OK ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 1);
	return WEXITSTATUS(status) == 9;
}

static void killed_before_any_step_it_is_the_old_or_the_new(void **state)
{
	(void)state;
	bool cut = true;
	unsigned cuts = 0, old = 0;
	for (; cut; cuts++) {
		struct rig x;
		rig_open(&x);
		cut = verb_cut(&x, UPDATE_INSTALL, cuts);
		old += current(&x) == 1 ? 1 : 0;
		(void)verb_cut(&x, UPDATE_INSTALL, cuts / 2); // cut again while it recovers
		(void)current(&x);
		assert_int_equal(verb(&x, UPDATE_INSTALL), ERR_OK);
		assert_int_equal(current(&x), 2);
		assert_int_equal(verb(&x, UPDATE_COMMIT), ERR_OK);
		assert_int_equal(current(&x), 2);
		rig_close(&x);
	}
	assert_true(cuts > 8 && old > 4 && old < cuts);
}

static void killed_while_it_goes_back_it_is_the_old_or_the_new(void **state)
{
	(void)state;
	bool cut = true;
	for (unsigned at = 0; cut; at++) {
		struct rig x;
		rig_open(&x);
		assert_int_equal(verb(&x, UPDATE_INSTALL), ERR_OK);
		cut = verb_cut(&x, UPDATE_ROLL_BACK, at);
		(void)current(&x);
		assert_int_equal(verb(&x, UPDATE_ROLL_BACK), ERR_OK);
		assert_int_equal(current(&x), 1);
		rig_close(&x);
	}
}

// However far an installation came, to roll back ends with the old one.
static void what_was_cut_can_be_undone(void **state)
{
	(void)state;
	bool cut = true;
	for (unsigned at = 0; cut; at++) {
		struct rig x;
		rig_open(&x);
		cut = verb_cut(&x, UPDATE_INSTALL, at);
		assert_int_equal(verb(&x, UPDATE_ROLL_BACK), ERR_OK);
		assert_int_equal(current(&x), 1);
		rig_close(&x);
	}
}

static void what_no_link_names_is_removed_by_the_commit(void **state)
{
	(void)state;
	struct rig x;
	char path[DEPOT_PATH];
	struct stat st;
	rig_open(&x);
	put(x.row.root, "releases/0/bin/run", "zero");
	put(x.row.root, "releases/.making/bin/run", "half");
	assert_int_equal(verb(&x, UPDATE_INSTALL), ERR_OK);
	assert_int_equal(verb(&x, UPDATE_COMMIT), ERR_OK);
	(void)snprintf(path, sizeof path, "%s/releases/0", x.row.root);
	assert_int_not_equal(stat(path, &st), 0);
	(void)snprintf(path, sizeof path, "%s/releases/.making", x.row.root);
	assert_int_not_equal(stat(path, &st), 0);
	assert_file(&x, "previous/bin/run", "one");
	assert_file(&x, "current/bin/run", "two");
	rig_close(&x);
}

static void versions_that_are_no_names_lie_under_their_package(void **state)
{
	(void)state;
	static const char *const versions[] = {"../../etc", ".", "..", ".hidden", "a/b", "", "1"};
	for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
		struct rig x;
		char path[DEPOT_PATH], target[64] = "";
		rig_open(&x);
		x.call.version = versions[i];
		assert_int_equal(verb(&x, UPDATE_INSTALL), ERR_OK);
		(void)snprintf(path, sizeof path, "%s/current", x.row.root);
		assert_true(readlink(path, target, sizeof target - 1) > 0);
		assert_string_equal(
			target, i == 6 ? "releases/1+070000000000" : "releases/070000000000");
		assert_file(&x, "current/bin/run", "two");
		assert_file(&x, "releases/1/bin/run", "one");
		rig_close(&x);
	}
}

static unsigned copies_left;

static bool disk_is_full(const char *step)
{
	return strcmp(step, "update-copy") != 0 || copies_left-- != 0;
}

static void a_copy_that_failed_leaves_nothing_behind(void **state)
{
	(void)state;
	struct rig x;
	char path[DEPOT_PATH];
	struct stat st;
	rig_open(&x);
	install_step_hook = disk_is_full;
	copies_left = 1;
	assert_int_not_equal(verb(&x, UPDATE_INSTALL), ERR_OK);
	install_step_hook = NULL;
	assert_int_equal(current(&x), 1);
	(void)snprintf(path, sizeof path, "%s/releases/.making", x.row.root);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(verb(&x, UPDATE_ROLL_BACK), ERR_OK);
	assert_int_equal(current(&x), 1);
	assert_int_equal(stat(path, &st), -1);
	rig_close(&x);
}

static void a_link_that_leads_elsewhere_is_not_touched(void **state)
{
	(void)state;
	struct rig x;
	char path[DEPOT_PATH];
	rig_open(&x);
	(void)snprintf(path, sizeof path, "%s/current", x.row.root);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc", path), 0);
	assert_int_equal(verb(&x, UPDATE_PREPARE), ERR_DENIED);
	rig_close(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_before_any_step_it_is_the_old_or_the_new),
		cmocka_unit_test(killed_while_it_goes_back_it_is_the_old_or_the_new),
		cmocka_unit_test(what_was_cut_can_be_undone),
		cmocka_unit_test(what_no_link_names_is_removed_by_the_commit),
		cmocka_unit_test(versions_that_are_no_names_lie_under_their_package),
		cmocka_unit_test(a_copy_that_failed_leaves_nothing_behind),
		cmocka_unit_test(a_link_that_leads_elsewhere_is_not_touched),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
