// The way between plain structs and protobuf-c's, both directions, row by row.
#include "proto/codec.h"

#include <assert.h>
#include <string.h>

// ---- protobuf-c's structs, seen through their descriptors

static const void *pb_at(const ProtobufCMessage *m, unsigned offset)
{
	return (const uint8_t *)m + offset;
}

static void *pb_slot(ProtobufCMessage *m, unsigned offset)
{
	return (uint8_t *)m + offset;
}

static const void *pb_pointer(const ProtobufCMessage *m, unsigned offset)
{
	const void *p;

	memcpy(&p, pb_at(m, offset), sizeof(p));
	return p;
}

static size_t pb_count(const ProtobufCMessage *m, unsigned offset)
{
	size_t n;

	memcpy(&n, pb_at(m, offset), sizeof(n));
	return n;
}

// ---- decode

// The budget of one decode inside the budget of the arena.
struct decoder {
	struct arena *arena;
	size_t bytes_left, allocations_left;
	bool full;
};

static void *decoder_alloc(void *data, size_t size)
{
	struct decoder *d = data;
	void *p = NULL;

	if (size <= d->bytes_left && d->allocations_left > 0)
		p = arena_alloc(d->arena, size);
	if (!p) {
		d->full = true;
		return NULL;
	}
	d->bytes_left -= size;
	d->allocations_left--;
	return p;
}

// The arena forgets all at once.
static void decoder_free(void *data, void *pointer)
{
	(void)data;
	(void)pointer;
}

static void *decoder_array(struct decoder *d, size_t count, size_t size)
{
	size_t total;

	return __builtin_mul_overflow(count, size, &total) ? NULL : decoder_alloc(d, total);
}

static enum err exhausted(const struct codec_path *path, const struct codec_row *row)
{
	return codec_refuse(path, row ? row->name : NULL, ERR_FULL, "needs too much memory");
}

static enum err take_message(struct decoder *d, const struct codec_path *path,
	const struct codec_table *t, const ProtobufCMessage *from, void *to);

static enum err take_submessage(struct decoder *d, const struct codec_path *path,
	const struct codec_row *row, const ProtobufCMessage *from, uint8_t *to)
{
	struct codec_path sub = {path, row->name, CODEC_NO_INDEX};
	void *plain = NULL;

	if (from) {
		plain = decoder_alloc(d, row->size);
		if (!plain)
			return exhausted(path, row);
		TRY(take_message(d, &sub, row->table, from, plain));
	}
	memcpy(to + row->at, &plain, sizeof(plain));
	return ERR_OK;
}

static enum err take_messages(struct decoder *d, const struct codec_path *path,
	const struct codec_row *row, const ProtobufCMessage *const *from, size_t count, void **list)
{
	struct codec_path sub = {path, row->name, 0};

	*list = decoder_array(d, count, row->size);
	if (!*list)
		return exhausted(path, row);
	for (; sub.index < count; sub.index++)
		TRY(take_message(d, &sub, row->table, from[sub.index],
			(uint8_t *)*list + sub.index * row->size));
	return ERR_OK;
}

static enum err take_fixeds(struct decoder *d, const struct codec_path *path,
	const struct codec_row *row, const ProtobufCBinaryData *from, size_t count, void **list)
{
	*list = decoder_array(d, count, row->size);
	if (!*list)
		return exhausted(path, row);
	for (size_t i = 0; i < count; i++) {
		assert(from[i].len == row->size);
		memcpy((uint8_t *)*list + i * row->size, from[i].data, row->size);
	}
	return ERR_OK;
}

static enum err take_list(struct decoder *d, const struct codec_path *path,
	const struct codec_row *row, const ProtobufCFieldDescriptor *field,
	const ProtobufCMessage *from, uint8_t *to)
{
	size_t count = pb_count(from, field->quantifier_offset);
	const void *elements = pb_pointer(from, field->offset);
	void *list = NULL;

	if (count > 0 && row->kind == CODEC_MESSAGES)
		TRY(take_messages(d, path, row, elements, count, &list));
	else if (count > 0 && row->kind == CODEC_FIXEDS)
		TRY(take_fixeds(d, path, row, elements, count, &list));
	else if (count > 0)
		memcpy(&list, &elements, sizeof(list)); // TEXTS, U32S: the same shape, in the arena
	memcpy(to + row->at, &list, sizeof(list));
	memcpy(to + row->count_at, &count, sizeof(count));
	return ERR_OK;
}

static void take_bytes(const struct codec_row *row, const ProtobufCBinaryData *from, uint8_t *to)
{
	struct bytes value = bytes_of(from->data, from->len);

	if (row->kind == CODEC_BYTES)
		memcpy(to + row->at, &value, sizeof(value));
	else if (value.size > 0)
		memcpy(to + row->at, value.data, row->size);
}

static enum err take_row(struct decoder *d, const struct codec_path *path,
	const struct codec_row *row, const ProtobufCFieldDescriptor *field,
	const ProtobufCMessage *from, uint8_t *to)
{
	const void *value = pb_at(from, field->offset);

	switch (row->kind) {
	case CODEC_SCHEMA:
	case CODEC_AUTH:
		break;
	case CODEC_U32:
	case CODEC_ENUM:
		memcpy(to + row->at, value, 4);
		break;
	case CODEC_U64:
	case CODEC_I64:
	case CODEC_DOUBLE:
		memcpy(to + row->at, value, 8);
		break;
	case CODEC_BOOL:
		to[row->at] = *(const protobuf_c_boolean *)value != 0;
		break;
	case CODEC_ID:
	case CODEC_TEXT:
		memcpy(to + row->at, value, sizeof(char *));
		break;
	case CODEC_FIXED:
	case CODEC_BYTES:
		take_bytes(row, value, to);
		break;
	case CODEC_MESSAGE:
		return take_submessage(d, path, row, pb_pointer(from, field->offset), to);
	case CODEC_MESSAGES:
	case CODEC_TEXTS:
	case CODEC_FIXEDS:
	case CODEC_U32S:
		return take_list(d, path, row, field, from, to);
	}
	return ERR_OK;
}

// to is zeroed.
static enum err take_message(struct decoder *d, const struct codec_path *path,
	const struct codec_table *t, const ProtobufCMessage *from, void *to)
{
	for (size_t i = 0; i < t->row_count; i++)
		TRY(take_row(d, path, &t->rows[i], &t->descriptor->fields[i], from, to));
	return t->check ? t->check(path, to) : ERR_OK;
}

static enum err decode(
	const struct codec_table *t, struct decoder *d, struct bytes payload, uint8_t *message)
{
	struct codec_path path = {NULL, t->name, CODEC_NO_INDEX};
	ProtobufCAllocator allocator = {decoder_alloc, decoder_free, d};
	struct bytes received = {NULL, 0};

	if (payload.size == 0)
		return codec_refuse(&path, NULL, ERR_FORMAT, "is empty");
	if (payload.size > t->limit)
		return codec_refuse(&path, NULL, ERR_RANGE, "has %zu bytes, at most %zu",
			payload.size, t->limit);
	TRY(codec_check_payload(t, payload, &received));
	ProtobufCMessage *pb =
		protobuf_c_message_unpack(t->descriptor, &allocator, payload.size, payload.data);
	if (!pb)
		return d->full ? exhausted(&path, NULL)
			       : codec_refuse(&path, NULL, ERR_FORMAT, "is malformed");
	TRY(take_message(d, &path, t, pb, message));
	for (size_t i = 0; i < t->row_count; i++) {
		if (t->rows[i].flags & CODEC_RECEIVED)
			memcpy(message + t->rows[i].received, &received, sizeof(received));
	}
	return ERR_OK;
}

enum err codec_decode(
	const struct codec_table *t, struct arena *a, struct bytes payload, void *message)
{
	size_t factor = t->factor ? t->factor : 8;
	struct decoder d = {.arena = a, .allocations_left = t->allocations ? t->allocations : 4096};

	assert(t->limit > 0);
	memset(message, 0, t->size);
	d.bytes_left = 64 * 1024 + factor * (payload.size < t->limit ? payload.size : t->limit);
	enum err e = decode(t, &d, payload, message);
	if (e != ERR_OK)
		memset(message, 0, t->size);
	return e;
}

// ---- encode

// protobuf-c's structs while they are packed: on the stack, the rest of a large message in an
// arena.
struct encoder {
	struct arena more;
	size_t used;
	_Alignas(16) uint8_t near[4096];
};

static void *encoder_alloc(struct encoder *e, size_t count, size_t size)
{
	size_t need;

	if (__builtin_mul_overflow(count, size, &need) || need > SIZE_MAX - 15)
		return NULL;
	need = (need + 15) & ~(size_t)15;
	if (need > sizeof(e->near) - e->used)
		return arena_alloc(&e->more, need);
	e->used += need;
	return e->near + e->used - need;
}

static enum err out_of_memory(const struct codec_path *path, const struct codec_row *row)
{
	return codec_refuse(path, row->name, ERR_MEMORY, "found no memory");
}

static enum err fill_message(struct encoder *e, const struct codec_path *path,
	const struct codec_table *t, const void *from, ProtobufCMessage *to);

static enum err fill_number(
	const struct codec_path *path, const struct codec_row *row, const uint8_t *from, void *slot)
{
	uint64_t value = 0;
	uint32_t small;

	if (row->kind == CODEC_BOOL) {
		*(protobuf_c_boolean *)slot = from[row->at] != 0;
		return ERR_OK;
	}
	if (row->kind == CODEC_U32 || row->kind == CODEC_ENUM) {
		memcpy(&small, from + row->at, sizeof(small));
		memcpy(slot, &small, sizeof(small));
		value = small;
	} else {
		memcpy(&value, from + row->at, sizeof(value));
		memcpy(slot, &value, sizeof(value));
	}
	return codec_check_number(path, row, value);
}

static enum err fill_double(
	const struct codec_path *path, const struct codec_row *row, const uint8_t *from, void *slot)
{
	double value;

	memcpy(&value, from + row->at, sizeof(value));
	memcpy(slot, &value, sizeof(value));
	return codec_check_double(path, row, value);
}

// protobuf-c's structs are not const; packing writes nothing to what they point at.
static enum err fill_text(
	const struct codec_path *path, const struct codec_row *row, const char *text, char **slot)
{
	struct bytes value = text ? bytes_of(text, strlen(text)) : bytes_of("", 0);

	memcpy(slot, &value.data, sizeof(*slot));
	return codec_check_text(path, row, value);
}

static enum err fill_bytes(const struct codec_path *path, const struct codec_row *row,
	struct bytes value, ProtobufCBinaryData *slot)
{
	slot->len = value.size;
	memcpy(&slot->data, &value.data, sizeof(slot->data));
	return codec_check_bytes(path, row, value);
}

static enum err fill_fixed(const struct codec_path *path, const struct codec_row *row,
	const uint8_t *value, ProtobufCBinaryData *slot)
{
	TRY(fill_bytes(path, row, bytes_of(value, row->size), slot));
	bool zero = value[0] == 0 && memcmp(value, value + 1, row->size - 1) == 0;
	if (zero)
		slot->len = 0;
	return ERR_OK;
}

static enum err fill_submessage(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, const void *from, ProtobufCMessage **slot)
{
	const ProtobufCMessageDescriptor *descriptor = row->table->descriptor;

	TRY(codec_check_present(path, row, from != NULL));
	if (!from)
		return ERR_OK;
	*slot = encoder_alloc(e, 1, descriptor->sizeof_message);
	if (!*slot)
		return out_of_memory(path, row);
	protobuf_c_message_init(descriptor, *slot);
	struct codec_path sub = {path, row->name, CODEC_NO_INDEX};
	return fill_message(e, &sub, row->table, from, *slot);
}

static enum err fill_messages(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, const uint8_t *list, size_t count, void **slot)
{
	const ProtobufCMessageDescriptor *descriptor = row->table->descriptor;
	struct codec_path sub = {path, row->name, 0};
	size_t step = (descriptor->sizeof_message + 15) & ~(size_t)15;
	ProtobufCMessage **pointers = encoder_alloc(e, count, sizeof(*pointers));
	uint8_t *elements = encoder_alloc(e, count, step);

	if (!pointers || !elements)
		return out_of_memory(path, row);
	for (; sub.index < count; sub.index++) {
		ProtobufCMessage *element = (void *)(elements + sub.index * step);

		protobuf_c_message_init(descriptor, element);
		TRY(fill_message(e, &sub, row->table, list + sub.index * row->size, element));
		pointers[sub.index] = element;
	}
	*slot = pointers;
	return ERR_OK;
}

static enum err fill_texts(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, const char *const *list, size_t count, void **slot)
{
	char **texts = encoder_alloc(e, count, sizeof(*texts));

	if (!texts)
		return out_of_memory(path, row);
	for (size_t i = 0; i < count; i++)
		TRY(fill_text(path, row, list[i], &texts[i]));
	*slot = texts;
	return ERR_OK;
}

static enum err fill_fixeds(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, const uint8_t *list, size_t count, void **slot)
{
	ProtobufCBinaryData *values = encoder_alloc(e, count, sizeof(*values));

	if (!values)
		return out_of_memory(path, row);
	for (size_t i = 0; i < count; i++)
		TRY(fill_bytes(path, row, bytes_of(list + i * row->size, row->size), &values[i]));
	*slot = values;
	return ERR_OK;
}

static enum err fill_list(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, const uint8_t *from, void *slot, void *count_slot)
{
	const void *list;
	void *filled = NULL;
	size_t count;

	memcpy(&list, from + row->at, sizeof(list));
	memcpy(&count, from + row->count_at, sizeof(count));
	TRY(codec_check_count(path, row, count));
	assert(list || count == 0);
	if (count > 0 && row->kind == CODEC_MESSAGES)
		TRY(fill_messages(e, path, row, list, count, &filled));
	else if (count > 0 && row->kind == CODEC_TEXTS)
		TRY(fill_texts(e, path, row, list, count, &filled));
	else if (count > 0 && row->kind == CODEC_FIXEDS)
		TRY(fill_fixeds(e, path, row, list, count, &filled));
	else if (count > 0)
		memcpy(&filled, &list, sizeof(filled));
	for (size_t i = 0; i < count && row->kind == CODEC_U32S; i++)
		TRY(codec_check_number(path, row, ((const uint32_t *)list)[i]));
	memcpy(slot, &filled, sizeof(filled));
	memcpy(count_slot, &count, sizeof(count));
	return ERR_OK;
}

static enum err fill_row(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, const ProtobufCFieldDescriptor *field, const uint8_t *from,
	ProtobufCMessage *to)
{
	void *slot = pb_slot(to, field->offset);
	const void *value = from + row->at;

	switch (row->kind) {
	case CODEC_SCHEMA:
		*(uint32_t *)slot = 1;
		break;
	case CODEC_AUTH:
		break;
	case CODEC_U32:
	case CODEC_U64:
	case CODEC_I64:
	case CODEC_BOOL:
	case CODEC_ENUM:
		return fill_number(path, row, from, slot);
	case CODEC_DOUBLE:
		return fill_double(path, row, from, slot);
	case CODEC_ID:
	case CODEC_TEXT:
		return fill_text(path, row, *(const char *const *)value, slot);
	case CODEC_FIXED:
		return fill_fixed(path, row, value, slot);
	case CODEC_BYTES:
		return fill_bytes(path, row, *(const struct bytes *)value, slot);
	case CODEC_MESSAGE:
		if (row->flags & CODEC_SPLICED)
			break;
		return fill_submessage(e, path, row, *(const void *const *)value, slot);
	case CODEC_MESSAGES:
	case CODEC_TEXTS:
	case CODEC_FIXEDS:
	case CODEC_U32S:
		return fill_list(e, path, row, from, slot, pb_slot(to, field->quantifier_offset));
	}
	return ERR_OK;
}

static enum err fill_message(struct encoder *e, const struct codec_path *path,
	const struct codec_table *t, const void *from, ProtobufCMessage *to)
{
	for (size_t i = 0; i < t->row_count; i++)
		TRY(fill_row(e, path, &t->rows[i], &t->descriptor->fields[i], from, to));
	return t->check ? t->check(path, from) : ERR_OK;
}

// Tag and length of a field of wire type 2. out has room for 16.
static size_t field_head(uint32_t number, size_t size, uint8_t out[16])
{
	uint64_t values[2] = {(uint64_t)number << 3 | 2, size};
	size_t n = 0;

	for (int i = 0; i < 2; i++) {
		for (; values[i] >= 0x80; values[i] >>= 7)
			out[n++] = (uint8_t)(values[i] | 0x80);
		out[n++] = (uint8_t)values[i];
	}
	return n;
}

// Writes a submessage that is already encoded: the last field before auth, so it follows the rest.
static enum err splice(const struct codec_path *path, const struct codec_row *row, uint32_t number,
	const uint8_t *from, struct buf *out)
{
	const struct bytes *value = (const void *)(from + row->received);
	uint8_t head[16];

	TRY(codec_check_present(path, row, value->size > 0));
	if (value->size > row->max)
		return codec_refuse(path, row->name, ERR_RANGE, "has %zu bytes, at most %zu",
			value->size, (size_t)row->max);
	TRY(buf_append(out, head, field_head(number, value->size, head)));
	return buf_append(out, value->data, value->size);
}

static enum err encode(
	const struct codec_table *t, struct encoder *e, const void *message, struct buf *out)
{
	struct codec_path path = {NULL, t->name, CODEC_NO_INDEX};
	const ProtobufCMessageDescriptor *descriptor = t->descriptor;
	ProtobufCMessage *pb = encoder_alloc(e, 1, descriptor->sizeof_message);
	bool sealed = t->rows[t->row_count - 1].kind == CODEC_AUTH;
	size_t limit = t->limit - (sealed ? CODEC_AUTH_BYTES : 0);

	assert(pb && t->limit > CODEC_AUTH_BYTES);
	protobuf_c_message_init(descriptor, pb);
	TRY(fill_message(e, &path, t, message, pb));
	size_t size = protobuf_c_message_get_packed_size(pb);
	if (size > limit)
		return codec_refuse(
			&path, NULL, ERR_RANGE, "has %zu bytes, at most %zu", size, limit);
	TRY(buf_reserve(out, size));
	out->size += protobuf_c_message_pack(pb, out->data + out->size);
	for (size_t i = 0; i < t->row_count; i++) {
		if (t->rows[i].flags & CODEC_SPLICED)
			TRY(splice(&path, &t->rows[i], descriptor->fields[i].id, message, out));
	}
	if (out->size > limit)
		return codec_refuse(
			&path, NULL, ERR_RANGE, "has %zu bytes, at most %zu", out->size, limit);
	return ERR_OK;
}

enum err codec_encode(const struct codec_table *t, const void *message, struct buf *out)
{
	struct encoder e;

	e.used = 0;
	arena_init(&e.more, 16 * 1024 * 1024, SIZE_MAX);
	buf_clear(out);
	enum err result = encode(t, &e, message, out);
	arena_fini(&e.more);
	if (result != ERR_OK)
		buf_clear(out);
	return result;
}
