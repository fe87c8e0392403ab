// A root of trust, and manifests and indices signed under it, for tests of the presence server.
#ifndef HELIO_TESTS_UNIT_CONTENT_FIXTURE_H
#define HELIO_TESTS_UNIT_CONTENT_FIXTURE_H

#include "tests/unit/helper.h"

#include "proto/content.h"
#include "proto/digest.h"

struct fixture_keys {
	struct sign_key *image, *software[2], *enrol, *publisher, *stranger;
	struct key32 image_public, software_public[2], enrol_public;
	struct root root;
};

static inline struct sign_key *fixture_key(void)
{
	struct key32 secret;
	struct sign_key *k = NULL;

	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &k), ERR_OK);
	return k;
}

static inline void fixture_keys_make(struct fixture_keys *f)
{
	f->image = fixture_key();
	f->software[0] = fixture_key();
	f->software[1] = fixture_key();
	f->enrol = fixture_key();
	f->publisher = fixture_key();
	f->stranger = fixture_key();
	f->image_public = *sign_key_public(f->image);
	f->software_public[0] = *sign_key_public(f->software[0]);
	f->software_public[1] = *sign_key_public(f->software[1]);
	f->enrol_public = *sign_key_public(f->enrol);
	f->root = (struct root){
		.version = 1,
		.fleet = "test",
		.image_keys = &f->image_public,
		.image_key_count = 1,
		.software_keys = f->software_public,
		.software_key_count = 2,
		.software_threshold = 2,
		.enrol_keys = &f->enrol_public,
		.enrol_key_count = 1,
	};
}

static inline void fixture_keys_free(struct fixture_keys *f)
{
	sign_key_free(f->image);
	sign_key_free(f->software[0]);
	sign_key_free(f->software[1]);
	sign_key_free(f->enrol);
	sign_key_free(f->publisher);
	sign_key_free(f->stranger);
}

// A manifest of one file, signed by keys[count]. id: the package's.
static inline void fixture_manifest(enum package_kind kind, const char *name, const char *version,
	struct sign_key *const *keys, size_t count, struct buf *envelope, struct digest *id)
{
	const struct manifest info = {.kind = kind, .name = name, .version = version};
	struct file_entry file = {.path = "0001.jpg", .size_bytes = 1};
	struct manifest_builder *b = NULL;
	const struct built_page *pages;
	struct buf payload;
	size_t page_count;

	file.sha256 = sha256(version, strlen(version));
	file.size_bytes = strlen(version);
	buf_init(&payload, LIMIT_MANIFEST_ROOT);
	assert_int_equal(manifest_builder_new(&info, &b), ERR_OK);
	assert_int_equal(manifest_builder_add(b, &file), ERR_OK);
	assert_int_equal(manifest_builder_finish(b, &payload, &pages, &page_count), ERR_OK);
	*id = package_id(buf_bytes(&payload));
	assert_int_equal(
		envelope_make(PURPOSE_MANIFEST, buf_bytes(&payload), keys, count, envelope),
		ERR_OK);
	manifest_builder_free(b);
	buf_fini(&payload);
}

#endif
