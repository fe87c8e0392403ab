// The list of errors and the one sentence of each thread.
#include "proto/base/err.h"

#include "proto/base/text.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const words[ERR_COUNT] = {
	[ERR_OK] = "ok",
	[ERR_FORMAT] = "format",
	[ERR_RANGE] = "range",
	[ERR_AUTH] = "auth",
	[ERR_DENIED] = "denied",
	[ERR_STALE] = "stale",
	[ERR_NOT_FOUND] = "not-found",
	[ERR_EXISTS] = "exists",
	[ERR_FULL] = "full",
	[ERR_NO_SPACE] = "no-space",
	[ERR_READ_ONLY] = "read-only",
	[ERR_IO] = "io",
	[ERR_CORRUPT] = "corrupt",
	[ERR_TIMEOUT] = "timeout",
	[ERR_CLOSED] = "closed",
	[ERR_NOT_NOW] = "not-now",
	[ERR_VERSION] = "version",
	[ERR_UNSUPPORTED] = "unsupported",
	[ERR_MEMORY] = "memory",
};

static _Thread_local char sentence[1024];

const char *err_word(enum err e)
{
	return (unsigned)e < ERR_COUNT ? words[e] : "?";
}

const char *err_text(void)
{
	return sentence;
}

// The old sentence may be among the arguments, so the new one is made beside it.
__attribute__((format(printf, 1, 0))) static void
sentence_set(const char *format, va_list args, const char *cause)
{
	char fresh[sizeof(sentence)];
	int n = vsnprintf(fresh, sizeof(fresh), format, args);

	if (n < 0)
		n = 0;
	size_t used = (size_t)n < sizeof(fresh) ? (size_t)n : sizeof(fresh) - 1;
	if (cause)
		snprintf(fresh + used, sizeof(fresh) - used, ": %s", cause);
	fresh[text_whole(fresh, strlen(fresh))] = '\0';
	text_blank(fresh, strlen(fresh)); // names in it are anybody's
	memcpy(sentence, fresh, sizeof(sentence));
}

enum err err_set(enum err e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	sentence_set(format, args, NULL);
	va_end(args);
	return e;
}

static enum err err_of_errno(int number)
{
	switch (number) {
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case EROFS:
		return ERR_READ_ONLY;
	case ENOENT:
	case ENOTDIR:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case ENOMEM:
		return ERR_MEMORY;
	default:
		return ERR_IO;
	}
}

enum err err_set_errno(const char *format, ...)
{
	int number = errno;
	va_list args;

	va_start(args, format);
	sentence_set(format, args, strerror(number));
	va_end(args);
	return err_of_errno(number);
}
