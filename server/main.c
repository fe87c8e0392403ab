// heliod: the distribution server and presence server of a Heliograph fleet.
#include "proto/base/log.h"
#include "proto/base/program.h"
#include "proto/mqtt_link.h"
#include "server/accordance.h"
#include "server/server.h"
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static struct server *server;
static uv_signal_t hangup;

static void on_stop(void *data)
{
	(void)data;
	server_stop(server);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	(void)handle;
	(void)number;
	server_reread(server);
}

static int run(struct program *p, const struct heliod_settings *settings)
{
	uv_loop_t *loop = uv_default_loop();
	enum err e;
	int code;

	link_library_init();
	(void)uv_loop_configure(loop, UV_METRICS_IDLE_TIME); // how busy it is: server_load_tick
	uv_signal_init(loop, &hangup);
	uv_signal_start(&hangup, on_hangup, SIGHUP);
	uv_unref((uv_handle_t *)&hangup); // the loop ends when the server does
	program_signals(p, loop, on_stop, NULL);
	e = server_start(loop, settings, &server);
	if (e != ERR_OK) {
		log_error("SERVER-START", "error=%s why=%s", err_word(e), log_quote(err_text()));
		on_stop(NULL);
	}
	uv_run(loop, UV_RUN_DEFAULT);
	code = e == ERR_OK ? server_exit_code(server) : EXIT_FAILED;
	server_free(server);
	log_info("SERVER-ENDED", "exit=%d", code);
	return code;
}

// The table by which heartbeats are judged, as Markdown; server/ACCORDANCE.md holds it.
static int accordance_print(void)
{
	SCOPED_BUF struct buf text;

	buf_init(&text, 256 * 1024);
	if (accordance_describe(&text) != ERR_OK)
		return EXIT_FAILED;
	return fwrite(text.data, 1, text.size, stdout) == text.size ? EXIT_DONE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	static struct heliod_settings settings;
	struct program p = {
		.name = "heliod",
		.about = "distribution server and presence server of Heliograph\n"
			 "--accordance: print the table by which heartbeats are judged",
		.rows = heliod_rows,
		.row_count = heliod_row_count,
		.settings = &settings,
		.log_level_offset = offsetof(struct heliod_settings, fleet.log_level),
		.check = heliod_settings_check,
	};
	int code;

	if (argc == 2 && strcmp(argv[1], "--accordance") == 0)
		return accordance_print();
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); // no core with keys in it
	if (!program_start(&p, argc, argv, &code))
		return code;
	code = run(&p, &settings);
	settings_fini(heliod_rows, heliod_row_count, &settings);
	return code;
}
