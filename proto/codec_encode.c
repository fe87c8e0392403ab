// The way out: plain struct -> protobuf-c's struct -> bytes.
#include "proto/codec.h"

#include <assert.h>
#include <string.h>

// A tag below 2048 and the longest varint.
#define HEAD_MAX 12
// Up to here a message is packed into the room that it needs at most; above it is measured first.
#define UNMEASURED_MAX 4096

// protobuf-c's structs while they are packed: on the stack, the rest of a large message in an
// arena.
struct encoder {
	struct arena more;
	size_t used;
	size_t bound; // the packed message is not longer
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

static void *pb_slot(ProtobufCMessage *m, unsigned offset)
{
	return (uint8_t *)m + offset;
}

static enum err out_of_memory(const struct codec_path *path, const struct codec_row *row)
{
	return codec_refuse(path, row->name, ERR_MEMORY, "found no memory");
}

static enum err fill_message(struct encoder *e, const struct codec_path *path,
	const struct codec_table *t, const void *from, ProtobufCMessage *to);

static inline enum err number_check(
	const struct codec_path *path, const struct codec_row *row, uint64_t value)
{
	if (__builtin_expect(value >= row->min && value <= row->max, 1))
		return ERR_OK;
	return codec_check_number(path, row, value);
}

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
	return number_check(path, row, value);
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
static enum err fill_text(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, const char *text, char **slot)
{
	struct bytes value = text ? bytes_of(text, strlen(text)) : bytes_of("", 0);

	e->bound += value.size;
	memcpy(slot, &value.data, sizeof(*slot));
	return codec_check_text(path, row, value);
}

static enum err fill_bytes(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, struct bytes value, ProtobufCBinaryData *slot)
{
	e->bound += value.size;
	slot->len = value.size;
	memcpy(&slot->data, &value.data, sizeof(slot->data));
	return codec_check_bytes(path, row, value);
}

static enum err fill_fixed(struct encoder *e, const struct codec_path *path,
	const struct codec_row *row, const uint8_t *value, ProtobufCBinaryData *slot)
{
	TRY(fill_bytes(e, path, row, bytes_of(value, row->size), slot));
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
		TRY(fill_text(e, path, row, list[i], &texts[i]));
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
		TRY(fill_bytes(
			e, path, row, bytes_of(list + i * row->size, row->size), &values[i]));
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
	e->bound += count * HEAD_MAX;
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
	case CODEC_SKIP: // an outline is read, never written
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
		return fill_text(e, path, row, *(const char *const *)value, slot);
	case CODEC_FIXED:
		return fill_fixed(e, path, row, value, slot);
	case CODEC_BYTES:
		return fill_bytes(e, path, row, *(const struct bytes *)value, slot);
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
	e->bound += t->row_count * HEAD_MAX;
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

static enum err too_long(const struct codec_path *path, size_t size, size_t limit)
{
	return codec_refuse(path, NULL, ERR_RANGE, "has %zu bytes, at most %zu", size, limit);
}

static enum err pack(const struct codec_path *path, const struct encoder *e,
	const ProtobufCMessage *pb, size_t limit, struct buf *out)
{
	size_t size = e->bound;

	if (size > UNMEASURED_MAX || size > limit || size > out->max)
		size = protobuf_c_message_get_packed_size(pb);
	if (size > limit)
		return too_long(path, size, limit);
	TRY(buf_reserve(out, size));
	out->size = protobuf_c_message_pack(pb, out->data);
	assert(out->size <= size);
	return ERR_OK;
}

static enum err encode(
	const struct codec_table *t, struct encoder *e, const void *message, struct buf *out)
{
	struct codec_path path = {NULL, t->name, CODEC_NO_INDEX};
	ProtobufCMessage *pb = encoder_alloc(e, 1, t->descriptor->sizeof_message);
	bool sealed = t->rows[t->row_count - 1].kind == CODEC_AUTH;
	size_t limit = t->limit - (sealed ? CODEC_AUTH_BYTES : 0);

	assert(pb && t->limit > CODEC_AUTH_BYTES);
	protobuf_c_message_init(t->descriptor, pb);
	TRY(fill_message(e, &path, t, message, pb));
	TRY(pack(&path, e, pb, limit, out));
	size_t last = t->row_count - 1 - sealed; // the only one that can be spliced
	if (t->rows[last].flags & CODEC_SPLICED)
		TRY(splice(&path, &t->rows[last], t->descriptor->fields[last].id, message, out));
	return out->size > limit ? too_long(&path, out->size, limit) : ERR_OK;
}

// Clears out first; it holds a whole message or nothing.
enum err codec_encode(const struct codec_table *t, const void *message, struct buf *out)
{
	struct encoder e;

	e.used = e.bound = 0;
	arena_init(&e.more, 16 * 1024 * 1024, SIZE_MAX);
	buf_clear(out);
	enum err result = encode(t, &e, message, out);
	arena_fini(&e.more);
	if (result != ERR_OK)
		buf_clear(out);
	return result;
}
