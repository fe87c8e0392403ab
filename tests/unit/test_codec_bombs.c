// Payloads made to cost memory or stack (attack C8): every list of every message, filled to the
// brim of what the message may have, as deep as the schema goes; fields in fields ten thousand
// deep; lengths that promise gigabytes. A decode stays inside its budget, and the process within
// 8 MiB of what it had. The control: protobuf-c takes far more for the same bytes.
#include "tests/unit/codec_helper.h"
#include "tests/unit/memory_meter.h"

#include "proto/base/file.h"
#include <fcntl.h>

#define RSS_BOUND_KIB (8 * 1024)
#define DEEP 10000

#if defined(__SANITIZE_ADDRESS__)
#define RSS_IS_OURS 0 // freed memory is kept, and shadowed
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RSS_IS_OURS 0
#endif
#endif
#ifndef RSS_IS_OURS
#define RSS_IS_OURS 1
#endif

// ---- making bombs

static void varint_put(struct buf *b, uint64_t n)
{
	uint8_t bytes[10];
	size_t size = 0;

	for (; n >= 0x80; n >>= 7)
		bytes[size++] = (uint8_t)(n | 0x80);
	bytes[size++] = (uint8_t)n;
	assert_int_equal(buf_append(b, bytes, size), ERR_OK);
}

static void tag_put(struct buf *b, uint32_t number, unsigned wire)
{
	varint_put(b, (uint64_t)number << 3 | wire);
}

static uint32_t number_of(const struct codec_table *t, const char *name)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(t->descriptor, name);

	return f ? f->id : 0;
}

// The way from the outermost message to a list.
struct way {
	uint32_t numbers[CODEC_DEPTH_MAX + 1];
	size_t depth;
	enum codec_kind kind;
	size_t most; // elements
};

// The list filled until the payload is as long as it may be, inside of the messages that it lies
// in.
static void bomb_make(struct buf *b, const struct way *w, size_t limit)
{
	struct buf inner, outer;
	size_t room = limit - CODEC_AUTH_BYTES - 6 * w->depth;

	buf_init(&inner, 2 * limit);
	if (w->kind == CODEC_U32S) { // one byte each
		tag_put(&inner, w->numbers[w->depth - 1], 2);
		size_t count = w->most < room - 8 ? w->most : room - 8;
		varint_put(&inner, count);
		for (size_t n = count; n > 0; n--)
			varint_put(&inner, 1);
	}
	for (size_t n = 0; w->kind != CODEC_U32S && inner.size + 6 < room && n < w->most; n++) {
		tag_put(&inner, w->numbers[w->depth - 1], 2);
		varint_put(&inner, 0);
	}
	for (size_t i = w->depth - 1; i-- > 0;) {
		buf_init(&outer, 2 * limit);
		tag_put(&outer, w->numbers[i], 2);
		varint_put(&outer, inner.size);
		assert_int_equal(buf_append(&outer, inner.data, inner.size), ERR_OK);
		buf_fini(&inner);
		inner = outer;
	}
	buf_clear(b);
	assert_int_equal(buf_append(b, inner.data, inner.size), ERR_OK);
	buf_fini(&inner);
}

// ---- throwing them

struct range {
	size_t bombs, worst_kib, worst_arena;
	size_t control_kib;
};

static void throw_at(struct range *r, const struct codec_table *t, struct bytes bomb)
{
	struct arena a;
	size_t budget = 64 * 1024 + (t->factor ? t->factor : 8) * bomb.size;
	SCOPED_FREE void *message = malloc(t->size);

	assert_non_null(message);
	arena_init(&a, (size_t)1 << 30, 1 << 24); // the caller's own bound is not what holds here
	size_t base = meter_begin_kib();
	enum err e = codec_decode(t, &a, bomb, message);
	size_t grown = meter_grown_kib(base);
	assert_true(e == ERR_OK || err_text()[0]);
	assert_true(a.used <= budget && a.count <= (t->allocations ? t->allocations : 4096));
	if (RSS_IS_OURS && grown > RSS_BOUND_KIB)
		fail_msg("%s: %zu KiB for %zu bytes", t->name, grown, bomb.size);
	r->bombs++;
	r->worst_kib = grown > r->worst_kib ? grown : r->worst_kib;
	r->worst_arena = a.used > r->worst_arena ? a.used : r->worst_arena;
	arena_fini(&a);
}

// What protobuf-c takes for the same.
static void control(struct range *r, const struct codec_table *t, struct bytes bomb)
{
	size_t base = meter_begin_kib();
	ProtobufCMessage *m = protobuf_c_message_unpack(t->descriptor, NULL, bomb.size, bomb.data);
	size_t grown = meter_grown_kib(base);

	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	r->control_kib = grown > r->control_kib ? grown : r->control_kib;
}

static void lists_walk(struct range *r, const struct codec_table *outermost,
	const struct codec_table *t, struct way *w, struct buf *b)
{
	assert_in_range(w->depth, 0, CODEC_DEPTH_MAX);
	for (size_t i = 0; i < t->row_count; i++) {
		const struct codec_row *row = &t->rows[i];
		w->numbers[w->depth] = number_of(t, row->name);
		if (w->numbers[w->depth] == 0)
			continue;
		w->depth++;
		w->kind = row->kind;
		if (row->kind == CODEC_MESSAGE || is_list(row)) {
			w->most = row->count_max; // as many as are taken, then all that fit
			if (w->most > 0) {
				bomb_make(b, w, outermost->limit);
				throw_at(r, outermost, buf_bytes(b));
			}
			w->most = SIZE_MAX;
			bomb_make(b, w, outermost->limit);
			throw_at(r, outermost, buf_bytes(b));
			if (row->kind == CODEC_MESSAGES)
				control(r, outermost, buf_bytes(b));
		}
		if (row->table)
			lists_walk(r, outermost, row->table, w, b);
		w->depth--;
	}
}

static void C8_no_list_however_full_takes_more_than_its_budget(void **state)
{
	struct range r = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 4 * 1024 * 1024);
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		struct way w = {.depth = 0};
		if (tables[i]->limit > 0)
			lists_walk(&r, tables[i], tables[i], &w, &b);
	}
	print_message(
		"%zu bombs: at most %zu KiB over base, %zu bytes of an arena; protobuf-c %zu KiB\n",
		r.bombs, r.worst_kib, r.worst_arena, r.control_kib);
	assert_true(r.bombs > 100);
	if (RSS_IS_OURS)
		assert_true(r.control_kib > RSS_BOUND_KIB);
	buf_fini(&b);
}

// Each field that holds bytes, ten thousand times in itself; and lengths that promise what is not
// there.
static void C8_depth_and_promises_cost_nothing(void **state)
{
	struct range r = {0};
	struct buf b, turned;

	(void)state;
	buf_init(&b, 4 * 1024 * 1024);
	buf_init(&turned, 4 * 1024 * 1024);
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		const ProtobufCMessageDescriptor *d = tables[i]->descriptor;
		for (unsigned f = 0; tables[i]->limit > 0 && f < d->n_fields; f++) {
			buf_clear(&turned); // from the innermost outwards, written backwards
			for (size_t n = 0; n < DEEP && turned.size + 8 < tables[i]->limit; n++) {
				uint8_t piece[16];
				struct buf head = {0};
				buf_init(&head, sizeof(piece));
				tag_put(&head, d->fields[f].id, 2);
				varint_put(&head, turned.size);
				for (size_t k = head.size; k-- > 0;)
					assert_int_equal(
						buf_append(&turned, &head.data[k], 1), ERR_OK);
				buf_fini(&head);
			}
			buf_clear(&b);
			for (size_t k = turned.size; k-- > 0;)
				assert_int_equal(buf_append(&b, &turned.data[k], 1), ERR_OK);
			throw_at(&r, tables[i], buf_bytes(&b));
			for (unsigned bits = 31; bits < 64; bits += 8) {
				buf_clear(&b);
				tag_put(&b, d->fields[f].id, 2);
				varint_put(&b, UINT64_MAX >> (63 - bits));
				throw_at(&r, tables[i], buf_bytes(&b));
			}
		}
	}
	print_message("%zu payloads: at most %zu KiB over base\n", r.bombs, r.worst_kib);
	assert_true(r.bombs > 500);
	buf_fini(&b);
	buf_fini(&turned);
}

// 2 MB of empty messages, which took protobuf-c 137 MB (M8): longer than any payload may be.
static void C8_a_payload_above_its_limit_is_refused_unread(void **state)
{
	struct range r = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 4 * 1024 * 1024);
	for (size_t n = 0; n < 1000000; n++) {
		tag_put(&b, 10, 2);
		varint_put(&b, 0);
	}
	for (size_t i = 0; i < TABLE_COUNT; i++) {
		if (tables[i]->limit == 0)
			continue;
		throw_at(&r, tables[i], buf_bytes(&b));
		assert_int_equal(r.worst_arena, 0);
		assert_non_null(strstr(err_text(), "bytes"));
	}
	assert_true(r.bombs > 10);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C8_no_list_however_full_takes_more_than_its_budget),
		cmocka_unit_test(C8_depth_and_promises_cost_nothing),
		cmocka_unit_test(C8_a_payload_above_its_limit_is_refused_unread),
	};

	return cmocka_run_group_tests_name("codec_bombs", tests, setup, teardown);
}
