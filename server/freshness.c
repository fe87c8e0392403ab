// Asking only for what is too old; see freshness.h.
#include "server/freshness.h"

#include "proto/base/log.h"
#include "server/db/rows.h"
#include <stdio.h>
#include <string.h>

bool freshness_is_due(uint32_t max_age_s, int64_t received_ms, int64_t asked_ms, int64_t now_ms)
{
	int64_t newest = received_ms > asked_ms ? received_ms : asked_ms;

	// A clock that was set back makes nothing fresh for ever.
	return max_age_s != 0 &&
	       (newest == 0 || newest > now_ms || now_ms - newest >= (int64_t)max_age_s * 1000);
}

// ---- the policy; the store's number is the age and one, so that 0 is "not set"

static const char *key_of(enum info_kind what, char out[40])
{
	(void)snprintf(out, 40, "freshness.%s", info_kind_word(what));
	return out;
}

enum err freshness_load(struct freshness *f, struct db *db)
{
	char key[40];

	for (int k = INFO_DISPLAY; k <= INFO_SCREENSHOT; k++) {
		int64_t set;

		TRY(rows_meta_number(db, key_of((enum info_kind)k, key), &set));
		f->max_age_s[k] = set > 0 ? (uint32_t)(set - 1) : f->by_settings_s[k];
	}
	return ERR_OK;
}

enum err freshness_set(struct freshness *f, struct db *db, enum info_kind what, uint32_t max_age_s)
{
	char key[40];

	TRY(rows_meta_put_number(db, key_of(what, key), (int64_t)max_age_s + 1));
	f->max_age_s[what] = max_age_s;
	return ERR_OK;
}

enum err freshness_reset(struct freshness *f, struct db *db, enum info_kind what)
{
	char key[40];

	TRY(rows_meta_put_number(db, key_of(what, key), 0));
	f->max_age_s[what] = f->by_settings_s[what];
	return ERR_OK;
}

// ---- asking

static bool has_policy(const struct freshness *f)
{
	for (int k = INFO_DISPLAY; k <= INFO_SCREENSHOT; k++) {
		if (f->max_age_s[k])
			return true;
	}
	return false;
}

static bool may_be_asked(const struct client_info *i)
{
	return i->role == ROLE_CLIENT && !i->revoked && i->reach == REACH_ONLINE &&
	       i->state == CS_IDLE && !i->has_operation && i->private_elements == 0;
}

static enum err ask(struct core *core, const char *client, enum info_kind what, int64_t now_ms)
{
	char queue[LIMIT_ID + 2];
	const struct send_information question = {.what = what, .unit = "", .pattern = ""};
	const struct event e = {
		.type = ELEMENT_REQUEST, .request = &question, .author = "freshness"};

	(void)snprintf(queue, sizeof(queue), "@%s", client);
	TRY(rows_question_put(core_db(core), client, what, now_ms));
	return core_append_event(core, queue, &e, NULL, NULL);
}

static enum err client_look(
	struct freshness *f, struct core *core, const struct client_info *i, int64_t now_ms)
{
	for (int k = INFO_DISPLAY; k <= INFO_SCREENSHOT; k++) {
		enum info_kind what = (enum info_kind)k;
		int64_t received, asked;

		if (!f->max_age_s[k])
			continue;
		TRY(rows_report_age(core_db(core), i->id, what, &received));
		TRY(rows_question_find(core_db(core), i->id, what, &asked));
		if (!freshness_is_due(f->max_age_s[k], received, asked, now_ms))
			continue;
		TRY(ask(core, i->id, what, now_ms));
		f->asked++;
		log_debug("FRESHNESS", "client=%s what=%s", i->id, info_kind_word(what));
		return ERR_OK; // the next kind at the next walk
	}
	return ERR_OK;
}

void freshness_tick(struct freshness *f, struct core *core, struct now now)
{
	struct client_info info;
	enum err e = ERR_OK;

	if (!has_policy(f) || core_is_loading(core) || core_is_degraded(core))
		return;
	for (int n = 0; n < FRESHNESS_PER_TICK && e == ERR_OK; n++) {
		if (!core_client_next(core, &f->cursor, &info)) {
			f->cursor = 0;
			break;
		}
		if (may_be_asked(&info))
			e = client_look(f, core, &info, now.wall.ms);
	}
	if (e != ERR_OK)
		log_warn("FRESHNESS-FAILED", "why=%s", log_quote(err_text()));
}

// ---- an answer that is there

static bool text_equal(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool question_equal(const struct send_information *a, const struct send_information *b)
{
	return a->what == b->what && a->since_unix_ms == b->since_unix_ms &&
	       a->max_bytes == b->max_bytes && a->lines == b->lines &&
	       text_equal(a->unit, b->unit) && text_equal(a->pattern, b->pattern);
}

enum err freshness_copy(struct core *core, const char *client,
	const struct send_information *ask_now, uint32_t max_age_s, struct now now,
	struct wall *received, bool *fresh)
{
	struct stored_report s;
	struct response_body body;
	struct bytes said;

	*fresh = false;
	TRY(rows_report_age(core_db(core), client, ask_now->what, &received->ms));
	if (max_age_s == 0 || freshness_is_due(max_age_s, received->ms, 0, now.wall.ms))
		return ERR_OK;
	TRY(core_report_find(core, client, ask_now->what, core_arena(core), &s));
	enum err e =
		rows_operation_body(core_db(core), client, s.report.op_id, core_arena(core), &said);
	if (e == ERR_NOT_FOUND)
		return ERR_OK; // too long ago to know what was asked
	TRY(e);
	if (response_body_decode(core_arena(core), said, &body) == ERR_OK && body.send)
		*fresh = question_equal(body.send, ask_now);
	return ERR_OK;
}
