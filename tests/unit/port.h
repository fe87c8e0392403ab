// A loopback port that stays free until whoever it is for listens on it. A bound socket that never
// listens holds it until the process ends: bound alone, so that nobody else may have the port; then
// SO_REUSEADDR lets a server with that option listen beside it, while the kernel gives the port to
// no connection and to no other bind. deploy/ports.py is the same in Python.
#ifndef HELIO_TESTS_UNIT_PORT_H
#define HELIO_TESTS_UNIT_PORT_H

#include "helper.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>

enum {
	PORT_FIRST = 10000,
	PORT_COUNT = 65536 - PORT_FIRST
};

static inline bool port_hold(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		close(fd);
		return false;
	}
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	return true;
}

// Not one of those that the kernel gives to connections, unless it gives every one.
static inline uint16_t port_free(void)
{
	unsigned low = 0, high = 0, start = 0;

	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u %u", &low, &high), 2);
	fclose(f);
	if (low <= PORT_FIRST && high >= PORT_FIRST + PORT_COUNT - 1)
		low = UINT_MAX;
	assert_int_equal(getrandom(&start, sizeof(start), 0), sizeof(start));
	for (unsigned i = 0; i < PORT_COUNT; i++) {
		unsigned port = PORT_FIRST + (start % PORT_COUNT + i) % PORT_COUNT;
		if ((port < low || port > high) && port_hold((uint16_t)port))
			return (uint16_t)port;
	}
	fail_msg("no free port on loopback");
	return 0;
}

static inline bool port_answers(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

	close(fd);
	return yes;
}

#endif
