// Customers, their places, plans and clients, and who edited them. Written at each edit of an
// operator; read when something is edited, asked or started.
#include "server/db/rows_customer.h"

#include <inttypes.h>

static enum err no_room(void)
{
	return err_set(ERR_FULL, "no room for what is known of a customer");
}

// ---------------------------------------------------------------- customer

#define CUSTOMER_COLUMNS                                                                           \
	"id, revision, removed, name, publisher, time_zone, show_order, seed, duration_ms, "       \
	"transition_ms, fit, background, max_images, max_bytes, created_ms, changed_ms"

enum err rows_customer_put(struct db *db, const struct customer *c)
{
	return db_run(db,
		"INSERT OR REPLACE INTO customer (" CUSTOMER_COLUMNS ") VALUES ($1, $2, $3, $4, "
		"$5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
		DB_T(c->id), DB_I(c->revision), DB_I(c->removed), DB_T(c->name), DB_T(c->publisher),
		DB_T(c->time_zone), DB_T(c->order), DB_I(c->seed), DB_I(c->duration_ms),
		DB_I(c->transition_ms), DB_T(c->fit), DB_I(c->background_rgb), DB_I(c->max_images),
		DB_I(c->max_bytes), DB_I(c->created_ms), DB_I(c->changed_ms));
}

static bool customer_take(struct db_rows *rows, struct arena *a, struct customer *c)
{
	*c = (struct customer){
		.id = arena_strdup(a, db_text(rows, 0)),
		.revision = (uint64_t)db_int(rows, 1),
		.removed = db_int(rows, 2) != 0,
		.name = arena_strdup(a, db_text(rows, 3)),
		.publisher = arena_strdup(a, db_text(rows, 4)),
		.time_zone = arena_strdup(a, db_text(rows, 5)),
		.order = arena_strdup(a, db_text(rows, 6)),
		.seed = (uint64_t)db_int(rows, 7),
		.duration_ms = (uint32_t)db_int(rows, 8),
		.transition_ms = (uint32_t)db_int(rows, 9),
		.fit = arena_strdup(a, db_text(rows, 10)),
		.background_rgb = (uint32_t)db_int(rows, 11),
		.max_images = (uint32_t)db_int(rows, 12),
		.max_bytes = (uint64_t)db_int(rows, 13),
		.created_ms = db_int(rows, 14),
		.changed_ms = db_int(rows, 15),
	};
	return c->id && c->name && c->publisher && c->time_zone && c->order && c->fit;
}

enum err rows_customer_find(struct db *db, const char *id, struct arena *a, struct customer *out)
{
	struct db_rows rows;
	bool found = false;

	TRY(db_query(
		db, &rows, "SELECT " CUSTOMER_COLUMNS " FROM customer WHERE id = $1", DB_T(id)));
	if (db_next(&rows)) {
		found = true;
		if (!customer_take(&rows, a, out))
			rows.failed = no_room();
	}
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "no customer %s", id);
}

enum err rows_customer_list(struct db *db, const char *after, size_t max, struct arena *a,
	struct customer **out, size_t *count)
{
	struct db_rows rows;

	*count = 0;
	*out = arena_array(a, max ? max : 1, sizeof(**out));
	if (!*out)
		return no_room();
	TRY(db_query(db, &rows,
		"SELECT " CUSTOMER_COLUMNS " FROM customer WHERE id > $1 AND removed = 0 "
		"ORDER BY id LIMIT $2",
		DB_T(after), DB_I(max)));
	while (*count < max && db_next(&rows))
		if (!customer_take(&rows, a, &(*out)[(*count)++]))
			rows.failed = no_room();
	return db_end(&rows);
}

enum err rows_customer_count(struct db *db, const char *id, struct customer_counts *out)
{
	struct db_rows rows;

	*out = (struct customer_counts){0};
	TRY(db_query(db, &rows,
		"SELECT (SELECT count(*) FROM customer WHERE removed = 0),"
		" (SELECT count(*) FROM customer_client WHERE customer = $1),"
		" (SELECT count(*) FROM customer_place WHERE customer = $1),"
		" (SELECT count(*) FROM customer_plan WHERE customer = $1),"
		" (SELECT count(*) FROM package_order WHERE customer = $1 AND withdrawn = 0)",
		DB_T(id)));
	if (db_next(&rows))
		*out = (struct customer_counts){
			.customers = (uint64_t)db_int(&rows, 0),
			.clients = (uint64_t)db_int(&rows, 1),
			.places = (uint64_t)db_int(&rows, 2),
			.plans = (uint64_t)db_int(&rows, 3),
			.orders = (uint64_t)db_int(&rows, 4),
		};
	return db_end(&rows);
}

// ---------------------------------------------------------------- places

enum err rows_place_put(struct db *db, const char *customer, const struct customer_place *p)
{
	return db_run(db,
		"INSERT OR REPLACE INTO customer_place (customer, id, name, address, time_zone)"
		" VALUES ($1, $2, $3, $4, $5)",
		DB_T(customer), DB_T(p->id), DB_T(p->name), DB_T(p->address), DB_T(p->time_zone));
}

enum err rows_place_delete(struct db *db, const char *customer, const char *id)
{
	return db_run(db, "DELETE FROM customer_place WHERE customer = $1 AND id = $2",
		DB_T(customer), DB_T(id));
}

static enum err places_read(
	struct db *db, const char *id, struct arena *a, struct customer_whole *w)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT id, name, address, time_zone FROM customer_place WHERE customer = $1"
		" ORDER BY id LIMIT $2",
		DB_T(id), DB_I(CUSTOMER_PLACES_MAX)));
	while (w->place_count < CUSTOMER_PLACES_MAX && db_next(&rows)) {
		struct customer_place *p = &w->places[w->place_count++];

		*p = (struct customer_place){
			.id = arena_strdup(a, db_text(&rows, 0)),
			.name = arena_strdup(a, db_text(&rows, 1)),
			.address = arena_strdup(a, db_text(&rows, 2)),
			.time_zone = arena_strdup(a, db_text(&rows, 3)),
		};
		if (!p->id || !p->name || !p->address || !p->time_zone)
			rows.failed = no_room();
	}
	return db_end(&rows);
}

// ---------------------------------------------------------------- plans

#define PLAN_COLUMNS                                                                               \
	"id, expression, min_width_px, min_height_px, max_images, max_bytes, pick, seed, "         \
	"duration_ms, fit, weight, from_ms, until_ms, dayparts, places, orientation, paused"

enum err rows_plan_put(struct db *db, const char *customer, const struct customer_plan *p)
{
	return db_run(db,
		"INSERT OR REPLACE INTO customer_plan (customer, " PLAN_COLUMNS ") VALUES ($1, $2, "
		"$3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
		DB_T(customer), DB_T(p->id), DB_T(p->expression), DB_I(p->min_width_px),
		DB_I(p->min_height_px), DB_I(p->max_images), DB_I(p->max_bytes), DB_T(p->order),
		DB_I(p->seed), DB_I(p->duration_ms), DB_T(p->fit), DB_I(p->weight),
		DB_I(p->from_unix_ms), DB_I(p->until_unix_ms), DB_T(p->dayparts), DB_T(p->places),
		DB_T(p->orientation), DB_I(p->paused));
}

enum err rows_plan_delete(struct db *db, const char *customer, const char *id)
{
	return db_run(db, "DELETE FROM customer_plan WHERE customer = $1 AND id = $2",
		DB_T(customer), DB_T(id));
}

static bool plan_take(struct db_rows *rows, struct arena *a, struct customer_plan *p)
{
	*p = (struct customer_plan){
		.id = arena_strdup(a, db_text(rows, 0)),
		.expression = arena_strdup(a, db_text(rows, 1)),
		.min_width_px = (uint32_t)db_int(rows, 2),
		.min_height_px = (uint32_t)db_int(rows, 3),
		.max_images = (uint32_t)db_int(rows, 4),
		.max_bytes = (uint64_t)db_int(rows, 5),
		.order = arena_strdup(a, db_text(rows, 6)),
		.seed = (uint64_t)db_int(rows, 7),
		.duration_ms = (uint32_t)db_int(rows, 8),
		.fit = arena_strdup(a, db_text(rows, 9)),
		.weight = (uint32_t)db_int(rows, 10),
		.from_unix_ms = db_int(rows, 11),
		.until_unix_ms = db_int(rows, 12),
		.dayparts = arena_strdup(a, db_text(rows, 13)),
		.places = arena_strdup(a, db_text(rows, 14)),
		.orientation = arena_strdup(a, db_text(rows, 15)),
		.paused = db_int(rows, 16) != 0,
	};
	return p->id && p->expression && p->order && p->fit && p->dayparts && p->places &&
	       p->orientation;
}

static enum err plans_read(struct db *db, const char *id, struct arena *a, struct customer_whole *w)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT " PLAN_COLUMNS
		" FROM customer_plan WHERE customer = $1 ORDER BY id LIMIT $2",
		DB_T(id), DB_I(CUSTOMER_PLANS_MAX)));
	while (w->plan_count < CUSTOMER_PLANS_MAX && db_next(&rows))
		if (!plan_take(&rows, a, &w->plans[w->plan_count++]))
			rows.failed = no_room();
	return db_end(&rows);
}

enum err rows_customer_whole(
	struct db *db, const char *id, struct arena *a, struct customer_whole *out)
{
	struct customer_counts counts;

	*out = (struct customer_whole){0};
	TRY(rows_customer_find(db, id, a, &out->customer));
	if (out->customer.removed)
		return err_set(ERR_NOT_FOUND, "customer %s was removed", id);
	TRY(rows_customer_count(db, id, &counts));
	// One more each: an edit may add one.
	out->places = arena_array(a, (size_t)counts.places + 1, sizeof(*out->places));
	out->plans = arena_array(a, (size_t)counts.plans + 1, sizeof(*out->plans));
	if (!out->places || !out->plans)
		return no_room();
	TRY(places_read(db, id, a, out));
	return plans_read(db, id, a, out);
}

// ---------------------------------------------------------------- clients

enum err rows_customer_client_put(
	struct db *db, const char *customer, const struct customer_client *c)
{
	return db_run(db,
		"INSERT OR REPLACE INTO customer_client (client, customer, place, name, width_px, "
		"height_px, orientation) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		DB_T(c->client), DB_T(customer), DB_T(c->place), DB_T(c->name), DB_I(c->width_px),
		DB_I(c->height_px), DB_T(c->orientation));
}

enum err rows_customer_client_delete(struct db *db, const char *client)
{
	return db_run(db, "DELETE FROM customer_client WHERE client = $1", DB_T(client));
}

enum err rows_customer_client_find(struct db *db, const char *client, struct arena *a,
	const char **owner, struct customer_client *out)
{
	struct db_rows rows;
	bool found = false;

	TRY(db_query(db, &rows,
		"SELECT customer, client, place, name, width_px, height_px, orientation FROM "
		"customer_client WHERE client = $1",
		DB_T(client)));
	if (db_next(&rows)) {
		found = true;
		*owner = arena_strdup(a, db_text(&rows, 0));
		*out = (struct customer_client){
			.client = arena_strdup(a, db_text(&rows, 1)),
			.place = arena_strdup(a, db_text(&rows, 2)),
			.name = arena_strdup(a, db_text(&rows, 3)),
			.width_px = (uint32_t)db_int(&rows, 4),
			.height_px = (uint32_t)db_int(&rows, 5),
			.orientation = arena_strdup(a, db_text(&rows, 6)),
		};
		if (!*owner || !out->client || !out->place || !out->name || !out->orientation)
			rows.failed = no_room();
	}
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "%s belongs to no customer", client);
}

enum err rows_customer_client_each(struct db *db, const char *customer, const char *after,
	size_t max, size_t *count, enum err (*each)(void *ctx, const struct customer_client *c),
	void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	*count = 0;
	TRY(db_query(db, &rows,
		"SELECT client, place, name, width_px, height_px, orientation FROM customer_client"
		" WHERE customer = $1 AND client > $2 ORDER BY client LIMIT $3",
		DB_T(customer), DB_T(after), DB_I(max)));
	while (e == ERR_OK && db_next(&rows)) {
		struct customer_client c = {
			.client = db_text(&rows, 0),
			.place = db_text(&rows, 1),
			.name = db_text(&rows, 2),
			.width_px = (uint32_t)db_int(&rows, 3),
			.height_px = (uint32_t)db_int(&rows, 4),
			.orientation = db_text(&rows, 5),
		};
		++*count;
		e = each(ctx, &c);
	}
	return rows_close(&rows, e);
}

enum err rows_customer_client_at(
	struct db *db, const char *customer, const char *place, uint64_t *count)
{
	struct db_rows rows;

	*count = 0;
	TRY(db_query(db, &rows,
		"SELECT count(*) FROM customer_client WHERE customer = $1 AND place = $2",
		DB_T(customer), DB_T(place)));
	if (db_next(&rows))
		*count = (uint64_t)db_int(&rows, 0);
	return db_end(&rows);
}

// ---------------------------------------------------------------- history

enum err rows_customer_edit_put(struct db *db, const struct customer_edit *e)
{
	return db_run(db,
		"INSERT INTO customer_history (customer, revision, seat, at_ms, verb, item, "
		"before, after) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		DB_T(e->customer), DB_I(e->revision), DB_T(e->seat), DB_I(e->at_ms), DB_T(e->verb),
		DB_T(e->item), DB_T(e->before), DB_T(e->after));
}

enum err rows_customer_edit_list(struct db *db, const char *customer, uint64_t below, size_t max,
	struct arena *a, struct customer_edit **out, size_t *count)
{
	struct db_rows rows;

	*count = 0;
	*out = arena_array(a, max ? max : 1, sizeof(**out));
	if (!*out)
		return no_room();
	TRY(db_query(db, &rows,
		"SELECT revision, seat, at_ms, verb, item, before, after FROM customer_history"
		" WHERE customer = $1 AND ($2 = 0 OR revision < $2) ORDER BY revision DESC LIMIT "
		"$3",
		DB_T(customer), DB_I(below), DB_I(max)));
	while (*count < max && db_next(&rows)) {
		struct customer_edit *e = &(*out)[(*count)++];

		*e = (struct customer_edit){
			.customer = arena_strdup(a, customer),
			.revision = (uint64_t)db_int(&rows, 0),
			.seat = arena_strdup(a, db_text(&rows, 1)),
			.at_ms = db_int(&rows, 2),
			.verb = arena_strdup(a, db_text(&rows, 3)),
			.item = arena_strdup(a, db_text(&rows, 4)),
			.before = arena_strdup(a, db_text(&rows, 5)),
			.after = arena_strdup(a, db_text(&rows, 6)),
		};
		if (!e->customer || !e->seat || !e->verb || !e->item || !e->before || !e->after)
			rows.failed = no_room();
	}
	return db_end(&rows);
}
