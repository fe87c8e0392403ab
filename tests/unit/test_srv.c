// SRV records: what is read of an answer, and the order of the targets.
#include "tests/unit/helper.h"

#include "proto/srv.h"

static size_t name_put(uint8_t *out, const char *name)
{
	size_t at = 0;

	while (*name) {
		size_t n = strcspn(name, ".");
		out[at++] = (uint8_t)n;
		memcpy(out + at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	out[at++] = 0;
	return at;
}

// An answer with one question and so many records of the type.
static size_t answer_make(uint8_t *out, uint16_t type, const struct srv_target *t, size_t count)
{
	size_t at = 12;

	memcpy(out, (const uint8_t[]){0x12, 0x34, 0x81, 0x80, 0, 1, 0, (uint8_t)count, 0, 0, 0, 0},
		12);
	at += name_put(out + at, "_heliograph._tcp.example");
	memcpy(out + at, (const uint8_t[]){0, 33, 0, 1}, 4);
	at += 4;
	for (size_t i = 0; i < count; i++) {
		const uint8_t head[] = {
			0xc0, 12, (uint8_t)(type >> 8), (uint8_t)type, 0, 1, 0, 0, 0, 60};
		memcpy(out + at, head, sizeof(head));
		at += sizeof(head);
		uint8_t *size = out + at;
		at += 2;
		const uint16_t numbers[] = {t[i].priority, t[i].weight, t[i].port};
		for (size_t k = 0; k < 3; k++) {
			out[at++] = (uint8_t)(numbers[k] >> 8);
			out[at++] = (uint8_t)numbers[k];
		}
		at += name_put(out + at, t[i].host);
		size_t length = (size_t)(out + at - size) - 2;
		size[0] = (uint8_t)(length >> 8);
		size[1] = (uint8_t)length;
	}
	return at;
}

static const struct srv_target three[] = {
	{"b.example", 8884, 20, 0}, {"a.example", 8883, 10, 5}, {"c.example", 1, 10, 0}};

static void S001_c31_records_are_read_in_the_order_of_their_priority(void **state)
{
	uint8_t bytes[4096];
	struct srv_list l;
	size_t size = answer_make(bytes, 33, three, 3);

	(void)state;
	assert_int_equal(srv_parse(bytes_of(bytes, size), &l), ERR_OK);
	assert_int_equal(l.count, 3);
	assert_string_equal(l.targets[0].host, "a.example");
	assert_int_equal(l.targets[0].port, 8883);
	assert_int_equal(l.targets[0].weight, 5);
	assert_string_equal(l.targets[1].host, "c.example");
	assert_string_equal(l.targets[2].host, "b.example");
	assert_int_equal(l.targets[2].priority, 20);
}

static void S001_c31_an_answer_without_a_target_is_none(void **state)
{
	static const struct srv_target nowhere[] = {{".", 8883, 0, 0}},
				       no_port[] = {{"a", 0, 0, 0}};
	uint8_t bytes[4096];
	struct srv_list l;

	(void)state;
	assert_int_equal(
		srv_parse(bytes_of(bytes, answer_make(bytes, 33, three, 0)), &l), ERR_NOT_FOUND);
	assert_int_equal(
		srv_parse(bytes_of(bytes, answer_make(bytes, 16, three, 3)), &l), ERR_NOT_FOUND);
	assert_int_equal(
		srv_parse(bytes_of(bytes, answer_make(bytes, 33, nowhere, 1)), &l), ERR_NOT_FOUND);
	assert_int_equal(
		srv_parse(bytes_of(bytes, answer_make(bytes, 33, no_port, 1)), &l), ERR_NOT_FOUND);
}

static void S001_c31_what_is_cut_or_damaged_is_refused_or_read_and_never_overrun(void **state)
{
	uint8_t bytes[4096];
	size_t size = answer_make(bytes, 33, three, 3);
	uint64_t random = 7;
	struct srv_list l;

	(void)state;
	for (size_t cut = 0; cut < size; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);
		memcpy(exact, bytes, cut);
		assert_int_not_equal(srv_parse(bytes_of(exact, cut), &l), ERR_OK);
		free(exact);
	}
	for (int round = 0; round < 20000; round++) {
		uint8_t *damaged = malloc(size);
		memcpy(damaged, bytes, size);
		for (int k = 0; k < 3; k++) {
			random = random * 6364136223846793005ull + 1442695040888963407ull;
			damaged[(random >> 33) % size] ^= (uint8_t)(1u << (random >> 61));
		}
		if (srv_parse(bytes_of(damaged, size), &l) == ERR_OK)
			for (size_t i = 0; i < l.count; i++)
				assert_true(strlen(l.targets[i].host) < sizeof(l.targets[i].host) &&
					    l.targets[i].port != 0);
		free(damaged);
	}
}

static void S001_c31_more_targets_than_there_is_room_for_leave_out_the_least_wanted(void **state)
{
	struct srv_target many[20] = {0};
	uint8_t bytes[4096];
	struct srv_list l;

	(void)state;
	for (uint16_t i = 0; i < 20; i++) {
		many[i] = (struct srv_target){.port = 1, .priority = (uint16_t)(20 - i)};
		(void)snprintf(many[i].host, sizeof(many[i].host), "h%u.example", 20u - i);
	}
	assert_int_equal(srv_parse(bytes_of(bytes, answer_make(bytes, 33, many, 20)), &l), ERR_OK);
	assert_int_equal(l.count, SRV_TARGETS_MAX);
	for (uint16_t i = 0; i < SRV_TARGETS_MAX; i++)
		assert_int_equal(l.targets[i].priority, i + 1);
}

static uint64_t next_random(void *ctx)
{
	uint64_t *r = ctx;

	*r = *r * 6364136223846793005ull + 1442695040888963407ull;
	return *r >> 33;
}

static void S001_c31_weights_divide_the_load_and_priorities_come_first(void **state)
{
	uint64_t random = 1;
	size_t first[4] = {0};

	(void)state;
	for (int i = 0; i < 10000; i++) {
		struct srv_list l = {.count = 4,
			.targets = {{"0", 1, 1, 30}, {"1", 1, 1, 10}, {"2", 1, 1, 0},
				{"3", 1, 2, 1000}}};
		srv_order(&l, next_random, &random);
		first[l.targets[0].host[0] - '0']++;
		assert_string_equal(l.targets[3].host, "3");
		assert_int_equal(l.targets[0].host[0] + l.targets[1].host[0] + l.targets[2].host[0],
			'0' + '1' + '2');
	}
	assert_true(first[0] > 7200 && first[0] < 7800);
	assert_true(first[1] > 2200 && first[1] < 2800);
	assert_int_equal(first[2], 0);
	assert_int_equal(first[3], 0);
	// Without weights each is the first as often.
	size_t even[2] = {0};
	for (int i = 0; i < 2000; i++) {
		struct srv_list l = {.count = 2, .targets = {{"0", 1, 1, 0}, {"1", 1, 1, 0}}};
		srv_order(&l, next_random, &random);
		even[l.targets[0].host[0] - '0']++;
	}
	assert_true(even[0] > 850 && even[1] > 850);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S001_c31_records_are_read_in_the_order_of_their_priority),
		cmocka_unit_test(S001_c31_an_answer_without_a_target_is_none),
		cmocka_unit_test(
			S001_c31_what_is_cut_or_damaged_is_refused_or_read_and_never_overrun),
		cmocka_unit_test(
			S001_c31_more_targets_than_there_is_room_for_leave_out_the_least_wanted),
		cmocka_unit_test(S001_c31_weights_divide_the_load_and_priorities_come_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
