// What the files of the server room share.
#ifndef HELIO_SERVER_SERVER_INSIDE_H
#define HELIO_SERVER_SERVER_INSIDE_H

#include "proto/base/log.h"
#include "proto/base/program.h"
#include "proto/mqtt_link.h"
#include "server/content_keys.h"
#include "server/customers.h"
#include "server/enrol.h"
#include "server/freshness.h"
#include "server/load_meter.h"
#include "server/operator.h"
#include "server/orders.h"
#include "server/probe.h"
#include "server/readback.h"
#include "server/router.h"
#include "server/server.h"
#include "server/shards.h"
#include "server/share.h"
#include "server/strangers.h"
#include "server/told_rates.h"

#define SERVER_TICK_MS 100 // of the core: how soon a client that is late is said to be
#define TICKS_OF_ROOMS 5   // the others look every so many: Paho's thread naps after a second
#define TICKS_OF_LOAD 10
#define STAY_AWAKE_MS 400   // with the ticks above: never a second without any traffic
#define TURN_CLEAN 8        // messages after which a turn ends when nothing is to be written
#define SERVER_REST_MS 4    // from one rest to the next, when groups come all the time
#define DUE_MS 2            // what a turn left over goes with another one so soon
#define LOAD_AT_ONCE 400    // clients between two turns: 1 to 2 ms
#define LOAD_AFTER_TICKS 10 // at the latest
#define LOAD_UP_TICKS 2  // of the control link: the first answers come before the rest of the fleet
#define ENROL_AT_ONCE 20 // files between two turns: 2 ms when all are new

// One broker: the control broker, or a data broker.
struct server_link {
	struct server *server;
	struct data_broker *broker; // NULL: the control broker
	const char *name;           // "control", or the data broker's id
	struct link_address addresses[LINK_WAYS];
	struct link_config config;
	struct mqtt_link *link;
	struct readback *readback; // data brokers
	struct probe *probe;
	struct strangers *strangers;
	bool up;
	bool too_old;      // it speaks no MQTT 5
	bool load_missed;  // it tells nothing of its load, and that was said
	bool nobody_waits; // who has no certificate was not tried yet
	struct mono heard; // the last message that came, or that we said to stay awake
	struct mono probe_next;
	uint64_t unsent;
	struct log_gate unsent_gate;
	struct mono view_next;
	uint64_t view_hash;
};

struct server {
	uv_loop_t *loop;
	const struct heliod_settings *settings;
	struct trust trust;
	struct sign_key *online;
	struct db *db;
	struct shards shards; // with stand_by
	uv_timer_t standing;
	bool stands_by;
	struct core *core;
	struct data_brokers brokers;
	char site[SITE_MAX + 1]; // what the presence server asked for last
	struct presence *presence;
	struct told_rates *told_rates; // of clients of ours while another server leads
	struct findings findings;
	struct media media;
	struct content_keys content_keys;
	struct orders orders;
	struct freshness freshness;
	struct operator_room room;
	struct server_link control;
	struct server_link *data; // [brokers.count]
	struct buf will;
	struct topic will_topic;
	struct now now;
	struct arena arena; // of API calls and views
	uv_timer_t tick, due;
	uv_async_t stored; // commits came to the disk
	uv_idle_t rest;    // something waits until no message does (core_rest)
	uv_check_t looked;
	uv_timer_t rest_timer;
	struct mono rested;
	bool turned; // since the last look
	struct mono ticked;
	bool tick_waited;         // the last one, for what the links had
	uint64_t ticks, up_ticks; // up: of the control link
	unsigned in_turn;         // messages since the last end of one
	struct load_meter load;
	uv_idle_t loader; // runs while clients are still loaded, or enrolments read
	struct enrol_scan enrolling;
	bool enrol_waits; // the folder is large: it is read when the server answers
	int lock_fd;
	int exit_code;
	uint32_t lease_counter;
	bool piped;               // stored
	bool stopping, tick_open; // tick and loader
};

struct server_link *server_link_find(struct server *s, const char *broker);
void server_turn_end(struct server *s);

// server_standby.c
// Begins a term: serves now, or stands by until the lead is free.
enum err server_stand_by(struct server *s) MUST_CHECK;
// Renews what this server has. False: it has lost it, and ends.
bool server_term_hold(struct server *s);
bool server_may_speak(const struct server *s);
const char *server_leader(struct server *s); // by the store, now; "nobody"
void server_term_end(struct server *s);

// server_share.c: one of several that answer
void server_share_port(struct server *s, struct core_ports *out);
void server_share_hooks(struct core_hooks *hooks);
enum err server_share_leaving(void *s, const unsigned *shards, size_t count) MUST_CHECK;
void server_share_changed(struct server *s);
void server_share_tick(struct server *s);
bool server_leads(const struct server *s);
// True: it was told to the leader, who is another one.
bool server_pass_want(struct server *s, const char *client, const struct want *m);
bool server_pass_renewal(
	struct server *s, const char *client, const struct holding *h, uint32_t told_interval_ms);
bool server_pass(struct server *s, enum letter kind, const char *client, uint64_t a, uint64_t b);
enum err server_package_row(struct server *s, const struct digest *package, struct arena *arena,
	struct package_ref *out) MUST_CHECK;

// server.c
void server_enrolments_again(struct server *s);
enum err server_serve(struct server *s) MUST_CHECK;

// server_links.c
enum err server_links_init(struct server *s) MUST_CHECK;
enum err server_links_open(struct server *s) MUST_CHECK;
void server_links_tick(struct server *s);
void server_load_tick(struct server *s);
void server_links_forget(struct server *s);
void server_links_close(struct server *s);
void server_links_free(struct server *s);

// server_ports.c
void server_core_ports(struct server *s, struct core_ports *out);
void server_core_hooks(struct server *s, struct core_hooks *out);
void server_presence_ports(struct server *s, struct presence_ports *out);

// server_media.c
void server_media_open(struct server *s);
void server_media_hooks(struct core_hooks *hooks);
void server_held(struct server *s, const char *client);
void server_media_said(struct server *s, const char *publisher, const struct medium_outcome *o);

// server_customers.c
enum err server_customers_open(struct server *s) MUST_CHECK;
void server_customers_hooks(struct core_hooks *hooks);
enum err server_customers_said(
	void *ctx, const char *publisher, const struct order_outcome *m) MUST_CHECK;

// server_look.c
void server_look(void *ctx, struct findings *out);
void server_views(struct server *s);

#endif
