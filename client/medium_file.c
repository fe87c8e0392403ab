// See medium_file.h. The one file of the agent that knows libarchive.
//
// The library is opened when an image is to be read and let go afterwards: it would cost 3 MB of
// memory in a program that runs for years and reads an image on a few days of them.
#include "client/medium_file.h"

#include "proto/base/file.h"
#include "proto/medium.h"
#include "proto/topics.h"

#include <archive.h>
#include <archive_entry.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// ---- a file of a folder

static int below_open(int dir, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = O_CLOEXEC | flags | (flags & O_PATH ? 0 : O_NONBLOCK),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

// Of us, not of the medium.
static bool is_passing(int number)
{
	return number == EMFILE || number == ENFILE || number == EAGAIN || number == EINTR;
}

static enum err open_error(const char *path)
{
	if (errno == ENOENT || errno == ENOTDIR)
		return err_set(ERR_NOT_FOUND, "%s is not on the medium", path);
	if (errno == ELOOP || errno == EXDEV)
		return err_set(ERR_DENIED, "%s is behind a link", path);
	if (is_passing(errno))
		return err_set(ERR_NOT_NOW, "%s: %s", path, strerror(errno));
	return err_set_errno("%s", path);
}

// A folder that is gone was pulled with all that lies in it.
static enum err medium_open(const char *dir, int *fd)
{
	*fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd >= 0)
		return ERR_OK;
	if (is_passing(errno))
		return err_set(ERR_NOT_NOW, "the medium %s: %s", dir, strerror(errno));
	enum err e = err_set_errno("the medium %s", dir);
	return e == ERR_NOT_FOUND ? ERR_IO : e;
}

static enum err regular_check(int fd, const char *path, struct stat *st)
{
	if (fstat(fd, st) != 0)
		return err_set_errno("%s", path);
	return S_ISREG(st->st_mode) ? ERR_OK : err_set(ERR_DENIED, "%s is no file", path);
}

// What it is, is asked before it is opened: a socket, and a device that nobody drives, answer as a
// stick does that was pulled, and to open a device may do something.
static enum err regular_open(int dir, const char *path, int *fd)
{
	struct stat st;
	SCOPED_FD int at = below_open(dir, path, O_PATH);
	if (at < 0)
		return open_error(path);
	TRY(regular_check(at, path, &st));
	*fd = below_open(dir, path, 0);
	return *fd >= 0 ? ERR_OK : open_error(path);
}

static enum err regular_read(int fd, const char *path, struct buf *out)
{
	struct stat st;
	TRY(regular_check(fd, path, &st));
	if (st.st_size < 0 || (uint64_t)st.st_size > out->max)
		return err_set(ERR_FULL, "%s has %lld bytes", path, (long long)st.st_size);
	size_t size = (size_t)st.st_size;
	buf_clear(out);
	TRY(buf_reserve(out, size));
	TRY(fd_pread_all(fd, out->data, size, 0));
	out->size = size;
	return ERR_OK;
}

enum err medium_file_read(const char *dir, const char *path, struct buf *out)
{
	SCOPED_FD int at = -1;
	SCOPED_FD int fd = -1;
	TRY(medium_open(dir, &at));
	TRY(regular_open(at, path, &fd));
	return regular_read(fd, path, out);
}

enum err medium_folder_open(const char *dir, const char *path, DIR **out)
{
	SCOPED_FD int at = -1;
	TRY(medium_open(dir, &at));
	int fd = below_open(at, path, O_DIRECTORY);
	if (fd < 0)
		return open_error(path);
	*out = fdopendir(fd);
	if (*out != NULL)
		return ERR_OK;
	enum err e = err_set_errno("%s", path);
	(void)close(fd);
	return e;
}

// The folder that holds `path`, made when it is not there. Links are not followed.
static enum err folder_open(const char *dir, const char *path, int *fd)
{
	char level[256];
	*fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return err_set_errno("the medium %s", dir);
	for (const char *slash; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
		size_t n = (size_t)(slash - path);
		if (n >= sizeof level)
			return err_set(ERR_RANGE, "a name is too long");
		memcpy(level, path, n);
		level[n] = '\0';
		if (mkdirat(*fd, level, 0755) != 0 && errno != EEXIST)
			return err_set_errno("folder %s", level);
		int next = openat(*fd, level, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return errno == ELOOP || errno == ENOTDIR
				       ? err_set(ERR_DENIED, "%s is no folder", level)
				       : err_set_errno("folder %s", level);
		close(*fd);
		*fd = next;
	}
	return ERR_OK;
}

static enum err file_put(
	int folder, const char *name, void *ctx, enum err (*fill)(void *ctx, int fd))
{
	char temporary[160];
	int n = snprintf(temporary, sizeof temporary, "%s.part", name);
	if (n < 0 || (size_t)n >= sizeof temporary)
		return err_set(ERR_RANGE, "the name %s is too long", name);
	if (unlinkat(folder, temporary, 0) != 0 && errno != ENOENT)
		return err_set_errno("%s", temporary);
	SCOPED_FD int fd = openat(
		folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_set_errno("%s", temporary);
	enum err e = fill(ctx, fd);
	if (e == ERR_OK && (fsync(fd) != 0 || renameat(folder, temporary, folder, name) != 0 ||
				   fsync(folder) != 0))
		e = err_set_errno("%s", name);
	if (e != ERR_OK)
		(void)unlinkat(folder, temporary, 0); // its room is wanted
	return e;
}

enum err medium_file_put(
	const char *dir, const char *path, void *ctx, enum err (*fill)(void *ctx, int fd))
{
	SCOPED_FD int folder = -1;
	const char *slash = strrchr(path, '/');
	TRY(folder_open(dir, path, &folder));
	return file_put(folder, slash != NULL ? slash + 1 : path, ctx, fill);
}

// ---- an image

#define ARCHIVE_LIBRARY "libarchive.so.13"

struct archive_door {
	void *library;
	struct archive *archive;
	__typeof__(archive_read_new) *read_new;
	__typeof__(archive_read_free) *read_free;
	__typeof__(archive_read_support_format_iso9660) *read_support_format_iso9660;
	__typeof__(archive_read_open_filename) *read_open_filename;
	__typeof__(archive_read_next_header) *read_next_header;
	__typeof__(archive_read_data) *read_data;
	__typeof__(archive_errno) *error_number;
	__typeof__(archive_error_string) *error_string;
	__typeof__(archive_entry_pathname) *entry_pathname;
	__typeof__(archive_entry_size) *entry_size;
	__typeof__(archive_entry_filetype) *entry_filetype;
	__typeof__(archive_entry_hardlink) *entry_hardlink;
};

static void door_close(struct archive_door *d)
{
	if (d->archive != NULL)
		d->read_free(d->archive);
	if (d->library != NULL)
		(void)dlclose(d->library);
}

static enum err door_open(struct archive_door *d)
{
	const struct {
		const char *name;
		void *at;
	} rows[] = {
		{"archive_read_new", &d->read_new},
		{"archive_read_free", &d->read_free},
		{"archive_read_support_format_iso9660", &d->read_support_format_iso9660},
		{"archive_read_open_filename", &d->read_open_filename},
		{"archive_read_next_header", &d->read_next_header},
		{"archive_read_data", &d->read_data},
		{"archive_errno", &d->error_number},
		{"archive_error_string", &d->error_string},
		{"archive_entry_pathname", &d->entry_pathname},
		{"archive_entry_size", &d->entry_size},
		{"archive_entry_filetype", &d->entry_filetype},
		{"archive_entry_hardlink", &d->entry_hardlink},
	};
	d->library = dlopen(ARCHIVE_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (d->library == NULL)
		return err_set(ERR_UNSUPPORTED, "%s", dlerror());
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		void *symbol = dlsym(d->library, rows[i].name);
		if (symbol == NULL)
			return err_set(
				ERR_UNSUPPORTED, "%s has no %s", ARCHIVE_LIBRARY, rows[i].name);
		memcpy(rows[i].at, &symbol, sizeof symbol);
	}
	d->archive = d->read_new();
	return d->archive != NULL ? ERR_OK : err_set(ERR_MEMORY, "no memory to read an image");
}

// What cannot be read, because the disc was taken out or is worn, is no image that was cut.
static bool is_unreadable(const struct archive_door *d)
{
	int number = d->error_number(d->archive);
	return number == EIO || number == ENXIO || number == ENODEV || number == ENOMEDIUM;
}

static enum err image_error(const struct archive_door *d, const char *what)
{
	return err_set(is_unreadable(d) ? ERR_IO : ERR_FORMAT, "%s: %s", what,
		d->error_string(d->archive));
}

// Names that a medium has: the label, and topics.
static bool name_is_known(const char *path)
{
	struct topic_parts parts;
	size_t n = strlen(MEDIUM_ORDERS);
	if (strcmp(path, MEDIUM_LABEL) == 0)
		return true;
	if (strncmp(path, MEDIUM_ORDERS, n) == 0 && path[n] == '/') {
		char client[LIMIT_ID + 1];
		const char *slash = strchr(path + n + 1, '/');
		return slash != NULL && (size_t)(slash - path) - n - 1 <= LIMIT_ID &&
		       snprintf(client, sizeof client, "%.*s",
			       (int)(slash - path - (ptrdiff_t)n - 1), path + n + 1) > 0 &&
		       id_is_valid(client) && id_is_valid(slash + 1);
	}
	return topic_parse(path, strlen(path), &parts) == ERR_OK &&
	       (parts.kind == TOPIC_PKG || parts.kind == TOPIC_IDX || parts.kind == TOPIC_CHUNK);
}

static enum err folders_make(const char *into, char *path)
{
	for (char *slash = strchr(path + strlen(into) + 1, '/'); slash != NULL;
		slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
		enum err e = made ? ERR_OK : err_set_errno("folder %s", path);
		*slash = '/';
		TRY(e);
	}
	return ERR_OK;
}

static enum err data_copy(struct archive_door *d, const char *name, int fd, uint64_t size)
{
	uint8_t piece[32768];
	uint64_t left = size;
	while (left != 0) {
		size_t want = left < sizeof piece ? (size_t)left : sizeof piece;
		la_ssize_t n = d->read_data(d->archive, piece, want);
		if (n < 0 && is_unreadable(d))
			return image_error(d, name);
		if (n <= 0)
			return err_set(ERR_FORMAT, "the image ends inside of %s", name);
		TRY(fd_write_all(fd, piece, (size_t)n));
		left -= (uint64_t)n;
	}
	return ERR_OK;
}

// room: what is left.
static enum err entry_take(struct archive_door *d, struct archive_entry *entry, const char *into,
	struct medium_most *room)
{
	char path[PATH_MAX];
	const char *name = d->entry_pathname(entry);
	int64_t size = d->entry_size(entry);
	bool folder = d->entry_filetype(entry) == AE_IFDIR;
	size_t *left = folder ? &room->folders : &room->files;
	if (*left == 0)
		return err_set(ERR_FULL,
			"the image holds more %s than are read: mount it, and import the folder",
			folder ? "folders" : "files");
	--*left;
	if (folder)
		return ERR_OK;
	if (name == NULL || d->entry_filetype(entry) != AE_IFREG ||
		d->entry_hardlink(entry) != NULL || !name_is_known(name))
		return err_set(ERR_DENIED, "the image holds %s, which no medium has",
			name != NULL ? name : "a file without a name");
	if (size < 0 || size > LIMIT_OBJECT || (uint64_t)size > room->bytes)
		return err_set(ERR_FULL, "%s has %lld bytes", name, (long long)size);
	room->bytes -= (uint64_t)size;
	TRY(path_join(path, sizeof path, into, name));
	TRY(folders_make(into, path));
	SCOPED_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno("%s", path);
	return data_copy(d, name, fd, (uint64_t)size);
}

#define SECTOR 2048
#define DESCRIPTOR_AT (16 * SECTOR)
#define VOLUME_SIZE_AT 80 // sectors, the lowest byte first

// A reader may well list the files of an image that was cut: the image itself says how long it is.
static enum err image_is_whole(const char *image)
{
	uint8_t d[VOLUME_SIZE_AT + 4];
	struct stat st;
	SCOPED_FD int fd = open(image, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) != 0)
		return err_set_errno("%s", image);
	enum err e =
		S_ISREG(st.st_mode) ? fd_pread_all(fd, d, sizeof d, DESCRIPTOR_AT) : ERR_FORMAT;
	if (e == ERR_IO)
		return e;
	if (e != ERR_OK || memcmp(d, "\001CD001", 6) != 0)
		return err_set(ERR_FORMAT, "%s is no ISO 9660 image", image);
	uint64_t sectors = (uint64_t)d[VOLUME_SIZE_AT] | (uint64_t)d[VOLUME_SIZE_AT + 1] << 8 |
			   (uint64_t)d[VOLUME_SIZE_AT + 2] << 16 |
			   (uint64_t)d[VOLUME_SIZE_AT + 3] << 24;
	return (uint64_t)st.st_size >= sectors * SECTOR
		       ? ERR_OK
		       : err_set(ERR_FORMAT, "the image was cut: %lld bytes of %llu",
				 (long long)st.st_size, (unsigned long long)(sectors * SECTOR));
}

enum err medium_image_open(const char *image, const char *into, const struct medium_most *most)
{
	__attribute__((cleanup(door_close))) struct archive_door d = {0};
	struct archive_entry *entry = NULL;
	struct medium_most room = *most;
	int rc = ARCHIVE_OK;
	TRY(image_is_whole(image));
	TRY(door_open(&d));
	TRY(dir_make(into));
	if (d.read_support_format_iso9660(d.archive) != ARCHIVE_OK ||
		d.read_open_filename(d.archive, image, 65536) != ARCHIVE_OK)
		return image_error(&d, image);
	while ((rc = d.read_next_header(d.archive, &entry)) == ARCHIVE_OK)
		TRY(entry_take(&d, entry, into, &room));
	if (rc != ARCHIVE_EOF)
		return image_error(&d, "the image is not whole");
	return room.files != most->files
		       ? ERR_OK
		       : err_set(ERR_FORMAT, "the image is not whole: nothing is in it");
}
