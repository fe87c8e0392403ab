#include "server/relays.h"

#include "proto/topics.h"
#include "server/customers.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// In the order of the settings: few, and looked through once a request.
struct relay {
	char broker[LIMIT_ID + 1], site[SITE_MAX + 1];
};

static bool site_holds(const char *of_relay, const char *site)
{
	size_t n = strlen(of_relay);

	if (of_relay[n - 1] == '*')
		return strncmp(of_relay, site, n - 1) == 0 && site[n - 1] != 0;
	return strcmp(of_relay, site) == 0;
}

enum err relay_add(struct data_brokers *b, const char *line)
{
	char broker[LIMIT_ID + 2], site[SITE_MAX + 2], more;
	struct data_broker *at;
	struct relay *grown;

	_Static_assert(sizeof(broker) == 66 && sizeof(site) == 103, "the rooms of sscanf");
	if (sscanf(line, "%65s %102s %c", broker, site, &more) != 2)
		return err_set(
			ERR_FORMAT, "a relay is 'BROKER CUSTOMER/PLACE', not '%.120s'", line);
	at = data_brokers_find(b, broker);
	if (!at)
		return err_set(ERR_NOT_FOUND, "there is no data broker %.64s", broker);
	TRY(site_check(site, true));
	for (size_t i = 0; i < b->relay_count; i++)
		if (strcmp(b->relays[i].broker, broker) == 0 &&
			strcmp(b->relays[i].site, site) == 0)
			return err_set(ERR_EXISTS, "relay %s of %s is named twice", broker, site);
	if (b->relay_count >= RELAYS_MAX)
		return err_set(ERR_FULL, "more than %d relays", RELAYS_MAX);
	grown = realloc(b->relays, (b->relay_count + 1) * sizeof(*grown));
	if (!grown)
		return err_set(ERR_MEMORY, "no memory for a relay");
	b->relays = grown;
	grown = &b->relays[b->relay_count++];
	str_copy(grown->broker, sizeof(grown->broker), broker);
	str_copy(grown->site, sizeof(grown->site), site);
	at->is_relay = true;
	return ERR_OK;
}

enum err relays_init(struct data_brokers *b, char *const *lines, size_t count)
{
	size_t ordinary = 0;

	for (size_t i = 0; i < count; i++)
		TRY(relay_add(b, lines[i]));
	for (size_t i = 0; i < b->count; i++)
		ordinary += !b->items[i].is_relay;
	if (b->count > 0 && ordinary == 0)
		return err_set(ERR_RANGE, "every data broker is a relay: one has to be for all");
	return ERR_OK;
}

void relays_fini(struct data_brokers *b)
{
	free(b->relays);
	b->relays = NULL;
	b->relay_count = 0;
}

bool relay_serves(const struct data_brokers *b, const struct data_broker *broker, const char *site)
{
	if (!broker->is_relay)
		return true;
	for (size_t i = 0; i < b->relay_count; i++)
		if (strcmp(b->relays[i].broker, broker->id) == 0 &&
			site_holds(b->relays[i].site, site))
			return true;
	return false;
}

size_t relays_of(struct data_brokers *b, const char *site, struct data_broker *out[RELAYS_OF_SITE])
{
	size_t found = 0;

	for (size_t i = 0; i < b->count && *site && found < RELAYS_OF_SITE; i++)
		if (b->items[i].is_relay && relay_serves(b, &b->items[i], site))
			out[found++] = &b->items[i];
	return found;
}

const char *relay_site(const struct data_brokers *b, const char *broker, size_t n)
{
	for (size_t i = 0; i < b->relay_count; i++)
		if (strcmp(b->relays[i].broker, broker) == 0 && n-- == 0)
			return b->relays[i].site;
	return NULL;
}
