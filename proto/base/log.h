// Log: one record a line, on standard error:
//   2026-11-21T05:17:55.123Z helio-agent warn FETCH-STALLED client=f1 package=ab12... why="no bytes for 3 s"
// The id is stable and unique in the tree; scripts and people search for it. Values are
// key=value; a value with a blank or a quote is quoted; control characters are escaped. No secrets,
// and nothing per heartbeat above debug.
#ifndef HELIO_BASE_LOG_H
#define HELIO_BASE_LOG_H

#include "proto/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

// program: borrowed for the life of the process.
void log_init(const char *program, enum log_level level);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
bool log_level_parse(const char *word, enum log_level *out);

// format holds key=value pairs; use log_quote() for values that come from outside.
void log_write(enum log_level level, const char *id, const char *format, ...) PRINTF_LIKE(3, 4);
#define log_debug(id, ...) log_write(LOG_DEBUG, id, __VA_ARGS__)
#define log_info(id, ...) log_write(LOG_INFO, id, __VA_ARGS__)
#define log_warn(id, ...) log_write(LOG_WARN, id, __VA_ARGS__)
#define log_error(id, ...) log_write(LOG_ERROR, id, __VA_ARGS__)

// From now on the newest records are kept in memory too: `bytes` of them. Once, before threads.
void log_keep(size_t bytes);
// Copies the newest kept records, whole, at most size bytes; returns how many bytes.
size_t log_kept(char *out, size_t size);

// Escapes control characters and quotes, and adds the quotes where needed. One of 8 rotating
// buffers of the thread, at most 400 characters of s.
const char *log_quote(const char *s);

// True at most once in every period_ms per gate (a static of the caller): for logs of hostile input.
struct log_gate {
	int64_t next_ms;
	uint64_t suppressed;
};
bool log_gate_open(struct log_gate *g, int64_t now_mono_ms, int64_t period_ms);

#endif
