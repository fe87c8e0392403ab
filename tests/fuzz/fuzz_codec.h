// A codec under any bytes: what decodes encodes again, to bytes that decode to the same; protobuf-c
// reads the same message from them; and memory stays inside the budget.
#ifndef HELIO_TESTS_FUZZ_CODEC_H
#define HELIO_TESTS_FUZZ_CODEC_H

#include "proto/codec.h"
#include "tests/fuzz/fuzz.h"

// Bytes -> message -> bytes. False when the bytes are refused.
static inline bool fuzz_again(const struct codec_table *t, struct bytes in, struct buf *out)
{
	void *message = malloc(t->size);
	struct arena arena;

	FUZZ_HOLDS(message);
	arena_init(&arena, 16 * 1024 * 1024, 100000);
	bool taken = codec_decode(t, &arena, in, message) == ERR_OK;
	FUZZ_HOLDS(arena.used <= 64 * 1024 + 12 * in.size + 16 * arena.count);
	if (taken) {
		enum err e = codec_encode(t, message, out);

		// an unsealed payload may fill the room that encode keeps for auth
		FUZZ_HOLDS(e == ERR_OK || in.size > t->limit - CODEC_AUTH_BYTES);
		taken = e == ERR_OK;
	}
	arena_fini(&arena);
	free(message);
	return taken;
}

// What protobuf-c reads from the bytes, packed again.
static inline void fuzz_witness(const struct codec_table *t, struct bytes in, struct buf *out)
{
	ProtobufCMessage *pb = protobuf_c_message_unpack(t->descriptor, NULL, in.size, in.data);

	FUZZ_HOLDS(pb);
	buf_clear(out);
	FUZZ_HOLDS(buf_reserve(out, protobuf_c_message_get_packed_size(pb)) == ERR_OK);
	out->size = protobuf_c_message_pack(pb, out->data);
	protobuf_c_message_free_unpacked(pb, NULL);
}

// Packed again by the witness, then read and written by us: one form for every way to write a
// message, also of a body that a response carries as it came.
static inline void fuzz_canonical(const struct codec_table *t, struct bytes in, struct buf *out)
{
	struct buf packed;

	buf_init(&packed, 2 * t->limit);
	fuzz_witness(t, in, &packed);
	FUZZ_HOLDS(fuzz_again(t, buf_bytes(&packed), out));
	buf_fini(&packed);
}

static inline void fuzz_table(const struct codec_table *t, struct bytes in)
{
	struct buf once, twice, seen;

	buf_init(&once, 2 * t->limit);
	buf_init(&twice, 2 * t->limit);
	buf_init(&seen, 2 * t->limit);
	if (fuzz_again(t, in, &once)) {
		FUZZ_HOLDS(fuzz_again(t, buf_bytes(&once), &twice));
		FUZZ_HOLDS(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
		fuzz_canonical(t, in, &seen);
		fuzz_canonical(t, buf_bytes(&once), &twice);
		FUZZ_HOLDS(bytes_equal(buf_bytes(&seen), buf_bytes(&twice)));
	}
	buf_fini(&once);
	buf_fini(&twice);
	buf_fini(&seen);
}

// A target for a family of messages: every table sees the same bytes.
#define FUZZ_CODECS(...)                                                                           \
	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)                               \
	{                                                                                          \
		const struct codec_table *const family[] = {__VA_ARGS__};                          \
                                                                                                   \
		for (size_t i = 0; i < sizeof(family) / sizeof(family[0]); i++)                    \
			fuzz_table(family[i], bytes_of(data, size));                               \
		return 0;                                                                          \
	}

#endif
