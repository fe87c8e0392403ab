// One connection: a Paho handle, its callbacks and the sentences about its end.
//
// Paho calls back on its own threads with its lock held; the callbacks below write down what they
// learned, push one event and wake the loop. The loop never holds a lock of ours when it calls
// Paho. MQTTAsync_destroy() takes Paho's lock, so after it no callback of that handle comes; it
// may run the failure callbacks of what was under way itself.
//
// Not done: Paho's automatic reconnect (it does not walk addresses), its persistence, its trace.
#include "proto/mqtt_link_internal.h"

#include "proto/base/log.h"
#include "proto/base/text.h"
#include <MQTTProperties.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Cipher lists of OpenSSL name suites up to TLS 1.2 only, and Paho offers no minimum version: a
// list that cannot be used without a PSK leaves TLS 1.3 as the only way to agree.
#define TLS_1_3_ONLY "PSK-AES256-GCM-SHA384"

// Below this, what a destroyed handle loses is not worth the trouble.
#define LINK_LOSS_BYTES 16384

// Paho's own header does not publish it.
#define PAHO_NO_MEMORY (-99)

struct reason_words {
	int code;
	const char *words;
};

static const struct reason_words reasons[] = {
	{128, "unspecified error"},
	{129, "malformed packet"},
	{130, "protocol error"},
	{131, "the broker's own limits forbid it"},
	{132, "the broker does not speak MQTT 5"},
	{133, "client id not allowed"},
	{134, "bad user name or password"},
	{135, "not authorized"},
	{136, "server unavailable"},
	{137, "server busy"},
	{138, "banned"},
	{139, "server is shutting down"},
	{140, "bad authentication method"},
	{141, "nothing was heard from us within the keepalive"},
	{142, "another connection with our client id took over"},
	{143, "topic filter invalid"},
	{144, "topic name invalid"},
	{145, "packet identifier in use"},
	{147, "receive maximum exceeded"},
	{149, "packet too large"},
	{150, "message rate too high"},
	{151, "quota exceeded"},
	{152, "administrative action"},
	{153, "payload format invalid"},
	{154, "retained messages not supported"},
	{155, "QoS not supported"},
	{156, "use another server"},
	{157, "server moved"},
	{159, "connection rate exceeded"},
	{160, "maximum connect time"},
};

const char *link_reason_text(int reason)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (reasons[i].code == reason)
			return reasons[i].words;
	if (reason < 0)
		return "the connection broke before the answer";
	if (reason == 16)
		return "accepted, nobody subscribes to it";
	return reason < 128 ? "accepted" : "unknown reason";
}

// ---- callbacks, on Paho's threads (and in MQTTAsync_destroy on the loop's)

static void push(struct link_conn *c, enum item_kind kind, void *slot, int reason)
{
	inbox_push_event(&c->link->inbox, kind, c->generation, slot, reason);
	uv_async_send(&c->link->wake);
}

static void report_end(struct link_conn *c, int code, const char *message, int disconnect)
{
	if (c->news.over)
		return;
	c->news.over = true;
	c->news.code = code;
	c->news.disconnect = disconnect;
	snprintf(c->news.message, sizeof(c->news.message), "%s", message ? message : "");
	push(c, ITEM_DOWN, NULL, code);
}

static int numeric(MQTTProperties *properties, enum MQTTPropertyCodes code, int otherwise)
{
	return MQTTProperties_hasProperty(properties, code)
		       ? MQTTProperties_getNumericValue(properties, code)
		       : otherwise;
}

static void on_connected(void *context, MQTTAsync_successData5 *data)
{
	struct link_conn *c = context;

	c->news.session_present = data->alt.connect.sessionPresent != 0;
	c->news.receive_maximum =
		numeric(&data->properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, 65535);
	c->news.server_keepalive_s =
		numeric(&data->properties, MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE, 0);
	c->news.packet_max =
		(uint32_t)numeric(&data->properties, MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, 0);
	push(c, ITEM_UP, NULL, 0);
}

static void on_connect_failed(void *context, MQTTAsync_failureData5 *data)
{
	report_end(context, data->code, data->message, -1);
}

static void on_lost(void *context, char *cause)
{
	(void)cause;
	report_end(context, 0, NULL, -1);
}

static void on_disconnect_packet(
	void *context, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
	(void)properties;
	report_end(context, 0, NULL, (int)reason);
}

static int on_message(void *context, char *topic, int topic_length, MQTTAsync_message *message)
{
	struct link_conn *c = context;
	size_t length = topic_length > 0 ? (size_t)topic_length : strlen(topic);

	inbox_push_message(&c->link->inbox, c->generation, topic, length, message);
	if (!atomic_load(&c->link->polling))
		uv_async_send(&c->link->wake);
	return 1;
}

// "...:error:0A000086:SSL routines:func:certificate verify failed:file:line:more"
static int on_tls_error(const char *line, size_t size, void *context)
{
	struct link_conn *c = context;
	char copy[512];

	if (c->news.tls[0] != '\0')
		return 1;
	snprintf(copy, sizeof(copy), "%.*s", (int)(size < sizeof(copy) ? size : sizeof(copy) - 1),
		line);
	char *at = strstr(copy, "error:"), *rest = at ? at : copy, *field = NULL;
	for (int i = 0; i < 5; i++) {
		field = strsep(&rest, ":");
		if (!field || !rest)
			break;
	}
	text_format(c->news.tls, sizeof(c->news.tls), "%s", at && field ? field : copy);
	return 1;
}

static void on_published(void *context, MQTTAsync_successData5 *data)
{
	struct pub_slot *slot = context;

	push(slot->conn, ITEM_PUBLISHED, slot, slot->qos ? (int)data->reasonCode : 0);
}

// A failure without a reason code is the end of the connection, which tells all tokens in order.
static void on_publish_failed(void *context, MQTTAsync_failureData5 *data)
{
	struct pub_slot *slot = context;

	if (data->reasonCode >= MQTTREASONCODE_UNSPECIFIED_ERROR)
		push(slot->conn, ITEM_PUBLISHED, slot, (int)data->reasonCode);
}

// QoS 0 is done when it is written.
static void on_written(void *context, MQTTAsync_successData5 *data)
{
	struct link_conn *c = context;

	atomic_fetch_sub(&c->unwritten, 1);
	atomic_fetch_sub(&c->unwritten_bytes, (size_t)data->alt.pub.message.payloadlen);
	if (atomic_exchange(&c->link->pump_wanted, false))
		uv_async_send(&c->link->wake);
}

static void on_subscribed(void *context, MQTTAsync_successData5 *data)
{
	struct sub_slot *slot = context;
	size_t told = (size_t)data->alt.sub.reasonCodeCount;

	for (size_t i = 0; i < slot->count; i++) {
		if (slot->count == 1)
			slot->reasons[i] = (int)data->reasonCode;
		else
			slot->reasons[i] = i < told ? (int)data->alt.sub.reasonCodes[i] : 128;
	}
	push(slot->conn, ITEM_SUBSCRIBED, slot, 0);
}

static void on_subscribe_failed(void *context, MQTTAsync_failureData5 *data)
{
	struct sub_slot *slot = context;

	if (data->reasonCode < MQTTREASONCODE_UNSPECIFIED_ERROR)
		return;
	for (size_t i = 0; i < slot->count; i++)
		slot->reasons[i] = (int)data->reasonCode;
	push(slot->conn, ITEM_SUBSCRIBED, slot, 0);
}

static void on_goodbye(void *context, MQTTAsync_successData5 *data)
{
	(void)data;
	push(context, ITEM_CLOSED, NULL, 0);
}

static void on_goodbye_failed(void *context, MQTTAsync_failureData5 *data)
{
	(void)data;
	push(context, ITEM_CLOSED, NULL, 0);
}

// ---- the loop's side

// The name stays in the URI for TLS, because Paho checks the certificate against it, and an IPv6
// address without brackets, because Paho compares one of them too; it takes the port behind the
// last colon. Without TLS the name is replaced by the address that is already known, so that Paho
// has nothing to resolve.
static void uri_format(const struct mqtt_link *l, char *out, size_t size)
{
	const struct link_address *a = walk_address(l);
	char literal[80];

	if (!l->config.tls && l->resolved_count > 0) {
		socket_format((const struct sockaddr *)&l->resolved[0], literal, sizeof(literal));
		snprintf(out, size, "tcp://%s", literal);
	} else {
		snprintf(out, size, "%s://%s:%u", l->config.tls ? "ssl" : "tcp", a->host, a->port);
	}
}

// Paho pings after one keepalive of silence and gives up after a second one, looking at both only
// every tenth of it: half of ours notices a dead peer within 1.5 of ours.
static int keepalive_s(const struct mqtt_link *l)
{
	int ours = l->config.keepalive_s;

	if (l->keepalive_limit_s > 0 && (ours == 0 || ours > l->keepalive_limit_s))
		ours = l->keepalive_limit_s;
	return ours > 1 ? ours / 2 : ours;
}

static enum err paho_error(int rc, const char *what)
{
	if (rc == MQTTASYNC_SUCCESS)
		return ERR_OK;
	const char *words = MQTTAsync_strerror(rc);
	return err_set(rc == PAHO_NO_MEMORY ? ERR_MEMORY : ERR_IO, "%s: %s (%d)", what,
		words ? words : "Paho failed", rc);
}

static enum err connect_start(struct link_conn *c, MQTTProperties *properties)
{
	struct mqtt_link *l = c->link;
	MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer5;
	MQTTAsync_SSLOptions ssl = MQTTAsync_SSLOptions_initializer;
	MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;

	options.keepAliveInterval = keepalive_s(l);
	options.connectTimeout = (int)l->config.connect_timeout_s;
	options.cleanstart = 1;
	options.connectProperties = properties;
	options.context = c;
	options.onSuccess5 = on_connected;
	options.onFailure5 = on_connect_failed;
	if (l->config.will_topic) {
		will.topicName = l->config.will_topic;
		will.payload.data = l->config.will_payload.data;
		will.payload.len = (int)l->config.will_payload.size;
		will.qos = l->config.will_qos;
		will.retained = l->config.will_retained;
		options.will = &will;
	}
	if (l->config.tls) {
		ssl.trustStore = l->config.ca_file;
		ssl.keyStore = l->config.cert_file;
		ssl.privateKey = l->config.key_file;
		ssl.enabledCipherSuites = TLS_1_3_ONLY;
		ssl.enableServerCertAuth = 1;
		ssl.verify = 1;
		ssl.ssl_error_cb = on_tls_error;
		ssl.ssl_error_context = c;
		options.ssl = &ssl;
	}
	return paho_error(MQTTAsync_connect(c->handle, &options), "the connection cannot be begun");
}

static enum err properties_add(MQTTProperties *properties, MQTTProperty property)
{
	return paho_error(MQTTProperties_add(properties, &property), "CONNECT cannot be made");
}

static enum err connect_with_properties(struct link_conn *c)
{
	MQTTProperties properties = MQTTProperties_initializer;
	uint16_t maximum = c->link->config.receive_maximum;

	enum err e = properties_add(&properties,
		(MQTTProperty){.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL});
	if (e == ERR_OK && maximum > 0)
		e = properties_add(
			&properties, (MQTTProperty){.identifier = MQTTPROPERTY_CODE_RECEIVE_MAXIMUM,
					     .value = {.integer2 = maximum}});
	if (e == ERR_OK)
		e = connect_start(c, &properties);
	MQTTProperties_free(&properties);
	return e;
}

static enum err handle_make(struct link_conn *c)
{
	MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;
	char uri[320];

	options.MQTTVersion = MQTTVERSION_5;
	// Never reached but by queue_flush(): the outbox holds back more than this.
	c->buffer_max = LINK_UNWRITTEN_MESSAGES + (int)c->link->config.outstanding_max + 1;
	options.maxBufferedMessages = c->buffer_max;
	options.deleteOldestMessages = 1;
	options.sendWhileDisconnected = 1;
	options.allowDisconnectedSendAtAnyTime = 1;
	uri_format(c->link, uri, sizeof(uri));
	TRY(paho_error(MQTTAsync_createWithOptions(&c->handle, uri, c->link->config.client_id,
			       MQTTCLIENT_PERSISTENCE_NONE, NULL, &options),
		"no handle for the connection"));
	TRY(paho_error(MQTTAsync_setCallbacks(c->handle, c, on_lost, on_message, NULL),
		"no callbacks for the connection"));
	return paho_error(MQTTAsync_setDisconnected(c->handle, c, on_disconnect_packet),
		"no callbacks for the connection");
}

enum err conn_open(struct mqtt_link *l)
{
	struct link_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(ERR_MEMORY, "no memory for a connection");
	c->link = l;
	c->generation = ++l->generation;
	c->news.disconnect = -1;
	l->conn = c;
	enum err e = handle_make(c);
	if (e == ERR_OK)
		e = connect_with_properties(c);
	if (e != ERR_OK)
		conn_close(l);
	return e;
}

// MQTTAsync_destroy() loses the payloads of publishes that wait behind a blocked socket: it clears
// the pointers and frees the commands. A full buffer, on the other hand, frees its oldest publish
// whole. So where much may be waiting, it is pushed out by empty ones, which cost some bytes each.
static void queue_flush(struct link_conn *c)
{
	if (send_unsure_bytes(c->link) < LINK_LOSS_BYTES)
		return;
	for (int i = 0; i < c->buffer_max; i++)
		MQTTAsync_send(c->handle, "w", 0, "", 0, 0, NULL);
}

void conn_close(struct mqtt_link *l)
{
	struct link_conn *c = l->conn;

	if (!c)
		return;
	l->generation++; // what Paho says from here on is of no interest
	if (c->handle) {
		queue_flush(c);
		MQTTAsync_destroy(&c->handle);
	}
	l->conn = NULL;
	free(c);
}

bool conn_disconnect_with_will(struct mqtt_link *l)
{
	MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer5;

	options.reasonCode = MQTTREASONCODE_DISCONNECT_WITH_WILL_MESSAGE;
	options.context = l->conn;
	options.onSuccess5 = on_goodbye;
	options.onFailure5 = on_goodbye_failed;
	return MQTTAsync_disconnect(l->conn->handle, &options) == MQTTASYNC_SUCCESS;
}

// What ends a connection before CONNECT was sent has these names, by the moment at which it is
// seen.
static bool is_before_connect(const char *message)
{
	return message[0] == '\0' || strstr(message, "connect failure") ||
	       strstr(message, "connect completion failure") || strstr(message, "socket error");
}

bool conn_explain(struct mqtt_link *l, bool was_up)
{
	const struct link_news *n = &l->conn->news;
	const struct link_address *a = walk_address(l);
	const char *certificate = l->config.tls ? "; it may not accept our certificate" : "";
	char where[300];

	// MQTT 5 has a reason for it, brokers of before have their own number.
	l->too_old = n->code == 132 || (n->code == 1 && strstr(n->message, "CONNACK"));
	snprintf(where, sizeof(where), "%s port %u", a->host, a->port);
	if (n->disconnect >= 0)
		text_format(l->why, sizeof(l->why), "%s ended the connection: %s (%d)", where,
			link_reason_text(n->disconnect), n->disconnect);
	else if (was_up)
		text_format(l->why, sizeof(l->why), "the connection to %s broke", where);
	else if (l->too_old)
		text_format(l->why, sizeof(l->why), "%s speaks no MQTT 5, only MQTT 3.1.1 or older",
			where);
	else if (n->code >= 128)
		text_format(l->why, sizeof(l->why), "%s refused us: %s (%d)", where,
			link_reason_text(n->code), n->code);
	else if (n->tls[0])
		text_format(l->why, sizeof(l->why), "TLS with %s failed: %s", where, n->tls);
	else if (strstr(n->message, "timeout"))
		text_format(l->why, sizeof(l->why), "%s did not answer in time", where);
	else if (is_before_connect(n->message))
		return false;
	else
		text_format(l->why, sizeof(l->why), "%s closed the connection before it answered%s",
			where, certificate);
	return true;
}

// ---- publish and subscribe, used by mqtt_link_send.c

int publish_paho(struct link_conn *conn, const char *topic, struct bytes payload, int qos,
	bool retained, struct pub_slot *slot)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

	if (slot) {
		options.context = slot;
		options.onSuccess5 = on_published;
		options.onFailure5 = on_publish_failed;
	} else {
		options.context = conn;
		options.onSuccess5 = on_written;
	}
	return MQTTAsync_send(conn->handle, topic, (int)payload.size,
		payload.size ? (const void *)payload.data : "", qos, retained, &options);
}

int subscribe_paho(struct link_conn *conn, const char *const *filters, size_t count, int qos,
	struct sub_slot *slot)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	int qoss[LINK_FILTERS_MAX];

	for (size_t i = 0; i < count; i++)
		qoss[i] = qos;
	options.context = slot;
	options.onSuccess5 = on_subscribed;
	options.onFailure5 = on_subscribe_failed;
	return MQTTAsync_subscribeMany(
		conn->handle, (int)count, (char *const *)(uintptr_t)filters, qoss, &options);
}

int unsubscribe_paho(struct link_conn *conn, const char *const *filters, size_t count)
{
	return MQTTAsync_unsubscribeMany(
		conn->handle, (int)count, (char *const *)(uintptr_t)filters, NULL);
}
