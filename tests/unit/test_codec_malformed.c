// Malformed payloads to every decoder: each comes back, and what it takes it can write again,
// within its budget of memory, to bytes that protobuf-c reads the same.
#include "tests/unit/malformed.h"

#include "tests/fuzz/fuzz_codec.h"

static void X_1_no_decoder_stumbles_over_malformed_payloads(void **state)
{
	struct chance chance = {0x9e3779b97f4a7c15};
	size_t count = malformed_count();
	struct buf b, other, bodies[2];

	(void)state;
	assert_int_equal(samples_prepare(bodies), ERR_OK);
	buf_init(&b, MALFORMED_ROOM * 2);
	buf_init(&other, MALFORMED_ROOM);
	for (size_t i = 0; i < count; i++) {
		const struct sample *s = &samples[i % SAMPLE_COUNT];

		assert_int_equal(codec_encode(s->table, s->message, &b), ERR_OK);
		s = &samples[chance_below(&chance, SAMPLE_COUNT)];
		assert_int_equal(codec_encode(s->table, s->message, &other), ERR_OK);
		malform(&chance, &b, buf_bytes(&other));
		// exactly this long, so that a sanitizer sees one byte too many
		uint8_t *exact = malloc(b.size ? b.size : 1);
		assert_non_null(exact);
		memcpy(exact, b.data, b.size);
		fuzz_table(samples[i % SAMPLE_COUNT].table, bytes_of(exact, b.size));
		free(exact);
	}
	printf("payloads %zu\n", count);
	buf_fini(&b);
	buf_fini(&other);
	buf_fini(&bodies[0]);
	buf_fini(&bodies[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(X_1_no_decoder_stumbles_over_malformed_payloads),
	};

	return cmocka_run_group_tests_name("codec_malformed", tests, NULL, NULL);
}
