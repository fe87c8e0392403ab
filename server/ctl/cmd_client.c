// client list|show|add|remove|revoke|channel|accept
#include "proto/base/file.h"
#include "proto/topics.h"
#include "server/ctl/api.h"
#include "server/ctl/progress.h"
#include "server/ctl/show.h"
#include <string.h>
#include <unistd.h>

static void clients_show(const struct ctl *c, const cJSON *document)
{
	show_clients(&c->out, cJSON_GetObjectItem(document, "clients"), clock_now().wall.ms, 0);
}

enum exit_code cmd_client_list(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "client-list"};

	api_verb_add(&v, "channel", args_get(a, "channel", NULL));
	api_verb_add(&v, "role", args_get(a, "role", NULL));
	return api_show_all(c, &v, "clients", clients_show);
}

enum exit_code cmd_client_show(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "client-show"};

	api_verb_add(&v, "client", a->words[0]);
	return api_show(c, &v, show_document);
}

// A file, or an id that was enrolled in [ca] dir.
static enum err enrolment_read(const struct ctl *c, const char *word, struct buf *envelope)
{
	char path[PATH_MAX], name[LIMIT_ID + 8];

	if (access(word, R_OK) != 0 && id_is_valid(word) && *c->settings.ca_dir) {
		snprintf(name, sizeof(name), "enrolments/%s.enrol", word);
		TRY(path_join(path, sizeof(path), c->settings.ca_dir, name));
		word = path;
	}
	return file_read(word, envelope);
}

enum exit_code cmd_client_add(struct ctl *c, const struct args *a)
{
	SCOPED_BUF struct buf envelope;
	struct api_verb v = {.verb = "enrol"};
	struct api_result r;
	enum exit_code code;

	buf_init(&envelope, LIMIT_ENVELOPE);
	enum err e = enrolment_read(c, a->words[0], &envelope);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	v.body = buf_bytes(&envelope);
	if (api_simple(c, &v, &r, &code))
		return code;
	ctl_say(c, "%s is enrolled as %s", ctl_safe(json_text(r.document, "id")),
		ctl_safe(json_text(r.document, "role")));
	api_result_free(&r);
	return EXIT_DONE;
}

static enum exit_code client_act(
	struct ctl *c, struct api_verb *v, const char *client, const char *done)
{
	struct api_result r;
	enum exit_code code;

	api_verb_add(v, "client", client);
	if (api_simple(c, v, &r, &code))
		return code;
	ctl_say(c, "%s %s", ctl_safe(client), done);
	api_result_free(&r);
	return EXIT_DONE;
}

enum exit_code cmd_client_remove(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "client-remove"};

	return client_act(c, &v, a->words[0], "is forgotten; it may enrol again");
}

enum exit_code cmd_client_revoke(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "client-revoke"};

	return client_act(c, &v, a->words[0],
		"is revoked: nothing of it is accepted any more "
		"(helioctl ca revoke keeps it off the brokers too)");
}

enum exit_code cmd_client_accept(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "client-clear-clone"};

	return client_act(c, &v, a->words[0], "is no longer suspected to be a clone");
}

enum exit_code cmd_client_channel(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "client-channel"};

	api_verb_add(&v, "channel", a->words[1]);
	return client_act(c, &v, a->words[0], "has moved");
}
