#include "server/data_brokers.h"

#include "proto/base/log.h"
#include "proto/topics.h"
#include "server/broker_load.h"
#include "server/relays.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err number_parse(const char *word, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(word, &end, 10);
	if (errno || *end || word[0] < '0' || word[0] > '9')
		return err_set(ERR_FORMAT, "'%s' is not a number", word);
	if (*out < min || *out > max)
		return err_set(ERR_RANGE, "%s is outside %llu to %llu", word,
			(unsigned long long)min, (unsigned long long)max);
	return ERR_OK;
}

static enum err host_copy(char *out, size_t size, const char *word, const char *what)
{
	if (strcmp(word, "-") == 0)
		word = "";
	if (!str_copy(out, size, word))
		return err_set(
			ERR_RANGE, "the %s of a data broker is longer than %zu", what, size - 1);
	return ERR_OK;
}

enum err data_broker_parse(const char *line, bool tls, struct data_broker *out)
{
	char id[128], host[512], ip[128], port[16], capacity[32], load[32], rest[2];
	uint64_t number;
	int words = sscanf(line, "%127s %511s %127s %15s %31s %31s %1s", id, host, ip, port,
		capacity, load, rest);

	memset(out, 0, sizeof(*out));
	if (words != 5 && words != 6)
		return err_set(ERR_FORMAT,
			"a data broker is 'id name ip port capacity_bytes_per_s [load]', not '%s'",
			line);
	out->load = words == 6 ? broker_load_find(load) : &broker_load_mosquitto;
	if (!out->load)
		return err_set(ERR_FORMAT,
			"the load of data broker %s is read as mosquitto or none, not '%s'", id,
			load);
	if (!id_is_valid(id))
		return err_set(ERR_FORMAT, "'%s' is not a broker id", id);
	memcpy(out->id, id, strlen(id) + 1);
	TRY(host_copy(out->host, sizeof(out->host), host, "name"));
	TRY(host_copy(out->ip, sizeof(out->ip), ip, "ip"));
	if (!out->host[0] && !out->ip[0])
		return err_set(ERR_FORMAT, "data broker %s has neither a name nor an ip", id);
	TRY(number_parse(port, 1, 65535, &number));
	out->port = (uint16_t)number;
	TRY(number_parse(capacity, 1, UINT64_C(1) << 50, &out->capacity_bytes_per_s));
	out->tls = tls;
	str_copy(out->why, sizeof(out->why), "not connected yet");
	return ERR_OK;
}

enum err data_brokers_init(
	struct data_brokers *b, char *const *lines, size_t count, bool tls, uint32_t sys_interval_s)
{
	enum err e = ERR_OK;

	*b = (struct data_brokers){.sys_interval_s = sys_interval_s};
	if (count > DATA_BROKERS_MAX)
		return err_set(ERR_RANGE, "more than %d data brokers", DATA_BROKERS_MAX);
	b->items = calloc(count ? count : 1, sizeof(*b->items));
	if (!b->items)
		return err_set(ERR_MEMORY, "no memory for %zu data brokers", count);
	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		struct data_broker one;

		e = data_broker_parse(lines[i], tls, &one);
		if (e == ERR_OK && data_brokers_find(b, one.id))
			e = err_set(ERR_EXISTS, "data broker %s is named twice", one.id);
		if (e == ERR_OK)
			b->items[b->count++] = one;
	}
	if (e != ERR_OK)
		data_brokers_fini(b);
	return e;
}

void data_brokers_fini(struct data_brokers *b)
{
	relays_fini(b);
	free(b->items);
	*b = (struct data_brokers){0};
}

struct data_broker *data_brokers_find(struct data_brokers *b, const char *id)
{
	for (size_t i = 0; i < b->count; i++)
		if (strcmp(b->items[i].id, id) == 0)
			return &b->items[i];
	return NULL;
}

void data_broker_link(struct data_broker *b, bool up, const char *why, struct now now)
{
	b->up = up;
	b->up_since = now.mono;
	b->uptime_seen = false; // an old life sign proves nothing of a new connection
	if (!b->refused && !str_copy(b->why, sizeof(b->why), why))
		str_copy(b->why, sizeof(b->why), "connection lost");
}

bool data_broker_is_fresh(const struct data_broker *b, uint32_t sys_interval_s, struct mono now)
{
	if (!b->load->is_told)
		return b->up;
	return b->uptime_seen &&
	       mono_since_ms(now, b->uptime_at) <= (int64_t)sys_interval_s * 3 * 1000;
}

bool data_broker_is_away(
	const struct data_broker *b, uint32_t sys_interval_s, uint32_t away_s, struct mono now)
{
	int64_t silent_ms = mono_since_ms(now, b->up_since);

	if (b->up && !b->load->is_told)
		return b->refused;
	if (b->up && b->uptime_seen)
		silent_ms = mono_since_ms(now, b->uptime_at);
	if (b->up)
		silent_ms -= (int64_t)sys_interval_s * 3 * 1000;
	return b->refused || silent_ms >= (int64_t)away_s * 1000;
}

bool data_broker_is_candidate(const struct data_broker *b, uint32_t sys_interval_s, struct mono now)
{
	return b->up && !b->refused && data_broker_is_fresh(b, sys_interval_s, now);
}

double data_broker_busy(const struct data_broker *b)
{
	double capacity = (double)(b->capacity_bytes_per_s ? b->capacity_bytes_per_s : 1);

	if (!b->load->is_told)
		return (double)b->granted_bytes_per_s / capacity;
	return (b->sent_bytes_per_s + (double)b->fresh_bytes_per_s) / capacity;
}

// Mosquitto's average of a minute has forgotten by then what was allowed before.
#define BUDGET_STANDS_MS (5 * 60 * 1000)

void data_broker_budget(struct data_broker *b, uint64_t bytes_per_s, struct mono now)
{
	if (b->budget_known && b->budget_bytes_per_s != bytes_per_s)
		b->budget_since = now;
	b->budget_known = true;
	b->budget_bytes_per_s = bytes_per_s;
}

bool data_broker_is_overdrawn(const struct data_broker *b, struct mono now)
{
	bool stands =
		b->budget_since.ms == 0 || mono_since_ms(now, b->budget_since) >= BUDGET_STANDS_MS;

	return b->budget_bytes_per_s && stands && b->load->is_told &&
	       b->sent_bytes_per_s > 1.25 * (double)b->budget_bytes_per_s;
}

struct address data_broker_address(const struct data_broker *b, const char *topic)
{
	return (struct address){.broker_id = b->id,
		.host = b->host,
		.ip = b->ip,
		.port = b->port,
		.tls = b->tls,
		.topic = topic};
}
