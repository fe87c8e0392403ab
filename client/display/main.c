// helio-display: command line, loop, end.
#include "client/display/display.h"

#include "proto/base/log.h"
#include "proto/base/program.h"
#include <stdlib.h>
#include <string.h>

static const char about[] =
	"shows the pictures of the installed package. It has no network and no keys.\n\n"
	"  --screenshot FILE  writes the screen as PNG when the first picture stands, and on "
	"SIGUSR1\n\n"
	"SDL_VIDEODRIVER chooses x11, wayland, kmsdrm, offscreen or dummy";

static void stop(void *data)
{
	display_stop(data);
}

// Takes --screenshot FILE out of the arguments. Returns the new count.
static int screenshot_argument(int argc, char **argv, const char **file)
{
	int count = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--screenshot") == 0 && i + 1 < argc)
			*file = argv[++i];
		else
			argv[count++] = argv[i];
	}
	return count;
}

static int run(struct program *p, struct display_settings *settings, const char *screenshot)
{
	static struct display d;
	static uv_loop_t loop;
	struct decoder decoder;

	// Before anything that makes threads.
	if (decoder_open(&decoder) != ERR_OK) {
		log_error("START-FAILED", "why=%s", log_quote(err_text()));
		return EXIT_FAILED;
	}
	uv_loop_init(&loop);
	program_signals(p, &loop, stop, &d);
	enum err e = display_open(&d, settings, &loop, decoder, screenshot);
	if (e == ERR_OK) {
		log_info("START", "version=%s folder=%s", HELIO_VERSION,
			log_quote(settings->folder));
		uv_run(&loop, UV_RUN_DEFAULT);
	} else {
		log_error("START-FAILED", "why=%s", log_quote(err_text()));
	}
	display_close(&d);
	program_signals_close();
	log_info("END", "ok=%s", e == ERR_OK ? "yes" : "no");
	return e == ERR_OK ? EXIT_DONE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
	static struct display_settings settings;
	struct program p = {
		.name = "helio-display",
		.about = about,
		.rows = display_rows,
		.row_count = display_row_count,
		.settings = &settings,
		.log_level_offset = offsetof(struct display_settings, log_level),
	};
	const char *screenshot = NULL;
	int exit_code;

	argc = screenshot_argument(argc, argv, &screenshot);
	if (!program_start(&p, argc, argv, &exit_code))
		return exit_code;
	return run(&p, &settings, screenshot);
}
