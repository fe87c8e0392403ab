// First pass: files to chunks, large chunks to objects, small ones to the spool, all to the
// manifest.
//
//   read, cut -> batch -> hash of each chunk, object of each that is new    any of the crew
//                      -> hash of files that go on from batch to batch      one, in order
//             -> spool, sets of objects, manifest, what was seen            one, in order
//
// Several batches are under way (packager_read.c fills them), and each of the crew takes what is
// most waited for: what goes in order first, reading next. The hash of a large file cannot be
// shared out, so it never waits for the rest. Whoever makes an object makes the same: what comes
// out depends on the content alone.
#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/publisher/packager_batch.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define BATCHES 4
#define ALONE_BYTES (1u << 20) // a job of less is done before a thread has begun

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
	struct reader reader;
	struct file_cut cut;
	// who does what: under the mutex; a batch is the crew's between its reading and its taking
	uv_mutex_t mutex;
	uv_cond_t changed;
	struct batch batches[BATCHES]; // number n at n % BATCHES
	uint64_t read, hashed, taken;  // how many: taken <= hashed <= read <= taken + BATCHES
	bool reading, hashing, taking, read_all;
	// the first fault
	_Atomic bool failed;
	enum err fault;
	char why[256];
};

// ---- steps, in any order

static bool is_alone(const struct part *p)
{
	return p->begins && p->ends && p->count == 1;
}

// Of a file that is whole in its batch; else it is its chunk's, or that of then, or in order.
static void part_hash(struct part *p)
{
	if (!is_alone(p) && !p->seen && !p->hash)
		p->sha256 = sha256(p->bytes.data, p->bytes.size);
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
	if (w->flush)
		blob_flush_put(w->flush, transported.size);
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

static size_t batch_steps(const struct batch *b)
{
	return b->part_count + b->piece_count;
}

static void step_do(struct first_pass *f, struct batch *b, size_t at, size_t member)
{
	if (at < b->part_count)
		part_hash(&b->parts[at]);
	else
		fault_note(f, piece_make(f, &b->pieces[at - b->part_count], member));
}

// ---- in order

static void batch_hash(struct batch *b)
{
	for (size_t i = 0; i < b->part_count; i++) {
		struct part *p = &b->parts[i];
		if (!p->hash)
			continue;
		sha256_add(p->hash, p->bytes.data, p->bytes.size);
		if (p->ends)
			p->sha256 = sha256_end(p->hash);
	}
}

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

// First of all what was written, so that an undo finds it.
static enum err written_note(struct pack_work *w, const struct batch *b)
{
	for (size_t i = 0; i < b->piece_count; i++)
		if (b->pieces[i].fresh)
			TRY(pack_object_written(w, &b->pieces[i].made, &b->pieces[i].ref));
	return ERR_OK;
}

static enum err batch_take(struct first_pass *f, const struct batch *b)
{
	const _Atomic bool *cancel = f->work->job->cancel;

	TRY(written_note(f->work, b));
	if (cancel && *cancel)
		return err_set(ERR_NOT_NOW, "the build was cancelled");
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

// ---- who does what

enum duty_kind {
	DUTY_NONE,
	DUTY_TAKE,
	DUTY_HASH,
	DUTY_READ,
	DUTY_STEP
};

struct duty {
	enum duty_kind kind;
	struct batch *batch;
	size_t step;
};

static struct batch *batch_at(struct first_pass *f, uint64_t number)
{
	return &f->batches[number % BATCHES];
}

static bool is_made(const struct batch *b)
{
	return b->next == batch_steps(b) && b->busy == 0;
}

static bool step_find(struct first_pass *f, struct duty *d)
{
	for (uint64_t n = f->taken; n < f->read; n++) {
		struct batch *b = batch_at(f, n);
		if (b->next == batch_steps(b))
			continue;
		*d = (struct duty){.kind = DUTY_STEP, .batch = b, .step = b->next++};
		b->busy++;
		return true;
	}
	return false;
}

// What is most waited for. Under the mutex.
static bool duty_find(struct first_pass *f, struct duty *d)
{
	*d = (struct duty){.kind = DUTY_NONE};
	if (!f->taking && f->taken < f->hashed && is_made(batch_at(f, f->taken))) {
		f->taking = true;
		*d = (struct duty){.kind = DUTY_TAKE, .batch = batch_at(f, f->taken)};
	} else if (!f->hashing && f->hashed < f->read) {
		f->hashing = true;
		*d = (struct duty){.kind = DUTY_HASH, .batch = batch_at(f, f->hashed)};
	} else if (!f->reading && !f->read_all && f->read < f->taken + BATCHES) {
		f->reading = true;
		*d = (struct duty){.kind = DUTY_READ, .batch = batch_at(f, f->read)};
	} else {
		return step_find(f, d);
	}
	return true;
}

static void duty_do(struct first_pass *f, const struct duty *d, size_t member)
{
	switch (d->kind) {
	case DUTY_TAKE:
		fault_note(f, batch_take(f, d->batch));
		break;
	case DUTY_HASH:
		batch_hash(d->batch);
		break;
	case DUTY_READ:
		fault_note(f, batch_read(&f->reader, d->batch, f->macs[member]));
		break;
	case DUTY_STEP:
		step_do(f, d->batch, d->step, member);
		break;
	case DUTY_NONE:
		break;
	}
}

// Under the mutex.
static void duty_end(struct first_pass *f, const struct duty *d)
{
	switch (d->kind) {
	case DUTY_TAKE:
		f->taking = false;
		f->taken++;
		break;
	case DUTY_HASH:
		f->hashing = false;
		f->hashed++;
		break;
	case DUTY_READ:
		f->reading = false;
		f->read_all = d->batch->part_count == 0;
		f->read += !f->read_all;
		break;
	case DUTY_STEP:
		d->batch->busy--;
		break;
	case DUTY_NONE:
		break;
	}
	uv_cond_broadcast(&f->changed);
}

static bool is_through(const struct first_pass *f)
{
	return f->failed || (f->read_all && f->taken == f->read);
}

// A member's whole part in the pass.
static void member_work(void *ctx, size_t step, size_t member)
{
	struct first_pass *f = ctx;
	struct duty d;

	(void)step;
	uv_mutex_lock(&f->mutex);
	while (!is_through(f)) {
		if (!duty_find(f, &d)) {
			uv_cond_wait(&f->changed, &f->mutex);
			continue;
		}
		uv_mutex_unlock(&f->mutex);
		duty_do(f, &d, member);
		uv_mutex_lock(&f->mutex);
		duty_end(f, &d);
	}
	uv_mutex_unlock(&f->mutex);
}

// ---- all

// What was written and not taken is noted too.
static enum err fault_tell(struct first_pass *f)
{
	for (size_t i = 0; i < BATCHES; i++)
		TRY(written_note(f->work, &f->batches[i]));
	return err_set(f->fault, "%s", f->why);
}

static enum err pass_run(struct first_pass *f)
{
	crew_run(f->crew, crew_size(f->crew), member_work, f);
	return f->failed ? fault_tell(f) : ERR_OK;
}

static enum err pass_begin(struct first_pass *f)
{
	const struct pack_job *job = f->work->job;
	uint64_t bytes = 0;

	for (size_t i = 0; i < job->file_count; i++)
		bytes += job->files[i].size;
	TRY(crew_new(bytes < ALONE_BYTES ? 1 : CREW_MAX, &f->crew));
	if (bytes >= ALONE_BYTES && !job->small)
		TRY(blob_flush_begin(job->objects, f->work->watch, &f->work->flush));
	for (size_t i = 0; i < crew_size(f->crew) && !job->small; i++)
		TRY(pack_encoder_new(f->work, &f->encoders[i]));
	for (size_t i = 0; i < crew_size(f->crew); i++)
		f->macs[i] = onetime_mac_new();
	for (size_t i = 0; i < BATCHES; i++)
		TRY(batch_init(&f->batches[i]));
	return reader_init(&f->reader, f->work);
}

static void pass_end(struct first_pass *f)
{
	crew_free(f->crew);
	for (size_t i = 0; i < CREW_MAX; i++) {
		object_encoder_free(f->encoders[i]);
		onetime_mac_free(f->macs[i]);
	}
	for (size_t i = 0; i < BATCHES; i++)
		batch_fini(&f->batches[i]);
	reader_fini(&f->reader);
	uv_cond_destroy(&f->changed);
	uv_mutex_destroy(&f->mutex);
	free(f->cut.hashes);
	free(f->cut.sizes);
	free(f->cut.marks);
}

enum err pack_files(struct pack_work *w)
{
	struct first_pass f = {.work = w, .reader.fd = -1};

	if (uv_mutex_init(&f.mutex) != 0 || uv_cond_init(&f.changed) != 0)
		abort(); // out of memory
	enum err e = pass_begin(&f);

	if (e == ERR_OK)
		e = pass_run(&f);
	pass_end(&f);
	return e;
}
