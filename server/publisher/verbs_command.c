// command-put: a signed command becomes a retained object under this publisher's name. Its
// signatures must hold against the root; what it says is the operator's affair.
#include "proto/envelope.h"
#include "publisher.h"
#include <stdlib.h>
#include <string.h>

static enum err address_take(struct call *c, struct address *out)
{
	uint64_t port = 0;

	*out = (struct address){.broker_id = call_string(c, "broker"),
		.host = call_string(c, "host"),
		.ip = call_string(c, "ip"),
		.tls = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(call_json(c), "tls")),
		.topic = ""};
	if (!call_number(c, "port", 0, 65535, &port) || port == 0 || !out->broker_id)
		return err_set(ERR_FORMAT, "broker and port say where");
	out->port = (uint32_t)port;
	out->host = out->host ? out->host : "";
	out->ip = out->ip ? out->ip : "";
	return ERR_OK;
}

static enum err command_take(
	struct publisher *p, struct call *c, struct buf *envelope, struct digest *sha)
{
	const struct root *root = &p->trust.root;
	const char *hex = call_string(c, "envelope");
	size_t size = hex ? strlen(hex) / 2 : 0;
	SCOPED_ARENA struct arena a;
	struct signed_command command;
	struct bytes payload;

	arena_init(&a, 512 * 1024, 4096);
	if (!hex)
		return call_digest(c, "sha256", sha);
	TRY(buf_reserve(envelope, size));
	TRY(hex_decode(hex, envelope->data, size));
	envelope->size = size;
	TRY(envelope_open(PURPOSE_COMMAND, buf_bytes(envelope), root->software_keys,
		root->software_key_count, root->software_threshold, &payload));
	TRY(signed_command_decode(&a, payload, &command));
	*sha = sha256(envelope->data, envelope->size);
	return ERR_OK;
}

void verb_command_put(struct publisher *p, struct call *c)
{
	struct waiter *w = calloc(1, sizeof *w);
	SCOPED_BUF struct buf envelope;
	struct address to;

	if (!w)
		abort();
	buf_init(&envelope, LIMIT_ENVELOPE);
	w->call = c;
	w->command = true;
	w->since = clock_now().mono;
	enum err e = address_take(c, &to);
	if (e == ERR_OK)
		e = command_take(p, c, &envelope, &w->package);
	if (e != ERR_OK) {
		publisher_refuse(p, c, e);
		free(w);
		return;
	}
	w->next = p->waiters; // before the order: the station may report at once
	p->waiters = w;
	e = transmit_command(p->transmit, &to, &w->package, buf_bytes(&envelope));
	if (e == ERR_OK)
		return;
	p->waiters = w->next;
	publisher_refuse(p, c, e);
	free(w);
}

void commands_answer(void *ctx, const struct job_report *r)
{
	struct publisher *p = ctx;

	for (struct waiter **at = &p->waiters; *at;) {
		struct waiter *w = *at;
		if (!w->command || !digest_equal(&w->package, &r->package)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		if (r->event == JOB_STORED) {
			cJSON *body = cJSON_CreateObject();
			cJSON_AddStringToObject(body, "command", digest_hex(&r->package));
			cJSON_AddStringToObject(body, "broker", r->broker);
			call_answer(w->call, body);
		} else {
			call_refuse(w->call, err_word(ERR_IO), r->detail);
		}
		free(w);
	}
}
