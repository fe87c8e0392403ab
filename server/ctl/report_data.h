// The bytes of a report: logs, screenshots and outputs come as base64.
#ifndef HELIO_CTL_REPORT_DATA_H
#define HELIO_CTL_REPORT_DATA_H

#include "proto/base/mem.h"

// Appends to out. Errors: ERR_FORMAT, ERR_FULL, ERR_MEMORY.
enum err report_data_decode(const char *base64, struct buf *out) MUST_CHECK;
enum err report_data_write(struct bytes data, const char *path) MUST_CHECK;
// Line by line onto stdout: nothing a device said may move the cursor.
void report_lines_show(struct bytes text);

#endif
