// Where identity keys lie. The settings name the first one; a rotated one is
// <state_dir>/keys/<first key>.key, the one that follows it .next. The name is of the first key's
// id, so that a device that was enrolled anew does not find the keys of its former life.
#include "client/runtime.h"
#include "client/runtime_import.h"

#include "proto/base/file.h"
#include "proto/base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEY_NAME_DIGITS 16

static enum err key_path(const struct runtime *rt, const char *ending, char out[400])
{
	char name[64];
	(void)snprintf(name, sizeof name, "%s.%s", rt->key_name, ending);
	return path_join(out, 400, rt->key_dir, name);
}

static enum err key_open(const struct runtime *rt, const char *ending, struct sign_key **out)
{
	char path[400];
	TRY(key_path(rt, ending, path));
	if (access(path, F_OK) != 0)
		return ERR_OK;
	return sign_key_read(path, out);
}

enum err runtime_keys_open(struct runtime *rt)
{
	struct sign_key *rotated = NULL;
	char hex[65];
	TRY(sign_key_read(rt->settings->fleet.key, &rt->key));
	struct digest id = key_id(sign_key_public(rt->key));
	hex_encode(id.b, sizeof id.b, hex);
	(void)snprintf(rt->key_name, sizeof rt->key_name, "%.*s", KEY_NAME_DIGITS, hex);
	TRY(path_join(rt->key_dir, sizeof rt->key_dir, rt->settings->state_dir, "keys"));
	TRY(key_open(rt, "key", &rotated));
	TRY(key_open(rt, "next", &rt->next_key));
	if (rotated == NULL)
		return ERR_OK;
	sign_key_free(rt->key);
	rt->key = rotated;
	return ERR_OK;
}

enum err port_key_next(void *ctx, const struct sign_key **next)
{
	struct runtime *rt = ctx;
	char path[400];
	struct key32 secret;
	if (rt->next_key == NULL) {
		TRY(dir_make(rt->key_dir));
		TRY(dir_sync(rt->settings->state_dir));
		TRY(key_path(rt, "next", path));
		sign_key_generate(&secret);
		enum err e = sign_key_write(path, &secret);
		secret_wipe(&secret, sizeof secret);
		TRY(e);
		TRY(sign_key_read(path, &rt->next_key));
	}
	*next = rt->next_key;
	return ERR_OK;
}

enum err port_key_commit(void *ctx)
{
	struct runtime *rt = ctx;
	char from[400], to[400];
	if (import_is_working(rt))
		return err_set(ERR_NOT_NOW, "a medium is being written, signed by the old key");
	TRY(key_path(rt, "next", from));
	TRY(key_path(rt, "key", to));
	if (rename(from, to) != 0)
		return err_set_errno("cannot name the new key");
	TRY(dir_sync(rt->key_dir));
	sign_key_free(rt->key);
	rt->config.key = rt->key = rt->next_key;
	rt->config.next_key = rt->next_key = NULL;
	return ERR_OK;
}
