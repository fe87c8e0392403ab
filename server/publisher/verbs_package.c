// package-sign, -publish, -withdraw, -remove, -list, -show.
#include "proto/base/log.h"
#include "publisher.h"
#include "server/offer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUBLISH_PATIENCE_MS 60000

static void answer_package(struct call *c, const struct digest *package)
{
	cJSON *body = cJSON_CreateObject();

	cJSON_AddStringToObject(body, "package", digest_hex(package));
	call_answer(c, body);
}

static void add_hex(cJSON *j, const char *key, const struct buf *b)
{
	SCOPED_FREE char *hex = malloc(b->size * 2 + 1);

	if (!hex)
		abort();
	hex_encode(b->data, b->size, hex);
	cJSON_AddStringToObject(j, key, hex);
}

// ---- sign

static enum err envelope_take(struct call *c, struct buf *out)
{
	const char *hex = call_string(c, "envelope");
	size_t n = hex ? strlen(hex) : 0;

	if (n == 0 || n % 2 != 0)
		return err_set(ERR_FORMAT, "envelope is hex digits");
	TRY(buf_reserve(out, n / 2));
	TRY(hex_decode(hex, out->data, n / 2));
	out->size = n / 2;
	return ERR_OK;
}

static enum err package_sign(struct publisher *p, struct call *c, struct digest *package)
{
	SCOPED_BUF struct buf envelope;
	SCOPED_ARENA struct arena a;
	struct package row;
	struct manifest m;
	struct digest id;

	buf_init(&envelope, LIMIT_ENVELOPE);
	arena_init(&a, 512 * 1024, 8192);
	TRY(call_digest(c, "package", package));
	TRY(package_find(&p->store, package, &row));
	TRY(envelope_take(c, &envelope));
	TRY(offer_open(&p->trust.root, buf_bytes(&envelope), &a, &m, &id));
	if (!digest_equal(&id, package))
		return err_set(ERR_AUTH, "the envelope holds another package");
	TRY(package_set_envelope(&p->store, package, buf_bytes(&envelope)));
	if (row.state == PACKAGE_BUILT)
		TRY(package_set_state(&p->store, package, PACKAGE_SIGNED));
	return ERR_OK;
}

void verb_package_sign(struct publisher *p, struct call *c)
{
	struct digest package;
	enum err e = store_end(&p->store, package_sign(p, c, &package));

	if (e != ERR_OK)
		publisher_refuse(p, c, e);
	else
		answer_package(c, &package);
}

// ---- publish: the call waits for the server's word

void verb_package_publish(struct publisher *p, struct call *c)
{
	struct waiter *w = calloc(1, sizeof *w);

	if (!w)
		abort();
	w->call = c;
	w->since = clock_now().mono;
	enum err e = call_digest(c, "package", &w->package);
	if (e == ERR_OK)
		e = transmit_offer(p->transmit, &w->package, &w->request_id);
	if (e != ERR_OK) {
		publisher_refuse(p, c, e);
		free(w);
		return;
	}
	w->next = p->waiters;
	p->waiters = w;
}

static void waiter_answer(struct publisher *p, struct waiter *w, const struct directive *d)
{
	bool refused = d->kind == DIRECTIVE_NOTED && strncmp(d->reason, "refused", 7) == 0;

	if (refused) {
		if (store_end(&p->store,
			    package_set_state(&p->store, &w->package, PACKAGE_SIGNED)) != ERR_OK)
			log_error("PUBLISHER-STORE-WRITE", "why=%s", log_quote(err_text()));
		call_refuse(w->call, err_word(ERR_DENIED), d->reason);
		return;
	}
	cJSON *body = cJSON_CreateObject();
	cJSON_AddStringToObject(body, "package", digest_hex(&w->package));
	cJSON_AddStringToObject(body, "directive", directive_word(d->kind));
	cJSON_AddStringToObject(body, "reason", d->reason);
	cJSON_AddStringToObject(body, "broker", d->to ? d->to->broker_id : "");
	call_answer(w->call, body);
}

static struct waiter *waiter_take(struct waiter **at)
{
	struct waiter *w = *at;

	*at = w->next;
	return w;
}

// A later offer of the same package replaces the request of an earlier one: its answer is for both.
void waiters_answer(struct publisher *p, const struct directive *d)
{
	for (struct waiter **at = &p->waiters; *at;) {
		bool meant = !(*at)->command && (*at)->request_id <= d->request_id &&
			     digest_equal(&(*at)->package, &d->package);
		if (!meant) {
			at = &(*at)->next;
			continue;
		}
		struct waiter *w = waiter_take(at);
		waiter_answer(p, w, d);
		free(w);
	}
}

void waiters_tick(struct publisher *p, struct mono now)
{
	for (struct waiter **at = &p->waiters; *at;) {
		if (!p->stopping && mono_since_ms(now, (*at)->since) < PUBLISH_PATIENCE_MS) {
			at = &(*at)->next;
			continue;
		}
		struct waiter *w = waiter_take(at);
		call_refuse(w->call, err_word(ERR_TIMEOUT),
			w->command ? "the data broker has not acknowledged the command yet"
				   : "the server has not answered yet; the offer stands and is "
				     "repeated");
		free(w);
	}
}

// ---- withdraw, remove

void verb_package_withdraw(struct publisher *p, struct call *c)
{
	struct digest package;
	enum err e = call_digest(c, "package", &package);

	if (e == ERR_OK)
		e = transmit_withdraw(p->transmit, &package);
	if (e != ERR_OK)
		publisher_refuse(p, c, e);
	else
		answer_package(c, &package);
}

static enum err package_take_out(
	struct publisher *p, struct call *c, struct digest *package, uint64_t *freed)
{
	struct package row;

	TRY(call_digest(c, "package", package));
	TRY(package_find(&p->store, package, &row));
	if (row.state == PACKAGE_OFFERED)
		return err_set(ERR_NOT_NOW, "the package is published; withdraw it first");
	if (p->work.running[WORK_BUILD] > 0)
		return err_set(ERR_NOT_NOW, "a package is being built; try again when it is done");
	return package_remove(&p->store, package, freed);
}

void verb_package_remove(struct publisher *p, struct call *c)
{
	struct digest package;
	uint64_t freed = 0;
	enum err e = package_take_out(p, c, &package, &freed);

	if (e != ERR_OK) {
		publisher_refuse(p, c, e);
		return;
	}
	cJSON *body = cJSON_CreateObject();
	cJSON_AddStringToObject(body, "package", digest_hex(&package));
	cJSON_AddNumberToObject(body, "freed_bytes", (double)freed);
	call_answer(c, body);
}

// ---- list, show

static bool placement_put(void *ctx, const struct placement *l)
{
	cJSON *j = cJSON_CreateObject();

	cJSON_AddStringToObject(j, "broker", l->broker);
	cJSON_AddStringToObject(j, "state", placement_state_word(l->state));
	cJSON_AddNumberToObject(j, "directive_id", (double)l->directive_id);
	cJSON_AddItemToArray(ctx, j);
	return true;
}

static void package_fill(struct store *s, const struct package *p, cJSON *j)
{
	cJSON_AddStringToObject(j, "package", digest_hex(&p->id));
	cJSON_AddStringToObject(j, "kind", package_kind_word(p->kind));
	cJSON_AddStringToObject(j, "name", p->name);
	cJSON_AddStringToObject(j, "version", p->version);
	cJSON_AddStringToObject(j, "state", package_state_word(p->state));
	cJSON_AddNumberToObject(j, "size_bytes", (double)p->size_bytes);
	cJSON_AddNumberToObject(j, "files", p->files);
	cJSON_AddNumberToObject(j, "chunks", p->chunks);
	cJSON_AddNumberToObject(j, "objects", p->objects);
	cJSON_AddNumberToObject(j, "object_bytes", (double)p->object_bytes);
	cJSON_AddNumberToObject(j, "new_bytes", (double)p->new_bytes);
	cJSON_AddNumberToObject(j, "built_unix_ms", (double)p->built_unix_ms);
	cJSON_AddNumberToObject(j, "directive_id", (double)p->directive_id);
	cJSON *placements = cJSON_AddArrayToObject(j, "placements");
	if (placement_list(s, &p->id, placement_put, placements) != ERR_OK)
		log_error("PUBLISHER-STORE-READ", "why=%s", log_quote(err_text()));
}

struct listing {
	struct publisher *publisher;
	struct lister list;
};

static bool package_put(void *ctx, const struct package *p)
{
	struct listing *l = ctx;
	cJSON *j = cJSON_CreateObject();

	package_fill(&l->publisher->store, p, j);
	lister_add(&l->list, j);
	return true;
}

void verb_package_list(struct publisher *p, struct call *c)
{
	struct listing l = {.publisher = p};

	lister_init(&l.list, c, "packages");
	enum err e = package_list(&p->store, package_put, &l);
	if (e == ERR_OK) {
		lister_end(&l.list, NULL);
		return;
	}
	buf_fini(&l.list.items);
	publisher_refuse(p, c, e);
}

static enum err show_fill(
	struct publisher *p, const struct package *row, cJSON *body, struct lister *l)
{
	SCOPED_BUF struct buf manifest;
	SCOPED_BUF struct buf envelope;
	SCOPED_FREE struct digest *images = NULL;
	size_t count = 0;

	buf_init(&manifest, LIMIT_MANIFEST_ROOT);
	buf_init(&envelope, LIMIT_ENVELOPE);
	TRY(package_bytes(&p->store, &row->id, &manifest, &envelope, NULL));
	TRY(package_images(&p->store, &row->id, &images, &count));
	package_fill(&p->store, row, body);
	add_hex(body, "manifest", &manifest);
	if (manifest.size + envelope.size <= 8 * 1024) // beside a list, in one packet
		add_hex(body, "envelope", &envelope);
	for (size_t i = 0; i < count; i++)
		lister_add(l, cJSON_CreateString(digest_hex(&images[i])));
	return ERR_OK;
}

void verb_package_show(struct publisher *p, struct call *c)
{
	cJSON *body = cJSON_CreateObject();
	struct digest package;
	struct package row;
	struct lister l;

	lister_init(&l, c, "images");
	enum err e = call_digest(c, "package", &package);
	if (e == ERR_OK)
		e = package_find(&p->store, &package, &row);
	if (e == ERR_OK)
		e = show_fill(p, &row, body, &l);
	if (e == ERR_OK) {
		lister_end(&l, body);
		return;
	}
	cJSON_Delete(body);
	buf_fini(&l.items);
	publisher_refuse(p, c, e);
}
