// What operators, and clients by themselves, do at random: publish, go back, ask, command, cancel,
// pause, change intervals, move clients. An act is one turn of the server. Commands and questions
// carry their act's number, so that whoever sees one knows which act it was.
#include "tests/fleet/sim/sim.h"

#include <stdlib.h>
#include <string.h>

static void channel_name(uint32_t channel, char out[8])
{
	snprintf(out, 8, "c%u", channel);
}

static uint32_t any_channel(struct sim *s)
{
	return (uint32_t)rng_below(&s->acts_random, SIM_CHANNELS);
}

static struct device *any_device(struct sim *s)
{
	return &s->devices[rng_below(&s->acts_random, s->config.agents)];
}

// ---- acts that are followed to their end

// NULL: no room for more, or the server cannot take it.
static struct act *act_new(struct sim *s, enum act_kind kind)
{
	if (s->act_count == SIM_ACTS)
		return NULL;
	struct act *a = &s->acts[s->act_count++];
	*a = (struct act){.kind = kind};
	ledger_note(s, &(struct note){.kind = NOTE_ACT, .act = s->act_count - 1});
	return a;
}

// Who stands in the channel's queue now must be given the event, or be told that it was passed
// over.
static void expect_all(struct sim *s, struct act *a)
{
	struct client_info info;
	char channel[8];

	a->expects = calloc(s->config.agents, 1);
	if (!a->expects)
		abort();
	channel_name(a->channel, channel);
	for (uint32_t i = 0; i < s->config.agents; i++) {
		const struct client_place *place = NULL;
		if (core_client_find(s->server.core, s->devices[i].id, &info) == ERR_OK)
			place = client_info_place(&info, channel);
		a->expects[i] = place && place->pointer_at != ELEMENT_HEAD;
	}
}

static void act_append(struct sim *s, struct act *a, const struct event *e, bool private)
{
	const struct device *d = any_device(s);
	char queue[24];

	if (private) {
		a->client = d->index + 1;
		snprintf(queue, sizeof(queue), "@%s", d->id);
	} else {
		a->channel = any_channel(s);
		channel_name(a->channel, queue);
		expect_all(s, a);
	}
	enum err err = core_append_event(s->server.core, queue, e, &a->seq, &a->flow);
	if (err != ERR_OK)
		a->dropped = true;
	if (err != ERR_OK && err != ERR_FULL && !s->server.read_only)
		violate(s, "an event for %s is refused: %s", queue, err_text());
	trace(s, "act %u for %s seq %llu%s", s->act_count - 1, queue, (unsigned long long)a->seq,
		a->dropped ? " refused" : "");
}

static void act_command(struct sim *s)
{
	static const char *const verbs[] = {"tool", "tool", "tool", "ping", "pause"};
	struct act *a = act_new(s, ACT_COMMAND);
	char number[16];
	const char *args[1] = {number};

	if (!a)
		return;
	snprintf(number, sizeof(number), "%u", s->act_count - 1);
	const char *verb = verbs[rng_below(&s->acts_random, 5)];
	struct execute_command c = {.verb = verb, .args = args, .timeout_ms = 5000};
	c.arg_count = strcmp(verb, "tool") == 0;
	if (c.arg_count == 0)
		a->kind = ACT_VALUE; // carries no number: not followed
	a->may_expire = rng_chance(&s->acts_random, 100);
	if (a->may_expire)
		c.expires_unix_ms = host_now(s).wall.ms + rng_between(&s->acts_random, 500, 10000);
	const struct event e = {.type = ELEMENT_COMMAND, .command = &c, .author = "alice.1"};
	act_append(s, a, &e, rng_chance(&s->acts_random, 600));
}

static void act_ask(struct sim *s)
{
	static const enum info_kind kinds[] = {
		INFO_DISPLAY, INFO_USAGE, INFO_HOLDINGS, INFO_SOFTWARE};
	struct act *a = act_new(s, ACT_ASK);

	if (!a)
		return;
	struct send_information send = {.what = kinds[rng_below(&s->acts_random, 4)],
		.since_unix_ms = (int64_t)s->act_count};
	const struct event e = {.type = ELEMENT_REQUEST, .request = &send, .author = "alice.1"};
	act_append(s, a, &e, rng_chance(&s->acts_random, 600));
}

// ---- what the fleet shows

static void publish_in(struct sim *s, uint32_t channel, uint32_t package)
{
	struct digest digest = package_digest(package);
	const struct event e = {
		.type = package_is_software(package) ? ELEMENT_SOFTWARE : ELEMENT_DISPLAY,
		.packages = &digest,
		.package_count = 1,
		.activate = true,
		.author = "alice.1",
	};
	char name[8];

	channel_name(channel, name);
	if (core_append_event(s->server.core, name, &e, NULL, NULL) != ERR_OK &&
		!s->server.read_only)
		violate(s, "package %u is refused: %s", package, err_text());
	trace(s, "package %u for %s", package, name);
}

static void act_publish(struct sim *s)
{
	// The last ones are for the quiet end.
	if (s->package_count < SIM_PACKAGES - SIM_CHANNELS)
		s->package_count++;
	uint32_t channel = any_channel(s), package = s->package_count - 1;
	publish_in(s, channel, package);
	if (package < SIM_SLOTS || rng_chance(&s->acts_random, 700))
		return;
	// While it is fetched somebody goes back to what was there before.
	package = package % SIM_SLOTS +
		  SIM_SLOTS * (uint32_t)rng_below(&s->acts_random, package / SIM_SLOTS);
	heap_push(s, s->now + rng_between(&s->acts_random, 1, 4 * (int64_t)s->interval_ms),
		EVENT_ACT, channel, ACTS_NEWER, NULL, package);
}

static void act_roll_back(struct sim *s)
{
	if (s->package_count)
		publish_in(
			s, any_channel(s), (uint32_t)rng_below(&s->acts_random, s->package_count));
}

static void value_in(struct sim *s, uint32_t channel)
{
	char name[8], text[16];
	struct change change = {.change_id = ++s->value_count,
		.key = value_keys[rng_below(&s->acts_random, SIM_KEYS)],
		.value = text};
	const struct event e = {.type = ELEMENT_DISPLAY,
		.changes = &change,
		.change_count = 1,
		.author = "alice.1"};

	channel_name(channel, name);
	snprintf(text, sizeof(text), "v%u", s->value_count);
	if (core_append_event(s->server.core, name, &e, NULL, NULL) != ERR_OK &&
		!s->server.read_only)
		violate(s, "a value is refused: %s", err_text());
}

// A visual change that a client indicates.
static void act_change_at_device(struct sim *s)
{
	struct device *d = any_device(s);
	char text[16];

	if (!d->alive)
		return;
	snprintf(text, sizeof(text), "v%u", ++s->value_count);
	enum err e = agent_change(&d->core, value_keys[rng_below(&s->acts_random, SIM_KEYS)], text);
	if (e != ERR_OK && e != ERR_FULL && !d->disk_full)
		violate(s, "%s takes no change: %s", d->id, err_text());
	device_arm(d);
}

// ---- control

static void act_control(struct sim *s)
{
	char name[8];
	struct channel_info info;
	struct consolidated *runs = NULL;
	size_t count = 0;
	enum err e = ERR_OK;

	channel_name(any_channel(s), name);
	if (core_channel_find(s->server.core, name, &info) != ERR_OK)
		return;
	switch (rng_below(&s->acts_random, 5)) {
	case 3:
		e = core_channel_set_weight(
			s->server.core, name, (uint32_t)rng_below(&s->acts_random, 1001));
		break;
	case 0:
		e = core_channel_control(s->server.core, name,
			info.paused ? CONTROL_RESUME : CONTROL_PAUSE, 0, "alice.1", NULL);
		break;
	case 1:
		e = core_channel_control(s->server.core, name, CONTROL_RATE,
			rng_below(&s->acts_random, 1000000), "alice.1", NULL);
		break;
	case 2:
		e = core_channel_consolidate(
			s->server.core, name, core_arena(s->server.core), &runs, &count);
		break;
	default:
		e = core_channel_control(s->server.core, name, CONTROL_RESUME, 0, "alice.1", NULL);
		break;
	}
	if (e != ERR_OK && !s->server.read_only)
		violate(s, "a control of %s is refused: %s", name, err_text());
}

static void act_cancel(struct sim *s)
{
	enum err e = core_operation_cancel(s->server.core, any_device(s)->id, 0, "alice.1", NULL);

	if (e != ERR_OK && e != ERR_NOT_NOW && !s->server.read_only)
		violate(s, "a cancel is refused: %s", err_text());
}

static void act_interval(struct sim *s)
{
	struct device *d = any_device(s);
	uint32_t interval = (uint32_t)rng_between(
		&s->acts_random, HEARTBEAT_MIN_MS, 2 * (int64_t)s->interval_ms);
	char queue[24];
	const struct event e = {
		.type = ELEMENT_INTERVAL, .interval_ms = interval, .author = "alice.1"};

	if (rng_chance(&s->acts_random, 300))
		interval = 0;
	snprintf(queue, sizeof(queue), "@%s", d->id);
	enum err err = interval && rng_chance(&s->acts_random, 500)
			       ? core_append_event(s->server.core, queue, &e, NULL, NULL)
			       : core_client_set_interval(s->server.core, d->id, interval);
	if (err != ERR_OK && err != ERR_FULL && !s->server.read_only)
		violate(s, "an interval is refused: %s", err_text());
}

static void act_move(struct sim *s)
{
	struct device *d = any_device(s);
	uint32_t first = any_channel(s), second = (first + 1) % SIM_CHANNELS;
	char names[2][8];
	const char *list[2] = {names[0], names[1]};
	size_t count = rng_chance(&s->acts_random, 500) ? 2 : 1;

	channel_name(first, names[0]);
	channel_name(second, names[1]);
	if (core_client_set_channels(s->server.core, d->id, list, count) != ERR_OK &&
		!s->server.read_only)
		violate(s, "%s cannot move: %s", d->id, err_text());
	trace(s, "%s moves to %s %s", d->id, names[0], count == 2 ? names[1] : "alone");
}

// ---- one act

static bool server_listens(const struct sim *s)
{
	return s->server.core && !s->server.stalled && !core_is_degraded(s->server.core);
}

static void act_end(struct sim *s)
{
	struct server_host *h = &s->server;

	if (!s->quiet && s->config.faults & FAULT_SERVER && rng_chance(&s->fate, 10)) {
		ledger_forget(s);
		host_kill(s, rng_between(&s->fate, 50, 4000));
		return;
	}
	h->publishes_left = -1;
	host_commit(s);
}

void act_newer(struct sim *s, uint32_t channel, uint32_t package)
{
	if (s->quiet || !server_listens(s))
		return;
	s->server.committed = false;
	publish_in(s, channel, package);
	act_end(s);
}

void act_random(struct sim *s)
{
	static void (*const acts[])(struct sim * s) = {act_publish, act_publish, act_publish,
		act_roll_back, act_ask, act_ask, act_ask, act_command, act_command, act_command,
		act_command, act_control, act_cancel, act_interval, act_move, act_change_at_device};
	int64_t every = 12 * (int64_t)s->interval_ms / s->config.agents;

	// Not more than a queue of a thousand clients may carry.
	if (every < s->interval_ms / 8)
		every = s->interval_ms / 8;
	if (s->quiet)
		return;
	heap_push(s, s->now + 1 + (int64_t)rng_below(&s->acts_random, (uint64_t)every * 2),
		EVENT_ACT, 0, 0, NULL, 0);
	if (!server_listens(s))
		return;
	s->server.committed = false;
	acts[rng_below(&s->acts_random, sizeof(acts) / sizeof(acts[0]))](s);
	act_end(s);
}

static void queues_resume(struct sim *s)
{
	struct core *core = s->server.core;
	struct client_info info;
	char name[24];

	for (uint32_t i = 0; i < s->config.agents; i++) {
		const struct device *d = &s->devices[i];
		snprintf(name, sizeof(name), "@%s", d->id);
		enum err e = core_channel_control(core, name, CONTROL_RESUME, 0, "alice.1", NULL);
		if (e != ERR_OK && e != ERR_NOT_FOUND)
			violate(s, "%s cannot be resumed: %s", name, err_text());
		if (s->config.faults & (FAULT_TORN | FAULT_RESTORE) &&
			core_client_find(core, d->id, &info) == ERR_OK &&
			info.state == CS_CLONE_SUSPECT &&
			core_client_clear_clone(core, d->id) != ERR_OK)
			violate(s, "%s cannot be cleared: %s", d->id, err_text());
	}
}

// Everything is resumed, and each channel is given something new; tried until it is committed.
void acts_last(struct sim *s, bool first)
{
	char name[8];
	bool done = server_listens(s);

	if (done) {
		s->last_packages = first ? s->package_count : s->last_packages;
		s->last_values = first ? s->value_count + 1 : s->last_values;
		for (uint32_t i = 0; i < SIM_CHANNELS; i++) {
			channel_name(i, name);
			if (first && core_channel_control(s->server.core, name, CONTROL_RESUME, 0,
					     "alice.1", NULL) != ERR_OK)
				violate(s, "%s cannot be resumed: %s", name, err_text());
			if (first && s->package_count < SIM_PACKAGES)
				publish_in(s, i, s->package_count++);
			value_in(s, i);
		}
		queues_resume(s);
		done = host_commit(s);
	}
	if (!done)
		heap_push(s, s->now + 500, EVENT_ACT, 0, first ? ACTS_FIRST : ACTS_AGAIN, NULL, 0);
}
