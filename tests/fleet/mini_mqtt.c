#include "tests/fleet/mini_mqtt.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_MAX (2 * 1024 * 1024)
#define OUT_MAX (8 * 1024 * 1024)

// ---------------------------------------------------------------- writing packets

static enum err put(struct buf *b, const void *data, size_t size)
{
	return buf_append(b, data, size);
}

static enum err put_u8(struct buf *b, uint8_t v)
{
	return put(b, &v, 1);
}

static enum err put_u16(struct buf *b, uint16_t v)
{
	uint8_t two[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	return put(b, two, 2);
}

static enum err put_varint(struct buf *b, size_t v)
{
	do {
		uint8_t byte = v & 127;

		v >>= 7;
		TRY(put_u8(b, v ? byte | 128 : byte));
	} while (v);
	return ERR_OK;
}

static enum err put_string(struct buf *b, const char *s)
{
	size_t n = strlen(s);

	TRY(put_u16(b, (uint16_t)n));
	return put(b, s, n);
}

static int socket_write(struct mini_client *c, const uint8_t *data, size_t size)
{
	if (!c->ssl) {
		ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL);

		return n >= 0 ? (int)n : errno == EAGAIN ? 0 : -1;
	}
	ERR_clear_error();
	int n = SSL_write(c->ssl, data, (int)(size > 1 << 20 ? 1 << 20 : size));
	if (n > 0)
		return n;
	int e = SSL_get_error(c->ssl, n);

	return e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ ? 0 : -1;
}

static void interest_set(struct mini_client *c, bool want_write)
{
	if (c->want_write == want_write)
		return;
	c->want_write = want_write;
	struct epoll_event e = { .events = EPOLLIN | (want_write ? EPOLLOUT : 0u), .data.ptr = c };
	epoll_ctl(c->loop->epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static bool out_flush(struct mini_client *c)
{
	while (c->out_done < c->out.size) {
		int n = socket_write(c, c->out.data + c->out_done, c->out.size - c->out_done);

		if (n < 0)
			return false;
		if (n == 0)
			break;
		c->out_done += (size_t)n;
		c->loop->sent_bytes += (uint64_t)n;
	}
	if (c->out_done == c->out.size) {
		buf_clear(&c->out);
		c->out_done = 0;
	}
	interest_set(c, c->out.size > 0);
	return true;
}

// Puts head and body behind each other and writes what the socket takes.
static enum err packet_send(struct mini_client *c, uint8_t type, const struct buf *body, struct bytes tail)
{
	if (c->state == MINI_CLOSED)
		return err_set(ERR_CLOSED, "not connected");
	TRY(put_u8(&c->out, type));
	TRY(put_varint(&c->out, body->size + tail.size));
	TRY(put(&c->out, body->data, body->size));
	TRY(put(&c->out, tail.data, tail.size));
	c->last_sent = clock_now().mono;
	if (c->state == MINI_CONNECTING || c->state == MINI_HANDSHAKE)
		return ERR_OK;
	return out_flush(c) ? ERR_OK : err_set(ERR_CLOSED, "the connection broke");
}

static enum err connect_send(struct mini_client *c)
{
	SCOPED_BUF struct buf b;

	buf_init(&b, 1024);
	TRY(put_string(&b, "MQTT"));
	TRY(put_u8(&b, 5));
	TRY(put_u8(&b, 2)); // clean start
	TRY(put_u16(&b, c->keepalive_s));
	if (c->receive_maximum) {
		TRY(put_u8(&b, 3));
		TRY(put_u8(&b, 33));
		TRY(put_u16(&b, c->receive_maximum));
	} else {
		TRY(put_u8(&b, 0));
	}
	TRY(put_string(&b, c->client_id));
	return packet_send(c, 0x10, &b, (struct bytes){ NULL, 0 });
}

static uint16_t packet_id(struct mini_client *c)
{
	if (++c->next_packet == 0)
		c->next_packet = 1;
	return c->next_packet;
}

enum err mini_publish(struct mini_client *c, const char *topic, struct bytes payload, int qos, bool retained,
	uint16_t *packet)
{
	SCOPED_BUF struct buf b;

	buf_init(&b, 1024);
	TRY(put_string(&b, topic));
	if (qos) {
		uint16_t id = packet_id(c);

		TRY(put_u16(&b, id));
		if (packet)
			*packet = id;
	}
	TRY(put_u8(&b, 0));
	return packet_send(c, (uint8_t)(0x30 | qos << 1 | (retained ? 1 : 0)), &b, payload);
}

static enum err filters_send(struct mini_client *c, uint8_t type, const char *const *filters, size_t count, int qos)
{
	SCOPED_BUF struct buf b;

	buf_init(&b, 64 * 1024);
	TRY(put_u16(&b, packet_id(c)));
	TRY(put_u8(&b, 0));
	for (size_t i = 0; i < count; i++) {
		TRY(put_string(&b, filters[i]));
		if (qos >= 0)
			TRY(put_u8(&b, (uint8_t)qos));
	}
	return packet_send(c, type, &b, (struct bytes){ NULL, 0 });
}

enum err mini_subscribe(struct mini_client *c, const char *const *filters, size_t count, int qos)
{
	return filters_send(c, 0x82, filters, count, qos);
}

enum err mini_unsubscribe(struct mini_client *c, const char *const *filters, size_t count)
{
	return filters_send(c, 0xa2, filters, count, -1);
}

void mini_keepalive(struct mini_client *c, struct mono now)
{
	struct buf none = { NULL, 0, 0, 0 };

	if (c->state == MINI_UP && mono_since_ms(now, c->last_sent) > c->keepalive_s * 500) {
		if (packet_send(c, 0xc0, &none, (struct bytes){ NULL, 0 }) != ERR_OK)
			mini_close(c);
	}
}

// ---------------------------------------------------------------- reading packets

// Value and length of a variable byte integer at data; 0 when it is not complete, -1 when it is bad.
static int varint_read(const uint8_t *data, size_t size, size_t *value)
{
	size_t v = 0;

	for (int i = 0; i < 4; i++) {
		if ((size_t)i >= size)
			return 0;
		v |= (size_t)(data[i] & 127) << (7 * i);
		if (!(data[i] & 128)) {
			*value = v;
			return i + 1;
		}
	}
	return -1;
}

static bool publish_take(struct mini_client *c, uint8_t head, uint8_t *p, size_t size)
{
	int qos = head >> 1 & 3;
	size_t topic_size, props = 0;

	if (size < 2 || (topic_size = (size_t)(p[0] << 8 | p[1])) + 2 > size)
		return false;
	size_t at = 2 + topic_size;
	uint16_t id = 0;
	if (qos) {
		if (at + 2 > size)
			return false;
		id = (uint16_t)(p[at] << 8 | p[at + 1]);
		at += 2;
	}
	int n = varint_read(p + at, size - at, &props);
	if (n <= 0 || at + (size_t)n + props > size)
		return false;
	at += (size_t)n + props;
	// The topic moves over its length, so that it can end with NUL without a copy.
	memmove(p, p + 2, topic_size);
	p[topic_size] = '\0';
	c->loop->received_messages++;
	if (c->events->message)
		c->events->message(c, (const char *)p, bytes_of(p + at, size - at), head & 1);
	if (qos && c->state == MINI_UP) {
		struct buf b = { (uint8_t[]){ (uint8_t)(id >> 8), (uint8_t)id }, 2, 2, 2 };

		return packet_send(c, 0x40, &b, (struct bytes){ NULL, 0 }) == ERR_OK;
	}
	return true;
}

static bool packet_take(struct mini_client *c, uint8_t head, uint8_t *p, size_t size)
{
	switch (head >> 4) {
	case 2:
		if (size < 2)
			return false;
		if (p[1] == 0)
			c->state = MINI_UP;
		if (c->events->up)
			c->events->up(c, p[1]);
		return p[1] == 0;
	case 3:
		return publish_take(c, head, p, size);
	case 4:
		if (size < 2)
			return false;
		if (c->events->puback)
			c->events->puback(c, (uint16_t)(p[0] << 8 | p[1]), size > 2 ? p[2] : 0);
		return true;
	case 14:
		return false;
	default:
		return true;
	}
}

static bool packets_take(struct mini_client *c)
{
	size_t at = 0;

	while (c->in.size - at >= 2 && c->state != MINI_CLOSED) {
		size_t size;
		int n = varint_read(c->in.data + at + 1, c->in.size - at - 1, &size);

		if (n < 0)
			return false;
		if (n == 0 || at + 1 + (size_t)n + size > c->in.size)
			break;
		if (!packet_take(c, c->in.data[at], c->in.data + at + 1 + n, size))
			return false;
		at += 1 + (size_t)n + size;
	}
	if (c->state == MINI_CLOSED)
		return true;
	memmove(c->in.data, c->in.data + at, c->in.size - at);
	c->in.size -= at;
	if (c->in.size == 0 && c->in.cap > 64 * 1024)
		buf_fini(&c->in);
	return true;
}

static int socket_read(struct mini_client *c, uint8_t *data, size_t size)
{
	if (!c->ssl) {
		ssize_t n = recv(c->fd, data, size, 0);

		return n > 0 ? (int)n : n < 0 && errno == EAGAIN ? 0 : -1;
	}
	ERR_clear_error();
	int n = SSL_read(c->ssl, data, (int)size);
	if (n > 0)
		return n;
	int e = SSL_get_error(c->ssl, n);

	return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static bool in_drain(struct mini_client *c)
{
	for (int round = 0; round < 16 && c->state != MINI_CLOSED; round++) {
		if (buf_reserve(&c->in, 16 * 1024) != ERR_OK)
			return false;
		int n = socket_read(c, c->in.data + c->in.size, c->in.cap - c->in.size);

		if (n < 0)
			return false;
		if (n == 0)
			return true;
		c->in.size += (size_t)n;
		c->loop->received_bytes += (uint64_t)n;
		if (!packets_take(c))
			return false;
	}
	return true;
}

// ---------------------------------------------------------------- connections

struct mini_tls {
	SSL_CTX *ctx;
};

enum err mini_tls_new(const char *ca, const char *cert, const char *key, struct mini_tls **out)
{
	struct mini_tls *t = calloc(1, sizeof(*t));

	if (!t || !(t->ctx = SSL_CTX_new(TLS_client_method()))) {
		free(t);
		return err_set(ERR_MEMORY, "no memory for TLS");
	}
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_3_VERSION);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	if (SSL_CTX_load_verify_locations(t->ctx, ca, NULL) != 1 ||
	        (cert && SSL_CTX_use_certificate_chain_file(t->ctx, cert) != 1) ||
	        (key && SSL_CTX_use_PrivateKey_file(t->ctx, key, SSL_FILETYPE_PEM) != 1)) {
		mini_tls_free(t);
		return err_set(ERR_FORMAT, "cannot use %s, %s, %s", ca, cert, key);
	}
	*out = t;
	return ERR_OK;
}

void mini_tls_free(struct mini_tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}

static enum err ssl_begin(struct mini_client *c, struct mini_tls *tls, const char *host)
{
	c->ssl = SSL_new(tls->ctx);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1 || SSL_set1_host(c->ssl, host) != 1)
		return err_set(ERR_MEMORY, "no memory for TLS");
	SSL_set_connect_state(c->ssl);
	return ERR_OK;
}

enum err mini_connect(struct mini_client *c, struct mini_loop *l, const struct sockaddr_in *to,
	const struct sockaddr_in *local, struct mini_tls *tls, const char *host)
{
	int one = 1;

	c->loop = l;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return err_set_errno("cannot make a socket");
	buf_init(&c->in, IN_MAX);
	buf_init(&c->out, OUT_MAX);
	c->out_done = 0;
	c->state = MINI_CONNECTING;
	c->want_write = true;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };
	if ((local && bind(c->fd, (const struct sockaddr *)local, sizeof(*local)) < 0) ||
	        (connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS) ||
	        epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0) {
		enum err failed = err_set_errno("cannot connect");

		mini_close(c);
		return failed;
	}
	if (tls) {
		enum err failed = ssl_begin(c, tls, host);

		if (failed != ERR_OK) {
			mini_close(c);
			return failed;
		}
	}
	return connect_send(c);
}

void mini_close(struct mini_client *c)
{
	if (c->state == MINI_CLOSED)
		return;
	c->state = MINI_CLOSED;
	SSL_free(c->ssl);
	c->ssl = NULL;
	close(c->fd);
	c->fd = -1;
	buf_fini(&c->out);
	c->out_done = 0;
}

void mini_client_fini(struct mini_client *c)
{
	mini_close(c);
	buf_fini(&c->in);
}

// ---------------------------------------------------------------- the loop

enum err mini_loop_init(struct mini_loop *l)
{
	*l = (struct mini_loop){ .epoll = epoll_create1(EPOLL_CLOEXEC) };
	return l->epoll < 0 ? err_set_errno("cannot make an epoll") : ERR_OK;
}

void mini_loop_fini(struct mini_loop *l)
{
	close(l->epoll);
}

static bool connect_go_on(struct mini_client *c)
{
	if (c->state == MINI_CONNECTING) {
		int error = 0;
		socklen_t size = sizeof(error);

		if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error)
			return false;
		c->state = c->ssl ? MINI_HANDSHAKE : MINI_WAIT_CONNACK;
	}
	if (c->state == MINI_HANDSHAKE) {
		ERR_clear_error();
		int n = SSL_do_handshake(c->ssl);

		if (n != 1) {
			int e = SSL_get_error(c->ssl, n);

			interest_set(c, e == SSL_ERROR_WANT_WRITE);
			return e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ;
		}
		c->state = MINI_WAIT_CONNACK;
	}
	return out_flush(c);
}

static void client_handle(struct mini_client *c, uint32_t events)
{
	bool good = true;

	if (c->state == MINI_CLOSED)
		return;
	if (c->state == MINI_CONNECTING || c->state == MINI_HANDSHAKE)
		good = connect_go_on(c);
	else if (events & EPOLLOUT)
		good = out_flush(c);
	if (good && c->state >= MINI_WAIT_CONNACK && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		good = in_drain(c);
	if (!good && c->state != MINI_CLOSED) {
		mini_close(c);
		if (c->events->down)
			c->events->down(c);
	}
	if (c->state == MINI_CLOSED)
		buf_fini(&c->in); // thousands of them wait for their next connection
}

int mini_loop_run_us(struct mini_loop *l, int64_t timeout_us)
{
	struct epoll_event ready[512];
	struct timespec wait = { .tv_sec = timeout_us / 1000000, .tv_nsec = timeout_us % 1000000 * 1000 };
	int count = epoll_pwait2(l->epoll, ready, 512, &wait, NULL);

	for (int i = 0; i < count; i++)
		client_handle(ready[i].data.ptr, ready[i].events);
	return count;
}

int mini_loop_run(struct mini_loop *l, int timeout_ms)
{
	return mini_loop_run_us(l, timeout_ms * 1000ll);
}
