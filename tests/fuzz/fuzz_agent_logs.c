// A log of any program: the lines that answer a question are lines of it, and no more than asked.
#include "client/logs.h"
#include "tests/fuzz/fuzz.h"

// The first bytes are the question.
struct question_bytes {
	uint8_t since, pattern, lines, max, inside;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const patterns[] = {"", "a", "error", "\n"};
	static const struct wall now = {1795262000000};
	struct question_bytes b;
	bool truncated = false;
	SCOPED_BUF struct buf out;

	buf_init(&out, size + 16);
	if (size < sizeof(b))
		return 0;
	memcpy(&b, data, sizeof(b));
	struct bytes text = bytes_of(data + sizeof(b), size - sizeof(b));
	struct log_question q = {
		.since_unix_ms = b.since ? now.ms - b.since * INT64_C(86400000) : 0,
		.pattern = patterns[b.pattern % 4],
		.lines = b.lines,
		.max_bytes = b.max * UINT64_C(16),
	};
	if (logs_choose(text, b.inside & 1, &q, now, &out, &truncated) == ERR_OK) {
		size_t lines = 0;

		FUZZ_HOLDS(out.size <= q.max_bytes && out.size <= text.size + 1);
		for (size_t i = 0; i < out.size; i++)
			lines += out.data[i] == '\n' || i + 1 == out.size;
		FUZZ_HOLDS(q.lines == 0 || lines <= q.lines);
	}
	FUZZ_HOLDS(log_line_time((const char *)text.data, text.size, now) >= -1);
	return 0;
}
