// The response from pieces is the codec's, byte for byte, whatever stands in it and in whatever
// order messages come; what the codec refuses is refused.
#include "tests/unit/helper.h"

#include "proto/codec.h"
#include "proto/no_action.h"
#include <stdlib.h>

static struct no_action pieces;
static struct buf body, expected, made;
static uint64_t seed;

static int setup(void **state)
{
	(void)state;
	no_action_init(&pieces);
	buf_init(&body, LIMIT_RESPONSE);
	buf_init(&expected, LIMIT_RESPONSE);
	buf_init(&made, LIMIT_RESPONSE);
	seed = 88172645463325252ull;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	no_action_fini(&pieces);
	buf_fini(&body);
	buf_fini(&expected);
	buf_fini(&made);
	return 0;
}

static uint64_t draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

// Zero, small, of any length in bits, and now and then one that no row allows.
static uint64_t number(void)
{
	uint64_t n = draw();

	if (n % 5 == 0)
		return 0;
	return draw() >> (draw() % 64);
}

static bool one_in(unsigned n)
{
	return draw() % n == 0;
}

struct answer_case {
	struct response r;
	uint64_t response_id;
	enum client_state state;
	struct reason reason;
	const char *channel;
};

static enum err codec_says(const struct answer_case *c)
{
	struct reason reason = c->reason;
	struct response r = c->r;

	buf_clear(&expected);
	TRY(response_body_encode(&(struct response_body){.response_id = c->response_id,
					 .kind = KIND_NO_ACTION,
					 .state = c->state,
					 .reason = &reason,
					 .channel = c->channel},
		&body));
	r.body_bytes = buf_bytes(&body);
	return response_encode(&r, &expected);
}

static void assert_same(const struct answer_case *c)
{
	enum err wanted = codec_says(c);
	enum err e = no_action_encode(
		&pieces, &c->r, c->response_id, c->state, &c->reason, c->channel, &made);

	assert_int_equal(e, wanted);
	assert_int_equal(made.size, expected.size);
	if (e == ERR_OK)
		assert_memory_equal(made.data, expected.data, expected.size);
}

static char long_text[LIMIT_TEXT + 2];

static void draw_text(struct answer_case *c)
{
	static const char *const texts[] = {"nothing waits", "", "an operation is open",
		"caf\xc3\xa9", "\xff is no text", long_text, long_text + 1, long_text + 400};
	static const char *const channels[] = {"default", "", "lobby.east", "a", "b", "no/level",
		"c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"};

	c->reason = (struct reason){(enum reason_code)(draw() % 40), texts[draw() % 8]};
	c->channel = channels[draw() % 15];
	c->state = (enum client_state)(draw() % (CS_CLONE_SUSPECT + 2));
}

// A row of the codec's own table drawn: a field that is new in the message is in here by itself.
static void draw_row(struct response *r, const struct codec_row *row)
{
	uint8_t *at = (uint8_t *)r + row->at;
	uint64_t n = number();
	uint32_t small = (uint32_t)n;

	if (row->max < UINT64_MAX && !one_in(50))
		n = row->min + n % (row->max - row->min + 1);
	small = (uint32_t)n;
	switch ((int)row->kind) {
	case CODEC_BOOL:
		*at = n & 1;
		return;
	case CODEC_U32:
		memcpy(at, &small, sizeof(small));
		return;
	case CODEC_U64:
	case CODEC_I64:
		memcpy(at, &n, sizeof(n));
		return;
	case CODEC_FIXED:
		memset(at, one_in(4) ? 0 : (int)(n & 0xff), row->size);
		return;
	default:
		return;
	}
}

static const char *draw_id(void)
{
	static const char *const ids[] = {"a", "dev000001", "no good", "",
		"0123456789012345678901234567890123456789012345678901234567890123"};

	return one_in(100) ? ids[draw() % 5] : ids[draw() % 2];
}

static void every_drawn_answer_is_that_of_the_codec(void **state)
{
	const struct response plain = {
		.client_id = "a", .session_id = 1, .heartbeat_interval_ms = 30000};
	struct answer_case c = {.r = plain};
	size_t good = 0;

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	for (int i = 0; i < 200000; i++) {
		// Mostly a few fields change from one message to the next.
		for (size_t k = 0; k < codec_response.row_count; k++)
			if (one_in(i % 100 == 0 ? 1 : 30))
				draw_row(&c.r, &codec_response.rows[k]);
		c.r.client_id = draw_id();
		c.r.in_reply_to_seq = number() >> 1;
		c.response_id = one_in(100) ? 0 : number();
		if (i == 0 || one_in(3))
			draw_text(&c);
		assert_same(&c);
		good += made.size > 0;
		if (made.size == 0) { // what is wrong would stay so
			c.r = plain;
			draw_text(&c);
		}
	}
	assert_true(good > 50000);
}

static void every_single_field_counts(void **state)
{
	struct answer_case c = {
		.r = {.client_id = "dev1", .session_id = 7, .heartbeat_interval_ms = 30000},
		.response_id = 5,
		.state = CS_IDLE,
		.reason = {REASON_CAUGHT_UP, "nothing waits"},
		.channel = "default",
	};

	(void)state;
	for (size_t k = 0; k < codec_response.row_count; k++) {
		struct response before = c.r;
		for (int i = 0; i < 20; i++) {
			draw_row(&c.r, &codec_response.rows[k]);
			assert_same(&c);
		}
		c.r = before;
		assert_same(&c);
		assert_true(made.size > 0);
	}
}

static void the_usual_answer_comes_from_pieces(void **state)
{
	struct answer_case c = {
		.response_id = 5,
		.state = CS_IDLE,
		.reason = {REASON_CAUGHT_UP, "nothing waits"},
		.channel = "default",
	};

	(void)state;
	memset(&c.r, 0, sizeof(c.r));
	c.r.session_id = 7;
	c.r.heartbeat_interval_ms = 30000;
	c.r.client_id = "dev1";
	assert_same(&c);
	// The codec is not asked again: its buffers stay as they are.
	buf_clear(&pieces.body);
	buf_clear(&pieces.whole);
	c.r.client_id = "another";
	c.r.session_id = UINT32_MAX;
	c.r.in_reply_to_seq = c.response_id = 300;
	c.r.server_unix_ms = 1763700000123;
	assert_same(&c);
	assert_int_equal(pieces.body.size + pieces.whole.size, 0);
	c.r.hold = true;
	assert_same(&c);
	assert_true(pieces.whole.size > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			every_drawn_answer_is_that_of_the_codec, setup, teardown),
		cmocka_unit_test_setup_teardown(every_single_field_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_usual_answer_comes_from_pieces, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
