// What one row cannot say; see fleet_settings.h.
#include "proto/fleet_settings.h"

#include "proto/sign.h"
#include "proto/topics.h"
#include "proto/trust.h"

static enum err tls_check(const struct fleet_settings *s)
{
	if (!s->tls)
		return ERR_OK;
	TRY(setting_file_check("tls", "ca", s->ca, false));
	TRY(setting_file_check("tls", "cert", s->cert, false));
	return setting_file_check("tls", "key", s->tls_key, true);
}

static enum err identity_files_check(const struct fleet_settings *s)
{
	struct key32 root_key;

	TRY(setting_file_check("identity", "root_key", s->root_key, false));
	TRY(setting_blame("identity", "root_key", public_key_read(s->root_key, &root_key)));
	TRY(setting_file_check("identity", "root_file", s->root_file, false));
	return setting_file_check("identity", "key", s->key, true);
}

static enum err identity_check(const struct fleet_settings *s, bool online)
{
	struct trust trust;
	struct sign_key *key = NULL;

	TRY(identity_files_check(s));
	TRY(setting_blame("identity", "root_file", trust_open(&trust, s->root_file, s->root_key)));
	enum err e = sign_key_read(s->key, &key);
	if (e == ERR_OK && online)
		e = trust_check_online(&trust, sign_key_public(key), clock_now().wall);
	sign_key_free(key);
	trust_close(&trust);
	return setting_blame("identity", "key", e);
}

enum err fleet_settings_check(const struct fleet_settings *s, bool online)
{
	if (!id_is_valid(s->id))
		return err_set(ERR_FORMAT, "[identity] id has 1 to %d of A-Za-z0-9._-", LIMIT_ID);
	if (!s->control.srv[0] && !s->control.name[0] && !s->control.ip[0])
		return err_set(ERR_RANGE, "[control] needs a name or an ip");
	TRY(tls_check(s));
	return identity_check(s, online);
}

size_t control_addresses(const struct control_settings *s, struct link_address out[LINK_WAYS])
{
	return link_ways(s->srv, s->name, s->ip, s->port, out);
}
