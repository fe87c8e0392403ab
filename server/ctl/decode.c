// A line becomes a topic and bytes, a message, a JSON object, and a line again.
#include "server/ctl/decode.h"

#include "proto/codec_envelope.h"
#include "proto/content.h"
#include "proto/envelope.h"
#include "proto/session.h"
#include "server/ctl/ctl.h"
#include "server/ctl/decode_fields.h"
#include "server/ctl/decode_messages.h"
#include "server/ctl/text.h"
#include "server/probe.h"
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (8 * 1024 * 1024)
#define ARENA_COUNT 100000

void decoder_init(struct decoder *d)
{
	*d = (struct decoder){.root = NULL};
	arena_init(&d->arena, ARENA_BYTES, ARENA_COUNT);
	buf_init(&d->payload, LIMIT_PACKET);
}

void decoder_fini(struct decoder *d)
{
	arena_fini(&d->arena);
	buf_fini(&d->payload);
}

// ---- one message by its topic

#define PLAIN(name)                                                                                \
	static enum err name##_take(struct decoder *d, struct bytes payload, cJSON *j)             \
	{                                                                                          \
		struct name m;                                                                     \
		TRY(name##_decode(&d->arena, payload, &m));                                        \
		name##_json(j, &m);                                                                \
		return ERR_OK;                                                                     \
	}
PLAIN(heartbeat)
PLAIN(session_offer)
PLAIN(response)
PLAIN(report)
PLAIN(want)
PLAIN(grant)
PLAIN(publisher_msg)
PLAIN(directive)
PLAIN(state_view)
PLAIN(queue_view)
PLAIN(media_order)
PLAIN(data_server_load)
PLAIN(api_request)
PLAIN(api_answer)
PLAIN(host_state)
PLAIN(manifest)
PLAIN(index)
PLAIN(signed_command)
#undef PLAIN

static enum err opaque_take(struct decoder *d, struct bytes payload, cJSON *j)
{
	(void)d;
	struct digest sum = sha256(payload.data, payload.size);

	json_add_hex(j, "sha256", sum.b, sizeof(sum.b));
	return ERR_OK;
}

static enum err small_take(struct decoder *d, struct bytes payload, cJSON *j)
{
	(void)d;
	json_add_hex(j, "data", payload.data, payload.size);
	return ERR_OK;
}

static const struct taker {
	enum err (*take)(struct decoder *d, struct bytes payload, cJSON *j);
	enum purpose purpose; // of the envelope; PURPOSE_COUNT: none
} takers[TOPIC_KIND_COUNT] = {
	[TOPIC_HB] = {heartbeat_take, PURPOSE_COUNT},
	[TOPIC_OFFER] = {session_offer_take, PURPOSE_COUNT},
	[TOPIC_RSP] = {response_take, PURPOSE_COUNT},
	[TOPIC_REPORT] = {report_take, PURPOSE_COUNT},
	[TOPIC_INBOX] = {report_take, PURPOSE_COUNT},
	[TOPIC_WANT] = {want_take, PURPOSE_COUNT},
	[TOPIC_GRANT] = {grant_take, PURPOSE_COUNT},
	[TOPIC_PUB] = {publisher_msg_take, PURPOSE_COUNT},
	[TOPIC_PUBCMD] = {directive_take, PURPOSE_COUNT},
	[TOPIC_BYE] = {small_take, PURPOSE_COUNT},
	[TOPIC_VIEW_STATE] = {state_view_take, PURPOSE_COUNT},
	[TOPIC_VIEW_QUEUE] = {queue_view_take, PURPOSE_COUNT},
	[TOPIC_VIEW_MEDIA] = {media_order_take, PURPOSE_COUNT},
	[TOPIC_VIEW_DS] = {data_server_load_take, PURPOSE_COUNT},
	[TOPIC_API] = {api_request_take, PURPOSE_COUNT},
	[TOPIC_APIR] = {api_answer_take, PURPOSE_COUNT},
	[TOPIC_HOST] = {host_state_take, PURPOSE_COUNT},
	[TOPIC_PKG] = {manifest_take, PURPOSE_MANIFEST},
	[TOPIC_IDX] = {index_take, PURPOSE_INDEX},
	[TOPIC_MARK] = {small_take, PURPOSE_COUNT},
	[TOPIC_CHUNK] = {opaque_take, PURPOSE_COUNT},
	[TOPIC_CMD] = {signed_command_take, PURPOSE_COMMAND},
};

static void checked_add(cJSON *j, bool holds)
{
	cJSON_AddStringToObject(j, "signature", holds ? "holds" : "DOES NOT HOLD");
}

// Shows who signed; with a root, whether a key that it names for this purpose did.
static enum err envelope_unfold(
	struct decoder *d, enum purpose purpose, struct bytes *payload, cJSON *j)
{
	struct envelope_parts e;
	struct bytes inner;

	TRY(envelope_parts_decode(&d->arena, *payload, &e));
	if (strcmp(e.payload_type, purpose_type(purpose)) != 0)
		return err_set(
			ERR_FORMAT, "an envelope of type %.80s on this topic", e.payload_type);
	cJSON *signers = cJSON_AddArrayToObject(j, "signed_by");
	for (size_t i = 0; i < e.signature_count; i++)
		cJSON_AddItemToArray(
			signers, cJSON_CreateString(digest_hex(&e.signatures[i].key_id)));
	if (d->root && purpose == PURPOSE_MANIFEST)
		checked_add(j, envelope_open(purpose, *payload, d->root->image_keys,
				       d->root->image_key_count, 1, &inner) == ERR_OK ||
				       envelope_open(purpose, *payload, d->root->software_keys,
					       d->root->software_key_count,
					       d->root->software_threshold, &inner) == ERR_OK);
	if (d->root && purpose == PURPOSE_COMMAND)
		checked_add(j, envelope_open(purpose, *payload, d->root->software_keys,
				       d->root->software_key_count, d->root->software_threshold,
				       &inner) == ERR_OK);
	*payload = e.payload;
	return ERR_OK;
}

// What the tail says of who may have written it.
static void auth_add(struct decoder *d, const char *topic, struct bytes payload, cJSON *j)
{
	struct sealed s;

	if (seal_split(payload, &s) != ERR_OK)
		return;
	cJSON_AddStringToObject(j, "auth", s.auth.size == 64 ? "ed25519" : "hmac");
	bool server = strncmp(topic, "helio/v1/offer/", 15) == 0 ||
		      strncmp(topic, "helio/v1/host/", 14) == 0 ||
		      strncmp(topic, "helio/v1/view/", 14) == 0;
	if (!d->root || !server || s.auth.size != 64)
		return;
	bool holds = false;
	for (size_t i = 0; i < d->root->online_key_count && !holds; i++)
		holds = seal_check_signature(payload, topic, &d->root->online_keys[i]) == ERR_OK;
	checked_add(j, holds);
}

static void topic_add(cJSON *j, const char *topic, const struct topic_parts *p)
{
	const struct topic_row *row = topic_row(p->kind);

	cJSON_AddStringToObject(j, "topic", topic);
	cJSON_AddStringToObject(j, "kind", row->name);
	if (*row->message)
		cJSON_AddStringToObject(j, "message", row->message);
	cJSON_AddStringToObject(j, "id", p->id);
}

// The server tries its brokers on topics of its own (server/probe.h).
static bool is_probe(enum topic_kind kind, struct bytes payload)
{
	if (kind != TOPIC_GRANT && kind != TOPIC_INBOX)
		return false;
	return payload.size == 0 ||
	       (payload.size >= sizeof(PROBE_WORD) - 1 &&
		       memcmp(payload.data, PROBE_WORD, sizeof(PROBE_WORD) - 1) == 0);
}

static const char *probe_text(struct bytes payload)
{
	size_t n = sizeof(PROBE_WORD) - 1;

	if (payload.size == n + 5 && memcmp(payload.data + n, "awake", 5) == 0)
		return "heliod keeps its line awake";
	return "heliod tries this broker";
}

enum err decode_message(struct decoder *d, const char *topic, struct bytes payload, cJSON **out)
{
	struct topic_parts parts;
	SCOPED_JSON cJSON *j = cJSON_CreateObject();

	arena_reset(&d->arena);
	TRY(topic_parse(topic, strlen(topic), &parts));
	const struct taker *t = &takers[parts.kind];
	topic_add(j, topic, &parts);
	json_add_u64(j, "bytes", payload.size);
	if (is_probe(parts.kind, payload)) {
		cJSON_SetValuestring(cJSON_GetObjectItem(j, "kind"), "probe");
		cJSON_DeleteItemFromObject(j, "message");
		cJSON_AddStringToObject(j, "event", probe_text(payload));
	} else if (payload.size == 0 && topic_row(parts.kind)->retained) {
		cJSON_AddStringToObject(j, "event", "withdrawn");
	} else {
		cJSON *body = cJSON_CreateObject();

		cJSON_AddItemToObject(j, "body", body);
		if (t->purpose != PURPOSE_COUNT)
			TRY(envelope_unfold(d, t->purpose, &payload, j));
		else if (*topic_row(parts.kind)->message)
			auth_add(d, topic, payload, j);
		TRY(t->take(d, payload, body));
	}
	*out = j;
	j = NULL;
	return ERR_OK;
}

// ---- one line

static enum err hex_take(struct buf *out, const char *hex, size_t size)
{
	static const int8_t bad = -1;

	buf_clear(out);
	if (size % 2 != 0)
		return err_set(ERR_FORMAT, "the payload has half a byte");
	TRY(buf_reserve(out, size / 2));
	for (size_t i = 0; i < size; i += 2) {
		int8_t v[2];

		for (size_t k = 0; k < 2; k++) {
			char c = hex[i + k];

			v[k] = c >= '0' && c <= '9'   ? (int8_t)(c - '0')
			       : c >= 'a' && c <= 'f' ? (int8_t)(c - 'a' + 10)
			       : c >= 'A' && c <= 'F' ? (int8_t)(c - 'A' + 10)
						      : bad;
		}
		if (v[0] < 0 || v[1] < 0)
			return err_set(ERR_FORMAT,
				"the payload is not hex: use mosquitto_sub -F '%%t %%x'");
		out->data[out->size++] = (uint8_t)(v[0] * 16 + v[1]);
	}
	return ERR_OK;
}

enum err decode_line(struct decoder *d, const char *line, size_t size, cJSON **out)
{
	char topic[LIMIT_TOPIC];

	while (size > 0 &&
		(line[size - 1] == '\n' || line[size - 1] == '\r' || line[size - 1] == ' '))
		size--;
	const char *blank = memchr(line, ' ', size);
	size_t n = blank ? (size_t)(blank - line) : size;
	if (n == 0 || n >= sizeof(topic) || memchr(line, '\0', size))
		return err_set(ERR_FORMAT, "not `topic hex`: use mosquitto_sub -F '%%t %%x'");
	memcpy(topic, line, n);
	topic[n] = '\0';
	const char *hex = blank ? blank + 1 : line + size;
	TRY(hex_take(&d->payload, hex, (size_t)(line + size - hex)));
	return decode_message(d, topic, buf_bytes(&d->payload), out);
}

// ---- printing

static bool is_digest(const char *s)
{
	return strlen(s) >= 32 && strspn(s, "0123456789abcdef") == strlen(s);
}

static void scalar_print(FILE *to, const cJSON *v)
{
	if (cJSON_IsString(v) && is_digest(v->valuestring))
		fprintf(to, "%.12s", v->valuestring);
	else if (cJSON_IsString(v) && (!*v->valuestring || strpbrk(v->valuestring, " =\"{}[]"))) {
		fputc('"', to);
		text_print(to, v->valuestring);
		fputc('"', to);
	} else if (cJSON_IsString(v))
		text_print(to, v->valuestring);
	else if (cJSON_IsRaw(v))
		fputs(v->valuestring, to);
	else if (cJSON_IsBool(v))
		fputs(cJSON_IsTrue(v) ? "yes" : "no", to);
	else if (cJSON_IsNumber(v))
		fprintf(to, "%.15g", v->valuedouble);
	else
		fputs("-", to);
}

#define DEPTH_MAX 6

static bool is_list_of_parts(const cJSON *v)
{
	return cJSON_IsArray(v) && cJSON_IsObject(cJSON_GetArrayItem(v, 0));
}

// key=value pairs in one line; lists of objects only as their count. Depth is bounded by the
// messages themselves, and by DEPTH_MAX for the documents inside API answers.
static void object_print(FILE *to, const cJSON *object, int depth)
{
	const char *gap = "";
	const cJSON *v, *item;

	cJSON_ArrayForEach(v, object)
	{
		fputs(gap, to);
		gap = " ";
		if (v->string) {
			text_print(to, v->string);
			fputc('=', to);
		}
		if (is_list_of_parts(v) ||
			(depth >= DEPTH_MAX && (cJSON_IsArray(v) || cJSON_IsObject(v)))) {
			fprintf(to, "[%d]", cJSON_GetArraySize(v));
		} else if (cJSON_IsObject(v)) {
			fputc('{', to);
			object_print(to, v, depth + 1);
			fputc('}', to);
		} else if (cJSON_IsArray(v)) {
			const char *inner = "";

			fputc('[', to);
			cJSON_ArrayForEach(item, v)
			{
				fputs(inner, to);
				inner = " ";
				scalar_print(to, item);
			}
			fputc(']', to);
		} else {
			scalar_print(to, v);
		}
	}
}

// The lists of an object and of its parts, each element on a line of its own.
static void lists_print(const struct term *t, const cJSON *object, size_t rows, int depth)
{
	const cJSON *v, *item;

	cJSON_ArrayForEach(v, object)
	{
		size_t shown = 0, all = (size_t)cJSON_GetArraySize(v);

		if (cJSON_IsObject(v) && depth < DEPTH_MAX)
			lists_print(t, v, rows, depth + 1);
		if (!is_list_of_parts(v))
			continue;
		cJSON_ArrayForEach(item, v)
		{
			if (shown++ == rows)
				break;
			fprintf(t->file, "    %s%s%s ", term_begin(t, STYLE_DIM),
				v->string ? ctl_safe(v->string) : "", term_end(t, STYLE_DIM));
			object_print(t->file, item, depth + 1);
			fputc('\n', t->file);
		}
		if (all > rows)
			fprintf(t->file, "    ... %zu more (--all)\n", all - rows);
	}
}

static enum style kind_style(const char *kind, const cJSON *body)
{
	if (strcmp(kind, "rsp") == 0)
		return strcmp(json_text(cJSON_GetObjectItem(body, "body"), "kind"), "no-action") ==
				       0
			       ? STYLE_DIM
			       : STYLE_GOOD;
	if (strcmp(kind, "hb") == 0)
		return STYLE_PLAIN;
	if (strcmp(kind, "probe") == 0)
		return STYLE_DIM;
	return strcmp(kind, "bye") == 0 ? STYLE_WARN : STYLE_BOLD;
}

void decode_print(const struct term *t, const cJSON *message, size_t rows)
{
	static const char *const meta[] = {"auth", "signature", "event"};
	const cJSON *body = cJSON_GetObjectItem(message, "body"), *signers;
	const char *kind = json_text(message, "kind");
	enum style style = kind_style(kind, body);

	fprintf(t->file, "%s%-10s %s%s", term_begin(t, style), kind,
		ctl_safe(json_text(message, "id")), term_end(t, style));
	fprintf(t->file, " (%llu B",
		(unsigned long long)strtoull(
			cJSON_GetObjectItem(message, "bytes")->valuestring, NULL, 10));
	for (size_t i = 0; i < CTL_COUNT(meta); i++) {
		if (*json_text(message, meta[i]))
			fprintf(t->file, ", %s%s", i == 1 ? "signature " : "",
				ctl_safe(json_text(message, meta[i])));
	}
	signers = cJSON_GetObjectItem(message, "signed_by");
	if (signers)
		fprintf(t->file, ", %d signature%s", cJSON_GetArraySize(signers),
			cJSON_GetArraySize(signers) == 1 ? "" : "s");
	fputs(") ", t->file);
	object_print(t->file, body, 0);
	fputc('\n', t->file);
	lists_print(t, body, rows, 0);
}
