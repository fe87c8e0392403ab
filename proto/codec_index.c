// What lies on a broker: the index and its pages.
#include "proto/codec.h"
#include "proto/content.h"
#include "proto/message.h"

#include "helio.pb-c.h"

static enum err object_check(const struct codec_path *path, const void *message)
{
	const struct object *m = message;

	if (m->base_count != m->base_size_count)
		return codec_refuse(path, "base_sizes", ERR_RANGE,
			"has %zu elements for %zu base_chunks", m->base_size_count, m->base_count);
	if (coding_has_base(m->coding) != (m->base_count + m->own_run_count > 0))
		return codec_refuse(path, "base_chunks", ERR_RANGE, "does not go with the coding");
	if (m->own_run_count % 2 != 0)
		return codec_refuse(path, "own_runs", ERR_RANGE, "ends in the middle of a pair");
	if (m->coding == CODING_RAW)
		return ERR_OK;
	if (digest_is_zero(&m->sha256) || m->size_bytes == 0)
		return codec_refuse(path, NULL, ERR_RANGE, "lacks sha256 or size_bytes");
	return ERR_OK;
}

static const struct codec_row object_rows[] = {
	ROW_FIXED(object, sha256, 0),
	ROW_U32(object, size_bytes, 0, LIMIT_OBJECT),
	ROW_ENUM(object, coding, coding, CODING_BSDIFF_ZSTD),
	ROW_U32(object, first_chunk, 0, CODEC_PAGE_ENTRIES_MAX - 1),
	ROW_U32(object, chunk_count, 0, CODEC_PAGE_ENTRIES_MAX),
	ROW_FIXEDS(object, base_chunks, base_count, CODEC_PAGE_ENTRIES_MAX, 0),
	ROW_U32S(object, base_sizes, base_size_count, CODEC_PAGE_ENTRIES_MAX, 1, LIMIT_CHUNK),
	ROW_U32S(object, own_runs, own_run_count, OBJECT_OWN_RUNS_MAX, 0, CODEC_PAGE_ENTRIES_MAX),
};
CODEC_TABLE(object, object, .check = object_check)

static const struct codec_row index_page_ref_rows[] = {
	ROW_FIXED(index_page_ref, sha256, CODEC_REQUIRED),
	ROW_U32(index_page_ref, size_bytes, 1, LIMIT_INDEX_PAGE),
	ROW_MESSAGE(index_page_ref, object, object, CODEC_REQUIRED),
};
CODEC_TABLE(index_page_ref, index_page_ref)

static const struct codec_row index_rows[] = {
	ROW_SCHEMA,
	ROW_FIXED(index, package, CODEC_REQUIRED),
	ROW_FIXED_AS(index, base_package, base, 0),
	ROW_U32(index, object_count, 0, UINT32_MAX),
	ROW_COUNTER(index, object_bytes, 0),
	ROW_MESSAGES(index, page_objects, page_object_count, object, LIMIT_PAGES, 0),
	ROW_MESSAGES(index, pages, page_count, index_page_ref, LIMIT_PAGES, CODEC_REQUIRED),
};
CODEC_TABLE(index, index, .limit = LIMIT_INDEX, .unknown_allowed = true)
CODEC_DOOR(index)

static const struct codec_row index_page_rows[] = {
	ROW_SCHEMA,
	ROW_MESSAGES(index_page, objects, object_count, object, CODEC_PAGE_ENTRIES_MAX, 0),
	ROW_FIXED(index_page, salt, 0),
};
// The shortest object, a RAW chunk, is 8 bytes on the wire and 80 in memory; every delta object has
// two lists.
CODEC_TABLE(index_page, index_page, .limit = LIMIT_INDEX_PAGE, .factor = 12, .allocations = 16384,
	.unknown_allowed = true)
CODEC_DOOR(index_page)
