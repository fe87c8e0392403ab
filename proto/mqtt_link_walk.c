// Which address is tried next, and when.
//
// The addresses are walked in order: the service of SRV records with its targets, then the name,
// then the address, as the configuration gives them. A name is resolved here, by libuv's pool,
// before Paho sees it: Paho resolves with its one lock held, and a resolver that does not answer
// would stop every link of the process and with them the loop. (With TLS it resolves once more, for
// the certificate is checked against the name in its URI; by then the resolver has just answered.)
// When every address failed, the walk rests for a time drawn evenly between 0 and
// min(max, min << n), or the spread of the fleet where that is more. A connection that was good
// begins a new walk at the first address, also after such a rest, for a broker that restarts is met
// by all its clients at once.
#include "proto/mqtt_link_internal.h"

#include "proto/base/file.h"
#include "proto/base/text.h"
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_service(const struct mqtt_link *l)
{
	return l->addresses[l->address_now].via == LINK_VIA_SRV;
}

const struct link_address *walk_address(const struct mqtt_link *l)
{
	return is_service(l) && l->srv.count > 0 ? &l->srv_address : &l->addresses[l->address_now];
}

const char *link_via_word(enum link_via via)
{
	return via == LINK_VIA_SRV ? "srv" : via == LINK_VIA_IP ? "ip" : "name";
}

static void on_connect_limit(uv_timer_t *timer)
{
	struct mqtt_link *l = timer->data;
	const struct link_address *a = walk_address(l);

	text_format(l->why, sizeof(l->why),
		l->state == LINK_RESOLVING ? "%s did not resolve within %u s"
					   : "%s did not answer within %u s",
		a->host, l->config.connect_timeout_s);
	walk_requests_drop(l);
	conn_close(l);
	link_fail_later(l);
}

static void connect_now(struct mqtt_link *l)
{
	l->state = LINK_CONNECTING;
	if (conn_open(l) == ERR_OK) {
		link_nudge(l);
		return;
	}
	text_format(l->why, sizeof(l->why), "%s", err_text());
	link_fail_later(l);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct link_resolve *r = request->data;
	struct mqtt_link *l = r->link;

	if (l) {
		l->resolve = NULL;
		for (const struct addrinfo *a = list; a && l->resolved_count < LINK_RESOLVED_MAX;
			a = a->ai_next)
			if (a->ai_addrlen <= sizeof(l->resolved[0]))
				memcpy(&l->resolved[l->resolved_count++], a->ai_addr,
					a->ai_addrlen);
		if (status == 0 && l->resolved_count > 0) {
			connect_now(l);
		} else {
			text_format(l->why, sizeof(l->why), "%s does not resolve: %s",
				walk_address(l)->host,
				uv_strerror(status ? status : UV_EAI_NONAME));
			link_fail_later(l);
		}
	}
	uv_freeaddrinfo(list);
	free(r);
}

static enum err resolve_start(struct mqtt_link *l)
{
	const struct link_address *a = walk_address(l);
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	char service[8];

	snprintf(service, sizeof(service), "%u", a->port);
	struct link_resolve *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(ERR_MEMORY, "no memory to resolve %s", a->host);
	r->link = l;
	r->request.data = r;
	int rc = uv_getaddrinfo(l->loop, &r->request, on_resolved, a->host, service, &hints);
	if (rc != 0) {
		free(r);
		return err_set(ERR_IO, "%s cannot be resolved: %s", a->host, uv_strerror(rc));
	}
	l->resolve = r;
	return ERR_OK;
}

static bool resolve_literal(struct mqtt_link *l)
{
	const struct link_address *a = walk_address(l);
	struct sockaddr_in *in = (struct sockaddr_in *)&l->resolved[0];
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&l->resolved[0];

	if (uv_ip4_addr(a->host, a->port, in) != 0 && uv_ip6_addr(a->host, a->port, in6) != 0)
		return false;
	l->resolved_count = 1;
	return true;
}

static void address_start(struct mqtt_link *l)
{
	if (resolve_literal(l)) {
		connect_now(l);
		return;
	}
	l->state = LINK_RESOLVING;
	if (resolve_start(l) != ERR_OK) {
		text_format(l->why, sizeof(l->why), "%s", err_text());
		link_fail_later(l);
	}
}

// ---- a service: its records first

static void srv_run(uv_work_t *request)
{
	struct link_srv *s = request->data;

	if (srv_query(s->name, &s->found) != ERR_OK)
		text_format(s->why, sizeof(s->why), "%s", err_text());
}

static void target_pick(struct mqtt_link *l, size_t i)
{
	const struct srv_target *t = &l->srv.targets[i];

	l->srv_now = i;
	l->srv_address = (struct link_address){t->host, t->port, LINK_VIA_SRV};
}

static void on_srv(uv_work_t *request, int status)
{
	struct link_srv *s = request->data;
	struct mqtt_link *l = s->link;

	if (l) {
		l->srv_ask = NULL;
		if (status == 0 && s->why[0] == '\0') {
			l->srv = s->found;
			target_pick(l, 0);
			address_start(l);
		} else {
			text_format(l->why, sizeof(l->why), "%s",
				status ? uv_strerror(status) : s->why);
			link_fail_later(l);
		}
	}
	free(s);
}

static void srv_start(struct mqtt_link *l)
{
	struct link_srv *s = calloc(1, sizeof(*s));

	l->state = LINK_RESOLVING;
	if (s) {
		s->link = l;
		s->request.data = s;
		snprintf(s->name, sizeof(s->name), "%s", l->addresses[l->address_now].host);
		if (uv_queue_work(l->loop, &s->request, srv_run, on_srv) == 0) {
			l->srv_ask = s;
			return;
		}
		free(s);
	}
	text_format(l->why, sizeof(l->why), "the records of a service cannot be asked for");
	link_fail_later(l);
}

void walk_start(struct mqtt_link *l)
{
	l->resolved_count = 0;
	l->peer[0] = '\0';
	uv_timer_start(
		&l->timer, on_connect_limit, (uint64_t)l->config.connect_timeout_s * 1000, 0);
	if (is_service(l) && l->srv.count == 0)
		srv_start(l);
	else
		address_start(l);
}

void walk_requests_drop(struct mqtt_link *l)
{
	if (l->srv_ask) {
		l->srv_ask->link = NULL;
		uv_cancel((uv_req_t *)&l->srv_ask->request);
		l->srv_ask = NULL;
	}
	if (l->resolve) {
		l->resolve->link = NULL;
		uv_cancel((uv_req_t *)&l->resolve->request);
		l->resolve = NULL;
	}
	if (l->probe) {
		l->probe->link = NULL;
		uv_cancel((uv_req_t *)&l->probe->request);
		l->probe = NULL;
	}
}

static void probe_run(uv_work_t *request)
{
	struct link_probe *p = request->data;

	p->error = socket_try(&p->to);
}

static void why_refused(struct mqtt_link *l, int error)
{
	const struct link_address *a = walk_address(l);

	if (error != 0)
		text_format(l->why, sizeof(l->why), "%s port %u: %s", a->host, a->port,
			uv_strerror(-error));
	else if (l->config.tls)
		text_format(l->why, sizeof(l->why),
			"TLS with %s port %u failed: its certificate does not carry the name '%s', "
			"or it "
			"does not accept our certificate",
			a->host, a->port, a->host);
	else
		text_format(l->why, sizeof(l->why), "%s port %u closed the connection at once",
			a->host, a->port);
}

static void on_probed(uv_work_t *request, int status)
{
	struct link_probe *p = request->data;
	struct mqtt_link *l = p->link;

	if (l) {
		l->probe = NULL;
		why_refused(l, status == 0 ? p->error : -status);
		link_fail_later(l);
	}
	free(p);
}

bool walk_ask_why(struct mqtt_link *l)
{
	struct link_probe *p = calloc(1, sizeof(*p));

	why_refused(l, ECONNREFUSED); // the likely one, should nobody be able to ask
	if (!p)
		return false;
	p->link = l;
	p->to = l->resolved[0];
	p->request.data = p;
	if (uv_queue_work(l->loop, &p->request, probe_run, on_probed) != 0) {
		free(p);
		return false;
	}
	l->probe = p;
	return true;
}

static void on_rested(uv_timer_t *timer)
{
	walk_start(timer->data);
}

uint32_t link_rest_ms(
	uint32_t min_ms, uint32_t max_ms, uint32_t spread_ms, uint32_t rounds, uint64_t random)
{
	uint64_t most = max_ms;
	uint64_t grown = rounds < 32 ? (uint64_t)min_ms << rounds : most;

	if (grown < most)
		most = grown;
	if (most < spread_ms)
		most = spread_ms;
	return (uint32_t)(random % (most + 1));
}

static int64_t rest(struct mqtt_link *l)
{
	int64_t ms = link_rest_ms(l->config.backoff_min_ms, l->config.backoff_max_ms, l->spread_ms,
		l->rounds, random_u64());

	l->address_now = 0;
	l->srv.count = 0;
	l->rounds++;
	l->state = LINK_RESTING;
	uv_timer_start(&l->timer, on_rested, (uint64_t)ms, 0);
	return ms;
}

// The next target of a service, or the next address.
static bool next_is_there(struct mqtt_link *l)
{
	if (is_service(l) && l->srv_now + 1 < l->srv.count) {
		target_pick(l, l->srv_now + 1);
		return true;
	}
	l->srv.count = 0;
	if (l->address_now + 1 == l->config.address_count)
		return false;
	l->address_now++;
	return true;
}

int64_t walk_failed(struct mqtt_link *l, bool was_up)
{
	if (was_up) {
		// A connection that broke at once is no better than one that was refused.
		if (uv_now(l->loop) - l->up_since_ms >= l->config.backoff_max_ms)
			l->rounds = 0;
		return rest(l);
	}
	if (next_is_there(l)) {
		l->state = LINK_RESTING;
		uv_timer_start(&l->timer, on_rested, 0, 0);
		return 0;
	}
	if (!l->config.once)
		return rest(l);
	l->state = LINK_ENDED;
	uv_timer_stop(&l->timer);
	return -1;
}

void walk_succeeded(struct mqtt_link *l)
{
	uv_timer_stop(&l->timer);
	l->up_since_ms = uv_now(l->loop);
}
