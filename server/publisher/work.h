// Work that burns CPU or waits for a child, on libuv's pool, and comes back as a call on the loop.
// Pictures at most WORK_PICTURES at a time (each may take a gigabyte), builds one at a time (they
// read the index of chunks, which nobody changes meanwhile); the rest waits in line.
#ifndef HELIO_PUBLISHER_WORK_H
#define HELIO_PUBLISHER_WORK_H

#include "proto/base/mem.h"
#include <uv.h>

#define WORK_PICTURES 2
#define WORK_WAITING_MAX 1024

enum work_class {
	WORK_PICTURE,
	WORK_BUILD,
	WORK_CLASS_COUNT
};

struct work {
	uv_work_t request;
	struct work *next;
	struct work_line *line;
	enum work_class class;
	void (*begin)(struct work *w); // on the loop, when its turn has come; may be NULL
	void (*run)(struct work *w);   // on the pool: touches nothing but its own
	void (*done)(struct work *w);  // on the loop; cancelled: run was never called
	bool cancelled;
};

struct work_line {
	uv_loop_t *loop;
	struct work *first[WORK_CLASS_COUNT], **last[WORK_CLASS_COUNT];
	size_t waiting[WORK_CLASS_COUNT], running[WORK_CLASS_COUNT];
};

void work_line_init(struct work_line *l, uv_loop_t *loop);
// w lives until done() returns. Errors: ERR_FULL.
enum err work_add(struct work_line *l, struct work *w) MUST_CHECK;
// Those that wait are given back as cancelled; those that run come back by themselves.
void work_line_stop(struct work_line *l);
size_t work_count(const struct work_line *l);

#endif
