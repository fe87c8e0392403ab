// What a name server answers: any bytes come back as no target, or as few good ones in their order.
#include "proto/srv.h"
#include "tests/fuzz/fuzz.h"

static uint64_t counted(void *ctx)
{
	uint64_t *n = ctx;

	return *n += 0x9e3779b97f4a7c15u;
}

static uint64_t sum_of(const struct srv_list *l)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < l->count; i++)
		sum += l->targets[i].port * UINT64_C(65536) + l->targets[i].weight;
	return sum;
}

static void promises(const struct srv_list *l)
{
	FUZZ_HOLDS(l->count <= SRV_TARGETS_MAX);
	for (size_t i = 0; i < l->count; i++) {
		const struct srv_target *t = &l->targets[i];

		FUZZ_HOLDS(t->port != 0 && t->host[0] != '\0');
		FUZZ_HOLDS(memchr(t->host, '\0', sizeof(t->host)));
		FUZZ_HOLDS(i == 0 || l->targets[i - 1].priority <= t->priority);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct srv_list l;
	uint64_t n = size;

	if (srv_parse(bytes_of(data, size), &l) == ERR_OK) {
		uint64_t sum = sum_of(&l);
		size_t count = l.count;

		FUZZ_HOLDS(count > 0);
		promises(&l);
		srv_order(&l, counted, &n);
		promises(&l);
		FUZZ_HOLDS(l.count == count && sum_of(&l) == sum); // none lost, none twice
	}
	return 0;
}
