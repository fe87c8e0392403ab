// helio-publisher: keeps pictures and packages, and sends them to the data brokers it is told.
#include "ingest.h"
#include "proto/base/log.h"
#include "proto/base/program.h"
#include "publisher.h"
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>

static void on_stop(void *data)
{
	publisher_stop(data);
	program_signals_close();
}

int main(int argc, char **argv)
{
	static struct publisher_settings settings;
	static struct publisher publisher;
	struct program program = {.name = "helio-publisher",
		.about = "keeps pictures and packages, and sends them to the data brokers it is "
			 "told",
		.settings = &settings,
		.log_level_offset = offsetof(struct publisher_settings, fleet.log_level),
		.check = publisher_settings_check};
	uv_loop_t loop;
	int exit_code = EXIT_DONE;

	ingest_child_enter(argc, argv);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); // no core with keys in it
	program.rows = publisher_rows(&program.row_count);
	if (!program_start(&program, argc, argv, &exit_code))
		return exit_code;
	link_library_init();
	uv_loop_init(&loop);
	if (publisher_start(&publisher, &settings, &loop) != ERR_OK) {
		log_error("PUBLISHER-START-FAILED", "why=%s", log_quote(err_text()));
		return EXIT_FAILED;
	}
	program_signals(&program, &loop, on_stop, &publisher);
	uv_run(&loop, UV_RUN_DEFAULT);
	publisher_fini(&publisher);
	uv_loop_close(&loop);
	settings_fini(program.rows, program.row_count, &settings);
	log_info("PUBLISHER-ENDED", "id=%s", settings.fleet.id);
	return EXIT_DONE;
}
