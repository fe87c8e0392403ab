// See keyring.h.
#include "keyring.h"

#include "orders.h"
#include "proto/base/file.h"
#include "proto/seal_content.h"
#include "proto/topics.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_ROOM 512

static enum err key_path(const struct publisher *p, const char *customer, char out[PATH_ROOM])
{
	int n = snprintf(out, PATH_ROOM, "%s/keys%s%s", p->settings->state_dir,
		customer[0] ? "/" : "", customer);

	return n > 0 && n < PATH_ROOM ? ERR_OK : err_set(ERR_RANGE, "state_dir is too long");
}

static enum err key_take(struct publisher *p, const struct directive *d)
{
	char dir[PATH_ROOM], path[PATH_ROOM];
	struct key32 enc, key;
	uint64_t session_id = 0;

	TRY(key_path(p, "", dir));
	TRY(key_path(p, d->customer, path));
	if (!d->key && strcmp(d->reason, CONTENT_KEY_GONE) == 0)
		return unlink(path) == 0 || errno == ENOENT ? ERR_OK : err_set_errno("%s", path);
	TRY(dir_make(dir));
	if (!d->key)
		return file_write_atomic(path, "", 0, 0600);
	TRY(control_secret(p->control, &enc, &session_id));
	const struct key_purpose purpose = {"directive", d->customer, session_id};
	enum err e = key_open(&enc, d->key, &purpose, &key);
	secret_wipe(&enc, sizeof(enc));
	if (e == ERR_OK)
		e = file_write_atomic(path, key.b, sizeof(key.b), 0600);
	secret_wipe(&key, sizeof(key));
	return e;
}

// Orders are looked at again: their packages are others under another key.
static void key_taken(struct publisher *p, const struct directive *d)
{
	log_info("CONTENT-KEY", "customer=%s sealed=%s", d->customer, d->key ? "yes" : "no");
	if (p->orders)
		orders_images_changed(p->orders);
}

void keyring_directive(struct publisher *p, const struct directive *d)
{
	if (key_take(p, d) == ERR_OK)
		key_taken(p, d);
	else
		log_warn("CONTENT-KEY-REFUSED", "customer=%s why=%s", d->customer,
			log_quote(err_text()));
}

enum err keyring_find(
	const struct publisher *p, const char *customer, struct key32 *out, enum key_found *found)
{
	char path[PATH_ROOM];
	SCOPED_BUF struct buf text;

	*found = KEY_UNTOLD;
	buf_init(&text, 64);
	if (!id_is_valid(customer))
		return err_set(ERR_RANGE, "a customer is called otherwise");
	TRY(key_path(p, customer, path));
	enum err e = file_read_secret(path, &text);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	TRY(e);
	*found = KEY_OPEN;
	if (text.size == 0)
		return ERR_OK;
	if (text.size != sizeof(out->b))
		return err_set(ERR_CORRUPT, "the key of %s has %zu bytes", customer, text.size);
	memcpy(out->b, text.data, sizeof(out->b));
	secret_wipe(text.data, text.size);
	*found = KEY_SEALS;
	return ERR_OK;
}
