// See update.h. One table: a cell is the state that follows; NONE refuses.
#include "client/update.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- states

static const char *const state_words[UPDATE_STATES] = {
	[UPDATE_NONE] = "none",
	[UPDATE_FETCHED] = "fetched",
	[UPDATE_WAITING] = "waiting",
	[UPDATE_INSTALLING] = "installing",
	[UPDATE_RESTARTING] = "restarting",
	[UPDATE_TRIAL] = "trial",
	[UPDATE_COMMITTING] = "committing",
	[UPDATE_CONFIRMED] = "confirmed",
	[UPDATE_ROLLING_BACK] = "rolling-back",
	[UPDATE_REVERTING] = "reverting",
	[UPDATE_ROLLED_BACK] = "rolled-back",
	[UPDATE_BROKEN] = "broken",
};

const char *update_state_word(enum update_state s)
{
	return s >= UPDATE_NONE && s < UPDATE_STATES ? state_words[s] : "?";
}

bool update_is_final(enum update_state s)
{
	return s == UPDATE_NONE || s == UPDATE_CONFIRMED || s == UPDATE_ROLLED_BACK ||
	       s == UPDATE_BROKEN;
}

bool update_is_at_work(enum update_state s)
{
	return !update_is_final(s) && s != UPDATE_FETCHED && s != UPDATE_WAITING;
}

// ---- the table

#define BACK UPDATE_ROLLING_BACK
#define OVER UPDATE_ROLLED_BACK

static const enum update_state table[UPDATE_STATES][UPDATE_EVENTS] = {
	// Nothing was touched yet: to give up is to forget.
	[UPDATE_FETCHED] = {[UPDATE_DONE] = UPDATE_WAITING,
		[UPDATE_FAILED] = OVER,
		[UPDATE_LATE] = OVER,
		[UPDATE_STARTED] = UPDATE_FETCHED,
		[UPDATE_CANCELLED] = OVER},
	[UPDATE_WAITING] = {[UPDATE_OPEN] = UPDATE_INSTALLING,
		[UPDATE_FAILED] = OVER,
		[UPDATE_STARTED] = UPDATE_WAITING,
		[UPDATE_CANCELLED] = OVER},
	[UPDATE_INSTALLING] = {[UPDATE_DONE] = UPDATE_TRIAL,
		[UPDATE_RESTART] = UPDATE_RESTARTING,
		[UPDATE_FAILED] = BACK,
		[UPDATE_LATE] = BACK,
		[UPDATE_STARTED] = UPDATE_INSTALLING,
		[UPDATE_CANCELLED] = BACK},
	[UPDATE_RESTARTING] = {[UPDATE_DONE] = UPDATE_TRIAL,
		[UPDATE_FAILED] = BACK,
		[UPDATE_LATE] = BACK,
		[UPDATE_STARTED] = UPDATE_RESTARTING,
		[UPDATE_CANCELLED] = BACK},
	[UPDATE_TRIAL] = {[UPDATE_DONE] = UPDATE_COMMITTING,
		[UPDATE_FAILED] = BACK,
		[UPDATE_LATE] = BACK,
		[UPDATE_STARTED] = UPDATE_TRIAL,
		[UPDATE_CANCELLED] = BACK},
	// Proven good: too late to give it up.
	[UPDATE_COMMITTING] = {[UPDATE_DONE] = UPDATE_CONFIRMED,
		[UPDATE_FAILED] = BACK,
		[UPDATE_LATE] = BACK,
		[UPDATE_STARTED] = UPDATE_COMMITTING},
	[UPDATE_ROLLING_BACK] = {[UPDATE_DONE] = OVER,
		[UPDATE_RESTART] = UPDATE_REVERTING,
		[UPDATE_FAILED] = BACK,
		[UPDATE_LATE] = BACK,
		[UPDATE_STARTED] = BACK},
	[UPDATE_REVERTING] = {[UPDATE_DONE] = OVER,
		[UPDATE_FAILED] = UPDATE_BROKEN,
		[UPDATE_LATE] = UPDATE_BROKEN,
		[UPDATE_STARTED] = UPDATE_REVERTING},
};

// How often the work of a state may begin; 0: it has no limit.
static uint32_t tries_max(enum update_state s, const struct update_limits *l)
{
	switch ((int)s) {
	case UPDATE_INSTALLING:
	case UPDATE_COMMITTING:
		return l->install_tries;
	case UPDATE_TRIAL:
		return l->trial_starts;
	case UPDATE_ROLLING_BACK:
		return l->undo_tries;
	default:
		return 0;
	}
}

enum update_state update_next(
	const struct update_record *r, enum update_event event, const struct update_limits *l)
{
	enum update_state to = table[r->state][event];
	uint32_t most = tries_max(r->state, l);
	if (to == UPDATE_NONE || to != r->state || most == 0 || r->tries < most)
		return to;
	return r->state == UPDATE_ROLLING_BACK ? UPDATE_BROKEN : BACK;
}

static const char *cut_word(enum update_state s)
{
	return s == UPDATE_TRIAL ? "crash-loop" : "interrupted";
}

static void text_put(char *out, size_t size, const char *text)
{
	text_format(out, size, "%s", text != NULL ? text : "");
}

// The first failure is the reason; what goes wrong while it is undone is told behind it.
static void reason_put(struct update_record *r, const char *word, const char *detail)
{
	size_t used = strlen(r->detail);
	if (r->reason[0] == '\0') {
		text_put(r->reason, sizeof r->reason, word);
		text_put(r->detail, sizeof r->detail, detail);
	} else if (detail != NULL && strstr(r->detail, detail) == NULL) {
		text_format(r->detail + used, sizeof r->detail - used, "; then: %s", detail);
	}
}

bool update_step(struct update_record *r, enum update_event event, const struct update_limits *l,
	const char *word, const char *detail)
{
	enum update_state from = r->state, to = update_next(r, event, l);
	if (to == UPDATE_NONE)
		return false;
	if (event == UPDATE_FAILED || event == UPDATE_LATE || event == UPDATE_CANCELLED)
		reason_put(r, word != NULL ? word : "failed", detail);
	else if (event == UPDATE_STARTED && to != from)
		reason_put(r, cut_word(from),
			from == UPDATE_TRIAL ? "the new version was started again and again"
					     : "it was cut again and again");
	r->tries = to == from ? r->tries + 1 : 1;
	if (to == UPDATE_RESTARTING)
		r->restarted = true;
	r->state = to;
	return true;
}

// ---- the list

struct update_record *update_find(struct update_list *list, const char *name)
{
	for (size_t i = 0; i < UPDATES_MAX; i++) {
		struct update_record *r = &list->records[i];
		if (r->state != UPDATE_NONE && strcmp(r->name, name) == 0)
			return r;
	}
	return NULL;
}

struct update_record *update_at_work(struct update_list *list)
{
	for (size_t i = 0; i < UPDATES_MAX; i++) {
		if (update_is_at_work(list->records[i].state))
			return &list->records[i];
	}
	return NULL;
}

struct update_record *update_place(struct update_list *list, const char *name)
{
	struct update_record *r = update_find(list, name);
	for (size_t i = 0; i < UPDATES_MAX && r == NULL; i++) {
		if (list->records[i].state == UPDATE_NONE)
			r = &list->records[i];
	}
	for (size_t i = 0; i < UPDATES_MAX && r == NULL; i++) {
		if (list->records[i].state == UPDATE_CONFIRMED)
			r = &list->records[i];
	}
	for (size_t i = 0; i < UPDATES_MAX && r == NULL; i++) {
		if (update_is_final(list->records[i].state))
			r = &list->records[i];
	}
	return r;
}

// ---- penalties

const struct update_penalty *update_penalty_find(
	const struct update_list *list, const struct digest *package)
{
	for (size_t i = 0; i < list->penalty_count; i++) {
		if (digest_equal(&list->penalties[i].package, package))
			return &list->penalties[i];
	}
	return NULL;
}

bool update_penalty_holds(const struct update_penalty *p, int64_t now_unix_ms)
{
	return p != NULL && now_unix_ms < p->until_unix_ms;
}

static void penalty_remove(struct update_list *list, size_t at)
{
	list->penalty_count--;
	memmove(&list->penalties[at], &list->penalties[at + 1],
		(list->penalty_count - at) * sizeof list->penalties[0]);
}

void update_penalise(struct update_list *list, const struct update_record *r, int64_t now_unix_ms,
	int64_t base_ms, uint32_t most)
{
	uint32_t failures = 1;
	for (size_t i = 0; i < list->penalty_count; i++) {
		if (digest_equal(&list->penalties[i].package, &r->package)) {
			failures = list->penalties[i].failures + 1;
			penalty_remove(list, i);
			break;
		}
	}
	if (list->penalty_count == PENALTIES_MAX)
		penalty_remove(list, 0);
	struct update_penalty *p = &list->penalties[list->penalty_count++];
	int64_t wait = base_ms;
	for (uint32_t i = 1; i < failures && wait < INT64_MAX / 4; i++)
		wait *= 2;
	bool for_ever = failures >= most || now_unix_ms > INT64_MAX - wait;
	*p = (struct update_penalty){
		.package = r->package,
		.failures = failures,
		.until_unix_ms = for_ever ? INT64_MAX : now_unix_ms + wait,
	};
	text_put(p->name, sizeof p->name, r->name);
	text_put(p->version, sizeof p->version, r->version);
	text_put(p->reason, sizeof p->reason, r->reason);
}

size_t update_penalty_clear(struct update_list *list, const char *name)
{
	size_t cleared = 0;
	for (size_t i = list->penalty_count; i-- > 0;) {
		const struct update_penalty *p = &list->penalties[i];
		if (strcmp(p->name, name) != 0 && strcmp(digest_hex(&p->package), name) != 0)
			continue;
		penalty_remove(list, i);
		cleared++;
	}
	return cleared;
}

// ---- windows

static bool minutes_parse(const char *text, uint16_t *out)
{
	for (size_t i = 0; i < 5; i++) {
		if (i == 2 ? text[i] != ':' : text[i] < '0' || text[i] > '9')
			return false;
	}
	int hours = (text[0] - '0') * 10 + text[1] - '0';
	int minutes = (text[3] - '0') * 10 + text[4] - '0';
	*out = (uint16_t)(hours * 60 + minutes);
	return minutes < 60 && (hours < 24 || (hours == 24 && minutes == 0));
}

enum err update_window_parse(const char *text, struct update_window *out)
{
	*out = (struct update_window){.given = true};
	if (strlen(text) < 11 || text[5] != '-' || !minutes_parse(text, &out->from_min) ||
		!minutes_parse(text + 6, &out->until_min) || (text[11] != '\0' && text[11] != ' '))
		return err_set(ERR_FORMAT, "a window is HH:MM-HH:MM, or HH:MM-HH:MM ZONE");
	const char *zone = text + 11 + strspn(text + 11, " ");
	if (!str_copy(out->zone, sizeof out->zone, zone) || strchr(zone, ' ') != NULL)
		return err_set(ERR_FORMAT, "the time zone of a window is one name");
	return ERR_OK;
}

bool update_window_is_open(const struct update_window *w, int64_t unix_ms, int32_t offset_s)
{
	if (!w->given)
		return true;
	int64_t day = 24 * 60, minute = (unix_ms / 1000 + offset_s) / 60 % day;
	if (minute < 0)
		minute += day;
	if (w->from_min <= w->until_min)
		return minute >= w->from_min && minute < w->until_min;
	return minute >= w->from_min || minute < w->until_min;
}
