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

struct scan {
	struct core *core;
	const struct root *root;
	const char *own_id, *dir;
	struct now now;
	struct enrol_result *out;
};

static enum err scan_file(const struct scan *s, const char *path)
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
		s->out->known++;
		return ERR_OK;
	}
	enum err e2 = enrol_take(s->core, s->root, s->own_id, buf_bytes(&file), &a, s->now, &e);
	if (e2 == ERR_UNSUPPORTED) {
		s->out->known++;
		return ERR_OK;
	}
	TRY(e2);
	s->out->added++;
	return ERR_OK;
}

static void scan_one(const struct scan *s, const char *name)
{
	char path[4096];
	enum err e = path_join(path, sizeof(path), s->dir, name);

	if (e == ERR_OK)
		e = scan_file(s, path);
	if (e == ERR_OK)
		return;
	s->out->bad++;
	log_warn("ENROL-BAD", "file=%s why=%s", log_quote(name), log_quote(err_text()));
}

enum err enrol_scan(struct core *core, const struct root *root, const char *own_id, const char *dir,
	struct now now, struct enrol_result *out)
{
	const struct scan s = {core, root, own_id, dir, now, out};
	struct dirent **list = NULL;
	int n = scandir(dir, &list, is_enrolment, alphasort);

	*out = (struct enrol_result){0};
	if (n < 0)
		return err_set_errno("the enrolments in %s cannot be read", dir);
	for (int i = 0; i < n; i++) {
		if (i < ENROL_FILES)
			scan_one(&s, list[i]->d_name);
		free(list[i]);
		out->files++;
	}
	free(list);
	return ERR_OK;
}
