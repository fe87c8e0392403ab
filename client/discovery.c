// What is known once a broker was found; see discovery.h.
#include "client/discovery.h"

#include "proto/base/log.h"

#include <string.h>

void discovery_log(const struct link_address *via, const char *peer)
{
	log_info("CONNECT", "connect via=%s addr=%s host=%s", link_via_word(via->via), peer,
		log_quote(via->host));
}

// "10.0.0.7:8883" or "[::1]:8883" -> the host alone.
static bool peer_host(const char *peer, char *out, size_t size)
{
	const char *colon = strrchr(peer, ':');
	const char *begin = peer;
	if (colon == NULL || colon == peer)
		return false;
	if (*begin == '[' && colon[-1] == ']') {
		begin++;
		colon--;
	}
	size_t n = (size_t)(colon - begin);
	if (n == 0 || n >= size)
		return false;
	memcpy(out, begin, n);
	out[n] = '\0';
	return true;
}

void discovery_own_address(
	const struct control_settings *s, const char *peer, uint8_t out[16], size_t *size)
{
	char host[64];
	uint16_t port = (uint16_t)s->port;
	if (peer_host(peer, host, sizeof host) &&
		route_local_address(host, port, out, size) == ERR_OK)
		return;
	if (s->ip[0] != '\0' && route_local_address(s->ip, port, out, size) == ERR_OK)
		return;
	memset(out, 0, 16);
	*size = 4;
}
