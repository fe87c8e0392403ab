// From a selection to what a package of it is: names of files, what each says of its picture, the
// groups with the hours of their plans, and a version that follows from all of this. Pure.
//
// The version is the beginning of a digest over everything that devices would see. So equal content
// is the equal package, whoever ordered it and whenever, and a change of nothing is no new version:
// the digest is compared before anything is built (requirement c9.c).
#ifndef HELIO_PUBLISHER_SHOW_PACKAGE_H
#define HELIO_PUBLISHER_SHOW_PACKAGE_H

#include "server/publisher/packager.h"
#include "server/publisher/selection.h"

#define SLUG_MAX 40
// Lower-case letters, digits and single hyphens of a title; "picture" when nothing is left.
void slug_make(const char *title, char out[SLUG_MAX + 1]);
// "0001-old-harbour.jpg": names rise with the place, so that ascending path order is the order of
// showing. NULL: no memory.
const char *picture_path(
	struct arena *a, size_t at, size_t count, const char *title, uint32_t format);

struct show_package {
	struct arena words;
	struct manifest info; // with show, groups and version
	struct pack_file *files;
	struct digest *images; // of the store, behind each file
	size_t file_count;
	struct digest content;
};

// The order, the catalog and the selection may go afterwards. Errors: ERR_MEMORY.
// show_package_fini always.
enum err show_package_make(const struct package_order *o, const struct catalog *c,
	const struct shipped *const shipped[SELECTION_FITS], const struct selection *s,
	struct show_package *out) MUST_CHECK;
// The package will be sealed with this key: it is another one then.
enum err show_package_seal(struct show_package *p, const struct id16 *key_id) MUST_CHECK;
void show_package_fini(struct show_package *p);

#endif
