// Heartbeats and offers from anybody.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_heartbeat, &codec_session_offer)
