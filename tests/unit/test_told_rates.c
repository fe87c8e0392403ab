// How fast the clients of a server may go that does not lead: offers, letters on their way, and
// what each client was told in the end.
#include "rates_helper.h"
#include "server/told_rates.h"

// What a heartbeat brings back: 0 nothing.
static uint64_t offer(struct rates *r, uint64_t id, uint64_t rate, uint64_t told, int64_t ms)
{
	struct rates_shown s = {.told_for_ms = 3000, .is_known = true, .rate = rate, .told = told};
	uint64_t out = 0;

	return rates_offer(r, id, &s, at_ms(ms), &out) ? out : 0;
}

static void what_is_lowered_counts_until_its_client_was_told(void **state)
{
	struct rates *r = rates_new(0);

	(void)state;
	budget_put(r, BUDGET_BROKER, "*", 300000, 0);
	assert_int_equal(joined(r, 1, "f1", ""), 300000);
	assert_int_equal(offer(r, 1, 300000, 300000, 1100), 0); // it has the grant
	assert_int_equal(joined(r, 2, "f2", ""), 1);
	assert_int_equal(offer(r, 1, 300000, 300000, 1200), 150000);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1250)), 1); // the letter is on its way
	assert_int_equal(offer(r, 1, 150000, 300000, 1300), 0);      // it came, its client waits
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1350)), 1);
	assert_int_equal(offer(r, 1, 150000, 150000, 1400), 0);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1450)), 150000);
	rates_free(r);
}

static void what_is_raised_counts_as_soon_as_it_is_offered(void **state)
{
	struct rates *r = rates_new(0);

	(void)state;
	budget_put(r, BUDGET_BROKER, "*", 200000, 0);
	assert_int_equal(joined(r, 1, "f1", ""), 200000);
	assert_int_equal(offer(r, 1, 200000, 200000, 1100), 0);
	budget_put(r, BUDGET_BROKER, "*", 400000, 0);
	assert_int_equal(offer(r, 1, 200000, 200000, 1200), 400000);
	assert_int_equal(joined(r, 2, "f2", ""), 1);
	// The next one waits until this one was told.
	assert_int_equal(offer(r, 1, 200000, 200000, 1300), 400000); // again, and no other
	assert_int_equal(offer(r, 1, 400000, 200000, 1400), 200000);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1450)), 1);
	assert_int_equal(offer(r, 1, 200000, 200000, 1500), 0);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1550)), 200000);
	rates_free(r);
}

static void a_server_that_knows_nothing_is_told_again(void **state)
{
	struct rates *r = rates_new(0);
	struct rates_shown none = {.told_for_ms = 3000};
	uint64_t out = 0;

	(void)state;
	budget_put(r, BUDGET_BROKER, "*", 300000, 0);
	assert_int_equal(joined(r, 1, "f1", ""), 300000);
	assert_true(rates_offer(r, 1, &none, at_ms(1100), &out));
	assert_int_equal(out, 300000);
	assert_false(rates_offer(r, 99, &none, at_ms(1100), &out)); // no such lease
	rates_free(r);
}

// A raise or a lowering of the former leader's is on its way: the most of both counts.
static void a_new_leader_begins_from_what_clients_can_have_been_told_at_most(void **state)
{
	struct rates *r = rates_new(0);

	(void)state;
	budget_put(r, BUDGET_BROKER, "*", 300000, 0);
	restored(r, 1, "f1", "", 200000); // it was told 100000
	restored(r, 2, "f2", "", 100000);
	assert_int_equal(offer(r, 1, 100000, 100000, 1100), 200000); // again, in case
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1150)), 100000);
	assert_int_equal(offer(r, 1, 200000, 100000, 1200), 150000);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1250)), 100000);
	assert_int_equal(offer(r, 1, 200000, 200000, 1300), 150000);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1350)), 100000);
	assert_int_equal(offer(r, 1, 150000, 150000, 1400), 0);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1450)), 150000);
	rates_clear(r);
	restored(r, 1, "f1", "", 100000); // it was told 200000
	restored(r, 2, "f2", "", 100000);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1550)), 100000);
	assert_int_equal(offer(r, 1, 200000, 200000, 1600), 100000);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1650)), 100000);
	assert_int_equal(offer(r, 1, 100000, 200000, 1700), 0);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1750)), 100000);
	assert_int_equal(offer(r, 1, 100000, 100000, 1800), 150000);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1850)), 150000);
	rates_free(r);
}

// The limit is on its way: what is offered is not counted for nothing.
static void an_offer_to_who_had_no_limit_leaves_no_room_until_it_was_told(void **state)
{
	struct rates *r = rates_new(0);
	struct rates_lease l = lease_of(1, "f1", "");

	(void)state;
	l.capacity_bytes_per_s = 0;
	assert_int_equal(rates_join(r, &l, at_ms(1000)), 0);
	budget_put(r, BUDGET_BROKER, "*", 300000, 0);
	assert_int_equal(offer(r, 1, 0, 0, 1100), 300000);
	assert_int_equal(joined(r, 2, "f2", ""), 1);
	assert_int_equal(offer(r, 1, 300000, 0, 1200), 0); // its client waits
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1250)), 1);
	assert_int_equal(offer(r, 1, 300000, 300000, 1300), 150000);
	assert_int_equal(offer(r, 1, 150000, 150000, 1400), 0);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1450)), 150000);
	// A start of ours meanwhile knows that its row has none.
	rates_clear(r);
	restored(r, 1, "f1", "", 0);
	restored(r, 2, "f2", "", 100000);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1550)), 100000);
	assert_int_equal(offer(r, 1, 0, 0, 1600), 150000);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1650)), 100000);
	assert_int_equal(offer(r, 1, 150000, 150000, 1700), 0);
	assert_int_equal(rates_tell(r, 2, 0, 3000, at_ms(1750)), 150000);
	rates_free(r);
}

static void who_has_no_limit_is_told_so_and_comes_below_one(void **state)
{
	struct rates *r = rates_new(0);
	struct rates_lease l = lease_of(1, "f1", "");

	(void)state;
	l.capacity_bytes_per_s = 0;
	assert_int_equal(rates_join(r, &l, at_ms(1000)), 0);
	assert_int_equal(offer(r, 1, 0, 0, 1100), 0);
	budget_put(r, BUDGET_CLIENT, "*", 5000, 0);
	assert_int_equal(offer(r, 1, 0, 0, 1200), 5000);
	assert_int_equal(offer(r, 1, 5000, 0, 1300), 0);
	budget_put(r, BUDGET_CLIENT, "*", 6000, 0);
	assert_int_equal(offer(r, 1, 5000, 0, 1400), 0); // it still has none
	assert_int_equal(offer(r, 1, 5000, 5000, 1500), 6000);
	rates_free(r);
}

// ---- two servers, letters that take their time, beats in any order

enum {
	FLOWS = 60,
	SITES = 20,
	BROKER = 20000000,
	SITE = 1500000
};

struct other {
	uint64_t lease; // 0: none
	uint32_t site;
	uint64_t letter;
	bool has_letter;
	uint64_t granted; // that its client goes at
	uint64_t row;     // what the store has of it
};

static uint64_t draw_state = 7;

static uint64_t draw(uint64_t below)
{
	draw_state ^= draw_state << 13;
	draw_state ^= draw_state >> 7;
	draw_state ^= draw_state << 17;
	return draw_state % below;
}

static uint64_t other_joins(
	struct rates *r, const struct other *o, const char *client, bool is_restored, int step)
{
	char place[16];
	struct rates_lease l;

	snprintf(place, sizeof(place), "c/p%u", o->site);
	l = lease_of(o->lease, client, place);
	l.told_for_ms = 1u << 30;
	l.capacity_bytes_per_s = UINT64_C(1) << 40;
	l.is_restored = is_restored;
	l.stored = o->row;
	return rates_join(r, &l, at_ms(step));
}

static void other_begins(struct rates *r, struct told_rates *t, struct other *o, const char *client,
	uint64_t lease, int step)
{
	o->site = (uint32_t)draw(SITES);
	o->lease = lease;
	o->has_letter = false;
	o->granted = o->row = other_joins(r, o, client, false, step);
	told_rates_set(t, client, lease, o->granted, true);
}

// A heartbeat: its letter goes to the leader, whose answer stays on its way; then it is answered.
static void other_beats(
	struct rates *r, struct told_rates *t, struct other *o, const char *client, int step)
{
	const struct told_rate *said = told_rates_find(t, client);
	struct rates_shown shown = {.told_for_ms = 1u << 30};
	uint64_t rate = o->row;

	if (said && said->lease == o->lease)
		shown = (struct rates_shown){.told_for_ms = 1u << 30,
			.is_known = true,
			.rate = said->rate,
			.told = said->told,
			.channel_cap = said->channel_cap};
	bool is_news = rates_offer(r, o->lease, &shown, at_ms(step), &rate);

	o->row = rate;
	if (is_news) { // a later one takes the place of the one on its way
		o->has_letter = true;
		o->letter = rate;
	}
	rate = told_rates_tell(t, client, draw(20) == 0 ? 1 : 0);
	o->granted = rate ? rate : o->granted;
}

// The leader died: another one has the rows, and the letters are still on their way.
static void leader_changes(struct rates *r, struct other *others, int step)
{
	rates_clear(r);
	for (size_t i = 0; i < FLOWS; i++) {
		char client[16];

		snprintf(client, sizeof(client), "f%u", (unsigned)i);
		if (others[i].lease)
			(void)other_joins(r, &others[i], client, true, step);
	}
}

static void S001_c28_what_is_told_over_two_servers_never_exceeds_a_guarded_budget(void **state)
{
	static struct other others[FLOWS];
	struct rates *r = rates_new(0);
	struct told_rates *t = told_rates_new();
	uint64_t leases = 0, most = 0;

	(void)state;
	budget_put(r, BUDGET_BROKER, "*", BROKER, 0);
	budget_put(r, BUDGET_SITE, "*", SITE, 0);
	for (int step = 0; step < 40000; step++) {
		uint64_t i = draw(FLOWS), sum = 0, of_site = 0;
		struct other *o = &others[i];
		char client[16];

		snprintf(client, sizeof(client), "f%u", (unsigned)i);
		if (draw(1000) == 0)
			leader_changes(r, others, step);
		if (!o->lease)
			other_begins(r, t, o, client, ++leases, step);
		else if (draw(30) == 0) {
			rates_leave(r, o->lease);
			told_rates_drop(t, client);
			*o = (struct other){0};
		} else if (o->has_letter && draw(2)) {
			told_rates_set(t, client, o->lease, o->letter, false);
			o->has_letter = false;
		} else
			other_beats(r, t, o, client, step);
		for (int k = 0; k < FLOWS; k++) {
			sum += others[k].granted;
			of_site += others[k].site == o->site ? others[k].granted : 0;
		}
		assert_true(sum <= BROKER + FLOWS);
		assert_true(of_site <= SITE + FLOWS);
		most = sum > most ? sum : most;
	}
	assert_true(most > BROKER * 6 / 10);
	told_rates_free(t);
	rates_free(r);
}

// ---- the book of a server that does not lead

static void the_lease_that_the_leader_spoke_of_last_counts(void **state)
{
	struct told_rates *t = told_rates_new();

	(void)state;
	assert_null(told_rates_find(t, "f1"));
	assert_int_equal(told_rates_tell(t, "f1", 0), 0);
	told_rates_set(t, "f1", 5, 1000, true);
	assert_int_equal(told_rates_find(t, "f1")->told, 1000);
	told_rates_set(t, "f1", 5, 700, false);
	assert_int_equal(told_rates_find(t, "f1")->told, 1000); // until it is answered
	assert_int_equal(told_rates_tell(t, "f1", 0), 700);
	assert_int_equal(told_rates_find(t, "f1")->told, 700);
	assert_int_equal(told_rates_tell(t, "f1", 300), 300); // its channel's
	assert_int_equal(told_rates_find(t, "f1")->channel_cap, 300);
	told_rates_set(t, "f1", 6, 800, true);
	assert_int_equal(told_rates_find(t, "f1")->lease, 6);
	told_rates_set(t, "f1", 5, 650, false); // the newer one has ended
	assert_int_equal(told_rates_find(t, "f1")->lease, 5);
	assert_int_equal(
		told_rates_find(t, "f1")->told, 800); // it goes at that until it is answered
	assert_int_equal(told_rates_tell(t, "f1", 0), 650);
	told_rates_drop(t, "f1");
	assert_null(told_rates_find(t, "f1"));
	told_rates_free(t);
}

static void progress_crosses_as_text_or_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "1 2 3", "1 2 3 1 4 5 6 7", "1 2 3 2 4 5 6", "a 2 3 1 4 5 6", "1 2 3 1 4 5 6 "};
	struct told_progress in = {UINT32_MAX, 7, 3, true, UINT64_MAX, 0, 42}, out;
	char text[TOLD_PROGRESS_TEXT];

	(void)state;
	told_progress_write(&in, text);
	assert_int_equal(told_progress_read(text, &out), ERR_OK);
	assert_int_equal(out.have, UINT32_MAX);
	assert_int_equal(out.total, 7);
	assert_int_equal(out.looked_mb, 3);
	assert_true(out.is_known);
	assert_true(out.rate == UINT64_MAX && out.told == 0 && out.channel_cap == 42);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(told_progress_read(bad[i], &out), ERR_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_lowered_counts_until_its_client_was_told),
		cmocka_unit_test(what_is_raised_counts_as_soon_as_it_is_offered),
		cmocka_unit_test(a_server_that_knows_nothing_is_told_again),
		cmocka_unit_test(a_new_leader_begins_from_what_clients_can_have_been_told_at_most),
		cmocka_unit_test(an_offer_to_who_had_no_limit_leaves_no_room_until_it_was_told),
		cmocka_unit_test(who_has_no_limit_is_told_so_and_comes_below_one),
		cmocka_unit_test(
			S001_c28_what_is_told_over_two_servers_never_exceeds_a_guarded_budget),
		cmocka_unit_test(the_lease_that_the_leader_spoke_of_last_counts),
		cmocka_unit_test(progress_crosses_as_text_or_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
