// helio-agent: the program. Reads its settings, holds the state folder, runs the loop.
#include "client/runtime_import.h"
#include "client/update_guard.h"

#include "proto/base/log.h"
#include "proto/base/program.h"

#include <limits.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

// One arena: the agent shares small devices with a display. When freed memory goes back is said by
// link_library_init.
static void memory_keep_small(void)
{
	mallopt(M_ARENA_MAX, 1);
	setenv("UV_THREADPOOL_SIZE", "3", 0);
}

// --once is ours alone: taken out before the common options are read.
static bool once_take(int *argc, char **argv)
{
	bool once = false;
	int kept = 1;
	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], "--once") == 0)
			once = true;
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	*argc = kept;
	return once;
}

static int agent_run(
	struct program *p, const struct agent_settings *settings, bool once, char **argv)
{
	static struct runtime rt;
	if (!once)
		update_guard(settings, argv);
	log_keep(GATHER_OWN_LOG_BYTES);
	enum err e = runtime_init(&rt, settings, once);
	if (e != ERR_OK) {
		log_error("AGENT-START", "word=%s why=%s", err_word(e), log_quote(err_text()));
		runtime_stop(&rt);
		if (rt.loop_there)
			uv_run(&rt.loop, UV_RUN_DEFAULT);
		runtime_fini(&rt);
		return e == ERR_RANGE || e == ERR_FORMAT || e == ERR_NOT_FOUND ? EXIT_USAGE
									       : EXIT_FAILED;
	}
	program_signals(p, &rt.loop, runtime_stop, &rt);
	uv_run(&rt.loop, UV_RUN_DEFAULT);
	log_info("AGENT-END", "client=%s", settings->fleet.id);
	runtime_fini(&rt);
	if (rt.restart == RESTART_EXEC)
		update_guard_again(argv);
	return rt.exit_code;
}

// import PATH is ours alone, too.
static const char *import_take(int *argc, char **argv)
{
	if (*argc < 3 || strcmp(argv[1], "import") != 0)
		return NULL;
	const char *path = argv[2];
	for (int i = 1; i + 2 <= *argc; i++)
		argv[i] = argv[i + 2];
	*argc -= 2;
	return path;
}

static int agent_import(struct program *p, const struct agent_settings *settings, const char *given)
{
	static struct runtime rt;
	char path[PATH_MAX];
	if (realpath(given, path) == NULL) {
		(void)fprintf(stderr, "helio-agent: %s: %m\n", given);
		return EXIT_USAGE;
	}
	enum err e = runtime_init_offline(&rt, settings);
	bool runs = e == ERR_EXISTS && rt.lock_fd < 0;
	if (e == ERR_OK) {
		program_signals(p, &rt.loop, runtime_stop, &rt);
		e = import_begin(&rt, path, "offline");
	}
	if (e != ERR_OK && !runs)
		log_error("AGENT-IMPORT", "word=%s why=%s", err_word(e), log_quote(err_text()));
	if (e != ERR_OK)
		runtime_stop(&rt);
	if (rt.loop_there)
		uv_run(&rt.loop, UV_RUN_DEFAULT);
	runtime_fini(&rt);
	if (runs)
		return import_ask(settings, path);
	return e == ERR_OK ? import_tell(settings) : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	static struct agent_settings settings;
	size_t row_count;
	int exit_code = EXIT_USAGE;
	const struct setting *rows = agent_setting_rows(&row_count);
	struct program program = {
		.name = "helio-agent",
		.about =
			"device agent of Heliograph: heartbeat, fetch, install, commands, "
			"reports.\n"
			"--once: one sign-in and one answered heartbeat, then exit 0; 3 when "
			"nobody answered.\n"
			"import PATH: installs what a medium (a folder, or an ISO image) holds for "
			"this device, and tells what came of it.",
		.rows = rows,
		.row_count = row_count,
		.settings = &settings,
		.log_level_offset = offsetof(struct agent_settings, fleet.log_level),
		.check = agent_settings_check,
	};
	memory_keep_small();
	(void)prctl(PR_SET_DUMPABLE, 0);
	bool once = once_take(&argc, argv);
	const char *medium = import_take(&argc, argv);
	if (!program_start(&program, argc, argv, &exit_code))
		return exit_code;
	exit_code = medium != NULL ? agent_import(&program, &settings, medium)
				   : agent_run(&program, &settings, once, argv);
	settings_fini(rows, row_count, &settings);
	return exit_code;
}
