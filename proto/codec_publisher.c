// What a publisher says, and what it is told.
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"

static enum err daypart_check(const struct codec_path *path, const void *message)
{
	const struct daypart *m = message;

	if (m->from_minute == m->until_minute)
		return codec_refuse(path, "until_minute", ERR_RANGE, "is the minute of the begin");
	return ERR_OK;
}

static const struct codec_row daypart_rows[] = {
	ROW_U32(daypart, weekdays, 1, 0x7f),
	ROW_U32(daypart, from_minute, 0, 1439),
	ROW_U32(daypart, until_minute, 0, 1440),
};
CODEC_TABLE(daypart, daypart, .check = daypart_check)

static enum err plan_part_check(const struct codec_path *path, const void *message)
{
	const struct plan_part *m = message;

	TRY(codec_check_fit(path, m->fit));
	TRY(codec_check_order(path, m->order));
	return codec_check_validity(path, m->from_unix_ms, m->until_unix_ms);
}

static const struct codec_row plan_part_rows[] = {
	ROW_ID(plan_part, plan, CODEC_REQUIRED),
	ROW_TEXT(plan_part, expression, LIMIT_EXPRESSION, 0),
	ROW_U32(plan_part, max_images, 0, LIMIT_FILES),
	ROW_COUNTER(plan_part, max_bytes, 0),
	ROW_TEXT(plan_part, order, LIMIT_ID, 0),
	ROW_COUNTER(plan_part, seed, 0),
	ROW_U32(plan_part, duration_ms, 0, HEARTBEAT_MAX_MS),
	ROW_TEXT(plan_part, fit, LIMIT_ID, 0),
	ROW_U32(plan_part, weight, 0, LIMIT_WEIGHT),
	ROW_TIME(plan_part, from_unix_ms),
	ROW_TIME(plan_part, until_unix_ms),
	ROW_MESSAGES(plan_part, dayparts, daypart_count, daypart, LIMIT_DAYPARTS, 0),
};
CODEC_TABLE(plan_part, plan_part, .check = plan_part_check)

static const struct codec_row package_order_rows[] = {
	ROW_ID(package_order, order, CODEC_REQUIRED),
	ROW_COUNTER(package_order, revision, 1),
	ROW_BOOL(package_order, withdrawn),
	ROW_ID(package_order, customer, CODEC_REQUIRED),
	ROW_ID(package_order, name, CODEC_REQUIRED),
	ROW_U32(package_order, screen_width_px, 0, CODEC_PIXELS_MAX),
	ROW_U32(package_order, screen_height_px, 0, CODEC_PIXELS_MAX),
	ROW_U32(package_order, max_images, 0, LIMIT_FILES),
	ROW_COUNTER(package_order, max_bytes, 0),
	ROW_MESSAGE(package_order, show, show_defaults, 0),
	ROW_MESSAGES(package_order, parts, part_count, plan_part, LIMIT_PLANS, 0),
	ROW_U64(package_order, flow_id, 0, UINT64_MAX),
	ROW_BOOL(package_order, sealed),
};
CODEC_TABLE(package_order, package_order, .limit = LIMIT_DIRECTIVE)
CODEC_DOOR(package_order)

static enum err order_outcome_check(const struct codec_path *path, const void *message)
{
	const struct order_outcome *m = message;

	if (digest_is_zero(&m->package) && (!m->reason || !m->reason[0]))
		return codec_refuse(path, "reason", ERR_RANGE, "is missing, as is the package");
	if (m->included > m->matched)
		return codec_refuse(path, "included", ERR_RANGE, "is more than what matched");
	return ERR_OK;
}

static const struct codec_row order_outcome_rows[] = {
	ROW_ID(order_outcome, order, CODEC_REQUIRED),
	ROW_COUNTER(order_outcome, revision, 1),
	ROW_FIXED(order_outcome, package, 0),
	ROW_U32(order_outcome, matched, 0, UINT32_MAX),
	ROW_U32(order_outcome, included, 0, LIMIT_FILES),
	ROW_COUNTER(order_outcome, size_bytes, 0),
	ROW_TEXT(order_outcome, reason, LIMIT_TEXT, 0),
	ROW_TEXTS(order_outcome, warnings, warning_count, LIMIT_WARNINGS, LIMIT_TEXT),
};
CODEC_TABLE(order_outcome, order_outcome, .check = order_outcome_check)

static const struct codec_row medium_outcome_rows[] = {
	ROW_COUNTER(medium_outcome, order, 1),
	ROW_ID(medium_outcome, medium_kind, 0),
	ROW_TEXT(medium_outcome, path, CODEC_PATH_MAX, 0),
	ROW_FIXED(medium_outcome, sha256, 0),
	ROW_COUNTER(medium_outcome, size_bytes, 0),
	ROW_TEXT(medium_outcome, failed, LIMIT_TEXT, 0),
};
CODEC_TABLE(medium_outcome, medium_outcome)

static bool id16_is_zero(const struct id16 *id)
{
	static const struct id16 none;

	return bytes_equal(bytes_of(id->b, sizeof(id->b)), bytes_of(none.b, sizeof(none.b)));
}

static bool state_names_package(enum publisher_state s)
{
	return s == PUB_OFFER || s == PUB_SENDING || s == PUB_STORED || s == PUB_STOPPED ||
	       s == PUB_WITHDRAWN;
}

static enum err publisher_msg_check(const struct codec_path *path, const void *message)
{
	const struct publisher_msg *m = message;

	TRY(codec_check_sign_in(path, m->session_id, m->sign_in));
	if ((m->state == PUB_SIGN_IN) != (m->sign_in != NULL))
		return codec_refuse(path, "state", ERR_RANGE,
			"is %s, which does not go with sign_in", publisher_state_word(m->state));
	if (state_names_package(m->state) && digest_is_zero(&m->package))
		return codec_refuse(path, "package", ERR_RANGE, "is missing");
	if (m->state == PUB_OFFER && m->manifest.size == 0)
		return codec_refuse(path, "manifest", ERR_RANGE, "is missing");
	if ((m->state == PUB_ORDERED) != (m->ordered != NULL))
		return codec_refuse(path, "ordered", ERR_RANGE, "does not go with the state %s",
			publisher_state_word(m->state));
	if ((m->state == PUB_RECORDED) != (m->recorded != NULL))
		return codec_refuse(path, "recorded", ERR_RANGE, "does not go with the state %s",
			publisher_state_word(m->state));
	if (m->state == PUB_STORED && id16_is_zero(&m->mark))
		return codec_refuse(path, "mark", ERR_RANGE, "is missing");
	return ERR_OK;
}

static const struct codec_row publisher_msg_rows[] = {
	ROW_SCHEMA,
	ROW_ID(publisher_msg, publisher, CODEC_REQUIRED),
	ROW_COUNTER(publisher_msg, session_id, 0),
	ROW_COUNTER(publisher_msg, seq, 0),
	ROW_FIXED(publisher_msg, boot, 0),
	ROW_U64(publisher_msg, request_id, 0, UINT64_MAX),
	ROW_ENUM(publisher_msg, state, publisher_state, PUB_RECORDED),
	ROW_FIXED(publisher_msg, package, 0),
	ROW_BYTES(publisher_msg, manifest, LIMIT_ENVELOPE, 0),
	ROW_U64(publisher_msg, directive_id, 0, UINT64_MAX),
	ROW_ID(publisher_msg, broker_id, 0),
	ROW_COUNTER(publisher_msg, sent_bytes, 0),
	ROW_COUNTER(publisher_msg, total_bytes, 0),
	ROW_U32(publisher_msg, objects, 0, UINT32_MAX),
	ROW_TEXT(publisher_msg, detail, LIMIT_TEXT, 0),
	ROW_FIXED(publisher_msg, mark, 0),
	ROW_FIXED(publisher_msg, index_sha256, 0),
	ROW_MESSAGE(publisher_msg, sign_in, sign_in, 0),
	ROW_COUNTER(publisher_msg, object_bytes, 0),
	ROW_MESSAGE(publisher_msg, ordered, order_outcome, 0),
	ROW_MESSAGE(publisher_msg, recorded, medium_outcome, 0),
	ROW_FIXED_AS(publisher_msg, base_package, base, 0),
	ROW_AUTH,
};
CODEC_TABLE(
	publisher_msg, publisher_msg, .check = publisher_msg_check, .limit = LIMIT_PUBLISHER_MSG)
CODEC_DOOR(publisher_msg)

static enum err directive_check(const struct codec_path *path, const void *message)
{
	const struct directive *m = message;
	bool transmit = m->kind == DIRECTIVE_TRANSMIT, repair = m->kind == DIRECTIVE_REPAIR;

	if ((transmit || repair || m->kind == DIRECTIVE_STOP || m->kind == DIRECTIVE_SERVE_BASES) &&
		digest_is_zero(&m->package))
		return codec_refuse(path, "package", ERR_RANGE, "is missing");
	if (transmit && !m->to)
		return codec_refuse(path, "to", ERR_RANGE, "is missing");
	if (repair && m->object_count == 0)
		return codec_refuse(path, "objects", ERR_RANGE, "is missing");
	if (m->kind == DIRECTIVE_PACKAGE_ORDER && !m->order)
		return codec_refuse(path, "order", ERR_RANGE, "is missing");
	if ((m->kind == DIRECTIVE_CONTENT_KEY) != (m->customer && m->customer[0] != '\0'))
		return codec_refuse(path, "customer", ERR_RANGE, "does not go with the kind %s",
			directive_word(m->kind));
	if ((m->kind == DIRECTIVE_MEDIUM_ENDED) != (m->medium_order != 0))
		return codec_refuse(path, "medium_order", ERR_RANGE, "does not go with the kind %s",
			directive_word(m->kind));
	if ((m->kind == DIRECTIVE_RECORD) != (m->medium.size != 0))
		return codec_refuse(path, "medium", ERR_RANGE, "does not go with the kind %s",
			directive_word(m->kind));
	return ERR_OK;
}

static const struct codec_row directive_rows[] = {
	ROW_SCHEMA,
	ROW_ID(directive, publisher, CODEC_REQUIRED),
	ROW_COUNTER(directive, session_id, 1),
	ROW_COUNTER(directive, seq, 0),
	ROW_FIXED(directive, boot, 0),
	ROW_U64(directive, request_id, 0, UINT64_MAX),
	ROW_ENUM(directive, kind, directive_kind, DIRECTIVE_MEDIUM_ENDED),
	ROW_U64(directive, directive_id, 0, UINT64_MAX),
	ROW_FIXED(directive, package, 0),
	ROW_MESSAGE(directive, to, address, 0),
	ROW_U32(directive, retry_after_ms, 0, HEARTBEAT_MAX_MS),
	ROW_TEXT(directive, reason, LIMIT_TEXT, 0),
	ROW_FIXEDS(directive, objects, object_count, LIMIT_MISSING, 0),
	ROW_FIXED_AS(directive, base_package, base, 0),
	ROW_MESSAGE(directive, order, package_order, 0),
	ROW_BYTES(directive, medium, LIMIT_MEDIUM_ENVELOPE, 0),
	ROW_FIXEDS(directive, held, held_count, LIMIT_HOLDINGS, 0),
	ROW_ID(directive, customer, 0),
	ROW_MESSAGE(directive, key, sealed_key, 0),
	ROW_COUNTER(directive, medium_order, 0),
	ROW_AUTH,
};
CODEC_TABLE(directive, directive, .check = directive_check, .limit = LIMIT_DIRECTIVE)
CODEC_DOOR(directive)
