// The waiting picture: what a screen shows while there is nothing to show. Calm, drawn by program,
// with the client's name and one line that says why.
#ifndef HELIO_DISPLAY_WAITING_H
#define HELIO_DISPLAY_WAITING_H

#include "client/display/resample.h"

// client, line: may be ""; without both it is the sky alone, as a program shows it while it starts.
void waiting_draw(struct frame f, const char *client, const char *line);

#endif
