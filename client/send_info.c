// SEND_INFORMATION: the report, in parts, until the server acknowledged it.
//
//   question -> (the doer gathers, on disk) -> parts -> a window of them -> held -> next window
//
// What is small is made here each time it is said; usage, software, logs and pictures are gathered
// once, so that every part is the same whenever it is sent, also after a restart. Each response
// says how many parts the server holds; what it does not hold after a while is sent again from
// there on.
//
// Default address: the report topic on the control broker. A data broker that the settings allow:
// the inbox topic there. Any other address is refused and nothing is connected.
#include "client/agent_parts.h"

#include <stdio.h>
#include <string.h>

#define REPORT_FIRST_MS 2000
#define REPORT_MAX_MS 60000
#define ROWS_PER_PART 400 // 400 rows of the longest path stay below LIMIT_REPORT
#define UNSENT_AGAIN_MS 500

static bool host_matches(const char *allowed, const char *host, uint32_t port)
{
	char with_port[300];
	if (host[0] == '\0')
		return false;
	if (strcmp(allowed, host) == 0)
		return true;
	int n = snprintf(with_port, sizeof with_port, "%s:%u", host, port);
	return n > 0 && (size_t)n < sizeof with_port && strcmp(allowed, with_port) == 0;
}

static bool address_is_allowed(const struct agent_core *c, const struct address *to)
{
	const struct agent_config *config = c->config;
	bool host = to->host[0] == '\0', ip = to->ip[0] == '\0';
	for (size_t i = 0; i < config->report_host_count; i++) {
		host = host || host_matches(config->report_hosts[i], to->host, to->port);
		ip = ip || host_matches(config->report_hosts[i], to->ip, to->port);
	}
	return host && ip && (to->host[0] != '\0' || to->ip[0] != '\0');
}

static bool address_is_default(const struct agent_core *c, const struct address *to)
{
	struct topic report = topic_report(c->config->client_id);
	if (to == NULL)
		return true;
	return to->host[0] == '\0' && to->ip[0] == '\0' &&
	       (to->topic[0] == '\0' || strcmp(to->topic, report.s) == 0);
}

static enum err address_check(const struct agent_core *c, const struct address *to)
{
	struct topic inbox = topic_of(TOPIC_INBOX, c->config->client_id);
	if (address_is_default(c, to))
		return ERR_OK;
	if (!address_is_allowed(c, to))
		return err_set(ERR_DENIED, "address: %s%s%s is not one that the settings allow",
			to->host, to->ip[0] != '\0' ? " " : "", to->ip);
	if (to->topic[0] != '\0' && strcmp(to->topic, inbox.s) != 0)
		return err_set(ERR_DENIED, "address: the topic is not this client's inbox");
	return ERR_OK;
}

// Without a doer: what fits one message.
static const char *what_refused(const struct agent_core *c, enum info_kind what)
{
	switch (what) {
	case INFO_DISPLAY:
	case INFO_USAGE:
	case INFO_HOLDINGS:
	case INFO_SOFTWARE:
		return NULL;
	case INFO_LOGS:
		return c->port->report_gather ? NULL : "unsupported: this agent sends no logs";
	case INFO_OUTPUT:
		return c->port->report_gather ? NULL : "unsupported: this agent keeps no outputs";
	case INFO_SCREENSHOT:
		return c->port->report_gather ? NULL
					      : "unsupported: this agent sends no screenshots";
	}
	return "unknown information";
}

static bool what_is_gathered(const struct agent_core *c, enum info_kind what)
{
	return c->port->report_gather && what != INFO_DISPLAY && what != INFO_HOLDINGS;
}

void send_info_begin(struct agent_core *c, struct now now, const struct send_information *s)
{
	const char *no = what_refused(c, s->what);
	if (no != NULL) {
		operation_end(c, now, OP_REFUSED, "%s", no);
		return;
	}
	if (address_check(c, s->to) != ERR_OK) {
		operation_end(c, now, OP_REFUSED, "%s", err_text());
		return;
	}
	c->state.op.status = OP_RUNNING;
	c->report = (struct report_job){.open = true, .parts = 1, .next = now.mono};
	if (what_is_gathered(c, s->what)) {
		c->report.gathering = true;
		c->port->report_gather(c->ctx, c->state.op.report_id, s);
	} else {
		send_info_tick(c, now);
	}
}

void send_info_stop(struct agent_core *c)
{
	if (c->report.open && c->port->report_stop)
		c->port->report_stop(c->ctx);
	c->report.open = false;
}

void agent_report_ready(
	struct agent_core *c, struct now now, uint64_t report_id, const struct report_ready *r)
{
	if (!c->report.open || !c->report.gathering || report_id != c->state.op.report_id)
		return;
	if (r->status != 0) {
		operation_end(c, now, r->status, "%s", r->detail);
		return;
	}
	c->report.gathering = false;
	c->report.fresh = !r->again;
	c->report.parts = r->parts;
	c->report.next = now.mono;
	send_info_tick(c, now);
}

// ---- one part

struct report_sender {
	struct agent_core *c;
	const struct send_information *s;
	struct report r;
};

static enum err part_send(struct report_sender *x)
{
	struct agent_core *c = x->c;
	struct client_session *s = &c->session;
	bool home = address_is_default(c, x->s->to);
	struct topic topic = home ? topic_report(c->config->client_id)
				  : topic_of(TOPIC_INBOX, c->config->client_id);
	x->r.seq = home ? ++s->report_seq : ++s->inbox_seq;
	TRY(report_encode(&x->r, c->config->out));
	if (home)
		return session_publish(c, topic.s, 1);
	TRY(seal_mac(c->config->out, topic.s, &s->keys.mac_up));
	c->port->send_elsewhere(c->ctx, x->s->to, topic.s, buf_bytes(c->config->out));
	return ERR_OK;
}

static enum err display_fill(struct report_sender *x, const struct agent_view *v)
{
	struct display_info *display = arena_alloc(x->c->config->scratch, sizeof *display);
	if (display == NULL)
		return err_set(ERR_MEMORY, "no room for a report");
	*display = (struct display_info){
		.showing_package = v->showing_package,
		.showing_image = v->showing_image,
		.width_px = v->screen_width_px,
		.height_px = v->screen_height_px,
		.free_bytes = v->free_bytes,
		.showing_name = v->showing_name,
		.showing_version = v->showing_version,
		.display_alive = v->display_alive,
	};
	x->r.display = display;
	return ERR_OK;
}

static enum err holdings_fill(struct report_sender *x)
{
	struct agent_core *c = x->c;
	struct holdings *h = arena_alloc(c->config->scratch, sizeof *h);
	if (h == NULL)
		return err_set(ERR_MEMORY, "no room for a report");
	c->port->holdings(c->ctx, c->config->scratch, h);
	h->full = true;
	x->r.holdings = h;
	return ERR_OK;
}

// What is made anew each time it is said.
static enum err direct_fill(struct report_sender *x)
{
	struct agent_core *c = x->c;
	struct agent_view view = {0};
	if (x->s->what == INFO_HOLDINGS)
		return holdings_fill(x);
	if (x->s->what == INFO_USAGE) {
		c->port->usage(c->ctx, c->config->scratch, x->s->since_unix_ms, ROWS_PER_PART,
			&x->r.usage, &x->r.usage_count);
		return ERR_OK;
	}
	c->port->view(c->ctx, c->config->scratch, &view);
	if (x->s->what == INFO_DISPLAY)
		return display_fill(x, &view);
	x->r.software = view.software;
	x->r.software_count = view.software_count;
	return ERR_OK;
}

static enum err report_send(struct agent_core *c, const struct send_information *s, uint32_t part)
{
	struct report_sender x = {.c = c, .s = s};
	if (what_is_gathered(c, s->what))
		TRY(c->port->report_part(c->ctx, c->config->scratch, part, &x.r));
	else
		TRY(direct_fill(&x));
	x.r.client_id = c->config->client_id;
	x.r.session_id = c->session.id;
	x.r.boot = c->session.boot;
	x.r.report_id = c->state.op.report_id;
	x.r.op_id = c->state.op.op_id;
	x.r.what = s->what;
	x.r.part = part;
	x.r.parts = c->report.parts;
	return part_send(&x);
}

// ---- the window

// A report in parts is told its progress by responses, so nothing is repeated before two of them.
static int64_t again_ms(struct agent_core *c)
{
	int64_t delay = agent_backoff_ms(c, c->report.tries, REPORT_FIRST_MS, REPORT_MAX_MS);
	int64_t least = 2 * (int64_t)c->grid.interval_ms + REPORT_FIRST_MS / 2;
	return c->report.parts > 1 && delay < least ? least : delay;
}

static enum err window_send(struct agent_core *c, const struct send_information *s)
{
	struct report_job *j = &c->report;
	uint32_t end = j->held + AGENT_REPORT_WINDOW;
	if (end > j->parts)
		end = j->parts;
	for (; j->sent < end; j->sent++)
		TRY(report_send(c, s, j->sent));
	return ERR_OK;
}

static void report_go_on(struct agent_core *c, struct now now)
{
	struct response_body body;
	if (response_body_decode(c->config->scratch, buf_bytes(&c->state.body), &body) != ERR_OK ||
		body.send == NULL) {
		operation_end(c, now, OP_FAILED, "state: the stored response cannot be read");
		return;
	}
	if (window_send(c, body.send) != ERR_OK)
		log_warn("REPORT-UNSENT", "client=%s op=%llu why=%s", c->config->client_id,
			(unsigned long long)c->state.op.op_id, log_quote(err_text()));
}

void send_info_tick(struct agent_core *c, struct now now)
{
	struct report_job *j = &c->report;
	if (!j->open || j->gathering || mono_since_ms(now.mono, j->next) < 0)
		return;
	// How much of a report in parts is held is known after the first response of the session.
	bool known = j->parts == 1 || c->any_response;
	j->next = mono_add_ms(now.mono, UNSENT_AGAIN_MS);
	if (!c->session.current || !c->link_up || !known)
		return;
	j->next = mono_add_ms(now.mono, again_ms(c));
	j->tries++;
	j->held = j->sent = j->told; // a server that lost its store holds less than it said
	report_go_on(c, now);
}

// Parts of another making lie at the server under this report's id: it becomes a new report.
static void report_renew(struct agent_core *c, struct now now)
{
	c->state.op.report_id = ++c->state.report_id;
	state_save_soon(c, now);
	log_info("REPORT-ANEW", "client=%s op=%llu report=%llu", c->config->client_id,
		(unsigned long long)c->state.op.op_id, (unsigned long long)c->state.op.report_id);
}

void send_info_told(struct agent_core *c, struct now now, const struct response *r)
{
	struct report_job *j = &c->report;
	if (!j->open || j->gathering)
		return;
	if (r->acked_report_id >= c->state.op.report_id) {
		operation_end(
			c, now, OP_DONE, "report %llu", (unsigned long long)c->state.op.report_id);
		return;
	}
	j->told = r->open_report_id == c->state.op.report_id ? r->open_report_parts : 0;
	if (j->told > j->parts)
		j->told = 0;
	if (j->parts == 1 || j->told == 0)
		return;
	if (j->fresh && j->sent == 0) {
		j->told = 0;
		report_renew(c, now);
		return;
	}
	if (j->told <= j->held)
		return;
	j->held = j->told;
	if (j->sent < j->held)
		j->sent = j->held;
	j->tries = 0;
	j->next = mono_add_ms(now.mono, again_ms(c));
	c->state.op.percent = (uint32_t)((uint64_t)j->held * 100 / j->parts);
	report_go_on(c, now);
}
