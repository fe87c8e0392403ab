// Media in the folder where they are mounted, or where images are put: which is to be imported
// next. Each once while it is there; again when it was away, or when other orders lie on it. A
// folder is a medium when it has orders (of others too: that is told once) or collects what goes
// back; an image is a file NAME.iso that did not change between two looks: who copies it is at the
// end. Where the folder cannot be listed, nothing of it is away.
#ifndef HELIO_CLIENT_MOUNTS_H
#define HELIO_CLIENT_MOUNTS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define MOUNTS_SEEN 64    // media that are there at a time; one goes, another comes
#define MOUNTS_LOOKED 256 // names in the folder

struct mounts {
	struct {
		uint64_t mark; // 0: none
		bool there, taken;
	} seen[MOUNTS_SEEN]; // zeroed to begin with
};

// One look at the folder and what lies in it. True: `path` is to be imported, and the look goes on
// with the next call.
bool mounts_next(struct mounts *m, const char *dir, const char *client_id, char path[PATH_MAX]);

#endif
