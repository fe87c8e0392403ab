#include "server/strangers.h"

#include "proto/base/log.h"
#include <stdlib.h>
#include <string.h>

enum who {
	WHO_NOBODY, // no certificate
	WHO_FIRST,  // ours, with a foreign client id
	WHO_SECOND, // ours, with another one
	WHO_COUNT
};

struct stranger {
	struct strangers *room;
	enum who who;
	struct mqtt_link *link;
	bool up, over; // over: came in, or was turned away
};

struct strangers {
	uv_loop_t *loop;
	const struct link_config *config;
	const char *broker;
	struct findings *findings;
	bool with_identity, identity_holds, finished, nobody_failed;
	struct mono began, second_up;
	struct stranger each[WHO_COUNT];
	void (*done)(void *ctx);
	void *ctx;
};

static void stranger_close(struct stranger *s)
{
	if (s->link)
		link_close(s->link, true);
	s->link = NULL;
}

static void found(struct strangers *s, enum finding_level level, const char *id, const char *what,
	const char *mend)
{
	finding_tell(s->findings, level, s->broker, id, what, mend);
}

static void anonymous_in(struct strangers *s)
{
	found(s, FINDING_ERROR, "PROBE-ANONYMOUS", "the broker lets in who has no certificate",
		"require_certificate true and allow_anonymous false");
}

static void anonymous_out(struct strangers *s)
{
	found(s, FINDING_OK, "PROBE-ANONYMOUS", "nobody comes in without a certificate", "");
}

static void finish(struct strangers *s)
{
	if (s->finished)
		return;
	s->finished = true;
	// A failure says something only where somebody else came in.
	if (s->nobody_failed && (!s->with_identity || s->each[WHO_FIRST].up))
		anonymous_out(s);
	for (int i = 0; i < WHO_COUNT; i++)
		stranger_close(&s->each[i]);
	s->done(s->ctx);
}

static void identity_judge(struct strangers *s, bool kicked)
{
	s->identity_holds = kicked;
	if (kicked)
		found(s, FINDING_OK, "PROBE-IDENTITY", "the certificate decides who somebody is",
			"");
	else
		found(s, FINDING_ERROR, "PROBE-IDENTITY",
			"a certificate may come with any client id: a device can take another's "
			"place",
			"use_identity_as_username true and use_username_as_clientid true");
}

static bool all_over(const struct strangers *s)
{
	if (!s->with_identity)
		return s->each[WHO_NOBODY].over;
	return s->each[WHO_NOBODY].over && s->each[WHO_FIRST].over && s->each[WHO_SECOND].over;
}

static enum err stranger_open(struct stranger *s);

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct stranger *s = ctx;
	struct strangers *room = s->room;

	(void)via;
	(void)session_present;
	s->up = true;
	if (s->who == WHO_NOBODY) {
		anonymous_in(room);
		s->over = true;
	} else if (s->who == WHO_FIRST) {
		if (room->each[WHO_SECOND].link)
			return;
		if (stranger_open(&room->each[WHO_SECOND]) != ERR_OK)
			s->over = room->each[WHO_SECOND].over = true;
	} else {
		room->second_up = clock_now().mono;
	}
}

// The first one may go before we learn that the second one is in.
static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct stranger *s = ctx;
	struct strangers *room = s->room;

	(void)why;
	if (s->over || (!s->up && retry_ms >= 0))
		return; // another address follows
	s->over = true;
	if (s->who == WHO_NOBODY && !s->up)
		room->nobody_failed = true;
	if (s->who == WHO_FIRST && s->up) {
		identity_judge(room, true);
		room->each[WHO_SECOND].over = true;
	}
	if (s->who == WHO_FIRST && !s->up)
		room->each[WHO_SECOND].over = true; // the broker does not answer: nothing is known
	if (all_over(room))
		finish(room);
}

static void on_message(void *ctx, const struct link_message *m)
{
	(void)ctx;
	(void)m;
}

static void on_published(void *ctx, uint64_t token, int reason)
{
	(void)ctx;
	(void)token;
	(void)reason;
}

static void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	(void)ctx;
	(void)token;
	(void)reasons;
	(void)count;
}

static enum err stranger_open(struct stranger *s)
{
	static const char *const names[WHO_COUNT] = {"probe.nobody", "probe.first", "probe.second"};
	static const struct link_events events = {
		on_up, on_down, on_message, NULL, on_published, on_subscribed};
	struct link_config c = *s->room->config;

	c.client_id = names[s->who];
	c.once = true;
	c.will_topic = NULL;
	if (s->who == WHO_NOBODY)
		c.cert_file = c.key_file = NULL;
	return link_new(s->room->loop, &c, &events, s, &s->link);
}

enum err strangers_new(uv_loop_t *loop, const struct link_config *config, const char *broker,
	bool with_identity, struct findings *findings, void (*done)(void *ctx), void *ctx,
	struct strangers **out)
{
	struct strangers *s = calloc(1, sizeof(*s));
	enum err e;

	if (!s)
		abort();
	*s = (struct strangers){.loop = loop,
		.config = config,
		.broker = broker,
		.findings = findings,
		.with_identity = with_identity,
		.began = clock_now().mono,
		.done = done,
		.ctx = ctx};
	for (int i = 0; i < WHO_COUNT; i++)
		s->each[i] = (struct stranger){.room = s, .who = (enum who)i};
	e = stranger_open(&s->each[WHO_NOBODY]);
	if (e == ERR_OK && with_identity)
		e = stranger_open(&s->each[WHO_FIRST]);
	if (e != ERR_OK) {
		strangers_free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void strangers_free(struct strangers *s)
{
	if (!s)
		return;
	for (int i = 0; i < WHO_COUNT; i++)
		stranger_close(&s->each[i]);
	free(s);
}

void strangers_tick(struct strangers *s, struct now now)
{
	struct stranger *first = &s->each[WHO_FIRST], *second = &s->each[WHO_SECOND];

	if (s->finished)
		return;
	if (s->with_identity && second->up && !first->over && !second->over &&
		mono_since_ms(now.mono, s->second_up) >= STRANGERS_KICK_MS) {
		identity_judge(s, false);
		first->over = second->over = true;
	}
	if (all_over(s) || mono_since_ms(now.mono, s->began) >= STRANGERS_MS)
		finish(s);
}

bool strangers_identity_holds(const struct strangers *s)
{
	return s->identity_holds;
}

bool strangers_are_over(const struct strangers *s)
{
	return s->finished;
}
