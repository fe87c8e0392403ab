// The agent's state file, as a disk may give it back: what is read is written again to the same.
#include "client/agent_state.h"
#include "tests/fuzz/fuzz_text.h"

static void state_try(struct bytes text)
{
	static const struct id16 none;
	struct agent_state s, again;
	SCOPED_BUF struct buf one, two;

	buf_init(&one, 2 * AGENT_STATE_MAX);
	buf_init(&two, 2 * AGENT_STATE_MAX);
	agent_state_init(&s, &none);
	agent_state_init(&again, &none);
	if (agent_state_decode(text, &s) == ERR_OK &&
		agent_state_encode(&s, &one) == ERR_OK) { // too much of all may not fit
		FUZZ_HOLDS(agent_state_decode(buf_bytes(&one), &again) == ERR_OK);
		FUZZ_HOLDS(agent_state_encode(&again, &two) == ERR_OK);
		FUZZ_HOLDS(one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
	}
	agent_state_fini(&s);
	agent_state_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_BUF struct buf ended;

	buf_init(&ended, AGENT_STATE_MAX + 128);
	if (size > AGENT_STATE_MAX)
		return 0;
	state_try(bytes_of(data, size));
	text_ended(data, size, &ended);
	state_try(buf_bytes(&ended));
	return 0;
}
