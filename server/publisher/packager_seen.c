// Files of the first pass that are not read, because they are as they were seen last.
//
//   its chunks of OBJECT_PACK_MIN and more are objects of the store: used as they are
//   smaller ones stand in a group with their neighbours: read later, if that group has to be made
#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/publisher/packager_inside.h"
#include <stdlib.h>
#include <unistd.h>

static bool chunks_are_there(struct pack_work *w, const struct seen_file *f)
{
	for (size_t i = 0; i < f->chunk_count; i++) {
		const struct chunk_ref c = {
			.sha256 = f->chunks[i].sha256, .size = f->chunks[i].size};
		if (!pack_is_small(w, c.size) && !pack_object_is_there(w, &c))
			return false;
	}
	return true;
}

const struct seen_file *pack_unread(struct pack_work *w, const struct pack_file *p)
{
	const struct pack_job *job = w->job;

	if (!job->seen || job->read_all || job->small || !p->tree)
		return NULL;
	const struct seen_file *f = seen_find(job->seen, p->path);
	if (!f || !seen_is_same(f, p->tree) || !chunks_are_there(w, f))
		return NULL;
	// Opened, because only that asks a file system of another machine anew.
	SCOPED_FD int fd = -1;
	return pack_file_open(w, p, &fd) == ERR_OK && tree_file_is_same(fd, p->tree) ? f : NULL;
}

static bool places_room(struct pack_later *l)
{
	if (l->chunks.object_count < l->cap)
		return true;
	size_t cap = l->cap ? l->cap * 2 : 256;
	struct later_place *places = realloc(l->places, cap * sizeof *places);
	if (!places)
		return false;
	l->places = places;
	l->cap = cap;
	return true;
}

enum err pack_later_put(
	struct pack_work *w, const struct chunk_ref *c, size_t file, uint64_t offset)
{
	const struct object one = {.size_bytes = c->size, .chunk_count = 1};
	struct pack_later *l = &w->later;

	if (known_has(&l->chunks, &c->sha256))
		return ERR_OK;
	if (!places_room(l))
		return err_set(ERR_MEMORY, "no memory for chunks that are read later");
	l->places[l->chunks.object_count] = (struct later_place){.file = file, .offset = offset};
	return known_add(&l->chunks, &one, &c->sha256);
}

static enum err bytes_read(struct pack_work *w, const struct pack_file *p, uint64_t offset,
	uint32_t size, struct buf *out)
{
	SCOPED_FD int fd = -1;

	TRY(pack_file_open(w, p, &fd));
	TRY(buf_reserve(out, size));
	TRY(fd_pread_all(fd, out->data + out->size, size, (off_t)offset));
	if (!tree_file_is_same(fd, p->tree))
		return err_set(ERR_NOT_NOW, "%s changed while the package was made", p->path);
	return ERR_OK;
}

// Hashed again: the stamp alone does not put bytes into an object.
enum err pack_later_read(struct pack_work *w, const struct chunk_ref *c, struct buf *out)
{
	const struct pack_later *l = &w->later;
	const struct known_object *o = known_run(&l->chunks, c, 1);

	if (!o)
		return err_set(ERR_CORRUPT, "chunk %s was not kept", digest_short(&c->sha256));
	const struct later_place *at = &l->places[o - l->chunks.objects];
	const struct pack_file *p = &w->job->files[at->file];
	TRY(bytes_read(w, p, at->offset, c->size, out));
	struct digest is = sha256(out->data + out->size, c->size);
	if (!digest_equal(&is, &c->sha256))
		return err_set(ERR_NOT_NOW,
			"%s is not what its times say: build again with all files read", p->path);
	out->size += c->size;
	w->out->read_bytes += c->size;
	return ERR_OK;
}

void pack_later_end(struct pack_later *l)
{
	known_fini(&l->chunks);
	free(l->places);
}
