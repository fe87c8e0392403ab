// Customers as the documents of the operator API, which the history keeps too.
#ifndef HELIO_SERVER_CUSTOMER_JSON_H
#define HELIO_SERVER_CUSTOMER_JSON_H

#include "server/customers.h"
#include <cjson/cJSON.h>

void json_customer(cJSON *o, const struct customer *c); // what can be edited, and its id
void json_customer_place(cJSON *o, const struct customer_place *p);
void json_customer_plan(cJSON *o, const struct customer_plan *p);
void json_customer_client(cJSON *o, const struct customer_client *c);

// The same as text in the arena. Errors: ERR_FULL.
enum err customer_json_text(struct arena *a, const struct customer *c, const char **out) MUST_CHECK;
enum err place_json_text(
	struct arena *a, const struct customer_place *p, const char **out) MUST_CHECK;
enum err plan_json_text(
	struct arena *a, const struct customer_plan *p, const char **out) MUST_CHECK;
enum err customer_client_json_text(
	struct arena *a, const struct customer_client *c, const char **out) MUST_CHECK;

#endif
