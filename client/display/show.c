// The show plan: a front picture, a next one, a fade between them.
#include "client/display/show.h"

#include "client/display/display_limits.h"
#include <stdlib.h>
#include <string.h>

void show_init(struct show *s)
{
	*s = (struct show){.cursor = SIZE_MAX};
}

void show_fini(struct show *s)
{
	free(s->bad_until_ms);
	s->bad_until_ms = NULL;
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

static bool is_bad(const struct show *s, size_t index, struct mono now)
{
	return s->bad_until_ms[index] > now.ms;
}

static void next_drop(struct show *s)
{
	s->next = (struct show_picture){0};
	s->next_state = NEXT_NONE;
	s->jump = false;
}

static void next_want(struct show *s, size_t index)
{
	const struct playlist_image *i = &s->list->images[index];

	s->next = (struct show_picture){
		.ticket = ++s->last_ticket,
		.package = s->list->package,
		.duration_ms = i->duration_ms,
		.transition_ms = s->list->transition_ms,
		.index = index,
	};
	// A safe path has at most 512 characters.
	bool fits = str_copy(s->next.path, sizeof(s->next.path), i->path);
	(void)fits;
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

static void next_choose(struct show *s, struct mono now)
{
	size_t count = count_of(s);

	for (size_t step = 1; step <= count; step++) {
		size_t index = s->cursor == SIZE_MAX ? step - 1 : (s->cursor + step) % count;

		if (is_bad(s, index, now))
			continue;
		if (front_is(s, index))
			s->next_state = NEXT_SAME;
		else
			next_want(s, index);
		return;
	}
	if (count > 0)
		s->retry_at = mono_add_ms(now, RETRY_ALL_BAD_MS);
	else
		s->next_state = NEXT_CARD;
}

// Nothing could be read: forget the verdicts after a while.
static void retry_when_due(struct show *s, struct mono now)
{
	if (s->retry_at.ms == 0 || now.ms < s->retry_at.ms)
		return;
	s->retry_at.ms = 0;
	if (count_of(s) > 0)
		memset(s->bad_until_ms, 0, count_of(s) * sizeof(*s->bad_until_ms));
	s->bad_count = 0;
}

// ---- boundaries

static struct show_ended ended_make(
	const struct show *s, const struct show_picture *p, struct mono now)
{
	return (struct show_ended){
		.is = p->ticket != 0,
		.picture = p,
		.since = s->since,
		.duration_ms = mono_since_ms(now, s->since),
	};
}

static void begin(struct show *s, struct mono now)
{
	s->since = now;
	s->due = mono_add_ms(now, s->front.duration_ms);
	s->paused_at = now;
}

// The next picture becomes the front; the old one lies below while the fade runs.
static void advance(struct show *s, struct mono now)
{
	uint32_t fade = s->next_state == NEXT_CARD ? s->front.transition_ms : s->next.transition_ms;

	s->from = s->front.ticket;
	s->front = s->next;
	if (s->front.ticket != 0) {
		s->cursor = s->front.index;
		fade = fade > s->front.duration_ms / 2 ? s->front.duration_ms / 2 : fade;
	}
	s->fade_start = now;
	s->fade_ms = fade;
	next_drop(s);
	begin(s, now);
}

static bool boundary_is_due(const struct show *s, struct mono now)
{
	bool ready = s->next_state == NEXT_READY || s->next_state == NEXT_SAME ||
		     s->next_state == NEXT_CARD;

	if (!ready || s->fade_ms > 0)
		return false;
	if (s->front.ticket == 0)
		return s->next_state == NEXT_READY;
	if (s->jump)
		return true;
	return !s->paused && now.ms >= s->due.ms;
}

static void boundary_cross(struct show *s, struct mono now, struct show_ended *ended)
{
	s->gone = s->front;
	*ended = ended_make(s, &s->gone, now);
	if (s->next_state == NEXT_SAME) {
		s->cursor = s->front.index;
		next_drop(s);
		begin(s, now);
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

static enum show_command_result show_jump(struct show *s, const char *arg)
{
	size_t index = playlist_find(s->list, arg);

	if (index >= s->list->count)
		return COMMAND_NOT_FOUND;
	if (front_is(s, index))
		return COMMAND_DONE;
	next_drop(s);
	if (s->bad_until_ms[index] != 0)
		s->bad_count--;
	s->bad_until_ms[index] = 0;
	s->retry_at.ms = 0;
	next_want(s, index);
	s->jump = true;
	return COMMAND_DONE;
}

static enum show_command_result command_do(struct show *s, struct mono now)
{
	const struct playlist_command *c = &s->list->command;

	if (c->n <= s->command_n)
		return COMMAND_NONE;
	s->command_n = c->n;
	switch (c->verb) {
	case VERB_SHOW:
		return show_jump(s, c->arg);
	case VERB_PAUSE:
		pause_set(s, true, now);
		return COMMAND_DONE;
	case VERB_RESUME:
		pause_set(s, false, now);
		return COMMAND_DONE;
	case VERB_NONE:
		return COMMAND_NONE;
	case VERB_UNKNOWN:
		break;
	}
	return COMMAND_UNKNOWN;
}

// Where the same package goes on: at the picture that stands, wherever it moved to.
static size_t cursor_carry(const struct show *s, const struct playlist *list)
{
	if (s->front.ticket == 0 || !digest_equal(&s->front.package, &list->package))
		return SIZE_MAX;
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->images[i].path, s->front.path) == 0)
			return i;
	}
	return SIZE_MAX;
}

enum err show_playlist(struct show *s, const struct playlist *list, struct mono now,
	enum show_command_result *command)
{
	bool same = s->list && playlist_same_show(s->list, list);

	if (!same) {
		int64_t *fresh = calloc(list->count + 1, sizeof(*fresh));

		if (!fresh)
			return err_set(
				ERR_MEMORY, "no memory for a playlist of %zu images", list->count);
		free(s->bad_until_ms);
		s->bad_until_ms = fresh;
		s->bad_count = 0;
		s->retry_at.ms = 0;
		s->cursor = cursor_carry(s, list);
		s->front.index = SIZE_MAX;
		next_drop(s);
	}
	s->list = list;
	*command = command_do(s, now);
	return ERR_OK;
}

void show_nothing(struct show *s)
{
	s->list = NULL;
	s->cursor = SIZE_MAX;
	s->front.index = SIZE_MAX;
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
	if (s->bad_until_ms[index] == 0)
		s->bad_count++;
	s->bad_until_ms[index] = mono_add_ms(now, RETRY_BAD_MS).ms;
	if (!s->jump)
		s->cursor = index;
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
	return s->bad_count >= s->list->count ? WAIT_UNREADABLE : WAIT_LOADING;
}

static void wake_set(const struct show *s, struct show_plan *p, struct mono now)
{
	if (p->fading) {
		p->has_wake = true;
		p->wake = now;
		return;
	}
	if (s->retry_at.ms != 0) {
		p->has_wake = true;
		p->wake = s->retry_at;
	}
	bool ready = s->next_state == NEXT_READY || s->next_state == NEXT_SAME ||
		     s->next_state == NEXT_CARD;
	if (s->front.ticket != 0 && !s->paused && ready &&
		(!p->has_wake || s->due.ms < p->wake.ms)) {
		p->has_wake = true;
		p->wake = s->due;
	}
}

static void next_prepare(struct show *s, struct show_plan *p, struct mono now)
{
	retry_when_due(s, now);
	if (s->next_state == NEXT_NONE && s->fade_ms == 0 && s->retry_at.ms == 0)
		next_choose(s, now);
	if (s->next_state == NEXT_WANTED && s->fade_ms == 0) {
		s->next_state = NEXT_LOADING;
		p->load = true;
		p->wanted = s->next;
	}
}

struct show_plan show_step(struct show *s, struct mono now)
{
	struct show_plan p = {0};

	if (s->fade_ms > 0 && mono_since_ms(now, s->fade_start) >= s->fade_ms)
		s->fade_ms = 0;
	if (boundary_is_due(s, now))
		boundary_cross(s, now, &p.ended);
	next_prepare(s, &p, now);
	p.fading = s->fade_ms > 0;
	p.alpha = p.fading ? fade_alpha(s, now) : 255;
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
	return ended_make(s, &s->front, now);
}
