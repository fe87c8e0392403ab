// The playlist that a display reads: what it takes stays inside its folder and its limits.
#include "client/display/playlist.h"
#include "tests/fuzz/fuzz_text.h"

static void path_is_inside(const char *path)
{
	FUZZ_HOLDS(path[0] != '\0' && path[0] != '/');
	for (const char *at = path; at; at = strchr(at, '/')) {
		at += *at == '/';
		FUZZ_HOLDS(strncmp(at, "../", 3) != 0 && strcmp(at, "..") != 0);
	}
}

static void playlist_try(struct bytes text)
{
	struct playlist *p = NULL;

	if (playlist_parse(text, &p) != ERR_OK)
		return;
	for (size_t i = 0; i < p->count; i++) {
		path_is_inside(p->images[i].path);
		FUZZ_HOLDS(p->images[i].duration_ms > 0);
		size_t at = playlist_find(p, p->images[i].path);
		FUZZ_HOLDS(at < p->count || p->images[i].path[0] <= '9'); // "00" is a number
	}
	FUZZ_HOLDS(p->command.n == 0 || playlist_find(p, p->command.arg) <= p->count);
	FUZZ_HOLDS(playlist_same_show(p, p));
	playlist_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_BUF struct buf ended;

	buf_init(&ended, size + 128);
	playlist_try(bytes_of(data, size));
	text_ended(data, size, &ended);
	playlist_try(buf_bytes(&ended));
	return 0;
}
