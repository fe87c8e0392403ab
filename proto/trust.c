// root.bin and root.pub; see trust.h.
#include "proto/trust.h"

#include "proto/base/file.h"
#include "proto/envelope.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

static enum err key_path(char out[PATH_MAX], const char *root_file, const char *key_file)
{
	const char *slash = strrchr(root_file, '/');
	int n = key_file ? snprintf(out, PATH_MAX, "%s", key_file)
			 : snprintf(out, PATH_MAX, "%.*sroot.pub",
				   slash ? (int)(slash - root_file + 1) : 0, root_file);

	return n < 0 || n >= PATH_MAX ? err_set(ERR_RANGE, "the path of the root key is too long")
				      : ERR_OK;
}

static enum err root_read(struct trust *t, const char *root_file, const char *key_file)
{
	SCOPED_BUF struct buf envelope;
	char path[PATH_MAX];
	struct key32 key;
	struct bytes payload;

	buf_init(&envelope, LIMIT_ENVELOPE);
	TRY(key_path(path, root_file, key_file));
	TRY(public_key_read(path, &key));
	TRY(file_read(root_file, &envelope));
	TRY(envelope_open(PURPOSE_ROOT, buf_bytes(&envelope), &key, 1, 1, &payload));
	return root_decode(&t->arena, arena_copy(&t->arena, payload), &t->root);
}

enum err trust_open(struct trust *t, const char *root_file, const char *key_file)
{
	memset(t, 0, sizeof(*t));
	arena_init(&t->arena, 256 * 1024, 1024);
	enum err e = root_read(t, root_file, key_file);
	if (e != ERR_OK)
		trust_close(t);
	return e;
}

void trust_close(struct trust *t)
{
	arena_fini(&t->arena);
	memset(t, 0, sizeof(*t));
}

enum err trust_check_online(const struct trust *t, const struct key32 *online, struct wall now)
{
	if (t->root.expires_unix_ms && t->root.expires_unix_ms < now.ms)
		return err_set(ERR_STALE, "the root of trust has expired: sign a new one");
	for (size_t i = 0; i < t->root.online_key_count; i++) {
		if (memcmp(&t->root.online_keys[i], online, sizeof(*online)) == 0)
			return ERR_OK;
	}
	return err_set(ERR_AUTH, "the root of trust does not list this server's online key");
}
