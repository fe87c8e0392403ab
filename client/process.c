// Running one program; see process.h.
#include "client/process.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AFTER_EXIT_MS 1000 // a grandchild that holds the pipe open is not waited for longer
#define PERCENT_LINE 12    // "PERCENT 100" and its newline

static const char percent_word[] = "PERCENT ";

struct process {
	uv_process_t child;
	uv_pipe_t pipe;
	uv_timer_t timer;
	struct process_events events;
	void *ctx;
	struct buf tail; // up to twice tail_max, so that it moves seldom
	size_t tail_max;
	struct sha256_stream *hash;
	struct process_end end;
	char chunk[4096];
	char held[PERCENT_LINE]; // the beginning of a line that may be a PERCENT
	size_t held_size;
	bool in_line; // a line that is output
	bool exited, closed_pipe, told, ending;
	int handles;
};

static void on_closed(uv_handle_t *handle)
{
	struct process *p = handle->data;
	if (--p->handles != 0)
		return;
	buf_fini(&p->tail);
	sha256_free(p->hash);
	free(p);
}

static void close_all(struct process *p)
{
	uv_handle_t *all[] = {
		(uv_handle_t *)&p->child, (uv_handle_t *)&p->pipe, (uv_handle_t *)&p->timer};
	for (size_t i = 0; i < 3; i++) {
		if (!uv_is_closing(all[i]))
			uv_close(all[i], on_closed);
	}
}

static void group_signal(struct process *p, int signal)
{
	if (p->child.pid > 1)
		(void)kill(-p->child.pid, signal);
}

// ---- output

static void output_add(struct process *p, const char *data, size_t size)
{
	p->end.output_bytes += size;
	sha256_add(p->hash, data, size);
	if (p->events.output != NULL)
		p->events.output(p->ctx, data, size);
	if (size > p->tail_max) {
		data += size - p->tail_max;
		size = p->tail_max;
	}
	if (p->tail.size + size > 2 * p->tail_max) {
		size_t keep = p->tail_max;
		memmove(p->tail.data, p->tail.data + p->tail.size - keep, keep);
		p->tail.size = keep;
	}
	if (buf_append(&p->tail, data, size) != ERR_OK)
		buf_clear(&p->tail);
}

static void held_flush(struct process *p)
{
	if (p->held_size != 0)
		output_add(p, p->held, p->held_size);
	p->held_size = 0;
}

// Could the held bytes be the beginning of a PERCENT line?
static bool held_may_be(const struct process *p)
{
	size_t word = sizeof percent_word - 1;
	size_t n = p->held_size < word ? p->held_size : word;
	if (memcmp(p->held, percent_word, n) != 0 || p->held_size > word + 3)
		return false;
	for (size_t i = word; i < p->held_size; i++) {
		if (p->held[i] < '0' || p->held[i] > '9')
			return false;
	}
	return true;
}

// A whole line was held: n, or -1 when it is none.
static int held_percent(const struct process *p)
{
	int n = 0;
	if (p->held_size < sizeof percent_word)
		return -1;
	for (size_t i = sizeof percent_word - 1; i < p->held_size; i++)
		n = n * 10 + (p->held[i] - '0');
	return n <= 100 ? n : -1;
}

static void line_end(struct process *p)
{
	int n = held_percent(p);
	if (n < 0) {
		held_flush(p);
		output_add(p, "\n", 1);
		return;
	}
	p->held_size = 0;
	if (p->events.percent != NULL && !p->ending)
		p->events.percent(p->ctx, (uint32_t)n);
}

// Returns how many bytes were taken.
static size_t line_begin(struct process *p, const char *data)
{
	if (data[0] == '\n') {
		line_end(p);
		return 1;
	}
	p->held[p->held_size++] = data[0];
	if (!held_may_be(p)) {
		held_flush(p);
		p->in_line = true;
	}
	return 1;
}

static size_t line_go_on(struct process *p, const char *data, size_t size)
{
	const char *end = memchr(data, '\n', size);
	size_t n = end != NULL ? (size_t)(end - data) + 1 : size;
	output_add(p, data, n);
	p->in_line = end == NULL;
	return n;
}

static void output_take(struct process *p, const char *data, size_t size)
{
	for (size_t n; size > 0; data += n, size -= n)
		n = p->in_line ? line_go_on(p, data, size) : line_begin(p, data);
}

// ---- the end

static void finish(struct process *p)
{
	if (p->told)
		return;
	p->told = true;
	held_flush(p);
	p->end.output_sha256 = sha256_end(p->hash);
	p->end.tail = buf_bytes(&p->tail);
	if (p->end.tail.size > p->tail_max) {
		p->end.tail.data += p->end.tail.size - p->tail_max;
		p->end.tail.size = p->tail_max;
	}
	if (p->events.done != NULL)
		p->events.done(p->ctx, &p->end);
	close_all(p);
}

static void on_linger(uv_timer_t *timer)
{
	finish(timer->data);
}

static void on_grace_over(uv_timer_t *timer)
{
	group_signal(timer->data, SIGKILL);
}

static void group_end(struct process *p)
{
	if (p->ending || p->exited)
		return;
	p->ending = true;
	group_signal(p, SIGTERM);
	uv_update_time(p->timer.loop);
	uv_timer_start(&p->timer, on_grace_over, PROCESS_GRACE_MS, 0);
}

static void on_timeout(uv_timer_t *timer)
{
	struct process *p = timer->data;
	p->end.timed_out = true;
	group_end(p);
}

static void on_child_exit(uv_process_t *child, int64_t status, int signal)
{
	struct process *p = child->data;
	p->exited = true;
	p->end.exit_code = (int)status;
	p->end.signal = signal;
	group_signal(p, SIGKILL); // what it left behind goes with it
	if (p->closed_pipe)
		finish(p);
	else
		uv_timer_start(&p->timer, on_linger, AFTER_EXIT_MS, 0);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct process *p = handle->data;
	(void)suggested;
	*out = uv_buf_init(p->chunk, sizeof p->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct process *p = stream->data;
	if (n < 0) {
		p->closed_pipe = true;
		uv_read_stop(stream);
		if (p->exited)
			finish(p);
		return;
	}
	output_take(p, buf->base, (size_t)n);
}

static enum err spawn(uv_loop_t *loop, struct process *p, const struct process_order *order)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char temporary[PATH_MAX + 8] = "";
	char *env[] = {path, order->temporary != NULL ? temporary : NULL, NULL};
	uv_stdio_container_t io[3] = {
		{.flags = UV_IGNORE},
		{.flags = UV_IGNORE},
		{.flags = UV_IGNORE},
	};
	int ends[2];
	if (order->temporary != NULL)
		(void)snprintf(temporary, sizeof temporary, "TMPDIR=%s", order->temporary);
	if (uv_pipe(ends, 0, 0) != 0)
		return err_set(ERR_IO, "no pipe for a command");
	io[1] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = ends[1]};
	io[2] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = ends[1]};
	uv_process_options_t options = {
		.exit_cb = on_child_exit,
		.file = order->argv[0],
		.args = (char **)(uintptr_t)order->argv,
		.env = env,
		.cwd = order->cwd,
		.flags = UV_PROCESS_DETACHED, // its own session: the whole group can be killed
		.stdio_count = 3,
		.stdio = io,
	};
	int rc = uv_spawn(loop, &p->child, &options);
	close(ends[1]);
	if (rc == 0 && uv_pipe_open(&p->pipe, ends[0]) == 0 &&
		uv_read_start((uv_stream_t *)&p->pipe, on_alloc, on_read) == 0)
		return ERR_OK;
	if (rc != 0)
		close(ends[0]);
	group_signal(p, SIGKILL);
	return err_set(rc == UV_ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s cannot be run: %s",
		order->argv[0], uv_strerror(rc));
}

static enum err process_new(uv_loop_t *loop, const struct process_order *order,
	const struct process_events *events, void *ctx, struct process **out)
{
	struct process *p = calloc(1, sizeof *p);
	struct sha256_stream *hash = sha256_new();
	if (p == NULL || hash == NULL || uv_pipe_init(loop, &p->pipe, 0) != 0 ||
		uv_timer_init(loop, &p->timer) != 0) {
		free(p);
		sha256_free(hash);
		return err_set(ERR_MEMORY, "no memory for a command");
	}
	p->events = *events;
	p->ctx = ctx;
	p->hash = hash;
	p->tail_max = order->tail_max;
	p->child.data = p->pipe.data = p->timer.data = p;
	p->handles = 3;
	buf_init(&p->tail, 2 * order->tail_max);
	*out = p;
	return ERR_OK;
}

enum err process_start(uv_loop_t *loop, const struct process_order *order,
	const struct process_events *events, void *ctx, struct process **out)
{
	struct process *p = NULL;
	TRY(process_new(loop, order, events, ctx, &p));
	enum err e = spawn(loop, p, order);
	if (e != ERR_OK) {
		p->told = true;
		if (p->child.type != UV_PROCESS)
			p->handles--; // never initialised
		else
			uv_close((uv_handle_t *)&p->child, on_closed);
		uv_close((uv_handle_t *)&p->pipe, on_closed);
		uv_close((uv_handle_t *)&p->timer, on_closed);
		return e;
	}
	uv_timer_start(&p->timer, on_timeout, order->timeout_ms, 0);
	*out = p;
	return ERR_OK;
}

void process_stop(struct process *p)
{
	p->end.stopped = true;
	group_end(p);
}

void process_kill(struct process *p)
{
	p->events = (struct process_events){0};
	group_signal(p, SIGKILL);
	if (p->exited)
		finish(p);
}
