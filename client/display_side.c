// Playlist, status and command towards the display; see display_side.h. The ledger is in usage.c.
#include "client/display_side.h"

#include "client/escape.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/end_line.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_BYTES (32 * 1024)
#define DEFAULT_DURATION_MS 10000
#define DEFAULT_TRANSITION_MS 800

// ---- walking a package's files

struct file_walk {
	const struct depot *store;
	struct digest id;
	enum err (*each)(void *ctx, const struct file_entry *f);
	void *ctx;
};

static enum err page_walk(const struct file_walk *w, uint32_t number)
{
	char path[DEPOT_PATH], rest[32];
	struct manifest_page page;
	SCOPED_ARENA struct arena a;
	arena_init(&a, 2 * 1024 * 1024, 20000);
	(void)snprintf(rest, sizeof rest, "pages/%03u", number);
	depot_package_path(w->store, &w->id, rest, path);
	TRY(page_file_read(path, &a, &page));
	for (size_t i = 0; i < page.file_count; i++) {
		if (!page.files[i].continued)
			TRY(w->each(w->ctx, &page.files[i]));
	}
	return ERR_OK;
}

// ---- playlist

struct playlist {
	int fd;
	struct buf text;
	struct sha256_stream *hash;
	size_t group_count;
	bool is_later;
};

static enum err playlist_flush(struct playlist *p)
{
	sha256_add(p->hash, p->text.data, p->text.size);
	TRY(fd_write_all(p->fd, p->text.data, p->text.size));
	buf_clear(&p->text);
	return ERR_OK;
}

static enum err playlist_image(void *ctx, const struct file_entry *f)
{
	struct playlist *p = ctx;
	const struct picture_info *i = f->picture;
	TRY(buf_append(&p->text, "image\t", 6));
	TRY(escape_append(&p->text, f->path));
	const struct picture_info none = {.fit = "", .title = ""};
	if (i == NULL)
		i = &none;
	if (i->group > p->group_count)
		return err_set(ERR_CORRUPT, "a picture names a group that its package lacks");
	TRY(buf_printf(&p->text, "\t%u\t", i->duration_ms));
	TRY(escape_append(&p->text, i->fit));
	TRY(buf_append(&p->text, "\t", 1));
	TRY(escape_append(&p->text, i->title));
	TRY(buf_printf(&p->text, "\t%u\t%u\t%lld\t%lld\n", i->group, i->weight,
		(long long)i->from_unix_ms, (long long)i->until_unix_ms));
	return p->text.size > FLUSH_BYTES ? playlist_flush(p) : ERR_OK;
}

// 31:480-1080,96:1320-120
static enum err hours_append(struct buf *out, const struct show_group *g)
{
	for (size_t i = 0; i < g->daypart_count; i++)
		TRY(buf_printf(out, "%s%u:%u-%u", i > 0 ? "," : "", g->dayparts[i].weekdays,
			g->dayparts[i].from_minute, g->dayparts[i].until_minute));
	return ERR_OK;
}

// When the pictures are shown, and in which order.
static enum err playlist_plan(
	struct playlist *p, const struct manifest *m, int64_t activate_unix_ms)
{
	const struct show_defaults none = {.order = "", .time_zone = ""};
	const struct show_defaults *show = m->show != NULL ? m->show : &none;
	TRY(buf_printf(&p->text, "order\t%s\t%llu\t", show->order[0] != '\0' ? show->order : "list",
		(unsigned long long)show->seed));
	TRY(escape_append(&p->text, show->time_zone));
	TRY(buf_printf(&p->text, "\nactivate\t%lld\n", (long long)activate_unix_ms));
	for (size_t i = 0; i < m->group_count; i++) {
		const struct show_group *g = &m->groups[i];
		TRY(buf_append(&p->text, "group\t", 6));
		TRY(escape_append(&p->text, g->plan));
		TRY(buf_printf(&p->text, "\t%u\t", g->duration_ms));
		TRY(escape_append(&p->text, g->fit));
		TRY(buf_printf(&p->text, "\t%u\t%lld\t%lld\t", g->weight,
			(long long)g->from_unix_ms, (long long)g->until_unix_ms));
		TRY(hours_append(&p->text, g));
		TRY(buf_append(&p->text, "\n", 1));
	}
	p->group_count = m->group_count;
	return ERR_OK;
}

static enum err playlist_head(struct playlist *p, const struct display_side *d,
	const struct digest *id, const struct manifest *m)
{
	char hex[65], files[DEPOT_PATH];
	const struct show_defaults none = {0};
	const struct show_defaults *show = m->show != NULL ? m->show : &none;
	hex_encode(id->b, sizeof id->b, hex);
	depot_package_path(d->store, id, "files", files);
	char *whole = realpath(files, NULL);
	TRY(buf_printf(&p->text, "helio-playlist\t2\npackage\t%s\t", hex));
	TRY(escape_append(&p->text, m->name));
	TRY(buf_append(&p->text, "\t", 1));
	TRY(escape_append(&p->text, m->version));
	TRY(buf_append(&p->text, "\ndir\t", 5));
	enum err e = escape_append(&p->text, whole != NULL ? whole : files);
	free(whole);
	TRY(e);
	TRY(buf_printf(&p->text, "\ndefaults\t%u\t%u\t%s\t%06x\n",
		show->duration_ms != 0 ? show->duration_ms : DEFAULT_DURATION_MS,
		m->show != NULL ? show->transition_ms : DEFAULT_TRANSITION_MS,
		m->show != NULL && show->fit[0] != '\0' ? show->fit : "fit",
		show->background_rgb & 0xffffff));
	if (d->command[0] != '\0' && !p->is_later)
		TRY(buf_printf(&p->text, "%s\n", d->command));
	return ERR_OK;
}

static enum err playlist_fill(struct playlist *p, const struct display_side *d,
	const struct digest *id, const struct manifest *m, int64_t activate_unix_ms)
{
	struct file_walk walk = {.store = d->store, .id = *id, .each = playlist_image, .ctx = p};
	TRY(playlist_head(p, d, id, m));
	TRY(playlist_plan(p, m, activate_unix_ms));
	for (uint32_t i = 0; i < m->page_count; i++)
		TRY(page_walk(&walk, i));
	TRY(playlist_flush(p));
	struct digest sum = sha256_end(p->hash);
	char line[END_LINE_SIZE + 1];
	end_line_make(&sum, line);
	TRY(fd_write_all(p->fd, line, END_LINE_SIZE));
	if (fsync(p->fd) != 0)
		return err_set_errno("cannot sync the playlist");
	return ERR_OK;
}

// Durable under `name`: the pictures of a package that is held, to be shown from a moment on (0: at
// once).
static enum err playlist_write(
	struct display_side *d, const struct digest *id, const char *name, int64_t activate_unix_ms)
{
	char path[300], temporary[310];
	struct manifest m;
	struct playlist p = {0};
	SCOPED_ARENA struct arena a;
	arena_init(&a, 512 * 1024, 4096);
	TRY(path_join(path, sizeof path, d->dir, name));
	(void)snprintf(temporary, sizeof temporary, "%s.tmp", path);
	TRY(depot_manifest(d->store, id, &a, &m));
	SCOPED_FD int fd =
		open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_set_errno("cannot write the playlist");
	p.fd = fd;
	p.is_later = activate_unix_ms != 0;
	p.hash = sha256_new();
	buf_init(&p.text, 2 * FLUSH_BYTES);
	enum err e = playlist_fill(&p, d, id, &m, activate_unix_ms);
	buf_fini(&p.text);
	sha256_free(p.hash);
	TRY(e);
	if (rename(temporary, path) != 0)
		return err_set_errno("cannot name the playlist");
	return dir_sync(d->dir);
}

enum err display_write(struct display_side *d, const char *name)
{
	char path[300];
	struct digest id;
	TRY(path_join(path, sizeof path, d->dir, "playlist"));
	if (name[0] == '\0' ||
		depot_slot(d->store, PACKAGE_IMAGES, name, SLOT_CURRENT, &id) != ERR_OK) {
		if (unlink(path) != 0 && errno != ENOENT)
			return err_set_errno("cannot remove the playlist");
		return ERR_OK;
	}
	TRY(playlist_write(d, &id, "playlist", 0));
	log_info("DISPLAY-PLAYLIST", "package=%s name=%s", digest_short(&id), log_quote(name));
	return ERR_OK;
}

// ---- what waits for its moment, and the time

enum err display_later_write(struct display_side *d, const struct digest *id, int64_t at_unix_ms)
{
	return playlist_write(d, id, "playlist.next", at_unix_ms);
}

static void later_line(char *line, struct display_later *out)
{
	char *f[4];
	uint64_t at;
	size_t count = record_fields(line, f, 4);
	if (count == 4 && strcmp(f[0], "package") == 0 &&
		hex_decode(f[1], out->package.b, sizeof out->package.b) == ERR_OK &&
		escape_decode(f[2])) {
		if (!str_copy(out->name, sizeof out->name, f[2]))
			out->name[0] = '\0';
	} else if (count == 2 && strcmp(f[0], "activate") == 0 && record_u64(f[1], &at) == ERR_OK &&
		   at <= INT64_MAX) {
		out->at_unix_ms = (int64_t)at;
	}
}

enum err display_later_read(const struct display_side *d, struct display_later *out)
{
	char path[300], line[1024];
	*out = (struct display_later){.at_unix_ms = 0};
	TRY(path_join(path, sizeof path, d->dir, "playlist.next"));
	FILE *in = fopen(path, "re");
	if (in == NULL)
		return err_set_errno("nothing waits");
	for (int i = 0; i < 8 && fgets(line, sizeof line, in) != NULL; i++) {
		line[strcspn(line, "\n")] = '\0';
		later_line(line, out);
	}
	fclose(in);
	if (out->name[0] != '\0' && out->at_unix_ms != 0)
		return ERR_OK;
	*out = (struct display_later){.at_unix_ms = 0};
	return err_set(ERR_CORRUPT, "what waits cannot be read");
}

enum err display_later_drop(const struct display_side *d)
{
	char path[300];
	TRY(path_join(path, sizeof path, d->dir, "playlist.next"));
	if (unlink(path) != 0)
		return errno == ENOENT ? ERR_OK : err_set_errno("cannot remove playlist.next");
	return dir_sync(d->dir);
}

// Renewed often: not synced, only never half.
enum err display_clock_write(const struct display_side *d, int64_t offset_ms, int64_t floor_ms)
{
	char path[300], temporary[310], boot[40] = "";
	size_t n = 0;
	TRY(path_join(path, sizeof path, d->dir, "clock"));
	(void)snprintf(temporary, sizeof temporary, "%s.tmp", path);
	FILE *in = fopen("/proc/sys/kernel/random/boot_id", "re");
	for (int c; in != NULL && n < 32 && (c = fgetc(in)) != EOF;)
		if (c != '-')
			boot[n++] = (char)c;
	if (in != NULL)
		fclose(in);
	FILE *out = fopen(temporary, "we");
	if (out == NULL)
		return err_set_errno("cannot write the clock");
	fprintf(out, "server\t%s\t%lld\nfloor\t%lld\n", boot, (long long)offset_ms,
		(long long)floor_ms);
	if (fclose(out) != 0 || rename(temporary, path) != 0)
		return err_set_errno("cannot write the clock");
	return ERR_OK;
}

// ---- commands

enum err display_command(struct display_side *d, uint64_t number, const char *verb, const char *arg)
{
	SCOPED_BUF struct buf line;
	buf_init(&line, sizeof d->command - 1);
	TRY(buf_printf(&line, "command\t%llu\t%s", (unsigned long long)number, verb));
	if (arg[0] != '\0') {
		TRY(buf_append(&line, "\t", 1));
		TRY(escape_append(&line, arg));
	}
	memcpy(d->command, line.data, line.size);
	d->command[line.size] = '\0';
	return ERR_OK;
}

void display_forget_show(struct display_side *d)
{
	char *verb = strchr(d->command, '\t');
	verb = verb != NULL ? strchr(verb + 1, '\t') : NULL;
	if (verb != NULL && strncmp(verb + 1, "show", 4) == 0)
		d->command[0] = '\0';
}

// The last command outlives a restart of the agent: it stands in the playlist.
static void command_read(struct display_side *d)
{
	char path[300], line[1024];
	if (path_join(path, sizeof path, d->dir, "playlist") != ERR_OK)
		return;
	FILE *in = fopen(path, "re");
	for (int i = 0; in != NULL && i < 8 && fgets(line, sizeof line, in) != NULL; i++) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "command\t", 8) == 0 &&
			!str_copy(d->command, sizeof d->command, line))
			d->command[0] = '\0';
	}
	if (in != NULL)
		fclose(in);
}

enum err display_side_init(struct display_side *d, const char *state_dir, const struct depot *store)
{
	*d = (struct display_side){.store = store};
	TRY(path_join(d->dir, sizeof d->dir, state_dir, "display"));
	command_read(d);
	return ERR_OK;
}

// ---- status

static void status_field(struct display_status *out, char **f, size_t count)
{
	uint64_t a = 0, b = 0;
	if (strcmp(f[0], "package") == 0) {
		if (hex_decode(f[1], out->package.b, sizeof out->package.b) != ERR_OK)
			out->package = (struct digest){{0}};
	} else if (strcmp(f[0], "image") == 0) {
		if (!escape_decode(f[1]) || !str_copy(out->image, sizeof out->image, f[1]))
			out->image[0] = '\0';
	} else if (strcmp(f[0], "state") == 0) {
		if (!str_copy(out->state, sizeof out->state, f[1]))
			out->state[0] = '\0';
	} else if (strcmp(f[0], "screen") == 0 && count == 3) {
		if (record_u64(f[1], &a) == ERR_OK && record_u64(f[2], &b) == ERR_OK &&
			a <= 65536 && b <= 65536) {
			out->width_px = (uint32_t)a;
			out->height_px = (uint32_t)b;
		}
	} else if (strcmp(f[0], "pid") == 0) {
		if (record_u64(f[1], &a) == ERR_OK && a > 1 && a < INT32_MAX)
			out->pid = (int64_t)a;
	}
}

void display_status_read(const struct display_side *d, struct display_status *out)
{
	char path[300];
	SCOPED_BUF struct buf text;
	buf_init(&text, 64 * 1024 + 1);
	*out = (struct display_status){0};
	if (path_join(path, sizeof path, d->dir, "status") != ERR_OK ||
		file_read(path, &text) != ERR_OK || buf_append(&text, "", 1) != ERR_OK)
		return;
	char *cursor = (char *)text.data;
	for (char *line; (line = record_line(&cursor)) != NULL;) {
		char *f[4];
		size_t count = record_fields(line, f, 4);
		if (count >= 2)
			status_field(out, f, count);
	}
	out->known = true;
	out->alive = out->pid > 1 && kill((pid_t)out->pid, 0) == 0;
	if (!out->alive) {
		out->package = (struct digest){{0}};
		out->image[0] = '\0';
	}
}

// ---- what a command may name

struct picture_search {
	const char *wanted;
	char *path;
};

static enum err picture_match(void *ctx, const struct file_entry *f)
{
	struct picture_search *x = ctx;
	const char *slash = strrchr(f->path, '/');
	const char *base = slash != NULL ? slash + 1 : f->path;
	if (x->path[0] == '\0' && (strcmp(f->path, x->wanted) == 0 || strcmp(base, x->wanted) == 0))
		(void)str_copy(x->path, 513, f->path);
	return ERR_OK;
}

bool display_has_picture(
	const struct display_side *d, const char *name, const char *picture, char *path)
{
	struct manifest m;
	struct digest id;
	struct picture_search x = {.wanted = picture, .path = path};
	SCOPED_ARENA struct arena a;
	arena_init(&a, 512 * 1024, 4096);
	path[0] = '\0';
	if (name[0] == '\0' ||
		depot_slot(d->store, PACKAGE_IMAGES, name, SLOT_CURRENT, &id) != ERR_OK ||
		depot_manifest(d->store, &id, &a, &m) != ERR_OK)
		return false;
	struct file_walk walk = {.store = d->store, .id = id, .each = picture_match, .ctx = &x};
	for (uint32_t i = 0; i < m.page_count && path[0] == '\0'; i++) {
		if (page_walk(&walk, i) != ERR_OK)
			return false;
	}
	return path[0] != '\0';
}

enum err display_restart(const struct display_side *d)
{
	struct display_status status;
	char path[64], name[32] = "";
	display_status_read(d, &status);
	(void)snprintf(path, sizeof path, "/proc/%lld/comm", (long long)status.pid);
	FILE *in = status.alive ? fopen(path, "re") : NULL;
	if (in != NULL) {
		if (fgets(name, sizeof name, in) == NULL)
			name[0] = '\0';
		fclose(in);
	}
	// The number may have gone to another program since.
	if (strncmp(name, "helio-display", 13) != 0 || kill((pid_t)status.pid, SIGTERM) != 0)
		return err_set(ERR_NOT_FOUND, "no display is running");
	return ERR_OK;
}

// ---- screenshots (client/display/display_screenshot.c has the other side)

enum err display_screenshot_ask(const struct display_side *d, uint64_t number, uint64_t max_bytes)
{
	char path[300], text[100];
	TRY(path_join(path, sizeof path, d->dir, "screenshot.ask"));
	int n = snprintf(text, sizeof text, "n\t%llu\nmax_bytes\t%llu\n",
		(unsigned long long)number, (unsigned long long)max_bytes);
	return file_write_atomic(path, text, (size_t)n, 0644);
}

enum err display_screenshot_take(const struct display_side *d, uint64_t number, struct buf *out)
{
	char path[300];
	uint64_t n = 0;
	SCOPED_BUF struct buf text;
	buf_init(&text, 1024);
	TRY(path_join(path, sizeof path, d->dir, "screenshot.answer"));
	if (file_read(path, &text) != ERR_OK || buf_append(&text, "", 1) != ERR_OK)
		return err_set(ERR_NOT_NOW, "the display has not answered yet");
	char *cursor = (char *)text.data, *line, *f[4];
	while ((line = record_line(&cursor)) != NULL) {
		size_t count = record_fields(line, f, 4);
		if (count == 2 && strcmp(f[0], "n") == 0 && record_u64(f[1], &n) != ERR_OK)
			n = 0;
		if (n != number)
			return err_set(ERR_NOT_NOW, "the display has not answered yet");
		if (count == 2 && strcmp(f[0], "error") == 0)
			return err_set(ERR_UNSUPPORTED, "the display: %s", f[1]);
		if (count == 3 && strcmp(f[0], "size") == 0) {
			TRY(path_join(path, sizeof path, d->dir, "screenshot.sent.png"));
			return file_read(path, out);
		}
	}
	return err_set(ERR_NOT_NOW, "the display has not answered yet");
}
