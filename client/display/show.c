// The show plan: a front picture, a next one, a fade between them.
#include "client/display/show.h"

#include "client/display/display_limits.h"
#include <stdlib.h>
#include <string.h>

void show_init(struct show *s)
{
	*s = (struct show){
		.schedule.last = SCHEDULE_NONE, .closes_ms = INT64_MAX, .skip_at = SIZE_MAX};
}

void show_fini(struct show *s)
{
	free(s->bad_until_ms);
	s->bad_until_ms = NULL;
	schedule_fini(&s->schedule);
}

struct schedule_place show_place(const struct show *s)
{
	return s->schedule.place;
}

const char *show_state_word(enum show_state state)
{
	switch (state) {
	case SHOW_SHOWING:
		return "showing";
	case SHOW_PAUSED:
		return "paused";
	case SHOW_WAITING:
		break;
	}
	return "waiting";
}

// ---- choosing

static size_t count_of(const struct show *s)
{
	return s->list ? s->list->count : 0;
}

static void next_drop(struct show *s)
{
	s->next = (struct show_picture){0};
	s->next_state = NEXT_NONE;
	s->jump = false;
	s->opens_ms = 0;
}

static struct show_picture picture_of(const struct show *s, size_t index)
{
	const struct playlist_image *i = &s->list->images[index];
	struct show_picture p = {
		.package = s->list->package,
		.duration_ms = i->duration_ms,
		.transition_ms = s->list->transition_ms,
		.index = index,
	};
	// A safe path has at most 512 characters.
	bool fits = str_copy(p.path, sizeof(p.path), i->path);
	(void)fits;
	return p;
}

static void next_want(struct show *s, size_t index)
{
	s->next = picture_of(s, index);
	s->next.ticket = ++s->last_ticket;
	s->next_state = NEXT_WANTED;
}

// The front is a picture of the present list at this index, so its pixels serve again. A new list
// sets the front's index to SIZE_MAX: its fit or its file may have changed.
static bool front_is(const struct show *s, size_t index)
{
	const struct playlist_image *i = &s->list->images[index];

	return s->front.ticket != 0 && s->front.index == index &&
	       strcmp(s->front.path, i->path) == 0;
}

// ---- wall and monotonic time

static struct mono mono_of(int64_t wall_ms, struct show_time now)
{
	if (wall_ms == INT64_MAX)
		return (struct mono){INT64_MAX};
	return mono_add_ms(now.mono, wall_ms - now.wall.unix_ms);
}

static struct schedule_time wall_at(struct mono m, struct show_time now)
{
	struct schedule_time t = now.wall;

	if (m.ms > now.mono.ms)
		t.unix_ms += mono_since_ms(m, now.mono);
	return t;
}

static struct mono sooner(struct mono a, struct mono b)
{
	return a.ms < b.ms ? a : b;
}

// When the front must go, ready or not.
static struct mono front_closes(const struct show *s, struct show_time now)
{
	return mono_of(s->closes_ms, now);
}

// When the front is to go.
static struct mono front_ends(const struct show *s, struct show_time now)
{
	struct mono end = s->switch_ms != 0 ? mono_of(s->switch_ms, now) : s->due;

	if (s->paused)
		end.ms = INT64_MAX;
	return sooner(end, front_closes(s, now));
}

// ---- what comes next

static struct schedule_ask ask_at(const struct show *s, struct mono at, struct show_time now)
{
	return (struct schedule_ask){
		.time = wall_at(at, now),
		.stand_ms = s->list ? s->list->transition_ms : 0,
		.bad_until_ms = s->bad_until_ms,
		.mono_ms = now.mono.ms,
	};
}

// Nothing may come at that time: because of the hours, or because nothing can be read?
static bool is_unreadable(struct show *s, const struct schedule_ask *ask)
{
	struct schedule_ask any = *ask;

	any.bad_until_ms = NULL;
	return s->bad_count > 0 && schedule_peek(&s->schedule, &any) != SCHEDULE_NONE;
}

// The waiting picture, and the first picture after it already while it stands.
static void opening_choose(struct show *s, struct show_time now)
{
	struct schedule_time opens = now.wall;

	opens.unix_ms = schedule_changes_ms(&s->schedule, &now.wall);
	s->opens_ms = opens.unix_ms;
	if (s->front.ticket != 0) {
		s->next_state = NEXT_CARD;
		return;
	}
	if (opens.unix_ms == INT64_MAX)
		return;
	struct schedule_ask ask = ask_at(s, mono_of(opens.unix_ms, now), now);
	size_t index = schedule_peek(&s->schedule, &ask);

	if (index != SCHEDULE_NONE)
		next_want(s, index);
}

static void next_choose(struct show *s, struct show_time now)
{
	if (count_of(s) == 0) {
		s->next_state = NEXT_CARD;
		return;
	}
	struct mono at = s->front.ticket != 0 ? front_ends(s, now) : now.mono;
	if (s->front.ticket == 0 && s->switch_ms > now.wall.unix_ms) {
		s->opens_ms = s->switch_ms;
		at = mono_of(s->switch_ms, now);
	}
	if (at.ms == INT64_MAX)
		at = now.mono; // paused: for a while nobody knows
	struct schedule_ask ask = ask_at(s, at, now);
	size_t index = schedule_peek(&s->schedule, &ask);

	if (index == SCHEDULE_NONE && is_unreadable(s, &ask))
		s->retry_at = mono_add_ms(now.mono, RETRY_ALL_BAD_MS);
	else if (index == SCHEDULE_NONE)
		opening_choose(s, now);
	else if (front_is(s, index))
		s->next_state = NEXT_SAME;
	else
		next_want(s, index);
}

// A verdict of which nothing more is told: the picture is tried again.
#define BAD_AGAIN (-1)

// Nothing could be read: forget the verdicts after a while.
static void retry_when_due(struct show *s, struct mono now)
{
	if (s->retry_at.ms == 0 || now.ms < s->retry_at.ms)
		return;
	s->retry_at.ms = 0;
	for (size_t i = 0; i < count_of(s); i++)
		s->bad_until_ms[i] = s->bad_until_ms[i] != 0 ? BAD_AGAIN : 0;
	s->bad_count = 0;
}

// After a picture was taken: a round that is over is looked at for those it passed over.
static void round_look(struct show *s, struct mono now)
{
	bool first = s->round_since.ms == 0;

	if (!first && s->schedule.place.round == s->round)
		return;
	s->round = s->schedule.place.round;
	s->round_before = s->round_since;
	s->round_since = now;
	s->skip_at = first || s->bad_count == 0 ? SIZE_MAX : 0;
}

static bool was_skipped(const struct show *s, size_t index, struct show_time now)
{
	int64_t until = s->bad_until_ms[index];

	return until > now.mono.ms && until - RETRY_BAD_MS < s->round_before.ms &&
	       schedule_is_open(&s->schedule, index, &now.wall);
}

bool show_missed(struct show *s, struct show_time now, struct show_missed *out)
{
	if (s->failed.ticket != 0) {
		*out = (struct show_missed){.result = SHOWN_FAILED, .picture = s->failed};
		s->failed.ticket = 0;
		return true;
	}
	while (s->skip_at < count_of(s)) {
		size_t index = s->skip_at++;

		if (!was_skipped(s, index, now))
			continue;
		*out = (struct show_missed){
			.result = SHOWN_SKIPPED, .picture = picture_of(s, index)};
		return true;
	}
	return false;
}

// ---- boundaries

// cut_by: what ends it, in case that is before its time.
static struct show_ended ended_make(
	const struct show *s, const struct show_picture *p, struct mono now, const char *cut_by)
{
	int64_t duration_ms = mono_since_ms(now, s->since);
	bool whole = duration_ms >= p->duration_ms;

	return (struct show_ended){
		.is = p->ticket != 0,
		.picture = p,
		.since = s->since,
		.duration_ms = duration_ms,
		.result = whole ? SHOWN_WHOLE : SHOWN_CUT,
		.reason = whole ? "" : cut_by,
	};
}

static const char *cut_by(const struct show *s, struct show_time now)
{
	if (now.mono.ms >= front_closes(s, now).ms)
		return "over";
	return s->jump ? "command" : "switch";
}

static void begin(struct show *s, struct mono now)
{
	s->since = now;
	s->due = mono_add_ms(now, s->front.duration_ms);
	s->paused_at = now;
	s->switch_ms = 0;
}

// The next picture becomes the front; the old one lies below while the fade runs.
static void advance(struct show *s, struct show_time now)
{
	uint32_t fade = s->next_state == NEXT_CARD ? s->front.transition_ms : s->next.transition_ms;

	s->from = s->front.ticket;
	s->front = s->next;
	s->closes_ms = INT64_MAX;
	s->jumped = s->jump;
	if (s->front.ticket != 0) {
		struct schedule_ask ask = ask_at(s, now.mono, now);

		if (s->jump)
			schedule_jumped(&s->schedule, s->front.index);
		else
			schedule_take(&s->schedule, s->front.index, &ask);
		round_look(s, now.mono);
		fade = fade > s->front.duration_ms / 2 ? s->front.duration_ms / 2 : fade;
	}
	s->fade_start = now.mono;
	s->fade_ms = fade;
	next_drop(s);
	begin(s, now.mono);
}

static bool next_is_ready(const struct show *s)
{
	return s->next_state == NEXT_READY || s->next_state == NEXT_SAME ||
	       s->next_state == NEXT_CARD;
}

static bool boundary_is_due(const struct show *s, struct show_time now)
{
	if (s->fade_ms > 0)
		return false;
	if (s->front.ticket == 0)
		return s->next_state == NEXT_READY && (s->jump || now.wall.unix_ms >= s->opens_ms);
	if (now.mono.ms >= front_closes(s, now).ms)
		return true;
	return next_is_ready(s) && (s->jump || now.mono.ms >= front_ends(s, now).ms);
}

// What was chosen for a moment may not come at it: a pause or a step of the clock moved it.
static bool next_may_come(const struct show *s, struct show_time now)
{
	size_t index = s->next_state == NEXT_SAME ? s->front.index : s->next.index;

	return s->next_state == NEXT_CARD || s->jump ||
	       schedule_is_open(&s->schedule, index, &now.wall);
}

// The waiting picture at once; what is being decoded comes when it is ready.
static void front_leave(struct show *s, struct show_time now)
{
	s->from = s->front.ticket;
	s->fade_start = now.mono;
	s->fade_ms = s->front.transition_ms;
	s->front = (struct show_picture){0};
	s->closes_ms = INT64_MAX;
	begin(s, now.mono);
}

static void boundary_cross(struct show *s, struct show_time now, struct show_ended *ended)
{
	if (next_is_ready(s) && !next_may_come(s, now))
		next_drop(s);
	if (!next_is_ready(s) && now.mono.ms < front_closes(s, now).ms)
		return; // what stands may go on standing until another one is found
	s->gone = s->front;
	*ended = ended_make(s, &s->gone, now.mono, cut_by(s, now));
	if (!next_is_ready(s)) {
		front_leave(s, now);
	} else if (s->next_state == NEXT_SAME) {
		struct schedule_ask ask = ask_at(s, now.mono, now);

		schedule_take(&s->schedule, s->front.index, &ask);
		round_look(s, now.mono);
		next_drop(s);
		begin(s, now.mono);
	} else {
		advance(s, now);
	}
}

// ---- what happens

static void pause_set(struct show *s, bool paused, struct mono now)
{
	if (paused == s->paused)
		return;
	if (paused)
		s->paused_at = now;
	else
		s->due = mono_add_ms(s->due, mono_since_ms(now, s->paused_at));
	s->paused = paused;
}

// Whatever the hour: an operator asks for it. Not what is over, or has not begun.
static bool dates_let(const struct show *s, size_t index, struct show_time now)
{
	struct schedule_time t = now.wall;

	if (!t.unknown)
		t.floor_ms = t.unix_ms;
	t.unknown = true; // the hours do not count
	return schedule_is_open(&s->schedule, index, &t);
}

static enum show_command_result show_jump(struct show *s, const char *arg, struct show_time now)
{
	size_t index = playlist_find(s->list, arg);

	if (index >= s->list->count || !dates_let(s, index, now))
		return COMMAND_NOT_FOUND;
	if (front_is(s, index))
		return COMMAND_DONE;
	next_drop(s);
	if (s->bad_until_ms[index] > 0)
		s->bad_count--;
	s->bad_until_ms[index] = 0;
	s->retry_at.ms = 0;
	next_want(s, index);
	s->jump = true;
	return COMMAND_DONE;
}

static enum show_command_result command_do(struct show *s, struct show_time now)
{
	const struct playlist_command *c = &s->list->command;

	if (c->n <= s->command_n)
		return COMMAND_NONE;
	s->command_n = c->n;
	switch (c->verb) {
	case VERB_SHOW:
		return show_jump(s, c->arg, now);
	case VERB_PAUSE:
		pause_set(s, true, now.mono);
		return COMMAND_DONE;
	case VERB_RESUME:
		pause_set(s, false, now.mono);
		return COMMAND_DONE;
	case VERB_NONE:
		return COMMAND_NONE;
	case VERB_UNKNOWN:
		break;
	}
	return COMMAND_UNKNOWN;
}

// Where the same package goes on: at the picture that stands, wherever it moved to.
static void plan_carry(const struct show *s, const struct show_offer *offer, struct schedule *plan)
{
	const struct playlist *list = offer->list;

	if (s->front.ticket == 0 || !digest_equal(&s->front.package, &list->package))
		return;
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->images[i].path, s->front.path) == 0) {
			schedule_jumped(plan, i);
			return;
		}
	}
}

static enum err list_change(struct show *s, const struct show_offer *offer)
{
	struct schedule plan;
	int64_t *fresh = calloc(offer->list->count + 1, sizeof(*fresh));

	if (!fresh)
		return err_set(
			ERR_MEMORY, "no memory for a playlist of %zu images", offer->list->count);
	bool goes_on = s->list && s->list->order == ORDER_SHUFFLE &&
		       digest_equal(&s->list->package, &offer->list->package);
	enum err e = schedule_init(
		&plan, offer->list, offer->zone, goes_on ? s->schedule.place : offer->place);
	if (e != ERR_OK) {
		free(fresh);
		return e;
	}
	plan_carry(s, offer, &plan);
	free(s->bad_until_ms);
	schedule_fini(&s->schedule);
	s->bad_until_ms = fresh;
	s->skip_at = SIZE_MAX;
	s->round_since.ms = 0;
	s->schedule = plan;
	s->bad_count = 0;
	s->retry_at.ms = 0;
	s->front.index = SIZE_MAX;
	s->switch_ms = offer->switch_ms;
	next_drop(s);
	return ERR_OK;
}

enum err show_playlist(struct show *s, const struct show_offer *offer, struct show_time now,
	enum show_command_result *command)
{
	if (!s->list || !playlist_same_show(s->list, offer->list))
		TRY(list_change(s, offer));
	s->list = s->schedule.list = offer->list;
	s->schedule.zone = offer->zone;
	*command = command_do(s, now);
	return ERR_OK;
}

void show_nothing(struct show *s)
{
	s->list = NULL;
	s->skip_at = SIZE_MAX;
	schedule_fini(&s->schedule);
	s->front.index = SIZE_MAX;
	s->switch_ms = 0;
	s->bad_count = 0;
	s->retry_at.ms = 0;
	next_drop(s);
}

bool show_loaded(struct show *s, uint64_t ticket, bool ok, struct mono now)
{
	if (s->next_state != NEXT_LOADING || s->next.ticket != ticket)
		return false;
	if (ok) {
		s->next_state = NEXT_READY;
		return true;
	}
	size_t index = s->next.index;

	// The row is only passed over; what stands goes on standing.
	if (s->bad_until_ms[index] != BAD_AGAIN)
		s->failed = s->next;
	if (s->bad_until_ms[index] <= 0)
		s->bad_count++;
	s->bad_until_ms[index] = mono_add_ms(now, RETRY_BAD_MS).ms;
	next_drop(s);
	return true;
}

// ---- the plan

static uint8_t fade_alpha(const struct show *s, struct mono now)
{
	int64_t past = mono_since_ms(now, s->fade_start);

	if (past <= 0)
		return 0;
	if (past >= s->fade_ms)
		return 255;
	// Smoothstep: a fade that begins and ends softly.
	int64_t t = past * 1024 / s->fade_ms;
	return (uint8_t)(t * t / 1024 * (3 * 1024 - 2 * t) / 1024 * 255 / 1024);
}

static enum show_wait wait_reason(const struct show *s)
{
	if (!s->list)
		return WAIT_NO_PLAYLIST;
	if (s->list->count == 0)
		return WAIT_EMPTY;
	if (s->opens_ms != 0)
		return WAIT_HOURS;
	return s->bad_count >= s->list->count ? WAIT_UNREADABLE : WAIT_LOADING;
}

static void wake_at(struct show_plan *p, struct mono at)
{
	if (at.ms == INT64_MAX)
		return;
	p->wake = p->has_wake ? sooner(p->wake, at) : at;
	p->has_wake = true;
}

static void wake_set(const struct show *s, struct show_plan *p, struct show_time now)
{
	if (p->fading) {
		wake_at(p, now.mono);
		return;
	}
	if (s->retry_at.ms != 0)
		wake_at(p, s->retry_at);
	if (s->front.ticket == 0) {
		if (s->opens_ms != 0)
			wake_at(p, mono_of(s->opens_ms, now));
		return;
	}
	wake_at(p, front_closes(s, now));
	if (next_is_ready(s))
		wake_at(p, front_ends(s, now));
}

// While nothing may come: it is looked again at the moment at which something may, and when the
// clock was set so that something may at once.
static void opening_look(struct show *s, struct show_time now)
{
	if (s->opens_ms == 0 || s->front.ticket != 0 || s->switch_ms != 0)
		return;
	if (now.wall.unix_ms >= s->opens_ms) {
		if (s->next_state == NEXT_NONE)
			s->opens_ms = 0;
		return;
	}
	struct schedule_ask ask = ask_at(s, now.mono, now);

	if (schedule_peek(&s->schedule, &ask) != SCHEDULE_NONE)
		next_drop(s);
}

static void next_prepare(struct show *s, struct show_plan *p, struct show_time now)
{
	retry_when_due(s, now.mono);
	opening_look(s, now);
	if (s->next_state == NEXT_NONE && s->fade_ms == 0 && s->retry_at.ms == 0 &&
		s->opens_ms == 0)
		next_choose(s, now);
	if (s->next_state == NEXT_WANTED && s->fade_ms == 0) {
		s->next_state = NEXT_LOADING;
		p->load = true;
		p->wanted = s->next;
	}
}

// The list tells when the front closes; of a front of an older list it is known from before.
static void closing_look(struct show *s, struct show_time now)
{
	if (s->front.ticket == 0 || s->front.index == SIZE_MAX)
		return;
	s->closes_ms = s->jumped ? schedule_over_ms(&s->schedule, s->front.index)
				 : schedule_closes_ms(&s->schedule, s->front.index, &now.wall);
}

struct show_plan show_step(struct show *s, struct show_time now)
{
	struct show_plan p = {0};

	if (s->fade_ms > 0 && mono_since_ms(now.mono, s->fade_start) >= s->fade_ms)
		s->fade_ms = 0;
	closing_look(s, now);
	if (boundary_is_due(s, now))
		boundary_cross(s, now, &p.ended);
	next_prepare(s, &p, now);
	p.fading = s->fade_ms > 0;
	p.alpha = p.fading ? fade_alpha(s, now.mono) : 255;
	p.below = p.fading ? s->from : s->front.ticket;
	p.front = s->front.ticket;
	p.keep = s->next.ticket;
	p.state = s->front.ticket == 0 ? SHOW_WAITING : (s->paused ? SHOW_PAUSED : SHOW_SHOWING);
	p.why = wait_reason(s);
	wake_set(s, &p, now);
	return p;
}

struct show_ended show_end(struct show *s, struct mono now)
{
	return ended_make(s, &s->front, now, "stop");
}
