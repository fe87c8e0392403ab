// See runtime_import.h.
#include "client/runtime_import.h"

#include "client/key_shelf.h"
#include "client/medium_file.h"
#include "client/medium_return.h"
#include "client/mounts.h"
#include "proto/base/file.h"
#include "proto/base/program.h"
#include "proto/base/text.h"
#include "proto/medium.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#define LOOK_MS 500
#define ORDERS_MAX 64     // for one client on one medium
#define ORDERS_LOOKED 256 // names there; who made more wants to keep us busy
#define IMPORT_WINDOW 8
#define PATH_ROOM 512
#define ASK_POLL_MS 100
#define ASK_MAX_S 3600

struct import_order {
	struct medium medium;
	uint64_t number;
};

struct import {
	struct runtime *rt;
	uv_timer_t timer;
	bool timer_there;
	struct fetcher *fetcher;
	bool busy, fetching, stepped_back;
	char path[PATH_ROOM], dir[PATH_ROOM], image[PATH_ROOM], token[40];
	struct arena arena; // the orders
	struct import_order orders[ORDERS_MAX];
	size_t count, at;
	struct buf result;
	size_t installed, refused;
	struct medium_result outcomes[ORDERS_MAX];
	char words[ORDERS_MAX][LIMIT_ID + 1];
	size_t outcome_count;
	struct return_source back; // what is written to the medium
	struct return_done returned;
	uv_work_t work; // reading an image, writing back
	struct mounts mounts;
	bool working;
	enum err work_result;
	char why[256];
};

static void state_path(const struct agent_settings *s, const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/import%s%s", s->state_dir, name[0] ? "/" : "", name);
}

// ---- what was obeyed: one number for each slot

static void slot_path(
	const struct runtime *rt, enum package_kind kind, const char *name, char out[PATH_MAX])
{
	char word[LIMIT_ID + 16];
	(void)snprintf(word, sizeof word, "%s-%s", package_kind_word(kind), name);
	state_path(rt->settings, word, out);
}

static uint64_t obeyed_read(const struct runtime *rt, enum package_kind kind, const char *name)
{
	char path[PATH_MAX];
	SCOPED_BUF struct buf text;
	buf_init(&text, 64);
	slot_path(rt, kind, name, path);
	if (file_read(path, &text) != ERR_OK || buf_append(&text, "", 1) != ERR_OK)
		return 0;
	return strtoull((const char *)text.data, NULL, 10);
}

static void obeyed_write(
	const struct runtime *rt, enum package_kind kind, const char *name, uint64_t number)
{
	char path[PATH_MAX], text[32];
	if (number <= obeyed_read(rt, kind, name))
		return;
	slot_path(rt, kind, name, path);
	int n = snprintf(text, sizeof text, "%" PRIu64 "\n", number);
	if (file_write_atomic(path, text, (size_t)n, 0600) != ERR_OK)
		log_warn("IMPORT-UNNOTED", "why=%s", log_quote(err_text()));
}

void import_note_link(struct runtime *rt, enum package_kind kind, const char *name)
{
	SCOPED_ARENA struct arena a = {0};
	struct response_body body;
	arena_init(&a, LIMIT_RESPONSE * 8, 4096);
	if (response_body_decode(&a, buf_bytes(&rt->core.state.body), &body) == ERR_OK)
		obeyed_write(rt, kind, name, body.flow_id);
}

// ---- the end of an import

static void import_over(struct import *i)
{
	char path[PATH_MAX];
	struct runtime *rt = i->rt;
	bool good = i->refused == 0 && (i->installed != 0 || i->returned.bytes != 0);
	state_path(rt->settings, "result", path);
	if (buf_printf(&i->result, "end\t%s\t%s\n", i->token, good ? "ok" : "failed") != ERR_OK ||
		file_write_atomic(path, i->result.data, i->result.size, 0600) != ERR_OK)
		log_warn("IMPORT-UNTOLD", "why=%s", log_quote(err_text()));
	if (i->image[0] != '\0' && tree_remove(i->image) != ERR_OK)
		log_warn("IMPORT-LEFT", "why=%s", log_quote(err_text()));
	log_info("IMPORT-END", "client=%s path=%s installed=%zu refused=%zu", rt->config.client_id,
		log_quote(i->path), i->installed, i->refused);
	i->returned = (struct return_done){0};
	arena_fini(&i->arena);
	i->arena = (struct arena){0};
	i->busy = i->fetching = false;
	if (!rt->offline)
		return;
	rt->exit_code = good ? EXIT_DONE : EXIT_FAILED;
	runtime_stop(rt);
}

static void back_run(uv_work_t *work)
{
	struct import *i = work->data;
	i->work_result = return_write(&i->back, i->dir, &i->returned);
	if (i->work_result != ERR_OK)
		text_format(i->why, sizeof i->why, "%s", err_text());
}

static void back_after(uv_work_t *work, int status)
{
	struct import *i = work->data;
	(void)status;
	i->working = false;
	if (i->work_result == ERR_OK) {
		log_info("IMPORT-RETURN", "client=%s rows=%zu bytes=%zu path=%s",
			i->rt->config.client_id, i->returned.rows, i->returned.bytes,
			log_quote(i->path));
		if (i->returned.left_out)
			log_warn("IMPORT-LEFT-OUT",
				"client=%s why=\"what was shown last did not fit\"",
				i->rt->config.client_id);
		if (buf_printf(&i->result, "returned\t%zu\n", i->returned.rows) != ERR_OK)
			log_warn("IMPORT-UNTOLD", "why=%s", log_quote(err_text()));
	} else {
		log_info("IMPORT-NO-RETURN", "client=%s word=%s why=%s", i->rt->config.client_id,
			err_word(i->work_result), log_quote(i->why));
		i->returned = (struct return_done){0};
	}
	if (i->rt->stopping)
		import_close(i->rt);
	else
		import_over(i);
}

static uint32_t clock_quality(const struct runtime *rt)
{
	struct timex t = {.modes = 0};
	return adjtimex(&t) != TIME_ERROR ? 3 : rt->core.server_time_known ? 2 : 1;
}

static void back_begin(struct import *i)
{
	struct runtime *rt = i->rt;
	i->back = (struct return_source){
		.client_id = rt->config.client_id,
		.key = rt->core.key,
		.store_id = rt->core.state.store_id,
		.display = &rt->display,
		.now_unix_ms = agent_time_ms(&rt->core, clock_now()),
		.clock_quality = clock_quality(rt),
		.results = i->outcomes,
		.result_count = i->outcome_count,
	};
	i->work.data = i;
	i->working = uv_queue_work(&rt->loop, &i->work, back_run, back_after) == 0;
}

// What is no medium gets nothing written to it; an image and a disc cannot take anything.
static bool back_is_wanted(const struct import *i)
{
	char path[PATH_MAX];
	struct stat st;
	if (i->image[0] != '\0')
		return false;
	(void)snprintf(path, sizeof path, "%s/" MEDIUM_RETURN, i->dir);
	return i->outcome_count != 0 || lstat(path, &st) == 0;
}

static void import_end(struct import *i)
{
	if (!back_is_wanted(i)) {
		import_over(i);
		return;
	}
	back_begin(i);
	if (!i->working)
		import_over(i);
}

static void outcome_note(
	struct import *i, uint64_t order, const struct digest *package, const char *word)
{
	size_t n = i->outcome_count;
	if (order == 0 || n == ORDERS_MAX || !str_copy(i->words[n], sizeof i->words[n], word))
		return;
	i->outcomes[n] = (struct medium_result){
		.order = order,
		.outcome = i->words[n],
		.at_unix_ms = agent_time_ms(&i->rt->core, clock_now()),
	};
	if (package != NULL)
		i->outcomes[n].package = *package;
	i->outcome_count++;
}

static void refuse(struct import *i, uint64_t order, const char *word, const char *why)
{
	i->refused++;
	outcome_note(i, order, NULL, word);
	log_warn("IMPORT-REFUSED", "media refused reason=%s order=%" PRIu64 " client=%s why=%s",
		word, order, i->rt->config.client_id, log_quote(why));
	if (buf_printf(&i->result, "refused\t%" PRIu64 "\t%s\n", order, word) != ERR_OK)
		log_warn("IMPORT-UNTOLD", "why=%s", log_quote(err_text()));
}

static void took(struct import *i, const struct import_order *o, const char *how)
{
	const struct package_ref *p = o->medium.package;
	i->installed++;
	outcome_note(i, o->number, &p->package, how);
	obeyed_write(i->rt, p->kind, p->name, o->number);
	log_info("IMPORT-DONE", "client=%s order=%" PRIu64 " package=%s name=%s version=%s how=%s",
		i->rt->config.client_id, o->number, digest_short(&p->package), log_quote(p->name),
		log_quote(p->version), how);
	if (buf_printf(&i->result, "%s\t%" PRIu64 "\t%s\n", how, o->number,
		    digest_hex(&p->package)) != ERR_OK)
		log_warn("IMPORT-UNTOLD", "why=%s", log_quote(err_text()));
}

// ---- one order after the other

static void next_order(struct import *i);

// Without it the fetch says that it has no key.
static enum err key_take(const struct import *i, const struct import_order *o)
{
	const struct agent_settings *s = i->rt->settings;
	const struct key_purpose purpose = {"medium", i->rt->config.client_id, o->number};
	struct key32 box, key;
	TRY(box_key_read(s->box_key, s->fleet.key, &box));
	enum err e = key_unbox(&box, o->medium.key, &purpose, &key);
	if (e == ERR_OK)
		e = key_shelf_put(s->state_dir, &key);
	secret_wipe(&box, sizeof box);
	secret_wipe(&key, sizeof key);
	return e;
}

static void order_fetch(struct import *i, const struct import_order *o)
{
	const struct medium *m = &o->medium;
	const struct grant grant = {
		.package = m->package->package,
		.granted = true,
		.publisher = m->package->publisher,
		.publisher_key = m->publisher_key,
		.window = IMPORT_WINDOW,
	};
	const struct fetch_order order = {
		.package = m->package,
		.grant = &grant,
		.floor = agent_state_floor(&i->rt->core.state, m->package->name),
		.medium = i->dir,
	};
	i->fetching = true;
	if (m->key != NULL && key_take(i, o) != ERR_OK)
		log_warn(
			"IMPORT-KEY", "order=%" PRIu64 " why=%s", o->number, log_quote(err_text()));
	fetcher_begin(i->fetcher, &order);
}

// An update that begins goes its own way, and tells of it in the heartbeats.
static enum err package_switch(struct runtime *rt, const struct package_ref *p)
{
	enum err e = rt->core.port->activate(rt, p);
	return e == ERR_NOT_NOW ? ERR_OK : e;
}

static void on_timer(uv_timer_t *timer);

static void next_order(struct import *i)
{
	struct runtime *rt = i->rt;
	while (i->at < i->count) {
		const struct import_order *o = &i->orders[i->at];
		const struct package_ref *p = o->medium.package;
		if (o->number < obeyed_read(rt, p->kind, p->name)) {
			refuse(i, o->number, "older", "the device has obeyed a later one");
			i->at++;
			continue;
		}
		if (depot_find(&rt->store, &p->package) == NULL) {
			if (!fetcher_is_idle(rt->fetcher) || !fetcher_is_idle(i->fetcher))
				return; // the timer comes again
			order_fetch(i, o);
			return;
		}
		if (package_switch(rt, p) == ERR_OK)
			took(i, o, "held");
		else
			refuse(i, o->number, "activate", err_text());
		i->at++;
	}
	import_end(i);
}

static void order_end(struct import *i)
{
	i->fetching = false;
	i->at++;
	uv_timer_start(&i->timer, on_timer, 0, LOOK_MS);
}

static void on_progress(void *ctx, uint32_t have, uint32_t total)
{
	struct import *i = ctx;
	log_debug(
		"IMPORT-PROGRESS", "client=%s have=%u of=%u", i->rt->config.client_id, have, total);
}

static void on_done(void *ctx, const struct fetch_result *r)
{
	struct import *i = ctx;
	const struct package_ref *p = i->orders[i->at].medium.package;
	enum err e = runtime_installed(i->rt, r);
	// As over the link: software, and pictures for a moment to come, are held now and only then
	// switched to.
	if (e == ERR_OK && (r->kind == PACKAGE_SOFTWARE || p->activate_unix_ms != 0))
		e = package_switch(i->rt, p);
	if (e == ERR_OK)
		took(i, &i->orders[i->at], "installed");
	else
		refuse(i, i->orders[i->at].number, "activate", err_text());
	order_end(i);
}

static void on_failed(void *ctx, const char *word, const char *text)
{
	struct import *i = ctx;
	refuse(i, i->orders[i->at].number, word, text);
	order_end(i);
}

static void on_missing(void *ctx, const struct digest *objects, size_t count)
{
	struct import *i = ctx;
	char path[PATH_MAX];
	struct stat st;
	struct topic t = topic_chunk(i->orders[i->at].medium.package->publisher, &objects[0]);
	(void)count;
	bool named = path_join(path, sizeof path, i->dir, t.s) == ERR_OK;
	bool there = named && lstat(path, &st) == 0;
	bool file = there && S_ISREG(st.st_mode);
	bool shut = (file || !there) && named && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0 &&
		    errno == EACCES;
	refuse(i, i->orders[i->at].number,
		shut    ? "denied"
		: file  ? "hash"
		: there ? "denied"
			: "missing",
		shut    ? "there is no right to read an object"
		: file  ? "an object is not what its name says"
		: there ? "an object is no file"
			: "an object is not on the medium");
	order_end(i);
}

static void on_broker_failed(void *ctx, const char *why)
{
	struct import *i = ctx;
	refuse(i, i->orders[i->at].number, "missing", why);
	order_end(i);
}

static void on_idle(void *ctx)
{
	(void)ctx;
	malloc_trim(0);
}

void import_yield(struct runtime *rt)
{
	struct import *i = rt->import;
	if (i == NULL || !i->fetching)
		return;
	i->fetching = false;
	fetcher_stop(i->fetcher);
	log_info("IMPORT-WAITS", "client=%s why=\"the link fetches\"", rt->config.client_id);
}

// ---- the orders of a medium

static int order_newest(const void *a, const void *b)
{
	const struct import_order *x = a, *y = b;
	return x->number < y->number ? 1 : x->number > y->number ? -1 : 0;
}

// The word for what is wrong with it.
static const char *order_word(enum err e)
{
	return e == ERR_AUTH                         ? "signature"
	       : e == ERR_IO                         ? "io"
	       : e == ERR_DENIED || e == ERR_NOT_NOW ? err_word(e)
						     : "order";
}

static enum err order_read(struct import *i, const char *name, const char **word)
{
	char path[LIMIT_TOPIC];
	SCOPED_BUF struct buf envelope;
	struct bytes payload;
	struct import_order *o = &i->orders[i->count];
	const struct root *root = i->rt->config.root;
	const char *client = i->rt->config.client_id;
	buf_init(&envelope, LIMIT_MEDIUM_ENVELOPE);
	(void)snprintf(path, sizeof path, MEDIUM_ORDERS "/%s/%.64s", client, name);
	enum err e = medium_file_read(i->dir, path, &envelope);
	if (e == ERR_OK)
		e = envelope_open(PURPOSE_MEDIUM, buf_bytes(&envelope), root->online_keys,
			root->online_key_count, 1, &payload);
	*word = order_word(e);
	TRY(e);
	struct bytes kept = arena_copy(&i->arena, payload);
	if (kept.data == NULL)
		return err_set(ERR_MEMORY, "no memory for an order");
	TRY(medium_decode(&i->arena, kept, &o->medium));
	*word = "other-client";
	if (strcmp(o->medium.client_id, client) != 0)
		return err_set(ERR_DENIED, "the order is for %s", o->medium.client_id);
	o->number = o->medium.order;
	i->count++;
	return ERR_OK;
}

static void orders_read(struct import *i)
{
	char path[PATH_MAX];
	DIR *dir = NULL;
	(void)snprintf(path, sizeof path, MEDIUM_ORDERS "/%s", i->rt->config.client_id);
	enum err e = medium_folder_open(i->dir, path, &dir);
	if (e != ERR_OK && e != ERR_NOT_FOUND) {
		refuse(i, 0, err_word(e), err_text());
		return;
	}
	if (e != ERR_OK) {
		struct stat st;
		(void)snprintf(path, sizeof path, "%s/" MEDIUM_ORDERS, i->dir);
		bool medium = stat(path, &st) == 0;
		if (!medium && back_is_wanted(i))
			return; // a stick that only collects
		refuse(i, 0, medium ? "other-client" : "no-medium",
			medium ? "nothing on it is for this client" : "this is no medium");
		return;
	}
	unsigned looked = 0;
	const struct dirent *at = NULL;
	while (i->count < ORDERS_MAX) {
		if (folder_next(dir, path, &at) != ERR_OK)
			refuse(i, 0, "io", err_text());
		if (at == NULL)
			break;
		if (at->d_name[0] == '.')
			continue;
		if (++looked > ORDERS_LOOKED) {
			refuse(i, 0, "orders", "there are more names than a medium has");
			break;
		}
		const char *word = NULL;
		if (order_read(i, at->d_name, &word) != ERR_OK)
			refuse(i, 0, word, err_text());
	}
	(void)closedir(dir);
	qsort(i->orders, i->count, sizeof i->orders[0], order_newest);
}

static void orders_begin(struct import *i)
{
	orders_read(i);
	next_order(i);
}

// ---- an image

static void image_run(uv_work_t *work)
{
	struct import *i = work->data;
	uint64_t room = 0;
	i->work_result = disk_free(i->rt->settings->state_dir, &room);
	uint64_t reserve = i->rt->settings->reserve_bytes;
	const struct medium_most most = {.files = MEDIUM_IMAGE_FILES_MAX,
		.folders = MEDIUM_IMAGE_FOLDERS_MAX,
		.bytes = room > reserve ? room - reserve : 0};
	if (i->work_result == ERR_OK)
		i->work_result = medium_image_open(i->path, i->image, &most);
	if (i->work_result != ERR_OK)
		text_format(i->why, sizeof i->why, "%s", err_text());
}

static void image_after(uv_work_t *work, int status)
{
	struct import *i = work->data;
	(void)status;
	i->working = false;
	if (i->rt->stopping) {
		import_close(i->rt);
		return;
	}
	if (i->work_result == ERR_OK) {
		orders_begin(i);
		return;
	}
	refuse(i, 0, i->work_result == ERR_FORMAT ? "image" : err_word(i->work_result), i->why);
	import_end(i);
}

static enum err image_begin(struct import *i)
{
	char path[PATH_MAX];
	state_path(i->rt->settings, "image", path);
	if (!str_copy(i->image, sizeof i->image, path) || !str_copy(i->dir, sizeof i->dir, path))
		return err_set(ERR_RANGE, "state_dir is too long");
	TRY(tree_remove(i->image));
	i->work.data = i;
	i->working = uv_queue_work(&i->rt->loop, &i->work, image_run, image_after) == 0;
	return i->working ? ERR_OK : err_set(ERR_IO, "the pool takes no work");
}

enum err import_begin(struct runtime *rt, const char *path, const char *token)
{
	struct import *i = rt->import;
	struct stat st;
	if (i->busy)
		return err_set(ERR_NOT_NOW, "another import is under way");
	i->busy = true;
	i->count = i->at = i->installed = i->refused = i->outcome_count = 0;
	i->image[0] = '\0';
	buf_clear(&i->result);
	arena_init(&i->arena, 1024 * 1024, 16384);
	if (!str_copy(i->path, sizeof i->path, path) || !str_copy(i->dir, sizeof i->dir, path) ||
		!str_copy(i->token, sizeof i->token, token))
		refuse(i, 0, "path", "the path is too long");
	else if (stat(path, &st) != 0)
		refuse(i, 0, errno == EIO ? "io" : "path",
			errno == ENOENT ? "there is nothing at this path" : strerror(errno));
	else if (S_ISREG(st.st_mode) && image_begin(i) == ERR_OK)
		return ERR_OK;
	else if (S_ISDIR(st.st_mode)) {
		orders_begin(i);
		return ERR_OK;
	} else
		refuse(i, 0, "path", "this is neither a folder nor an image");
	import_end(i);
	return ERR_OK;
}

// ---- the life

static void request_look(struct import *i)
{
	char path[PATH_MAX], *token, *end;
	SCOPED_BUF struct buf text;
	buf_init(&text, PATH_ROOM + 64);
	state_path(i->rt->settings, "request", path);
	if (i->busy || access(path, F_OK) != 0)
		return;
	enum err e = file_read(path, &text);
	(void)unlink(path);
	if (e != ERR_OK || buf_append(&text, "", 1) != ERR_OK)
		return;
	token = (char *)text.data;
	end = strchr(token, '\n');
	if (end == NULL)
		return;
	*end = '\0';
	if (import_begin(i->rt, end + 1, token) != ERR_OK)
		log_warn("IMPORT-FAILED", "why=%s", log_quote(err_text()));
}

// ---- what is mounted is imported by itself

static void mounts_look(struct import *i)
{
	const char *dir = i->rt->settings->medium_dir;
	char path[PATH_MAX];
	if (dir[0] == '\0' || i->busy || i->rt->offline ||
		!mounts_next(&i->mounts, dir, i->rt->config.client_id, path))
		return;
	log_info("IMPORT-MOUNT", "client=%s path=%s", i->rt->config.client_id, log_quote(path));
	if (import_begin(i->rt, path, "mount") != ERR_OK)
		log_warn("IMPORT-FAILED", "why=%s", log_quote(err_text()));
}

static void on_timer(uv_timer_t *timer)
{
	struct import *i = timer->data;
	if (i->busy && !i->fetching && !i->working) {
		next_order(i);
		return;
	}
	request_look(i);
	mounts_look(i);
}

enum err import_open(struct runtime *rt)
{
	static const struct fetcher_events events = {
		.progress = on_progress,
		.done = on_done,
		.failed = on_failed,
		.missing = on_missing,
		.broker_failed = on_broker_failed,
		.idle = on_idle,
	};
	char path[PATH_MAX];
	struct import *i = calloc(1, sizeof *i);
	if (i == NULL)
		return err_set(ERR_MEMORY, "no memory for imports");
	rt->import = i;
	i->rt = rt;
	buf_init(&i->result, 16384);
	state_path(rt->settings, "", path);
	TRY(dir_make(path));
	TRY(fetcher_new(&rt->loop, &rt->fetcher_config, &events, i, &i->fetcher));
	if (uv_timer_init(&rt->loop, &i->timer) != 0)
		return err_set(ERR_MEMORY, "no timer for imports");
	i->timer_there = true;
	i->timer.data = i;
	uv_timer_start(&i->timer, on_timer, LOOK_MS, LOOK_MS);
	return ERR_OK;
}

bool import_is_working(const struct runtime *rt)
{
	return rt->import != NULL && rt->import->working;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void import_close(struct runtime *rt)
{
	struct import *i = rt->import;
	if (i == NULL || i->working)
		return; // image_after comes here again
	rt->import = NULL;
	if (i->fetcher != NULL)
		fetcher_free(i->fetcher);
	buf_fini(&i->result);
	arena_fini(&i->arena);
	if (i->timer_there)
		uv_close((uv_handle_t *)&i->timer, on_closed);
	else
		free(i);
}

// ---- the command line

int import_tell(const struct agent_settings *settings)
{
	char path[PATH_MAX];
	SCOPED_BUF struct buf text;
	buf_init(&text, 65536);
	state_path(settings, "result", path);
	if (file_read(path, &text) != ERR_OK || buf_append(&text, "", 1) != ERR_OK) {
		(void)fprintf(stderr, "helio-agent: %s\n", err_text());
		return EXIT_FAILED;
	}
	(void)fputs((const char *)text.data, stdout);
	return strstr((const char *)text.data, "\tok\n") != NULL ? EXIT_DONE : EXIT_FAILED;
}

static bool is_answered(const char *path, const char *token)
{
	SCOPED_BUF struct buf text;
	buf_init(&text, 65536);
	return access(path, F_OK) == 0 && file_read(path, &text) == ERR_OK &&
	       buf_append(&text, "", 1) == ERR_OK && strstr((const char *)text.data, token) != NULL;
}

int import_ask(const struct agent_settings *settings, const char *path)
{
	char request[PATH_MAX], result[PATH_MAX], token[24], text[PATH_ROOM + 64];
	(void)snprintf(token, sizeof token, "%d", (int)getpid());
	int n = snprintf(text, sizeof text, "%s\n%s", token, path);
	state_path(settings, "request", request);
	state_path(settings, "result", result);
	(void)unlink(result);
	if (n < 0 || (size_t)n >= sizeof text ||
		file_write_atomic(request, text, (size_t)n, 0600) != ERR_OK) {
		(void)fprintf(stderr, "helio-agent: %s\n", err_text());
		return EXIT_FAILED;
	}
	for (int waited = 0; waited < ASK_MAX_S * 1000 / ASK_POLL_MS; waited++) {
		if (is_answered(result, token))
			return import_tell(settings);
		(void)usleep(ASK_POLL_MS * 1000);
	}
	(void)fprintf(stderr, "helio-agent: the running agent does not answer\n");
	return EXIT_UNREACHABLE;
}
