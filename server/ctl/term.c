// isatty, TIOCGWINSZ, NO_COLOR.
#include "server/ctl/term.h"

#include "server/ctl/text.h"
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct term term_of(FILE *file)
{
	struct term t = {.file = file,
		.tty = isatty(fileno(file)) == 1,
		.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0};
	const char *no_colour = getenv("NO_COLOR"), *name = getenv("TERM");
	struct winsize size;

	if (!t.tty)
		return t;
	t.colour = !(no_colour && *no_colour) && name && strcmp(name, "dumb") != 0;
	t.width = 80;
	t.height = 24;
	if (ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
		t.width = size.ws_col;
		t.height = size.ws_row;
	}
	return t;
}

const char *term_begin(const struct term *t, enum style style)
{
	static const char *const codes[STYLE_COUNT] = {
		[STYLE_PLAIN] = "",
		[STYLE_BOLD] = "\x1b[1m",
		[STYLE_DIM] = "\x1b[2m",
		[STYLE_GOOD] = "\x1b[32m",
		[STYLE_WARN] = "\x1b[33m",
		[STYLE_BAD] = "\x1b[31m",
	};

	return t->colour ? codes[style] : "";
}

const char *term_end(const struct term *t, enum style style)
{
	return t->colour && style != STYLE_PLAIN ? "\x1b[0m" : "";
}

void term_wrap(const struct term *t, const char *text, size_t at, size_t indent)
{
	bool first = true;

	while (*text) {
		size_t blanks = strspn(text, " "), size = strcspn(text + blanks, " ");
		size_t end = text_width(text) - text_width(text + blanks + size);

		if (!first && t->width > 0 && at + end > t->width) {
			fprintf(t->file, "\n%*s", (int)indent, "");
			at = indent;
			end -= blanks;
			text += blanks;
			blanks = 0;
		}
		fprintf(t->file, "%.*s", (int)(blanks + size), text);
		text += blanks + size;
		at += end;
		first = false;
	}
	fputc('\n', t->file);
}
