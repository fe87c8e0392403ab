// Responses, and their bodies as they lie in the store.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_response, &codec_response_body)
