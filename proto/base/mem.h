// Memory: an arena for what lives one message or one turn, a growing buffer, borrowed bytes.
//
// A decoded message points into the arena it was decoded in and dies with arena_reset(). Nothing
// of another room's memory is kept across turns of the loop: copy it or keep an id.
#ifndef HELIO_BASE_MEM_H
#define HELIO_BASE_MEM_H

#include "proto/base/err.h"

// Borrowed bytes. data may be NULL when size is 0.
struct bytes {
	const uint8_t *data;
	size_t size;
};

struct digest {
	uint8_t b[32];
};

struct id16 {
	uint8_t b[16];
};

struct key32 {
	uint8_t b[32];
};

struct bytes bytes_of(const void *data, size_t size);
bool bytes_equal(struct bytes a, struct bytes b);
bool digest_equal(const struct digest *a, const struct digest *b);
bool digest_is_zero(const struct digest *d);
int digest_compare(const struct digest *a, const struct digest *b);

// Lower-case hex. out has room for 2 * size + 1.
void hex_encode(const void *data, size_t size, char *out);
// Exactly size bytes from 2 * size hex digits. Errors: ERR_FORMAT.
enum err hex_decode(const char *hex, void *out, size_t size) MUST_CHECK;
// Of one digit; -1 for what is none.
int hex_value(char c);
// For logs: 64 digits in one of 8 rotating buffers of the thread.
const char *digest_hex(const struct digest *d);
// The first 12 digits, the same way.
const char *digest_short(const struct digest *d);

// ---- arena: grows by blocks, never beyond its budget; freed all at once.

struct arena_block;
struct arena {
	struct arena_block *first, *current;
	size_t used;       // bytes handed out since the last reset
	size_t budget;     // the most it may hand out
	size_t count;      // allocations since the last reset
	size_t count_max;
};

// Allocates nothing yet. budget in bytes, count_max allocations.
void arena_init(struct arena *a, size_t budget, size_t count_max);
void arena_fini(struct arena *a);
// Forgets everything handed out; keeps the first block for the next use.
void arena_reset(struct arena *a);
// Zeroed, 16-byte aligned. NULL when the budget, the count or the machine is exhausted.
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size);   // overflow-checked
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3);
struct bytes arena_copy(struct arena *a, struct bytes b);       // {NULL,0} when exhausted

// ---- buffer: grows up to a maximum given at init.

struct buf {
	uint8_t *data;
	size_t size, cap, max;
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b);
// Room for `more` bytes at the end, not counted in size yet. Errors: ERR_FULL, ERR_MEMORY.
enum err buf_reserve(struct buf *b, size_t more) MUST_CHECK;
enum err buf_append(struct buf *b, const void *data, size_t size) MUST_CHECK;
enum err buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
struct bytes buf_bytes(const struct buf *b);

// ---- scoped owners: freed when the name leaves its block.

void scope_free(void *pointer_to_pointer);
void scope_close(int *fd);
void scope_buf(struct buf *b);
void scope_arena(struct arena *a);
#define SCOPED_FREE __attribute__((cleanup(scope_free)))
#define SCOPED_FD __attribute__((cleanup(scope_close)))
#define SCOPED_BUF __attribute__((cleanup(scope_buf)))
#define SCOPED_ARENA __attribute__((cleanup(scope_arena)))

// Bounded copy with NUL. Returns false, and an empty string, when src does not fit.
bool str_copy(char *dst, size_t dst_size, const char *src);

// Every one of n characters is of [A-Za-z0-9._-]: what an id and a level of a path are made of.
bool name_is_plain(const char *s, size_t n);

// Overwrites secrets in a way that the compiler keeps.
void secret_wipe(void *p, size_t size);

#endif
