// doctor: what is wrong, and the line that mends it. First what can be seen from here (settings,
// seats, keys, certificates, the broker's door), then the server's own findings.
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "server/ctl/api.h"
#include "server/ctl/ca.h"
#include "server/ctl/show.h"
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOON_S (30ll * 86400)

struct doctor {
	struct ctl *c;
	cJSON *findings;
	bool bad;
};

static void finding(struct doctor *d, const char *level, const char *id, const char *mend,
	const char *format, ...) PRINTF_LIKE(5, 6);

static void finding(struct doctor *d, const char *level, const char *id, const char *mend,
	const char *format, ...)
{
	char what[1024];
	va_list args;
	cJSON *one = cJSON_CreateObject();

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	cJSON_AddStringToObject(one, "level", level);
	cJSON_AddStringToObject(one, "id", id);
	cJSON_AddStringToObject(one, "what", what);
	cJSON_AddStringToObject(one, "mend", mend);
	cJSON_AddItemToArray(d->findings, one);
	d->bad = d->bad || strcmp(level, "error") == 0;
}

// ---- files

// False when it cannot be used; then the finding is made.
static bool secret_check(struct doctor *d, const char *path)
{
	struct stat st;
	char mend[PATH_MAX + 32];

	if (stat(path, &st) < 0) {
		finding(d, "error", "KEY-MISSING", "", "%s: %s", path, strerror(errno));
		return false;
	}
	snprintf(mend, sizeof(mend), "chmod 600 %s", path);
	if (st.st_mode & 077)
		finding(d, "error", "KEY-OPEN", mend, "%s can be read by others (mode %03o)", path,
			(unsigned)(st.st_mode & 0777));
	return !(st.st_mode & 077);
}

static void dates_check(struct doctor *d, const char *path, const struct ca_certificate *cert)
{
	int64_t now = clock_now().wall.ms / 1000;

	if (cert->begins_unix_s > now)
		finding(d, "error", "CERT-EARLY", "timedatectl",
			"%s is not valid yet, or this clock is wrong", path);
	else if (cert->ends_unix_s < now)
		finding(d, "error", "CERT-EXPIRED", "helioctl enrol operator NEW-ID",
			"%s has expired", path);
	else if (cert->ends_unix_s - now < SOON_S)
		finding(d, "warn", "CERT-SOON", "helioctl enrol operator NEW-ID",
			"%s expires in %lld days", path,
			(long long)((cert->ends_unix_s - now) / 86400));
}

static void certificate_check(struct doctor *d, const char *folder, const char *id, const char *ca)
{
	struct ca_certificate cert;
	char path[PATH_MAX], key[PATH_MAX];

	if (path_join(path, sizeof(path), folder, "tls.crt") != ERR_OK ||
		path_join(key, sizeof(key), folder, "tls.key") != ERR_OK)
		return;
	bool usable = secret_check(d, key);
	enum err e = ca_look(path, ca, usable ? key : NULL, &cert);
	if (e != ERR_OK) {
		finding(d, "error", "CERT-BAD", "", "%s", err_text());
		return;
	}
	dates_check(d, path, &cert);
	if (strcmp(cert.common_name, id) != 0)
		finding(d, "error", "CERT-NAME", "", "%s is for %s, not for the seat %s", path,
			cert.common_name, id);
	if (!cert.client_auth)
		finding(d, "error", "CERT-USE", "",
			"%s may not be used by a client (no clientAuth)", path);
	if (!cert.signed_by_ca)
		finding(d, "error", "CERT-CA", "", "%s is not signed by %s", path, ca);
	if (usable && !cert.key_matches)
		finding(d, "error", "CERT-KEY", "", "%s and tls.key do not belong together", path);
}

static void trust_check(struct doctor *d, const char *folder)
{
	const struct ctl_settings *s = &d->c->settings;
	char root[PATH_MAX], key[PATH_MAX];
	struct trust trust;

	if (path_join(root, sizeof(root), folder, "root.bin") != ERR_OK ||
		path_join(key, sizeof(key), folder, "root.pub") != ERR_OK)
		return;
	enum err e = trust_open(
		&trust, *s->root_file ? s->root_file : root, *s->root_key ? s->root_key : key);
	if (e != ERR_OK) {
		finding(d, "error", "ROOT-BAD", "", "%s", err_text());
		return;
	}
	const struct root *r = &trust.root;
	int64_t left_ms = r->expires_unix_ms - clock_now().wall.ms;
	if (left_ms < 0)
		finding(d, "error", "ROOT-EXPIRED", "", "the root of trust of %s has expired",
			r->fleet);
	else if (left_ms < SOON_S * 1000)
		finding(d, "warn", "ROOT-SOON", "", "the root of trust of %s expires in %lld days",
			r->fleet, (long long)(left_ms / 86400000));
	else
		finding(d, "ok", "ROOT", "", "root of trust of the fleet %s, version %llu",
			r->fleet, (unsigned long long)r->version);
	trust_close(&trust);
}

static void seats_check(struct doctor *d)
{
	const struct ctl_settings *s = &d->c->settings;
	char folder[PATH_MAX], path[PATH_MAX], ca[PATH_MAX];
	int seats = 0;

	for (int n = 1; n <= SEATS_MAX && *s->seats; n++) {
		struct stat st;
		const char *slash;

		if (seat_folder(s, NULL, n, folder) != ERR_OK || stat(folder, &st) < 0)
			continue;
		seats++;
		slash = strrchr(folder, '/');
		if (path_join(ca, sizeof(ca), folder, "ca.crt") != ERR_OK ||
			path_join(path, sizeof(path), folder, "identity.key") != ERR_OK)
			continue;
		secret_check(d, path);
		certificate_check(
			d, folder, slash ? slash + 1 : folder, *s->tls_ca ? s->tls_ca : ca);
		if (seats == 1)
			trust_check(d, folder);
	}
	if (seats == 0)
		finding(d, "error", "NO-SEAT",
			"[identity] seats = CA/out/NAME, after helioctl enrol operator NAME.1",
			"no seat found at %s", *s->seats ? s->seats : "[identity] seats (not set)");
	else
		finding(d, "ok", "SEATS", "", "%d seat%s at %s", seats, seats == 1 ? "" : "s",
			s->seats);
}

static void ca_check(struct doctor *d)
{
	static const char *const keys[] = {"ca.key", "keys/root.key", "keys/online.key",
		"keys/software.key", "keys/image.key", "keys/enrol.key"};
	const char *dir = d->c->settings.ca_dir;
	char path[PATH_MAX];

	if (!*dir)
		return;
	for (size_t i = 0; i < CTL_COUNT(keys); i++) {
		struct stat st;

		// A key that was taken offline is as it should be.
		if (path_join(path, sizeof(path), dir, keys[i]) == ERR_OK && stat(path, &st) == 0)
			secret_check(d, path);
	}
	if (path_join(path, sizeof(path), dir, "keys/root.key") == ERR_OK &&
		access(path, F_OK) == 0)
		finding(d, "warn", "ROOT-ONLINE", "",
			"%s lies on this machine: it belongs on a medium in a drawer", path);
}

// ---- the broker's door

static bool connects(const struct addrinfo *a)
{
	SCOPED_FD int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t size = sizeof(error);

	if (fd < 0)
		return false;
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		return true;
	if (errno != EINPROGRESS || poll(&ready, 1, 3000) <= 0)
		return false;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

static void door_check(struct doctor *d, const char *host, const char *what)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	char port[8];
	bool open = false;

	if (!*host)
		return;
	snprintf(port, sizeof(port), "%u", d->c->settings.control.port);
	int e = getaddrinfo(host, port, &hints, &found);
	if (e != 0) {
		finding(d, "warn", "NAME-UNKNOWN", "", "[control] %s %s: %s", what, host,
			gai_strerror(e));
		return;
	}
	for (const struct addrinfo *a = found; a && !open; a = a->ai_next)
		open = connects(a);
	freeaddrinfo(found);
	if (open)
		finding(d, "ok", "BROKER", "", "the control broker's port answers at %s:%s", host,
			port);
	else
		finding(d, "error", "BROKER-CLOSED", "systemctl status mosquitto",
			"nobody listens at %s:%s", host, port);
}

static void publisher_check(struct doctor *d)
{
	const char *path = d->c->settings.publisher_socket;
	struct stat st;

	if (!*path)
		return;
	if (stat(path, &st) < 0)
		finding(d, "warn", "PUBLISHER-DOWN", "systemctl start helio-publisher",
			"no socket at %s", path);
	else
		finding(d, "ok", "PUBLISHER", "", "helio-publisher's socket is at %s", path);
}

// ---- the server's own

static void server_ask(struct doctor *d)
{
	struct api *api = NULL;
	struct api_result r;
	cJSON *item;
	enum err e = api_open(d->c, &api);

	if (e != ERR_OK) {
		finding(d, "error", "NO-ANSWER", "systemctl status heliod", "%s", err_text());
		return;
	}
	finding(d, "ok", "SIGNED-IN", "", "signed in as %s", api_seat(api));
	e = api_call(api, "doctor", NULL, 0, bytes_of(NULL, 0), &r);
	if (e != ERR_OK) {
		finding(d, "error", "NO-FINDINGS", "", "%s", err_text());
	} else {
		while ((item = cJSON_DetachItemFromArray(
				cJSON_GetObjectItem(r.document, "findings"), 0))) {
			d->bad = d->bad || strcmp(json_text(item, "level"), "error") == 0;
			cJSON_AddItemToArray(d->findings, item);
		}
		api_result_free(&r);
	}
	api_close(api);
}

// The same said of several brokers is one line for people.
static bool is_same(const cJSON *a, const cJSON *b)
{
	static const char *const keys[] = {"level", "id", "what", "mend"};

	for (size_t i = 0; i < CTL_COUNT(keys); i++) {
		if (strcmp(json_text(a, keys[i]), json_text(b, keys[i])) != 0)
			return false;
	}
	return true;
}

static bool was_shown(const struct doctor *d, const cJSON *finding)
{
	const cJSON *f;

	cJSON_ArrayForEach(f, d->findings)
	{
		if (f == finding)
			return false;
		if (is_same(f, finding))
			return true;
	}
	return false;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// "control, data-a: " of this finding and of those that say the same.
static void places_text(const struct doctor *d, const cJSON *finding, struct buf *out)
{
	const char *places[64];
	size_t count = 0;
	enum err e = ERR_OK;
	const cJSON *f;

	cJSON_ArrayForEach(f, d->findings)
	{
		if (count < CTL_COUNT(places) && is_same(f, finding) && *json_text(f, "where"))
			places[count++] = json_text(f, "where");
	}
	qsort(places, count, sizeof(places[0]), by_name);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = buf_printf(out, "%s%s", ctl_safe(places[i]), i + 1 < count ? ", " : ": ");
}

#define WHAT_COLUMN 26

static void finding_show(const struct doctor *d, const cJSON *f)
{
	SCOPED_BUF struct buf text;
	const struct term *t = &d->c->out;
	const char *level = json_text(f, "level"), *mend = json_text(f, "mend");
	enum style style = strcmp(level, "ok") == 0     ? STYLE_GOOD
			   : strcmp(level, "warn") == 0 ? STYLE_WARN
							: STYLE_BAD;

	buf_init(&text, 16 * 1024);
	printf("%s%-5s%s  %-17s  ", term_begin(t, style), ctl_safe(level), term_end(t, style),
		ctl_safe(json_text(f, "id")));
	places_text(d, f, &text);
	if (buf_printf(&text, "%s", ctl_safe(json_text(f, "what"))) == ERR_OK)
		term_wrap(t, (const char *)text.data, WHAT_COLUMN, WHAT_COLUMN);
	// One line, however long: it is there to be copied.
	if (*mend)
		printf("%*s%s->%s %s\n", WHAT_COLUMN, "", term_begin(t, STYLE_BOLD),
			term_end(t, STYLE_BOLD), ctl_safe(mend));
}

static void findings_show(const struct doctor *d)
{
	const struct term *t = &d->c->out;
	unsigned errors = 0, warnings = 0;
	const cJSON *f;

	cJSON_ArrayForEach(f, d->findings)
	{
		if (was_shown(d, f))
			continue;
		finding_show(d, f);
		errors += strcmp(json_text(f, "level"), "error") == 0;
		warnings += strcmp(json_text(f, "level"), "warn") == 0;
	}
	enum style style = errors > 0 ? STYLE_BAD : warnings > 0 ? STYLE_WARN : STYLE_GOOD;
	printf("\n%s", term_begin(t, style));
	if (errors > 0)
		printf("%u error%s", errors, errors == 1 ? "" : "s");
	if (warnings > 0)
		printf("%s%u warning%s", errors > 0 ? ", " : "", warnings,
			warnings == 1 ? "" : "s");
	printf("%s%s\n", errors + warnings == 0 ? "all is well" : "", term_end(t, style));
}

enum exit_code cmd_doctor(struct ctl *c, const struct args *a)
{
	struct doctor d = {.c = c, .findings = cJSON_CreateArray()};
	SCOPED_JSON cJSON *j = cJSON_CreateObject();

	cJSON_AddItemToObject(j, "findings", d.findings);
	finding(&d, "ok", "SETTINGS", "", "%s", c->config);
	seats_check(&d);
	ca_check(&d);
	door_check(&d, c->settings.control.name, "name");
	door_check(&d, c->settings.control.ip, "ip");
	publisher_check(&d);
	if (!args_has(a, "local"))
		server_ask(&d);
	cJSON_AddBoolToObject(j, "ok", !d.bad);
	if (c->json)
		json_print(stdout, j, true);
	else
		findings_show(&d);
	return d.bad ? EXIT_FAILED : EXIT_DONE;
}
