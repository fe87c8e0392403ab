// The closed list of verbs; see command_table.h.
#include "client/command_table.h"

#include <string.h>

static const struct command_row rows[] = {
	{"ping", COMMAND_CORE, 0, 0, "answers"},
	{"identify", COMMAND_CORE, 0, 0, "tells client, version, session and address"},
	{"resync", COMMAND_CORE, 0, 0, "the next heartbeats carry everything held"},
	{"control", COMMAND_CORE, 1, 2,
		"pause|resume|rate BYTES|close|epoch N: what became of its channel, from the "
		"server"},
	{"rotate-key", COMMAND_CORE, 0, 0, "a new identity key for the same client"},
	{"cancel", COMMAND_CORE, 1, 1, "OP: gives up the open operation OP"},
	{"show", COMMAND_DISPLAY, 1, 1,
		"NAME or PICTURE: a package held, or a picture of the one shown"},
	{"pause", COMMAND_DISPLAY, 0, 0, "the display stays on its picture"},
	{"resume", COMMAND_DISPLAY, 0, 0, "the display goes on"},
	{"restart-display", COMMAND_DISPLAY, 0, 0,
		"ends the display; its supervisor starts it again"},
	{"reboot", COMMAND_DEVICE, 0, 0, "starts the device anew; what is at work may defer it"},
	{"allow-update", COMMAND_STORE, 1, 1,
		"NAME or PACKAGE: software that failed here may be tried again"},
	{"clear-cache", COMMAND_STORE, 0, 0, "removes unfinished downloads and what no slot names"},
};

const struct command_row *command_rows(size_t *count)
{
	*count = sizeof rows / sizeof rows[0];
	return rows;
}

const struct command_row *command_row_find(const char *verb)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (strcmp(rows[i].verb, verb) == 0)
			return &rows[i];
	}
	return NULL;
}
