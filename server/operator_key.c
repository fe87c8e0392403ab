// Verbs about keys for content: whether a customer's packages are sealed.
#include "server/operator.h"

#include "server/content_keys.h"
#include "server/db/rows_customer.h"
#include "server/orders.h"

static void json_key(cJSON *o, const struct key_row *row)
{
	char hex[33] = "";

	if (row->current)
		hex_encode(row->key_id.b, sizeof(row->key_id.b), hex);
	put_text(o, "customer", row->customer);
	put_bool(o, "encrypts", row->current);
	put_text(o, "publisher", row->publisher);
	put_text(o, "key_id", hex);
	put_time(o, "since_unix_ms", (struct wall){row->created_ms});
}

static enum err run_encrypt(struct operator_call *c)
{
	const char *customer = call_text(c, "customer"), *to = call_text(c, "to");
	struct db *db = core_db(c->room->core);
	struct customer of;
	struct key_row row;

	if (rows_customer_find(db, customer, c->arena, &of) != ERR_OK || of.removed)
		return err_set(ERR_NOT_FOUND,
			"there is no customer %s: helioctl customer add, or customer list",
			customer);
	enum err e = rows_key_current(db, customer, &row);
	if (e != ERR_OK && e != ERR_NOT_FOUND)
		return e;
	bool is_on = e == ERR_OK;
	if (strcmp(to, "rotate") == 0 && !is_on)
		return err_set(ERR_NOT_NOW, "the packages of %s are not encrypted", customer);
	// What is so already stays so: a second "on" makes no second key.
	if (strcmp(to, "on") != 0 || !is_on)
		TRY(content_keys_turn(
			c->room->content_keys, customer, strcmp(to, "off") != 0, &row));
	orders_again(c->room->orders, customer);
	(void)str_copy(row.publisher, sizeof(row.publisher), of.publisher);
	json_key(c->json, &row);
	secret_wipe(&row, sizeof(row));
	return ERR_OK;
}

static enum err key_list(void *ctx, const struct key_row *row)
{
	json_key(put_item(ctx), row);
	return ERR_OK;
}

static enum err run_list(struct operator_call *c)
{
	return rows_key_customers(core_db(c->room->core), NULL, "", CUSTOMERS_MAX,
		put_list(c->json, "keys"), key_list);
}

static const struct verb_row rows[] = {
	{.name = "customer-encrypt",
		.help = "whether the packages of a customer are encrypted from now on",
		.writes = true,
		.run = run_encrypt,
		.args = {{"customer", ARG_ID, true, NULL, "whose"},
			{"to", ARG_WORD, true, "on|off|rotate",
				"rotate: a new key for later packages"}}},
	{.name = "customer-keys",
		.help = "whose packages are encrypted; no key is ever told",
		.run = run_list},
};

const struct verb_table operator_key_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
