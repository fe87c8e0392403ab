// Watching, reading, refusing and keeping the playlist.
#include "client/display/display_parts.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

// Written, replaced or taken away.
#define WATCHED (IN_MOVED_TO | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

static enum err path_of(const struct display *d, const char *name, char out[600])
{
	return path_join(out, 600, d->settings->folder, name);
}

enum err playlist_watch(struct display *d)
{
	d->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (d->inotify < 0)
		return err_set_errno("cannot watch the folder");
	d->watch = inotify_add_watch(d->inotify, d->settings->folder, WATCHED);
	if (d->watch < 0)
		return err_set_errno("cannot watch %s", d->settings->folder);
	return ERR_OK;
}

// Our own files move in the folder too; only the playlist counts.
static void events_take(struct display *d)
{
	_Alignas(struct inotify_event) char room[4096];
	ssize_t n;

	while ((n = read(d->inotify, room, sizeof(room))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(room + at);

			bool lost = e->mask & (IN_Q_OVERFLOW | IN_IGNORED);

			if (e->len > 0 && strcmp(e->name, "screenshot.ask") == 0 &&
				(e->mask & IN_MOVED_TO))
				d->ask_news = true;
			if (lost || (e->len > 0 && strcmp(e->name, "playlist.next") == 0))
				d->later_news = true;
			if (lost || (e->len > 0 && strcmp(e->name, "clock") == 0))
				d->clock.news = true;
			if ((e->len > 0 && strcmp(e->name, "playlist") == 0) ||
				(e->mask & (IN_Q_OVERFLOW | IN_IGNORED)))
				d->list_news = true;
			if (e->mask & IN_IGNORED)
				d->watch = -1;
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
}

// The folder was replaced, or the notice was lost: look by hand now and then.
static void look_by_hand(struct display *d, struct now now)
{
	struct stat st = {0};
	char path[600];

	if (mono_since_ms(now.mono, d->looked) < STATUS_PERIOD_MS)
		return;
	d->looked = now.mono;
	if (d->watch < 0)
		d->watch = inotify_add_watch(d->inotify, d->settings->folder, WATCHED);
	if (path_of(d, "playlist", path) != ERR_OK)
		return;
	if (stat(path, &st) < 0)
		st = (struct stat){0};
	int64_t stamp[3] = {(int64_t)st.st_ino, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};

	if (memcmp(stamp, d->list_stamp, sizeof(stamp)) != 0)
		d->list_news = d->later_news = true;
	memcpy(d->list_stamp, stamp, sizeof(stamp));
}

static void command_log(const struct playlist *list, enum show_command_result result)
{
	const struct playlist_command *c = &list->command;

	if (result == COMMAND_NONE)
		return;
	if (result == COMMAND_DONE)
		log_info("COMMAND", "n=%" PRIu64 " arg=%s", c->n, log_quote(c->arg));
	else
		log_warn("COMMAND-REFUSED", "n=%" PRIu64 " arg=%s why=%s", c->n, log_quote(c->arg),
			result == COMMAND_NOT_FOUND ? "\"no such picture\"" : "\"unknown word\"");
}

static enum err list_take(struct display *d, struct playlist *list, struct now now)
{
	enum show_command_result result;
	bool is_new = !d->list || !digest_equal(&d->list->sum, &list->sum);

	if (!is_new) {
		playlist_free(list);
		return ERR_OK;
	}
	zone_choose(d, list->time_zone, now);
	struct show_offer offer = {
		.list = list,
		.zone = &d->zone,
		.place = place_read(d, &list->package),
		.switch_ms = list->activate_unix_ms > now.wall.ms ? list->activate_unix_ms : 0,
	};
	TRY(show_playlist(&d->show, &offer, display_time(d, now), &result));
	playlist_free(d->list);
	d->list = list;
	log_info("PLAYLIST", "package=%s name=%s version=%s images=%zu",
		digest_short(&list->package), log_quote(list->name), log_quote(list->version),
		list->count);
	command_log(list, result);
	if (result == COMMAND_NOT_FOUND || result == COMMAND_UNKNOWN)
		fault_add(d, now, "COMMAND-FAULT", "command",
			result == COMMAND_NOT_FOUND ? "no such picture" : "unknown word");
	return ERR_OK;
}

static enum err list_read(struct display *d, const char *name, struct now now)
{
	char path[600];
	struct playlist *list;

	TRY(path_of(d, name, path));
	TRY(file_read(path, &d->list_text));
	TRY(playlist_parse(buf_bytes(&d->list_text), &list));
	enum err e = list_take(d, list, now);
	if (e != ERR_OK)
		playlist_free(list);
	return e;
}

// The agent takes the playlist away when there is nothing to be shown any more.
static void list_gone(struct display *d)
{
	char path[600];

	if (path_of(d, "playlist.kept", path) == ERR_OK)
		unlink(path);
	if (!d->list)
		return;
	log_info("PLAYLIST-GONE", "package=%s", digest_short(&d->list->package));
	show_nothing(&d->show);
	playlist_free(d->list);
	d->list = NULL;
}

// A bad playlist is refused by name, and the old one stays.
static enum err list_look(struct display *d, struct now now)
{
	enum err e = list_read(d, "playlist", now);

	if (e == ERR_OK)
		return e;
	buf_fini(&d->list_text);
	if (e == ERR_NOT_FOUND)
		list_gone(d);
	else
		fault_add(d, now, "PLAYLIST-REFUSED", "playlist", err_text());
	return e;
}

// ---- a list for a moment to come

static enum err later_read(struct display *d)
{
	char path[600];

	TRY(path_of(d, "playlist.next", path));
	TRY(file_read(path, &d->later_text));
	return playlist_parse(buf_bytes(&d->later_text), &d->later);
}

// What was for later is gone or another: what counts is looked up anew.
static void later_look(struct display *d, struct now now)
{
	d->later_news = false;
	playlist_free(d->later);
	d->later = NULL;
	d->list_news = d->list_news || d->later_counts;
	d->later_counts = false;
	enum err e = later_read(d);
	if (e != ERR_OK) {
		buf_fini(&d->later_text);
		if (e != ERR_NOT_FOUND)
			fault_add(d, now, "PLAYLIST-REFUSED", "playlist.next", err_text());
		return;
	}
	log_info("PLAYLIST-LATER", "package=%s unix_ms=%" PRId64, digest_short(&d->later->package),
		d->later->activate_unix_ms);
}

// Its moment is near: from now on it is the list, whatever `playlist` says, until the agent takes
// it away.
static void later_take(struct display *d, struct now now)
{
	if (!d->later || now.wall.ms < d->later->activate_unix_ms - SWITCH_AHEAD_MS)
		return;
	struct playlist *list = d->later;

	d->later = NULL;
	d->later_counts = true;
	if (list_take(d, list, now) != ERR_OK) {
		fault_add(d, now, "PLAYLIST-REFUSED", "playlist.next", err_text());
		playlist_free(list);
		return;
	}
	buf_fini(&d->list_text);
	d->list_text = d->later_text;
	buf_init(&d->later_text, PLAYLIST_BYTES_MAX);
}

int64_t playlist_wake_ms(const struct display *d, struct now now)
{
	if (!d->later)
		return INT64_MAX;
	return d->later->activate_unix_ms - SWITCH_AHEAD_MS - now.wall.ms;
}

void playlist_look(struct display *d, struct now now)
{
	events_take(d);
	look_by_hand(d, now);
	if (d->later_news)
		later_look(d, now);
	later_take(d, now);
	if (!d->list_news || d->later_counts)
		return;
	d->list_news = false;
	enum err e = list_look(d, now);
	if (e != ERR_OK)
		log_debug("PLAYLIST-LOOK", "error=%s", err_word(e));
}

void playlist_begin(struct display *d, struct now now)
{
	buf_init(&d->list_text, PLAYLIST_BYTES_MAX);
	buf_init(&d->later_text, PLAYLIST_BYTES_MAX);
	later_look(d, now);
	later_take(d, now);
	if (d->later_counts)
		return;
	enum err e = list_look(d, now);
	if (e == ERR_OK || e == ERR_NOT_FOUND)
		return;
	if (list_read(d, "playlist.kept", now) == ERR_OK)
		log_warn(
			"PLAYLIST-KEPT", "why=\"the playlist is bad; the last good one is shown\"");
	buf_fini(&d->list_text);
}

void playlist_keep(struct display *d)
{
	char path[600];

	if (d->list_text.size == 0)
		return;
	enum err e = path_of(d, "playlist.kept", path);
	if (e == ERR_OK)
		e = file_write_atomic(path, d->list_text.data, d->list_text.size, 0644);
	if (e != ERR_OK)
		log_warn("PLAYLIST-NOT-KEPT", "why=%s", log_quote(err_text()));
	buf_fini(&d->list_text);
}
