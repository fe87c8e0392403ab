// A time zone's file: whatever it says, an hour is no more than a day away, and changes lie ahead.
#include "proto/base/zone.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t moments[] = {0, -5000000000, 1795262400, 2216142000, 99999999999};
	struct zone z;

	enum err e = zone_parse(&z, bytes_of(data, size));
	FUZZ_HOLDS(e == ERR_OK || z.count == 0);
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		int32_t offset = zone_offset_s(&z, moments[i]);
		int64_t next = zone_next_change_s(&z, moments[i]);

		FUZZ_HOLDS(offset > -8 * 86400 && offset < 8 * 86400);
		FUZZ_HOLDS(next > moments[i]);
		FUZZ_HOLDS(next == INT64_MAX || zone_offset_s(&z, next - 1) == offset);
	}
	zone_fini(&z);
	return 0;
}
