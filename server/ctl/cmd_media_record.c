// media record: what the publisher recorded for one client or for several, onto one stick or into
// one image.
//
//   orders (by number, or all that are recorded) -> publisher: media-record with a descriptor
//     --iso FILE  the publisher writes the image into the file that was opened here
//     --to DIR    the publisher writes a stream into a pipe; a child here unpacks it, with the
//                 rights of who calls. Only paths that a medium has are written, behind no links.
#include "proto/base/file.h"
#include "proto/medium.h"
#include "proto/topics.h"
#include "server/ctl/publisher.h"
#include "server/ctl/show.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORD_MS (6 * 3600 * 1000)

// ---- which

static enum err orders_recorded(struct ctl *c, const struct args *a, cJSON *list)
{
	struct api *api = NULL;
	struct api_result r = {0};
	const struct arg state = {"state", "recorded"};
	const cJSON *one = NULL;

	enum err e = api_open(c, &api);
	if (e == ERR_OK)
		e = api_call(api, "media-list", &state, 1, bytes_of(NULL, 0), &r);
	api_close(api);
	TRY(e);
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(r.document, "media"))
	{
		bool wanted = !args_has(a, "client");
		for (size_t i = 0; i < a->option_count; i++)
			wanted |= strcmp(a->options[i].name, "client") == 0 &&
				  strcmp(a->options[i].value, json_text(one, "client")) == 0;
		if (wanted)
			cJSON_AddItemToArray(list, cJSON_CreateString(json_text(one, "order")));
	}
	api_result_free(&r);
	return cJSON_GetArraySize(list) ? ERR_OK
					: err_set(ERR_NOT_FOUND, "no medium is recorded for them");
}

static enum err orders_choose(struct ctl *c, const struct args *a, cJSON *request)
{
	cJSON *list = cJSON_AddArrayToObject(request, "orders");

	for (size_t i = 0; i < a->word_count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(a->words[i]));
	return a->word_count ? ERR_OK : orders_recorded(c, a, list);
}

// ---- onto a stick: the child

static bool path_is_ours(const char *path)
{
	struct topic_parts parts;
	const char *rest = path + strlen(MEDIUM_ORDERS) + 1;

	if (strcmp(path, MEDIUM_LABEL) == 0)
		return true;
	if (strncmp(path, MEDIUM_ORDERS "/", strlen(MEDIUM_ORDERS) + 1) == 0)
		return path_is_safe(rest) && strchr(rest, '/') &&
		       !strchr(strchr(rest, '/') + 1, '/');
	return topic_parse(path, strlen(path), &parts) == ERR_OK &&
	       (parts.kind == TOPIC_PKG || parts.kind == TOPIC_IDX || parts.kind == TOPIC_CHUNK);
}

static enum err pipe_read(int fd, void *out, size_t size)
{
	uint8_t *at = out;

	while (size) {
		ssize_t n = read(fd, at, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(ERR_CLOSED, "the publisher ended in the middle");
		at += n;
		size -= (size_t)n;
	}
	return ERR_OK;
}

// The folder of the path, made on the way; *name: what is left of the path.
static enum err folder_open(int stick, char *path, int *folder, const char **name)
{
	int at = fcntl(stick, F_DUPFD_CLOEXEC, 0);

	for (char *slash; at >= 0 && (slash = strchr(path, '/')) != NULL; path = slash + 1) {
		*slash = '\0';
		bool made = mkdirat(at, path, 0755) == 0 || errno == EEXIST;
		int next = made ? openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
				: -1;
		close(at);
		at = next;
	}
	*name = path;
	*folder = at;
	return at >= 0 ? ERR_OK : err_set_errno("the folder of %s", path);
}

static enum err file_put(int stick, char *path, struct bytes data)
{
	SCOPED_FD int folder = -1;
	const char *name = NULL;
	char part[160];

	TRY(folder_open(stick, path, &folder, &name));
	(void)snprintf(part, sizeof(part), "%.140s.part", name);
	if (unlinkat(folder, part, 0) != 0 && errno != ENOENT)
		return err_set_errno("%s", part);
	SCOPED_FD int fd =
		openat(folder, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_set_errno("%s", part);
	TRY(fd_write_all(fd, data.data, data.size));
	return renameat(folder, part, folder, name) == 0 ? ERR_OK : err_set_errno("%s", name);
}

static enum err stream_unpack(int from, int stick)
{
	SCOPED_BUF struct buf data;
	char path[LIMIT_TOPIC];
	uint8_t head[6];

	buf_init(&data, LIMIT_OBJECT);
	for (size_t files = 0; files <= MEDIUM_FILES_MAX; files++) {
		TRY(pipe_read(from, head, sizeof(head)));
		size_t n = (size_t)head[0] | (size_t)head[1] << 8;
		size_t size = (size_t)head[2] | (size_t)head[3] << 8 | (size_t)head[4] << 16 |
			      (size_t)head[5] << 24;
		if (n == 0)
			return syncfs(stick) == 0 ? ERR_OK : err_set_errno("the stick");
		if (n >= sizeof(path) || size > LIMIT_OBJECT)
			return err_set(ERR_FORMAT, "the publisher sent what is on no medium");
		TRY(pipe_read(from, path, n));
		path[n] = '\0';
		if (!path_is_ours(path))
			return err_set(ERR_FORMAT, "the publisher sent what is on no medium");
		buf_clear(&data);
		TRY(buf_reserve(&data, size + 1));
		TRY(pipe_read(from, data.data, size));
		TRY(file_put(stick, path, bytes_of(data.data, size)));
	}
	return err_set(ERR_FULL, "more files than a medium holds");
}

static _Noreturn void child_run(const struct ctl *c, int from, int stick)
{
	enum err e = stream_unpack(from, stick);

	_exit(e == ERR_OK ? 0 : (int)ctl_fail(c, e));
}

static enum err stick_write(struct ctl *c, const char *dir, cJSON *request, cJSON **answer)
{
	SCOPED_FD int stick = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ends[2], status = 0;

	cJSON_AddStringToObject(request, "kind", "stream");
	if (stick < 0 || pipe2(ends, O_CLOEXEC) != 0) {
		cJSON_Delete(request);
		return err_set_errno("%s", dir);
	}
	pid_t child = fork();
	if (child == 0) {
		close(ends[1]);
		child_run(c, ends[0], stick);
	}
	close(ends[0]);
	enum err e = child > 0 ? publisher_call_with(c, "media-record", request, ends[1], answer)
			       : err_set_errno("fork");
	close(ends[1]);
	if (child > 0 && (waitpid(child, &status, 0) != child || status != 0) && e == ERR_OK)
		e = err_set(ERR_IO, "the stick was not written");
	return e;
}

// ---- into an image

static enum err image_write(struct ctl *c, const char *file, cJSON *request, cJSON **answer)
{
	char part[PATH_MAX];
	int n = snprintf(part, sizeof(part), "%s.part", file);

	cJSON_AddStringToObject(request, "kind", "iso9660");
	SCOPED_FD int fd = n > 0 && (size_t)n < sizeof(part)
				   ? open(part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)
				   : -1;
	if (fd < 0) {
		cJSON_Delete(request);
		return err_set_errno("%s", file);
	}
	enum err e = publisher_call_with(c, "media-record", request, fd, answer);
	if (e == ERR_OK && (fsync(fd) != 0 || rename(part, file) != 0))
		e = err_set_errno("%s", file);
	if (e != ERR_OK)
		(void)unlink(part);
	return e;
}

enum exit_code cmd_media_record(struct ctl *c, const struct args *a)
{
	const char *to = args_get(a, "to", NULL), *iso = args_get(a, "iso", NULL);
	SCOPED_JSON cJSON *answer = NULL;
	cJSON *request = cJSON_CreateObject();

	c->timeout_ms = RECORD_MS; // a stick is slow; a publisher that ends closes its socket
	if (!to == !iso) {
		cJSON_Delete(request);
		return ctl_usage(c, "either --to DIR or --iso FILE");
	}
	enum err e = orders_choose(c, a, request);
	if (e != ERR_OK)
		cJSON_Delete(request);
	else
		e = to ? stick_write(c, to, request, &answer)
		       : image_write(c, iso, request, &answer);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json)
		json_print(stdout, answer, true);
	ctl_say(c, "%s: %.0f orders, %.0f files, %.0f bytes", ctl_safe(to ? to : iso),
		json_number(answer, "orders"), json_number(answer, "files"),
		json_number(answer, "size_bytes"));
	if (iso)
		ctl_say(c, "sha256 %s", ctl_safe(json_text(answer, "sha256")));
	return EXIT_DONE;
}
