// What `mosquitto_sub -F '%t %x'` prints, made readable: a topic of the table and a payload in hex
// become a JSON object with the words and units of message.h. No key is needed: what is shown is
// what was said, not what may be believed. Only `verify` keys, where given, are checked.
#ifndef HELIO_CTL_DECODE_H
#define HELIO_CTL_DECODE_H

#include "proto/message.h"
#include "proto/topics.h"
#include "server/ctl/json.h"
#include "server/ctl/term.h"

#define DECODE_LINE_MAX (2 * LIMIT_PACKET + LIMIT_TOPIC + 64)

struct decoder {
	struct arena arena;
	struct buf payload;
	// Keys to check signatures against; none: nothing is checked.
	const struct root *root;
};

void decoder_init(struct decoder *d);
void decoder_fini(struct decoder *d);

// One line: "topic hex". *out is the caller's. Errors: ERR_FORMAT, ERR_RANGE and those of the
// codecs, with a sentence.
enum err decode_line(struct decoder *d, const char *line, size_t size, cJSON **out) MUST_CHECK;
enum err decode_message(
	struct decoder *d, const char *topic, struct bytes payload, cJSON **out) MUST_CHECK;

// One line, and one indented line for each element of a list (at most `rows` of them).
void decode_print(const struct term *t, const cJSON *message, size_t rows);

// ---- messages as JSON, also for other commands

void state_view_json(cJSON *j, const struct state_view *m);

#endif
