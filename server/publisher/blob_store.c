#include "server/publisher/blob_store.h"
#include "proto/base/file.h"
#include "proto/digest.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 640
#define COPY_BYTES (256 * 1024)

static void blob_path(const struct blob_store *s, const struct digest *name, char out[PATH_SIZE])
{
	char hex[65];

	hex_encode(name->b, sizeof name->b, hex);
	snprintf(out, PATH_SIZE, "%s/%.2s/%s", s->dir, hex, hex);
}

enum err blob_store_open(struct blob_store *s, const char *dir)
{
	if (!str_copy(s->dir, sizeof s->dir, dir))
		return err_set(ERR_RANGE, "the path of a store is too long");
	return dir_make(dir);
}

// ---- writing

static enum err temporary_open(struct blob_store *s, char path[PATH_SIZE], int *fd)
{
	snprintf(path, PATH_SIZE, "%s/tmp-%016llx", s->dir, (unsigned long long)random_u64());
	*fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
	return *fd < 0 ? err_set_errno("cannot write in %s", s->dir) : ERR_OK;
}

static enum err temporary_name(struct blob_store *s, const char *tmp, const struct digest *name)
{
	char path[PATH_SIZE], dir[PATH_SIZE];

	blob_path(s, name, path);
	if (rename(tmp, path) == 0)
		return ERR_OK;
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
	TRY(dir_make(dir));
	return rename(tmp, path) == 0 ? ERR_OK : err_set_errno("cannot name %s", path);
}

static enum err fd_copy(int from, int to, size_t size)
{
	SCOPED_BUF struct buf b;

	buf_init(&b, COPY_BYTES);
	TRY(buf_reserve(&b, COPY_BYTES));
	for (size_t at = 0; at < size;) {
		size_t n = size - at < COPY_BYTES ? size - at : COPY_BYTES;
		TRY(fd_pread_all(from, b.data, n, (off_t)at));
		TRY(fd_write_all(to, b.data, n));
		at += n;
	}
	return ERR_OK;
}

static enum err put(
	struct blob_store *s, const struct digest *name, struct bytes data, int from, size_t size)
{
	char tmp[PATH_SIZE];
	SCOPED_FD int fd = -1;

	TRY(temporary_open(s, tmp, &fd));
	enum err e = from >= 0 ? fd_copy(from, fd, size) : fd_write_all(fd, data.data, data.size);
	if (e == ERR_OK && from >= 0 && fsync(fd) != 0)
		e = err_set_errno("cannot sync %s", tmp);
	if (e == ERR_OK)
		e = temporary_name(s, tmp, name);
	if (e != ERR_OK)
		(void)unlink(tmp);
	return e;
}

enum err blob_put(struct blob_store *s, const struct digest *name, struct bytes data)
{
	return put(s, name, data, -1, 0);
}

enum err blob_put_fd(struct blob_store *s, const struct digest *name, int fd, size_t size)
{
	char path[PATH_SIZE];

	TRY(put(s, name, (struct bytes){0}, fd, size));
	blob_path(s, name, path);
	*strrchr(path, '/') = 0;
	TRY(dir_sync(path));
	return dir_sync(s->dir);
}

enum err blob_watch(struct blob_store *s, int *watch)
{
	*watch = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *watch >= 0 ? ERR_OK : err_set_errno("cannot open %s", s->dir);
}

enum err blob_sync(struct blob_store *s, int watch)
{
	return syncfs(watch) == 0 ? ERR_OK : err_set_errno("cannot sync %s", s->dir);
}

// ---- reading

enum err blob_open(struct blob_store *s, const struct digest *name, int *fd)
{
	char path[PATH_SIZE];

	blob_path(s, name, path);
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return *fd < 0 ? err_set_errno("%s", path) : ERR_OK;
}

enum err blob_read(struct blob_store *s, const struct digest *name, struct buf *out)
{
	char path[PATH_SIZE];

	blob_path(s, name, path);
	buf_clear(out);
	TRY(file_read(path, out));
	struct digest is = sha256(out->data, out->size);
	if (!digest_equal(&is, name))
		return err_set(ERR_CORRUPT, "%s hashes to %s", path, digest_short(&is));
	return ERR_OK;
}

enum err blob_remove(struct blob_store *s, const struct digest *name)
{
	char path[PATH_SIZE];

	blob_path(s, name, path);
	if (unlink(path) == 0)
		return ERR_OK;
	enum err e = err_set_errno("cannot remove %s", path);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

// ---- sweeping

static bool is_wanted(const char *name, blob_keep *keep, void *ctx)
{
	struct digest d;

	return strlen(name) == 64 && hex_decode(name, d.b, sizeof d.b) == ERR_OK && keep(ctx, &d);
}

static size_t sweep_folder(int parent, const char *name, blob_keep *keep, void *ctx)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	size_t removed = 0;

	if (!d)
		return 0;
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		if (e->d_name[0] != '.' && !is_wanted(e->d_name, keep, ctx))
			removed += unlinkat(fd, e->d_name, 0) == 0;
	closedir(d);
	return removed;
}

size_t blob_sweep(struct blob_store *s, blob_keep *keep, void *ctx)
{
	DIR *d = opendir(s->dir);
	size_t removed = 0;

	if (!d)
		return 0;
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		if (strncmp(e->d_name, "tmp-", 4) == 0)
			removed += unlinkat(dirfd(d), e->d_name, 0) == 0;
		else if (strlen(e->d_name) == 2 && e->d_name[0] != '.')
			removed += sweep_folder(dirfd(d), e->d_name, keep, ctx);
	}
	closedir(d);
	return removed;
}
