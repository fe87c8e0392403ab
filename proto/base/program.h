// What every program does the same way: --help --version --check-config --config FILE,
// SIGTERM and SIGINT end it within 5 s, SIGHUP reads its log level again.
#ifndef HELIO_BASE_PROGRAM_H
#define HELIO_BASE_PROGRAM_H

#include "proto/base/settings.h"
#include <uv.h>

#define HELIO_VERSION "0.1.0"

// Exit codes of every program; scripts may rely on them.
enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,      // it was tried and did not work
	EXIT_USAGE = 2,       // the command line or the settings are wrong
	EXIT_UNREACHABLE = 3, // nobody answered in time
	EXIT_REFUSED = 4,     // the other side said no
	EXIT_NOT_FOUND = 5,
};

// The row that every program has; `field` is a char[LOG_LEVEL_ROOM] of `type`.
#define LOG_LEVEL_ROOM 8
#define LOG_LEVEL_ROW(type, field, def)                                                            \
	{                                                                                          \
		"log", "level", SETTING_WORD, SETTING_AT(type, field), 1, 0, def,                  \
			"debug|info|warn|error", "least level that is written to standard error"   \
	}

struct program {
	const char *name, *about;
	const struct setting *rows; // must hold a row "log" "level"
	size_t row_count;
	void *settings;          // zeroed; filled by program_start
	size_t log_level_offset; // of the char[] for the log level in settings
	// May be NULL: further checks of the settings, at the start and for --check-config. Sets
	// err_text; a sentence that begins with "[section] key" is shown with file and line.
	enum err (*check)(const void *settings);
};

// Parses the command line. Returns true to go on; false to exit with *exit_code (help, version,
// check-config, errors). Initialises the log. The config file's path is kept in program_config().
bool program_start(struct program *p, int argc, char **argv, int *exit_code);
const char *program_config(void);

// Installs signal handlers on the loop: stop(data) once on SIGTERM/SIGINT; a second one, or 5 s
// without the loop ending, ends the process with EXIT_FAILED. Looks at the descriptors once a second
// (descriptors.h).
void program_signals(struct program *p, uv_loop_t *loop, void (*stop)(void *data), void *data);
// Closes the handles above, so that uv_run can return.
void program_signals_close(void);

#endif
