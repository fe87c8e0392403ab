// The publisher's index of chunks under content whose digests somebody chose, by trying, so that
// they fall into one corner of it (attack C10). The control chooses with the number that the index
// has drawn.
#include "tests/unit/flood.h"

#include "proto/digest.h"
#include "server/publisher/known.h"

#define CORNER (1u << 11) // of 2^18 places

static struct digest digest_new(uint64_t *random)
{
	struct digest d;

	for (size_t i = 0; i < sizeof(d.b); i += 8) {
		*random = *random * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t word = *random ^ *random >> 29;
		memcpy(d.b + i, &word, 8);
	}
	return d;
}

// As if they had been tried until they fit: the low bits of the digest, or its place.
static struct digest *digests_make(bool chosen, uint64_t odd, size_t count)
{
	struct digest *all = calloc(count, sizeof(*all));
	uint64_t random = 7;

	assert_non_null(all);
	for (size_t n = 0; n < count;) {
		all[n] = digest_new(&random);
		uint32_t low = (uint32_t)(all[n].b[0] | all[n].b[1] << 8 | all[n].b[2] << 16);
		n += !chosen ||
		     (odd ? digest_place(&all[n], odd, 1 << 18) : low & 0x3ffff) < CORNER;
	}
	return all;
}

static void known_fill(const void *things, size_t count, const void *odd)
{
	const struct digest *chunks = things;
	struct known k;

	known_init(&k);
	for (size_t i = 0; i < count; i++) {
		const struct object o = {.sha256 = chunks[i],
			.size_bytes = 100,
			.coding = CODING_RAW,
			.chunk_count = 1};
		assert_int_equal(known_add(&k, &o, &chunks[i]), ERR_OK);
		if (i == 0 && odd) { // the control: what was drawn is known before
			assert_true(k.odd & 1);
			known_fini(&k);
			known_init(&k);
			assert_int_equal(known_add(&k, &o, &chunks[i]), ERR_OK);
			memset(k.slots, 0, k.slot_count * sizeof(*k.slots));
			memcpy(&k.odd, odd, sizeof(k.odd));
			k.slots[digest_place(&chunks[0], k.odd, k.slot_count)] = 1;
		}
	}
	for (size_t i = 0; i < count; i++)
		assert_true(known_has(&k, &chunks[i]));
	known_fini(&k);
}

static void C10_chosen_digests_cost_a_publisher_no_more_than_others(void **state)
{
	const uint64_t odd = 0x9e3779b97f4a7c15;
	struct digest *chosen = digests_make(true, 0, FLOOD);
	struct digest *ordinary = digests_make(false, 0, FLOOD);
	struct digest *control = digests_make(true, odd, FLOOD_CONTROL);

	(void)state;
	flood_judge(&(struct flood){"chunks", known_fill, .ordinary = ordinary, .chosen = chosen,
		.control = control, .control_secret = &odd});
	free(chosen);
	free(ordinary);
	free(control);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C10_chosen_digests_cost_a_publisher_no_more_than_others),
	};

	return cmocka_run_group_tests_name("publisher_known", tests, NULL, NULL);
}
