// Indexes and their pages: signed, and still not believed.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_index, &codec_index_page)
