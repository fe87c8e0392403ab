// Command line, settings, log level and signals, the same for every program.
#include "proto/base/program.h"

#include "proto/base/descriptors.h"
#include "proto/base/log.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *config_path;

const char *program_config(void)
{
	return config_path;
}

static void help_print(const struct program *p)
{
	printf("%s: %s\n\n", p->name, p->about);
	printf("usage: %s --config FILE [--check-config]\n", p->name);
	printf("       %s --help | --version\n\n", p->name);
	printf("SIGTERM ends it within 5 s, SIGHUP reads the log level again.\n\n");
	printf("settings:\n");
	settings_explain(p->rows, p->row_count, stdout);
}

static bool arguments_read(
	const struct program *p, int argc, char **argv, bool *check, int *exit_code)
{
	*exit_code = EXIT_USAGE;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			help_print(p);
			*exit_code = EXIT_DONE;
			return false;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("%s %s\n", p->name, HELIO_VERSION);
			*exit_code = EXIT_DONE;
			return false;
		}
		if (strcmp(argv[i], "--check-config") == 0) {
			*check = true;
		} else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
			config_path = argv[++i];
		} else {
			fprintf(stderr, "%s: unknown argument %s; see %s --help\n", p->name,
				argv[i], p->name);
			return false;
		}
	}
	if (!config_path) {
		fprintf(stderr, "%s: --config FILE is missing; see %s --help\n", p->name, p->name);
		return false;
	}
	return true;
}

static void level_apply(const struct program *p, const void *settings)
{
	enum log_level level;

	if (log_level_parse((const char *)settings + p->log_level_offset, &level))
		log_set_level(level);
}

bool program_start(struct program *p, int argc, char **argv, int *exit_code)
{
	bool check = false;

	log_init(p->name, LOG_INFO);
	if (!arguments_read(p, argc, argv, &check, exit_code))
		return false;
	enum err e = settings_read(config_path, p->rows, p->row_count, p->settings);
	if (e == ERR_OK && p->check)
		e = settings_place(config_path, p->check(p->settings));
	if (e != ERR_OK) {
		fprintf(stderr, "%s: %s\n", p->name, err_text());
		*exit_code = EXIT_USAGE;
		return false;
	}
	level_apply(p, p->settings);
	if (check) {
		printf("%s: %s is good\n", p->name, config_path);
		*exit_code = EXIT_DONE;
		return false;
	}
	return true;
}

// ---- signals, and a look at the descriptors

#define LOOK_MS 1000

static struct {
	struct program *program;
	uv_signal_t term, interrupt, hangup;
	uv_timer_t look;
	void (*stop)(void *);
	void *data;
	bool stopping, open;
} signals;

static void stop_signal(uv_signal_t *handle, int number)
{
	(void)handle;
	if (signals.stopping) {
		log_error("STOP-FORCED", "signal=%d why=\"asked twice\"", number);
		_exit(EXIT_FAILED);
	}
	signals.stopping = true;
	log_info("STOP", "signal=%d", number);
	// The kernel ends what the loop does not end in time.
	signal(SIGALRM, SIG_DFL);
	alarm(5);
	signals.stop(signals.data);
}

static void hangup_signal(uv_signal_t *handle, int number)
{
	(void)handle;
	(void)number;
	const struct program *p = signals.program;
	size_t size = 0;

	for (size_t i = 0; i < p->row_count; i++) {
		size_t end = p->rows[i].offset + p->rows[i].size + sizeof(struct setting_list);

		size = end > size ? end : size;
	}
	SCOPED_FREE void *fresh = calloc(1, size);
	if (!fresh)
		return;
	if (settings_read(config_path, p->rows, p->row_count, fresh) == ERR_OK) {
		level_apply(p, fresh);
		log_info("LOG-LEVEL", "level=%s", (const char *)fresh + p->log_level_offset);
	} else {
		log_warn("SETTINGS-BAD", "kept=old why=%s", log_quote(err_text()));
	}
	settings_fini(p->rows, p->row_count, fresh);
}

static void on_look(uv_timer_t *timer)
{
	(void)timer;
	descriptors_look(clock_now().mono);
}

void program_signals(struct program *p, uv_loop_t *loop, void (*stop)(void *data), void *data)
{
	signals.program = p;
	signals.stop = stop;
	signals.data = data;
	signals.open = true;
	signal(SIGPIPE, SIG_IGN);
	uv_signal_init(loop, &signals.term);
	uv_signal_init(loop, &signals.interrupt);
	uv_signal_init(loop, &signals.hangup);
	uv_signal_start(&signals.term, stop_signal, SIGTERM);
	uv_signal_start(&signals.interrupt, stop_signal, SIGINT);
	uv_signal_start(&signals.hangup, hangup_signal, SIGHUP);
	uv_timer_init(loop, &signals.look);
	uv_timer_start(&signals.look, on_look, LOOK_MS, LOOK_MS);
}

void program_signals_close(void)
{
	if (!signals.open)
		return;
	signals.open = false;
	uv_close((uv_handle_t *)&signals.term, NULL);
	uv_close((uv_handle_t *)&signals.interrupt, NULL);
	uv_close((uv_handle_t *)&signals.hangup, NULL);
	uv_close((uv_handle_t *)&signals.look, NULL);
}
