// Files that survive a power cut, safe paths, locks, randomness.
#include "proto/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

// ---- folders

enum err dir_make(const char *dir)
{
	char path[PATH_MAX];

	if (!str_copy(path, sizeof(path), dir) || !*dir)
		return err_set(ERR_RANGE, "a folder name is empty or too long");
	for (char *p = path + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char keep = *p;

		*p = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return err_set_errno("cannot make the folder %s", path);
		*p = keep;
		if (!keep)
			break;
	}
	struct stat st;
	if (stat(path, &st) < 0)
		return err_set_errno("cannot look at %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(ERR_EXISTS, "%s is not a folder", path);
	return ERR_OK;
}

enum err dir_sync(const char *dir)
{
	SCOPED_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_set_errno("cannot open the folder %s", dir);
	if (fsync(fd) < 0)
		return err_set_errno("cannot sync the folder %s", dir);
	return ERR_OK;
}

#define TREE_DEPTH_MAX 64

// Goes down with a stack of its own: the depth of a tree comes from outside.
static enum err tree_empty(
	DIR *stack[TREE_DEPTH_MAX], char names[TREE_DEPTH_MAX][NAME_MAX + 1], const char *top)
{
	int depth = 0;

	while (depth >= 0) {
		int fd = dirfd(stack[depth]);
		errno = 0;
		struct dirent *e = readdir(stack[depth]);

		if (!e) {
			if (errno)
				return err_set_errno("cannot read a folder below %s", top);
			closedir(stack[depth]);
			stack[depth--] = NULL;
			if (depth >= 0 &&
				unlinkat(dirfd(stack[depth]), names[depth + 1], AT_REMOVEDIR) < 0)
				return err_set_errno(
					"cannot remove %s below %s", names[depth + 1], top);
			continue;
		}
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, e->d_name, 0) == 0)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return err_set_errno("cannot remove %s below %s", e->d_name, top);
		if (depth + 1 >= TREE_DEPTH_MAX)
			return err_set(
				ERR_RANGE, "%s is deeper than %d levels", top, TREE_DEPTH_MAX);
		// A folder without rights for its owner cannot be emptied.
		int chmodded = fchmodat(fd, e->d_name, 0700, 0);
		(void)chmodded;
		int child = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child < 0 || !(stack[depth + 1] = fdopendir(child))) {
			if (child >= 0)
				close(child);
			return err_set_errno("cannot open %s below %s", e->d_name, top);
		}
		depth++;
		snprintf(names[depth], sizeof(names[depth]), "%s", e->d_name);
	}
	return ERR_OK;
}

enum err tree_remove(const char *path)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return ERR_OK;
	if (errno != EISDIR && errno != EPERM)
		return err_set_errno("cannot remove %s", path);
	DIR *stack[TREE_DEPTH_MAX] = {NULL};
	SCOPED_FREE char(*names)[NAME_MAX + 1] = malloc(TREE_DEPTH_MAX * sizeof(*names));

	if (!names)
		return err_set(ERR_MEMORY, "no memory to remove %s", path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || !(stack[0] = fdopendir(fd))) {
		if (fd >= 0)
			close(fd);
		return err_set_errno("cannot open %s", path);
	}
	enum err e = tree_empty(stack, names, path);
	for (int i = 0; i < TREE_DEPTH_MAX; i++) {
		if (stack[i])
			closedir(stack[i]);
	}
	if (e != ERR_OK)
		return e;
	if (rmdir(path) < 0)
		return err_set_errno("cannot remove %s", path);
	return ERR_OK;
}

// ---- whole files

static enum err fd_read_into(int fd, const char *path, struct buf *out)
{
	buf_clear(out);
	for (;;) {
		if (out->size == out->max) {
			char more;
			ssize_t n = read(fd, &more, 1);

			if (n == 0)
				return ERR_OK;
			if (n < 0)
				return err_set_errno("cannot read %s", path);
			return err_set(ERR_FULL, "%s is larger than %zu bytes", path, out->max);
		}
		size_t room = out->max - out->size;
		if (room > 64 * 1024)
			room = 64 * 1024;
		TRY(buf_reserve(out, room));
		ssize_t n = read(fd, out->data + out->size, room);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_set_errno("cannot read %s", path);
		}
		if (n == 0)
			return ERR_OK;
		out->size += (size_t)n;
	}
}

enum err file_read(const char *path, struct buf *out)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set_errno("cannot open %s", path);
	return fd_read_into(fd, path, out);
}

enum err file_read_secret(const char *path, struct buf *out)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return err_set_errno("cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return err_set_errno("cannot look at %s", path);
	if (st.st_mode & 077)
		return err_set(ERR_DENIED, "%s can be read by others: chmod 600 %s", path, path);
	return fd_read_into(fd, path, out);
}

enum err fd_write_all(int fd, const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_set_errno("cannot write");
		}
		p += n;
		size -= (size_t)n;
	}
	return ERR_OK;
}

enum err fd_pwrite_all(int fd, const void *data, size_t size, off_t at)
{
	const uint8_t *p = data;

	while (size > 0) {
		ssize_t n = pwrite(fd, p, size, at);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_set_errno("cannot write");
		}
		p += n;
		at += n;
		size -= (size_t)n;
	}
	return ERR_OK;
}

enum err fd_pread_all(int fd, void *data, size_t size, off_t at)
{
	uint8_t *p = data;

	while (size > 0) {
		ssize_t n = pread(fd, p, size, at);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return err_set_errno("cannot read");
		}
		if (n == 0)
			return err_set(ERR_CORRUPT, "a file ends %zu bytes too early", size);
		p += n;
		at += n;
		size -= (size_t)n;
	}
	return ERR_OK;
}

static enum err parent_sync(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash)
		return dir_sync(".");
	size_t n = slash == path ? 1 : (size_t)(slash - path);
	if (n >= sizeof(dir))
		return err_set(ERR_RANGE, "a path is too long");
	memcpy(dir, path, n);
	dir[n] = '\0';
	return dir_sync(dir);
}

static enum err temporary_write(const char *temporary, const void *data, size_t size, mode_t mode)
{
	SCOPED_FD int fd =
		open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0)
		return err_set_errno("cannot create %s", temporary);
	if (fchmod(fd, mode) < 0)
		return err_set_errno("cannot set the mode of %s", temporary);
	TRY(fd_write_all(fd, data, size));
	if (fsync(fd) < 0)
		return err_set_errno("cannot sync %s", temporary);
	return ERR_OK;
}

enum err file_write_atomic(const char *path, const void *data, size_t size, mode_t mode)
{
	char temporary[PATH_MAX];
	int n = snprintf(temporary, sizeof(temporary), "%s.tmp", path);

	if (n < 0 || (size_t)n >= sizeof(temporary))
		return err_set(ERR_RANGE, "a path is too long");
	enum err e = temporary_write(temporary, data, size, mode);
	if (e == ERR_OK && rename(temporary, path) < 0)
		e = err_set_errno("cannot rename %s", temporary);
	if (e != ERR_OK) {
		unlink(temporary);
		return e;
	}
	return parent_sync(path);
}

// ---- paths

static bool level_is_safe(const char *level, size_t n)
{
	return n > 0 && n <= 100 && level[0] != '.' && name_is_plain(level, n);
}

enum err folder_next(DIR *d, const char *path, const struct dirent **out)
{
	errno = 0;
	*out = readdir(d);
	return *out || errno == 0 ? ERR_OK : err_set_errno("cannot read folder %s", path);
}

bool path_is_safe(const char *relative)
{
	int levels = 0;

	if (strnlen(relative, 513) > 512)
		return false;
	for (const char *p = relative;; p++) {
		const char *end = strchr(p, '/');
		size_t n = end ? (size_t)(end - p) : strlen(p);

		if (!level_is_safe(p, n) || ++levels > 16)
			return false;
		if (!end)
			return true;
		p = end;
	}
}

enum err path_join(char *out, size_t out_size, const char *dir, const char *name)
{
	int n = snprintf(out, out_size, "%s/%s", dir, name);

	if (n < 0 || (size_t)n >= out_size)
		return err_set(ERR_RANGE, "the path %s/%s is too long", dir, name);
	return ERR_OK;
}

// ---- lock, disk, randomness

enum err lock_take(const char *path, int *fd)
{
	int f = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (f < 0)
		return err_set_errno("cannot open the lock %s", path);
	if (flock(f, LOCK_EX | LOCK_NB) < 0) {
		bool held = errno == EWOULDBLOCK;
		enum err e = held ? err_set(ERR_EXISTS, "another process holds %s", path)
				  : err_set_errno("cannot lock %s", path);

		close(f);
		return e;
	}
	*fd = f;
	return ERR_OK;
}

enum err disk_free(const char *path, uint64_t *bytes)
{
	struct statvfs st;

	if (statvfs(path, &st) < 0)
		return err_set_errno("cannot look at the disk of %s", path);
	*bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return ERR_OK;
}

void random_fill(void *out, size_t size)
{
	uint8_t *p = out;

	while (size > 0) {
		ssize_t n = getrandom(p, size, 0);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			abort();
		}
		p += n;
		size -= (size_t)n;
	}
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_fill(&v, sizeof(v));
	return v;
}
