// Views of the server.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_state_view, &codec_queue_view, &codec_media_order, &codec_data_server_load)
