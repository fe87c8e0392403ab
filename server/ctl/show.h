// How the server's documents are shown to people: words that several commands share.
#ifndef HELIO_CTL_SHOW_H
#define HELIO_CTL_SHOW_H

#include "server/ctl/api.h"

// "12 s ago", "never"; now_ms: the server's own time when it told it.
const char *show_ago(const cJSON *object, const char *key, int64_t now_ms);
// "2026-11-21 05:17:55" local time, "-" for 0.
const char *show_when(const cJSON *object, const char *key);
// The same without the date when it is today's.
const char *show_time(const cJSON *object, const char *key);
// The first 12 digits of a digest.
const char *show_digest(const cJSON *object, const char *key);
// name@version, or the digest when there is no name.
const char *show_package(const cJSON *object);
// A cell with a number; empty for 0.
void show_count(struct table *t, uint64_t n);
enum style show_reach_style(const char *reach);

// "key  value" lines, aligned; lists of objects as tables below. For documents without a form of
// their own.
void show_document(const struct ctl *c, const cJSON *document);

// Rows of the fleet. limit: rows at most, 0: all.
void show_clients(const struct term *t, const cJSON *clients, int64_t now_ms, size_t limit);

// The transfers of a document's `leases`.
void leases_show(const struct ctl *c, const cJSON *document);

// The FLEET document: one line of sums, then the clients.
void status_show(const struct term *t, const cJSON *fleet, size_t limit);

// A package as people write it (digest or its beginning, name@version, name) as the API takes it.
// Errors: ERR_NOT_FOUND, ERR_EXISTS (several have this name).
enum err package_resolve(struct api *a, const char *text, char out[65]) MUST_CHECK;
// The choice among {package, name, version} rows, for both server and publisher.
enum err package_choose(const cJSON *packages, const char *text, char out[65]) MUST_CHECK;

#endif
