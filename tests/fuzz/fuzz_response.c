// Responses, their bodies as they lie in the store, and the outlines of those whose content is not
// understood: what is understood has the same outline.
#include "proto/message.h"
#include "tests/fuzz/fuzz_codec.h"

static void outline(struct bytes in)
{
	struct response_body whole, head;
	struct response r;
	struct arena arena;

	arena_init(&arena, 16 * 1024 * 1024, 100000);
	enum err full = response_body_decode(&arena, in, &whole);
	enum err part = response_body_outline(&arena, in, &head);
	if (full == ERR_OK && whole.kind != KIND_NO_ACTION)
		FUZZ_HOLDS(part == ERR_OK && whole.op_id == head.op_id &&
			   whole.response_id == head.response_id && whole.kind == head.kind);
	FUZZ_HOLDS(part != ERR_OK || (!head.send && !head.retrieve && !head.execute));
	part = response_outline(&arena, in, &r);
	FUZZ_HOLDS(part != ERR_OK || r.body->op_id != 0);
	arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_table(&codec_response, bytes_of(data, size));
	fuzz_table(&codec_response_body, bytes_of(data, size));
	outline(bytes_of(data, size));
	return 0;
}
