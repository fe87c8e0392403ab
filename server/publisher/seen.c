// See seen.h.
#include "seen.h"
#include "proto/limits.h"
#include <stdlib.h>
#include <string.h>

#define WAY_BACK 4096 // chunks that are looked at for one of the same size: some 780 MB

void seen_init(struct seen *s)
{
	*s = (struct seen){0};
}

void seen_fini(struct seen *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->files[i].path);
		free(s->files[i].chunks);
	}
	free(s->files);
	secret_wipe(&s->key, sizeof s->key);
	seen_init(s);
}

static bool seen_room(struct seen *s)
{
	if (s->count < s->cap)
		return true;
	size_t cap = s->cap ? s->cap * 2 : 64;
	struct seen_file *files = realloc(s->files, cap * sizeof *files);
	if (!files)
		return false;
	s->files = files;
	s->cap = cap;
	return true;
}

enum err seen_add(struct seen *s, const struct seen_file *f)
{
	char *path = strdup(f->path);
	struct seen_chunk *chunks = calloc(f->chunk_count + 1, sizeof *chunks);

	if (!path || !chunks || !seen_room(s)) {
		free(path);
		free(chunks);
		return err_set(ERR_MEMORY, "no memory for what was seen of files");
	}
	if (f->chunk_count)
		memcpy(chunks, f->chunks, f->chunk_count * sizeof *chunks);
	struct seen_file *at = &s->files[s->count++];
	*at = *f;
	at->path = path;
	at->chunks = chunks;
	return ERR_OK;
}

static int path_order(const void *key, const void *item)
{
	const struct seen_file *f = item;

	return strcmp(key, f->path);
}

const struct seen_file *seen_find(const struct seen *s, const char *path)
{
	return s->count ? bsearch(path, s->files, s->count, sizeof *s->files, path_order) : NULL;
}

bool seen_is_same(const struct seen_file *seen, const struct tree_file *f)
{
	return seen->settled && seen->size == f->size &&
	       memcmp(&seen->stamp, &f->stamp, sizeof f->stamp) == 0;
}

bool seen_is_settled(const struct tree_file *f, int64_t began_unix_ms)
{
	const struct file_stamp *s = &f->stamp;
	int64_t last_ns = s->modified_ns > s->changed_ns ? s->modified_ns : s->changed_ns;

	return last_ns / 1000000 < began_unix_ms - SEEN_SETTLE_MS;
}

struct id16 seen_mark(struct onetime_mac *m, const struct key32 *key, const struct digest *sha256,
	struct bytes plain)
{
	const struct sha256_part part = {sha256->b, sizeof sha256->b};
	struct digest once = hmac_sha256(key, &part, 1);
	struct key32 k;

	memcpy(k.b, once.b, sizeof k.b);
	return onetime_mac(m, &k, plain.data, plain.size);
}

// ---- following

// The last chunk of then ended where the file did. Of the others the place of the cut followed from
// their own bytes, as long as the file goes on behind them and CHUNK_AVG bytes are left here.
const struct seen_chunk *seen_expected(const struct seen_follow *f, size_t left)
{
	if (!f->file || f->lost || f->next + 1 >= f->file->chunk_count || left <= CHUNK_AVG)
		return NULL;
	const struct seen_chunk *c = &f->file->chunks[f->next];
	return c->size < left ? c : NULL;
}

void seen_met(struct seen_follow *f)
{
	f->met = ++f->next;
}

void seen_missed(struct seen_follow *f)
{
	f->lost = true;
}

void seen_found(struct seen_follow *f, size_t size)
{
	if (!f->file)
		return;
	size_t end =
		f->file->chunk_count - f->met < WAY_BACK ? f->file->chunk_count : f->met + WAY_BACK;
	for (size_t i = f->met; i < end; i++) {
		if (f->file->chunks[i].size != size)
			continue;
		f->next = i + 1;
		f->lost = false;
		return;
	}
}
