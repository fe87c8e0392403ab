// The shelf: a plugin of Mosquitto 2.0 that keeps objects in a folder instead of the broker's
// memory. For data brokers whose content is larger than memory; off unless it is configured.
//
//   publish, retained   -> broker: may it write? -> shelf: file; the broker keeps nothing
//   publish, empty      -> broker: may it write? -> shelf: the file goes
//   subscribe           -> shelf_queue: it waits
//   tick (each turn)    -> shelf_backlog: what is still in memory? shelf_queue: whose turn? -> file
//                          -> the broker publishes it; for each subscriber it asks: may it read?
//                          shelf: it waits, so let acl_file say
//   unsubscribe, leave  -> shelf_queue: nothing is its any more
//
// On the wire nothing changes but one bit: what comes from the shelf is not marked as retained.
// Who may read and write stays the broker's matter: the shelf narrows and never permits. It defers
// each question to acl_file, but refuses to those who did not wait what is handed to those who do.
// Manifests, indexes and marks stay in memory: a broker that was started again has lost its mark,
// its publishers send everything again, and so the folder is emptied at the start.
//
// 2.0.11 has no event for a subscription; the question whether a client may subscribe tells of it.
#include "broker-conf/shelf/shelf_backlog.h"
#include "broker-conf/shelf/shelf_folder.h"
#include "broker-conf/shelf/shelf_queue.h"

#include <errno.h>
#include <malloc.h>
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// An object passes through three blocks of memory of its size: what is read, the broker's copy, and
// the packet to the client. Little at a time, the same blocks serve again while the processor has
// them near. More only when the sockets have taken what there was: the loop may sleep then.
#define TURN_BYTES (1024 * 1024)    // handed in one turn of the broker's loop
#define LOW_BYTES (4 * 1024 * 1024) // or up to so much in memory
#define TURN_OBJECTS 1024           // looked for at most, there or not
#define LOOK_MS 100                 // the heap is asked as often, and whenever somebody waits
#define QUIET_MS 1000
// Mapped, touched and unmapped each time the blocks would cost more than all copying. So the heap
// keeps them; what it kept it gives back when all is quiet.
#define KEEP_BYTES (64 * 1024 * 1024)
#define BLOCK_BYTES (4 * 1024 * 1024)

#define MIB (1024 * 1024)

struct shelf {
	mosquitto_plugin_id_t *id;
	int folder;
	struct shelf_queue *queue;
	bool handing;      // what the broker delivers now comes from the shelf
	bool has_retained; // an object stayed in memory once: it was too large, or the folder full
	bool has_handed;   // since the heap gave back what it kept
	struct shelf_backlog backlog;
	int64_t busy_ms, look_ms;
	unsigned long long put, dropped, handed;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---------------------------------------------------------------- what publishers send

static int stays_in_memory(struct shelf *s, const struct mosquitto_evt_message *m)
{
	s->has_retained = true;
	shelf_backlog_keep(&s->backlog, m->payloadlen);
	return MOSQ_ERR_SUCCESS;
}

static int on_message(int event, void *data, void *ctx)
{
	struct mosquitto_evt_message *m = data;
	struct shelf *s = ctx;
	struct shelf_name n;
	int e;

	(void)event;
	s->handing = false;
	if (!m->retain || !shelf_name_of(m->topic, &n))
		return MOSQ_ERR_SUCCESS;
	if (m->payloadlen > SHELF_OBJECT_MAX)
		return stays_in_memory(s, m);
	if (m->payloadlen == 0) {
		// Clearing a retained message that is none costs the broker memory for ever.
		(void)shelf_folder_drop(s->folder, &n);
		m->retain = s->has_retained;
		s->dropped++;
		return MOSQ_ERR_SUCCESS;
	}
	e = shelf_folder_put(s->folder, &n, m->payload, m->payloadlen);
	if (e) {
		mosquitto_log_printf(
			MOSQ_LOG_WARNING, "shelf: %s stays in memory: %s", m->topic, strerror(e));
		shelf_folder_drop(s->folder, &n);
		return stays_in_memory(s, m);
	}
	s->put++;
	m->retain = false;
	return MOSQ_ERR_SUCCESS;
}

// ---------------------------------------------------------------- what subscribers ask

static int on_read(struct shelf *s, const struct mosquitto_evt_acl_check *a, const char *client)
{
	struct shelf_name n;

	if (!s->handing || !shelf_name_of(a->topic, &n))
		return MOSQ_ERR_PLUGIN_DEFER;
	return shelf_queue_take(s->queue, client, a->topic, a->payloadlen, now_ms())
		       ? MOSQ_ERR_PLUGIN_DEFER
		       : MOSQ_ERR_ACL_DENIED;
}

static int on_question(int event, void *data, void *ctx)
{
	const struct mosquitto_evt_acl_check *a = data;
	const char *client = mosquitto_client_id(a->client);
	struct shelf *s = ctx;
	struct shelf_name n;

	(void)event;
	if (!client)
		return MOSQ_ERR_PLUGIN_DEFER;
	if (a->access == MOSQ_ACL_READ)
		return on_read(s, a, client);
	s->handing = false;
	if (a->access == MOSQ_ACL_SUBSCRIBE && shelf_name_of(a->topic, &n))
		shelf_queue_want(s->queue, client, a->topic);
	else if (a->access == MOSQ_ACL_UNSUBSCRIBE && shelf_name_of(a->topic, &n))
		shelf_queue_drop(s->queue, client, a->topic);
	return MOSQ_ERR_PLUGIN_DEFER;
}

static int on_disconnect(int event, void *data, void *ctx)
{
	const struct mosquitto_evt_disconnect *d = data;
	const char *client = mosquitto_client_id(d->client);
	struct shelf *s = ctx;

	(void)event;
	if (client)
		shelf_queue_gone(s->queue, client);
	return MOSQ_ERR_SUCCESS;
}

// ---------------------------------------------------------------- what they are given

static void *object_read(int fd, size_t size)
{
	char *bytes = mosquitto_malloc(size);
	size_t have = 0;

	while (bytes && have < size) {
		ssize_t n = read(fd, bytes + have, size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			mosquitto_free(bytes);
			return NULL;
		}
		have += (size_t)n;
	}
	return bytes;
}

// Its size; 0: it is not there, and whoever waits gets it when it is published.
static size_t object_hand(struct shelf *s, const char *topic)
{
	struct shelf_name n;
	size_t size = 0;
	void *bytes = NULL;
	int fd = shelf_name_of(topic, &n) ? shelf_folder_look(s->folder, &n, &size) : -1;

	if (fd < 0)
		return 0;
	bytes = object_read(fd, size);
	close(fd);
	if (!bytes)
		return 0;
	if (mosquitto_broker_publish(NULL, topic, (int)size, bytes, 1, false, NULL) !=
		MOSQ_ERR_SUCCESS) {
		mosquitto_free(bytes);
		return 0;
	}
	return size;
}

// What the heap says of the turns before. In a quiet moment it gives back what it kept.
static uint64_t turn_begin(struct shelf *s, int64_t now)
{
	bool busy = shelf_queue_has_waiting(s->queue) || shelf_queue_recent_bytes(s->queue) > 0,
	     quiet;
	struct mallinfo2 heap;
	uint64_t backlog;

	if (busy)
		s->busy_ms = now;
	quiet = now - s->busy_ms >= QUIET_MS;
	s->look_ms = now + LOOK_MS;
	if (quiet && s->has_handed)
		malloc_trim(0);
	s->has_handed = s->has_handed && !quiet;
	heap = mallinfo2();
	backlog = shelf_backlog_bytes(
		&s->backlog, heap.uordblks + heap.hblkhd, quiet, shelf_queue_held_bytes(s->queue));
	shelf_queue_turn(s->queue, backlog, now);
	return backlog + TURN_BYTES < LOW_BYTES ? LOW_BYTES - backlog : TURN_BYTES;
}

static void ahead_read(struct shelf *s)
{
	const char *topic;
	struct shelf_name n;

	while ((topic = shelf_queue_ahead(s->queue)))
		if (shelf_name_of(topic, &n))
			shelf_folder_ahead(s->folder, &n);
}

// What is published here is delivered at the beginning of the loop's next turn, before anything
// else happens.
static int on_tick(int event, void *data, void *ctx)
{
	struct shelf *s = ctx;
	uint64_t turn = 0, most = 0;
	int64_t now = now_ms();

	(void)event;
	(void)data;
	s->handing = false;
	if (now >= s->look_ms || shelf_queue_has_waiting(s->queue))
		most = turn_begin(s, now);
	for (int tries = 0; turn < most && tries < TURN_OBJECTS; tries++) {
		const char *topic = shelf_queue_next(s->queue);
		size_t size;

		if (!topic)
			break;
		size = object_hand(s, topic);
		shelf_queue_hand(s->queue, size);
		s->handed += size > 0;
		s->handing = s->handing || size > 0;
		turn += size;
	}
	s->has_handed = s->has_handed || s->handing;
	ahead_read(s);
	return MOSQ_ERR_SUCCESS;
}

// ---------------------------------------------------------------- begin and end

static bool bytes_option(const struct mosquitto_opt *o, uint64_t *out)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(o->value, &end, 10);
	*out = n;
	return !errno && end != o->value && !*end && o->value[0] != '-' && n >= SHELF_OBJECT_MAX &&
	       n <= (UINT64_C(1) << 50);
}

static const char *options_take(
	const struct mosquitto_opt *o, int count, struct shelf_limits *limits, const char **folder)
{
	for (int i = 0; i < count; i++) {
		if (strcmp(o[i].key, "folder") == 0)
			*folder = o[i].value;
		else if (strcmp(o[i].key, "budget_bytes") == 0 &&
			 bytes_option(&o[i], &limits->budget_bytes))
			continue;
		else if (strcmp(o[i].key, "client_bytes") == 0 &&
			 bytes_option(&o[i], &limits->client_bytes))
			continue;
		else if (strcmp(o[i].key, "memory_bytes") == 0 &&
			 bytes_option(&o[i], &limits->memory_bytes))
			continue;
		else
			return o[i].key;
	}
	return *folder ? NULL : "folder";
}

static int events_register(struct shelf *s)
{
	static const struct {
		int event;
		MOSQ_FUNC_generic_callback on;
	} rows[] = {
		{MOSQ_EVT_ACL_CHECK, on_question},
		{MOSQ_EVT_MESSAGE, on_message},
		{MOSQ_EVT_TICK, on_tick},
		{MOSQ_EVT_DISCONNECT, on_disconnect},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int e = mosquitto_callback_register(s->id, rows[i].event, rows[i].on, NULL, s);

		if (e != MOSQ_ERR_SUCCESS)
			return e;
	}
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_version(int count, const int *versions)
{
	for (int i = 0; i < count; i++)
		if (versions[i] == 5)
			return 5;
	return -1;
}

int mosquitto_plugin_init(
	mosquitto_plugin_id_t *id, void **ctx, struct mosquitto_opt *options, int count)
{
	struct shelf_limits limits = {
		.client_bytes = 72 * MIB, // a full window: 64 objects
		.budget_bytes = 16 * MIB,
		.memory_bytes = 512 * MIB,
		.stuck_ms = 30000,
		.settle_ms = 1000,
	};
	const char *path = NULL, *wrong = options_take(options, count, &limits, &path);
	struct shelf *s;
	char why[400];
	int folder;

	if (wrong) {
		mosquitto_log_printf(MOSQ_LOG_ERR,
			"shelf: plugin_opt_%s: folder is a path and has to be given, budget_bytes, "
			"client_bytes and memory_bytes are at least %d",
			wrong, SHELF_OBJECT_MAX);
		return MOSQ_ERR_INVAL;
	}
	folder = shelf_folder_open(path, why, sizeof(why));
	if (folder < 0) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "shelf: %s", why);
		return MOSQ_ERR_INVAL;
	}
	shelf_folder_clear(folder);
	mallopt(M_MMAP_THRESHOLD, BLOCK_BYTES);
	mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
	s = calloc(1, sizeof(*s));
	if (!s)
		abort();
	*s = (struct shelf){.id = id, .folder = folder, .queue = shelf_queue_new(&limits)};
	*ctx = s;
	mosquitto_log_printf(MOSQ_LOG_NOTICE, "shelf: objects lie in %s", path);
	return events_register(s);
}

int mosquitto_plugin_cleanup(void *ctx, struct mosquitto_opt *options, int count)
{
	struct shelf *s = ctx;

	(void)options;
	(void)count;
	if (!s)
		return MOSQ_ERR_SUCCESS;
	mosquitto_callback_unregister(s->id, MOSQ_EVT_ACL_CHECK, on_question, NULL);
	mosquitto_callback_unregister(s->id, MOSQ_EVT_MESSAGE, on_message, NULL);
	mosquitto_callback_unregister(s->id, MOSQ_EVT_TICK, on_tick, NULL);
	mosquitto_callback_unregister(s->id, MOSQ_EVT_DISCONNECT, on_disconnect, NULL);
	mosquitto_log_printf(MOSQ_LOG_NOTICE,
		"shelf: %llu objects put, %llu withdrawn, %llu handed", s->put, s->dropped,
		s->handed);
	shelf_queue_free(s->queue);
	close(s->folder);
	free(s);
	return MOSQ_ERR_SUCCESS;
}
