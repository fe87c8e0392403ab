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
