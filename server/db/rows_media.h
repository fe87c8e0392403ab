// The rows of media orders: which client gets which package on a medium, and how far that is.
#ifndef HELIO_SERVER_DB_ROWS_MEDIA_H
#define HELIO_SERVER_DB_ROWS_MEDIA_H

#include "proto/message.h"
#include "server/db/db.h"

struct media_row {
	uint64_t number; // unique for ever, rises with time
	const char *client, *publisher, *name, *version;
	enum package_kind kind;
	struct digest package;
	bool activate;
	int64_t activate_unix_ms; // not before this moment; 0: at once
	enum media_state state;
	const char *reason;             // word of enum route_reason
	const char *medium_kind, *path; // of what was recorded; "" before
	struct digest sha256;
	uint64_t size_bytes;
	const char *detail; // why it is not recorded yet, or what ended it
	uint64_t failed_op; // the operation whose failure ordered it, 0: none
	int64_t created_ms, changed_ms;
};

enum err rows_media_put(struct db *db, const struct media_row *row) MUST_CHECK;
// Texts into the arena. Errors: ERR_NOT_FOUND, ERR_FULL.
enum err rows_media_find(
	struct db *db, uint64_t number, struct arena *a, struct media_row *out) MUST_CHECK;

struct media_filter {
	const char *client;           // NULL: all
	const struct digest *package; // NULL: all
	enum media_state state;       // 0: all
	bool open;                    // PENDING, RECORDED, POSTED
	bool over;                    // the others
	bool told;                    // only with a detail
	uint64_t after;               // numbers above this one
	size_t max;
};
// Rising numbers, texts in the arena. Errors: ERR_FULL.
enum err rows_media_list(struct db *db, const struct media_filter *f, struct arena *a,
	struct media_row **out, size_t *count) MUST_CHECK;
// The newest of this client with this package. Errors: ERR_NOT_FOUND, ERR_FULL.
enum err rows_media_last(struct db *db, const char *client, const struct digest *package,
	struct arena *a, struct media_row *out) MUST_CHECK;
enum err rows_media_delete(struct db *db, uint64_t number) MUST_CHECK;
// Those that are not open.
enum err rows_media_over(struct db *db, uint64_t *count) MUST_CHECK;
enum err rows_media_count(struct db *db, enum media_state state, uint64_t *count) MUST_CHECK;

#endif
