// See update_guard.h.
//
//   lock -> file of updates -> RESTARTING: it is the trial now | TRIAL: one start more | too often:
//   roll back -> file -> execv ROOT/current/helio-agent | nothing there: go on as we are
#include "client/update_guard.h"

#include "client/update_file.h"
#include "client/update_handler.h"
#include "proto/base/file.h"
#include "proto/base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GUARD_ENV "HELIO_AGENT_GUARD" // the process id: an heir of the environment is not meant
#define BASE_ENV "HELIO_AGENT_BASE"

struct guard {
	const struct agent_settings *settings;
	const struct update_row *row;
	struct update_list list;
	struct update_limits limits;
};

static bool is_release(void)
{
	const char *pid = getenv(GUARD_ENV);
	char *end;
	return pid != NULL && strtol(pid, &end, 10) == getpid() && *end == '\0';
}

// The step on disk; without it nothing is begun that it should count.
static bool take(struct guard *g, struct update_record *r, enum update_event event,
	const char *word, const char *detail)
{
	struct update_record before = *r;
	if (!update_step(r, event, &g->limits, word, detail))
		return false;
	if (update_file_write(g->settings->state_dir, &g->list) != ERR_OK) {
		log_error("GUARD-UNSAVED", "name=%s why=%s", log_quote(r->name),
			log_quote(err_text()));
		*r = before;
		return false;
	}
	log_info("GUARD", "name=%s version=%s from=%s to=%s starts=%u reason=%s",
		log_quote(r->name), log_quote(r->version), update_state_word(before.state),
		update_state_word(r->state), r->tries, r->reason);
	return true;
}

// What the link named before is named again; the heartbeats of the old agent tell why.
static void roll_back(struct guard *g, struct update_record *r)
{
	struct update_said said = {0};
	const struct update_call call = {
		.verb = UPDATE_ROLL_BACK,
		.row = g->row,
		.name = r->name,
		.version = r->version,
		.token = r->token,
		.package = r->package,
	};
	while (r->state == UPDATE_ROLLING_BACK) {
		enum err e = g->row->handler->work(&call, &said);
		if (!take(g, r, e == ERR_OK ? UPDATE_DONE : UPDATE_FAILED, "rollback",
			    e == ERR_OK ? NULL : err_text()))
			return;
	}
}

static void count_start(struct guard *g, struct update_record *r)
{
	switch ((int)r->state) {
	case UPDATE_RESTARTING:
	case UPDATE_REVERTING:
		(void)take(g, r, UPDATE_DONE, NULL, NULL);
		break;
	case UPDATE_TRIAL:
	case UPDATE_INSTALLING:
	case UPDATE_COMMITTING:
	case UPDATE_ROLLING_BACK:
		(void)take(g, r, UPDATE_STARTED, NULL, NULL);
		break;
	default:
		break;
	}
	if (r->state == UPDATE_ROLLING_BACK)
		roll_back(g, r);
}

// ---- starting

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;
	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// Returns when there is no release, or it cannot be executed.
static enum err release_exec(const struct guard *g, const struct update_record *r, char **argv)
{
	char path[DEPOT_PATH], pid[24], self[PATH_MAX];
	struct stat st;
	int n = snprintf(path, sizeof path, "%s/current/" GUARD_PROGRAM, g->row->root);
	if (n < 0 || (size_t)n >= sizeof path)
		return err_set(ERR_RANGE, "the path of the release is too long");
	if (same_file(path, "/proc/self/exe"))
		return ERR_OK;
	bool trial = r != NULL && r->state == UPDATE_TRIAL;
	if (lstat(path, &st) != 0)
		return trial ? err_set(ERR_NOT_FOUND, "the release holds no " GUARD_PROGRAM)
			     : ERR_OK;
	(void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	if (length > 0)
		self[length] = '\0';
	if (length <= 0 || setenv(BASE_ENV, self, 1) != 0 || setenv(GUARD_ENV, pid, 1) != 0)
		return err_set(ERR_IO, "the release cannot be told who started it");
	if (trial)
		(void)alarm(g->settings->update_trial_s + GUARD_ALARM_S);
	log_info("GUARD-EXEC", "program=%s", log_quote(path));
	(void)execv(path, argv);
	int why = errno;
	(void)alarm(0);
	(void)unsetenv(GUARD_ENV);
	errno = why;
	return err_set_errno("cannot execute %s", path);
}

static void start(struct guard *g, char **argv)
{
	for (int i = 0; i < 2; i++) {
		struct update_record *r = update_find(&g->list, g->row->name);
		if (r != NULL && i == 0)
			count_start(g, r);
		enum err e = release_exec(g, r, argv);
		if (e == ERR_OK)
			return;
		log_error("GUARD-EXEC-FAILED", "name=%s why=%s", log_quote(g->row->name),
			log_quote(err_text()));
		if (r == NULL || r->state != UPDATE_TRIAL ||
			!take(g, r, UPDATE_FAILED, "cannot-start", err_text()))
			return;
		roll_back(g, r);
	}
}

void update_guard(const struct agent_settings *settings, char **argv)
{
	static struct update_table table;
	static struct guard g;
	char path[300];
	SCOPED_FD int lock = -1;
	if (is_release() || update_table_parse(settings, &table) != ERR_OK)
		return;
	g = (struct guard){
		.settings = settings,
		.row = update_row_self(&table),
		.limits = {.install_tries = settings->update_install_tries,
			.trial_starts = settings->update_trial_starts,
			.undo_tries = 5},
	};
	if (g.row == NULL || dir_make(settings->state_dir) != ERR_OK ||
		path_join(path, sizeof path, settings->state_dir, "lock") != ERR_OK ||
		lock_take(path, &lock) != ERR_OK)
		return;
	if (update_file_read(settings->state_dir, &g.list) != ERR_OK)
		log_warn("GUARD-UNREAD", "why=%s", log_quote(err_text()));
	start(&g, argv);
}

void update_guard_again(char **argv)
{
	const char *base = getenv(BASE_ENV);
	char path[PATH_MAX];
	if (base == NULL || !str_copy(path, sizeof path, base)) {
		ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
		path[n > 0 ? n : 0] = '\0';
	}
	(void)unsetenv(GUARD_ENV);
	(void)alarm(0);
	(void)execv(path, argv);
	log_error("AGENT-EXEC", "program=%s why=%s", log_quote(path), log_quote(strerror(errno)));
}
