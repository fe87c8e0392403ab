// From clients and plans to orders, without any publisher: 100 customers with a plan each, to whom
// all clients of the fleet belong.
//
//   orders   that stand afterwards: what is told, built, signed and sent. As many as plans,
//            whatever the fleet
//   start    every client is looked at once and put into the channel of its order
//   restart  every client is looked at once, and is where it should be
//   edit     the plan of one customer is changed: its clients alone are looked at
//   tell     all orders are made ready to be sent
#include "tests/bench/core/order_rows.h"

#include "server/orders_inside.h"
#include "tests/bench/core/fleet.h"
#include <stdio.h>

#define PLANS 100
#define TICK_MS 100

static void customer_id(size_t n, char out[LIMIT_ID + 1])
{
	(void)snprintf(out, LIMIT_ID + 1, "customer%03zu", n);
}

static struct customer_plan plan_of(const char *expression)
{
	return (struct customer_plan){.id = "all",
		.expression = expression,
		.order = "list",
		.fit = "",
		.weight = 1,
		.dayparts = "",
		.places = "",
		.orientation = ""};
}

// ---- the store

static void customer_fill(struct db *db, size_t n)
{
	char id[LIMIT_ID + 1], expression[64];

	customer_id(n, id);
	(void)snprintf(expression, sizeof(expression), "t%zu or t%zu", n, n + 1);
	const struct customer_plan plan = plan_of(expression);
	MUST(rows_customer_put(db, &(struct customer){.id = id,
					   .name = id,
					   .publisher = "pub",
					   .time_zone = "",
					   .revision = 1,
					   .order = "list",
					   .duration_ms = 10000,
					   .transition_ms = 500,
					   .fit = "fit"}));
	MUST(rows_plan_put(db, id, &plan));
}

static void store_fill(struct bench_fleet *f)
{
	char id[LIMIT_ID + 1], client[LIMIT_ID + 1];

	MUST(db_sqlite_open(f->file, &f->db));
	MUST(schema_migrate(f->db));
	for (size_t n = 0; n < PLANS; n++)
		customer_fill(f->db, n);
	for (size_t i = 0; i < f->count; i++) {
		customer_id(i % PLANS, id);
		bench_id(i, client);
		MUST(rows_customer_client_put(f->db, id,
			&(struct customer_client){.client = client,
				.place = "",
				.name = "",
				.width_px = 1920,
				.height_px = 1080,
				.orientation = ""}));
	}
	MUST(db_commit(f->db));
	db_close(f->db);
	f->db = NULL;
}

// ---- measuring

// Until nobody waits for a look. Returns how many ticks that took.
static size_t walk_all(struct bench_fleet *f, struct orders *o, struct now *now)
{
	size_t ticks = 0;

	for (; o->walks; ticks++) {
		now->mono.ms += TICK_MS;
		now->wall.ms += TICK_MS;
		core_tick(f->core, *now);
		orders_walk_some(o);
		core_turn_end(f->core, *now);
	}
	return ticks;
}

static double ms_since(struct meter begin)
{
	return (double)meter_since(begin).cpu_ns / 1e6;
}

static double plan_edit(struct bench_fleet *f, struct orders *o, struct now *now)
{
	SCOPED_ARENA struct arena a = {0};
	const struct customer_plan plan = plan_of("t1 and not t2");
	struct order_groups *groups = NULL;
	struct order_would *list = NULL;
	struct customer_whole whole;
	char id[LIMIT_ID + 1];
	size_t count = 0;

	arena_init(&a, 256 * 1024 * 1024, 1u << 20);
	customer_id(7, id);
	struct meter m = meter_now();
	MUST(rows_plan_put(core_db(f->core), id, &plan));
	MUST(rows_customer_whole(core_db(f->core), id, &a, &whole));
	MUST(orders_derive(o, &whole, NULL, &a, &groups));
	MUST(orders_compare(o, &whole, groups, &a, &list, &count));
	MUST(orders_settle(o, list, count, "customer-plan-set", "bench"));
	orders_walk(o, id);
	core_turn_end(f->core, *now);
	(void)walk_all(f, o, now);
	if (count != 1 || list[0].change != ORDER_CHANGED)
		bench_die("one plan makes one order");
	return ms_since(m);
}

static double tell_all(struct orders *o, struct now *now)
{
	struct order_told *t, *next;

	HASH_ITER(hh, o->told, t, next)
	order_tell_now(t);
	struct meter m = meter_now();
	for (size_t n = 0; n < PLANS; n += ORDERS_TOLD_PER_TICK) {
		now->mono.ms += TICK_MS;
		customer_orders_work(o, *now);
	}
	return ms_since(m);
}

void order_rows(size_t clients, const char *dir)
{
	struct bench_fleet f;
	struct orders o;

	bench_fleet_init(&f, clients, dir);
	store_fill(&f);
	bench_fleet_start(&f, NULL, NULL);
	bench_load_all(&f);
	struct now now = clock_now();
	orders_init(&o, f.core, NULL);
	struct meter m = meter_now();
	MUST(orders_load(&o));
	size_t ticks = walk_all(&f, &o, &now);
	double start_ms = ms_since(m);
	m = meter_now();
	MUST(orders_load(&o));
	(void)walk_all(&f, &o, &now);
	double restart_ms = ms_since(m);
	double edit_ms = plan_edit(&f, &o, &now), tell_ms = tell_all(&o, &now);
	if (o.standing != PLANS || HASH_COUNT(o.told) != PLANS)
		bench_die("there is not one order for each plan");
	printf("clients=%zu plans=%d orders=%zu start_ms=%.1f start_ticks=%zu restart_ms=%.1f "
	       "edit_ms=%.2f tell_ms=%.1f\n",
		clients, PLANS, o.standing, start_ms, ticks, restart_ms, edit_ms, tell_ms);
	orders_fini(&o);
	bench_fleet_fini(&f);
}
