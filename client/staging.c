// The staging folder of one package; see staging.h.
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

#define SCAN_ARENA (2 * 1024 * 1024)
#define SCAN_COUNT 20000

void rot_note(struct rot *r, const struct digest *package, const struct digest *chunk)
{
	for (uint32_t i = 0; r != NULL && i < r->count; i++) {
		if (digest_equal(&r->chunks[i], chunk))
			return;
	}
	if (r == NULL || r->count == ROT_MAX)
		return;
	if (r->count == 0)
		r->package = *package;
	r->chunks[r->count++] = *chunk;
}

// ---- bits

static uint32_t bit_of(const struct staging *s, uint32_t page, uint32_t chunk)
{
	return s->page_first[page] + chunk;
}

bool staging_has_chunk(const struct staging *s, uint32_t page, uint32_t chunk)
{
	uint32_t bit = bit_of(s, page, chunk);
	return (s->present[bit / 8] >> (bit % 8) & 1) != 0;
}

void staging_mark(struct staging *s, uint32_t page, uint32_t chunk)
{
	uint32_t bit = bit_of(s, page, chunk);
	uint8_t mask = (uint8_t)(1u << (bit % 8));
	if ((s->present[bit / 8] & mask) == 0)
		s->have++;
	s->present[bit / 8] |= mask;
}

uint32_t staging_page_missing(const struct staging *s, const struct staged_page *p)
{
	uint32_t missing = 0;
	for (uint32_t i = 0; i < p->plan.chunk_count; i++)
		missing += staging_has_chunk(s, p->number, i) ? 0 : 1;
	return missing;
}

static enum err bits_make(struct staging *s)
{
	const struct manifest *m = &s->manifest;
	uint64_t sum = 0;
	s->page_first = calloc(m->page_count + 1, sizeof *s->page_first);
	if (s->page_first == NULL)
		return err_set(ERR_MEMORY, "no memory for the list of pages");
	for (size_t i = 0; i < m->page_count; i++) {
		s->page_first[i] = (uint32_t)sum;
		sum += m->pages[i].chunk_count;
		if (sum > UINT32_MAX / 2)
			return err_set(ERR_RANGE, "the manifest promises too many chunks");
	}
	s->page_first[m->page_count] = (uint32_t)sum;
	s->present = calloc(1, (size_t)sum / 8 + 1);
	if (s->present == NULL)
		return err_set(ERR_MEMORY, "no memory for the list of chunks");
	return ERR_OK;
}

// ---- files

static enum err file_path(const struct staging *s, const char *relative, char *out)
{
	char rest[600];
	if (!path_is_safe(relative))
		return err_set(ERR_RANGE, "reason=path: a path leaves the folder");
	int n = snprintf(rest, sizeof rest, "files/%s", relative);
	if (n < 0 || (size_t)n >= sizeof rest)
		return err_set(ERR_RANGE, "reason=path: a path is too long");
	depot_staging_path(s->store, &s->id, rest, out);
	return ERR_OK;
}

static enum err parents_make(char *path, size_t base)
{
	for (char *p = path + base; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		int failed = mkdir(path, 0700) != 0 && errno != EEXIST;
		*p = '/';
		if (failed)
			return err_set_errno("cannot make a folder for %s", path);
	}
	return ERR_OK;
}

// Of an earlier attempt. A link's rights are those of the installed package's file too: such a one
// is only read.
static int sealed_open(const char *path, int flags)
{
	struct stat st;
	if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 1)
		return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return chmod(path, 0600) == 0 ? open(path, flags, 0600) : -1;
}

// Opens for writing. *existed: it had bytes before. A sealed file of an earlier attempt becomes
// writable again, unless it is a link.
static enum err file_open(const char *path, size_t base, int *fd, bool *existed)
{
	const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
	char copy[DEPOT_PATH];
	*fd = open(path, flags, 0600);
	if (*fd < 0 && errno == ENOENT) {
		(void)str_copy(copy, sizeof copy, path);
		TRY(parents_make(copy, base));
		*fd = open(path, flags, 0600);
	}
	if (*fd < 0 && errno == EACCES)
		*fd = sealed_open(path, flags);
	if (*fd < 0)
		return err_set_errno("cannot open %s", path);
	struct stat st;
	if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(*fd);
		return err_set(ERR_IO, "%s is not a plain file", path);
	}
	*existed = st.st_size != 0;
	return ERR_OK;
}

static bool chunk_stands(
	struct look *look, int fd, uint64_t offset, const struct chunk_ref *ref, uint8_t *scratch)
{
	off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
	if (data < 0 || (uint64_t)data >= offset + ref->size)
		return false; // a hole
	if (look_is_ended(look) || fd_pread_all(fd, scratch, ref->size, (off_t)offset) != ERR_OK)
		return false;
	struct digest have = sha256(scratch, ref->size);
	look_note(look, ref->size);
	return digest_equal(&have, &ref->sha256);
}

// A link to an installed package's file: its bytes are another's, whatever they are.
static bool inode_is_shared(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && st.st_nlink > 1;
}

// ---- plan

static enum err places_index(struct staged_page *p)
{
	size_t chunks = p->plan.chunk_count, places = p->plan.place_count;
	p->place_first = arena_array(p->a, chunks + 2, sizeof *p->place_first);
	p->place_of = arena_array(p->a, places + 1, sizeof *p->place_of);
	p->linked = arena_array(p->a, p->page.file_count + 1, sizeof *p->linked);
	if (p->place_first == NULL || p->place_of == NULL || p->linked == NULL)
		return err_set(ERR_MEMORY, "no memory for a page");
	for (size_t i = 0; i < places; i++)
		p->place_first[p->plan.places[i].chunk + 2]++;
	for (size_t c = 2; c < chunks + 2; c++)
		p->place_first[c] += p->place_first[c - 1];
	for (size_t i = 0; i < places; i++)
		p->place_of[p->place_first[p->plan.places[i].chunk + 1]++] = (uint32_t)i;
	return ERR_OK;
}

static enum err page_read(
	const struct staging *s, uint32_t number, struct arena *a, struct manifest_page *out)
{
	char path[DEPOT_PATH], rest[32];
	SCOPED_BUF struct buf bytes;
	buf_init(&bytes, LIMIT_PAGE);
	(void)snprintf(rest, sizeof rest, "pages/%03u", number);
	depot_staging_path(s->store, &s->id, rest, path);
	TRY(file_read(path, &bytes));
	struct digest have = sha256(bytes.data, bytes.size);
	if (!digest_equal(&have, &s->manifest.pages[number].sha256))
		return err_set(ERR_CORRUPT, "page %u does not match its hash", number);
	struct bytes kept = arena_copy(a, buf_bytes(&bytes));
	if (kept.data == NULL)
		return err_set(ERR_MEMORY, "no memory for a page");
	return manifest_page_decode(a, kept, out);
}

static enum err page_plan(struct staging *s, uint32_t number, struct arena *a,
	struct page_carry *carry, struct staged_page *out)
{
	*out = (struct staged_page){.a = a, .number = number};
	TRY(page_read(s, number, a, &out->page));
	TRY(page_plan_make(a, &out->page, &s->manifest.pages[number], carry, &out->plan));
	if (out->plan.chunk_count != s->manifest.pages[number].chunk_count)
		return err_set(
			ERR_FORMAT, "page %u has another number of chunks than promised", number);
	return places_index(out);
}

// Counts the places of one file that hold the bytes they should.
static void file_scan(const struct staging *s, const struct staged_page *p, int fd, size_t from,
	size_t to, uint8_t *scratch, uint32_t *confirmed)
{
	for (size_t i = from; i < to; i++) {
		const struct chunk_place *place = &p->plan.places[i];
		// What this attempt hashed already is not hashed again.
		if (staging_has_chunk(s, p->number, place->chunk) ||
			chunk_stands(
				s->look, fd, place->offset, &p->plan.chunks[place->chunk], scratch))
			confirmed[place->chunk]++;
	}
}

static enum err file_begin(struct staging *s, struct staged_page *p, uint32_t file, size_t from,
	size_t to, uint8_t *scratch, uint32_t *confirmed)
{
	const struct file_entry *f = &p->page.files[file];
	char path[DEPOT_PATH], base[DEPOT_PATH];
	bool existed = false;
	int raw = -1;
	TRY(file_path(s, f->path, path));
	depot_staging_path(s->store, &s->id, "files", base);
	TRY(file_open(path, strlen(base) + 1, &raw, &existed));
	SCOPED_FD int fd = raw;
	if (existed && inode_is_shared(fd)) {
		// Linked by an earlier attempt: right as a whole, or not ours to mend.
		file_scan(s, p, fd, from, to, scratch, confirmed);
		p->linked[file] = true;
		return ERR_OK;
	}
	if (existed)
		file_scan(s, p, fd, from, to, scratch, confirmed);
	if (ftruncate(fd, (off_t)f->size_bytes) != 0)
		return err_set_errno("cannot size %s", path);
	return ERR_OK;
}

// A linked file that is not right as a whole is no link any more.
static enum err link_mend(struct staging *s, struct staged_page *p, uint32_t file, size_t from,
	size_t to, uint32_t *confirmed, const uint32_t *before, uint8_t *scratch)
{
	bool whole = true;
	for (size_t i = from; i < to; i++)
		whole = whole && confirmed[p->plan.places[i].chunk] > before[i - from];
	if (whole)
		return ERR_OK;
	char path[DEPOT_PATH];
	TRY(file_path(s, p->page.files[file].path, path));
	for (size_t i = from; i < to; i++)
		confirmed[p->plan.places[i].chunk] = before[i - from];
	p->linked[file] = false;
	if (unlink(path) != 0)
		return err_set_errno("cannot remove %s", path);
	return file_begin(s, p, file, from, to, scratch, confirmed);
}

static enum err page_files_begin(struct staging *s, struct staged_page *p)
{
	uint32_t *confirmed = arena_array(p->a, p->plan.chunk_count + 1, sizeof *confirmed);
	uint32_t *before = arena_array(p->a, p->plan.place_count + 1, sizeof *before);
	SCOPED_FREE uint8_t *scratch = malloc(LIMIT_CHUNK);
	if (confirmed == NULL || before == NULL || scratch == NULL)
		return err_set(ERR_MEMORY, "no memory for a page");
	size_t at = 0;
	for (uint32_t file = 0; file < p->page.file_count; file++) {
		size_t from = at;
		while (at < p->plan.place_count && p->plan.places[at].file == file)
			at++;
		for (size_t i = from; i < at; i++)
			before[i - from] = confirmed[p->plan.places[i].chunk];
		TRY(file_begin(s, p, file, from, at, scratch, confirmed));
		TRY(look_check(s->look)); // what was not looked at is not wrong
		if (p->linked[file])
			TRY(link_mend(s, p, file, from, at, confirmed, before, scratch));
	}
	for (uint32_t c = 0; c < p->plan.chunk_count; c++) {
		uint32_t places = p->place_first[c + 1] - p->place_first[c];
		if (places != 0 && confirmed[c] == places)
			staging_mark(s, p->number, c);
	}
	return ERR_OK;
}

// ---- writing

void staging_pen_close(struct staging_pen *pen)
{
	scope_close(&pen->fd);
	*pen = STAGING_PEN;
}

static enum err pen_take(const struct staging *s, const struct staged_page *p,
	struct staging_pen *pen, uint32_t file)
{
	char path[DEPOT_PATH];
	if (pen->fd >= 0 && pen->file == file)
		return ERR_OK;
	staging_pen_close(pen);
	TRY(file_path(s, p->page.files[file].path, path));
	pen->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (pen->fd < 0)
		return err_set_errno("cannot open %s", path);
	pen->file = file;
	return ERR_OK;
}

enum err staging_write(const struct staging *s, const struct staged_page *p,
	struct staging_pen *pen, uint32_t first, uint32_t count, struct bytes plain)
{
	size_t at = 0;
	for (uint32_t c = first; c < first + count; c++) {
		uint32_t size = p->plan.chunks[c].size;
		if (at + size > plain.size)
			return err_set(ERR_FORMAT, "an object yields too little");
		for (uint32_t k = p->place_first[c]; k < p->place_first[c + 1]; k++) {
			const struct chunk_place *place = &p->plan.places[p->place_of[k]];
			if (p->linked[place->file])
				continue;
			TRY(pen_take(s, p, pen, place->file));
			TRY(fd_pwrite_all(pen->fd, plain.data + at, size, (off_t)place->offset));
		}
		at += size;
	}
	return ERR_OK;
}

enum err staging_read(
	const struct staging *s, const struct staged_page *p, uint32_t chunk, uint8_t *out)
{
	const struct chunk_place *place = &p->plan.places[p->place_of[p->place_first[chunk]]];
	char path[DEPOT_PATH];
	TRY(file_path(s, p->page.files[place->file].path, path));
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set_errno("cannot open %s", path);
	return fd_pread_all(fd, out, p->plan.chunks[chunk].size, (off_t)place->offset);
}

void staging_flush(
	const struct staging *s, const struct staged_page *p, const uint32_t *files, size_t count)
{
	char path[DEPOT_PATH];
	for (size_t i = 0; i < count; i++) {
		if (file_path(s, p->page.files[files[i]].path, path) != ERR_OK)
			continue;
		SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0)
			(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
}

// ---- pages

bool staging_has_page(const struct staging *s, uint32_t number)
{
	struct manifest_page page;
	SCOPED_ARENA struct arena a;
	arena_init(&a, SCAN_ARENA, SCAN_COUNT);
	return page_read(s, number, &a, &page) == ERR_OK;
}

enum err staging_put_page(struct staging *s, uint32_t number, struct bytes plain)
{
	char path[DEPOT_PATH], rest[32];
	(void)snprintf(rest, sizeof rest, "pages/%03u", number);
	depot_staging_path(s->store, &s->id, rest, path);
	if (unlink(path) != 0 && errno != ENOENT)
		return err_set_errno("cannot replace %s", path);
	SCOPED_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno("cannot make %s", path);
	return fd_write_all(fd, plain.data, plain.size);
}

enum err staging_begin_page(struct staging *s, uint32_t number, struct arena *a,
	struct page_carry *carry, struct staged_page *out)
{
	TRY(page_plan(s, number, a, carry, out));
	TRY(page_files_begin(s, out));
	if (staging_page_missing(s, out) != 0)
		TRY(staging_fill_local(s, out));
	if (s->page_known <= number)
		s->page_known = number + 1;
	return ERR_OK;
}

// ---- open

void staging_link_path(const struct staging *s, char *out)
{
	depot_staging_path(s->store, &s->id, "link", out);
}

// Counts what stands there for the pages that are known, so that the resume can be told at once.
static void staging_look(struct staging *s)
{
	struct page_carry carry = {0};
	for (uint32_t i = 0; i < s->manifest.page_count; i++) {
		struct staged_page p;
		SCOPED_ARENA struct arena a;
		arena_init(&a, 2 * SCAN_ARENA, 2 * SCAN_COUNT);
		if (page_plan(s, i, &a, &carry, &p) != ERR_OK || page_files_begin(s, &p) != ERR_OK)
			return;
		s->page_known = i + 1;
	}
}

static enum err space_check(struct staging *s, uint64_t reserve_bytes)
{
	uint64_t free_bytes;
	char path[DEPOT_PATH];
	depot_staging_path(s->store, &s->id, "", path);
	TRY(disk_free(path, &free_bytes));
	uint64_t total = s->page_first[s->manifest.page_count];
	uint64_t have =
		total == 0 ? 0
			   : (uint64_t)((double)s->manifest.size_bytes * s->have / (double)total);
	uint64_t need = s->manifest.size_bytes - have;
	if (need > free_bytes || free_bytes - need < reserve_bytes)
		return err_set(ERR_NO_SPACE,
			"%llu bytes are needed, %llu are free, %llu stay in reserve",
			(unsigned long long)need, (unsigned long long)free_bytes,
			(unsigned long long)reserve_bytes);
	return ERR_OK;
}

static enum err folders_make(struct staging *s, struct bytes envelope)
{
	static const char *const folders[] = {"", "pages", "files"};
	char path[DEPOT_PATH];
	struct stat st;
	depot_staging_path(s->store, &s->id, "manifest", path);
	s->resumed = stat(path, &st) == 0;
	for (size_t i = 0; i < 3; i++) {
		depot_staging_path(s->store, &s->id, folders[i], path);
		TRY(dir_make(path));
	}
	staging_link_path(s, path); // of a moment that a kill cut short
	if (unlink(path) != 0 && errno != ENOENT)
		return err_set_errno("cannot remove %s", path);
	depot_staging_path(s->store, &s->id, "manifest", path);
	if (unlink(path) != 0 && errno != ENOENT)
		return err_set_errno("cannot replace %s", path);
	SCOPED_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno("cannot make %s", path);
	return fd_write_all(fd, envelope.data, envelope.size);
}

enum err staging_open(struct staging *s, struct depot *store, const struct staging_order *order)
{
	*s = (struct staging){
		.store = store, .id = order->id, .manifest = *order->manifest, .look = order->look};
	TRY(bits_make(s));
	TRY(folders_make(s, order->envelope));
	if (s->resumed)
		staging_look(s);
	TRY(look_check(s->look));
	return space_check(s, order->reserve_bytes);
}

void staging_close(struct staging *s)
{
	free(s->present);
	free(s->page_first);
	s->present = NULL;
	s->page_first = NULL;
	seed_source_close(&s->seeds);
}

enum err staging_drop(const struct depot *store, const struct digest *id)
{
	char path[DEPOT_PATH];
	depot_staging_path(store, id, "", path);
	return tree_remove(path);
}
