// Reports from anybody.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_report)
