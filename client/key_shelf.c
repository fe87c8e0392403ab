// See key_shelf.h.
#include "client/key_shelf.h"

#include "proto/base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_ROOM 512

bool key_id_is_none(const struct id16 *id)
{
	static const struct id16 none;
	return memcmp(id, &none, sizeof none) == 0;
}

static enum err shelf_path(const char *state_dir, const struct id16 *id, char out[PATH_ROOM])
{
	char hex[33] = "";
	if (id != NULL)
		hex_encode(id->b, sizeof id->b, hex);
	int n = snprintf(out, PATH_ROOM, "%s/keys%s%s", state_dir, id != NULL ? "/" : "", hex);
	return n > 0 && n < PATH_ROOM ? ERR_OK : err_set(ERR_RANGE, "state_dir is too long");
}

enum err key_shelf_find(const char *state_dir, const struct id16 *id, struct key32 *out)
{
	char path[PATH_ROOM];
	SCOPED_BUF struct buf text;
	buf_init(&text, 64);
	TRY(shelf_path(state_dir, id, path));
	TRY(file_read_secret(path, &text));
	if (text.size != sizeof out->b)
		return err_set(ERR_CORRUPT, "a key has %zu bytes", text.size);
	memcpy(out->b, text.data, sizeof out->b);
	secret_wipe(text.data, text.size);
	struct id16 is = content_key_id(out);
	return memcmp(&is, id, sizeof is) == 0
		       ? ERR_OK
		       : err_set(ERR_CORRUPT, "a key is not the one that it is called");
}

// Room for one more.
static enum err shelf_trim(const char *dir)
{
	char path[PATH_ROOM], oldest[PATH_ROOM] = "";
	struct stat st;
	time_t when = 0;
	size_t count = 0;
	DIR *d = opendir(dir);
	if (d == NULL)
		return err_set_errno("%s", dir);
	for (const struct dirent *e; (e = readdir(d)) != NULL;) {
		int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		if (e->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof path ||
			stat(path, &st) != 0)
			continue;
		count++;
		if (oldest[0] != '\0' && st.st_mtime >= when)
			continue;
		when = st.st_mtime;
		(void)str_copy(oldest, sizeof oldest, path);
	}
	(void)closedir(d);
	if (count < KEYS_KEPT || unlink(oldest) == 0)
		return ERR_OK;
	return err_set_errno("%s", oldest);
}

enum err key_shelf_put(const char *state_dir, const struct key32 *key)
{
	char dir[PATH_ROOM], path[PATH_ROOM];
	struct key32 there;
	struct id16 id = content_key_id(key);
	if (key_shelf_find(state_dir, &id, &there) == ERR_OK) {
		secret_wipe(&there, sizeof there);
		return ERR_OK;
	}
	TRY(shelf_path(state_dir, NULL, dir));
	TRY(shelf_path(state_dir, &id, path));
	TRY(dir_make(dir));
	TRY(shelf_trim(dir));
	return file_write_atomic(path, key->b, sizeof key->b, 0600);
}

enum err box_key_read(const char *given, const char *identity_path, struct key32 *out)
{
	char path[PATH_ROOM], hex[65];
	SCOPED_BUF struct buf text;
	const char *slash = strrchr(identity_path, '/');
	int n = given[0] != '\0' ? snprintf(path, sizeof path, "%s", given)
				 : snprintf(path, sizeof path, "%.*sbox.key",
					   slash != NULL ? (int)(slash - identity_path + 1) : 0,
					   identity_path);
	buf_init(&text, 128);
	if (n < 0 || (size_t)n >= sizeof path)
		return err_set(ERR_RANGE, "the path of the box key is too long");
	TRY(file_read_secret(path, &text));
	if (text.size < 64)
		return err_set(ERR_FORMAT, "%s does not hold 64 hex digits", path);
	memcpy(hex, text.data, 64);
	hex[64] = '\0';
	secret_wipe(text.data, text.size);
	enum err e = hex_decode(hex, out->b, sizeof out->b);
	secret_wipe(hex, sizeof hex);
	return e == ERR_OK ? ERR_OK : err_set(ERR_FORMAT, "%s does not hold 64 hex digits", path);
}
