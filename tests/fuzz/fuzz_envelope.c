// Envelopes from anybody: nothing opens but what was signed, and the payload lies inside the bytes.
#include "tests/fuzz/fuzz_envelope.h"

#include "proto/codec_envelope.h"
#include "tests/fuzz/fuzz_codec.h"

static const struct key32 *public_key(void)
{
	static struct sign_key *key;

	if (!key)
		FUZZ_HOLDS(sign_key_load(&fuzz_secret, &key) == ERR_OK);
	return sign_key_public(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size), payload;

	fuzz_table(&codec_envelope_parts, in);
	for (int p = 0; p < PURPOSE_COUNT; p++) {
		if (envelope_open((enum purpose)p, in, public_key(), 1, 1, &payload) != ERR_OK)
			continue;
		FUZZ_HOLDS(bytes_equal(payload, bytes_of(FUZZ_SIGNED, sizeof(FUZZ_SIGNED) - 1)));
		FUZZ_HOLDS(payload.data >= data && payload.data + payload.size <= data + size);
	}
	return 0;
}
