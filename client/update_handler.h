// The contract of what installs software: five verbs, each of which may be cut and done again.
//
//   prepare    before anything is touched: may this be installed here, and what runs now (token)
//   install    the new one is written, and is what starts next
//   verify     in the trial: the new one is what runs. It may be asked often
//   commit     the new one stays
//   roll back  what the token names is what starts next, however far install came
//
// A verb is a row of steps; each is a program (argv, no shell) or work of ours in the pool. plan()
// and judge() are pure; only work() touches the device. Nothing here knows of states or heartbeats.
#ifndef HELIO_CLIENT_UPDATE_HANDLER_H
#define HELIO_CLIENT_UPDATE_HANDLER_H

#include "client/depot.h"
#include "client/update_rows.h"

enum update_verb {
	UPDATE_PREPARE,
	UPDATE_INSTALL,
	UPDATE_VERIFY,
	UPDATE_COMMIT,
	UPDATE_ROLL_BACK,
	UPDATE_VERBS
};

// What a verb is given. Strings are borrowed for as long as the verb lasts.
struct update_call {
	enum update_verb verb;
	const struct update_row *row;
	const char *name, *version, *token;
	struct digest package;
	uint32_t tries; // of this verb's state: 1 the first time
	char folder[DEPOT_PATH]; // of the package's files
	char image[DEPOT_PATH];  // the one file that has the handler's suffix, "" when it has none
};

// What a verb found.
struct update_said {
	char token[UPDATE_TOKEN_MAX + 1]; // prepare: what runs now
	bool old_runs; // verify: what ran before was started instead; roll back: no restart is
		       // needed
	bool new_runs; // install: it was cut when all was done, and the new one was started: the
		       // rest of the verb is not done again
	char text[LIMIT_TEXT]; // of a failure
};

// How a program ended.
struct update_end {
	bool timed_out;
	int exit_code, signal; // signal: 0, it ended by itself
	struct bytes output;   // its end, at most UPDATE_OUTPUT bytes
};

// What the end of a step says of the verb.
enum update_verdict {
	VERDICT_GOOD,
	VERDICT_BAD,    // the release is to blame: the verb failed, which costs a penalty
	VERDICT_UNSURE, // the device is: nothing was found out. The verb is done again a few times,
			// and then fails without a penalty
	VERDICT_DEVICE  // the device is, and a moment changes nothing: it fails so at once
};

enum update_plan {
	PLAN_END,     // the verb is through
	PLAN_PROGRAM, // argv
	PLAN_WORK     // work()
};

struct update_argv {
	const char *argv[AGENT_COMMAND_ARGS + 8];
	size_t argc;
	char text[80]; // for words that are made
};

struct update_handler {
	const char *word;
	const char *program;         // when the settings name none; NULL: they must
	const char *suffix;          // of the image in the package; NULL: the folder is what counts
	enum update_restart restart; // when the settings name none
	bool takes_root, wants_rollback;
	enum update_plan (*plan)(
		const struct update_call *call, unsigned step, struct update_argv *out);
	// In the pool. Errors fail the verb, with err_text(); see update_weigh_error().
	enum err (*work)(const struct update_call *call, struct update_said *said);
	// Of a program's end; NULL: update_weigh().
	enum update_verdict (*weigh)(
		const struct update_call *call, unsigned step, const struct update_end *end);
	// Of a program that ended well; NULL: that is enough. Errors: it did not say what is asked.
	enum err (*judge)(const struct update_call *call, unsigned step, struct bytes output,
		struct update_said *said);
};

#define UPDATE_OUTPUT 8192
#define UPDATE_EXIT_UNSURE 75 // EX_TEMPFAIL of sysexits.h

const char *update_verb_word(enum update_verb v);
// NULL: none has this word.
const struct update_handler *update_handler_find(const char *word);
// The row's program, and behind it the words of the list that ends with NULL.
enum update_plan update_program(
	const struct words *program, struct update_argv *out, const char *const *more);
// Finds the image: exactly one file of the folder, at any depth, ends with suffix.
// Errors: ERR_NOT_FOUND, ERR_FORMAT (more than one), ERR_IO.
enum err update_image_find(const char *folder, const char *suffix, char out[DEPOT_PATH]) MUST_CHECK;
// Every byte of the package against its signed manifest. In the pool. Errors: ERR_CORRUPT, ERR_IO,
// those of a manifest.
enum err update_package_check(const struct depot *s, const struct digest *id) MUST_CHECK;

// 0 is good, UPDATE_EXIT_UNSURE is unsure, and so is who was killed from outside or speaks of a
// full disk and the like; all else is bad.
enum update_verdict update_weigh(const struct update_end *end);
// Of work of ours: a full or read-only disk is VERDICT_DEVICE.
enum update_verdict update_weigh_error(enum err e);
bool update_says(struct bytes output, const char *text);

extern const struct update_handler update_symlink, update_rauc, update_swupdate, update_script;

// update_rauc.c: the slot that `rauc status --output-format=shell` calls booted. Errors:
// ERR_FORMAT.
enum err rauc_booted(struct bytes output, char *slot, size_t size) MUST_CHECK;

#endif
