// The memory of a fetch is asked for before its first byte.
#include "client/fetcher_parts.h"

#include <stdlib.h>
#include <string.h>

// What a fetch needs beside its window: the page at work, index, manifest, decoders.
#define WORK_BYTES ((size_t)1792 * 1024)
#define RESERVE_PIECE ((size_t)128 * 1024) // of the heap, and so it stays
#define RESERVE_PIECES 1024

// Takes from the system what the fetch will need and gives it to the heap: a device that is short
// of memory says so before the first byte, not half-way, and a large package needs no more than a
// small one.
enum err fetch_memory_reserve(size_t window_bytes)
{
	size_t bytes = window_bytes + WORK_BYTES;
	SCOPED_FREE void **pieces = calloc(RESERVE_PIECES, sizeof *pieces);
	size_t count = bytes / RESERVE_PIECE + 1, got = 0;
	if (pieces == NULL)
		return err_set(ERR_MEMORY, "no memory for a fetch");
	if (count > RESERVE_PIECES)
		count = RESERVE_PIECES;
	while (got < count && (pieces[got] = malloc(RESERVE_PIECE)) != NULL)
		explicit_bzero(pieces[got++], RESERVE_PIECE);
	for (size_t i = 0; i < got; i++)
		free(pieces[i]);
	if (got < count)
		return err_set(ERR_MEMORY, "a fetch needs %zu bytes of memory", bytes);
	return ERR_OK;
}
