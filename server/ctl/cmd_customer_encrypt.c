// customer encrypt: whether what is made for a customer can be read by its own devices alone
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

enum exit_code cmd_customer_encrypt(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "customer-encrypt"};

	api_verb_add(&v, "customer", a->words[0]);
	api_verb_add(&v, "to", a->words[1]);
	return api_show(c, &v, encrypt_show);
}
