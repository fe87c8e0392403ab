// Keeper and children. Jobs and answers are packets of a socket pair between processes of one
// program, so plain structs serve.
#include "client/display/decoder.h"

#include "client/display/display_limits.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum job_kind {
	JOB_DECODE,
	JOB_WRITE_PNG
};

struct job {
	uint64_t ticket;
	enum job_kind kind;
	uint32_t w, h;
	struct picture_wish wish;
};

// ---- frames

enum err frame_memory_new(uint32_t w, uint32_t h, struct frame_memory *out)
{
	*out = (struct frame_memory){.fd = -1};
	if (w == 0 || h == 0 || w > SCREEN_SIDE_MAX || h > SCREEN_SIDE_MAX)
		return err_set(ERR_RANGE, "a screen of %u x %u is not possible", w, h);
	size_t size = (size_t)w * h * 4;
	int fd = memfd_create("helio-frame", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_set(ERR_MEMORY, "no memory for a frame: %s", strerror(errno));
	void *px = MAP_FAILED;
	if (ftruncate(fd, (off_t)size) == 0 &&
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		px = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (px == MAP_FAILED) {
		close(fd);
		return err_set(ERR_MEMORY, "no memory for a frame of %u x %u", w, h);
	}
	*out = (struct frame_memory){.fd = fd, .frame = {.px = px, .w = w, .h = h}};
	return ERR_OK;
}

void frame_memory_free(struct frame_memory *f)
{
	if (f->fd < 0)
		return;
	munmap(f->frame.px, (size_t)f->frame.w * f->frame.h * 4);
	close(f->fd);
	*f = (struct frame_memory){.fd = -1};
}

// ---- the child

// Sanitizers map terabytes of shadow; under them the limit would only end the child.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_ADDRESSES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LIMIT_ADDRESSES 0
#endif
#endif
#ifndef LIMIT_ADDRESSES
#define LIMIT_ADDRESSES 1
#endif

// Pages of address space that the process has now.
static size_t address_space_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[128];
	size_t pages = 0;

	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f))
		pages = strtoul(line, NULL, 10);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void limit_set(__rlimit_resource_t what, rlim_t value)
{
	struct rlimit l = {value, value};

	setrlimit(what, &l);
}

static void child_limit(void)
{
	size_t now = address_space_bytes();

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (LIMIT_ADDRESSES && now > 0)
		limit_set(RLIMIT_AS, now + DECODE_MEMORY_BYTES);
	limit_set(RLIMIT_CPU, DECODE_CPU_S);
	limit_set(RLIMIT_CORE, 0);
	limit_set(RLIMIT_FSIZE, PICTURE_FILE_MAX * 8UL);
	// The picture is prepared while another one stands; a fade on the screen goes first.
	int niced = nice(5);
	(void)niced;
}

static void job_run(const struct job *job, int file, struct frame frame, struct decoder_answer *a)
{
	a->err = job->kind == JOB_DECODE ? picture_decode(file, &job->wish, frame, &a->facts)
					 : picture_write_png(file, frame);
	if (a->err != ERR_OK)
		text_format(a->text, sizeof(a->text), "%s", err_text());
}

// Never returns. `out` takes the answer; all but file, frame and out was closed by close-on-exec's
// cousin below.
static NORETURN void child_main(const struct job *job, int file, int frame_fd, int out)
{
	size_t size = (size_t)job->w * job->h * 4;
	struct decoder_answer a = {.ticket = job->ticket};
	void *px = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, frame_fd, 0);

	if (px == MAP_FAILED) {
		a.err = err_set(ERR_MEMORY, "no memory for a frame");
		text_format(a.text, sizeof(a.text), "%s", err_text());
	} else {
		child_limit();
		job_run(job, file, (struct frame){px, job->w, job->h}, &a);
	}
	ssize_t n = write(out, &a, sizeof(a));
	_exit(n == sizeof(a) ? 0 : 1);
}

// ---- the keeper

static void gone_describe(int status, bool timed_out, struct decoder_answer *a)
{
	a->err = ERR_CORRUPT;
	if (timed_out) {
		text_format(a->text, sizeof(a->text), "decoding took longer than %d s",
			DECODE_WALL_MS / 1000);
	} else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) {
		text_format(a->text, sizeof(a->text), "decoding took more than %d s of CPU",
			DECODE_CPU_S);
	} else if (WIFSIGNALED(status)) {
		text_format(a->text, sizeof(a->text), "the decoder was ended by signal %d",
			WTERMSIG(status));
	} else {
		text_format(
			a->text, sizeof(a->text), "the decoder ended with %d", WEXITSTATUS(status));
	}
}

// Waits for the child's answer, or for its end, or for the display's (then nobody needs it).
static void child_await(pid_t child, int in, int display, struct decoder_answer *a)
{
	struct pollfd p[2] = {{.fd = in, .events = POLLIN}, {.fd = display, .events = 0}};
	struct mono end = mono_add_ms(clock_now().mono, DECODE_WALL_MS);
	int64_t left = DECODE_WALL_MS;
	int n, status = 0;

	do {
		n = poll(p, 2, (int)left);
		left = mono_since_ms(end, clock_now().mono);
	} while (n < 0 && errno == EINTR && left > 0);
	bool answered = n > 0 && read(in, a, sizeof(*a)) == (ssize_t)sizeof(*a);
	if (!answered)
		kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!answered)
		gone_describe(status, n == 0, a);
}

static void job_keep(const struct job *job, int file, int frame_fd, int display)
{
	struct decoder_answer a = {.ticket = job->ticket, .err = ERR_IO};
	struct mono begun = clock_now().mono;
	int pipe_fd[2];

	if (pipe2(pipe_fd, O_CLOEXEC) < 0) {
		text_format(a.text, sizeof(a.text), "no pipe for the decoder");
	} else {
		pid_t child = fork();

		if (child == 0) {
			close(display);
			close(pipe_fd[0]);
			child_main(job, file, frame_fd, pipe_fd[1]);
		}
		close(pipe_fd[1]);
		if (child > 0)
			child_await(child, pipe_fd[0], display, &a);
		else
			text_format(a.text, sizeof(a.text), "no process for the decoder");
		close(pipe_fd[0]);
	}
	a.ticket = job->ticket;
	a.took_ms = (uint32_t)mono_since_ms(clock_now().mono, begun);
	a.text[sizeof(a.text) - 1] = '\0';
	ssize_t n = send(display, &a, sizeof(a), MSG_NOSIGNAL);
	(void)n;
}

union fd_control {
	struct cmsghdr align;
	char room[CMSG_SPACE(2 * sizeof(int))];
};

// One job and its two descriptors. False: the display is gone.
static bool job_receive(int display, struct job *job, int fds[2])
{
	struct iovec iov = {job, sizeof(*job)};
	union fd_control control;
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n;

	do {
		n = recvmsg(display, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	struct cmsghdr *c = n == (ssize_t)sizeof(*job) ? CMSG_FIRSTHDR(&m) : NULL;
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(2 * sizeof(int)))
		return false;
	memcpy(fds, CMSG_DATA(c), 2 * sizeof(int));
	return true;
}

static NORETURN void keeper_main(int display, pid_t parent)
{
	struct job job;
	int fds[2];

	prctl(PR_SET_NAME, "display-decode", 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
	// Ctrl-C in a terminal reaches the whole group; the display decides.
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	while (job_receive(display, &job, fds)) {
		job_keep(&job, fds[0], fds[1], display);
		close(fds[0]);
		close(fds[1]);
	}
	_exit(0);
}

// ---- the display's side

enum err decoder_open(struct decoder *d)
{
	int pair[2];
	pid_t self = getpid();

	*d = (struct decoder){.fd = -1};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set_errno("cannot make the decoder's sockets");
	d->keeper = fork();
	if (d->keeper == 0) {
		close(pair[0]);
		keeper_main(pair[1], self);
	}
	close(pair[1]);
	if (d->keeper < 0) {
		close(pair[0]);
		return err_set_errno("cannot fork the decoder");
	}
	d->fd = pair[0];
	return ERR_OK;
}

void decoder_close(struct decoder *d)
{
	if (d->fd < 0)
		return;
	close(d->fd);
	d->fd = -1;
	while (waitpid(d->keeper, NULL, 0) < 0 && errno == EINTR)
		;
}

static enum err job_send(struct decoder *d, struct job *job, int file, const struct frame_memory *f)
{
	struct iovec iov = {job, sizeof(*job)};
	union fd_control control = {.room = {0}};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fds[2] = {file, f->fd};

	if (d->fd < 0)
		return err_set(ERR_CLOSED, "the decoder is gone");
	job->w = f->frame.w;
	job->h = f->frame.h;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	if (sendmsg(d->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(*job))
		return ERR_OK;
	if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
		return err_set(ERR_FULL, "too many jobs wait for the decoder");
	return err_set(ERR_CLOSED, "the decoder is gone: %s", strerror(errno));
}

enum err decoder_decode(struct decoder *d, uint64_t ticket, int picture_fd,
	const struct frame_memory *frame, const struct picture_wish *wish)
{
	struct job job = {.ticket = ticket, .kind = JOB_DECODE, .wish = *wish};

	return job_send(d, &job, picture_fd, frame);
}

enum err decoder_write_png(
	struct decoder *d, uint64_t ticket, int out_fd, const struct frame_memory *frame)
{
	struct job job = {.ticket = ticket, .kind = JOB_WRITE_PNG};

	return job_send(d, &job, out_fd, frame);
}

enum err decoder_take(struct decoder *d, struct decoder_answer *out, bool *have)
{
	*have = false;
	if (d->fd < 0)
		return err_set(ERR_CLOSED, "the decoder is gone");
	ssize_t n = recv(d->fd, out, sizeof(*out), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(*out)) {
		*have = true;
		return ERR_OK;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return ERR_OK;
	return err_set(ERR_CLOSED, "the decoder is gone");
}
