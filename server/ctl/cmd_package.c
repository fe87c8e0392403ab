// package build|list|show|publish|withdraw
//
// The publisher builds and stores; the release keys stay here. Before signing, what came back is
// read again: the id is the digest of the very bytes to be signed, and they say what was asked for.
#include "proto/base/file.h"
#include "proto/content.h"
#include "proto/envelope.h"
#include "server/ctl/api.h"
#include "server/ctl/publisher.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// ---- build

struct building {
	struct ctl *c;
	const struct args *a;
	struct publisher p;
	const char *name, *version, *software;
	cJSON *answer;
};

static enum err number_add(
	cJSON *request, const struct args *a, const char *option, const char *key)
{
	uint64_t value = 0;

	if (!args_has(a, option))
		return ERR_OK;
	TRY(args_number(a, option, 0, UINT32_MAX, &value));
	cJSON_AddNumberToObject(request, key, (double)value);
	return ERR_OK;
}

// Ids as people write them become whole ones.
static enum err images_add(struct building *b, cJSON *request)
{
	SCOPED_JSON cJSON *list = NULL;
	cJSON *images = NULL, *tags = NULL;

	for (size_t i = 0; i < b->a->option_count; i++) {
		const struct args_option *o = &b->a->options[i];
		char id[65];

		if (strcmp(o->name, "tag") == 0) {
			tags = tags ? tags : cJSON_AddArrayToObject(request, "tags");
			cJSON_AddItemToArray(tags, cJSON_CreateString(o->value));
		}
		if (strcmp(o->name, "image") != 0)
			continue;
		if (!list)
			TRY(publisher_call(
				&b->p, "image-list", cJSON_CreateObject(), -1, NULL, &list));
		TRY(image_choose(cJSON_GetObjectItem(list, "images"), o->value, id));
		images = images ? images : cJSON_AddArrayToObject(request, "images");
		cJSON_AddItemToArray(images, cJSON_CreateString(id));
	}
	return ERR_OK;
}

static enum err request_fill(struct building *b, cJSON *request)
{
	static const char *const numbers[][2] = {{"duration", "duration_ms"},
		{"transition", "transition_ms"}, {"security-counter", "security_counter"}};
	static const char *const texts[][2] = {{"fit", "fit"}, {"hw-class", "hw_class"},
		{"product", "product"}, {"min-agent", "min_agent"}, {"profile", "profile"},
		{"customer", "customer"}};

	cJSON_AddStringToObject(request, "kind", b->software ? "software" : "images");
	cJSON_AddStringToObject(request, "name", b->name);
	cJSON_AddStringToObject(request, "version", b->version);
	for (size_t i = 0; i < CTL_COUNT(numbers); i++)
		TRY(number_add(request, b->a, numbers[i][0], numbers[i][1]));
	for (size_t i = 0; i < CTL_COUNT(texts); i++) {
		if (args_has(b->a, texts[i][0]))
			cJSON_AddStringToObject(
				request, texts[i][1], args_get(b->a, texts[i][0], ""));
	}
	if (args_has(b->a, "read-all"))
		cJSON_AddTrueToObject(request, "read_all");
	return b->software ? ERR_OK : images_add(b, request);
}

static enum err software_open(const struct building *b, cJSON *request, int *fd)
{
	const char *slash = strrchr(b->software, '/');
	struct stat st;

	*fd = open(b->software, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0 || fstat(*fd, &st) < 0)
		return err_set_errno("cannot open %s", b->software);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(ERR_FORMAT, "%s is neither a file nor a folder", b->software);
	if (S_ISREG(st.st_mode))
		cJSON_AddStringToObject(request, "file", slash ? slash + 1 : b->software);
	return ERR_OK;
}

static enum err build(struct building *b)
{
	SCOPED_FD int fd = -1;
	SCOPED_JSON cJSON *request = cJSON_CreateObject();
	struct progress bar;

	TRY(request_fill(b, request));
	if (b->software)
		TRY(software_open(b, request, &fd));
	cJSON *sent = request;
	request = NULL;
	progress_begin(&bar, b->c, true);
	enum err e = publisher_call(&b->p, "package-build", sent, fd, &bar, &b->answer);
	progress_end(&bar);
	return e;
}

// ---- sign

static enum err manifest_read(const struct building *b, struct buf *manifest)
{
	const char *hex = json_text(b->answer, "manifest"),
		   *id_hex = json_text(b->answer, "package");
	size_t size = strlen(hex) / 2;
	SCOPED_ARENA struct arena arena;
	struct digest id;
	struct manifest m;

	arena_init(&arena, 256 * 1024, 4096);
	if (size == 0 || size > LIMIT_MANIFEST_ROOT || strlen(hex) != 2 * size)
		return err_set(ERR_FORMAT, "the publisher gave a manifest of %zu bytes", size);
	TRY(buf_reserve(manifest, size));
	TRY(hex_decode(hex, manifest->data, size));
	manifest->size = size;
	TRY(strlen(id_hex) == 64 ? hex_decode(id_hex, id.b, 32)
				 : err_set(ERR_FORMAT, "no package id"));
	struct digest sum = package_id(buf_bytes(manifest));
	if (!digest_equal(&id, &sum))
		return err_set(ERR_CORRUPT, "the publisher's manifest is not package %s", id_hex);
	TRY(manifest_decode(&arena, buf_bytes(manifest), &m));
	TRY(manifest_check(&m));
	enum package_kind kind = b->software ? PACKAGE_SOFTWARE : PACKAGE_IMAGES;
	if (m.kind != kind || strcmp(m.name, b->name) != 0 || strcmp(m.version, b->version) != 0)
		return err_set(ERR_CORRUPT,
			"the publisher's manifest says %s %s@%s: it is not signed",
			package_kind_word(m.kind), m.name, m.version);
	return ERR_OK;
}

static enum err keys_read(
	const struct building *b, struct sign_key *keys[LIMIT_SIGNATURES], size_t *count)
{
	char path[PATH_MAX];
	const char *dir = args_get(b->a, "ca", b->c->settings.ca_dir);

	*count = 0;
	for (size_t i = 0; i < b->a->option_count; i++) {
		if (strcmp(b->a->options[i].name, "key") != 0)
			continue;
		if (*count == LIMIT_SIGNATURES)
			return err_set(ERR_FULL, "more than %d keys", LIMIT_SIGNATURES);
		TRY(sign_key_read(b->a->options[i].value, &keys[*count]));
		++*count;
	}
	if (*count > 0)
		return ERR_OK;
	if (!*dir)
		return err_set(ERR_NOT_FOUND,
			"no release key: set [ca] dir, or give --ca DIR or --key FILE");
	TRY(path_join(
		path, sizeof(path), dir, b->software ? "keys/software.key" : "keys/image.key"));
	TRY(sign_key_read(path, &keys[0]));
	*count = 1;
	return ERR_OK;
}

static enum err envelope_hand_back(struct building *b, struct bytes envelope)
{
	SCOPED_JSON cJSON *answer = NULL;
	SCOPED_FREE char *hex = malloc(2 * envelope.size + 1);
	cJSON *request = cJSON_CreateObject();

	if (!hex) {
		cJSON_Delete(request);
		return err_set(ERR_MEMORY, "no memory for an envelope");
	}
	hex_encode(envelope.data, envelope.size, hex);
	cJSON_AddStringToObject(request, "package", json_text(b->answer, "package"));
	cJSON_AddStringToObject(request, "envelope", hex);
	return publisher_call(&b->p, "package-sign", request, -1, NULL, &answer);
}

static enum err sign(struct building *b)
{
	SCOPED_BUF struct buf manifest, envelope;
	struct sign_key *keys[LIMIT_SIGNATURES] = {NULL};
	size_t count;

	buf_init(&manifest, LIMIT_MANIFEST_ROOT);
	buf_init(&envelope, LIMIT_ENVELOPE);
	TRY(manifest_read(b, &manifest));
	enum err e = keys_read(b, keys, &count);
	if (e == ERR_OK)
		e = envelope_make(PURPOSE_MANIFEST, buf_bytes(&manifest), keys, count, &envelope);
	for (size_t i = 0; i < LIMIT_SIGNATURES; i++)
		sign_key_free(keys[i]);
	TRY(e);
	return envelope_hand_back(b, buf_bytes(&envelope));
}

static void built_say(const struct building *b)
{
	const cJSON *j = b->answer;

	ctl_say(b->c, "%s@%s  %s%s", ctl_safe(b->name), ctl_safe(b->version),
		ctl_safe(json_text(j, "package")),
		json_bool(j, "existing") ? "  (known already)" : "");
	ctl_say(b->c, "%.0f files, %s in %.0f chunks; %s to transport, %s of it new; %s",
		json_number(j, "files"), amount_text(json_u64(j, "size_bytes")),
		json_number(j, "chunks"), amount_text(json_u64(j, "object_bytes")),
		amount_text(json_u64(j, "new_bytes")),
		args_has(b->a, "no-sign") ? "NOT SIGNED" : "signed");
}

enum exit_code cmd_package_build(struct ctl *c, const struct args *a)
{
	const char *name = args_get(a, "name", a->word_count > 0 ? a->words[0] : NULL);
	const char *version = args_get(a, "version", a->word_count > 1 ? a->words[1] : NULL);
	struct building b = {.c = c,
		.a = a,
		.name = name,
		.version = version,
		.software = args_get(a, "software", NULL),
		.p = {.fd = -1}};

	if (!name || !version)
		return ctl_usage(c, "NAME and VERSION are missing");
	if (!b.software && !args_has(a, "image") && !args_has(a, "tag"))
		return ctl_usage(c, "what goes in? --image ID..., --tag TAG... or --software PATH");
	if (b.software && (args_has(a, "image") || args_has(a, "tag")))
		return ctl_usage(c, "a package holds pictures or software, not both");
	enum err e = publisher_open(c, &b.p);
	if (e == ERR_OK)
		e = build(&b);
	if (e == ERR_OK && !args_has(a, "no-sign"))
		e = sign(&b);
	enum exit_code code = e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
	if (e == ERR_OK && c->json)
		json_print(stdout, b.answer, true);
	if (e == ERR_OK)
		built_say(&b);
	publisher_close(&b.p);
	cJSON_Delete(b.answer);
	return code;
}

// ---- list, show

static void packages_show(const struct ctl *c, const cJSON *packages, bool store)
{
	static const struct table_column columns[] = {{"PACKAGE", false, true, false},
		{"KIND", false, false, false}, {"ID", false, false, false},
		{"SIZE", true, false, false}, {"TRANSPORT", true, false, true},
		{"STATE", false, false, false}, {"WHERE", false, true, false},
		{"LEASES", true, false, false}};
	struct table *t = table_new(columns, store ? CTL_COUNT(columns) - 1 : CTL_COUNT(columns));
	const cJSON *one, *place;

	cJSON_ArrayForEach(one, packages)
	{
		char where[256] = "";

		cJSON_ArrayForEach(place, cJSON_GetObjectItem(one, "placements"))
		{
			text_join(where, sizeof(where), "%s (%s)", json_text(place, "broker"),
				json_text(place, "state"));
		}
		table_add_style(t, show_package(one), STYLE_BOLD);
		table_add(t, json_text(one, "kind"));
		table_add_style(t, show_digest(one, "package"), STYLE_DIM);
		table_add(t, amount_text(json_u64(one, "size_bytes")));
		table_add(t, amount_text(json_u64(one, "object_bytes")));
		table_add_style(t, json_text(one, "state"),
			strcmp(json_text(one, "state"), "stored") == 0 ? STYLE_GOOD : STYLE_PLAIN);
		table_add(t, where);
		if (!store)
			table_addf(t, "%.0f", json_number(one, "leases"));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_package_list(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "package-list"};
	struct api_result r;
	enum exit_code code;

	if (args_has(a, "store")) {
		SCOPED_JSON cJSON *answer = NULL;
		enum err e = publisher_simple(c, "package-list", cJSON_CreateObject(), &answer);

		if (e != ERR_OK)
			return ctl_fail(c, e);
		if (c->json)
			json_print(stdout, answer, true);
		else
			packages_show(c, cJSON_GetObjectItem(answer, "packages"), true);
		return EXIT_DONE;
	}
	api_verb_add(&v, "kind", args_get(a, "kind", NULL));
	api_verb_add(&v, "state", args_get(a, "state", NULL));
	if (api_simple(c, &v, &r, &code))
		return code;
	packages_show(c, cJSON_GetObjectItem(r.document, "packages"), false);
	api_result_free(&r);
	return EXIT_DONE;
}

static enum err package_show(struct api *api, struct ctl *c, const char *text)
{
	struct api_result r;
	char package[65];

	TRY(package_resolve(api, text, package));
	struct arg arg = {"package", package};
	TRY(api_call(api, "package-show", &arg, 1, bytes_of(NULL, 0), &r));
	if (c->json)
		json_print_bytes(stdout, buf_bytes(&r.json));
	else
		show_document(c, r.document);
	api_result_free(&r);
	return ERR_OK;
}

enum exit_code cmd_package_show(struct ctl *c, const struct args *a)
{
	struct api *api = NULL;
	enum err e = api_open(c, &api);

	if (e == ERR_OK)
		e = package_show(api, c, a->words[0]);
	enum exit_code code = e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
	api_close(api);
	return code;
}

// ---- publish, withdraw: through the publisher, who knows the package by name

static enum err store_call(struct ctl *c, const char *verb, const char *text, cJSON **answer)
{
	SCOPED_JSON cJSON *list = NULL;
	struct publisher p;
	char package[65];

	TRY(publisher_open(c, &p));
	enum err e = publisher_call(&p, "package-list", cJSON_CreateObject(), -1, NULL, &list);
	if (e == ERR_OK)
		e = package_choose(cJSON_GetObjectItem(list, "packages"), text, package);
	if (e == ERR_OK) {
		cJSON *request = cJSON_CreateObject();
		struct progress bar;

		cJSON_AddStringToObject(request, "package", package);
		progress_begin(&bar, c, true);
		e = publisher_call(&p, verb, request, -1, &bar, answer);
		progress_end(&bar);
	}
	publisher_close(&p);
	return e;
}

// Until it was read back from a data broker; wanted by nobody it may wait, which is no failure.
// Looks once: *done when it lies on a broker (or was there, and nobody wanted it any more).
static enum err stored_look(struct api *api, const char *package, struct progress *bar, bool *done)
{
	static const char *const there[] = {"stored", "linger", "stopping", "waiting"};
	struct arg arg = {"package", package};
	struct api_result r;
	enum err e = ERR_OK;

	TRY(api_call(api, "package-show", &arg, 1, bytes_of(NULL, 0), &r));
	const char *state = json_text(r.document, "state");
	for (size_t i = 0; i < CTL_COUNT(there); i++)
		*done = *done || strcmp(state, there[i]) == 0;
	if (strcmp(state, "withdrawn") == 0)
		e = err_set(ERR_NOT_NOW, "%.12s was withdrawn meanwhile", package);
	progress_show(bar, json_u64(r.document, "sent_bytes"), json_u64(r.document, "total_bytes"),
		state);
	api_result_free(&r);
	return e;
}

static enum err stored_wait(struct api *api, struct ctl *c, const char *package, uint32_t limit_ms)
{
	struct mono end = mono_add_ms(clock_now().mono, limit_ms);
	struct progress bar;
	bool done = false;

	progress_begin(&bar, c, true);
	enum err e = stored_look(api, package, &bar, &done);
	while (e == ERR_OK && !done) {
		if (mono_since_ms(end, clock_now().mono) <= 0)
			e = err_set(ERR_TIMEOUT, "%.12s lies on no broker after %u s", package,
				limit_ms / 1000);
		else
			e = api_wait(api, 300);
		if (e == ERR_OK)
			e = stored_look(api, package, &bar, &done);
	}
	progress_end(&bar);
	return e;
}

enum exit_code cmd_package_publish(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	enum err e = store_call(c, "package-publish", a->words[0], &answer);

	if (e == ERR_OK && args_has(a, "wait")) {
		struct api *api = NULL;

		e = api_open(c, &api);
		if (e == ERR_OK)
			e = stored_wait(api, c, json_text(answer, "package"),
				args_has(a, "timeout") ? c->timeout_ms : 600000);
		api_close(api);
	}
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json)
		json_print(stdout, answer, true);
	ctl_say(c, "%s: the server took it (%s%s%s)", show_digest(answer, "package"),
		ctl_safe(json_text(answer, "directive")), *json_text(answer, "reason") ? ", " : "",
		ctl_safe(json_text(answer, "reason")));
	return EXIT_DONE;
}

enum exit_code cmd_package_withdraw(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	enum err e = store_call(c, "package-withdraw", a->words[0], &answer);

	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json)
		json_print(stdout, answer, true);
	ctl_say(c, "%s is withdrawn", show_digest(answer, "package"));
	return EXIT_DONE;
}
