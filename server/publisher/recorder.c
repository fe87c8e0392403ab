// See recorder.h.
#include "recorder.h"

#include "medium_write.h"
#include "proto/base/file.h"
#include "proto/envelope.h"
#include "proto/topics.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MEDIUM_DIR 448
#define FIXED_ENTRIES 4 // label, order, manifest, index

struct recording {
	struct work work;
	struct publisher *p;
	struct recording *next;
	uint64_t order;
	char client[LIMIT_ID + 1], volume[33], path[PATH_MAX], label[2048];
	struct digest package;
	bool iso;
	struct buf order_bytes, manifest, index;
	struct medium_entry *entries;
	size_t count;
	struct medium_content content;
	enum err result;
	char why[LIMIT_TEXT + 1];
	struct digest sha256;
	uint64_t size;
};

static void recording_free(struct recording *r)
{
	buf_fini(&r->order_bytes);
	buf_fini(&r->manifest);
	buf_fini(&r->index);
	free(r->entries);
	free(r);
}

static void answer(struct publisher *p, const struct digest *package, const struct recording *r,
	uint64_t order, const char *failed)
{
	struct medium_outcome o = {.order = order,
		.medium_kind = r && r->iso ? "iso9660" : "folder",
		.path = r && !failed[0] ? r->path : "",
		.failed = failed};
	struct publisher_msg m = {.state = PUB_RECORDED, .package = *package, .recorded = &o};

	if (r && !failed[0]) {
		o.sha256 = r->sha256;
		o.size_bytes = r->size;
	}
	control_tell(p->control, &m);
}

// ---- what was recorded before: a line beside the medium, written when that is whole

static enum err note_path(const struct recording *r, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s.recorded", r->path);

	return n > 0 && n < PATH_MAX ? ERR_OK : err_set(ERR_RANGE, "%s is too long", r->path);
}

static enum err note_write(const struct recording *r)
{
	char path[PATH_MAX], line[128];

	TRY(note_path(r, path));
	int n = snprintf(line, sizeof(line), "%s %" PRIu64 "\n", digest_hex(&r->sha256), r->size);
	return file_write_atomic(path, line, (size_t)n, 0644);
}

static bool note_read(struct recording *r)
{
	char path[PATH_MAX], hex[65] = "";
	SCOPED_BUF struct buf text;
	struct stat st;

	buf_init(&text, 128);
	return note_path(r, path) == ERR_OK && stat(r->path, &st) == 0 &&
	       file_read(path, &text) == ERR_OK && buf_append(&text, "", 1) == ERR_OK &&
	       sscanf((const char *)text.data, "%64s %" SCNu64, hex, &r->size) == 2 &&
	       hex_decode(hex, r->sha256.b, sizeof(r->sha256.b)) == ERR_OK;
}

// ---- the work

static void record_run(struct work *w)
{
	struct recording *r = (struct recording *)w;

	r->result = r->iso ? medium_write_iso(&r->content, r->path, &r->sha256, &r->size)
			   : medium_write_folder(&r->content, r->path);
	if (r->result == ERR_OK)
		r->result = note_write(r);
	if (r->result != ERR_OK && !str_copy(r->why, sizeof(r->why), err_text()))
		(void)str_copy(r->why, sizeof(r->why), err_word(r->result));
}

static void recording_end(struct recording *r)
{
	for (struct recording **at = &r->p->recordings; *at; at = &(*at)->next)
		if (*at == r) {
			*at = r->next;
			break;
		}
	recording_free(r);
}

static void record_done(struct work *w)
{
	struct recording *r = (struct recording *)w;

	if (!w->cancelled && !r->p->stopping) {
		if (r->result == ERR_OK)
			log_info("MEDIUM-RECORDED",
				"order=%" PRIu64 " client=%s package=%s path=%s bytes=%" PRIu64,
				r->order, r->client, digest_short(&r->package), log_quote(r->path),
				r->size);
		else
			log_warn("MEDIUM-FAILED", "order=%" PRIu64 " client=%s word=%s why=%s",
				r->order, r->client, err_word(r->result), log_quote(r->why));
		answer(r->p, &r->package, r, r->order, r->result == ERR_OK ? "" : r->why);
	}
	recording_end(r);
}

// ---- what lies on it

static enum err objects_list(struct recording *r, size_t *count, bool fill)
{
	struct db_rows rows;
	struct store *s = &r->p->store;
	size_t at = 0;

	TRY(db_query(s->db, &rows,
		"SELECT DISTINCT o.sha256, o.size_bytes FROM package_object p JOIN object o"
		" ON o.sha256 = p.object WHERE p.package = $1 ORDER BY o.sha256",
		DB_D(&r->package)));
	while (db_next(&rows)) {
		struct medium_entry *e = fill ? &r->entries[at] : NULL;
		at++;
		if (!e)
			continue;
		(void)db_fixed(&rows, 0, e->object.b, sizeof(e->object.b));
		e->size = (uint32_t)db_int(&rows, 1);
		struct topic t = topic_chunk(r->p->config.id, &e->object);
		(void)str_copy(e->path, sizeof(e->path), t.s);
	}
	*count = at;
	return db_end(&rows);
}

static void entry_put(struct recording *r, const char *path, struct bytes bytes)
{
	struct medium_entry *e = &r->entries[r->count++];

	e->bytes = bytes;
	(void)str_copy(e->path, sizeof(e->path), path);
}

static int entry_order(const void *a, const void *b)
{
	return strcmp(
		((const struct medium_entry *)a)->path, ((const struct medium_entry *)b)->path);
}

static enum err envelopes_read(struct recording *r)
{
	SCOPED_BUF struct buf index;
	struct sign_key *const keys[1] = {r->p->identity};

	buf_init(&index, LIMIT_INDEX);
	TRY(package_bytes(&r->p->store, &r->package, NULL, &r->manifest, &index));
	if (r->manifest.size == 0)
		return err_set(ERR_NOT_NOW, "the package is not signed");
	return envelope_make(PURPOSE_INDEX, buf_bytes(&index), keys, 1, &r->index);
}

static void label_write(struct recording *r, const struct medium *m)
{
	char day[32] = "";
	time_t at = (time_t)(m->created_unix_ms / 1000);
	struct tm t;

	if (gmtime_r(&at, &t))
		(void)strftime(day, sizeof(day), "%Y-%m-%d %H:%M UTC", &t);
	(void)snprintf(r->label, sizeof(r->label),
		"Heliograph medium\r\n\r\n"
		"For       %s\r\nPackage   %s %s (%s)\r\nOrder     %" PRIu64 "\r\nMade      %s\r\n"
		"Id        %s\r\n\r\n"
		"Put this medium into the device, or run there:\r\n"
		"  helio-agent import /path/of/this/medium\r\n",
		m->client_id, m->package->name, m->package->version,
		package_kind_word(m->package->kind), m->order, day, digest_hex(&r->package));
}

static enum err content_make(struct recording *r, const struct medium *m)
{
	char path[LIMIT_TOPIC];
	size_t objects = 0;

	TRY(envelopes_read(r));
	TRY(objects_list(r, &objects, false));
	r->entries = calloc(objects + FIXED_ENTRIES, sizeof(*r->entries));
	if (!r->entries)
		return err_set(ERR_MEMORY, "no memory for a medium of %zu objects", objects);
	TRY(objects_list(r, &r->count, true));
	label_write(r, m);
	entry_put(r, MEDIUM_LABEL, bytes_of(r->label, strlen(r->label)));
	(void)snprintf(path, sizeof(path), MEDIUM_ORDERS "/%s/%" PRIu64, r->client, r->order);
	entry_put(r, path, buf_bytes(&r->order_bytes));
	entry_put(r, topic_pkg(r->p->config.id, &r->package).s, buf_bytes(&r->manifest));
	entry_put(r, topic_idx(r->p->config.id, &r->package, NULL).s, buf_bytes(&r->index));
	qsort(r->entries, r->count, sizeof(*r->entries), entry_order);
	r->content = (struct medium_content){
		.entries = r->entries,
		.count = r->count,
		.objects = &r->p->store.objects,
		.volume = r->volume,
		.created = {m->created_unix_ms},
	};
	return ERR_OK;
}

static void medium_dir(const struct publisher *p, char out[MEDIUM_DIR])
{
	const char *set = p->settings->medium_dir;

	(void)snprintf(out, MEDIUM_DIR, "%s%s", set[0] ? set : p->settings->state_dir,
		set[0] ? "" : "/media");
}

static enum err recording_fill(struct recording *r, const struct directive *d, bool *known)
{
	SCOPED_ARENA struct arena a;
	const struct root *root = &r->p->trust.root;
	char dir[MEDIUM_DIR];
	struct bytes payload;
	struct medium m;

	arena_init(&a, 64 * 1024, 1024);
	TRY(envelope_open(
		PURPOSE_MEDIUM, d->medium, root->online_keys, root->online_key_count, 1, &payload));
	TRY(medium_decode(&a, payload, &m));
	r->order = m.order;
	r->package = m.package->package;
	(void)str_copy(r->client, sizeof(r->client), m.client_id);
	(void)snprintf(r->volume, sizeof(r->volume), "HELIO_%" PRIu64, m.order);
	medium_dir(r->p, dir);
	int n = snprintf(
		r->path, sizeof(r->path), "%s/%" PRIu64 "%s", dir, m.order, r->iso ? ".iso" : "");
	if (n < 0 || (size_t)n >= sizeof(r->path))
		return err_set(ERR_RANGE, "medium_dir is too long");
	TRY(buf_append(&r->order_bytes, d->medium.data, d->medium.size));
	*known = note_read(r);
	if (*known)
		return ERR_OK;
	TRY(dir_make(dir));
	return content_make(r, &m);
}

static bool is_running(const struct publisher *p, uint64_t order)
{
	for (const struct recording *r = p->recordings; r; r = r->next)
		if (r->order == order)
			return true;
	return false;
}

static struct recording *recording_new(struct publisher *p)
{
	struct recording *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->p = p;
	r->iso = strcmp(p->settings->medium_kind, "iso9660") == 0;
	r->work = (struct work){.class = WORK_BUILD, .run = record_run, .done = record_done};
	buf_init(&r->order_bytes, LIMIT_MEDIUM_ENVELOPE);
	buf_init(&r->manifest, LIMIT_ENVELOPE);
	buf_init(&r->index, LIMIT_INDEX + 4096);
	return r;
}

static enum err recording_begin(struct recording *r)
{
	struct publisher *p = r->p;

	TRY(work_add(&p->work, &r->work));
	r->next = p->recordings;
	p->recordings = r;
	return ERR_OK;
}

void recorder_directive(struct publisher *p, const struct directive *d)
{
	struct recording *r = recording_new(p);
	bool known = false;

	if (!r)
		return;
	enum err e = recording_fill(r, d, &known);
	bool running = e == ERR_OK && is_running(p, r->order);
	if (e == ERR_OK && !known && !running) {
		e = recording_begin(r);
		if (e == ERR_OK)
			return;
	}
	if (e != ERR_OK)
		log_warn("MEDIUM-REFUSED", "word=%s why=%s", err_word(e), log_quote(err_text()));
	if (r->order && !running)
		answer(p, &r->package, r, r->order, e == ERR_OK ? "" : err_text());
	recording_free(r);
}
