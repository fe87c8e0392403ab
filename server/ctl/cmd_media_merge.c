// media merge PATH: what clients wrote back to a stick goes to the server.
//
// PATH is a medium, its helio/return, or one file of it. A file is named after its client; whether
// it is that client's, the server says. What one file holds that is no good does not keep the
// others back.
#include "proto/base/file.h"
#include "proto/medium.h"
#include "proto/topics.h"
#include "server/ctl/show.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".bin"

struct merge {
	struct ctl *c;
	struct api *api;
	struct table *table;
	cJSON *list;
	enum err worst;
	size_t files;
};

struct sums {
	double rows, rows_new, orders, orders_new;
	const char *written; // NULL: nothing was taken
};

static bool client_of(const char *name, char out[LIMIT_ID + 1])
{
	size_t n = strlen(name), suffix = strlen(SUFFIX);

	if (n <= suffix || n - suffix > LIMIT_ID || strcmp(name + n - suffix, SUFFIX) != 0)
		return false;
	memcpy(out, name, n - suffix);
	out[n - suffix] = '\0';
	return id_is_valid(out);
}

// A regular file, and nothing that makes a reader wait.
static enum err return_read(int dir, const char *name, struct buf *out)
{
	struct stat st;
	SCOPED_FD int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) != 0)
		return err_set_errno("%s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(ERR_FORMAT, "%s is no file", name);
	if ((uint64_t)st.st_size > MEDIUM_RETURN_MAX)
		return err_set(ERR_RANGE, "%s has %lld bytes", name, (long long)st.st_size);
	TRY(buf_reserve(out, (size_t)st.st_size + 1));
	TRY(fd_pread_all(fd, out->data, (size_t)st.st_size, 0));
	out->size = (size_t)st.st_size;
	return ERR_OK;
}

// The next part, behind its length.
static enum err part_next(struct bytes *left, struct bytes *part)
{
	const uint8_t *b = left->data;

	if (left->size < 4)
		return err_set(ERR_FORMAT, "the file was cut");
	size_t size = (size_t)b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
	if (size == 0 || size > left->size - 4)
		return err_set(ERR_FORMAT, "the file was cut");
	*part = bytes_of(b + 4, size);
	*left = bytes_of(b + 4 + size, left->size - 4 - size);
	return ERR_OK;
}

static enum err part_send(
	struct merge *m, const char *client, struct bytes part, struct sums *s, char when[32])
{
	const struct arg who = {"client", client};
	struct api_result r = {0};

	TRY(api_call(m->api, "media-merge", &who, 1, part, &r));
	s->rows += json_number(r.document, "rows");
	s->rows_new += json_number(r.document, "rows_new");
	s->orders += json_number(r.document, "orders");
	s->orders_new += json_number(r.document, "orders_new");
	(void)str_copy(when, 32, show_when(r.document, "written_unix_ms"));
	s->written = when;
	api_result_free(&r);
	return ERR_OK;
}

static void file_tell(struct merge *m, const char *client, const struct sums *s, const char *why)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "client", client);
	cJSON_AddBoolToObject(o, "ok", !why);
	cJSON_AddStringToObject(o, "error", why ? why : "");
	cJSON_AddNumberToObject(o, "rows", s->rows);
	cJSON_AddNumberToObject(o, "rows_new", s->rows_new);
	cJSON_AddNumberToObject(o, "orders", s->orders);
	cJSON_AddNumberToObject(o, "orders_new", s->orders_new);
	cJSON_AddItemToArray(m->list, o);
	table_add(m->table, client);
	table_addf(m->table, "%.0f", s->rows_new);
	table_addf(m->table, "%.0f", s->rows);
	table_addf(m->table, "%.0f", s->orders_new);
	table_addf(m->table, "%.0f", s->orders);
	table_add(m->table, s->written ? s->written : "-");
	table_add_style(m->table, why ? why : "merged", why ? STYLE_BAD : STYLE_GOOD);
}

static void file_merge(struct merge *m, int dir, const char *name)
{
	char client[LIMIT_ID + 1], when[32], why[256];
	SCOPED_BUF struct buf file;
	struct sums s = {0};
	struct bytes left, part;

	buf_init(&file, MEDIUM_RETURN_MAX + 1);
	if (!client_of(name, client))
		return;
	enum err e = return_read(dir, name, &file);
	left = buf_bytes(&file);
	while (e == ERR_OK && left.size > 0) {
		e = part_next(&left, &part);
		if (e == ERR_OK)
			e = part_send(m, client, part, &s, when);
	}
	m->files++;
	if (e != ERR_OK)
		m->worst = e;
	if (e != ERR_OK && !str_copy(why, sizeof(why), err_text()))
		(void)str_copy(why, sizeof(why), err_word(e));
	file_tell(m, client, &s, e == ERR_OK ? NULL : why);
}

static enum err folder_merge(struct merge *m, int fd)
{
	struct dirent **names = NULL;
	int n = scandirat(fd, ".", &names, NULL, alphasort);

	if (n < 0)
		return err_set_errno("the folder cannot be read");
	for (int i = 0; i < n; i++) {
		file_merge(m, fd, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return ERR_OK;
}

static enum err path_merge(struct merge *m, const char *path)
{
	char folder[PATH_MAX], inside[PATH_MAX];
	struct stat st;

	if (stat(path, &st) != 0)
		return err_set_errno("%s", path);
	if (!str_copy(folder, sizeof(folder), path))
		return err_set(ERR_RANGE, "the path is too long");
	const char *slash = strrchr(path, '/'), *name = NULL;
	if (!S_ISDIR(st.st_mode)) {
		name = slash ? slash + 1 : path;
		(void)snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) : 1,
			slash ? path : ".");
	} else {
		TRY(path_join(inside, sizeof(inside), path, MEDIUM_RETURN));
		if (lstat(inside, &st) == 0)
			(void)str_copy(folder, sizeof(folder), inside);
	}
	SCOPED_FD int fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno("%s", folder);
	if (name)
		file_merge(m, fd, name);
	else
		TRY(folder_merge(m, fd));
	return m->files ? m->worst : err_set(ERR_NOT_FOUND, "nothing in %s came back", path);
}

enum exit_code cmd_media_merge(struct ctl *c, const struct args *a)
{
	static const struct table_column columns[] = {{"CLIENT", false, true, false},
		{"NEW ROWS", true, true, false}, {"ROWS", true, false, false},
		{"NEW ORDERS", true, true, false}, {"ORDERS", true, false, false},
		{"WRITTEN", false, false, true}, {"RESULT", false, false, true}};
	SCOPED_JSON cJSON *document = cJSON_CreateObject();
	struct merge m = {.c = c};
	char sentence[256] = "";

	m.list = cJSON_AddArrayToObject(document, "merged");
	m.table = table_new(columns, CTL_COUNT(columns));
	enum err e = api_open(c, &m.api);
	if (e == ERR_OK)
		e = path_merge(&m, a->words[0]);
	if (e != ERR_OK)
		(void)str_copy(sentence, sizeof(sentence), err_text());
	api_close(m.api);
	if (m.files && c->json)
		json_print(stdout, document, true);
	else if (m.files)
		table_print(m.table, &c->out);
	table_free(m.table);
	if (e == ERR_OK)
		return EXIT_DONE;
	return m.files ? ctl_exit_code(e) : ctl_fail(c, e);
}
