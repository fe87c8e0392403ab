// What the two files of the customers' verbs share.
#ifndef HELIO_SERVER_OPERATOR_CUSTOMER_H
#define HELIO_SERVER_OPERATOR_CUSTOMER_H

#include "server/customer_edit.h"
#include "server/customer_json.h"
#include "server/operator.h"

// Of which orders the bytes are told too, for the publisher's order-preview.
enum order_bytes {
	BYTES_OF_NONE,
	BYTES_OF_CHANGED,
	BYTES_OF_ALL
};
enum err json_orders(cJSON *list, const struct order_would *orders, size_t count,
	enum order_bytes bytes) MUST_CHECK;

enum err customer_run_list(struct operator_call *c) MUST_CHECK;
enum err customer_run_show(struct operator_call *c) MUST_CHECK;
enum err customer_run_history(struct operator_call *c) MUST_CHECK;
enum err customer_run_preview(struct operator_call *c) MUST_CHECK;

#endif
