// What lies on a stick and is no file of a medium: told from a stick that was pulled; and the
// folder of mounts.
#include "client/medium_file.h"
#include "client/mounts.h"
#include "tests/unit/failing_readdir.h"
#include "tests/unit/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

// What the disk answers to who reads a file; 0: what is there.
static int read_fails;

ssize_t pread(int fd, void *data, size_t size, off_t at)
{
	if (read_fails) {
		errno = read_fails;
		return -1;
	}
	return syscall(SYS_pread64, fd, data, size, at);
}

static void file_put(const char *dir, const char *name, const char *text)
{
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), ERR_OK);
}

static enum err reading(const char *dir, const char *name)
{
	SCOPED_BUF struct buf b;

	buf_init(&b, 100);
	enum err e = medium_file_read(dir, name, &b);
	assert_int_equal(e == ERR_OK, b.size == 4);
	return e;
}

static void socket_at(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	SCOPED_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && str_copy(a.sun_path, sizeof(a.sun_path), path));
	assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
}

// Only ERR_IO ends what is read of a medium.
static void C5_what_is_odd_about_one_name_is_not_the_stick(void **state)
{
	const char *dir = *state;
	char path[200];

	file_put(dir, "good", "good");
	file_put(dir, "long",
		"much longer than anybody would take of it: this is a text of more "
		"than a hundred bytes, and nothing else");
	(void)snprintf(path, sizeof(path), "%s/pipe", dir);
	assert_int_equal(mkfifo(path, 0644), 0);
	(void)snprintf(path, sizeof(path), "%s/socket", dir);
	socket_at(path);
	(void)snprintf(path, sizeof(path), "%s/folder", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/dangling", dir);
	assert_int_equal(symlink("nowhere", path), 0);
	(void)snprintf(path, sizeof(path), "%s/device", dir);
	bool device = mknod(path, S_IFCHR | 0666, makedev(240, 7)) == 0; // nobody drives it
	assert_int_equal(reading(dir, "good"), ERR_OK);
	assert_int_equal(reading(dir, "none"), ERR_NOT_FOUND);
	assert_int_equal(reading(dir, "good/below"), ERR_NOT_FOUND);
	assert_int_equal(reading(dir, "long"), ERR_FULL);
	assert_int_equal(reading(dir, "pipe"), ERR_DENIED);
	assert_int_equal(reading(dir, "socket"), ERR_DENIED);
	assert_non_null(strstr(err_text(), "socket is no file"));
	assert_int_equal(reading(dir, "folder"), ERR_DENIED);
	assert_int_equal(reading(dir, "dangling"), ERR_DENIED);
	assert_int_equal(reading(dir, "dangling/below"), ERR_DENIED);
	if (device)
		assert_int_equal(reading(dir, "device"), ERR_DENIED);
	else
		print_message("without a device: only root makes one\n");
}

static void what_there_is_no_right_for_is_denied(void **state)
{
	const char *dir = *state;
	char path[200];
	DIR *d = NULL;
	bool root = geteuid() == 0;

	assert_int_equal(chmod(dir, 0755), 0);
	file_put(dir, "shut", "shut");
	(void)snprintf(path, sizeof(path), "%s/shut", dir);
	assert_int_equal(chmod(path, 0), 0);
	(void)snprintf(path, sizeof(path), "%s/room", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	file_put(path, "file", "file");
	assert_int_equal(chmod(path, 0), 0);
	assert_int_equal(root ? seteuid(65534) : 0, 0);
	enum err shut = reading(dir, "shut"), below = reading(dir, "room/file");
	enum err room = medium_folder_open(dir, "room", &d);
	assert_int_equal(root ? seteuid(0) : 0, 0);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(shut, ERR_DENIED);
	assert_int_equal(below, ERR_DENIED);
	assert_int_equal(room, ERR_DENIED);
}

static void without_a_descriptor_it_is_not_the_stick_either(void **state)
{
	struct rlimit all, none;
	DIR *d = NULL;

	file_put(*state, "good", "good");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	// Until the folder itself can be opened, then it and a file.
	int free_fd = dup(0);
	close(free_fd);
	for (int more = 0; more < 3; more++) {
		none = (struct rlimit){
			.rlim_cur = (rlim_t)(free_fd + more), .rlim_max = all.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		enum err file = reading(*state, "good");
		enum err folder = medium_folder_open(*state, ".", &d);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
		if (folder == ERR_OK)
			closedir(d);
		assert_int_equal(file, ERR_NOT_NOW);
		assert_int_equal(folder, more < 2 ? ERR_NOT_NOW : ERR_OK);
	}
	assert_int_equal(reading(*state, "good"), ERR_OK);
}

static void a_stick_that_was_pulled_or_is_worn_is_no_odd_name(void **state)
{
	static const int numbers[] = {EIO, ENODEV, ENXIO};
	char gone[200];

	file_put(*state, "good", "good");
	for (size_t i = 0; i < 3; i++) {
		read_fails = numbers[i];
		enum err e = reading(*state, "good");
		read_fails = 0;
		assert_int_equal(e, ERR_IO);
	}
	(void)snprintf(gone, sizeof(gone), "%s/gone", (const char *)*state);
	assert_int_equal(reading(gone, "good"), ERR_IO); // the folder of the medium itself
	assert_int_equal(reading(*state, "good"), ERR_OK);
}

static void what_is_not_listed_is_not_away(void **state)
{
	char path[PATH_MAX], dir[200], away[200], orders[300];
	struct mounts m = {0};

	(void)snprintf(dir, sizeof(dir), "%s/media", (const char *)*state);
	(void)snprintf(away, sizeof(away), "%s/away", (const char *)*state);
	(void)snprintf(orders, sizeof(orders), "%s/stick/helio/v1/medium/f1", dir);
	assert_int_equal(dir_make(orders), ERR_OK);
	assert_true(mounts_next(&m, dir, "f1", path));
	assert_false(mounts_next(&m, dir, "f1", path));
	listings_left = 0; // the disk fails for a while
	bool again = mounts_next(&m, dir, "f1", path);
	listings_left = -1;
	again |= mounts_next(&m, dir, "f1", path);
	assert_false(again);
	// The control: one that was away is new.
	assert_int_equal(rename(dir, away), 0);
	assert_false(mounts_next(&m, dir, "f1", path));
	assert_int_equal(rename(away, dir), 0);
	assert_true(mounts_next(&m, dir, "f1", path));
}

#define T(f) cmocka_unit_test_setup_teardown(f, temp_dir_make, temp_dir_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(C5_what_is_odd_about_one_name_is_not_the_stick),
		T(what_there_is_no_right_for_is_denied),
		T(without_a_descriptor_it_is_not_the_stick_either),
		T(a_stick_that_was_pulled_or_is_worn_is_no_odd_name),
		T(what_is_not_listed_is_not_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
