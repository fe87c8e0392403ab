// image add|list|remove: the publisher's picture store.
#include "server/ctl/publisher.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 100000

struct files {
	char **paths;
	size_t count;
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
	char **paths = realloc(f->paths, (f->count + 1) * sizeof(*paths));
	if (!paths)
		return err_set(ERR_MEMORY, "no memory for a list of files");
	f->paths = paths;
	paths[f->count] = strdup(path);
	if (!paths[f->count])
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

// The pictures of one folder in the order of their names; folders below it are left out.
static enum err folder_add(struct files *f, const char *folder)
{
	DIR *dir = opendir(folder);
	size_t first = f->count;
	enum err e = ERR_OK;
	char path[PATH_MAX];

	if (!dir)
		return err_set_errno("cannot open %s", folder);
	for (struct dirent *d; e == ERR_OK && (d = readdir(dir));) {
		int n = snprintf(path, sizeof(path), "%s/%s", folder, d->d_name);

		if (n > 0 && (size_t)n < sizeof(path) && looks_like_picture(d->d_name))
			e = files_add(f, path);
	}
	closedir(dir);
	if (e == ERR_OK && f->count == first)
		return err_set(ERR_NOT_FOUND, "%s has no .jpg, .jpeg, .png or .webp", folder);
	if (f->count > first)
		qsort(f->paths + first, f->count - first, sizeof(*f->paths), name_order);
	return e;
}

static enum err files_find(struct files *f, const struct args *a)
{
	for (size_t i = 0; i < a->word_count; i++) {
		struct stat st;

		if (stat(a->words[i], &st) < 0)
			return err_set_errno("cannot look at %s", a->words[i]);
		if (S_ISDIR(st.st_mode))
			TRY(folder_add(f, a->words[i]));
		else
			TRY(files_add(f, a->words[i]));
	}
	return ERR_OK;
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

	snprintf(out, 256, "%.*s", (int)(n > 200 ? 200 : n), name);
	for (char *p = out; *p; p++)
		*p = *p == '_' || *p == '-' ? ' ' : *p;
}

static enum err image_send(struct publisher *p, const struct args *a, const char *path, cJSON **out)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char title[256];

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set_errno("cannot open %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(ERR_FORMAT, "%s is not a file", path);
	cJSON *request = cJSON_CreateObject(), *tags = cJSON_AddArrayToObject(request, "tags");
	title_of(path, title);
	cJSON_AddStringToObject(request, "title", args_get(a, "title", title));
	cJSON_AddStringToObject(
		request, "licence", args_get(a, "license", args_get(a, "licence", "")));
	for (size_t i = 0; i < a->option_count; i++) {
		if (strcmp(a->options[i].name, "tag") == 0)
			cJSON_AddItemToArray(tags, cJSON_CreateString(a->options[i].value));
	}
	return publisher_call(p, "image-add", request, fd, NULL, out);
}

struct adding {
	struct ctl *c;
	const struct args *a;
	struct publisher p;
	struct progress bar;
	size_t added, known, refused;
	cJSON *list;
};

static void refused_add(struct adding *sum, const char *path, enum err e)
{
	cJSON *bad = cJSON_CreateObject();

	sum->refused++;
	cJSON_AddStringToObject(bad, "file", path);
	cJSON_AddStringToObject(bad, "error_word", err_word(e));
	cJSON_AddStringToObject(bad, "error", err_text());
	cJSON_AddItemToArray(sum->list, bad);
	progress_end(&sum->bar);
	fprintf(stderr, "helioctl: %s: %s\n", ctl_safe(path), ctl_safe(err_text()));
}

// A picture that is refused does not stop the others; a publisher that is gone does.
static enum err image_add_one(struct adding *sum, const char *path)
{
	cJSON *one = NULL;
	enum err e = image_send(&sum->p, sum->a, path, &one);

	if (e == ERR_CLOSED || e == ERR_TIMEOUT)
		return e;
	if (e != ERR_OK) {
		refused_add(sum, path, e);
		return ERR_OK;
	}
	bool known = json_bool(one, "duplicate");
	*(known ? &sum->known : &sum->added) += 1;
	if (sum->c->out.tty)
		progress_end(&sum->bar);
	ctl_say(sum->c, "%s  %5.0f x %-5.0f %s%s", show_digest(one, "image"),
		json_number(one, "width"), json_number(one, "height"), ctl_safe(path),
		known ? "  (known already)" : "");
	cJSON_AddStringToObject(one, "file", path);
	cJSON_AddItemToArray(sum->list, one);
	return ERR_OK;
}

static enum err images_add_all(struct adding *sum)
{
	struct files files = {NULL, 0};
	enum err e = files_find(&files, sum->a);

	if (e == ERR_OK)
		e = publisher_open(sum->c, &sum->p);
	progress_begin(&sum->bar, sum->c, false);
	for (size_t i = 0; e == ERR_OK && i < files.count; i++) {
		if (files.count > 1)
			progress_show(&sum->bar, i, files.count, files.paths[i]);
		e = image_add_one(sum, files.paths[i]);
	}
	progress_end(&sum->bar);
	publisher_close(&sum->p);
	files_free(&files);
	return e;
}

enum exit_code cmd_image_add(struct ctl *c, const struct args *a)
{
	struct adding sum = {.c = c, .a = a, .p = {.fd = -1}, .list = cJSON_CreateArray()};
	SCOPED_JSON cJSON *j = cJSON_CreateObject();

	cJSON_AddItemToObject(j, "images", sum.list);
	enum err e = images_add_all(&sum);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json)
		json_print(stdout, j, true);
	ctl_say(c, "%zu added, %zu known already, %zu refused", sum.added, sum.known, sum.refused);
	return sum.refused > 0 ? EXIT_FAILED : EXIT_DONE;
}

// ---- list, remove

static void images_show(const struct ctl *c, const cJSON *images)
{
	static const struct table_column columns[] = {{"IMAGE", false, false, false},
		{"SIZE", true, false, false}, {"WIDTH", true, false, false},
		{"HEIGHT", true, false, false}, {"TITLE", false, true, false},
		{"TAGS", false, true, true}, {"LICENCE", false, true, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one, *tag;

	cJSON_ArrayForEach(one, images)
	{
		char tags[256] = "";

		cJSON_ArrayForEach(tag, cJSON_GetObjectItem(one, "tags"))
		{
			if (cJSON_IsString(tag))
				text_join(tags, sizeof(tags), "%s", tag->valuestring);
		}
		table_add_style(t, show_digest(one, "image"), STYLE_BOLD);
		table_add(t, amount_text(json_u64(one, "size_bytes")));
		table_addf(t, "%.0f", json_number(one, "width"));
		table_addf(t, "%.0f", json_number(one, "height"));
		table_add(t, json_text(one, "title"));
		table_add(t, tags);
		table_add(t, json_text(one, "licence"));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_image_list(struct ctl *c, const struct args *a)
{
	cJSON *request = cJSON_CreateObject();
	SCOPED_JSON cJSON *answer = NULL;

	if (args_has(a, "tag"))
		cJSON_AddStringToObject(request, "tag", args_get(a, "tag", ""));
	enum err e = publisher_simple(c, "image-list", request, &answer);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json)
		json_print(stdout, answer, true);
	else
		images_show(c, cJSON_GetObjectItem(answer, "images"));
	return EXIT_DONE;
}

static enum err image_remove(struct ctl *c, const char *text, cJSON **answer)
{
	SCOPED_JSON cJSON *list = NULL;
	char image[65];

	TRY(publisher_simple(c, "image-list", cJSON_CreateObject(), &list));
	TRY(image_choose(cJSON_GetObjectItem(list, "images"), text, image));
	cJSON *request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "image", image);
	return publisher_simple(c, "image-remove", request, answer);
}

enum exit_code cmd_image_remove(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	enum err e = image_remove(c, a->words[0], &answer);

	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json)
		json_print(stdout, answer, true);
	ctl_say(c, "%s removed", json_text(answer, "image"));
	return EXIT_DONE;
}
