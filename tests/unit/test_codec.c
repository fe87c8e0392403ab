// The codecs: tables complete against the schema, and both directions. protobuf-c's own reader
// stands beside ours as a witness.
#include "tests/unit/codec_helper.h"

// ---- the tables against the schema

static bool kind_fits(const struct codec_row *row, const ProtobufCFieldDescriptor *f)
{
	switch (row->kind) {
	case CODEC_SCHEMA:
	case CODEC_U32:
	case CODEC_U32S:
		return f->type == PROTOBUF_C_TYPE_UINT32;
	case CODEC_U64:
		return f->type == PROTOBUF_C_TYPE_UINT64;
	case CODEC_I64:
		return f->type == PROTOBUF_C_TYPE_INT64;
	case CODEC_DOUBLE:
		return f->type == PROTOBUF_C_TYPE_DOUBLE;
	case CODEC_BOOL:
		return f->type == PROTOBUF_C_TYPE_BOOL;
	case CODEC_ENUM:
		return f->type == PROTOBUF_C_TYPE_ENUM;
	case CODEC_ID:
	case CODEC_TEXT:
	case CODEC_TEXTS:
		return f->type == PROTOBUF_C_TYPE_STRING;
	case CODEC_AUTH:
	case CODEC_FIXED:
	case CODEC_BYTES:
	case CODEC_FIXEDS:
		return f->type == PROTOBUF_C_TYPE_BYTES;
	case CODEC_MESSAGE:
	case CODEC_SKIP:
	case CODEC_MESSAGES:
		return f->type == PROTOBUF_C_TYPE_MESSAGE;
	}
	return false;
}

static void assert_row_fits(const struct codec_row *row, const ProtobufCFieldDescriptor *f)
{
	assert_string_equal(row->name, f->name);
	assert_true(kind_fits(row, f));
	assert_int_equal(is_list(row), f->label == PROTOBUF_C_LABEL_REPEATED);
	if (is_list(row))
		assert_true(row->count_max > 0);
	if (row->kind == CODEC_SCHEMA)
		assert_int_equal(f->id, 1);
	if (row->kind == CODEC_AUTH)
		assert_int_equal(f->id, 2047);
	if (row->table) {
		assert_ptr_equal(row->table->descriptor, f->descriptor);
		assert_int_equal(row->size, row->table->size);
	}
	if (row->kind == CODEC_ENUM) {
		const ProtobufCEnumDescriptor *e = f->descriptor;

		assert_int_equal(row->size, 4);
		assert_int_equal(row->min, 1);
		assert_int_equal(row->max, e->n_values - 1);
		for (unsigned i = 0; i < e->n_values; i++)
			assert_int_equal(e->values[i].value, i);
	}
}

static void every_field_of_the_schema_has_exactly_one_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		const struct codec_table *t = tables[i];

		assert_in_range(t->row_count, 1, CODEC_ROWS_MAX);
		if (t->row_count != t->descriptor->n_fields)
			fail_msg("%s has %zu rows for %u fields", t->name, t->row_count,
				t->descriptor->n_fields);
		for (size_t k = 0; k < t->row_count; k++)
			assert_row_fits(&t->rows[k], &t->descriptor->fields[k]);
	}
}

static void mark(uint8_t *covered, size_t at, size_t size)
{
	for (size_t i = at; i < at + size; i++) {
		assert_int_equal(covered[i], 0);
		covered[i] = 1;
	}
}

static void mark_row(uint8_t *covered, const struct codec_row *row)
{
	if (is_list(row)) {
		mark(covered, row->at, sizeof(void *));
		mark(covered, row->count_at, sizeof(size_t));
	} else if (row->kind == CODEC_ID || row->kind == CODEC_TEXT || row->kind == CODEC_MESSAGE) {
		mark(covered, row->at, sizeof(void *));
	} else if (row->kind == CODEC_BYTES) {
		mark(covered, row->at, sizeof(struct bytes));
	} else if (row->kind == CODEC_FIXED) {
		mark(covered, row->at, row->size);
	} else if (is_number(row) || row->kind == CODEC_DOUBLE) {
		mark(covered, row->at, number_size(row));
	}
	if (row->flags & CODEC_SPLICED)
		mark(covered, row->received, sizeof(struct bytes));
}

// No member of a plain struct is forgotten and none is written by two rows: what is left is
// padding.
static void every_member_of_a_plain_struct_has_exactly_one_row(void **state)
{
	uint8_t covered[1024];

	(void)state;
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		const struct codec_table *t = tables[i];
		size_t gap = 0;

		assert_in_range(t->size, 1, sizeof(covered));
		memset(covered, 0, sizeof(covered));
		for (size_t k = 0; k < t->row_count; k++)
			mark_row(covered, &t->rows[k]);
		for (size_t k = 0; k < t->size; k++) {
			gap = covered[k] ? 0 : gap + 1;
			if (gap >= 8)
				fail_msg("%s: byte %zu belongs to no row", t->name, k);
		}
	}
}

static void a_spliced_field_is_the_last_before_auth(void **state)
{
	size_t found = 0;

	(void)state;
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		for (size_t k = 0; k < tables[i]->row_count; k++) {
			if (!(tables[i]->rows[k].flags & CODEC_SPLICED))
				continue;
			found++;
			assert_int_equal(k + 2, tables[i]->row_count);
			assert_int_equal(tables[i]->rows[k + 1].kind, CODEC_AUTH);
		}
	}
	assert_int_equal(found, 1);
}

static void assert_no_way_back(const ProtobufCMessageDescriptor *const *way, size_t depth)
{
	const ProtobufCMessageDescriptor *next[CODEC_DEPTH_MAX + 1];

	assert_in_range(depth, 1, CODEC_DEPTH_MAX);
	memcpy(next, way, depth * sizeof(*way));
	for (unsigned i = 0; i < way[depth - 1]->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &way[depth - 1]->fields[i];

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		for (size_t k = 0; k < depth; k++)
			assert_ptr_not_equal(way[k], f->descriptor);
		next[depth] = f->descriptor;
		assert_no_way_back(next, depth + 1);
	}
}

static void C8_no_message_type_contains_itself(void **state)
{
	(void)state;
	for (size_t i = 0; i < TABLE_COUNT; i++)
		assert_no_way_back(&tables[i]->descriptor, 1);
}

static bool ends_in_descriptor(const ProtobufCMessageDescriptor *d)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (tables[i]->descriptor == d)
			return true;
	}
	return false;
}

static void every_submessage_of_the_schema_has_a_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		for (unsigned k = 0; k < tables[i]->descriptor->n_fields; k++) {
			const ProtobufCFieldDescriptor *f = &tables[i]->descriptor->fields[k];

			if (f->type == PROTOBUF_C_TYPE_MESSAGE)
				assert_true(ends_in_descriptor(f->descriptor));
		}
	}
}

// ---- both directions

static uint8_t row_was_set[TABLE_COUNT][CODEC_ROWS_MAX];

static size_t table_index(const struct codec_table *t)
{
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (tables[i] == t)
			return i;
	}
	fail_msg("%s is in no list", t->name);
	return 0;
}

static void note_rows_set(const struct codec_table *t, const void *m)
{
	for (size_t i = 0; i < t->row_count; i++) {
		const struct codec_row *row = &t->rows[i];

		if (is_default(m, row))
			continue;
		row_was_set[table_index(t)][i] = 1;
		if (row->kind == CODEC_MESSAGE)
			note_rows_set(row->table, pointer_at(m, row->at));
		for (size_t k = 0; row->kind == CODEC_MESSAGES && k < count_of(m, row); k++)
			note_rows_set(row->table,
				(const uint8_t *)pointer_at(m, row->at) + k * row->size);
	}
}

static void the_samples_set_every_field(void **state)
{
	(void)state;
	memset(row_was_set, 0, sizeof(row_was_set));
	for (size_t i = 0; i < SAMPLE_COUNT; i++)
		note_rows_set(samples[i].table, samples[i].message);
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		for (size_t k = 0; k < tables[i]->row_count; k++) {
			if (!row_was_set[i][k])
				fail_msg("no sample sets %s.%s", tables[i]->name,
					tables[i]->rows[k].name);
		}
	}
}

static void every_message_comes_back_as_it_was_sent(void **state)
{
	(void)state;
	for (size_t i = 0; i < SAMPLE_COUNT; i++) {
		const struct sample *s = &samples[i];
		enum err e = codec_encode(s->table, s->message, &out);

		if (e != ERR_OK)
			fail_msg("%s %s: %s", s->table->name, s->name, err_text());
		void *m = decoded(s->table, buf_bytes(&out), &e);
		if (e != ERR_OK)
			fail_msg("%s %s: %s", s->table->name, s->name, err_text());
		assert_equal(s->table, s->message, m);
		free(m);
	}
}

static void the_doors_of_message_h_lead_to_their_tables(void **state)
{
	struct heartbeat h;
	struct grant g;

	(void)state;
	arena_reset(&arena);
	assert_int_equal(heartbeat_encode(&sample_heartbeat, &out), ERR_OK);
	assert_int_equal(heartbeat_decode(&arena, buf_bytes(&out), &h), ERR_OK);
	assert_equal(&codec_heartbeat, &sample_heartbeat, &h);
	assert_int_equal(grant_encode(&sample_grant, &out), ERR_OK);
	assert_int_equal(grant_decode(&arena, buf_bytes(&out), &g), ERR_OK);
	assert_equal(&codec_grant, &sample_grant, &g);
}

// The witness reads our bytes as the same message: packed again, they are the same bytes.
static void protobuf_c_reads_what_is_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < SAMPLE_COUNT; i++) {
		const struct sample *s = &samples[i];

		assert_int_equal(codec_encode(s->table, s->message, &out), ERR_OK);
		ProtobufCMessage *pb =
			protobuf_c_message_unpack(s->table->descriptor, NULL, out.size, out.data);
		assert_non_null(pb);
		assert_int_equal(pb->n_unknown_fields, 0);
		uint8_t *again = malloc(protobuf_c_message_get_packed_size(pb));
		assert_int_equal(protobuf_c_message_pack(pb, again), out.size);
		assert_memory_equal(again, out.data, out.size);
		free(again);
		protobuf_c_message_free_unpacked(pb, NULL);
	}
}

static void what_is_decoded_outlives_the_payload(void **state)
{
	struct manifest_page page;

	(void)state;
	assert_int_equal(manifest_page_encode(&sample_manifest_page, &out), ERR_OK);
	arena_reset(&arena);
	assert_int_equal(manifest_page_decode(&arena, buf_bytes(&out), &page), ERR_OK);
	memset(out.data, 0xff, out.size);
	assert_equal(&codec_manifest_page, &sample_manifest_page, &page);
}

static void absent_texts_are_empty_and_never_null(void **state)
{
	struct heartbeat h;

	(void)state;
	assert_int_equal(heartbeat_encode(&sample_heartbeat_least, &out), ERR_OK);
	arena_reset(&arena);
	assert_int_equal(heartbeat_decode(&arena, buf_bytes(&out), &h), ERR_OK);
	assert_string_equal(h.status->state, "");
	assert_string_equal(h.status->hw_class, "");
	assert_null(h.op);
	assert_null(h.holdings);
	assert_null(h.changes);
}

static void the_body_of_a_response_is_sent_as_it_was_stored(void **state)
{
	struct response r;

	(void)state;
	assert_int_equal(response_encode(&sample_response, &out), ERR_OK);
	arena_reset(&arena);
	assert_int_equal(response_decode(&arena, buf_bytes(&out), &r), ERR_OK);
	assert_true(bytes_equal(r.body_bytes, sample_response.body_bytes));
	assert_true(r.body_bytes.data > out.data && r.body_bytes.data < out.data + out.size);
	assert_ptr_equal(r.body_bytes.data + r.body_bytes.size, out.data + out.size);
	assert_int_equal(r.body->response_id, sample_body_send.response_id);
}

static void the_outline_of_a_response_passes_over_what_it_is_to_do(void **state)
{
	static const uint8_t body[] = {0x08, 0x09, 0x10, 0x02, 0x18, 0x09, 0x20, 0x02, 0x2a, 0x02,
		0x08, 0x04, 0x52, 0x02, 0xff, 0xff};
	uint8_t other[sizeof(body)];
	struct response_body b;

	(void)state;
	arena_reset(&arena);
	assert_int_equal(
		response_body_decode(&arena, bytes_of(body, sizeof(body)), &b), ERR_FORMAT);
	assert_int_equal(response_body_outline(&arena, bytes_of(body, sizeof(body)), &b), ERR_OK);
	assert_true(b.op_id == 9 && b.kind == KIND_SEND_INFORMATION && !b.send);
	// What stands outside of the three parts is judged as ever: kind, op_id, lengths.
	for (uint8_t kind = 0; kind <= 5; kind++) {
		memcpy(other, body, sizeof(body));
		other[3] = kind;
		enum err e = response_body_outline(&arena, bytes_of(other, sizeof(other)), &b);
		assert_int_equal(e == ERR_OK, kind >= 2 && kind <= 4);
	}
	memcpy(other, body, sizeof(body));
	other[5] = 0;
	assert_int_equal(
		response_body_outline(&arena, bytes_of(other, sizeof(other)), &b), ERR_RANGE);
	assert_int_equal(
		response_body_outline(&arena, bytes_of(body, sizeof(body) - 1), &b), ERR_FORMAT);
}

static void a_response_without_body_is_not_encoded(void **state)
{
	struct response r = sample_response;

	(void)state;
	r.body_bytes = (struct bytes){NULL, 0};
	assert_int_equal(response_encode(&r, &out), ERR_RANGE);
	assert_string_equal(err_text(), "response.body is missing");
	assert_int_equal(out.size, 0);
}

static void the_payload_of_an_envelope_is_borrowed(void **state)
{
	struct envelope_parts e;

	(void)state;
	assert_int_equal(envelope_parts_encode(&sample_envelope, &out), ERR_OK);
	arena_reset(&arena);
	assert_int_equal(envelope_parts_decode(&arena, buf_bytes(&out), &e), ERR_OK);
	assert_true(e.payload.data > out.data && e.payload.data < out.data + out.size);
	assert_int_equal(e.signature_count, 2);
}

static void auth_may_follow_and_is_left_to_the_seal(void **state)
{
	(void)state;
	for (size_t i = 0; i < SAMPLE_COUNT; i++) {
		const struct sample *s = &samples[i];
		bool sealed = s->table->rows[s->table->row_count - 1].kind == CODEC_AUTH;
		uint8_t auth[3 + 64] = {0xfa, 0x7f, 64, 1};
		enum err e;

		assert_int_equal(codec_encode(s->table, s->message, &out), ERR_OK);
		assert_int_equal(buf_append(&out, auth, sizeof(auth)), ERR_OK);
		void *m = decoded(s->table, buf_bytes(&out), &e);
		if (sealed || s->table->unknown_allowed) {
			assert_int_equal(e, ERR_OK);
			assert_equal(s->table, s->message, m);
		} else {
			assert_int_equal(e, ERR_FORMAT);
		}
		free(m);
	}
}

// ---- words

struct words {
	const char *(*word)(unsigned value);
	unsigned last;
};

#define WORD_OF(type, name)                                                                        \
	static const char *name##_of(unsigned value)                                               \
	{                                                                                          \
		return name((enum type)value);                                                     \
	}
WORD_OF(response_kind, response_kind_word)
WORD_OF(ack, ack_word)
WORD_OF(op_status, op_status_word)
WORD_OF(client_state, client_state_word)
WORD_OF(reach, reach_word)
WORD_OF(info_kind, info_kind_word)
WORD_OF(package_kind, package_kind_word)
WORD_OF(shown_result, shown_result_word)
WORD_OF(element_type, element_type_word)
WORD_OF(role, role_word)
WORD_OF(reason_code, reason_word)
WORD_OF(publisher_state, publisher_state_word)
WORD_OF(directive_kind, directive_word)

static void every_enum_value_has_its_own_word(void **state)
{
	static const struct words all[] = {{response_kind_word_of, KIND_EXECUTE_COMMAND},
		{ack_word_of, ACK_BUSY}, {op_status_word_of, OP_UNKNOWN},
		{client_state_word_of, CS_CLONE_SUSPECT}, {reach_word_of, REACH_SILENT},
		{info_kind_word_of, INFO_OUTPUT}, {package_kind_word_of, PACKAGE_SOFTWARE},
		{shown_result_word_of, SHOWN_FAILED},
		{element_type_word_of, ELEMENT_COMMAND_REF}, {role_word_of, ROLE_SERVER},
		{reason_word_of, REASON_TURN}, {publisher_state_word_of, PUB_RECORDED},
		{directive_word_of, DIRECTIVE_MEDIUM_ENDED}};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_string_equal(all[i].word(0), "?");
		assert_string_equal(all[i].word(all[i].last + 1), "?");
		assert_string_equal(all[i].word(UINT32_MAX), "?");
		for (unsigned a = 1; a <= all[i].last; a++) {
			assert_string_not_equal(all[i].word(a), "?");
			for (unsigned b = 1; b < a; b++)
				assert_string_not_equal(all[i].word(a), all[i].word(b));
		}
	}
	assert_string_equal(response_kind_word(KIND_NO_ACTION), "no-action");
	assert_string_equal(client_state_word(CS_AWAIT_INFO), "await-info");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_of_the_schema_has_exactly_one_row),
		cmocka_unit_test(every_member_of_a_plain_struct_has_exactly_one_row),
		cmocka_unit_test(every_submessage_of_the_schema_has_a_table),
		cmocka_unit_test(C8_no_message_type_contains_itself),
		cmocka_unit_test(a_spliced_field_is_the_last_before_auth),
		cmocka_unit_test(the_samples_set_every_field),
		cmocka_unit_test(every_message_comes_back_as_it_was_sent),
		cmocka_unit_test(the_doors_of_message_h_lead_to_their_tables),
		cmocka_unit_test(protobuf_c_reads_what_is_written),
		cmocka_unit_test(what_is_decoded_outlives_the_payload),
		cmocka_unit_test(absent_texts_are_empty_and_never_null),
		cmocka_unit_test(the_body_of_a_response_is_sent_as_it_was_stored),
		cmocka_unit_test(the_outline_of_a_response_passes_over_what_it_is_to_do),
		cmocka_unit_test(a_response_without_body_is_not_encoded),
		cmocka_unit_test(the_payload_of_an_envelope_is_borrowed),
		cmocka_unit_test(auth_may_follow_and_is_left_to_the_seal),
		cmocka_unit_test(every_enum_value_has_its_own_word),
	};

	return cmocka_run_group_tests_name("codec", tests, setup, teardown);
}
