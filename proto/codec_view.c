// Views: what the server shows to permitted readers. Never input to a decision.
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"

static enum err state_view_check(const struct codec_path *path, const void *message)
{
	return codec_check_ip(path, ((const struct state_view *)message)->ip_address);
}

static const struct codec_row state_view_rows[] = {
	ROW_SCHEMA,
	ROW_ID(state_view, client_id, CODEC_REQUIRED),
	ROW_ENUM(state_view, state, client_state, CS_CLONE_SUSPECT),
	ROW_ENUM(state_view, reach, reach, REACH_SILENT),
	ROW_U64(state_view, response_id, 0, UINT64_MAX),
	ROW_U64(state_view, op_id, 0, UINT64_MAX),
	ROW_ENUM_OR_ZERO(state_view, op_status, op_status, OP_UNKNOWN),
	ROW_COUNTER(state_view, seq, 0),
	ROW_TIME(state_view, last_heard_unix_ms),
	ROW_BYTES(state_view, ip_address, 16, 0),
	ROW_U32(state_view, mismatches, 0, UINT32_MAX),
	ROW_ID(state_view, channel, 0),
	ROW_FIXED(state_view, showing_package, 0),
	ROW_TEXT(state_view, showing_image, CODEC_PATH_MAX, 0),
	ROW_U32(state_view, interval_ms, 0, HEARTBEAT_MAX_MS),
	ROW_COUNTER(state_view, session_id, 0),
	ROW_TIME(state_view, view_unix_ms),
	ROW_TEXT(state_view, agent_version, CODEC_VERSION_MAX, 0),
	ROW_MESSAGES(state_view, software, software_count, software_version, LIMIT_SOFTWARE, 0),
	ROW_ENUM_OR_ZERO(state_view, last_kind, response_kind, KIND_EXECUTE_COMMAND),
	ROW_TEXTS(
		state_view, more_channels, more_channel_count, LIMIT_CLIENT_CHANNELS - 1, LIMIT_ID),
	ROW_AUTH,
};
CODEC_TABLE(state_view, state_view, .check = state_view_check, .limit = LIMIT_VIEW)
CODEC_DOOR(state_view)

static const struct codec_row queue_element_rows[] = {
	ROW_COUNTER(queue_element, seq, 0),
	ROW_ENUM(queue_element, type, element_type, ELEMENT_COMMAND_REF),
	ROW_TEXT(queue_element, text, LIMIT_TEXT, 0),
	ROW_U64(queue_element, flow_id, 0, UINT64_MAX),
	ROW_COUNTER(queue_element, first_seq, 0),
	ROW_COUNTER(queue_element, standing, 0),
};
CODEC_TABLE(queue_element, queue_element)

static const struct codec_row queue_pointer_rows[] = {
	ROW_ID(queue_pointer, client_id, CODEC_REQUIRED),
	ROW_COUNTER(queue_pointer, seq, 0),
	ROW_ENUM(queue_pointer, at, element_type, ELEMENT_COMMAND_REF),
};
CODEC_TABLE(queue_pointer, queue_pointer)

static const struct codec_row queue_view_rows[] = {
	ROW_SCHEMA,
	ROW_ID(queue_view, channel, CODEC_REQUIRED),
	ROW_U64(queue_view, epoch, 0, UINT64_MAX),
	ROW_MESSAGES(queue_view, elements, element_count, queue_element, LIMIT_VIEW_ELEMENTS, 0),
	ROW_MESSAGES(queue_view, pointers, pointer_count, queue_pointer, LIMIT_VIEW_POINTERS, 0),
	ROW_U64_AS(queue_view, pointer_count, pointer_total, 0, CODEC_COUNTER_MAX),
	ROW_U64_AS(queue_view, element_count, element_total, 0, CODEC_COUNTER_MAX),
	ROW_COUNTER(queue_view, detached, 0),
	ROW_BOOL(queue_view, paused),
	ROW_BOOL(queue_view, closed),
	ROW_COUNTER(queue_view, rate_bytes_per_s, 0),
	ROW_U32(queue_view, weight, 0, 1000),
	ROW_AUTH,
};
CODEC_TABLE(queue_view, queue_view, .limit = LIMIT_VIEW)
CODEC_DOOR(queue_view)

static const struct codec_row media_order_rows[] = {
	ROW_SCHEMA,
	ROW_ID(media_order, client_id, CODEC_REQUIRED),
	ROW_U64(media_order, order, 0, UINT64_MAX),
	ROW_FIXED(media_order, package, CODEC_REQUIRED),
	ROW_ENUM(media_order, state, media_state, MEDIA_SUPERSEDED),
	ROW_TEXT(media_order, reason, LIMIT_TEXT, 0),
	ROW_TEXT(media_order, medium_kind, LIMIT_ID, 0),
	ROW_TEXT(media_order, path, CODEC_PATH_MAX, 0),
	ROW_FIXED(media_order, sha256, 0),
	ROW_TIME(media_order, created_unix_ms),
	ROW_AUTH,
};
CODEC_TABLE(media_order, media_order, .limit = LIMIT_VIEW)
CODEC_DOOR(media_order)

static const struct codec_row data_server_load_rows[] = {
	ROW_SCHEMA,
	ROW_ID(data_server_load, broker_id, CODEC_REQUIRED),
	ROW_BOOL(data_server_load, reachable),
	ROW_BOOL(data_server_load, stale),
	ROW_DOUBLE(data_server_load, sent_bytes_per_s, 1000000000000000),
	ROW_COUNTER(data_server_load, capacity_bytes_per_s, 0),
	ROW_COUNTER(data_server_load, granted_bytes_per_s, 0),
	ROW_U32(data_server_load, leases, 0, UINT32_MAX),
	ROW_TIME(data_server_load, last_target_unix_ms),
	ROW_U32(data_server_load, placements, 0, UINT32_MAX),
	ROW_AUTH,
};
CODEC_TABLE(data_server_load, data_server_load, .limit = LIMIT_VIEW)
CODEC_DOOR(data_server_load)
