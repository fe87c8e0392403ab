// A real Mosquitto for the publisher's tests: private port and folder, ended by its own pid; and
// mosquitto_sub as a witness that knows none of our code.
#ifndef HELIO_TESTS_UNIT_PUBLISHER_BROKER_H
#define HELIO_TESTS_UNIT_PUBLISHER_BROKER_H

#include "helper.h"
#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PATIENCE_MS 120000 // however busy the machine is, what is waited for comes

// Lies on every Mosquitto from its start on. A witness asks for it last, and has come to the end of
// what is retained when it has it: however busy the machine is, nothing is taken for absent.
#define WITNESS_FENCE "$SYS/broker/version"

struct broker {
	char dir[64], conf[100];
	uint16_t port;
	pid_t pid;
};

// argv[0] is looked up in PATH; out: a file for its output, NULL: nowhere.
static inline pid_t process_start(char *const argv[], const char *out)
{
	posix_spawn_file_actions_t a;
	char *path[] = {
		(char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		NULL};
	pid_t pid = -1;

	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_addopen(&a, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(
		&a, 1, out ? out : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_addopen(&a, 2, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(&a, 3);
	assert_int_equal(posix_spawnp(&pid, argv[0], &a, NULL, argv, path), 0);
	posix_spawn_file_actions_destroy(&a);
	return pid;
}

static inline int process_wait(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void broker_run(struct broker *b)
{
	char *argv[] = {(char[]){"mosquitto"}, (char[]){"-c"}, b->conf, NULL};

	b->pid = process_start(argv, NULL);
	for (int i = 0; i < 3000 && !port_answers(b->port); i++)
		usleep(20000); // a minute: the machine may be busy
	assert_true(port_answers(b->port));
}

// acl: text of an acl_file, NULL: everything is allowed.
static inline void broker_start(struct broker *b, const char *acl)
{
	char text[600], path[100];

	*b = (struct broker){.port = port_free()};
	snprintf(b->dir, sizeof b->dir, "/tmp/helio-broker-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	chmod(b->dir, 0755); // mosquitto gives up root
	snprintf(b->conf, sizeof b->conf, "%s/conf", b->dir);
	snprintf(path, sizeof path, "%s/acl", b->dir);
	int n = snprintf(text, sizeof text,
		"listener %u 127.0.0.1\nallow_anonymous true\npersistence false\n"
		"set_tcp_nodelay true\nmax_packet_size 2000000\nmax_queued_messages 1000\n%s%s%s",
		b->port, acl ? "acl_file " : "", acl ? path : "", acl ? "\n" : "");
	assert_int_equal(file_write_atomic(b->conf, text, (size_t)n, 0644), ERR_OK);
	n = snprintf(text, sizeof text, "topic read " WITNESS_FENCE "\n%s", acl ? acl : "");
	if (acl)
		assert_int_equal(file_write_atomic(path, text, (size_t)n, 0644), ERR_OK);
	broker_run(b);
}

static inline void broker_kill(struct broker *b)
{
	kill(b->pid, SIGKILL);
	(void)process_wait(b->pid);
	b->pid = -1;
}

static inline void broker_end(struct broker *b)
{
	if (b->pid > 0)
		broker_kill(b);
	assert_int_equal(tree_remove(b->dir), ERR_OK);
}

// mosquitto_sub; more: further words.
static inline pid_t witness_start(const struct broker *b, const char *filter, const char *format,
	char *const more[2], const char *out)
{
	char port[8], copy[300], shape[16];
	char *argv[] = {(char[]){"mosquitto_sub"}, (char[]){"-h"}, (char[]){"127.0.0.1"},
		(char[]){"-p"}, port, (char[]){"-V"}, (char[]){"5"}, (char[]){"-q"}, (char[]){"1"},
		(char[]){"-W"}, (char[]){"120"}, (char[]){"-F"}, shape, (char[]){"-t"}, copy,
		(char[]){"-t"}, (char[]){WITNESS_FENCE}, more[0], more[1], NULL};

	snprintf(port, sizeof port, "%u", b->port);
	snprintf(copy, sizeof copy, "%s", filter);
	snprintf(shape, sizeof shape, "%s", format);
	return process_start(argv, out);
}

// The retained message on a topic, as a late subscriber gets it. False: there is none.
static inline bool witness_read(const struct broker *b, const char *topic, struct buf *out)
{
	char path[100], *more[] = {(char[]){"-C"}, (char[]){"1"}};
	SCOPED_BUF struct buf all;

	snprintf(path, sizeof path, "%s/witness", b->dir);
	assert_int_equal(process_wait(witness_start(b, topic, "%t\n%p", more, path)), 0);
	buf_init(&all, out->max + 1000);
	assert_int_equal(file_read(path, &all), ERR_OK);
	const uint8_t *end = memchr(all.data, '\n', all.size);
	assert_non_null(end);
	size_t n = (size_t)(end - all.data);
	bool found = n == strlen(topic) && memcmp(all.data, topic, n) == 0;
	assert_true(found || memcmp(all.data, WITNESS_FENCE, n) == 0);
	buf_clear(out);
	if (found) // a newline stands behind it
		assert_int_equal(buf_append(out, end + 1, all.size - n - 2), ERR_OK);
	return found;
}

// How many retained topics a filter finds.
static inline size_t witness_count(const struct broker *b, const char *filter)
{
	char path[100], *more[] = {NULL, NULL};
	SCOPED_BUF struct buf text;
	const char *fence = NULL;
	size_t n = 0;

	snprintf(path, sizeof path, "%s/witness", b->dir);
	buf_init(&text, 1 << 20);
	pid_t pid = witness_start(b, filter, "%t", more, path);
	for (int i = 0; i < 12000 && !fence; i++) {
		usleep(10000);
		assert_int_equal(file_read(path, &text), ERR_OK);
		assert_int_equal(buf_append(&text, "", 1), ERR_OK);
		fence = strstr((const char *)text.data, WITNESS_FENCE "\n");
	}
	kill(pid, SIGKILL);
	(void)process_wait(pid);
	assert_non_null(fence);
	for (const char *at = (const char *)text.data; at < fence; at++)
		n += *at == '\n';
	return n;
}

#endif
