// Where updates stand, durable: one small text with its own SHA-256, replaced by rename. Written
// before the work that it names begins; a start reads it and goes on.
#ifndef HELIO_CLIENT_UPDATE_FILE_H
#define HELIO_CLIENT_UPDATE_FILE_H

#include "client/update.h"

#define UPDATE_FILE_MAX (128 * 1024)

// Clears out. Errors: ERR_FULL, ERR_MEMORY.
enum err update_list_encode(const struct update_list *list, struct buf *out) MUST_CHECK;
// On error the list is empty. Errors: ERR_CORRUPT, ERR_VERSION (made by a later agent), ERR_MEMORY.
enum err update_list_decode(struct bytes text, struct update_list *out) MUST_CHECK;

// state_dir/updates. No file is an empty list. Errors: those of decode, ERR_IO.
enum err update_file_read(const char *state_dir, struct update_list *out) MUST_CHECK;
// Errors: ERR_IO, ERR_NO_SPACE, ERR_READ_ONLY.
enum err update_file_write(const char *state_dir, const struct update_list *list) MUST_CHECK;

#endif
