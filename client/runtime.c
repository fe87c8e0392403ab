// Start, control link, timer and end of the agent.
#include "client/runtime.h"

#include "client/discovery.h"
#include "client/runtime_import.h"
#include "client/runtime_update.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/program.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCRATCH_BYTES (4 * 1024 * 1024)
#define SCRATCH_COUNT 100000
#define ONCE_MS 30000
#define CONTROL_INBOX_MESSAGES 1024
#define CONTROL_INBOX_BYTES (2 * 1024 * 1024)

// ---- the core's time

static void on_timer(uv_timer_t *timer)
{
	struct runtime *rt = timer->data;
	agent_tick(&rt->core, clock_now());
	runtime_arm(rt);
}

void runtime_arm(struct runtime *rt)
{
	if (rt->stopping || !rt->core_there)
		return;
	struct now now = clock_now();
	int64_t wait = mono_since_ms(agent_deadline(&rt->core, now.mono), now.mono);
	uv_update_time(&rt->loop);
	uv_timer_start(&rt->timer, on_timer, wait < 0 ? 0 : (uint64_t)wait, 0);
	if (rt->once && agent_was_answered(&rt->core)) {
		rt->exit_code = EXIT_DONE;
		runtime_stop(rt);
	}
}

static void on_once_over(uv_timer_t *timer)
{
	runtime_stop(timer->data);
}

// ---- the control link

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct runtime *rt = ctx;
	(void)session_present;
	discovery_log(via, link_peer(rt->link));
	agent_link_up(&rt->core, clock_now());
	runtime_arm(rt);
}

static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct runtime *rt = ctx;
	log_warn("LINK-DOWN", "client=%s retry_ms=%lld why=%s", rt->config.client_id,
		(long long)retry_ms, log_quote(why));
	agent_link_down(&rt->core, clock_now());
	if (retry_ms < 0)
		runtime_stop(rt);
	runtime_arm(rt);
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct runtime *rt = ctx;
	agent_message(&rt->core, clock_now(), m->topic, m->topic_length, m->payload, m->retained);
	if (rt->link != NULL)
		link_set_spread(rt->link, rt->core.state.reconnect_spread_ms);
	runtime_arm(rt);
}

static void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	struct runtime *rt = ctx;
	(void)token;
	for (size_t i = 0; i < count; i++) {
		if (reasons[i] >= 128)
			log_error("SUBSCRIBE-REFUSED", "client=%s reason=%d", rt->config.client_id,
				reasons[i]);
	}
}

static enum err link_open(struct runtime *rt)
{
	static const struct link_events events = {
		.up = on_up, .down = on_down, .message = on_message, .subscribed = on_subscribed};
	const struct agent_settings *s = rt->settings;
	struct link_address addresses[LINK_WAYS];
	struct topic bye = topic_bye(s->fleet.id);
	struct link_config config = {
		.client_id = s->fleet.id,
		.addresses = addresses,
		.address_count = control_addresses(&s->fleet.control, addresses),
		.tls = s->fleet.tls,
		.ca_file = s->fleet.ca,
		.cert_file = s->fleet.cert,
		.key_file = s->fleet.tls_key,
		.keepalive_s = (uint16_t)s->control_keepalive_s,
		.receive_maximum = 64,
		.connect_timeout_s = s->connect_timeout_s,
		.backoff_min_ms = s->backoff_min_ms,
		.backoff_max_ms = s->backoff_max_ms,
		.outstanding_max = CONTROL_OUTSTANDING,
		.outbox_max = 256,
		.inbox_messages = CONTROL_INBOX_MESSAGES,
		.inbox_bytes = CONTROL_INBOX_BYTES,
		.will_topic = bye.s,
		.will_payload = bytes_of("gone", 4),
		.will_qos = 1,
		.once = rt->once,
	};
	TRY(link_new(&rt->loop, &config, &events, rt, &rt->link));
	link_set_spread(rt->link, rt->core.state.reconnect_spread_ms);
	return ERR_OK;
}

// ---- the fetcher's events

static void on_progress(void *ctx, uint32_t have, uint32_t total)
{
	struct runtime *rt = ctx;
	agent_fetch_progress(&rt->core, have, total);
}

static void on_bytes(void *ctx, uint64_t to_come, bool delta)
{
	struct runtime *rt = ctx;
	agent_fetch_bytes(&rt->core, to_come, delta);
}

enum err runtime_installed(struct runtime *rt, const struct fetch_result *r)
{
	if (!r->activated)
		return ERR_OK;
	// Software is switched to by whoever asked for it, when it is held.
	if (r->kind != PACKAGE_IMAGES)
		return ERR_OK;
	runtime_later_superseded(rt);
	return runtime_show(rt, r->name);
}

static void on_fetch_done(void *ctx, const struct fetch_result *r)
{
	struct runtime *rt = ctx;
	import_note_link(rt, r->kind, r->name);
	if (r->rotten_chunks != 0)
		agent_fetch_rotten(&rt->core, &r->rotten_in, r->rotten_chunks);
	if (runtime_installed(rt, r) == ERR_OK)
		agent_fetch_done(&rt->core, clock_now(), &r->package);
	else
		agent_fetch_failed(&rt->core, clock_now(), "activate", err_text());
	runtime_arm(rt);
}

static void on_fetch_failed(void *ctx, const char *word, const char *text)
{
	struct runtime *rt = ctx;
	agent_fetch_failed(&rt->core, clock_now(), word, text);
	runtime_arm(rt);
}

static void on_fetch_missing(void *ctx, const struct digest *objects, size_t count)
{
	struct runtime *rt = ctx;
	agent_fetch_missing(&rt->core, clock_now(), objects, count);
	runtime_arm(rt);
}

static void on_fetch_broker_failed(void *ctx, const char *why)
{
	struct runtime *rt = ctx;
	agent_fetch_broker_failed(&rt->core, clock_now(), why);
	runtime_arm(rt);
}

static void on_fetch_idle(void *ctx)
{
	malloc_trim(0); // what the fetch had goes back to the device
	runtime_idle(ctx);
}

static void on_report_ready(void *ctx, uint64_t report_id, const struct report_ready *r)
{
	struct runtime *rt = ctx;
	agent_report_ready(&rt->core, clock_now(), report_id, r);
	runtime_arm(rt);
}

static void on_left(void *ctx, enum err e)
{
	struct runtime *rt = ctx;
	if (e != ERR_OK)
		log_warn("REPORT-NOT-LEFT", "client=%s why=%s", rt->config.client_id,
			log_quote(err_text()));
}

static void on_fetched(void *ctx, enum err e, struct bytes payload)
{
	struct runtime *rt = ctx;
	agent_command_fetched(&rt->core, clock_now(), rt->core.state.op.op_id, e, payload);
	runtime_arm(rt);
}

// ---- start

static enum err commands_open(struct runtime *rt)
{
	const struct setting_list *list = &rt->settings->commands;
	for (size_t i = 0; i < list->count; i++) {
		if (i == RUNTIME_COMMANDS)
			return err_set(ERR_FULL, "more than %d commands", RUNTIME_COMMANDS);
		TRY(named_command_parse(list->items[i], &rt->commands[rt->command_count]));
		rt->command_count++;
	}
	return ERR_OK;
}

static enum err state_open(struct runtime *rt)
{
	static const struct id16 none;
	enum state_source source = STATE_NEW;
	struct agent_state state;
	agent_state_init(&state, &none);
	TRY(state_file_init(&rt->state_file, rt->settings->state_dir));
	enum err e = state_file_read(&rt->state_file, &state, &source);
	if (e != ERR_OK) {
		agent_state_fini(&state);
		return e;
	}
	if (source == STATE_PREVIOUS)
		log_error("STATE-DAMAGED", "client=%s the copy before it is used",
			rt->settings->fleet.id);
	if (source == STATE_LOST)
		log_error("STATE-LOST",
			"client=%s both copies are damaged: a new store begins; what is "
			"installed stays",
			rt->settings->fleet.id);
	TRY(agent_init(&rt->core, &rt->config, &runtime_port, rt, &state));
	rt->core_there = true;
	return ERR_OK;
}

// With the state lost, what the slots show is shown.
static void showing_guess(struct runtime *rt)
{
	struct agent_state *s = &rt->core.state;
	for (size_t i = 0; i < rt->store.held_count && s->showing[0] == '\0'; i++) {
		const struct held_package *h = &rt->store.held[i];
		struct digest id;
		if (h->kind == PACKAGE_IMAGES &&
			depot_slot(&rt->store, h->kind, h->name, SLOT_CURRENT, &id) == ERR_OK &&
			!str_copy(s->showing, sizeof s->showing, h->name))
			s->showing[0] = '\0';
	}
}

static void config_fill(struct runtime *rt)
{
	const struct agent_settings *s = rt->settings;
	rt->config = (struct agent_config){
		.client_id = s->fleet.id,
		.version = HELIO_VERSION,
		.hw_class = s->hw_class,
		.key = rt->key,
		.next_key = rt->next_key,
		.root = &rt->trust.root,
		.interval_ms = s->interval_ms,
		.response_max_age_ms = s->response_max_age_ms,
		.report_hosts = (const char *const *)s->report_hosts.items,
		.report_host_count = s->report_hosts.count,
		.scratch = &rt->scratch,
		.out = &rt->out,
	};
	rt->fetcher_config = (struct fetcher_config){
		.state_dir = rt->settings->state_dir,
		.client_id = s->fleet.id,
		.tls = s->fleet.tls,
		.ca_file = s->fleet.ca,
		.cert_file = s->fleet.cert,
		.key_file = s->fleet.tls_key,
		.hw_class = s->hw_class,
		.product = s->product,
		.root = &rt->trust.root,
		.store = &rt->store,
		.window_bytes = (uint64_t)s->window_kib * 1024,
		.reserve_bytes = s->reserve_bytes,
		.connect_timeout_s = s->connect_timeout_s,
	};
}

static enum err doers_open(struct runtime *rt)
{
	static const struct fetcher_events fetch_events = {
		.progress = on_progress,
		.bytes = on_bytes,
		.done = on_fetch_done,
		.failed = on_fetch_failed,
		.missing = on_fetch_missing,
		.broker_failed = on_fetch_broker_failed,
		.idle = on_fetch_idle,
	};
	static const struct side_events side_events = {.left = on_left, .fetched = on_fetched};
	TRY(gather_init(
		&rt->gather, &rt->loop, rt->settings, &rt->store, &rt->display, &rt->outputs));
	rt->gather.ready = on_report_ready;
	rt->gather.ctx = rt;
	TRY(fetcher_new(&rt->loop, &rt->fetcher_config, &fetch_events, rt, &rt->fetcher));
	return side_link_new(&rt->loop, &rt->fetcher_config, &side_events, rt, &rt->side);
}

static enum err folder_open(struct runtime *rt)
{
	char path[300];
	const char *dir = rt->settings->state_dir;
	TRY(dir_make(dir));
	TRY(path_join(path, sizeof path, dir, "lock"));
	enum err e = lock_take(path, &rt->lock_fd);
	if (e == ERR_EXISTS)
		return err_set(ERR_EXISTS, "another agent works in %s", dir);
	return e;
}

static enum err loop_open(struct runtime *rt)
{
	if (uv_loop_init(&rt->loop) != 0)
		return err_set(ERR_MEMORY, "no loop");
	rt->timer.data = rt;
	rt->once_timer.data = rt;
	rt->reboot_timer.data = rt;
	rt->later_timer.data = rt;
	if (uv_timer_init(&rt->loop, &rt->timer) != 0 ||
		uv_timer_init(&rt->loop, &rt->once_timer) != 0 ||
		uv_timer_init(&rt->loop, &rt->later_timer) != 0 ||
		uv_timer_init(&rt->loop, &rt->reboot_timer) != 0)
		return err_set(ERR_MEMORY, "no timers");
	rt->loop_there = true;
	if (rt->once)
		uv_timer_start(&rt->once_timer, on_once_over, ONCE_MS, 0);
	return ERR_OK;
}

static enum err rooms_open(struct runtime *rt)
{
	const struct agent_settings *settings = rt->settings;
	arena_init(&rt->scratch, SCRATCH_BYTES, SCRATCH_COUNT);
	buf_init(&rt->out, LIMIT_REPORT);
	TRY(loop_open(rt));
	TRY(folder_open(rt));
	TRY(runtime_keys_open(rt));
	TRY(trust_open(&rt->trust, settings->fleet.root_file, settings->fleet.root_key));
	TRY(commands_open(rt));
	TRY(depot_open(&rt->store, settings->state_dir, &rt->trust.root));
	rt->store.seeds = settings->seeds.items;
	rt->store.seed_count = settings->seeds.count;
	config_fill(rt);
	TRY(state_open(rt));
	TRY(shelf_init(&rt->outputs, settings->state_dir, settings->outputs_kept,
		settings->output_max_bytes));
	TRY(display_side_init(&rt->display, settings->state_dir, &rt->store));
	showing_guess(rt);
	if (display_write(&rt->display, rt->core.state.showing) != ERR_OK)
		log_warn("DISPLAY-UNWRITTEN", "why=%s", log_quote(err_text()));
	TRY(doers_open(rt));
	TRY(updates_open(rt));
	runtime_later_resume(rt);
	return import_open(rt);
}

enum err runtime_init_offline(struct runtime *rt, const struct agent_settings *settings)
{
	*rt = (struct runtime){.settings = settings, .offline = true, .lock_fd = -1};
	rt->exit_code = EXIT_FAILED;
	return rooms_open(rt);
}

enum err runtime_init(struct runtime *rt, const struct agent_settings *settings, bool once)
{
	*rt = (struct runtime){.settings = settings, .once = once, .lock_fd = -1};
	rt->exit_code = once ? EXIT_UNREACHABLE : EXIT_DONE;
	TRY(rooms_open(rt));
	link_library_init();
	TRY(link_open(rt));
	runtime_reboot_resume(rt);
	runtime_arm(rt);
	log_info("AGENT", "client=%s version=%s boot_counter=%llu packages=%zu", settings->fleet.id,
		HELIO_VERSION, (unsigned long long)rt->core.state.boot_counter,
		rt->store.held_count);
	return ERR_OK;
}

// ---- end

void runtime_stop(void *ctx)
{
	struct runtime *rt = ctx;
	if (rt->stopping || !rt->loop_there)
		return;
	rt->stopping = true;
	if (rt->process != NULL)
		process_kill(rt->process);
	rt->process = NULL;
	gather_close(&rt->gather);
	import_close(rt);
	updates_close(rt);
	if (rt->fetcher != NULL)
		fetcher_free(rt->fetcher);
	if (rt->side != NULL)
		side_link_free(rt->side);
	if (rt->link != NULL)
		link_close(rt->link, true);
	rt->fetcher = NULL;
	rt->side = NULL;
	rt->link = NULL;
	uv_close((uv_handle_t *)&rt->timer, NULL);
	uv_close((uv_handle_t *)&rt->once_timer, NULL);
	uv_close((uv_handle_t *)&rt->later_timer, NULL);
	runtime_reboot_close(rt);
	program_signals_close();
}

void runtime_fini(struct runtime *rt)
{
	if (rt->core_there)
		agent_fini(&rt->core);
	for (size_t i = 0; i < rt->command_count; i++)
		named_command_fini(&rt->commands[i]);
	sign_key_free(rt->key);
	sign_key_free(rt->next_key);
	updates_free(rt);
	gather_fini(&rt->gather);
	shelf_fini(&rt->outputs);
	arena_fini(&rt->scratch);
	trust_close(&rt->trust);
	buf_fini(&rt->out);
	if (rt->lock_fd >= 0)
		close(rt->lock_fd);
}
