// What a device does when its core says so, as models: a fetch takes virtual time and may fail, a
// command takes virtual time and is written down each time it begins, values are kept. What a
// package is stands in its digest.
#include "tests/fleet/sim/sim.h"

#include <stdlib.h>
#include <string.h>

const char *const value_keys[SIM_KEYS] = {"showing", "skip", "orientation"};

static const uint8_t digest_mark[8] = {'h', 'e', 'l', 'i', 'o', 's', 'i', 'm'};

struct digest package_digest(uint32_t index)
{
	struct digest d = {0};

	memcpy(d.b, &index, sizeof(index));
	memcpy(d.b + 8, digest_mark, sizeof(digest_mark));
	return d;
}

uint32_t package_index(const struct digest *package)
{
	uint32_t index;

	memcpy(&index, package->b, sizeof(index));
	return memcmp(package->b + 8, digest_mark, 8) == 0 && index < SIM_PACKAGES ? index
										   : UINT32_MAX;
}

bool package_is_software(uint32_t index)
{
	return index % 4 == 3;
}

static bool fails(const struct device *d, uint32_t per_mille)
{
	struct sim *s = d->sim;

	return !s->quiet && s->config.faults & FAULT_DOER && rng_chance(&s->fate, per_mille);
}

void doer_stop(struct device *d)
{
	d->fetching = false;
	d->fetch_token++;
	d->command_token++;
	d->command_op = 0;
}

// ---- what the device looks like

void doer_view(void *ctx, struct arena *a, struct agent_view *out)
{
	const struct device *d = ctx;

	(void)a;
	*out = (struct agent_view){
		.ip = {10, 0, (uint8_t)(d->index >> 8), (uint8_t)d->index},
		.ip_size = 4,
		.free_bytes = 1000000000,
		.showing_image = d->showing ? "0001-a.jpg" : "",
		.showing_name = "",
		.showing_version = "",
		.screen_width_px = 1920,
		.screen_height_px = 1080,
		.display_alive = true,
		.trouble = d->disk_full ? "no-space" : "",
	};
	if (d->showing)
		out->showing_package = package_digest(d->showing - 1);
}

void doer_holdings(void *ctx, struct arena *a, struct holdings *out)
{
	const struct device *d = ctx;

	out->items = arena_array(a, SIM_PACKAGES, sizeof(*out->items));
	if (!out->items)
		abort();
	for (uint32_t i = 0; i < SIM_PACKAGES; i++)
		if (d->held >> i & 1)
			out->items[out->item_count++] = (struct holding){
				.package = package_digest(i),
				.complete = true,
				.chunks_have = 10,
				.chunks_total = 10,
			};
}

void doer_holding(void *ctx, const struct digest *package, struct holding *out)
{
	const struct device *d = ctx;
	uint32_t index = package_index(package);

	out->complete = index != UINT32_MAX && d->held >> index & 1;
	out->chunks_total = 10;
	out->chunks_have = out->complete ? 10 : 0;
}

static void package_switch(struct device *d, uint32_t index, bool activate)
{
	if (activate && !package_is_software(index))
		d->showing = index + 1;
}

enum err doer_activate(void *ctx, const struct package_ref *package)
{
	struct device *d = ctx;
	uint32_t index = package_index(&package->package);

	if (d->gone)
		return ERR_OK;
	if (index == UINT32_MAX || !(d->held >> index & 1))
		return err_set(ERR_NOT_FOUND, "the package is not held");
	if (fails(d, 20))
		return err_set(ERR_IO, "the slot does not switch");
	package_switch(d, index, package->activate);
	return ERR_OK;
}

// ---- fetching

static void fetch_go_on(struct device *d)
{
	struct sim *s = d->sim;

	heap_push(s, s->now + rng_between(&s->fate, 50, 3 * (int64_t)s->interval_ms), EVENT_FETCH,
		d->index, ++d->fetch_token, NULL, 0);
}

void doer_fetch(void *ctx, const struct fetch_order *order)
{
	struct device *d = ctx;
	uint32_t index = package_index(&order->package->package);

	if (d->gone)
		return;
	if (index == UINT32_MAX) {
		violate(d->sim, "%s fetches what does not exist", d->id);
		return;
	}
	if (d->held >> index & 1)
		violate(d->sim, "%s fetches package %u, which it holds", d->id, index);
	d->fetching = true;
	d->fetch_package = index;
	d->fetch_activate = order->package->activate;
	d->fetch_held = order->hold;
	d->fetch_token++;
	if (!d->fetch_held)
		fetch_go_on(d);
}

void doer_fetch_pace(void *ctx, uint64_t rate, bool hold)
{
	struct device *d = ctx;

	(void)rate;
	if (d->gone || !d->fetching || d->fetch_held == hold)
		return;
	d->fetch_held = hold;
	d->fetch_token++;
	if (!hold)
		fetch_go_on(d);
}

void doer_fetch_stop(void *ctx)
{
	struct device *d = ctx;

	if (d->gone)
		return;
	d->fetching = false;
	d->fetch_token++;
}

static void fetch_end(struct device *d)
{
	struct sim *s = d->sim;
	struct digest package = package_digest(d->fetch_package);

	d->fetching = false;
	if (fails(d, 60)) {
		agent_fetch_failed(&d->core, device_now(d), "io", "the model says so");
	} else if (fails(d, 60)) {
		struct digest missing = package_digest(d->fetch_package + 1000);
		agent_fetch_missing(&d->core, device_now(d), &missing, 1);
	} else if (fails(d, 60)) {
		agent_fetch_broker_failed(&d->core, device_now(d), "the model says so");
	} else {
		if (s->config.broken != BREAK_FETCH)
			d->held |= 1ull << d->fetch_package;
		if (++d->installed[d->fetch_package] > 1)
			violate(s, "%s installed package %u twice", d->id, d->fetch_package);
		package_switch(d, d->fetch_package, d->fetch_activate);
		agent_fetch_done(&d->core, device_now(d), &package);
	}
}

void doer_fetched(struct device *d, uint32_t token)
{
	if (!d->alive || !d->fetching || token != d->fetch_token)
		return;
	if (rng_chance(&d->sim->fate, 400)) {
		agent_fetch_progress(&d->core, (uint32_t)rng_between(&d->sim->fate, 1, 9), 10);
		fetch_go_on(d);
	} else {
		fetch_end(d);
	}
	device_arm(d);
}

// ---- commands

static void command_answer(struct device *d, uint64_t op_id)
{
	struct command_result r = {.status = OP_DONE, .detail = "ran"};

	if (fails(d, 150))
		r = (struct command_result){.status = OP_FAILED, .rc = 1, .detail = "rc 1"};
	d->command_op = 0;
	agent_command_done(&d->core, device_now(d), op_id, &r);
}

void doer_command(void *ctx, uint64_t op_id, const struct execute_command *command)
{
	struct device *d = ctx;
	struct sim *s = d->sim;
	unsigned long act = command->arg_count ? strtoul(command->args[0], NULL, 10) : 0;

	if (d->gone)
		return;
	if (strcmp(command->verb, "tool") == 0) {
		ledger_ran(d, (uint32_t)act);
		if (s->config.broken == BREAK_COMMAND)
			ledger_ran(d, (uint32_t)act);
		d->gone = s->config.broken == BREAK_KILL && d->cut_armed;
	}
	d->command_op = op_id;
	if (strcmp(command->verb, "tool") != 0 || rng_chance(&s->fate, 300)) {
		command_answer(d, op_id);
		return;
	}
	if (d->lying)
		d->gone = rng_chance(&s->fate, 200); // where it shows that nothing was stored
	heap_push(s, s->now + rng_between(&s->fate, 10, 6 * (int64_t)s->interval_ms), EVENT_COMMAND,
		d->index, ++d->command_token, NULL, 0);
}

void doer_command_over(struct device *d, uint32_t token)
{
	if (!d->alive || !d->command_op || token != d->command_token)
		return;
	command_answer(d, d->command_op);
	device_arm(d);
}

void doer_command_stop(void *ctx, uint64_t op_id)
{
	struct device *d = ctx;

	if (d->gone || op_id != d->command_op)
		return;
	d->command_op = 0;
	d->command_token++;
}

void doer_command_fetch(void *ctx, uint64_t op_id, const struct command_ref *ref)
{
	struct device *d = ctx;

	(void)op_id;
	(void)ref;
	violate(d->sim, "%s fetches a command by reference, which nobody gave", d->id);
}

// ---- values and rows

// "v17": each value of a run is its own.
uint32_t value_number(const char *value)
{
	return value[0] == 'v' ? (uint32_t)strtoul(value + 1, NULL, 10) : 0;
}

enum err doer_changes(void *ctx, const struct change *changes, size_t count)
{
	struct device *d = ctx;

	if (d->gone)
		return ERR_OK;
	if (fails(d, 20))
		return err_set(ERR_IO, "the values cannot be written");
	for (size_t i = 0; i < count && d->sim->config.broken != BREAK_VALUES; i++)
		for (size_t k = 0; k < SIM_KEYS; k++)
			if (strcmp(changes[i].key, value_keys[k]) == 0)
				d->values[k] = value_number(changes[i].value);
	return ERR_OK;
}

void doer_usage(
	void *ctx, struct arena *a, int64_t since, size_t max, struct shown **rows, size_t *count)
{
	const struct device *d = ctx;

	(void)max;
	*count = 0;
	*rows = arena_array(a, 1, sizeof(**rows));
	if (!*rows || !d->showing)
		return;
	(*rows)[(*count)++] = (struct shown){
		.ledger_seq = (uint64_t)since + 1,
		.boot_counter = d->core.state.boot_counter,
		.package = package_digest(d->showing - 1),
		.image = "0001-a.jpg",
		.from_unix_ms = device_now(d).wall.ms,
		.duration_ms = 1000,
		.clock_quality = 1,
	};
}
