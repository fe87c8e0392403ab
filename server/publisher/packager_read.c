// Fills batches: reads files one after the other, and cuts them as far as they are read.
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/chunker.h"
#include "server/publisher/packager_batch.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH_BYTES ((size_t)4 << 20)
#define PARTS_MAX 256
#define PIECES_MAX (BATCH_BYTES / CHUNK_MIN + PARTS_MAX)
#define BEGIN_ROOM (2 * CHUNK_MAX) // less is left: the next file begins in the next batch

enum err batch_init(struct batch *b)
{
	b->room = malloc(BATCH_BYTES);
	b->pieces = calloc(PIECES_MAX, sizeof *b->pieces);
	b->parts = calloc(PARTS_MAX, sizeof *b->parts);
	return b->room && b->pieces && b->parts ? ERR_OK
						: err_set(ERR_MEMORY, "no memory to read files");
}

void batch_fini(struct batch *b)
{
	free(b->room);
	free(b->pieces);
	free(b->parts);
}

enum err reader_init(struct reader *r, struct pack_work *w)
{
	*r = (struct reader){.work = w, .fd = -1};
	for (size_t i = 0; i < 2; i++)
		r->streams[i] = sha256_new();
	r->rest = malloc(CHUNK_MAX);
	return r->rest ? ERR_OK : err_set(ERR_MEMORY, "no memory to read files");
}

void reader_fini(struct reader *r)
{
	for (size_t i = 0; i < 2; i++)
		sha256_free(r->streams[i]);
	if (r->fd >= 0)
		close(r->fd);
	free(r->rest);
}

enum err pack_file_open(const struct pack_work *w, const struct pack_file *p, int *fd)
{
	if (!p->tree)
		return blob_open(w->job->images, &p->image, fd);
	if (!w->job->single_file)
		return tree_open(w->job->root_fd, p->tree, fd);
	*fd = fcntl(w->job->root_fd, F_DUPFD_CLOEXEC, 0);
	if (*fd < 0 || lseek(*fd, 0, SEEK_SET) < 0)
		return err_set_errno("cannot read %s", p->path);
	return ERR_OK;
}

static enum err batch_fill(struct reader *r, struct batch *b)
{
	while (!r->eof && b->size < BATCH_BYTES) {
		ssize_t n = read(r->fd, b->room + b->size, BATCH_BYTES - b->size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno("cannot read a file of the package");
		r->eof = n == 0;
		b->size += (size_t)n;
	}
	return ERR_OK;
}

static bool is_met(const struct reader *r, struct piece *p, const struct seen_chunk *c,
	struct onetime_mac *mac)
{
	p->mark = seen_mark(mac, &r->work->job->seen->key, &c->sha256, bytes_of(p->data, c->size));
	return memcmp(&p->mark, &c->mark, sizeof c->mark) == 0;
}

// Where the piece ends: where a known one does, or where its content says.
static void piece_cut(struct reader *r, struct piece *p, size_t left, struct onetime_mac *mac)
{
	struct seen_follow *follow = &r->follow;
	const struct seen_chunk *c = seen_expected(follow, left);

	if (c && is_met(r, p, c, mac)) {
		p->ref = (struct chunk_ref){.sha256 = c->sha256, .size = c->size};
		p->met = true;
		seen_met(follow);
		return;
	}
	if (c)
		seen_missed(follow);
	p->ref.size = (uint32_t)chunk_cut(p->data, left);
	seen_found(follow, p->ref.size);
}

// Cuts what stands in the batch from `at` on; what cannot be cut yet is kept as rest.
static void part_cut(
	struct reader *r, struct batch *b, struct part *p, size_t at, struct onetime_mac *mac)
{
	const uint8_t *begin = b->room + at;
	size_t left = b->size - at;

	while (left >= CHUNK_MAX || (r->eof && left > 0)) {
		struct piece *piece = &b->pieces[b->piece_count++];
		*piece = (struct piece){.data = b->room + b->size - left};
		piece_cut(r, piece, left, mac);
		left -= piece->ref.size;
	}
	b->size -= left;
	memcpy(r->rest, b->room + b->size, left);
	r->rest_size = left;
	p->bytes = bytes_of(begin, b->size - at);
	p->count = b->piece_count - p->first;
}

static enum err file_begin(struct reader *r)
{
	const struct pack_job *job = r->work->job;
	const struct pack_file *file = &job->files[r->file];

	r->opened_unix_ms = clock_now().wall.ms;
	r->follow = (struct seen_follow){
		.file = job->seen && !job->small ? seen_find(job->seen, file->path) : NULL};
	TRY(pack_file_open(r->work, file, &r->fd));
	r->alone = file->tree && job->seen && tree_file_is_left_alone(r->fd);
	return ERR_OK;
}

static void file_leave(struct reader *r, struct part *p)
{
	const struct tree_file *file = r->work->job->files[r->file].tree;

	p->settled = file && r->alone && tree_file_is_same(r->fd, file) &&
		     seen_is_settled(file, r->opened_unix_ms) && tree_stamp_is_the_kernels(r->fd);
	close(r->fd);
	r->fd = -1;
	r->eof = false;
	r->file++;
}

static enum err part_read(struct reader *r, struct batch *b, struct onetime_mac *mac)
{
	struct part *p = &b->parts[b->part_count++];
	size_t at = b->size;

	*p = (struct part){.file = r->file, .first = b->piece_count, .begins = !r->began};
	if (r->fd < 0)
		TRY(file_begin(r));
	memcpy(b->room + b->size, r->rest, r->rest_size);
	b->size += r->rest_size;
	r->rest_size = 0;
	TRY(batch_fill(r, b));
	bool full = !r->eof;
	part_cut(r, b, p, at, mac);
	p->ends = r->eof;
	if (p->begins && full)
		r->streams_used++;
	if (!p->begins || full)
		p->hash = r->streams[r->streams_used % 2];
	r->began = full;
	if (!full)
		file_leave(r, p);
	return ERR_OK;
}

// The whole of a file that is as it was.
static bool part_take_over(struct reader *r, struct batch *b)
{
	const struct seen_file *seen =
		r->began ? NULL : pack_unread(r->work, &r->work->job->files[r->file]);

	if (!seen)
		return false;
	b->parts[b->part_count++] = (struct part){.file = r->file++,
		.first = b->piece_count,
		.begins = true,
		.ends = true,
		.seen = seen,
		.sha256 = seen->sha256};
	return true;
}

enum err batch_read(struct reader *r, struct batch *b, struct onetime_mac *mac)
{
	b->size = b->part_count = b->piece_count = b->next = 0;
	while (r->file < r->work->job->file_count && b->part_count < PARTS_MAX &&
		b->size + BEGIN_ROOM <= BATCH_BYTES) {
		if (part_take_over(r, b))
			continue;
		TRY(part_read(r, b, mac));
		if (r->began)
			break; // full
	}
	return ERR_OK;
}
