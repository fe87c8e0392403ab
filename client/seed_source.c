#include "client/seed_source.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/chunker.h"
#include "proto/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW (4 * (size_t)CHUNK_MAX)

static uint64_t hash_of(const struct digest *d)
{
	uint64_t h = 0;

	memcpy(&h, d->b, sizeof h);
	return h;
}

// ---- the list

static enum err file_add(struct seed_source *s, const char *path)
{
	if (s->file_count == s->file_cap) {
		size_t cap = s->file_cap ? s->file_cap * 2 : 64;
		char **more = realloc(s->files, cap * sizeof *more);
		if (!more)
			return err_set(ERR_MEMORY, "no memory for seeds");
		s->files = more;
		s->file_cap = cap;
	}
	char *copy = strdup(path);
	if (!copy)
		return err_set(ERR_MEMORY, "no memory for seeds");
	s->files[s->file_count++] = copy;
	return ERR_OK;
}

static enum err chunk_add(struct seed_source *s, struct bytes plain, uint64_t offset)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 256;
		struct seed_chunk *more = realloc(s->chunks, cap * sizeof *more);
		if (!more)
			return err_set(ERR_MEMORY, "no memory for seeds");
		s->chunks = more;
		s->cap = cap;
	}
	struct digest d = sha256(plain.data, plain.size);
	s->chunks[s->count++] = (struct seed_chunk){
		.hash = hash_of(&d), .offset = offset, .file = (uint32_t)s->file_count - 1};
	return ERR_OK;
}

// A file that cannot be read to its end is a shorter one.
static size_t window_fill(int fd, uint8_t *window, size_t size)
{
	while (size < WINDOW) {
		ssize_t n = read(fd, window + size, WINDOW - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		size += (size_t)n;
	}
	return size;
}

static enum err file_list(struct seed_source *s, const char *path, uint8_t *window)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	uint64_t offset = 0;
	size_t have = 0;

	if (fd < 0)
		return ERR_OK;
	TRY(file_add(s, path));
	while (s->count < SEED_CHUNKS_MAX) {
		have = window_fill(fd, window, have);
		size_t at = 0;
		bool last = have < WINDOW;
		while ((have - at >= CHUNK_MAX || (last && at < have)) &&
			s->count < SEED_CHUNKS_MAX) {
			size_t n = chunk_cut(window + at, have - at);
			TRY(chunk_add(s, bytes_of(window + at, n), offset));
			offset += n;
			at += n;
		}
		if (last)
			return ERR_OK;
		memmove(window, window + at, have - at);
		have -= at;
	}
	return ERR_OK;
}

static bool is_worth_it(const struct seed_source *s, const FTSENT *e)
{
	return e->fts_info == FTS_F && e->fts_statp->st_size >= SEED_FILE_LEAST &&
	       s->file_count < SEED_FILES_MAX && s->count < SEED_CHUNKS_MAX;
}

static enum err path_list(struct seed_source *s, char *path, uint8_t *window)
{
	char *const paths[2] = {path, NULL};
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
	enum err e = ERR_OK;

	if (!walk)
		return errno == ENOMEM ? err_set(ERR_MEMORY, "no memory for seeds") : ERR_OK;
	for (FTSENT *f = fts_read(walk); f && e == ERR_OK; f = fts_read(walk))
		if (is_worth_it(s, f))
			e = file_list(s, f->fts_path, window);
	fts_close(walk);
	return e;
}

static int hash_order(const void *a, const void *b)
{
	uint64_t x = ((const struct seed_chunk *)a)->hash, y = ((const struct seed_chunk *)b)->hash;

	return x < y ? -1 : x > y;
}

enum err seed_source_open(struct seed_source *s, char *const *paths, size_t path_count)
{
	SCOPED_FREE uint8_t *window = malloc(WINDOW);
	enum err e = window ? ERR_OK : err_set(ERR_MEMORY, "no memory for seeds");

	*s = (struct seed_source){0};
	for (size_t i = 0; i < path_count && e == ERR_OK; i++)
		e = path_list(s, paths[i], window);
	if (e != ERR_OK) {
		seed_source_close(s);
		return e;
	}
	if (s->count > 0)
		qsort(s->chunks, s->count, sizeof *s->chunks, hash_order);
	log_info("SEEDS", "files=%zu chunks=%zu", s->file_count, s->count);
	return ERR_OK;
}

void seed_source_close(struct seed_source *s)
{
	for (size_t i = 0; i < s->file_count; i++)
		free(s->files[i]);
	free(s->files);
	free(s->chunks);
	*s = (struct seed_source){0};
}

// ---- reading

static size_t first_of(const struct seed_source *s, uint64_t hash)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (s->chunks[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool seed_source_read(const struct seed_source *s, const struct chunk_ref *c, uint8_t *out)
{
	uint64_t hash = hash_of(&c->sha256);

	for (size_t i = first_of(s, hash); i < s->count && s->chunks[i].hash == hash; i++) {
		const struct seed_chunk *k = &s->chunks[i];
		SCOPED_FD int fd =
			open(s->files[k->file], O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0 || fd_pread_all(fd, out, c->size, (off_t)k->offset) != ERR_OK)
			continue;
		struct digest have = sha256(out, c->size);
		if (digest_equal(&have, &c->sha256))
			return true;
	}
	return false;
}
