// See spool.h.
#include "spool.h"
#include "proto/base/file.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum err spool_file(const char *dir, int *fd)
{
	*fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*fd < 0)
		*fd = memfd_create("helio-spool", MFD_CLOEXEC);
	return *fd >= 0 ? ERR_OK : err_set_errno("no place for plain chunks");
}

void spool_init(struct spool *s)
{
	*s = (struct spool){.fd = -1};
	known_init(&s->chunks);
}

enum err spool_open(struct spool *s, const char *dir)
{
	return spool_file(dir, &s->fd);
}

void spool_close(struct spool *s)
{
	if (s->fd >= 0)
		close(s->fd);
	known_fini(&s->chunks);
	free(s->places);
	spool_init(s);
}

static bool place_room(struct spool *s)
{
	if (s->chunks.object_count < s->cap)
		return true;
	size_t cap = s->cap ? s->cap * 2 : 256;
	uint64_t *places = realloc(s->places, cap * sizeof *places);
	if (!places)
		return false;
	s->places = places;
	s->cap = cap;
	return true;
}

enum err spool_put(
	struct spool *s, const struct chunk_ref *c, const uint8_t *plain, uint64_t *place)
{
	const struct object one = {.size_bytes = c->size, .chunk_count = 1};
	uint64_t at = s->size;

	if (!spool_find(s, c, &at)) {
		if (!place_room(s))
			return err_set(ERR_MEMORY, "no memory for plain chunks");
		TRY(fd_write_all(s->fd, plain, c->size));
		s->places[s->chunks.object_count] = at;
		s->size += c->size;
		TRY(known_add(&s->chunks, &one, &c->sha256));
	}
	if (place)
		*place = at;
	return ERR_OK;
}

bool spool_find(const struct spool *s, const struct chunk_ref *c, uint64_t *place)
{
	const struct known_object *o = known_run(&s->chunks, c, 1);

	if (o)
		*place = s->places[o - s->chunks.objects];
	return o != NULL;
}

enum err spool_read(const struct spool *s, uint64_t place, uint32_t size, struct buf *out)
{
	TRY(buf_reserve(out, size));
	TRY(fd_pread_all(s->fd, out->data + out->size, size, (off_t)place));
	out->size += size;
	return ERR_OK;
}
