// The choice of the response as a table of cases, and its reasons.
#include "helper.h"
#include "server/next_event.h"

static const struct accordance fine = {.outcome = ACCORD, .why = ""};

static struct next_input input(void)
{
	return (struct next_input){
		.state = CS_IDLE,
		.accordance = &fine,
		.private_shows = QUEUE_NONE,
		.channel_shows = QUEUE_TAIL,
		.private_limit = 2,
		.holdings_known = true,
	};
}

static void decides(const struct next_input *in, enum next_act act, enum reason_code code)
{
	struct next_event n = next_event_decide(in);

	assert_int_equal(n.act, act);
	assert_int_equal(n.code, code);
	assert_non_null(n.why);
}

static void S000_3_nothing_waits(void **state)
{
	(void)state;
	struct next_input in = input();

	decides(&in, NEXT_NOTHING, REASON_CAUGHT_UP);
	in.channel_shows = QUEUE_NONE;
	decides(&in, NEXT_NOTHING, REASON_CAUGHT_UP);
}

static void S004_6_who_is_not_available_gets_nothing(void **state)
{
	(void)state;
	struct next_input in = input();

	in.channel_shows = in.private_shows = QUEUE_ELEMENT;
	in.retry = true;
	in.busy = true;
	decides(&in, NEXT_NOTHING, REASON_BUSY);
	in.busy = false;
	in.open = true;
	decides(&in, NEXT_NOTHING, REASON_OPERATION_OPEN);
	in.degraded = true;
	decides(&in, NEXT_NOTHING, REASON_DEGRADED);
	in.state = CS_CLONE_SUSPECT;
	decides(&in, NEXT_NOTHING, REASON_CLONE_SUSPECT);
}

static void the_correction_goes_first_even_to_the_busy(void **state)
{
	(void)state;
	static const struct {
		enum accordance_outcome outcome;
		enum next_act act;
	} rows[] = {{ACCORD_RESEND, NEXT_RESEND}, {ACCORD_CANCEL, NEXT_CANCEL},
		{ACCORD_RESYNC, NEXT_RESYNC}, {ACCORD_RESTORED, NEXT_RESYNC}};

	for (size_t i = 0; i < 4; i++) {
		const struct accordance a = {
			.outcome = rows[i].outcome, .code = REASON_RESYNC, .why = "x"};
		struct next_input in = input();
		in.accordance = &a;
		in.busy = in.open = true;
		in.channel_shows = QUEUE_ELEMENT;
		decides(&in, rows[i].act, REASON_RESYNC);
	}
}

static void a_resync_in_its_back_off_waits(void **state)
{
	(void)state;
	const struct accordance a = {.outcome = ACCORD_RESYNC, .code = REASON_RESYNC, .why = "x"};
	struct next_input in = input();

	in.accordance = &a;
	in.correction_waits = true;
	decides(&in, NEXT_NOTHING, REASON_RESYNC);
}

static void cancel_passes_the_open_operation_also_of_a_busy_client(void **state)
{
	(void)state;
	struct next_input in = input();

	in.cancel_asked = true;
	decides(&in, NEXT_NOTHING, REASON_CAUGHT_UP);
	in.open = in.busy = true;
	decides(&in, NEXT_CANCEL_OPEN, REASON_EVENT);
}

static void S004_6_what_overtakes_is_given_though_an_operation_is_open(void **state)
{
	(void)state;
	struct next_input in = input();

	in.open = in.overtakes = true;
	in.channel_shows = QUEUE_ELEMENT;
	in.channel_type = ELEMENT_DISPLAY;
	decides(&in, NEXT_CHANNEL, REASON_EVENT);
	in.cancel_asked = true;
	decides(&in, NEXT_CANCEL_OPEN, REASON_EVENT);
	in.cancel_asked = false;
	in.busy = true;
	decides(&in, NEXT_NOTHING, REASON_BUSY);
	in.busy = in.overtakes = false;
	decides(&in, NEXT_NOTHING, REASON_OPERATION_OPEN);
}

static void a_retry_goes_before_the_queues(void **state)
{
	(void)state;
	struct next_input in = input();

	in.retry = true;
	in.private_shows = in.channel_shows = QUEUE_ELEMENT;
	decides(&in, NEXT_RETRY, REASON_RETRY);
}

static void the_private_queue_goes_first_but_not_for_ever(void **state)
{
	(void)state;
	struct next_input in = input();

	in.private_shows = in.channel_shows = QUEUE_ELEMENT;
	in.channel_type = ELEMENT_DISPLAY;
	decides(&in, NEXT_PRIVATE, REASON_EVENT);
	in.private_in_a_row = 2;
	decides(&in, NEXT_CHANNEL, REASON_EVENT);
	in.channel_shows = QUEUE_TAIL;
	decides(&in, NEXT_PRIVATE, REASON_EVENT);
}

static void S004_3_a_held_channel_gives_control_events_only(void **state)
{
	(void)state;
	struct next_input in = input();

	in.held = true;
	in.channel_shows = QUEUE_ELEMENT;
	in.channel_type = ELEMENT_DISPLAY;
	decides(&in, NEXT_NOTHING, REASON_HOLD);
	in.channel_type = ELEMENT_CONTROL;
	decides(&in, NEXT_CHANNEL, REASON_EVENT);
	in.channel_shows = QUEUE_DETACHED;
	decides(&in, NEXT_NOTHING, REASON_HOLD);
}

static void S004_18_the_detached_tell_their_holdings_then_get_one_snapshot(void **state)
{
	(void)state;
	struct next_input in = input();

	in.channel_shows = QUEUE_DETACHED;
	in.holdings_known = false;
	decides(&in, NEXT_ASK_HOLDINGS, REASON_SNAPSHOT);
	in.holdings_known = true;
	decides(&in, NEXT_SNAPSHOT, REASON_SNAPSHOT);
	in.resting = true;
	decides(&in, NEXT_NOTHING, REASON_ATTEMPTS_EXHAUSTED);
}

static void who_is_given_what_many_are_given_may_wait_for_its_turn(void **state)
{
	(void)state;
	struct next_input in = input();

	in.turn_waits = true;
	in.channel_shows = QUEUE_ELEMENT;
	decides(&in, NEXT_NOTHING, REASON_TURN);
	in.channel_type = ELEMENT_CONTROL; // an order of the channel itself
	decides(&in, NEXT_CHANNEL, REASON_EVENT);
	in.channel_shows = QUEUE_DETACHED;
	decides(&in, NEXT_NOTHING, REASON_TURN);
	in.private_shows = QUEUE_ELEMENT; // of this client alone
	decides(&in, NEXT_PRIVATE, REASON_EVENT);
	in.private_shows = QUEUE_NONE;
	in.retry = true;
	decides(&in, NEXT_NOTHING, REASON_TURN);
	in.retry = false;
	in.held = true; // the reason that lasts longer is told
	in.channel_type = ELEMENT_DISPLAY;
	decides(&in, NEXT_NOTHING, REASON_HOLD);
	in.channel_shows = QUEUE_TAIL;
	in.held = false;
	decides(&in, NEXT_NOTHING, REASON_CAUGHT_UP);
}

static void of_several_channels_the_first_that_has_something_to_give_is_served(void **state)
{
	(void)state;
	static const struct channel_offer tail = {.shows = QUEUE_TAIL},
					  display = {QUEUE_ELEMENT, ELEMENT_DISPLAY, false},
					  held = {QUEUE_ELEMENT, ELEMENT_DISPLAY, true},
					  told = {QUEUE_ELEMENT, ELEMENT_CONTROL, true},
					  away = {.shows = QUEUE_DETACHED},
					  away_held = {.shows = QUEUE_DETACHED, .held = true};
	const struct {
		struct channel_offer offers[3];
		bool resting;
		size_t chosen;
	} cases[] = {
		{{tail, tail, tail}, false, 0},
		{{tail, display, display}, false, 1},
		{{held, tail, display}, false, 2},
		{{tail, held, tail}, false, 1}, // for its reason
		{{held, told, display}, false, 1},
		{{tail, away, display}, false, 1},
		{{tail, away, display}, true, 2}, // its snapshot waits for its time
		{{away_held, away, tail}, false, 1},
		{{away_held, tail, tail}, true, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			next_channel_choose(cases[i].offers, 3, cases[i].resting), cases[i].chosen);
	assert_int_equal(next_channel_choose(NULL, 0, false), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S000_3_nothing_waits),
		cmocka_unit_test(S004_6_who_is_not_available_gets_nothing),
		cmocka_unit_test(the_correction_goes_first_even_to_the_busy),
		cmocka_unit_test(a_resync_in_its_back_off_waits),
		cmocka_unit_test(cancel_passes_the_open_operation_also_of_a_busy_client),
		cmocka_unit_test(S004_6_what_overtakes_is_given_though_an_operation_is_open),
		cmocka_unit_test(a_retry_goes_before_the_queues),
		cmocka_unit_test(the_private_queue_goes_first_but_not_for_ever),
		cmocka_unit_test(S004_3_a_held_channel_gives_control_events_only),
		cmocka_unit_test(S004_18_the_detached_tell_their_holdings_then_get_one_snapshot),
		cmocka_unit_test(who_is_given_what_many_are_given_may_wait_for_its_turn),
		cmocka_unit_test(
			of_several_channels_the_first_that_has_something_to_give_is_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
