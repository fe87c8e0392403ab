// Fetches one package from one data broker and installs it: the second link of an agent.
//
//   connect -> index and manifest -> (pool) staging -> page by page: page, index page, (pool) what
//   this device holds already, objects in a window, (pool) verify and write -> (pool) fsync,
//   rename, switch
//
// Everything is verified before it is used, in the order of protocol.md. One fetch at a time; an
// order for another one waits until the pool has let go of the first. The data in staging is the
// resume; nothing else is kept.
#ifndef HELIO_CLIENT_FETCHER_H
#define HELIO_CLIENT_FETCHER_H

#include "client/agent.h"
#include "client/depot.h"
#include "proto/mqtt_link.h"

struct fetcher_config {
	const char *client_id;
	bool tls;
	const char *ca_file, *cert_file, *key_file;
	const char *hw_class, *product;
	const struct root *root;
	struct depot *store;
	const char *state_dir;  // of the keys of encrypted packages
	uint64_t window_bytes;  // on the way and not yet stored
	uint64_t reserve_bytes; // of the disk, kept free
	uint32_t connect_timeout_s;
};

struct fetch_result {
	struct digest package;
	enum package_kind kind;
	const char *name, *version;
	uint64_t security_counter;
	bool activated;
	struct digest rotten_in; // a held package that is not what it was
	uint32_t rotten_chunks;  // 0: none was met
};

// All on the loop's thread. The fetch has ended when one of the last four is called.
struct fetcher_events {
	void (*progress)(void *ctx, uint32_t have, uint32_t total);
	// Bytes of objects that are still to come, exact once the last page is planned; delta: made
	// of what this device holds. May be NULL.
	void (*bytes)(void *ctx, uint64_t to_come, bool delta);
	void (*done)(void *ctx, const struct fetch_result *r);
	void (*failed)(void *ctx, const char *word, const char *text);
	void (*missing)(void *ctx, const struct digest *objects, size_t count);
	void (*broker_failed)(void *ctx, const char *why);
	void (*idle)(void *ctx); // the pool has let go of everything
};

struct fetcher;

// config and its strings are borrowed.
enum err fetcher_new(uv_loop_t *loop, const struct fetcher_config *config,
	const struct fetcher_events *events, void *ctx, struct fetcher **out) MUST_CHECK;
// Stops; frees when the pool has let go and the loop has closed the handles.
void fetcher_free(struct fetcher *f);

void fetcher_begin(struct fetcher *f, const struct fetch_order *order);
void fetcher_pace(struct fetcher *f, uint64_t rate_bytes_per_s, bool hold);
void fetcher_stop(struct fetcher *f);
// What this device read of its own files for the fetch so far, while it does and nothing comes.
uint64_t fetcher_looked_bytes(const struct fetcher *f);
bool fetcher_is_idle(const struct fetcher *f);

#endif
