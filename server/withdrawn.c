// Signed commands that were taken back: a mark in the store, looked at whenever one is about to be
// given, so that a client that comes later is never told. Whoever was told and has not ended it is
// told to give it up. A mark is not taken off again: what is wanted after all is signed anew.
#include "server/core_inside.h"
#include <stdio.h>
#include <string.h>

#define MARK_ROOM (sizeof("withdrawn//") + LIMIT_ID + 2 * sizeof(struct digest))

static const char *mark_of(const struct command_ref *ref, char out[MARK_ROOM])
{
	(void)snprintf(out, MARK_ROOM, "withdrawn/%s/%s", ref->publisher, digest_hex(&ref->sha256));
	return out;
}

enum err core_command_is_withdrawn(struct core *core, const struct command_ref *ref, bool *is)
{
	char mark[MARK_ROOM];
	int64_t at_ms = 0;

	TRY(rows_meta_number(core->db, mark_of(ref, mark), &at_ms));
	*is = at_ms != 0;
	return ERR_OK;
}

static bool operation_is_of(
	struct core *core, const struct open_operation *op, const struct command_ref *ref)
{
	struct response_body body;

	if (op->kind != KIND_RETRIEVE_INFORMATION || !op->command ||
		response_body_decode(&core->arena, bytes_of(op->body, op->body_size), &body) !=
			ERR_OK ||
		!body.retrieve || !body.retrieve->command)
		return false;
	const struct command_ref *its = body.retrieve->command;
	return strcmp(its->publisher, ref->publisher) == 0 &&
	       digest_equal(&its->sha256, &ref->sha256);
}

enum err operations_withdraw(
	struct core *core, const struct command_ref *ref, const char *author, size_t *cancelled)
{
	size_t cursor = 0;

	TRY(loading_finish(core));
	for (uint32_t n; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		const struct client *c = client_at(&core->clients, n);
		const struct open_operation *op = client_open(c);

		if (c->elsewhere || !op || op->passed || op->cancel_flow ||
			!operation_is_of(core, op, ref))
			continue;
		TRY(core_operation_cancel(
			core, client_id(&core->clients, c), op->op_id, author, NULL));
		(*cancelled)++;
	}
	return ERR_OK;
}

enum err core_command_withdraw(
	struct core *core, const struct command_ref *ref, const char *author, size_t *cancelled)
{
	char mark[MARK_ROOM];

	*cancelled = 0;
	TRY(rows_meta_put_number(core->db, mark_of(ref, mark), core->now.wall.ms));
	TRY(operations_withdraw(core, ref, author, cancelled));
	if (core->shared)
		TRY(letter_to_all(
			core, &(struct letter_said){.kind = LETTER_WITHDRAWN,
				      .text = ref->publisher,
				      .client = author,
				      .body = bytes_of(ref->sha256.b, sizeof(ref->sha256.b))}));
	log_info("COMMAND-WITHDRAWN", "publisher=%s sha256=%s cancelled=%zu author=%s",
		ref->publisher, digest_hex(&ref->sha256), *cancelled, log_quote(author));
	return ERR_OK;
}
