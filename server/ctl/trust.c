// root.bin is verified before a field of it is read.
#include "server/ctl/trust.h"

#include "proto/base/file.h"
#include "proto/envelope.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trust {
	struct arena arena;
	struct buf envelope;
	struct root root;
};

static enum err key_path(char out[PATH_MAX], const char *root_file, const char *key_file)
{
	const char *slash = strrchr(root_file, '/');
	int n = key_file ? snprintf(out, PATH_MAX, "%s", key_file)
			 : snprintf(out, PATH_MAX, "%.*sroot.pub",
				   slash ? (int)(slash - root_file + 1) : 0, root_file);

	return n < 0 || n >= PATH_MAX ? err_set(ERR_RANGE, "the path of the root key is too long")
				      : ERR_OK;
}

static enum err trust_read(struct trust *t, const char *root_file, const char *key_file)
{
	struct bytes payload;
	struct key32 key;
	char path[PATH_MAX];

	TRY(key_path(path, root_file, key_file));
	TRY(public_key_read(path, &key));
	TRY(file_read(root_file, &t->envelope));
	TRY(envelope_open(PURPOSE_ROOT, buf_bytes(&t->envelope), &key, 1, 1, &payload));
	return root_decode(&t->arena, payload, &t->root);
}

enum err trust_open_root(const char *root_file, const char *key_file, struct trust **out)
{
	struct trust *t = calloc(1, sizeof(*t));

	if (!t)
		return err_set(ERR_MEMORY, "no memory for the root of trust");
	arena_init(&t->arena, 256 * 1024, 1000);
	buf_init(&t->envelope, LIMIT_ENVELOPE);
	enum err e = trust_read(t, root_file, key_file);
	if (e != ERR_OK) {
		trust_close(t);
		return e;
	}
	*out = t;
	return ERR_OK;
}

void trust_close(struct trust *t)
{
	if (!t)
		return;
	arena_fini(&t->arena);
	buf_fini(&t->envelope);
	free(t);
}

const struct root *trust_root(const struct trust *t)
{
	return &t->root;
}
