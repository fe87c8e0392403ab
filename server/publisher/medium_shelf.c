// See medium_shelf.h.
#include "medium_shelf.h"

#include "medium_note.h"
#include "proto/base/file.h"
#include "recorder.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOLD_PER_TICK 8
#define TELL_PERIOD_MS (60 * 60 * 1000)

struct shelved {
	uint64_t order, bytes;
	int64_t ended_ms; // 0: it is needed
};

struct medium_shelf {
	struct publisher *p;
	struct shelved *list;
	size_t count, cap;
	uint64_t bytes;
	size_t told; // of the list; count: all
	struct mono tell_at;
	int lock_fd; // -1: the folder is not there yet
};

// ---- paths

#define DIR_MAX 448 // of medium_dir
#define MAKING ".making"
#define LOCK ".lock"
#define ORDER ".order"

// The names of media, before their note's.
static const char *const kinds[] = {"", ".iso"};

static void medium_dir(const struct publisher *p, char out[DIR_MAX])
{
	const char *set = p->settings->medium_dir;

	(void)snprintf(out, DIR_MAX, "%s%s", set[0] ? set : p->settings->state_dir,
		set[0] ? "" : "/media");
}

static enum err path_make(const struct publisher *p, const char *folder, uint64_t order,
	const char *ending, char out[PATH_MAX])
{
	char dir[DIR_MAX];

	medium_dir(p, dir);
	int n = snprintf(out, PATH_MAX, "%s/%s%" PRIu64 "%s", dir, folder, order, ending);
	return n > 0 && n < PATH_MAX ? ERR_OK : err_set(ERR_RANGE, "medium_dir is too long");
}

enum err shelf_path(
	const struct publisher *p, uint64_t order, const char *ending, char out[PATH_MAX])
{
	return path_make(p, "", order, ending, out);
}

enum err shelf_making_path(
	const struct publisher *p, uint64_t order, const char *ending, char out[PATH_MAX])
{
	return path_make(p, MAKING "/", order, ending, out);
}

static enum err dir_path(const struct publisher *p, const char *name, char out[PATH_MAX])
{
	char dir[DIR_MAX];

	medium_dir(p, dir);
	return path_join(out, PATH_MAX, dir, name);
}

static enum err medium_dir_sync(const struct publisher *p)
{
	char dir[DIR_MAX];

	medium_dir(p, dir);
	return dir_sync(dir);
}

// ---- taking a place

enum err shelf_file_put(const struct publisher *p, uint64_t order, const char *ending,
	const void *data, size_t size)
{
	char made[PATH_MAX], path[PATH_MAX];

	TRY(shelf_making_path(p, order, ending, made));
	TRY(shelf_path(p, order, ending, path));
	TRY(file_write_atomic(made, data, size, 0644));
	if (rename(made, path) != 0)
		return err_set_errno("rename %s", made);
	return medium_dir_sync(p);
}

// Where the file system cannot be told, it is asked: nobody but us makes these names by program.
static int rename_new(const char *from, const char *to)
{
	struct stat st;

	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (lstat(to, &st) == 0) {
		errno = EEXIST;
		return -1;
	}
	return rename(from, to);
}

enum err shelf_place(const struct publisher *p, uint64_t order, const char *kind,
	const struct digest *sha256, uint64_t size)
{
	struct medium_note n = {.sha256 = *sha256, .size = size};
	char made[PATH_MAX], path[PATH_MAX], note[PATH_MAX], noted[PATH_MAX], ending[32];

	(void)snprintf(ending, sizeof(ending), "%s" MEDIUM_NOTE, kind);
	TRY(shelf_making_path(p, order, kind, made));
	TRY(shelf_path(p, order, kind, path));
	TRY(medium_note_mark(&n, made));
	TRY(shelf_making_path(p, order, ending, note));
	TRY(medium_note_write(&n, note));
	if (rename_new(made, path) != 0)
		return errno == EEXIST ? err_set(ERR_EXISTS,
						 "%s is there, and is none that was recorded: "
						 "move it away",
						 path)
				       : err_set_errno("rename %s", made);
	TRY(shelf_path(p, order, ending, noted));
	enum err e = medium_dir_sync(p);
	if (e == ERR_OK && rename(note, noted) != 0)
		e = err_set_errno("rename %s", note);
	if (e != ERR_OK) {
		(void)rename(path, made); // without its note it is nobody's
		return e;
	}
	return medium_dir_sync(p);
}

// ---- the list

static struct shelved *find(struct medium_shelf *s, uint64_t order)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].order == order)
			return &s->list[i];
	return NULL;
}

static bool add(struct medium_shelf *s, const struct shelved *one)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct shelved *list = realloc(s->list, cap * sizeof(*list));
		if (!list)
			return false;
		s->list = list;
		s->cap = cap;
	}
	s->list[s->count++] = *one;
	s->bytes += one->bytes;
	return true;
}

// ---- at start

static int64_t ended_read(const struct medium_shelf *s, uint64_t order)
{
	char path[PATH_MAX];
	struct stat st;

	if (shelf_path(s->p, order, ".ended", path) != ERR_OK || stat(path, &st) != 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000 + 1;
}

// Of "7.iso.recorded": 7, ".iso.recorded". 0: it is no such name.
static uint64_t name_parse(const char *name, const char **ending)
{
	char exact[NAME_MAX + 1], *end = NULL;
	uint64_t order = strtoull(name, &end, 10);

	(void)snprintf(exact, sizeof(exact), "%" PRIu64 "%s", order, end);
	*ending = end;
	return strcmp(exact, name) == 0 ? order : 0;
}

// The name of the medium that a note of this ending is of; NULL: it is none.
static const char *kind_of_note(const char *ending)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(ending, kinds[i], strlen(kinds[i])) == 0 &&
			strcmp(ending + strlen(kinds[i]), MEDIUM_NOTE) == 0)
			return kinds[i];
	return NULL;
}

static void note_take(struct medium_shelf *s, const char *name)
{
	char path[PATH_MAX];
	const char *ending = NULL;
	struct medium_note n;
	struct shelved one = {.order = name_parse(name, &ending)};

	if (s->count == SHELF_MAX || !one.order || !kind_of_note(ending) || find(s, one.order))
		return;
	if (shelf_path(s->p, one.order, ending, path) != ERR_OK ||
		medium_note_read(&n, path) != ERR_OK)
		return;
	one.bytes = n.size;
	one.ended_ms = ended_read(s, one.order);
	(void)add(s, &one);
}

// A crash came between a medium and its note: where it is of the very one that lies there, it
// follows.
static void note_follow(struct medium_shelf *s, const char *name)
{
	char made[PATH_MAX], path[PATH_MAX], medium[PATH_MAX];
	const char *ending = NULL, *kind = NULL;
	struct medium_note n;
	uint64_t order = name_parse(name, &ending);

	if (!order || !(kind = kind_of_note(ending)) ||
		shelf_making_path(s->p, order, ending, made) != ERR_OK ||
		shelf_path(s->p, order, ending, path) != ERR_OK ||
		shelf_path(s->p, order, kind, medium) != ERR_OK)
		return;
	if (medium_note_read(&n, made) != ERR_OK || !n.inode || !medium_note_is_of(&n, medium))
		return;
	if (rename(made, path) == 0)
		log_info("MEDIUM-NOTE-FOLLOWS", "path=%s", log_quote(medium));
}

static bool is_there(const struct medium_shelf *s, uint64_t order, const char *ending)
{
	char path[PATH_MAX];
	struct stat st;

	return shelf_path(s->p, order, ending, path) != ERR_OK || lstat(path, &st) == 0 ||
	       errno != ENOENT; // in doubt it is
}

static bool has_medium(const struct medium_shelf *s, uint64_t order)
{
	return is_there(s, order, "") || is_there(s, order, MEDIUM_NOTE) ||
	       is_there(s, order, ".iso") || is_there(s, order, ".iso" MEDIUM_NOTE);
}

// An order is kept for a medium that somebody makes by hand, as long as a medium would be.
static void order_drop(struct medium_shelf *s, const char *name)
{
	char path[PATH_MAX];
	const char *ending = NULL;
	struct stat st;
	uint64_t order = name_parse(name, &ending);

	if (!order || strcmp(ending, ORDER) != 0 || has_medium(s, order) ||
		shelf_path(s->p, order, ORDER, path) != ERR_OK || lstat(path, &st) != 0 ||
		clock_now().wall.ms / 1000 - st.st_mtim.tv_sec <= s->p->settings->medium_keep_s)
		return;
	if (unlink(path) == 0)
		log_info("MEDIUM-ORDER-GONE", "path=%s", log_quote(path));
}

static void folder_look(
	struct medium_shelf *s, const char *dir, void (*each)(struct medium_shelf *, const char *))
{
	DIR *d = opendir(dir);
	const struct dirent *e = NULL;
	enum err listed = d || errno == ENOENT ? ERR_OK : err_set_errno("%s", dir);

	while (d && (listed = folder_next(d, dir, &e)) == ERR_OK && e)
		each(s, e->d_name);
	if (d)
		closedir(d);
	if (listed != ERR_OK)
		log_warn("MEDIUM-UNLISTED", "why=%s", log_quote(err_text()));
}

static enum err dir_lock(struct medium_shelf *s, const char *dir)
{
	char path[PATH_MAX];

	TRY(path_join(path, sizeof(path), dir, LOCK));
	enum err e = lock_take(path, &s->lock_fd);
	return e != ERR_EXISTS ? e
			       : err_set(e,
					 "medium_dir %s is that of another publisher, which is "
					 "running: each has one of its own",
					 dir);
}

// A file in its place is no other publisher.
static enum err folder_make(const char *dir)
{
	enum err e = dir_make(dir);

	return e == ERR_EXISTS ? ERR_IO : e;
}

enum err shelf_ready(struct medium_shelf *s)
{
	char dir[DIR_MAX], making[PATH_MAX];

	medium_dir(s->p, dir);
	TRY(dir_path(s->p, MAKING, making));
	if (s->lock_fd >= 0)
		return folder_make(making);
	TRY(folder_make(dir));
	TRY(dir_lock(s, dir));
	folder_look(s, making, note_follow);
	if (tree_remove(making) != ERR_OK)
		log_warn("MEDIUM-REST-STAYS", "path=%s why=%s", log_quote(making),
			log_quote(err_text()));
	folder_look(s, dir, order_drop);
	folder_look(s, dir, note_take);
	s->told = s->count;
	// Where libarchive collects the content of an image before it writes that: a temporary
	// folder may be small, or memory.
	if (setenv("TMPDIR", making, 1) != 0)
		return err_set_errno("TMPDIR");
	return folder_make(making);
}

enum err shelf_open(struct publisher *p, struct medium_shelf **out)
{
	struct medium_shelf *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(ERR_MEMORY, "no memory for the media");
	s->p = p;
	s->lock_fd = -1;
	*out = s;
	(void)setenv("TMPDIR", p->settings->state_dir, 1);
	enum err e = shelf_ready(s);
	if (e == ERR_EXISTS)
		return e;
	if (e != ERR_OK)
		log_warn("MEDIUM-DIR", "why=%s", log_quote(err_text()));
	return ERR_OK;
}

void shelf_free(struct medium_shelf *s)
{
	if (!s)
		return;
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->list);
	free(s);
}

// ---- going

static enum err gone(const char *path)
{
	return unlink(path) == 0 || errno == ENOENT ? ERR_OK : err_set_errno("%s", path);
}

// What was recorded, and nothing else that bears its name.
static enum err medium_remove(const struct medium_shelf *s, uint64_t order, const char *kind)
{
	char path[PATH_MAX], note[PATH_MAX], ending[32];
	struct medium_note n;

	(void)snprintf(ending, sizeof(ending), "%s" MEDIUM_NOTE, kind);
	TRY(shelf_path(s->p, order, kind, path));
	TRY(shelf_path(s->p, order, ending, note));
	enum err e = medium_note_read(&n, note);
	if (e == ERR_OK && medium_note_is_of(&n, path))
		return tree_remove(path);
	if (e != ERR_OK && e != ERR_NOT_FOUND && e != ERR_FORMAT)
		return e;
	if (is_there(s, order, kind))
		log_info("MEDIUM-NOT-OURS",
			"path=%s why=\"it is not what was recorded, and stays\"", log_quote(path));
	return ERR_OK;
}

// The medium first: what is left of a crash is found by its note again.
static enum err files_remove(const struct medium_shelf *s, uint64_t order)
{
	static const char *const endings[] = {ORDER, (".iso" MEDIUM_NOTE), MEDIUM_NOTE, ".ended"};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		TRY(medium_remove(s, order, kinds[i]));
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		TRY(shelf_path(s->p, order, endings[i], path));
		TRY(gone(path));
	}
	return ERR_OK;
}

static void remove_at(struct medium_shelf *s, size_t at, const char *why)
{
	struct shelved one = s->list[at];

	if (files_remove(s, one.order) != ERR_OK) {
		log_warn("MEDIUM-STAYS", "order=%" PRIu64 " why=%s", one.order,
			log_quote(err_text()));
		s->list[at].ended_ms = clock_now().wall.ms; // again, later
		return;
	}
	log_info("MEDIUM-GONE", "order=%" PRIu64 " bytes=%" PRIu64 " because=%s", one.order,
		one.bytes, log_quote(why));
	s->bytes -= one.bytes;
	// What was told stays before what was not: the gap is filled by the last that was told, and
	// its place by the last of all.
	if (at < s->told) {
		s->list[at] = s->list[--s->told];
		at = s->told;
	}
	s->list[at] = s->list[--s->count];
}

// Of those that are over the one that is so for longest; count: none.
static size_t oldest_ended(const struct medium_shelf *s)
{
	size_t at = s->count;

	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].ended_ms &&
			(at == s->count || s->list[i].ended_ms < s->list[at].ended_ms))
			at = i;
	return at;
}

enum err shelf_room(struct medium_shelf *s, uint64_t bytes)
{
	uint64_t most = s->p->settings->medium_bytes_max;

	for (size_t n = s->count; n && (s->bytes + bytes > most || s->count == SHELF_MAX); n--) {
		size_t at = oldest_ended(s);
		if (at == s->count)
			break;
		remove_at(s, at, "room is wanted");
	}
	if (s->bytes + bytes <= most && s->count < SHELF_MAX)
		return ERR_OK;
	return err_set(ERR_FULL,
		"%zu media take %" PRIu64 " bytes and this one about %" PRIu64 ", at most %" PRIu64
		" may be kept: post or cancel some, or raise [publisher] medium_bytes_max",
		s->count, s->bytes, bytes, most);
}

void shelf_add(struct medium_shelf *s, uint64_t order, uint64_t bytes)
{
	const struct shelved one = {.order = order, .bytes = bytes};

	if (!find(s, order))
		(void)add(s, &one);
}

void shelf_ended(struct medium_shelf *s, uint64_t order)
{
	struct shelved *one = find(s, order);

	if (!one || one->ended_ms)
		return;
	if (shelf_file_put(s->p, order, ".ended", "", 0) != ERR_OK)
		log_warn(
			"MEDIUM-UNNOTED", "order=%" PRIu64 " why=%s", order, log_quote(err_text()));
	one->ended_ms = clock_now().wall.ms;
	log_info("MEDIUM-ENDED", "order=%" PRIu64 " bytes=%" PRIu64, order, one->bytes);
}

// ---- telling

static void tell(struct medium_shelf *s, uint64_t order)
{
	SCOPED_BUF struct buf envelope;
	char path[PATH_MAX];

	buf_init(&envelope, LIMIT_MEDIUM_ENVELOPE);
	if (shelf_path(s->p, order, ORDER, path) == ERR_OK && file_read(path, &envelope) == ERR_OK)
		recorder_say(s->p, buf_bytes(&envelope));
}

void shelf_session(struct medium_shelf *s)
{
	s->told = 0;
}

void shelf_tick(struct medium_shelf *s, struct now now)
{
	size_t at = oldest_ended(s);
	int64_t keep_ms = (int64_t)s->p->settings->medium_keep_s * 1000;
	struct control_status c;

	if (at < s->count && now.wall.ms - s->list[at].ended_ms >= keep_ms)
		remove_at(s, at, "nobody needs it any more");
	control_get_status(s->p->control, &c);
	if (!c.in_session)
		return;
	if (mono_since_ms(now.mono, s->tell_at) >= 0) {
		s->tell_at = mono_add_ms(now.mono, TELL_PERIOD_MS);
		s->told = 0;
	}
	for (size_t n = 0; n < TOLD_PER_TICK && s->told < s->count; n++, s->told++)
		if (!s->list[s->told].ended_ms)
			tell(s, s->list[s->told].order);
}
