// Rows, their repair, their parts.
#include "client/display/shown.h"

#include "client/display/display_limits.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROW_MAX 1024

static enum err name_of(const struct shown_log *s, const char *name, char out[600])
{
	return path_join(out, 600, s->dir, name);
}

// ---- reading rows back

// The number of a whole row, 0 when it is none.
static uint64_t row_seq(const char *line, size_t size)
{
	unsigned tabs = 0;
	uint64_t seq = 0;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)line[i];

		if (c == '\t') {
			tabs++;
			continue;
		}
		if (c <= ' ' || c >= 0x7f)
			return 0;
		if (tabs == 0) {
			if (c < '0' || c > '9' || i > 18)
				return 0;
			seq = seq * 10 + (uint64_t)(c - '0');
		}
	}
	return (tabs == 6 || tabs == 9) && size > 0 && line[size - 1] != '\t' ? seq : 0;
}

// Walks back over the lines of a part: the highest place where a good row ends, and its number.
static void last_row_find(const char *text, size_t size, size_t *end, uint64_t *seq)
{
	*end = 0;
	*seq = 0;
	while (size > 0) {
		const char *newline = memrchr(text, '\n', size);

		if (!newline)
			return;
		size = (size_t)(newline - text);
		const char *before = size > 0 ? memrchr(text, '\n', size) : NULL;
		size_t start = before ? (size_t)(before - text) + 1 : 0;
		*seq = row_seq(text + start, size - start);
		if (*seq > 0) {
			*end = size + 1;
			return;
		}
	}
}

static enum err part_look(
	const struct shown_log *s, const char *name, size_t *end, size_t *size, uint64_t *seq)
{
	SCOPED_BUF struct buf b;
	char path[600];

	*end = *size = 0;
	*seq = 0;
	buf_init(&b, s->part_max + SHOWN_PART_BYTES);
	TRY(name_of(s, name, path));
	enum err e = file_read(path, &b);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	TRY(e);
	*size = b.size;
	if (b.size > 0)
		last_row_find((const char *)b.data, b.size, end, seq);
	return ERR_OK;
}

// ---- opening

static void boot_read(char out[33])
{
	SCOPED_BUF struct buf b;
	size_t n = 0;

	buf_init(&b, 128);
	memset(out, '0', 32);
	out[32] = '\0';
	if (file_read("/proc/sys/kernel/random/boot_id", &b) != ERR_OK)
		return;
	for (size_t i = 0; i < b.size && n < 32; i++) {
		if (b.data[i] != '-' && b.data[i] != '\n')
			out[n++] = (char)b.data[i];
	}
}

static enum err file_open(struct shown_log *s)
{
	char path[600];

	TRY(name_of(s, "shown.log", path));
	s->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (s->fd < 0)
		return err_set_errno("cannot open %s", path);
	return ERR_OK;
}

static enum err torn_cut(struct shown_log *s, size_t end, size_t size)
{
	s->size = end;
	if (end == size)
		return ERR_OK;
	log_warn("LEDGER-REPAIRED", "cut_bytes=%zu last_seq=%" PRIu64, size - end, s->seq);
	if (ftruncate(s->fd, (off_t)end) < 0)
		return err_set_errno("cannot repair the ledger");
	return ERR_OK;
}

// The row that a crash left open counts with the duration that was noted last.
static enum err open_take_over(struct shown_log *s)
{
	SCOPED_BUF struct buf b;
	char path[600];
	size_t end;
	uint64_t seq;

	buf_init(&b, ROW_MAX);
	TRY(name_of(s, "shown.open", path));
	if (file_read(path, &b) != ERR_OK)
		return ERR_OK;
	last_row_find((const char *)b.data, b.size, &end, &seq);
	if (seq == s->seq + 1 && end == b.size) {
		TRY(fd_write_all(s->fd, b.data, b.size));
		s->seq = seq;
		s->size += b.size;
		s->unsynced++;
		log_info("LEDGER-TAKEN-OVER", "seq=%" PRIu64, seq);
	} else if (seq > s->seq + 1) {
		// Rows before it are lost; their numbers stay free, so that the gap shows.
		s->seq = seq - 1;
	}
	unlink(path);
	return ERR_OK;
}

enum err shown_open(struct shown_log *s, const char *dir, size_t part_max)
{
	size_t end, size, old_end, old_size;
	uint64_t old_seq;

	*s = (struct shown_log){.fd = -1, .part_max = part_max};
	if (!str_copy(s->dir, sizeof(s->dir), dir))
		return err_set(ERR_RANGE, "the folder's name is too long");
	boot_read(s->boot);
	TRY(part_look(s, "shown.log", &end, &size, &s->seq));
	TRY(part_look(s, "shown.log.1", &old_end, &old_size, &old_seq));
	if (old_seq > s->seq)
		s->seq = old_seq;
	TRY(file_open(s));
	enum err e = torn_cut(s, end, size);
	if (e == ERR_OK)
		e = open_take_over(s);
	if (e != ERR_OK)
		shown_close(s);
	return e;
}

void shown_close(struct shown_log *s)
{
	if (s->fd < 0)
		return;
	enum err e = shown_sync(s, clock_now().mono, true);
	if (e != ERR_OK)
		log_warn("LEDGER-SYNC", "why=%s", log_quote(err_text()));
	close(s->fd);
	s->fd = -1;
}

// ---- writing

static int row_make(
	const struct shown_log *s, uint64_t seq, const struct shown_row *row, char out[ROW_MAX])
{
	char hex[65];

	hex_encode(row->package.b, 32, hex);
	return snprintf(out, ROW_MAX,
		"%" PRIu64 "\t%s\t%s\t%s\t%" PRId64 "\t%" PRId64 "\t%u\t%" PRIu32 "\t%s\t%s\n", seq,
		s->boot, hex, row->path, row->from.ms, row->duration_ms, row->clock,
		row->planned_ms, shown_result_word(row->result), *row->reason ? row->reason : "-");
}

static enum err part_turn(struct shown_log *s)
{
	char path[600], old[600];

	TRY(name_of(s, "shown.log", path));
	TRY(name_of(s, "shown.log.1", old));
	if (fsync(s->fd) < 0)
		return err_set_errno("cannot sync the ledger");
	if (rename(path, old) < 0)
		return err_set_errno("cannot turn the ledger");
	close(s->fd);
	s->fd = -1;
	s->size = 0;
	TRY(file_open(s));
	return dir_sync(s->dir);
}

// A row that went in by half (disk full) is taken out again.
static enum err row_write(struct shown_log *s, const char *row, size_t size)
{
	ssize_t n;

	do {
		n = write(s->fd, row, size);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)size) {
		s->size += size;
		s->unsynced++;
		return ERR_OK;
	}
	if (n >= 0)
		errno = ENOSPC;
	enum err e = err_set_errno("cannot write the ledger");
	if (n > 0 && ftruncate(s->fd, (off_t)s->size) < 0)
		return err_set_errno("cannot write the ledger, nor repair it");
	return e;
}

enum err shown_append(struct shown_log *s, const struct shown_row *row)
{
	char text[ROW_MAX];

	if (s->fd < 0)
		TRY(file_open(s));
	int n = row_make(s, ++s->seq, row, text);
	if (n < 0 || n >= ROW_MAX)
		return err_set(ERR_RANGE, "a row of the ledger is too long");
	if (s->size + (size_t)n > s->part_max)
		TRY(part_turn(s));
	return row_write(s, text, (size_t)n);
}

enum err shown_note(struct shown_log *s, const struct shown_row *row)
{
	char text[ROW_MAX], path[600], temporary[600];
	int n = row_make(s, s->seq + 1, row, text);

	if (n < 0 || n >= ROW_MAX)
		return err_set(ERR_RANGE, "a row of the ledger is too long");
	TRY(name_of(s, "shown.open", path));
	TRY(name_of(s, "shown.open.tmp", temporary));
	SCOPED_FD int fd =
		open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_set_errno("cannot create %s", temporary);
	TRY(fd_write_all(fd, text, (size_t)n));
	if (rename(temporary, path) < 0)
		return err_set_errno("cannot rename %s", temporary);
	return ERR_OK;
}

enum err shown_sync(struct shown_log *s, struct mono now, bool force)
{
	if (s->unsynced == 0 || s->fd < 0)
		return ERR_OK;
	if (!force && s->unsynced < SHOWN_SYNC_ROWS &&
		mono_since_ms(now, s->synced) < SHOWN_SYNC_MS)
		return ERR_OK;
	s->synced = now;
	s->unsynced = 0;
	if (fdatasync(s->fd) < 0)
		return err_set_errno("cannot sync the ledger");
	return ERR_OK;
}
