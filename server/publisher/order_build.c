// What takes its time for an order: sizes for the screens, by a child that decodes (ingest.h), and
// the package itself, on libuv's pool. One package at a time; its pictures and objects are as they
// were when it began, because nothing is collected while a build runs.
#include "server/publisher/orders_inside.h"

#include "proto/base/text.h"
#include "proto/envelope.h"
#include "server/offer.h"
#include "server/publisher/ingest.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZING_MAX 256 // pictures at a time; the rest follows when the order is looked at again

// ---- what stands already

struct standing {
	const struct show_package *pack;
	struct digest found;
	uint64_t size_bytes;
	bool is;
};

static bool standing_look(void *ctx, const struct package *p)
{
	struct standing *s = ctx;

	if (p->kind != PACKAGE_IMAGES || strcmp(p->name, s->pack->info.name) != 0 ||
		strcmp(p->version, s->pack->info.version) != 0)
		return true;
	s->is = p->state == PACKAGE_OFFERED || p->state == PACKAGE_SIGNED;
	s->found = p->id;
	s->size_bytes = p->size_bytes;
	return !s->is;
}

// By the content of the orders first, which is in memory; the store's rows are asked only then.
bool order_package_stands(
	struct orders *o, const struct show_package *pack, struct digest *package, uint64_t *bytes)
{
	struct standing s = {.pack = pack};
	struct package row;

	for (size_t i = 0; i < o->count; i++) {
		const struct order_row *r = &o->list[i]->row;
		if (digest_is_zero(&r->package) || !digest_equal(&r->content, &pack->content))
			continue;
		if (package_find(&o->p->store, &r->package, &row) != ERR_OK)
			break;
		*package = row.id;
		*bytes = row.size_bytes;
		return row.state == PACKAGE_OFFERED || row.state == PACKAGE_SIGNED;
	}
	if (package_named(&o->p->store, pack->info.name, pack->info.version, standing_look, &s) !=
		ERR_OK)
		return false;
	*package = s.found;
	*bytes = s.size_bytes;
	return s.is;
}

// ---- building

struct order_job {
	struct work work;
	struct orders *o;
	char id[LIMIT_ID + 1];
	struct show_package pack;
	uint32_t matched;
	struct pack_job job;
	struct key32 key;
	struct package_built built;
	enum err e;
	char why[LIMIT_TEXT + 1];
};

static void build_run(struct work *work)
{
	struct order_job *j = (struct order_job *)work;

	j->e = package_build(&j->job, &j->built);
	if (j->e != ERR_OK)
		text_format(j->why, sizeof j->why, "%s", err_text());
}

// Signed only when the root lets this key sign pictures: what the server would refuse is not made.
static enum err envelope_of(struct publisher *p, struct bytes manifest, struct buf *out)
{
	SCOPED_ARENA struct arena a;
	struct sign_key *key = NULL;
	struct manifest m;
	struct digest id;

	arena_init(&a, 512 * 1024, 8192);
	TRY(sign_key_read(p->settings->image_key, &key));
	struct sign_key *const keys[1] = {key};
	enum err e = envelope_make(PURPOSE_MANIFEST, manifest, keys, 1, out);
	sign_key_free(key);
	TRY(e);
	return offer_open(&p->trust.root, buf_bytes(out), &a, &m, &id);
}

static enum err package_sign_built(struct publisher *p, const struct package_built *b)
{
	SCOPED_BUF struct buf envelope;
	struct package row;

	buf_init(&envelope, LIMIT_ENVELOPE);
	TRY(package_find(&p->store, &b->id, &row));
	if (row.state == PACKAGE_OFFERED || row.state == PACKAGE_SIGNED)
		return ERR_OK;
	if (row.state == PACKAGE_WITHDRAWN)
		return err_set(ERR_DENIED, "withdrawn: an operator withdrew package %s %s",
			row.name, row.version);
	enum err e = envelope_of(p, buf_bytes(&b->manifest), &envelope);
	if (e != ERR_OK) {
		char why[400];
		text_format(why, sizeof why, "%s", err_text());
		return err_set(e, "no-key: %s", why);
	}
	e = package_set_envelope(&p->store, &b->id, buf_bytes(&envelope));
	if (e == ERR_OK)
		e = package_set_state(&p->store, &b->id, PACKAGE_SIGNED);
	return store_end(&p->store, e);
}

static enum err build_record(struct order_job *j)
{
	struct publisher *p = j->o->p;
	struct package row = {.kind = PACKAGE_IMAGES, .built_unix_ms = clock_now().wall.ms};
	bool existing = false;

	(void)str_copy(row.name, sizeof row.name, j->pack.info.name);
	(void)str_copy(row.version, sizeof row.version, j->pack.info.version);
	enum err e = package_add(
		&p->store, &row, &j->built, j->pack.images, j->pack.file_count, &existing);
	if (e != ERR_OK || existing)
		package_built_undo(&j->job, &j->built);
	TRY(e);
	if (!existing)
		log_info("ORDER-BUILT",
			"order=%s package=%s name=%s version=%s files=%u size_bytes=%llu "
			"new_bytes=%llu",
			j->id, digest_short(&j->built.id), row.name, row.version,
			j->built.file_count, (unsigned long long)j->built.size_bytes,
			(unsigned long long)j->built.new_bytes);
	return package_sign_built(p, &j->built);
}

static void job_free(struct order_job *j)
{
	show_package_fini(&j->pack);
	secret_wipe(&j->key, sizeof j->key);
	free(j);
}

// It cannot be made: told, and tried again when something changes. A disk that is full or a
// publisher that ends is no outcome.
static void build_failed(struct order_job *j, struct order *r, enum err e)
{
	struct order_row next = r->row;
	char text[LIMIT_TEXT + 1];

	log_warn("ORDER-BUILD-FAILED", "order=%s word=%s why=%s", j->id, err_word(e),
		log_quote(err_text()));
	if (e == ERR_NO_SPACE || e == ERR_READ_ONLY || e == ERR_IO || e == ERR_NOT_NOW) {
		store_judge(&j->o->p->store, e);
		order_dirty(j->o, r);
		j->o->pause_until = mono_add_ms(clock_now().mono, ORDER_PAUSE_MS);
		return;
	}
	text_format(text, sizeof text, e == ERR_AUTH || e == ERR_DENIED ? "%s" : "broken: %s",
		err_text());
	next.package = next.content = (struct digest){{0}};
	next.matched = j->matched;
	next.included = 0;
	next.size_bytes = 0;
	next.reason = text;
	order_outcome(j->o, r, &next);
}

static void build_done(struct work *work)
{
	struct order_job *j = (struct order_job *)work;
	struct orders *o = j->o;
	enum err e = j->e;

	if (work->cancelled || o->p->stopping) {
		if (!work->cancelled && e == ERR_OK) {
			package_built_undo(&j->job, &j->built);
			package_built_fini(&j->built);
		}
		job_free(j);
		return;
	}
	o->job = NULL;
	if (e == ERR_OK) {
		e = build_record(j);
		package_built_fini(&j->built);
	} else {
		(void)err_set(e, "%s", j->why);
	}
	struct order *r = order_find(o, j->id);
	if (r)
		r->making = false;
	if (r && e == ERR_OK)
		order_dirty(o, r); // finds what stands now
	else if (r)
		build_failed(j, r, e);
	job_free(j);
	orders_work(o);
}

enum err order_build(struct orders *o, struct order *r, struct evaluation *e)
{
	struct order_job *j = calloc(1, sizeof *j);
	struct publisher *p = o->p;

	if (!j)
		return err_set(ERR_MEMORY, "no memory for a package");
	j->o = o;
	(void)str_copy(j->id, sizeof j->id, r->row.id);
	j->matched = e->selection.matched;
	j->pack = e->pack;
	e->pack = (struct show_package){0};
	j->key = e->key;
	j->job = (struct pack_job){.info = j->pack.info,
		.key = e->sealed ? &j->key : NULL,
		.files = j->pack.files,
		.file_count = j->pack.file_count,
		.root_fd = -1,
		.images = &p->store.images,
		.objects = &p->store.objects,
		.known = &p->store.known,
		.profile = {.zstd_level = 0, .keep_percent = 95},
		.cancel = &p->cancel};
	j->work.class = WORK_BUILD;
	j->work.run = build_run;
	j->work.done = build_done;
	enum err added = work_add(&p->work, &j->work);
	if (added != ERR_OK) {
		job_free(j);
		return added;
	}
	o->job = j;
	r->making = true;
	return ERR_OK;
}

// ---- sizes

struct size_work {
	struct work work;
	struct orders *o;
	struct variant variant;
	struct digest image;
	int fd;
	enum err e;
	char why[LIMIT_TEXT + 1];
};

static enum err size_make(struct size_work *w)
{
	struct blob_store *images = &w->o->p->store.images;
	struct ingest_limits limits = {.width = w->variant.width, .height = w->variant.height};
	struct ingested result;

	TRY(ingest_run(w->fd, &limits, &result));
	if (result.word != PICTURE_GOOD) {
		text_format(w->why, sizeof w->why, "%s", result.text);
		return ERR_OK; // sha256 stays zero: it cannot be made
	}
	enum err e = ingested_hash(&result, &w->variant.sha256);
	w->variant.size_bytes = result.size;
	if (e == ERR_OK)
		e = blob_put_fd(images, &w->variant.sha256, result.fd, result.size);
	ingested_close(&result);
	return e;
}

static void size_run(struct work *work)
{
	struct size_work *w = (struct size_work *)work;

	w->e = size_make(w);
	if (w->e != ERR_OK)
		text_format(w->why, sizeof w->why, "%s", err_text());
}

// A variant that is not smaller in bytes is the picture itself.
static enum err size_record(struct size_work *w)
{
	struct store *s = &w->o->p->store;
	struct image i;

	if (w->e != ERR_OK)
		return err_set(w->e, "%s", w->why);
	TRY(image_find(s, &w->variant.image, &i));
	if (digest_is_zero(&w->variant.sha256)) {
		log_warn("VARIANT-BROKEN", "image=%s width=%u height=%u why=%s",
			digest_short(&w->variant.image), w->variant.width, w->variant.height,
			log_quote(w->why));
	} else if (w->variant.size_bytes >= i.size_bytes) {
		w->variant.sha256 = i.sha256;
		w->variant.size_bytes = i.size_bytes;
	}
	TRY(store_end(s, variant_add(s, &w->variant)));
	return w->o->library_stale ? ERR_OK : library_variant_add(&w->o->library, &w->variant);
}

static void size_done(struct work *work)
{
	struct size_work *w = (struct size_work *)work;
	struct orders *o = w->o;

	if (!work->cancelled && !o->p->stopping) {
		o->sizing--;
		if (size_record(w) != ERR_OK) {
			store_judge(&o->p->store, w->e);
			log_warn("VARIANT-NOT-MADE", "image=%s why=%s",
				digest_short(&w->variant.image), log_quote(err_text()));
			o->library_stale = true;
			o->pause_until = mono_add_ms(clock_now().mono, ORDER_PAUSE_MS);
		}
		if (o->sizing == 0)
			orders_work(o);
	}
	close(w->fd);
	free(w);
}

static enum err size_begin(struct orders *o, const struct digest *image, const struct shipped *f)
{
	struct size_work *w = calloc(1, sizeof *w);

	if (!w)
		return err_set(ERR_MEMORY, "no memory for a picture");
	w->o = o;
	w->variant = (struct variant){.image = *image, .width = f->width, .height = f->height};
	w->work.class = WORK_PICTURE;
	w->work.run = size_run;
	w->work.done = size_done;
	enum err e = blob_open(&o->p->store.images, image, &w->fd);
	if (e == ERR_OK) {
		e = work_add(&o->p->work, &w->work);
		if (e == ERR_OK) {
			o->sizing++;
			return ERR_OK;
		}
		close(w->fd);
	}
	free(w);
	return e;
}

// The same picture may be picked by several plans: it is made once.
static bool picked_before(const struct evaluation *e, size_t at, const struct shipped *f)
{
	const struct selection *s = &e->selection;

	for (size_t i = 0; i < at; i++) {
		if (s->picks[i].image != s->picks[at].image)
			continue;
		size_t fit = plan_fit_class(e->order, s->picks[i].part);
		const struct shipped *g = &e->shipped[fit][s->picks[i].image];
		if (g->width == f->width && g->height == f->height)
			return true;
	}
	return false;
}

enum err order_sizes(struct orders *o, const struct evaluation *e)
{
	const struct selection *s = &e->selection;

	for (size_t i = 0; i < s->pick_count && o->sizing < SIZING_MAX; i++) {
		size_t fit = plan_fit_class(e->order, s->picks[i].part);
		const struct shipped *f = &e->shipped[fit][s->picks[i].image];
		if (!f->wanted || picked_before(e, i, f))
			continue;
		TRY(size_begin(o, &e->library->catalog.images[s->picks[i].image].sha256, f));
	}
	return ERR_OK;
}
