// What clients say of updates of software: at which they are, and what failed there and is not
// tried again. It stands at the end of a client's profile, in few profiles, as
//      NUL (name NUL version NUL state NUL reason NUL package[32] failures[4] until_unix_ms[8])*
// Nothing that has a penalty is given to that client; so a bad release costs each client one try.
#include "server/core_inside.h"
#include <string.h>

// ---- bytes

static enum err row_encode(const struct update_status *u, struct buf *out)
{
	TRY(buf_append(out, u->name, strlen(u->name) + 1));
	TRY(buf_append(out, u->version, strlen(u->version) + 1));
	TRY(buf_append(out, u->state, strlen(u->state) + 1));
	TRY(buf_append(out, u->reason, strlen(u->reason) + 1));
	TRY(buf_append(out, u->package.b, sizeof(u->package.b)));
	TRY(buf_append(out, &u->failures, sizeof(u->failures)));
	return buf_append(out, &u->until_unix_ms, sizeof(u->until_unix_ms));
}

enum err told_updates_encode(const struct status *s, struct buf *out)
{
	if (s->update_count)
		TRY(buf_append(out, "", 1));
	for (size_t i = 0; i < s->update_count; i++)
		TRY(row_encode(&s->updates[i], out));
	return ERR_OK;
}

static bool take(struct bytes *b, void *out, size_t size)
{
	if (b->size < size)
		return false;
	memcpy(out, b->data, size);
	*b = bytes_of(b->data + size, b->size - size);
	return true;
}

static bool take_text(struct bytes *b, const char **out)
{
	size_t length = b->size ? strnlen((const char *)b->data, b->size) : 0;

	if (length == b->size)
		return false;
	*out = (const char *)b->data;
	*b = bytes_of(b->data + length + 1, b->size - length - 1);
	return true;
}

// Texts borrow from the bytes. False at the end.
static bool row_take(struct bytes *b, struct update_status *out)
{
	return take_text(b, &out->name) && take_text(b, &out->version) &&
	       take_text(b, &out->state) && take_text(b, &out->reason) &&
	       take(b, out->package.b, sizeof(out->package.b)) &&
	       take(b, &out->failures, sizeof(out->failures)) &&
	       take(b, &out->until_unix_ms, sizeof(out->until_unix_ms));
}

static struct bytes rows_of(struct bytes told)
{
	return told.size && !told.data[0] ? bytes_of(told.data + 1, told.size - 1)
					  : bytes_of(NULL, 0);
}

static bool row_equal(const struct update_status *a, const struct update_status *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->version, b->version) == 0 &&
	       strcmp(a->state, b->state) == 0 && strcmp(a->reason, b->reason) == 0 &&
	       digest_equal(&a->package, &b->package) && a->failures == b->failures &&
	       a->until_unix_ms == b->until_unix_ms;
}

bool told_updates_are(struct bytes told, const struct status *s)
{
	struct bytes rows = rows_of(told);
	struct update_status u;
	size_t count = 0;

	if (!s->update_count || !rows.size)
		return !s->update_count && !told.size;
	for (; count < s->update_count && row_take(&rows, &u); count++)
		if (!row_equal(&u, &s->updates[count]))
			return false;
	return count == s->update_count && !rows.size;
}

enum err told_updates_read(
	struct bytes told, struct arena *a, struct update_status **out, size_t *count)
{
	struct bytes rows = rows_of(told);
	struct update_status u;

	*count = 0;
	*out = arena_array(a, LIMIT_UPDATES, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for the updates of a client");
	while (*count < LIMIT_UPDATES && row_take(&rows, &u)) {
		u.name = arena_strdup(a, u.name);
		u.version = arena_strdup(a, u.version);
		u.state = arena_strdup(a, u.state);
		u.reason = arena_strdup(a, u.reason);
		if (!u.name || !u.version || !u.state || !u.reason)
			return err_set(ERR_FULL, "no room for the updates of a client");
		(*out)[(*count)++] = u;
	}
	return ERR_OK;
}

// ---- penalties

static bool holds(const struct core *core, const struct update_status *u)
{
	return u->failures && (!u->until_unix_ms || core->now.wall.ms < u->until_unix_ms);
}

bool client_is_penalised(struct core *core, const struct client *c, const struct digest *package)
{
	struct profile profile;
	struct update_status u;

	profile_split(intern_get(&core->interned, c->profile), &profile);
	struct bytes rows = rows_of(profile.updates);
	while (row_take(&rows, &u))
		if (digest_equal(&u.package, package) && holds(core, &u))
			return true;
	return false;
}

bool retrieve_drop_penalised(
	struct core *core, const struct client *c, struct retrieve_information *r)
{
	size_t kept = 0, before = r->package_count;

	for (size_t i = 0; i < before; i++)
		if (r->packages[i].kind != PACKAGE_SOFTWARE ||
			!client_is_penalised(core, c, &r->packages[i].package))
			r->packages[kept++] = r->packages[i];
	r->package_count = kept;
	return kept != before;
}

void told_updates_alert(struct core *core, const struct client *c, const struct status *s)
{
	for (size_t i = 0; i < s->update_count; i++) {
		const struct update_status *u = &s->updates[i];
		if (!holds(core, u) || client_is_penalised(core, c, &u->package))
			continue;
		core->updates_failed++;
		log_warn("UPDATE-FAILED",
			"client=%s name=%s version=%s package=%s state=%s reason=%s failures=%u "
			"until_unix_ms=%lld",
			client_id(&core->clients, c), log_quote(u->name), log_quote(u->version),
			digest_short(&u->package), log_quote(u->state), log_quote(u->reason),
			u->failures, (long long)u->until_unix_ms);
	}
}
