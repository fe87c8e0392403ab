// OpenSSL's X509, X509_REQ and X509_CRL; everything Ed25519 goes through proto/sign.h.
#include "server/ctl/ca.h"

#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include "proto/envelope.h"
#include "proto/topics.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- scoped owners of OpenSSL's things

#define SCOPED_OF(type, name, free_it)                                                             \
	static void scope_##name(type **p)                                                         \
	{                                                                                          \
		free_it(*p);                                                                       \
	}
SCOPED_OF(X509, x509, X509_free)
SCOPED_OF(X509_REQ, req, X509_REQ_free)
SCOPED_OF(X509_CRL, crl, X509_CRL_free)
SCOPED_OF(EVP_PKEY, pkey, EVP_PKEY_free)
SCOPED_OF(BIO, bio, BIO_free_all)
SCOPED_OF(BIGNUM, bignum, BN_free)
SCOPED_OF(X509_REVOKED, revoked, X509_REVOKED_free)
SCOPED_OF(ASN1_TIME, time, ASN1_TIME_free)
SCOPED_OF(struct sign_key, key, sign_key_free)
#undef SCOPED_OF
#define SCOPED(name) __attribute__((cleanup(scope_##name)))

static enum err openssl_error(const char *what)
{
	char why[256];

	ERR_error_string_n(ERR_get_error(), why, sizeof(why));
	ERR_clear_error();
	return err_set(ERR_FORMAT, "%s: %s", what, why);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static enum err path_of(char out[PATH_MAX], const char *dir, const char *sub, const char *name)
{
	int n = snprintf(out, PATH_MAX, "%s/%s%s%s", dir, sub, *sub ? "/" : "", name);

	if (n < 0 || n >= PATH_MAX)
		return err_set(ERR_RANGE, "the path %s/%s/%s is too long", dir, sub, name);
	return ERR_OK;
}

// ---- reading and writing PEM

static enum err bio_write(const char *path, BIO *bio, mode_t mode)
{
	char *data;
	long size = BIO_get_mem_data(bio, &data);

	if (exists(path))
		return err_set(ERR_EXISTS, "%s is there already and is not overwritten", path);
	return file_write_atomic(path, data, (size_t)size, mode);
}

static enum err certificate_write(const char *path, X509 *cert)
{
	SCOPED(bio) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || PEM_write_bio_X509(bio, cert) != 1)
		return openssl_error("cannot write a certificate");
	return bio_write(path, bio, 0644);
}

static enum err tls_key_write(const char *path, EVP_PKEY *key)
{
	SCOPED(bio) BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return openssl_error("cannot write a key");
	return bio_write(path, bio, 0600);
}

static enum err certificate_read(const char *path, X509 **out)
{
	SCOPED_BUF struct buf text;

	buf_init(&text, 64 * 1024);
	TRY(file_read(path, &text));
	SCOPED(bio) BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);
	*out = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	if (!*out)
		return openssl_error(path);
	return ERR_OK;
}

static enum err tls_key_read(const char *path, EVP_PKEY **out)
{
	SCOPED_BUF struct buf text;

	buf_init(&text, 64 * 1024);
	TRY(file_read_secret(path, &text));
	SCOPED(bio) BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);
	*out = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (char[]){""}) : NULL;
	secret_wipe(text.data, text.size);
	if (!*out)
		return openssl_error(path);
	return ERR_OK;
}

// ---- one certificate

struct certificate_plan {
	const char *common_name;
	EVP_PKEY *key;
	X509 *issuer; // NULL: self-signed
	EVP_PKEY *issuer_key;
	const char *until, *usage, *extended_usage, *basic;
	char names[4096]; // "DNS:a,IP:b"; "" for none
};

static enum err serial_set(X509 *cert)
{
	SCOPED(bignum) BIGNUM *n = BN_new();
	uint8_t bytes[16];

	random_fill(bytes, sizeof(bytes));
	bytes[0] &= 0x7f; // positive, at most 127 bits
	bytes[0] |= 0x40; // and never short
	if (!n || !BN_bin2bn(bytes, sizeof(bytes), n) ||
		!BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)))
		return openssl_error("serial number");
	return ERR_OK;
}

static enum err dates_set(X509 *cert, const char *until)
{
	char last[32];
	int y, m, d, n = 0;

	if (sscanf(until, "%4d-%2d-%2d%n", &y, &m, &d, &n) != 3 || until[n] || y < 2027 || y > 9999)
		return err_set(ERR_FORMAT, "%.40s is not a day such as 2099-12-31", until);
	snprintf(last, sizeof(last), "%04d%02d%02d235959Z", y, m, d);
	if (ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "19700101000000Z") != 1 ||
		ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), last) != 1)
		return err_set(ERR_FORMAT, "%.40s is not a day such as 2099-12-31", until);
	return ERR_OK;
}

static enum err extension_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (!extension)
		return openssl_error(value);
	int ok = X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
	return ok == 1 ? ERR_OK : openssl_error("extension");
}

static enum err extensions_add(X509 *cert, X509 *issuer, const struct certificate_plan *p)
{
	TRY(extension_add(cert, issuer, NID_basic_constraints, p->basic));
	TRY(extension_add(cert, issuer, NID_key_usage, p->usage));
	TRY(extension_add(cert, issuer, NID_subject_key_identifier, "hash"));
	if (p->issuer)
		TRY(extension_add(cert, issuer, NID_authority_key_identifier, "keyid:always"));
	if (p->extended_usage)
		TRY(extension_add(cert, issuer, NID_ext_key_usage, p->extended_usage));
	if (p->names[0])
		TRY(extension_add(cert, issuer, NID_subject_alt_name, p->names));
	return ERR_OK;
}

static enum err certificate_make(const struct certificate_plan *p, X509 **out)
{
	SCOPED(x509) X509 *cert = X509_new();

	if (!cert || X509_set_version(cert, X509_VERSION_3) != 1 ||
		X509_set_pubkey(cert, p->key) != 1)
		return openssl_error("certificate");
	TRY(serial_set(cert));
	TRY(dates_set(cert, p->until));
	X509_NAME *subject = X509_get_subject_name(cert);
	if (X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
		    (const unsigned char *)p->common_name, -1, -1, 0) != 1)
		return openssl_error("common name");
	X509 *issuer = p->issuer ? p->issuer : cert;
	if (X509_set_issuer_name(cert, X509_get_subject_name(issuer)) != 1)
		return openssl_error("issuer");
	TRY(extensions_add(cert, issuer, p));
	if (X509_sign(cert, p->issuer_key, EVP_sha256()) == 0)
		return openssl_error("signature");
	*out = cert;
	cert = NULL;
	return ERR_OK;
}

// ---- the authority

static enum err authority_write(const char *dir, const char *fleet, const char *until)
{
	SCOPED(pkey) EVP_PKEY *key = EVP_EC_gen("P-256");
	SCOPED(x509) X509 *cert = NULL;
	char name[LIMIT_ID + 8], path[PATH_MAX];

	if (!key)
		return openssl_error("P-256 key");
	snprintf(name, sizeof(name), "%s CA", fleet);
	struct certificate_plan plan = {.common_name = name,
		.key = key,
		.issuer_key = key,
		.until = until,
		.usage = "critical,keyCertSign,cRLSign",
		.basic = "critical,CA:TRUE,pathlen:0"};
	TRY(certificate_make(&plan, &cert));
	TRY(path_of(path, dir, "", "ca.crt"));
	TRY(certificate_write(path, cert));
	TRY(path_of(path, dir, "", "ca.key"));
	return tls_key_write(path, key);
}

static const char *const key_names[] = {"root", "online", "software", "image", "enrol"};
#define KEY_COUNT (sizeof(key_names) / sizeof(key_names[0]))

static enum err identity_make(const char *path, struct sign_key **out)
{
	struct key32 secret;

	sign_key_generate(&secret);
	enum err e = exists(path) ? err_set(ERR_EXISTS,
					    "%s is there already and is not overwritten", path)
				  : sign_key_write(path, &secret);
	if (e == ERR_OK)
		e = sign_key_load(&secret, out);
	secret_wipe(&secret, sizeof(secret));
	return e;
}

static enum err hex_line_write(const char *path, const struct key32 *key)
{
	char line[66];

	hex_encode(key->b, sizeof(key->b), line);
	line[64] = '\n';
	return file_write_atomic(path, line, 65, 0644);
}

#define ROOT_LIFE_MS (20ll * 365 * 24 * 3600 * 1000)

static enum err root_write(
	const char *dir, const char *fleet, struct sign_key *const keys[KEY_COUNT])
{
	SCOPED_BUF struct buf payload, envelope;
	struct key32 public[KEY_COUNT];
	char path[PATH_MAX];

	for (size_t i = 0; i < KEY_COUNT; i++)
	public[i] = *sign_key_public(keys[i]);
	struct root root = {.version = 1,
		.fleet = fleet,
		.root_keys = &public[0],
		.root_key_count = 1,
		.root_threshold = 1,
		.online_keys = &public[1],
		.online_key_count = 1,
		.software_keys = &public[2],
		.software_key_count = 1,
		.software_threshold = 1,
		.image_keys = &public[3],
		.image_key_count = 1,
		.enrol_keys = &public[4],
		.enrol_key_count = 1,
		.expires_unix_ms = clock_now().wall.ms + ROOT_LIFE_MS};
	buf_init(&payload, LIMIT_ENVELOPE);
	buf_init(&envelope, LIMIT_ENVELOPE);
	TRY(root_encode(&root, &payload));
	TRY(envelope_make(PURPOSE_ROOT, buf_bytes(&payload), &keys[0], 1, &envelope));
	TRY(path_of(path, dir, "", "root.bin"));
	TRY(file_write_atomic(path, envelope.data, envelope.size, 0644));
	TRY(path_of(path, dir, "", "root.pub"));
	return hex_line_write(path, &public[0]);
}

static enum err keys_write(const char *dir, const char *fleet)
{
	struct sign_key *keys[KEY_COUNT] = {NULL};
	enum err e = ERR_OK;
	char path[PATH_MAX], name[32];

	for (size_t i = 0; i < KEY_COUNT && e == ERR_OK; i++) {
		snprintf(name, sizeof(name), "%s.key", key_names[i]);
		e = path_of(path, dir, "keys", name);
		if (e == ERR_OK)
			e = identity_make(path, &keys[i]);
	}
	if (e == ERR_OK)
		e = root_write(dir, fleet, keys);
	for (size_t i = 0; i < KEY_COUNT; i++)
		sign_key_free(keys[i]);
	return e;
}

enum err ca_init(const char *dir, const char *fleet, const char *until)
{
	static const char *const folders[] = {"keys", "enrolments", "issued", "revoked", "out"};
	static const char *const firsts[] = {"ca.key", "ca.crt", "root.bin", "keys/root.key"};
	char path[PATH_MAX];

	if (!id_is_valid(fleet))
		return err_set(ERR_FORMAT, "%.80s cannot name a fleet ([A-Za-z0-9._-], at most 64)",
			fleet);
	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		TRY(path_of(path, dir, "", firsts[i]));
		if (exists(path))
			return err_set(ERR_EXISTS, "%s is there already: %s holds an authority",
				path, dir);
	}
	TRY(dir_make(dir));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		TRY(path_of(path, dir, "", folders[i]));
		TRY(dir_make(path));
	}
	TRY(authority_write(dir, fleet, until));
	return keys_write(dir, fleet);
}

// ---- enrolling

enum err ca_role_parse(const char *word, enum ca_role *out)
{
	static const char *const words[] = {
		"", "client", "publisher", "operator", "server", "broker", "watcher"};

	for (size_t i = 1; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(words[i], word) == 0) {
			*out = (enum ca_role)i;
			return ERR_OK;
		}
	}
	return err_set(ERR_FORMAT,
		"a role is client, publisher, operator, server, broker or watcher, not %.40s",
		word);
}

static bool dns_is_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > 253 || name[0] == '-' || name[0] == '.')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") ==
	       n;
}

static enum err names_plan(const struct ca_request *r, struct certificate_plan *plan)
{
	size_t at = 0;

	plan->names[0] = '\0';
	for (size_t i = 0; i < r->dns_count; i++) {
		if (!dns_is_valid(r->dns[i]))
			return err_set(ERR_FORMAT, "%.80s is not a DNS name", r->dns[i]);
		at += (size_t)snprintf(plan->names + at, sizeof(plan->names) - at, "%sDNS:%s",
			at ? "," : "", r->dns[i]);
		if (at >= sizeof(plan->names))
			return err_set(ERR_RANGE, "too many names");
	}
	for (size_t i = 0; i < r->ip_count; i++) {
		ASN1_OCTET_STRING *ip = a2i_IPADDRESS(r->ip[i]);

		if (!ip)
			return err_set(ERR_FORMAT, "%.80s is not an IP address", r->ip[i]);
		ASN1_OCTET_STRING_free(ip);
		at += (size_t)snprintf(plan->names + at, sizeof(plan->names) - at, "%sIP:%s",
			at ? "," : "", r->ip[i]);
		if (at >= sizeof(plan->names))
			return err_set(ERR_RANGE, "too many names");
	}
	return ERR_OK;
}

// The key of the request alone: subject and extensions of a device's request are not taken over.
static enum err csr_key(const char *path, EVP_PKEY **out)
{
	SCOPED_BUF struct buf text;

	buf_init(&text, 64 * 1024);
	TRY(file_read(path, &text));
	SCOPED(bio) BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);
	SCOPED(req) X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	if (!request)
		return openssl_error(path);
	EVP_PKEY *key = X509_REQ_get0_pubkey(request);
	char group[32] = "";
	if (!key || X509_REQ_verify(request, key) != 1)
		return err_set(ERR_AUTH, "%s is not signed by the key it holds", path);
	if (EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1 ||
		strcmp(group, "prime256v1") != 0)
		return err_set(ERR_FORMAT, "%s does not hold a P-256 key", path);
	EVP_PKEY_up_ref(key);
	*out = key;
	return ERR_OK;
}

struct enrolling {
	const char *dir;    // of the authority
	char out[PATH_MAX]; // where the files are gathered
	const struct ca_request *r;
};

static enum err tls_make(const struct enrolling *e)
{
	const struct ca_request *r = e->r;
	SCOPED(pkey) EVP_PKEY *key = NULL, *ca_key = NULL;
	SCOPED(x509) X509 *ca = NULL, *cert = NULL;
	char path[PATH_MAX], file[LIMIT_ID + 8];

	TRY(path_of(path, e->dir, "", "ca.crt"));
	TRY(certificate_read(path, &ca));
	TRY(path_of(path, e->dir, "", "ca.key"));
	TRY(tls_key_read(path, &ca_key));
	if (r->csr_file)
		TRY(csr_key(r->csr_file, &key));
	else if (!(key = EVP_EC_gen("P-256")))
		return openssl_error("P-256 key");
	struct certificate_plan plan = {.common_name = r->id,
		.key = key,
		.issuer = ca,
		.issuer_key = ca_key,
		.until = r->until,
		.usage = "critical,digitalSignature",
		.basic = "critical,CA:FALSE",
		.extended_usage = r->role == CA_BROKER ? "serverAuth" : "clientAuth"};
	TRY(names_plan(r, &plan));
	TRY(certificate_make(&plan, &cert));
	TRY(path_of(path, e->out, "", "tls.crt"));
	TRY(certificate_write(path, cert));
	if (!r->csr_file) {
		TRY(path_of(path, e->out, "", "tls.key"));
		TRY(tls_key_write(path, key));
	}
	snprintf(file, sizeof(file), "%s.crt", r->id);
	TRY(path_of(path, e->dir, "issued", file));
	return certificate_write(path, cert);
}

static enum err copy(const struct enrolling *e, const char *from, const char *to, mode_t mode)
{
	SCOPED_BUF struct buf data;
	char path[PATH_MAX];

	buf_init(&data, 64 * 1024);
	TRY(path_of(path, e->dir, "", from));
	TRY(file_read(path, &data));
	TRY(path_of(path, e->out, "", to));
	enum err done = file_write_atomic(path, data.data, data.size, mode);
	secret_wipe(data.data, data.size);
	return done;
}

static enum err enrolment_write(
	const struct enrolling *e, const struct key32 *identity, const struct key32 *box)
{
	static const enum role roles[] = {[CA_CLIENT] = ROLE_CLIENT,
		[CA_PUBLISHER] = ROLE_PUBLISHER,
		[CA_OPERATOR] = ROLE_OPERATOR,
		[CA_SERVER] = ROLE_SERVER};
	char path[PATH_MAX], file[LIMIT_ID + 8];
	const struct enrolment m = {.id = e->r->id,
		.role = roles[e->r->role],
		.public_key = *identity,
		.box_key = *box,
		.name = e->r->label};

	snprintf(file, sizeof(file), "%s.enrol", e->r->id);
	TRY(path_of(path, e->out, "", file));
	return ca_enrolment_write(e->dir, path, &m);
}

// What only this client can open: keys of encrypted packages, on a medium.
static enum err box_make(const struct enrolling *e, struct key32 *box)
{
	char path[PATH_MAX], line[66];
	struct key32 secret;

	TRY(path_of(path, e->out, "", "box.key"));
	x25519_generate(&secret, box);
	hex_encode(secret.b, sizeof(secret.b), line);
	line[64] = '\n';
	enum err done = file_write_atomic(path, line, 65, 0600);
	secret_wipe(&secret, sizeof(secret));
	secret_wipe(line, sizeof(line));
	return done;
}

static enum err identity_write(const struct enrolling *e)
{
	static const struct key32 none;
	SCOPED(key) struct sign_key *identity = NULL;
	char path[PATH_MAX];

	if (e->r->public_key)
		return enrolment_write(e, e->r->public_key, e->r->box_key ? e->r->box_key : &none);
	TRY(path_of(path, e->out, "", "identity.key"));
	TRY(identity_make(path, &identity));
	struct key32 box = none;
	if (e->r->role == CA_CLIENT)
		TRY(box_make(e, &box));
	return enrolment_write(e, sign_key_public(identity), &box);
}

static enum err request_check(const char *dir, const struct ca_request *r)
{
	static const char *const places[][2] = {
		{"issued", ".crt"}, {"revoked", ".crt"}, {"enrolments", ".enrol"}, {"out", ""}};
	char path[PATH_MAX], file[LIMIT_ID + 8];

	if (!id_is_valid(r->id) || r->id[0] == '.')
		return err_set(ERR_FORMAT,
			"%.80s is not an id ([A-Za-z0-9._-], at most 64, no leading dot)", r->id);
	if (r->role == CA_BROKER && r->dns_count + r->ip_count == 0)
		return err_set(ERR_RANGE, "a broker needs the names clients reach it by: --dns "
					  "NAME and --ip ADDRESS");
	if (r->role != CA_BROKER && r->dns_count + r->ip_count > 0)
		return err_set(ERR_RANGE, "only a broker's certificate carries --dns and --ip");
	TRY(path_of(path, dir, "", "ca.key"));
	if (!exists(path))
		return err_set(ERR_NOT_FOUND,
			"%s holds no authority: helioctl ca init %s --fleet NAME", dir, dir);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(file, sizeof(file), "%s%s", r->id, places[i][1]);
		TRY(path_of(path, dir, places[i][0], file));
		if (exists(path))
			return err_set(ERR_EXISTS, "%s was given before (%s): choose another id",
				r->id, path);
	}
	return ERR_OK;
}

static bool has_identity(enum ca_role role)
{
	return role != CA_BROKER && role != CA_WATCHER;
}

static enum err files_gather(const struct enrolling *e)
{
	TRY(tls_make(e));
	TRY(copy(e, "ca.crt", "ca.crt", 0644));
	if (!has_identity(e->r->role))
		return ERR_OK;
	TRY(copy(e, "root.bin", "root.bin", 0644));
	TRY(copy(e, "root.pub", "root.pub", 0644));
	if (e->r->role == CA_SERVER)
		TRY(copy(e, "keys/online.key", "online.key", 0600));
	return identity_write(e);
}

enum err ca_enrol(const char *dir, const struct ca_request *r, char out_dir[PATH_MAX])
{
	struct enrolling e = {.dir = dir, .r = r};
	SCOPED_FD int lock = -1;
	char path[PATH_MAX], file[LIMIT_ID + 8];

	TRY(request_check(dir, r));
	TRY(path_of(path, dir, "", ".lock"));
	TRY(lock_take(path, &lock));
	TRY(request_check(dir, r));
	snprintf(file, sizeof(file), ".%s", r->id);
	TRY(path_of(e.out, dir, "out", file));
	TRY(tree_remove(e.out));
	TRY(dir_make(e.out));
	enum err done = files_gather(&e);
	if (done != ERR_OK) {
		char why[512];

		text_format(why, sizeof(why), "%s", err_text());
		snprintf(file, sizeof(file), "%s.crt", r->id);
		if (path_of(path, dir, "issued", file) == ERR_OK)
			unlink(path);
		enum err removed = tree_remove(e.out);
		(void)removed;
		return err_set(done, "%s", why);
	}
	TRY(path_of(out_dir, dir, "out", r->id));
	if (rename(e.out, out_dir) < 0)
		return err_set_errno("cannot rename %s", e.out);
	TRY(path_of(path, dir, "", "out"));
	TRY(dir_sync(path));
	if (!has_identity(r->role))
		return ERR_OK;
	// Last: heliod may watch this folder.
	snprintf(file, sizeof(file), "%s.enrol", r->id);
	SCOPED_BUF struct buf data;
	buf_init(&data, LIMIT_ENVELOPE);
	TRY(path_of(path, out_dir, "", file));
	TRY(file_read(path, &data));
	TRY(path_of(path, dir, "enrolments", file));
	return file_write_atomic(path, data.data, data.size, 0644);
}

// ---- revoking

static enum err revoked_add(X509_CRL *crl, const char *path)
{
	SCOPED(x509) X509 *cert = NULL;
	SCOPED(revoked) X509_REVOKED *r = X509_REVOKED_new();
	ASN1_TIME *when = ASN1_TIME_adj(NULL, clock_now().wall.ms / 1000, 0, 0);

	TRY(certificate_read(path, &cert));
	bool ok = r && when && X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(cert)) == 1 &&
		  X509_REVOKED_set_revocationDate(r, when) == 1 &&
		  X509_CRL_add0_revoked(crl, r) == 1;
	ASN1_TIME_free(when);
	if (!ok)
		return openssl_error("revocation list");
	r = NULL;
	return ERR_OK;
}

static enum err revoked_add_all(X509_CRL *crl, const char *folder)
{
	DIR *dir = opendir(folder);
	char path[PATH_MAX];
	enum err e = ERR_OK;

	if (!dir)
		return err_set_errno("cannot open %s", folder);
	const struct dirent *d = NULL;
	while (e == ERR_OK && (e = folder_next(dir, folder, &d)) == ERR_OK && d) {
		size_t n = strlen(d->d_name);

		if (n < 5 || strcmp(d->d_name + n - 4, ".crt") != 0)
			continue;
		e = path_of(path, folder, "", d->d_name);
		if (e == ERR_OK)
			e = revoked_add(crl, path);
	}
	closedir(dir);
	return e;
}

static enum err crl_write(const char *dir)
{
	SCOPED(crl) X509_CRL *crl = X509_CRL_new();
	SCOPED(x509) X509 *ca = NULL;
	SCOPED(pkey) EVP_PKEY *key = NULL;
	SCOPED(bio) BIO *bio = BIO_new(BIO_s_mem());
	char path[PATH_MAX];
	char *data;

	TRY(path_of(path, dir, "", "ca.crt"));
	TRY(certificate_read(path, &ca));
	TRY(path_of(path, dir, "", "ca.key"));
	TRY(tls_key_read(path, &key));
	// Begins in 1970 and does not run out: a broker must not close because nobody renewed a
	// list.
	ASN1_TIME *first = ASN1_TIME_set(NULL, 0), *last = ASN1_TIME_new();
	bool ok = crl && bio && first && last &&
		  ASN1_TIME_set_string_X509(last, "99991231235959Z") == 1 &&
		  X509_CRL_set_version(crl, 1) == 1 &&
		  X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)) == 1 &&
		  X509_CRL_set1_lastUpdate(crl, first) == 1 &&
		  X509_CRL_set1_nextUpdate(crl, last) == 1;
	ASN1_TIME_free(first);
	ASN1_TIME_free(last);
	if (!ok)
		return openssl_error("revocation list");
	TRY(path_of(path, dir, "", "revoked"));
	TRY(revoked_add_all(crl, path));
	X509_CRL_sort(crl);
	if (X509_CRL_sign(crl, key, EVP_sha256()) == 0 || PEM_write_bio_X509_CRL(bio, crl) != 1)
		return openssl_error("revocation list");
	long size = BIO_get_mem_data(bio, &data);
	TRY(path_of(path, dir, "", "crl.pem"));
	return file_write_atomic(path, data, (size_t)size, 0644);
}

enum err ca_revoke(const char *dir, const char *id)
{
	char from[PATH_MAX], to[PATH_MAX], file[LIMIT_ID + 8];
	SCOPED_FD int lock = -1;

	if (!id_is_valid(id))
		return err_set(ERR_FORMAT, "%.80s is not an id", id);
	TRY(path_of(from, dir, "", ".lock"));
	TRY(lock_take(from, &lock));
	snprintf(file, sizeof(file), "%s.crt", id);
	TRY(path_of(from, dir, "issued", file));
	TRY(path_of(to, dir, "revoked", file));
	if (!exists(from) && !exists(to))
		return err_set(ERR_NOT_FOUND, "%s has no certificate of this authority", id);
	if (exists(from) && rename(from, to) < 0)
		return err_set_errno("cannot move %s", from);
	return crl_write(dir);
}

// ---- looking

static int64_t unix_of(const ASN1_TIME *t)
{
	SCOPED(time) ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days = 0, seconds = 0;

	if (!epoch || ASN1_TIME_diff(&days, &seconds, epoch, t) != 1)
		return 0;
	return (int64_t)days * 86400 + seconds;
}

static void names_look(X509 *cert, struct ca_certificate *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	size_t at = 0;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		SCOPED(bio) BIO *bio = BIO_new(BIO_s_mem());
		char *text;

		if (!bio || GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i)) != 1)
			continue;
		long n = BIO_get_mem_data(bio, &text);
		if (at + (size_t)n + 2 < sizeof(out->names))
			at += (size_t)snprintf(out->names + at, sizeof(out->names) - at, "%s%.*s",
				at ? " " : "", (int)n, text);
	}
	GENERAL_NAMES_free(names);
}

enum err ca_look(const char *cert_file, const char *ca_file, const char *key_file,
	struct ca_certificate *out)
{
	SCOPED(x509) X509 *cert = NULL, *ca = NULL;
	SCOPED(pkey) EVP_PKEY *key = NULL;

	*out = (struct ca_certificate){0};
	TRY(certificate_read(cert_file, &cert));
	X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, out->common_name,
		sizeof(out->common_name));
	names_look(cert, out);
	out->begins_unix_s = unix_of(X509_get0_notBefore(cert));
	out->ends_unix_s = unix_of(X509_get0_notAfter(cert));
	uint32_t usage = X509_get_extended_key_usage(cert);
	out->server_auth = usage != UINT32_MAX && (usage & XKU_SSL_SERVER);
	out->client_auth = usage != UINT32_MAX && (usage & XKU_SSL_CLIENT);
	if (ca_file) {
		TRY(certificate_read(ca_file, &ca));
		out->signed_by_ca = X509_verify(cert, X509_get0_pubkey(ca)) == 1;
	}
	if (key_file) {
		TRY(tls_key_read(key_file, &key));
		out->key_matches = X509_check_private_key(cert, key) == 1;
	}
	ERR_clear_error();
	return ERR_OK;
}
