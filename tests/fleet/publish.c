// A package was published: how long from each device's next heartbeat until the server has taken
// its report that it holds it, verified. Each line of standard input is one measurement: everybody
// beats at once, is told, asks, is granted a data broker, fetches and says so (fleet_fetch.h).
// With --echo a client has four rounds with the echo server, and then fetches what the file names
// from the data broker without asking anybody.
#include "tests/fleet/fleet.h"
#include "tests/fleet/fleet_fetch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#define ROUNDS 4
#define PUBLISH_MAX_US (60 * INT64_C(1000000))
#define TICK_US 10000
#define TICK_PARTS 5 // of the devices, one after the other: each has its tick every 50 ms
#define CONNECTING_MOST                                                                            \
	64 // the broker's backlog is 100, and what finds it full comes a second later

struct taker {
	struct fleet *fleet;
	size_t at;
	struct fleet_fetch fetch;
	struct digest package;
	uint32_t rounds;
	int64_t begun_us, fetched_us, over_us; // 0: not yet
	uint64_t beats;                        // sent when it was fetched
	bool is_heard;                         // a later one was answered
	bool failed, in_line, connecting;
	struct taker *prev, *next; // in the line
	struct sockaddr_in to;
};

// Devices of a fleet do not come in the same millisecond, those of one process do: who wants to
// connect to the data broker stands in a line.
static struct taker *line;
static size_t connecting;

static void line_move(void)
{
	while (line && connecting < CONNECTING_MOST) {
		struct taker *t = line;
		struct sockaddr_in from = address_of(t->at);

		DL_DELETE(line, t);
		t->in_line = false;
		if (fleet_fetch_begin(&t->fetch, &t->fleet->loop, &t->to, &from) == ERR_OK) {
			t->connecting = true;
			connecting++;
		} else {
			t->failed = true;
		}
	}
}

// Connected, or no longer to be.
static void line_leave(struct taker *t)
{
	if (t->in_line)
		DL_DELETE(line, t);
	connecting -= t->connecting;
	t->in_line = t->connecting = false;
}

static void line_join(struct taker *t)
{
	DL_APPEND(line, t);
	t->in_line = true;
	line_move();
}

static void taker_is_up(void *ctx)
{
	line_leave(ctx);
	line_move();
}

static void taker_stop(struct taker *t)
{
	line_leave(t);
	mini_close(&t->fetch.link);
	line_move();
}

static void taker_over(struct taker *t)
{
	if (t->over_us == 0)
		t->over_us = now_us();
}

// ---- devices

static void device_fetched(void *ctx, bool good)
{
	struct taker *t = ctx;
	struct fleet_device *d = &t->fleet->devices[t->at];

	taker_is_up(t);
	arena_reset(d->config.scratch);
	if (!good) {
		agent_fetch_broker_failed(&d->core, clock_now(), "the simulated fetch failed");
		return;
	}
	t->fetched_us = now_us();
	t->beats = d->core.session.hb_seq;
	d->held = t->package;
	agent_fetch_done(&d->core, clock_now(), &t->package);
}

static void device_fetch(struct fleet_device *d, const struct fetch_order *order)
{
	struct taker *t = d->ctx;
	const struct address *a = order->grant->from;

	taker_stop(t);
	t->package = order->package->package;
	t->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)a->port)};
	if (inet_pton(AF_INET, a->ip, &t->to.sin_addr) == 1)
		line_join(t);
	else
		t->failed = true;
}

static void device_fetch_stop(struct fleet_device *d)
{
	taker_stop(d->ctx);
}

static bool is_released(const struct fleet_device *d)
{
	for (size_t i = 0; i < AGENT_RELEASES; i++)
		if (d->core.releases[i].request_id != 0)
			return false;
	return true;
}

static void device_heard(struct fleet_device *d)
{
	struct taker *t = d->ctx;

	if (t->fetched_us && is_released(d))
		taker_over(t);
	t->is_heard = t->fetched_us && d->core.session.answered_seq > t->beats;
}

// ---- echo clients

static void echo_fetched(void *ctx, bool good)
{
	struct taker *t = ctx;

	taker_is_up(t);
	t->failed = t->failed || !good;
	taker_over(t);
}

static void echo_answered(void *ctx)
{
	struct taker *t = ctx;

	t->to = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(t->fleet->o->data_port)};
	t->to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (++t->rounds < ROUNDS)
		t->failed = echo_send(&t->fleet->echoes[t->at], now_us()) != ERR_OK || t->failed;
	else if (t->rounds == ROUNDS)
		line_join(t);
}

// ---- one measurement

// -1: it keeps nothing.
static int file_of(const struct options *o)
{
	return o->dir ? open(o->dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600) : -1;
}

static struct taker *takers_new(struct fleet *f, const struct fleet_content *content)
{
	struct taker *takers = calloc(f->o->count, sizeof(*takers));

	for (size_t i = 0; takers && i < f->o->count; i++) {
		struct taker *t = &takers[i];

		t->fleet = f;
		t->at = i;
		t->fetch.content = content;
		t->fetch.at_once = f->o->echo;
		t->fetch.file = file_of(f->o);
		t->failed = f->o->dir && t->fetch.file < 0;
		t->fetch.over = f->o->echo ? echo_fetched : device_fetched;
		t->fetch.up = taker_is_up;
		t->fetch.ctx = t;
		t->fetch.link.fd = -1;
		memcpy(t->fetch.link.client_id, link_of(f, i)->client_id,
			sizeof(t->fetch.link.client_id));
		if (f->o->echo) {
			f->echoes[i].answered = echo_answered;
			f->echoes[i].ctx = t;
		} else {
			f->devices[i].fetch = device_fetch;
			f->devices[i].fetch_stop = device_fetch_stop;
			f->devices[i].heard = device_heard;
			f->devices[i].ctx = t;
		}
	}
	return takers;
}

static void takers_free(struct fleet *f, struct taker *takers)
{
	for (size_t i = 0; i < f->o->count; i++) {
		line_leave(&takers[i]);
		mini_client_fini(&takers[i].fetch.link);
		if (takers[i].fetch.file >= 0)
			close(takers[i].fetch.file);
		if (f->o->echo) {
			f->echoes[i].answered = NULL;
		} else {
			f->devices[i].fetch = NULL;
			f->devices[i].fetch_stop = NULL;
			f->devices[i].heard = NULL;
		}
	}
	free(takers);
}

static enum err all_begin(struct fleet *f, struct taker *takers)
{
	for (size_t i = 0; i < f->o->count; i++) {
		takers[i].begun_us = now_us();
		if (f->o->echo)
			TRY(echo_send(&f->echoes[i], takers[i].begun_us));
		else
			fleet_device_beat(&f->devices[i], clock_now(), takers[i].begun_us);
		if (i % 64 == 63)
			mini_loop_run(&f->loop, 0);
	}
	return ERR_OK;
}

static size_t left_count(const struct fleet *f, const struct taker *takers, bool beats)
{
	size_t n = 0;

	for (size_t i = 0; i < f->o->count; i++)
		n += !(beats ? takers[i].is_heard : takers[i].over_us != 0);
	return n;
}

// Until all have it; beats: until all have told so in a heartbeat too.
static enum err all_wait(struct fleet *f, const struct taker *takers, bool beats)
{
	int64_t begun = now_us(), tick = begun;
	size_t part = 0;

	while (left_count(f, takers, beats) > 0) {
		int64_t now = now_us();

		if (now - begun > PUBLISH_MAX_US)
			return err_set(ERR_TIMEOUT, "%zu of %zu do not have it, or are not heard",
				left_count(f, takers, beats), f->o->count);
		for (; now_us() < tick;)
			mini_loop_run_us(&f->loop, 1000);
		tick = now_us() + TICK_US;
		part = (part + 1) % TICK_PARTS;
		for (size_t i = part; !f->o->echo && i < f->o->count; i += TICK_PARTS)
			fleet_device_tick(&f->devices[i], clock_now());
	}
	return ERR_OK;
}

static enum err all_print(const struct fleet *f, const struct taker *takers)
{
	uint32_t *us = calloc(f->o->count, sizeof(*us));
	int64_t first = INT64_MAX, last = 0;

	for (size_t i = 0; us && i < f->o->count; i++) {
		const struct taker *t = &takers[i];

		if (t->failed)
			break;
		us[i] = (uint32_t)(t->over_us - t->begun_us);
		first = t->begun_us < first ? t->begun_us : first;
		last = t->over_us > last ? t->over_us : last;
	}
	if (!us || last == 0)
		return err_set(ERR_MEMORY, "a fetch could not begin, or there is no memory");
	printf("{\"clients\":%zu,\"p50_ms\":%.3f,\"most_ms\":%.3f,\"all_ms\":%.3f}\n", f->o->count,
		percentile(us, f->o->count, 0.5) / 1e3, percentile(us, f->o->count, 1.0) / 1e3,
		(double)(last - first) / 1e3);
	fflush(stdout);
	free(us);
	return ERR_OK;
}

static enum err publish_measure(struct fleet *f)
{
	struct fleet_content content;
	struct taker *takers;
	enum err e;

	TRY(fleet_content_read(f->o->content, &content));
	takers = takers_new(f, &content);
	if (!takers)
		return err_set(ERR_MEMORY, "no memory for %zu fetches", f->o->count);
	e = all_begin(f, takers);
	if (e == ERR_OK)
		e = all_wait(f, takers, false);
	// What they are at is over before the next package.
	for (size_t i = 0; !f->o->echo && e == ERR_OK && i < f->o->count; i++) {
		fleet_device_beat(&f->devices[i], clock_now(), now_us());
		if (i % 64 == 63)
			mini_loop_run(&f->loop, 1);
	}
	if (e == ERR_OK && !f->o->echo)
		e = all_wait(f, takers, true);
	if (e == ERR_OK)
		e = all_print(f, takers);
	takers_free(f, takers);
	fleet_content_fini(&content);
	return e;
}

enum err publishes_run(struct fleet *f)
{
	struct options step = *f->o;

	if (!f->o->content)
		return err_set(ERR_FORMAT, "--content is missing");
	setvbuf(stdin, NULL, _IONBF, 0);
	puts("{\"ready\":true}");
	fflush(stdout);
	while (step_read(f, &step))
		TRY(publish_measure(f));
	return ERR_OK;
}
