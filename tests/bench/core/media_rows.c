// The walk of the media orders: a fleet that is heard, AWAY clients that never were, and a package
// that is shown to all. What a tick of media_tick costs, of CPU time, while it
//
//   orders   walks, and finds those who are away: until each has its order
//   walks    walks again, and finds that each has one
//   waits    does not walk
//
// with as many orders of other packages in the store as there may be open ones. A tick looks at so
// many records and no more, so that none of the three grows with the fleet; what grows is how many
// ticks a walk takes.
#include "tests/bench/core/media_rows.h"

#include "proto/digest.h"
#include "server/db/rows.h"
#include "server/media_orders.h"
#include "tests/bench/core/fleet.h"
#include <stdio.h>

#define AWAY 500
#define ORDERS_BEFORE 50000 // of others: all are open
#define TICK_MS 100
#define STEADY_MS 15000

static enum err package_any(void *ctx, struct core *core, const struct digest *package,
	struct arena *arena, struct package_ref *out)
{
	(void)ctx;
	(void)core;
	(void)arena;
	*out = (struct package_ref){.package = *package,
		.publisher = "pub",
		.kind = PACKAGE_IMAGES,
		.name = "spring",
		.version = "1"};
	return ERR_OK;
}

static enum err record_nobody(void *ctx, const struct media_row *order)
{
	(void)ctx;
	(void)order;
	return err_set(ERR_NOT_FOUND, "no publisher here");
}

static void ended_nobody(void *ctx, const char *publisher, uint64_t order)
{
	(void)ctx;
	(void)publisher;
	(void)order;
}

// ---- the store

static void store_fill(struct bench_fleet *f)
{
	char id[LIMIT_ID + 1];

	MUST(db_sqlite_open(f->file, &f->db));
	MUST(schema_migrate(f->db));
	for (size_t i = 0; i < AWAY; i++) {
		(void)snprintf(id, sizeof(id), "away%06zu", i);
		MUST(rows_principal_put(f->db,
			&(struct principal_row){
				.id = id, .name = id, .role = ROLE_CLIENT, .enrolled_ms = 1}));
	}
	for (uint64_t i = 1; i <= ORDERS_BEFORE; i++) {
		(void)snprintf(id, sizeof(id), "other%06llu", (unsigned long long)i);
		struct media_row r = {.number = i,
			.client = id,
			.publisher = "pub",
			.name = "spring",
			.version = "0",
			.kind = PACKAGE_IMAGES,
			.package = sha256("spring 0", 8),
			.activate = true,
			.state = MEDIA_POSTED,
			.reason = "silent",
			.medium_kind = "iso9660",
			.path = "/a",
			.detail = ""};
		MUST(rows_media_put(f->db, &r));
	}
	MUST(db_commit(f->db));
	db_close(f->db);
	f->db = NULL;
}

static uint64_t orders_of(struct bench_fleet *f)
{
	uint64_t pending = 0;

	MUST(rows_media_count(f->db, MEDIA_PENDING, &pending));
	return pending;
}

// ---- measuring

struct spent {
	int64_t cpu_ns, most_ns;
	uint64_t instructions;
	size_t ticks;
};

static void tick(struct bench_fleet *f, struct media *m, struct now *now, struct spent *s)
{
	now->mono.ms += TICK_MS;
	now->wall.ms += TICK_MS;
	core_tick(f->core, *now);
	struct meter begin = meter_now();
	media_tick(m, *now);
	struct meter used = meter_since(begin);
	s->cpu_ns += used.cpu_ns;
	s->instructions += used.instructions;
	s->most_ns = used.cpu_ns > s->most_ns ? used.cpu_ns : s->most_ns;
	s->ticks++;
	core_turn_end(f->core, *now);
}

static void spent_print(const char *what, const struct spent *s)
{
	double ticks = s->ticks ? (double)s->ticks : 1;

	printf(" %s_ticks=%zu %s_us_per_tick=%.0f %s_most_us=%.0f %s_instructions_per_tick=%.0f",
		what, s->ticks, what, (double)s->cpu_ns / ticks / 1e3, what,
		(double)s->most_ns / 1e3, what, (double)s->instructions / ticks);
}

static void steady(struct bench_fleet *f, struct media *m, struct now *now)
{
	struct spent walks = {0}, waits = {0};

	for (int64_t end = now->mono.ms + STEADY_MS; now->mono.ms < end;) {
		bool walking = m->walking || mono_since_ms(now->mono, m->walk_next) >= 0;
		tick(f, m, now, walking ? &walks : &waits);
	}
	spent_print("walks", &walks);
	spent_print("waits", &waits);
}

void media_rows(size_t clients, const char *dir)
{
	struct bench_fleet f;
	struct spent orders = {0};
	struct media m;
	const struct digest package = sha256("spring 1", 8);
	const struct event event = {.type = ELEMENT_DISPLAY,
		.packages = &package,
		.package_count = 1,
		.activate = true,
		.author = "bench"};
	const struct media_ports ports = {.record = record_nobody, .ended = ended_nobody};
	const struct media_config config = {.route = {.has_medium = true}, .keep = 1000};

	bench_fleet_init(&f, clients, dir);
	store_fill(&f);
	bench_fleet_start(&f, NULL, NULL);
	core_set_hooks(f.core, &(struct core_hooks){.package_find = package_any});
	bench_load_all(&f);
	struct now now = clock_now();
	MUST(core_append_event(f.core, "default", &event, NULL, NULL));
	core_turn_end(f.core, now);
	media_init(&m, &config, &ports, f.core);
	media_distributed(&m);
	while (orders_of(&f) < AWAY && orders.ticks < 100000)
		tick(&f, &m, &now, &orders);
	if (orders_of(&f) != AWAY)
		bench_die("not everybody who is away has an order");
	printf("clients=%zu away=%d open=%d", clients, AWAY, ORDERS_BEFORE + AWAY);
	spent_print("orders", &orders);
	steady(&f, &m, &now);
	printf("\n");
	media_fini(&m);
	bench_fleet_fini(&f);
}
