#include "client/seed_list.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/digest.h"
#include "proto/limits.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES 12 // hash, size
#define NANO INT64_C(1000000000)

static const struct list_head {
	char magic[16];
	uint32_t order;     // of the bytes
	uint32_t chunk_max; // other cuts are another list
} head_now = {"helio-seeds 1\n", 0x01020304, CHUNK_MAX};

struct record_head {
	uint64_t dev, inode, size;
	int64_t modified_ns, changed_ns;
	uint32_t path_size; // with its NUL
	uint32_t entry_count;
};

struct seed_stamp seed_stamp_of(const struct stat *st)
{
	return (struct seed_stamp){
		.dev = st->st_dev,
		.inode = st->st_ino,
		.size = (uint64_t)st->st_size,
		.modified_ns = (int64_t)st->st_mtim.tv_sec * NANO + st->st_mtim.tv_nsec,
		.changed_ns = (int64_t)st->st_ctim.tv_sec * NANO + st->st_ctim.tv_nsec,
	};
}

bool seed_stamp_equal(const struct seed_stamp *a, const struct seed_stamp *b)
{
	return a->dev == b->dev && a->inode == b->inode && a->size == b->size &&
	       a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

// ---- reading

static bool list_is_whole(struct bytes all)
{
	struct digest have;

	if (all.size < sizeof head_now + sizeof have.b ||
		memcmp(all.data, &head_now, sizeof head_now) != 0)
		return false;
	have = sha256(all.data, all.size - sizeof have.b);
	return memcmp(have.b, all.data + all.size - sizeof have.b, sizeof have.b) == 0;
}

static bool entries_fit(const struct seed_record *r)
{
	uint64_t left = r->stamp.size;

	for (uint32_t i = 0; i < r->entry_count; i++) {
		uint32_t size = seed_record_entry(r, i).size;
		if (size == 0 || size > CHUNK_MAX || size > left)
			return false;
		left -= size;
	}
	return true;
}

// The record at the begin of `rest`, which loses it.
static bool record_take(struct bytes *rest, struct seed_record *out)
{
	struct record_head h;

	if (rest->size < sizeof h)
		return false;
	memcpy(&h, rest->data, sizeof h);
	uint64_t size = sizeof h + (uint64_t)h.path_size + (uint64_t)h.entry_count * ENTRY_BYTES;
	if (h.path_size < 2 || h.path_size > PATH_MAX || size > rest->size)
		return false;
	const char *path = (const char *)rest->data + sizeof h;
	if (memchr(path, '\0', h.path_size) != path + h.path_size - 1)
		return false;
	*out = (struct seed_record){
		.path = path,
		.stamp = {h.dev, h.inode, h.size, h.modified_ns, h.changed_ns},
		.entries = (const uint8_t *)path + h.path_size,
		.entry_count = h.entry_count,
		.raw = bytes_of(rest->data, (size_t)size),
	};
	*rest = bytes_of(rest->data + size, rest->size - (size_t)size);
	return entries_fit(out);
}

static int path_order(const void *a, const void *b)
{
	return strcmp(((const struct seed_record *)a)->path, ((const struct seed_record *)b)->path);
}

static bool records_take(struct seed_list *l)
{
	struct bytes rest = bytes_of(l->bytes.data + sizeof head_now,
		l->bytes.size - sizeof head_now - sizeof(struct digest));

	while (rest.size != 0) {
		if (l->count == SEED_FILES_MAX || !record_take(&rest, &l->records[l->count]))
			return false;
		l->count++;
	}
	if (l->count != 0)
		qsort(l->records, l->count, sizeof *l->records, path_order);
	return true;
}

enum err seed_list_read(struct seed_list *l, const char *path)
{
	*l = (struct seed_list){0};
	buf_init(&l->bytes, SEED_LIST_MAX);
	if (path == NULL || file_read(path, &l->bytes) != ERR_OK || l->bytes.size == 0)
		return ERR_OK;
	if (!list_is_whole(buf_bytes(&l->bytes))) {
		log_warn("SEEDS-LIST", "path=%s why=\"not what was written\"", log_quote(path));
		return ERR_OK;
	}
	l->records = calloc(SEED_FILES_MAX, sizeof *l->records);
	if (l->records == NULL) {
		seed_list_close(l);
		return err_set(ERR_MEMORY, "no memory for the list of seeds");
	}
	if (!records_take(l)) {
		log_warn("SEEDS-LIST", "path=%s why=\"a record that cannot be\"", log_quote(path));
		l->count = 0;
	}
	return ERR_OK;
}

void seed_list_close(struct seed_list *l)
{
	free(l->records);
	buf_fini(&l->bytes);
	*l = (struct seed_list){0};
}

struct seed_record *seed_list_find(struct seed_list *l, const char *path)
{
	const struct seed_record key = {.path = path};

	return l->count == 0 ? NULL
			     : bsearch(&key, l->records, l->count, sizeof *l->records, path_order);
}

struct seed_entry seed_record_entry(const struct seed_record *r, uint32_t i)
{
	const uint8_t *at = r->entries + (size_t)i * ENTRY_BYTES;
	struct seed_entry e;

	memcpy(&e.hash, at, sizeof e.hash);
	memcpy(&e.size, at + sizeof e.hash, sizeof e.size);
	return e;
}

// ---- writing

enum err seed_list_begin(struct seed_draft *out)
{
	out->count = 0;
	buf_init(&out->bytes, SEED_LIST_MAX);
	return buf_append(&out->bytes, &head_now, sizeof head_now);
}

void seed_draft_fini(struct seed_draft *d)
{
	buf_fini(&d->bytes);
}

// The digest has its place too.
static enum err room_check(struct seed_draft *out, uint64_t more)
{
	if (out->count == SEED_FILES_MAX ||
		out->bytes.size + more + sizeof(struct digest) > SEED_LIST_MAX)
		return err_set(ERR_FULL, "the list of seeds is full");
	return buf_reserve(&out->bytes, (size_t)more + sizeof(struct digest));
}

enum err seed_list_add(struct seed_draft *out, const char *path, const struct seed_stamp *stamp,
	const struct seed_entry *entries, size_t count)
{
	size_t path_size = strlen(path) + 1;
	const struct record_head h = {.dev = stamp->dev,
		.inode = stamp->inode,
		.size = stamp->size,
		.modified_ns = stamp->modified_ns,
		.changed_ns = stamp->changed_ns,
		.path_size = (uint32_t)path_size,
		.entry_count = (uint32_t)count};

	if (path_size > PATH_MAX)
		return err_set(ERR_FULL, "a path of a seed is too long to be listed");
	TRY(room_check(out, sizeof h + path_size + (uint64_t)count * ENTRY_BYTES));
	TRY(buf_append(&out->bytes, &h, sizeof h));
	TRY(buf_append(&out->bytes, path, path_size));
	for (size_t i = 0; i < count; i++) {
		TRY(buf_append(&out->bytes, &entries[i].hash, sizeof entries[i].hash));
		TRY(buf_append(&out->bytes, &entries[i].size, sizeof entries[i].size));
	}
	out->count++;
	return ERR_OK;
}

enum err seed_list_add_raw(struct seed_draft *out, const struct seed_record *r)
{
	TRY(room_check(out, r->raw.size));
	TRY(buf_append(&out->bytes, r->raw.data, r->raw.size));
	out->count++;
	return ERR_OK;
}

enum err seed_list_write(struct seed_draft *out, const char *path)
{
	struct buf *b = &out->bytes;
	struct digest d = sha256(b->data, b->size);
	size_t own = b->size;

	TRY(buf_append(b, d.b, sizeof d.b));
	enum err e = file_write_atomic(path, b->data, b->size, 0600);
	b->size = own;
	return e;
}
