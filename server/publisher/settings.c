// Settings of helio-publisher: rows that decide.
#include "proto/topics.h"
#include "publisher.h"
#include <stddef.h>

#define AT(field)                                                                                  \
	offsetof(struct publisher_settings, field), sizeof(((struct publisher_settings *)0)->field)

static const struct setting rows[] = {
	{"log", "level", SETTING_WORD, AT(log_level), 0, 0, "info", "debug|info|warn|error",
		"least level that is written"},
	{"identity", "id", SETTING_STRING, AT(id), 1, 0, NULL, NULL,
		"the publisher id that was enrolled"},
	{"identity", "key", SETTING_PATH, AT(key), 1, 0, NULL, NULL,
		"Ed25519 key, PEM PKCS#8, mode 0600: signs sign-ins and indexes"},
	{"identity", "root_file", SETTING_PATH, AT(root_file), 1, 0, NULL, NULL,
		"root.bin: which keys may do what"},
	{"identity", "root_key", SETTING_PATH, AT(root_key), 1, 0, NULL, NULL,
		"root.pub: 64 hex digits of the key that signed it"},
	{"tls", "enabled", SETTING_BOOL, AT(tls), 0, 0, "yes", NULL,
		"no: for loopback tests alone"},
	{"tls", "ca", SETTING_PATH, AT(ca), 0, 0, "", NULL, "certificate of the CA"},
	{"tls", "cert", SETTING_PATH, AT(cert), 0, 0, "", NULL, "certificate of this publisher"},
	{"tls", "key", SETTING_PATH, AT(tls_key), 0, 0, "", NULL, "key of the certificate"},
	{"control", "name", SETTING_STRING, AT(control_name), 0, 0, "", NULL,
		"name of the control broker, tried first"},
	{"control", "ip", SETTING_STRING, AT(control_ip), 0, 0, "", NULL,
		"its address, tried when the name fails"},
	{"control", "port", SETTING_U32, AT(control_port), 1, 65535, "8883", NULL, "its port"},
	{"publisher", "state_dir", SETTING_PATH, AT(state_dir), 1, 0,
		"/var/lib/heliograph/publisher", NULL, "pictures, objects and rows"},
	{"publisher", "socket", SETTING_PATH, AT(socket), 1, 0, "/run/heliograph/publisher.sock",
		NULL, "Unix socket for helioctl; mode 0600"},
	{"publisher", "package_bytes_max", SETTING_U64, AT(package_bytes_max), 1024,
		UINT64_C(1) << 40, "17179869184", NULL, "plain bytes of the largest package"},
	{"publisher", "zstd_level", SETTING_U32, AT(zstd_level), 0, 19, "3", NULL,
		"compression of software; 0: none"},
	{"publisher", "broker_patience_ms", SETTING_U32, AT(station_patience_ms), 1000, 600000,
		"30000", NULL,
		"how long a data broker may be out of reach before the server is told"},
};

const struct setting *publisher_rows(size_t *count)
{
	*count = sizeof rows / sizeof rows[0];
	return rows;
}

static enum err trust_check(const struct publisher_settings *s)
{
	struct server_trust trust;
	struct sign_key *identity = NULL;

	TRY(setting_file_check("identity", "root_key", s->root_key, false));
	TRY(setting_file_check("identity", "root_file", s->root_file, false));
	TRY(setting_file_check("identity", "key", s->key, true));
	TRY(setting_blame("identity", "key", sign_key_read(s->key, &identity)));
	sign_key_free(identity);
	TRY(setting_blame(
		"identity", "root_file", server_trust_open(&trust, s->root_file, s->root_key)));
	server_trust_close(&trust);
	return ERR_OK;
}

enum err publisher_settings_check(const void *settings)
{
	const struct publisher_settings *s = settings;

	if (!id_is_valid(s->id))
		return err_set(ERR_FORMAT, "[identity] id is 1..64 of letters, digits, . _ -");
	if (!s->control_name[0] && !s->control_ip[0])
		return err_set(ERR_FORMAT, "[control] needs name or ip");
	if (s->tls) {
		TRY(setting_file_check("tls", "ca", s->ca, false));
		TRY(setting_file_check("tls", "cert", s->cert, false));
		TRY(setting_file_check("tls", "key", s->tls_key, true));
	}
	return trust_check(s);
}
