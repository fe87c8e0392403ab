// How rates are divided, told, and what an operator's budgets say.
#include "rates_helper.h"
#include "server/rate_share.h"
#include <inttypes.h>
#include <time.h>

// ---------------------------------------------------------------- rate_share

static uint64_t draw_state = 1;

static uint64_t draw(uint64_t below)
{
	draw_state ^= draw_state << 13;
	draw_state ^= draw_state >> 7;
	draw_state ^= draw_state << 17;
	return below ? draw_state % below : 0;
}

static void equals_share_equally_and_a_capped_one_leaves_its_rest(void **state)
{
	struct share_link links[] = {{1200}, {0}};
	struct share_flow flows[4] = {
		{.link = {0, 0}}, {.link = {0, 1}}, {.link = {0, 0}}, {.link = {0, 0}, .cap = 90}};

	(void)state;
	rate_share(links, 2, flows, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(flows[i].rate, 400);
	rate_share(links, 2, flows, 4);
	for (int i = 0; i < 3; i++)
		assert_int_equal(flows[i].rate, 370);
	assert_int_equal(flows[3].rate, 90);
}

static void a_narrow_site_leaves_its_brokers_rest_to_others(void **state)
{
	struct share_link links[] = {{1000}, {100}};
	struct share_flow flows[] = {
		{.link = {0, 1}}, {.link = {0, 1}}, {.link = {0, 0}}, {.link = {0, 0}}};

	(void)state;
	rate_share(links, 2, flows, 4);
	assert_int_equal(flows[0].rate, 50);
	assert_int_equal(flows[1].rate, 50);
	assert_int_equal(flows[2].rate, 450);
	assert_int_equal(flows[3].rate, 450);
}

static void without_any_limit_there_is_none_and_never_a_zero_by_chance(void **state)
{
	struct share_link links[] = {{0}, {2}};
	struct share_flow flows[] = {{.link = {0, 0}}, {.link = {0, 0}, .cap = 7}, {.link = {1, 1}},
		{.link = {1, 1}}, {.link = {1, 1}}};

	(void)state;
	rate_share(links, 2, flows, 5);
	assert_int_equal(flows[0].rate, 0);
	assert_int_equal(flows[1].rate, 7);
	for (int i = 2; i < 5; i++)
		assert_int_equal(flows[i].rate, 1); // 0 would be no limit on the wire
	rate_share(links, 2, flows, 0);
}

static bool crosses(const struct share_flow *f, uint32_t l)
{
	return f->link[0] == l || f->link[1] == l;
}

// Whatever the fleet: no link above its budget; who is below its cap crosses a full link on which
// nobody has more than it has.
static void share_holds(
	const struct share_link *links, uint32_t nl, const struct share_flow *flows, uint32_t nf)
{
	uint64_t *sum = calloc(nl, sizeof(*sum)), *most = calloc(nl, sizeof(*most));

	for (uint32_t l = 0; l < nl; l++) {
		for (uint32_t i = 0; i < nf; i++)
			if (crosses(&flows[i], l)) {
				sum[l] += flows[i].rate;
				most[l] = flows[i].rate > most[l] ? flows[i].rate : most[l];
			}
		if (links[l].bytes_per_s && sum[l] > links[l].bytes_per_s)
			fail_msg("link %u carries %" PRIu64 " of %" PRIu64, l, sum[l],
				links[l].bytes_per_s);
	}
	for (uint32_t i = 0; i < nf; i++) {
		const struct share_flow *f = &flows[i];
		bool held = f->cap && f->rate == f->cap;

		assert_true(!f->cap || (f->rate && f->rate <= f->cap));
		for (int k = 0; k < SHARE_LINKS && !held; k++) {
			uint32_t l = f->link[k];
			bool full = links[l].bytes_per_s && links[l].bytes_per_s - sum[l] < nf;

			held = full && f->rate + nf >= most[l]; // but for what does not divide
		}
		held = held || (f->rate == 0 && !links[f->link[0]].bytes_per_s &&
				       !links[f->link[1]].bytes_per_s);
		if (!held)
			fail_msg("flow %u of %u has %" PRIu64 " and could have more", i, nf,
				f->rate);
	}
	free(sum);
	free(most);
}

static void S001_c28_sums_stay_within_every_budget_and_nothing_is_left_over(void **state)
{
	enum {
		LINKS = 12,
		FLOWS = 300
	};
	static struct share_link links[LINKS];
	static struct share_flow flows[FLOWS];

	(void)state;
	for (int round = 0; round < 2000; round++) {
		uint32_t nl = 1 + (uint32_t)draw(LINKS), nf = (uint32_t)draw(FLOWS);

		for (uint32_t l = 0; l < nl; l++)
			links[l].bytes_per_s = draw(4) ? FLOWS + draw(1u << draw(30)) : 0;
		for (uint32_t i = 0; i < nf; i++)
			flows[i] = (struct share_flow){
				.link = {(uint32_t)draw(nl), (uint32_t)draw(nl)},
				.cap = draw(3) ? 0 : 1 + draw(1u << draw(25)),
			};
		rate_share(links, nl, flows, nf);
		share_holds(links, nl, flows, nf);
	}
}

// The level rises by looks at every link, as the head of rate_share.h says it.
static void share_plainly(
	const struct share_link *links, uint32_t nl, struct share_flow *flows, uint32_t nf)
{
	uint64_t *left = calloc(nl, sizeof(*left));
	uint32_t *open = calloc(nl, sizeof(*open));
	bool *done = calloc(nf + 1, sizeof(*done));

	for (uint32_t rising = nf; rising;) {
		uint64_t level = UINT64_MAX;
		uint32_t full = nl, stopped = 0;

		for (uint32_t l = 0; l < nl; l++) {
			open[l] = 0;
			left[l] = links[l].bytes_per_s;
			for (uint32_t i = 0; i < nf; i++) {
				open[l] += !done[i] && crosses(&flows[i], l);
				if (done[i] && crosses(&flows[i], l))
					left[l] -=
						flows[i].rate < left[l] ? flows[i].rate : left[l];
			}
			if (links[l].bytes_per_s && open[l] && left[l] / open[l] < level) {
				level = left[l] / open[l];
				full = l;
			}
		}
		for (uint32_t i = 0; i < nf; i++)
			if (!done[i] && flows[i].cap && flows[i].cap <= level) {
				flows[i].rate = flows[i].cap;
				done[i] = true;
				stopped++;
			}
		for (uint32_t i = 0; i < nf && !stopped && full < nl; i++)
			if (!done[i] && crosses(&flows[i], full)) {
				flows[i].rate = level;
				done[i] = true;
			}
		rising = 0;
		for (uint32_t i = 0; i < nf; i++)
			rising += !done[i];
		if (!stopped && full == nl)
			break;
	}
	free(left);
	free(open);
	free(done);
}

static void each_gets_what_a_look_at_every_link_gives_it(void **state)
{
	enum {
		LINKS = 24,
		FLOWS = 80
	};
	struct share_link links[LINKS];
	struct share_flow flows[FLOWS], plain[FLOWS];

	(void)state;
	for (int round = 0; round < 1000; round++) {
		uint32_t nl = 1 + (uint32_t)draw(LINKS), nf = (uint32_t)draw(FLOWS);

		for (uint32_t l = 0; l < nl; l++)
			links[l].bytes_per_s = draw(5) ? 4 * FLOWS + draw(1u << draw(20)) : 0;
		for (uint32_t i = 0; i < nf; i++)
			plain[i] = flows[i] = (struct share_flow){
				.link = {(uint32_t)draw(nl), (uint32_t)draw(nl)},
				.cap = draw(3) ? 0 : 1 + draw(1u << draw(18)),
			};
		rate_share(links, nl, flows, nf);
		share_plainly(links, nl, plain, nf);
		for (uint32_t i = 0; i < nf; i++)
			if (flows[i].rate != plain[i].rate)
				fail_msg("round %d, flow %u: %" PRIu64 ", not %" PRIu64, round, i,
					flows[i].rate, plain[i].rate);
	}
}

// CPU time of one division: one broker, so many sites, each with a budget of its own, ten flows at
// each.
static double division_s(uint32_t sites)
{
	uint32_t nf = 10 * sites;
	struct share_link *links = calloc(sites + 1, sizeof(*links));
	struct share_flow *flows = calloc(nf, sizeof(*flows));
	double least = 1e9;

	links[0].bytes_per_s = (uint64_t)sites * 1000000;
	for (uint32_t s = 1; s <= sites; s++)
		links[s].bytes_per_s = 100000 + 7 * draw(100000);
	for (uint32_t i = 0; i < nf; i++)
		flows[i].link[1] = 1 + i % sites;
	for (int turn = 0; turn < 5; turn++) {
		struct timespec from, to;
		double took;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		rate_share(links, sites + 1, flows, nf);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		took = (double)(to.tv_sec - from.tv_sec) +
		       (double)(to.tv_nsec - from.tv_nsec) / 1e9;
		least = took < least ? took : least;
	}
	free(links);
	free(flows);
	return least;
}

static void sixteen_times_the_sites_cost_no_square_of_it(void **state)
{
	double few = division_s(250), many = division_s(4000);

	(void)state;
	print_message("250 limited sites %.2f ms, 4000 %.2f ms\n", few * 1e3, many * 1e3);
	assert_true(many < 64 * few); // a square is 256
}

// ---------------------------------------------------------------- rates

static uint64_t told(struct rates *r, uint64_t lease, int64_t ms)
{
	return rates_tell(r, lease, 0, 3000, at_ms(ms));
}

static void S001_c28_a_second_one_halves_the_first_ones_rate_at_its_next_heartbeat(void **state)
{
	struct rates *r = rates_new(0);
	struct rates_view v;

	(void)state;
	assert_int_equal(joined(r, 1, "f1", ""), 1000000);
	assert_int_equal(told(r, 1, 1000), 1000000);
	assert_int_equal(joined(r, 2, "f2", ""), 500000); // a capacity is divided, not guarded
	assert_int_equal(told(r, 1, 1100), 500000);
	assert_int_equal(told(r, 2, 1100), 500000);
	assert_true(rates_look(r, 2, &v));
	assert_string_equal(v.site, "");
	rates_leave(r, 1);
	assert_false(rates_look(r, 1, &v));
	assert_int_equal(told(r, 1, 1200), 0);
	assert_int_equal(told(r, 2, 1200), 1000000);
	rates_free(r);
}

static void what_an_operator_set_is_not_exceeded_while_one_joins(void **state)
{
	struct rates *r = rates_new(0);

	(void)state;
	budget_put(r, BUDGET_BROKER, "da", 300000, 0);
	assert_int_equal(joined(r, 1, "f1", ""), 300000);
	assert_int_equal(joined(r, 2, "f2", ""), 1); // no room yet
	assert_int_equal(told(r, 2, 1100), 1);
	assert_int_equal(told(r, 1, 1100), 150000);
	assert_int_equal(told(r, 2, 1200), 150000);
	// Lowered: each goes down at once, to its new share and not below it.
	budget_put(r, BUDGET_BROKER, "da", 100000, 0);
	assert_int_equal(told(r, 1, 1300), 50000);
	assert_int_equal(told(r, 2, 1300), 50000);
	rates_leave(r, 1);
	assert_int_equal(told(r, 2, 1400), 100000);
	rates_free(r);
}

static void who_is_not_heard_any_more_does_not_hold_up_the_others(void **state)
{
	struct rates *r = rates_new(0);

	(void)state;
	budget_put(r, BUDGET_BROKER, "*", 300000, 0);
	assert_int_equal(joined(r, 1, "f1", ""), 300000);
	assert_int_equal(joined(r, 2, "f2", ""), 1);
	assert_int_equal(told(r, 2, 3900), 1);
	rates_settle(r, at_ms(4001)); // f1 was told at 1000, for 3 s
	assert_int_equal(told(r, 2, 4100), 150000);
	rates_free(r);
}

// Who had no limit goes on without one until it is told its share: by then nobody else has it.
static void where_there_was_no_limit_one_holds_as_soon_as_all_were_told(void **state)
{
	struct rates *r = rates_new(0);
	struct rates_lease l = lease_of(1, "f1", "");

	(void)state;
	l.capacity_bytes_per_s = 0;
	assert_int_equal(rates_join(r, &l, at_ms(1000)), 0);
	l.id = 2;
	l.client = "f2";
	assert_int_equal(rates_join(r, &l, at_ms(1000)), 0);
	budget_put(r, BUDGET_BROKER, "da", 300000, 0);
	budget_put(r, BUDGET_CLIENT, "f2", 50000, 0);
	assert_int_equal(told(r, 2, 1100), 50000);
	budget_put(r, BUDGET_CLIENT, "f2", 150000, 0);
	assert_int_equal(told(r, 2, 1200), 50000);   // f1 has no limit yet
	assert_int_equal(joined(r, 3, "f3", ""), 1); // nor is there room for another
	assert_int_equal(told(r, 1, 1300), 100000);  // down at once, to its share
	assert_int_equal(told(r, 2, 1400), 100000);
	assert_int_equal(told(r, 3, 1500), 100000);
	// Silent for too long, it counts as told.
	budget_put(r, BUDGET_BROKER, "da", 0, 0);
	assert_int_equal(told(r, 1, 1600), 0);
	budget_put(r, BUDGET_BROKER, "da", 300000, 0);
	rates_leave(r, 3);
	assert_int_equal(told(r, 2, 4500), 100000);
	rates_settle(r, at_ms(4601));
	assert_int_equal(told(r, 2, 4700), 150000);
	rates_free(r);
}

// A start of ours: the rows say what was granted, not what each was told since.
static void after_a_start_nobody_is_told_more_until_all_were_heard(void **state)
{
	struct rates *r = rates_new(0);

	(void)state;
	budget_put(r, BUDGET_BROKER, "da", 300000, 0);
	restored(r, 1, "f1", "", 100000); // it was told 200000
	restored(r, 2, "f2", "", 50000);
	assert_int_equal(told(r, 2, 1100), 50000);
	assert_int_equal(joined(r, 3, "f3", ""), 1);
	assert_int_equal(told(r, 1, 1200), 100000);
	assert_int_equal(told(r, 2, 1300), 100000);
	assert_int_equal(told(r, 3, 1400), 100000);
	rates_clear(r);
	restored(r, 1, "f1", "", 100000);
	restored(r, 2, "f2", "", 50000);
	rates_settle(r, at_ms(3900));
	assert_int_equal(told(r, 2, 3950), 50000);
	rates_settle(r, at_ms(4001)); // f1 was told until then
	assert_int_equal(told(r, 2, 4100), 150000);
	rates_free(r);
}

static void budgets_of_site_and_client_count_and_change_while_it_runs(void **state)
{
	struct rates *r = rates_new(400000);
	struct rates_view v;

	(void)state;
	assert_int_equal(joined(r, 1, "f1", "acme/lobby"), 400000);
	assert_int_equal(joined(r, 2, "f2", "acme/lobby"), 400000);
	assert_int_equal(joined(r, 3, "f3", "acme/bar"), 333333); // until all is worked out
	assert_int_equal(told(r, 3, 1001), 333333);
	assert_true(rates_look(r, 3, &v));
	assert_string_equal(v.site, "acme/bar");
	budget_put(r, BUDGET_SITE, "acme/lobby", 100000, 0);
	budget_put(r, BUDGET_CLIENT, "f1", 20000, 0);
	assert_int_equal(told(r, 1, 1100), 20000);
	assert_int_equal(told(r, 2, 1100), 80000);
	assert_int_equal(told(r, 3, 1100), 400000);
	// A channel's limit is one more cap.
	assert_int_equal(rates_tell(r, 3, 5000, 3000, at_ms(1200)), 5000);
	assert_int_equal(told(r, 3, 1300), 400000);
	assert_true(budgets_unset(rates_budgets(r), BUDGET_CLIENT, "f1"));
	assert_false(budgets_unset(rates_budgets(r), BUDGET_CLIENT, "f1"));
	rates_budgets_changed(r);
	assert_int_equal(told(r, 2, 1400), 50000);
	assert_int_equal(told(r, 1, 1400), 50000);
	rates_free(r);
}

// A fleet of many sites comes and goes: what is told stays within every guarded budget at every
// step, and in the end each has what it is due.
static void S001_c28_what_is_told_never_exceeds_a_guarded_budget(void **state)
{
	enum {
		FLOWS = 200,
		SITES = 150,
		BROKER = 50000000,
		SITE = 1000000
	};
	static uint64_t said[FLOWS];
	static uint32_t site[FLOWS];
	struct rates *r = rates_new(0);
	uint64_t most = 0;

	(void)state;
	budget_put(r, BUDGET_BROKER, "*", BROKER, 0);
	budget_put(r, BUDGET_SITE, "*", SITE, 0);
	memset(said, 0, sizeof(said));
	for (int step = 0; step < 20000; step++) {
		uint64_t i = draw(FLOWS), sum = 0, of_site = 0;
		char client[16], place[16];
		struct rates_lease l;

		snprintf(client, sizeof(client), "f%d", (int)i);
		if (!said[i]) {
			site[i] = (uint32_t)draw(SITES);
			snprintf(place, sizeof(place), "c/p%u", site[i]);
			l = lease_of(i + 1, client, place);
			l.capacity_bytes_per_s = UINT64_C(1) << 40;
			said[i] = rates_join(r, &l, at_ms(step));
		} else if (draw(10) == 0) {
			rates_leave(r, i + 1);
			said[i] = 0;
		} else
			said[i] = rates_tell(r, i + 1, 0, 1u << 30, at_ms(step));
		for (int k = 0; k < FLOWS; k++) {
			sum += said[k];
			of_site += site[k] == site[i] ? said[k] : 0;
		}
		assert_true(sum <= BROKER + FLOWS);
		assert_true(of_site <= SITE + FLOWS);
		most = sum > most ? sum : most;
	}
	assert_true(most > BROKER * 9 / 10);
	rates_free(r);
}

static void a_crowd_is_worked_out_in_one_go(void **state)
{
	enum {
		CROWD = 10000
	};
	struct rates *r = rates_new(0);
	struct timespec from, to;
	uint64_t sum = 0;

	(void)state;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (uint64_t i = 1; i <= CROWD; i++) {
		char client[16], place[16];

		snprintf(client, sizeof(client), "f%d", (int)i);
		snprintf(place, sizeof(place), "c/p%d", (int)(i / 20));
		(void)joined(r, i, client, place);
	}
	assert_true(rates_settle(r, at_ms(1000)));
	assert_false(rates_settle(r, at_ms(1001)));
	for (uint64_t i = 1; i <= CROWD; i++)
		sum += told(r, i, 1002);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	assert_int_equal(sum, 1000000);
	print_message("%d joined, worked out and told: %.1f ms\n", CROWD,
		(double)(to.tv_sec - from.tv_sec) * 1e3 +
			(double)(to.tv_nsec - from.tv_nsec) / 1e6);
	for (uint64_t i = 1; i <= CROWD; i++)
		rates_leave(r, i);
	assert_int_equal(rates_count(r), 0);
	assert_true(rates_settle(r, at_ms(2000)));
	assert_int_equal(joined(r, 1, "f1", "c/p1"), 1000000);
	rates_free(r);
}

// ---------------------------------------------------------------- budgets

static void lines_of_budgets_are_read_or_refused_with_a_reason(void **state)
{
	static const struct {
		const char *line;
		enum err e;
	} rows[] = {{"broker da 2000000", ERR_OK}, {"broker da 0 64", ERR_OK},
		{"site acme/lobby 1000", ERR_OK}, {"client * 5", ERR_OK}, {"site * 5", ERR_OK},
		{"", ERR_FORMAT}, {"broker da", ERR_FORMAT}, {"broker da 1 2 3", ERR_FORMAT},
		{"town da 1", ERR_FORMAT}, {"site lobby 1", ERR_FORMAT},
		{"site /lobby 1", ERR_FORMAT}, {"site acme/ 1", ERR_FORMAT},
		{"site a/b/c 1", ERR_FORMAT}, {"client a/b 1", ERR_FORMAT},
		{"broker da -1", ERR_RANGE}, {"broker da 1x", ERR_RANGE},
		{"broker da 99999999999999999999999", ERR_RANGE}, {"client f1 5 3", ERR_RANGE},
		{"broker da 1 2000000", ERR_RANGE}};
	struct budget b;
	char line[400];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (budget_parse(rows[i].line, &b) != rows[i].e)
			fail_msg("\"%s\": %s", rows[i].line, err_text());
	snprintf(line, sizeof(line), "site %0110d/x 5", 1);
	assert_int_not_equal(budget_parse(line, &b), ERR_OK);
	assert_int_equal(budget_parse("broker da 7 64", &b), ERR_OK);
	assert_int_equal(b.bytes_per_s, 7);
	assert_int_equal(b.fetches, 64);
}

static void what_is_stored_counts_above_the_settings_and_a_name_above_the_star(void **state)
{
	struct budgets *b = budgets_new();
	struct budget one;
	void *cursor = NULL;
	int count = 0;

	(void)state;
	assert_null(budgets_find(b, BUDGET_CLIENT, "f1"));
	assert_int_equal(budget_parse("client * 10", &one), ERR_OK);
	assert_int_equal(budgets_put(b, &one), ERR_OK);
	assert_int_equal(budgets_put(b, &one), ERR_EXISTS);
	assert_int_equal(budget_parse("client f1 20", &one), ERR_OK);
	assert_int_equal(budgets_put(b, &one), ERR_OK);
	assert_int_equal(budgets_find(b, BUDGET_CLIENT, "f1")->bytes_per_s, 20);
	assert_int_equal(budgets_find(b, BUDGET_CLIENT, "f2")->bytes_per_s, 10);
	assert_null(budgets_find(b, BUDGET_BROKER, "f1"));
	one.is_stored = true;
	one.bytes_per_s = 30;
	assert_int_equal(budgets_put(b, &one), ERR_OK);
	assert_int_equal(budgets_put(b, &one), ERR_OK); // again, as often as one likes
	assert_int_equal(budgets_find(b, BUDGET_CLIENT, "f1")->bytes_per_s, 30);
	while (budgets_next(b, &cursor))
		count++;
	assert_int_equal(count, 2);
	budgets_unset_all(b);
	assert_int_equal(budgets_find(b, BUDGET_CLIENT, "f1")->bytes_per_s, 20);
	budgets_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equals_share_equally_and_a_capped_one_leaves_its_rest),
		cmocka_unit_test(a_narrow_site_leaves_its_brokers_rest_to_others),
		cmocka_unit_test(without_any_limit_there_is_none_and_never_a_zero_by_chance),
		cmocka_unit_test(S001_c28_sums_stay_within_every_budget_and_nothing_is_left_over),
		cmocka_unit_test(each_gets_what_a_look_at_every_link_gives_it),
		cmocka_unit_test(sixteen_times_the_sites_cost_no_square_of_it),
		cmocka_unit_test(
			S001_c28_a_second_one_halves_the_first_ones_rate_at_its_next_heartbeat),
		cmocka_unit_test(what_an_operator_set_is_not_exceeded_while_one_joins),
		cmocka_unit_test(who_is_not_heard_any_more_does_not_hold_up_the_others),
		cmocka_unit_test(where_there_was_no_limit_one_holds_as_soon_as_all_were_told),
		cmocka_unit_test(after_a_start_nobody_is_told_more_until_all_were_heard),
		cmocka_unit_test(budgets_of_site_and_client_count_and_change_while_it_runs),
		cmocka_unit_test(S001_c28_what_is_told_never_exceeds_a_guarded_budget),
		cmocka_unit_test(a_crowd_is_worked_out_in_one_go),
		cmocka_unit_test(lines_of_budgets_are_read_or_refused_with_a_reason),
		cmocka_unit_test(
			what_is_stored_counts_above_the_settings_and_a_name_above_the_star),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
