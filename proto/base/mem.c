// Arena, buffer, borrowed bytes and hex.
#include "proto/base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bytes bytes_of(const void *data, size_t size)
{
	return (struct bytes){ .data = data, .size = size };
}

bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool digest_is_zero(const struct digest *d)
{
	static const struct digest zero;

	return digest_equal(d, &zero);
}

int digest_compare(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

// ---- hex

void hex_encode(const void *data, size_t size, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * size] = '\0';
}

int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

enum err hex_decode(const char *hex, void *out, size_t size)
{
	uint8_t *p = out;

	if (strlen(hex) != 2 * size)
		return err_set(ERR_FORMAT, "%zu hex digits are needed, %zu are there", 2 * size,
			strlen(hex));
	for (size_t i = 0; i < size; i++) {
		int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return err_set(ERR_FORMAT, "not a hex digit at place %zu", 2 * i);
		p[i] = (uint8_t)(high << 4 | low);
	}
	return ERR_OK;
}

static char *rotating_hex(void)
{
	static _Thread_local char slots[8][65];
	static _Thread_local unsigned next;

	return slots[next++ % 8];
}

const char *digest_hex(const struct digest *d)
{
	char *s = rotating_hex();

	hex_encode(d->b, sizeof(d->b), s);
	return s;
}

const char *digest_short(const struct digest *d)
{
	char *s = rotating_hex();

	hex_encode(d->b, 6, s);
	return s;
}

// ---- arena

#define ARENA_BLOCK 4096
#define ARENA_BLOCK_MAX (256 * 1024)

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(16) uint8_t data[];
};

void arena_init(struct arena *a, size_t budget, size_t count_max)
{
	*a = (struct arena){ .budget = budget, .count_max = count_max };
}

static void blocks_free(struct arena_block *b)
{
	while (b) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
}

void arena_fini(struct arena *a)
{
	blocks_free(a->first);
	a->first = a->current = NULL;
	a->used = a->count = 0;
}

void arena_reset(struct arena *a)
{
	if (a->first) {
		blocks_free(a->first->next);
		a->first->next = NULL;
		a->first->used = 0;
	}
	a->current = a->first;
	a->used = a->count = 0;
}

static bool arena_grow(struct arena *a, size_t need)
{
	size_t size = a->current ? a->current->size * 2 : ARENA_BLOCK;

	if (size > ARENA_BLOCK_MAX)
		size = ARENA_BLOCK_MAX;
	if (size < need)
		size = need;
	struct arena_block *b = malloc(sizeof(*b) + size);
	if (!b)
		return false;
	b->next = NULL;
	b->used = 0;
	b->size = size;
	if (a->current)
		a->current->next = b;
	else
		a->first = b;
	a->current = b;
	return true;
}

void *arena_alloc(struct arena *a, size_t size)
{
	if (size > SIZE_MAX - 16)
		return NULL;
	size_t need = (size + 15) & ~(size_t)15;
	if (need > a->budget - a->used || a->count >= a->count_max)
		return NULL;
	if (!a->current || need > a->current->size - a->current->used) {
		if (!arena_grow(a, need))
			return NULL;
	}
	void *p = a->current->data + a->current->used;
	a->current->used += need;
	a->used += need;
	a->count++;
	memset(p, 0, need);
	return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	return arena_alloc(a, total);
}

char *arena_strdup(struct arena *a, const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy = arena_alloc(a, size);

	if (copy)
		memcpy(copy, s, size);
	return copy;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	char *s = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
	if (!s)
		return NULL;
	va_start(args, format);
	vsnprintf(s, (size_t)n + 1, format, args);
	va_end(args);
	return s;
}

struct bytes arena_copy(struct arena *a, struct bytes b)
{
	uint8_t *copy = arena_alloc(a, b.size);

	if (!copy)
		return (struct bytes){ NULL, 0 };
	if (b.size)
		memcpy(copy, b.data, b.size);
	return bytes_of(copy, b.size);
}

// ---- buffer

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_fini(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->size = b->cap = 0;
}

void buf_clear(struct buf *b)
{
	b->size = 0;
}

enum err buf_reserve(struct buf *b, size_t more)
{
	if (more > b->max || b->size > b->max - more)
		return err_set(ERR_FULL, "%zu bytes more do not fit into a limit of %zu", more, b->max);
	size_t need = b->size + more;
	if (need <= b->cap && b->data)
		return ERR_OK;
	size_t cap = b->cap ? b->cap : 256;
	while (cap < need)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	if (cap > b->max && need <= b->max)
		cap = b->max;
	if (cap == 0)
		cap = 1;
	uint8_t *data = realloc(b->data, cap);
	if (!data)
		return err_set(ERR_MEMORY, "no memory for a buffer of %zu bytes", cap);
	b->data = data;
	b->cap = cap;
	return ERR_OK;
}

enum err buf_append(struct buf *b, const void *data, size_t size)
{
	TRY(buf_reserve(b, size));
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
	return ERR_OK;
}

enum err buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0)
		return err_set(ERR_FORMAT, "a text cannot be formatted");
	TRY(buf_reserve(b, (size_t)n + 1));
	va_start(args, format);
	vsnprintf((char *)b->data + b->size, (size_t)n + 1, format, args);
	va_end(args);
	b->size += (size_t)n;
	return ERR_OK;
}

struct bytes buf_bytes(const struct buf *b)
{
	return bytes_of(b->data, b->size);
}

// ---- scoped owners

void scope_free(void *pointer_to_pointer)
{
	void *p;

	memcpy(&p, pointer_to_pointer, sizeof(p));
	free(p);
}

void scope_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void scope_buf(struct buf *b)
{
	buf_fini(b);
}

void scope_arena(struct arena *a)
{
	arena_fini(a);
}

bool str_copy(char *dst, size_t dst_size, const char *src)
{
	size_t n = strlen(src);

	assert(dst_size > 0);
	if (n >= dst_size) {
		dst[0] = '\0';
		return false;
	}
	memcpy(dst, src, n + 1);
	return true;
}

bool name_is_plain(const char *s, size_t n)
{
	static const bool plain[256] = { ['-'] = true, ['.'] = true, ['_'] = true, ['0' ... '9'] = true,
		['A' ... 'Z'] = true, ['a' ... 'z'] = true };

	for (size_t i = 0; i < n; i++) {
		if (!plain[(unsigned char)s[i]])
			return false;
	}
	return true;
}

void secret_wipe(void *p, size_t size)
{
	explicit_bzero(p, size);
}
