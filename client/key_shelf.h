// Keys of encrypted packages, as this device was given them: STATE/keys/<id>, 32 bytes, 0600. They
// come in the responses that tell to retrieve such a package, or on a medium sealed for this
// device's box key; what was installed needs none of them any more.
#ifndef HELIO_CLIENT_KEY_SHELF_H
#define HELIO_CLIENT_KEY_SHELF_H

#include "proto/seal_content.h"

#define KEYS_KEPT 64 // the oldest goes

bool key_id_is_none(const struct id16 *id);
// Durable when it returns; nothing is written when it is there.
enum err key_shelf_put(const char *state_dir, const struct key32 *key) MUST_CHECK;
// Errors: ERR_NOT_FOUND, ERR_CORRUPT, ERR_DENIED (others can read it).
enum err key_shelf_find(const char *state_dir, const struct id16 *id, struct key32 *out) MUST_CHECK;
// The box key of the enrolment: 64 hex digits. Errors: as file_read_secret, ERR_FORMAT.
enum err box_key_read(const char *path, const char *identity_path, struct key32 *out) MUST_CHECK;

#endif
