// What a publisher says, and what it is told.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_publisher_msg, &codec_directive)
