// An operator's seat: its certificate, its identity key and what it remembers, in one folder.
//
// A seat is one identity with one connection, so it serves one process at a time: whoever holds the
// lock in its folder. `alice` with seats alice.1, alice.2 ... takes the first one that is free.
#ifndef HELIO_CTL_SEAT_H
#define HELIO_CTL_SEAT_H

#include "proto/trust.h"
#include "server/ctl/api_session.h"
#include "server/ctl/ctl.h"

#define SEATS_MAX 99

struct seat {
	char id[LIMIT_ID + 1];
	char folder[PATH_MAX];
	char ca[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
	int lock;
	struct sign_key *identity;
	struct trust trust;
	struct seat_memory memory;
};

// wanted NULL: the first free one. Counts the seat's boot counter up, and stores it.
// Errors: ERR_NOT_FOUND (no such seat), ERR_EXISTS (all taken), those of reading keys.
enum err seat_take(const struct ctl_settings *s, const char *wanted, struct seat *out) MUST_CHECK;
// Stores what is remembered, and frees the lock.
void seat_leave(struct seat *s);

// Folder of the n-th seat, or of `id`. Errors: ERR_RANGE.
enum err seat_folder(
	const struct ctl_settings *s, const char *id, int n, char out[PATH_MAX]) MUST_CHECK;
enum err seat_memory_read(const char *folder, struct seat_memory *out) MUST_CHECK;
enum err seat_memory_write(const char *folder, const struct seat_memory *m) MUST_CHECK;

#endif
