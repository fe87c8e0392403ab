// image add: files and folders into the publisher's store.
//
// Several pictures are under way at a time, and the publisher is asked first whether it knows the
// file by its digest: an import that was cut in the middle, or a folder that grew, costs only what
// is new. A picture that is refused does not stop the others; a publisher that is gone does.
#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/criteria.h"
#include "server/ctl/image_args.h"
#include "server/ctl/publisher.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 1000000
#define DEPTH_MAX 32
#define WINDOW 4     // pictures under way
#define LINES_MAX 50 // so many pictures are listed one by one; of more only the sums
#define HASH_BYTES (256 * 1024)
#define PICTURE_FILE_MAX (64 << 20) // the publisher takes no more

// ---- which files

struct files {
	char **paths;
	size_t count, cap;
	size_t folders_refused;
	size_t passed; // files of folders whose names are not those of pictures
	char passed_first[256];
};

static void files_free(struct files *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->paths[i]);
	free(f->paths);
}

static enum err files_add(struct files *f, const char *path)
{
	if (f->count >= FILES_MAX)
		return err_set(ERR_FULL, "more than %d files", FILES_MAX);
	if (f->count == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 64;
		char **paths = realloc(f->paths, cap * sizeof(*paths));
		if (!paths)
			return err_set(ERR_MEMORY, "no memory for a list of files");
		f->paths = paths;
		f->cap = cap;
	}
	f->paths[f->count] = strdup(path);
	if (!f->paths[f->count])
		return err_set(ERR_MEMORY, "no memory for a list of files");
	f->count++;
	return ERR_OK;
}

static bool looks_like_picture(const char *name)
{
	static const char *const ends[] = {".jpg", ".jpeg", ".png", ".webp"};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && name[0] != '.' && i < CTL_COUNT(ends); i++) {
		if (strcasecmp(dot, ends[i]) == 0)
			return true;
	}
	return false;
}

static int name_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

// Folders that wait to be looked into; a stack of paths, so that nothing recurses on input.
struct folders {
	char *paths[4096];
	unsigned depths[4096];
	size_t count;
};

static void folder_push(struct folders *w, const char *path, unsigned depth)
{
	char *copy = w->count < CTL_COUNT(w->paths) && depth <= DEPTH_MAX ? strdup(path) : NULL;

	if (!copy)
		return;
	w->paths[w->count] = copy;
	w->depths[w->count++] = depth;
}

// Links are not followed: a folder that contains itself would have no end.
static enum err entry_take(
	struct files *f, struct folders *w, const char *path, const char *name, unsigned depth)
{
	struct stat st;

	if (name[0] == '.' || lstat(path, &st) < 0)
		return ERR_OK;
	if (S_ISDIR(st.st_mode) && w)
		folder_push(w, path, depth + 1);
	if (S_ISDIR(st.st_mode))
		return ERR_OK;
	if (looks_like_picture(name))
		return files_add(f, path);
	if (f->passed++ == 0)
		(void)str_copy(f->passed_first, sizeof(f->passed_first), name);
	return ERR_OK;
}

// folders NULL: those below it are left out.
static enum err folder_look(struct files *f, struct folders *w, const char *folder, unsigned depth)
{
	DIR *dir = opendir(folder);
	enum err e = ERR_OK;
	char path[PATH_MAX];

	if (!dir)
		return err_set_errno("cannot open %s", folder);
	const struct dirent *d = NULL;
	while (e == ERR_OK && (e = folder_next(dir, folder, &d)) == ERR_OK && d) {
		int n = snprintf(path, sizeof(path), "%s/%s", folder, d->d_name);

		if (n > 0 && (size_t)n < sizeof(path))
			e = entry_take(f, w, path, d->d_name, depth);
	}
	closedir(dir);
	return e;
}

// A folder below that cannot be read is told, and the others are taken.
static enum err folders_look(struct files *f, const char *top)
{
	SCOPED_FREE struct folders *w = calloc(1, sizeof(*w));
	enum err e = w ? ERR_OK : err_set(ERR_MEMORY, "no memory for a list of folders");

	if (e == ERR_OK)
		e = folder_look(f, w, top, 0);
	while (e == ERR_OK && w->count > 0) {
		SCOPED_FREE char *path = w->paths[--w->count];
		if (folder_look(f, w, path, w->depths[w->count]) != ERR_OK) {
			f->folders_refused++;
			fprintf(stderr, "helioctl: %s\n", ctl_safe(err_text()));
		}
	}
	while (w && w->count > 0)
		free(w->paths[--w->count]);
	return e;
}

// The pictures of one folder in the order of their names.
static enum err folder_add(struct files *f, const char *folder, bool recursive)
{
	size_t first = f->count;

	TRY(recursive ? folders_look(f, folder) : folder_look(f, NULL, folder, 0));
	if (f->count == first)
		return err_set(ERR_NOT_FOUND, "%s has no .jpg, .jpeg, .png or .webp%s", folder,
			recursive ? "" : " (folders below it: --recursive)");
	qsort(f->paths + first, f->count - first, sizeof(*f->paths), name_order);
	return ERR_OK;
}

static enum err files_find(struct files *f, const struct args *a)
{
	for (size_t i = 0; i < a->word_count; i++) {
		struct stat st;

		if (stat(a->words[i], &st) < 0)
			return err_set_errno("cannot look at %s", a->words[i]);
		if (S_ISDIR(st.st_mode))
			TRY(folder_add(f, a->words[i], args_has(a, "recursive")));
		else
			TRY(files_add(f, a->words[i]));
	}
	return ERR_OK;
}

// ---- what is said of them

static enum err day_add(const struct args *a, const char *option, cJSON *request, const char *key)
{
	const char *text = args_get(a, option, NULL);
	int64_t ms = 0;

	if (!text)
		return ERR_OK;
	if (strcmp(text, "none") != 0 && !criteria_date(text, &ms))
		return err_set(ERR_FORMAT, "--%s is a day as 2026-12-24, or none", option);
	json_add_i64(request, key, ms);
	return ERR_OK;
}

enum err image_details_add(const struct args *a, cJSON *request)
{
	const char *licence = args_get(a, "licence", args_get(a, "license", NULL));
	uint64_t weight = 0;

	if (args_has(a, "title"))
		cJSON_AddStringToObject(request, "title", args_get(a, "title", ""));
	if (licence)
		cJSON_AddStringToObject(request, "licence", licence);
	if (args_has(a, "weight")) {
		TRY(args_number(a, "weight", 0, LIMIT_WEIGHT, &weight));
		cJSON_AddNumberToObject(request, "weight", (double)weight);
	}
	TRY(day_add(a, "released", request, "released_unix_ms"));
	return day_add(a, "expires", request, "expires_unix_ms");
}

void options_add(const struct args *a, const char *option, cJSON *request, const char *key)
{
	cJSON *list = NULL;

	for (size_t i = 0; i < a->option_count; i++) {
		if (strcmp(a->options[i].name, option) != 0)
			continue;
		list = list ? list : cJSON_AddArrayToObject(request, key);
		cJSON_AddItemToArray(list, cJSON_CreateString(a->options[i].value));
	}
}

// Names of files may hold anything; a title is text of at most 200 bytes.
static void title_clean(const char *name, size_t n, char out[256])
{
	size_t length = 0, at = 0;

	for (size_t i = 0; i < n; i += length) {
		uint32_t c = text_next(name + i, n - i, &length);
		bool good = c != 0xfffd && !text_is_hostile(c) && c != '"';
		if (at + length > 200)
			break;
		if (c == '_' || c == '-' || !good)
			out[at++] = good ? ' ' : '?';
		else {
			memcpy(out + at, name + i, length);
			at += length;
		}
	}
	out[at] = 0;
}

static void title_of(const char *path, char out[256])
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path,
		   *dot = strrchr(name, '.');
	size_t number = strspn(name, "0123456789"), n;

	// "0001-harbour.jpg": the number was for the order of files.
	if (number > 0 && strchr("-_ ", name[number]) && name[number] && name[number + 1] != '.')
		name += number + 1;
	n = dot && dot > name ? (size_t)(dot - name) : strlen(name);

	title_clean(name, n, out);
}

// ---- sending

// One picture under way: first only its digest, then the file.
struct sending {
	uint64_t number; // 0: free
	size_t file;
	int fd;
	bool whole; // the file went along
};

struct adding {
	struct ctl *c;
	const struct args *a;
	struct publisher p;
	struct progress bar;
	struct files files;
	struct sending slots[WINDOW];
	cJSON **results; // one a file, in order
	size_t next, done, added, known, refused;
	struct mono began;
};

// Whatever the file says of its size, no more is read than a picture may have.
static enum err fd_digest(int fd, struct digest *out)
{
	size_t total = 0;

	SCOPED_FREE uint8_t *buffer = malloc(HASH_BYTES);
	struct sha256_stream *s = sha256_new();
	enum err e = buffer ? ERR_OK : err_set(ERR_MEMORY, "no memory to read a file");
	ssize_t n = 1;

	while (e == ERR_OK && n > 0) {
		n = read(fd, buffer, HASH_BYTES);
		total += n > 0 ? (size_t)n : 0;
		if (total > PICTURE_FILE_MAX)
			e = err_set(
				ERR_RANGE, "the file has more than %d MiB", PICTURE_FILE_MAX >> 20);
		else if (n > 0)
			sha256_add(s, buffer, (size_t)n);
		else if (n < 0 && errno != EINTR)
			e = err_set_errno("cannot read it");
		else if (n < 0)
			n = 1;
	}
	*out = sha256_end(s);
	sha256_free(s);
	return e;
}

static enum err request_make(struct adding *sum, const char *path, cJSON *request)
{
	char title[256];

	TRY(image_details_add(sum->a, request));
	if (!args_has(sum->a, "title")) {
		title_of(path, title);
		cJSON_AddStringToObject(request, "title", title);
	}
	options_add(sum->a, "tag", request, "tags");
	return ERR_OK;
}

static void refused_add(struct adding *sum, size_t file, enum err e)
{
	cJSON *bad = cJSON_CreateObject();
	const char *path = sum->files.paths[file];

	sum->refused++;
	sum->done++;
	cJSON_AddStringToObject(bad, "file", path);
	cJSON_AddStringToObject(bad, "error_word", err_word(e));
	cJSON_AddStringToObject(bad, "error", err_text());
	sum->results[file] = bad;
	progress_end(&sum->bar);
	fprintf(stderr, "helioctl: %s: %s\n", ctl_safe(path), ctl_safe(err_text()));
}

static void taken_add(struct adding *sum, size_t file, cJSON *one)
{
	bool known = json_bool(one, "duplicate");
	const char *path = sum->files.paths[file];

	*(known ? &sum->known : &sum->added) += 1;
	sum->done++;
	if (sum->files.count <= LINES_MAX) {
		if (sum->c->out.tty)
			progress_end(&sum->bar);
		ctl_say(sum->c, "%s  %5.0f x %-5.0f %s%s", show_digest(one, "image"),
			json_number(one, "width"), json_number(one, "height"), ctl_safe(path),
			known ? "  (known already)" : "");
	}
	cJSON_AddStringToObject(one, "file", path);
	sum->results[file] = one;
}

static enum err slot_ask(struct adding *sum, struct sending *s)
{
	const char *path = sum->files.paths[s->file];
	SCOPED_JSON cJSON *request = cJSON_CreateObject();
	struct digest original;
	struct stat st;

	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return err_set_errno("cannot open it");
	if (!S_ISREG(st.st_mode))
		return err_set(ERR_FORMAT, "it is not a file");
	if (st.st_size > PICTURE_FILE_MAX)
		return err_set(ERR_RANGE, "the file has more than %d MiB", PICTURE_FILE_MAX >> 20);
	TRY(fd_digest(s->fd, &original));
	TRY(request_make(sum, path, request));
	json_add_hex(request, "original", original.b, sizeof(original.b));
	cJSON *sent = request;
	request = NULL;
	s->whole = false;
	return publisher_send(&sum->p, "image-add", sent, -1, &s->number);
}

static enum err slot_send(struct adding *sum, struct sending *s)
{
	SCOPED_JSON cJSON *request = cJSON_CreateObject();

	TRY(request_make(sum, sum->files.paths[s->file], request));
	cJSON *sent = request;
	request = NULL;
	s->whole = true;
	return publisher_send(&sum->p, "image-add", sent, s->fd, &s->number);
}

static void slot_free(struct sending *s)
{
	if (s->fd >= 0)
		close(s->fd);
	*s = (struct sending){.fd = -1};
}

static bool is_gone(enum err e)
{
	return e == ERR_CLOSED || e == ERR_TIMEOUT;
}

// Fills free slots with the next files.
static enum err slots_fill(struct adding *sum)
{
	for (size_t i = 0; i < WINDOW && sum->next < sum->files.count; i++) {
		struct sending *s = &sum->slots[i];
		while (s->number == 0 && sum->next < sum->files.count) {
			s->file = sum->next++;
			enum err e = slot_ask(sum, s);
			if (e == ERR_OK)
				break;
			if (!is_gone(e))
				refused_add(sum, s->file, e);
			slot_free(s);
			if (is_gone(e))
				return e;
		}
	}
	return ERR_OK;
}

static struct sending *slot_of(struct adding *sum, uint64_t number)
{
	for (size_t i = 0; i < WINDOW; i++) {
		if (sum->slots[i].number == number && number != 0)
			return &sum->slots[i];
	}
	return NULL;
}

static enum err answer_take(struct adding *sum)
{
	enum err refused = ERR_OK;
	uint64_t number = 0;
	cJSON *one = NULL;

	TRY(publisher_receive(&sum->p, &number, &refused, &one));
	struct sending *s = slot_of(sum, number);
	if (!s) {
		cJSON_Delete(one);
		return ERR_OK;
	}
	if (refused == ERR_NOT_FOUND && !s->whole) {
		enum err e = slot_send(sum, s);
		if (e == ERR_OK || is_gone(e))
			return e;
		refused = e;
	}
	if (refused != ERR_OK)
		refused_add(sum, s->file, refused);
	else
		taken_add(sum, s->file, one);
	slot_free(s);
	return ERR_OK;
}

static bool is_under_way(const struct adding *sum)
{
	for (size_t i = 0; i < WINDOW; i++) {
		if (sum->slots[i].number != 0)
			return true;
	}
	return false;
}

static enum err images_add_all(struct adding *sum)
{
	struct files *f = &sum->files;

	TRY(files_find(f, sum->a));
	sum->results = calloc(f->count + 1, sizeof(cJSON *));
	if (!sum->results)
		return err_set(ERR_MEMORY, "no memory for a list of files");
	TRY(publisher_open(sum->c, &sum->p));
	progress_begin(&sum->bar, sum->c, false);
	enum err e = slots_fill(sum);
	while (e == ERR_OK && is_under_way(sum)) {
		if (f->count > 1)
			progress_show(&sum->bar, sum->done, f->count, f->paths[sum->next - 1]);
		e = answer_take(sum);
		if (e == ERR_OK)
			e = slots_fill(sum);
	}
	progress_end(&sum->bar);
	return e;
}

static void adding_end(struct adding *sum, cJSON *list)
{
	for (size_t i = 0; sum->results && i < sum->files.count; i++) {
		if (sum->results[i])
			cJSON_AddItemToArray(list, sum->results[i]);
	}
	for (size_t i = 0; i < WINDOW; i++)
		slot_free(&sum->slots[i]);
	free(sum->results);
	publisher_close(&sum->p);
	files_free(&sum->files);
}

enum exit_code cmd_image_add(struct ctl *c, const struct args *a)
{
	struct adding sum = {.c = c, .a = a, .p = {.fd = -1}, .began = clock_now().mono};
	SCOPED_JSON cJSON *j = cJSON_CreateObject();
	cJSON *list = cJSON_AddArrayToObject(j, "images");

	for (size_t i = 0; i < WINDOW; i++)
		sum.slots[i].fd = -1;
	enum err e = images_add_all(&sum);
	enum exit_code code = e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
	size_t left = sum.files.count - sum.done;
	int64_t took_ms = mono_since_ms(clock_now().mono, sum.began);
	if (sum.files.passed > 0)
		ctl_note(c, "%zu files of other kinds are passed over, as %s", sum.files.passed,
			ctl_safe(sum.files.passed_first));
	adding_end(&sum, list);
	if (e == ERR_OK && c->json)
		json_print(stdout, j, true);
	if (e == ERR_OK || sum.done > 0)
		ctl_say(c, "%zu added, %zu known already, %zu refused in %s%s", sum.added,
			sum.known, sum.refused, age_text(took_ms),
			left > 0 ? "; the rest with the same command again" : "");
	if (code == EXIT_DONE && (sum.refused > 0 || sum.files.folders_refused > 0))
		code = EXIT_FAILED;
	return code;
}
