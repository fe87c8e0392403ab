// The socket beneath Paho, which has no door of its own to it: it is found among the descriptors
// of the process by its peer.
#include "proto/mqtt_link_internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
		       ((const struct sockaddr_in *)b)->sin_addr.s_addr;
	return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
		       &((const struct sockaddr_in6 *)b)->sin6_addr, 16) == 0;
}

static uint16_t port_of(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)a)->sin_port);
	if (a->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)a)->sin6_port);
	return 0;
}

static bool is_ours(int fd, uint16_t port, const struct sockaddr_storage *known, size_t count,
	struct sockaddr_storage *peer)
{
	socklen_t size = sizeof(*peer);

	if (getpeername(fd, (struct sockaddr *)peer, &size) != 0 || port_of(peer) != port)
		return false;
	for (size_t i = 0; i < count; i++)
		if (same_host(peer, &known[i]))
			return true;
	return count == 0;
}

void socket_format(const struct sockaddr *address, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "";

	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)address;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(out, size, "%s:%u", host, ntohs(in->sin_port));
	} else {
		const struct sockaddr_in6 *in6 = (const void *)address;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(out, size, "[%s]:%u", host, ntohs(in6->sin6_port));
	}
}

int socket_try(const struct sockaddr_storage *to)
{
	const struct timeval limit = {.tv_sec = 2};
	socklen_t size =
		to->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	SCOPED_FD int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
		return errno;
	if (connect(fd, (const struct sockaddr *)to, size) == 0)
		return 0;
	return errno == EINPROGRESS ? ETIMEDOUT : errno;
}

bool socket_is_local_end(const struct sockaddr_storage *local)
{
	struct sockaddr_storage own;
	bool found = false;

	DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return false;
	for (struct dirent *e; !found && (e = readdir(dir));) {
		socklen_t size = sizeof(own);
		int fd = (int)strtol(e->d_name, NULL, 10);
		found = e->d_name[0] != '.' &&
			getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
			port_of(&own) == port_of(local) && same_host(&own, local);
	}
	closedir(dir);
	return found;
}

// Several links may go to one broker, and nothing tells their sockets apart from here: all of them
// want the same option.
size_t socket_set_nodelay(uint16_t port, const struct sockaddr_storage *known, size_t count,
	char *peer, size_t peer_size)
{
	struct sockaddr_storage address;
	size_t found = 0;
	int one = 1;

	DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return 0;
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		int fd = (int)strtol(e->d_name, NULL, 10);
		if (!is_ours(fd, port, known, count, &address) ||
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
			continue;
		// Paho forgets it, and a child would keep the connection open.
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (found++ == 0)
			socket_format((const struct sockaddr *)&address, peer, peer_size);
	}
	closedir(dir);
	return found;
}

static enum err local_address(const struct addrinfo *to, uint8_t out[16], size_t *size)
{
	struct sockaddr_storage local;
	socklen_t local_size = sizeof(local);
	SCOPED_FD int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set_errno("no socket to ask for the route");
	if (connect(fd, to->ai_addr, to->ai_addrlen) != 0)
		return err_set_errno("there is no route");
	if (getsockname(fd, (struct sockaddr *)&local, &local_size) != 0)
		return err_set_errno("the local address is not known");
	if (local.ss_family == AF_INET) {
		*size = 4;
		memcpy(out, &((struct sockaddr_in *)&local)->sin_addr, 4);
	} else {
		*size = 16;
		memcpy(out, &((struct sockaddr_in6 *)&local)->sin6_addr, 16);
	}
	return ERR_OK;
}

enum err route_local_address(const char *host, uint16_t port, uint8_t out[16], size_t *size)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM}, *list = NULL;
	char service[8];
	enum err e = ERR_NOT_FOUND;

	snprintf(service, sizeof(service), "%u", port);
	int rc = getaddrinfo(host, service, &hints, &list);
	if (rc != 0)
		return err_set(ERR_NOT_FOUND, "%s: %s", host, gai_strerror(rc));
	for (const struct addrinfo *a = list; a && e != ERR_OK; a = a->ai_next)
		e = local_address(a, out, size);
	freeaddrinfo(list);
	return e;
}
