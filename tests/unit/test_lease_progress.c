// Whether a transfer stands, by what the heartbeats of its client show.
#include "server/lease_progress.h"
#include "tests/unit/helper.h"

#define PATIENCE_MS 120000
#define SILENCE_MS 16000

static void show(struct lease_progress *p, int64_t ms, uint32_t have, uint32_t looked_mb)
{
	const struct lease_shown s = {.have = have,
		.total = 900,
		.looked_mb = looked_mb,
		.object_bytes = 900 * UINT64_C(180000),
		.silence_ms = SILENCE_MS,
		.attended_ms = ms,
		.now = {ms}};
	lease_progress_note(p, &s);
}

static void a_transfer_stands_when_nothing_moves(void **state)
{
	struct lease_progress p = {0};
	(void)state;
	for (int64_t ms = 0; ms < PATIENCE_MS; ms += 5000) {
		show(&p, ms, 0, 0);
		assert_false(lease_progress_stands(&p, ms, PATIENCE_MS));
	}
	show(&p, PATIENCE_MS + 5000, 0, 0);
	assert_true(lease_progress_stands(&p, PATIENCE_MS + 5000, PATIENCE_MS));
}

static void a_client_that_reads_its_own_files_gets_on(void **state)
{
	struct lease_progress p = {0};
	int64_t ms = 0;
	(void)state;
	for (uint32_t mb = 1; ms < 10 * PATIENCE_MS; ms += 5000, mb += 20) {
		show(&p, ms, 0, mb);
		assert_false(lease_progress_stands(&p, ms, PATIENCE_MS));
	}
	// It is no transfer: nothing came, and nothing is measured.
	assert_int_equal(p.bytes_per_s, 0);
	// It looks no more: from now on it has its patience, and then it stands.
	show(&p, ms, 0, 0);
	assert_false(lease_progress_stands(&p, ms + PATIENCE_MS - 1, PATIENCE_MS));
	assert_true(lease_progress_stands(&p, ms + PATIENCE_MS, PATIENCE_MS));
}

static void a_look_that_hangs_stands_too(void **state)
{
	struct lease_progress p = {0};
	(void)state;
	for (int64_t ms = 0; ms <= 2 * PATIENCE_MS; ms += 5000)
		show(&p, ms, 0, 700);
	assert_true(lease_progress_stands(&p, 2 * PATIENCE_MS, PATIENCE_MS));
}

static void who_is_not_heard_does_not_stand(void **state)
{
	struct lease_progress p = {0};
	int64_t ms = 1000, beat_ms = 5000;
	(void)state;
	show(&p, ms, 30, 0);
	ms += 10 *
	      PATIENCE_MS; // its link was cut: the first beat after it shows what the last one did
	show(&p, ms, 30, 0);
	assert_false(lease_progress_stands(&p, ms, PATIENCE_MS));
	while (ms < 11 * PATIENCE_MS - SILENCE_MS) { // heard again, and nothing moves
		assert_false(lease_progress_stands(&p, ms, PATIENCE_MS));
		show(&p, ms += beat_ms, 30, 0);
	}
	show(&p, ms += beat_ms, 30, 0);
	assert_true(lease_progress_stands(&p, ms, PATIENCE_MS));
	// Nor does it help to be heard now and then: each silence counts in part.
	p = (struct lease_progress){0};
	for (ms = 0; ms <= 8 * PATIENCE_MS; ms += PATIENCE_MS)
		show(&p, ms, 30, 0);
	assert_true(lease_progress_stands(&p, ms - PATIENCE_MS, PATIENCE_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_transfer_stands_when_nothing_moves),
		cmocka_unit_test(a_client_that_reads_its_own_files_gets_on),
		cmocka_unit_test(a_look_that_hangs_stands_too),
		cmocka_unit_test(who_is_not_heard_does_not_stand),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
