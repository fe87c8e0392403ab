// Outputs of programs on disk; see output_shelf.h.
#include "client/output_shelf.h"

#include "proto/base/file.h"
#include "proto/base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 360 // the folder, 20 digits, ".part"

static void path_of(
	const struct output_shelf *s, uint64_t op_id, const char *ending, char out[PATH_ROOM])
{
	(void)snprintf(out, PATH_ROOM, "%s/%" PRIu64 "%s", s->dir, op_id, ending);
}

// ---- the oldest goes

// The operation of a whole output; 0: no such file.
static uint64_t name_op(const char *name)
{
	char *end;
	uint64_t op = name[0] >= '1' && name[0] <= '9' ? strtoull(name, &end, 10) : 0;
	return op != 0 && (*end == '\0' || strcmp(end, ".cut") == 0) ? op : 0;
}

static void op_remove(const struct output_shelf *s, uint64_t op_id)
{
	char path[PATH_ROOM];
	path_of(s, op_id, "", path);
	(void)unlink(path);
	path_of(s, op_id, ".cut", path);
	(void)unlink(path);
}

// Numbers of operations rise, so the lowest is the oldest. *removed: one was too many.
static enum err oldest_remove(const struct output_shelf *s, bool *removed)
{
	uint64_t oldest = UINT64_MAX;
	uint32_t count = 0;
	DIR *d = opendir(s->dir);
	if (d == NULL)
		return err_set_errno("%s cannot be read", s->dir);
	for (const struct dirent *e; (e = readdir(d)) != NULL;) {
		uint64_t op = name_op(e->d_name);
		count += op != 0;
		if (op != 0 && op < oldest)
			oldest = op;
	}
	closedir(d);
	*removed = count > s->keep;
	if (*removed)
		op_remove(s, oldest);
	return ERR_OK;
}

static enum err shelf_trim(const struct output_shelf *s)
{
	bool removed = true;
	while (removed)
		TRY(oldest_remove(s, &removed));
	return ERR_OK;
}

// What a program that was interrupted had said.
static enum err parts_remove(const struct output_shelf *s)
{
	char path[PATH_ROOM];
	DIR *d = opendir(s->dir);
	if (d == NULL)
		return err_set_errno("%s cannot be read", s->dir);
	for (const struct dirent *e; (e = readdir(d)) != NULL;) {
		size_t size = strlen(e->d_name);
		if (size < 5 || size > 40 || strcmp(e->d_name + size - 5, ".part") != 0)
			continue;
		(void)snprintf(path, sizeof path, "%s/%.40s", s->dir, e->d_name);
		(void)unlink(path);
	}
	closedir(d);
	return ERR_OK;
}

enum err shelf_init(
	struct output_shelf *s, const char *state_dir, uint32_t keep, uint32_t max_bytes)
{
	*s = (struct output_shelf){.keep = keep, .max_bytes = max_bytes, .fd = -1};
	TRY(path_join(s->dir, sizeof s->dir, state_dir, "outputs"));
	TRY(dir_make(s->dir));
	TRY(parts_remove(s));
	return shelf_trim(s);
}

// ---- one output

static void part_remove(const struct output_shelf *s)
{
	char path[PATH_ROOM];
	path_of(s, s->op_id, ".part", path);
	(void)unlink(path);
}

static void trouble(struct output_shelf *s, const char *what)
{
	log_warn("OUTPUT-UNKEPT", "op=%" PRIu64 " what=%s why=%s", s->op_id, what,
		log_quote(err_text()));
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void shelf_begin(struct output_shelf *s, uint64_t op_id, uint32_t max_bytes)
{
	char path[PATH_ROOM];
	shelf_fini(s);
	s->op_id = op_id;
	s->room = max_bytes != 0 && max_bytes < s->max_bytes ? max_bytes : s->max_bytes;
	s->cut = false;
	if (s->keep == 0 || s->max_bytes == 0)
		return;
	path_of(s, op_id, ".part", path);
	s->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->fd < 0) {
		(void)err_set_errno("%s cannot be made", path);
		trouble(s, "begin");
	}
}

void shelf_add(struct output_shelf *s, const char *data, size_t size)
{
	size_t take = size < s->room ? size : s->room;
	if (s->fd < 0)
		return;
	s->cut = s->cut || take < size;
	s->room -= (uint32_t)take;
	if (fd_write_all(s->fd, data, take) == ERR_OK)
		return;
	trouble(s, "write"); // half an output is none: its end and its hash are told all the same
	part_remove(s);
}

static enum err output_keep(struct output_shelf *s)
{
	char part[PATH_ROOM], path[PATH_ROOM];
	path_of(s, s->op_id, ".part", part);
	path_of(s, s->op_id, s->cut ? ".cut" : "", path);
	if (fsync(s->fd) != 0 || rename(part, path) != 0)
		return err_set_errno("%s cannot be kept", path);
	TRY(dir_sync(s->dir));
	return shelf_trim(s);
}

void shelf_end(struct output_shelf *s)
{
	if (s->fd >= 0 && output_keep(s) != ERR_OK)
		trouble(s, "keep");
	shelf_fini(s);
}

void shelf_drop(struct output_shelf *s)
{
	if (s->fd >= 0)
		part_remove(s);
	shelf_fini(s);
}

enum err shelf_find(const struct output_shelf *s, uint64_t op_id, struct buf *out, bool *cut)
{
	char path[PATH_ROOM];
	path_of(s, op_id, "", path);
	*cut = false;
	enum err e = file_read(path, out);
	if (e == ERR_NOT_FOUND) {
		path_of(s, op_id, ".cut", path);
		*cut = true;
		e = file_read(path, out);
	}
	if (e == ERR_NOT_FOUND)
		return err_set(ERR_NOT_FOUND,
			"no output of operation %" PRIu64 " is kept: it ran no program, or it is "
			"not one of the last %u",
			op_id, s->keep);
	return e;
}

void shelf_fini(struct output_shelf *s)
{
	if (s->dir[0] != '\0' && s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->op_id = 0;
}
