// A folder of software as a list of files: regular files with safe names, sorted, nothing else.
// Everything is opened below the folder's descriptor, level by level, and no link is followed
// (attacks C3, C4, C5): what is a link, a device, a socket, or has another name than devices
// accept, is refused by name. Folders without files are not kept; owners, times and modes neither,
// but for the executable bit.
#ifndef HELIO_PUBLISHER_SOFTWARE_TREE_H
#define HELIO_PUBLISHER_SOFTWARE_TREE_H

#include "proto/base/mem.h"

// With the size: by what a change of a file is seen without reading it. The change time is the
// kernel's own, nobody can set it back.
struct file_stamp {
	uint64_t device, inode;
	int64_t modified_ns, changed_ns;
};

struct tree_file {
	char *path; // owned
	uint64_t size;
	struct file_stamp stamp;
	bool executable;
};

struct tree {
	struct tree_file *files; // ascending by path
	size_t count, cap;
	uint64_t bytes;
};

// Walks the folder root_fd. Errors: ERR_FORMAT (names what may not be there), ERR_FULL, ERR_IO.
enum err tree_walk(int root_fd, uint64_t bytes_max, struct tree *out) MUST_CHECK;
// One regular file under a given name. Errors: as tree_walk.
enum err tree_single(
	int file_fd, const char *name, uint64_t bytes_max, struct tree *out) MUST_CHECK;
void tree_fini(struct tree *t);

// Opens path below root_fd without following links, and checks that it is the file that was listed.
enum err tree_open(int root_fd, const struct tree_file *f, int *fd) MUST_CHECK;

// The open file is still what was listed: size and stamp.
bool tree_file_is_same(int fd, const struct tree_file *f);

// Nobody has the file open for writing, nor a mapping of it that can be written. A write sets the
// stamp when it begins and may go on for any time, and so may stores into a page that is dirty
// already: until this was true for once, what was read is not what the stamp stands for. False also
// where that is not told: to others than the file's owner without CAP_LEASE.
bool tree_file_is_left_alone(int fd);

// Its file system is one that sets the time of a change by the clock of this machine. Others show
// what an image or another machine says, which may be the same for other bytes.
bool tree_stamp_is_the_kernels(int fd);

#endif
