// What is not well, and the line that mends it: written by the probe and by whoever looks, read by
// `doctor` and the log.
#ifndef HELIO_SERVER_FINDINGS_H
#define HELIO_SERVER_FINDINGS_H

#include "proto/message.h"

enum finding_level {
	FINDING_OK = 1,
	FINDING_WARN,
	FINDING_ERROR
};

struct finding {
	enum finding_level level;
	char where[LIMIT_ID + 1]; // broker, or ""
	char id[LIMIT_ID + 1];    // "PROBE-NODELAY"
	char what[LIMIT_TEXT + 1], mend[LIMIT_TEXT + 1];
};

#define FINDINGS_MAX 512

struct findings {
	struct finding items[FINDINGS_MAX];
	size_t count;
};

const char *finding_level_word(enum finding_level l);
// A later finding of the same id and place takes the place of the earlier one. Full: forgotten.
void finding_add(struct findings *f, enum finding_level level, const char *where, const char *id,
	const char *what, const char *mend);
// And says it in the log.
void finding_tell(struct findings *f, enum finding_level level, const char *where, const char *id,
	const char *what, const char *mend);
void findings_forget(struct findings *f, const char *where);
bool findings_have_error(const struct findings *f, const char *where);

#endif
