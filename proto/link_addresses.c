// Name first, then address; see link_addresses.h.
#include "proto/link_addresses.h"

size_t link_addresses(const char *name, const char *ip, uint32_t port, struct link_address out[2])
{
	size_t count = 0;

	if (*name)
		out[count++] = (struct link_address){name, (uint16_t)port, LINK_VIA_NAME};
	if (*ip)
		out[count++] = (struct link_address){ip, (uint16_t)port, LINK_VIA_IP};
	return count;
}

size_t link_ways(const char *srv, const char *name, const char *ip, uint32_t port,
	struct link_address out[LINK_WAYS])
{
	size_t count = 0;

	if (*srv)
		out[count++] = (struct link_address){srv, 0, LINK_VIA_SRV};
	return count + link_addresses(name, ip, port, out + count);
}
