// The fleet's own authority: TLS certificates (P-256), the root of trust and its keys, enrolments.
//
//   DIR/ca.crt ca.key              authority of all TLS certificates
//   DIR/root.bin root.pub          which keys may do what, signed by keys/root.key
//   DIR/keys/NAME.key              Ed25519: root online software image enrol
//   DIR/enrolments/ID.enrol        for heliod: who ID is
//   DIR/issued/ID.crt              every certificate ever made; revoked/ID.crt: taken back
//   DIR/out/ID/                    what goes to the machine: tls.crt tls.key ca.crt identity.key
//                                  root.bin root.pub ID.enrol (server: online.key too)
//
// Certificates begin in 1970, so that a device without a clock can connect. Nothing is overwritten.
// The only file of helioctl that includes OpenSSL.
#ifndef HELIO_CTL_CA_H
#define HELIO_CTL_CA_H

#include "proto/message.h"
#include <limits.h>

#define CA_NAMES_MAX 32

// until: "2099-12-31", the last day of every certificate. Errors: ERR_EXISTS when DIR holds an
// authority already, ERR_FORMAT (fleet, until).
enum err ca_init(const char *dir, const char *fleet, const char *until) MUST_CHECK;

// A watcher reads with mosquitto_sub and has no identity but its certificate.
enum ca_role {
	CA_CLIENT = 1,
	CA_PUBLISHER,
	CA_OPERATOR,
	CA_SERVER,
	CA_BROKER,
	CA_WATCHER
};
// Errors: ERR_FORMAT.
enum err ca_role_parse(const char *word, enum ca_role *out) MUST_CHECK;

struct ca_request {
	enum ca_role role;
	const char *id;
	const char *label;                                // for people; "" allowed
	const char *dns[CA_NAMES_MAX], *ip[CA_NAMES_MAX]; // broker
	size_t dns_count, ip_count;
	const char *until;
	const char *csr_file;           // made on the device: no TLS key is made here
	const struct key32 *public_key; // identity key made on the device; NULL: made here
	const struct key32 *box_key;    // X25519, made on the device; NULL: none, or made here
};
// out_dir: the folder made, with room for PATH_MAX. Errors: ERR_FORMAT (id, names, CSR), ERR_EXISTS
// (the id was given before), ERR_NOT_FOUND (no authority in dir), ERR_RANGE (a broker without
// names).
enum err ca_enrol(const char *dir, const struct ca_request *r, char out_dir[PATH_MAX]) MUST_CHECK;
// Signs it with the key of `dir`, into a file. For ca.c.
enum err ca_enrolment_write(
	const char *dir, const char *path, const struct enrolment *m) MUST_CHECK;
// The enrolment of a client once more, with its box key. Errors: ERR_NOT_FOUND, ERR_DENIED.
enum err ca_box_key(const char *dir, const char *id, const struct key32 *box) MUST_CHECK;

// Moves issued/ID.crt to revoked/ and writes DIR/crl.pem anew. Errors: ERR_NOT_FOUND.
enum err ca_revoke(const char *dir, const char *id) MUST_CHECK;

// ---- looking at certificates, for doctor

struct ca_certificate {
	char common_name[LIMIT_ID + 1];
	char names[1024]; // "DNS:control IP:10.0.0.7"
	int64_t begins_unix_s, ends_unix_s;
	bool server_auth, client_auth;
	bool signed_by_ca; // checked against ca_file when that is not NULL
	bool key_matches;  // checked against key_file when that is not NULL
};
enum err ca_look(const char *cert_file, const char *ca_file, const char *key_file,
	struct ca_certificate *out) MUST_CHECK;

#endif
