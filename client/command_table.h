// The closed list of verbs. What is not in it, and not named by the operator in the settings, is
// refused; there is no shell anywhere.
#ifndef HELIO_CLIENT_COMMAND_TABLE_H
#define HELIO_CLIENT_COMMAND_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum command_place {
	COMMAND_CORE,    // answered by the core itself
	COMMAND_DISPLAY, // written for the display
	COMMAND_STORE,   // works on the store
	COMMAND_DEVICE,  // changes the device itself
};

struct command_row {
	const char *verb;
	enum command_place place;
	size_t args_min, args_max;
	const char *help;
};

// NULL: not a verb of ours (it may be one that the settings name).
const struct command_row *command_row_find(const char *verb);
const struct command_row *command_rows(size_t *count);

#endif
