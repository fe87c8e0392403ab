// A medium as a folder: what is copied to a stick. The folder is nobody's until all of it is on the
// disk, so its files are not synced one by one: a stick takes some ten milliseconds for each.
#include "medium_write.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err parents_make(const char *dir, char *path)
{
	for (char *slash = strchr(path + strlen(dir) + 1, '/'); slash;
		slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		bool made = mkdir(path, 0755) == 0 || errno == EEXIST;
		if (!made)
			return err_set_errno("folder %s", path);
		*slash = '/';
	}
	return ERR_OK;
}

static enum err file_put(const char *path, struct bytes data)
{
	SCOPED_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

	return fd >= 0 ? fd_write_all(fd, data.data, data.size) : err_set_errno("%s", path);
}

static enum err entry_write(
	const struct medium_content *m, const struct medium_entry *e, const char *dir)
{
	char path[PATH_MAX];
	SCOPED_BUF struct buf blob;

	buf_init(&blob, LIMIT_OBJECT);
	TRY(path_join(path, sizeof(path), dir, e->path));
	TRY(parents_make(dir, path));
	if (e->bytes.size)
		return file_put(path, e->bytes);
	TRY(blob_read(m->objects, &e->object, &blob));
	return file_put(path, buf_bytes(&blob));
}

// Open before the first file is written: a descriptor of later may not be told of what failed.
static enum err folder_fill(const struct medium_content *m, const char *path)
{
	SCOPED_FD int watch = -1;

	TRY(tree_remove(path)); // of a recording that was cut
	TRY(dir_make(path));
	watch = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (watch < 0)
		return err_set_errno("folder %s", path);
	for (size_t i = 0; i < m->count; i++) {
		TRY(medium_check(m));
		TRY(entry_write(m, &m->entries[i], path));
	}
	return syncfs(watch) == 0 ? ERR_OK : err_set_errno("sync %s", path);
}

// What was written of it goes, and the reason stays.
static enum err folder_drop(const char *path, enum err e)
{
	char why[256];

	if (!str_copy(why, sizeof(why), err_text()))
		(void)str_copy(why, sizeof(why), err_word(e));
	if (tree_remove(path) != ERR_OK) // the next start tries again
		log_warn("MEDIUM-PART-STAYS", "path=%s why=%s", log_quote(path),
			log_quote(err_text()));
	return err_set(e, "%s", why);
}

enum err medium_write_folder(const struct medium_content *m, const char *path)
{
	enum err e = folder_fill(m, path);

	return e == ERR_OK ? e : folder_drop(path, e);
}

// ---- a stream

#define LOOK_MS 200    // how soon it is seen that the publisher ends
#define PIPE_ROOM 4096 // a pipe that can be written to takes so much at once

struct stream {
	const struct medium_content *m;
	int fd;
	uint32_t patience_ms;
};

static enum err room_await(const struct stream *s)
{
	struct pollfd p = {.fd = s->fd, .events = POLLOUT};

	for (uint32_t waited_ms = 0; waited_ms <= s->patience_ms; waited_ms += LOOK_MS) {
		TRY(medium_check(s->m));
		int n = poll(&p, 1, LOOK_MS);
		if (n > 0)
			return ERR_OK; // also of an error: the write says which
		if (n < 0 && errno != EINTR)
			return err_set_errno("cannot write");
	}
	return err_set(
		ERR_TIMEOUT, "nobody took anything of the medium for %u s", s->patience_ms / 1000);
}

static enum err stream_write(const struct stream *s, const void *data, size_t size)
{
	const uint8_t *at = data;

	while (size > 0) {
		size_t n = size < PIPE_ROOM ? size : PIPE_ROOM;
		TRY(room_await(s));
		TRY(fd_write_all(s->fd, at, n));
		at += n;
		size -= n;
	}
	return ERR_OK;
}

static enum err stream_entry(const struct stream *s, const struct medium_entry *e, uint64_t *size)
{
	SCOPED_BUF struct buf blob;
	struct bytes data = e->bytes;
	size_t n = strlen(e->path);

	buf_init(&blob, LIMIT_OBJECT);
	if (!data.size) {
		TRY(blob_read(s->m->objects, &e->object, &blob));
		data = buf_bytes(&blob);
	}
	const uint8_t head[6] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)data.size,
		(uint8_t)(data.size >> 8), (uint8_t)(data.size >> 16), (uint8_t)(data.size >> 24)};
	TRY(stream_write(s, head, sizeof(head)));
	TRY(stream_write(s, e->path, n));
	*size += data.size;
	return stream_write(s, data.data, data.size);
}

enum err medium_write_stream(
	const struct medium_content *m, int fd, uint32_t patience_ms, uint64_t *size)
{
	const struct stream s = {.m = m, .fd = fd, .patience_ms = patience_ms};
	const uint8_t end[6] = {0};

	*size = 0;
	for (size_t i = 0; i < m->count; i++)
		TRY(stream_entry(&s, &m->entries[i], size));
	return stream_write(&s, end, sizeof(end));
}
