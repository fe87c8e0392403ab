#include "server/broker_load.h"

#include <stdlib.h>
#include <string.h>

#define SYS "$SYS/broker/"

// ---------------------------------------------------------------- mosquitto

// "123 seconds", "4711.20", "18"
static bool number_of(struct bytes payload, double *out)
{
	char text[64], *end;

	if (payload.size == 0 || payload.size >= sizeof(text))
		return false;
	memcpy(text, payload.data, payload.size);
	text[payload.size] = 0;
	*out = strtod(text, &end);
	return end != text && *out >= 0 && *out < 1e15;
}

static bool uptime_take(struct data_broker *b, double value, struct now now)
{
	uint64_t uptime_s = (uint64_t)value;
	bool restarted = b->uptime_s > uptime_s;

	b->uptime_s = uptime_s;
	b->uptime_seen = true;
	b->uptime_at = now.mono;
	return restarted;
}

static void version_take(struct data_broker *b, struct bytes payload)
{
	size_t n = payload.size < sizeof(b->version) - 1 ? payload.size : sizeof(b->version) - 1;

	for (size_t i = 0; i < n; i++)
		b->version[i] = payload.data[i] >= ' ' && payload.data[i] < 127
					? (char)payload.data[i]
					: '?';
	b->version[n] = 0;
}

static bool mosquitto_take(
	struct data_broker *b, const char *topic, struct bytes payload, struct now now)
{
	double value;

	if (strcmp(topic, SYS "version") == 0) {
		version_take(b, payload);
		return false;
	}
	if (!number_of(payload, &value))
		return false;
	if (strcmp(topic, SYS "uptime") == 0)
		return uptime_take(b, value, now);
	if (strcmp(topic, SYS "load/bytes/sent/1min") == 0)
		b->sent_bytes_per_s = value / 60.0;
	else if (strcmp(topic, SYS "publish/messages/dropped") == 0)
		b->dropped = (uint64_t)value;
	else if (strcmp(topic, SYS "clients/connected") == 0)
		b->clients = (uint64_t)value;
	return false;
}

static const char *const mosquitto_topics[] = {
	SYS "uptime",
	SYS "load/bytes/sent/1min",
	SYS "publish/messages/dropped",
	SYS "clients/connected",
	SYS "version",
};

const struct broker_load broker_load_mosquitto = {
	.word = "mosquitto",
	.topics = mosquitto_topics,
	.topic_count = sizeof(mosquitto_topics) / sizeof(mosquitto_topics[0]),
	.version_topic = SYS "version",
	.is_told = true,
	.take = mosquitto_take,
};

// ---------------------------------------------------------------- none

static bool nothing_take(
	struct data_broker *b, const char *topic, struct bytes payload, struct now now)
{
	(void)b;
	(void)topic;
	(void)payload;
	(void)now;
	return false;
}

const struct broker_load broker_load_none = {.word = "none", .take = nothing_take};

// ---------------------------------------------------------------- the table

const struct broker_load *broker_load_find(const char *word)
{
	static const struct broker_load *const rows[] = {&broker_load_mosquitto, &broker_load_none};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i]->word, word) == 0)
			return rows[i];
	return NULL;
}
