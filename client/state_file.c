// The state's two files; see state_file.h.
#include "client/state_file.h"

#include "proto/base/file.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESERVE_BYTES (64 * 1024)

enum err state_file_init(struct state_file *f, const char *state_dir)
{
	if (!str_copy(f->dir, sizeof f->dir, state_dir))
		return err_set(ERR_RANGE, "the name of the state folder is too long");
	TRY(path_join(f->path, sizeof f->path, state_dir, "state.bin"));
	TRY(path_join(f->prev, sizeof f->prev, state_dir, "state.prev"));
	TRY(path_join(f->tmp, sizeof f->tmp, state_dir, "state.tmp"));
	return path_join(f->reserve, sizeof f->reserve, state_dir, "state.reserve");
}

// ---- reading

static enum err copy_read(const char *path, struct agent_state *out)
{
	SCOPED_BUF struct buf text;
	buf_init(&text, AGENT_STATE_MAX);
	enum err e = file_read(path, &text);
	if (e == ERR_FULL)
		return err_set(ERR_CORRUPT, "the state file is too large");
	TRY(e);
	return agent_state_decode(buf_bytes(&text), out);
}

static void put_aside(const char *path)
{
	char bad[320];
	int n = snprintf(bad, sizeof bad, "%s.bad", path);
	if (n > 0 && (size_t)n < sizeof bad && rename(path, bad) != 0 && errno != ENOENT)
		log_warn("STATE-NOT-KEPT", "path=%s", log_quote(path));
}

static void first_state(struct agent_state *out)
{
	struct id16 store_id;
	random_fill(store_id.b, sizeof store_id.b);
	agent_state_fini(out);
	agent_state_init(out, &store_id);
}

enum err state_file_read(struct state_file *f, struct agent_state *out, enum state_source *source)
{
	enum err newest = copy_read(f->path, out);
	*source = STATE_READ;
	if (newest == ERR_OK || newest == ERR_VERSION)
		return newest;
	if (newest != ERR_NOT_FOUND && newest != ERR_CORRUPT)
		return newest;
	enum err before = copy_read(f->prev, out);
	if (before == ERR_VERSION ||
		(before != ERR_OK && before != ERR_NOT_FOUND && before != ERR_CORRUPT))
		return before;
	if (before == ERR_OK) {
		// No newest at all: cut between the two renames, and nothing newer was ever
		// promised.
		if (newest == ERR_NOT_FOUND)
			return ERR_OK;
		*source = STATE_PREVIOUS;
		out->uncertain = true;
		out->boot_counter++; // the lost copy may have counted this start's number already
		put_aside(f->path);
		return ERR_OK;
	}
	bool lost = newest == ERR_CORRUPT || before == ERR_CORRUPT;
	*source = lost ? STATE_LOST : STATE_NEW;
	put_aside(f->path);
	put_aside(f->prev);
	first_state(out);
	return ERR_OK;
}

// ---- writing

static enum err tmp_write(struct state_file *f, struct bytes text)
{
	SCOPED_FD int fd =
		open(f->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno("cannot write %s", f->tmp);
	TRY(fd_write_all(fd, text.data, text.size));
	if (fsync(fd) != 0)
		return err_set_errno("cannot sync %s", f->tmp);
	return ERR_OK;
}

static void reserve_keep(struct state_file *f)
{
	struct stat st;
	if (stat(f->reserve, &st) == 0 && st.st_size == RESERVE_BYTES)
		return;
	SCOPED_FD int fd = open(f->reserve, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && posix_fallocate(fd, 0, RESERVE_BYTES) != 0)
		(void)!unlink(f->reserve);
}

enum err state_file_write(struct state_file *f, struct bytes text)
{
	enum err e = tmp_write(f, text);
	if (e == ERR_NO_SPACE) {
		(void)!unlink(f->tmp);
		(void)!unlink(f->reserve);
		e = tmp_write(f, text);
	} else if (e == ERR_OK) {
		reserve_keep(f);
	}
	TRY(e);
	if (rename(f->path, f->prev) != 0 && errno != ENOENT)
		return err_set_errno("cannot keep %s", f->prev);
	if (rename(f->tmp, f->path) != 0)
		return err_set_errno("cannot name %s", f->path);
	return dir_sync(f->dir);
}
