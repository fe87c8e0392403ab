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
	for (int i = 0; i < 200 && !port_answers(b->port); i++)
		usleep(20000);
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
	if (acl)
		assert_int_equal(file_write_atomic(path, acl, strlen(acl), 0644), ERR_OK);
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

// The retained message on a topic, as a late subscriber gets it. False: there is none.
static inline bool witness_read(const struct broker *b, const char *topic, struct buf *out)
{
	char port[8], path[100], copy[300];
	char *argv[] = {(char[]){"mosquitto_sub"}, (char[]){"-h"}, (char[]){"127.0.0.1"},
		(char[]){"-p"}, port, (char[]){"-V"}, (char[]){"5"}, (char[]){"-q"}, (char[]){"1"},
		(char[]){"-C"}, (char[]){"1"}, (char[]){"-W"}, (char[]){"1"}, (char[]){"-N"},
		(char[]){"-t"}, copy, NULL};

	snprintf(port, sizeof port, "%u", b->port);
	snprintf(path, sizeof path, "%s/witness", b->dir);
	snprintf(copy, sizeof copy, "%s", topic);
	int rc = process_wait(process_start(argv, path));
	buf_clear(out);
	if (rc != 0)
		return false;
	assert_int_equal(file_read(path, out), ERR_OK);
	return true;
}

// How many retained topics a filter finds within a second.
static inline size_t witness_count(const struct broker *b, const char *filter)
{
	char port[8], path[100], copy[300];
	char *argv[] = {(char[]){"mosquitto_sub"}, (char[]){"-h"}, (char[]){"127.0.0.1"},
		(char[]){"-p"}, port, (char[]){"-V"}, (char[]){"5"}, (char[]){"-W"}, (char[]){"1"},
		(char[]){"-F"}, (char[]){"%t"}, (char[]){"-t"}, copy, NULL};
	struct buf text;
	size_t n = 0;

	snprintf(port, sizeof port, "%u", b->port);
	snprintf(path, sizeof path, "%s/witness", b->dir);
	snprintf(copy, sizeof copy, "%s", filter);
	(void)process_wait(process_start(argv, path));
	buf_init(&text, 1 << 20);
	assert_int_equal(file_read(path, &text), ERR_OK);
	for (size_t i = 0; i < text.size; i++)
		n += text.data[i] == '\n';
	buf_fini(&text);
	return n;
}

#endif
