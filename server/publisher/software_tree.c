#include "server/publisher/software_tree.h"
#include "proto/base/file.h"
#include "proto/limits.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PATH_MAX_BYTES 513
#define FOLDERS_MAX 20000

// Folders that are still to be read: a list instead of recursion.
struct walk {
	struct tree *tree;
	uint64_t bytes_max;
	char **folders;
	size_t folder_count, folder_cap;
	int root;
};

static const char *kind_of(mode_t mode)
{
	if (S_ISLNK(mode))
		return "a symbolic link";
	if (S_ISFIFO(mode))
		return "a pipe";
	if (S_ISSOCK(mode))
		return "a socket";
	return "a device";
}

static struct file_stamp stamp_of(const struct stat *s)
{
	return (struct file_stamp){.device = s->st_dev,
		.inode = s->st_ino,
		.modified_ns = (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec,
		.changed_ns = (int64_t)s->st_ctim.tv_sec * 1000000000 + s->st_ctim.tv_nsec};
}

static enum err file_add(struct walk *w, const char *path, const struct stat *s)
{
	struct tree *t = w->tree;

	if (t->count == LIMIT_FILES)
		return err_set(ERR_FULL, "the folder has more than %d files", LIMIT_FILES);
	if (s->st_size < 0 || (uint64_t)s->st_size > w->bytes_max - t->bytes)
		return err_set(ERR_FULL, "with %s the package has more than %llu bytes", path,
			(unsigned long long)w->bytes_max);
	if (t->count == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct tree_file *files = realloc(t->files, cap * sizeof *files);
		if (!files)
			return err_set(ERR_MEMORY, "no memory for a list of files");
		t->files = files;
		t->cap = cap;
	}
	char *copy = strdup(path);
	if (!copy)
		return err_set(ERR_MEMORY, "no memory for a list of files");
	t->files[t->count++] = (struct tree_file){.path = copy,
		.size = (uint64_t)s->st_size,
		.stamp = stamp_of(s),
		.executable = (s->st_mode & 0111) != 0};
	t->bytes += (uint64_t)s->st_size;
	return ERR_OK;
}

static enum err folder_add(struct walk *w, const char *path)
{
	if (w->folder_count == FOLDERS_MAX)
		return err_set(ERR_FULL, "more than %d folders wait to be read", FOLDERS_MAX);
	if (w->folder_count == w->folder_cap) {
		size_t cap = w->folder_cap ? w->folder_cap * 2 : 64;
		char **folders = realloc(w->folders, cap * sizeof *folders);
		if (!folders)
			return err_set(ERR_MEMORY, "no memory for a list of folders");
		w->folders = folders;
		w->folder_cap = cap;
	}
	char *copy = strdup(path);
	if (!copy)
		return err_set(ERR_MEMORY, "no memory for a list of folders");
	w->folders[w->folder_count++] = copy;
	return ERR_OK;
}

// Opens a folder or file below root, one level at a time, so that no link can lead out.
static enum err open_below(int root, const char *path, int flags, int *out)
{
	SCOPED_FD int at = dup(root);
	char level[PATH_MAX_BYTES];

	while (at >= 0) {
		const char *slash = strchr(path, '/');
		size_t n = slash ? (size_t)(slash - path) : strlen(path);
		if (n >= sizeof level)
			return err_set(ERR_RANGE, "a path is too long");
		memcpy(level, path, n);
		level[n] = 0;
		int more = slash ? O_DIRECTORY : flags;
		int next = openat(
			at, n ? level : ".", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | more);
		if (next < 0)
			return err_set_errno("cannot open %s", level);
		close(at);
		at = next;
		if (!slash)
			break;
		path = slash + 1;
	}
	if (at < 0)
		return err_set_errno("cannot open a folder");
	*out = at;
	at = -1;
	return ERR_OK;
}

static enum err entry_take(struct walk *w, int folder, const char *prefix, const char *name)
{
	char path[PATH_MAX_BYTES + 256];
	struct stat s;

	int n = snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] ? "/" : "", name);
	if (n < 0 || (size_t)n >= sizeof path || !path_is_safe(path))
		return err_set(ERR_FORMAT,
			"%s: devices take letters, digits, . _ - only, names that begin with no "
			"dot, 16 levels and 512 characters",
			path);
	if (fstatat(folder, name, &s, AT_SYMLINK_NOFOLLOW) != 0)
		return err_set_errno("cannot look at %s", path);
	if (S_ISDIR(s.st_mode))
		return folder_add(w, path);
	if (S_ISREG(s.st_mode))
		return file_add(w, path, &s);
	return err_set(
		ERR_FORMAT, "%s is %s; a package holds plain files only", path, kind_of(s.st_mode));
}

static enum err folder_read(struct walk *w, const char *path)
{
	int fd = -1;

	TRY(open_below(w->root, path, O_DIRECTORY, &fd));
	DIR *d = fdopendir(fd);
	enum err e = ERR_OK;
	if (!d) {
		close(fd);
		return err_set_errno("cannot read folder %s", path);
	}
	const struct dirent *x = NULL;
	while (e == ERR_OK && (e = folder_next(d, path, &x)) == ERR_OK && x)
		if (strcmp(x->d_name, ".") != 0 && strcmp(x->d_name, "..") != 0)
			e = entry_take(w, fd, path, x->d_name);
	closedir(d);
	return e;
}

static int file_order(const void *a, const void *b)
{
	const struct tree_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

enum err tree_walk(int root_fd, uint64_t bytes_max, struct tree *out)
{
	struct walk w = {.tree = out, .bytes_max = bytes_max, .root = root_fd};
	enum err e = ERR_OK;

	*out = (struct tree){0};
	e = folder_add(&w, "");
	while (e == ERR_OK && w.folder_count > 0) {
		SCOPED_FREE char *path = w.folders[--w.folder_count];
		e = folder_read(&w, path);
	}
	while (w.folder_count > 0)
		free(w.folders[--w.folder_count]);
	free(w.folders);
	if (e == ERR_OK && out->count == 0)
		e = err_set(ERR_FORMAT, "the folder has no file");
	if (e != ERR_OK)
		tree_fini(out);
	else
		qsort(out->files, out->count, sizeof *out->files, file_order);
	return e;
}

enum err tree_single(int file_fd, const char *name, uint64_t bytes_max, struct tree *out)
{
	struct walk w = {.tree = out, .bytes_max = bytes_max, .root = -1};
	struct stat s;

	*out = (struct tree){0};
	if (fstat(file_fd, &s) != 0)
		return err_set_errno("cannot look at %s", name);
	if (!S_ISREG(s.st_mode))
		return err_set(ERR_FORMAT, "%s is %s", name, kind_of(s.st_mode));
	if (!path_is_safe(name))
		return err_set(ERR_FORMAT, "%s: devices take letters, digits, . _ - only", name);
	return file_add(&w, name, &s);
}

void tree_fini(struct tree *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->files[i].path);
	free(t->files);
	*t = (struct tree){0};
}

enum err tree_open(int root_fd, const struct tree_file *f, int *fd)
{
	struct stat s;

	TRY(open_below(root_fd, f->path, 0, fd));
	if (fstat(*fd, &s) == 0 && S_ISREG(s.st_mode) && (uint64_t)s.st_size == f->size &&
		stamp_of(&s).modified_ns == f->stamp.modified_ns)
		return ERR_OK;
	close(*fd);
	*fd = -1;
	return err_set(ERR_NOT_NOW, "%s changed while the package was made", f->path);
}

bool tree_file_is_same(int fd, const struct tree_file *f)
{
	struct stat s;

	if (fstat(fd, &s) != 0 || (uint64_t)s.st_size != f->size)
		return false;
	const struct file_stamp is = stamp_of(&s);
	return memcmp(&is, &f->stamp, sizeof is) == 0;
}

// A lease is given to a reader where there is no writer. Who comes to write while it lasts, which
// is for this call, waits for it, and we get a signal: one that nobody minds, not SIGIO.
bool tree_file_is_left_alone(int fd)
{
	if (fcntl(fd, F_SETSIG, SIGURG) != 0)
		return false;
	bool alone = fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
	if (alone)
		alone = fcntl(fd, F_SETLEASE, F_UNLCK) == 0;
	(void)fcntl(fd, F_SETSIG, 0); // the descriptor may be another's, too
	return alone;
}

// Not of tmpfs and ramfs: what is stored into a mapping leaves no time there.
bool tree_stamp_is_the_kernels(int fd)
{
	static const unsigned long own[] = {
		0xEF53,     // ext2, ext3, ext4
		0x58465342, // XFS
		0x9123683E, // btrfs
		0xF2F52010, // F2FS
		0x794C7630, // overlayfs
		0x2FC12FC1, // ZFS
	};
	struct statfs fs;
	struct stat st;

	// An image on a loop device may have been made with any times.
	if (fstatfs(fd, &fs) != 0 || fstat(fd, &st) != 0 || major(st.st_dev) == LOOP_MAJOR)
		return false;
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		if ((unsigned long)fs.f_type == own[i])
			return true;
	return false;
}
