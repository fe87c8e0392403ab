// Choosing lines; see logs.h.
#include "client/logs.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

// ---- the time at the beginning of a line

static int64_t zone_offset_s(const char *text, bool *is_local)
{
	int hours, minutes;
	char sign[2];
	*is_local = false;
	if (*text == 'Z')
		return 0;
	if ((sscanf(text, "%1[+-]%2d:%2d", sign, &hours, &minutes) == 3 ||
		    sscanf(text, "%1[+-]%2d%2d", sign, &hours, &minutes) == 3) &&
		hours <= 14 && minutes < 60)
		return (*text == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	*is_local = true;
	return 0;
}

static int64_t iso_time(const char *text)
{
	struct tm tm = {.tm_isdst = -1};
	int used = 0, ms = 0;
	bool is_local;
	char between;
	if (sscanf(text, "%4d-%2d-%2d%c%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		    &between, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 7 ||
		(between != 'T' && between != ' '))
		return -1;
	text += used;
	if (*text == '.' || *text == ',') {
		text++;
		for (int digit = 100; *text >= '0' && *text <= '9'; digit /= 10)
			ms += digit * (*text++ - '0');
	}
	tm.tm_year -= 1900;
	tm.tm_mon--;
	int64_t offset = zone_offset_s(text, &is_local);
	int64_t s = is_local ? (int64_t)mktime(&tm) : (int64_t)timegm(&tm) - offset;
	return s < 0 ? -1 : s * 1000 + ms;
}

static int64_t syslog_time(const char *text, struct wall now)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm = {.tm_isdst = -1}, today;
	char month[4];
	time_t seconds = (time_t)(now.ms / 1000);
	if (sscanf(text, "%3[A-Za-z] %2d %2d:%2d:%2d", month, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
		    &tm.tm_sec) != 5)
		return -1;
	const char *found = strstr(months, month);
	if (found == NULL || strlen(month) != 3 || (found - months) % 3 != 0 ||
		localtime_r(&seconds, &today) == NULL)
		return -1;
	tm.tm_mon = (int)(found - months) / 3;
	tm.tm_year = today.tm_year;
	struct tm this_year = tm;
	int64_t s = (int64_t)mktime(&this_year);
	if (s > now.ms / 1000 + 86400) { // no log is of tomorrow
		tm.tm_year--;
		s = (int64_t)mktime(&tm);
	}
	return s < 0 ? -1 : s * 1000;
}

int64_t log_line_time(const char *line, size_t size, struct wall now)
{
	char head[48] = "";
	memcpy(head, line, size < sizeof head - 1 ? size : sizeof head - 1);
	if (head[0] >= '0' && head[0] <= '9')
		return iso_time(head);
	return head[0] >= 'A' && head[0] <= 'Z' ? syslog_time(head, now) : -1;
}

// ---- choosing

// The last whole lines of text: at most `lines` (0: any number) and max_bytes.
static struct bytes lines_last(struct bytes text, uint32_t lines, size_t max_bytes, bool *cut)
{
	size_t at = text.size;
	*cut = false;
	if (text.size == 0)
		return text; // it may lie nowhere
	for (uint32_t n = 0; at > 0 && (lines == 0 || n < lines); n++) {
		const uint8_t *before = memrchr(text.data, '\n', at - 1);
		size_t begin = before != NULL ? (size_t)(before - text.data) + 1 : 0;
		if (text.size - begin > max_bytes) {
			*cut = true;
			break;
		}
		at = begin;
	}
	return bytes_of(text.data + at, text.size - at);
}

static uint32_t lines_count(struct bytes text)
{
	uint32_t n = 0;
	for (size_t i = 0; i < text.size; i++)
		n += text.data[i] == '\n';
	return n;
}

static enum err lines_filter(
	struct bytes text, const struct log_question *q, struct wall now, struct buf *out)
{
	const char *at = (const char *)text.data, *end = at + text.size;
	size_t pattern = strlen(q->pattern);
	bool is_late = true;
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t size = (size_t)((newline != NULL ? newline : end) - at);
		int64_t time = q->since_unix_ms > 0 ? log_line_time(at, size, now) : -1;
		if (time >= 0)
			is_late = time >= q->since_unix_ms;
		if (is_late && (pattern == 0 || memmem(at, size, q->pattern, pattern) != NULL)) {
			TRY(buf_append(out, at, size));
			TRY(buf_append(out, "\n", 1));
		}
		at += size + 1;
	}
	return ERR_OK;
}

enum err logs_choose(struct bytes text, bool begins_inside, const struct log_question *q,
	struct wall now, struct buf *out, bool *truncated)
{
	SCOPED_BUF struct buf kept;
	const uint8_t *first = text.size > 0 ? memchr(text.data, '\n', text.size) : NULL;
	buf_init(&kept, text.size + 1);
	buf_clear(out);
	*truncated = false;
	if (begins_inside && first != NULL) {
		text.size -= (size_t)(first - text.data) + 1;
		text.data = first + 1;
	}
	TRY(lines_filter(text, q, now, &kept));
	struct bytes last = lines_last(buf_bytes(&kept), q->lines, q->max_bytes, truncated);
	bool enough = q->lines != 0 && lines_count(last) == q->lines;
	*truncated = *truncated || (begins_inside && !enough);
	return buf_append(out, last.data, last.size);
}
