// The decoder: a small process beside the display that turns files into frames and frames into PNG
// files, one job after the other, each in a child of its own that has a limit for memory, for CPU
// and for time, no new rights, and no descriptor but the two it works on. A picture that eats
// memory, spins or crashes the decoder costs one child; the show goes on.
//
//   display --[job, file, frame]--> keeper --fork--> child: decodes into the frame, says how it
//   went display <-------[answer]------- keeper <--------- exit
//
// A frame is a memfd made by the display, with its size sealed, so that nobody can shrink it under
// the display's feet. The answer comes after the child is gone: nobody writes the frame any more.
#ifndef HELIO_DISPLAY_DECODER_H
#define HELIO_DISPLAY_DECODER_H

#include "client/display/picture.h"
#include <sys/types.h>

struct decoder {
	int fd; // becomes readable when an answer is there, or when the keeper is gone
	pid_t keeper;
};

// Shared pixels. fd -1: none.
struct frame_memory {
	int fd;
	struct frame frame;
};

struct decoder_answer {
	uint64_t ticket;
	enum err err;
	struct picture_facts facts;
	uint32_t took_ms;
	char text[200]; // why, when err is not ERR_OK
};

// Forks the keeper: before the first thread, and before SDL. Errors: ERR_IO.
enum err decoder_open(struct decoder *d) MUST_CHECK;
// Ends the keeper and what it runs.
void decoder_close(struct decoder *d);

// Begins a job; the answer comes by decoder_take. The descriptors stay the caller's and may be
// closed at once. Errors: ERR_CLOSED when the keeper is gone, ERR_FULL when too many jobs wait.
enum err decoder_decode(struct decoder *d, uint64_t ticket, int picture_fd,
	const struct frame_memory *frame, const struct picture_wish *wish) MUST_CHECK;
enum err decoder_write_png(struct decoder *d, uint64_t ticket, int out_fd,
	const struct frame_memory *frame) MUST_CHECK;
// *have: whether there was an answer. Does not block. Errors: ERR_CLOSED when the keeper is gone.
enum err decoder_take(struct decoder *d, struct decoder_answer *out, bool *have) MUST_CHECK;

// w and h from 1 to SCREEN_SIDE_MAX. Errors: ERR_RANGE, ERR_MEMORY.
enum err frame_memory_new(uint32_t w, uint32_t h, struct frame_memory *out) MUST_CHECK;
void frame_memory_free(struct frame_memory *f);

#endif
