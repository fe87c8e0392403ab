// Requests of operators and their answers.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_api_request, &codec_api_answer)
