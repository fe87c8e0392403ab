// The packages of a device on disk; see depot.h.
#include "client/depot.h"

#include "client/installer.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/digest.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *depot_kind_folder(enum package_kind kind)
{
	return kind == PACKAGE_SOFTWARE ? "software" : "images";
}

static void path_of(const struct depot *s, const char *folder, const struct digest *id,
	const char *rest, char *out)
{
	char hex[65];
	hex_encode(id->b, sizeof id->b, hex);
	int n = snprintf(out, DEPOT_PATH, "%s/%s/%s%s%s", s->root_dir, folder, hex,
		rest[0] != '\0' ? "/" : "", rest);
	if (n < 0 || n >= DEPOT_PATH)
		out[0] = '\0';
}

void depot_package_path(const struct depot *s, const struct digest *id, const char *rest, char *out)
{
	path_of(s, "packages", id, rest, out);
}

void depot_staging_path(const struct depot *s, const struct digest *id, const char *rest, char *out)
{
	path_of(s, "staging", id, rest, out);
}

// ---- manifests

enum err manifest_open(const struct root *root, struct bytes envelope, const struct digest *id,
	struct arena *a, struct manifest *out)
{
	struct bytes payload;
	enum package_kind kind = PACKAGE_IMAGES;
	enum err e = envelope_open(
		PURPOSE_MANIFEST, envelope, root->image_keys, root->image_key_count, 1, &payload);
	if (e == ERR_AUTH || e == ERR_RANGE) {
		kind = PACKAGE_SOFTWARE;
		e = envelope_open(PURPOSE_MANIFEST, envelope, root->software_keys,
			root->software_key_count, root->software_threshold, &payload);
	}
	TRY(e);
	struct digest have = package_id(payload);
	if (!digest_equal(&have, id))
		return err_set(ERR_CORRUPT, "the manifest is that of another package");
	TRY(manifest_decode(a, payload, out));
	TRY(manifest_check(out));
	if (out->kind == kind)
		return ERR_OK;
	// One key may hold both roles: then the other role's threshold decides.
	if (out->kind == PACKAGE_SOFTWARE)
		return envelope_open(PURPOSE_MANIFEST, envelope, root->software_keys,
			root->software_key_count, root->software_threshold, &payload);
	return err_set(ERR_AUTH, "the manifest's kind needs other signatures");
}

enum err depot_manifest(
	const struct depot *s, const struct digest *id, struct arena *a, struct manifest *out)
{
	char path[DEPOT_PATH];
	SCOPED_BUF struct buf envelope;
	buf_init(&envelope, LIMIT_ENVELOPE);
	depot_package_path(s, id, "manifest", path);
	TRY(file_read(path, &envelope));
	struct bytes kept = arena_copy(a, buf_bytes(&envelope));
	if (kept.data == NULL)
		return err_set(ERR_MEMORY, "no memory for a manifest");
	return manifest_open(s->root, kept, id, a, out);
}

// ---- what is held

static bool id_of_name(const char *name, struct digest *out)
{
	return strlen(name) == 64 && hex_decode(name, out->b, sizeof out->b) == ERR_OK;
}

static enum err held_fill(struct depot *s, const struct digest *id, struct held_package *out)
{
	struct manifest m;
	SCOPED_ARENA struct arena a;
	arena_init(&a, 512 * 1024, 4096);
	TRY(depot_manifest(s, id, &a, &m));
	*out = (struct held_package){
		.id = *id,
		.kind = m.kind,
		.chunk_count = m.chunk_count,
		.security_counter = m.security_counter,
	};
	if (!str_copy(out->name, sizeof out->name, m.name) ||
		!str_copy(out->version, sizeof out->version, m.version))
		return err_set(ERR_RANGE, "the name or version of a package is too long");
	return ERR_OK;
}

// A package whose manifest no longer holds is not held. What it has goes to staging, where every
// byte is hashed before it counts again.
static void package_demote(struct depot *s, const char *name, const struct digest *id)
{
	char from[DEPOT_PATH], to[DEPOT_PATH];
	log_error("PACKAGE-BROKEN", "package=%s why=%s", name, log_quote(err_text()));
	depot_package_path(s, id, "", from);
	depot_staging_path(s, id, "", to);
	if (rename(from, to) != 0 && tree_remove(from) != ERR_OK)
		log_error("PACKAGE-STUCK", "package=%s why=%s", name, log_quote(err_text()));
}

enum err depot_demote(struct depot *s, const struct digest *id)
{
	char name[65];
	hex_encode(id->b, sizeof id->b, name);
	package_demote(s, name, id);
	return depot_scan(s);
}

enum err depot_scan(struct depot *s)
{
	char dir[DEPOT_PATH];
	TRY(path_join(dir, sizeof dir, s->root_dir, "packages"));
	DIR *d = opendir(dir);
	if (d == NULL)
		return err_set_errno("cannot list %s", dir);
	s->held_count = 0;
	enum err listed;
	const struct dirent *e = NULL;
	while ((listed = folder_next(d, dir, &e)) == ERR_OK && e != NULL) {
		struct digest id;
		if (!id_of_name(e->d_name, &id) || s->held_count == LIMIT_HOLDINGS)
			continue;
		enum err err = held_fill(s, &id, &s->held[s->held_count]);
		if (err == ERR_OK)
			s->held_count++;
		else if (err != ERR_IO && err != ERR_MEMORY)
			package_demote(s, e->d_name, &id);
	}
	closedir(d);
	return listed;
}

const struct held_package *depot_find(const struct depot *s, const struct digest *id)
{
	for (size_t i = 0; i < s->held_count; i++) {
		if (digest_equal(&s->held[i].id, id))
			return &s->held[i];
	}
	return NULL;
}

// ---- slots

enum err page_file_read(const char *path, struct arena *a, struct manifest_page *out)
{
	SCOPED_BUF struct buf bytes;
	buf_init(&bytes, LIMIT_PAGE);
	TRY(file_read(path, &bytes));
	struct bytes kept = arena_copy(a, buf_bytes(&bytes));
	if (kept.data == NULL)
		return err_set(ERR_MEMORY, "no memory for a page");
	return manifest_page_decode(a, kept, out);
}

enum err depot_slot(const struct depot *s, enum package_kind kind, const char *name,
	enum slot_link which, struct digest *out)
{
	return slot_read(s->root_dir, kind, name, which, out);
}

enum err depot_activate(
	struct depot *s, enum package_kind kind, const char *name, const struct digest *id)
{
	return slot_switch(s->root_dir, kind, name, id);
}

enum err depot_keep(
	struct depot *s, enum package_kind kind, const char *name, const struct digest *id)
{
	return slot_set(s->root_dir, kind, name, SLOT_NEXT, id);
}

static bool slot_names(const struct depot *s, const struct held_package *h)
{
	for (int which = SLOT_CURRENT; which <= SLOT_NEXT; which++) {
		struct digest id;
		if (depot_slot(s, h->kind, h->name, (enum slot_link)which, &id) == ERR_OK &&
			digest_equal(&id, &h->id))
			return true;
	}
	return false;
}

void depot_software(
	const struct depot *s, struct arena *a, struct software_version **out, size_t *count)
{
	*count = 0;
	*out = arena_array(a, LIMIT_SOFTWARE, sizeof **out);
	for (size_t i = 0; *out != NULL && i < s->held_count && *count < LIMIT_SOFTWARE; i++) {
		const struct held_package *h = &s->held[i];
		struct digest id;
		if (h->kind != PACKAGE_SOFTWARE ||
			depot_slot(s, h->kind, h->name, SLOT_CURRENT, &id) != ERR_OK ||
			!digest_equal(&id, &h->id))
			continue;
		(*out)[(*count)++] = (struct software_version){
			.name = h->name,
			.version = h->version,
			.package = h->id,
		};
	}
}

// ---- garbage

static enum err collect_packages(struct depot *s)
{
	char path[DEPOT_PATH], doomed[DEPOT_PATH];
	for (size_t i = 0; i < s->held_count;) {
		const struct held_package *h = &s->held[i];
		if (slot_names(s, h)) {
			i++;
			continue;
		}
		// Out of packages/ in one step: a package is whole or it is not there.
		depot_package_path(s, &h->id, "", path);
		depot_staging_path(s, &h->id, "", doomed);
		TRY(tree_remove(doomed));
		if (rename(path, doomed) != 0)
			return err_set_errno("cannot remove %s", path);
		TRY(tree_remove(doomed));
		log_info("PACKAGE-REMOVED", "package=%s name=%s version=%s", digest_short(&h->id),
			h->name, h->version);
		s->held[i] = s->held[--s->held_count];
	}
	return ERR_OK;
}

struct staged {
	char name[65];
	struct timespec changed;
};

static int staged_compare(const void *a, const void *b)
{
	const struct staged *x = a, *y = b;
	if (x->changed.tv_sec != y->changed.tv_sec)
		return x->changed.tv_sec > y->changed.tv_sec ? -1 : 1;
	if (x->changed.tv_nsec != y->changed.tv_nsec)
		return x->changed.tv_nsec > y->changed.tv_nsec ? -1 : 1;
	return strcmp(x->name, y->name);
}

static size_t staging_list(
	const char *dir, const struct digest *keep, struct staged *out, size_t max)
{
	size_t count = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e; d != NULL && count < max && (e = readdir(d)) != NULL;) {
		struct digest id;
		struct stat st;
		char path[DEPOT_PATH];
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (keep != NULL && id_of_name(e->d_name, &id) && digest_equal(&id, keep))
			continue;
		if (path_join(path, sizeof path, dir, e->d_name) != ERR_OK ||
			lstat(path, &st) != 0 ||
			!str_copy(out[count].name, sizeof out[count].name, e->d_name))
			continue;
		out[count++].changed = st.st_mtim;
	}
	if (d != NULL)
		closedir(d);
	return count;
}

size_t depot_staged(const struct depot *s, const struct digest *but, struct digest *out, size_t max)
{
	char dir[DEPOT_PATH];
	struct staged list[64];
	size_t found = 0;
	if (path_join(dir, sizeof dir, s->root_dir, "staging") != ERR_OK)
		return 0;
	size_t count = staging_list(dir, but, list, 64);
	qsort(list, count, sizeof list[0], staged_compare);
	for (size_t i = 0; i < count && found < max; i++)
		found += id_of_name(list[i].name, &out[found]) ? 1 : 0;
	return found;
}

static enum err collect_staging(struct depot *s, const struct digest *keep, size_t kept)
{
	char dir[DEPOT_PATH], path[DEPOT_PATH];
	struct staged list[64];
	TRY(path_join(dir, sizeof dir, s->root_dir, "staging"));
	size_t count = staging_list(dir, keep, list, 64);
	qsort(list, count, sizeof list[0], staged_compare);
	for (size_t i = kept; i < count; i++) {
		TRY(path_join(path, sizeof path, dir, list[i].name));
		TRY(tree_remove(path));
		log_info("STAGING-REMOVED", "package=%.12s", list[i].name);
	}
	return ERR_OK;
}

enum err depot_collect(struct depot *s, const struct digest *keep, size_t staging_kept)
{
	TRY(collect_packages(s));
	return collect_staging(s, keep, staging_kept);
}

// ---- start

enum err depot_open(struct depot *s, const char *state_dir, const struct root *root)
{
	static const char *const folders[] = {
		"packages", "staging", "slots", "slots/images", "slots/software", "display"};
	char path[DEPOT_PATH];
	s->root = root;
	s->held_count = 0;
	if (!str_copy(s->root_dir, sizeof s->root_dir, state_dir))
		return err_set(ERR_RANGE, "the name of the state folder is too long");
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		TRY(path_join(path, sizeof path, state_dir, folders[i]));
		TRY(dir_make(path));
	}
	TRY(depot_scan(s));
	TRY(slots_recover(s->root_dir));
	// Packages that no slot names stay until the next switch: one of them may have been
	// installed just before the cut, and its operation goes on.
	return collect_staging(s, NULL, DEPOT_STAGING_KEPT + 1);
}
