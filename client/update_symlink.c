// A folder of releases and a link: ROOT/releases/<version>, ROOT/current -> releases/<version>, and
// ROOT/previous -> what ran before. Every change of the disk is a rename of something complete, so
// that at any moment `current` is the old one or the new one.
//
//   install   releases/.making (copied, every file and folder on disk) -> releases/<version>
//             -> previous -> current
//   roll back current -> what the token names; without a token there was none, and there is none;
//             what was half copied goes
//   commit    releases that neither link names -> releases/.gone -> removed
//
// A release holds its package's id in `.package`: the same version of another package lies beside
// it under a longer name, and what is complete is not copied again.
#include "client/update_handler.h"

#include "client/installer.h"
#include "proto/base/file.h"
#include "proto/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAKING ".making"
#define MARK ".package"
#define GONE ".gone"
#define COPY_BYTES (256 * 1024)

static enum err step(const char *name)
{
	if (install_step_hook != NULL && !install_step_hook(name))
		return err_set(ERR_IO, "stopped before %s", name);
	return ERR_OK;
}

static enum err path_below(char out[DEPOT_PATH], const char *root, const char *a, const char *b)
{
	int n = snprintf(out, DEPOT_PATH, "%s/%s%s%s", root, a, b[0] != '\0' ? "/" : "", b);
	return n > 0 && n < DEPOT_PATH ? ERR_OK
				       : err_set(ERR_RANGE, "a path below %s is too long", root);
}

// ---- names

static bool name_is_good(const char *name)
{
	return name[0] != '.' && strchr(name, '/') == NULL && path_is_safe(name) &&
	       strlen(name) <= UPDATE_TOKEN_MAX;
}

// Is the release complete, and this package's?
static bool release_is(const struct update_call *c, const char *name)
{
	char path[DEPOT_PATH], rest[UPDATE_TOKEN_MAX + 16];
	SCOPED_BUF struct buf mark;
	buf_init(&mark, 128);
	(void)snprintf(rest, sizeof rest, "%s/%s", name, MARK);
	return path_below(path, c->row->root, "releases", rest) == ERR_OK &&
	       file_read(path, &mark) == ERR_OK && mark.size == 64 &&
	       memcmp(mark.data, digest_hex(&c->package), 64) == 0;
}

// <version>; when another package has it already, or it cannot be a name, with the id behind it.
static enum err release_name(const struct update_call *c, char out[UPDATE_TOKEN_MAX + 1])
{
	char path[DEPOT_PATH];
	struct stat st;
	const char *hex = digest_hex(&c->package);
	if (name_is_good(c->version) && str_copy(out, UPDATE_TOKEN_MAX + 1, c->version)) {
		TRY(path_below(path, c->row->root, "releases", out));
		if (lstat(path, &st) != 0 || release_is(c, out))
			return ERR_OK;
	}
	bool good = name_is_good(c->version) && strlen(c->version) + 14 <= UPDATE_TOKEN_MAX;
	(void)snprintf(out, UPDATE_TOKEN_MAX + 1, "%s%s%.12s", good ? c->version : "",
		good ? "+" : "", hex);
	return ERR_OK;
}

// What a link names below releases/; "" when there is no link.
static enum err link_read(const char *root, const char *link, char out[UPDATE_TOKEN_MAX + 1])
{
	char path[DEPOT_PATH], target[DEPOT_PATH];
	out[0] = '\0';
	TRY(path_below(path, root, link, ""));
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n < 0)
		return errno == ENOENT ? ERR_OK : err_set_errno("cannot read the link %s", path);
	target[n] = '\0';
	if (strncmp(target, "releases/", 9) != 0 || !name_is_good(target + 9) ||
		!str_copy(out, UPDATE_TOKEN_MAX + 1, target + 9))
		return err_set(ERR_DENIED, "%s does not name a release in releases/", path);
	return ERR_OK;
}

static enum err link_set(const char *root, const char *link, const char *release)
{
	char path[DEPOT_PATH], temporary[DEPOT_PATH], target[UPDATE_TOKEN_MAX + 16];
	TRY(path_below(path, root, link, ""));
	TRY(path_below(temporary, root, ".link", ""));
	(void)snprintf(target, sizeof target, "releases/%s", release);
	if (unlink(temporary) != 0 && errno != ENOENT)
		return err_set_errno("cannot remove %s", temporary);
	TRY(step("update-link"));
	if (symlink(target, temporary) != 0)
		return err_set_errno("cannot make %s", temporary);
	TRY(step("update-link-rename"));
	if (rename(temporary, path) != 0)
		return err_set_errno("cannot switch %s", path);
	TRY(step("update-link-sync"));
	return dir_sync(root);
}

// ---- a copy

static enum err file_copy(const char *from, const char *to, mode_t mode)
{
	SCOPED_FD int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0)
		return err_set_errno("cannot open %s", from);
	SCOPED_FD int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out < 0)
		return err_set_errno("cannot make %s", to);
	SCOPED_FREE char *room = malloc(COPY_BYTES);
	if (room == NULL)
		return err_set(ERR_MEMORY, "no memory for a copy");
	for (ssize_t n; (n = read(in, room, COPY_BYTES)) != 0;) {
		if (n < 0)
			return err_set_errno("cannot read %s", from);
		TRY(fd_write_all(out, room, (size_t)n));
	}
	if (fchmod(out, mode) != 0 || fsync(out) != 0)
		return err_set_errno("cannot sync %s", to);
	return ERR_OK;
}

static enum err entry_copy(const FTSENT *at, const char *to)
{
	switch (at->fts_info) {
	case FTS_D:
		return mkdir(to, 0755) == 0 ? ERR_OK : err_set_errno("cannot make %s", to);
	case FTS_F:
		TRY(step("update-copy"));
		return file_copy(
			at->fts_accpath, to, at->fts_statp->st_mode & S_IXUSR ? 0555 : 0444);
	case FTS_DP:
		return dir_sync(to);
	default:
		return err_set(ERR_FORMAT, "%s is neither a file nor a folder", at->fts_path);
	}
}

static enum err tree_copy(const char *from, const char *to)
{
	char root[DEPOT_PATH], path[DEPOT_PATH];
	char *const roots[] = {root, NULL};
	enum err e = ERR_OK;
	if (!str_copy(root, sizeof root, from))
		return err_set(ERR_RANGE, "the path of a package is too long");
	size_t base = strlen(root);
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (tree == NULL)
		return err_set_errno("cannot look into %s", from);
	for (FTSENT *at; e == ERR_OK && (at = fts_read(tree)) != NULL;) {
		int n = snprintf(path, sizeof path, "%s%s", to, at->fts_path + base);
		e = n > 0 && (size_t)n < sizeof path
			    ? entry_copy(at, path)
			    : err_set(ERR_RANGE, "the path of a file is too long");
	}
	(void)fts_close(tree);
	return e;
}

static enum err release_make(const struct update_call *c, const char *name)
{
	char making[DEPOT_PATH], final[DEPOT_PATH], mark[DEPOT_PATH], releases[DEPOT_PATH];
	const char *root = c->row->root;
	if (release_is(c, name))
		return ERR_OK;
	TRY(path_below(releases, root, "releases", ""));
	TRY(path_below(making, root, "releases", MAKING));
	TRY(path_below(final, root, "releases", name));
	TRY(tree_remove(making));
	TRY(tree_copy(c->folder, making));
	TRY(path_join(mark, sizeof mark, making, MARK));
	TRY(step("update-mark"));
	TRY(file_write_atomic(mark, digest_hex(&c->package), 64, 0444));
	TRY(step("update-release"));
	if (rename(making, final) != 0)
		return err_set_errno("cannot name %s", final);
	return dir_sync(releases);
}

// ---- verbs

static enum err prepare(const struct update_call *c, struct update_said *said)
{
	char path[DEPOT_PATH];
	TRY(dir_make(c->row->root));
	TRY(path_below(path, c->row->root, "releases", ""));
	TRY(dir_make(path));
	return link_read(c->row->root, "current", said->token);
}

static enum err install(const struct update_call *c)
{
	char name[UPDATE_TOKEN_MAX + 1], now[UPDATE_TOKEN_MAX + 1];
	TRY(release_name(c, name));
	TRY(release_make(c, name));
	TRY(link_read(c->row->root, "current", now));
	if (strcmp(now, name) == 0)
		return ERR_OK;
	if (c->token[0] != '\0')
		TRY(link_set(c->row->root, "previous", c->token));
	return link_set(c->row->root, "current", name);
}

static enum err verify(const struct update_call *c, struct update_said *said)
{
	char now[UPDATE_TOKEN_MAX + 1];
	TRY(link_read(c->row->root, "current", now));
	said->old_runs = now[0] == '\0' || !release_is(c, now);
	return ERR_OK;
}

static enum err link_back(const struct update_call *c)
{
	char path[DEPOT_PATH], now[UPDATE_TOKEN_MAX + 1];
	TRY(link_read(c->row->root, "current", now));
	if (strcmp(now, c->token) == 0)
		return ERR_OK;
	if (c->token[0] != '\0')
		return link_set(c->row->root, "current", c->token);
	TRY(path_below(path, c->row->root, "current", ""));
	TRY(step("update-unlink"));
	if (unlink(path) != 0 && errno != ENOENT)
		return err_set_errno("cannot remove %s", path);
	return dir_sync(c->row->root);
}

// A copy that did not come to its end holds the space that it may have failed for.
static enum err roll_back(const struct update_call *c)
{
	char making[DEPOT_PATH];
	TRY(link_back(c));
	if (path_below(making, c->row->root, "releases", MAKING) != ERR_OK ||
		tree_remove(making) != ERR_OK)
		log_warn("RELEASE-KEPT", "name=%s release=%s why=%s", log_quote(c->name), MAKING,
			log_quote(err_text()));
	return ERR_OK;
}

// Out of its name in one step: what has a release's name is whole.
static enum err release_drop(const char *releases, const char *name)
{
	char path[DEPOT_PATH], gone[DEPOT_PATH];
	TRY(path_join(path, sizeof path, releases, name));
	TRY(path_join(gone, sizeof gone, releases, GONE));
	if (name[0] == '.')
		return tree_remove(path);
	TRY(tree_remove(gone));
	TRY(step("update-gone"));
	if (rename(path, gone) != 0)
		return err_set_errno("cannot remove %s", path);
	TRY(step("update-removed"));
	return tree_remove(gone);
}

// What neither link names, and what a cut left half made. What cannot be removed takes space, and
// is no reason to undo a release that is well.
static enum err commit(const struct update_call *c)
{
	char now[UPDATE_TOKEN_MAX + 1], before[UPDATE_TOKEN_MAX + 1], dir[DEPOT_PATH];
	TRY(link_read(c->row->root, "current", now));
	TRY(link_read(c->row->root, "previous", before));
	TRY(path_below(dir, c->row->root, "releases", ""));
	DIR *d = opendir(dir);
	if (d == NULL)
		return err_set_errno("cannot list %s", dir);
	for (const struct dirent *entry; (entry = readdir(d)) != NULL;) {
		const char *name = entry->d_name;
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, now) == 0 ||
			strcmp(name, before) == 0)
			continue;
		if (release_drop(dir, name) != ERR_OK)
			log_warn("RELEASE-KEPT", "name=%s release=%s why=%s", log_quote(c->name),
				log_quote(name), log_quote(err_text()));
	}
	(void)closedir(d);
	return ERR_OK;
}

static enum err symlink_work(const struct update_call *c, struct update_said *said)
{
	switch (c->verb) {
	case UPDATE_PREPARE:
		return prepare(c, said);
	case UPDATE_INSTALL:
		return install(c);
	case UPDATE_VERIFY:
		return verify(c, said);
	case UPDATE_COMMIT:
		return commit(c);
	case UPDATE_ROLL_BACK:
		return roll_back(c);
	case UPDATE_VERBS:
		break;
	}
	return ERR_OK;
}

static enum update_plan symlink_plan(
	const struct update_call *c, unsigned at, struct update_argv *out)
{
	(void)c;
	(void)out;
	return at == 0 ? PLAN_WORK : PLAN_END;
}

const struct update_handler update_symlink = {
	.word = "symlink",
	.restart = RESTART_NONE,
	.takes_root = true,
	.plan = symlink_plan,
	.work = symlink_work,
};
