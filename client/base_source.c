// See base_source.h.
#include "client/base_source.h"

#include "proto/base/file.h"
#include "proto/digest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_ARENA (2 * 1024 * 1024)
#define PAGE_COUNT 20000
#define NOWHERE UINT32_MAX

// ---- the chunks that are named

static int chunk_compare(const void *a, const void *b)
{
	const struct base_chunk *x = a, *y = b;
	return digest_compare(&x->sha256, &y->sha256);
}

static struct base_chunk *chunk_find(const struct base_source *s, const struct digest *d)
{
	struct base_chunk key = {.sha256 = *d};
	return s->count == 0 ? NULL : bsearch(&key, s->chunks, s->count, sizeof key, chunk_compare);
}

static enum err chunks_list(struct base_source *s, const struct index_page *page)
{
	size_t max = 0;
	for (size_t i = 0; i < page->object_count; i++)
		max += page->objects[i].base_count;
	s->chunks = arena_array(s->a, max + 1, sizeof *s->chunks);
	if (s->chunks == NULL)
		return err_set(ERR_MEMORY, "no memory for the base of a page");
	for (size_t i = 0; i < page->object_count; i++) {
		const struct object *o = &page->objects[i];
		for (size_t k = 0; k < o->base_count; k++)
			s->chunks[s->count++] = (struct base_chunk){.sha256 = o->base_chunks[k],
				.size = o->base_sizes[k],
				.file = NOWHERE};
	}
	qsort(s->chunks, s->count, sizeof *s->chunks, chunk_compare);
	size_t kept = 0;
	for (size_t i = 0; i < s->count; i++) {
		if (kept == 0 || !digest_equal(&s->chunks[kept - 1].sha256, &s->chunks[i].sha256))
			s->chunks[kept++] = s->chunks[i];
	}
	s->count = kept;
	return ERR_OK;
}

// ---- the package that has them

struct base_walk {
	struct base_source *s;
	const char *files_dir;
	uint64_t carry; // bytes of a file that goes on from the page before
};

static enum err file_name(struct base_walk *w, const char *path, uint32_t *number)
{
	struct base_source *s = w->s;
	char full[DEPOT_PATH];
	if (s->file_count == s->file_cap) {
		size_t cap = s->file_cap != 0 ? s->file_cap * 2 : 64;
		const char **more = arena_array(s->a, cap, sizeof *more);
		if (more == NULL)
			return err_set(ERR_MEMORY, "no memory for the base of a page");
		if (s->file_count != 0)
			memcpy(more, s->files, s->file_count * sizeof *more);
		s->files = more;
		s->file_cap = cap;
	}
	TRY(path_join(full, sizeof full, w->files_dir, path));
	s->files[s->file_count] = arena_strdup(s->a, full);
	if (s->files[s->file_count] == NULL)
		return err_set(ERR_MEMORY, "no memory for the base of a page");
	*number = (uint32_t)s->file_count++;
	return ERR_OK;
}

static enum err file_look(struct base_walk *w, const struct file_entry *f)
{
	uint64_t offset = f->continued ? w->carry : 0;
	size_t count = f->chunk_count != 0 ? f->chunk_count : 1;
	uint32_t number = NOWHERE;
	for (size_t i = 0; i < count; i++) {
		struct digest d = f->sha256;
		uint64_t size = f->size_bytes;
		if (f->chunk_count != 0) {
			memcpy(d.b, f->chunk_sha256.data + 32 * i, 32);
			size = f->chunk_size[i];
		}
		struct base_chunk *c = chunk_find(w->s, &d);
		if (c != NULL && c->file == NOWHERE && c->size == size) {
			if (number == NOWHERE)
				TRY(file_name(w, f->path, &number));
			c->file = number;
			c->offset = offset;
			w->s->found++;
		}
		offset += size;
	}
	w->carry = offset;
	return ERR_OK;
}

static enum err page_look(struct base_walk *w, const char *path, bool *there)
{
	struct manifest_page page;
	SCOPED_ARENA struct arena a;
	arena_init(&a, PAGE_ARENA, PAGE_COUNT);
	*there = page_file_read(path, &a, &page) == ERR_OK;
	for (size_t i = 0; *there && i < page.file_count; i++) {
		if (path_is_safe(page.files[i].path))
			TRY(file_look(w, &page.files[i]));
	}
	return ERR_OK;
}

// A package, or the attempt at one: its pages before `end`.
struct base_place {
	void (*path)(const struct depot *s, const struct digest *id, const char *rest, char *out);
	const struct digest *id;
	uint32_t end;
};

static enum err pages_look(
	struct base_source *s, const struct depot *store, const struct base_place *at)
{
	char files[DEPOT_PATH], path[DEPOT_PATH], rest[32];
	struct base_walk w = {.s = s, .files_dir = files};
	bool there = true;
	at->path(store, at->id, "files", files);
	for (uint32_t i = 0; there && i < at->end && s->found < s->count; i++) {
		(void)snprintf(rest, sizeof rest, "pages/%03u", i);
		at->path(store, at->id, rest, path);
		TRY(page_look(&w, path, &there));
	}
	return ERR_OK;
}

enum err base_source_find(struct base_source *s, const struct staging *staging,
	const struct staged_page *page, const struct digest *base, const struct index_page *index)
{
	const struct base_place package = {depot_package_path, base, LIMIT_PAGES};
	const struct base_place here = {depot_staging_path, &staging->id, page->number};
	*s = (struct base_source){
		.a = page->a, .staging = staging, .page = page, .rot = staging->rot, .base = *base};
	TRY(chunks_list(s, index));
	if (!digest_is_zero(base))
		TRY(pages_look(s, staging->store, &package));
	return pages_look(s, staging->store, &here);
}

bool base_source_is_ready(const struct base_source *s, const struct object *o)
{
	for (size_t i = 0; i + 1 < o->own_run_count; i += 2) {
		for (uint32_t c = 0; c < o->own_runs[i + 1]; c++) {
			if (!staging_has_chunk(s->staging, s->page->number, o->own_runs[i] + c))
				return false;
		}
	}
	return true;
}

bool base_source_has(const struct base_source *s, const struct object *o)
{
	for (size_t i = 0; i < o->base_count; i++) {
		const struct base_chunk *c = chunk_find(s, &o->base_chunks[i]);
		if (c == NULL || c->file == NOWHERE || c->size != o->base_sizes[i])
			return false;
	}
	return true;
}

// ---- reading

static enum err own_read(const struct base_source *s, uint32_t chunk, struct buf *out)
{
	const struct chunk_ref *c = &s->page->plan.chunks[chunk];
	TRY(buf_reserve(out, c->size));
	if (staging_read(s->staging, s->page, chunk, out->data + out->size) != ERR_OK)
		return err_set(ERR_NOT_FOUND, "a chunk that was stored cannot be read");
	struct digest have = sha256(out->data + out->size, c->size);
	if (!digest_equal(&have, &c->sha256))
		return err_set(ERR_NOT_FOUND, "a chunk that was stored is rotten");
	out->size += c->size;
	return ERR_OK;
}

static enum err chunk_read(const struct base_chunk *c, const char *path, struct buf *out)
{
	TRY(buf_reserve(out, c->size));
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fd_pread_all(fd, out->data + out->size, c->size, (off_t)c->offset) != ERR_OK)
		return err_set(ERR_NOT_FOUND, "a base chunk of %s cannot be read", path);
	struct digest have = sha256(out->data + out->size, c->size);
	if (!digest_equal(&have, &c->sha256))
		return err_set(ERR_NOT_FOUND, "a base chunk of %s is rotten", path);
	out->size += c->size;
	return ERR_OK;
}

enum err base_source_read(const struct base_source *s, const struct object *o, struct buf *out)
{
	buf_clear(out);
	for (size_t i = 0; i < o->base_count; i++) {
		const struct base_chunk *c = chunk_find(s, &o->base_chunks[i]);
		if (c == NULL || c->file == NOWHERE || c->size != o->base_sizes[i])
			return err_set(ERR_NOT_FOUND, "a base chunk is not on this device");
		enum err e = chunk_read(c, s->files[c->file], out);
		if (e == ERR_NOT_FOUND)
			rot_note(s->rot, &s->base, &c->sha256);
		TRY(e);
	}
	for (size_t i = 0; i + 1 < o->own_run_count; i += 2) {
		for (uint32_t c = 0; c < o->own_runs[i + 1]; c++)
			TRY(own_read(s, o->own_runs[i] + c, out));
	}
	return ERR_OK;
}

enum err base_page_read(const struct depot *store, const struct digest *base,
	const struct digest *page, struct rot *rot, struct buf *out)
{
	char path[DEPOT_PATH], rest[32];
	struct manifest m;
	SCOPED_ARENA struct arena a;
	arena_init(&a, PAGE_ARENA, PAGE_COUNT);
	TRY(depot_manifest(store, base, &a, &m));
	for (uint32_t i = 0; i < m.page_count; i++) {
		if (!digest_equal(&m.pages[i].sha256, page))
			continue;
		(void)snprintf(rest, sizeof rest, "pages/%03u", i);
		depot_package_path(store, base, rest, path);
		buf_clear(out);
		TRY(file_read(path, out));
		struct digest have = sha256(out->data, out->size);
		if (digest_equal(&have, page))
			return ERR_OK;
		rot_note(rot, base, page);
		return err_set(ERR_NOT_FOUND, "a page of the base is rotten");
	}
	return err_set(ERR_NOT_FOUND, "the base has no such page");
}
