// What this device holds already need not come again: chunks of installed packages, of interrupted
// attempts at other packages (an older version, say, that was given up half-way), of earlier pages
// of the same package and of seeds are read, hashed and written; a whole file of an installed
// package is linked after hashing it.
//
// The packages are walked page by page, so memory does not grow with what is installed. Their pages
// are not trusted: every chunk is hashed as it is read, and only what matches counts. An attempt's
// files are never linked: they may be written again.
#include "client/staging.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE_ARENA (2 * 1024 * 1024)
#define SOURCE_COUNT 20000

struct local_search {
	struct staging *s;
	struct staged_page *p;
	uint32_t *table;   // chunk ordinal + 1, 0: empty; by the first bytes of the digest
	size_t table_size; // power of two
	uint32_t missing;  // chunks still wanted
	uint8_t *scratch;  // LIMIT_CHUNK
	struct staging_pen pen;
	const struct digest *installed; // the source at hand; NULL: an attempt, which owes nothing
};

// ---- the wanted chunks as a table

static size_t slot_first(const struct local_search *x, const struct digest *d)
{
	size_t h;
	memcpy(&h, d->b, sizeof h);
	return h & (x->table_size - 1);
}

static enum err table_make(struct local_search *x)
{
	uint32_t count = (uint32_t)x->p->plan.chunk_count;
	x->table_size = 16;
	while (x->table_size < 2 * (size_t)count)
		x->table_size *= 2;
	x->table = arena_array(x->p->a, x->table_size, sizeof *x->table);
	if (x->table == NULL)
		return err_set(ERR_MEMORY, "no memory to look for chunks");
	for (uint32_t c = 0; c < count; c++) {
		if (staging_has_chunk(x->s, x->p->number, c))
			continue;
		size_t i = slot_first(x, &x->p->plan.chunks[c].sha256);
		while (x->table[i] != 0)
			i = (i + 1) & (x->table_size - 1);
		x->table[i] = c + 1;
		x->missing++;
	}
	return ERR_OK;
}

// Ordinal of a chunk that is still wanted, -1 otherwise.
static int64_t wanted(const struct local_search *x, const struct digest *d, uint32_t size)
{
	for (size_t i = slot_first(x, d); x->table[i] != 0; i = (i + 1) & (x->table_size - 1)) {
		uint32_t c = x->table[i] - 1;
		const struct chunk_ref *ref = &x->p->plan.chunks[c];
		if (digest_equal(&ref->sha256, d))
			return ref->size == size && !staging_has_chunk(x->s, x->p->number, c)
				       ? (int64_t)c
				       : -1;
	}
	return -1;
}

// ---- chunks of one source file

// A source that is not what its manifest says does no harm: the chunk is fetched.
static bool chunk_is_there(
	const struct local_search *x, int fd, uint64_t offset, const struct chunk_ref *ref)
{
	if (fd_pread_all(fd, x->scratch, ref->size, (off_t)offset) != ERR_OK)
		return false;
	struct digest have = sha256(x->scratch, ref->size);
	look_note(x->s->look, ref->size);
	return digest_equal(&have, &ref->sha256);
}

static enum err chunk_take(struct local_search *x, int fd, uint64_t offset, uint32_t chunk)
{
	const struct chunk_ref *ref = &x->p->plan.chunks[chunk];
	TRY(look_check(x->s->look));
	if (!chunk_is_there(x, fd, offset, ref)) {
		if (x->installed != NULL)
			rot_note(x->s->rot, x->installed, &ref->sha256);
		return ERR_OK;
	}
	TRY(staging_write(x->s, x->p, &x->pen, chunk, 1, bytes_of(x->scratch, ref->size)));
	staging_mark(x->s, x->p->number, chunk);
	x->s->copied_bytes += ref->size;
	x->missing--;
	return ERR_OK;
}

struct source_file {
	const struct file_entry *f;
	const char *dir; // files/ of the source
	uint64_t start;  // offset of the entry's first chunk in the file
};

static int source_open(const struct source_file *source)
{
	char path[DEPOT_PATH];
	if (!path_is_safe(source->f->path) ||
		path_join(path, sizeof path, source->dir, source->f->path) != ERR_OK)
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static enum err file_chunks_take(struct local_search *x, const struct source_file *source)
{
	const struct file_entry *f = source->f;
	SCOPED_FD int fd = -1;
	uint64_t offset = source->start;
	size_t count = f->chunk_count != 0 ? f->chunk_count : 1;
	for (size_t i = 0; i < count; i++) {
		struct digest d = f->sha256;
		uint32_t size = (uint32_t)f->size_bytes;
		if (f->chunk_count != 0) {
			memcpy(d.b, f->chunk_sha256.data + 32 * i, 32);
			size = f->chunk_size[i];
		}
		int64_t chunk = size == 0 ? -1 : wanted(x, &d, size);
		if (chunk >= 0 && fd < 0)
			fd = source_open(source);
		if (chunk >= 0 && fd >= 0)
			TRY(chunk_take(x, fd, offset, (uint32_t)chunk));
		offset += size;
	}
	return ERR_OK;
}

// ---- whole files

// The file of our page that is wanted whole and equals the source file.
static int64_t file_wanted(const struct local_search *x, const struct file_entry *f)
{
	const struct manifest_page *page = &x->p->page;
	for (uint32_t i = 0; i < page->file_count; i++) {
		const struct file_entry *mine = &page->files[i];
		if (mine->size_bytes == f->size_bytes && digest_equal(&mine->sha256, &f->sha256) &&
			mine->executable == f->executable && !mine->continued && !x->p->linked[i])
			return i;
	}
	return -1;
}

static bool file_matches(
	struct look *look, const char *path, const struct file_entry *f, uint8_t *scratch)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	struct sha256_stream *h = sha256_new();
	uint64_t left = f->size_bytes;
	bool read_all = true;
	while (left != 0 && read_all) {
		ssize_t n = read(fd, scratch, left < LIMIT_CHUNK ? (size_t)left : LIMIT_CHUNK);
		read_all = n > 0 && !look_is_ended(look);
		if (read_all) {
			sha256_add(h, scratch, (size_t)n);
			left -= (uint64_t)n;
			look_note(look, (uint64_t)n);
		}
	}
	struct digest have = sha256_end(h);
	sha256_free(h);
	return read_all && digest_equal(&have, &f->sha256);
}

// Chunks whose every place now stands: each is linked here, or was there before.
static void file_chunks_mark(struct local_search *x, uint32_t file)
{
	struct staged_page *p = x->p;
	for (size_t i = 0; i < p->plan.place_count; i++) {
		uint32_t c = p->plan.places[i].chunk;
		if (p->plan.places[i].file != file || staging_has_chunk(x->s, p->number, c))
			continue;
		bool all = true;
		for (uint32_t k = p->place_first[c]; k < p->place_first[c + 1]; k++)
			all = all && p->linked[p->plan.places[p->place_of[k]].file];
		if (!all)
			continue;
		staging_mark(x->s, p->number, c);
		x->s->copied_bytes += p->plan.chunks[c].size;
		x->missing--;
	}
}

static bool file_has_missing(const struct local_search *x, uint32_t file)
{
	const struct staged_page *p = x->p;
	bool crosses = true, missing = false;
	uint64_t bytes = 0;
	for (size_t i = 0; i < p->plan.place_count; i++) {
		if (p->plan.places[i].file != file)
			continue;
		bytes += p->plan.chunks[p->plan.places[i].chunk].size;
		missing = missing || !staging_has_chunk(x->s, p->number, p->plan.places[i].chunk);
	}
	crosses = bytes != p->page.files[file].size_bytes; // goes on in the next page
	return missing && !crosses;
}

// What stands there goes only when the link is made: it may hold chunks that came already. Where no
// link can be made (another file system, too many), it is filled chunk by chunk.
static bool link_replace(const struct staging *s, const char *from, const char *to)
{
	char beside[DEPOT_PATH];
	staging_link_path(s, beside);
	if (link(from, beside) != 0)
		return false;
	bool done = rename(beside, to) == 0;
	(void)unlink(beside); // it stays also where both were links to one file already
	return done;
}

static void file_link(struct local_search *x, const struct source_file *source)
{
	char from[DEPOT_PATH], to[DEPOT_PATH], rest[600];
	int64_t file = file_wanted(x, source->f);
	if (file < 0 || !file_has_missing(x, (uint32_t)file))
		return;
	int n = snprintf(rest, sizeof rest, "files/%s", x->p->page.files[file].path);
	if (n < 0 || (size_t)n >= sizeof rest ||
		path_join(from, sizeof from, source->dir, source->f->path) != ERR_OK ||
		!file_matches(x->s->look, from, source->f, x->scratch))
		return;
	depot_staging_path(x->s->store, &x->s->id, rest, to);
	if (!link_replace(x->s, from, to))
		return;
	x->p->linked[file] = true;
	file_chunks_mark(x, (uint32_t)file);
}

// ---- one source: an installed package, an interrupted attempt, or the pages before ours

static enum err page_search(struct local_search *x, const char *path, const char *files_dir,
	bool link_files, uint64_t *carry)
{
	struct manifest_page page;
	SCOPED_ARENA struct arena a;
	arena_init(&a, SOURCE_ARENA, SOURCE_COUNT);
	if (page_file_read(path, &a, &page) != ERR_OK)
		return ERR_NOT_FOUND;
	for (size_t i = 0; i < page.file_count && x->missing != 0; i++) {
		const struct file_entry *f = &page.files[i];
		struct source_file source = {
			.f = f, .dir = files_dir, .start = f->continued ? *carry : 0};
		if (link_files && !f->continued && f->size_bytes != 0 && path_is_safe(f->path))
			file_link(x, &source);
		TRY(file_chunks_take(x, &source));
		uint64_t bytes_here = f->chunk_count == 0 ? f->size_bytes : 0;
		for (size_t k = 0; k < f->chunk_count; k++)
			bytes_here += f->chunk_size[k];
		*carry = source.start + bytes_here;
	}
	return ERR_OK;
}

static enum err source_search(
	struct local_search *x, const char *dir, uint32_t pages, bool link_files)
{
	char path[DEPOT_PATH], files[DEPOT_PATH], rest[32];
	uint64_t carry = 0;
	TRY(path_join(files, sizeof files, dir, "files"));
	for (uint32_t i = 0; i < pages && x->missing != 0; i++) {
		(void)snprintf(rest, sizeof rest, "pages/%03u", i);
		TRY(path_join(path, sizeof path, dir, rest));
		enum err e = page_search(x, path, files, link_files, &carry);
		if (e == ERR_NOT_FOUND)
			return ERR_OK; // the last page
		TRY(e);
	}
	return ERR_OK;
}

// ---- what no package installed

static enum err seeds_open(struct staging *s)
{
	char list[DEPOT_PATH];
	const struct seed_places places = {
		.paths = s->store->seeds, .count = s->store->seed_count, .list = list};
	TRY(path_join(list, sizeof list, s->store->root_dir, "seeds.list"));
	return places.count != 0 ? seed_source_open(&s->seeds, &places, s->look) : ERR_OK;
}

static enum err seeds_search(struct local_search *x)
{
	struct staging *s = x->s;

	if (!s->seeds_listed)
		TRY(seeds_open(s));
	s->seeds_listed = true;
	for (uint32_t c = 0; c < x->p->plan.chunk_count && s->seeds.count > 0; c++) {
		const struct chunk_ref *ref = &x->p->plan.chunks[c];
		if (staging_has_chunk(s, x->p->number, c) ||
			!seed_source_read(&s->seeds, ref, x->scratch))
			continue;
		look_note(s->look, ref->size);
		TRY(look_check(s->look));
		TRY(staging_write(s, x->p, &x->pen, c, 1, bytes_of(x->scratch, ref->size)));
		staging_mark(s, x->p->number, c);
		s->copied_bytes += ref->size;
	}
	return ERR_OK;
}

static enum err everywhere_search(struct local_search *x)
{
	struct staging *s = x->s;
	char dir[DEPOT_PATH];
	TRY(table_make(x));
	for (size_t i = 0; i < s->store->held_count && x->missing != 0; i++) {
		x->installed = &s->store->held[i].id;
		depot_package_path(s->store, x->installed, "", dir);
		TRY(source_search(x, dir, LIMIT_PAGES, true));
	}
	x->installed = NULL;
	struct digest attempts[DEPOT_STAGING_KEPT];
	size_t count =
		x->missing == 0 ? 0 : depot_staged(s->store, &s->id, attempts, DEPOT_STAGING_KEPT);
	for (size_t i = 0; i < count && x->missing != 0; i++) {
		depot_staging_path(s->store, &attempts[i], "", dir);
		TRY(source_search(x, dir, LIMIT_PAGES, false));
	}
	depot_staging_path(s->store, &s->id, "", dir);
	TRY(source_search(x, dir, x->p->number, false));
	return x->missing == 0 ? ERR_OK : seeds_search(x);
}

enum err staging_fill_local(struct staging *s, struct staged_page *p)
{
	struct local_search x = {.s = s, .p = p, .pen = STAGING_PEN};
	SCOPED_FREE uint8_t *scratch = malloc(LIMIT_CHUNK);
	if (scratch == NULL)
		return err_set(ERR_MEMORY, "no memory to look for chunks");
	x.scratch = scratch;
	enum err e = everywhere_search(&x);
	staging_pen_close(&x.pen);
	return e;
}
