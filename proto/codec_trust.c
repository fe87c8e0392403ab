// Payloads of envelopes that carry trust, and the signed state of a server.
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"

static const struct codec_row signed_command_rows[] = {
	ROW_SCHEMA,
	ROW_ID(signed_command, client_id, 0),
	ROW_MESSAGE(signed_command, command, execute_command, CODEC_REQUIRED),
};
CODEC_TABLE(signed_command, signed_command, .limit = LIMIT_MANIFEST_ROOT, .unknown_allowed = true)
CODEC_DOOR(signed_command)

static const struct codec_row medium_rows[] = {
	ROW_SCHEMA,
	ROW_ID(medium, client_id, CODEC_REQUIRED),
	ROW_COUNTER(medium, order, 1),
	ROW_MESSAGE(medium, package, package_ref, CODEC_REQUIRED),
	ROW_FIXED(medium, publisher_key, CODEC_REQUIRED),
	ROW_TIME(medium, created_unix_ms),
	ROW_TEXT(medium, client_name, LIMIT_TEXT, 0),
	ROW_TEXT(medium, customer, LIMIT_ID, 0),
	ROW_MESSAGE(medium, key, sealed_key, 0),
};
CODEC_TABLE(medium, medium, .limit = LIMIT_MANIFEST_ROOT, .unknown_allowed = true)
CODEC_DOOR(medium)

static const struct codec_row medium_result_rows[] = {
	ROW_COUNTER(medium_result, order, 1),
	ROW_FIXED(medium_result, package, 0),
	ROW_ID(medium_result, outcome, CODEC_REQUIRED),
	ROW_TIME(medium_result, at_unix_ms),
};
CODEC_TABLE(medium_result, medium_result)

static enum err medium_return_check(const struct codec_path *path, const void *message)
{
	const struct medium_return *m = message;

	return codec_check_part(path, m->part, m->parts);
}

static const struct codec_row medium_return_rows[] = {
	ROW_SCHEMA,
	ROW_ID(medium_return, client_id, CODEC_REQUIRED),
	ROW_FIXED(medium_return, store_id, CODEC_REQUIRED),
	ROW_TIME(medium_return, written_unix_ms),
	ROW_U32(medium_return, clock_quality, 1, 3),
	ROW_U32(medium_return, part, 0, CODEC_PARTS_MAX - 1),
	ROW_U32(medium_return, parts, 1, CODEC_PARTS_MAX),
	ROW_MESSAGES(medium_return, usage, usage_count, shown, LIMIT_RETURN_ROWS, 0),
	ROW_MESSAGES(medium_return, results, result_count, medium_result, LIMIT_RETURN_ROWS, 0),
};
CODEC_TABLE(medium_return, medium_return, .check = medium_return_check, .limit = LIMIT_RETURN,
	.unknown_allowed = true)
CODEC_DOOR(medium_return)

// A threshold above the number of keys could never be met.
static enum err threshold_check(
	const struct codec_path *path, const char *name, uint32_t threshold, size_t keys)
{
	if (threshold > keys)
		return codec_refuse(path, name, ERR_RANGE, "is %u of %zu keys", threshold, keys);
	return ERR_OK;
}

static enum err root_check(const struct codec_path *path, const void *message)
{
	const struct root *m = message;

	TRY(threshold_check(path, "root_threshold", m->root_threshold, m->root_key_count));
	if (m->software_key_count > 0 && m->software_threshold == 0)
		return codec_refuse(path, "software_threshold", ERR_RANGE, "is missing or 0");
	return threshold_check(
		path, "software_threshold", m->software_threshold, m->software_key_count);
}

static const struct codec_row root_rows[] = {
	ROW_SCHEMA,
	ROW_COUNTER(root, version, 1),
	ROW_TEXT(root, fleet, LIMIT_ID, CODEC_REQUIRED),
	ROW_FIXEDS(root, root_keys, root_key_count, CODEC_KEYS_MAX, CODEC_REQUIRED),
	ROW_U32(root, root_threshold, 1, CODEC_KEYS_MAX),
	ROW_FIXEDS(root, online_keys, online_key_count, CODEC_KEYS_MAX, CODEC_REQUIRED),
	ROW_FIXEDS(root, software_keys, software_key_count, CODEC_KEYS_MAX, 0),
	ROW_U32(root, software_threshold, 0, CODEC_KEYS_MAX),
	ROW_FIXEDS(root, image_keys, image_key_count, CODEC_KEYS_MAX, 0),
	ROW_FIXEDS(root, enrol_keys, enrol_key_count, CODEC_KEYS_MAX, 0),
	ROW_TIME(root, expires_unix_ms),
};
CODEC_TABLE(root, root, .check = root_check, .limit = LIMIT_MANIFEST_ROOT, .unknown_allowed = true)
CODEC_DOOR(root)

static const struct codec_row enrolment_rows[] = {
	ROW_SCHEMA,
	ROW_ID(enrolment, id, CODEC_REQUIRED),
	ROW_ENUM(enrolment, role, role, ROLE_SERVER),
	ROW_FIXED(enrolment, public_key, CODEC_REQUIRED),
	ROW_FIXED(enrolment, box_key, 0),
	ROW_TEXT(enrolment, name, LIMIT_TEXT, 0),
};
CODEC_TABLE(enrolment, enrolment, .limit = LIMIT_OFFER, .unknown_allowed = true)
CODEC_DOOR(enrolment)

static const struct codec_row host_state_rows[] = {
	ROW_SCHEMA,
	ROW_ID(host_state, server, CODEC_REQUIRED),
	ROW_COUNTER(host_state, counter, 0),
	ROW_FIXED(host_state, boot, CODEC_REQUIRED),
	ROW_TIME(host_state, server_unix_ms),
	ROW_U32(host_state, period_ms, 0, HEARTBEAT_MAX_MS),
	ROW_BOOL(host_state, up),
	ROW_AUTH,
};
CODEC_TABLE(host_state, host_state, .limit = LIMIT_OFFER)
CODEC_DOOR(host_state)
