// Deriving orders, writing them down, and telling publishers. What comes back: orders_outcome.c.
// Who is in which channel: orders_walk.c.
#include "server/orders.h"

#include "proto/base/log.h"
#include "server/db/rows_key.h"
#include "server/orders_inside.h"
#include <inttypes.h>
#include <stdio.h>

void orders_init(struct orders *o, struct core *core, struct presence *presence)
{
	*o = (struct orders){.core = core, .presence = presence};
}

// ---------------------------------------------------------------- what is told

static struct order_told *told_find(struct orders *o, const char *id)
{
	struct order_told *t;

	HASH_FIND_STR(o->told, id, t);
	return t;
}

static void told_free(struct orders *o, struct order_told *t)
{
	HASH_DEL(o->told, t);
	free(t);
}

struct order_told *order_told_of(struct orders *o, const char *id, const char *publisher)
{
	struct order_told *t = told_find(o, id);

	if (!t) {
		t = calloc(1, sizeof(*t));
		if (!t)
			abort();
		(void)str_copy(t->id, sizeof(t->id), id);
		HASH_ADD_STR(o->told, id, t);
	}
	(void)str_copy(t->publisher, sizeof(t->publisher), publisher);
	return t;
}

void order_tell_now(struct order_told *t)
{
	t->settled = false;
	t->times = 0;
	t->next = (struct mono){0};
}

void order_told_end(struct orders *o, const char *id)
{
	struct order_told *t = told_find(o, id);

	if (t)
		told_free(o, t);
}

static void told_forget(struct orders *o)
{
	struct order_told *t, *next;
	struct order_seen *s, *after;

	HASH_ITER(hh, o->told, t, next)
	told_free(o, t);
	HASH_ITER(hh, o->seen, s, after)
	{
		HASH_DEL(o->seen, s);
		free(s);
	}
}

void orders_fini(struct orders *o)
{
	told_forget(o);
	orders_walks_forget(o);
}

// ---------------------------------------------------------------- start

#define ORDERS_READ 256

static void row_load(struct orders *o, const struct order_row *r)
{
	if (r->withdrawn && r->answered >= r->revision)
		return;
	o->standing += !r->withdrawn;
	(void)order_told_of(o, r->id, r->publisher);
}

enum err orders_load(struct orders *o)
{
	char after[LIMIT_ID + 1] = "";
	struct order_row *rows = NULL;
	size_t count = ORDERS_READ;

	told_forget(o);
	o->standing = 0;
	while (count == ORDERS_READ) {
		SCOPED_ARENA struct arena a = {0};

		arena_init(&a, ORDERS_READ * (ORDER_BODY_MAX + 16384), ORDERS_READ * 16);
		TRY(rows_order_list(core_db(o->core), NULL, after, ORDERS_READ, &a, &rows, &count));
		for (size_t i = 0; i < count; i++)
			row_load(o, &rows[i]);
		if (count)
			(void)str_copy(after, sizeof(after), rows[count - 1].id);
	}
	return orders_walks_load(o);
}

// ---------------------------------------------------------------- deriving

struct deriving {
	struct orders *o;
	struct order_groups *groups;
	const struct orders_if *as;
	bool put_seen;
};

static enum err client_add(struct deriving *d, const struct customer_client *c)
{
	struct order_group *g = NULL;
	struct screen reported;

	if (!core_client_screen(d->o->core, c->client, &reported.width_px, &reported.height_px))
		return ERR_OK;
	TRY(order_group_of(d->groups, c, reported, &g));
	g->clients++;
	return ERR_OK;
}

static enum err client_take(void *ctx, const struct customer_client *c)
{
	struct deriving *d = ctx;
	const struct orders_if *as = d->as;

	if (as && as->without && strcmp(as->without, c->client) == 0)
		return ERR_OK;
	if (as && as->put && strcmp(as->put->client, c->client) == 0) {
		d->put_seen = true;
		c = as->put;
	}
	return client_add(d, c);
}

enum err orders_derive(struct orders *o, const struct customer_whole *w, const struct orders_if *as,
	struct arena *a, struct order_groups **out)
{
	struct deriving d = {.o = o, .as = as};
	size_t count = 0;

	*out = d.groups = arena_alloc(a, sizeof(**out));
	if (!d.groups)
		return err_set(ERR_FULL, "no room for the orders of %s", w->customer.id);
	TRY(order_groups_init(d.groups, w, a));
	TRY(rows_customer_client_each(core_db(o->core), w->customer.id, "", CUSTOMER_CLIENTS_MAX,
		&count, client_take, &d));
	if (as && as->put && !d.put_seen)
		TRY(client_add(&d, as->put));
	return ERR_OK;
}

// ---------------------------------------------------------------- what would change

static const char *const change_words[] = {
	[ORDER_SAME] = "same",
	[ORDER_NEW] = "new",
	[ORDER_CHANGED] = "changed",
	[ORDER_WITHDRAWN] = "withdrawn",
};

const char *order_change_word(enum order_change c)
{
	return c >= ORDER_SAME && c <= ORDER_WITHDRAWN ? change_words[c] : "?";
}

// The bytes that tell whether an order is another one: without its revision and flow.
static enum err body_of(const struct package_order *order, struct arena *a, struct bytes *out)
{
	SCOPED_BUF struct buf b = {0};
	struct package_order plain = *order;

	plain.revision = 1;
	plain.flow_id = 0;
	plain.withdrawn = false;
	buf_init(&b, ORDER_BODY_MAX);
	TRY(package_order_encode(&plain, &b));
	*out = arena_copy(a, buf_bytes(&b));
	return out->size ? ERR_OK : err_set(ERR_FULL, "no room for an order");
}

static enum err would_stand(const struct customer_whole *w, const struct order_groups *g,
	const struct order_group *group, struct arena *a, struct order_would *out)
{
	struct bytes body;
	bool is_known = out->row.id != NULL;

	out->group = group;
	TRY(order_make(g, group, a, &out->order));
	TRY(body_of(&out->order, a, &body));
	if (is_known && !out->row.withdrawn && bytes_equal(body, out->row.body) &&
		strcmp(out->row.publisher, w->customer.publisher) == 0) {
		out->change = ORDER_SAME;
		out->order.revision = out->row.revision;
	} else {
		out->change = is_known && !out->row.withdrawn ? ORDER_CHANGED : ORDER_NEW;
		out->order.revision = w->customer.revision > out->row.revision
					      ? w->customer.revision
					      : out->row.revision + 1;
	}
	out->row.body = body;
	out->row.publisher = w->customer.publisher;
	if (!is_known)
		out->row.reason = out->row.warnings = "";
	return ERR_OK;
}

static enum err would_end(struct arena *a, struct order_would *out)
{
	out->change = ORDER_WITHDRAWN;
	TRY(package_order_decode(a, out->row.body, &out->order));
	out->order.revision = out->row.revision + 1;
	out->order.withdrawn = true;
	return ERR_OK;
}

static const struct order_group *group_find(const struct order_groups *g, const char *id)
{
	for (size_t i = 0; i < g->count; i++)
		if (strcmp(g->items[i].id, id) == 0)
			return &g->items[i];
	return NULL;
}

static bool is_listed(const struct order_row *rows, size_t count, const char *id)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].id, id) == 0)
			return true;
	return false;
}

enum err orders_compare(struct orders *o, const struct customer_whole *w,
	const struct order_groups *g, struct arena *a, struct order_would **out, size_t *count)
{
	// Groups that came and went: a withdrawn order keeps its row.
	size_t most = 16 * ORDER_GROUPS_MAX, row_count = 0, fresh = 0;
	struct order_row *rows = NULL;

	*count = 0;
	TRY(rows_order_list(core_db(o->core), w->customer.id, "", most, a, &rows, &row_count));
	if (row_count == most)
		return err_set(ERR_FULL, "%s has had %zu distinct orders", w->customer.id, most);
	*out = arena_array(a, row_count + g->count + 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for the orders of %s", w->customer.id);
	for (size_t i = 0; i < row_count; i++) {
		const struct order_group *group = group_find(g, rows[i].id);
		struct order_would *one = &(*out)[*count];

		if (!group && rows[i].withdrawn)
			continue;
		++*count;
		one->row = rows[i];
		fresh += group && rows[i].withdrawn;
		TRY(group ? would_stand(w, g, group, a, one) : would_end(a, one));
	}
	for (size_t i = 0; i < g->count; i++) {
		if (is_listed(rows, row_count, g->items[i].id))
			continue;
		fresh++;
		TRY(would_stand(w, g, &g->items[i], a, &(*out)[(*count)++]));
	}
	if (o->standing + fresh > ORDERS_MAX)
		return err_set(ERR_FULL, "%zu orders stand, at most %d", o->standing, ORDERS_MAX);
	return ERR_OK;
}

// ---------------------------------------------------------------- settling

static enum err settle_one(
	struct orders *o, struct order_would *w, const char *verb, const char *seat)
{
	struct order_row *r = &w->row;
	bool was_standing = r->id && !r->withdrawn;

	if (w->change == ORDER_SAME && w->group->clients == r->clients)
		return ERR_OK;
	r->id = w->order.order;
	r->customer = w->order.customer;
	r->clients = w->group ? w->group->clients : 0;
	if (w->change != ORDER_SAME) {
		r->revision = w->order.revision;
		r->withdrawn = w->change == ORDER_WITHDRAWN;
		r->flow = w->order.flow_id = core_flow_new(o->core);
		r->seat = seat;
		r->verb = verb;
		r->changed_ms = core_now(o->core).wall.ms;
		log_info("ORDER", "order=%s revision=%" PRIu64 " change=%s clients=%" PRIu64, r->id,
			r->revision, order_change_word(w->change), r->clients);
		order_tell_now(order_told_of(o, r->id, r->publisher));
	}
	o->standing += !r->withdrawn;
	o->standing -= was_standing;
	return rows_order_put(core_db(o->core), r);
}

enum err orders_settle(struct orders *o, struct order_would *list, size_t count, const char *verb,
	const char *seat)
{
	for (size_t i = 0; i < count; i++)
		TRY(settle_one(o, &list[i], verb, seat));
	return ERR_OK;
}

// ---------------------------------------------------------------- telling

// Said with the order and not in its row: without the key nothing is made, rather than open.
static enum err is_sealed(struct orders *o, const char *customer, bool *sealed)
{
	struct key_row key;
	enum err e = rows_key_current(core_db(o->core), customer, &key);

	secret_wipe(&key, sizeof(key));
	*sealed = e == ERR_OK;
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err order_send(struct orders *o, struct order_told *t, bool *ended)
{
	SCOPED_ARENA struct arena a = {0};
	struct package_order order;
	struct order_row row;
	struct directive d = {.kind = DIRECTIVE_PACKAGE_ORDER, .order = &order, .reason = ""};

	arena_init(&a, 4 * ORDER_BODY_MAX, 4096);
	TRY(rows_order_find(core_db(o->core), t->id, &a, &row));
	*ended = row.withdrawn && row.answered >= row.revision;
	if (*ended)
		return ERR_OK;
	TRY(package_order_decode(&a, row.body, &order));
	order.revision = d.directive_id = row.revision;
	order.flow_id = row.flow;
	TRY(is_sealed(o, row.customer, &order.sealed));
	order.withdrawn = row.withdrawn;
	if (row.withdrawn)
		order.part_count = 0;
	return core_send_directive(o->core, row.publisher, &d);
}

static void order_tell(struct orders *o, struct order_told *t, struct now now)
{
	int64_t wait = (int64_t)ORDERS_TELL_AGAIN_MS << (t->times < 6 ? t->times : 6);
	bool ended = false;

	if (order_send(o, t, &ended) != ERR_OK)
		log_debug("ORDER-UNTOLD", "order=%s publisher=%s why=%s", t->id, t->publisher,
			log_quote(err_text()));
	if (ended) {
		told_free(o, t);
		return;
	}
	t->times++;
	t->next = mono_add_ms(now.mono, wait < ORDERS_TELL_MAX_MS ? wait : ORDERS_TELL_MAX_MS);
}

static void tell_due(struct orders *o, struct now now)
{
	struct order_told *t, *next;
	size_t told = 0;

	HASH_ITER(hh, o->told, t, next)
	{
		if (t->settled || mono_since_ms(now.mono, t->next) < 0)
			continue;
		order_tell(o, t, now);
		if (++told == ORDERS_TOLD_PER_TICK)
			return;
	}
}

void customer_orders_work(struct orders *o, struct now now)
{
	if (core_is_degraded(o->core))
		return;
	if (!core_is_loading(o->core))
		orders_walk_some(o);
	tell_due(o, now);
}

static bool is_of(const char *order, const char *customer)
{
	size_t n = strlen(customer);

	return strncmp(order, "c.", 2) == 0 && strncmp(order + 2, customer, n) == 0 &&
	       order[2 + n] == '.';
}

void orders_again(struct orders *o, const char *customer)
{
	struct order_told *t, *next;

	HASH_ITER(hh, o->told, t, next)
	{
		if (is_of(t->id, customer))
			order_tell_now(t);
	}
}

// ---------------------------------------------------------------- who is there

// A publisher that signed in anew may have forgotten what it was told.
void orders_publisher(struct orders *o, const char *publisher, uint64_t session_id)
{
	struct order_told *t, *next;
	struct order_seen *s;

	HASH_FIND_STR(o->seen, publisher, s);
	if (s && s->session_id == session_id)
		return;
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			abort();
		(void)str_copy(s->publisher, sizeof(s->publisher), publisher);
		HASH_ADD_STR(o->seen, publisher, s);
	}
	s->session_id = session_id;
	HASH_ITER(hh, o->told, t, next)
	{
		if (strcmp(t->publisher, publisher) == 0)
			order_tell_now(t);
	}
}
