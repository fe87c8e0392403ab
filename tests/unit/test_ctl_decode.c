// decode: lines of mosquitto_sub become text and JSON; bad lines become errors, never more.
#include "tests/unit/helper.h"

#include "proto/envelope.h"
#include "proto/session.h"
#include "proto/topics.h"
#include "server/ctl/decode.h"

static char *line_of(const char *topic, struct bytes payload)
{
	char *line = malloc(strlen(topic) + 2 * payload.size + 2);
	int n = (int)strlen(topic);

	memcpy(line, topic, (size_t)n);
	line[n] = ' ';
	hex_encode(payload.data, payload.size, line + n + 1);
	return line;
}

static cJSON *decoded(struct decoder *d, const char *topic, struct bytes payload)
{
	SCOPED_FREE char *line = line_of(topic, payload);
	cJSON *j = NULL;
	enum err e = decode_line(d, line, strlen(line), &j);

	if (e != ERR_OK)
		fail_msg("%s: %s", topic, err_text());
	return j;
}

static char *printed(const cJSON *j, size_t rows)
{
	static char text[64 * 1024];
	FILE *f = fmemopen(text, sizeof(text), "w");
	struct term t = {.file = f};

	decode_print(&t, j, rows);
	fclose(f);
	return text;
}

static struct sign_key *key_make(void)
{
	struct key32 secret;
	struct sign_key *key;

	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &key), ERR_OK);
	return key;
}

static void heartbeat_fill(struct buf *out, const char *topic)
{
	static struct status status = {.state = "idle",
		.agent_version = "0.1.0",
		.free_bytes = 1000,
		.interval_ms = 5000,
		.clock_quality = 3,
		.showing_image = "a b"};
	static struct operation op = {
		.op_id = 7678901234567890123ull, .status = OP_RUNNING, .percent = 40};
	static struct holding items[2] = {{.complete = true, .chunks_have = 4, .chunks_total = 4},
		{.lease = 9, .chunks_have = 1, .chunks_total = 4}};
	static struct holdings holdings = {.full = true, .items = items, .item_count = 2};
	static const uint8_t ip[4] = {10, 0, 0, 7};
	struct heartbeat m = {.client_id = "f1",
		.ip_address = {ip, 4},
		.session_id = 3,
		.seq = 12,
		.sent_unix_ms = 1,
		.ack = ACK_RESPONSE,
		.last_response_id = 5,
		.status = &status,
		.op = &op,
		.holdings = &holdings};
	struct key32 mac = {{1}};

	items[0].package.b[0] = 1;
	items[1].package.b[0] = 2;
	m.boot.b[3] = 1;
	assert_int_equal(heartbeat_encode(&m, out), ERR_OK);
	assert_int_equal(seal_mac(out, topic, &mac), ERR_OK);
}

static void a_heartbeat_is_readable(void **state)
{
	struct topic topic = topic_hb("f1");
	SCOPED_BUF struct buf payload;
	struct decoder d;

	(void)state;
	decoder_init(&d);
	buf_init(&payload, LIMIT_HEARTBEAT);
	heartbeat_fill(&payload, topic.s);
	SCOPED_JSON cJSON *j = decoded(&d, topic.s, buf_bytes(&payload));
	const cJSON *body = cJSON_GetObjectItem(j, "body");
	assert_string_equal(json_text(j, "topic"), topic.s);
	assert_string_equal(json_text(j, "kind"), "hb");
	assert_string_equal(json_text(j, "message"), "Heartbeat");
	assert_string_equal(json_text(j, "id"), "f1");
	assert_string_equal(json_text(j, "auth"), "hmac");
	assert_string_equal(json_text(body, "ack"), "response");
	assert_string_equal(json_text(body, "ip_address"), "10.0.0.7");
	assert_string_equal(json_text(cJSON_GetObjectItem(body, "op"), "status"), "running");
	char *text = printed(j, 6);
	assert_non_null(strstr(text, "hb         f1 ("));
	assert_non_null(strstr(text, "op={op_id=7678901234567890123 status=running percent=40}"));
	assert_non_null(strstr(text, "showing_image=\"a b\""));
	assert_non_null(strstr(text, "\n    items package=0100"));
	text = printed(j, 1);
	assert_non_null(strstr(text, "1 more"));
	decoder_fini(&d);
}

static void envelopes_are_unfolded_and_checked_on_demand(void **state)
{
	SCOPED_BUF struct buf payload, envelope;
	struct sign_key *key = key_make(), *other = key_make();
	struct page_ref page = {.size_bytes = 100, .chunk_count = 2, .file_count = 2};
	struct show_defaults show = {.duration_ms = 4000, .fit = "fit", .background_rgb = 0x102030};
	struct manifest m = {.kind = PACKAGE_IMAGES,
		.name = "art",
		.version = "1",
		.file_count = 2,
		.size_bytes = 200,
		.chunk_count = 2,
		.pages = &page,
		.page_count = 1,
		.show = &show};
	struct key32 keys[1] = {*sign_key_public(key)}, wrong[1] = {*sign_key_public(other)};
	struct root root = {.image_keys = keys,
		.image_key_count = 1,
		.software_keys = wrong,
		.software_key_count = 1,
		.software_threshold = 1};
	struct decoder d;

	(void)state;
	page.sha256.b[0] = 7;
	decoder_init(&d);
	buf_init(&payload, LIMIT_MANIFEST_ROOT);
	buf_init(&envelope, LIMIT_ENVELOPE);
	assert_int_equal(manifest_encode(&m, &payload), ERR_OK);
	assert_int_equal(
		envelope_make(PURPOSE_MANIFEST, buf_bytes(&payload), &key, 1, &envelope), ERR_OK);
	struct digest id = sha256(payload.data, payload.size);
	struct topic topic = topic_pkg("pub", &id);
	SCOPED_JSON cJSON *j = decoded(&d, topic.s, buf_bytes(&envelope));
	assert_string_equal(json_text(cJSON_GetObjectItem(j, "body"), "name"), "art");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(j, "signed_by")), 1);
	assert_string_equal(json_text(j, "signature"), "");
	assert_non_null(strstr(printed(j, 6), "background=#102030"));
	d.root = &root;
	SCOPED_JSON cJSON *good = decoded(&d, topic.s, buf_bytes(&envelope));
	assert_string_equal(json_text(good, "signature"), "holds");
	root.image_keys = wrong;
	SCOPED_JSON cJSON *bad = decoded(&d, topic.s, buf_bytes(&envelope));
	assert_string_equal(json_text(bad, "signature"), "DOES NOT HOLD");
	// A manifest's envelope on an index topic is not an index.
	struct topic idx = topic_idx("pub", &id, NULL);
	SCOPED_FREE char *line = line_of(idx.s, buf_bytes(&envelope));
	cJSON *none = NULL;
	assert_int_equal(decode_line(&d, line, strlen(line), &none), ERR_FORMAT);
	decoder_fini(&d);
	sign_key_free(key);
	sign_key_free(other);
}

static void an_offer_is_checked_against_the_root(void **state)
{
	SCOPED_BUF struct buf payload;
	struct sign_key *key = key_make(), *other = key_make();
	struct key32 keys[1] = {*sign_key_public(key)};
	struct root root = {.online_keys = keys, .online_key_count = 1};
	struct host_state m = {.server = "server.1",
		.counter = 4,
		.server_unix_ms = 1,
		.period_ms = 1000,
		.up = true};
	struct topic topic = topic_of(TOPIC_HOST, "server.1");
	struct decoder d;

	(void)state;
	m.boot.b[0] = 1;
	decoder_init(&d);
	d.root = &root;
	buf_init(&payload, 512);
	for (int good = 0; good < 2; good++) {
		assert_int_equal(host_state_encode(&m, &payload), ERR_OK);
		assert_int_equal(seal_signature(&payload, topic.s, good ? key : other), ERR_OK);
		SCOPED_JSON cJSON *j = decoded(&d, topic.s, buf_bytes(&payload));
		assert_string_equal(json_text(j, "signature"), good ? "holds" : "DOES NOT HOLD");
	}
	decoder_fini(&d);
	sign_key_free(key);
	sign_key_free(other);
}

static void plain_bytes_and_withdrawals_are_told(void **state)
{
	struct decoder d;
	struct digest id = sha256("object", 6);
	struct topic chunk = topic_chunk("pub", &id), mark = topic_of(TOPIC_MARK, "pub");

	(void)state;
	decoder_init(&d);
	SCOPED_JSON cJSON *j = decoded(&d, chunk.s, bytes_of("object", 6));
	assert_string_equal(json_text(cJSON_GetObjectItem(j, "body"), "sha256"), digest_hex(&id));
	SCOPED_JSON cJSON *gone = decoded(&d, chunk.s, bytes_of("", 0));
	assert_string_equal(json_text(gone, "event"), "withdrawn");
	assert_non_null(strstr(printed(gone, 6), "withdrawn"));
	SCOPED_JSON cJSON *m = decoded(&d, mark.s, bytes_of("0123456789abcdef", 16));
	assert_string_equal(json_text(cJSON_GetObjectItem(m, "body"), "data"),
		"30313233343536373839616263646566");
	decoder_fini(&d);
}

static void bad_lines_are_refused(void **state)
{
	static const char *const bad[] = {"", " ", "helio/v1/hb", "helio/v1/hb/xx/f1 00",
		"helio/v1/rsp/f1 0", "helio/v1/rsp/f1 zz", "helio/v1/rsp/f1 00 00",
		"helio/v1/rsp/f1 ff", "helio/v1/rsp/f1", "other/topic 00", "$SYS/broker/uptime 31",
		"helio/v1/rsp/a/b 00", "helio/v1/rsp/\x1b[31m 00", "helio/v1/rsp/f1\t00"};
	struct decoder d;
	cJSON *j = NULL;

	(void)state;
	decoder_init(&d);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_not_equal(decode_line(&d, bad[i], strlen(bad[i]), &j), ERR_OK);
		assert_null(j);
	}
	assert_int_not_equal(decode_line(&d, "helio/v1/rsp/f1\0 00", 19, &j), ERR_OK);
	decoder_fini(&d);
}

static void topics_fill(struct topic topics[TOPIC_KIND_COUNT])
{
	static const char digest[] =
		"abababababababababababababababababababababababababababababababab";

	for (int k = 0; k < TOPIC_KIND_COUNT; k++) {
		size_t at = 0;
		char shard[3];

		shard_of("f1", shard);
		for (const char *p = topic_row((enum topic_kind)k)->pattern; *p; p++) {
			const char *level = p[0] != '%'   ? NULL
					    : p[1] == 's' ? shard
					    : p[1] == 'h' ? digest
							  : "f1";

			p += level != NULL;
			at += (size_t)snprintf(topics[k].s + at, sizeof(topics[k].s) - at, "%.*s",
				level ? 64 : 1, level ? level : p);
		}
		struct topic_parts parts;
		assert_int_equal(topic_parse(topics[k].s, at, &parts), ERR_OK);
		assert_int_equal(parts.kind, k);
	}
}

// What heliod says to itself is named, and only that: another's nonsense stays an error.
static void the_probe_of_a_broker_is_named(void **state)
{
	struct topic own = topic_of(TOPIC_GRANT, "server.1"),
		     inbox = topic_of(TOPIC_INBOX, "server.1");
	SCOPED_FREE char *nonsense = line_of(own.s, bytes_of("w", 1));
	struct decoder d;
	cJSON *none = NULL;

	(void)state;
	decoder_init(&d);
	SCOPED_JSON cJSON *awake = decoded(&d, own.s, bytes_of("helio-probe awake", 17));
	assert_string_equal(json_text(awake, "kind"), "probe");
	assert_string_equal(json_text(awake, "event"), "heliod keeps its line awake");
	assert_non_null(strstr(printed(awake, 3), "probe      server.1 (17 B, heliod keeps"));
	SCOPED_JSON cJSON *trip =
		decoded(&d, inbox.s, bytes_of("helio-probe 8000000000000001", 28));
	assert_string_equal(json_text(trip, "event"), "heliod tries this broker");
	SCOPED_JSON cJSON *cleared = decoded(&d, own.s, bytes_of(NULL, 0));
	assert_string_equal(json_text(cleared, "kind"), "probe");
	assert_int_not_equal(decode_line(&d, nonsense, strlen(nonsense), &none), ERR_OK);
	decoder_fini(&d);
}

// Good messages with random bytes changed, on every topic: an error or an object, nothing else.
static void damaged_messages_do_no_harm(void **state)
{
	struct topic topic = topic_hb("f1");
	SCOPED_BUF struct buf payload, line;
	struct decoder d;
	unsigned seed = 1;
	static struct topic topics[TOPIC_KIND_COUNT];

	(void)state;
	decoder_init(&d);
	buf_init(&payload, LIMIT_HEARTBEAT);
	buf_init(&line, 1000);
	heartbeat_fill(&payload, topic.s);
	topics_fill(topics);
	for (int round = 0; round < 20000; round++) {
		uint8_t copy[2048];
		size_t size = payload.size;
		cJSON *j = NULL;

		memcpy(copy, payload.data, size);
		for (int k = 0; k < 3; k++) {
			seed = seed * 1103515245 + 12345;
			copy[(seed >> 8) % size] = (uint8_t)(seed >> 20);
		}
		if (round % 5 == 0)
			size = (seed >> 4) % size;
		const char *on = round % 2 ? topic.s : topics[round / 2 % TOPIC_KIND_COUNT].s;
		if (decode_message(&d, on, bytes_of(copy, size), &j) == ERR_OK)
			printed(j, 3);
		cJSON_Delete(j);
	}
	decoder_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_heartbeat_is_readable),
		cmocka_unit_test(envelopes_are_unfolded_and_checked_on_demand),
		cmocka_unit_test(an_offer_is_checked_against_the_root),
		cmocka_unit_test(plain_bytes_and_withdrawals_are_told),
		cmocka_unit_test(bad_lines_are_refused),
		cmocka_unit_test(the_probe_of_a_broker_is_named),
		cmocka_unit_test(damaged_messages_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
