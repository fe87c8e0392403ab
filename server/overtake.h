// A newer version of what a client still fetches waits at its pointer: the open RETRIEVE is
// overtaken. It ends as CANCELLED in the commit that opens the newer one, which also asks for
// whatever else the older one had asked for; so nothing is lost, no order is changed (the element
// is the one that comes next anyhow, only sooner), and at no moment are two operations open. What
// the client has fetched of the older version it reads from its own disk.
//
// Only packages of pictures: an update of software is let end.
#ifndef HELIO_SERVER_OVERTAKE_H
#define HELIO_SERVER_OVERTAKE_H

#include "proto/message.h"

// Pure. The package of `older` that `newer` replaces while the client still lacks it, NULL: none,
// or `older` asks for what cannot be asked for twice. held[i]: the client holds
// older->packages[i]. Borrowed.
const struct package_ref *overtake_find(const struct retrieve_information *older, const bool *held,
	const struct retrieve_information *newer);
// Pure. Both in one: of each package name and each key what the newer says. Into the arena.
// Errors: ERR_FULL when one response cannot hold it.
enum err overtake_join(struct arena *a, const struct retrieve_information *older,
	const struct retrieve_information *newer, struct retrieve_information *out) MUST_CHECK;

#endif
