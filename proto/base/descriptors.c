#include "proto/base/descriptors.h"

#include "proto/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct {
	bool exhausted;
	struct mono since;
} state;

// 0, or why no more can be had.
static int few_more_can_be_had(void)
{
	int held[DESCRIPTORS_NEEDED], why = 0;
	size_t count = 0;

	while (count < DESCRIPTORS_NEEDED && why == 0) {
		held[count] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (held[count] >= 0)
			count++;
		else
			why = errno;
	}
	while (count > 0)
		close(held[--count]);
	return why == EMFILE || why == ENFILE ? why : 0;
}

void descriptors_look(struct mono now)
{
	int why = few_more_can_be_had();
	struct rlimit limit = {0};

	if (state.exhausted == (why != 0))
		return;
	state.exhausted = why != 0;
	if (why != 0) {
		state.since = now;
		getrlimit(RLIMIT_NOFILE, &limit);
		log_error("DESCRIPTORS-EXHAUSTED", "limit=%llu why=%s",
			(unsigned long long)limit.rlim_cur, log_quote(strerror(why)));
	} else {
		log_warn("DESCRIPTORS-RECOVERED", "after_ms=%lld",
			(long long)mono_since_ms(now, state.since));
	}
}

bool descriptors_are_exhausted(void)
{
	return state.exhausted;
}
