// Wants and grants from anybody.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_want, &codec_grant)
