// A medium as an ISO 9660 image, written with libarchive; the one file here that knows it.
//
// The same content gives the same bytes: every file and folder bears the time of the order, and the
// moment of writing, which libarchive puts into the volume descriptors, the root folder and a note
// behind the descriptors, is replaced in the finished image.
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

// Where the image goes. libarchive never frees what it holds for a way out that failed: this one
// keeps its error, and takes the rest to nowhere.
struct way_out {
	struct archive *archive;
	const struct medium_content *m;
	int fd, error;
};

static la_ssize_t on_write(struct archive *a, void *ctx, const void *data, size_t size)
{
	struct way_out *w = ctx;

	(void)a;
	if (!w->error && w->m->cancel && *w->m->cancel)
		w->error = ECANCELED;
	if (!w->error && fd_write_all(w->fd, data, size) != ERR_OK)
		w->error = errno ? errno : EIO;
	return (la_ssize_t)size;
}

// Closed first, for the same reason: one that gave up is only freed. What it collected of an image
// that failed goes to nowhere.
static void way_out_close(struct way_out *w)
{
	w->error = ECANCELED;
	if (!w->archive)
		return;
	(void)archive_write_close(w->archive);
	(void)archive_write_free(w->archive);
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

static void entry_times(struct archive_entry *entry, struct wall at)
{
	time_t t = (time_t)(at.ms / 1000);

	archive_entry_set_mtime(entry, t, 0);
	archive_entry_set_ctime(entry, t, 0);
	archive_entry_set_atime(entry, t, 0);
	archive_entry_set_birthtime(entry, t, 0);
}

static enum err header_write(
	struct archive *a, const struct medium_content *m, const char *path, int64_t size)
{
	struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return err_set(ERR_MEMORY, "no memory for a file of a medium");
	archive_entry_set_pathname(entry, path);
	archive_entry_set_size(entry, size < 0 ? 0 : size);
	archive_entry_set_filetype(entry, size < 0 ? AE_IFDIR : AE_IFREG);
	archive_entry_set_perm(entry, size < 0 ? 0555 : 0444);
	entry_times(entry, m->created);
	enum err e = archive_write_header(a, entry) == ARCHIVE_OK ? ERR_OK : refused(a, path);
	archive_entry_free(entry);
	return e;
}

// The folders of `path` that `before`, the path ahead of it, is not in.
static enum err folders_write(
	struct archive *a, const struct medium_content *m, const char *path, const char *before)
{
	char folder[LIMIT_TOPIC];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t n = (size_t)(slash - path);
		if (strncmp(path, before, n + 1) == 0)
			continue;
		memcpy(folder, path, n);
		folder[n] = '\0';
		TRY(header_write(a, m, folder, -1));
	}
	return ERR_OK;
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
	TRY(header_write(a, m, e->path, (int64_t)data.size));
	return data_write(a, data, e->path);
}

static enum err image_write(const struct medium_content *m, int fd)
{
	__attribute__((cleanup(way_out_close))) struct way_out out = {
		.archive = archive_write_new(), .m = m, .fd = fd};
	struct archive *a = out.archive;
	char options[160];

	if (!a)
		return err_set(ERR_MEMORY, "no memory for an image");
	(void)snprintf(options, sizeof(options),
		"iso9660:volume-id=%s,iso9660:rockridge=useful,iso9660:joliet=long,"
		"iso9660:!zisofs,iso9660:pad,iso9660:application-id=HELIOGRAPH",
		m->volume);
	if (archive_write_set_format_iso9660(a) != ARCHIVE_OK ||
		archive_write_set_options(a, options) != ARCHIVE_OK ||
		archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
		archive_write_open(a, &out, NULL, on_write, NULL) != ARCHIVE_OK)
		return refused(a, "the image");
	if (m->count > MEDIUM_IMAGE_FILES_MAX)
		return err_set(ERR_FULL, "%zu files are too many for an image: record onto a stick",
			m->count);
	for (size_t i = 0; i < m->count; i++) {
		TRY(medium_check(m));
		TRY(folders_write(a, m, m->entries[i].path, i ? m->entries[i - 1].path : ""));
		TRY(entry_write(a, m, &m->entries[i]));
	}
	if (archive_write_close(a) != ARCHIVE_OK)
		return refused(a, "the image");
	TRY(medium_check(m));
	errno = out.error;
	return out.error ? err_set_errno("the image") : ERR_OK;
}

// ---- the moment of writing

#define SECTOR 2048
#define FIRST_DESCRIPTOR 16
#define DESCRIPTORS_MAX 8
#define DATES_AT 813 // of a descriptor: four of 17 bytes: made, changed, expires, good from
#define DATE_BYTES 17
#define ROOT_AT 156 // of a descriptor: the record of the root folder
#define RECORD_EXTENT 2
#define RECORD_SIZE 10
#define RECORD_DATE 18
#define RECORD_DATE_BYTES 7
#define FOLDER_MAX (64u << 20)

static uint32_t low_first(const uint8_t *b)
{
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

struct dates {
	int fd;
	uint8_t was[RECORD_DATE_BYTES], is[RECORD_DATE_BYTES];
	char long_is[DATE_BYTES + 1];
};

// Every copy of the moment inside of record[size].
static void record_set(const struct dates *d, uint8_t *record, size_t size)
{
	const uint8_t *end = record + size;

	for (uint8_t *at = record;
		(at = memmem(at, (size_t)(end - at), d->was, sizeof(d->was))) != NULL;
		at += sizeof(d->is))
		memcpy(at, d->is, sizeof(d->is));
}

// The records of one folder; its own record says how long it is.
static enum err folder_set(const struct dates *d, uint32_t extent)
{
	uint8_t head[RECORD_SIZE + 4];
	off_t at = (off_t)extent * SECTOR;

	TRY(fd_pread_all(d->fd, head, sizeof(head), at));
	size_t size = low_first(head + RECORD_SIZE);
	if (size == 0 || size > FOLDER_MAX)
		return err_set(ERR_CORRUPT, "a folder of the image has %zu bytes", size);
	SCOPED_FREE uint8_t *all = malloc(size);
	if (!all)
		return err_set(ERR_MEMORY, "no memory for a folder of the image");
	TRY(fd_pread_all(d->fd, all, size, at));
	for (size_t i = 0; i < size;) {
		if (all[i] == 0) { // no record crosses a sector
			i = (i / SECTOR + 1) * SECTOR;
			continue;
		}
		if (i + all[i] > size)
			return err_set(ERR_CORRUPT, "a record of the image crosses its folder");
		record_set(d, all + i, all[i]);
		i += all[i];
	}
	return fd_pwrite_all(d->fd, all, size, at);
}

// Every folder of one descriptor, by its table of paths.
static enum err folders_set(const struct dates *d, const uint8_t *descriptor)
{
	size_t size = low_first(descriptor + 132);
	off_t at = (off_t)low_first(descriptor + 140) * SECTOR;

	if (size == 0 || size > FOLDER_MAX)
		return err_set(ERR_CORRUPT, "the image's table of paths has %zu bytes", size);
	SCOPED_FREE uint8_t *table = malloc(size);
	if (!table)
		return err_set(ERR_MEMORY, "no memory for the table of paths");
	TRY(fd_pread_all(d->fd, table, size, at));
	for (size_t i = 0; i + 8 <= size; i += 8u + table[i] + (table[i] & 1))
		TRY(folder_set(d, low_first(table + i + 2)));
	return ERR_OK;
}

static enum err descriptor_set(struct dates *d, uint8_t *descriptor)
{
	memcpy(d->was, descriptor + ROOT_AT + RECORD_DATE, sizeof(d->was));
	record_set(d, descriptor + ROOT_AT, descriptor[ROOT_AT]);
	for (size_t i = 0; i < 4; i++) {
		uint8_t *date = descriptor + DATES_AT + i * DATE_BYTES;
		if (date[0] != '0' || date[1] != '0') // 0000...: not said
			memcpy(date, d->long_is, DATE_BYTES);
	}
	return folders_set(d, descriptor);
}

static void dates_of(struct dates *d, struct wall at)
{
	time_t t = (time_t)(at.ms / 1000);
	struct tm tm = {.tm_year = 70, .tm_mday = 1};

	(void)gmtime_r(&t, &tm);
	const uint8_t date[RECORD_DATE_BYTES] = {(uint8_t)tm.tm_year, (uint8_t)(tm.tm_mon + 1),
		(uint8_t)tm.tm_mday, (uint8_t)tm.tm_hour, (uint8_t)tm.tm_min, (uint8_t)tm.tm_sec,
		0};
	memcpy(d->is, date, sizeof(date));
	(void)strftime(d->long_is, sizeof(d->long_is), "%Y%m%d%H%M%S00", &tm);
	d->long_is[DATE_BYTES - 1] = '\0'; // the 17th byte is the zone: 0
}

static enum err moment_replace(int fd, const struct medium_content *m)
{
	struct dates d = {.fd = fd};
	uint8_t sector[SECTOR];

	dates_of(&d, m->created);
	for (int i = 0; i < DESCRIPTORS_MAX; i++) {
		off_t at = (off_t)(FIRST_DESCRIPTOR + i) * SECTOR;
		TRY(fd_pread_all(fd, sector, sizeof(sector), at));
		if (sector[0] == 255) { // the last; behind it libarchive's note
			memset(sector, 0, sizeof(sector));
			return fd_pwrite_all(fd, sector, sizeof(sector), at + SECTOR);
		}
		TRY(descriptor_set(&d, sector));
		TRY(fd_pwrite_all(fd, sector, sizeof(sector), at));
	}
	return err_set(ERR_CORRUPT, "the image has no last descriptor");
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

enum err medium_write_image(
	const struct medium_content *m, int fd, struct digest *sha256, uint64_t *size)
{
	TRY(image_write(m, fd));
	TRY(moment_replace(fd, m));
	TRY(image_hash(fd, sha256, size));
	return fsync(fd) == 0 ? ERR_OK : err_set_errno("the image");
}

enum err medium_write_iso(
	const struct medium_content *m, const char *path, struct digest *sha256, uint64_t *size)
{
	SCOPED_FD int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	enum err e = fd >= 0 ? ERR_OK : err_set_errno("%s", path);

	if (e == ERR_OK)
		e = medium_write_image(m, fd, sha256, size);
	if (e != ERR_OK)
		(void)unlink(path);
	return e;
}
