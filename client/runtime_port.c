// What the core asks for, done.
#include "client/key_shelf.h"
#include "client/runtime.h"

#include "client/discovery.h"
#include "client/escape.h"
#include "client/runtime_import.h"
#include "client/runtime_update.h"
#include "proto/base/file.h"
#include "proto/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

#define CHANGES_MAX 64

static void trouble_set(struct runtime *rt, enum err e)
{
	const char *word = e == ERR_OK                               ? ""
			   : e == ERR_NO_SPACE || e == ERR_READ_ONLY ? err_word(e)
								     : "io";
	if (strcmp(rt->trouble, word) == 0)
		return;
	if (e == ERR_OK)
		log_info("STORE-WELL", "client=%s was=%s", rt->config.client_id, rt->trouble);
	else
		log_error("STORE-TROUBLE", "client=%s word=%s why=%s", rt->config.client_id, word,
			log_quote(err_text()));
	(void)str_copy(rt->trouble, sizeof rt->trouble, word);
}

static enum err port_save(void *ctx, struct bytes state)
{
	struct runtime *rt = ctx;
	enum err e = state_file_write(&rt->state_file, state);
	trouble_set(rt, e);
	return e;
}

static enum err port_publish(void *ctx, const char *topic, struct bytes payload, int qos)
{
	struct runtime *rt = ctx;
	if (rt->link == NULL)
		return err_set(ERR_CLOSED, "there is no link");
	return link_publish(rt->link, topic, payload, qos, false, 0);
}

static void port_subscribe(void *ctx, const char *const *topics, size_t count, int qos)
{
	struct runtime *rt = ctx;
	if (rt->link != NULL && link_subscribe(rt->link, topics, count, qos, 1) != ERR_OK)
		log_warn("SUBSCRIBE", "client=%s why=%s", rt->config.client_id,
			log_quote(err_text()));
}

static void port_unsubscribe(void *ctx, const char *topic)
{
	struct runtime *rt = ctx;
	if (rt->link != NULL && link_unsubscribe(rt->link, &topic, 1) != ERR_OK)
		log_debug("UNSUBSCRIBE", "client=%s why=%s", rt->config.client_id,
			log_quote(err_text()));
}

// ---- views

static bool clock_is_ntp(void)
{
	struct timex t = {.modes = 0};
	return adjtimex(&t) != TIME_ERROR;
}

static void view_address(struct runtime *rt, struct agent_view *out)
{
	uint8_t ip[16] = {0};
	size_t size = 4;
	discovery_own_address(&rt->settings->fleet.control,
		rt->link != NULL ? link_peer(rt->link) : "", ip, &size);
	if (size != rt->ip_size || memcmp(ip, rt->ip, size) != 0) {
		char text[64];
		hex_encode(ip, size, text);
		log_info("OWN-ADDRESS", "client=%s ip=%s", rt->config.client_id, text);
		memcpy(rt->ip, ip, sizeof ip);
		rt->ip_size = size;
	}
	memcpy(out->ip, ip, sizeof out->ip);
	out->ip_size = size;
}

static void view_display(struct runtime *rt, struct agent_view *out)
{
	struct display_status status;
	display_status_read(&rt->display, &status);
	const struct held_package *held = depot_find(&rt->store, &status.package);
	(void)str_copy(rt->view_image, sizeof rt->view_image, status.image);
	(void)str_copy(rt->view_name, sizeof rt->view_name, held != NULL ? held->name : "");
	(void)str_copy(
		rt->view_version, sizeof rt->view_version, held != NULL ? held->version : "");
	out->showing_package = status.package;
	out->showing_image = rt->view_image;
	out->showing_name = rt->view_name;
	out->showing_version = rt->view_version;
	out->screen_width_px = status.width_px;
	out->screen_height_px = status.height_px;
	out->display_alive = status.alive;
}

static void port_view(void *ctx, struct arena *a, struct agent_view *out)
{
	struct runtime *rt = ctx;
	runtime_clock_tell(rt);
	view_address(rt, out);
	view_display(rt, out);
	if (disk_free(rt->settings->state_dir, &out->free_bytes) != ERR_OK)
		out->free_bytes = 0;
	out->clock_is_ntp = clock_is_ntp();
	out->trouble = rt->trouble;
	depot_software(&rt->store, a, &out->software, &out->software_count);
	updates_view(rt, a, &out->updates, &out->update_count);
}

static void port_holding(void *ctx, const struct digest *package, struct holding *out)
{
	struct runtime *rt = ctx;
	const struct held_package *h = depot_find(&rt->store, package);
	out->complete = h != NULL;
	if (h != NULL)
		out->chunks_have = out->chunks_total = h->chunk_count;
}

static void port_holdings(void *ctx, struct arena *a, struct holdings *out)
{
	struct runtime *rt = ctx;
	out->items = arena_array(a, rt->store.held_count + 1, sizeof *out->items);
	if (out->items == NULL)
		return;
	for (size_t i = 0; i < rt->store.held_count; i++) {
		const struct held_package *h = &rt->store.held[i];
		out->items[out->item_count++] = (struct holding){
			.package = h->id,
			.complete = true,
			.chunks_have = h->chunk_count,
			.chunks_total = h->chunk_count,
		};
	}
}

// ---- packages

static enum err software_switch(struct runtime *rt, const struct held_package *h)
{
	struct agent_state *s = &rt->core.state;
	if (h->security_counter < agent_state_floor(s, h->name))
		return err_set(
			ERR_STALE, "reason=security-counter: this version is below the floor");
	TRY(depot_activate(&rt->store, h->kind, h->name, &h->id));
	TRY(agent_state_raise_floor(s, h->name, h->security_counter));
	log_info("SOFTWARE", "client=%s name=%s version=%s", rt->config.client_id,
		log_quote(h->name), log_quote(h->version));
	return agent_state_save(&rt->core);
}

static bool port_base(void *ctx, const struct package_ref *package, struct digest *out)
{
	const struct runtime *rt = ctx;
	static const enum slot_link links[] = {SLOT_CURRENT, SLOT_NEXT, SLOT_PREVIOUS};
	for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
		if (depot_slot(&rt->store, package->kind, package->name, links[i], out) == ERR_OK &&
			depot_find(&rt->store, out) != NULL &&
			!digest_equal(out, &package->package))
			return true;
	}
	return false;
}

static enum err port_activate(void *ctx, const struct package_ref *package)
{
	struct runtime *rt = ctx;
	const struct held_package *h = depot_find(&rt->store, &package->package);
	const struct op_record *op = &rt->core.state.op;
	if (h == NULL)
		return err_set(ERR_NOT_FOUND, "the package is not held");
	if (h->kind != package->kind)
		return err_set(ERR_DENIED, "reason=kind: the package is of kind %s",
			package_kind_word(h->kind));
	if (!package->activate)
		return depot_keep(&rt->store, h->kind, h->name, &h->id);
	if (h->kind == PACKAGE_SOFTWARE && updates_handle(rt, h->name))
		return updates_activate(
			rt, h, package, op_status_is_final(op->status) ? 0 : op->op_id);
	if (h->kind == PACKAGE_SOFTWARE)
		return software_switch(rt, h);
	if (package->activate_unix_ms > agent_time_ms(&rt->core, clock_now()))
		return runtime_later(rt, h, package->activate_unix_ms);
	runtime_later_superseded(rt);
	TRY(depot_activate(&rt->store, h->kind, h->name, &h->id));
	return runtime_show(rt, h->name);
}

static const char *port_refuses(void *ctx, const struct package_ref *package)
{
	return updates_refuse(ctx, &package->package);
}

static void port_switch_cancel(void *ctx, uint64_t op_id)
{
	updates_cancel(ctx, op_id);
}

static void port_fetch(void *ctx, const struct fetch_order *order)
{
	struct runtime *rt = ctx;
	import_yield(rt);
	fetcher_begin(rt->fetcher, order);
}

static void port_fetch_pace(void *ctx, uint64_t rate_bytes_per_s, bool hold)
{
	struct runtime *rt = ctx;
	fetcher_pace(rt->fetcher, rate_bytes_per_s, hold);
}

static void port_fetch_stop(void *ctx)
{
	struct runtime *rt = ctx;
	fetcher_stop(rt->fetcher);
}

static uint64_t port_fetch_looked_bytes(void *ctx)
{
	struct runtime *rt = ctx;
	return fetcher_looked_bytes(rt->fetcher);
}

static void port_command_fetch(void *ctx, uint64_t op_id, const struct command_ref *ref)
{
	struct runtime *rt = ctx;
	const struct address nowhere = {.host = "", .ip = "", .topic = ""};
	struct topic topic = topic_cmd(ref->publisher, &ref->sha256);
	(void)op_id;
	side_link_fetch(rt->side, ref->from != NULL ? ref->from : &nowhere, topic.s, &ref->sha256,
		LIMIT_ENVELOPE);
}

static void port_report_gather(void *ctx, uint64_t report_id, const struct send_information *s)
{
	struct runtime *rt = ctx;
	gather_begin(&rt->gather, report_id, s);
}

static enum err port_report_part(void *ctx, struct arena *a, uint32_t part, struct report *out)
{
	struct runtime *rt = ctx;
	return spool_read(&rt->gather.spool, a, part, out);
}

static void port_report_stop(void *ctx)
{
	struct runtime *rt = ctx;
	gather_stop(&rt->gather);
}

static void port_send_elsewhere(
	void *ctx, const struct address *to, const char *topic, struct bytes payload)
{
	struct runtime *rt = ctx;
	side_link_leave(rt->side, to, topic, payload);
}

// ---- changes: a small file  key TAB value  for hooks and whoever draws

struct change_row {
	char key[LIMIT_ID + 1];
	char value[1024];
};

static size_t changes_read(const char *path, struct change_row *rows)
{
	SCOPED_BUF struct buf text;
	size_t count = 0;
	buf_init(&text, 256 * 1024);
	if (file_read(path, &text) != ERR_OK || buf_append(&text, "", 1) != ERR_OK)
		return 0;
	char *cursor = (char *)text.data;
	for (char *line; count < CHANGES_MAX && (line = record_line(&cursor)) != NULL;) {
		char *f[2];
		if (record_fields(line, f, 2) == 2 && escape_decode(f[1]) &&
			str_copy(rows[count].key, sizeof rows[count].key, f[0]) &&
			str_copy(rows[count].value, sizeof rows[count].value, f[1]))
			count++;
	}
	return count;
}

static enum err change_put(struct change_row *rows, size_t *count, const struct change *c)
{
	size_t i = 0;
	while (i < *count && strcmp(rows[i].key, c->key) != 0)
		i++;
	if (i == CHANGES_MAX)
		return err_set(ERR_FULL, "more than %d keys were changed", CHANGES_MAX);
	if (!id_is_valid(c->key) || !str_copy(rows[i].key, sizeof rows[i].key, c->key) ||
		!str_copy(rows[i].value, sizeof rows[i].value, c->value))
		return err_set(ERR_RANGE, "a changed key or value is too long");
	if (i == *count)
		++*count;
	return ERR_OK;
}

static enum err port_changes(void *ctx, const struct change *changes, size_t count)
{
	struct runtime *rt = ctx;
	char path[300];
	SCOPED_BUF struct buf text;
	SCOPED_FREE struct change_row *rows = calloc(CHANGES_MAX, sizeof *rows);
	if (rows == NULL)
		return err_set(ERR_MEMORY, "no memory for changes");
	buf_init(&text, 256 * 1024);
	TRY(path_join(path, sizeof path, rt->display.dir, "changes"));
	size_t row_count = changes_read(path, rows);
	for (size_t i = 0; i < count; i++)
		TRY(change_put(rows, &row_count, &changes[i]));
	for (size_t i = 0; i < row_count; i++) {
		TRY(buf_printf(&text, "%s\t", rows[i].key));
		TRY(escape_append(&text, rows[i].value));
		TRY(buf_append(&text, "\n", 1));
	}
	return file_write_atomic(path, text.data, text.size, 0644);
}

// ---- the rest

static void port_usage(void *ctx, struct arena *a, int64_t since_unix_ms, size_t max,
	struct shown **rows, size_t *count)
{
	struct runtime *rt = ctx;
	display_usage(&rt->display, a, since_unix_ms, max, rows, count);
}

static void port_random(void *ctx, void *out, size_t size)
{
	(void)ctx;
	random_fill(out, size);
}

static void port_session_began(void *ctx, uint64_t session_id, const struct session_keys *keys)
{
	struct runtime *rt = ctx;
	const char *path = rt->settings->dump_session_key;
	char up[65], down[65], text[256];
	if (path[0] == '\0')
		return;
	hex_encode(keys->mac_up.b, sizeof keys->mac_up.b, up);
	hex_encode(keys->mac_down.b, sizeof keys->mac_down.b, down);
	int n = snprintf(text, sizeof text, "session %llu\nmac_up %s\nmac_down %s\n",
		(unsigned long long)session_id, up, down);
	if (n < 0 || file_write_atomic(path, text, (size_t)n, 0600) != ERR_OK)
		log_warn("SESSION-KEY-UNWRITTEN", "why=%s", log_quote(err_text()));
}

static enum err port_content_key(void *ctx, const struct key32 *key)
{
	const struct runtime *rt = ctx;
	return key_shelf_put(rt->settings->state_dir, key);
}

const struct agent_port runtime_port = {
	.save = port_save,
	.publish = port_publish,
	.subscribe = port_subscribe,
	.unsubscribe = port_unsubscribe,
	.view = port_view,
	.holdings = port_holdings,
	.holding = port_holding,
	.base = port_base,
	.activate = port_activate,
	.refuses = port_refuses,
	.switch_cancel = port_switch_cancel,
	.fetch = port_fetch,
	.fetch_pace = port_fetch_pace,
	.fetch_stop = port_fetch_stop,
	.fetch_looked_bytes = port_fetch_looked_bytes,
	.command = runtime_command,
	.command_stop = runtime_command_stop,
	.command_ends = runtime_command_ends,
	.command_fetch = port_command_fetch,
	.content_key = port_content_key,
	.changes = port_changes,
	.usage = port_usage,
	.report_gather = port_report_gather,
	.report_part = port_report_part,
	.report_stop = port_report_stop,
	.send_elsewhere = port_send_elsewhere,
	.key_next = port_key_next,
	.key_commit = port_key_commit,
	.random = port_random,
	.session_began = port_session_began,
};
