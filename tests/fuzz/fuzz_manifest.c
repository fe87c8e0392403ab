// Manifest roots and pages: signed, and still not believed.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_manifest, &codec_manifest_page)
