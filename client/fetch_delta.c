// A delta index in the place of the full one. It is an offer, never a need: whatever is wrong with
// it -- it does not come, is not signed, names a base that is not here or has rotted, an object is
// missing or gives wrong output -- the fetch goes on with the full index on the same connection,
// and what stands in staging stays. It does not condemn the release, and no operation fails for it.
#include "client/fetcher_parts.h"

#include <string.h>

bool fetch_is_delta(const struct fetch *f)
{
	return !digest_is_zero(&f->base);
}

void fetch_head_want(struct fetch *f)
{
	struct topic index =
		topic_idx(f->publisher, &f->package, fetch_is_delta(f) ? &f->base : NULL);
	struct topic manifest = topic_pkg(f->publisher, &f->package);
	f->phase = FETCH_HEAD;
	fetch_single_want(f, 0, index.s, LIMIT_INDEX, NULL);
	fetch_single_want(f, 1, manifest.s, LIMIT_ENVELOPE, NULL);
}

// The manifest that was judged once is not fetched again.
static void manifest_keep(struct fetch *f)
{
	struct fetch_single *s = &f->singles[1];
	if (f->envelope.size == 0 ||
		buf_append(&s->bytes, f->envelope.data, f->envelope.size) != ERR_OK)
		return;
	s->done = true;
}

void fetch_fall_back(struct fetch *f, const char *why)
{
	bool manifest_there = f->phase == FETCH_HEAD && f->singles[1].done;
	log_warn("FETCH-DELTA-DROPPED", "package=%s base=%s why=%s", digest_short(&f->package),
		digest_short(&f->base), log_quote(why));
	f->base = (struct digest){{0}};
	f->falls_back = false;
	f->planned = false;
	fetch_parked_drop(f);
	if (f->carry_moved && f->carry_of == f->page)
		f->carry = f->carry_before;
	f->carry_moved = false;
	if (manifest_there) {
		buf_clear(&f->envelope);
		if (buf_append(&f->envelope, f->singles[1].bytes.data, f->singles[1].bytes.size) !=
			ERR_OK)
			buf_clear(&f->envelope);
	}
	fetch_head_want(f);
	manifest_keep(f);
	f->pace.alarms = 0;
	if (f->up)
		fetch_is_up(f);
}

void fetch_fall_back_later(struct fetch *f, const char *why)
{
	if (f->falls_back)
		return;
	f->falls_back = true;
	log_info("FETCH-DELTA-FAILS", "package=%s why=%s", digest_short(&f->package),
		log_quote(why));
}

enum err fetch_page_base(struct fetch *f, const struct object *o, struct buf *out)
{
	buf_init(out, LIMIT_PAGE);
	if (!coding_has_base(o->coding))
		return ERR_OK;
	if (o->base_count != 1)
		return err_set(ERR_NOT_FOUND, "a page of %zu bases", o->base_count);
	return base_page_read(f->config->store, &f->base, &o->base_chunks[0], &f->rot, out);
}

// Every chunk that is missing is yielded by an object whose base is here.
bool fetch_index_serves(const struct fetch *f)
{
	const struct index_page *x = &f->index_page;
	uint32_t chunk = 0;
	for (size_t i = 0; i <= x->object_count; i++) {
		const struct object *o = i < x->object_count ? &x->objects[i] : NULL;
		uint32_t end =
			o != NULL ? o->first_chunk : (uint32_t)f->staged_page.plan.chunk_count;
		for (; chunk < end; chunk++) {
			if (!staging_has_chunk(&f->staging, f->page, chunk))
				return false;
		}
		for (; o != NULL && chunk < end + o->chunk_count; chunk++) {
			if (!staging_has_chunk(&f->staging, f->page, chunk) &&
				!base_source_has(&f->bases, o))
				return false;
		}
	}
	return true;
}

void fetch_tell_bytes(struct fetch *f)
{
	if (f->owner->events.bytes != NULL)
		f->owner->events.bytes(f->owner->ctx, f->to_come, fetch_is_delta(f));
}
