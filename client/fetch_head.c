// Index and manifest: what is believed, and why not.
//
// The index is signed by the publisher whose key the server's grant named, and must name the
// package that was wanted. The manifest must hash to the package id and be signed by keys of the
// root. Only then are kind, hardware class, security counter and space compared.
#include "client/fetcher_parts.h"

#include "client/key_shelf.h"

#include "proto/base/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err reason(struct fetch *f, const char *word, enum err e)
{
	if (e != ERR_OK)
		(void)str_copy(f->fail_word, sizeof f->fail_word, word);
	return e;
}

static enum err index_open(struct fetch *f, struct bytes envelope)
{
	struct bytes payload;
	TRY(reason(f, "signature",
		envelope_open(PURPOSE_INDEX, envelope, &f->publisher_key, 1, 1, &payload)));
	TRY(reason(f, "index", index_decode(&f->head_arena, payload, &f->index)));
	if (!digest_equal(&f->index.package, &f->package))
		return reason(
			f, "index", err_set(ERR_CORRUPT, "the index is that of another package"));
	if (!digest_equal(&f->index.base, &f->base))
		return reason(f, "index", err_set(ERR_CORRUPT, "the index is for another base"));
	return ERR_OK;
}

// "1.10" is above "1.9"; letters end a number.
static int version_compare(const char *a, const char *b)
{
	while (*a != '\0' || *b != '\0') {
		char *enda, *endb;
		unsigned long x = strtoul(a, &enda, 10), y = strtoul(b, &endb, 10);
		if (x != y)
			return x < y ? -1 : 1;
		if (enda == a && endb == b && (*a != '.' || *b != '.'))
			return strcmp(a, b);
		a = *enda == '.' ? enda + 1 : enda;
		b = *endb == '.' ? endb + 1 : endb;
	}
	return 0;
}

static enum err manifest_fits(struct fetch *f)
{
	const struct manifest *m = &f->manifest;
	if (m->kind != f->kind)
		return reason(f, "kind",
			err_set(ERR_DENIED, "the package is of kind %s, %s was announced",
				package_kind_word(m->kind), package_kind_word(f->kind)));
	if (m->hw_class[0] != '\0' && strcmp(m->hw_class, f->config->hw_class) != 0)
		return reason(f, "hw-class",
			err_set(ERR_DENIED, "the package is for hardware of class %s",
				m->hw_class));
	if (m->product[0] != '\0' && strcmp(m->product, f->config->product) != 0)
		return reason(f, "product",
			err_set(ERR_DENIED, "the package is for product %s", m->product));
	if (m->min_agent[0] != '\0' && version_compare(HELIO_VERSION, m->min_agent) < 0)
		return reason(f, "agent-version",
			err_set(ERR_VERSION, "the package wants agent %s or later", m->min_agent));
	if (m->kind == PACKAGE_SOFTWARE && m->security_counter < f->floor)
		return reason(f, "security-counter",
			err_set(ERR_STALE, "security counter %llu is below %llu",
				(unsigned long long)m->security_counter,
				(unsigned long long)f->floor));
	return ERR_OK;
}

static const char *manifest_word(enum err e)
{
	switch ((int)e) {
	case ERR_AUTH:
		return "signature";
	default:
		return "manifest";
	}
}

// Every object of an encrypted package is opened with its key.
static enum err key_find(struct fetch *f)
{
	const struct id16 *id = &f->manifest.key_id;
	if (key_id_is_none(id))
		return ERR_OK;
	enum err e = key_shelf_find(f->config->state_dir, id, &f->key);
	if (e == ERR_NOT_FOUND)
		e = err_set(ERR_DENIED, "the package is encrypted, and its key was not given");
	TRY(reason(f, "no-key", e));
	object_decoder_key(f->decoder, &f->key);
	fetch_pool_key(&f->pool, &f->key);
	return ERR_OK;
}

enum err fetch_head_check(struct fetch *f)
{
	f->index_failed = false;
	struct bytes index = arena_copy(&f->head_arena, buf_bytes(&f->singles[0].bytes));
	if (index.data == NULL)
		return reason(f, "memory", err_set(ERR_MEMORY, "no memory for the index"));
	buf_clear(&f->envelope);
	TRY(reason(f, "memory",
		buf_append(&f->envelope, f->singles[1].bytes.data, f->singles[1].bytes.size)));
	enum err e = manifest_open(f->config->root, buf_bytes(&f->envelope), &f->package,
		&f->head_arena, &f->manifest);
	TRY(reason(f, manifest_word(e), e));
	TRY(manifest_fits(f));
	TRY(key_find(f));
	f->index_failed = true;
	TRY(index_open(f, index));
	TRY(reason(f, "index", index_check(&f->index, &f->manifest, &f->package)));
	f->index_failed = false;
	return ERR_OK;
}
