// Enrolments: signed and written; and that of a client once more, with the box key that it was
// enrolled without. Its identity and its certificate stay as they are.
#include "server/ctl/ca.h"

#include "proto/base/file.h"
#include "proto/codec_envelope.h"
#include "proto/envelope.h"
#include "proto/sign.h"
#include "proto/topics.h"
#include <stdio.h>

static enum err client_read(
	const char *path, const char *id, struct arena *a, struct buf *file, struct enrolment *out)
{
	struct envelope_parts parts;
	enum err e = file_read(path, file);

	if (e == ERR_NOT_FOUND)
		return err_set(ERR_NOT_FOUND, "%s was not enrolled here (%s)", id, path);
	TRY(e);
	TRY(envelope_parts_decode(a, buf_bytes(file), &parts));
	TRY(enrolment_decode(a, parts.payload, out));
	return out->role == ROLE_CLIENT ? ERR_OK : err_set(ERR_DENIED, "%s is no client", id);
}

enum err ca_enrolment_write(const char *dir, const char *path, const struct enrolment *m)
{
	SCOPED_BUF struct buf payload, envelope;
	struct sign_key *key = NULL;
	char key_file[PATH_MAX];

	buf_init(&payload, LIMIT_ENVELOPE);
	buf_init(&envelope, LIMIT_ENVELOPE);
	TRY(path_join(key_file, sizeof(key_file), dir, "keys/enrol.key"));
	TRY(enrolment_encode(m, &payload));
	TRY(sign_key_read(key_file, &key));
	enum err e = envelope_make(PURPOSE_ENROLMENT, buf_bytes(&payload), &key, 1, &envelope);
	sign_key_free(key);
	TRY(e);
	return file_write_atomic(path, envelope.data, envelope.size, 0644);
}

enum err ca_box_key(const char *dir, const char *id, const struct key32 *box)
{
	SCOPED_ARENA struct arena a = {0};
	SCOPED_BUF struct buf file;
	char path[PATH_MAX];
	struct enrolment m;

	if (!id_is_valid(id))
		return err_set(ERR_FORMAT, "%.80s is not an id", id);
	int n = snprintf(path, sizeof(path), "%s/enrolments/%s.enrol", dir, id);
	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(ERR_RANGE, "the name of the folder is too long");
	arena_init(&a, 64 * 1024, 256);
	buf_init(&file, LIMIT_ENVELOPE);
	TRY(client_read(path, id, &a, &file, &m));
	m.box_key = *box;
	return ca_enrolment_write(dir, path, &m);
}
