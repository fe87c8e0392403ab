#include "server/offer.h"

#include "proto/topics.h"
#include <string.h>

static enum err manifest_of(const struct root *root, struct bytes envelope, struct arena *a,
	enum package_kind kind, struct manifest *out, struct digest *id)
{
	bool images = kind == PACKAGE_IMAGES;
	struct bytes payload;

	TRY(envelope_open(PURPOSE_MANIFEST, envelope,
		images ? root->image_keys : root->software_keys,
		images ? root->image_key_count : root->software_key_count,
		images ? 1 : root->software_threshold, &payload));
	TRY(manifest_decode(a, payload, out));
	TRY(manifest_check(out));
	if (out->kind != kind)
		return err_set(ERR_AUTH, "a manifest of %s is not signed by the keys for it",
			package_kind_word(out->kind));
	*id = package_id(payload);
	return ERR_OK;
}

static enum err names_check(const struct manifest *m)
{
	if (!id_is_valid(m->name))
		return err_set(
			ERR_FORMAT, "a package's name has 1 to %d of A-Za-z0-9._-", LIMIT_ID);
	if (!m->version[0] || strlen(m->version) > LIMIT_ID)
		return err_set(ERR_RANGE, "a package's version has 1 to %d characters", LIMIT_ID);
	return ERR_OK;
}

enum err offer_open(const struct root *root, struct bytes envelope, struct arena *a,
	struct manifest *out, struct digest *id)
{
	enum err e = manifest_of(root, envelope, a, PACKAGE_IMAGES, out, id);

	if (e == ERR_AUTH)
		e = manifest_of(root, envelope, a, PACKAGE_SOFTWARE, out, id);
	TRY(e);
	return names_check(out);
}
