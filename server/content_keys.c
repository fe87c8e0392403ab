// See content_keys.h.
#include "server/content_keys.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/envelope.h"
#include "proto/seal_content.h"
#include "server/db/rows_content.h"
#include <string.h>
#include <uthash.h>

struct keys_told {
	char publisher[LIMIT_ID + 1];
	uint64_t session_id;
	char after[LIMIT_ID + 1]; // customers up to this one
	bool whole;
	UT_hash_handle hh;
};

static enum err any_note(void *ctx, const struct key_row *row)
{
	struct content_keys *k = ctx;

	(void)row;
	k->any = true;
	return ERR_OK;
}

enum err content_keys_init(struct content_keys *k, struct core *core, const struct root *root)
{
	*k = (struct content_keys){.core = core, .root = root};
	return rows_key_customers(core_db(core), NULL, "", 1, k, any_note);
}

void content_keys_fini(struct content_keys *k)
{
	struct keys_told *t, *next;

	HASH_ITER(hh, k->told, t, next)
	{
		HASH_DEL(k->told, t);
		free(t);
	}
}

// ---- publishers

struct telling {
	struct content_keys *k;
	struct keys_told *to;
	struct key32 enc;
	size_t count;
};

static enum err key_tell(void *ctx, const struct key_row *row)
{
	struct telling *t = ctx;
	const struct key_purpose purpose = {"directive", row->customer, t->to->session_id};
	struct sealed_key sealed;
	struct directive d = {
		.kind = DIRECTIVE_CONTENT_KEY, .reason = "", .customer = row->customer};

	if (row->current) {
		TRY(key_seal(&t->enc, &row->secret, &purpose, &sealed));
		d.key = &sealed;
	}
	TRY(core_send_directive(t->k->core, t->to->publisher, &d));
	t->count++;
	return ERR_OK;
}

static enum err key_tell_next(void *ctx, const struct key_row *row)
{
	struct telling *t = ctx;

	TRY(key_tell(ctx, row));
	(void)str_copy(t->to->after, sizeof(t->to->after), row->customer);
	return ERR_OK;
}

static struct keys_told *told_of(struct content_keys *k, const char *publisher)
{
	struct keys_told *t;

	HASH_FIND_STR(k->told, publisher, t);
	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		abort();
	(void)str_copy(t->publisher, sizeof(t->publisher), publisher);
	HASH_ADD_STR(k->told, publisher, t);
	return t;
}

static void some_tell(struct content_keys *k, struct keys_told *to)
{
	struct telling t = {.k = k, .to = to};
	enum err e = rows_session_secret(core_db(k->core), to->publisher, to->session_id, &t.enc);

	if (e == ERR_OK)
		e = rows_key_customers(core_db(k->core), to->publisher, to->after,
			CONTENT_KEYS_PER_TURN, &t, key_tell_next);
	secret_wipe(&t.enc, sizeof(t.enc));
	to->whole = e != ERR_OK || t.count < CONTENT_KEYS_PER_TURN;
	if (e == ERR_OK)
		return;
	to->session_id = 0; // again when it says something
	if (e != ERR_NOT_FOUND)
		log_warn("CONTENT-KEYS-UNTOLD", "publisher=%s why=%s", to->publisher,
			log_quote(err_text()));
}

void content_keys_heard(struct content_keys *k, const char *publisher, uint64_t session_id)
{
	struct keys_told *told = told_of(k, publisher);

	if (told->session_id == session_id)
		return;
	told->session_id = session_id;
	told->after[0] = '\0';
	some_tell(k, told);
}

void content_keys_tick(struct content_keys *k)
{
	struct keys_told *t, *next;

	HASH_ITER(hh, k->told, t, next)
	if (!t->whole)
		some_tell(k, t);
}

// What changed is told at once, before an order that rests on it.
static enum err changed_tell(struct content_keys *k, const char *customer)
{
	struct telling t = {.k = k};
	struct key_row row;
	enum err e = rows_key_newest(core_db(k->core), customer, &row);

	if (e != ERR_OK || !row.publisher[0])
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	t.to = told_of(k, row.publisher);
	e = rows_session_secret(core_db(k->core), row.publisher, t.to->session_id, &t.enc);
	if (e == ERR_OK)
		e = key_tell(&t, &row);
	if (e != ERR_OK)
		t.to->session_id = 0;
	secret_wipe(&t.enc, sizeof(t.enc));
	secret_wipe(&row, sizeof(row));
	return ERR_OK;
}

// ---- customers

enum err content_keys_turn(
	struct content_keys *k, const char *customer, bool on, struct key_row *out)
{
	*out = (struct key_row){.created_ms = core_now(k->core).wall.ms, .current = on};
	(void)str_copy(out->customer, sizeof(out->customer), customer);
	if (on) {
		random_fill(out->secret.b, sizeof(out->secret.b));
		out->key_id = content_key_id(&out->secret);
	}
	TRY(rows_key_turn(core_db(k->core), customer, on ? out : NULL));
	k->any |= on;
	return changed_tell(k, customer);
}

// Nobody need hear it: what the former publisher knows opens nothing that is made from now on.
static void forget_tell(struct content_keys *k, const char *customer, const char *publisher)
{
	struct directive d = {
		.kind = DIRECTIVE_CONTENT_KEY, .reason = CONTENT_KEY_GONE, .customer = customer};

	if (core_send_directive(k->core, publisher, &d) != ERR_OK)
		log_info("CONTENT-KEY-KEPT", "customer=%s publisher=%s why=%s", customer, publisher,
			log_quote(err_text()));
}

enum err content_keys_moved(
	struct content_keys *k, const char *customer, const char *before, const char *now)
{
	struct key_row row;
	enum err e = rows_key_current(core_db(k->core), customer, &row);

	secret_wipe(&row, sizeof(row));
	if (e == ERR_NOT_FOUND || (now && strcmp(before, now) == 0))
		return ERR_OK;
	TRY(e);
	TRY(content_keys_turn(k, customer, now != NULL, &row));
	secret_wipe(&row, sizeof(row));
	forget_tell(k, customer, before);
	return ERR_OK;
}

// ---- packages

static enum err manifest_key(
	const struct content_keys *k, struct bytes envelope, struct arena *a, struct id16 *out)
{
	const struct root *r = k->root;
	struct bytes payload;
	struct manifest m;

	if (envelope_open(PURPOSE_MANIFEST, envelope, r->image_keys, r->image_key_count, 1,
		    &payload) != ERR_OK)
		TRY(envelope_open(PURPOSE_MANIFEST, envelope, r->software_keys,
			r->software_key_count, 1, &payload));
	TRY(manifest_decode(a, payload, &m));
	*out = m.key_id;
	return ERR_OK;
}

static enum err key_id_of(struct content_keys *k, const struct digest *package, struct id16 *out)
{
	SCOPED_ARENA struct arena a = {0};
	struct bytes envelope;

	for (size_t i = 0; i < CONTENT_KEYS_CACHE; i++) {
		*out = k->cache[i].key_id;
		if (digest_equal(&k->cache[i].package, package))
			return ERR_OK;
	}
	arena_init(&a, 512 * 1024, 8192);
	*out = (struct id16){{0}};
	if (rows_package_envelope(core_db(k->core), package, &a, &envelope) != ERR_OK)
		return ERR_OK; // nothing is known of it: the client will not get it
	TRY(manifest_key(k, envelope, &a, out));
	k->cache[k->cache_next].package = *package;
	k->cache[k->cache_next].key_id = *out;
	k->cache_next = (k->cache_next + 1) % CONTENT_KEYS_CACHE;
	return ERR_OK;
}

static bool is_open(const struct id16 *key_id)
{
	static const struct id16 none;

	return memcmp(key_id, &none, sizeof(none)) == 0;
}

static enum err key_add(struct content_keys *k, const struct caller *to, const struct id16 *key_id,
	uint64_t response_id, struct sealed_key *out)
{
	const struct key_purpose purpose = {"response", to->id, response_id};
	struct key32 enc;
	struct key_row row;

	TRY(rows_key_find(core_db(k->core), key_id, &row));
	enum err e = rows_session_secret(core_db(k->core), to->id, to->session_id, &enc);
	if (e == ERR_OK)
		e = key_seal(&enc, &row.secret, &purpose, out);
	secret_wipe(&enc, sizeof(enc));
	secret_wipe(&row, sizeof(row));
	return e;
}

static bool is_listed(const struct sealed_key *keys, size_t count, const struct id16 *key_id)
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(&keys[i].key_id, key_id, sizeof(*key_id)) == 0)
			return true;
	return false;
}

enum err content_keys_for_response(struct content_keys *k, const struct caller *to,
	struct bytes body, struct sealed_key **out, size_t *count)
{
	struct response_body said;
	struct id16 key_id;

	*count = 0;
	if (!k->any)
		return ERR_OK;
	TRY(response_body_decode(to->arena, body, &said));
	const struct retrieve_information *r = said.retrieve;
	if (!r || r->package_count == 0)
		return ERR_OK;
	*out = arena_array(to->arena, r->package_count, sizeof(**out));
	if (!*out)
		return err_set(ERR_MEMORY, "no memory for keys");
	for (size_t i = 0; i < r->package_count; i++) {
		TRY(key_id_of(k, &r->packages[i].package, &key_id));
		if (is_open(&key_id) || is_listed(*out, *count, &key_id))
			continue;
		TRY(key_add(k, to, &key_id, said.response_id, &(*out)[*count]));
		++*count;
	}
	return ERR_OK;
}

enum err content_keys_for_medium(struct content_keys *k, const struct digest *package,
	const struct principal_row *client, uint64_t order, struct sealed_key *out)
{
	static const struct key32 none;
	const struct key_purpose purpose = {"medium", client->id, order};
	struct key_row row;
	struct id16 key_id;

	*out = (struct sealed_key){.key_id = {{0}}};
	if (!k->any)
		return ERR_OK;
	TRY(key_id_of(k, package, &key_id));
	if (is_open(&key_id))
		return ERR_OK;
	if (memcmp(&client->box_key, &none, sizeof(none)) == 0)
		return err_set(ERR_NOT_FOUND,
			"%s is enrolled without a box key, and the package is encrypted: helioctl "
			"enrol client %s --box-key HEX",
			client->id, client->id);
	TRY(rows_key_find(core_db(k->core), &key_id, &row));
	enum err e = key_box(&client->box_key, &row.secret, &purpose, out);
	secret_wipe(&row, sizeof(row));
	return e;
}
