// The folder of the shelf: one file per object, FOLDER/PUBLISHER/HH/SHA256.
//
// Names come from topics that were taken apart letter by letter, and every step is opened without
// following links: no topic names anything outside of the folder.
#ifndef HELIO_SHELF_FOLDER_H
#define HELIO_SHELF_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#define SHELF_OBJECT_MAX ((1024 + 64) * 1024) // LIMIT_OBJECT; a larger message stays in memory

struct shelf_name {
	char publisher[65], sha256[65];
};

// "helio/v1/chunk/<publisher>/<64 small hex digits>" and nothing else; a publisher's id is
// [A-Za-z0-9._-]{1,64} and does not begin with a dot.
bool shelf_name_of(const char *topic, struct shelf_name *out);

// A descriptor; or -1, and why says what is wrong. The folder is there, ours, and nobody else may
// write to it.
int shelf_folder_open(const char *path, char *why, size_t why_size);
// Removes every object: what the broker's memory knew of them is gone. What is no object stays.
void shelf_folder_clear(int folder);

// 0, or an errno. What was there under this name is replaced; a reader sees the old or the new one.
int shelf_folder_put(int folder, const struct shelf_name *n, const void *data, size_t size);
// Opens it for reading; -1: it is not there. *size: of it.
int shelf_folder_look(int folder, const struct shelf_name *n, size_t *size);
// It will be read soon: the disk may begin.
void shelf_folder_ahead(int folder, const struct shelf_name *n);
// True when there was one.
bool shelf_folder_drop(int folder, const struct shelf_name *n);

#endif
