// What publishers made of orders: kept, shown, and turned into the one DISPLAY event.
#include "server/orders_inside.h"

#include "proto/base/log.h"
#include "proto/base/text.h"
#include "server/db/rows_content.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err warnings_join(const struct order_outcome *m, struct arena *a, const char **out)
{
	*out = "";
	for (size_t i = 0; i < m->warning_count; i++) {
		*out = i ? arena_printf(a, "%s\n%s", *out, m->warnings[i])
			 : arena_strdup(a, m->warnings[i]);
		if (!*out)
			return err_set(ERR_FULL, "no room for an outcome");
	}
	return ERR_OK;
}

static enum err package_check(struct orders *o, const char *publisher, const struct order_row *r,
	const struct order_outcome *m)
{
	const struct package *k = presence_find(o->presence, &m->package);
	char name[LIMIT_ID + 1];

	(void)snprintf(name, sizeof(name), "c.%s", r->customer);
	if (!k || k->state == PLACE_WITHDRAWN)
		return err_set(
			ERR_NOT_FOUND, "the package %s was not offered", digest_short(&m->package));
	if (strcmp(k->publisher, publisher) != 0)
		return err_set(ERR_DENIED, "the package belongs to another publisher");
	if (k->kind != PACKAGE_IMAGES || strcmp(k->name, name) != 0)
		return err_set(ERR_DENIED, "the package is not one of images called %s", name);
	return ERR_OK;
}

static enum err is_shown(struct orders *o, const char *channel, const char *name,
	const struct digest *package, struct arena *a, bool *shown)
{
	struct channel_slot *slots = NULL;
	size_t count = 0;
	enum err e = core_channel_slots(o->core, channel, a, &slots, &count);

	*shown = false;
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	TRY(e);
	for (size_t i = 0; i < count; i++)
		*shown |= slots[i].kind == PACKAGE_IMAGES && strcmp(slots[i].name, name) == 0 &&
			  digest_equal(&slots[i].package, package);
	return ERR_OK;
}

static enum err event_append(
	struct orders *o, struct order_row *r, const struct package *k, bool is_of_edit)
{
	struct event e = {
		.type = ELEMENT_DISPLAY,
		.packages = &k->id,
		.package_count = 1,
		.activate = true,
		.flow_id = is_of_edit ? r->flow : 0,
		.author = is_of_edit ? r->seat : k->publisher,
	};
	struct flow_row flow = {
		.queue = r->id,
		.verb = is_of_edit ? r->verb : "order",
		.seat = e.author,
		.package = k->id,
		.at_ms = core_now(o->core).wall.ms,
	};

	TRY(core_append_event(o->core, r->id, &e, &flow.seq, &flow.flow));
	r->shown = k->id;
	log_info("ORDER-SHOWN",
		"order=%s revision=%" PRIu64 " package=%s version=%s clients=%" PRIu64, r->id,
		r->revision, digest_short(&k->id), log_quote(k->version), r->clients);
	return rows_flow_put(core_db(o->core), &flow);
}

// One event when the package is news to the channel. What an operator put there by hand stays until
// the order changes, or yields something else than before.
static enum err outcome_show(
	struct orders *o, struct order_row *r, const struct digest *before, struct arena *a)
{
	const struct package *k = presence_find(o->presence, &r->package);
	bool is_of_edit = r->answered < r->revision, shown = false;

	if (!k || (!is_of_edit && digest_equal(before, &r->package) &&
			  digest_equal(&r->shown, &r->package)))
		return ERR_OK;
	TRY(is_shown(o, r->id, k->name, &k->id, a, &shown));
	if (shown) {
		r->shown = k->id;
		return ERR_OK;
	}
	enum err e = event_append(o, r, k, is_of_edit);
	if (e != ERR_NOT_NOW)
		return e;
	r->reason = "closed: the channel takes nothing; helioctl channel resume";
	return ERR_OK;
}

static enum err row_answer(struct orders *o, const char *publisher, struct order_row *r,
	const struct order_outcome *m, struct arena *a)
{
	struct digest before = r->package;

	if (!digest_is_zero(&m->package))
		TRY(package_check(o, publisher, r, m));
	TRY(warnings_join(m, a, &r->warnings));
	r->package = m->package;
	r->matched = m->matched;
	r->included = m->included;
	r->size_bytes = m->size_bytes;
	r->reason = m->reason ? m->reason : "";
	if (!digest_is_zero(&m->package))
		TRY(outcome_show(o, r, &before, a));
	else
		log_warn("ORDER-EMPTY", "order=%s revision=%" PRIu64 " matched=%u why=%s", r->id,
			r->revision, r->matched, log_quote(r->reason));
	return ERR_OK;
}

enum err orders_outcome(struct orders *o, const char *publisher, const struct order_outcome *m)
{
	SCOPED_ARENA struct arena a = {0};
	struct order_row r;

	arena_init(&a, 4 * ORDER_BODY_MAX, 4096);
	if (rows_order_find(core_db(o->core), m->order, &a, &r) != ERR_OK)
		return err_set(ERR_NOT_FOUND, "no such order stands here");
	if (strcmp(r.publisher, publisher) != 0)
		return err_set(ERR_DENIED, "the order belongs to another publisher");
	if (m->revision != r.revision) {
		order_tell_now(order_told_of(o, r.id, r.publisher));
		return err_set(ERR_STALE, "the order stands at revision %" PRIu64, r.revision);
	}
	if (!r.withdrawn)
		TRY(row_answer(o, publisher, &r, m, &a));
	r.answered = r.revision;
	r.answered_ms = core_now(o->core).wall.ms;
	TRY(rows_order_put(core_db(o->core), &r));
	if (r.withdrawn)
		order_told_end(o, r.id);
	else
		order_told_of(o, r.id, r.publisher)->settled = true;
	return ERR_OK;
}

// ---------------------------------------------------------------- findings

static void order_look(const struct order_row *r, int64_t now_ms, struct findings *out)
{
	char what[LIMIT_TEXT + 1], mend[128];

	(void)snprintf(mend, sizeof(mend), "helioctl customer show %s", r->customer);
	if (r->answered < r->revision && now_ms - r->changed_ms > ORDERS_LATE_MS) {
		text_format(what, sizeof(what), "publisher %s does not answer an order of %s",
			r->publisher, r->customer);
		finding_add(out, FINDING_WARN, "", r->id, what,
			"systemctl status helio-publisher, on its machine");
	} else if (r->answered == r->revision && digest_is_zero(&r->package)) {
		text_format(what, sizeof(what), "%s gets nothing new on %s: %s", r->customer, r->id,
			r->reason);
		finding_add(out, FINDING_WARN, "", r->id, what, mend);
	}
}

#define LOOKED_MOST 512
#define ROOM_TOLD_MOST 16

static int row_compare(const void *id, const void *row)
{
	return strcmp(id, ((const struct order_row *)row)->id);
}

static int rows_compare(const void *a, const void *b)
{
	return strcmp(((const struct order_row *)a)->id, ((const struct order_row *)b)->id);
}

// An order of one of its channels, with a package that it has not and that takes more than it has
// free; NULL: none. rows: by ascending id.
static const struct order_row *room_lacked(const struct orders *o, const struct order_row *rows,
	size_t count, const struct client_brief *c)
{
	struct client_info info;

	if (!core_client_at(o->core, c->place, &info))
		return NULL;
	for (size_t i = 0; i < info.place_count; i++) {
		const struct order_row *r =
			bsearch(info.places[i].channel, rows, count, sizeof(*rows), row_compare);

		if (r && !r->withdrawn && r->size_bytes > c->free_bytes &&
			!digest_is_zero(&r->shown) &&
			!core_client_holds_at(o->core, c->place, &r->shown))
			return r;
	}
	return NULL;
}

static void room_tell(const struct order_row *r, const struct client_brief *c, struct findings *out)
{
	char what[LIMIT_TEXT + 1], id[LIMIT_ID + 1], mend[160];

	(void)snprintf(id, sizeof(id), "ROOM-%.50s", c->id);
	text_format(what, sizeof(what),
		"%s has %" PRIu64 " bytes free, and the package of %s takes up to %" PRIu64
		": less what it holds of it already, that may not fit",
		c->id, c->free_bytes, r->id, r->size_bytes);
	(void)snprintf(mend, sizeof(mend), "helioctl customer set %s --max-bytes ..., or more room",
		r->customer);
	finding_add(out, FINDING_WARN, "", id, what, mend);
}

static void rest_tell(size_t rest, struct findings *out)
{
	char what[LIMIT_TEXT + 1];

	text_format(what, sizeof(what),
		"%zu more clients have less room than the largest package of an order: doctor "
		"looks "
		"at %d at a time, and the next time goes on behind them",
		rest, ORDERS_ROOM_LOOKS);
	finding_add(out, FINDING_WARN, "", "ROOM-MORE", what, "helioctl doctor");
}

// Who has less room than a package that is on its way takes: said before it fails there. In one
// turn so many clients are looked at closely, and no more.
static void room_look(
	struct orders *o, const struct order_row *rows, size_t count, struct findings *out)
{
	uint64_t largest = 0;
	struct client_brief c;
	size_t cursor = 0, told = 0, looks = 0, rest = 0, next = 0;

	for (size_t i = 0; i < count; i++)
		largest = rows[i].size_bytes > largest ? rows[i].size_bytes : largest;
	while (largest && core_client_walk(o->core, &cursor, &c)) {
		if (c.role != ROLE_CLIENT || c.revoked || !c.free_bytes || c.free_bytes >= largest)
			continue;
		if (c.place < o->room_from || looks == ORDERS_ROOM_LOOKS ||
			told == ROOM_TOLD_MOST) {
			next = c.place >= o->room_from && !next ? c.place : next;
			rest++;
			continue;
		}
		const struct order_row *lacked = room_lacked(o, rows, count, &c);

		looks++;
		if (lacked)
			room_tell(lacked, &c, out);
		told += lacked != NULL;
	}
	o->room_from = next;
	if (rest > 0)
		rest_tell(rest, out);
}

void orders_look(struct orders *o, struct findings *out)
{
	SCOPED_ARENA struct arena a = {0};
	struct order_row *rows = NULL;
	size_t count = 0;

	arena_init(&a, 64 * 1024 * 1024, 65536);
	if (rows_order_list(core_db(o->core), NULL, "", LOOKED_MOST, &a, &rows, &count) != ERR_OK)
		return;
	for (size_t i = 0; i < count; i++)
		if (!rows[i].withdrawn)
			order_look(&rows[i], core_now(o->core).wall.ms, out);
	if (count > 0)
		qsort(rows, count, sizeof(*rows), rows_compare); // a store may sort by other rules
	room_look(o, rows, count, out);
}
