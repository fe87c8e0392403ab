// Records media: the server says for whom and what (Directive RECORD), the bytes are those of this
// store, and what lies on the medium is what lies on a data broker. Told again, an order that is
// recorded already is only answered; one that failed is tried again.
#ifndef HELIO_PUBLISHER_RECORDER_H
#define HELIO_PUBLISHER_RECORDER_H

#include "publisher.h"

void recorder_directive(struct publisher *p, const struct directive *d);
// Tells the server once more of what was recorded for this signed order. A medium that somebody
// took away is not told of, and not recorded anew.
void recorder_say(struct publisher *p, struct bytes order);

#endif
