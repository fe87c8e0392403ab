// decode: mosquitto_sub -F '%t %x' | helioctl decode
#include "server/ctl/decode.h"

#include "proto/trust.h"
#include "server/ctl/ctl.h"
#include <stdlib.h>
#include <string.h>

static size_t rows_of(const struct args *a)
{
	return args_has(a, "all") ? SIZE_MAX : 6;
}

// Reads a line of at most DECODE_LINE_MAX; the rest of a longer one is skipped. False at the end.
static bool line_read(FILE *from, struct buf *line, bool *whole)
{
	int c;

	buf_clear(line);
	*whole = true;
	while ((c = getc_unlocked(from)) != EOF && c != '\n') {
		uint8_t byte = (uint8_t)c;

		if (buf_append(line, &byte, 1) != ERR_OK)
			*whole = false;
	}
	return c != EOF || line->size > 0;
}

enum exit_code cmd_decode(struct ctl *c, const struct args *a)
{
	SCOPED_BUF struct buf line;
	struct decoder d;
	struct trust trust = {0};
	unsigned long number = 0, bad = 0;
	bool whole;
	const char *root = args_get(a, "verify", NULL);

	if (root) {
		enum err e = trust_open(&trust, root, args_get(a, "root-key", NULL));

		if (e != ERR_OK)
			return ctl_fail(c, e);
	}
	decoder_init(&d);
	d.root = root ? &trust.root : NULL;
	buf_init(&line, DECODE_LINE_MAX);
	while (line_read(stdin, &line, &whole)) {
		SCOPED_JSON cJSON *message = NULL;

		number++;
		if (line.size == 0)
			continue;
		enum err e = whole ? decode_line(&d, (const char *)line.data, line.size, &message)
				   : err_set(ERR_RANGE, "longer than a packet can be");
		if (e != ERR_OK) {
			bad++;
			ctl_note(c, "helioctl: line %lu: %s", number, ctl_safe(err_text()));
		} else if (c->json) {
			json_print(stdout, message, false);
		} else {
			decode_print(&c->out, message, rows_of(a));
		}
		// A pipe shows each message when it comes.
		if (fflush(stdout) != 0)
			break;
	}
	decoder_fini(&d);
	trust_close(&trust);
	return bad > 0 ? EXIT_FAILED : EXIT_DONE;
}
