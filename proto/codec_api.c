// The operator's requests and their answers.
#include "proto/codec.h"
#include "proto/message.h"

#include "helio.pb-c.h"
#include <string.h>

static const struct codec_row arg_rows[] = {
	ROW_TEXT(arg, name, LIMIT_ID, CODEC_REQUIRED),
	ROW_TEXT(arg, value, CODEC_API_VALUE_MAX, 0),
};
CODEC_TABLE(arg, arg)

static enum err api_request_check(const struct codec_path *path, const void *message)
{
	const struct api_request *m = message;

	TRY(codec_check_sign_in(path, m->session_id, m->sign_in));
	if ((strcmp(m->verb, "sign-in") == 0) != (m->sign_in != NULL))
		return codec_refuse(path, "verb", ERR_RANGE, "does not go with sign_in");
	return ERR_OK;
}

static const struct codec_row api_request_rows[] = {
	ROW_SCHEMA,
	ROW_ID(api_request, seat, CODEC_REQUIRED),
	ROW_COUNTER(api_request, session_id, 0),
	ROW_COUNTER(api_request, seq, 0),
	ROW_FIXED(api_request, boot, 0),
	ROW_U64(api_request, request_id, 0, UINT64_MAX),
	ROW_TEXT(api_request, verb, LIMIT_ID, CODEC_REQUIRED),
	ROW_MESSAGES(api_request, args, arg_count, arg, LIMIT_ARGS, 0),
	ROW_MESSAGE(api_request, sign_in, sign_in, 0),
	ROW_ID(api_request, answer_level, CODEC_REQUIRED),
	ROW_BYTES(api_request, body, LIMIT_API, 0),
	ROW_AUTH,
};
CODEC_TABLE(api_request, api_request, .check = api_request_check, .limit = LIMIT_API)
CODEC_DOOR(api_request)

static enum err api_answer_check(const struct codec_path *path, const void *message)
{
	const struct api_answer *m = message;

	if (!m->ok && (!m->error_word || !m->error_word[0]))
		return codec_refuse(path, "error_word", ERR_RANGE, "is missing");
	return codec_check_part(path, m->part, m->parts);
}

static const struct codec_row api_answer_rows[] = {
	ROW_SCHEMA,
	ROW_ID(api_answer, seat, CODEC_REQUIRED),
	ROW_COUNTER(api_answer, session_id, 1),
	ROW_COUNTER(api_answer, seq, 0),
	ROW_U64(api_answer, request_id, 0, UINT64_MAX),
	ROW_BOOL(api_answer, ok),
	ROW_TEXT(api_answer, error, LIMIT_TEXT, 0),
	ROW_TEXT(api_answer, error_word, LIMIT_ID, 0),
	ROW_BYTES(api_answer, json, LIMIT_API, 0),
	ROW_U32(api_answer, part, 0, CODEC_PARTS_MAX - 1),
	ROW_U32(api_answer, parts, 1, CODEC_PARTS_MAX),
	ROW_AUTH,
};
CODEC_TABLE(api_answer, api_answer, .check = api_answer_check, .limit = LIMIT_API)
CODEC_DOOR(api_answer)
