// Report: the answer to "send information".
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"

static const struct codec_row display_info_rows[] = {
	ROW_FIXED(display_info, showing_package, 0),
	ROW_TEXT(display_info, showing_image, CODEC_PATH_MAX, 0),
	ROW_U32(display_info, width_px, 0, CODEC_PIXELS_MAX),
	ROW_U32(display_info, height_px, 0, CODEC_PIXELS_MAX),
	ROW_COUNTER(display_info, free_bytes, 0),
	ROW_TEXT(display_info, showing_name, LIMIT_ID, 0),
	ROW_TEXT(display_info, showing_version, CODEC_VERSION_MAX, 0),
	ROW_BOOL(display_info, display_alive),
};
CODEC_TABLE(display_info, display_info)

static const struct codec_row shown_rows[] = {
	ROW_COUNTER(shown, ledger_seq, 0),
	ROW_COUNTER(shown, boot_counter, 0),
	ROW_FIXED(shown, package, 0),
	ROW_TEXT(shown, image, CODEC_PATH_MAX, CODEC_REQUIRED),
	ROW_TIME(shown, from_unix_ms),
	ROW_U32(shown, duration_ms, 0, UINT32_MAX),
	ROW_U32(shown, clock_quality, 1, 3),
	ROW_U32(shown, planned_ms, 0, UINT32_MAX),
	ROW_ENUM_OR_ZERO(shown, result, shown_result, SHOWN_FAILED),
	ROW_TEXT(shown, reason, SHOWN_REASON_MAX, 0),
};
CODEC_TABLE(shown, shown)

static enum err section_check(
	const struct codec_path *path, const char *name, bool present, bool allowed)
{
	if (present && !allowed)
		return codec_refuse(path, name, ERR_RANGE, "stands in a report of another kind");
	return ERR_OK;
}

static enum err report_check(const struct codec_path *path, const void *message)
{
	const struct report *m = message;
	bool data = m->what == INFO_LOGS || m->what == INFO_SCREENSHOT ||
		    m->what == INFO_OUTPUT;

	TRY(codec_check_part(path, m->part, m->parts));
	TRY(section_check(path, "display", m->display != NULL, m->what == INFO_DISPLAY));
	TRY(section_check(path, "usage", m->usage_count > 0, m->what == INFO_USAGE));
	TRY(section_check(path, "holdings", m->holdings != NULL, m->what == INFO_HOLDINGS));
	TRY(section_check(path, "software", m->software_count > 0, m->what == INFO_SOFTWARE));
	TRY(section_check(path, "data", m->data.size > 0, data));
	if (m->what == INFO_DISPLAY && !m->display)
		return codec_refuse(path, "display", ERR_RANGE, "is missing");
	if (m->what == INFO_HOLDINGS && !m->holdings)
		return codec_refuse(path, "holdings", ERR_RANGE, "is missing");
	return ERR_OK;
}

static const struct codec_row report_rows[] = {
	ROW_SCHEMA,
	ROW_ID(report, client_id, CODEC_REQUIRED),
	ROW_COUNTER(report, session_id, 1),
	ROW_COUNTER(report, seq, 0),
	ROW_FIXED(report, boot, 0),
	ROW_COUNTER(report, report_id, 1),
	ROW_U64(report, op_id, 0, UINT64_MAX),
	ROW_ENUM(report, what, info_kind, INFO_OUTPUT),
	ROW_U32(report, part, 0, CODEC_PARTS_MAX - 1),
	ROW_U32(report, parts, 1, CODEC_PARTS_MAX),
	ROW_MESSAGE(report, display, display_info, 0),
	ROW_MESSAGES(report, usage, usage_count, shown, LIMIT_USAGE_ROWS, 0),
	ROW_MESSAGE(report, holdings, holdings, 0),
	ROW_MESSAGES(report, software, software_count, software_version, LIMIT_INVENTORY, 0),
	ROW_BYTES(report, data, LIMIT_REPORT, 0),
	ROW_BOOL(report, truncated),
	ROW_AUTH,
};
CODEC_TABLE(report, report, .check = report_check, .limit = LIMIT_REPORT)
CODEC_DOOR(report)
