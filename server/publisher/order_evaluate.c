// One order against the pictures of now: what it would be, and what is to be done for it.
#include "proto/base/text.h"
#include "proto/seal_content.h"
#include "server/publisher/keyring.h"
#include "server/publisher/orders_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (1 << 20)

// ---- what it would be

static size_t wanted_count(const struct evaluation *e)
{
	const struct selection *s = &e->selection;
	size_t n = 0;

	for (size_t i = 0; i < s->pick_count; i++) {
		size_t fit = plan_fit_class(e->order, s->picks[i].part);
		n += e->shipped[fit][s->picks[i].image].wanted;
	}
	return n;
}

// The same pictures under another key are another package.
static enum err pack_seal(
	const struct orders *o, const struct package_order *order, struct evaluation *out)
{
	enum key_found found = KEY_UNTOLD;

	TRY(keyring_find(o->p, order->customer, &out->key, &found));
	out->sealed = found == KEY_SEALS;
	out->lacks_key = found == KEY_UNTOLD && order->sealed;
	if (!out->sealed)
		return ERR_OK;
	struct id16 id = content_key_id(&out->key);
	return show_package_seal(&out->pack, &id);
}

enum err orders_evaluate(
	struct orders *o, const struct package_order *order, struct evaluation *out)
{
	struct wall now = clock_now().wall;

	*out = (struct evaluation){.order = order, .library = &o->library};
	if (o->library_stale) {
		TRY(library_load(&o->library, &o->p->store));
		o->library_stale = false;
	}
	TRY(library_shipped(
		&o->library, order->screen_width_px, order->screen_height_px, out->shipped));
	enum err e = selection_make(order, &o->library.catalog, out->shipped, now, &out->selection);
	if (e == ERR_FULL) { // more than any package takes
		text_format(out->why_not, sizeof out->why_not, "too-large: %s", err_text());
		return ERR_OK;
	}
	TRY(e);
	out->wanted = wanted_count(out);
	out->fits = selection_fits(
		order, &out->selection, o->p->settings->package_bytes_max, out->why_not);
	if (out->selection.pick_count == 0)
		return ERR_OK;
	TRY(show_package_make(
		order, &o->library.catalog, out->shipped, &out->selection, &out->pack));
	return pack_seal(o, order, out);
}

void evaluation_fini(struct evaluation *e)
{
	selection_fini(&e->selection);
	show_package_fini(&e->pack);
	secret_wipe(&e->key, sizeof e->key);
}

// ---- what is to be done

// One a line; none of them holds a newline.
static enum err warnings_join(const struct evaluation *e, struct buf *out)
{
	for (size_t i = 0; i < e->selection.warning_count; i++)
		TRY(buf_printf(out, "%s%s", i ? "\n" : "", e->selection.warnings[i]));
	return buf_append(out, "", 1);
}

static void figures_fill(const struct evaluation *e, struct order_row *out)
{
	out->matched = e->selection.matched;
	out->included = e->selection.included;
	out->size_bytes = e->selection.size_bytes;
}

// Before anything is made: a key that the root does not list signs for nobody.
static enum err key_check(const struct orders *o)
{
	const struct root *root = &o->p->trust.root;
	struct sign_key *key = NULL;
	bool listed = false;

	if (!o->p->settings->image_key[0])
		return err_set(ERR_NOT_FOUND, "[packager] image_key is not set");
	TRY(sign_key_read(o->p->settings->image_key, &key));
	for (size_t i = 0; i < root->image_key_count; i++)
		listed |= memcmp(root->image_keys[i].b, sign_key_public(key)->b,
				  sizeof root->image_keys[i].b) == 0;
	sign_key_free(key);
	return listed ? ERR_OK
		      : err_set(ERR_AUTH, "the root does not list %s as a key of pictures",
				o->p->settings->image_key);
}

// An outcome without a package.
static void none(struct orders *o, struct order *r, struct order_row *next, const char *reason)
{
	next->package = next->content = (struct digest){{0}};
	next->included = 0;
	next->reason = reason;
	order_outcome(o, r, next);
}

static void no_key(struct orders *o, struct order *r, struct order_row *next)
{
	char text[LIMIT_TEXT + 1];

	text_format(text, sizeof text, "no-key: %s", err_text());
	none(o, r, next, text);
}

static void limits_text(const struct evaluation *e, char out[LIMIT_TEXT + 1])
{
	const struct selection *s = &e->selection;

	out[0] = 0;
	if (s->included < s->matched)
		snprintf(out, LIMIT_TEXT + 1, "limit: %u of %u pictures", s->included, s->matched);
}

static void stands(
	struct orders *o, struct order *r, const struct evaluation *e, struct order_row *next)
{
	char text[LIMIT_TEXT + 1];

	limits_text(e, text);
	next->content = e->pack.content;
	next->reason = text;
	order_outcome(o, r, next);
}

// What is to be made is made, and the order looked at again.
static enum err make(
	struct orders *o, struct order *r, struct evaluation *e, struct order_row *next)
{
	if (e->wanted > 0) {
		order_dirty(o, r);
		return order_sizes(o, e);
	}
	if (!e->fits) {
		none(o, r, next, e->why_not);
		return ERR_OK;
	}
	if (e->lacks_key) {
		none(o, r, next, "no-key: the key of the customer was not told here yet");
		return ERR_OK;
	}
	if (order_package_stands(o, &e->pack, &next->package, &next->size_bytes)) {
		stands(o, r, e, next);
		return ERR_OK;
	}
	if (key_check(o) != ERR_OK) {
		no_key(o, r, next);
		return ERR_OK;
	}
	return order_build(o, r, e);
}

static enum err run(struct orders *o, struct order *r, const struct package_order *m)
{
	SCOPED_BUF struct buf warnings;
	struct order_row next = {.reason = "", .warnings = ""};
	struct evaluation e;

	buf_init(&warnings, LIMIT_WARNINGS * (LIMIT_TEXT + 1) + 1);
	if (m->withdrawn) {
		none(o, r, &next, "withdrawn: the order is no longer wanted");
		return ERR_OK;
	}
	enum err done = orders_evaluate(o, m, &e);
	if (done == ERR_OK)
		done = warnings_join(&e, &warnings);
	if (done == ERR_OK) {
		figures_fill(&e, &next);
		next.warnings = (const char *)warnings.data;
		r->change_unix_ms = e.selection.change_unix_ms;
		done = make(o, r, &e, &next);
	}
	evaluation_fini(&e);
	return done;
}

void order_run(struct orders *o, struct order *r)
{
	SCOPED_ARENA struct arena a;
	struct package_order m;

	arena_init(&a, ARENA_BYTES, 4096);
	enum err e = package_order_decode(&a, r->row.body, &m);
	if (e == ERR_OK)
		e = run(o, r, &m);
	if (e == ERR_OK)
		return;
	order_dirty(o, r);
	o->pause_until = mono_add_ms(clock_now().mono, ORDER_PAUSE_MS);
	if (log_gate_open(&o->gate, clock_now().mono.ms, 1000))
		log_warn("ORDER-NOT-MADE", "order=%s why=%s", r->row.id, log_quote(err_text()));
}
