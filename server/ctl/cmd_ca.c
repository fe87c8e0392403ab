// ca init, ca revoke and enrol: keys and certificates, made on the operator's machine.
#include "server/ctl/ca.h"

#include "server/ctl/ctl.h"
#include <string.h>

#define LAST_DAY "2099-12-31"

enum exit_code cmd_ca_init(struct ctl *c, const struct args *a)
{
	const char *dir = a->words[0], *fleet = args_get(a, "fleet", NULL);

	if (!fleet)
		return ctl_usage(c, "--fleet NAME is missing");
	enum err e = ca_init(dir, fleet, args_get(a, "until", LAST_DAY));
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json) {
		SCOPED_JSON cJSON *j = cJSON_CreateObject();

		cJSON_AddStringToObject(j, "folder", dir);
		cJSON_AddStringToObject(j, "fleet", fleet);
		json_print(stdout, j, true);
	}
	ctl_say(c, "%s: authority of the fleet %s", ctl_safe(dir), fleet);
	ctl_say(c, "  ca.crt root.bin root.pub   for every machine (enrol copies them)");
	ctl_say(c, "  keys/root.key              take it offline: it signs only root.bin");
	ctl_say(c, "  keys/online.key            heliod's (enrol server copies it)");
	ctl_say(c, "  keys/{software,image}.key  sign packages");
	ctl_say(c, "  ca.key keys/enrol.key      sign certificates and enrolments");
	return EXIT_DONE;
}

static const char *ca_dir(const struct ctl *c, const struct args *a)
{
	return args_get(a, "ca", c->settings.ca_dir);
}

enum exit_code cmd_ca_revoke(struct ctl *c, const struct args *a)
{
	const char *dir = ca_dir(c, a), *id = a->words[0];

	if (!*dir)
		return ctl_usage(c, "--ca DIR is missing");
	enum err e = ca_revoke(dir, id);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json) {
		SCOPED_JSON cJSON *j = cJSON_CreateObject();

		cJSON_AddStringToObject(j, "revoked", id);
		json_print(stdout, j, true);
	}
	ctl_say(c, "%s is revoked in %s/crl.pem", id, ctl_safe(dir));
	ctl_say(c,
		"next: give crl.pem to the brokers (crl_file) and restart them; helioctl client "
		"revoke %s",
		id);
	return EXIT_DONE;
}

static bool names_take(const struct args *a, struct ca_request *r)
{
	for (size_t i = 0; i < a->option_count; i++) {
		const struct args_option *o = &a->options[i];

		if (strcmp(o->name, "dns") == 0 && r->dns_count < CA_NAMES_MAX)
			r->dns[r->dns_count++] = o->value;
		else if (strcmp(o->name, "ip") == 0 && r->ip_count < CA_NAMES_MAX)
			r->ip[r->ip_count++] = o->value;
		else if (strcmp(o->name, "dns") == 0 || strcmp(o->name, "ip") == 0)
			return false;
	}
	return true;
}

static void enrolled_say(
	const struct ctl *c, const char *dir, const struct ca_request *r, const char *out)
{
	if (c->json) {
		SCOPED_JSON cJSON *j = cJSON_CreateObject();

		cJSON_AddStringToObject(j, "id", r->id);
		cJSON_AddStringToObject(j, "folder", out);
		json_print(stdout, j, true);
		return;
	}
	ctl_say(c, "%s: files for %s", ctl_safe(out), r->id);
	if (r->role != CA_BROKER && r->role != CA_SERVER && r->role != CA_WATCHER)
		ctl_say(c,
			"next: helioctl client add %s/enrolments/%s.enrol, or that file in "
			"heliod's enrol_dir",
			ctl_safe(dir), r->id);
}

// Of a client that was enrolled without one: its keys and certificate stay.
static enum exit_code box_key_only(
	struct ctl *c, const char *dir, const struct ca_request *r, const char *hex)
{
	struct key32 box;
	char file[PATH_MAX];

	if (hex_decode(hex, box.b, sizeof(box.b)) != ERR_OK)
		return ctl_usage(c, "--box-key takes 64 hex digits");
	enum err e = ca_box_key(dir, r->id, &box);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	(void)snprintf(file, sizeof(file), "%s/enrolments", dir);
	enrolled_say(c, dir, r, file);
	return EXIT_DONE;
}

enum exit_code cmd_enrol(struct ctl *c, const struct args *a)
{
	struct ca_request r = {.id = a->words[1],
		.label = args_get(a, "name", ""),
		.until = args_get(a, "until", LAST_DAY),
		.csr_file = args_get(a, "csr", NULL)};
	const char *dir = ca_dir(c, a), *hex = args_get(a, "public-key", NULL);
	struct key32 public_key, box_key;
	char out[PATH_MAX];

	if (!*dir)
		return ctl_usage(c, "--ca DIR is missing");
	if (!names_take(a, &r))
		return ctl_usage(c, "more than %d --dns or --ip", CA_NAMES_MAX);
	enum err e = ca_role_parse(a->words[0], &r.role);
	if (e != ERR_OK)
		return ctl_usage(c, "%s", ctl_safe(err_text()));
	if (r.role == CA_CLIENT && !hex && !r.csr_file && args_has(a, "box-key"))
		return box_key_only(c, dir, &r, args_get(a, "box-key", ""));
	bool tls_only = r.role == CA_BROKER || r.role == CA_WATCHER;
	if (!tls_only && !hex != !r.csr_file)
		return ctl_usage(
			c, "keys made on the device come as both --public-key HEX and --csr FILE");
	if (hex) {
		if (hex_decode(hex, public_key.b, sizeof(public_key.b)) != ERR_OK)
			return ctl_usage(c, "--public-key takes 64 hex digits");
		r.public_key = &public_key;
		const char *box = args_get(a, "box-key", NULL);
		if (box && hex_decode(box, box_key.b, sizeof(box_key.b)) != ERR_OK)
			return ctl_usage(c, "--box-key takes 64 hex digits");
		r.box_key = box ? &box_key : NULL;
	}
	e = ca_enrol(dir, &r, out);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	enrolled_say(c, dir, &r, out);
	return EXIT_DONE;
}
