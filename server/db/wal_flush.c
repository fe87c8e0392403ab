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

struct wal_flush {
	char *log_file;
	struct wal_flush_ports ports;
	int fd; // of the log; the flusher's
	pthread_t flusher, carrier;
	pthread_mutex_t mutex;
	pthread_cond_t flush_asked, flush_over, carry_asked, carry_over;
	enum flush_state flush;
	wal_flush_fn flush_fn;
	int flush_errno;
	bool carrying, stop;
	unsigned threads; // that were started
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

// ---------------------------------------------------------------- the carrier

// Nobody waits for it: what the loop and the flusher do comes first.
static void carrier_yield(void)
{
	struct sched_param none = {0};

	(void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), CARRIER_NICE);
}

static void *carrier_run(void *arg)
{
	struct wal_flush *w = arg;

	carrier_yield();

	pthread_mutex_lock(&w->mutex);
	for (;;) {
		while (!w->carrying && !w->stop)
			pthread_cond_wait(&w->carry_asked, &w->mutex);
		if (w->stop)
			break;
		pthread_mutex_unlock(&w->mutex);
		w->ports.carry(w->ports.ctx);
		pthread_mutex_lock(&w->mutex);
		w->carrying = false;
		pthread_cond_signal(&w->carry_over);
	}
	pthread_mutex_unlock(&w->mutex);
	return NULL;
}

void wal_carry_ask(struct wal_flush *w)
{
	pthread_mutex_lock(&w->mutex);
	w->carrying = true;
	pthread_cond_signal(&w->carry_asked);
	pthread_mutex_unlock(&w->mutex);
}

void wal_carry_wait(struct wal_flush *w)
{
	pthread_mutex_lock(&w->mutex);
	while (w->carrying)
		pthread_cond_wait(&w->carry_over, &w->mutex);
	pthread_mutex_unlock(&w->mutex);
}

bool wal_carry_is_idle(struct wal_flush *w)
{
	pthread_mutex_lock(&w->mutex);
	bool idle = !w->carrying;
	pthread_mutex_unlock(&w->mutex);
	return idle;
}

// ---------------------------------------------------------------- life

// Signals are the loop's.
static enum err thread_start(
	struct wal_flush *w, pthread_t *out, void *(*run)(void *), const char *name)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(out, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		errno = rc;
		return err_set_errno("thread %s", name);
	}
	(void)pthread_setname_np(*out, name);
	w->threads++;
	return ERR_OK;
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
	pthread_cond_init(&w->carry_asked, NULL);
	pthread_cond_init(&w->carry_over, NULL);
	enum err e = ERR_OK;
	if (asprintf(&w->log_file, "%s-wal", file) < 0) {
		w->log_file = NULL;
		e = err_set(ERR_MEMORY, "no memory for the database's threads");
	}
	if (e == ERR_OK)
		e = thread_start(w, &w->flusher, flusher_run, "store-flush");
	if (e == ERR_OK)
		e = thread_start(w, &w->carrier, carrier_run, "store-carry");
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
	pthread_cond_signal(&w->carry_asked);
	pthread_mutex_unlock(&w->mutex);
	if (w->threads > 0)
		pthread_join(w->flusher, NULL);
	if (w->threads > 1)
		pthread_join(w->carrier, NULL);
	pthread_mutex_destroy(&w->mutex);
	pthread_cond_destroy(&w->flush_asked);
	pthread_cond_destroy(&w->flush_over);
	pthread_cond_destroy(&w->carry_asked);
	pthread_cond_destroy(&w->carry_over);
	if (w->fd >= 0)
		close(w->fd);
	free(w->log_file);
	free(w);
}
