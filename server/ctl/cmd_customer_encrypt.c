// customer encrypt, customer keys: whether what is made for a customer can be read by its own
// devices alone
#include "server/ctl/show.h"

static void encrypt_show(const struct ctl *c, const cJSON *r)
{
	const char *id = json_text(r, "key_id");

	if (id[0])
		ctl_say(c, "packages of %s are encrypted from now on, key %s",
			ctl_safe(json_text(r, "customer")), id);
	else
		ctl_say(c, "packages of %s are not encrypted any more",
			ctl_safe(json_text(r, "customer")));
}

static void keys_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"CUSTOMER", false, true, false},
		{"ENCRYPTED", false, true, false}, {"KEY", false, true, false},
		{"SINCE", false, false, true}, {"TOLD TO", false, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "keys"))
	{
		bool on = json_bool(one, "encrypts");

		table_add_style(t, json_text(one, "customer"), STYLE_BOLD);
		table_add_style(t, on ? "yes" : "no", on ? STYLE_GOOD : STYLE_PLAIN);
		table_addf(t, "%.12s", json_text(one, "key_id"));
		table_add(t, show_when(one, "since_unix_ms"));
		table_add(t, json_text(one, "publisher"));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_customer_keys(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "customer-keys"};

	(void)a;
	return api_show(c, &v, keys_show);
}

enum exit_code cmd_customer_encrypt(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "customer-encrypt"};

	api_verb_add(&v, "customer", a->words[0]);
	api_verb_add(&v, "to", a->words[1]);
	return api_show(c, &v, encrypt_show);
}
