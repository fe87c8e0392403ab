// The broker probe against a broker played by the test: a good one, and one for each thing that can
// be wrong.
#include "tests/unit/helper.h"

#include "proto/base/log.h"
#include "server/probe.h"

struct broker {
	struct probe *probe;
	struct findings *findings;
	struct now now;
	int done, usable;
	// what is wrong with it
	bool nagle, no_acl, no_retain, deaf, qos0, small;
	// what it was told
	bool subscribed;
	int subscribed_qos;
	uint64_t suback;
	uint8_t held[16];
	size_t held_size;
	struct {
		char topic[LIMIT_TOPIC];
		uint8_t *data;
		size_t size;
		bool retained;
		uint64_t token;
	} queue[8];
	size_t queued;
	bool send_held;
};

static enum err fake_publish(
	void *ctx, const char *topic, struct bytes payload, bool retained, uint64_t token)
{
	struct broker *b = ctx;

	assert_true(b->queued < 8);
	str_copy(b->queue[b->queued].topic, LIMIT_TOPIC, topic);
	b->queue[b->queued].data = malloc(payload.size ? payload.size : 1);
	if (payload.size)
		memcpy(b->queue[b->queued].data, payload.data, payload.size);
	b->queue[b->queued].size = payload.size;
	b->queue[b->queued].retained = retained;
	b->queue[b->queued++].token = token;
	return ERR_OK;
}

static enum err fake_subscribe(void *ctx, const char *filter, int qos, uint64_t token)
{
	struct broker *b = ctx;

	assert_string_equal(filter, probe_topic(b->probe));
	b->subscribed = true;
	b->subscribed_qos = qos;
	b->suback = token;
	b->send_held = b->held_size > 0;
	return ERR_OK;
}

static void fake_unsubscribe(void *ctx, const char *filter)
{
	(void)filter;
	((struct broker *)ctx)->subscribed = false;
}

static void fake_done(void *ctx, bool usable)
{
	struct broker *b = ctx;

	b->done++;
	b->usable = usable;
}

static void pass(struct broker *b, int64_t ms)
{
	b->now.mono.ms += ms;
	b->now.wall.ms += ms;
}

// The broker works off what it was told; false when there was nothing.
static bool serve(struct broker *b)
{
	if (b->suback) { // the retained message first, then the SUBACK
		uint64_t token = b->suback;

		b->suback = 0;
		pass(b, 1);
		if (b->send_held && b->subscribed && !b->deaf)
			probe_message(b->probe, probe_topic(b->probe),
				bytes_of(b->held, b->held_size), 0, true, b->now);
		pass(b, b->nagle ? 44 : 0);
		probe_subscribed(b->probe, token, b->subscribed_qos, b->now);
		return true;
	}
	if (b->queued == 0)
		return false;
	typeof(b->queue[0]) m = b->queue[0];
	bool own = strcmp(m.topic, probe_topic(b->probe)) == 0;

	memmove(b->queue, b->queue + 1, --b->queued * sizeof(b->queue[0]));
	if (b->small && m.size > 1000) {
		free(m.data);
		probe_link_down(b->probe, "packet too large");
		return true;
	}
	if (m.retained && !b->no_retain) {
		b->held_size = m.size;
		memcpy(b->held, m.data, m.size);
	}
	pass(b, 1);
	if (own && b->subscribed && !b->deaf && m.size)
		probe_message(b->probe, m.topic, bytes_of(m.data, m.size), b->qos0 ? 0 : 1, false,
			b->now);
	probe_published(b->probe, m.token, own || b->no_acl ? 0 : PROBE_REASON_DENIED, b->now);
	free(m.data);
	return true;
}

static void run(struct broker *b, bool secured, enum topic_broker kind)
{
	const struct probe_config config = {"da", "server.1", kind, secured, 5000};
	const struct probe_ports ports = {
		b, fake_publish, fake_subscribe, fake_unsubscribe, fake_done};

	b->findings = calloc(1, sizeof(*b->findings));
	b->probe = probe_new(&config, &ports, b->findings);
	probe_begin(b->probe, b->now);
	for (int i = 0; i < 200 && probe_is_running(b->probe); i++)
		if (!serve(b)) {
			pass(b, 1000);
			probe_tick(b->probe, b->now);
		}
	assert_false(probe_is_running(b->probe));
}

static void end(struct broker *b)
{
	while (b->queued)
		free(b->queue[--b->queued].data);
	probe_free(b->probe);
	free(b->findings);
}

static enum finding_level level_of(const struct broker *b, const char *id)
{
	for (size_t i = 0; i < b->findings->count; i++)
		if (strcmp(b->findings->items[i].id, id) == 0)
			return b->findings->items[i].level;
	return 0;
}

static void a_good_broker_is_usable(void **state)
{
	static const char *const ids[] = {
		"PROBE-NODELAY", "PROBE-ACL", "PROBE-RETAIN", "PROBE-PACKET", "PROBE-PERSISTENCE"};

	(void)state;
	for (int kind = TOPIC_CONTROL; kind <= TOPIC_DATA; kind++) {
		struct broker b = {0};

		run(&b, true, (enum topic_broker)kind);
		assert_int_equal(b.done, 1);
		assert_true(b.usable);
		for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
			assert_int_equal(level_of(&b, ids[i]), FINDING_OK);
		assert_int_equal(b.held_size, 0); // nothing is left behind
		end(&b);
	}
}

struct bad_case {
	struct broker b;
	const char *id;
	enum finding_level level;
	bool usable;
};

static void each_fault_has_its_finding(void **state)
{
	struct bad_case cases[] = {
		{{.nagle = true}, "PROBE-NODELAY", FINDING_WARN, true},
		{{.no_acl = true}, "PROBE-ACL", FINDING_ERROR, false},
		{{.no_retain = true}, "PROBE-RETAIN", FINDING_ERROR, false},
		{{.deaf = true}, "PROBE-RETAIN", FINDING_ERROR, false},
		{{.qos0 = true}, "PROBE-QOS", FINDING_ERROR, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run(&cases[i].b, true, TOPIC_DATA);
		if (level_of(&cases[i].b, cases[i].id) != cases[i].level ||
			cases[i].b.usable != cases[i].usable)
			fail_msg("%s: level %d usable %d", cases[i].id,
				(int)level_of(&cases[i].b, cases[i].id), cases[i].b.usable);
		for (size_t f = 0; f < cases[i].b.findings->count; f++)
			if (cases[i].b.findings->items[f].level != FINDING_OK)
				assert_true(
					cases[i].b.findings->items[f].mend[0]); // says which line
		end(&cases[i].b);
	}
}

static void a_broker_that_breaks_at_the_largest_message_is_asked_for_it_once(void **state)
{
	struct broker b = {.small = true};

	(void)state;
	run(&b, true, TOPIC_DATA);
	assert_int_equal(level_of(&b, "PROBE-PACKET"), FINDING_ERROR);
	assert_int_equal(b.done, 0); // the connection broke
	probe_begin(b.probe, b.now);
	while (serve(&b))
		;
	assert_int_equal(b.done, 1);
	assert_false(b.usable);
	end(&b);
}

static void without_certificates_rights_are_not_expected(void **state)
{
	struct broker b = {.no_acl = true};

	(void)state;
	run(&b, false, TOPIC_CONTROL);
	assert_true(b.usable);
	assert_int_equal(level_of(&b, "PROBE-ACL"), 0);
	end(&b);
}

static void the_version_is_judged(void **state)
{
	static const struct {
		const char *version;
		enum finding_level level;
	} rows[] = {
		{"mosquitto version 2.0.11", FINDING_OK},
		{"mosquitto version 2.1.0", FINDING_OK},
		{"mosquitto version 2.0.10", FINDING_WARN},
		{"mosquitto version 1.6.12", FINDING_WARN},
		{"another broker 5", FINDING_OK},
	};
	struct broker b = {0};

	(void)state;
	run(&b, true, TOPIC_DATA);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		probe_version(b.probe, rows[i].version);
		assert_int_equal(level_of(&b, "PROBE-VERSION"), rows[i].level);
	}
	end(&b);
}

static void findings_are_kept_by_place_and_id_and_never_overflow(void **state)
{
	struct findings *f = calloc(1, sizeof(*f));
	char id[16];

	(void)state;
	for (int i = 0; i < FINDINGS_MAX + 10; i++) {
		snprintf(id, sizeof(id), "ID-%d", i);
		finding_add(f, FINDING_WARN, i % 2 ? "a" : "b", id, "what", "mend");
	}
	assert_int_equal(f->count, FINDINGS_MAX);
	findings_forget(f, "a");
	assert_int_equal(f->count, FINDINGS_MAX / 2);
	assert_false(findings_have_error(f, "b"));
	finding_add(f, FINDING_ERROR, "b", "ID-0", "worse", "");
	assert_int_equal(f->count, FINDINGS_MAX / 2);
	assert_true(findings_have_error(f, "b"));
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_broker_is_usable),
		cmocka_unit_test(each_fault_has_its_finding),
		cmocka_unit_test(a_broker_that_breaks_at_the_largest_message_is_asked_for_it_once),
		cmocka_unit_test(without_certificates_rights_are_not_expected),
		cmocka_unit_test(the_version_is_judged),
		cmocka_unit_test(findings_are_kept_by_place_and_id_and_never_overflow),
	};

	log_set_level((enum log_level)(LOG_ERROR + 1));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
