// The command line of one command: positionals and options, taken apart by rows.
//
//   --name VALUE   --name=VALUE   --flag   --   (everything after it is positional)
//
// Options may stand anywhere; a word with one dash is a positional (but for -h). Everything points
// into argv.
#ifndef HELIO_CTL_ARGS_H
#define HELIO_CTL_ARGS_H

#include "proto/base/err.h"

struct option_row {
	const char *name;  // without the dashes
	const char *value; // name of the value for help; NULL: a flag
	const char *help;
};

#define ARGS_MAX 4096
#define ARGS_OPTIONS_MAX 256

struct args_option {
	const char *name;  // of the row
	const char *value; // "" for a flag
};

struct args {
	const char **words; // positionals
	size_t word_count;
	struct args_option *options; // in the order given; repeated ones stand several times
	size_t option_count;
};

// rows[count] and more[more_count] are looked through for each option. Errors: ERR_FORMAT (unknown
// option, value missing or not wanted), ERR_FULL. args_free in every case.
enum err args_parse(const struct option_row *rows, size_t count, const struct option_row *more,
	size_t more_count, int argc, char **argv, struct args *out) MUST_CHECK;
void args_free(struct args *a);

bool args_has(const struct args *a, const char *name);
// The last value given, or otherwise.
const char *args_get(const struct args *a, const char *name, const char *otherwise);
// Takes a decimal number in min..max. Absent: *out is left as it is. Errors: ERR_RANGE.
enum err args_number(const struct args *a, const char *name, uint64_t min, uint64_t max,
	uint64_t *out) MUST_CHECK;
enum err number_parse(
	const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *out) MUST_CHECK;

// A day (2026-11-21), a moment (2026-11-21T12:00, UTC) or unix ms, as unix ms. what: the option's
// name, for the error. Errors: ERR_RANGE.
enum err ctl_moment(const char *text, const char *what, char out[24]) MUST_CHECK;

#endif
