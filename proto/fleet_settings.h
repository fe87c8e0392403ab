// The settings that every program of a fleet has: the sections [log], [identity], [tls] and
// [control]. One struct, one set of rows, one check; a program puts the struct into its own and the
// rows at the head of its table:
//
//	struct agent_settings { struct fleet_settings fleet; ... };
//	static const struct setting rows[] = {FLEET_ROWS(struct agent_settings, fleet, "client",
//...), ...};
//
// helioctl has seats instead of one identity, and the display no broker at all: they take the
// smaller sets of rows.
#ifndef HELIO_FLEET_SETTINGS_H
#define HELIO_FLEET_SETTINGS_H

#include "proto/base/program.h"
#include "proto/limits.h"
#include "proto/link_addresses.h"
#include <limits.h>

// Where the control broker is.
struct control_settings {
	char srv[256], name[256], ip[64];
	uint32_t port;
};

struct fleet_settings {
	char log_level[LOG_LEVEL_ROOM];
	char id[LIMIT_ID + 1], key[PATH_MAX], root_file[PATH_MAX], root_key[PATH_MAX];
	bool tls;
	char ca[PATH_MAX], cert[PATH_MAX], tls_key[PATH_MAX];
	struct control_settings control;
};

// clang-format off
// `control` is a member of `type`.
#define CONTROL_ROWS(type, control) \
	{"control", "srv", SETTING_STRING, SETTING_AT(type, control.srv), 0, 0, "", NULL, \
		"service whose SRV records say where it is, tried first: _heliograph._tcp.example"}, \
	{"control", "name", SETTING_STRING, SETTING_AT(type, control.name), 0, 0, "", NULL, \
		"name of the control broker, tried before ip"}, \
	{"control", "ip", SETTING_STRING, SETTING_AT(type, control.ip), 0, 0, "", NULL, \
		"its address, tried when the name fails"}, \
	{"control", "port", SETTING_U32, SETTING_AT(type, control.port), 1, 65535, "8883", NULL, \
		"its port"}

#define TLS_ENABLED_ROW(type, field) \
	{"tls", "enabled", SETTING_BOOL, SETTING_AT(type, field), 0, 0, "yes", NULL, \
		"no: plain connections, for tests on loopback alone"}

// `fleet` is a member of `type`; who: "client", "server" ...; what_key: what [identity] key is.
#define FLEET_ROWS(type, fleet, who, what_key) \
	LOG_LEVEL_ROW(type, fleet.log_level, "info"), \
	{"identity", "id", SETTING_STRING, SETTING_AT(type, fleet.id), 1, 0, NULL, NULL, \
		"the " who " id that was enrolled, and the CN of its certificate"}, \
	{"identity", "key", SETTING_PATH, SETTING_AT(type, fleet.key), 1, 0, NULL, NULL, \
		what_key ": Ed25519, PEM PKCS#8, mode 0600"}, \
	{"identity", "root_file", SETTING_PATH, SETTING_AT(type, fleet.root_file), 1, 0, NULL, NULL, \
		"root.bin: which keys may do what"}, \
	{"identity", "root_key", SETTING_PATH, SETTING_AT(type, fleet.root_key), 1, 0, NULL, NULL, \
		"root.pub: 64 hex digits of the key that signed root.bin"}, \
	TLS_ENABLED_ROW(type, fleet.tls), \
	{"tls", "ca", SETTING_PATH, SETTING_AT(type, fleet.ca), 0, 0, "", NULL, \
		"certificate of the fleet's authority"}, \
	{"tls", "cert", SETTING_PATH, SETTING_AT(type, fleet.cert), 0, 0, "", NULL, \
		"certificate of this " who}, \
	{"tls", "key", SETTING_PATH, SETTING_AT(type, fleet.tls_key), 0, 0, "", NULL, \
		"key of the certificate, mode 0600"}, \
	CONTROL_ROWS(type, fleet.control)
// clang-format on

// Every file can be read and is what it should be, and they fit each other. online: the key is the
// server's, and the root must list it. Sentences begin with "[section] key".
enum err fleet_settings_check(const struct fleet_settings *s, bool online) MUST_CHECK;

size_t control_addresses(const struct control_settings *s, struct link_address out[LINK_WAYS]);

#endif
