// What a package is: the root and its pages. content.c checks what one message alone cannot show.
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"
#include "proto/base/file.h"

static const struct codec_row page_ref_rows[] = {
	ROW_FIXED(page_ref, sha256, CODEC_REQUIRED),
	ROW_U32(page_ref, size_bytes, 1, LIMIT_PAGE),
	ROW_U32(page_ref, chunk_count, 0, CODEC_PAGE_ENTRIES_MAX),
	ROW_U32(page_ref, file_count, 0, CODEC_PAGE_ENTRIES_MAX),
};
CODEC_TABLE(page_ref, page)

static enum err show_defaults_check(const struct codec_path *path, const void *message)
{
	const struct show_defaults *m = message;

	TRY(codec_check_fit(path, m->fit));
	TRY(codec_check_order(path, m->order));
	return codec_check_time_zone(path, m->time_zone);
}

static const struct codec_row show_defaults_rows[] = {
	ROW_U32(show_defaults, duration_ms, 0, HEARTBEAT_MAX_MS),
	ROW_U32(show_defaults, transition_ms, 0, HEARTBEAT_MAX_MS),
	ROW_TEXT(show_defaults, fit, LIMIT_ID, 0),
	ROW_U32(show_defaults, background_rgb, 0, 0xffffff),
	ROW_TEXT(show_defaults, order, LIMIT_ID, 0),
	ROW_COUNTER(show_defaults, seed, 0),
	ROW_TEXT(show_defaults, time_zone, LIMIT_ID, 0),
};
CODEC_TABLE(show_defaults, show_defaults, .check = show_defaults_check)

static enum err show_group_check(const struct codec_path *path, const void *message)
{
	const struct show_group *m = message;

	TRY(codec_check_fit(path, m->fit));
	return codec_check_validity(path, m->from_unix_ms, m->until_unix_ms);
}

static const struct codec_row show_group_rows[] = {
	ROW_ID(show_group, plan, 0),
	ROW_U32(show_group, duration_ms, 0, HEARTBEAT_MAX_MS),
	ROW_TEXT(show_group, fit, LIMIT_ID, 0),
	ROW_U32(show_group, weight, 0, LIMIT_WEIGHT),
	ROW_TIME(show_group, from_unix_ms),
	ROW_TIME(show_group, until_unix_ms),
	ROW_MESSAGES(show_group, dayparts, daypart_count, daypart, LIMIT_DAYPARTS, 0),
};
CODEC_TABLE(show_group, show_group, .check = show_group_check)

static const struct codec_row manifest_rows[] = {
	ROW_SCHEMA,
	ROW_ENUM(manifest, kind, package_kind, PACKAGE_SOFTWARE),
	ROW_ID(manifest, name, CODEC_REQUIRED),
	ROW_TEXT(manifest, version, CODEC_VERSION_MAX, CODEC_REQUIRED),
	ROW_TEXT(manifest, product, LIMIT_ID, 0),
	ROW_TEXT(manifest, hw_class, LIMIT_ID, 0),
	ROW_COUNTER(manifest, security_counter, 0),
	ROW_U32(manifest, file_count, 1, LIMIT_FILES),
	ROW_COUNTER(manifest, size_bytes, 0),
	ROW_U32(manifest, chunk_count, 0, LIMIT_PAGES *CODEC_PAGE_ENTRIES_MAX),
	ROW_MESSAGES(manifest, pages, page_count, page_ref, LIMIT_PAGES, CODEC_REQUIRED),
	ROW_TEXT(manifest, min_agent, CODEC_VERSION_MAX, 0),
	ROW_MESSAGE(manifest, show, show_defaults, 0),
	ROW_MESSAGES(manifest, groups, group_count, show_group, LIMIT_PLANS, 0),
	ROW_FIXED(manifest, key_id, 0),
};
CODEC_TABLE(manifest, manifest, .limit = LIMIT_MANIFEST_ROOT, .unknown_allowed = true)
CODEC_DOOR(manifest)

static enum err picture_info_check(const struct codec_path *path, const void *message)
{
	const struct picture_info *m = message;

	TRY(codec_check_fit(path, m->fit));
	return codec_check_validity(path, m->from_unix_ms, m->until_unix_ms);
}

static const struct codec_row picture_info_rows[] = {
	ROW_U32(picture_info, width_px, 0, CODEC_PIXELS_MAX),
	ROW_U32(picture_info, height_px, 0, CODEC_PIXELS_MAX),
	ROW_U32(picture_info, duration_ms, 0, HEARTBEAT_MAX_MS),
	ROW_TEXT(picture_info, fit, LIMIT_ID, 0),
	ROW_TEXT(picture_info, title, LIMIT_TEXT, 0),
	ROW_TEXTS(picture_info, tags, tag_count, LIMIT_TAGS, CODEC_TAG_MAX),
	ROW_U32(picture_info, group, 0, LIMIT_PLANS),
	ROW_U32(picture_info, weight, 0, LIMIT_WEIGHT),
	ROW_TIME(picture_info, from_unix_ms),
	ROW_TIME(picture_info, until_unix_ms),
};
CODEC_TABLE(picture_info, picture_info, .check = picture_info_check)

static enum err file_entry_check(const struct codec_path *path, const void *message)
{
	const struct file_entry *m = message;

	if (!path_is_safe(m->path))
		return codec_refuse(
			path, "path", ERR_RANGE, "leaves its folder or has other letters");
	if (m->chunk_sha256.size != 32 * m->chunk_count)
		return codec_refuse(path, "chunk_sha256", ERR_RANGE, "has %zu bytes for %zu chunks",
			m->chunk_sha256.size, m->chunk_count);
	return ERR_OK;
}

static const struct codec_row file_entry_rows[] = {
	ROW_TEXT(file_entry, path, CODEC_PATH_MAX, CODEC_REQUIRED),
	ROW_COUNTER(file_entry, size_bytes, 0),
	ROW_FIXED(file_entry, sha256, CODEC_REQUIRED),
	ROW_BOOL(file_entry, executable),
	ROW_BYTES(file_entry, chunk_sha256, LIMIT_PAGE, 0),
	ROW_U32S(file_entry, chunk_size, chunk_count, CODEC_PAGE_ENTRIES_MAX, 1, LIMIT_CHUNK),
	ROW_BOOL(file_entry, continued),
	ROW_MESSAGE(file_entry, picture, picture_info, 0),
};
CODEC_TABLE(file_entry, file_entry, .check = file_entry_check)

static const struct codec_row manifest_page_rows[] = {
	ROW_SCHEMA,
	ROW_MESSAGES(manifest_page, files, file_count, file_entry, CODEC_PAGE_ENTRIES_MAX,
		CODEC_REQUIRED),
	ROW_FIXED(manifest_page, salt, 0),
};
// A page of small tagged pictures takes up to three allocations a picture.
CODEC_TABLE(manifest_page, manifest_page, .limit = LIMIT_PAGE, .allocations = 8192,
	.unknown_allowed = true)
CODEC_DOOR(manifest_page)
