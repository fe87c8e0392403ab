// The one door to the resolver's own interface; see srv.h.
#include "proto/srv.h"

#include "proto/base/file.h"
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <resolv.h>
#include <string.h>

#define ANSWER_MAX 65535

// Sorted by priority while they come, so that what does not fit is what is wanted least.
static void target_add(struct srv_list *l, const struct srv_target *t)
{
	size_t at = l->count;

	while (at > 0 && l->targets[at - 1].priority > t->priority)
		at--;
	if (at == SRV_TARGETS_MAX)
		return;
	if (l->count < SRV_TARGETS_MAX)
		l->count++;
	memmove(&l->targets[at + 1], &l->targets[at], (l->count - at - 1) * sizeof(l->targets[0]));
	l->targets[at] = *t;
}

static enum err record_take(struct srv_list *l, ns_msg *m, const ns_rr *rr)
{
	const uint8_t *data = ns_rr_rdata(*rr);
	struct srv_target t = {0};

	if (ns_rr_rdlen(*rr) < 7)
		return err_set(ERR_FORMAT, "an SRV record is too short");
	t.priority = (uint16_t)ns_get16(data);
	t.weight = (uint16_t)ns_get16(data + 2);
	t.port = (uint16_t)ns_get16(data + 4);
	if (dn_expand(ns_msg_base(*m), ns_msg_end(*m), data + 6, t.host, sizeof(t.host)) < 0)
		return err_set(ERR_FORMAT, "an SRV record has no readable target");
	if (t.host[0] != '\0' && strcmp(t.host, ".") != 0 && t.port != 0)
		target_add(l, &t);
	return ERR_OK;
}

enum err srv_parse(struct bytes answer, struct srv_list *out)
{
	ns_msg m;

	out->count = 0;
	if (answer.size > ANSWER_MAX || ns_initparse(answer.data, (int)answer.size, &m) != 0)
		return err_set(ERR_FORMAT, "the answer of a name server cannot be read");
	for (int i = 0; i < ns_msg_count(m, ns_s_an); i++) {
		ns_rr rr;

		if (ns_parserr(&m, ns_s_an, i, &rr) != 0)
			return err_set(ERR_FORMAT, "record %d of a name server cannot be read", i);
		if (ns_rr_type(rr) == ns_t_srv && ns_rr_class(rr) == ns_c_in)
			TRY(record_take(out, &m, &rr));
	}
	return out->count ? ERR_OK : err_set(ERR_NOT_FOUND, "no target stands in the answer");
}

// Draws one of [from, to), which have one priority, and puts it first.
static void draw(struct srv_list *l, size_t from, size_t to, uint64_t chance)
{
	uint64_t sum = 0, at;
	size_t i = from;

	for (size_t k = from; k < to; k++)
		sum += l->targets[k].weight;
	if (sum == 0) {
		i = from + (size_t)(chance % (to - from));
	} else {
		at = chance % sum;
		while (at >= l->targets[i].weight)
			at -= l->targets[i++].weight;
	}
	struct srv_target drawn = l->targets[i];
	memmove(&l->targets[from + 1], &l->targets[from], (i - from) * sizeof(drawn));
	l->targets[from] = drawn;
}

void srv_order(struct srv_list *l, uint64_t (*random)(void *ctx), void *ctx)
{
	for (size_t from = 0; from < l->count; from++) {
		size_t to = from;

		while (to < l->count && l->targets[to].priority == l->targets[from].priority)
			to++;
		draw(l, from, to, random(ctx));
	}
}

static uint64_t random_any(void *ctx)
{
	(void)ctx;
	return random_u64();
}

static enum err query_failed(const char *name, int why)
{
	if (why == HOST_NOT_FOUND || why == NO_DATA)
		return err_set(ERR_NOT_FOUND, "%s has no SRV record", name);
	return err_set(ERR_TIMEOUT, "no name server answers for %s", name);
}

enum err srv_query(const char *name, struct srv_list *out)
{
	struct __res_state state = {0};
	uint8_t answer[4096];

	if (res_ninit(&state) != 0)
		return err_set(ERR_IO, "the resolver cannot be used: %s", strerror(errno));
	state.retrans = SRV_WAIT_S;
	state.retry = 1;
	int size = res_nquery(&state, name, ns_c_in, ns_t_srv, answer, sizeof(answer));
	int why = state.res_h_errno;
	res_nclose(&state);
	if (size < 0)
		return query_failed(name, why);
	if ((size_t)size > sizeof(answer))
		return err_set(ERR_FORMAT, "the answer for %s is too large", name);
	TRY(srv_parse(bytes_of(answer, (size_t)size), out));
	srv_order(out, random_any, NULL);
	return ERR_OK;
}
