#include "server/server_inside.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "server/relays.h"
#include <unistd.h>

int server_exit_code(const struct server *s)
{
	return s->exit_code;
}

static void on_due(uv_timer_t *timer)
{
	struct server *s = timer->data;

	s->now = clock_now();
	server_turn_end(s);
}

static void on_rest_idle(uv_idle_t *idle)
{
	(void)idle; // the loop looks for messages and does not wait for them
}

static void on_rest_timer(uv_timer_t *timer);

static void rest(struct server *s)
{
	core_rest(s->core, s->now);
	s->rested = s->now.mono;
	if (core_is_due(s->core))
		uv_timer_start(&s->due, on_due, DUE_MS, 0);
	if (core_rest_waits(s->core))
		uv_timer_start(&s->rest_timer, on_rest_timer, SERVER_REST_MS, 0);
}

static void on_rest_timer(uv_timer_t *timer)
{
	struct server *s = timer->data;

	s->now = clock_now();
	rest(s);
}

// After each look: when it found none, what nobody waits for is done; but for once in a while where
// groups come all the time, so that one commit is of many.
static void on_looked(uv_check_t *looked)
{
	struct server *s = looked->data;
	bool turned = s->turned;

	s->turned = false;
	s->now = clock_now();
	bool urgent = core_rest_is_urgent(s->core, s->now);
	if (turned && !urgent)
		return;
	uv_check_stop(&s->looked);
	uv_idle_stop(&s->rest);
	if (urgent || mono_since_ms(s->now.mono, s->rested) >= SERVER_REST_MS)
		rest(s);
	else
		uv_timer_start(&s->rest_timer, on_rest_timer, SERVER_REST_MS, 0);
}

// After what ended a group.
static void rest_arm(struct server *s)
{
	if (!core_rest_waits(s->core)) {
		if (core_is_due(s->core))
			uv_timer_start(&s->due, on_due, DUE_MS, 0);
		return;
	}
	if (uv_is_active((uv_handle_t *)&s->looked) || uv_is_active((uv_handle_t *)&s->rest_timer))
		return;
	uv_idle_start(&s->rest, on_rest_idle);
	uv_check_start(&s->looked, on_looked);
}

void server_turn_end(struct server *s)
{
	if (!s->tick_open) {
		core_turn_end(s->core, s->now);
		return;
	}
	core_turn_tell(s->core, s->now);
	s->turned = true;
	rest_arm(s);
}

// On the store's thread.
static void stored_tell(void *ctx)
{
	struct server *s = ctx;

	uv_async_send(&s->stored);
}

static void on_stored(uv_async_t *async)
{
	struct server *s = async->data;

	s->now = clock_now();
	core_stored(s->core, s->now);
	if (s->tick_open)
		rest_arm(s);
}

// From here on the loop does not wait for the disk, where the store can do that.
static enum err pipeline_open(struct server *s)
{
	uv_async_init(s->loop, &s->stored, on_stored);
	s->stored.data = s;
	enum err e = db_pipeline(s->db, stored_tell, s);
	s->piped = e == ERR_OK;
	if (e != ERR_OK)
		uv_close((uv_handle_t *)&s->stored, NULL);
	return e == ERR_UNSUPPORTED ? ERR_OK : e;
}

static void pipeline_close(struct server *s)
{
	if (!s->piped)
		return;
	db_pipeline_end(s->db);
	uv_close((uv_handle_t *)&s->stored, NULL);
	s->piped = false;
}

// After a stall of our own the timer comes before what waited on the links meanwhile: nobody is
// called late before that was read. By the next tick it was; where each comes late, every other one
// is left out.
static bool tick_waits(struct server *s)
{
	bool late = mono_since_ms(s->now.mono, s->ticked) > 3 * SERVER_TICK_MS;

	s->ticked = s->now.mono;
	s->tick_waited = late && !s->tick_waited;
	return s->tick_waited;
}

// ---------------------------------------------------------------- what a start leaves for later

static void enrolments_tell(struct server *s)
{
	const struct enrol_result *r = &s->enrolling.result;

	log_info("ENROLMENTS", "files=%zu added=%zu known=%zu bad=%zu", r->files, r->added,
		r->known, r->bad);
	findings_forget(&s->findings, "enrolments");
	if (r->bad)
		finding_add(&s->findings, FINDING_WARN, "enrolments", "ENROL-BAD",
			"some enrolments are not signed by an enrol key of the root, or damaged",
			"helioctl enrol again; the log names the files");
}

// A store that failed meanwhile may not hold what was read: from the beginning then.
static bool enrol_some(struct server *s)
{
	if (!enrol_scan_is_open(&s->enrolling))
		return false;
	if (core_is_degraded(s->core)) {
		enrol_scan_end(&s->enrolling);
		s->enrol_waits = true;
		return false;
	}
	if (!enrol_scan_some(&s->enrolling, ENROL_AT_ONCE, s->now))
		enrolments_tell(s);
	server_turn_end(s);
	return true;
}

// Between turns: the fleet is loaded while it is answered.
static void on_loader(uv_idle_t *loader)
{
	struct server *s = loader->data;

	s->now = clock_now();
	if (enrol_some(s) || core_load_some(s->core, LOAD_AT_ONCE, s->now))
		return;
	uv_idle_stop(loader);
	server_turn_end(s);
}

// The first answers come first: until then the CPU belongs to the links.
static void loader_begin(struct server *s)
{
	if (core_is_degraded(s->core) || uv_is_active((uv_handle_t *)&s->loader) ||
		(s->ticks < LOAD_AFTER_TICKS && s->up_ticks < LOAD_UP_TICKS))
		return;
	if (s->enrol_waits) {
		s->enrol_waits = false;
		if (enrol_scan_begin(&s->enrolling) != ERR_OK)
			log_warn("ENROLMENTS", "why=%s", log_quote(err_text()));
	}
	if (core_is_loading(s->core) || enrol_scan_is_open(&s->enrolling))
		uv_idle_start(&s->loader, on_loader);
}

// What is the fleet's is one server's work.
static void lead_tick(struct server *s)
{
	presence_tick(s->presence, s->now);
	media_tick(&s->media, s->now);
	content_keys_tick(&s->content_keys);
	customer_orders_work(&s->orders, s->now);
	freshness_tick(&s->freshness, s->core, s->now);
}

static void on_tick(uv_timer_t *timer)
{
	struct server *s = timer->data;

	s->now = clock_now();
	if (!server_term_hold(s) || tick_waits(s))
		return;
	server_share_tick(s);
	core_tick(s->core, s->now);
	s->ticks++;
	s->up_ticks += s->control.up;
	if (s->ticks % TICKS_OF_LOAD == 0)
		server_load_tick(s);
	if (s->ticks % TICKS_OF_ROOMS == 0) {
		if (server_leads(s))
			lead_tick(s);
		server_links_tick(s);
		if (s->stopping)
			return;
		if (server_leads(s))
			server_views(s);
	}
	server_turn_end(s);
	loader_begin(s);
}

// ---------------------------------------------------------------- start

static enum err enrolments_read(struct server *s)
{
	if (!s->settings->enrol_dir[0])
		return ERR_OK;
	if (!server_leads(s)) {
		log_info("ENROLMENTS", "read=no leader=%s", server_leader(s));
		return ERR_OK;
	}
	enrol_scan_end(&s->enrolling);
	s->enrolling = (struct enrol_scan){.core = s->core,
		.root = &s->trust.root,
		.own_id = s->settings->fleet.id,
		.dir = s->settings->enrol_dir};
	s->enrol_waits = enrol_dir_is_large(s->settings->enrol_dir);
	if (s->enrol_waits)
		return ERR_OK;
	TRY(enrol_scan_begin(&s->enrolling));
	(void)enrol_scan_some(&s->enrolling, SIZE_MAX, s->now);
	enrolments_tell(s);
	return ERR_OK;
}

void server_enrolments_again(struct server *s)
{
	if (enrolments_read(s) != ERR_OK)
		log_warn("ENROLMENTS", "why=%s", log_quote(err_text()));
}

static enum err store_open(struct server *s)
{
	char path[PATH_MAX];

	TRY(dir_make(s->settings->state_dir));
	TRY(path_join(path, sizeof(path), s->settings->state_dir, "lock"));
	TRY(lock_take(path, &s->lock_fd));
	TRY(path_join(path, sizeof(path), s->settings->state_dir, "heliod.db"));
	TRY(heliod_store_is_file(s->settings)
			? db_sqlite_open(path, &s->db)
			: db_postgres_open(s->settings->store,
				  heliod_is_one_of_several(s->settings), &s->db));
	return schema_migrate(s->db);
}

static enum err core_open(struct server *s)
{
	struct core_config config;
	struct core_ports ports;
	char incarnation[PATH_MAX];

	heliod_core_config(s->settings, &config);
	TRY(path_join(incarnation, sizeof(incarnation), s->settings->state_dir, "incarnation"));
	config.online_key = s->online;
	config.incarnation_file = incarnation;
	config.store_is_shared = heliod_is_one_of_several(s->settings);
	server_core_ports(s, &ports);
	return core_new(&config, s->db, &ports, s->now, &s->core);
}

static enum err presence_open(struct server *s)
{
	struct presence_config config;
	struct presence_ports ports;
	struct core_hooks hooks;

	TRY(data_brokers_init(&s->brokers, s->settings->brokers.items, s->settings->brokers.count,
		s->settings->fleet.tls, s->settings->sys_interval_s));
	TRY(relays_init(&s->brokers, s->settings->relays.items, s->settings->relays.count));
	if (s->brokers.count == 1)
		log_warn("DATA-BROKERS", "plurality=1 why=\"one data broker is for development\"");
	heliod_presence_config(s->settings, &config);
	server_presence_ports(s, &ports);
	s->told_rates = told_rates_new();
	s->presence = presence_new(&config, &ports, &s->brokers, s->db);
	server_core_hooks(s, &hooks);
	core_set_hooks(s->core, &hooks);
	server_media_open(s);
	TRY(content_keys_init(&s->content_keys, s->core, &s->trust.root));
	s->content_keys.any |= s->settings->share; // the leader may make the first one
	if (server_leads(s))
		TRY(presence_load(s->presence, s->now));
	return server_customers_open(s);
}

static void room_open(struct server *s)
{
	s->room = (struct operator_room){
		.core = s->core,
		.presence = s->presence,
		.trust = &s->trust,
		.server_id = s->settings->fleet.id,
		.state_dir = s->settings->state_dir,
		.started = s->now.wall,
		.findings = &s->findings,
		.freshness = &s->freshness,
		.media = &s->media,
		.content_keys = &s->content_keys,
		.orders = &s->orders,
		.look = server_look,
		.ctx = s,
	};
}

static enum err ground_open(struct server *s)
{
	TRY(trust_open(&s->trust, s->settings->fleet.root_file, s->settings->fleet.root_key));
	TRY(sign_key_read(s->settings->fleet.key, &s->online));
	TRY(trust_check_online(&s->trust, sign_key_public(s->online), s->now.wall));
	return store_open(s);
}

static enum err rooms_open(struct server *s)
{
	TRY(core_open(s));
	TRY(presence_open(s));
	heliod_freshness(s->settings, &s->freshness);
	TRY(freshness_load(&s->freshness, s->db));
	room_open(s);
	TRY(server_links_init(s));
	TRY(enrolments_read(s));
	server_turn_end(s);
	return ERR_OK;
}

enum err server_serve(struct server *s)
{
	uv_loop_t *loop = s->loop;

	TRY(rooms_open(s));
	TRY(pipeline_open(s));
	TRY(server_links_open(s));
	uv_timer_init(loop, &s->tick);
	uv_idle_init(loop, &s->loader);
	s->tick.data = s->loader.data = s;
	uv_timer_init(loop, &s->due);
	uv_idle_init(loop, &s->rest);
	uv_timer_init(loop, &s->rest_timer);
	s->rest_timer.data = s;
	uv_check_init(loop, &s->looked);
	s->due.data = s->looked.data = s;
	s->ticked = clock_now().mono;
	s->tick_open = true;
	uv_timer_start(&s->tick, on_tick, SERVER_TICK_MS, SERVER_TICK_MS);
	log_info("SERVER-STARTED", "id=%s incarnation=%llu clients=%zu data_brokers=%zu store=%s",
		s->settings->fleet.id, (unsigned long long)core_incarnation(s->core),
		core_client_count(s->core), s->brokers.count, s->db->engine->name);
	return ERR_OK;
}

enum err server_start(uv_loop_t *loop, const struct heliod_settings *settings, struct server **out)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->loop = loop;
	s->settings = settings;
	s->lock_fd = -1;
	s->now = clock_now();
	arena_init(&s->arena, 256 * 1024 * 1024, 16 * 1024 * 1024);
	*out = s;
	TRY(ground_open(s));
	return heliod_is_one_of_several(settings) ? server_stand_by(s) : server_serve(s);
}

// ---------------------------------------------------------------- end

void server_stop(struct server *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->now = clock_now();
	if (s->core) {
		core_shutdown(s->core, s->now);
		server_links_forget(s);
		server_turn_end(s);
		core_settle(s->core, s->now);
	}
	server_term_end(s);
	pipeline_close(s);
	if (s->tick_open) {
		uv_close((uv_handle_t *)&s->tick, NULL);
		uv_close((uv_handle_t *)&s->loader, NULL);
		uv_close((uv_handle_t *)&s->due, NULL);
		uv_close((uv_handle_t *)&s->rest, NULL);
		uv_close((uv_handle_t *)&s->rest_timer, NULL);
		uv_close((uv_handle_t *)&s->looked, NULL);
	}
	s->tick_open = false;
	server_links_close(s);
	program_signals_close();
}

void server_free(struct server *s)
{
	if (!s)
		return;
	server_links_free(s);
	enrol_scan_end(&s->enrolling);
	core_free(s->core);
	media_fini(&s->media);
	content_keys_fini(&s->content_keys);
	orders_fini(&s->orders);
	presence_free(s->presence);
	told_rates_free(s->told_rates);
	data_brokers_fini(&s->brokers);
	freshness_fini(&s->freshness);
	if (s->db)
		db_close(s->db);
	sign_key_free(s->online);
	trust_close(&s->trust);
	arena_fini(&s->arena);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s);
}

void server_reread(struct server *s)
{
	struct trust fresh;

	s->now = clock_now();
	if (trust_open(&fresh, s->settings->fleet.root_file, s->settings->fleet.root_key) !=
		ERR_OK) {
		log_warn("ROOT-BAD", "kept=old why=%s", log_quote(err_text()));
	} else if (fresh.root.version < s->trust.root.version) {
		log_warn("ROOT-BAD", "kept=old why=\"its version is lower\"");
		trust_close(&fresh);
	} else {
		trust_close(&s->trust);
		s->trust = fresh;
	}
	if (!s->core) // it stands by
		return;
	server_enrolments_again(s);
	server_turn_end(s);
}
