// Installing and switching; see installer.h.
#include "client/installer.h"

#include "proto/base/file.h"
#include "proto/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool (*install_step_hook)(const char *step);

static enum err step(const char *name)
{
	if (install_step_hook != NULL && !install_step_hook(name))
		return err_set(ERR_IO, "stopped before %s", name);
	return ERR_OK;
}

// ---- seal

static enum err file_seal(const char *path, mode_t mode, bool sync)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set_errno("cannot open %s", path);
	struct stat st;
	if (fstat(fd, &st) != 0)
		return err_set_errno("cannot look at %s", path);
	if ((st.st_mode & 07777) != mode && fchmod(fd, mode) != 0)
		return err_set_errno("cannot protect %s", path);
	if (sync && fsync(fd) != 0)
		return err_set_errno("cannot sync %s", path);
	return ERR_OK;
}

// Every level of a file's folder below files/.
static enum err folders_sync(char *path, size_t base)
{
	for (char *slash; (slash = strrchr(path + base, '/')) != NULL;) {
		*slash = '\0';
		TRY(dir_sync(path));
	}
	return ERR_OK;
}

static enum err page_files_seal(
	const struct depot *s, const struct digest *id, const struct manifest_page *page, bool sync)
{
	char path[DEPOT_PATH], rest[600], folder[DEPOT_PATH] = "";
	depot_staging_path(s, id, "files", path);
	size_t base = strlen(path);
	for (size_t i = 0; i < page->file_count; i++) {
		const struct file_entry *f = &page->files[i];
		int n = snprintf(rest, sizeof rest, "files/%s", f->path);
		if (n < 0 || (size_t)n >= sizeof rest || !path_is_safe(f->path))
			return err_set(ERR_RANGE, "the path of a file is too long");
		depot_staging_path(s, id, rest, path);
		TRY(file_seal(path, f->executable ? 0555 : 0444, sync));
		char *slash = strrchr(path, '/');
		*slash = '\0';
		if (!sync || strcmp(path, folder) == 0)
			continue;
		(void)str_copy(folder, sizeof folder, path);
		TRY(dir_sync(path));
		TRY(folders_sync(path, base));
	}
	return ERR_OK;
}

static enum err page_seal(
	const struct depot *s, const struct digest *id, uint32_t number, bool sync)
{
	char path[DEPOT_PATH], rest[32];
	struct manifest_page page;
	SCOPED_ARENA struct arena a;
	arena_init(&a, 2 * 1024 * 1024, 20000);
	(void)snprintf(rest, sizeof rest, "pages/%03u", number);
	depot_staging_path(s, id, rest, path);
	TRY(page_file_read(path, &a, &page));
	TRY(page_files_seal(s, id, &page, sync));
	return file_seal(path, 0444, sync);
}

static enum err everything_sync(const char *dir)
{
	SCOPED_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || syncfs(fd) != 0)
		return err_set_errno("cannot sync %s", dir);
	return ERR_OK;
}

// As many files as the manifest names. Fewer: two paths are one file where the file system does not
// tell A from a. More: somebody put one there. Whatever they hold, it is not this package.
static enum err files_count(const struct depot *s, const struct digest *id, uint64_t named)
{
	char path[DEPOT_PATH];
	char *const paths[2] = {path, NULL};
	uint64_t found = 0;
	depot_staging_path(s, id, "files", path);
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	if (walk == NULL)
		return err_set_errno("cannot look through %s", path);
	errno = 0;
	for (FTSENT *f = fts_read(walk); f != NULL; f = fts_read(walk)) {
		found += f->fts_info != FTS_D && f->fts_info != FTS_DP;
		errno = 0;
	}
	int failed = errno;
	fts_close(walk);
	errno = failed;
	if (failed)
		return err_set_errno("cannot look through %s", path);
	if (found == named)
		return ERR_OK;
	return err_set(ERR_FORMAT,
		found < named ? "%llu paths of the package are %llu files here: this file "
				"system does not tell A from a"
			      : "the package has %llu paths, and %llu files lie here",
		(unsigned long long)named, (unsigned long long)found);
}

enum err install_seal(const struct depot *s, const struct digest *id, const struct manifest *m)
{
	static const char *const folders[] = {"pages", "files", ""};
	char path[DEPOT_PATH];
	bool each = m->file_count <= INSTALL_FSYNC_FILES;
	TRY(step("seal"));
	for (uint32_t i = 0; i < m->page_count; i++)
		TRY(page_seal(s, id, i, each));
	TRY(files_count(s, id, m->file_count));
	depot_staging_path(s, id, "manifest", path);
	TRY(file_seal(path, 0444, each));
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		depot_staging_path(s, id, folders[i], path);
		if (each)
			TRY(dir_sync(path));
	}
	return each ? ERR_OK : everything_sync(path);
}

enum err install_rename(const struct depot *s, const struct digest *id)
{
	char from[DEPOT_PATH], to[DEPOT_PATH], dir[DEPOT_PATH];
	depot_staging_path(s, id, "", from);
	depot_package_path(s, id, "", to);
	TRY(step("rename"));
	if (rename(from, to) != 0) {
		struct stat st;
		if (errno != ENOENT || stat(to, &st) != 0)
			return err_set_errno("cannot install %s", to);
	}
	TRY(step("rename-sync"));
	TRY(path_join(dir, sizeof dir, s->root_dir, "packages"));
	TRY(dir_sync(dir));
	TRY(path_join(dir, sizeof dir, s->root_dir, "staging"));
	return dir_sync(dir);
}

// ---- slots

static const char *link_name(enum slot_link which)
{
	switch (which) {
	case SLOT_CURRENT:
		return "current";
	case SLOT_PREVIOUS:
		return "previous";
	case SLOT_NEXT:
		return "next";
	}
	return "";
}

static enum err slot_path(
	const char *root_dir, enum package_kind kind, const char *name, const char *link, char *out)
{
	if (!path_is_safe(name) || strchr(name, '/') != NULL)
		return err_set(ERR_RANGE, "a slot cannot have this name");
	int n = snprintf(out, DEPOT_PATH, "%s/slots/%s/%s%s%s", root_dir, depot_kind_folder(kind),
		name, link[0] != '\0' ? "/" : "", link);
	if (n < 0 || n >= DEPOT_PATH)
		return err_set(ERR_RANGE, "the path of a slot is too long");
	return ERR_OK;
}

// The id a link names, and whether the package is there.
static enum err link_target(const char *path, struct digest *out)
{
	char target[128];
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n < 0)
		return err_set_errno("cannot read the link %s", path);
	target[n] = '\0';
	const char *slash = strrchr(target, '/');
	if (slash == NULL || hex_decode(slash + 1, out->b, sizeof out->b) != ERR_OK)
		return err_set(ERR_NOT_FOUND, "%s names no package", path);
	struct stat st;
	if (stat(path, &st) != 0)
		return err_set_errno("%s dangles", path);
	return ERR_OK;
}

enum err slot_read(const char *root_dir, enum package_kind kind, const char *name,
	enum slot_link which, struct digest *out)
{
	char path[DEPOT_PATH];
	TRY(slot_path(root_dir, kind, name, link_name(which), path));
	return link_target(path, out);
}

static enum err link_replace(const char *folder, const char *name, const struct digest *id)
{
	char hex[65], target[128], path[DEPOT_PATH], temporary[DEPOT_PATH];
	hex_encode(id->b, sizeof id->b, hex);
	(void)snprintf(target, sizeof target, "../../../packages/%s", hex);
	TRY(path_join(path, sizeof path, folder, name));
	TRY(path_join(temporary, sizeof temporary, folder, "link.tmp"));
	if (unlink(temporary) != 0 && errno != ENOENT)
		return err_set_errno("cannot remove %s", temporary);
	TRY(step("link"));
	if (symlink(target, temporary) != 0)
		return err_set_errno("cannot make %s", temporary);
	TRY(step("link-rename"));
	if (rename(temporary, path) != 0)
		return err_set_errno("cannot switch %s", path);
	TRY(step("link-sync"));
	return dir_sync(folder);
}

static enum err slot_folder(
	const char *root_dir, enum package_kind kind, const char *name, char *out)
{
	struct stat st;
	TRY(slot_path(root_dir, kind, name, "", out));
	if (stat(out, &st) == 0)
		return ERR_OK;
	TRY(dir_make(out));
	char parent[DEPOT_PATH];
	int n = snprintf(parent, sizeof parent, "%s/slots/%s", root_dir, depot_kind_folder(kind));
	if (n < 0 || (size_t)n >= sizeof parent)
		return err_set(ERR_RANGE, "the path of a slot is too long");
	return dir_sync(parent);
}

enum err slot_set(const char *root_dir, enum package_kind kind, const char *name,
	enum slot_link which, const struct digest *id)
{
	char folder[DEPOT_PATH];
	TRY(slot_folder(root_dir, kind, name, folder));
	return link_replace(folder, link_name(which), id);
}

enum err slot_switch(
	const char *root_dir, enum package_kind kind, const char *name, const struct digest *id)
{
	struct digest now, next;
	char path[DEPOT_PATH];
	enum err e = slot_read(root_dir, kind, name, SLOT_CURRENT, &now);
	if (e != ERR_OK && e != ERR_NOT_FOUND)
		return e;
	if (e == ERR_OK && digest_equal(&now, id))
		return ERR_OK;
	if (e == ERR_OK)
		TRY(slot_set(root_dir, kind, name, SLOT_PREVIOUS, &now));
	TRY(slot_set(root_dir, kind, name, SLOT_CURRENT, id));
	if (slot_read(root_dir, kind, name, SLOT_NEXT, &next) == ERR_OK &&
		digest_equal(&next, id)) {
		TRY(slot_path(root_dir, kind, name, "next", path));
		if (unlink(path) != 0)
			return err_set_errno("cannot remove %s", path);
	}
	return ERR_OK;
}

// ---- recovery

static enum err link_recover(const char *folder, const char *name, const char *fallback)
{
	char path[DEPOT_PATH], other[DEPOT_PATH];
	struct digest id;
	struct stat st;
	TRY(path_join(path, sizeof path, folder, name));
	if (lstat(path, &st) != 0 || link_target(path, &id) == ERR_OK)
		return ERR_OK;
	log_warn("SLOT-DANGLING", "link=%s", log_quote(path));
	if (fallback != NULL) {
		TRY(path_join(other, sizeof other, folder, fallback));
		if (link_target(other, &id) == ERR_OK)
			return link_replace(folder, name, &id);
	}
	if (unlink(path) != 0)
		return err_set_errno("cannot remove %s", path);
	return ERR_OK;
}

static enum err slot_recover(const char *folder)
{
	char path[DEPOT_PATH];
	TRY(path_join(path, sizeof path, folder, "link.tmp"));
	if (unlink(path) != 0 && errno != ENOENT)
		return err_set_errno("cannot remove %s", path);
	TRY(link_recover(folder, "current", "previous"));
	TRY(link_recover(folder, "previous", NULL));
	return link_recover(folder, "next", NULL);
}

static enum err kind_recover(const char *dir)
{
	char path[DEPOT_PATH];
	enum err e = ERR_OK;
	DIR *d = opendir(dir);
	if (d == NULL)
		return err_set_errno("cannot list %s", dir);
	for (struct dirent *entry; e == ERR_OK && (entry = readdir(d)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		e = path_join(path, sizeof path, dir, entry->d_name);
		if (e == ERR_OK)
			e = slot_recover(path);
	}
	closedir(d);
	return e;
}

enum err slots_recover(const char *root_dir)
{
	char dir[DEPOT_PATH];
	TRY(path_join(dir, sizeof dir, root_dir, "slots/images"));
	TRY(kind_recover(dir));
	TRY(path_join(dir, sizeof dir, root_dir, "slots/software"));
	return kind_recover(dir);
}
