// helio-publisher on this machine: its Unix socket as a call that waits.
//
// One JSON document a packet. Files go along as descriptors, so that the publisher needs no right
// on them. server/publisher/SOCKET.md says what each verb takes and gives.
#ifndef HELIO_CTL_PUBLISHER_H
#define HELIO_CTL_PUBLISHER_H

#include "server/ctl/ctl.h"
#include "server/ctl/progress.h"

#define PUBLISHER_PACKET_MAX (64 * 1024)

struct publisher {
	struct ctl *ctl;
	int fd;
	uint64_t request;
};

// Errors: ERR_NOT_FOUND ([publisher] socket is not set, or nothing there), ERR_CLOSED.
enum err publisher_open(struct ctl *c, struct publisher *p) MUST_CHECK;
void publisher_close(struct publisher *p);

// request: freed here in every case; gets its number. fd -1: none. progress may be NULL. Lists that
// come in several packets are joined. *out is the caller's. Errors: of the answer's word
// (ERR_DENIED for one not known here), ERR_CLOSED, ERR_TIMEOUT (nothing at all for --timeout).
enum err publisher_call(struct publisher *p, const char *verb, cJSON *request, int fd,
	struct progress *progress, cJSON **out) MUST_CHECK;

// The same in two halves, for several calls at a time: *number tells them apart. Progress and lists
// in several packets are not for these. A refusal of the next answer is *refused with *out empty,
// its sentence in err_text(); errors end the connection: ERR_CLOSED, ERR_TIMEOUT.
enum err publisher_send(
	struct publisher *p, const char *verb, cJSON *request, int fd, uint64_t *number) MUST_CHECK;
enum err publisher_receive(
	struct publisher *p, uint64_t *number, enum err *refused, cJSON **out) MUST_CHECK;

// Opens, calls, closes.
enum err publisher_simple(struct ctl *c, const char *verb, cJSON *request, cJSON **out) MUST_CHECK;
enum err publisher_call_with(
	struct ctl *c, const char *verb, cJSON *request, int fd, cJSON **out) MUST_CHECK;
// The one row of {image} whose digest begins with text. Errors: ERR_NOT_FOUND, ERR_EXISTS.
enum err image_choose(const cJSON *images, const char *text, char out[65]) MUST_CHECK;

#endif
