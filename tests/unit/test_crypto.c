// Digest, signature, session seal, envelope and topics, against published vectors where there are any.
#include "tests/unit/helper.h"

#include "proto/digest.h"
#include "proto/envelope.h"
#include "proto/session.h"
#include "proto/topics.h"
#include <openssl/hmac.h>
#include <sys/stat.h>

static struct bytes text(const char *s)
{
	return bytes_of(s, strlen(s));
}

static struct key32 key_of(const char *hex)
{
	struct key32 k;

	assert_int_equal(hex_decode(hex, k.b, sizeof(k.b)), ERR_OK);
	return k;
}

static void sha256_and_hmac_match_published_vectors(void **state)
{
	(void)state;
	struct digest d = sha256("abc", 3);
	assert_string_equal(digest_hex(&d), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	struct sha256_stream *s = sha256_new();
	for (int round = 0; round < 2; round++) {
		sha256_add(s, "a", 1);
		sha256_add(s, "bc", 2);
		struct digest again = sha256_end(s);
		assert_true(digest_equal(&again, &d));
	}
	sha256_free(s);
	// RFC 4231 case 1: a key of 20 bytes 0x0b, padded with zeros to 32 by HMAC's own rule.
	struct key32 key = { { 0 } };
	memset(key.b, 0x0b, 20);
	struct sha256_part parts[] = { { "Hi ", 3 }, { "There", 5 } };
	d = hmac_sha256(&key, parts, 2);
	assert_string_equal(digest_hex(&d), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

static void hmac_is_that_of_the_library_at_every_length(void **state)
{
	(void)state;
	static uint8_t message[2300];
	uint8_t expected[32];
	unsigned size = 0;

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i * 31 + i / 256);
	for (size_t n = 0; n <= sizeof(message); n++) {
		struct key32 key = { { (uint8_t)n, 1, (uint8_t)(n >> 8) } };
		size_t cut = n * 7 % (n + 1);
		struct sha256_part parts[] = { { message, cut }, { NULL, 0 }, { message + cut, n - cut } };
		struct digest d = hmac_sha256(&key, parts, 3);

		assert_non_null(HMAC(EVP_sha256(), key.b, sizeof(key.b), message, n, expected, &size));
		assert_int_equal(size, sizeof(expected));
		assert_memory_equal(d.b, expected, sizeof(expected));
	}
}

static void hkdf_follows_rfc_5869(void **state)
{
	(void)state;
	// Made with: openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:0b x 22 -kdfopt hexsalt:000102..1f
	// -kdfopt info:"helio/v1 mac-up" HKDF
	uint8_t ikm[22], salt[32];

	memset(ikm, 0x0b, sizeof(ikm));
	for (size_t i = 0; i < sizeof(salt); i++)
		salt[i] = (uint8_t)i;
	struct key32 k = hkdf_sha256(bytes_of(ikm, 22), bytes_of(salt, 32), "helio/v1 mac-up");
	char hex[65];
	hex_encode(k.b, 32, hex);
	assert_string_equal(hex, "ab9886243862e0412888556addf426d43fa184fe26991abd4f74bc2ec018f25e");
}

static void ed25519_matches_rfc_8032(void **state)
{
	(void)state;
	struct key32 secret = key_of("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
	struct sign_key *key;
	struct signature s;
	uint8_t expected[64];

	assert_int_equal(sign_key_load(&secret, &key), ERR_OK);
	struct key32 pub = key_of("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
	assert_memory_equal(sign_key_public(key)->b, pub.b, 32);
	struct sha256_part part = { "\x72", 1 };
	sign_parts(key, &part, 1, &s);
	assert_int_equal(hex_decode("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
	                            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		                 expected, 64),
		ERR_OK);
	assert_memory_equal(s.b, expected, 64);
	assert_int_equal(verify_parts(&pub, &part, 1, bytes_of(s.b, 64)), ERR_OK);
	for (size_t bit = 0; bit < 512; bit++) {
		s.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(verify_parts(&pub, &part, 1, bytes_of(s.b, 64)), ERR_AUTH);
		s.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(verify_parts(&pub, &part, 1, bytes_of(s.b, 63)), ERR_AUTH);
	sign_key_free(key);
}

static void x25519_matches_rfc_7748_and_refuses_small_order(void **state)
{
	(void)state;
	struct key32 a = key_of("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"), zero = { { 0 } }, shared;
	struct key32 b_share = key_of("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
	struct key32 expected = key_of("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");

	assert_int_equal(x25519_shared(&a, &b_share, &shared), ERR_OK);
	assert_memory_equal(shared.b, expected.b, 32);
	assert_int_equal(x25519_shared(&a, &zero, &shared), ERR_AUTH);
}

static void keys_go_through_pem_and_refuse_open_files(void **state)
{
	char path[300];
	struct key32 secret;
	struct sign_key *key, *again;

	snprintf(path, sizeof(path), "%s/k.pem", (const char *)*state);
	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &key), ERR_OK);
	assert_int_equal(sign_key_write(path, &secret), ERR_OK);
	assert_int_equal(sign_key_read(path, &again), ERR_OK);
	assert_memory_equal(sign_key_public(key)->b, sign_key_public(again)->b, 32);
	sign_key_free(again);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(sign_key_read(path, &again), ERR_DENIED);
	assert_int_equal(file_write_atomic(path, "rubbish", 7, 0600), ERR_OK);
	assert_int_equal(sign_key_read(path, &again), ERR_FORMAT);
	sign_key_free(key);
}

static void the_key_downward_is_one_hmac_of_the_key_upward(void **state)
{
	(void)state;
	// Made with: printf 'helio/v1 mac-down' | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102..1f
	struct key32 up;
	char hex[65];

	for (size_t i = 0; i < sizeof(up.b); i++)
		up.b[i] = (uint8_t)i;
	struct key32 down = session_mac_down(&up);
	hex_encode(down.b, sizeof(down.b), hex);
	assert_string_equal(hex, "f56a616a851bb290bb9e0e100f6e2596c1a388abffccf82c5563a073c240846d");
}

static void both_ends_of_a_session_have_the_same_keys(void **state)
{
	(void)state;
	struct key32 a, a_share, b, b_share;
	struct session_keys one, two, other;

	x25519_generate(&a, &a_share);
	x25519_generate(&b, &b_share);
	assert_int_equal(session_derive(&a, &b_share, text("sign-in"), text("offer"), &one), ERR_OK);
	assert_int_equal(session_derive(&b, &a_share, text("sign-in"), text("offer"), &two), ERR_OK);
	assert_memory_equal(&one, &two, sizeof(one));
	assert_memory_not_equal(one.mac_up.b, one.mac_down.b, 32);
	assert_memory_not_equal(one.mac_up.b, one.enc.b, 32);
	assert_int_equal(session_derive(&b, &a_share, text("sign-in"), text("offer2"), &other), ERR_OK);
	assert_memory_not_equal(one.mac_up.b, other.mac_up.b, 32);
}

static void a_seal_binds_bytes_topic_and_key(void **state)
{
	(void)state;
	SCOPED_BUF struct buf b;
	struct key32 key = { { 1 } }, other = { { 2 } };

	buf_init(&b, 1000);
	assert_int_equal(buf_append(&b, "payload", 7), ERR_OK);
	assert_int_equal(seal_mac(&b, "helio/v1/hb/x", &key), ERR_OK);
	assert_int_equal(b.size, 7 + 3 + 32);
	assert_int_equal(b.data[7], 0xfa);
	assert_int_equal(b.data[8], 0x7f);
	assert_int_equal(seal_check_mac(buf_bytes(&b), "helio/v1/hb/x", &key), ERR_OK);
	assert_int_equal(seal_check_mac(buf_bytes(&b), "helio/v1/hb/y", &key), ERR_AUTH);
	assert_int_equal(seal_check_mac(buf_bytes(&b), "helio/v1/hb/x", &other), ERR_AUTH);
	assert_int_equal(seal_check_signature(buf_bytes(&b), "helio/v1/hb/x", &key), ERR_AUTH);
	for (size_t bit = 0; bit < b.size * 8; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(seal_check_mac(buf_bytes(&b), "helio/v1/hb/x", &key), ERR_OK);
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(seal_check_mac(bytes_of(b.data, b.size - 1), "helio/v1/hb/x", &key), ERR_FORMAT);
	assert_int_equal(seal_check_mac(bytes_of(b.data, 0), "helio/v1/hb/x", &key), ERR_FORMAT);
}

struct signers {
	struct sign_key *keys[3];
	struct key32 publics[3];
};

static void signers_make(struct signers *s)
{
	for (size_t i = 0; i < 3; i++) {
		struct key32 secret;

		sign_key_generate(&secret);
		assert_int_equal(sign_key_load(&secret, &s->keys[i]), ERR_OK);
		s->publics[i] = *sign_key_public(s->keys[i]);
	}
}

static void signers_free(struct signers *s)
{
	for (size_t i = 0; i < 3; i++)
		sign_key_free(s->keys[i]);
}

static void an_envelope_is_bound_to_purpose_keys_and_threshold(void **state)
{
	(void)state;
	struct signers s;
	SCOPED_BUF struct buf e;
	struct bytes payload;

	buf_init(&e, 100000);
	signers_make(&s);
	assert_int_equal(envelope_make(PURPOSE_MANIFEST, text("what it is"), s.keys, 2, &e), ERR_OK);
	assert_int_equal(envelope_open(PURPOSE_MANIFEST, buf_bytes(&e), s.publics, 3, 2, &payload), ERR_OK);
	assert_true(bytes_equal(payload, text("what it is")));
	assert_true(payload.data > e.data && payload.data < e.data + e.size);
	assert_int_equal(envelope_open(PURPOSE_MANIFEST, buf_bytes(&e), s.publics, 3, 3, &payload), ERR_AUTH);
	assert_int_equal(envelope_open(PURPOSE_INDEX, buf_bytes(&e), s.publics, 3, 1, &payload), ERR_AUTH);
	assert_int_equal(envelope_open(PURPOSE_MANIFEST, buf_bytes(&e), s.publics + 2, 1, 1, &payload), ERR_AUTH);
	assert_int_equal(envelope_open(PURPOSE_MANIFEST, buf_bytes(&e), s.publics, 3, 0, &payload), ERR_RANGE);
	assert_int_equal(envelope_open(PURPOSE_MANIFEST, buf_bytes(&e), s.publics, 3, 4, &payload), ERR_RANGE);
	signers_free(&s);
}

static void one_key_counts_once_however_often_it_is_named_or_signs(void **state)
{
	(void)state;
	struct signers s;
	SCOPED_BUF struct buf e;
	struct bytes payload;

	buf_init(&e, 100000);
	signers_make(&s);
	struct sign_key *thrice[] = { s.keys[0], s.keys[0], s.keys[0] };
	struct key32 same[] = { s.publics[0], s.publics[0] };
	assert_int_equal(envelope_make(PURPOSE_ROOT, text("x"), thrice, 3, &e), ERR_OK);
	assert_int_equal(envelope_open(PURPOSE_ROOT, buf_bytes(&e), s.publics, 3, 2, &payload), ERR_AUTH);
	assert_int_equal(envelope_open(PURPOSE_ROOT, buf_bytes(&e), same, 2, 2, &payload), ERR_AUTH);
	assert_int_equal(envelope_open(PURPOSE_ROOT, buf_bytes(&e), same, 2, 1, &payload), ERR_OK);
	signers_free(&s);
}

static void every_flipped_bit_of_an_envelope_is_refused_or_harmless(void **state)
{
	(void)state;
	struct signers s;
	SCOPED_BUF struct buf e;
	struct bytes payload;

	buf_init(&e, 100000);
	signers_make(&s);
	assert_int_equal(envelope_make(PURPOSE_COMMAND, text("run it"), s.keys, 1, &e), ERR_OK);
	for (size_t bit = 0; bit < e.size * 8; bit++) {
		e.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		enum err r = envelope_open(PURPOSE_COMMAND, buf_bytes(&e), s.publics, 1, 1, &payload);
		assert_int_not_equal(r, ERR_OK);
		e.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	signers_free(&s);
}

static void topics_go_both_ways(void **state)
{
	(void)state;
	struct topic_parts parts;
	struct digest d = sha256("x", 1), base = sha256("y", 1);
	struct topic t = topic_hb("f1");

	assert_int_equal(topic_parse(t.s, strlen(t.s), &parts), ERR_OK);
	assert_int_equal(parts.kind, TOPIC_HB);
	assert_string_equal(parts.id, "f1");
	t = topic_idx("p1", &d, NULL);
	assert_int_equal(topic_parse(t.s, strlen(t.s), &parts), ERR_OK);
	assert_string_equal(parts.level, "full");
	assert_true(digest_equal(&parts.digest, &d));
	t = topic_idx("p1", &d, &base);
	assert_int_equal(topic_parse(t.s, strlen(t.s), &parts), ERR_OK);
	assert_string_equal(parts.level, digest_hex(&base));
	t = topic_apir("alice.1", "x7");
	assert_int_equal(topic_parse(t.s, strlen(t.s), &parts), ERR_OK);
	assert_string_equal(parts.id, "alice.1");
	assert_string_equal(parts.level, "x7");
	t = topic_filter(TOPIC_HB);
	assert_string_equal(t.s, "helio/v1/hb/+/+");
	t = topic_filter(TOPIC_VIEW_STATE);
	assert_string_equal(t.s, "helio/v1/view/state/+");
}

static void a_topic_outside_the_table_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "helio", "helio/v1/hb", "helio/v1/hb/", "helio/v1/hb/zz/f1", "helio/v1/rsp/", "helio/v1/rsp/a b",
		"helio/v1/rsp/a/b", "helio/v1/rsp/#", "helio/v1/rsp/+", "helio/v2/rsp/f1", "helio/v1/rsp/f1/",
		"helio/v1/chunk/p1/00", "$SYS/broker/uptime", "helio/v1/rsp/\xc3\xa9",
		"helio/v1/rsp/0123456789012345678901234567890123456789012345678901234567890123x",
	};
	struct topic_parts parts;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(topic_parse(bad[i], strlen(bad[i]), &parts), ERR_FORMAT);
	assert_int_equal(topic_parse("helio/v1/rsp/f\0001", 15, &parts), ERR_FORMAT);
	struct topic t = topic_hb("f1");
	t.s[12] = t.s[12] == '0' ? '1' : '0';
	assert_int_equal(topic_parse(t.s, strlen(t.s), &parts), ERR_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_and_hmac_match_published_vectors),
		cmocka_unit_test(hmac_is_that_of_the_library_at_every_length),
		cmocka_unit_test(hkdf_follows_rfc_5869),
		cmocka_unit_test(ed25519_matches_rfc_8032),
		cmocka_unit_test(x25519_matches_rfc_7748_and_refuses_small_order),
		cmocka_unit_test_setup_teardown(keys_go_through_pem_and_refuse_open_files, temp_dir_make, temp_dir_drop),
		cmocka_unit_test(the_key_downward_is_one_hmac_of_the_key_upward),
		cmocka_unit_test(both_ends_of_a_session_have_the_same_keys),
		cmocka_unit_test(a_seal_binds_bytes_topic_and_key),
		cmocka_unit_test(an_envelope_is_bound_to_purpose_keys_and_threshold),
		cmocka_unit_test(one_key_counts_once_however_often_it_is_named_or_signs),
		cmocka_unit_test(every_flipped_bit_of_an_envelope_is_refused_or_harmless),
		cmocka_unit_test(topics_go_both_ways),
		cmocka_unit_test(a_topic_outside_the_table_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
