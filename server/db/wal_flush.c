// See wal_flush.h. Each thread sleeps on a condition of its own and shares a few words under one
// mutex.
#include "server/db/wal_flush.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CARRIER_NICE 5

enum flush_state {
	FLUSH_NONE,
	FLUSH_ASKED,
	FLUSH_OVER
};

struct worker {
	struct wal_flush *of;
	pthread_t thread;
	pthread_cond_t asked, over;
	void (*work)(void *ctx);
	void (*yield)(void); // once, at its begin
	bool busy, started;
};

struct wal_flush {
	char *log_file;
	struct wal_flush_ports ports;
	int fd; // of the log; the flusher's
	pthread_t flusher;
	pthread_mutex_t mutex;
	pthread_cond_t flush_asked, flush_over;
	struct worker carrier, applier;
	enum flush_state flush;
	wal_flush_fn flush_fn;
	int flush_errno;
	bool stop, flusher_started;
};

// ---------------------------------------------------------------- the flusher

// Nobody removes the log while the database is open; a tool that does so all the same must not make
// us sync a file that nobody will read.
static int log_open(struct wal_flush *w)
{
	struct stat st;

	if (w->fd >= 0 && fstat(w->fd, &st) == 0 && st.st_nlink > 0)
		return 0;
	if (w->fd >= 0)
		close(w->fd);
	w->fd = open(w->log_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return w->fd < 0 ? errno : 0;
}

static int log_sync(struct wal_flush *w)
{
	int failed = log_open(w);

	if (failed)
		return failed;
	while (fdatasync(w->fd) != 0)
		if (errno != EINTR)
			return errno;
	return 0;
}

static void *flusher_run(void *arg)
{
	struct wal_flush *w = arg;

	pthread_mutex_lock(&w->mutex);
	for (;;) {
		while (w->flush != FLUSH_ASKED && !w->stop)
			pthread_cond_wait(&w->flush_asked, &w->mutex);
		if (w->flush != FLUSH_ASKED)
			break;
		wal_flush_fn fn = w->flush_fn;
		pthread_mutex_unlock(&w->mutex);
		int failed = fn ? fn(w->ports.ctx) : log_sync(w);
		pthread_mutex_lock(&w->mutex);
		w->flush_errno = failed;
		w->flush = FLUSH_OVER;
		pthread_cond_signal(&w->flush_over);
		if (!w->stop)
			w->ports.tell(w->ports.tell_ctx);
	}
	pthread_mutex_unlock(&w->mutex);
	return NULL;
}

void wal_flush_begin(struct wal_flush *w, wal_flush_fn fn)
{
	pthread_mutex_lock(&w->mutex);
	w->flush = FLUSH_ASKED;
	w->flush_fn = fn;
	pthread_cond_signal(&w->flush_asked);
	pthread_mutex_unlock(&w->mutex);
}

bool wal_flush_is_over(struct wal_flush *w)
{
	pthread_mutex_lock(&w->mutex);
	bool over = w->flush == FLUSH_OVER;
	pthread_mutex_unlock(&w->mutex);
	return over;
}

enum err wal_flush_end(struct wal_flush *w)
{
	pthread_mutex_lock(&w->mutex);
	while (w->flush == FLUSH_ASKED)
		pthread_cond_wait(&w->flush_over, &w->mutex);
	int failed = w->flush == FLUSH_OVER ? w->flush_errno : 0;
	const char *what = w->flush_fn ? "the redo log of" : "the log";
	w->flush = FLUSH_NONE;
	pthread_mutex_unlock(&w->mutex);
	if (!failed)
		return ERR_OK;
	errno = failed;
	return err_set_errno("database: %s %s", what, w->log_file);
}

// ---------------------------------------------------------------- the workers

// Its work is milliseconds long, and the loop may come to wait for it: whoever wakes goes before
// it, but it has its share. In a real-time class a lower priority made the loop wait for what
// starved.
static void applier_yield(void)
{
	struct sched_param p = {0};
	int policy = SCHED_OTHER;

	(void)pthread_getschedparam(pthread_self(), &policy, &p);
	if (policy == SCHED_OTHER)
		(void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &p);
}

// Nobody waits for the carrier.
static void carrier_yield(void)
{
	struct sched_param none = {0};

	(void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), CARRIER_NICE);
}

static void *worker_run(void *arg)
{
	struct worker *k = arg;
	struct wal_flush *w = k->of;

	k->yield();
	pthread_mutex_lock(&w->mutex);
	for (;;) {
		while (!k->busy && !w->stop)
			pthread_cond_wait(&k->asked, &w->mutex);
		if (w->stop)
			break;
		pthread_mutex_unlock(&w->mutex);
		k->work(w->ports.ctx);
		pthread_mutex_lock(&w->mutex);
		k->busy = false;
		pthread_cond_signal(&k->over);
	}
	pthread_mutex_unlock(&w->mutex);
	return NULL;
}

static void worker_init(
	struct wal_flush *w, struct worker *k, void (*work)(void *ctx), void (*yield)(void))
{
	pthread_cond_init(&k->asked, NULL);
	pthread_cond_init(&k->over, NULL);
	k->of = w;
	k->work = work;
	k->yield = yield;
}

static void worker_fini(struct worker *k)
{
	pthread_cond_destroy(&k->asked);
	pthread_cond_destroy(&k->over);
}

static void worker_ask(struct worker *k)
{
	pthread_mutex_lock(&k->of->mutex);
	k->busy = true;
	pthread_cond_signal(&k->asked);
	pthread_mutex_unlock(&k->of->mutex);
}

static void worker_wait(struct worker *k)
{
	pthread_mutex_lock(&k->of->mutex);
	while (k->busy)
		pthread_cond_wait(&k->over, &k->of->mutex);
	pthread_mutex_unlock(&k->of->mutex);
}

static bool worker_is_idle(struct worker *k)
{
	pthread_mutex_lock(&k->of->mutex);
	bool idle = !k->busy;
	pthread_mutex_unlock(&k->of->mutex);
	return idle;
}

void wal_carry_ask(struct wal_flush *w)
{
	worker_ask(&w->carrier);
}

void wal_carry_wait(struct wal_flush *w)
{
	worker_wait(&w->carrier);
}

bool wal_carry_is_idle(struct wal_flush *w)
{
	return worker_is_idle(&w->carrier);
}

void wal_apply_ask(struct wal_flush *w)
{
	worker_ask(&w->applier);
}

void wal_apply_wait(struct wal_flush *w)
{
	worker_wait(&w->applier);
}

bool wal_apply_is_idle(struct wal_flush *w)
{
	return worker_is_idle(&w->applier);
}

// ---------------------------------------------------------------- life

// Signals are the loop's.
static enum err thread_start(
	pthread_t *out, void *(*run)(void *), void *arg, const char *name, bool *started)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(out, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		errno = rc;
		return err_set_errno("thread %s", name);
	}
	(void)pthread_setname_np(*out, name);
	*started = true;
	return ERR_OK;
}

static enum err worker_start(struct worker *k, const char *name)
{
	return thread_start(&k->thread, worker_run, k, name, &k->started);
}

enum err wal_flush_new(
	const char *file, const struct wal_flush_ports *ports, struct wal_flush **out)
{
	struct wal_flush *w = calloc(1, sizeof(*w));

	*out = NULL;
	if (!w)
		return err_set(ERR_MEMORY, "no memory for the database's threads");
	w->fd = -1;
	w->ports = *ports;
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->flush_asked, NULL);
	pthread_cond_init(&w->flush_over, NULL);
	worker_init(w, &w->carrier, ports->carry, carrier_yield);
	worker_init(w, &w->applier, ports->apply, applier_yield);
	enum err e = ERR_OK;
	if (asprintf(&w->log_file, "%s-wal", file) < 0) {
		w->log_file = NULL;
		e = err_set(ERR_MEMORY, "no memory for the database's threads");
	}
	if (e == ERR_OK)
		e = thread_start(&w->flusher, flusher_run, w, "store-flush", &w->flusher_started);
	if (e == ERR_OK)
		e = worker_start(&w->carrier, "store-carry");
	if (e == ERR_OK)
		e = worker_start(&w->applier, "store-apply");
	if (e != ERR_OK) {
		wal_flush_free(w);
		return e;
	}
	*out = w;
	return ERR_OK;
}

void wal_flush_free(struct wal_flush *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->mutex);
	w->stop = true;
	pthread_cond_signal(&w->flush_asked);
	pthread_cond_signal(&w->carrier.asked);
	pthread_cond_signal(&w->applier.asked);
	pthread_mutex_unlock(&w->mutex);
	if (w->flusher_started)
		pthread_join(w->flusher, NULL);
	if (w->carrier.started)
		pthread_join(w->carrier.thread, NULL);
	if (w->applier.started)
		pthread_join(w->applier.thread, NULL);
	pthread_mutex_destroy(&w->mutex);
	pthread_cond_destroy(&w->flush_asked);
	pthread_cond_destroy(&w->flush_over);
	worker_fini(&w->carrier);
	worker_fini(&w->applier);
	if (w->fd >= 0)
		close(w->fd);
	free(w->log_file);
	free(w);
}
