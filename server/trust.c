#include "server/trust.h"

#include "proto/base/file.h"
#include <string.h>

enum err server_trust_open(struct server_trust *t, const char *root_file, const char *key_file)
{
	SCOPED_BUF struct buf file;
	struct key32 root_key;
	struct bytes payload;
	enum err e;

	buf_init(&file, LIMIT_ENVELOPE);
	arena_init(&t->arena, 256 * 1024, 1024);
	e = public_key_read(key_file, &root_key);
	if (e == ERR_OK)
		e = file_read(root_file, &file);
	if (e == ERR_OK)
		e = envelope_open(PURPOSE_ROOT, buf_bytes(&file), &root_key, 1, 1, &payload);
	if (e == ERR_OK)
		e = root_decode(&t->arena, arena_copy(&t->arena, payload), &t->root);
	if (e != ERR_OK)
		server_trust_close(t);
	return e;
}

void server_trust_close(struct server_trust *t)
{
	arena_fini(&t->arena);
	memset(&t->root, 0, sizeof(t->root));
}

enum err server_trust_check_online(
	const struct server_trust *t, const struct key32 *online, struct wall now)
{
	if (t->root.expires_unix_ms && t->root.expires_unix_ms < now.ms)
		return err_set(ERR_STALE, "the root of trust has expired: sign a new one");
	for (size_t i = 0; i < t->root.online_key_count; i++)
		if (memcmp(&t->root.online_keys[i], online, sizeof(*online)) == 0)
			return ERR_OK;
	return err_set(ERR_AUTH, "the root of trust does not list this server's online key");
}
