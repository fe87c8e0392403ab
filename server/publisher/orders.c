#include "proto/base/text.h"
#include "server/publisher/orders_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 256 // offers and outcomes at the server at a time
#define TURN_MS 20      // of evaluation, before the loop does something else
#define STEP_MS 1

// ---- the table

static size_t place_of(const struct orders *o, const char *id, bool *found)
{
	size_t low = 0, high = o->count;

	*found = false;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = strcmp(o->list[mid]->row.id, id);
		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct order *order_find(struct orders *o, const char *id)
{
	bool found = false;
	size_t at = place_of(o, id, &found);

	return found ? o->list[at] : NULL;
}

static void order_free(struct order *r)
{
	free((void *)(uintptr_t)r->row.body.data);
	free((void *)(uintptr_t)r->row.reason);
	free((void *)(uintptr_t)r->row.warnings);
	free(r);
}

static bool text_set(const char **at, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return false;
	free((void *)(uintptr_t)*at);
	*at = copy;
	return true;
}

static bool body_set(struct order *r, struct bytes body)
{
	uint8_t *copy = malloc(body.size + 1);

	if (!copy)
		return false;
	memcpy(copy, body.data, body.size);
	free((void *)(uintptr_t)r->row.body.data);
	r->row.body = bytes_of(copy, body.size);
	return true;
}

static enum err no_memory(void)
{
	return err_set(ERR_MEMORY, "no memory for an order");
}

static enum err order_insert(struct orders *o, const struct order_row *row, struct order **out)
{
	bool found = false;
	size_t at = place_of(o, row->id, &found);
	struct order *r = calloc(1, sizeof *r);

	if (!r)
		return no_memory();
	r->row = *row;
	r->row.reason = r->row.warnings = NULL;
	r->row.body = (struct bytes){0};
	if (o->count == o->cap) {
		size_t cap = o->cap ? o->cap * 2 : 64;
		struct order **list = realloc(o->list, cap * sizeof *list);
		if (list) {
			o->list = list;
			o->cap = cap;
		}
	}
	if (o->count == o->cap || !body_set(r, row->body) ||
		!text_set(&r->row.reason, row->reason) ||
		!text_set(&r->row.warnings, row->warnings)) {
		order_free(r);
		return no_memory();
	}
	memmove(&o->list[at + 1], &o->list[at], (o->count - at) * sizeof(struct order *));
	o->list[at] = r;
	o->count++;
	*out = r;
	return ERR_OK;
}

void order_dirty(struct orders *o, struct order *r)
{
	o->dirty_count += !r->dirty;
	r->dirty = true;
}

static void all_dirty(struct orders *o)
{
	for (size_t i = 0; i < o->count; i++)
		order_dirty(o, o->list[i]);
}

static void rest(struct orders *o, struct order *r)
{
	o->waiting -= r->phase != ORDER_RESTS;
	r->phase = ORDER_RESTS;
}

// ---- outcomes

static bool outcome_is_same(const struct order_row *a, const struct order_row *b)
{
	return digest_equal(&a->package, &b->package) && a->matched == b->matched &&
	       a->included == b->included && a->size_bytes == b->size_bytes &&
	       digest_equal(&a->content, &b->content) && strcmp(a->reason, b->reason) == 0 &&
	       strcmp(a->warnings, b->warnings) == 0;
}

void order_outcome(struct orders *o, struct order *r, const struct order_row *outcome)
{
	struct store *s = &o->p->store;
	struct order_row next = *outcome;

	if (outcome_is_same(&r->row, outcome))
		return;
	(void)str_copy(next.id, sizeof next.id, r->row.id);
	next.changed_unix_ms = clock_now().wall.ms;
	enum err e = store_end(s, order_set_outcome(s, &next));
	if (e == ERR_OK && text_set(&r->row.reason, next.reason) &&
		text_set(&r->row.warnings, next.warnings)) {
		r->row.content = next.content;
		r->row.package = next.package;
		r->row.matched = next.matched;
		r->row.included = next.included;
		r->row.size_bytes = next.size_bytes;
		r->row.changed_unix_ms = next.changed_unix_ms;
		r->row.told = false;
		rest(o, r);
		log_info("ORDER-OUTCOME",
			"order=%s revision=%llu package=%s included=%u matched=%u reason=%s",
			r->row.id, (unsigned long long)r->row.revision,
			digest_is_zero(&next.package) ? "-" : digest_short(&next.package),
			next.included, next.matched, log_quote(next.reason));
		return;
	}
	order_dirty(o, r); // the disk says no: again
	o->pause_until = mono_add_ms(clock_now().mono, ORDER_PAUSE_MS);
	log_warn("ORDER-NOT-KEPT", "order=%s why=%s", r->row.id, log_quote(err_text()));
}

// ---- what the server says

static enum err directive_take(
	struct orders *o, const struct package_order *m, const struct buf *body, struct order **out)
{
	struct store *s = &o->p->store;
	struct order *r = order_find(o, m->order);
	struct order_row row = {
		.revision = m->revision, .body = buf_bytes(body), .reason = "", .warnings = ""};

	*out = r;
	if (r && m->revision < r->row.revision)
		return err_set(ERR_STALE, "revision %llu came after %llu",
			(unsigned long long)m->revision, (unsigned long long)r->row.revision);
	if (r && m->revision == r->row.revision && bytes_equal(r->row.body, row.body))
		return ERR_OK;
	if (!r && o->count == ORDERS_MAX)
		return err_set(ERR_FULL, "%d orders stand here", ORDERS_MAX);
	(void)str_copy(row.id, sizeof row.id, m->order);
	TRY(store_end(s, order_put(s, &row)));
	if (!r)
		TRY(order_insert(o, &row, out));
	else if (!body_set(r, row.body))
		return no_memory();
	(*out)->row.revision = m->revision;
	log_info("ORDER-TAKEN", "order=%s revision=%llu customer=%s parts=%zu", m->order,
		(unsigned long long)m->revision, m->customer, m->part_count);
	order_dirty(o, *out);
	return ERR_OK;
}

// Told again is asked again: whoever repeats an order has not heard what became of it.
void orders_directive(struct orders *o, const struct directive *d)
{
	SCOPED_BUF struct buf body;
	struct order *r = NULL;

	buf_init(&body, LIMIT_DIRECTIVE);
	enum err e = package_order_encode(d->order, &body);
	if (e == ERR_OK)
		e = directive_take(o, d->order, &body, &r);
	if (e != ERR_OK && log_gate_open(&o->gate, clock_now().mono.ms, 1000))
		log_warn(
			"ORDER-REFUSED", "order=%s why=%s", d->order->order, log_quote(err_text()));
	if (!r)
		return;
	if (r->row.told || r->dirty || r->making)
		rest(o, r);
	r->row.told = false;
	orders_work(o);
}

void orders_images_changed(struct orders *o)
{
	struct mono now = clock_now().mono;

	if (o->changed_at.ms == 0)
		o->changed_first = now;
	o->changed_at = now;
	o->library_stale = true;
}

// ---- telling

static enum err offer(struct orders *o, struct order *r)
{
	TRY(transmit_offer(o->p->transmit, &r->row.package, &r->request_id));
	r->phase = ORDER_OFFERS;
	o->waiting++;
	return ERR_OK;
}

static enum err tell(struct orders *o, struct order *r)
{
	struct order_outcome out = {.order = r->row.id,
		.revision = r->row.revision,
		.package = r->row.package,
		.matched = r->row.matched,
		.included = r->row.included,
		.size_bytes = r->row.size_bytes,
		.reason = r->row.reason};
	struct publisher_msg m = {.state = PUB_ORDERED, .ordered = &out};
	SCOPED_FREE char *lines = strdup(r->row.warnings);
	const char *warnings[LIMIT_WARNINGS];
	char *next = lines;

	out.warnings = warnings;
	while (next && *next && out.warning_count < LIMIT_WARNINGS)
		warnings[out.warning_count++] = strsep(&next, "\n");
	TRY(control_request(o->p->control, &m, &r->request_id));
	o->waiting += r->phase == ORDER_RESTS;
	r->phase = ORDER_TELLS;
	return ERR_OK;
}

static void orders_tell(struct orders *o)
{
	for (size_t i = 0; i < o->count && o->waiting < WAITING_MAX; i++) {
		struct order *r = o->list[i];
		if (r->row.told || r->dirty || r->making || r->phase != ORDER_RESTS)
			continue;
		bool fresh = digest_is_zero(&r->row.package) && !r->row.reason[0];
		enum err e = fresh                             ? ERR_OK
			     : digest_is_zero(&r->row.package) ? tell(o, r)
							       : offer(o, r);
		if (e == ERR_OK)
			continue;
		if (log_gate_open(&o->gate, clock_now().mono.ms, 1000))
			log_warn("ORDER-NOT-TOLD", "order=%s why=%s", r->row.id,
				log_quote(err_text()));
		return;
	}
}

static void offer_refused(struct orders *o, struct order *r, const char *reason)
{
	struct order_row next = r->row;
	struct store *s = &o->p->store;
	char text[LIMIT_TEXT + 1];

	if (store_end(s, package_set_state(s, &r->row.package, PACKAGE_SIGNED)) != ERR_OK)
		log_error("ORDER-STORE-WRITE", "why=%s", log_quote(err_text()));
	text_format(text, sizeof text, "%s", reason);
	next.package = (struct digest){{0}};
	next.reason = text;
	order_outcome(o, r, &next);
}

static void told(struct orders *o, struct order *r)
{
	struct store *s = &o->p->store;

	rest(o, r);
	if (store_end(s, order_set_told(s, r->row.id, true)) != ERR_OK)
		log_error("ORDER-STORE-WRITE", "why=%s", log_quote(err_text()));
	else
		r->row.told = true;
}

// A later offer of the same package replaces the request of an earlier one: its answer is for both.
void orders_answered(struct orders *o, const struct directive *d)
{
	for (size_t i = 0; i < o->count && o->waiting > 0; i++) {
		struct order *r = o->list[i];
		if (r->phase == ORDER_TELLS && r->request_id == d->request_id)
			told(o, r);
		if (r->phase != ORDER_OFFERS || r->request_id > d->request_id ||
			!digest_equal(&r->row.package, &d->package))
			continue;
		if (d->kind == DIRECTIVE_NOTED && strncmp(d->reason, "refused", 7) == 0) {
			offer_refused(o, r, d->reason);
		} else if (tell(o, r) != ERR_OK) {
			rest(o, r);
		}
	}
	orders_tell(o);
}

// ---- time

static bool settled(const struct orders *o, struct mono now)
{
	const struct publisher_settings *s = o->p->settings;

	return o->changed_at.ms != 0 &&
	       (mono_since_ms(now, o->changed_at) >= s->settle_ms ||
		       mono_since_ms(now, o->changed_first) >= (int64_t)s->period_s * 1000);
}

// What waits for a day that has come.
static void period_look(struct orders *o, struct wall now)
{
	for (size_t i = 0; i < o->count; i++)
		if (o->list[i]->change_unix_ms != 0 && o->list[i]->change_unix_ms <= now.ms)
			order_dirty(o, o->list[i]);
}

static bool library_ready(struct orders *o)
{
	if (!o->library_stale)
		return true;
	if (library_load(&o->library, &o->p->store) != ERR_OK) {
		if (log_gate_open(&o->gate, clock_now().mono.ms, 1000))
			log_error("CATALOG-NOT-READ", "why=%s", log_quote(err_text()));
		return false;
	}
	o->library_stale = false;
	return true;
}

static void on_step(uv_timer_t *t)
{
	orders_work(t->data);
}

void orders_work(struct orders *o)
{
	struct mono began = clock_now().mono;

	if (o->ended || o->p->store.failing != ERR_OK || mono_since_ms(began, o->pause_until) < 0)
		return;
	for (size_t i = 0; i < o->count && o->dirty_count > 0 && !o->job && o->sizing == 0; i++) {
		struct order *r = o->list[i];
		if (!r->dirty)
			continue;
		if (!library_ready(o))
			return;
		r->dirty = false;
		o->dirty_count--;
		order_run(o, r);
		if (mono_since_ms(clock_now().mono, began) >= TURN_MS)
			break;
	}
	orders_tell(o);
	if (o->dirty_count > 0 && !o->job && o->sizing == 0)
		uv_timer_start(&o->timer, on_step, STEP_MS, 0);
}

// ---- what nobody shows any more

#define OLD_MAX 256

struct old_packages {
	struct digest list[OLD_MAX];
	size_t count;
};

static bool old_package_put(void *ctx, const struct digest *package)
{
	struct old_packages *old = ctx;

	old->list[old->count++] = *package;
	return old->count < OLD_MAX;
}

static bool lies_somewhere(void *ctx, const struct placement *l)
{
	bool *lies = ctx;

	*lies |= l->state != PLACEMENT_LOST;
	return !*lies;
}

// What lies on a broker may be leased: the server stops it when it is not, and then it is let go.
static enum err package_let_go(struct orders *o, const struct digest *package)
{
	struct store *s = &o->p->store;
	struct package row;
	uint64_t freed = 0;
	bool lies = false;
	enum err e = package_find(s, package, &row);

	if (e == ERR_NOT_FOUND)
		return store_end(s, order_forget_package(s, package));
	TRY(e);
	TRY(placement_list(s, package, lies_somewhere, &lies));
	if (lies || o->p->work.running[WORK_BUILD] > 0)
		return ERR_OK;
	if (row.state == PACKAGE_OFFERED) {
		log_info("ORDER-PACKAGE-OLD", "package=%s name=%s version=%s",
			digest_short(package), row.name, row.version);
		return transmit_withdraw(o->p->transmit, package);
	}
	TRY(package_remove(s, package, &freed));
	return store_end(s, order_forget_package(s, package));
}

static void old_packages_withdraw(struct orders *o)
{
	struct old_packages old = {.count = 0};
	enum err e = order_old_packages(&o->p->store, o->p->settings->keep, old_package_put, &old);

	for (size_t i = 0; e == ERR_OK && i < old.count; i++)
		e = package_let_go(o, &old.list[i]);
	if (e != ERR_OK)
		log_warn("ORDER-PACKAGE-STAYS", "why=%s", log_quote(err_text()));
}

void orders_tick(struct orders *o, struct now now)
{
	if (o->p->store.failing != ERR_OK)
		return;
	if (settled(o, now.mono)) {
		o->changed_at.ms = 0;
		all_dirty(o);
	}
	if (mono_since_ms(now.mono, o->period_at) >= 0) {
		o->period_at = mono_add_ms(now.mono, (int64_t)o->p->settings->period_s * 1000);
		period_look(o, now.wall);
		old_packages_withdraw(o);
	}
	orders_work(o);
}

// ---- looking

static bool body_decode(const struct order *r, struct arena *a, struct package_order *out)
{
	return package_order_decode(a, r->row.body, out) == ERR_OK;
}

void orders_list(struct orders *o, order_view_each *each, void *ctx)
{
	SCOPED_ARENA struct arena a;

	arena_init(&a, 1 << 20, 4096);
	for (size_t i = 0; i < o->count; i++) {
		const struct order *r = o->list[i];
		struct package_order m;
		arena_reset(&a);
		bool readable = body_decode(r, &a, &m);
		struct order_view v = {.id = r->row.id,
			.revision = r->row.revision,
			.withdrawn = readable && m.withdrawn,
			.told = r->row.told,
			.busy = r->dirty || (digest_is_zero(&r->row.package) && !r->row.reason[0]),
			.order = readable ? &m : NULL,
			.package = r->row.package,
			.matched = r->row.matched,
			.included = r->row.included,
			.size_bytes = r->row.size_bytes,
			.reason = r->row.reason,
			.warnings = r->row.warnings,
			.changed_unix_ms = r->row.changed_unix_ms};
		if (!each(ctx, &v))
			return;
	}
}

enum err orders_find(struct orders *o, const char *id, struct arena *a, struct package_order *out,
	struct digest *content)
{
	struct order *r = order_find(o, id);

	if (!r)
		return err_set(ERR_NOT_FOUND, "there is no order %.64s", id);
	*content = r->row.content;
	return package_order_decode(a, r->row.body, out);
}

// ---- life

struct orders_load {
	struct orders *o;
	enum err e;
};

static bool order_load(void *ctx, const struct order_row *row)
{
	struct orders_load *l = ctx;
	struct order *r = NULL;

	l->e = order_insert(l->o, row, &r);
	if (l->e == ERR_OK)
		order_dirty(l->o, r);
	return l->e == ERR_OK;
}

enum err orders_new(struct publisher *p, struct orders **out)
{
	struct orders *o = calloc(1, sizeof *o);
	struct orders_load load = {o, ERR_OK};

	if (!o)
		return no_memory();
	o->p = p;
	o->library_stale = true;
	library_init(&o->library);
	uv_timer_init(p->config.loop, &o->timer);
	o->timer.data = o;
	enum err e = order_list(&p->store, order_load, &load);
	e = e == ERR_OK ? load.e : e;
	if (e != ERR_OK) {
		orders_free(o);
		return e;
	}
	*out = o;
	return ERR_OK;
}

static void on_closed(uv_handle_t *h)
{
	struct orders *o = h->data;

	for (size_t i = 0; i < o->count; i++)
		order_free(o->list[i]);
	free(o->list);
	library_fini(&o->library);
	free(o);
}

void orders_free(struct orders *o)
{
	if (!o)
		return;
	o->ended = true;
	uv_close((uv_handle_t *)&o->timer, on_closed);
}
