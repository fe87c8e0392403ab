// package-build: pictures by ids or tags, software from a file or folder.
#include "keyring.h"
#include "picture.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/topics.h"
#include "publisher.h"
#include "show_package.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRESS_MS 200
#define SMALL_LEVEL 19

struct build_work {
	struct work work;
	struct publisher *publisher;
	struct call *call;
	struct arena words; // strings and lists of the request
	struct package package;
	struct show_defaults show;
	struct digest *images;
	size_t image_count;
	struct tree tree;
	int fd;
	struct pack_file *files;
	struct pack_job job;
	struct key32 key;
	struct seen seen; // of this name, before
	struct package_built built;
	_Atomic uint64_t done_bytes;
	uint64_t total_bytes;
	uv_timer_t progress;
	enum err e;
	char why[400];
};

static void *words_array(struct build_work *w, size_t count, size_t size)
{
	return arena_array(&w->words, count ? count : 1, size);
}

static enum err no_memory(void)
{
	return err_set(ERR_MEMORY, "no memory for the list of files");
}

// ---- pictures

static enum err picture_info_make(
	struct build_work *w, const struct image *i, struct picture_info **out)
{
	struct picture_info *p = arena_alloc(&w->words, sizeof *p);

	if (!p)
		return no_memory();
	p->width_px = i->width;
	p->height_px = i->height;
	p->fit = "";
	p->title = arena_strdup(&w->words, i->title);
	p->tags = words_array(w, i->tag_count, sizeof *p->tags);
	p->tag_count = i->tag_count;
	if (!p->title || !p->tags)
		return no_memory();
	for (size_t t = 0; t < i->tag_count; t++) {
		p->tags[t] = arena_strdup(&w->words, i->tags[t]);
		if (!p->tags[t])
			return no_memory();
	}
	*out = p;
	return ERR_OK;
}

static enum err picture_file(struct build_work *w, size_t at)
{
	struct pack_file *f = &w->files[at];
	struct image i;

	TRY(image_find(&w->publisher->store, &w->images[at], &i));
	f->image = i.sha256;
	f->size = i.size_bytes;
	f->path = picture_path(&w->words, at, w->image_count, i.title, i.format);
	w->total_bytes += i.size_bytes;
	return f->path ? picture_info_make(w, &i, &f->picture) : no_memory();
}

struct image_collect {
	struct build_work *work;
	size_t cap;
	bool failed;
};

static bool image_collect_put(void *ctx, const struct image *i)
{
	struct image_collect *c = ctx;
	struct build_work *w = c->work;

	if (i->retired_unix_ms != 0)
		return true;
	if (w->image_count == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		struct digest *more = realloc(w->images, cap * sizeof *more);
		c->failed = !more || w->image_count == LIMIT_FILES;
		if (more)
			w->images = more;
		if (c->failed)
			return false;
		c->cap = cap;
	}
	w->images[w->image_count++] = i->sha256;
	return true;
}

static enum err images_by_tags(struct build_work *w)
{
	char tags[LIMIT_TAGS][LIMIT_ID + 1];
	const char *words[LIMIT_TAGS];
	struct image_collect c = {.work = w};
	size_t count = 0;

	TRY(call_tags(w->call, "tags", tags, &count));
	if (count == 0)
		return err_set(ERR_FORMAT, "name images or tags");
	for (size_t i = 0; i < count; i++)
		words[i] = tags[i];
	TRY(image_list(&w->publisher->store, words, count, image_collect_put, &c));
	if (c.failed)
		return err_set(ERR_FULL, "more than %d images match", LIMIT_FILES);
	return w->image_count ? ERR_OK : err_set(ERR_NOT_FOUND, "no image has these tags");
}

static enum err images_by_ids(struct build_work *w, const cJSON *list)
{
	const cJSON *item = NULL;
	struct image i;

	w->images = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *w->images);
	if (!w->images)
		return no_memory();
	cJSON_ArrayForEach(item, list)
	{
		const char *text = cJSON_GetStringValue(item);
		struct digest *d = &w->images[w->image_count];
		if (!text || strlen(text) != 64 || hex_decode(text, d->b, sizeof d->b) != ERR_OK)
			return err_set(ERR_FORMAT, "images: an id is 64 hex digits");
		TRY(image_find(&w->publisher->store, d, &i));
		w->image_count++;
	}
	return ERR_OK;
}

static enum err show_make(struct build_work *w)
{
	uint64_t duration = 0, transition = 0;
	const char *fit = call_string(w->call, "fit");

	if (!call_number(w->call, "duration_ms", 8000, 24ull * 3600 * 1000, &duration) ||
		!call_number(w->call, "transition_ms", duration < 1600 ? duration / 2 : 800, 60000,
			&transition) ||
		duration == 0)
		return err_set(
			ERR_RANGE, "duration_ms is 1..86400000 and transition_ms at most 60000");
	w->show = (struct show_defaults){.duration_ms = (uint32_t)duration,
		.transition_ms = (uint32_t)transition,
		.fit = arena_strdup(&w->words, fit && fit[0] ? fit : "fit")};
	w->job.info.show = &w->show;
	return w->show.fit ? ERR_OK : no_memory();
}

static enum err pictures_prepare(struct build_work *w)
{
	const cJSON *ids = cJSON_GetObjectItemCaseSensitive(call_json(w->call), "images");

	TRY(show_make(w));
	TRY(cJSON_GetArraySize(ids) > 0 ? images_by_ids(w, ids) : images_by_tags(w));
	w->files = calloc(w->image_count, sizeof *w->files);
	if (!w->files)
		return no_memory();
	for (size_t i = 0; i < w->image_count; i++)
		TRY(picture_file(w, i));
	w->job.file_count = w->image_count;
	return ERR_OK;
}

// ---- software

static enum err software_files(struct build_work *w)
{
	w->files = calloc(w->tree.count, sizeof *w->files);
	if (!w->files)
		return no_memory();
	for (size_t i = 0; i < w->tree.count; i++)
		w->files[i] = (struct pack_file){.path = w->tree.files[i].path,
			.tree = &w->tree.files[i],
			.size = w->tree.files[i].size};
	w->job.files = w->files;
	w->job.file_count = w->tree.count;
	w->total_bytes = w->tree.bytes;
	return ERR_OK;
}

// The name of a single file: told, or as it is called on the disk.
static enum err file_name(struct build_work *w, char *out, size_t size)
{
	const char *told = call_string(w->call, "file");
	char link[64], path[4096];

	if (told && told[0])
		return str_copy(out, size, told) ? ERR_OK : err_set(ERR_RANGE, "file is too long");
	snprintf(link, sizeof link, "/proc/self/fd/%d", w->fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n <= 0)
		return err_set_errno("the file has no name; give one");
	path[n] = 0;
	const char *slash = strrchr(path, '/');
	return str_copy(out, size, slash ? slash + 1 : path)
		       ? ERR_OK
		       : err_set(ERR_RANGE, "the file's name is too long");
}

static enum err software_prepare(struct build_work *w)
{
	struct stat s;

	w->fd = call_take_fd(w->call);
	if (w->fd < 0 || fstat(w->fd, &s) != 0)
		return err_set(ERR_FORMAT, "no file or folder came with the request");
	w->job.single_file = !S_ISDIR(s.st_mode);
	w->job.root_fd = w->fd;
	return ERR_OK;
}

// On the pool: a tree may be large.
static enum err software_walk(struct build_work *w)
{
	uint64_t max = w->publisher->settings->package_bytes_max;
	char name[256];

	if (w->job.single_file) {
		TRY(file_name(w, name, sizeof name));
		TRY(tree_single(w->fd, name, max, &w->tree));
	} else {
		TRY(tree_walk(w->fd, max, &w->tree));
	}
	return software_files(w);
}

// ---- the job

static enum err info_make(struct build_work *w)
{
	struct manifest *m = &w->job.info;
	const char *kind = call_string(w->call, "kind");
	uint64_t counter = 0;

	if (!kind || (strcmp(kind, "images") != 0 && strcmp(kind, "software") != 0))
		return err_set(ERR_FORMAT, "kind is images or software");
	m->kind = strcmp(kind, "images") == 0 ? PACKAGE_IMAGES : PACKAGE_SOFTWARE;
	TRY(call_line(w->call, "name", LIMIT_ID, &m->name));
	TRY(call_line(w->call, "version", LIMIT_ID, &m->version));
	TRY(call_line(w->call, "product", LIMIT_ID, &m->product));
	TRY(call_line(w->call, "hw_class", LIMIT_ID, &m->hw_class));
	TRY(call_line(w->call, "min_agent", LIMIT_ID, &m->min_agent));
	if (!id_is_valid(m->name) || !id_is_valid(m->version))
		return err_set(ERR_FORMAT, "name and version are 1..64 of letters, digits, . _ -");
	if (!call_number(w->call, "security_counter", 0, UINT32_MAX, &counter))
		return err_set(ERR_RANGE, "security_counter is a whole number");
	m->security_counter = counter;
	w->package.kind = m->kind;
	(void)str_copy(w->package.name, sizeof w->package.name, m->name);
	(void)str_copy(w->package.version, sizeof w->package.version, m->version);
	return ERR_OK;
}

// Fast: packed while it is read. Small: level 19 and large groups, minutes for what is large.
static enum err profile_choose(struct build_work *w, bool pictures)
{
	const char *word = call_string(w->call, "profile");
	bool fast = !word || !word[0] || strcmp(word, "fast") == 0;

	if (!fast && strcmp(word, "small") != 0)
		return err_set(ERR_FORMAT, "profile is fast or small");
	w->job.small = !fast && !pictures;
	w->job.profile = (struct object_profile){
		.zstd_level = pictures       ? 0
			      : w->job.small ? SMALL_LEVEL
					     : (int)w->publisher->settings->zstd_level,
		.keep_percent = 95};
	return ERR_OK;
}

// Whoever names a customer may rely on its key: what this publisher was not told of is not made
// open.
static enum err key_choose(struct build_work *w)
{
	const char *customer = call_string(w->call, "customer");
	enum key_found found = KEY_UNTOLD;

	if (!customer || !customer[0])
		return ERR_OK;
	TRY(keyring_find(w->publisher, customer, &w->key, &found));
	if (found == KEY_UNTOLD)
		return err_set(ERR_NOT_FOUND,
			"this publisher knows no key of customer %.64s: is it the customer's "
			"publisher, and was `helioctl customer encrypt` ever asked for?",
			customer);
	w->job.key = found == KEY_SEALS ? &w->key : NULL;
	return ERR_OK;
}

// Of a tree in the fast profile the next build of this name finds what was seen; small takes
// minutes, and reads.
static void seen_choose(struct build_work *w)
{
	if (w->job.info.kind != PACKAGE_SOFTWARE || w->job.small)
		return;
	w->job.read_all =
		cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(call_json(w->call), "read_all"));
	w->job.seen = &w->seen;
}

static void outcome_note(struct build_work *w, enum err e)
{
	w->e = e;
	if (e != ERR_OK)
		text_format(w->why, sizeof w->why, "%s", err_text());
}

// Its turn has come: what the builds before it saw counts, and of those that wait nobody holds any.
static void build_begin(struct work *work)
{
	struct build_work *w = (struct build_work *)work;

	if (w->job.seen)
		outcome_note(w, seen_load(&w->publisher->store, w->package.name, &w->seen));
}

static enum err build_prepare(struct build_work *w)
{
	struct publisher *p = w->publisher;
	bool pictures = false;

	TRY(info_make(w));
	pictures = w->job.info.kind == PACKAGE_IMAGES;
	TRY(pictures ? pictures_prepare(w) : software_prepare(w));
	w->job.files = w->files;
	w->job.images = &p->store.images;
	w->job.objects = &p->store.objects;
	w->job.known = &p->store.known;
	TRY(profile_choose(w, pictures));
	TRY(key_choose(w));
	seen_choose(w);
	w->job.done_bytes = &w->done_bytes;
	w->job.cancel = &p->cancel;
	return ERR_OK;
}

static void build_run(struct work *work)
{
	struct build_work *w = (struct build_work *)work;

	if (w->e == ERR_OK && w->job.info.kind == PACKAGE_SOFTWARE)
		outcome_note(w, software_walk(w));
	if (w->e == ERR_OK)
		outcome_note(w, package_build(&w->job, &w->built));
}

static void build_reply(struct build_work *w, bool existing)
{
	const struct package_built *b = &w->built;
	cJSON *body = cJSON_CreateObject();
	SCOPED_FREE char *hex = malloc(b->manifest.size * 2 + 1);

	if (!body || !hex)
		abort();
	hex_encode(b->manifest.data, b->manifest.size, hex);
	cJSON_AddStringToObject(body, "package", digest_hex(&b->id));
	cJSON_AddStringToObject(body, "manifest", hex);
	cJSON_AddNumberToObject(body, "size_bytes", (double)b->size_bytes);
	cJSON_AddNumberToObject(body, "files", b->file_count);
	cJSON_AddNumberToObject(body, "chunks", b->chunk_count);
	cJSON_AddNumberToObject(body, "objects", (double)b->objects.object_count);
	cJSON_AddNumberToObject(body, "object_bytes", (double)b->object_bytes);
	cJSON_AddNumberToObject(body, "new_bytes", (double)(existing ? 0 : b->new_bytes));
	cJSON_AddBoolToObject(body, "existing", existing);
	cJSON_AddNumberToObject(body, "read_bytes", (double)b->read_bytes);
	call_answer(w->call, body);
}

// With the package's rows, in one act.
static enum err seen_record(struct build_work *w)
{
	const struct seen_limit limit = {.bytes_max = w->publisher->settings->seen_bytes_max,
		.now_unix_ms = w->package.built_unix_ms};

	if (!w->job.seen)
		return ERR_OK;
	return seen_put(&w->publisher->store, w->package.name, &w->seen, &w->built.seen, &limit);
}

static enum err build_record(struct build_work *w, bool *existing)
{
	struct store *s = &w->publisher->store;

	w->package.built_unix_ms = clock_now().wall.ms;
	enum err e = seen_record(w);
	if (e == ERR_OK)
		e = package_add(s, &w->package, &w->built, w->images, w->image_count, existing);
	if (e != ERR_OK || *existing)
		e = store_end(s, e); // what was seen is new also of a package that is not
	if (e != ERR_OK || *existing)
		package_built_undo(&w->job, &w->built);
	return e;
}

static void on_build_closed(uv_handle_t *h)
{
	struct build_work *w = h->data;

	arena_fini(&w->words);
	seen_fini(&w->seen);
	secret_wipe(&w->key, sizeof(w->key));
	free(w);
}

static void build_free(struct build_work *w)
{
	free(w->images);
	free(w->files);
	tree_fini(&w->tree);
	if (w->fd >= 0)
		close(w->fd);
	uv_close((uv_handle_t *)&w->progress, on_build_closed);
}

static void build_done(struct work *work)
{
	struct build_work *w = (struct build_work *)work;
	bool existing = false;
	enum err e = w->e;

	if (work->cancelled)
		e = err_set(ERR_CLOSED, "the publisher ends");
	else if (e != ERR_OK)
		(void)err_set(e, "%s", w->why);
	else
		e = build_record(w, &existing);
	if (e != ERR_OK) {
		publisher_refuse(w->publisher, w->call, e);
	} else {
		log_info("PACKAGE-BUILT",
			"package=%s name=%s version=%s size_bytes=%llu read_bytes=%llu "
			"new_bytes=%llu",
			digest_short(&w->built.id), w->package.name, w->package.version,
			(unsigned long long)w->built.size_bytes,
			(unsigned long long)w->built.read_bytes,
			(unsigned long long)w->built.new_bytes);
		build_reply(w, existing);
	}
	if (!work->cancelled && w->e == ERR_OK)
		package_built_fini(&w->built);
	build_free(w);
}

static void on_progress(uv_timer_t *t)
{
	struct build_work *w = t->data;

	if (!call_is_alone(w->call) && w->total_bytes > 0)
		call_progress(w->call, w->done_bytes, w->total_bytes, "packing");
}

void verb_package_build(struct publisher *p, struct call *c)
{
	struct build_work *w = calloc(1, sizeof *w);

	if (!w)
		abort();
	arena_init(&w->words, 256u * 1024 * 1024, 16u * LIMIT_FILES);
	w->publisher = p;
	w->call = c;
	w->fd = -1;
	w->work.class = WORK_BUILD;
	w->work.begin = build_begin;
	w->work.run = build_run;
	w->work.done = build_done;
	uv_timer_init(p->config.loop, &w->progress);
	w->progress.data = w;
	enum err e = build_prepare(w);
	if (e == ERR_OK)
		e = work_add(&p->work, &w->work);
	if (e != ERR_OK) {
		publisher_refuse(p, c, e);
		build_free(w);
		return;
	}
	uv_timer_start(&w->progress, on_progress, PROGRESS_MS, PROGRESS_MS);
}
