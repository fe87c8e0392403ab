// The folder of the shelf (broker-conf/shelf): names from topics, and nothing outside of it.
#include "tests/unit/helper.h"

#include "broker-conf/shelf/shelf_folder.h"
#include "proto/digest.h"
#include "proto/topics.h"
#include <fcntl.h>
#include <sys/stat.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int open_or_fail(const char *path)
{
	char why[400];
	int fd = shelf_folder_open(path, why, sizeof(why));

	if (fd < 0)
		fail_msg("%s", why);
	return fd;
}

static void a_topic_of_the_table_is_a_name(void **state)
{
	struct digest d = sha256("x", 1);
	struct topic t = topic_chunk("pub.1_a-B", &d);
	struct shelf_name n;

	(void)state;
	assert_true(shelf_name_of(t.s, &n));
	assert_string_equal(n.publisher, "pub.1_a-B");
	assert_string_equal(n.sha256, t.s + strlen(t.s) - 64);
	assert_true(SHELF_OBJECT_MAX == LIMIT_OBJECT);
}

static void anything_else_is_none(void **state)
{
	static const char *const wrong[] = {
		"",
		"helio/v1/chunk",
		"helio/v1/chunk/",
		"helio/v1/chunk/p",
		"helio/v1/chunk/p/",
		"helio/v1/chunk//" HEX,
		"helio/v1/chunk/../" HEX,
		"helio/v1/chunk/./" HEX,
		"helio/v1/chunk/.p/" HEX,
		"helio/v1/chunk/p/../" HEX,
		"helio/v1/chunk/p/" HEX "/",
		"helio/v1/chunk/p/" HEX "0",
		"helio/v1/chunk/p/" HEX "/../x",
		"helio/v1/chunk/p/../../../etc/passwd",
		"helio/v1/chunk/p/0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		"helio/v1/chunk/p/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde",
		"helio/v1/chunk/p/+",
		"helio/v1/chunk/+/" HEX,
		"helio/v1/chunk/#",
		"helio/v1/chunk/p\\q/" HEX,
		"helio/v1/chunk/p q/" HEX,
		"helio/v1/chunk/p\xc3\xa9/" HEX,
		"helio/v1/chunk/"
		"ppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp/" HEX,
		"helio/v1/idx/p/" HEX,
		"helio/v1/mark/p",
		"helio/v2/chunk/p/" HEX,
		"/helio/v1/chunk/p/" HEX,
		"$share/g/helio/v1/chunk/p/" HEX,
	};
	struct shelf_name n;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (shelf_name_of(wrong[i], &n))
			fail_msg("%s is no object", wrong[i]);
}

static void an_object_is_put_read_and_dropped(void **state)
{
	int folder = open_or_fail(*state), fd;
	struct shelf_name n = {"p", HEX};
	size_t size = 0;
	char text[16] = "";

	assert_int_equal(shelf_folder_look(folder, &n, &size), -1);
	assert_int_equal(shelf_folder_put(folder, &n, "old one", 7), 0);
	assert_int_equal(shelf_folder_put(folder, &n, "object", 6), 0); // again
	fd = shelf_folder_look(folder, &n, &size);
	assert_true(fd >= 0);
	assert_int_equal(size, 6);
	assert_int_equal(read(fd, text, sizeof(text)), 6);
	assert_string_equal(text, "object");
	close(fd);
	assert_true(shelf_folder_drop(folder, &n));
	assert_false(shelf_folder_drop(folder, &n));
	assert_int_equal(shelf_folder_look(folder, &n, &size), -1);
	close(folder);
}

static void links_lead_nowhere(void **state)
{
	char outside[] = "/tmp/helio-unit-outside-XXXXXX", path[200];
	int folder = open_or_fail(*state);
	struct shelf_name n = {"p", HEX};
	struct stat st;
	size_t size;

	assert_non_null(mkdtemp(outside));
	snprintf(path, sizeof(path), "%s/p", (const char *)*state);
	assert_int_equal(symlink(outside, path), 0);
	assert_int_not_equal(shelf_folder_put(folder, &n, "object", 6), 0);
	snprintf(path, sizeof(path), "%s/01", outside);
	assert_int_not_equal(stat(path, &st), 0);
	// A link in the object's own place is not followed either: it is replaced.
	struct shelf_name q = {"q", HEX};
	assert_int_equal(shelf_folder_put(folder, &q, "object", 6), 0);
	assert_true(shelf_folder_drop(folder, &q));
	snprintf(path, sizeof(path), "%s/q/01/" HEX, (const char *)*state);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	assert_int_equal(shelf_folder_look(folder, &q, &size), -1);
	assert_int_equal(shelf_folder_put(folder, &q, "object", 6), 0);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	close(folder);
	rmdir(outside);
}

static void clearing_removes_objects_and_nothing_else(void **state)
{
	int folder = open_or_fail(*state), fd;
	struct shelf_name n = {"p", HEX}, m = {"q.2", HEX};
	char path[200];
	struct stat st;
	size_t size;

	assert_int_equal(shelf_folder_put(folder, &n, "object", 6), 0);
	assert_int_equal(shelf_folder_put(folder, &m, "object", 6), 0);
	snprintf(path, sizeof(path), "%s/p/letter", (const char *)*state);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	shelf_folder_clear(folder);
	assert_int_equal(shelf_folder_look(folder, &n, &size), -1);
	assert_int_equal(shelf_folder_look(folder, &m, &size), -1);
	assert_int_equal(stat(path, &st), 0);
	snprintf(path, sizeof(path), "%s/q.2", (const char *)*state);
	assert_int_not_equal(stat(path, &st), 0);
	close(folder);
}

static void a_folder_of_others_is_refused(void **state)
{
	char why[400], path[200];

	snprintf(path, sizeof(path), "%s/none", (const char *)*state);
	assert_int_equal(shelf_folder_open(path, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "No such file"));
	assert_int_equal(chmod(*state, 0777), 0);
	assert_int_equal(shelf_folder_open(*state, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "nobody else may write"));
	assert_int_equal(chmod(*state, 0700), 0);
}

static void a_put_that_fails_leaves_nothing_behind(void **state)
{
	int folder = open_or_fail(*state);
	struct shelf_name n = {"p", HEX};
	char path[200];
	struct stat st;
	size_t size;

	snprintf(path, sizeof(path), "%s/p", (const char *)*state);
	int fd = open(path, O_CREAT | O_WRONLY, 0600); // where a folder should be
	assert_true(fd >= 0);
	close(fd);
	assert_int_not_equal(shelf_folder_put(folder, &n, "object", 6), 0);
	assert_int_equal(shelf_folder_look(folder, &n, &size), -1);
	snprintf(path, sizeof(path), "%s/.fresh", (const char *)*state);
	assert_int_not_equal(stat(path, &st), 0);
	close(folder);
}

#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, temp_dir_make, temp_dir_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_topic_of_the_table_is_a_name),
		cmocka_unit_test(anything_else_is_none),
		WITH_FOLDER(an_object_is_put_read_and_dropped),
		WITH_FOLDER(links_lead_nowhere),
		WITH_FOLDER(clearing_removes_objects_and_nothing_else),
		WITH_FOLDER(a_folder_of_others_is_refused),
		WITH_FOLDER(a_put_that_fails_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
