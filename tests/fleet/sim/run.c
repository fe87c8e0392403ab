// One run of one seed: the events in the order of their time, until faults stop and everything has
// come to rest.
#include "tests/fleet/sim/sim.h"

#include "proto/base/log.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define REST_LIMIT_MS 900000 // of virtual time after the last fault
#define LAST_ACTS_AGAIN 6    // intervals after the first
#define LAST_ACTS_EVERY_MS 60000
#define QUEUES_EVERY 64 // turns, for each hundred agents

// ---- random numbers and hashes

void rng_fill(struct rng *r, void *out, size_t size)
{
	uint8_t *p = out;

	for (size_t i = 0; i < size; i += 8) {
		uint64_t v = rng_next(r);
		memcpy(p + i, &v, size - i < 8 ? size - i : 8);
	}
}

uint64_t hash_bytes(const void *data, size_t size, uint64_t hash)
{
	const uint8_t *p = data;
	uint64_t v;

	for (; size >= 8; size -= 8, p += 8) {
		memcpy(&v, p, 8);
		hash = (hash ^ v) * 0x9fb21c651e98df25ull;
		hash ^= hash >> 32;
	}
	v = size;
	memcpy(&v, p, size);
	hash = (hash ^ v ^ (uint64_t)size << 56) * 0x9fb21c651e98df25ull;
	return hash ^ hash >> 29;
}

void sim_mix(struct sim *s, uint64_t value)
{
	s->result->hash = (s->result->hash ^ value) * 0x94d049bb133111ebull;
	s->result->hash ^= s->result->hash >> 31;
}

// ---- what is said

void violate(struct sim *s, const char *format, ...)
{
	char text[SIM_TEXT - 40];
	va_list args;

	if (sim_is_violated(s))
		return;
	va_start(args, format);
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(s->result->violated, SIM_TEXT, "at %lld ms: %s", (long long)s->now,
		n < 0 ? "?" : text);
}

bool sim_is_violated(const struct sim *s)
{
	return s->result->violated[0] != '\0';
}

void trace(struct sim *s, const char *format, ...)
{
	va_list args;

	if (!s->config.trace)
		return;
	printf("%9lld ", (long long)s->now);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

// ---- the heap of events

static bool earlier(const struct event_item *a, const struct event_item *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void heap_push(struct sim *s, int64_t at, enum sim_event kind, uint32_t who, uint32_t token,
	struct message *m, uint32_t more)
{
	struct heap *h = &s->heap;

	if (h->count == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 1024;
		h->items = realloc(h->items, h->cap * sizeof(*h->items));
		if (!h->items)
			abort();
	}
	struct event_item e = {.at = at,
		.order = ++h->order,
		.message = m,
		.who = who,
		.token = token,
		.more = more,
		.kind = (uint8_t)kind};
	size_t i = h->count++;
	for (; i > 0 && earlier(&e, &h->items[(i - 1) / 2]); i = (i - 1) / 2)
		h->items[i] = h->items[(i - 1) / 2];
	h->items[i] = e;
}

bool heap_pop(struct sim *s, struct event_item *out)
{
	struct heap *h = &s->heap;

	if (h->count == 0)
		return false;
	*out = h->items[0];
	struct event_item last = h->items[--h->count];
	size_t i = 0;
	for (size_t child; (child = 2 * i + 1) < h->count; i = child) {
		if (child + 1 < h->count && earlier(&h->items[child + 1], &h->items[child]))
			child++;
		if (!earlier(&h->items[child], &last))
			break;
		h->items[i] = h->items[child];
	}
	if (h->count)
		h->items[i] = last;
	return true;
}

void heap_fini(struct heap *h)
{
	for (size_t i = 0; i < h->count; i++)
		message_free(h->items[i].message);
	free(h->items);
}

// ---- events

static void mend(struct sim *s, const struct event_item *e)
{
	if (e->more == FAULT_DISK)
		s->devices[e->who].disk_full = false;
	if (e->more == FAULT_STORE && s->server.read_only && !s->server.disk_full)
		host_read_only(s, false);
	if (e->more == FAULT_FULL && s->server.disk_full)
		host_disk_full(s, false);
	if (e->more == FAULT_REVOKE && !host_enrol_again(s, e->who))
		heap_push(s, s->now + 500, EVENT_MEND, e->who, 0, NULL, FAULT_REVOKE);
	if (e->more != FAULT_STALL)
		return;
	s->server.stalled = false;
	if (s->server.core && s->server.turn_waits)
		heap_push(s, s->now, EVENT_TURN, 0, s->server.start_token, NULL, 0);
}

static void server_event(struct sim *s, const struct event_item *e)
{
	struct server_host *h = &s->server;

	if (e->kind == EVENT_SERVER_LINK) {
		if (e->token == h->link_token)
			host_link(s, true);
		return;
	}
	if (e->token != h->start_token)
		return;
	if (e->kind == EVENT_SERVER_START)
		host_start(s);
	else if (h->core && e->kind == EVENT_SERVER_TICK)
		host_tick(s);
	else if (h->core)
		host_turn(s);
}

static void device_event(struct sim *s, const struct event_item *e)
{
	struct device *d = &s->devices[e->who];

	switch (e->kind) {
	case EVENT_TICK:
		if (d->alive && e->token == d->tick_token)
			device_tick(d);
		return;
	case EVENT_POWER:
		if (e->token == d->power_token)
			device_power_on(d);
		return;
	case EVENT_CONNECT:
		if (e->token == d->link_token)
			device_link(d, true);
		return;
	case EVENT_FETCH:
		doer_fetched(d, e->token);
		return;
	default:
		doer_command_over(d, e->token);
		return;
	}
}

static void event_run(struct sim *s, const struct event_item *e)
{
	switch ((enum sim_event)e->kind) {
	case EVENT_DELIVER:
		broker_arrive(s, e);
		return;
	case EVENT_TURN:
	case EVENT_SERVER_TICK:
	case EVENT_SERVER_START:
	case EVENT_SERVER_LINK:
		server_event(s, e);
		return;
	case EVENT_TICK:
	case EVENT_POWER:
	case EVENT_CONNECT:
	case EVENT_FETCH:
	case EVENT_COMMAND:
		device_event(s, e);
		return;
	case EVENT_ACT:
		if (e->token == ACTS_NEWER)
			act_newer(s, e->who, e->more);
		else if (e->token)
			acts_last(s, e->token == ACTS_FIRST);
		else
			act_random(s);
		return;
	case EVENT_FAULT:
		fault_random(s);
		return;
	case EVENT_BROKER:
		if (e->token == s->broker.token)
			s->broker.up = true;
		return;
	case EVENT_MEND:
		mend(s, e);
		return;
	}
}

// ---- the run

static void world_make(struct sim *s)
{
	static struct sign_key *online, **keys;
	static uint32_t key_count;

	// Pairs are the same in each run: loading one costs more than a hundred heartbeats.
	if (!online) {
		struct digest d = sha256("online", 6);
		struct key32 secret;
		memcpy(secret.b, d.b, 32);
		if (sign_key_load(&secret, &online) != ERR_OK)
			abort();
	}
	if (key_count < s->config.agents) {
		keys = realloc(keys, s->config.agents * sizeof(struct sign_key *));
		for (; keys && key_count < s->config.agents; key_count++) {
			struct digest d = sha256(&key_count, sizeof(key_count));
			struct key32 secret;
			memcpy(secret.b, d.b, 32);
			if (sign_key_load(&secret, &keys[key_count]) != ERR_OK)
				abort();
		}
	}
	if (!keys)
		abort();
	s->online = online;
	s->keys = keys;
	s->online_public = *sign_key_public(online);
	s->root = (struct root){.version = 1,
		.fleet = "sim",
		.online_keys = &s->online_public,
		.online_key_count = 1};
}

static void world_init(struct sim *s)
{
	uint64_t seed = s->config.seed * 0x2545f4914f6cdd1dull + s->config.agents;

	s->way.state = seed ^ 1;
	s->fate.state = seed ^ 0x1111;
	s->acts_random.state = seed ^ 0x222222;
	s->ids.state = seed ^ 0x33333333;
	crypto_seed(seed ^ 0x4444);
	s->result->hash = seed;
	arena_init(&s->scratch, 1 << 20, 20000);
	arena_init(&s->arena, 4 << 20, 100000);
	buf_init(&s->out, LIMIT_REPORT);
	s->interval_ms = (uint32_t)(500 * rng_between(&s->fate, 1, 4));
	s->loss = (uint32_t)rng_between(&s->fate, 5, 200);
	s->dup = (uint32_t)rng_between(&s->fate, 5, 100);
	s->reorder = (uint32_t)rng_between(&s->fate, 5, 100);
	world_make(s);
	s->devices = calloc(s->config.agents, sizeof(*s->devices));
	if (!s->devices)
		abort();
	for (uint32_t i = 0; i < s->config.agents; i++)
		device_init(s, i);
	ledger_init(s);
	broker_init(s);
	host_init(s);
	for (uint32_t i = 0; i < s->config.agents; i++)
		heap_push(s, rng_between(&s->fate, 1, 2 * (int64_t)s->interval_ms), EVENT_POWER, i,
			0, NULL, 0);
	heap_push(s, 3 * (int64_t)s->interval_ms, EVENT_ACT, 0, 0, NULL, 0);
	heap_push(s, 3 * (int64_t)s->interval_ms, EVENT_FAULT, 0, 0, NULL, 0);
}

static void world_fini(struct sim *s)
{
	for (uint32_t i = 0; i < s->config.agents; i++)
		device_fini(&s->devices[i]);
	ledger_fini(s);
	host_fini(s);
	broker_fini(s);
	heap_fini(&s->heap);
	free(s->devices);
	arena_fini(&s->scratch);
	arena_fini(&s->arena);
	buf_fini(&s->out);
}

// Runs what is due before `until`.
static void run_until(struct sim *s, int64_t until)
{
	uint64_t every = QUEUES_EVERY * (1 + s->config.agents / 10);
	struct event_item e;

	while (!sim_is_violated(s) && s->heap.count && s->heap.items[0].at < until) {
		(void)heap_pop(s, &e);
		s->now = e.at;
		event_run(s, &e);
		message_free(e.message);
		if (e.kind == EVENT_TURN && s->server.turns % every == 0)
			check_queues(s);
	}
	s->now = until;
}

static void run_to_rest(struct sim *s)
{
	int64_t end = s->now + REST_LIMIT_MS;
	const char *why = "";

	acts_last(s, true);
	run_until(s, s->now + LAST_ACTS_AGAIN * (int64_t)s->interval_ms);
	acts_last(s, false);
	int64_t again = s->now + LAST_ACTS_EVERY_MS;
	do {
		run_until(s, s->now + 1000);
		why = check_rest(s);
		if (why[0] && s->now >= again) {
			// Who gave up waits for something new, or for an hour.
			acts_last(s, false);
			again += LAST_ACTS_EVERY_MS;
		}
	} while (why[0] && s->now < end && !sim_is_violated(s));
	if (why[0])
		violate(s, "no rest: %s", why);
}

void sim_run(const struct sim_config *config, struct sim_result *result)
{
	struct sim *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	*result = (struct sim_result){0};
	s->config = *config;
	s->result = result;
	world_init(s);
	run_until(s, (int64_t)config->beats * s->interval_ms);
	faults_stop(s);
	run_to_rest(s);
	if (!sim_is_violated(s))
		check_end(s);
	if (config->store && db_backup(s->server.db, config->store) != ERR_OK)
		violate(s, "no copy of the store: %s", err_text());
	for (uint32_t i = 0; i < config->agents; i++)
		result->heartbeats += s->devices[i].beats +
				      (s->devices[i].alive ? s->devices[i].core.counters.beats : 0);
	result->starts = s->server.starts;
	result->virtual_ms = (uint64_t)s->now;
	world_fini(s);
	free(s);
}
