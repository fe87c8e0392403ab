// Response: a fresh header around a body that is stored and sent again unchanged.
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"
#include <string.h>

// What a response adds around its body: ids, boot, numbers and auth are below 300 bytes, and a key
// for each of LIMIT_PACKAGES_PER_RESPONSE about 120.
#define HEADER_MAX 2560

static const struct codec_row send_information_rows[] = {
	ROW_ENUM(send_information, what, info_kind, INFO_OUTPUT),
	ROW_TIME(send_information, since_unix_ms),
	ROW_MESSAGE(send_information, to, address, 0),
	ROW_U32(send_information, max_bytes, 0, UINT32_MAX),
	ROW_TEXT(send_information, unit, 256, 0),
	ROW_TEXT(send_information, pattern, 256, 0),
	ROW_U32(send_information, lines, 0, CODEC_LOG_LINES_MAX),
	ROW_U64(send_information, of_op, 0, UINT64_MAX),
};
CODEC_TABLE(send_information, send_information)

static const struct codec_row package_ref_rows[] = {
	ROW_FIXED(package_ref, package, CODEC_REQUIRED),
	ROW_ID(package_ref, publisher, CODEC_REQUIRED),
	ROW_ENUM(package_ref, kind, package_kind, PACKAGE_SOFTWARE),
	ROW_ID(package_ref, name, CODEC_REQUIRED),
	ROW_TEXT(package_ref, version, CODEC_VERSION_MAX, 0),
	ROW_COUNTER(package_ref, size_bytes, 0),
	ROW_BOOL(package_ref, activate),
	ROW_TIME(package_ref, activate_unix_ms),
};
CODEC_TABLE(package_ref, package_ref)

static const struct codec_row command_ref_rows[] = {
	ROW_ID(command_ref, publisher, CODEC_REQUIRED),
	ROW_FIXED(command_ref, sha256, CODEC_REQUIRED),
	ROW_MESSAGE(command_ref, from, address, 0),
};
CODEC_TABLE(command_ref, command_ref)

static enum err retrieve_information_check(const struct codec_path *path, const void *message)
{
	const struct retrieve_information *m = message;

	if (m->package_count || m->change_count || m->command || m->heartbeat_interval_ms)
		return ERR_OK;
	return codec_refuse(path, NULL, ERR_RANGE, "names nothing to retrieve");
}

static const struct codec_row retrieve_information_rows[] = {
	ROW_MESSAGES(retrieve_information, packages, package_count, package_ref,
		LIMIT_PACKAGES_PER_RESPONSE, 0),
	ROW_MESSAGES(retrieve_information, changes, change_count, change, LIMIT_CHANGES, 0),
	ROW_MESSAGE(retrieve_information, command, command_ref, 0),
	ROW_U32_OR_ZERO(
		retrieve_information, heartbeat_interval_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS),
};
CODEC_TABLE(retrieve_information, retrieve_information, .check = retrieve_information_check)

static enum err part_check(
	const struct codec_path *path, const char *name, bool present, bool wanted)
{
	if (present == wanted)
		return ERR_OK;
	return codec_refuse(path, name, ERR_RANGE,
		wanted ? "is missing in its kind of response"
		       : "stands in another kind of response");
}

static enum err response_body_check(const struct codec_path *path, const void *message)
{
	const struct response_body *m = message;

	TRY(part_check(path, "send", m->send != NULL, m->kind == KIND_SEND_INFORMATION));
	TRY(part_check(
		path, "retrieve", m->retrieve != NULL, m->kind == KIND_RETRIEVE_INFORMATION));
	TRY(part_check(path, "execute", m->execute != NULL, m->kind == KIND_EXECUTE_COMMAND));
	return part_check(path, "op_id", m->op_id != 0, m->kind != KIND_NO_ACTION);
}

static const struct codec_row response_body_rows[] = {
	ROW_U64(response_body, response_id, 1, UINT64_MAX),
	ROW_ENUM(response_body, kind, response_kind, KIND_EXECUTE_COMMAND),
	ROW_U64(response_body, op_id, 0, UINT64_MAX),
	ROW_ENUM(response_body, state, client_state, CS_CLONE_SUSPECT),
	ROW_MESSAGE(response_body, reason, reason, CODEC_REQUIRED),
	ROW_ID(response_body, channel, 0),
	ROW_COUNTER(response_body, event_seq, 0),
	ROW_U64(response_body, flow_id, 0, UINT64_MAX),
	ROW_U32(response_body, attempt, 0, UINT32_MAX),
	ROW_MESSAGE(response_body, send, send_information, 0),
	ROW_MESSAGE(response_body, retrieve, retrieve_information, 0),
	ROW_MESSAGE(response_body, execute, execute_command, 0),
};
CODEC_TABLE(response_body, response_body, .check = response_body_check,
	.limit = LIMIT_RESPONSE - HEADER_MAX)
CODEC_DOOR(response_body)

static const struct codec_row response_rows[] = {
	ROW_SCHEMA,
	ROW_ID(response, client_id, CODEC_REQUIRED),
	ROW_COUNTER(response, session_id, 1),
	ROW_COUNTER(response, in_reply_to_seq, 0),
	ROW_FIXED(response, boot, 0),
	ROW_TIME(response, server_unix_ms),
	ROW_U32(response, heartbeat_interval_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS),
	ROW_COUNTER(response, rate_bytes_per_s, 0),
	ROW_BOOL(response, hold),
	ROW_U64(response, epoch, 0, UINT64_MAX),
	ROW_COUNTER(response, acked_change_id, 0),
	ROW_COUNTER(response, acked_report_id, 0),
	ROW_COUNTER(response, open_report_id, 0),
	ROW_U32(response, open_report_parts, 0, CODEC_PARTS_MAX),
	ROW_U32(response, reconnect_spread_ms, 0, RECONNECT_SPREAD_MAX_MS),
	ROW_MESSAGES(response, keys, key_count, sealed_key, LIMIT_PACKAGES_PER_RESPONSE, 0),
	ROW_U32(response, next_beat_ms, 0, HEARTBEAT_MAX_MS),
	ROW_SPLICED(response, body, response_body, body_bytes, LIMIT_RESPONSE - HEADER_MAX),
	ROW_AUTH,
};
CODEC_TABLE(response, response, .limit = LIMIT_RESPONSE)
CODEC_DOOR(response)

// ---- outlines: a response whose header is right and whose content is not understood

// Only an operation can be refused by its id.
static enum err response_outline_check(const struct codec_path *path, const void *message)
{
	const struct response_body *m = message;

	if (m->kind == KIND_NO_ACTION)
		return codec_refuse(path, "kind", ERR_RANGE, "opens no operation");
	return part_check(path, "op_id", m->op_id != 0, true);
}

static const struct codec_row body_outline_rows[] = {
	ROW_U64(response_body, response_id, 1, UINT64_MAX),
	ROW_ENUM(response_body, kind, response_kind, KIND_EXECUTE_COMMAND),
	ROW_U64(response_body, op_id, 0, UINT64_MAX),
	ROW_ENUM(response_body, state, client_state, CS_CLONE_SUSPECT),
	ROW_MESSAGE(response_body, reason, reason, CODEC_REQUIRED),
	ROW_ID(response_body, channel, 0),
	ROW_COUNTER(response_body, event_seq, 0),
	ROW_U64(response_body, flow_id, 0, UINT64_MAX),
	ROW_U32(response_body, attempt, 0, UINT32_MAX),
	ROW_SKIP(send),
	ROW_SKIP(retrieve),
	ROW_SKIP(execute),
};
static const struct codec_table body_outline = {.name = "response_body",
	.descriptor = &helio__v1__response_body__descriptor,
	.size = sizeof(struct response_body),
	.rows = body_outline_rows,
	.row_count = sizeof(body_outline_rows) / sizeof(body_outline_rows[0]),
	.check = response_outline_check,
	.limit = LIMIT_RESPONSE - HEADER_MAX};

enum err response_body_outline(struct arena *a, struct bytes payload, struct response_body *out)
{
	return codec_decode(&body_outline, a, payload, out);
}

enum err response_outline(struct arena *a, struct bytes payload, struct response *out)
{
	struct codec_row rows[sizeof(response_rows) / sizeof(response_rows[0])];
	struct codec_table outline = codec_response;

	memcpy(rows, response_rows, sizeof(rows));
	for (size_t i = 0; i < outline.row_count; i++) {
		if (rows[i].table == &codec_response_body)
			rows[i].table = &body_outline;
	}
	outline.rows = rows;
	return codec_decode(&outline, a, payload, out);
}
