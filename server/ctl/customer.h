// What the commands about customers share: how they are shown, and which pictures an order would
// have, asked of the publisher on this machine.
#ifndef HELIO_CTL_CUSTOMER_H
#define HELIO_CTL_CUSTOMER_H

#include "server/ctl/api.h"

// "all, drinks": the plans of an order, in a rotating buffer.
const char *customer_plans(const cJSON *order);
// The fields of `before` and `after` that differ, one a line.
void customer_change_show(const struct ctl *c, const cJSON *edit);

// Adds to each order of a dry run that carries its bytes what the publisher would make of it:
// "pictures", and beside the order as it stands "added" and "removed". Where no publisher answers
// on this machine it says so, and the orders stay as they are.
enum err customer_would(struct ctl *c, struct api *api, cJSON *document) MUST_CHECK;
// + and - of a dry run; every picture with its reason when there is nothing to compare.
void customer_pictures_show(const struct ctl *c, const cJSON *document);

#endif
