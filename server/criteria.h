// Criteria: which pictures a customer wants, as an expression over tags and attributes. Pure.
//
//   sea and (city or harbour) and not night
//   orientation = landscape and width >= 1920 and released >= 2026-03-01
//   "old town" or rating > 3 or *
//
//   expression  term joined by `and`, `or`, `not` and parentheses; not binds closest, then and
//   tag         a word of letters, digits . _ - : or a text in double quotes; the picture has that
//   tag comparison  NAME op VALUE, op one of = != < <= > >=
//               NAME is width, height, bytes (numbers), orientation (landscape, portrait, square),
//               title, licence (texts), added, released, expires (dates: YYYY-MM-DD), weight, or
//               the name of a typed tag: a picture tagged rating=4 answers to `rating > 3`.
//               Numbers and dates compare as such when both sides are, texts by letters without
//               regard to case. What a picture does not have equals nothing and is not above or
//               below anything: every comparison with it is false, != too.
//   *           every picture
//
// An empty expression matches nothing: whoever forgot to say what is wanted gets nothing, not
// everything. Words compare without regard to ASCII case.
//
// The expression becomes a small program in postfix order: no recursion, at most CRITERIA_STEPS
// steps and CRITERIA_DEPTH open parentheses. A match also tells the one term that decided, so that
// `image why` can name it (requirement c9.b, c13; peers: "why in, why out").
#ifndef HELIO_SERVER_CRITERIA_H
#define HELIO_SERVER_CRITERIA_H

#include "proto/base/err.h"
#include "proto/limits.h"

#define CRITERIA_STEPS 256
#define CRITERIA_DEPTH 32

// What is known of a picture. Texts are borrowed and never NULL.
struct criteria_picture {
	const char *title, *licence;
	const char *const *tags;
	size_t tag_count;
	uint32_t width_px, height_px, weight;
	uint64_t size_bytes;
	int64_t added_unix_ms, released_unix_ms, expires_unix_ms; // 0: not set
};

enum criteria_op {
	CRITERIA_TAG,
	CRITERIA_ALL, // *
	CRITERIA_EQUAL,
	CRITERIA_UNEQUAL,
	CRITERIA_BELOW,
	CRITERIA_AT_MOST,
	CRITERIA_ABOVE,
	CRITERIA_AT_LEAST,
	CRITERIA_NOT,
	CRITERIA_AND,
	CRITERIA_OR
};

struct criteria_step {
	enum criteria_op op;
	uint16_t at, size;    // where the term stands in the expression
	uint16_t name, value; // offsets in `words`: tag or attribute; what it is compared with
};

struct criteria {
	struct criteria_step steps[CRITERIA_STEPS];
	size_t step_count; // 0: matches nothing
	char text[LIMIT_EXPRESSION + 1];
	char words[LIMIT_EXPRESSION + CRITERIA_STEPS + 1]; // each ends with NUL
	size_t words_size;
};

// The term that decided: a part of criteria.text.
struct criteria_why {
	uint16_t at, size;
	bool holds; // whether that term holds for the picture
};

// Errors: ERR_FORMAT with a sentence that names the place ("column 9: a tag is missing after
// `and`"), ERR_RANGE when it is too long or too deep. The empty expression is not an error.
enum err criteria_parse(const char *expression, struct criteria *out) MUST_CHECK;

// why may be NULL; of a criteria without steps it has size 0.
bool criteria_match(
	const struct criteria *c, const struct criteria_picture *p, struct criteria_why *why);

// Every term in the order of the expression that is a tag, for warnings about tags that no picture
// has: sets *tag (borrowed from c) and returns true, from *cursor = 0 on.
bool criteria_next_tag(const struct criteria *c, size_t *cursor, const char **tag);

// Milliseconds of the beginning of a day "YYYY-MM-DD" in UTC. False when it is no date.
bool criteria_date(const char *text, int64_t *unix_ms);

#endif
