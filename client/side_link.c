// One errand at a data broker; see side_link.h.
#include "client/side_link.h"

#include "proto/base/log.h"
#include "proto/digest.h"
#include "proto/link_addresses.h"

#include <stdlib.h>
#include <string.h>

struct errand_part {
	char topic[LIMIT_TOPIC];
	struct buf payload;
	bool sent;
};

struct side_link {
	uv_loop_t *loop;
	struct fetcher_config config;
	struct side_events events;
	void *ctx;
	struct mqtt_link *link;
	uv_timer_t timer;
	bool closing;
	enum errand {
		ERRAND_NONE,
		ERRAND_LEAVE,
		ERRAND_FETCH
	} errand;
	char host[256], ip[64];
	uint16_t port;
	struct errand_part parts[ERRAND_PARTS];
	size_t part_count, acked;
	char topic[LIMIT_TOPIC];
	struct digest sha256;
	size_t limit;
};

// Returns what was under way, and forgets it.
static enum errand errand_end(struct side_link *s, bool graceful)
{
	enum errand was = s->errand;
	s->errand = ERRAND_NONE;
	uv_timer_stop(&s->timer);
	if (s->link != NULL)
		link_close(s->link, graceful);
	s->link = NULL;
	for (size_t i = 0; i < s->part_count; i++)
		buf_fini(&s->parts[i].payload);
	s->part_count = s->acked = 0;
	return was;
}

static void errand_fail(struct side_link *s, enum err e)
{
	enum errand was = errand_end(s, true);
	if (was == ERRAND_LEAVE)
		s->events.left(s->ctx, e);
	else if (was == ERRAND_FETCH)
		s->events.fetched(s->ctx, e, bytes_of(NULL, 0));
}

static void parts_send(struct side_link *s)
{
	for (size_t i = 0; i < s->part_count; i++) {
		struct errand_part *p = &s->parts[i];
		if (p->sent || !link_is_up(s->link))
			continue;
		enum err e =
			link_publish(s->link, p->topic, buf_bytes(&p->payload), 1, false, i + 1);
		if (e != ERR_OK) {
			errand_fail(s, e);
			return;
		}
		p->sent = true;
	}
}

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct side_link *s = ctx;
	const char *topic = s->topic;
	(void)session_present;
	log_info("ERRAND-CONNECT", "connect via=%s addr=%s",
		via->via == LINK_VIA_NAME ? "name" : "ip", link_peer(s->link));
	if (s->errand == ERRAND_LEAVE) {
		for (size_t i = 0; i < s->part_count; i++)
			s->parts[i].sent = false;
		parts_send(s);
	} else if (link_subscribe(s->link, &topic, 1, 1, 1) != ERR_OK) {
		errand_fail(s, ERR_CLOSED);
	}
}

static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct side_link *s = ctx;
	if (retry_ms < 0)
		errand_fail(s, err_set(ERR_CLOSED, "the broker cannot be used: %s", why));
}

static void on_published(void *ctx, uint64_t token, int reason)
{
	struct side_link *s = ctx;
	(void)token;
	if (s->errand != ERRAND_LEAVE)
		return;
	if (reason >= 128) {
		errand_fail(s, err_set(ERR_DENIED, "the broker refuses the report with reason %d",
				       reason));
		return;
	}
	if (reason >= 0 && ++s->acked == s->part_count) {
		(void)errand_end(s, true);
		s->events.left(s->ctx, ERR_OK);
	}
}

static void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	struct side_link *s = ctx;
	(void)token;
	if (s->errand == ERRAND_FETCH && count == 1 && reasons[0] >= 128)
		errand_fail(s, err_set(ERR_DENIED, "the broker refuses the subscription"));
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct side_link *s = ctx;
	if (s->errand != ERRAND_FETCH || strlen(s->topic) != m->topic_length ||
		memcmp(s->topic, m->topic, m->topic_length) != 0 || m->payload.size == 0)
		return;
	struct digest have = sha256(m->payload.data, m->payload.size);
	if (m->payload.size > s->limit || !digest_equal(&have, &s->sha256)) {
		errand_fail(s, err_set(ERR_CORRUPT, "what lies there does not match its hash"));
		return;
	}
	struct buf kept;
	buf_init(&kept, s->limit);
	enum err e = buf_append(&kept, m->payload.data, m->payload.size);
	(void)errand_end(s, true);
	s->events.fetched(s->ctx, e, buf_bytes(&kept));
	buf_fini(&kept);
}

static void on_time(uv_timer_t *timer)
{
	errand_fail(
		timer->data, err_set(ERR_TIMEOUT, "nothing came within %d s", ERRAND_MS / 1000));
}

static enum err errand_connect(struct side_link *s, const struct address *at)
{
	static const struct link_events events = {.up = on_up,
		.down = on_down,
		.message = on_message,
		.published = on_published,
		.subscribed = on_subscribed};
	struct link_address addresses[2];
	if (at->tls != s->config.tls)
		return err_set(ERR_DENIED, "the broker and the settings do not agree on TLS");
	if (!str_copy(s->host, sizeof s->host, at->host) || !str_copy(s->ip, sizeof s->ip, at->ip))
		return err_set(ERR_RANGE, "the address of the broker is too long");
	s->port = (uint16_t)at->port;
	size_t count = link_addresses(s->host, s->ip, s->port, addresses);
	if (count == 0)
		return err_set(ERR_RANGE, "the address of the broker is empty");
	struct link_config config = {
		.client_id = s->config.client_id,
		.addresses = addresses,
		.address_count = count,
		.tls = s->config.tls,
		.ca_file = s->config.ca_file,
		.cert_file = s->config.cert_file,
		.key_file = s->config.key_file,
		.keepalive_s = 30,
		.receive_maximum = 4,
		.connect_timeout_s = s->config.connect_timeout_s,
		.backoff_min_ms = 500,
		.backoff_max_ms = 2000,
		.outstanding_max = CHUNK_OUTSTANDING,
		.outbox_max = ERRAND_PARTS,
		.inbox_messages = 64,
		.inbox_bytes = 1024 * 1024,
		.once = true,
	};
	return link_new(s->loop, &config, &events, s, &s->link);
}

static bool errand_is_there(const struct side_link *s, const struct address *at)
{
	return s->errand == ERRAND_LEAVE && strcmp(s->host, at->host) == 0 &&
	       strcmp(s->ip, at->ip) == 0 && s->port == at->port;
}

static void errand_begin(struct side_link *s, enum errand what, const struct address *at)
{
	s->errand = what;
	uv_timer_start(&s->timer, on_time, ERRAND_MS, 0);
	enum err e = errand_connect(s, at);
	if (e != ERR_OK)
		errand_fail(s, e);
}

void side_link_leave(
	struct side_link *s, const struct address *to, const char *topic, struct bytes payload)
{
	if (s->closing)
		return;
	bool there = errand_is_there(s, to);
	// A full list means a report that is repeated: the newest says everything again.
	if (!there || s->part_count == ERRAND_PARTS)
		(void)errand_end(s, true);
	struct errand_part *p = &s->parts[s->part_count];
	p->sent = false;
	buf_init(&p->payload, LIMIT_REPORT);
	if (!str_copy(p->topic, sizeof p->topic, topic) ||
		buf_append(&p->payload, payload.data, payload.size) != ERR_OK) {
		buf_fini(&p->payload);
		return;
	}
	s->part_count++;
	if (s->errand == ERRAND_LEAVE)
		parts_send(s);
	else
		errand_begin(s, ERRAND_LEAVE, to);
}

void side_link_fetch(struct side_link *s, const struct address *from, const char *topic,
	const struct digest *sha256_wanted, size_t limit)
{
	if (s->closing)
		return;
	(void)errand_end(s, true);
	s->sha256 = *sha256_wanted;
	s->limit = limit;
	if (!str_copy(s->topic, sizeof s->topic, topic))
		s->topic[0] = '\0';
	errand_begin(s, ERRAND_FETCH, from);
}

void side_link_stop(struct side_link *s)
{
	(void)errand_end(s, true);
}

enum err side_link_new(uv_loop_t *loop, const struct fetcher_config *config,
	const struct side_events *events, void *ctx, struct side_link **out)
{
	struct side_link *s = calloc(1, sizeof *s);
	if (s == NULL)
		return err_set(ERR_MEMORY, "no memory for a side link");
	s->loop = loop;
	s->config = *config;
	s->events = *events;
	s->ctx = ctx;
	s->timer.data = s;
	if (uv_timer_init(loop, &s->timer) != 0) {
		free(s);
		return err_set(ERR_IO, "no timer for a side link");
	}
	*out = s;
	return ERR_OK;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void side_link_free(struct side_link *s)
{
	s->closing = true;
	(void)errand_end(s, true);
	uv_close((uv_handle_t *)&s->timer, on_closed);
}
