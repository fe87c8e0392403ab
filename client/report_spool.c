// Parts of a report on disk; see report_spool.h.
#include "client/report_spool.h"

#include "proto/base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "hsp1"
#define HEAD_BYTES (4 + 8)
#define TAIL_BYTES (4 + 4 + 32)

enum err spool_init(struct report_spool *s, const char *state_dir)
{
	*s = (struct report_spool){.fd = -1};
	buf_init(&s->out, LIMIT_REPORT);
	if (!str_copy(s->dir, sizeof s->dir, state_dir))
		return err_set(ERR_RANGE, "the state folder's name is too long");
	TRY(path_join(s->path, sizeof s->path, state_dir, "report"));
	return path_join(s->temporary, sizeof s->temporary, state_dir, "report.tmp");
}

static void spool_close(struct report_spool *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->parts = 0;
	s->report_id = 0;
	sha256_free(s->hash);
	s->hash = NULL;
}

void spool_drop(struct report_spool *s)
{
	spool_close(s);
	(void)unlink(s->temporary);
	(void)unlink(s->path);
}

void spool_fini(struct report_spool *s)
{
	spool_close(s);
	buf_fini(&s->out);
}

// ---- writing

static enum err bytes_write(struct report_spool *s, const void *data, size_t size)
{
	sha256_add(s->hash, data, size);
	return fd_write_all(s->fd, data, size);
}

enum err spool_begin(struct report_spool *s, uint64_t report_id)
{
	spool_drop(s);
	s->fd = open(s->temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->fd < 0)
		return err_set_errno("cannot write a report");
	s->hash = sha256_new();
	s->report_id = report_id;
	s->at[0] = HEAD_BYTES;
	TRY(bytes_write(s, MAGIC, 4));
	return bytes_write(s, &report_id, sizeof report_id);
}

enum err spool_add(struct report_spool *s, const struct report *part)
{
	struct report r = *part;
	if (s->parts == SPOOL_PARTS_MAX)
		return err_set(ERR_FULL, "a report has more than %d parts", SPOOL_PARTS_MAX);
	r.client_id = "spool"; // its header is made when it is sent
	r.session_id = r.report_id = 1;
	r.part = 0;
	r.parts = 1;
	TRY(report_encode(&r, &s->out));
	uint32_t size = (uint32_t)s->out.size;
	TRY(bytes_write(s, &size, sizeof size));
	TRY(bytes_write(s, s->out.data, s->out.size));
	s->parts++;
	s->at[s->parts] = s->at[s->parts - 1] + sizeof size + size;
	return ERR_OK;
}

enum err spool_commit(struct report_spool *s)
{
	uint32_t none = 0;
	TRY(bytes_write(s, &none, sizeof none));
	TRY(bytes_write(s, &s->parts, sizeof s->parts));
	struct digest sum = sha256_end(s->hash);
	sha256_free(s->hash);
	s->hash = NULL;
	TRY(fd_write_all(s->fd, sum.b, sizeof sum.b));
	if (fsync(s->fd) != 0 || rename(s->temporary, s->path) != 0)
		return err_set_errno("cannot keep a report");
	return dir_sync(s->dir);
}

// ---- reading

static enum err sum_check(const struct report_spool *s, uint64_t size)
{
	static uint8_t chunk[32 * 1024];
	struct digest said;
	if (size < HEAD_BYTES + TAIL_BYTES)
		return err_set(ERR_CORRUPT, "a kept report is cut short");
	uint64_t end = size - sizeof said.b;
	struct sha256_stream *hash = sha256_new();
	for (uint64_t at = 0; at < end;) {
		size_t take = end - at < sizeof chunk ? (size_t)(end - at) : sizeof chunk;
		if (fd_pread_all(s->fd, chunk, take, (off_t)at) != ERR_OK)
			break;
		sha256_add(hash, chunk, take);
		at += take;
	}
	struct digest have = sha256_end(hash);
	sha256_free(hash);
	TRY(fd_pread_all(s->fd, said.b, sizeof said.b, (off_t)end));
	return digest_equal(&have, &said) ? ERR_OK
					  : err_set(ERR_CORRUPT, "a kept report is damaged");
}

static enum err parts_find(struct report_spool *s, uint64_t size)
{
	uint32_t length = 1;
	s->at[0] = HEAD_BYTES;
	for (s->parts = 0; s->parts <= SPOOL_PARTS_MAX; s->parts++) {
		uint64_t at = s->at[s->parts];
		TRY(fd_pread_all(s->fd, &length, sizeof length, (off_t)at));
		if (length == 0)
			return s->parts > 0 ? ERR_OK : err_set(ERR_CORRUPT, "a report of nothing");
		if (length > LIMIT_REPORT || at + length > size || s->parts == SPOOL_PARTS_MAX)
			break;
		s->at[s->parts + 1] = at + sizeof length + length;
	}
	return err_set(ERR_CORRUPT, "a kept report cannot be read");
}

static enum err spool_check(struct report_spool *s, uint64_t report_id)
{
	struct stat st;
	uint8_t head[HEAD_BYTES];
	if (fstat(s->fd, &st) != 0 || !S_ISREG(st.st_mode))
		return err_set(ERR_CORRUPT, "a kept report is no file");
	TRY(fd_pread_all(s->fd, head, sizeof head, 0));
	if (memcmp(head, MAGIC, 4) != 0 || memcmp(head + 4, &report_id, sizeof report_id) != 0)
		return err_set(ERR_NOT_FOUND, "another report is kept");
	TRY(sum_check(s, (uint64_t)st.st_size));
	return parts_find(s, (uint64_t)st.st_size);
}

enum err spool_open(struct report_spool *s, uint64_t report_id)
{
	spool_close(s);
	s->fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (s->fd < 0)
		return err_set_errno("no report is kept");
	enum err e = spool_check(s, report_id);
	if (e != ERR_OK) {
		spool_close(s);
		return e;
	}
	s->report_id = report_id;
	return ERR_OK;
}

enum err spool_read(struct report_spool *s, struct arena *a, uint32_t part, struct report *out)
{
	if (s->fd < 0 || part >= s->parts)
		return err_set(ERR_NOT_FOUND, "the report has no part %u", part);
	uint64_t at = s->at[part] + sizeof(uint32_t);
	size_t size = (size_t)(s->at[part + 1] - at);
	uint8_t *bytes = arena_alloc(a, size);
	if (bytes == NULL)
		return err_set(ERR_MEMORY, "no room for a report");
	TRY(fd_pread_all(s->fd, bytes, size, (off_t)at));
	return report_decode(a, bytes_of(bytes, size), out);
}
