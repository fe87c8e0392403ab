// A way to wake Paho's two threads.
//
// Paho 1.3.12 polls its sockets for up to a second over a list made before the wait, and sleeps
// 100 ms more when nothing came. A connection begun in that time, or a large publish that became
// a partial write, is not looked at until the wait ends; and its sending thread, once it has
// found a socket busy, is not told when the socket is free again. Measured: a second link of a
// process connects after 1.1 s instead of 1 ms; large publishes crawl at 8 to 16 MB/s.
//
// So this room keeps one Paho client of its own, connected over loopback to a socket of this very
// process that plays the broker. Two bytes written there (PINGRESP) wake the receiving thread; an
// empty publish of that client wakes the sending one. As it is never destroyed, Paho's threads
// live as long as the process; otherwise the end of the last link would block its loop until they
// ended, a second or two.
// Without loopback all works as before, slower.
#include "proto/mqtt_link_internal.h"

#include "proto/base/log.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

// Paho is one per process, and so is its alarm clock.
static MQTTAsync keeper;
static int broker_end = -1;

static const char connack[] = {0x20, 0x02, 0x00, 0x00};
static const char pingresp[] = {(char)0xd0, 0x00};

static int listen_on_loopback(struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd >= 0 && bind(fd, (struct sockaddr *)address, size) == 0 && listen(fd, 4) == 0 &&
		getsockname(fd, (struct sockaddr *)address, &size) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

// Anybody on this machine may connect: only the peer whose other end is ours is taken.
static int accept_own(int listener)
{
	struct pollfd waiting = {.fd = listener, .events = POLLIN};
	int one = 1;

	for (int tries = 0; tries < 8 && poll(&waiting, 1, 2000) == 1; tries++) {
		struct sockaddr_storage peer;
		socklen_t size = sizeof(peer);
		int fd = accept4(
			listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			continue;
		if (socket_is_local_end(&peer)) {
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			return fd;
		}
		close(fd);
	}
	return -1;
}

static bool keeper_connect(uint16_t port)
{
	MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
	char uri[32];

	snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%u", port);
	options.keepAliveInterval = 0;
	return MQTTAsync_create(&keeper, uri, "keeper", MQTTCLIENT_PERSISTENCE_NONE, NULL) ==
		       MQTTASYNC_SUCCESS &&
	       MQTTAsync_connect(keeper, &options) == MQTTASYNC_SUCCESS;
}

void waker_open(void)
{
	struct sockaddr_in address;

	if (keeper)
		return;
	int listener = listen_on_loopback(&address);
	if (keeper_connect(ntohs(address.sin_port)) && listener >= 0)
		broker_end = accept_own(listener);
	if (listener >= 0)
		close(listener);
	if (broker_end < 0 || send(broker_end, connack, sizeof(connack), MSG_NOSIGNAL) < 0)
		log_warn("LINK-WAKER",
			"why=\"no loopback connection; new links may take a second longer\"");
}

void waker_poke_receiver(void)
{
	char trash[256];

	if (broker_end < 0)
		return;
	// What the keeper sent, or it would fill up. A full socket means enough wakes are on the
	// way.
	while (recv(broker_end, trash, sizeof(trash), MSG_DONTWAIT) > 0) {
	}
	(void)!send(broker_end, pingresp, sizeof(pingresp), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void waker_poke_sender(void)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

	if (broker_end >= 0)
		MQTTAsync_send(keeper, "w", 0, "", 0, 0, &options);
}
