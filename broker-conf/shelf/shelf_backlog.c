#include "broker-conf/shelf/shelf_backlog.h"

void shelf_backlog_keep(struct shelf_backlog *b, uint64_t bytes)
{
	b->base_bytes += bytes;
}

uint64_t shelf_backlog_bytes(
	struct shelf_backlog *b, uint64_t used_bytes, bool quiet, uint64_t held_bytes)
{
	if (quiet && used_bytes > held_bytes && used_bytes - held_bytes > b->base_bytes)
		b->base_bytes = used_bytes - held_bytes;
	if (b->base_bytes > used_bytes)
		b->base_bytes = used_bytes;
	return used_bytes - b->base_bytes;
}
