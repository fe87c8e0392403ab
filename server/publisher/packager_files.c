// First pass: files to chunks, large chunks to objects, small ones to the spool, all to the
// manifest.
//
//   read, cut -> batch -> hash of each chunk, object of each that is new, hash of each file
//             -> in order: spool, sets of objects, manifest
//
// While a crew works on one batch, one of it reads and cuts the next. No step looks at what another
// of its round makes, and what all of them look at stands still meanwhile: what comes out depends
// on the content alone.
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/chunker.h"
#include "proto/digest.h"
#include "server/publisher/packager_inside.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH_BYTES ((size_t)8 << 20)
#define PARTS_MAX 256
#define PIECES_MAX (BATCH_BYTES / CHUNK_MIN + PARTS_MAX)
#define BEGIN_ROOM (2 * CHUNK_MAX) // less is left: the next file begins in the next batch
#define ALONE_BYTES (1u << 20)     // a job of less is done before a thread has begun

// A chunk on its way.
struct piece {
	struct chunk_ref ref;
	const uint8_t *data;
	struct id16 mark;
	bool met; // known by its mark: ref is whole
	struct object made;
	bool fresh; // its object is new, and written
};

// What a batch has of a file.
struct part {
	size_t file;
	struct bytes bytes;
	size_t first, count; // pieces
	bool begins, ends;
	const struct seen_file *seen; // it is not read
	bool settled; // where it ends: nothing changed while it was read, or long before
	struct sha256_stream *hash; // of a file of several batches
	struct digest sha256;       // of the file, where it ends
};

struct batch {
	uint8_t *room;
	size_t size;
	struct piece *pieces;
	size_t piece_count;
	struct part *parts;
	size_t part_count;
};

struct reader {
	size_t file; // that is open, or comes next
	int fd;
	bool eof;
	bool began; // some of the file is in an earlier batch
	int64_t opened_unix_ms;
	struct seen_follow follow;
	unsigned streams_used; // of first_pass.streams
	uint8_t *rest;         // read, and not cut yet
	size_t rest_size;
};

// Chunks of the file at hand.
struct file_cut {
	struct digest *hashes;
	uint32_t *sizes;
	struct id16 *marks;
	size_t count, cap;
	uint64_t size;
};

struct first_pass {
	struct pack_work *work;
	struct crew *crew;
	struct object_encoder *encoders[CREW_MAX];
	struct onetime_mac *macs[CREW_MAX];
	struct sha256_stream *streams[2]; // two files at most go on from batch to batch at a time
	struct reader reader;
	struct batch batches[2], *now, *next;
	struct file_cut cut;
	// the first fault of a round
	_Atomic bool failed;
	enum err fault;
	char why[256];
};

// ---- reading

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

static bool is_met(
	const struct first_pass *f, struct piece *p, const struct seen_chunk *c, size_t member)
{
	p->mark = seen_mark(
		f->macs[member], &f->work->job->seen->key, &c->sha256, bytes_of(p->data, c->size));
	return memcmp(&p->mark, &c->mark, sizeof c->mark) == 0;
}

// Where the piece ends: where a known one does, or where its content says.
static void piece_cut(struct first_pass *f, struct piece *p, size_t left, size_t member)
{
	struct seen_follow *follow = &f->reader.follow;
	const struct seen_chunk *c = seen_expected(follow, left);

	if (c && is_met(f, p, c, member)) {
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
	struct first_pass *f, struct batch *b, struct part *p, size_t at, size_t member)
{
	struct reader *r = &f->reader;
	const uint8_t *begin = b->room + at;
	size_t left = b->size - at;

	while (left >= CHUNK_MAX || (r->eof && left > 0)) {
		struct piece *piece = &b->pieces[b->piece_count++];
		*piece = (struct piece){.data = b->room + b->size - left};
		piece_cut(f, piece, left, member);
		left -= piece->ref.size;
	}
	b->size -= left;
	memcpy(r->rest, b->room + b->size, left);
	r->rest_size = left;
	p->bytes = bytes_of(begin, b->size - at);
	p->count = b->piece_count - p->first;
}

static enum err reader_open(struct first_pass *f)
{
	struct reader *r = &f->reader;
	const struct pack_job *job = f->work->job;
	const struct pack_file *file = &job->files[r->file];

	r->opened_unix_ms = clock_now().wall.ms;
	r->follow = (struct seen_follow){
		.file = job->seen && !job->small ? seen_find(job->seen, file->path) : NULL};
	return pack_file_open(f->work, file, &r->fd);
}

static void reader_close(struct first_pass *f, struct part *p)
{
	struct reader *r = &f->reader;
	const struct tree_file *file = f->work->job->files[r->file].tree;

	p->settled =
		file && tree_file_is_same(r->fd, file) && seen_is_settled(file, r->opened_unix_ms);
	close(r->fd);
	r->fd = -1;
	r->eof = false;
	r->file++;
}

static enum err part_read(struct first_pass *f, struct batch *b, size_t member)
{
	struct reader *r = &f->reader;
	struct part *p = &b->parts[b->part_count++];
	size_t at = b->size;

	*p = (struct part){.file = r->file, .first = b->piece_count, .begins = !r->began};
	if (r->fd < 0)
		TRY(reader_open(f));
	memcpy(b->room + b->size, r->rest, r->rest_size);
	b->size += r->rest_size;
	r->rest_size = 0;
	TRY(batch_fill(r, b));
	bool full = !r->eof;
	part_cut(f, b, p, at, member);
	p->ends = r->eof;
	if (p->begins && full)
		r->streams_used++;
	if (!p->begins || full)
		p->hash = f->streams[r->streams_used % 2];
	r->began = full;
	if (!full)
		reader_close(f, p);
	return ERR_OK;
}

// The whole of a file that is as it was.
static bool part_take_over(struct first_pass *f, struct batch *b)
{
	struct reader *r = &f->reader;
	const struct seen_file *seen =
		r->began ? NULL : pack_unread(f->work, &f->work->job->files[r->file]);

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

static enum err batch_read(struct first_pass *f, struct batch *b, size_t member)
{
	b->size = b->part_count = b->piece_count = 0;
	while (f->reader.file < f->work->job->file_count && b->part_count < PARTS_MAX &&
		b->size + BEGIN_ROOM <= BATCH_BYTES) {
		if (part_take_over(f, b))
			continue;
		TRY(part_read(f, b, member));
		if (f->reader.began)
			break; // full
	}
	return ERR_OK;
}

// ---- steps of a round

static bool is_alone(const struct part *p)
{
	return p->begins && p->ends && p->count == 1;
}

static void part_hash(struct part *p)
{
	if (is_alone(p) || p->seen)
		return; // its chunk's, or that of then
	if (!p->hash) {
		p->sha256 = sha256(p->bytes.data, p->bytes.size);
		return;
	}
	sha256_add(p->hash, p->bytes.data, p->bytes.size);
	if (p->ends)
		p->sha256 = sha256_end(p->hash);
}

bool pack_is_small(const struct pack_work *w, uint32_t size)
{
	return w->job->small || size < OBJECT_PACK_MIN;
}

// Hash and mark.
static void piece_name(struct first_pass *f, struct piece *p, size_t member)
{
	const struct seen *seen = f->work->job->seen;

	if (p->met)
		return;
	p->ref.sha256 = sha256(p->data, p->ref.size);
	if (seen && p->ref.size >= CHUNK_MIN) // less is the last of a file, and never looked for
		p->mark = seen_mark(f->macs[member], &seen->key, &p->ref.sha256,
			bytes_of(p->data, p->ref.size));
}

static enum err piece_make(struct first_pass *f, struct piece *p, size_t member)
{
	struct pack_work *w = f->work;
	struct bytes transported;

	piece_name(f, p, member);
	if (pack_is_small(w, p->ref.size) || pack_object_is_there(w, &p->ref))
		return ERR_OK;
	p->made = (struct object){.chunk_count = 1};
	TRY(object_encode(f->encoders[member], &p->ref, bytes_of(p->data, p->ref.size), &p->made,
		&transported));
	TRY(blob_put(w->job->objects, &p->made.sha256, transported));
	p->fresh = true;
	return ERR_OK;
}

static void fault_note(struct first_pass *f, enum err e)
{
	bool none = false;

	if (e == ERR_OK || !atomic_compare_exchange_strong(&f->failed, &none, true))
		return;
	f->fault = e;
	if (!str_copy(f->why, sizeof f->why, err_text()))
		(void)str_copy(f->why, sizeof f->why, err_word(e));
}

// Reading first, because it takes longest; then the hashes of files, then chunk by chunk.
static void step(void *ctx, size_t at, size_t member)
{
	struct first_pass *f = ctx;

	if (f->failed)
		return;
	if (at == 0)
		fault_note(f, batch_read(f, f->next, member));
	else if (at <= f->now->part_count)
		part_hash(&f->now->parts[at - 1]);
	else
		fault_note(f, piece_make(f, &f->now->pieces[at - 1 - f->now->part_count], member));
}

// ---- in order

static enum err cut_room(struct file_cut *f)
{
	size_t cap = f->cap ? f->cap * 2 : 16;

	if (f->count < f->cap)
		return ERR_OK;
	struct digest *hashes = realloc(f->hashes, cap * sizeof *hashes);
	if (hashes)
		f->hashes = hashes;
	uint32_t *sizes = realloc(f->sizes, cap * sizeof *sizes);
	if (sizes)
		f->sizes = sizes;
	struct id16 *marks = realloc(f->marks, cap * sizeof *marks);
	if (marks)
		f->marks = marks;
	if (!hashes || !sizes || !marks)
		return err_set(ERR_MEMORY, "no memory for the chunks of a file");
	f->cap = cap;
	return ERR_OK;
}

static enum err chunk_take(struct first_pass *f, const struct chunk_ref *c, const struct id16 *mark)
{
	struct file_cut *cut = &f->cut;

	TRY(cut_room(cut));
	cut->hashes[cut->count] = c->sha256;
	cut->marks[cut->count] = *mark;
	cut->sizes[cut->count++] = c->size;
	cut->size += c->size;
	if (f->work->job->done_bytes)
		*f->work->job->done_bytes += c->size;
	return ERR_OK;
}

static enum err object_take(struct pack_work *w, const struct chunk_ref *c)
{
	struct object o;
	struct pack_found found = pack_object_find(w, c, 1);

	return pack_object_use(w, &found, NULL, &o);
}

static enum err piece_take(struct first_pass *f, const struct piece *p)
{
	struct pack_work *w = f->work;

	TRY(chunk_take(f, &p->ref, &p->mark));
	w->out->read_bytes += p->ref.size;
	if (pack_is_small(w, p->ref.size))
		return spool_put(&w->spool, &p->ref, p->data, NULL);
	return object_take(w, &p->ref);
}

static enum err seen_take(struct first_pass *f, const struct part *p)
{
	struct pack_work *w = f->work;
	uint64_t offset = 0;

	for (size_t i = 0; i < p->seen->chunk_count; i++) {
		const struct seen_chunk *s = &p->seen->chunks[i];
		const struct chunk_ref c = {.sha256 = s->sha256, .size = s->size};
		TRY(chunk_take(f, &c, &s->mark));
		TRY(pack_is_small(w, c.size) ? pack_later_put(w, &c, p->file, offset)
					     : object_take(w, &c));
		offset += c.size;
	}
	return ERR_OK;
}

static enum err file_check(const struct pack_file *p, const struct file_entry *e)
{
	if (e->size_bytes != p->size)
		return err_set(ERR_NOT_NOW, "%s changed while the package was made", p->path);
	if (!p->tree && !digest_equal(&e->sha256, &p->image))
		return err_set(
			ERR_CORRUPT, "the stored picture %s is damaged", digest_short(&p->image));
	return ERR_OK;
}

// What the next build of the package finds of this file.
static enum err seen_note(struct first_pass *f, const struct part *p, const struct file_entry *e)
{
	const struct pack_file *file = &f->work->job->files[p->file];
	const struct file_cut *cut = &f->cut;

	if (!f->work->job->seen || !file->tree)
		return ERR_OK;
	SCOPED_FREE struct seen_chunk *chunks = calloc(cut->count + 1, sizeof *chunks);
	if (!chunks)
		return err_set(ERR_MEMORY, "no memory for what was seen of files");
	for (size_t i = 0; i < cut->count; i++)
		chunks[i] = (struct seen_chunk){
			.sha256 = cut->hashes[i], .size = cut->sizes[i], .mark = cut->marks[i]};
	const struct seen_file s = {.path = file->tree->path,
		.size = e->size_bytes,
		.stamp = file->tree->stamp,
		.settled = p->settled,
		.kept = p->seen != NULL,
		.sha256 = e->sha256,
		.chunks = chunks,
		.chunk_count = p->seen ? 0 : cut->count};
	return seen_add(&f->work->out->seen, &s);
}

static enum err file_end(struct first_pass *f, const struct part *p)
{
	const struct pack_file *file = &f->work->job->files[p->file];
	const struct file_cut *c = &f->cut;
	struct file_entry e = {.path = file->path,
		.size_bytes = c->size,
		.sha256 = c->count == 1 ? c->hashes[0] : p->sha256,
		.executable = file->tree && file->tree->executable,
		.chunk_sha256 = bytes_of(c->hashes, c->count * sizeof *c->hashes),
		.chunk_size = c->sizes,
		.chunk_count = c->count,
		.picture = file->picture};

	TRY(file_check(file, &e));
	TRY(manifest_builder_add(f->work->builder, &e));
	TRY(seen_note(f, p, &e));
	f->cut.count = 0;
	f->cut.size = 0;
	return ERR_OK;
}

// First of all what was written, so that an undo finds it also after a fault.
static enum err written_note(struct pack_work *w, const struct batch *b)
{
	for (size_t i = 0; i < b->piece_count; i++)
		if (b->pieces[i].fresh)
			TRY(pack_object_written(w, &b->pieces[i].made, &b->pieces[i].ref));
	return ERR_OK;
}

static enum err batch_take(struct first_pass *f, const struct batch *b)
{
	TRY(written_note(f->work, b));
	if (f->failed)
		return err_set(f->fault, "%s", f->why);
	for (size_t i = 0; i < b->part_count; i++) {
		const struct part *p = &b->parts[i];
		for (size_t k = p->first; k < p->first + p->count; k++)
			TRY(piece_take(f, &b->pieces[k]));
		if (p->seen)
			TRY(seen_take(f, p));
		if (p->ends)
			TRY(file_end(f, p));
	}
	return ERR_OK;
}

// ---- all

static enum err rounds_run(struct first_pass *f)
{
	const _Atomic bool *cancel = f->work->job->cancel;

	for (;;) {
		crew_run(f->crew, 1 + f->now->part_count + f->now->piece_count, step, f);
		TRY(batch_take(f, f->now));
		struct batch *done = f->now;
		f->now = f->next;
		f->next = done;
		if (f->now->part_count == 0)
			return ERR_OK;
		if (cancel && *cancel)
			return err_set(ERR_NOT_NOW, "the build was cancelled");
	}
}

static enum err batch_init(struct batch *b)
{
	b->room = malloc(BATCH_BYTES);
	b->pieces = calloc(PIECES_MAX, sizeof *b->pieces);
	b->parts = calloc(PARTS_MAX, sizeof *b->parts);
	return b->room && b->pieces && b->parts ? ERR_OK
						: err_set(ERR_MEMORY, "no memory to read files");
}

static enum err pass_begin(struct first_pass *f)
{
	const struct pack_job *job = f->work->job;
	uint64_t bytes = 0;

	for (size_t i = 0; i < job->file_count; i++)
		bytes += job->files[i].size;
	TRY(crew_new(bytes < ALONE_BYTES ? 1 : CREW_MAX, &f->crew));
	for (size_t i = 0; i < crew_size(f->crew) && !job->small; i++)
		TRY(pack_encoder_new(f->work, &f->encoders[i]));
	for (size_t i = 0; i < crew_size(f->crew); i++)
		f->macs[i] = onetime_mac_new();
	for (size_t i = 0; i < 2; i++) {
		f->streams[i] = sha256_new();
		TRY(batch_init(&f->batches[i]));
	}
	f->now = &f->batches[0];
	f->next = &f->batches[1];
	f->reader.rest = malloc(CHUNK_MAX);
	return f->reader.rest ? ERR_OK : err_set(ERR_MEMORY, "no memory to read files");
}

static void pass_end(struct first_pass *f)
{
	crew_free(f->crew);
	for (size_t i = 0; i < CREW_MAX; i++) {
		object_encoder_free(f->encoders[i]);
		onetime_mac_free(f->macs[i]);
	}
	for (size_t i = 0; i < 2; i++) {
		sha256_free(f->streams[i]);
		free(f->batches[i].room);
		free(f->batches[i].pieces);
		free(f->batches[i].parts);
	}
	if (f->reader.fd >= 0)
		close(f->reader.fd);
	free(f->reader.rest);
	free(f->cut.hashes);
	free(f->cut.sizes);
	free(f->cut.marks);
}

enum err pack_files(struct pack_work *w)
{
	struct first_pass f = {.work = w, .reader.fd = -1};
	enum err e = pass_begin(&f);

	if (e == ERR_OK)
		e = rounds_run(&f);
	pass_end(&f);
	return e;
}
