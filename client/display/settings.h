// The settings of helio-display.
#ifndef HELIO_DISPLAY_SETTINGS_H
#define HELIO_DISPLAY_SETTINGS_H

#include "proto/base/program.h"

struct display_settings {
	char log_level[LOG_LEVEL_ROOM];
	char folder[512];
	char client_id[65];
	bool windowed;
	uint32_t width, height, fps, screen;
	char rotate[4];
	char time_zone[65];
	char renderer[16];
	char screenshot[512];
	uint32_t ledger_mib;
};

extern const struct setting display_rows[];
extern const size_t display_row_count;

#endif
