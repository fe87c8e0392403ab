// The ranges of the codecs, in both directions, and the rules between fields.
#include "tests/unit/codec_helper.h"

#include <math.h>

// ---- ranges of numbers, in both directions

struct place {
	const struct codec_table *outer;
	void *message;
	size_t checked;
};

static uint64_t number_get(const void *m, const struct codec_row *row)
{
	uint64_t value = 0;

	memcpy(&value, member(m, row->at), number_size(row));
	return value;
}

static void number_set(void *m, const struct codec_row *row, uint64_t value)
{
	memcpy((uint8_t *)m + row->at, &value, number_size(row));
}

static bool number_in_range(const struct codec_row *row, uint64_t value)
{
	return (value >= row->min && value <= row->max) ||
	       (value == 0 && (row->flags & CODEC_OR_ZERO));
}

// In range: taken, unless another rule speaks. Out of range: refused by name.
static void assert_number_judged(struct place *p, const struct codec_row *row, uint64_t value)
{
	char sentence[128];
	enum err e = codec_encode(p->outer, p->message, &out);

	snprintf(sentence, sizeof(sentence), ".%s is ", row->name);
	if (!number_in_range(row, value)) {
		assert_int_equal(e, ERR_RANGE);
		assert_non_null(strstr(err_text(), sentence));
		assert_int_equal(out.size, 0);
	} else if (e != ERR_OK) {
		assert_null(strstr(err_text(), ", at most"));
		assert_null(strstr(err_text(), ", at least"));
	}
	p->checked++;
}

static void walk_numbers(struct place *p, const struct codec_table *t, void *m)
{
	for (size_t i = 0; i < t->row_count; i++) {
		const struct codec_row *row = &t->rows[i];
		const uint64_t values[] = {0, 1, row->min - 1, row->min, row->max - 1, row->max,
			row->max + 1, UINT64_C(1) << 31, UINT32_MAX, UINT64_C(1) << 32,
			UINT64_C(1) << 63, UINT64_MAX};

		if (row->kind == CODEC_MESSAGE && pointer_at(m, row->at) &&
			!(row->flags & CODEC_SPLICED))
			walk_numbers(p, row->table, pointer_at(m, row->at));
		if (row->kind == CODEC_MESSAGES && count_of(m, row) > 0)
			walk_numbers(p, row->table, pointer_at(m, row->at));
		if (!is_number(row) || row->kind == CODEC_BOOL)
			continue;
		uint64_t before = number_get(m, row);
		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			if (is_small(row) && values[k] > UINT32_MAX)
				continue;
			number_set(m, row, values[k]);
			assert_number_judged(p, row, values[k]);
		}
		number_set(m, row, before);
	}
}

static void C9_numbers_out_of_range_are_not_encoded(void **state)
{
	size_t checked = 0;

	(void)state;
	for (size_t i = 0; i < SAMPLE_COUNT; i++) {
		struct place p = {samples[i].table, samples[i].message, 0};

		walk_numbers(&p, p.outer, p.message);
		assert_int_equal(codec_encode(p.outer, p.message, &out), ERR_OK);
		checked += p.checked;
	}
	assert_true(checked > 1000);
}

// The same values on the wire: protobuf-c writes them, we read them.
static void assert_wire_number_judged(
	struct place *p, const ProtobufCMessage *outer, const struct codec_row *row, uint64_t value)
{
	char sentence[128];

	buf_clear(&out);
	size_t size = protobuf_c_message_get_packed_size(outer);
	assert_int_equal(buf_reserve(&out, size), ERR_OK);
	out.size = protobuf_c_message_pack(outer, out.data);
	enum err e = decode_exact(p->outer, buf_bytes(&out));
	snprintf(sentence, sizeof(sentence), ".%s is ", row->name);
	if (!number_in_range(row, value)) {
		assert_int_equal(e, ERR_RANGE);
		assert_non_null(strstr(err_text(), sentence));
	} else if (e != ERR_OK) {
		assert_null(strstr(err_text(), ", at most"));
		assert_null(strstr(err_text(), ", at least"));
	}
	p->checked++;
}

static void walk_wire_numbers(struct place *p, const ProtobufCMessage *outer,
	const struct codec_table *t, ProtobufCMessage *m)
{
	for (size_t i = 0; i < t->row_count; i++) {
		const struct codec_row *row = &t->rows[i];
		const ProtobufCFieldDescriptor *f = &t->descriptor->fields[i];
		const uint64_t values[] = {0, 1, row->min - 1, row->min, row->max - 1, row->max,
			row->max + 1, UINT64_C(1) << 31, UINT32_MAX, UINT64_C(1) << 32,
			UINT64_C(1) << 63, UINT64_MAX};
		void *slot = (uint8_t *)m + f->offset;

		if (row->kind == CODEC_MESSAGE && *(void **)slot)
			walk_wire_numbers(p, outer, row->table, *(void **)slot);
		if (row->kind == CODEC_MESSAGES && *(void **)slot)
			walk_wire_numbers(p, outer, row->table, **(void ***)slot);
		if (!is_number(row) || row->kind == CODEC_BOOL)
			continue;
		size_t size = number_size(row);
		uint64_t before = 0;
		memcpy(&before, slot, size);
		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			if (size == 4 && values[k] > UINT32_MAX)
				continue;
			memcpy(slot, &values[k], size);
			assert_wire_number_judged(p, outer, row, values[k]);
		}
		memcpy(slot, &before, size);
	}
}

static void C9_numbers_out_of_range_are_not_decoded(void **state)
{
	size_t checked = 0;

	(void)state;
	for (size_t i = 0; i < SAMPLE_COUNT; i++) {
		struct place p = {samples[i].table, samples[i].message, 0};

		assert_int_equal(codec_encode(p.outer, p.message, &out), ERR_OK);
		ProtobufCMessage *pb =
			protobuf_c_message_unpack(p.outer->descriptor, NULL, out.size, out.data);
		assert_non_null(pb);
		walk_wire_numbers(&p, pb, p.outer, pb);
		protobuf_c_message_free_unpacked(pb, NULL);
		checked += p.checked;
	}
	assert_true(checked > 1000);
}

static void C9_doubles_are_finite_and_in_range(void **state)
{
	static const double bad[] = {-1, 1e16, (double)INFINITY, (double)-INFINITY, (double)NAN};
	struct data_server_load l = sample_load;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		l.sent_bytes_per_s = bad[i];
		assert_int_equal(data_server_load_encode(&l, &out), ERR_RANGE);
		assert_int_equal(data_server_load_encode(&sample_load, &out), ERR_OK);
		for (size_t at = 0; at + 9 <= out.size; at++) {
			double was;

			memcpy(&was, out.data + at, sizeof(was));
			if (memcmp(&was, &sample_load.sent_bytes_per_s, sizeof(was)) == 0)
				memcpy(out.data + at, &bad[i], sizeof(was));
		}
		assert_refused(&codec_data_server_load, buf_bytes(&out), ERR_RANGE,
			"data_server_load.sent_bytes_per_s is ");
	}
}

// ---- rules between fields

struct rule {
	const struct codec_table *table;
	const void *message;
	const char *sentence;
};

static void assert_rules(const struct rule *rules, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		enum err e = codec_encode(rules[i].table, rules[i].message, &out);

		if (e != ERR_RANGE || strcmp(err_text(), rules[i].sentence) != 0)
			fail_msg("%s \"%s\", wanted \"%s\"", err_word(e), err_text(),
				rules[i].sentence);
	}
}
#define RULES(r) assert_rules(r, sizeof(r) / sizeof(r[0]))

static void a_sign_in_stands_exactly_in_session_0(void **state)
{
	struct heartbeat without = sample_heartbeat_sign_in, within = sample_heartbeat_sign_in;
	struct publisher_msg wrong_state = sample_pub_sign_in, no_sign_in = sample_pub_alive;
	struct api_request wrong_verb = sample_request_sign_in, verb_alone = sample_request;
	struct sign_in unproven = sample_sign_in, unnamed = sample_sign_in;
	struct heartbeat no_proof = sample_heartbeat_sign_in, no_key = sample_heartbeat_sign_in;

	(void)state;
	without.sign_in = NULL;
	within.session_id = 5;
	unproven.next_proof = (struct proof64){{0}};
	unnamed.next_key = (struct key32){{0}};
	no_proof.sign_in = &unproven;
	no_key.sign_in = &unnamed;
	wrong_state.state = PUB_ALIVE;
	no_sign_in.state = PUB_SIGN_IN;
	wrong_verb.verb = "status";
	verb_alone.verb = "sign-in";
	const struct rule rules[] = {
		{&codec_heartbeat, &without, "heartbeat.sign_in is missing in session 0"},
		{&codec_heartbeat, &within, "heartbeat.sign_in stands inside session 5"},
		{&codec_heartbeat, &no_proof,
			"heartbeat.sign_in.next_proof does not go with next_key"},
		{&codec_heartbeat, &no_key,
			"heartbeat.sign_in.next_proof does not go with next_key"},
		{&codec_publisher_msg, &wrong_state,
			"publisher_msg.state is alive, which does not go with sign_in"},
		{&codec_publisher_msg, &no_sign_in,
			"publisher_msg.state is sign-in, which does not go with sign_in"},
		{&codec_api_request, &wrong_verb, "api_request.verb does not go with sign_in"},
		{&codec_api_request, &verb_alone, "api_request.verb does not go with sign_in"},
	};
	RULES(rules);
}

static void a_response_carries_exactly_the_part_of_its_kind(void **state)
{
	struct response_body bare = sample_body_send, two = sample_body_send,
			     none = sample_body_none, no_op = sample_body_execute,
			     no_reason = sample_body_none, nothing = sample_body_retrieve;
	struct retrieve_information empty = {0};

	(void)state;
	bare.send = NULL;
	two.execute = &sample_execute;
	none.op_id = 4;
	no_op.op_id = 0;
	no_reason.reason = NULL;
	nothing.retrieve = &empty;
	const struct rule rules[] = {
		{&codec_response_body, &bare,
			"response_body.send is missing in its kind of response"},
		{&codec_response_body, &two,
			"response_body.execute stands in another kind of response"},
		{&codec_response_body, &none,
			"response_body.op_id stands in another kind of response"},
		{&codec_response_body, &no_op,
			"response_body.op_id is missing in its kind of response"},
		{&codec_response_body, &no_reason, "response_body.reason is missing"},
		{&codec_response_body, &nothing,
			"response_body.retrieve names nothing to retrieve"},
	};
	RULES(rules);
}

static void wants_and_grants_are_whole(void **state)
{
	struct want both = sample_want_fetch, neither = sample_want_fetch,
		    running = sample_want_release;
	struct fetch_release still = sample_release;
	struct grant nowhere = sample_grant, keyless = sample_grant, refusal = sample_grant_refused,
		     endless = sample_grant;

	(void)state;
	both.release = &sample_release;
	neither.fetch = NULL;
	still.outcome = OP_RUNNING;
	running.release = &still;
	nowhere.from = NULL;
	keyless.publisher_key = (struct key32){{0}};
	refusal.from = &sample_address;
	endless.ttl_ms = 0;
	const struct rule rules[] = {
		{&codec_want, &both, "want has both fetch and release"},
		{&codec_want, &neither, "want has neither fetch nor release"},
		{&codec_want, &running,
			"want.release.outcome is running, not done, failed or cancelled"},
		{&codec_grant, &nowhere, "grant.from is missing"},
		{&codec_grant, &keyless, "grant.publisher_key is missing"},
		{&codec_grant, &refusal, "grant.from stands in a refusal"},
		{&codec_grant, &endless, "grant lacks lease, ttl_ms or window"},
	};
	RULES(rules);
}

static void addresses_and_ips_can_be_used(void **state)
{
	struct address nowhere = {.port = 8883}, words = {.ip = "data1", .port = 8883},
		       portless = {.host = "a"};
	struct grant g[3] = {sample_grant, sample_grant, sample_grant};
	struct heartbeat five = sample_heartbeat;

	(void)state;
	g[0].from = &nowhere;
	g[1].from = &words;
	g[2].from = &portless;
	five.ip_address = bytes_of("12345", 5);
	const struct rule rules[] = {
		{&codec_grant, &g[0], "grant.from has neither host nor ip"},
		{&codec_grant, &g[1], "grant.from.ip is no address"},
		{&codec_grant, &g[2], "grant.from.port is missing or 0"},
		{&codec_heartbeat, &five, "heartbeat.ip_address has 5 bytes, not 4 or 16"},
	};
	RULES(rules);
}

static void reports_hold_what_they_say(void **state)
{
	struct report empty = sample_report_display, other = sample_report_usage,
		      beyond = sample_report_logs;

	(void)state;
	empty.display = NULL;
	other.what = INFO_LOGS;
	beyond.part = 1;
	const struct rule rules[] = {
		{&codec_report, &empty, "report.display is missing"},
		{&codec_report, &other, "report.usage stands in a report of another kind"},
		{&codec_report, &beyond, "report.part is 1 of 1"},
	};
	RULES(rules);
}

static void publishers_and_directives_are_whole(void **state)
{
	struct publisher_msg markless = sample_pub_stored, nameless = sample_pub_stored,
			     offer = sample_pub_stored;
	struct directive transmit = sample_directive, repair = sample_directive,
			 nothing = sample_directive, order = sample_directive;

	(void)state;
	markless.mark = (struct id16){{0}};
	nameless.package = (struct digest){{0}};
	offer.state = PUB_OFFER;
	offer.manifest = (struct bytes){NULL, 0};
	transmit.kind = DIRECTIVE_TRANSMIT;
	transmit.to = NULL;
	repair.object_count = 0;
	nothing.package = (struct digest){{0}};
	order.kind = DIRECTIVE_PACKAGE_ORDER;
	order.order = NULL;
	struct publisher_msg orderless = sample_pub_ordered, silent = sample_pub_ordered,
			     many = sample_pub_ordered;
	struct order_outcome no_reason = sample_outcome, more = sample_outcome;

	orderless.ordered = NULL;
	no_reason.package = (struct digest){{0}};
	no_reason.reason = "";
	silent.ordered = &no_reason;
	more.included = more.matched + 1;
	many.ordered = &more;
	const struct rule rules[] = {
		{&codec_publisher_msg, &markless, "publisher_msg.mark is missing"},
		{&codec_publisher_msg, &nameless, "publisher_msg.package is missing"},
		{&codec_publisher_msg, &offer, "publisher_msg.manifest is missing"},
		{&codec_directive, &transmit, "directive.to is missing"},
		{&codec_directive, &repair, "directive.objects is missing"},
		{&codec_directive, &nothing, "directive.package is missing"},
		{&codec_directive, &order, "directive.order is missing"},
		{&codec_publisher_msg, &orderless,
			"publisher_msg.ordered does not go with the state ordered"},
		{&codec_publisher_msg, &silent,
			"publisher_msg.ordered.reason is missing, as is the package"},
		{&codec_publisher_msg, &many,
			"publisher_msg.ordered.included is more than what matched"},
	};
	RULES(rules);
}

static void what_customers_want_is_in_range(void **state)
{
	struct daypart empty[] = {{1, 60, 60}}, never[] = {{0, 0, 60}};
	struct plan_part squeezed[] = {sample_plans[0]}, sorted[] = {sample_plans[0]},
			 past[] = {sample_plans[0]}, hourless[] = {sample_plans[0]},
			 dayless[] = {sample_plans[0]};
	struct show_defaults path = sample_order_show;
	struct package_order orders[6];
	struct directive directives[6];

	(void)state;
	squeezed[0].fit = "squeeze";
	sorted[0].order = "sorted";
	past[0].until_unix_ms = past[0].from_unix_ms;
	hourless[0].dayparts = empty;
	dayless[0].dayparts = never;
	hourless[0].daypart_count = dayless[0].daypart_count = 1;
	path.time_zone = "../../etc/passwd";
	struct plan_part *parts[] = {squeezed, sorted, past, hourless, dayless};
	for (size_t i = 0; i < 6; i++) {
		orders[i] = sample_order;
		if (i < 5) {
			orders[i].parts = parts[i];
			orders[i].part_count = 1;
		}
		directives[i] = sample_directive;
		directives[i].order = &orders[i];
	}
	orders[5].show = &path;
	const struct rule rules[] = {
		{&codec_directive, &directives[0],
			"directive.order.parts[0].fit is none of fit, fill, stretch, center"},
		{&codec_directive, &directives[1],
			"directive.order.parts[0].order is none of list, shuffle, weight, newest"},
		{&codec_directive, &directives[2],
			"directive.order.parts[0].until_unix_ms is not after from_unix_ms"},
		{&codec_directive, &directives[3],
			"directive.order.parts[0].dayparts[0].until_minute is the minute of the "
			"begin"},
		{&codec_directive, &directives[4],
			"directive.order.parts[0].dayparts[0].weekdays is missing or 0"},
		{&codec_directive, &directives[5],
			"directive.order.show.time_zone is no name of a time zone"},
	};
	RULES(rules);
}

static void content_is_consistent(void **state)
{
	struct file_entry escape = sample_files[1], uneven = sample_files[0],
			  tall = sample_files[0];
	struct picture_info picture = sample_picture;
	struct manifest_page pages[3] = {
		{&escape, 1, {{0}}}, {&uneven, 1, {{0}}}, {&tall, 1, {{0}}}};
	struct object sizes = sample_objects[0], baseless = sample_objects[0],
		      based = sample_objects[0], unnamed = sample_objects[2],
		      halved = sample_objects[0];
	struct index_page index[5] = {{&sizes, 1, {{0}}}, {&baseless, 1, {{0}}}, {&based, 1, {{0}}},
		{&unnamed, 1, {{0}}}, {&halved, 1, {{0}}}};

	(void)state;
	escape.path = "../etc/passwd";
	uneven.chunk_count = 2;
	picture.fit = "squeeze";
	tall.picture = &picture;
	sizes.base_size_count = 1;
	baseless.base_count = baseless.base_size_count = baseless.own_run_count = 0;
	halved.own_run_count = 3;
	based.coding = CODING_ZSTD;
	unnamed.size_bytes = 0;
	const struct rule rules[] = {
		{&codec_manifest_page, &pages[0],
			"manifest_page.files[0].path leaves its folder or has other letters"},
		{&codec_manifest_page, &pages[1],
			"manifest_page.files[0].chunk_sha256 has 96 bytes for 2 chunks"},
		{&codec_manifest_page, &pages[2],
			"manifest_page.files[0].picture.fit is none of fit, fill, stretch, center"},
		{&codec_index_page, &index[0],
			"index_page.objects[0].base_sizes has 1 elements for 2 base_chunks"},
		{&codec_index_page, &index[1],
			"index_page.objects[0].base_chunks does not go with the coding"},
		{&codec_index_page, &index[2],
			"index_page.objects[0].base_chunks does not go with the coding"},
		{&codec_index_page, &index[3], "index_page.objects[0] lacks sha256 or size_bytes"},
		{&codec_index_page, &index[4],
			"index_page.objects[0].own_runs ends in the middle of a pair"},
	};
	RULES(rules);
}

static void trust_cannot_be_empty(void **state)
{
	struct root unreachable = sample_root, careless = sample_root, zero_key = sample_root;
	struct key32 zero[2] = {SAMPLE_SHA_A};
	struct envelope_parts unsigned_one = sample_envelope;
	struct api_answer wordless = sample_answer_error;

	(void)state;
	unreachable.root_threshold = 3;
	careless.software_threshold = 0;
	zero_key.image_keys = zero;
	zero_key.image_key_count = 2;
	unsigned_one.signature_count = 0;
	wordless.error_word = "";
	const struct rule rules[] = {
		{&codec_root, &unreachable, "root.root_threshold is 3 of 2 keys"},
		{&codec_root, &careless, "root.software_threshold is missing or 0"},
		{&codec_root, &zero_key, "root.image_keys is missing or all zero"},
		{&codec_envelope_parts, &unsigned_one, "envelope.signatures is missing"},
		{&codec_api_answer, &wordless, "api_answer.error_word is missing"},
	};
	RULES(rules);
}

// Written out here, not read from the rows: other rooms count on these.
static void limits_that_others_rely_on(void **state)
{
	struct root thresholdless = sample_root;
	struct grant wide = sample_grant;
	struct response fast = sample_response, slow = sample_response, outside = sample_response;
	struct manifest crowded = sample_manifest, empty = sample_manifest;
	struct page_ref large[1] = {{SAMPLE_SHA_A, 96 * 1024 + 1, 1, 1}};
	struct manifest heavy = sample_manifest;
	struct session_offer zero = sample_offer;
	struct enrolment keyless = sample_enrolment;

	(void)state;
	thresholdless.root_threshold = 0;
	wide.window = 65;
	fast.heartbeat_interval_ms = 199;
	slow.heartbeat_interval_ms = 24 * 3600 * 1000 + 1;
	outside.session_id = 0;
	crowded.file_count = 100001;
	empty.file_count = 0;
	heavy.pages = large;
	heavy.page_count = 1;
	zero.session_id = 0;
	keyless.public_key = (struct key32){{0}};
	const struct rule rules[] = {
		{&codec_root, &thresholdless, "root.root_threshold is missing or 0"},
		{&codec_grant, &wide, "grant.window is 65, at most 64"},
		{&codec_response, &fast, "response.heartbeat_interval_ms is 199, at least 200"},
		{&codec_response, &slow,
			"response.heartbeat_interval_ms is 86400001, at most 86400000"},
		{&codec_response, &outside, "response.session_id is missing or 0"},
		{&codec_manifest, &crowded, "manifest.file_count is 100001, at most 100000"},
		{&codec_manifest, &empty, "manifest.file_count is missing or 0"},
		{&codec_manifest, &heavy, "manifest.pages[0].size_bytes is 98305, at most 98304"},
		{&codec_session_offer, &zero, "session_offer.session_id is missing or 0"},
		{&codec_enrolment, &keyless, "enrolment.public_key is missing or all zero"},
	};
	RULES(rules);
}

static void rules_hold_when_decoding_too(void **state)
{
	(void)state;
	assert_int_equal(want_encode(&sample_want_fetch, &out), ERR_OK);
	static const uint8_t release[] = {0x3a, 0x26, 0x0a, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x18, 3, 0x20, 1};
	assert_int_equal(buf_append(&out, release, sizeof(release)), ERR_OK);
	assert_refused(&codec_want, buf_bytes(&out), ERR_RANGE, "want has both fetch and release");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C9_numbers_out_of_range_are_not_encoded),
		cmocka_unit_test(C9_numbers_out_of_range_are_not_decoded),
		cmocka_unit_test(C9_doubles_are_finite_and_in_range),
		cmocka_unit_test(a_sign_in_stands_exactly_in_session_0),
		cmocka_unit_test(a_response_carries_exactly_the_part_of_its_kind),
		cmocka_unit_test(wants_and_grants_are_whole),
		cmocka_unit_test(addresses_and_ips_can_be_used),
		cmocka_unit_test(reports_hold_what_they_say),
		cmocka_unit_test(publishers_and_directives_are_whole),
		cmocka_unit_test(what_customers_want_is_in_range),
		cmocka_unit_test(content_is_consistent),
		cmocka_unit_test(trust_cannot_be_empty),
		cmocka_unit_test(limits_that_others_rely_on),
		cmocka_unit_test(rules_hold_when_decoding_too),
	};

	return cmocka_run_group_tests_name("codec_range", tests, setup, teardown);
}
