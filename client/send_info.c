// SEND_INFORMATION: the report, repeated under its report id until the server acknowledged it.
//
// Default address: the report topic on the control broker. A data broker that the settings allow:
// the inbox topic there. Any other address is refused and nothing is connected.
#include "client/agent_parts.h"

#include <stdio.h>
#include <string.h>

#define REPORT_FIRST_MS 2000
#define REPORT_MAX_MS 60000
#define ROWS_PER_PART 400 // 400 rows of the longest path stay below LIMIT_REPORT
#define ROW_BYTES 96      // a usual row, to honour max_bytes

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

static const char *what_refused(enum info_kind what)
{
	switch (what) {
	case INFO_DISPLAY:
	case INFO_USAGE:
	case INFO_HOLDINGS:
	case INFO_SOFTWARE:
		return NULL;
	case INFO_LOGS:
		return "unsupported: this agent sends no logs";
	case INFO_SCREENSHOT:
		return "unsupported: this agent sends no screenshots";
	}
	return "unknown information";
}

void send_info_begin(struct agent_core *c, struct now now, const struct send_information *s)
{
	const char *no = what_refused(s->what);
	if (no != NULL) {
		operation_end(c, now, OP_REFUSED, "%s", no);
		return;
	}
	if (address_check(c, s->to) != ERR_OK) {
		operation_end(c, now, OP_REFUSED, "%s", err_text());
		return;
	}
	c->state.op.status = OP_RUNNING;
	c->report = (struct report_job){.open = true, .next = now.mono};
	send_info_tick(c, now);
}

void send_info_acked(struct agent_core *c, struct now now, uint64_t report_id)
{
	if (!c->report.open || report_id < c->state.op.report_id)
		return;
	operation_end(c, now, OP_DONE, "report %llu", (unsigned long long)c->state.op.report_id);
}

// ---- the parts

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

static enum err usage_send(struct report_sender *x)
{
	struct agent_core *c = x->c;
	struct shown *rows = NULL;
	size_t count = 0, max = AGENT_REPORT_PARTS * ROWS_PER_PART;
	if (x->s->max_bytes != 0 && x->s->max_bytes / ROW_BYTES < max)
		max = x->s->max_bytes / ROW_BYTES + 1;
	c->port->usage(c->ctx, c->config->scratch, x->s->since_unix_ms, max, &rows, &count);
	x->r.parts = count == 0 ? 1 : (uint32_t)((count + ROWS_PER_PART - 1) / ROWS_PER_PART);
	for (uint32_t part = 0; part < x->r.parts; part++) {
		size_t from = (size_t)part * ROWS_PER_PART;
		x->r.part = part;
		x->r.usage = rows + from;
		x->r.usage_count = count - from < ROWS_PER_PART ? count - from : ROWS_PER_PART;
		TRY(part_send(x));
	}
	return ERR_OK;
}

static enum err display_send(struct report_sender *x, const struct agent_view *v)
{
	struct display_info display = {
		.showing_package = v->showing_package,
		.showing_image = v->showing_image,
		.width_px = v->screen_width_px,
		.height_px = v->screen_height_px,
		.free_bytes = v->free_bytes,
		.showing_name = v->showing_name,
		.showing_version = v->showing_version,
		.display_alive = v->display_alive,
	};
	x->r.display = &display;
	return part_send(x);
}

static enum err report_send(struct agent_core *c, const struct send_information *s)
{
	struct agent_view view = {0};
	struct holdings holdings = {0};
	struct report_sender x = {.c = c, .s = s};
	x.r = (struct report){
		.client_id = c->config->client_id,
		.session_id = c->session.id,
		.boot = c->session.boot,
		.report_id = c->state.op.report_id,
		.op_id = c->state.op.op_id,
		.what = s->what,
		.parts = 1,
	};
	c->port->view(c->ctx, c->config->scratch, &view);
	switch (s->what) {
	case INFO_USAGE:
		return usage_send(&x);
	case INFO_DISPLAY:
		return display_send(&x, &view);
	case INFO_HOLDINGS:
		c->port->holdings(c->ctx, c->config->scratch, &holdings);
		holdings.full = true;
		x.r.holdings = &holdings;
		return part_send(&x);
	case INFO_SOFTWARE:
		x.r.software = view.software;
		x.r.software_count = view.software_count;
		return part_send(&x);
	case INFO_LOGS:
	case INFO_SCREENSHOT:
		break;
	}
	return err_set(ERR_UNSUPPORTED, "there is no report of this kind");
}

void send_info_tick(struct agent_core *c, struct now now)
{
	struct response_body body;
	if (!c->report.open || mono_since_ms(now.mono, c->report.next) < 0)
		return;
	c->report.next = mono_add_ms(
		now.mono, agent_backoff_ms(c, c->report.tries, REPORT_FIRST_MS, REPORT_MAX_MS));
	if (!c->session.current || !c->link_up)
		return;
	if (response_body_decode(c->config->scratch, buf_bytes(&c->state.body), &body) != ERR_OK ||
		body.send == NULL) {
		operation_end(c, now, OP_FAILED, "state: the stored response cannot be read");
		return;
	}
	c->report.tries++;
	if (report_send(c, body.send) != ERR_OK)
		log_warn("REPORT-UNSENT", "client=%s op=%llu why=%s", c->config->client_id,
			(unsigned long long)c->state.op.op_id, log_quote(err_text()));
}
