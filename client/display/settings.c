// Rows decide.
#include "client/display/settings.h"

#define AT(member) .offset = offsetof(struct display_settings, member), \
	.size = sizeof(((struct display_settings *)0)->member)

const struct setting display_rows[] = {
	{ .section = "log", .key = "level", .type = SETTING_WORD, AT(log_level), .def = "info",
		.words = "debug|info|warn|error", .help = "what is logged; read again on SIGHUP" },
	{ .section = "display", .key = "folder", .type = SETTING_PATH, AT(folder), .min = 1,
		.help = "where the agent puts the playlist: its state_dir/display" },
	{ .section = "display", .key = "client_id", .type = SETTING_STRING, AT(client_id), .def = "",
		.help = "name on the waiting picture" },
	{ .section = "display", .key = "windowed", .type = SETTING_BOOL, AT(windowed), .def = "no",
		.help = "a window instead of the whole screen" },
	{ .section = "display", .key = "width", .type = SETTING_U32, AT(width), .min = 64, .max = 16384,
		.def = "1280", .help = "of the window, pixels" },
	{ .section = "display", .key = "height", .type = SETTING_U32, AT(height), .min = 64,
		.max = 16384, .def = "720", .help = "of the window, pixels" },
	{ .section = "display", .key = "fps", .type = SETTING_U32, AT(fps), .min = 1, .max = 120,
		.def = "60", .help = "frames a second while a picture fades in" },
	{ .section = "display", .key = "screen", .type = SETTING_U32, AT(screen), .max = 15, .def = "0",
		.help = "number of the screen" },
	{ .section = "display", .key = "renderer", .type = SETTING_WORD, AT(renderer), .def = "auto",
		.words = "auto|software", .help = "software: never ask for graphics hardware" },
	{ .section = "display", .key = "screenshot", .type = SETTING_PATH, AT(screenshot), .def = "",
		.help = "what SIGUSR1 writes; empty: folder/screenshot.png" },
	{ .section = "display", .key = "ledger_mib", .type = SETTING_U32, AT(ledger_mib), .min = 1,
		.max = 1024, .def = "16", .help = "size of each of the two parts of shown.log" },
};
const size_t display_row_count = sizeof(display_rows) / sizeof(display_rows[0]);
