// The publisher's socket, against a double in a child process that plays a script.
#include "tests/unit/helper.h"

#include "server/ctl/publisher.h"
#include "server/ctl/show.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

struct play {
	struct ctl ctl;
	char folder[64];
	pid_t child;
};

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	str_copy(address.sun_path, sizeof(address.sun_path), path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, 1) < 0)
		abort();
	return fd;
}

// Receives one request with its descriptor (-1: none), says the lines, and leaves. A line "@"
// stands for what it received: verb, and size of the file behind the descriptor.
static void child_run(int listener, const char *const *lines)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	static char packet[PUBLISHER_PACKET_MAX], text[PUBLISHER_PACKET_MAX + 256];
	struct iovec io = {packet, sizeof(packet) - 1};
	struct msghdr m = {.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	int fd = accept(listener, NULL, NULL), file = -1;
	ssize_t n = recvmsg(fd, &m, 0);
	struct cmsghdr *head = CMSG_FIRSTHDR(&m);
	struct stat st = {0};

	if (n < 0)
		_exit(1);
	packet[n] = '\0';
	if (head && head->cmsg_type == SCM_RIGHTS)
		memcpy(&file, CMSG_DATA(head), sizeof(int));
	if (file >= 0)
		fstat(file, &st);
	for (; *lines; lines++) {
		const char *say = *lines;

		if (strcmp(say, "@") == 0) {
			snprintf(text, sizeof(text),
				"{\"request\":1,\"ok\":true,\"got\":%s,\"file_bytes\":%ld}", packet,
				file >= 0 ? (long)st.st_size : -1L);
			say = text;
		}
		if (send(fd, say, strlen(say), MSG_NOSIGNAL) < 0)
			_exit(1);
	}
	_exit(0);
}

static void play_begin(struct play *p, const char *const *lines)
{
	memset(p, 0, sizeof(*p));
	strncpy(p->folder, "/tmp/helio-unit-XXXXXX", sizeof(p->folder) - 1);
	assert_non_null(mkdtemp(p->folder));
	snprintf(p->ctl.settings.publisher_socket, sizeof(p->ctl.settings.publisher_socket), "%s/s",
		p->folder);
	p->ctl.timeout_ms = 60000;
	p->ctl.quiet = true;
	int listener = listen_at(p->ctl.settings.publisher_socket);
	p->child = fork();
	if (p->child == 0)
		child_run(listener, lines);
	close(listener);
}

static void play_end(struct play *p)
{
	int status;

	assert_int_equal(waitpid(p->child, &status, 0), p->child);
	assert_int_equal(tree_remove(p->folder), ERR_OK);
}

static enum err played(const char *const *lines, int fd, cJSON **out)
{
	struct play play;
	struct publisher p;
	cJSON *request = cJSON_CreateObject();

	cJSON_AddStringToObject(request, "name", "x");
	play_begin(&play, lines);
	assert_int_equal(publisher_open(&play.ctl, &p), ERR_OK);
	enum err e = publisher_call(&p, "some-verb", request, fd, NULL, out);
	publisher_close(&p);
	play_end(&play);
	return e;
}
#define PLAYED(fd, out, ...) played((const char *const[]){__VA_ARGS__, NULL}, fd, out)

static void a_request_carries_its_verb_and_its_file(void **state)
{
	char path[128];
	SCOPED_JSON cJSON *j = NULL;

	snprintf(path, sizeof(path), "%s/file", (char *)*state);
	assert_int_equal(file_write_atomic(path, "twelve bytes", 12, 0600), ERR_OK);
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(PLAYED(fd, &j, "@"), ERR_OK);
	assert_string_equal(json_text(cJSON_GetObjectItem(j, "got"), "verb"), "some-verb");
	assert_string_equal(json_text(cJSON_GetObjectItem(j, "got"), "name"), "x");
	assert_int_equal(json_u64(cJSON_GetObjectItem(j, "got"), "request"), 1);
	assert_int_equal(json_u64(j, "file_bytes"), 12);
	assert_null(cJSON_GetObjectItem(j, "ok"));
}

static void progress_and_foreign_answers_are_passed_over(void **state)
{
	SCOPED_JSON cJSON *j = NULL;

	(void)state;
	assert_int_equal(
		PLAYED(-1, &j,
			"{\"request\":7,\"ok\":false,\"error\":\"not ours\",\"word\":\"denied\"}",
			"{\"request\":1,\"progress\":{\"done\":1,\"total\":2,\"what\":\"half\"}}",
			"{\"request\":1,\"ok\":true,\"n\":3}"),
		ERR_OK);
	assert_int_equal(json_u64(j, "n"), 3);
}

static void lists_in_several_packets_are_joined(void **state)
{
	SCOPED_JSON cJSON *j = NULL;

	(void)state;
	assert_int_equal(
		PLAYED(-1, &j,
			"{\"request\":1,\"ok\":true,\"more\":true,\"images\":[{\"image\":\"a\"},{"
			"\"image\":\"b\"}]}",
			"{\"request\":1,\"ok\":true,\"more\":true,\"images\":[{\"image\":\"c\"}]}",
			"{\"request\":1,\"ok\":true,\"images\":[{\"image\":\"d\"}]}"),
		ERR_OK);
	cJSON *images = cJSON_GetObjectItem(j, "images");
	assert_int_equal(cJSON_GetArraySize(images), 4);
	assert_string_equal(json_text(cJSON_GetArrayItem(images, 3), "image"), "d");
	assert_null(cJSON_GetObjectItem(j, "more"));
}

static void refusals_keep_their_word_and_sentence(void **state)
{
	cJSON *j = NULL;

	(void)state;
	assert_int_equal(PLAYED(-1, &j,
				 "{\"request\":1,\"ok\":false,\"error\":\"no such "
				 "image\",\"word\":\"not-found\"}"),
		ERR_NOT_FOUND);
	assert_string_equal(err_text(), "no such image");
	assert_int_equal(
		PLAYED(-1, &j,
			"{\"request\":1,\"ok\":false,\"error\":\"it explodes\",\"word\":\"bomb\"}"),
		ERR_DENIED);
	assert_string_equal(err_text(), "it explodes (bomb)");
	assert_null(j);
}

static void a_publisher_that_talks_nonsense_or_leaves_is_an_error(void **state)
{
	cJSON *j = NULL;

	(void)state;
	assert_int_equal(PLAYED(-1, &j, "nonsense"), ERR_FORMAT);
	assert_int_equal(PLAYED(-1, &j, "{\"request\":1,\"progress\":{}}"), ERR_CLOSED);
	assert_null(j);
	struct ctl c = {.timeout_ms = 1000};
	struct publisher p;
	assert_int_equal(publisher_open(&c, &p), ERR_NOT_FOUND);
	str_copy(c.settings.publisher_socket, sizeof(c.settings.publisher_socket),
		"/nonexistent/socket");
	assert_int_equal(publisher_open(&c, &p), ERR_CLOSED);
	memset(c.settings.publisher_socket, 'x', 200);
	assert_int_equal(publisher_open(&c, &p), ERR_RANGE);
}

static void packages_are_chosen_by_name_version_or_id(void **state)
{
	const char *text =
		"[{\"package\":"
		"\"aaaaaaaa00000000000000000000000000000000000000000000000000000000\",\"name\":"
		"\"art\",\"version\":\"1\"},"
		"{\"package\":\"aaaaaaaa11111111111111111111111111111111111111111111111111111111\","
		"\"name\":\"art\",\"version\":\"2\"},"
		"{\"package\":\"bbbbbbbb00000000000000000000000000000000000000000000000000000000\","
		"\"name\":\"tool\",\"version\":\"1@x\"},"
		"{\"package\":\"short\",\"name\":\"bad\",\"version\":\"1\"}]";
	SCOPED_JSON cJSON *list = NULL;
	char id[65];

	(void)state;
	assert_int_equal(json_parse(bytes_of(text, strlen(text)), &list), ERR_OK);
	assert_int_equal(package_choose(list, "art@2", id), ERR_OK);
	assert_memory_equal(id, "aaaaaaaa1111", 12);
	assert_int_equal(package_choose(list, "tool", id), ERR_OK);
	assert_memory_equal(id, "bbbbbbbb", 8);
	assert_int_equal(package_choose(list, "art", id), ERR_EXISTS);
	assert_int_equal(package_choose(list, "aaaaaaaa", id), ERR_EXISTS);
	assert_int_equal(package_choose(list, "aaaaaaaa0", id), ERR_OK);
	assert_int_equal(package_choose(list, "aaaaaaa", id), ERR_NOT_FOUND);
	assert_int_equal(package_choose(list, "art@3", id), ERR_NOT_FOUND);
	assert_int_equal(package_choose(list, "bad", id), ERR_NOT_FOUND);
	assert_int_equal(package_choose(NULL, "art", id), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_request_carries_its_verb_and_its_file, temp_dir_make, temp_dir_drop),
		cmocka_unit_test(progress_and_foreign_answers_are_passed_over),
		cmocka_unit_test(lists_in_several_packets_are_joined),
		cmocka_unit_test(refusals_keep_their_word_and_sentence),
		cmocka_unit_test(a_publisher_that_talks_nonsense_or_leaves_is_an_error),
		cmocka_unit_test(packages_are_chosen_by_name_version_or_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
