// Roots, enrolments, commands, host states.
#include "tests/fuzz/fuzz_codec.h"

FUZZ_CODECS(&codec_root, &codec_enrolment, &codec_signed_command, &codec_medium,
	&codec_medium_return, &codec_host_state)
