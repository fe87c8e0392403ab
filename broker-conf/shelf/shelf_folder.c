#include "broker-conf/shelf/shelf_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "helio/v1/chunk/"
#define FRESH ".fresh" // an object that is being written, in the folder itself

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

bool shelf_name_of(const char *topic, struct shelf_name *out)
{
	const char *id = topic + strlen(PREFIX), *hex;
	size_t length;

	if (strncmp(topic, PREFIX, strlen(PREFIX)) != 0)
		return false;
	length = strspn(id, LETTERS DIGITS "._-");
	if (length < 1 || length >= sizeof(out->publisher) || id[0] == '.' || id[length] != '/')
		return false;
	hex = id + length + 1;
	if (strspn(hex, DIGITS "abcdef") != 64 || hex[64])
		return false;
	memcpy(out->publisher, id, length);
	out->publisher[length] = 0;
	memcpy(out->sha256, hex, 65);
	return true;
}

// ---------------------------------------------------------------- folders

static int sub_open(int at, const char *name, bool make)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(at, name, flags);

	if (fd < 0 && errno == ENOENT && make) {
		if (mkdirat(at, name, 0700) != 0 && errno != EEXIST)
			return -1;
		fd = openat(at, name, flags);
	}
	return fd;
}

// The folder where the object's file lies. -1: none.
static int place_open(int folder, const struct shelf_name *n, bool make)
{
	char half[3] = {n->sha256[0], n->sha256[1], 0};
	int publisher = sub_open(folder, n->publisher, make), fd = -1;

	if (publisher < 0)
		return -1;
	fd = sub_open(publisher, half, make);
	close(publisher);
	return fd;
}

int shelf_folder_open(const char *path, char *why, size_t why_size)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0) {
		snprintf(why, why_size, "cannot open %s: %s", path, strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 022) != 0 ||
		faccessat(fd, ".", W_OK, 0) != 0) {
		snprintf(why, why_size,
			"%s has to belong to user %u, and nobody else may write to it", path,
			(unsigned)geteuid());
		close(fd);
		return -1;
	}
	return fd;
}

// ---------------------------------------------------------------- emptying

static DIR *list_open(int at, const char *name)
{
	int fd = sub_open(at, name, false);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !d)
		close(fd);
	return d;
}

// The files of PUBLISHER/HH that are named as objects are.
static void half_clear(int publisher_fd, const char *publisher, const char *half)
{
	DIR *d = list_open(publisher_fd, half);
	char topic[256];
	struct shelf_name n;

	for (struct dirent *e; d && (e = readdir(d));) {
		snprintf(topic, sizeof(topic), PREFIX "%.64s/%.65s", publisher, e->d_name);
		if (shelf_name_of(topic, &n) && strncmp(n.sha256, half, 2) == 0)
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		closedir(d);
	unlinkat(publisher_fd, half, AT_REMOVEDIR);
}

void shelf_folder_clear(int folder)
{
	DIR *top = list_open(folder, ".");

	for (struct dirent *e; top && (e = readdir(top));) {
		DIR *publisher = e->d_name[0] == '.' ? NULL : list_open(dirfd(top), e->d_name);

		for (struct dirent *h; publisher && (h = readdir(publisher));)
			if (strlen(h->d_name) == 2 && strspn(h->d_name, DIGITS "abcdef") == 2)
				half_clear(dirfd(publisher), e->d_name, h->d_name);
		if (publisher) {
			closedir(publisher);
			unlinkat(dirfd(top), e->d_name, AT_REMOVEDIR);
		}
	}
	if (top)
		closedir(top);
	unlinkat(folder, FRESH, 0);
}

// ---------------------------------------------------------------- objects

static int all_write(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : ENOSPC;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

int shelf_folder_put(int folder, const struct shelf_name *n, const void *data, size_t size)
{
	int fd, place, e;

	unlinkat(folder, FRESH, 0);
	fd = openat(folder, FRESH, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	e = all_write(fd, data, size);
	if (close(fd) != 0 && !e)
		e = errno;
	if (!e) {
		place = place_open(folder, n, true);
		if (place < 0 || renameat(folder, FRESH, place, n->sha256) != 0)
			e = errno;
		if (place >= 0)
			close(place);
	}
	if (e)
		unlinkat(folder, FRESH, 0);
	return e;
}

int shelf_folder_look(int folder, const struct shelf_name *n, size_t *size)
{
	int place = place_open(folder, n, false), fd = -1;
	struct stat st;

	if (place < 0)
		return -1;
	fd = openat(place, n->sha256, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	close(place);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 1 ||
		st.st_size > SHELF_OBJECT_MAX) {
		close(fd);
		return -1;
	}
	*size = (size_t)st.st_size;
	return fd;
}

void shelf_folder_ahead(int folder, const struct shelf_name *n)
{
	size_t size;
	int fd = shelf_folder_look(folder, n, &size);

	if (fd < 0)
		return;
	posix_fadvise(fd, 0, (off_t)size, POSIX_FADV_WILLNEED);
	close(fd);
}

bool shelf_folder_drop(int folder, const struct shelf_name *n)
{
	int place = place_open(folder, n, false);
	bool was_there = place >= 0 && unlinkat(place, n->sha256, 0) == 0;

	if (place >= 0)
		close(place);
	return was_there;
}
