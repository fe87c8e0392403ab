// Making, merging and reading the bodies of queue elements.
#include "server/event_body.h"
#include "proto/base/text.h"
#include <stdio.h>
#include <string.h>

static enum err packages_find(
	struct core *core, const struct event *e, struct retrieve_information *r)
{
	if (e->package_count > LIMIT_PACKAGES_PER_RESPONSE)
		return err_set(ERR_RANGE, "an event names at most %d packages",
			LIMIT_PACKAGES_PER_RESPONSE);
	r->packages = arena_array(&core->arena, e->package_count + 1, sizeof(*r->packages));
	if (!r->packages)
		return err_set(ERR_FULL, "no room for an event");
	for (size_t i = 0; i < e->package_count; i++) {
		if (!core->hooks.package_find)
			return err_set(
				ERR_NOT_FOUND, "no package %s", digest_short(&e->packages[i]));
		TRY(core->hooks.package_find(
			core->hooks.ctx, core, &e->packages[i], &core->arena, &r->packages[i]));
		enum package_kind kind =
			e->type == ELEMENT_SOFTWARE ? PACKAGE_SOFTWARE : PACKAGE_IMAGES;
		if (r->packages[i].kind != kind)
			return err_set(
				ERR_RANGE, "package %s is of the other kind", r->packages[i].name);
		r->packages[i].activate = e->activate;
		r->packages[i].activate_unix_ms = e->activate ? e->activate_unix_ms : 0;
	}
	r->package_count = e->package_count;
	return ERR_OK;
}

static enum err changes_check(const struct event *e, struct retrieve_information *r)
{
	if (e->change_count > LIMIT_CHANGES)
		return err_set(ERR_RANGE, "an event carries at most %d changes", LIMIT_CHANGES);
	r->changes = (struct change *)(uintptr_t)e->changes;
	r->change_count = e->change_count;
	return ERR_OK;
}

static enum err retrieve_make(struct core *core, const struct event *e, struct response_body *body)
{
	struct retrieve_information *r = arena_alloc(&core->arena, sizeof(*r));

	if (!r)
		return err_set(ERR_FULL, "no room for an event");
	body->kind = KIND_RETRIEVE_INFORMATION;
	body->state = CS_AWAIT_RETRIEVE;
	body->retrieve = r;
	switch (e->type) {
	case ELEMENT_DISPLAY:
		TRY(changes_check(e, r));
		TRY(packages_find(core, e, r));
		return r->package_count + r->change_count
			       ? ERR_OK
			       : err_set(ERR_RANGE, "a display event names a package or a change");
	case ELEMENT_SOFTWARE:
		TRY(packages_find(core, e, r));
		return r->package_count ? ERR_OK
					: err_set(ERR_RANGE, "a software event names a package");
	case ELEMENT_INTERVAL:
		r->heartbeat_interval_ms = e->interval_ms;
		if (e->interval_ms < HEARTBEAT_MIN_MS || e->interval_ms > HEARTBEAT_MAX_MS)
			return err_set(ERR_RANGE, "an interval lies between %d and %d ms",
				HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS);
		return ERR_OK;
	case ELEMENT_COMMAND_REF:
		r->command = (struct command_ref *)(uintptr_t)e->command_ref;
		return r->command ? ERR_OK : err_set(ERR_RANGE, "a command by reference names it");
	case ELEMENT_HEAD:
	case ELEMENT_TAIL:
	case ELEMENT_CONTROL:
	case ELEMENT_REQUEST:
	case ELEMENT_COMMAND:
		break;
	}
	return err_set(ERR_RANGE, "no such event");
}

static enum err part_make(struct core *core, const struct event *e, struct response_body *body)
{
	if (e->type == ELEMENT_REQUEST) {
		body->kind = KIND_SEND_INFORMATION;
		body->state = CS_AWAIT_INFO;
		body->send = (struct send_information *)(uintptr_t)e->request;
		return e->request ? ERR_OK : err_set(ERR_RANGE, "a request says what it asks for");
	}
	if (e->type == ELEMENT_COMMAND || e->type == ELEMENT_CONTROL) {
		body->kind = KIND_EXECUTE_COMMAND;
		body->state = CS_AWAIT_COMMAND;
		body->execute = (struct execute_command *)(uintptr_t)e->command;
		return e->command && e->command->verb && e->command->verb[0]
			       ? ERR_OK
			       : err_set(ERR_RANGE, "a command has a verb");
	}
	return retrieve_make(core, e, body);
}

enum err event_body_make(struct core *core, const struct event *e, struct response_body **out)
{
	*out = arena_alloc(&core->arena, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for an event");
	return part_make(core, e, *out);
}

// Ids and reason are each response's own; the encoder wants them, so they stand for nothing here.
enum err event_body_encode(const struct response_body *body, struct buf *out)
{
	struct reason reason = {REASON_EVENT, ""};
	struct response_body full = *body;

	full.response_id = full.op_id = 1;
	full.reason = &reason;
	return response_body_encode(&full, out);
}

static const char *retrieve_text(struct arena *a, const struct retrieve_information *r)
{
	char text[LIMIT_TEXT] = "";
	size_t at = 0;

	if (r->heartbeat_interval_ms)
		return arena_printf(a, "interval %u ms", r->heartbeat_interval_ms);
	if (r->command)
		return arena_printf(a, "command %s of %s", digest_short(&r->command->sha256),
			r->command->publisher);
	for (size_t i = 0; i < r->package_count && at < 300; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s@%.*s", at ? " " : "",
			text_most(r->packages[i].name, 60), r->packages[i].name,
			text_most(r->packages[i].version, 60), r->packages[i].version);
	for (size_t i = 0; i < r->change_count && at < 300; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s=%.*s", at ? " " : "",
			text_most(r->changes[i].key, 60), r->changes[i].key,
			text_most(r->changes[i].value, 60), r->changes[i].value);
	return arena_strdup(a, text);
}

static const char *execute_text(
	struct arena *a, enum element_type type, const struct execute_command *x)
{
	const char *arg = x->arg_count ? x->args[0] : "";

	return arena_printf(a, "%s %.*s%s%.*s", type == ELEMENT_CONTROL ? "control" : "exec",
		text_most(x->verb, 100), x->verb, arg[0] ? " " : "", text_most(arg, 200), arg);
}

const char *event_body_text(
	struct arena *a, enum element_type type, const struct response_body *body)
{
	const char *text = NULL;

	if (body->send)
		text = arena_printf(a, "ask %s", info_kind_word(body->send->what));
	else if (body->execute)
		text = execute_text(a, type, body->execute);
	else if (body->retrieve)
		text = retrieve_text(a, body->retrieve);
	return text ? text : "";
}

static enum err package_put(struct retrieve_information *r, const struct package_ref *p)
{
	for (size_t i = 0; i < r->package_count; i++)
		if (r->packages[i].kind == p->kind && strcmp(r->packages[i].name, p->name) == 0) {
			memmove(&r->packages[i], &r->packages[i + 1],
				(r->package_count - i - 1) * sizeof(r->packages[0]));
			r->package_count--;
			break;
		}
	if (r->package_count == LIMIT_PACKAGES_PER_RESPONSE)
		return err_set(ERR_FULL, "more packages than one response holds");
	r->packages[r->package_count++] = *p;
	return ERR_OK;
}

static enum err change_put(struct retrieve_information *r, const struct change *c)
{
	for (size_t i = 0; i < r->change_count; i++)
		if (strcmp(r->changes[i].key, c->key) == 0) {
			memmove(&r->changes[i], &r->changes[i + 1],
				(r->change_count - i - 1) * sizeof(r->changes[0]));
			r->change_count--;
			break;
		}
	if (r->change_count == LIMIT_CHANGES)
		return err_set(ERR_FULL, "more changes than one response holds");
	r->changes[r->change_count++] = *c;
	return ERR_OK;
}

enum err event_body_add(struct retrieve_information *to, const struct retrieve_information *from)
{
	for (size_t i = 0; i < from->package_count; i++)
		TRY(package_put(to, &from->packages[i]));
	for (size_t i = 0; i < from->change_count; i++)
		TRY(change_put(to, &from->changes[i]));
	return ERR_OK;
}

static enum err merge_one(struct arena *a, struct retrieve_information *r, const struct element *e)
{
	struct response_body body;

	TRY(response_body_decode(a, e->body, &body));
	return body.retrieve ? event_body_add(r, body.retrieve) : ERR_OK;
}

enum err event_body_merge(struct arena *a, struct buf *body, struct element *const *run,
	size_t count, struct element_data *out)
{
	struct retrieve_information r = {
		.packages = arena_array(a, LIMIT_PACKAGES_PER_RESPONSE, sizeof(struct package_ref)),
		.changes = arena_array(a, LIMIT_CHANGES, sizeof(struct change)),
	};
	struct response_body merged = {
		.kind = KIND_RETRIEVE_INFORMATION, .state = CS_AWAIT_RETRIEVE, .retrieve = &r};
	const struct element *last = run[count - 1];

	if (!r.packages || !r.changes)
		return err_set(ERR_FULL, "no room to consolidate");
	for (size_t i = 0; i < count; i++)
		TRY(merge_one(a, &r, run[i]));
	TRY(event_body_encode(&merged, body));
	*out = (struct element_data){
		.type = ELEMENT_DISPLAY,
		.body = buf_bytes(body),
		.text = retrieve_text(a, &r),
		.author = last->author,
		.flow_id = last->flow_id,
		.at = last->at,
	};
	return ERR_OK;
}

bool event_body_names(struct core *core, const struct element *e, const struct digest *package)
{
	struct response_body body;

	if (e->type != ELEMENT_DISPLAY && e->type != ELEMENT_SOFTWARE)
		return false;
	if (response_body_decode(&core->arena, e->body, &body) != ERR_OK || !body.retrieve)
		return false;
	for (size_t i = 0; i < body.retrieve->package_count; i++)
		if (digest_equal(&body.retrieve->packages[i].package, package))
			return true;
	return false;
}
