// Verbs about channels: what a group of clients shows and runs.
#include "server/operator.h"

#include "server/core_inside.h"

static void json_channel(struct operator_call *c, cJSON *o, const struct channel_info *ch)
{
	struct channel_slot *slots = NULL;
	size_t count = 0;
	cJSON *list;

	put_text(o, "channel", ch->name);
	put_number(o, "epoch", ch->epoch);
	put_number(o, "weight", ch->weight);
	put_number(o, "clients", ch->clients);
	put_number(o, "caught_up", ch->pointers_at_tail);
	put_number(o, "elements", ch->elements);
	put_number(o, "tail_seq", ch->tail_seq);
	put_bool(o, "paused", ch->paused);
	put_bool(o, "closed", ch->closed);
	put_number(o, "rate_bytes_per_s", ch->rate_bytes_per_s);
	list = put_list(o, "slots");
	if (core_channel_slots(c->room->core, ch->name, c->arena, &slots, &count) != ERR_OK)
		return;
	for (size_t i = 0; i < count; i++) {
		cJSON *s = put_item(list);

		put_text(s, "kind", package_kind_word(slots[i].kind));
		put_text(s, "name", slots[i].name);
		put_text(s, "version", slots[i].version);
		put_digest(s, "package", &slots[i].package);
		put_digest(s, "previous", &slots[i].previous);
	}
}

static enum err run_create(struct operator_call *c)
{
	const char *name = call_text(c, "channel");
	struct channel *made;
	struct channel_info ch;

	if (core_channel_find(c->room->core, name, &ch) != ERR_OK) {
		TRY(channel_make(c->room->core, name, &made));
		TRY(core_channel_find(c->room->core, name, &ch));
	}
	put_text(c->json, "channel", ch.name);
	put_number(c->json, "epoch", ch.epoch);
	return ERR_OK;
}

static enum err run_list(struct operator_call *c)
{
	cJSON *list = put_list(c->json, "channels");
	struct channel_info ch;
	size_t cursor = 0;

	while (core_channel_next(c->room->core, &cursor, &ch))
		json_channel(c, put_item(list), &ch);
	return ERR_OK;
}

static enum err publish(struct operator_call *c, const char *channel, const struct package *k,
	bool activate, uint64_t at_unix_ms)
{
	struct event e = {
		.type = k->kind == PACKAGE_SOFTWARE ? ELEMENT_SOFTWARE : ELEMENT_DISPLAY,
		.packages = &k->id,
		.package_count = 1,
		.activate = activate,
		.activate_unix_ms = (int64_t)at_unix_ms,
	};

	if (k->state == PLACE_WITHDRAWN)
		return err_set(ERR_NOT_NOW, "package %s %s was withdrawn", k->name, k->version);
	TRY(call_append(c, channel, &e, &k->id));
	put_digest(c->json, "package", &k->id);
	put_text(c->json, "kind", package_kind_word(k->kind));
	put_text(c->json, "name", k->name);
	put_text(c->json, "version", k->version);
	return ERR_OK;
}

static enum err run_publish(struct operator_call *c)
{
	struct channel_info ch;
	struct package *k;

	TRY(core_channel_find(c->room->core, call_text(c, "channel"), &ch));
	TRY(call_package(c, "package", &k));
	uint64_t at = call_u64(c, "at", 0);
	if (at > INT64_MAX / 1000)
		return err_set(ERR_RANGE, "at: no such moment");
	return publish(c, ch.name, k, call_bool(c, "activate", true), at);
}

// The slot that is meant: by name and kind, or the only one.
static enum err slot_choose(struct operator_call *c, const char *channel, struct channel_slot *out)
{
	const char *name = call_text(c, "name"), *kind = call_text(c, "kind");
	struct channel_slot *slots;
	size_t count, found = 0;

	TRY(core_channel_slots(c->room->core, channel, c->arena, &slots, &count));
	for (size_t i = 0; i < count; i++) {
		if ((name && strcmp(name, slots[i].name) != 0) ||
			(kind && strcmp(kind, package_kind_word(slots[i].kind)) != 0))
			continue;
		*out = slots[i];
		found++;
	}
	if (found == 0)
		return err_set(ERR_NOT_FOUND, "channel %s has no such package", channel);
	if (found > 1)
		return err_set(
			ERR_RANGE, "channel %s has several packages: give name and kind", channel);
	if (digest_is_zero(&out->previous))
		return err_set(ERR_NOT_FOUND, "channel %s had no version of %s before %s", channel,
			out->name, out->version);
	return ERR_OK;
}

static enum err run_rollback(struct operator_call *c)
{
	struct channel_info ch;
	struct channel_slot slot;
	struct package *k;

	TRY(core_channel_find(c->room->core, call_text(c, "channel"), &ch));
	TRY(slot_choose(c, ch.name, &slot));
	k = presence_find(c->room->presence, &slot.previous);
	if (!k)
		return err_set(
			ERR_NOT_FOUND, "the version before %s is not known any more", slot.version);
	TRY(publish(c, ch.name, k, true, 0));
	put_digest(c->json, "previous", &slot.package);
	return ERR_OK;
}

static enum err control(struct operator_call *c, enum channel_control what, uint64_t value)
{
	struct channel_info ch;
	uint64_t flow = 0;

	TRY(core_channel_find(c->room->core, call_text(c, "channel"), &ch));
	TRY(core_channel_control(c->room->core, ch.name, what, value, c->seat, &flow));
	TRY(core_channel_find(c->room->core, ch.name, &ch));
	return call_event_done(c, ch.name, flow, ch.tail_seq, NULL);
}

static enum err run_pause(struct operator_call *c)
{
	return control(c, CONTROL_PAUSE, 0);
}

static enum err run_resume(struct operator_call *c)
{
	return control(c, CONTROL_RESUME, 0);
}

static enum err run_rate(struct operator_call *c)
{
	return control(c, CONTROL_RATE, call_u64(c, "bytes_per_s", 0));
}

static enum err run_close(struct operator_call *c)
{
	return control(c, CONTROL_CLOSE, 0);
}

static enum err run_weight(struct operator_call *c)
{
	uint64_t weight = call_u64(c, "weight", 0);

	if (weight > UINT32_MAX)
		weight = UINT32_MAX;
	TRY(core_channel_set_weight(c->room->core, call_text(c, "channel"), (uint32_t)weight));
	put_text(c->json, "channel", call_text(c, "channel"));
	put_number(c->json, "weight", weight);
	return ERR_OK;
}

static enum err run_check(struct operator_call *c)
{
	struct queue_check found;

	TRY(core_queue_check(c->room->core, call_text(c, "channel"), &found));
	put_text(c->json, "channel", call_text(c, "channel"));
	put_bool(c->json, "ok", true);
	put_number(c->json, "elements", found.elements);
	put_number(c->json, "at_elements", found.at_elements);
	put_number(c->json, "at_tail", found.at_tail);
	put_number(c->json, "detached", found.detached);
	return ERR_OK;
}

static enum err run_consolidate(struct operator_call *c)
{
	struct consolidated *runs = NULL;
	size_t count = 0, gone = 0;

	TRY(core_channel_consolidate(
		c->room->core, call_text(c, "channel"), c->arena, &runs, &count));
	put_text(c->json, "channel", call_text(c, "channel"));
	cJSON *list = put_list(c->json, "runs");
	for (size_t i = 0; i < count; i++) {
		cJSON *o = put_item(list);
		cJSON *chose = put_list(o, "chose");

		for (size_t k = 0; k < runs[i].count; k++)
			cJSON_AddItemToArray(chose, cJSON_CreateNumber(runs[i].chose[k]));
		put_number(o, "into", runs[i].into);
		gone += runs[i].count - 1;
	}
	put_number(c->json, "consolidated", gone);
	return ERR_OK;
}

#define CHANNEL_ARG                                                                                \
	{                                                                                          \
		"channel", ARG_ID, true, NULL, "which channel"                                     \
	}

static const struct verb_row rows[] = {
	{.name = "channel-create",
		.help = "makes a channel: a group of clients that show and run the same",
		.writes = true,
		.run = run_create,
		.args = {CHANNEL_ARG}},
	{.name = "channel-list", .help = "channels and what they want", .run = run_list},
	{.name = "channel-publish",
		.help = "gives a package to every client of a channel",
		.writes = true,
		.run = run_publish,
		.args = {CHANNEL_ARG, {"package", ARG_PACKAGE, true, NULL, "what"},
			{"activate", ARG_BOOL, false, NULL,
				"show it, or switch to it, when it is installed (true)"},
			{"at", ARG_U64, false, NULL, "not before this moment, in unix_ms"}}},
	{.name = "channel-rollback",
		.help = "the version before, in one event",
		.writes = true,
		.run = run_rollback,
		.args = {CHANNEL_ARG, {"name", ARG_ID, false, NULL, "of which package"},
			{"kind", ARG_WORD, false, "images|software", "of which kind"}}},
	{.name = "channel-pause",
		.help = "nothing new is begun in this channel",
		.writes = true,
		.run = run_pause,
		.args = {CHANNEL_ARG}},
	{.name = "channel-resume",
		.help = "goes on after a pause",
		.writes = true,
		.run = run_resume,
		.args = {CHANNEL_ARG}},
	{.name = "channel-rate",
		.help = "how fast each client of this channel may fetch",
		.writes = true,
		.run = run_rate,
		.args = {CHANNEL_ARG,
			{"bytes_per_s", ARG_U64, true, NULL, "bytes per second; 0: no limit"}}},
	{.name = "channel-close",
		.help = "takes nothing more; what waits is still given; resume opens it again",
		.writes = true,
		.run = run_close,
		.args = {CHANNEL_ARG}},
	{.name = "channel-weight",
		.help = "of a client's channels the heaviest is served first and its values count",
		.writes = true,
		.run = run_weight,
		.args = {CHANNEL_ARG, {"weight", ARG_U32, true, NULL, "0 to 1000; 100 at first"}}},
	{.name = "queue-check",
		.help = "looks whether every pointer shows an element of the queue",
		.run = run_check,
		.args = {CHANNEL_ARG}},
	{.name = "channel-consolidate",
		.help = "joins runs of display events now",
		.writes = true,
		.run = run_consolidate,
		.args = {CHANNEL_ARG}},
};

const struct verb_table operator_channel_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
