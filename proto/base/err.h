// Errors: one closed list, and one sentence for people.
//
// Whatever can fail returns `enum err` and must be checked. Who finds the fault calls err_set()
// with one sentence; who decides what to do about it logs err_text() once. The sentence lives in
// a buffer of the thread and is overwritten by the next err_set().
// Bad input is an error. Our own mistake is an assert, never an error code.
#ifndef HELIO_BASE_ERR_H
#define HELIO_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN __attribute__((noreturn))

enum err {
	ERR_OK = 0,
	ERR_FORMAT,      // bytes that are not what they should be
	ERR_RANGE,       // a value outside its limits
	ERR_AUTH,        // signature, MAC or identity does not hold
	ERR_DENIED,      // known, and not allowed
	ERR_STALE,       // replayed, expired, or of an earlier start
	ERR_NOT_FOUND,
	ERR_EXISTS,
	ERR_FULL,        // a limit of ours is reached
	ERR_NO_SPACE,    // the disk is full
	ERR_READ_ONLY,   // the disk takes no writes
	ERR_IO,
	ERR_CORRUPT,     // stored bytes do not match their digest
	ERR_TIMEOUT,
	ERR_CLOSED,      // the peer or the connection is gone
	ERR_NOT_NOW,     // the state does not allow it yet (not ERR_STATE: OpenSSL has that name)
	ERR_VERSION,     // made by a newer program, or by one too old
	ERR_UNSUPPORTED,
	ERR_MEMORY,
	ERR_COUNT
};

// Stable lower-case word of an error, for logs and scripts ("not-found").
const char *err_word(enum err e);

// Remembers the sentence and returns e, so that `return err_set(ERR_X, "...")` reads well.
enum err err_set(enum err e, const char *format, ...) PRINTF_LIKE(2, 3);

// As err_set with ": strerror(errno)" added; ENOSPC, EDQUOT become ERR_NO_SPACE, EROFS ERR_READ_ONLY,
// ENOENT ERR_NOT_FOUND, EEXIST ERR_EXISTS, EACCES ERR_DENIED, ENOMEM ERR_MEMORY, all else ERR_IO.
enum err err_set_errno(const char *format, ...) PRINTF_LIKE(1, 2);

// The last sentence of this thread, one line of plain text (text.h); "" when there is none.
// Borrowed, until the next err_set.
const char *err_text(void);

// Returns early with the error of `expr`.
#define TRY(expr)                            \
	do {                                 \
		enum err try_e_ = (expr);    \
		if (try_e_ != ERR_OK)        \
			return try_e_;       \
	} while (0)

#endif
