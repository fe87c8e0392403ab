// See redo.h. The file: one block of nothing, area 0, area 1. A batch: head, then records:
//
//   D text             a statement; the first of a batch is 0, the next 1 ...
//   S statement values it was run
//   G number           the end of a group
#include "server/db/redo.h"

#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/db/db_engine.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096u
#define BATCH_MAX (REDO_AREA_BYTES / 2)
#define FREE_SHARE 16 // of the disk at most
#define RECORD_VALUES 64

static const char batch_magic[8] = "HELREDO1";

struct batch_head {
	char magic[8];
	uint64_t log, lap, first, last; // numbers of groups
	uint64_t size;                  // of the records, in bytes
	uint8_t digest[32];             // over the head with zeros here, and the records
};

// The statements that the open batch brought, by the address of their text.
struct statement_names {
	const char *sql[STATEMENT_CACHE];
	uint16_t name[STATEMENT_CACHE];
	uint16_t count;
};

struct redo {
	int fd;
	uint64_t log, lap;
	unsigned area;
	size_t at;                 // within the area
	uint64_t last[2], retired; // groups: the last of each area
	struct buf open;           // sealed groups, then the open one
	size_t sealed_size;
	uint16_t sealed_names;
	uint64_t sealed_first, sealed_last;
	bool too_large;
	struct statement_names names;
	uint8_t *leaving; // a batch in whole blocks
	size_t leaving_size;
	off_t leaving_at;
};

static size_t blocks_of(size_t size)
{
	return (size + BLOCK - 1) / BLOCK * BLOCK;
}

static off_t area_begin(unsigned area)
{
	return (off_t)BLOCK + (off_t)area * REDO_AREA_BYTES;
}

static void head_seal(struct batch_head *h, const void *records)
{
	memset(h->digest, 0, sizeof(h->digest));
	struct digest d =
		sha256_parts((const struct sha256_part[]){{h, sizeof(*h)}, {records, h->size}}, 2);
	memcpy(h->digest, d.b, sizeof(h->digest));
}

// ---------------------------------------------------------------- the file

// Every block is written once: a hole, or a block that was only promised, would be made at the
// first write into it.
static enum err file_fill(int fd)
{
	uint64_t free_bytes = 0;
	static const char zeros[64 * 1024];
	struct stat st;
	char path[64];

	if (fstat(fd, &st) != 0)
		return err_set_errno("redo log");
	if (st.st_size == (off_t)REDO_FILE_BYTES)
		return ERR_OK;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	TRY(disk_free(path, &free_bytes));
	if (free_bytes / FREE_SHARE < REDO_FILE_BYTES)
		return err_set(ERR_NO_SPACE, "the store's disk is small or full");
	for (size_t at = 0; at < REDO_FILE_BYTES; at += sizeof(zeros)) {
		size_t left = REDO_FILE_BYTES - at;
		TRY(fd_pwrite_all(
			fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros), (off_t)at));
	}
	return fdatasync(fd) == 0 ? ERR_OK : err_set_errno("redo log");
}

static enum err file_make(const char *file)
{
	SCOPED_FD int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_set_errno("redo log %s", file);
	enum err e = file_fill(fd);
	if (e != ERR_OK) // a part of it would only take room
		(void)unlink(file);
	return e;
}

// A write is on the disk when it returns.
static enum err file_open(const char *file, int flags, const uint8_t *block, int *out)
{
	*out = open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_DSYNC | flags);
	if (*out < 0)
		return err_set_errno("redo log %s", file);
	return fd_pwrite_all(*out, block, BLOCK, 0);
}

// Past the page cache where the file system can do that: the first block, which holds nothing,
// tells.
static enum err file_take(struct redo *r, const char *file)
{
	memset(r->leaving, 0, BLOCK);
	enum err e = file_open(file, O_DIRECT, r->leaving, &r->fd);
	if (e == ERR_OK || errno != EINVAL)
		return e;
	if (r->fd >= 0)
		close(r->fd);
	return file_open(file, 0, r->leaving, &r->fd);
}

enum err redo_open(const char *file, uint64_t id, struct redo **out)
{
	*out = NULL;
	TRY(file_make(file));
	struct redo *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(ERR_MEMORY, "no memory for the redo log");
	r->log = id;
	r->lap = 1;
	buf_init(&r->open, BATCH_MAX - sizeof(struct batch_head));
	r->fd = -1;
	enum err e = posix_memalign((void **)&r->leaving, BLOCK, BATCH_MAX) == 0
			     ? ERR_OK
			     : err_set(ERR_MEMORY, "no memory for the redo log");
	if (e == ERR_OK)
		e = file_take(r, file);
	if (e != ERR_OK) {
		redo_close(r);
		return e;
	}
	*out = r;
	return ERR_OK;
}

void redo_close(struct redo *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	if (r->leaving)
		secret_wipe(r->leaving, r->leaving_size);
	free(r->leaving);
	if (r->open.data)
		secret_wipe(r->open.data, r->open.cap);
	buf_fini(&r->open);
	free(r);
}

// ---------------------------------------------------------------- groups

// Nothing is added any more when it did not fit once: the group as a whole is not for the log.
static void put(struct redo *r, const void *data, size_t size)
{
	if (!r->too_large && buf_append(&r->open, data, size) != ERR_OK)
		r->too_large = true;
}

static void put_bytes(struct redo *r, struct bytes b)
{
	uint32_t size = (uint32_t)b.size;

	put(r, &size, sizeof(size));
	put(r, b.data, b.size);
}

static uint16_t statement_name(struct redo *r, const char *sql)
{
	struct statement_names *n = &r->names;

	size_t at = statement_place(sql);

	for (size_t tries = 0; tries < STATEMENT_CACHE; tries++, at++) {
		size_t i = at % STATEMENT_CACHE;
		if (n->sql[i] == sql)
			return n->name[i];
		if (n->sql[i])
			continue;
		if (n->count == STATEMENT_CACHE)
			break;
		n->sql[i] = sql;
		n->name[i] = n->count++;
		put(r, "D", 1);
		put_bytes(r, bytes_of(sql, strlen(sql)));
		return n->name[i];
	}
	r->too_large = true;
	return 0;
}

static void put_value(struct redo *r, const struct db_value *v)
{
	uint8_t type = (uint8_t)v->type;

	put(r, &type, 1);
	switch (v->type) {
	case DB_NULL:
		break;
	case DB_INT:
		put(r, &v->i, sizeof(v->i));
		break;
	case DB_REAL:
		put(r, &v->r, sizeof(v->r));
		break;
	case DB_TEXT:
	case DB_BLOB:
		put_bytes(r, v->b);
		break;
	}
}

void redo_note(struct redo *r, const char *sql, const struct db_value *values, size_t count)
{
	if (count > RECORD_VALUES)
		r->too_large = true;
	if (r->too_large)
		return;
	uint16_t name = statement_name(r, sql);
	uint8_t n = (uint8_t)count;
	put(r, "S", 1);
	put(r, &name, sizeof(name));
	put(r, &n, 1);
	for (size_t i = 0; i < count; i++)
		put_value(r, &values[i]);
}

// The names that only the open group brought go with it. All are forgotten: a text again costs
// little.
void redo_drop(struct redo *r)
{
	r->open.size = r->sealed_size;
	r->too_large = false;
	r->names = (struct statement_names){.count = r->sealed_names};
}

bool redo_is_open(const struct redo *r)
{
	return r->too_large || r->open.size > r->sealed_size;
}

bool redo_is_waiting(const struct redo *r)
{
	return r->sealed_size > 0;
}

void redo_forget(struct redo *r)
{
	r->sealed_size = r->sealed_names = 0;
	redo_drop(r);
}

static bool area_has_room(const struct redo *r, size_t size)
{
	return r->at + blocks_of(sizeof(struct batch_head) + size) <= REDO_AREA_BYTES ||
	       r->last[!r->area] <= r->retired;
}

bool redo_seal(struct redo *r, uint64_t number)
{
	put(r, "G", 1);
	put(r, &number, sizeof(number));
	if (r->too_large || !area_has_room(r, r->open.size)) {
		redo_forget(r);
		return false;
	}
	if (!redo_is_waiting(r))
		r->sealed_first = number;
	r->sealed_last = number;
	r->sealed_size = r->open.size;
	r->sealed_names = r->names.count;
	return true;
}

void redo_retire(struct redo *r, uint64_t number)
{
	if (number > r->retired)
		r->retired = number;
}

uint64_t redo_to_retire(const struct redo *r)
{
	uint64_t last = r->last[!r->area];

	return last > r->retired ? last : 0;
}

// ---------------------------------------------------------------- batches

void redo_begin(struct redo *r)
{
	struct batch_head head = {.log = r->log, .first = r->sealed_first, .last = r->sealed_last};
	size_t size = blocks_of(sizeof(head) + r->sealed_size);

	if (r->at + size > REDO_AREA_BYTES) {
		r->area = !r->area;
		r->at = 0;
		r->lap++;
	}
	memcpy(head.magic, batch_magic, sizeof(head.magic));
	head.lap = r->lap;
	head.size = r->sealed_size;
	head_seal(&head, r->open.data);
	memcpy(r->leaving, &head, sizeof(head));
	memcpy(r->leaving + sizeof(head), r->open.data, r->sealed_size);
	memset(r->leaving + sizeof(head) + r->sealed_size, 0, size - sizeof(head) - r->sealed_size);
	r->leaving_size = size;
	r->leaving_at = area_begin(r->area) + (off_t)r->at;
	r->at += size;
	r->last[r->area] = r->sealed_last;
	redo_forget(r);
}

int redo_write(struct redo *r)
{
	return fd_pwrite_all(r->fd, r->leaving, r->leaving_size, r->leaving_at) == ERR_OK
		       ? 0
		       : (errno ? errno : EIO);
}

size_t redo_write_size(const struct redo *r)
{
	return r->leaving_size;
}

// ---------------------------------------------------------------- reading

struct reading {
	struct bytes left; // of the batch's records
	struct bytes statement[STATEMENT_CACHE];
	size_t statements;
	redo_fn fn;
	void *ctx;
};

static bool take(struct reading *g, void *out, size_t size)
{
	if (g->left.size < size)
		return false;
	memcpy(out, g->left.data, size);
	g->left = bytes_of(g->left.data + size, g->left.size - size);
	return true;
}

static bool take_bytes(struct reading *g, struct bytes *out)
{
	uint32_t size = 0;

	if (!take(g, &size, sizeof(size)) || g->left.size < size)
		return false;
	*out = bytes_of(g->left.data, size);
	g->left = bytes_of(g->left.data + size, g->left.size - size);
	return true;
}

static bool take_value(struct reading *g, struct db_value *v)
{
	uint8_t type = 0;

	*v = (struct db_value){0};
	if (!take(g, &type, 1))
		return false;
	v->type = type;
	switch (v->type) {
	case DB_NULL:
		return true;
	case DB_INT:
		return take(g, &v->i, sizeof(v->i));
	case DB_REAL:
		return take(g, &v->r, sizeof(v->r));
	case DB_TEXT:
	case DB_BLOB:
		return take_bytes(g, &v->b);
	}
	return false;
}

static enum err damaged(void)
{
	return err_set(ERR_CORRUPT, "a batch of the redo log is good and makes no sense");
}

static enum err statement_run(struct reading *g, uint64_t group)
{
	struct db_value values[RECORD_VALUES];
	uint16_t name = 0;
	uint8_t count = 0;

	if (!take(g, &name, sizeof(name)) || !take(g, &count, 1) || name >= g->statements ||
		count > RECORD_VALUES)
		return damaged();
	for (size_t i = 0; i < count; i++)
		if (!take_value(g, &values[i]))
			return damaged();
	SCOPED_FREE char *sql =
		strndup((const char *)g->statement[name].data, g->statement[name].size);
	if (!sql)
		return err_set(ERR_MEMORY, "no memory for the redo log");
	return g->fn(g->ctx, group, sql, values, count);
}

// The number of a group stands at its end; it is told with each statement.
static enum err batch_run(struct reading *g, const struct batch_head *head)
{
	uint64_t group = head->first;
	uint8_t kind = 0;

	g->statements = 0;
	while (take(g, &kind, 1)) {
		if (kind == 'S') {
			TRY(statement_run(g, group));
		} else if (kind == 'G') {
			uint64_t number = 0;
			if (!take(g, &number, sizeof(number)) || number != group)
				return damaged();
			group++;
		} else if (kind != 'D' || g->statements == STATEMENT_CACHE ||
			   !take_bytes(g, &g->statement[g->statements++])) {
			return damaged();
		}
	}
	return group == head->last + 1 ? ERR_OK : damaged();
}

// The batch at this place of an area, of this log and lap (0: of any).
static bool batch_at(struct bytes area, size_t at, uint64_t log, uint64_t lap,
	struct batch_head *out, struct bytes *records)
{
	if (at + sizeof(*out) > area.size)
		return false;
	memcpy(out, area.data + at, sizeof(*out));
	if (memcmp(out->magic, batch_magic, sizeof(batch_magic)) != 0 || out->log != log ||
		(lap && out->lap != lap) || out->size > area.size - at - sizeof(*out))
		return false;
	*records = bytes_of(area.data + at + sizeof(*out), out->size);
	struct batch_head sealed = *out;
	head_seal(&sealed, records->data);
	return memcmp(sealed.digest, out->digest, sizeof(sealed.digest)) == 0;
}

static enum err area_read(struct bytes area, uint64_t log, struct reading *g)
{
	struct batch_head head;
	uint64_t lap = 0;

	for (size_t at = 0; batch_at(area, at, log, lap, &head, &g->left);) {
		lap = head.lap;
		TRY(batch_run(g, &head));
		at += blocks_of(sizeof(head) + head.size);
	}
	return ERR_OK;
}

static uint64_t area_lap(struct bytes area, uint64_t log)
{
	struct batch_head head;
	struct bytes records;

	return batch_at(area, 0, log, 0, &head, &records) ? head.lap : 0;
}

enum err redo_read(const char *file, uint64_t id, redo_fn fn, void *ctx)
{
	SCOPED_BUF struct buf whole;
	struct bytes area[2];

	buf_init(&whole, REDO_FILE_BYTES);
	enum err e = file_read(file, &whole);
	if (e == ERR_NOT_FOUND || (e == ERR_OK && whole.size != REDO_FILE_BYTES))
		return ERR_OK;
	TRY(e);
	for (unsigned i = 0; i < 2; i++)
		area[i] = bytes_of(whole.data + area_begin(i), REDO_AREA_BYTES);
	SCOPED_FREE struct reading *g = calloc(1, sizeof(*g));
	if (!g)
		return err_set(ERR_MEMORY, "no memory for the redo log");
	g->fn = fn;
	g->ctx = ctx;
	unsigned first = area_lap(area[0], id) > area_lap(area[1], id);
	TRY(area_read(area[first], id, g));
	return area_read(area[!first], id, g);
}
