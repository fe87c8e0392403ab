// The root of trust from its two files, and the order of a broker's addresses.
#include "tests/unit/helper.h"

#include "proto/envelope.h"
#include "proto/link_addresses.h"
#include "proto/trust.h"

struct files {
	struct sign_key *root_key, *online, *stranger;
	struct key32 online_public;
	char *dir, root_file[128], key_file[128];
};

static struct sign_key *key_new(void)
{
	struct key32 secret;
	struct sign_key *k = NULL;

	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &k), ERR_OK);
	return k;
}

// root.bin, signed by `by`, and root.pub of `named`.
static void files_write(struct files *f, struct sign_key *by, const struct sign_key *named)
{
	const struct key32 *root_public = sign_key_public(f->root_key);
	struct root root = {.version = 3,
		.fleet = "test",
		.root_keys = (struct key32 *)root_public,
		.root_key_count = 1,
		.root_threshold = 1,
		.online_keys = &f->online_public,
		.online_key_count = 1,
		.expires_unix_ms = 5000};
	SCOPED_BUF struct buf payload;
	SCOPED_BUF struct buf envelope;
	char hex[66];

	buf_init(&payload, LIMIT_ENVELOPE);
	buf_init(&envelope, LIMIT_ENVELOPE);
	if (root_encode(&root, &payload) != ERR_OK)
		fail_msg("%s", err_text());
	assert_int_equal(
		envelope_make(PURPOSE_ROOT, buf_bytes(&payload), &by, 1, &envelope), ERR_OK);
	assert_int_equal(
		file_write_atomic(f->root_file, envelope.data, envelope.size, 0644), ERR_OK);
	hex_encode(sign_key_public(named)->b, 32, hex);
	hex[64] = '\n';
	assert_int_equal(file_write_atomic(f->key_file, hex, 65, 0644), ERR_OK);
}

static int setup(void **state)
{
	struct files *f = calloc(1, sizeof(*f));
	void *dir = NULL;

	assert_int_equal(temp_dir_make(&dir), 0);
	f->dir = dir;
	f->root_key = key_new();
	f->online = key_new();
	f->stranger = key_new();
	f->online_public = *sign_key_public(f->online);
	assert_int_equal(path_join(f->root_file, sizeof(f->root_file), f->dir, "root.bin"), ERR_OK);
	assert_int_equal(path_join(f->key_file, sizeof(f->key_file), f->dir, "root.pub"), ERR_OK);
	files_write(f, f->root_key, f->root_key);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct files *f = *state;
	void *dir = f->dir;

	sign_key_free(f->root_key);
	sign_key_free(f->online);
	sign_key_free(f->stranger);
	free(f);
	return temp_dir_drop(&dir);
}

static void a_root_is_read_with_its_key_named_or_beside_it(void **state)
{
	struct files *f = *state;
	struct trust t;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(trust_open(&t, f->root_file, i == 0 ? f->key_file : NULL), ERR_OK);
		assert_int_equal(t.root.version, 3);
		assert_string_equal(t.root.fleet, "test");
		assert_memory_equal(&t.root.online_keys[0], &f->online_public, 32);
		trust_close(&t);
		trust_close(&t); // twice is nothing
	}
}

static void a_root_of_another_key_is_refused(void **state)
{
	struct files *f = *state;
	struct trust t;

	files_write(f, f->stranger, f->root_key);
	assert_int_equal(trust_open(&t, f->root_file, NULL), ERR_AUTH);
	files_write(f, f->root_key, f->stranger);
	assert_int_equal(trust_open(&t, f->root_file, NULL), ERR_AUTH);
	files_write(f, f->stranger, f->stranger);
	assert_int_equal(trust_open(&t, f->root_file, NULL), ERR_OK);
	trust_close(&t);
}

static void files_that_are_missing_or_damaged_are_refused(void **state)
{
	struct files *f = *state;
	SCOPED_BUF struct buf whole;
	struct trust t;

	buf_init(&whole, LIMIT_ENVELOPE);
	assert_int_equal(file_read(f->root_file, &whole), ERR_OK);
	for (size_t i = 0; i < whole.size; i += 3) {
		whole.data[i] ^= 1;
		assert_int_equal(
			file_write_atomic(f->root_file, whole.data, whole.size, 0644), ERR_OK);
		assert_int_not_equal(trust_open(&t, f->root_file, NULL), ERR_OK);
		whole.data[i] ^= 1;
	}
	assert_int_equal(unlink(f->key_file), 0);
	assert_int_equal(trust_open(&t, f->root_file, NULL), ERR_NOT_FOUND);
}

static void the_online_key_must_be_listed_and_the_root_not_expired(void **state)
{
	struct files *f = *state;
	struct trust t;

	assert_int_equal(trust_open(&t, f->root_file, NULL), ERR_OK);
	assert_int_equal(trust_check_online(&t, &f->online_public, (struct wall){5000}), ERR_OK);
	assert_int_equal(trust_check_online(&t, &f->online_public, (struct wall){5001}), ERR_STALE);
	assert_int_equal(
		trust_check_online(&t, sign_key_public(f->stranger), (struct wall){0}), ERR_AUTH);
	trust_close(&t);
}

static void a_name_is_tried_before_an_address(void **state)
{
	struct link_address a[2];

	(void)state;
	assert_int_equal(link_addresses("broker.example", "10.0.0.1", 8883, a), 2);
	assert_string_equal(a[0].host, "broker.example");
	assert_int_equal(a[0].via, LINK_VIA_NAME);
	assert_string_equal(a[1].host, "10.0.0.1");
	assert_int_equal(a[1].via, LINK_VIA_IP);
	assert_int_equal(a[0].port, 8883);
	assert_int_equal(a[1].port, 8883);
	assert_int_equal(link_addresses("", "10.0.0.1", 1, a), 1);
	assert_int_equal(a[0].via, LINK_VIA_IP);
	assert_int_equal(link_addresses("b", "", 1, a), 1);
	assert_int_equal(a[0].via, LINK_VIA_NAME);
	assert_int_equal(link_addresses("", "", 1, a), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_root_is_read_with_its_key_named_or_beside_it),
		T(a_root_of_another_key_is_refused),
		T(files_that_are_missing_or_damaged_are_refused),
		T(the_online_key_must_be_listed_and_the_root_not_expired),
		cmocka_unit_test(a_name_is_tried_before_an_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
