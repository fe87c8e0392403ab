// See medium_set.h.
#include "medium_set.h"

#include "proto/envelope.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LABEL_MAX (MEDIUM_SET_MAX * 1024)

struct medium_part {
	struct medium_part *next;
	struct buf order, manifest, index;
};

void medium_set_init(struct medium_set *s, struct publisher *p)
{
	*s = (struct medium_set){.p = p};
	buf_init(&s->label, LABEL_MAX);
}

void medium_set_fini(struct medium_set *s)
{
	for (struct medium_part *part = s->parts, *next; part; part = next) {
		next = part->next;
		buf_fini(&part->order);
		buf_fini(&part->manifest);
		buf_fini(&part->index);
		free(part);
	}
	free(s->entries);
	buf_fini(&s->label);
	*s = (struct medium_set){0};
}

// ---- entries

static enum err entry_new(struct medium_set *s, const char *path, struct medium_entry **out)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 256;
		struct medium_entry *entries = realloc(s->entries, cap * sizeof(*entries));
		if (!entries)
			return err_set(ERR_MEMORY, "no memory for a medium of %zu files", cap);
		s->entries = entries;
		s->cap = cap;
	}
	if (s->count == MEDIUM_FILES_MAX)
		return err_set(ERR_FULL, "a medium holds at most %u files", MEDIUM_FILES_MAX);
	*out = &s->entries[s->count++];
	**out = (struct medium_entry){.size = 0};
	(void)str_copy((*out)->path, sizeof((*out)->path), path);
	return ERR_OK;
}

static enum err bytes_entry(struct medium_set *s, const char *path, struct bytes bytes)
{
	struct medium_entry *e = NULL;

	TRY(entry_new(s, path, &e));
	e->bytes = bytes;
	return ERR_OK;
}

static int entry_order(const void *a, const void *b)
{
	return strcmp(
		((const struct medium_entry *)a)->path, ((const struct medium_entry *)b)->path);
}

// ---- what the client has already

// Digests in order, to be looked up.
struct digests {
	struct digest *at;
	size_t count, cap;
};

static void digests_fini(struct digests *d)
{
	free(d->at);
}

static int digest_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

static bool digests_has(const struct digests *d, const void *digest)
{
	return d->count && bsearch(digest, d->at, d->count, sizeof(*d->at), digest_order);
}

static enum err digests_add(struct digests *d, const void *bytes, size_t count)
{
	if (d->count + count > d->cap) {
		size_t cap = (d->count + count) * 2;
		struct digest *at = realloc(d->at, cap * sizeof(*at));
		if (!at)
			return err_set(ERR_MEMORY, "no memory for what a client holds");
		d->at = at;
		d->cap = cap;
	}
	if (count)
		memcpy(&d->at[d->count], bytes, count * sizeof(*d->at));
	d->count += count;
	return ERR_OK;
}

static enum err chunks_of(struct medium_set *s, const struct digest *package, struct digests *out)
{
	struct db_rows rows;

	TRY(db_query(s->p->store.db, &rows,
		"SELECT o.chunks FROM package_object p JOIN object o ON o.sha256 = p.object"
		" WHERE p.package = $1",
		DB_D(package)));
	while (db_next(&rows)) {
		struct bytes chunks = db_blob(&rows, 0);
		enum err e = digests_add(out, chunks.data, chunks.size / sizeof(struct digest));
		if (e != ERR_OK)
			rows.failed = e;
	}
	return db_end(&rows);
}

static enum err held_list(
	struct medium_set *s, const struct digest *held, size_t count, struct digests *out)
{
	for (size_t i = 0; i < count; i++)
		TRY(chunks_of(s, &held[i], out));
	if (out->count)
		qsort(out->at, out->count, sizeof(*out->at), digest_order);
	return ERR_OK;
}

// Pages are read from the medium, whatever the client has of them.
static enum err pages_list(struct bytes manifest, struct bytes index, struct digests *out)
{
	SCOPED_ARENA struct arena a;
	struct manifest m;
	struct index x;

	arena_init(&a, 2 * 1024 * 1024, 100000);
	TRY(manifest_decode(&a, manifest, &m));
	TRY(index_decode(&a, index, &x));
	for (size_t i = 0; i < x.page_object_count; i++)
		TRY(digests_add(out, &x.page_objects[i].sha256, 1));
	for (size_t i = 0; i < x.page_count; i++)
		TRY(digests_add(out, &x.pages[i].object->sha256, 1));
	// RAW objects bear the name of what they yield.
	for (size_t i = 0; i < x.page_count; i++)
		TRY(digests_add(out, &x.pages[i].sha256, 1));
	for (size_t i = 0; i < m.page_count; i++)
		TRY(digests_add(out, &m.pages[i].sha256, 1));
	qsort(out->at, out->count, sizeof(*out->at), digest_order);
	return ERR_OK;
}

static bool is_left_out(const struct digests *held, const struct digests *pages, const void *object,
	struct bytes chunks)
{
	if (!held->count || digests_has(pages, object) || chunks.size < sizeof(struct digest))
		return false;
	for (size_t at = 0; at < chunks.size; at += sizeof(struct digest))
		if (!digests_has(held, chunks.data + at))
			return false;
	return true;
}

// ---- one order

static enum err objects_add(struct medium_set *s, const struct digest *package,
	const struct digests *held, const struct digests *pages)
{
	struct db_rows rows;

	TRY(db_query(s->p->store.db, &rows,
		"SELECT DISTINCT o.sha256, o.size_bytes, o.chunks FROM package_object p JOIN object"
		" o ON o.sha256 = p.object WHERE p.package = $1 ORDER BY o.sha256",
		DB_D(package)));
	while (db_next(&rows)) {
		struct medium_entry *e = NULL;
		struct digest object;
		(void)db_fixed(&rows, 0, object.b, sizeof(object.b));
		if (is_left_out(held, pages, object.b, db_blob(&rows, 2)))
			continue;
		rows.failed = entry_new(s, topic_chunk(s->p->config.id, &object).s, &e);
		if (rows.failed != ERR_OK)
			break;
		e->object = object;
		e->size = (uint32_t)db_int(&rows, 1);
	}
	return db_end(&rows);
}

static enum err package_entries(struct medium_set *s, struct medium_part *part,
	const struct digest *package, const struct digest *held, size_t held_count)
{
	__attribute__((cleanup(digests_fini))) struct digests has = {0}, pages = {0};
	SCOPED_BUF struct buf index, payload;
	struct sign_key *const keys[1] = {s->p->identity};

	buf_init(&index, LIMIT_INDEX);
	buf_init(&payload, LIMIT_MANIFEST_ROOT);
	TRY(package_bytes(&s->p->store, package, &payload, &part->manifest, &index));
	if (part->manifest.size == 0)
		return err_set(ERR_NOT_NOW, "the package is not signed");
	TRY(envelope_make(PURPOSE_INDEX, buf_bytes(&index), keys, 1, &part->index));
	TRY(held_list(s, held, held_count, &has));
	if (has.count)
		TRY(pages_list(buf_bytes(&payload), buf_bytes(&index), &pages));
	TRY(objects_add(s, package, &has, &pages));
	TRY(bytes_entry(s, topic_pkg(s->p->config.id, package).s, buf_bytes(&part->manifest)));
	return bytes_entry(s, topic_idx(s->p->config.id, package, NULL).s, buf_bytes(&part->index));
}

static void when_write(char out[32], int64_t unix_ms)
{
	time_t at = (time_t)(unix_ms / 1000);
	struct tm t;

	out[0] = '\0';
	if (gmtime_r(&at, &t))
		(void)strftime(out, 32, "%Y-%m-%d %H:%M UTC", &t);
}

static enum err label_add(struct medium_set *s, const struct medium *m)
{
	char made[32], from[32] = "";

	when_write(made, m->created_unix_ms);
	if (m->package->activate_unix_ms)
		when_write(from, m->package->activate_unix_ms);
	TRY(buf_printf(&s->label, "For       %s", m->client_id));
	if (m->client_name[0])
		TRY(buf_printf(&s->label, " (%s)", m->client_name));
	if (m->customer[0])
		TRY(buf_printf(&s->label, "\r\nCustomer  %s", m->customer));
	return buf_printf(&s->label,
		"\r\nPackage   %s %s (%s)\r\nOrder     %" PRIu64 "\r\nMade      %s\r\nId        %s"
		"\r\n%s%s%s\r\n",
		m->package->name, m->package->version, package_kind_word(m->package->kind),
		m->order, made, digest_hex(&m->package->package), from[0] ? "Shown     from " : "",
		from, from[0] ? "\r\n" : "");
}

static struct medium_part *part_new(struct medium_set *s)
{
	struct medium_part *part = calloc(1, sizeof(*part));

	if (!part)
		return NULL;
	buf_init(&part->order, LIMIT_MEDIUM_ENVELOPE);
	buf_init(&part->manifest, LIMIT_ENVELOPE);
	buf_init(&part->index, LIMIT_INDEX + 4096);
	part->next = s->parts;
	s->parts = part;
	s->part_count++;
	return part;
}

enum err medium_order_open(
	const struct publisher *p, struct bytes envelope, struct arena *a, struct medium_order *out)
{
	const struct root *root = &p->trust.root;
	struct bytes payload;

	out->envelope = envelope;
	TRY(envelope_open(
		PURPOSE_MEDIUM, envelope, root->online_keys, root->online_key_count, 1, &payload));
	return medium_decode(a, payload, &out->says);
}

enum err medium_set_add(struct medium_set *s, const struct medium_order *order,
	const struct digest *held, size_t held_count)
{
	const struct medium *m = &order->says;
	char path[LIMIT_TOPIC];

	if (s->part_count == MEDIUM_SET_MAX)
		return err_set(ERR_FULL, "a medium holds at most %d orders", MEDIUM_SET_MAX);
	struct medium_part *part = part_new(s);
	if (!part)
		return err_set(ERR_MEMORY, "no memory for a medium");
	TRY(buf_append(&part->order, order->envelope.data, order->envelope.size));
	TRY(package_entries(s, part, &m->package->package, held, held_count));
	(void)snprintf(path, sizeof(path), MEDIUM_ORDERS "/%s/%" PRIu64, m->client_id, m->order);
	TRY(bytes_entry(s, path, buf_bytes(&part->order)));
	if (s->part_count == 1)
		(void)snprintf(s->volume, sizeof(s->volume), "HELIO_%" PRIu64, m->order);
	if (m->created_unix_ms > s->content.created.ms)
		s->content.created.ms = m->created_unix_ms;
	return label_add(s, m);
}

enum err medium_set_finish(struct medium_set *s)
{
	SCOPED_BUF struct buf orders;
	size_t kept = 0;

	buf_init(&orders, LABEL_MAX);
	TRY(buf_append(&orders, s->label.data, s->label.size));
	buf_clear(&s->label);
	TRY(buf_printf(&s->label,
		"Heliograph medium\r\n\r\n%.*s"
		"Put this medium into the device, or run there:\r\n"
		"  helio-agent import /path/of/this/medium\r\n"
		"A stick brings back what was shown: do not throw it away, send it back.\r\n",
		(int)orders.size, (const char *)orders.data));
	TRY(bytes_entry(s, MEDIUM_LABEL, buf_bytes(&s->label)));
	qsort(s->entries, s->count, sizeof(*s->entries), entry_order);
	for (size_t i = 0; i < s->count; i++)
		if (kept == 0 || strcmp(s->entries[kept - 1].path, s->entries[i].path) != 0)
			s->entries[kept++] = s->entries[i];
	s->count = kept;
	s->content.entries = s->entries;
	s->content.count = kept;
	s->content.objects = &s->p->store.objects;
	s->content.volume = s->volume;
	s->content.cancel = &s->p->cancel;
	return ERR_OK;
}

#define SECTOR 2048

uint64_t medium_set_bytes(const struct medium_set *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->count; i++) {
		uint64_t size =
			s->entries[i].bytes.data ? s->entries[i].bytes.size : s->entries[i].size;
		sum += (size + SECTOR - 1) / SECTOR * SECTOR;
	}
	return sum;
}
