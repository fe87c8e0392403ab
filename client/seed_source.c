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
#define SAVE_BYTES (UINT64_C(256) * 1024 * 1024) // hashed: a start anew loses no more

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

static enum err chunk_add(struct seed_source *s, const struct seed_entry *e, uint64_t offset)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 256;
		struct seed_chunk *more = realloc(s->chunks, cap * sizeof *more);
		if (!more)
			return err_set(ERR_MEMORY, "no memory for seeds");
		s->chunks = more;
		s->cap = cap;
	}
	s->chunks[s->count++] = (struct seed_chunk){
		.hash = e->hash, .offset = offset, .file = (uint32_t)s->file_count - 1};
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

struct listing {
	struct seed_source *s;
	struct look *look;
	const char *path; // of the list; NULL: nowhere
	struct seed_list old;
	struct seed_draft fresh;
	uint8_t *window;
	struct seed_entry *entries; // of the file at hand, SEED_CHUNKS_MAX
	size_t entry_count;
	uint64_t unsaved_bytes; // hashed
	bool changed;
};

static bool is_full(const struct seed_source *s)
{
	return s->file_count >= SEED_FILES_MAX || s->count >= SEED_CHUNKS_MAX;
}

static enum err chunk_hash(struct listing *l, struct bytes plain, uint64_t offset)
{
	struct digest d = sha256(plain.data, plain.size);
	struct seed_entry e = {.hash = hash_of(&d), .size = (uint32_t)plain.size};

	l->entries[l->entry_count++] = e;
	l->s->hashed++;
	l->unsaved_bytes += plain.size;
	look_note(l->look, plain.size);
	TRY(look_check(l->look));
	return chunk_add(l->s, &e, offset);
}

static enum err file_hash(struct listing *l, int fd)
{
	struct seed_source *s = l->s;
	uint64_t offset = 0;
	size_t have = 0;

	l->entry_count = 0;
	while (s->count < SEED_CHUNKS_MAX) {
		have = window_fill(fd, l->window, have);
		size_t at = 0;
		bool last = have < WINDOW;
		while ((have - at >= CHUNK_MAX || (last && at < have)) &&
			s->count < SEED_CHUNKS_MAX) {
			size_t n = chunk_cut(l->window + at, have - at);
			TRY(chunk_hash(l, bytes_of(l->window + at, n), offset));
			offset += n;
			at += n;
		}
		if (last)
			return ERR_OK;
		memmove(l->window, l->window + at, have - at);
		have -= at;
	}
	return ERR_OK;
}

// With what it did not come to yet, when it is not whole: that stays as it was listed.
static void list_keep(struct listing *l, bool whole)
{
	const struct seed_draft own = l->fresh;
	size_t left_out = 0;
	bool gone = false;

	for (size_t i = 0; i < l->old.count; i++) {
		if (l->old.records[i].seen)
			continue;
		gone = true;
		left_out += !whole && seed_list_add_raw(&l->fresh, &l->old.records[i]) != ERR_OK;
	}
	if (left_out > 0)
		log_info("SEEDS-LEFT-OUT", "files=%zu why=%s", left_out, log_quote(err_text()));
	l->unsaved_bytes = 0;
	if (l->path != NULL && (l->changed || (whole && gone)) &&
		seed_list_write(&l->fresh, l->path) != ERR_OK)
		log_warn("SEEDS-UNKEPT", "path=%s why=%s", log_quote(l->path),
			log_quote(err_text()));
	l->fresh.bytes.size = own.bytes.size;
	l->fresh.count = own.count;
}

static void record_add(struct listing *l, const char *path, const struct seed_stamp *before, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return;
	struct seed_stamp after = seed_stamp_of(&st);
	// Written to while it was read: whatever was found is not what it has.
	if (!seed_stamp_equal(before, &after) || l->path == NULL)
		return;
	if (seed_list_add(&l->fresh, path, before, l->entries, l->entry_count) != ERR_OK)
		log_info("SEED-UNLISTED", "path=%s why=%s", log_quote(path), log_quote(err_text()));
	l->changed = true;
}

// True: it is the file that was listed, and is not read.
static enum err known_take(
	struct listing *l, const char *path, const struct seed_stamp *stamp, bool *known)
{
	struct seed_record *r = seed_list_find(&l->old, path);
	uint64_t offset = 0;

	*known = r != NULL && seed_stamp_equal(&r->stamp, stamp);
	if (r != NULL &&
		!*known) // it is another file now: that record is not kept beside a new one
		l->changed = r->seen = true;
	if (!*known)
		return ERR_OK;
	TRY(file_add(l->s, path));
	for (uint32_t i = 0; i < r->entry_count && l->s->count < SEED_CHUNKS_MAX; i++) {
		struct seed_entry e = seed_record_entry(r, i);
		TRY(chunk_add(l->s, &e, offset));
		offset += e.size;
	}
	if (!r->seen && seed_list_add_raw(&l->fresh, r) != ERR_OK)
		l->changed = true;
	r->seen = true;
	return ERR_OK;
}

static enum err file_list(struct listing *l, const char *path)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	bool known = false;

	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return ERR_OK;
	struct seed_stamp stamp = seed_stamp_of(&st);
	TRY(known_take(l, path, &stamp, &known));
	if (known)
		return ERR_OK;
	TRY(file_add(l->s, path));
	TRY(file_hash(l, fd));
	record_add(l, path, &stamp, fd);
	if (l->unsaved_bytes >= SAVE_BYTES)
		list_keep(l, false);
	return ERR_OK;
}

static enum err path_list(struct listing *l, char *path)
{
	char *const paths[2] = {path, NULL};
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
	enum err e = ERR_OK;

	if (!walk)
		return errno == ENOMEM ? err_set(ERR_MEMORY, "no memory for seeds") : ERR_OK;
	for (FTSENT *f = fts_read(walk); f && e == ERR_OK && !is_full(l->s); f = fts_read(walk)) {
		e = look_check(l->look);
		if (e == ERR_OK && f->fts_info == FTS_F && f->fts_statp->st_size >= SEED_FILE_LEAST)
			e = file_list(l, f->fts_path);
	}
	fts_close(walk);
	return e;
}

static int hash_order(const void *a, const void *b)
{
	uint64_t x = ((const struct seed_chunk *)a)->hash, y = ((const struct seed_chunk *)b)->hash;

	return x < y ? -1 : x > y;
}

static enum err listing_run(struct listing *l, const struct seed_places *places)
{
	TRY(seed_list_read(&l->old, l->path));
	TRY(seed_list_begin(&l->fresh));
	l->window = malloc(WINDOW);
	l->entries = malloc(SEED_CHUNKS_MAX * sizeof *l->entries);
	if (!l->window || !l->entries)
		return err_set(ERR_MEMORY, "no memory for seeds");
	for (size_t i = 0; i < places->count && !is_full(l->s); i++)
		TRY(path_list(l, places->paths[i]));
	return ERR_OK;
}

enum err seed_source_open(
	struct seed_source *s, const struct seed_places *places, struct look *look)
{
	struct listing l = {.s = s, .look = look, .path = places->list};
	enum err e;

	*s = (struct seed_source){0};
	e = listing_run(&l, places);
	if (e == ERR_OK || e == ERR_CLOSED)
		list_keep(&l, e == ERR_OK);
	seed_list_close(&l.old);
	seed_draft_fini(&l.fresh);
	free(l.window);
	free(l.entries);
	log_info("SEEDS", "files=%zu chunks=%zu hashed=%zu%s", s->file_count, s->count, s->hashed,
		e == ERR_CLOSED ? " ended" : "");
	if (e == ERR_CLOSED)
		(void)look_check(look); // its sentence again
	if (e != ERR_OK) {
		seed_source_close(s);
		return e;
	}
	if (s->count > 0)
		qsort(s->chunks, s->count, sizeof *s->chunks, hash_order);
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
