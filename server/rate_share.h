// How a rate is divided: max-min fair among flows that share links. Pure.
//
//   links (a data broker, a site) with so many bytes/s each + flows, each over some of the links
//   and below a cap of its own  ->  a rate for each flow
//
// Nobody gets more at the cost of somebody who has less: the level rises for all at once; who
// reaches its cap stays there and leaves the rest to the others; a link that is full stops all that
// cross it. So no link carries more than it may, and who is not at its cap crosses a link that is
// full, but for what does not divide evenly. Costs O((flows + links) x log): a link is looked at
// again only after a flow over it stopped.
#ifndef HELIO_SERVER_RATE_SHARE_H
#define HELIO_SERVER_RATE_SHARE_H

#include <stddef.h>
#include <stdint.h>

#define SHARE_LINKS 2 // that one flow crosses

struct share_link {
	uint64_t bytes_per_s; // 0: no limit
};

struct share_flow {
	uint32_t link[SHARE_LINKS]; // places in links
	uint64_t cap;               // 0: none
	uint64_t rate; // out; 0: nothing limits it. Else never below 1: on the wire 0 is no limit
};

// Aborts when out of memory.
void rate_share(const struct share_link *links, size_t link_count, struct share_flow *flows,
	size_t flow_count);

#endif
