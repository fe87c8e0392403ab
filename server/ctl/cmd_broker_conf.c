// broker-conf KIND --out DIR [name=value...]: mosquitto.conf and acl, as Ansible would write them.
#include "server/ctl/broker_conf.h"

#include "proto/base/file.h"
#include "server/ctl/ctl.h"
#include <stdlib.h>
#include <string.h>

static enum exit_code variables_show(const struct ctl *c, const struct broker_conf *b)
{
	static const struct table_column columns[] = {{"VARIABLE", false, false, false},
		{"DEFAULT", false, true, false}, {"MEANING", false, true, false}};
	SCOPED_JSON cJSON *j = cJSON_CreateObject();
	struct table *t = table_new(columns, CTL_COUNT(columns));

	for (size_t i = 0; i < b->count; i++) {
		const struct broker_variable *v = &b->variables[i];
		cJSON *one = cJSON_AddObjectToObject(j, v->name);

		cJSON_AddStringToObject(one, "default", v->value);
		cJSON_AddStringToObject(one, "meaning", v->meaning ? v->meaning : "");
		table_add_style(t, v->name, STYLE_BOLD);
		table_add(t, v->value);
		table_add(t, v->meaning);
	}
	if (c->json)
		json_print(stdout, j, true);
	else
		table_print(t, &c->out);
	table_free(t);
	return EXIT_DONE;
}

static enum err file_render(
	struct broker_conf *b, const char *template, const char *dir, const char *name)
{
	SCOPED_BUF struct buf text;
	char path[PATH_MAX];

	buf_init(&text, BROKER_CONF_MAX);
	TRY(broker_conf_render(b, template, &text));
	TRY(path_join(path, sizeof(path), dir, name));
	return file_write_atomic(path, text.data, text.size, 0644);
}

static enum err values_take(struct broker_conf *b, const char *dir, const struct args *a)
{
	SCOPED_FREE char *absolute = realpath(dir, NULL);

	if (!absolute)
		return err_set_errno("cannot find %s", dir);
	TRY(broker_conf_set(b, "conf_dir", absolute));
	for (size_t i = 1; i < a->word_count; i++) {
		const char *equals = strchr(a->words[i], '=');
		char name[64];

		if (!equals || (size_t)(equals - a->words[i]) >= sizeof(name))
			return err_set(ERR_FORMAT, "%.80s is not name=value", a->words[i]);
		snprintf(name, sizeof(name), "%.*s", (int)(equals - a->words[i]), a->words[i]);
		TRY(broker_conf_set(b, name, equals + 1));
	}
	return ERR_OK;
}

static enum err both_render(struct broker_conf *b, const char *dir, const struct args *a)
{
	char template[64];

	TRY(dir_make(dir));
	TRY(values_take(b, dir, a));
	snprintf(template, sizeof(template), "acl-%s.j2", b->kind);
	if (strcmp(b->kind, "test") != 0)
		TRY(file_render(b, template, dir, "acl"));
	snprintf(template, sizeof(template), "%s.conf.j2", b->kind);
	return file_render(b, template, dir, "mosquitto.conf");
}

enum exit_code cmd_broker_conf(struct ctl *c, const struct args *a)
{
	const char *dir = args_get(a, "out", NULL);
	static struct broker_conf b;
	enum err e = broker_conf_open(&b, a->words[0], args_get(a, "templates", NULL));
	enum exit_code code = EXIT_DONE;

	if (e == ERR_OK && args_has(a, "list"))
		code = variables_show(c, &b);
	else if (e == ERR_OK && !dir)
		code = ctl_usage(c, "--out DIR or --list is missing");
	else if (e == ERR_OK)
		e = both_render(&b, dir, a);
	if (e != ERR_OK) {
		code = ctl_fail(c, e);
	} else if (dir && c->json) {
		SCOPED_JSON cJSON *j = cJSON_CreateObject();

		cJSON_AddStringToObject(j, "kind", b.kind);
		cJSON_AddStringToObject(j, "folder", broker_conf_get(&b, "conf_dir"));
		json_print(stdout, j, true);
	} else if (dir) {
		ctl_say(c, "%s/mosquitto.conf%s: %s broker %s on port %s", ctl_safe(dir),
			strcmp(b.kind, "test") == 0 ? "" : " and acl", b.kind,
			broker_conf_get(&b, "broker_id"), broker_conf_get(&b, "port"));
	}
	broker_conf_close(&b);
	return code;
}
