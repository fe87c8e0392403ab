// helio-publisher put together: settings, store, control session, stations, socket, work.
#ifndef HELIO_PUBLISHER_PUBLISHER_H
#define HELIO_PUBLISHER_PUBLISHER_H

#include "deltas.h"
#include "proto/base/log.h"
#include "proto/fleet_settings.h"
#include "proto/trust.h"
#include "publisher_config.h"
#include "socket.h"
#include "store.h"
#include "transmit.h"
#include "work.h"

struct publisher_settings {
	struct fleet_settings fleet;
	char state_dir[400], socket[100];
	char medium_dir[440], medium_kind[16];
	uint64_t medium_bytes_max;
	uint32_t medium_keep_s;
	uint64_t package_bytes_max, seen_bytes_max;
	uint32_t zstd_level, station_patience_ms;
	char image_key[400];
	uint32_t period_s, settle_ms, keep;
};

const struct setting *publisher_rows(size_t *count);
// For --check-config.
enum err publisher_settings_check(const void *settings) MUST_CHECK;

// A call that waits for the server's word on an offer.
struct waiter {
	struct waiter *next;
	struct call *call;
	uint64_t request_id;
	struct digest package; // of a command: the SHA-256 of its envelope
	struct mono since;
	bool command; // waits for the data broker, not for the server
};

struct publisher {
	const struct publisher_settings *settings;
	struct publisher_config config;
	struct link_address control_addresses[LINK_WAYS];
	struct sign_key *identity;
	struct trust trust;
	struct store store;
	struct control *control;
	struct transmit *transmit;
	struct orders *orders; // orders.h
	struct deltas *deltas;
	struct socket_server *socket;
	struct work_line work;
	struct waiter *waiters;
	struct recording *recordings; // media that are being written
	struct medium_shelf *shelf;   // media that are kept
	uv_timer_t tick;
	bool stopping;
	_Atomic bool cancel; // builds end early
};

// Everything runs when it returns. Errors: of the files, the store, the socket.
enum err publisher_start(
	struct publisher *p, const struct publisher_settings *settings, uv_loop_t *loop) MUST_CHECK;
// Ends everything, so that uv_run returns; then publisher_fini.
void publisher_stop(struct publisher *p);
void publisher_fini(struct publisher *p);

// What a caller asks for: verbs*.c.
void publisher_serve(void *ctx, struct call *call);
// The server answered a request.
void waiters_answer(struct publisher *p, const struct directive *d);
void waiters_tick(struct publisher *p, struct mono now);
// A command lies on its broker, or does not.
void commands_answer(void *ctx, const struct job_report *r);
// Refuses the call; a full or read-only disk is also an alert in the log.
void publisher_refuse(struct publisher *p, struct call *call, enum err e);

// verbs_image.c, verbs_image_edit.c, verbs_order.c, verbs_package.c, verbs_command.c
void verb_image_add(struct publisher *p, struct call *c);
void verb_image_list(struct publisher *p, struct call *c);
void verb_image_remove(struct publisher *p, struct call *c);
void verb_image_set(struct publisher *p, struct call *c);
void verb_image_retire(struct publisher *p, struct call *c);
void verb_image_restore(struct publisher *p, struct call *c);
void verb_image_gc(struct publisher *p, struct call *c);
void verb_image_thumb(struct publisher *p, struct call *c);
void verb_image_why(struct publisher *p, struct call *c);
void verb_order_list(struct publisher *p, struct call *c);
void verb_order_preview(struct publisher *p, struct call *c);
void verb_package_build(struct publisher *p, struct call *c);
void verb_package_sign(struct publisher *p, struct call *c);
void verb_package_publish(struct publisher *p, struct call *c);
void verb_package_withdraw(struct publisher *p, struct call *c);
void verb_package_remove(struct publisher *p, struct call *c);
void verb_package_list(struct publisher *p, struct call *c);
void verb_package_show(struct publisher *p, struct call *c);
void verb_command_put(struct publisher *p, struct call *c);
void verb_media_record(struct publisher *p, struct call *c);

// An image as lists tell it.
cJSON *image_json(const struct image *i);
// What may be given with a picture and edited later is taken from the call where it says it: title,
// licence, weight, released_unix_ms, expires_unix_ms. Errors: ERR_FORMAT, ERR_RANGE.
enum err image_details(struct call *c, struct image *i) MUST_CHECK;

// Arguments. Errors: ERR_FORMAT with the argument's name.
enum err call_digest(struct call *c, const char *key, struct digest *out) MUST_CHECK;
// A list of tags; absent is empty.
enum err call_tags(struct call *c, const char *key, char tags[LIMIT_TAGS][LIMIT_ID + 1],
	size_t *count) MUST_CHECK;
// UTF-8 of at most max bytes without control characters. Absent is "".
enum err call_line(struct call *c, const char *key, size_t max, const char **out) MUST_CHECK;

#endif
