// Which older packages a package is updated from: the bases that its publisher makes deltas from.
//
// A base is a package of the same publisher, kind and name that clients hold complete, by their
// heartbeats, without holding the new one; or one that a live lease fetches from. The most held
// come first, at most PRESENCE_BASES_MAX. The publisher is told the whole list each time it changes
// (SERVE_BASES) and answers when a delta lies on the broker; only then a grant names it. What is
// not listed any more it withdraws. Nothing here is stored: after a restart holdings and publishers
// say it again.
#ifndef HELIO_SERVER_BASES_H
#define HELIO_SERVER_BASES_H

#include "server/presence.h"

#define BASES_LOOK_MS 2000 // holdings that change all the time are looked at no more often

// Looks whether the lists are still right, and tells publishers what changed.
void bases_tick(struct presence *p, struct now now);
// The package lies on its broker, or its publisher is new: it is told anew.
void bases_again(struct package *k);
// The copy is in doubt or gone: so are the deltas beside it.
void bases_doubt(struct package *k);
// The publisher says what became of the delta from m->base.
void bases_said(struct package *k, const struct publisher_msg *m);
// The delta that costs this client least: from the base it named, or another that it holds.
// NULL: the full index.
const struct digest *bases_choose(const struct presence *p, const struct package *k,
	const char *client, const struct digest *named);

#endif
