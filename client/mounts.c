// See mounts.h.
#include "client/mounts.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/digest.h"
#include "proto/medium.h"
#include "proto/topics.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum found {
	FOUND_NOTHING,
	FOUND_FOLDER,
	FOUND_IMAGE
};

// Where it lies, and when it was written: inodes of vfat change while a stick stays. Never 0.
static uint64_t mark_of(const char *path, const struct stat *st)
{
	struct {
		uint64_t path, dev, written_s, written_ns, size;
	} at = {
		.dev = st->st_dev,
		.written_s = (uint64_t)st->st_mtim.tv_sec,
		.written_ns = (uint64_t)st->st_mtim.tv_nsec,
		.size = (uint64_t)st->st_size,
	};
	uint64_t mark;
	struct digest d = sha256(path, strlen(path));
	memcpy(&at.path, d.b, sizeof at.path);
	d = sha256(&at, sizeof at);
	memcpy(&mark, d.b, sizeof mark);
	return mark | 1;
}

static bool folder_at(const char *dir, const char *below, struct stat *st)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/%s", dir, below);
	return n > 0 && (size_t)n < sizeof path && lstat(path, st) == 0 && S_ISDIR(st->st_mode);
}

// A stick that only collects is known by its place alone: we write to it.
static bool folder_mark(const char *dir, const char *client_id, uint64_t *mark)
{
	char orders[LIMIT_TOPIC];
	struct stat st;
	(void)snprintf(orders, sizeof orders, MEDIUM_ORDERS "/%s", client_id);
	if (!folder_at(dir, orders, &st) && !folder_at(dir, MEDIUM_ORDERS, &st)) {
		if (!folder_at(dir, MEDIUM_RETURN, &st))
			return false;
		st.st_mtim = (struct timespec){0};
		st.st_size = 0;
	}
	*mark = mark_of(dir, &st);
	return true;
}

static enum found look(const char *path, const char *client_id, uint64_t *mark)
{
	struct stat st;
	size_t n = strlen(path);
	if (lstat(path, &st) != 0)
		return FOUND_NOTHING;
	if (S_ISDIR(st.st_mode))
		return folder_mark(path, client_id, mark) ? FOUND_FOLDER : FOUND_NOTHING;
	if (!S_ISREG(st.st_mode) || n <= 4 || strcasecmp(path + n - 4, ".iso") != 0)
		return FOUND_NOTHING;
	*mark = mark_of(path, &st);
	return FOUND_IMAGE;
}

static bool is_due(struct mounts *m, uint64_t mark, enum found what)
{
	size_t room = MOUNTS_SEEN;
	for (size_t k = 0; k < MOUNTS_SEEN; k++) {
		if (m->seen[k].mark == mark) {
			bool due = !m->seen[k].taken;
			m->seen[k].there = m->seen[k].taken = true;
			return due;
		}
		if (m->seen[k].mark == 0)
			room = k;
	}
	if (room == MOUNTS_SEEN)
		return false;
	m->seen[room].mark = mark;
	m->seen[room].there = true;
	m->seen[room].taken = what == FOUND_FOLDER;
	return m->seen[room].taken;
}

static bool path_is_due(struct mounts *m, const char *path, const char *client_id)
{
	uint64_t mark = 0;
	enum found what = look(path, client_id, &mark);
	return what != FOUND_NOTHING && is_due(m, mark, what);
}

static void gone_forget(struct mounts *m)
{
	for (size_t k = 0; k < MOUNTS_SEEN; k++) {
		if (m->seen[k].mark != 0 && !m->seen[k].there) {
			log_debug("MOUNT-GONE", "taken=%s", m->seen[k].taken ? "yes" : "no");
			m->seen[k].mark = 0;
		}
		m->seen[k].there = false;
	}
}

bool mounts_next(struct mounts *m, const char *dir, const char *client_id, char path[PATH_MAX])
{
	size_t looked = 0;
	bool due = snprintf(path, PATH_MAX, "%s", dir) < PATH_MAX && path_is_due(m, dir, client_id);
	errno = 0;
	DIR *d = due ? NULL : opendir(dir);
	bool listed = d != NULL || errno == ENOENT;
	const struct dirent *e = NULL;
	while (d != NULL && !due && looked < MOUNTS_LOOKED) {
		listed = folder_next(d, dir, &e) == ERR_OK;
		if (e == NULL)
			break;
		int n = snprintf(path, PATH_MAX, "%s/%s", dir, e->d_name);
		if (e->d_name[0] == '.' || n < 0 || n >= PATH_MAX)
			continue;
		looked++;
		due = path_is_due(m, path, client_id);
	}
	if (d != NULL)
		(void)closedir(d);
	if (!due && listed)
		gone_forget(m);
	return due;
}
