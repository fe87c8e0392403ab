#include "server/enrol.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/envelope.h"
#include "server/db/rows_content.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum err enrol_open(const struct root *root, const char *own_id, struct bytes envelope,
	struct arena *a, struct enrolment *out)
{
	struct bytes payload;

	TRY(envelope_open(
		PURPOSE_ENROLMENT, envelope, root->enrol_keys, root->enrol_key_count, 1, &payload));
	TRY(enrolment_decode(a, payload, out));
	if (out->role == ROLE_SERVER)
		return err_set(ERR_UNSUPPORTED,
			"%s is a server: the root knows it, nobody enrols it", out->id);
	if (strcmp(out->id, own_id) == 0)
		return err_set(ERR_DENIED, "%s is this server's own id", out->id);
	return ERR_OK;
}

enum err enrol_take(struct core *core, const struct root *root, const char *own_id,
	struct bytes envelope, struct arena *a, struct now now, struct enrolment *out)
{
	struct digest sha = sha256(envelope.data, envelope.size);

	TRY(enrol_open(root, own_id, envelope, a, out));
	TRY(core_enrol(core, out));
	return rows_enrol_put(core_db(core), &sha, out->id, now.wall.ms);
}

static int is_enrolment(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 6 && d->d_name[0] != '.' && strcmp(d->d_name + n - 6, ".enrol") == 0;
}

static enum err scan_file(struct enrol_scan *s, const char *path, struct now now)
{
	SCOPED_BUF struct buf file;
	SCOPED_ARENA struct arena a;
	struct enrolment e;
	struct digest sha;
	bool known = false;

	buf_init(&file, LIMIT_ENVELOPE);
	arena_init(&a, 256 * 1024, 1024);
	TRY(file_read(path, &file));
	sha = sha256(file.data, file.size);
	TRY(rows_enrol_is_known(core_db(s->core), &sha, &known));
	if (known) {
		s->result.known++;
		return ERR_OK;
	}
	enum err e2 = enrol_take(s->core, s->root, s->own_id, buf_bytes(&file), &a, now, &e);
	if (e2 == ERR_UNSUPPORTED) {
		s->result.known++;
		return ERR_OK;
	}
	TRY(e2);
	s->result.added++;
	return ERR_OK;
}

static void scan_one(struct enrol_scan *s, const char *name, struct now now)
{
	char path[4096];
	enum err e = path_join(path, sizeof(path), s->dir, name);

	if (e == ERR_OK)
		e = scan_file(s, path, now);
	if (e == ERR_OK)
		return;
	s->result.bad++;
	log_warn("ENROL-BAD", "file=%s why=%s", log_quote(name), log_quote(err_text()));
}

enum err enrol_scan_begin(struct enrol_scan *s)
{
	enrol_scan_end(s);
	s->result = (struct enrol_result){0};
	s->next = 0;
	s->count = scandir(s->dir, &s->list, is_enrolment, alphasort);
	if (s->count >= 0)
		return ERR_OK;
	s->list = NULL;
	return err_set_errno("the enrolments in %s cannot be read", s->dir);
}

bool enrol_scan_some(struct enrol_scan *s, size_t max, struct now now)
{
	for (size_t i = 0; i < max && s->list && s->next < s->count; i++, s->next++) {
		if (s->next < ENROL_FILES)
			scan_one(s, s->list[s->next]->d_name, now);
		free(s->list[s->next]);
		s->result.files++;
	}
	if (s->list && s->next < s->count)
		return true;
	enrol_scan_end(s);
	return false;
}

bool enrol_scan_is_open(const struct enrol_scan *s)
{
	return s->list != NULL;
}

void enrol_scan_end(struct enrol_scan *s)
{
	for (int i = s->next; s->list && i < s->count; i++)
		free(s->list[i]);
	free(s->list);
	s->list = NULL;
}

bool enrol_dir_is_large(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;
	size_t count = 0;

	while (d && count <= ENROL_AT_START && (entry = readdir(d)))
		count += is_enrolment(entry) != 0;
	if (d)
		closedir(d);
	return count > ENROL_AT_START;
}
