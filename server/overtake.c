// See overtake.h. Who is asked: handle_heartbeat looks whether the next element overtakes; give.c
// gives it; here the open operation is read, joined with it, and ended.
#include "server/overtake.h"

#include "proto/base/text.h"
#include "server/core_inside.h"
#include "server/event_body.h"
#include <stdio.h>
#include <string.h>

#define JOIN_ROOM 2048u // of a response

// ---- pure

static bool replaces(const struct package_ref *newer, const struct package_ref *older)
{
	return newer->kind == PACKAGE_IMAGES && older->kind == PACKAGE_IMAGES &&
	       strcmp(newer->name, older->name) == 0 &&
	       !digest_equal(&newer->package, &older->package);
}

const struct package_ref *overtake_find(const struct retrieve_information *older, const bool *held,
	const struct retrieve_information *newer)
{
	if (older->command || older->heartbeat_interval_ms)
		return NULL;
	for (size_t i = 0; i < older->package_count; i++)
		for (size_t k = 0; k < newer->package_count && !held[i]; k++)
			if (replaces(&newer->packages[k], &older->packages[i]))
				return &older->packages[i];
	return NULL;
}

enum err overtake_join(struct arena *a, const struct retrieve_information *older,
	const struct retrieve_information *newer, struct retrieve_information *out)
{
	*out = (struct retrieve_information){
		.packages = arena_array(a, LIMIT_PACKAGES_PER_RESPONSE, sizeof(struct package_ref)),
		.changes = arena_array(a, LIMIT_CHANGES, sizeof(struct change)),
	};
	if (!out->packages || !out->changes)
		return err_set(ERR_FULL, "no room to join two versions");
	TRY(event_body_add(out, older));
	return event_body_add(out, newer);
}

// ---- with the core

// The older one as it stands now: what was withdrawn meanwhile is not asked for again.
static const struct package_ref *open_read(struct core *core, const struct client *c,
	const struct retrieve_information *newer, struct response_body *older)
{
	const struct open_operation *op = client_open(c);
	bool held[LIMIT_PACKAGES_PER_RESPONSE] = {false};

	if (!op || op->kind != KIND_RETRIEVE_INFORMATION || op->command ||
		body_open(core, bytes_of(op->body, op->body_size), older) != ERR_OK ||
		!older->retrieve)
		return NULL;
	for (size_t i = 0; i < older->retrieve->package_count; i++)
		held[i] = client_holds(core, c, &older->retrieve->packages[i].package);
	const struct package_ref *found = overtake_find(older->retrieve, held, newer);
	if (!found)
		return NULL;
	struct package_ref *copy = arena_alloc(&core->arena, sizeof(*copy));
	if (!copy)
		return NULL;
	*copy = *found;
	(void)retrieve_still_exists(core, older->retrieve);
	return copy;
}

// Ids, text and the header around it want room beside what is joined.
static enum err join_fits(struct core *core, const struct response_body *older,
	const struct retrieve_information *newer, struct retrieve_information *out)
{
	struct response_body joined = {
		.kind = KIND_RETRIEVE_INFORMATION, .state = CS_AWAIT_RETRIEVE, .retrieve = out};

	TRY(overtake_join(&core->arena, older->retrieve, newer, out));
	TRY(event_body_encode(&joined, &core->body));
	return core->body.size + JOIN_ROOM <= LIMIT_RESPONSE
		       ? ERR_OK
		       : err_set(ERR_FULL, "one response cannot hold both versions");
}

bool open_is_overtaken(
	struct core *core, const struct client *c, const struct retrieve_information *newer)
{
	struct response_body older;
	struct retrieve_information joined;

	return open_read(core, c, newer, &older) &&
	       join_fits(core, &older, newer, &joined) == ERR_OK;
}

enum err open_overtake(struct core *core, uint32_t number, struct answer *a)
{
	struct client *c = client_at(&core->clients, number);
	struct open_operation *op = client_open(c);
	struct response_body older;
	const struct package_ref *from = open_read(core, c, a->retrieve, &older);
	struct retrieve_information *joined = arena_alloc(&core->arena, sizeof(*joined));

	if (!from || !joined)
		return err_set(ERR_NOT_NOW, "the open operation cannot be overtaken");
	TRY(join_fits(core, &older, a->retrieve, joined));
	const char *text = arena_printf(&core->arena, "%.*s, in place of %.*s@%.*s",
		text_most(a->text, 200), a->text, text_most(from->name, 100), from->name,
		text_most(from->version, 60), from->version);
	text_format(op->detail, sizeof(op->detail), "superseded: %s", a->text);
	a->retrieve = joined;
	a->text = text ? text : a->text;
	return operation_close(core, number, OP_CANCELLED, "a newer version waits");
}
