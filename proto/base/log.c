// One record is made in one buffer and written with one write, so that lines of several threads
// and processes do not mix.
#include "proto/base/log.h"

#include "proto/base/clock.h"
#include "proto/base/text.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic int threshold = LOG_INFO;
static const char *program_name = "";
static const char *const level_words[] = { "debug", "info", "warn", "error" };

void log_init(const char *program, enum log_level level)
{
	program_name = program;
	atomic_store(&threshold, (int)level);
}

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load(&threshold);
}

bool log_level_parse(const char *word, enum log_level *out)
{
	for (int i = 0; i < 4; i++) {
		if (strcmp(word, level_words[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

// ---- the newest records, for whoever asks later

static struct {
	pthread_mutex_t lock;
	char *ring;
	size_t size, total; // total: ever written
} kept = { .lock = PTHREAD_MUTEX_INITIALIZER };

void log_keep(size_t bytes)
{
	if (!kept.ring)
		kept.ring = calloc(1, bytes);
	kept.size = kept.ring ? bytes : 0;
}

static void record_keep(const char *line, size_t size)
{
	if (!kept.ring || size > kept.size)
		return;
	pthread_mutex_lock(&kept.lock);
	size_t at = kept.total % kept.size, first = kept.size - at;
	if (first > size)
		first = size;
	memcpy(kept.ring + at, line, first);
	memcpy(kept.ring, line + first, size - first);
	kept.total += size;
	pthread_mutex_unlock(&kept.lock);
}

size_t log_kept(char *out, size_t size)
{
	if (!kept.ring)
		return 0;
	pthread_mutex_lock(&kept.lock);
	size_t have = kept.total < kept.size ? kept.total : kept.size;
	size_t take = have < size ? have : size;
	for (size_t i = 0; i < take; i++)
		out[i] = kept.ring[(kept.total - take + i) % kept.size];
	bool is_cut = take < kept.total;
	pthread_mutex_unlock(&kept.lock);
	// Where the ring has overwritten the beginning of a record, the record is left out.
	char *newline = is_cut ? memchr(out, '\n', take) : NULL;
	size_t skip = newline ? (size_t)(newline - out) + 1 : 0;
	memmove(out, out + skip, take - skip);
	return take - skip;
}

void log_write(enum log_level level, const char *id, const char *format, ...)
{
	if ((int)level < atomic_load(&threshold))
		return;
	char line[2048], when[32];
	va_list args;

	wall_format(clock_now().wall, when);
	int head = snprintf(line, sizeof(line) - 1, "%s %s %s %s ", when, program_name,
		level_words[level], id);
	va_start(args, format);
	int body = vsnprintf(line + head, sizeof(line) - 1 - (size_t)head, format, args);
	va_end(args);
	size_t size = (size_t)head + (body > 0 ? (size_t)body : 0);
	if (size > sizeof(line) - 2)
		size = text_whole(line, sizeof(line) - 2);
	text_blank(line, size); // a value that came past log_quote makes no second line
	line[size++] = '\n';
	record_keep(line, size);
	ssize_t written = write(STDERR_FILENO, line, size);
	(void)written;
}

static bool is_plain(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++) {
		if ((unsigned char)*s <= ' ' || *s == '"' || *s == '\\' || (unsigned char)*s >= 0x7f)
			return false;
	}
	return true;
}

// What stands for one character that may not stand there itself: at most four bytes for each byte.
static size_t escape_put(char *out, uint32_t c, unsigned char byte)
{
	if (c == '"' || c == '\\')
		return (size_t)snprintf(out, 3, "\\%c", (char)c);
	if (c == 0xfffd || c < 0x20 || c == 0x7f)
		return (size_t)snprintf(out, 5, "\\x%02x", byte);
	return (size_t)snprintf(out, 11, "\\u{%x}", (unsigned)c);
}

const char *log_quote(const char *s)
{
	static _Thread_local char slots[8][1700];
	static _Thread_local unsigned next;
	char *out = slots[next++ % 8];
	size_t at = 0, size = strnlen(s, 401);

	if (size <= 400 && is_plain(s)) {
		memcpy(out, s, size + 1);
		return out;
	}
	size = (size_t)text_most(s, 400);
	out[at++] = '"';
	for (size_t i = 0, n; i < size; i += n) {
		uint32_t c = text_next(s + i, size - i, &n);

		if (c == '"' || c == '\\' || (c == 0xfffd && n == 1) || text_is_hostile(c)) {
			at += escape_put(out + at, c, (unsigned char)s[i]);
		} else {
			memcpy(out + at, s + i, n);
			at += n;
		}
	}
	out[at++] = '"';
	out[at] = '\0';
	return out;
}

bool log_gate_open(struct log_gate *g, int64_t now_mono_ms, int64_t period_ms)
{
	if (now_mono_ms < g->next_ms) {
		g->suppressed++;
		return false;
	}
	g->next_ms = now_mono_ms + period_ms;
	g->suppressed = 0;
	return true;
}
