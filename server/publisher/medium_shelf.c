// See medium_shelf.h.
#include "medium_shelf.h"

#include "proto/base/file.h"
#include "recorder.h"
#include <dirent.h>
#include <errno.h>
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
};

static enum err path_make(
	const struct medium_shelf *s, uint64_t order, const char *ending, char out[PATH_MAX])
{
	char base[PATH_MAX];

	TRY(recorder_order_path(s->p, order, base));
	int n = snprintf(
		out, PATH_MAX, "%.*s%s", (int)(strlen(base) - strlen(".order")), base, ending);
	return n > 0 && n < PATH_MAX ? ERR_OK : err_set(ERR_RANGE, "medium_dir is too long");
}

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

	if (path_make(s, order, ".ended", path) != ERR_OK || stat(path, &st) != 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000 + 1;
}

static void note_take(struct medium_shelf *s, const char *name)
{
	char path[PATH_MAX], hex[65] = "", *end = NULL;
	SCOPED_BUF struct buf text;
	struct shelved one = {.order = strtoull(name, &end, 10)};

	buf_init(&text, 128);
	if (s->count == SHELF_MAX || !one.order ||
		(strcmp(end, ".recorded") != 0 && strcmp(end, ".iso.recorded") != 0) ||
		find(s, one.order))
		return;
	if (path_make(s, one.order, end, path) != ERR_OK || file_read(path, &text) != ERR_OK ||
		buf_append(&text, "", 1) != ERR_OK ||
		sscanf((const char *)text.data, "%64s %" SCNu64, hex, &one.bytes) != 2)
		return;
	one.ended_ms = ended_read(s, one.order);
	(void)add(s, &one);
}

static bool is_there(const struct medium_shelf *s, uint64_t order, const char *ending)
{
	char path[PATH_MAX];
	struct stat st;

	return path_make(s, order, ending, path) != ERR_OK || lstat(path, &st) == 0 ||
	       errno != ENOENT; // in doubt it is
}

// An order is kept for a medium that somebody makes by hand, as long as a medium would be.
static bool order_is_old(const struct medium_shelf *s, uint64_t order)
{
	char path[PATH_MAX];
	struct stat st;

	return path_make(s, order, ".order", path) == ERR_OK && lstat(path, &st) == 0 &&
	       (clock_now().wall.ms / 1000 - st.st_mtim.tv_sec) > s->p->settings->medium_keep_s;
}

static bool is_rest(const struct medium_shelf *s, uint64_t order, const char *ending)
{
	static const char *const always[] = {".part", ".iso.part", ".order.tmp", ".recorded.tmp",
		".iso.recorded.tmp", ".ended.tmp"};

	if (!is_there(s, order, ".order"))
		return false; // none of ours
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (strcmp(ending, always[i]) == 0)
			return true;
	if (strcmp(ending, ".order") == 0)
		return !is_there(s, order, ".recorded") && !is_there(s, order, ".iso.recorded") &&
		       !is_there(s, order, "") && !is_there(s, order, ".iso") &&
		       order_is_old(s, order);
	return (ending[0] == '\0' && !is_there(s, order, ".recorded")) ||
	       (strcmp(ending, ".iso") == 0 && !is_there(s, order, ".iso.recorded"));
}

static void rest_drop(struct medium_shelf *s, const char *name)
{
	char path[PATH_MAX], exact[NAME_MAX + 1], *end = NULL;
	uint64_t order = strtoull(name, &end, 10);

	(void)snprintf(exact, sizeof(exact), "%" PRIu64 "%s", order, end);
	if (!order || strcmp(exact, name) != 0 || !is_rest(s, order, end))
		return;
	if (path_make(s, order, end, path) == ERR_OK && tree_remove(path) == ERR_OK)
		log_info("MEDIUM-REST-GONE", "path=%s", log_quote(path));
	else
		log_warn("MEDIUM-REST-STAYS", "name=%s why=%s", log_quote(name),
			log_quote(err_text()));
}

static void folder_look(
	struct medium_shelf *s, const char *dir, void (*each)(struct medium_shelf *, const char *))
{
	DIR *d = opendir(dir);

	for (const struct dirent *e; d && (e = readdir(d));)
		each(s, e->d_name);
	if (d)
		closedir(d);
}

enum err shelf_open(struct publisher *p, struct medium_shelf **out)
{
	struct medium_shelf *s = calloc(1, sizeof(*s));
	char dir[PATH_MAX];

	if (!s)
		return err_set(ERR_MEMORY, "no memory for the media");
	s->p = p;
	*out = s;
	TRY(recorder_order_path(p, 1, dir));
	*strrchr(dir, '/') = '\0';
	// Where libarchive collects the content of an image before it writes that: a temporary
	// folder may be small, or memory.
	if (dir_make(dir) != ERR_OK || setenv("TMPDIR", dir, 1) != 0)
		(void)setenv("TMPDIR", p->settings->state_dir, 1);
	folder_look(s, dir, rest_drop);
	folder_look(s, dir, note_take);
	s->told = s->count;
	return ERR_OK;
}

void shelf_free(struct medium_shelf *s)
{
	if (s)
		free(s->list);
	free(s);
}

// ---- going

static enum err gone(const char *path)
{
	return unlink(path) == 0 || errno == ENOENT ? ERR_OK : err_set_errno("%s", path);
}

// The medium first: what is left of a crash is found by its note again.
static enum err files_remove(const struct medium_shelf *s, uint64_t order)
{
	static const char *const endings[] = {".order", ".iso.recorded", ".recorded", ".ended"};
	char path[PATH_MAX];

	TRY(path_make(s, order, "", path));
	TRY(tree_remove(path));
	TRY(path_make(s, order, ".iso", path));
	TRY(gone(path));
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		TRY(path_make(s, order, endings[i], path));
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
	char path[PATH_MAX];

	if (!one || one->ended_ms)
		return;
	if (path_make(s, order, ".ended", path) != ERR_OK ||
		file_write_atomic(path, "", 0, 0644) != ERR_OK)
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
	if (recorder_order_path(s->p, order, path) == ERR_OK &&
		file_read(path, &envelope) == ERR_OK)
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
