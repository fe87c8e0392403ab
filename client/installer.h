// From staging to valid, and from one version to the next: each step is a rename, and between any
// two of them the folder is either the old or the new state (trust-and-faults 4.1.7).
//
//   fsync every file and folder -> rename to packages/<id> -> fsync packages/ and staging/
//   slots: link under another name -> rename over previous -> rename over current -> fsync the slot
#ifndef HELIO_CLIENT_INSTALLER_H
#define HELIO_CLIENT_INSTALLER_H

#include "client/depot.h"

#define INSTALL_FSYNC_FILES 64 // up to here file by file; above, one syncfs for all

// Files get their final rights and everything is on disk; the folder is still in staging.
// pages: the manifest's pages, which lie in staging/<id>/pages. Runs in the pool. May be repeated.
enum err install_seal(
	const struct depot *s, const struct digest *id, const struct manifest *m) MUST_CHECK;
// staging/<id> -> packages/<id>. Done already is success.
enum err install_rename(const struct depot *s, const struct digest *id) MUST_CHECK;

enum err slot_read(const char *root_dir, enum package_kind kind, const char *name,
	enum slot_link which, struct digest *out) MUST_CHECK;
enum err slot_set(const char *root_dir, enum package_kind kind, const char *name,
	enum slot_link which, const struct digest *id) MUST_CHECK;
enum err slot_switch(const char *root_dir, enum package_kind kind, const char *name,
	const struct digest *id) MUST_CHECK;
// Drops half-made and dangling links; a dangling current falls back to previous.
enum err slots_recover(const char *root_dir) MUST_CHECK;

// Test only: called before each step that changes the disk; false makes the step fail as if the
// process had ended there.
extern bool (*install_step_hook)(const char *step);

#endif
