// Want and grant: a client asks for a package, the server says from where and how fast.
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"

static const struct codec_row fetch_request_rows[] = {
	ROW_FIXED(fetch_request, package, CODEC_REQUIRED),
	ROW_ID(fetch_request, publisher, 0),
	ROW_U64(fetch_request, request_id, 1, UINT64_MAX),
	ROW_U32(fetch_request, chunks_have, 0, UINT32_MAX),
	ROW_U32(fetch_request, chunks_total, 0, UINT32_MAX),
	ROW_FIXEDS(fetch_request, missing_objects, missing_count, LIMIT_MISSING, 0),
	ROW_ID(fetch_request, failed_broker, 0),
	ROW_FIXED_AS(fetch_request, base_package, base, 0),
};
CODEC_TABLE(fetch_request, fetch_request)

static enum err fetch_release_check(const struct codec_path *path, const void *message)
{
	const struct fetch_release *m = message;

	if (m->outcome == OP_DONE || m->outcome == OP_FAILED || m->outcome == OP_CANCELLED)
		return ERR_OK;
	return codec_refuse(path, "outcome", ERR_RANGE, "is %s, not done, failed or cancelled",
		op_status_word(m->outcome));
}

static const struct codec_row fetch_release_rows[] = {
	ROW_FIXED(fetch_release, package, CODEC_REQUIRED),
	ROW_U64(fetch_release, lease, 0, UINT64_MAX),
	ROW_ENUM(fetch_release, outcome, op_status, OP_UNKNOWN),
	ROW_U64(fetch_release, request_id, 1, UINT64_MAX),
};
CODEC_TABLE(fetch_release, fetch_release, .check = fetch_release_check)

static enum err want_check(const struct codec_path *path, const void *message)
{
	const struct want *m = message;

	if ((m->fetch != NULL) != (m->release != NULL))
		return ERR_OK;
	return codec_refuse(path, NULL, ERR_RANGE,
		m->fetch ? "has both fetch and release" : "has neither fetch nor release");
}

static const struct codec_row want_rows[] = {
	ROW_SCHEMA,
	ROW_ID(want, client_id, CODEC_REQUIRED),
	ROW_COUNTER(want, session_id, 1),
	ROW_COUNTER(want, seq, 0),
	ROW_FIXED(want, boot, 0),
	ROW_MESSAGE(want, fetch, fetch_request, 0),
	ROW_MESSAGE(want, release, fetch_release, 0),
	ROW_AUTH,
};
CODEC_TABLE(want, want, .check = want_check, .limit = LIMIT_WANT)
CODEC_DOOR(want)

static enum err grant_check(const struct codec_path *path, const void *message)
{
	const struct grant *m = message;
	static const struct key32 none;

	if (!m->granted)
		return m->from ? codec_refuse(path, "from", ERR_RANGE, "stands in a refusal")
			       : ERR_OK;
	if (!m->from)
		return codec_refuse(path, "from", ERR_RANGE, "is missing");
	if (m->lease == 0 || m->ttl_ms == 0 || m->window == 0)
		return codec_refuse(path, NULL, ERR_RANGE, "lacks lease, ttl_ms or window");
	if (!m->publisher || !m->publisher[0])
		return codec_refuse(path, "publisher", ERR_RANGE, "is missing");
	if (bytes_equal(bytes_of(m->publisher_key.b, 32), bytes_of(none.b, 32)))
		return codec_refuse(path, "publisher_key", ERR_RANGE, "is missing");
	return ERR_OK;
}

static const struct codec_row grant_rows[] = {
	ROW_SCHEMA,
	ROW_ID(grant, client_id, CODEC_REQUIRED),
	ROW_COUNTER(grant, session_id, 1),
	ROW_COUNTER(grant, seq, 0),
	ROW_FIXED(grant, boot, 0),
	ROW_U64(grant, request_id, 0, UINT64_MAX),
	ROW_FIXED(grant, package, CODEC_REQUIRED),
	ROW_BOOL(grant, granted),
	ROW_TEXT(grant, reason, LIMIT_TEXT, 0),
	ROW_U32(grant, retry_after_ms, 0, HEARTBEAT_MAX_MS),
	ROW_MESSAGE(grant, from, address, 0),
	ROW_U64(grant, lease, 0, UINT64_MAX),
	ROW_U32(grant, ttl_ms, 0, UINT32_MAX),
	ROW_COUNTER(grant, rate_bytes_per_s, 0),
	ROW_U32(grant, window, 0, FETCH_WINDOW_MAX),
	ROW_ID(grant, publisher, 0),
	ROW_FIXED(grant, publisher_key, 0),
	ROW_FIXED(grant, index_base, 0),
	ROW_BOOL(grant, release_acked),
	ROW_COUNTER(grant, window_bytes, 0),
	ROW_AUTH,
};
CODEC_TABLE(grant, grant, .check = grant_check, .limit = LIMIT_GRANT)
CODEC_DOOR(grant)
