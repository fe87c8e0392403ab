// Moments: a package of pictures that is to be shown from an instant on, and what the display is
// told of the time.
//
//   activate (with a moment) -> held as `next` -> playlist.next (the display changes by itself at
//   the moment) -> timer -> current, playlist -> playlist.next goes
//
// playlist.next is the record: whoever starts again finds there what waits. What is activated at
// once takes the place of what waits; a later moment takes the place of an earlier one.
#include "client/runtime.h"

#include "proto/base/log.h"

#include <string.h>

#define LATER_LOOK_MS 60000 // at least this often: clocks are set
#define CLOCK_TELL_MS 250   // a smaller change of the offset is noise of the link
#define FLOOR_TELL_MS (10 * 60 * 1000)

static void later_forget(struct runtime *rt)
{
	rt->later = (struct display_later){.at_unix_ms = 0};
	if (display_later_drop(&rt->display) != ERR_OK)
		log_warn("LATER-UNDROPPED", "why=%s", log_quote(err_text()));
}

// It is time: what the display shows already becomes what is current.
static enum err later_come(struct runtime *rt)
{
	const struct display_later later = rt->later;
	if (depot_find(&rt->store, &later.package) == NULL)
		return err_set(ERR_NOT_FOUND, "the package is not held any more");
	TRY(depot_activate(&rt->store, PACKAGE_IMAGES, later.name, &later.package));
	TRY(runtime_show(rt, later.name));
	log_info("LATER-SHOWN", "client=%s name=%s package=%s", rt->config.client_id,
		log_quote(later.name), digest_short(&later.package));
	return ERR_OK;
}

static void on_look(uv_timer_t *timer);

static void later_arm(struct runtime *rt)
{
	int64_t wait = rt->later.at_unix_ms - agent_time_ms(&rt->core, clock_now());
	if (rt->later.at_unix_ms == 0)
		return;
	wait = wait < 0 ? 0 : wait > LATER_LOOK_MS ? LATER_LOOK_MS : wait;
	uv_timer_start(&rt->later_timer, on_look, (uint64_t)wait, 0);
	uv_unref((uv_handle_t *)&rt->later_timer); // an import without a link ends without it
}

static void on_look(uv_timer_t *timer)
{
	struct runtime *rt = timer->data;
	if (rt->later.at_unix_ms == 0)
		return;
	if (agent_time_ms(&rt->core, clock_now()) < rt->later.at_unix_ms) {
		later_arm(rt);
		return;
	}
	if (later_come(rt) != ERR_OK)
		log_error("LATER-FAILED", "client=%s why=%s", rt->config.client_id,
			log_quote(err_text()));
	later_forget(rt);
}

enum err runtime_later(struct runtime *rt, const struct held_package *h, int64_t at_unix_ms)
{
	TRY(depot_keep(&rt->store, h->kind, h->name, &h->id));
	TRY(display_later_write(&rt->display, &h->id, at_unix_ms));
	rt->later = (struct display_later){.package = h->id, .at_unix_ms = at_unix_ms};
	if (!str_copy(rt->later.name, sizeof rt->later.name, h->name))
		return err_set(ERR_RANGE, "the name of a package is too long");
	log_info("LATER", "client=%s name=%s package=%s unix_ms=%lld", rt->config.client_id,
		log_quote(h->name), digest_short(&h->id), (long long)at_unix_ms);
	later_arm(rt);
	return ERR_OK;
}

void runtime_later_superseded(struct runtime *rt)
{
	if (rt->later.at_unix_ms != 0)
		later_forget(rt);
}

void runtime_later_resume(struct runtime *rt)
{
	if (display_later_read(&rt->display, &rt->later) == ERR_OK)
		later_arm(rt);
}

void runtime_clock_tell(struct runtime *rt)
{
	const struct agent_core *c = &rt->core;
	int64_t floor_ms = c->state.time_floor_ms;
	int64_t differs = c->server_offset_ms - rt->told_offset_ms;
	if (!c->server_time_known || (differs < CLOCK_TELL_MS && differs > -CLOCK_TELL_MS &&
					     floor_ms - rt->told_floor_ms < FLOOR_TELL_MS))
		return;
	if (display_clock_write(&rt->display, c->server_offset_ms, floor_ms) != ERR_OK) {
		log_debug("CLOCK-UNTOLD", "why=%s", log_quote(err_text()));
		return;
	}
	rt->told_offset_ms = c->server_offset_ms;
	rt->told_floor_ms = floor_ms;
}
