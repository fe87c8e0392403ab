// Settings: an INI file read by libinih into rows that decide. A row names the section, the key,
// the type, the limits, the default and one sentence of help; the library only reads.
// Unknown keys, wrong types and values out of range are errors that name file, line and row.
#ifndef HELIO_BASE_SETTINGS_H
#define HELIO_BASE_SETTINGS_H

#include "proto/base/mem.h"
#include <stddef.h>
#include <stdio.h>

enum setting_type {
	SETTING_STRING, // char[], size = its array size
	SETTING_PATH,   // as string; relative ones are taken from the folder of the settings file
	SETTING_U32,
	SETTING_U64,
	SETTING_BOOL, // true false yes no on off
	SETTING_WORD, // char[], one of the words in `words` ("a|b|c")
	SETTING_LIST, // repeated key: struct setting_list
};

struct setting_list {
	char **items;
	size_t count;
};

struct setting {
	const char *section, *key;
	enum setting_type type;
	size_t offset;     // into the settings struct
	size_t size;       // of the char array
	uint64_t min, max; // numbers; for strings the least length (0 or 1)
	const char *def;   // as it would stand in the file; NULL: must be given
	const char *words;
	const char *help;
};

// The offset and size of a row for the member `field` of `type`.
#define SETTING_AT(type, field) offsetof(type, field), sizeof(((type *)0)->field)

// Fills `out` (zeroed by the caller) with defaults, then with the file. Errors: ERR_NOT_FOUND,
// ERR_FORMAT, ERR_RANGE with a sentence that says where.
enum err settings_read(
	const char *file, const struct setting *rows, size_t count, void *out) MUST_CHECK;
// Frees lists.
void settings_fini(const struct setting *rows, size_t count, void *settings);
// For checks of values. A sentence about a setting begins with "[section] key", so that
// settings_place can say where it stands.
// The file that a setting names can be read; a secret one by its owner alone.
enum err setting_file_check(
	const char *section, const char *key, const char *path, bool secret) MUST_CHECK;
// Puts "[section] key: " before err_text(), unless e is ERR_OK. Returns e.
enum err setting_blame(const char *section, const char *key, enum err e) MUST_CHECK;
// Puts the file, and the line if the setting that err_text() begins with stands there once, before
// err_text(), unless e is ERR_OK. Returns e.
enum err settings_place(const char *file, enum err e) MUST_CHECK;
// Every row with its type, limits, default and help: what --help prints.
void settings_explain(const struct setting *rows, size_t count, FILE *to);

#endif
