// watch: the fleet, redrawn in place on a terminal; without one, a line for each change.
//
// The table is the server's own answer to `status`, asked for again when a retained view moved (at
// most once in MIN_MS) and anyway every --every. Views are hints: what is drawn is authenticated.
#include "proto/base/clock.h"
#include "proto/session.h"
#include "server/ctl/decode_messages.h"
#include "server/ctl/progress.h"
#include "server/ctl/show.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIN_MS 300

struct watching {
	struct ctl *ctl;
	struct arena arena;
	const struct root *root;
	bool moved, lines;
};

static void view_line(const struct state_view *m)
{
	char when[32];

	wall_format(clock_now().wall, when);
	printf("%s client=%s reach=%s state=%s", when, m->client_id, reach_word(m->reach),
		client_state_word(m->state));
	if (m->op_id)
		printf(" op=%llu status=%s", (unsigned long long)m->op_id,
			m->op_status ? op_status_word(m->op_status) : "-");
	if (*m->channel)
		printf(" channel=%s", m->channel);
	if (!digest_is_zero(&m->showing_package))
		printf(" showing=%s", digest_short(&m->showing_package));
	if (*m->showing_image)
		printf(" image=%s", ctl_safe(m->showing_image));
	putchar('\n');
	fflush(stdout);
}

static void view_json(const struct state_view *m)
{
	SCOPED_JSON cJSON *j = cJSON_CreateObject();

	state_view_json(j, m);
	json_print(stdout, j, false);
	fflush(stdout);
}

// A foreign writer must not be able to fake the fleet.
static bool is_signed(const struct watching *w, const char *topic, struct bytes payload)
{
	for (size_t i = 0; i < w->root->online_key_count; i++) {
		if (seal_check_signature(payload, topic, &w->root->online_keys[i]) == ERR_OK)
			return true;
	}
	return false;
}

static void on_view(void *ctx, const char *topic, struct bytes payload, bool retained)
{
	struct watching *w = ctx;
	struct state_view m;

	(void)retained;
	w->moved = true;
	if (!w->lines || payload.size == 0 || !is_signed(w, topic, payload))
		return;
	arena_reset(&w->arena);
	if (state_view_decode(&w->arena, payload, &m) != ERR_OK)
		return;
	if (strcmp(topic, topic_of(TOPIC_VIEW_STATE, m.client_id).s) != 0)
		return;
	if (w->ctl->json)
		view_json(&m);
	else
		view_line(&m);
}

// Home, draw over what stands there, clear the rest of each line and below: no flicker.
static void frame_draw(const struct ctl *c, const cJSON *fleet)
{
	char when[16], *text = NULL;
	size_t size = 0;
	time_t now = (time_t)(clock_now().wall.ms / 1000);
	struct term t = c->out;
	struct tm tm;

	t.file = open_memstream(&text, &size);
	if (!t.file)
		return;
	localtime_r(&now, &tm);
	strftime(when, sizeof(when), "%H:%M:%S", &tm);
	fprintf(t.file, "%s%s  helioctl watch, Ctrl-C ends%s\n", term_begin(&t, STYLE_DIM), when,
		term_end(&t, STYLE_DIM));
	status_show(&t, fleet, t.height > 9 ? t.height - 9 : 1);
	fclose(t.file);
	fputs("\x1b[?7l\x1b[H", stdout);
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\n')
			fputs("\x1b[K", stdout);
		putchar(text[i]);
	}
	fputs("\x1b[J\x1b[?7h", stdout);
	fflush(stdout);
	free(text);
}

static enum err frame(struct api *api, struct ctl *c, const struct api_verb *v, bool first)
{
	struct api_result r;
	enum err e = api_call(api, v->verb, v->args, v->arg_count, v->body, &r);

	if (e != ERR_OK)
		return e;
	c->out = term_of(stdout); // the window may have another size now
	if (first)
		printf("\x1b[2J");
	frame_draw(c, r.document);
	api_result_free(&r);
	return ERR_OK;
}

static enum err watch_table(struct api *api, struct ctl *c, struct watching *w,
	const struct api_verb *v, uint32_t every_ms)
{
	for (bool first = true;; first = false) {
		w->moved = false;
		TRY(frame(api, c, v, first));
		TRY(api_wait(api, MIN_MS));
		for (uint32_t waited = MIN_MS; !w->moved && waited < every_ms; waited += 100)
			TRY(api_wait(api, 100));
	}
}

enum exit_code cmd_watch(struct ctl *c, const struct args *a)
{
	struct topic filter = topic_filter(TOPIC_VIEW_STATE);
	const char *const filters[] = {filter.s};
	struct api_verb v = {.verb = "status"};
	struct watching w = {.ctl = c, .lines = c->json || !c->out.tty};
	struct api *api = NULL;
	uint64_t every_s = 2;
	enum err e = args_number(a, "every", 1, 3600, &every_s);

	if (e != ERR_OK)
		return ctl_usage(c, "%s", ctl_safe(err_text()));
	api_verb_add(&v, "channel", args_get(a, "channel", NULL));
	arena_init(&w.arena, 1024 * 1024, 10000);
	e = api_open(c, &api);
	if (e == ERR_OK) {
		w.root = api_root(api);
		e = api_watch(api, filters, 1, on_view, &w);
	}
	if (e == ERR_OK && !w.lines)
		e = watch_table(api, c, &w, &v, (uint32_t)every_s * 1000);
	while (e == ERR_OK)
		e = api_wait(api, 1000);
	bool interrupted = api && api_interrupted(api);
	enum exit_code code = interrupted ? EXIT_DONE : ctl_fail(c, e);
	api_close(api);
	arena_fini(&w.arena);
	return code;
}
