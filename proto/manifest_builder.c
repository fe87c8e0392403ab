// The writing half of content.h: files in, pages and root out.
//
// Pages end where the content says so: after a file whose hash has its low bits clear, once a page
// is PAGE_SOFT bytes long. A new version that changes one file so changes one page and leaves the
// others equal, which an agent already holds. A file that does not fit is continued on the next
// page.
//
// Sizes are estimated from above, field by field, so that a page never needs to be encoded twice.
#include "proto/content.h"
#include "proto/digest.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SOFT (32 * 1024)
#define PAGE_END_MASK 0x01ff                    // 1 file in 512: at 64 bytes a file, 32 KiB more
#define CHUNK_BYTES (sizeof(struct digest) + 4) // hash and a size of at most 4 bytes
#define ENTRY_BYTES 80                          // tags, lengths, size, file hash, flags, from above
#define PAGE_ARENA (1024 * 1024)

struct manifest_builder {
	struct manifest info;
	struct page_ref *refs;
	struct built_page *pages;
	size_t page_count;
	struct arena text; // strings of info
	struct arena page; // entries of the page being filled
	struct file_entry *files;
	size_t file_count, page_bytes;
	uint32_t page_begun; // files that begin in this page
	uint64_t files_total, bytes_total, chunks_total;
	char last_path[513];
	bool done;
	struct id16 salt;
};

// ---- lifetime

static enum err info_copy(struct manifest_builder *b, const struct manifest *info)
{
	struct manifest *m = &b->info;
	struct arena *a = &b->text;

	*m = *info;
	m->pages = NULL;
	m->page_count = 0;
	m->name = arena_strdup(a, info->name ? info->name : "");
	m->version = arena_strdup(a, info->version ? info->version : "");
	m->product = arena_strdup(a, info->product ? info->product : "");
	m->hw_class = arena_strdup(a, info->hw_class ? info->hw_class : "");
	m->min_agent = arena_strdup(a, info->min_agent ? info->min_agent : "");
	if (!m->name || !m->version || !m->product || !m->hw_class || !m->min_agent)
		return err_set(ERR_FULL, "the words of a package are too long");
	if (!info->show)
		return ERR_OK;
	m->show = arena_alloc(a, sizeof *m->show);
	if (!m->show)
		return err_set(ERR_MEMORY, "no memory for a manifest");
	*m->show = *info->show;
	m->show->fit = arena_strdup(a, info->show->fit ? info->show->fit : "");
	return m->show->fit ? ERR_OK : err_set(ERR_MEMORY, "no memory for a manifest");
}

enum err manifest_builder_new(const struct manifest *info, struct manifest_builder **out)
{
	struct manifest_builder *b = calloc(1, sizeof *b);

	if (!b)
		return err_set(ERR_MEMORY, "no memory for a manifest");
	arena_init(&b->text, 64 * 1024, 64);
	arena_init(&b->page, PAGE_ARENA, 1 << 20);
	b->refs = calloc(LIMIT_PAGES, sizeof *b->refs);
	b->pages = calloc(LIMIT_PAGES, sizeof *b->pages);
	b->files = calloc(LIMIT_PAGE / ENTRY_BYTES + 1, sizeof *b->files);
	enum err e = b->refs && b->pages && b->files
			     ? info_copy(b, info)
			     : err_set(ERR_MEMORY, "no memory for a manifest");
	if (e != ERR_OK)
		manifest_builder_free(b);
	else
		*out = b;
	return e;
}

void manifest_builder_free(struct manifest_builder *b)
{
	if (!b)
		return;
	for (size_t i = 0; b->pages && i < b->page_count; i++)
		free((void *)(uintptr_t)b->pages[i].bytes.data);
	arena_fini(&b->text);
	arena_fini(&b->page);
	free(b->refs);
	free(b->pages);
	free(b->files);
	free(b);
}

void manifest_builder_salt(struct manifest_builder *b, const struct id16 *salt)
{
	b->salt = *salt;
}

// ---- pages

// Distinct chunks of a page, counted as a reader counts them.
static int digest_order(const void *a, const void *b)
{
	return digest_compare(a, b);
}

static size_t page_chunk_slots(const struct manifest_builder *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->file_count; i++)
		n += b->files[i].chunk_count ? b->files[i].chunk_count : b->files[i].size_bytes > 0;
	return n;
}

static enum err page_count_chunks(struct manifest_builder *b, uint32_t *count)
{
	size_t n = 0, slots = page_chunk_slots(b);
	SCOPED_FREE struct digest *all = calloc(slots ? slots : 1, sizeof *all);

	if (!all)
		return err_set(ERR_MEMORY, "no memory for a page");
	for (size_t i = 0; i < b->file_count; i++) {
		const struct file_entry *f = &b->files[i];
		if (f->chunk_count > 0)
			memcpy(&all[n], f->chunk_sha256.data, f->chunk_sha256.size);
		else if (f->size_bytes > 0)
			all[n] = f->sha256;
		n += f->chunk_count ? f->chunk_count : f->size_bytes > 0;
	}
	qsort(all, n, sizeof *all, digest_order);
	*count = 0;
	for (size_t i = 0; i < n; i++)
		*count += i == 0 || !digest_equal(&all[i], &all[i - 1]);
	return ERR_OK;
}

static enum err page_end(struct manifest_builder *b)
{
	struct manifest_page page = {
		.files = b->files, .file_count = b->file_count, .salt = b->salt};
	SCOPED_BUF struct buf bytes;
	uint32_t chunks = 0;

	buf_init(&bytes, LIMIT_PAGE);
	if (b->file_count == 0)
		return ERR_OK;
	if (b->page_count == LIMIT_PAGES)
		return err_set(ERR_FULL, "a package has at most %d pages of files", LIMIT_PAGES);
	TRY(manifest_page_encode(&page, &bytes));
	TRY(page_count_chunks(b, &chunks));
	struct built_page *p = &b->pages[b->page_count];
	p->ref = (struct page_ref){.sha256 = sha256(bytes.data, bytes.size),
		.size_bytes = (uint32_t)bytes.size,
		.chunk_count = chunks,
		.file_count = b->page_begun};
	p->bytes = buf_bytes(&bytes);
	bytes = (struct buf){.max = bytes.max}; // the page owns the memory now
	b->refs[b->page_count++] = p->ref;
	b->chunks_total += chunks;
	b->file_count = 0;
	b->page_bytes = 0;
	b->page_begun = 0;
	arena_reset(&b->page);
	return ERR_OK;
}

// ---- files

static size_t picture_bytes(const struct picture_info *p)
{
	if (!p)
		return 0;
	size_t n = 48 + strlen(p->fit ? p->fit : "") + strlen(p->title ? p->title : "");
	for (size_t i = 0; i < p->tag_count; i++)
		n += 4 + strlen(p->tags[i]);
	return n;
}

static enum err picture_copy(
	struct manifest_builder *b, const struct picture_info *from, struct picture_info **out)
{
	struct picture_info *p = arena_alloc(&b->page, sizeof *p);

	if (!p)
		return err_set(ERR_FULL, "a page is full");
	*p = *from;
	p->fit = arena_strdup(&b->page, from->fit ? from->fit : "");
	p->title = arena_strdup(&b->page, from->title ? from->title : "");
	p->tags = arena_array(&b->page, from->tag_count ? from->tag_count : 1, sizeof *p->tags);
	if (!p->fit || !p->title || !p->tags)
		return err_set(ERR_FULL, "a page is full");
	for (size_t i = 0; i < from->tag_count; i++) {
		p->tags[i] = arena_strdup(&b->page, from->tags[i]);
		if (!p->tags[i])
			return err_set(ERR_FULL, "a page is full");
	}
	*out = p;
	return ERR_OK;
}

// Puts chunks [from, from + count) of the entry on the present page.
static enum err part_put(
	struct manifest_builder *b, const struct file_entry *e, size_t from, size_t count)
{
	struct file_entry *f = &b->files[b->file_count];

	*f = *e;
	f->continued = from > 0;
	f->picture = NULL;
	f->path = arena_strdup(&b->page, e->path);
	f->chunk_count = count;
	f->chunk_sha256 = arena_copy(&b->page,
		bytes_of(e->chunk_sha256.data ? e->chunk_sha256.data + from * sizeof(struct digest)
					      : NULL,
			count * sizeof(struct digest)));
	f->chunk_size = arena_array(&b->page, count ? count : 1, sizeof *f->chunk_size);
	if (!f->path || !f->chunk_size || (count > 0 && !f->chunk_sha256.data))
		return err_set(ERR_FULL, "a page is full");
	if (count > 0)
		memcpy(f->chunk_size, e->chunk_size + from, count * sizeof *f->chunk_size);
	if (e->picture && from == 0)
		TRY(picture_copy(b, e->picture, &f->picture));
	b->page_begun += from == 0;
	b->file_count++;
	b->page_bytes += ENTRY_BYTES + strlen(e->path) + count * CHUNK_BYTES +
			 (from == 0 ? picture_bytes(e->picture) : 0);
	assert(b->page_bytes <= LIMIT_PAGE);
	return ERR_OK;
}

static enum err entry_put(struct manifest_builder *b, const struct file_entry *e)
{
	size_t head = ENTRY_BYTES + strlen(e->path) + picture_bytes(e->picture);
	size_t from = 0;

	do {
		size_t fixed = from == 0 ? head : ENTRY_BYTES + strlen(e->path);
		size_t least = fixed + (e->chunk_count > from ? CHUNK_BYTES : 0);
		if (b->page_bytes + least > LIMIT_PAGE)
			TRY(page_end(b));
		size_t room = (LIMIT_PAGE - b->page_bytes - fixed) / CHUNK_BYTES;
		size_t left = e->chunk_count - from;
		size_t count = left < room ? left : room;
		TRY(part_put(b, e, from, count));
		from += count;
	} while (from < e->chunk_count);
	return ERR_OK;
}

static enum err entry_check(const struct manifest_builder *b, const struct file_entry *e)
{
	uint64_t sum = 0;

	if (b->done)
		return err_set(ERR_NOT_NOW, "the manifest is finished");
	if (strcmp(e->path, b->last_path) <= 0)
		return err_set(ERR_RANGE, "%s is not after %s", e->path, b->last_path);
	if (b->files_total == LIMIT_FILES)
		return err_set(ERR_FULL, "a package has at most %d files", LIMIT_FILES);
	if (picture_bytes(e->picture) > LIMIT_PAGE / 4)
		return err_set(ERR_RANGE, "%s has too many words", e->path);
	if (e->chunk_sha256.size != e->chunk_count * sizeof(struct digest))
		return err_set(
			ERR_RANGE, "%s has another number of hashes than of chunks", e->path);
	for (size_t i = 0; i < e->chunk_count; i++)
		sum += e->chunk_size[i];
	if (e->chunk_count > 0 ? sum != e->size_bytes : e->size_bytes > LIMIT_CHUNK)
		return err_set(ERR_RANGE, "the chunks of %s are not as long as the file", e->path);
	return ERR_OK;
}

enum err manifest_builder_add(struct manifest_builder *b, const struct file_entry *entry)
{
	struct file_entry e = *entry;

	TRY(entry_check(b, &e));
	if (!str_copy(b->last_path, sizeof b->last_path, e.path))
		return err_set(ERR_RANGE, "a path is too long");
	if (e.chunk_count == 1) { // the short form is the only one
		e.chunk_count = 0;
		e.chunk_sha256 = (struct bytes){0};
		e.chunk_size = NULL;
	}
	TRY(entry_put(b, &e));
	b->files_total++;
	b->bytes_total += e.size_bytes;
	unsigned tail = (unsigned)e.sha256.b[30] << 8 | e.sha256.b[31];
	if (b->page_bytes >= PAGE_SOFT && (tail & PAGE_END_MASK) == 0)
		TRY(page_end(b));
	return ERR_OK;
}

enum err manifest_builder_finish(struct manifest_builder *b, struct buf *root,
	const struct built_page **pages, size_t *page_count)
{
	if (b->done)
		return err_set(ERR_NOT_NOW, "the manifest is finished");
	TRY(page_end(b));
	b->info.pages = b->refs;
	b->info.page_count = b->page_count;
	b->info.file_count = (uint32_t)b->files_total;
	b->info.size_bytes = b->bytes_total;
	b->info.chunk_count = (uint32_t)b->chunks_total;
	TRY(manifest_check(&b->info));
	TRY(manifest_encode(&b->info, root));
	if (root->size > LIMIT_MANIFEST_ROOT)
		return err_set(ERR_FULL, "a manifest of %zu bytes, %d are allowed", root->size,
			LIMIT_MANIFEST_ROOT);
	b->done = true;
	*pages = b->pages;
	*page_count = b->page_count;
	return ERR_OK;
}
