// A medium as an ISO 9660 image, written with libarchive; the one file here that knows it. The
// files are the same each time; the times of folders in the image are those of its writing.
#include "medium_write.h"

#include "proto/base/file.h"
#include "proto/digest.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES ((size_t)256 * 1024)

static void archive_close(struct archive **a)
{
	if (*a)
		archive_write_free(*a);
}

static enum err refused(struct archive *a, const char *what)
{
	int code = archive_errno(a);
	enum err e = code == ENOSPC ? ERR_NO_SPACE : code == EROFS ? ERR_READ_ONLY : ERR_IO;

	return err_set(e, "%s: %s", what, archive_error_string(a));
}

static enum err data_write(struct archive *a, struct bytes data, const char *path)
{
	return archive_write_data(a, data.data, data.size) == (la_ssize_t)data.size
		       ? ERR_OK
		       : refused(a, path);
}

static enum err entry_write(
	struct archive *a, const struct medium_content *m, const struct medium_entry *e)
{
	SCOPED_BUF struct buf blob;
	struct bytes data = e->bytes;

	buf_init(&blob, LIMIT_OBJECT);
	if (!data.size) {
		TRY(blob_read(m->objects, &e->object, &blob));
		data = buf_bytes(&blob);
	}
	struct archive_entry *entry = archive_entry_new();
	if (!entry)
		return err_set(ERR_MEMORY, "no memory for a file of a medium");
	archive_entry_set_pathname(entry, e->path);
	archive_entry_set_size(entry, (la_int64_t)data.size);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0444);
	archive_entry_set_mtime(entry, (time_t)(m->created.ms / 1000), 0);
	archive_entry_set_ctime(entry, (time_t)(m->created.ms / 1000), 0);
	archive_entry_set_atime(entry, (time_t)(m->created.ms / 1000), 0);
	archive_entry_set_birthtime(entry, (time_t)(m->created.ms / 1000), 0);
	enum err e_header =
		archive_write_header(a, entry) == ARCHIVE_OK ? ERR_OK : refused(a, e->path);
	archive_entry_free(entry);
	TRY(e_header);
	return data_write(a, data, e->path);
}

static enum err image_write(const struct medium_content *m, const char *path)
{
	__attribute__((cleanup(archive_close))) struct archive *a = archive_write_new();
	char options[160];

	if (!a)
		return err_set(ERR_MEMORY, "no memory for an image");
	(void)snprintf(options, sizeof(options),
		"iso9660:volume-id=%s,iso9660:rockridge=useful,iso9660:joliet=long,"
		"iso9660:!zisofs,iso9660:pad,iso9660:application-id=HELIOGRAPH",
		m->volume);
	if (archive_write_set_format_iso9660(a) != ARCHIVE_OK ||
		archive_write_set_options(a, options) != ARCHIVE_OK ||
		archive_write_open_filename(a, path) != ARCHIVE_OK)
		return refused(a, path);
	for (size_t i = 0; i < m->count; i++)
		TRY(entry_write(a, m, &m->entries[i]));
	return archive_write_close(a) == ARCHIVE_OK ? ERR_OK : refused(a, path);
}

static enum err image_hash(int fd, struct digest *sha256, uint64_t *size)
{
	SCOPED_FREE uint8_t *piece = malloc(READ_BYTES);
	struct sha256_stream *h = sha256_new();
	ssize_t n = -1;

	*size = 0;
	while (piece && (n = pread(fd, piece, READ_BYTES, (off_t)*size)) > 0) {
		sha256_add(h, piece, (size_t)n);
		*size += (uint64_t)n;
	}
	*sha256 = sha256_end(h);
	sha256_free(h);
	return n == 0 ? ERR_OK : err_set_errno("reading the image back");
}

enum err medium_write_iso(
	const struct medium_content *m, const char *path, struct digest *sha256, uint64_t *size)
{
	char part[PATH_MAX];
	int n = snprintf(part, sizeof(part), "%s.part", path);

	if (n < 0 || (size_t)n >= sizeof(part))
		return err_set(ERR_RANGE, "the path %s is too long", path);
	enum err e = image_write(m, part);
	SCOPED_FD int fd = e == ERR_OK ? open(part, O_RDONLY | O_CLOEXEC) : -1;
	if (e == ERR_OK && fd < 0)
		e = err_set_errno("%s", part);
	if (e == ERR_OK)
		e = image_hash(fd, sha256, size);
	if (e == ERR_OK && fsync(fd) != 0)
		e = err_set_errno("%s", part);
	if (e == ERR_OK && rename(part, path) != 0)
		e = err_set_errno("rename %s", part);
	if (e != ERR_OK)
		(void)unlink(part);
	return e;
}
