// Patches. The first byte chooses: a patch that is applied to a base as it comes, or two texts
// whose patch must give the second one back.
#include "tests/fuzz/fuzz.h"

#include "proto/delta.h"

static void apply_any(const uint8_t *data, size_t size)
{
	size_t base = data[0] * 16u < size - 2 ? data[0] * 16u : size - 2, out_size = data[1] * 16u;
	uint8_t *out = malloc(out_size + 1); // exact: a sanitizer sees one byte too many

	FUZZ_HOLDS(out != NULL);
	out[out_size] = 0xa5;
	enum err e = delta_apply(bytes_of(data + 2, base),
		bytes_of(data + 2 + base, size - 2 - base), out, out_size);
	FUZZ_HOLDS(e == ERR_OK || e == ERR_FORMAT);
	FUZZ_HOLDS(out[out_size] == 0xa5);
	free(out);
}

static void make_and_apply(const uint8_t *data, size_t size)
{
	static struct delta_maker *maker;
	size_t base = size * data[0] / 256, plain = size - base;
	SCOPED_BUF struct buf patch;
	uint8_t *out = malloc(plain + 1);

	buf_init(&patch, DELTA_PATCH_MAX);
	FUZZ_HOLDS(out != NULL && (maker != NULL || delta_maker_new(&maker) == ERR_OK));
	enum err e = delta_make(maker, bytes_of(data, base), bytes_of(data + base, plain), &patch);
	FUZZ_HOLDS(e == ERR_OK || e == ERR_FULL);
	if (e == ERR_OK) {
		FUZZ_HOLDS(
			delta_apply(bytes_of(data, base), buf_bytes(&patch), out, plain) == ERR_OK);
		FUZZ_HOLDS(memcmp(out, data + base, plain) == 0);
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || size > LIMIT_CHUNK)
		return 0;
	if (data[0] & 1)
		apply_any(data + 1, size - 1);
	else
		make_and_apply(data + 1, size - 1);
	return 0;
}
