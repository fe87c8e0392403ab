#include "server/media_state.h"

#define STATES (MEDIA_SUPERSEDED + 1)

// A disc in the post arrives, whatever is decided here meanwhile: POSTED ends only when the client
// holds the package.
static const enum media_state table[STATES][MEDIA_EVENT_COUNT] = {
	[MEDIA_PENDING] =
		{
			[MEDIA_EV_RECORD] = MEDIA_RECORDED,
			[MEDIA_EV_CANCEL] = MEDIA_CANCELLED,
			[MEDIA_EV_RETURN] = MEDIA_CANCELLED,
			[MEDIA_EV_BY_LINK] = MEDIA_CANCELLED,
			[MEDIA_EV_BY_MEDIUM] = MEDIA_ARRIVED,
			[MEDIA_EV_NEWER] = MEDIA_CANCELLED,
		},
	[MEDIA_RECORDED] =
		{
			[MEDIA_EV_POST] = MEDIA_POSTED,
			[MEDIA_EV_CANCEL] = MEDIA_CANCELLED,
			[MEDIA_EV_RETURN] = MEDIA_SUPERSEDED,
			[MEDIA_EV_BY_LINK] = MEDIA_SUPERSEDED,
			[MEDIA_EV_BY_MEDIUM] = MEDIA_ARRIVED,
			[MEDIA_EV_NEWER] = MEDIA_SUPERSEDED,
		},
	[MEDIA_POSTED] =
		{
			[MEDIA_EV_CANCEL] = MEDIA_CANCELLED,
			[MEDIA_EV_BY_LINK] = MEDIA_SUPERSEDED,
			[MEDIA_EV_BY_MEDIUM] = MEDIA_ARRIVED,
		},
};

static const char *const state_words[STATES] = {
	[MEDIA_PENDING] = "pending",
	[MEDIA_RECORDED] = "recorded",
	[MEDIA_POSTED] = "posted",
	[MEDIA_ARRIVED] = "arrived",
	[MEDIA_CANCELLED] = "cancelled",
	[MEDIA_SUPERSEDED] = "superseded",
};

static const char *const event_words[MEDIA_EVENT_COUNT] = {
	[MEDIA_EV_RECORD] = "recorded",
	[MEDIA_EV_POST] = "posted",
	[MEDIA_EV_CANCEL] = "cancelled by an operator",
	[MEDIA_EV_RETURN] = "the client came back",
	[MEDIA_EV_BY_LINK] = "the link was faster",
	[MEDIA_EV_BY_MEDIUM] = "the client has it",
	[MEDIA_EV_NEWER] = "a newer one was ordered",
};

enum media_state media_step(enum media_state from, enum media_event e)
{
	if (from < MEDIA_PENDING || from >= STATES || e < MEDIA_EV_RECORD || e >= MEDIA_EVENT_COUNT)
		return (enum media_state)0;
	return table[from][e];
}

const char *media_state_word(enum media_state s)
{
	return s >= MEDIA_PENDING && s < STATES ? state_words[s] : "?";
}

const char *media_event_word(enum media_event e)
{
	return e >= MEDIA_EV_RECORD && e < MEDIA_EVENT_COUNT ? event_words[e] : "?";
}

bool media_is_open(enum media_state s)
{
	return s == MEDIA_PENDING || s == MEDIA_RECORDED || s == MEDIA_POSTED;
}
