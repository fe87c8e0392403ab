#include "work.h"

static size_t running_max(enum work_class c)
{
	return c == WORK_PICTURE ? WORK_PICTURES : 1;
}

void work_line_init(struct work_line *l, uv_loop_t *loop)
{
	*l = (struct work_line){.loop = loop};
	for (int c = 0; c < WORK_CLASS_COUNT; c++)
		l->last[c] = &l->first[c];
}

static void on_run(uv_work_t *r)
{
	struct work *w = r->data;

	w->run(w);
}

static void start_next(struct work_line *l, enum work_class c);

static void on_done(uv_work_t *r, int status)
{
	struct work *w = r->data;
	struct work_line *l = w->line;
	enum work_class c = w->class;

	w->cancelled = status == UV_ECANCELED;
	l->running[c]--;
	w->done(w);
	start_next(l, c);
}

static struct work *take_first(struct work_line *l, enum work_class c)
{
	struct work *w = l->first[c];

	if (!w)
		return NULL;
	l->first[c] = w->next;
	if (!l->first[c])
		l->last[c] = &l->first[c];
	l->waiting[c]--;
	return w;
}

static void start_next(struct work_line *l, enum work_class c)
{
	while (l->running[c] < running_max(c)) {
		struct work *w = take_first(l, c);
		if (!w)
			return;
		l->running[c]++;
		w->request.data = w;
		if (w->begin)
			w->begin(w);
		uv_queue_work(l->loop, &w->request, on_run, on_done);
	}
}

enum err work_add(struct work_line *l, struct work *w)
{
	enum work_class c = w->class;

	if (l->waiting[c] >= WORK_WAITING_MAX)
		return err_set(ERR_FULL, "%d jobs wait already", WORK_WAITING_MAX);
	w->line = l;
	w->next = NULL;
	*l->last[c] = w;
	l->last[c] = &w->next;
	l->waiting[c]++;
	start_next(l, c);
	return ERR_OK;
}

void work_line_stop(struct work_line *l)
{
	for (int c = 0; c < WORK_CLASS_COUNT; c++)
		for (struct work *w = take_first(l, (enum work_class)c); w;
			w = take_first(l, (enum work_class)c)) {
			w->cancelled = true;
			w->done(w);
		}
}

size_t work_count(const struct work_line *l)
{
	size_t n = 0;

	for (int c = 0; c < WORK_CLASS_COUNT; c++)
		n += l->waiting[c] + l->running[c];
	return n;
}
