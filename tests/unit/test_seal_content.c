// Sealed content: what opens, what does not, and that the same becomes the same.
#include "tests/unit/helper.h"

#include "proto/seal_content.h"
#include <string.h>

static const struct key32 one = {{1, 2, 3}}, other = {{1, 2, 4}};

static void S001_c29_what_is_sealed_opens_with_its_key_alone(void **state)
{
	SCOPED_BUF struct buf sealed, again, plain;
	const char text[] = "a bridge at dawn";

	(void)state;
	buf_init(&sealed, 1024);
	buf_init(&again, 1024);
	buf_init(&plain, 1024);
	struct bytes in = bytes_of(text, sizeof(text));
	assert_int_equal(content_seal(&one, in, &sealed), ERR_OK);
	assert_int_equal(sealed.size, sizeof(text) + SEAL_BYTES);
	assert_null(memmem(sealed.data, sealed.size, "bridge", 6));
	assert_int_equal(content_open(&one, buf_bytes(&sealed), &plain), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&plain), in));
	// Equal content of one key is equal, of another key or other content it is not.
	assert_int_equal(content_seal(&one, in, &again), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&sealed), buf_bytes(&again)));
	assert_int_equal(content_seal(&other, in, &again), ERR_OK);
	assert_memory_not_equal(sealed.data, again.data, 32);
	assert_int_equal(content_open(&other, buf_bytes(&sealed), &plain), ERR_AUTH);
	for (size_t i = 0; i < sealed.size; i++) {
		sealed.data[i] ^= 1;
		assert_int_equal(content_open(&one, buf_bytes(&sealed), &plain), ERR_AUTH);
		sealed.data[i] ^= 1;
	}
	for (size_t size = 0; size < sealed.size; size++)
		assert_int_not_equal(
			content_open(&one, bytes_of(sealed.data, size), &plain), ERR_OK);
}

static void S001_c29_a_key_is_given_to_its_receiver_alone(void **state)
{
	const struct key_purpose to = {"response", "f1", 7};
	const struct key_purpose wrong[] = {{"response", "f2", 7}, {"response", "f1", 8},
		{"directive", "f1", 7}, {"respons", "ef1", 7}};
	struct key32 enc = {{9}}, got, secret, share, secret2, share2;
	struct sealed_key sealed, again;

	(void)state;
	assert_int_equal(key_seal(&enc, &one, &to, &sealed), ERR_OK);
	assert_int_equal(key_open(&enc, &sealed, &to, &got), ERR_OK);
	assert_memory_equal(&got, &one, sizeof(one));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(key_open(&enc, &sealed, &wrong[i], &got), ERR_AUTH);
	assert_int_equal(key_open(&other, &sealed, &to, &got), ERR_AUTH);
	assert_int_equal(key_seal(&enc, &one, &to, &again), ERR_OK);
	assert_memory_not_equal(&sealed.nonce, &again.nonce, sizeof(sealed.nonce));

	x25519_generate(&secret, &share);
	x25519_generate(&secret2, &share2);
	assert_int_equal(key_box(&share, &one, &to, &sealed), ERR_OK);
	assert_int_equal(key_unbox(&secret, &sealed, &to, &got), ERR_OK);
	assert_memory_equal(&got, &one, sizeof(one));
	assert_int_equal(key_unbox(&secret2, &sealed, &to, &got), ERR_AUTH);
	assert_int_equal(key_unbox(&secret, &sealed, &wrong[1], &got), ERR_AUTH);
	// The same medium is the same bytes.
	assert_int_equal(key_box(&share, &one, &to, &again), ERR_OK);
	assert_memory_equal(&sealed, &again, sizeof(sealed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S001_c29_what_is_sealed_opens_with_its_key_alone),
		cmocka_unit_test(S001_c29_a_key_is_given_to_its_receiver_alone),
	};

	return cmocka_run_group_tests_name("seal_content", tests, NULL, NULL);
}
