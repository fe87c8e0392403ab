// Asking only for what is too old; see freshness.h.
#include "server/freshness.h"

#include "proto/base/log.h"
#include "server/db/rows.h"
#include "server/db/rows_usage.h"
#include <stdio.h>
#include <string.h>

#define USAGE_OVERLAP_MS 86400000
#define BUSY_S 1                  // it has other things to do: until it is looked at again
#define CLOCK_BACK_MS (60 * 1000) // further back, and what is due says nothing

// A clock that was set back makes nothing fresh for ever.
static int64_t newest_of(int64_t received_ms, int64_t asked_ms, int64_t now_ms)
{
	int64_t received = received_ms <= now_ms ? received_ms : 0;
	int64_t asked = asked_ms <= now_ms ? asked_ms : 0;

	return received > asked ? received : asked;
}

bool freshness_is_due(uint32_t max_age_s, int64_t received_ms, int64_t asked_ms, int64_t now_ms)
{
	int64_t newest = newest_of(received_ms, asked_ms, now_ms);

	return max_age_s != 0 && (newest == 0 || now_ms - newest >= (int64_t)max_age_s * 1000);
}

void freshness_again(struct freshness *f)
{
	due_clear(&f->due);
	f->seen = 0;
}

void freshness_fini(struct freshness *f)
{
	due_fini(&f->due);
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
	freshness_again(f);
	return ERR_OK;
}

enum err freshness_reset(struct freshness *f, struct db *db, enum info_kind what)
{
	char key[40];

	TRY(rows_meta_put_number(db, key_of(what, key), 0));
	f->max_age_s[what] = f->by_settings_s[what];
	freshness_again(f);
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

static bool is_asked(const struct client_info *i)
{
	return i->role == ROLE_CLIENT && !i->revoked;
}

static bool is_free(const struct client_info *i)
{
	return i->state == CS_IDLE && !i->has_operation && i->private_elements == 0;
}

static enum err ask(struct core *core, const char *client, enum info_kind what, int64_t now_ms)
{
	char queue[LIMIT_ID + 2];
	struct send_information question = {.what = what, .unit = "", .pattern = ""};
	const struct event e = {
		.type = ELEMENT_REQUEST, .request = &question, .author = "freshness"};

	(void)snprintf(queue, sizeof(queue), "@%s", client);
	// Of what was shown only what is not held yet; a day more, for clocks that were set.
	if (what == INFO_USAGE)
		TRY(rows_usage_newest(core_db(core), client, &question.since_unix_ms));
	if (question.since_unix_ms > USAGE_OVERLAP_MS)
		question.since_unix_ms -= USAGE_OVERLAP_MS;
	TRY(rows_question_put(core_db(core), client, what, now_ms));
	return core_append_event(core, queue, &e, NULL, NULL);
}

// Asks for the first kind that is too old. *next_ms: when one will be, INT64_MAX: never.
static enum err client_look(struct freshness *f, struct core *core, const struct client_info *i,
	int64_t now_ms, int64_t *next_ms)
{
	bool asked_one = false;

	for (int k = INFO_DISPLAY; k <= INFO_SCREENSHOT; k++) {
		enum info_kind what = (enum info_kind)k;
		int64_t received, asked, due;

		if (!f->max_age_s[k])
			continue;
		TRY(rows_report_age(core_db(core), i->id, what, &received));
		TRY(rows_question_find(core_db(core), i->id, what, &asked));
		due = newest_of(received, asked, now_ms) + (int64_t)f->max_age_s[k] * 1000;
		if (!asked_one && freshness_is_due(f->max_age_s[k], received, asked, now_ms)) {
			TRY(ask(core, i->id, what, now_ms));
			asked_one = true; // the next kind when this one is answered
			f->asked++;
			due = now_ms + (int64_t)f->max_age_s[k] * 1000;
			log_debug("FRESHNESS", "client=%s what=%s", i->id, info_kind_word(what));
		}
		if (due < *next_ms)
			*next_ms = due;
	}
	if (asked_one && *next_ms < now_ms + BUSY_S * 1000)
		*next_ms = now_ms + BUSY_S * 1000;
	return ERR_OK;
}

static uint32_t second_of(int64_t ms)
{
	return ms >= (int64_t)UINT32_MAX * 1000 ? UINT32_MAX : (uint32_t)((ms + 999) / 1000);
}

// A place that holds no client, or one that is revoked, may hold another later: it stays in turn.
static uint32_t age_least_s(const struct freshness *f)
{
	uint32_t least = 86400;

	for (int k = INFO_DISPLAY; k <= INFO_SCREENSHOT; k++)
		if (f->max_age_s[k] && f->max_age_s[k] < least)
			least = f->max_age_s[k];
	return least < BUSY_S ? BUSY_S : least;
}

static enum err place_look(struct freshness *f, struct core *core, uint32_t place, int64_t now_ms)
{
	struct client_info info;
	int64_t next_ms = now_ms + (int64_t)age_least_s(f) * 1000;

	f->looks++;
	if (core_client_at(core, place, &info) && is_asked(&info)) {
		if (info.reach != REACH_ONLINE)
			return due_park(&f->due, place);
		next_ms = now_ms + BUSY_S * 1000;
		if (is_free(&info)) {
			next_ms = INT64_MAX;
			TRY(client_look(f, core, &info, now_ms, &next_ms));
		}
	}
	return due_put(&f->due, place, second_of(next_ms));
}

// Places that are new here, or new altogether.
static enum err places_enter(struct freshness *f, struct core *core, uint32_t now_s)
{
	size_t places = core_client_places(core);

	for (int n = 0; n < FRESHNESS_LOOKS_PER_TICK && f->seen < places; n++, f->seen++)
		TRY(due_put(&f->due, (uint32_t)f->seen, now_s));
	return ERR_OK;
}

void freshness_tick(struct freshness *f, struct core *core, struct now now)
{
	uint32_t now_s = (uint32_t)(now.wall.ms / 1000), place;
	uint64_t looks = f->looks + FRESHNESS_LOOKS_PER_TICK;
	uint64_t asks = f->asked + FRESHNESS_ASKS_PER_TICK;

	if (!has_policy(f) || core_is_loading(core) || core_is_degraded(core))
		return;
	if (now.wall.ms < f->tick_ms - CLOCK_BACK_MS)
		freshness_again(f);
	f->tick_ms = now.wall.ms;
	enum err e = places_enter(f, core, now_s);
	while (e == ERR_OK && f->looks < looks && f->asked < asks &&
		due_take(&f->due, now_s, &place))
		e = place_look(f, core, place, now.wall.ms);
	if (e == ERR_OK)
		return;
	log_warn("FRESHNESS-FAILED", "why=%s", log_quote(err_text()));
	freshness_again(f);
}

void freshness_online(struct freshness *f, size_t place, struct now now)
{
	if (due_wake(&f->due, (uint32_t)place, (uint32_t)(now.wall.ms / 1000)) != ERR_OK)
		freshness_again(f);
}

// ---- an answer that is there

static bool text_equal(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool question_equal(const struct send_information *a, const struct send_information *b)
{
	return a->what == b->what && a->since_unix_ms == b->since_unix_ms &&
	       a->max_bytes == b->max_bytes && a->lines == b->lines && a->of_op == b->of_op &&
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
