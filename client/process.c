// Running one program; see process.h.
#include "client/process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AFTER_EXIT_MS 1000 // a grandchild that holds the pipe open is not waited for longer

struct process {
	uv_process_t child;
	uv_pipe_t pipe;
	uv_timer_t timer;
	void (*done)(void *ctx, const struct process_end *end);
	void *ctx;
	struct buf output;
	struct process_end end;
	char chunk[4096];
	bool exited, closed_pipe, told;
	int handles;
};

static void on_closed(uv_handle_t *handle)
{
	struct process *p = handle->data;
	if (--p->handles != 0)
		return;
	buf_fini(&p->output);
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

static void group_kill(struct process *p)
{
	if (p->child.pid > 1)
		(void)kill(-p->child.pid, SIGKILL);
}

static void finish(struct process *p)
{
	if (p->told)
		return;
	p->told = true;
	p->end.output = buf_bytes(&p->output);
	if (p->done != NULL)
		p->done(p->ctx, &p->end);
	close_all(p);
}

static void on_linger(uv_timer_t *timer)
{
	finish(timer->data);
}

static void on_timeout(uv_timer_t *timer)
{
	struct process *p = timer->data;
	p->end.timed_out = true;
	group_kill(p);
}

static void on_child_exit(uv_process_t *child, int64_t status, int signal)
{
	struct process *p = child->data;
	p->exited = true;
	p->end.exit_code = (int)status;
	p->end.signal = signal;
	group_kill(p); // what it left behind goes with it
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
	size_t room = p->output.max - p->output.size;
	size_t take = (size_t)n < room ? (size_t)n : room;
	if (take != 0 && buf_append(&p->output, buf->base, take) != ERR_OK)
		return;
}

static enum err spawn(uv_loop_t *loop, struct process *p, const struct process_order *order)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[] = {path, NULL};
	uv_stdio_container_t io[3] = {
		{.flags = UV_IGNORE},
		{.flags = UV_IGNORE},
		{.flags = UV_IGNORE},
	};
	int ends[2];
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
	group_kill(p);
	return err_set(rc == UV_ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s cannot be run: %s",
		order->argv[0], uv_strerror(rc));
}

enum err process_start(uv_loop_t *loop, const struct process_order *order,
	void (*done)(void *ctx, const struct process_end *end), void *ctx, struct process **out)
{
	struct process *p = calloc(1, sizeof *p);
	if (p == NULL)
		return err_set(ERR_MEMORY, "no memory for a command");
	p->done = done;
	p->ctx = ctx;
	p->child.data = p->pipe.data = p->timer.data = p;
	buf_init(&p->output,
		order->output_max < PROCESS_OUTPUT_MAX ? order->output_max : PROCESS_OUTPUT_MAX);
	if (uv_pipe_init(loop, &p->pipe, 0) != 0 || uv_timer_init(loop, &p->timer) != 0) {
		free(p);
		return err_set(ERR_IO, "no handles for a command");
	}
	p->handles = 3;
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

void process_kill(struct process *p)
{
	p->done = NULL;
	group_kill(p);
	if (p->exited)
		finish(p);
}
