// A SEQPACKET socket: one packet is one document, a descriptor rides in the control message.
#include "server/ctl/publisher.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum err publisher_open(struct ctl *c, struct publisher *p)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = c->settings.publisher_socket;

	*p = (struct publisher){.ctl = c, .fd = -1};
	if (!*path)
		return err_set(ERR_NOT_FOUND, "[publisher] socket is not set");
	if (!str_copy(address.sun_path, sizeof(address.sun_path), path))
		return err_set(ERR_RANGE, "[publisher] socket is longer than %zu characters",
			sizeof(address.sun_path) - 1);
	p->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (p->fd < 0)
		return err_set_errno("cannot open a socket");
	if (connect(p->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		enum err e = err_set(ERR_CLOSED, "helio-publisher does not answer at %s: %s", path,
			strerror(errno));

		publisher_close(p);
		return e;
	}
	return ERR_OK;
}

void publisher_close(struct publisher *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static enum err packet_send(const struct publisher *p, const char *text, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec io = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
	struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};

	if (io.iov_len > PUBLISHER_PACKET_MAX)
		return err_set(ERR_RANGE,
			"the request has %zu bytes, at most %d: use tags instead of a list",
			io.iov_len, PUBLISHER_PACKET_MAX);
	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);

		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &fd, sizeof(int));
	}
	while (sendmsg(p->fd, &message, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return err_set(ERR_CLOSED, "helio-publisher: %s", strerror(errno));
	}
	return ERR_OK;
}

static enum err packet_receive(const struct publisher *p, struct buf *packet, cJSON **out)
{
	struct pollfd ready = {.fd = p->fd, .events = POLLIN};
	int n = poll(&ready, 1, (int)p->ctl->timeout_ms);

	if (n == 0)
		return err_set(ERR_TIMEOUT, "helio-publisher says nothing for %u s",
			p->ctl->timeout_ms / 1000);
	if (n < 0)
		return err_set(ERR_CLOSED, "interrupted");
	buf_clear(packet);
	TRY(buf_reserve(packet, PUBLISHER_PACKET_MAX));
	ssize_t size = recv(p->fd, packet->data, PUBLISHER_PACKET_MAX, MSG_TRUNC);
	if (size <= 0)
		return err_set(ERR_CLOSED, "helio-publisher closed the connection");
	if (size > PUBLISHER_PACKET_MAX)
		return err_set(ERR_RANGE, "helio-publisher sent %zd bytes at once", size);
	packet->size = (size_t)size;
	return json_parse(buf_bytes(packet), out);
}

// Moves the elements of every list of `from` to the end of the same list of `to`.
static void lists_join(cJSON *to, cJSON *from)
{
	cJSON *list, *item;

	cJSON_ArrayForEach(list, from)
	{
		cJSON *target =
			list->string ? cJSON_GetObjectItemCaseSensitive(to, list->string) : NULL;

		if (!cJSON_IsArray(list) || !cJSON_IsArray(target))
			continue;
		while ((item = cJSON_DetachItemFromArray(list, 0)))
			cJSON_AddItemToArray(target, item);
	}
}

static enum err refusal(const cJSON *answer)
{
	const char *word = json_text(answer, "word"), *sentence = json_text(answer, "error");

	for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
		if (strcmp(err_word((enum err)e), word) == 0)
			return err_set((enum err)e, "%s", sentence);
	}
	return err_set(ERR_DENIED, "%s%s%s%s", sentence, *word ? " (" : "", word, *word ? ")" : "");
}

// One packet of our request: progress, a part of the answer, or its end. *done at the end.
static enum err packet_take(struct progress *progress, cJSON *packet, cJSON **answer, bool *done)
{
	const cJSON *step = cJSON_GetObjectItemCaseSensitive(packet, "progress");

	if (step && progress)
		progress_show(progress, json_u64(step, "done"), json_u64(step, "total"),
			json_text(step, "what"));
	if (!cJSON_HasObjectItem(packet, "ok")) {
		cJSON_Delete(packet);
		return ERR_OK;
	}
	if (!json_bool(packet, "ok")) {
		enum err e = refusal(packet);

		cJSON_Delete(packet);
		return e;
	}
	*done = !json_bool(packet, "more");
	if (!*answer) {
		*answer = packet;
		return ERR_OK;
	}
	lists_join(*answer, packet);
	cJSON_Delete(packet);
	return ERR_OK;
}

static enum err answer_receive(struct publisher *p, struct progress *progress, cJSON **answer)
{
	SCOPED_BUF struct buf bytes;
	bool done = false;

	buf_init(&bytes, PUBLISHER_PACKET_MAX + 16);
	while (!done) {
		cJSON *packet = NULL;

		TRY(packet_receive(p, &bytes, &packet));
		if (json_u64(packet, "request") != p->request) {
			cJSON_Delete(packet);
			continue;
		}
		TRY(packet_take(progress, packet, answer, &done));
	}
	return ERR_OK;
}

enum err publisher_send(
	struct publisher *p, const char *verb, cJSON *request, int fd, uint64_t *number)
{
	SCOPED_JSON cJSON *owned = request;

	*number = ++p->request;
	cJSON_AddStringToObject(owned, "verb", verb);
	cJSON_AddNumberToObject(owned, "request", (double)*number);
	SCOPED_FREE char *text = cJSON_PrintUnformatted(owned);
	if (!text)
		return err_set(ERR_MEMORY, "no memory for a request");
	return packet_send(p, text, fd);
}

static void answer_strip(cJSON *answer)
{
	cJSON_DeleteItemFromObject(answer, "request");
	cJSON_DeleteItemFromObject(answer, "ok");
	cJSON_DeleteItemFromObject(answer, "more");
}

enum err publisher_receive(struct publisher *p, uint64_t *number, enum err *refused, cJSON **out)
{
	SCOPED_BUF struct buf bytes;
	cJSON *packet = NULL;
	bool done = false;

	*out = NULL;
	*refused = ERR_OK;
	buf_init(&bytes, PUBLISHER_PACKET_MAX + 16);
	while (!done) {
		TRY(packet_receive(p, &bytes, &packet));
		*number = json_u64(packet, "request");
		*refused = packet_take(NULL, packet, out, &done);
		done |= *refused != ERR_OK;
	}
	if (*out)
		answer_strip(*out);
	return ERR_OK;
}

enum err publisher_call(struct publisher *p, const char *verb, cJSON *request, int fd,
	struct progress *progress, cJSON **out)
{
	SCOPED_JSON cJSON *answer = NULL;
	uint64_t number = 0;

	TRY(publisher_send(p, verb, request, fd, &number));
	TRY(answer_receive(p, progress, &answer));
	answer_strip(answer);
	*out = answer;
	answer = NULL;
	return ERR_OK;
}

enum err publisher_call_with(
	struct ctl *c, const char *verb, cJSON *request, int fd, cJSON **out)
{
	struct publisher p;
	enum err e = publisher_open(c, &p);

	if (e != ERR_OK) {
		cJSON_Delete(request);
		return e;
	}
	e = publisher_call(&p, verb, request, fd, NULL, out);
	publisher_close(&p);
	return e;
}

enum err publisher_simple(struct ctl *c, const char *verb, cJSON *request, cJSON **out)
{
	return publisher_call_with(c, verb, request, -1, out);
}

enum err image_choose(const cJSON *images, const char *text, char out[65])
{
	size_t found = 0;
	const cJSON *one;

	cJSON_ArrayForEach(one, images)
	{
		const char *id = json_text(one, "image");

		if (strlen(text) >= 8 && strlen(id) == 64 && strncmp(id, text, strlen(text)) == 0) {
			memcpy(out, id, 65);
			found++;
		}
	}
	if (found == 1)
		return ERR_OK;
	return found == 0 ? err_set(ERR_NOT_FOUND, "no image %.70s: helioctl image list", text)
			  : err_set(ERR_EXISTS, "%zu images begin with %.70s", found, text);
}
