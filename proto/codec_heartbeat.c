// Heartbeat, and the offer that answers its first form.
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"

static const struct codec_row operation_rows[] = {
	ROW_U64(operation, op_id, 1, UINT64_MAX),
	ROW_ENUM(operation, status, op_status, OP_UNKNOWN),
	ROW_TEXT(operation, detail, LIMIT_TEXT, 0),
	ROW_U32(operation, percent, 0, 100),
};
CODEC_TABLE(operation, operation)

static const struct codec_row status_rows[] = {
	ROW_TEXT(status, state, LIMIT_ID, 0),
	ROW_TEXT(status, agent_version, CODEC_VERSION_MAX, 0),
	ROW_COUNTER(status, free_bytes, 0),
	ROW_FIXED(status, showing_package, 0),
	ROW_TEXT(status, showing_image, CODEC_PATH_MAX, 0),
	ROW_U32(status, interval_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS),
	ROW_U32(status, clock_quality, 1, 3),
	ROW_TEXT(status, hw_class, LIMIT_ID, 0),
	ROW_MESSAGES(status, software, software_count, software_version, LIMIT_SOFTWARE, 0),
	ROW_U32(status, screen_width_px, 0, CODEC_PIXELS_MAX),
	ROW_U32(status, screen_height_px, 0, CODEC_PIXELS_MAX),
	ROW_MESSAGES(status, updates, update_count, update_status, LIMIT_UPDATES, 0),
};
CODEC_TABLE(status, status)

static const struct codec_row update_status_rows[] = {
	ROW_TEXT(update_status, name, LIMIT_ID, CODEC_REQUIRED),
	ROW_TEXT(update_status, version, CODEC_VERSION_MAX, 0),
	ROW_FIXED(update_status, package, CODEC_REQUIRED),
	ROW_TEXT(update_status, state, LIMIT_ID, CODEC_REQUIRED),
	ROW_TEXT(update_status, reason, LIMIT_TEXT, 0),
	ROW_U32(update_status, failures, 0, UINT32_MAX),
	ROW_TIME(update_status, until_unix_ms),
};
CODEC_TABLE(update_status, update_status)

static enum err heartbeat_check(const struct codec_path *path, const void *message)
{
	const struct heartbeat *m = message;

	TRY(codec_check_ip(path, m->ip_address));
	return codec_check_sign_in(path, m->session_id, m->sign_in);
}

static const struct codec_row heartbeat_rows[] = {
	ROW_SCHEMA,
	ROW_ID(heartbeat, client_id, CODEC_REQUIRED),
	ROW_BYTES(heartbeat, ip_address, 16, CODEC_REQUIRED),
	ROW_COUNTER(heartbeat, session_id, 0),
	ROW_COUNTER(heartbeat, seq, 0),
	ROW_TIME(heartbeat, sent_unix_ms),
	ROW_U64(heartbeat, last_response_id, 0, UINT64_MAX),
	ROW_ENUM(heartbeat, ack, ack, ACK_BUSY),
	ROW_MESSAGE(heartbeat, op, operation, 0),
	ROW_MESSAGE(heartbeat, status, status, CODEC_REQUIRED),
	ROW_MESSAGE(heartbeat, holdings, holdings, 0),
	ROW_MESSAGES(heartbeat, changes, change_count, change, LIMIT_CHANGES, 0),
	ROW_FIXED(heartbeat, boot, 0),
	ROW_MESSAGE(heartbeat, sign_in, sign_in, 0),
	ROW_AUTH,
};
CODEC_TABLE(heartbeat, heartbeat, .check = heartbeat_check, .limit = LIMIT_HEARTBEAT)
CODEC_DOOR(heartbeat)

static const struct codec_row session_offer_rows[] = {
	ROW_SCHEMA,
	ROW_ID(session_offer, principal, CODEC_REQUIRED),
	ROW_COUNTER(session_offer, session_id, 1),
	ROW_FIXED(session_offer, x25519_share, CODEC_REQUIRED),
	ROW_FIXED(session_offer, nonce, CODEC_REQUIRED),
	ROW_FIXED(session_offer, boot, CODEC_REQUIRED),
	ROW_FIXED(session_offer, server_key_id, CODEC_REQUIRED),
	ROW_FIXED(session_offer, next_lineage, CODEC_REQUIRED),
	ROW_COUNTER(session_offer, highest_change_id, 0),
	ROW_COUNTER(session_offer, highest_report_id, 0),
	ROW_FIXED(session_offer, sign_in_sha256, CODEC_REQUIRED),
	ROW_TIME(session_offer, server_unix_ms),
	ROW_COUNTER(session_offer, incarnation, 0),
	ROW_FIXED(session_offer, identity_key_id, 0),
	ROW_AUTH,
};
CODEC_TABLE(session_offer, session_offer, .limit = LIMIT_OFFER)
CODEC_DOOR(session_offer)
