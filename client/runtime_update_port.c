// What the rest of the agent asks of updates: to begin one, why one is not tried, what the
// heartbeats say; and how they are found and left.
#include "client/runtime_update_parts.h"

#include "client/update_file.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- coming in

bool updates_handle(const struct runtime *rt, const char *name)
{
	return rt->updates != NULL && update_row_find(&rt->updates->table, name) != NULL;
}

static enum err begin(struct updates *u, const struct held_package *h,
	const struct package_ref *package, uint64_t op_id)
{
	struct update_list before = u->list;
	struct update_record *r = update_place(&u->list, h->name);
	if (r == NULL)
		return err_set(ERR_NOT_NOW, "%d other updates are under way", UPDATES_MAX);
	TRY(depot_keep(&u->rt->store, h->kind, h->name, &h->id));
	*r = (struct update_record){
		.package = h->id,
		.security_counter = h->security_counter,
		.state = UPDATE_FETCHED,
		.tries = 1,
		.not_before_ms = package->activate_unix_ms,
		.op_id = op_id,
		.unheard = op_id == 0 && u->rt->core.counters.responses == 0,
	};
	(void)str_copy(r->name, sizeof r->name, h->name);
	(void)str_copy(r->version, sizeof r->version, h->version);
	if (!update_list_save(u, &before))
		return err_set(ERR_NOT_NOW, "the record of the update cannot be written");
	update_step_tell(u, r, UPDATE_NONE);
	update_look_soon(u);
	return err_set(ERR_NOT_NOW, "the update begins");
}

static enum err waits(struct updates *u, const struct update_record *r)
{
	bool open = false;
	if (update_window_look(u, r, &open) != ERR_OK || open)
		return err_set(ERR_NOT_NOW, "waits for another update");
	agent_switch_progress(&u->rt->core, 100, "held: waits for its window");
	return ERR_OK;
}

// The same package, known already.
static enum err known(struct updates *u, const struct update_record *r, uint64_t op_id)
{
	switch ((int)r->state) {
	case UPDATE_CONFIRMED:
		agent_switch_progress(&u->rt->core, 100, "confirmed");
		return ERR_OK;
	case UPDATE_WAITING:
		return waits(u, r);
	case UPDATE_ROLLED_BACK:
	case UPDATE_BROKEN:
		return r->op_id == op_id && op_id != 0
			       ? err_set(ERR_IO, "%s reason=%s %s", update_state_word(r->state),
					 r->reason, r->detail)
			       : ERR_NOT_FOUND;
	default:
		return err_set(ERR_NOT_NOW, "%s", update_state_word(r->state));
	}
}

enum err updates_activate(struct runtime *rt, const struct held_package *h,
	const struct package_ref *package, uint64_t op_id)
{
	struct updates *u = rt->updates;
	struct update_record *r = update_find(&u->list, h->name);
	struct digest now;
	if (u->locked)
		return err_set(ERR_VERSION,
			"reason=state: a later agent wrote the updates file; nothing is installed");
	bool runs = depot_slot(&rt->store, h->kind, h->name, SLOT_CURRENT, &now) == ERR_OK &&
		    digest_equal(&now, &h->id);
	if (r != NULL && digest_equal(&r->package, &h->id) &&
		(r->state != UPDATE_CONFIRMED || runs)) {
		enum err e = known(u, r, op_id);
		if (e != ERR_NOT_FOUND)
			return e;
	} else if (r != NULL && update_is_at_work(r->state)) {
		return err_set(ERR_NOT_NOW, "another version of %s is under way", h->name);
	} else if (runs && (r == NULL || update_is_final(r->state))) {
		return ERR_OK;
	}
	if (h->security_counter < agent_state_floor(&rt->core.state, h->name))
		return err_set(
			ERR_STALE, "reason=security-counter: this version is below the floor");
	const char *why = updates_refuse(rt, &h->id);
	if (why != NULL)
		return err_set(ERR_DENIED, "%s", why);
	return begin(u, h, package, op_id);
}

// ---- penalties

const char *updates_refuse(struct runtime *rt, const struct digest *package)
{
	struct updates *u = rt->updates;
	char until[40] = "an operator allows it";
	const struct update_penalty *p = u != NULL ? update_penalty_find(&u->list, package) : NULL;
	uint64_t op = rt->core.state.op.op_id;
	if (!update_penalty_holds(p, u != NULL ? update_wall_ms(u) : 0))
		return NULL;
	for (size_t i = 0; i < UPDATES_MAX; i++) {
		const struct update_record *r = &u->list.records[i];
		if (r->state != UPDATE_NONE && digest_equal(&r->package, package) &&
			r->op_id == op && op != 0)
			return NULL; // it is what this operation ends with
	}
	if (p->until_unix_ms != INT64_MAX)
		(void)snprintf(until, sizeof until, "unix_ms=%lld", (long long)p->until_unix_ms);
	text_format(u->refusal, sizeof u->refusal,
		"reason=penalty: %.*s %.*s failed %u time%s (%s); not before %s",
		text_most(p->name, 100), p->name, text_most(p->version, 100), p->version,
		p->failures, p->failures == 1 ? "" : "s", p->reason, until);
	return u->refusal;
}

enum err updates_allow(struct runtime *rt, const char *name, char *said, size_t size)
{
	struct updates *u = rt->updates;
	struct update_list before = u->list;
	size_t cleared = update_penalty_clear(&u->list, name);
	if (cleared == 0)
		return err_set(
			ERR_NOT_FOUND, "nothing of the name or package %s has a penalty", name);
	if (!update_list_save(u, &before))
		return err_set(ERR_IO, "the updates file cannot be written");
	(void)snprintf(said, size, "%zu penalt%s lifted", cleared, cleared == 1 ? "y" : "ies");
	return ERR_OK;
}

void updates_cancel(struct runtime *rt, uint64_t op_id)
{
	struct updates *u = rt->updates;
	for (size_t i = 0; u != NULL && op_id != 0 && i < UPDATES_MAX; i++) {
		struct update_record *r = &u->list.records[i];
		if (r->op_id != op_id || update_is_final(r->state))
			continue;
		if (update_take(
			    u, r, UPDATE_CANCELLED, UPDATE_GIVEN_UP, "the operator gave it up") &&
			u->process != NULL && update_of_verb(u) == NULL)
			process_stop(u->process); // its end finds nobody
	}
}

// ---- what the heartbeats say

static int64_t until_told(const struct update_penalty *p)
{
	return p->until_unix_ms == INT64_MAX ? 0 : p->until_unix_ms;
}

static void view_penalty(
	const struct updates *u, struct update_status *s, const struct digest *package)
{
	const struct update_penalty *p = update_penalty_find(&u->list, package);
	if (!update_penalty_holds(p, update_wall_ms(u)))
		return;
	s->failures = p->failures;
	s->until_unix_ms = until_told(p);
}

static bool view_has(const struct update_status *list, size_t count, const struct digest *package)
{
	for (size_t i = 0; i < count; i++) {
		if (digest_equal(&list[i].package, package))
			return true;
	}
	return false;
}

void updates_view(struct runtime *rt, struct arena *a, struct update_status **out, size_t *count)
{
	struct updates *u = rt->updates;
	*count = 0;
	*out = NULL;
	if (u == NULL)
		return;
	*out = arena_array(a, LIMIT_UPDATES, sizeof **out);
	for (size_t i = 0; *out != NULL && i < UPDATES_MAX && *count < LIMIT_UPDATES; i++) {
		const struct update_record *r = &u->list.records[i];
		if (r->state == UPDATE_NONE || r->state == UPDATE_CONFIRMED)
			continue;
		struct update_status *s = &(*out)[(*count)++];
		const char *text = arena_printf(a, "%s%s%.*s", r->reason,
			r->reason[0] != '\0' && r->detail[0] != '\0' ? ": " : "",
			text_most(r->detail, 120), r->detail);
		*s = (struct update_status){.name = r->name,
			.version = r->version,
			.package = r->package,
			.state = update_state_word(r->state),
			.reason = text != NULL ? text : ""};
		view_penalty(u, s, &r->package);
	}
	for (size_t i = u->list.penalty_count; *out != NULL && i-- > 0 && *count < LIMIT_UPDATES;) {
		const struct update_penalty *p = &u->list.penalties[i];
		if (!update_penalty_holds(p, update_wall_ms(u)) ||
			view_has(*out, *count, &p->package))
			continue;
		(*out)[(*count)++] = (struct update_status){.name = p->name,
			.version = p->version,
			.package = p->package,
			.state = "penalised",
			.reason = p->reason,
			.failures = p->failures,
			.until_unix_ms = until_told(p)};
	}
}

// ---- start and end

// What was under way when the agent ended was cut. Of the agent itself update_guard.c has
// counted.
static void resume(struct updates *u)
{
	const struct update_row *self = update_row_self(&u->table);
	for (size_t i = 0; i < UPDATES_MAX; i++) {
		struct update_record *r = &u->list.records[i];
		const struct update_row *row =
			r->state != UPDATE_NONE ? update_row_find(&u->table, r->name) : NULL;
		if (update_is_at_work(r->state) && (row == NULL || row != self))
			(void)update_take(u, r, UPDATE_STARTED, NULL, NULL);
		struct update_list before = u->list;
		bool was = r->penalised;
		update_count_failure(u, r);
		if (r->penalised != was && update_list_save(u, &before))
			update_step_tell(u, r, r->state);
	}
}

static void put_aside(const char *state_dir)
{
	char path[300], bad[310];
	if (path_join(path, sizeof path, state_dir, "updates") != ERR_OK)
		return;
	(void)snprintf(bad, sizeof bad, "%s.bad", path);
	(void)rename(path, bad);
}

enum err updates_open(struct runtime *rt)
{
	struct updates *u = calloc(1, sizeof *u);
	if (u == NULL)
		return err_set(ERR_MEMORY, "no memory for updates");
	rt->updates = u;
	u->rt = rt;
	u->since = u->again = clock_now().mono;
	TRY(update_table_parse(rt->settings, &u->table));
	enum err e = update_file_read(rt->settings->state_dir, &u->list);
	if (e != ERR_OK)
		log_error("UPDATES-UNREAD", "client=%s word=%s why=%s", rt->config.client_id,
			err_word(e), log_quote(err_text()));
	u->locked = e != ERR_OK && e != ERR_CORRUPT;
	if (e == ERR_CORRUPT)
		put_aside(rt->settings->state_dir);
	if (uv_timer_init(&rt->loop, &u->timer) != 0)
		return err_set(ERR_MEMORY, "no timer for updates");
	u->timer.data = u;
	u->timer_there = true;
	if (rt->offline || rt->once || u->locked)
		return ERR_OK;
	resume(u);
	update_look_soon(u);
	return ERR_OK;
}

void updates_close(struct runtime *rt)
{
	struct updates *u = rt->updates;
	if (u == NULL)
		return;
	if (u->process != NULL)
		process_kill(u->process);
	u->process = NULL;
	if (u->timer_there)
		uv_close((uv_handle_t *)&u->timer, NULL);
	u->timer_there = false;
}

void updates_free(struct runtime *rt)
{
	free(rt->updates);
	rt->updates = NULL;
}
