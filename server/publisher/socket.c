#include "socket.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define OUT_PACKETS_MAX 4096 // to a caller who does not read
#define LIST_BYTES (40 * 1024)
#define ACCEPT_AGAIN_MS 500
#define NUMBER_MAX 9007199254740992.0 // whole numbers that a double keeps

struct packet {
	struct packet *next;
	size_t size;
	char text[];
};

struct conn {
	uv_poll_t poll;
	struct socket_server *server;
	int fd;
	bool closed; // the handle is closing or closed
	bool handle_gone;
	size_t calls; // that still point here
	struct packet *first, **last;
	size_t out_count;
};

struct socket_server {
	uv_poll_t poll;
	uv_timer_t again; // accepts once more
	struct log_gate wait_gate;
	int fd;
	char path[108];
	socket_handler *handler;
	void *ctx;
	struct conn *conns[SOCKET_CALLERS_MAX];
	size_t conn_count;
	char packet[SOCKET_PACKET_MAX];
};

struct call {
	struct conn *conn;
	cJSON *json;
	double request;
	int fds[SOCKET_FDS_MAX];
	size_t fd_count, fd_taken;
};

// ---- connections

static void conn_maybe_free(struct conn *c)
{
	if (c->closed && c->handle_gone && c->calls == 0)
		free(c);
}

static void on_conn_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	c->handle_gone = true;
	conn_maybe_free(c);
}

static void conn_close(struct conn *c)
{
	if (c->closed)
		return;
	c->closed = true;
	struct socket_server *s = c->server;
	for (size_t i = 0; s && i < s->conn_count; i++)
		if (s->conns[i] == c) {
			s->conns[i] = s->conns[--s->conn_count];
			break;
		}
	while (c->first) {
		struct packet *p = c->first;
		c->first = p->next;
		free(p);
	}
	uv_poll_stop(&c->poll);
	close(c->fd);
	uv_close((uv_handle_t *)&c->poll, on_conn_closed);
}

static void on_conn_event(uv_poll_t *poll, int status, int events);

static void conn_watch(struct conn *c)
{
	uv_poll_start(&c->poll, UV_READABLE | (c->first ? UV_WRITABLE : 0), on_conn_event);
}

// ---- sending

static void conn_flush(struct conn *c)
{
	while (c->first) {
		struct packet *p = c->first;
		ssize_t n = send(c->fd, p->text, p->size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
			break;
		if (n < 0) {
			conn_close(c);
			return;
		}
		c->first = p->next;
		if (!c->first)
			c->last = &c->first;
		c->out_count--;
		free(p);
	}
	conn_watch(c);
}

static void conn_send(struct conn *c, const char *text)
{
	size_t size = strlen(text);
	struct packet *p = NULL;

	if (c->closed)
		return;
	if (size <= SOCKET_PACKET_MAX && c->out_count < OUT_PACKETS_MAX)
		p = malloc(sizeof *p + size + 1);
	if (!p) {
		log_warn("SOCKET-CALLER-DROPPED", "waiting=%zu size=%zu", c->out_count, size);
		conn_close(c);
		return;
	}
	*p = (struct packet){.size = size};
	memcpy(p->text, text, size + 1);
	*c->last = p;
	c->last = &p->next;
	c->out_count++;
	conn_flush(c);
}

static void call_send(struct call *c, cJSON *body)
{
	char *text = NULL;

	if (body)
		cJSON_AddNumberToObject(body, "request", c->request);
	text = body ? cJSON_PrintUnformatted(body) : NULL;
	if (text)
		conn_send(c->conn, text);
	cJSON_free(text);
	cJSON_Delete(body);
}

// ---- calls

const cJSON *call_json(const struct call *c)
{
	return c->json;
}

const char *call_string(const struct call *c, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(c->json, key));
}

const char *call_verb(const struct call *c)
{
	const char *verb = call_string(c, "verb");

	return verb ? verb : "";
}

bool call_number(const struct call *c, const char *key, uint64_t def, uint64_t max, uint64_t *out)
{
	const cJSON *j = cJSON_GetObjectItemCaseSensitive(c->json, key);

	*out = def;
	if (!j || cJSON_IsNull(j))
		return true;
	double v = cJSON_IsNumber(j) ? j->valuedouble : -1;
	if (!(v >= 0 && v <= NUMBER_MAX) || v > (double)max)
		return false;
	*out = (uint64_t)v;
	return (double)*out == v;
}

int call_take_fd(struct call *c)
{
	if (c->fd_taken == c->fd_count)
		return -1;
	return c->fds[c->fd_taken++];
}

bool call_is_alone(const struct call *c)
{
	return c->conn->closed;
}

void call_drop(struct call *c)
{
	struct conn *conn = c->conn;

	while (c->fd_taken < c->fd_count)
		close(c->fds[c->fd_taken++]);
	cJSON_Delete(c->json);
	free(c);
	conn->calls--;
	conn_maybe_free(conn);
}

void call_answer(struct call *c, cJSON *body)
{
	body = body ? body : cJSON_CreateObject();
	if (body)
		cJSON_AddBoolToObject(body, "ok", true);
	call_send(c, body);
	call_drop(c);
}

void call_refuse(struct call *c, const char *word, const char *sentence)
{
	cJSON *body = cJSON_CreateObject();

	if (body) {
		cJSON_AddBoolToObject(body, "ok", false);
		cJSON_AddStringToObject(body, "error", sentence);
		cJSON_AddStringToObject(body, "word", word);
	}
	call_send(c, body);
	call_drop(c);
}

void call_refuse_err(struct call *c, enum err e)
{
	call_refuse(c, err_word(e), err_text());
}

void call_progress(struct call *c, uint64_t done, uint64_t total, const char *what)
{
	cJSON *body = cJSON_CreateObject();
	cJSON *p = body ? cJSON_AddObjectToObject(body, "progress") : NULL;

	if (p) {
		cJSON_AddNumberToObject(p, "done", (double)done);
		cJSON_AddNumberToObject(p, "total", (double)total);
		cJSON_AddStringToObject(p, "what", what);
	}
	call_send(c, body);
}

// ---- lists

void lister_init(struct lister *l, struct call *c, const char *name)
{
	*l = (struct lister){.call = c, .name = name};
	buf_init(&l->items, SOCKET_PACKET_MAX);
}

static cJSON *lister_take(struct lister *l, cJSON *body)
{
	cJSON *list = NULL;
	enum err e = buf_append(&l->items, "]", 2);

	body = body ? body : cJSON_CreateObject();
	if (e == ERR_OK)
		list = l->count ? cJSON_Parse((const char *)l->items.data) : cJSON_CreateArray();
	if (body && list)
		cJSON_AddItemToObject(body, l->name, list);
	l->count = 0;
	buf_clear(&l->items);
	return body;
}

void lister_add(struct lister *l, cJSON *item)
{
	char *text = item ? cJSON_PrintUnformatted(item) : NULL;

	cJSON_Delete(item);
	if (!text)
		return;
	if (l->count > 0 && l->items.size + strlen(text) > LIST_BYTES) {
		cJSON *body = lister_take(l, NULL);
		if (body)
			cJSON_AddBoolToObject(body, "more", true);
		call_send(l->call, body);
	}
	if (buf_printf(&l->items, "%c%s", l->count ? ',' : '[', text) == ERR_OK)
		l->count++;
	cJSON_free(text);
}

void lister_end(struct lister *l, cJSON *body)
{
	body = lister_take(l, body);
	buf_fini(&l->items);
	call_answer(l->call, body);
}

// ---- receiving

static void fds_collect(struct msghdr *m, struct call *c)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd = -1;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			if (c->fd_count < SOCKET_FDS_MAX)
				c->fds[c->fd_count++] = fd;
			else
				close(fd);
		}
	}
}

static void packet_take(struct conn *conn, const char *text, size_t size, struct msghdr *m)
{
	struct call *c = calloc(1, sizeof *c);

	if (!c)
		abort();
	c->conn = conn;
	conn->calls++;
	fds_collect(m, c);
	c->json = m->msg_flags & MSG_TRUNC ? NULL : cJSON_ParseWithLength(text, size);
	const cJSON *request = cJSON_GetObjectItemCaseSensitive(c->json, "request");
	c->request = cJSON_IsNumber(request) ? request->valuedouble : 0;
	if (!cJSON_IsObject(c->json))
		call_refuse(
			c, err_word(ERR_FORMAT), "a packet is one JSON object of at most 64 KiB");
	else if (m->msg_flags & MSG_CTRUNC)
		call_refuse(c, err_word(ERR_FULL),
			"not all descriptors of the request could be taken: too many, or none is "
			"left");
	else
		conn->server->handler(conn->server->ctx, c);
}

// False when the connection has nothing more for now, or is gone.
static bool packet_read(struct conn *c)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * SOCKET_FDS_MAX)];
	} control;
	struct iovec v = {.iov_base = c->server->packet, .iov_len = SOCKET_PACKET_MAX};
	struct msghdr m = {.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control};
	ssize_t n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		conn_close(c);
		return false;
	}
	packet_take(c, c->server->packet, (size_t)n, &m);
	return !c->closed;
}

static void on_conn_event(uv_poll_t *poll, int status, int events)
{
	struct conn *c = poll->data;

	if (status < 0) {
		conn_close(c);
		return;
	}
	c->calls++; // a handler may answer and so close the connection meanwhile
	if (events & UV_WRITABLE)
		conn_flush(c);
	for (int i = 0; i < 16 && !c->closed && (events & UV_READABLE); i++)
		if (!packet_read(c))
			break;
	c->calls--;
	conn_maybe_free(c);
}

// ---- listening

// Only the user we run as, and root.
static bool caller_is_allowed(int fd)
{
	struct ucred who;
	socklen_t size = sizeof who;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
		return false;
	return who.uid == geteuid() || who.uid == 0;
}

static void on_accept(uv_poll_t *poll, int status, int events);

static void on_accept_again(uv_timer_t *t)
{
	struct socket_server *s = t->data;

	uv_poll_start(&s->poll, UV_READABLE, on_accept);
}

// No descriptor for a caller: it waits in the kernel's queue, and the loop must not turn around it.
static void accept_later(struct socket_server *s)
{
	int why = errno;

	if (log_gate_open(&s->wait_gate, clock_now().mono.ms, 10000))
		log_warn("SOCKET-CALLERS-WAIT", "why=%s", log_quote(strerror(why)));
	uv_poll_stop(&s->poll);
	uv_timer_start(&s->again, on_accept_again, ACCEPT_AGAIN_MS, 0);
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
	struct socket_server *s = poll->data;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *c = NULL;

	(void)status;
	(void)events;
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			accept_later(s);
		return;
	}
	if (s->conn_count < SOCKET_CALLERS_MAX && caller_is_allowed(fd))
		c = calloc(1, sizeof *c);
	if (!c || uv_poll_init(poll->loop, &c->poll, fd) != 0) {
		log_warn("SOCKET-CALLER-REFUSED", "callers=%zu", s->conn_count);
		free(c);
		close(fd);
		return;
	}
	c->poll.data = c;
	c->server = s;
	c->fd = fd;
	c->last = &c->first;
	s->conns[s->conn_count++] = c;
	conn_watch(c);
}

// It listens before its name is there, so that nobody who finds the name is refused.
static enum err listen_at(struct socket_server *s, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct stat is;

	int n = snprintf(a.sun_path, sizeof a.sun_path, "%s.new", path);
	if (n < 0 || (size_t)n >= sizeof a.sun_path || !str_copy(s->path, sizeof s->path, path))
		return err_set(ERR_RANGE, "the path of the socket is too long: %s", path);
	if (lstat(path, &is) == 0 && !S_ISSOCK(is.st_mode))
		return err_set(ERR_EXISTS, "%s is there and is no socket", path);
	if (lstat(a.sun_path, &is) == 0 && S_ISSOCK(is.st_mode))
		(void)unlink(a.sun_path); // of a start that was cut
	s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return err_set_errno("no socket");
	mode_t mask = umask(0177);
	int rc = bind(s->fd, (struct sockaddr *)&a, sizeof a);
	umask(mask);
	// A name of a run before is replaced; the store's lock says that nobody else lives.
	if (rc != 0 || listen(s->fd, 16) != 0 || rename(a.sun_path, path) != 0)
		return err_set_errno("cannot listen on %s", path);
	return ERR_OK;
}

enum err socket_open(uv_loop_t *loop, const char *path, socket_handler *handler, void *ctx,
	struct socket_server **out)
{
	struct socket_server *s = calloc(1, sizeof *s);

	if (!s)
		return err_set(ERR_MEMORY, "no memory for the socket");
	s->fd = -1;
	s->handler = handler;
	s->ctx = ctx;
	enum err e = listen_at(s, path);
	if (e == ERR_OK && uv_poll_init(loop, &s->poll, s->fd) != 0)
		e = err_set(ERR_IO, "cannot watch the socket");
	if (e != ERR_OK) {
		if (s->fd >= 0)
			close(s->fd);
		free(s);
		return e;
	}
	s->poll.data = s;
	uv_timer_init(loop, &s->again);
	s->again.data = s;
	uv_poll_start(&s->poll, UV_READABLE, on_accept);
	*out = s;
	return ERR_OK;
}

static void on_server_closed(uv_handle_t *h)
{
	free(h->data);
}

static void on_poll_closed(uv_handle_t *h)
{
	struct socket_server *s = h->data;

	uv_close((uv_handle_t *)&s->again, on_server_closed);
}

void socket_close(struct socket_server *s)
{
	if (!s)
		return;
	while (s->conn_count > 0) {
		struct conn *c = s->conns[s->conn_count - 1];
		conn_close(c);
		c->server = NULL;
	}
	uv_poll_stop(&s->poll);
	uv_timer_stop(&s->again);
	close(s->fd);
	(void)unlink(s->path);
	uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}
