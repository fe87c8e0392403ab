// The parent's side of ingest: copies the bytes, starts the child, waits with a deadline, and
// believes nothing that the child says without looking at it again.
#include "server/publisher/ingest.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include "proto/digest.h"
#include "server/publisher/ingest_wire.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COPY_BYTES (256 * 1024)

extern char **environ;

static enum err refuse(struct ingested *out, enum picture_word w, const char *text)
{
	out->word = w;
	text_format(out->text, sizeof out->text, "%s", text);
	return ERR_OK;
}

static enum err memory_file(const char *name, int *fd)
{
	int low = memfd_create(name, MFD_CLOEXEC);

	if (low < 0)
		return err_set_errno("no memory file");
	*fd = fcntl(low, F_DUPFD_CLOEXEC, 10); // clear of what the child's descriptors become
	close(low);
	return *fd < 0 ? err_set_errno("no memory file") : ERR_OK;
}

// At most one byte more than is allowed, so that too much is seen.
static enum err input_copy(int in_fd, int to, struct digest *sha, size_t *size)
{
	SCOPED_FREE uint8_t *buffer = malloc(COPY_BYTES);
	struct sha256_stream *s = sha256_new();
	enum err e = buffer ? ERR_OK : err_set(ERR_MEMORY, "no memory to copy a picture");
	ssize_t n = 1;

	*size = 0;
	if (lseek(in_fd, 0, SEEK_SET) < 0 && errno != ESPIPE)
		e = err_set_errno("the picture cannot be read from its beginning");
	while (e == ERR_OK && n > 0 && *size <= PICTURE_INPUT_MAX) {
		n = read(in_fd, buffer, COPY_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			e = err_set_errno("the picture cannot be read");
		if (n > 0) {
			sha256_add(s, buffer, (size_t)n);
			e = fd_write_all(to, buffer, (size_t)n);
			*size += (size_t)n;
		}
	}
	*sha = sha256_end(s);
	sha256_free(s);
	return e;
}

// ---- child

// The decoder is this very file, also when another one has taken its name meanwhile, and under a
// debugger that runs it: it is opened here, and executed by its descriptor.
static enum err child_spawn(const struct ingest_limits *limits, int in_fd, int out_fd, pid_t *pid)
{
	const char *program = limits && limits->program ? limits->program : "/proc/self/fd/4";
	SCOPED_FD int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char name[] = "helio-picture", option[] = INGEST_CHILD_OPTION, sides[32] = "";
	char *argv[] = {name, option, NULL, NULL}, *no_environment[] = {NULL};
	posix_spawn_file_actions_t a;
	posix_spawnattr_t attr;
	sigset_t none;

	if (self < 0)
		return err_set_errno("the decoder cannot be opened");
	if (limits && limits->width > 0) {
		snprintf(sides, sizeof sides, "%ux%u", limits->width, limits->height);
		argv[2] = sides;
	}
	sigemptyset(&none);
	posix_spawn_file_actions_init(&a);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_adddup2(&a, in_fd, 0);
	posix_spawn_file_actions_adddup2(&a, out_fd, 3);
	posix_spawn_file_actions_addopen(&a, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&a, 2, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&a, self, 4);
	posix_spawn_file_actions_addclosefrom_np(&a, 5);
	errno = posix_spawn(pid, program, &a, &attr, argv, no_environment);
	enum err e = errno == 0 ? ERR_OK : err_set_errno("the decoder %s does not start", program);
	posix_spawn_file_actions_destroy(&a);
	posix_spawnattr_destroy(&attr);
	return e;
}

// Without a descriptor for the child (none is left, or a debugger knows of no such thing) it is
// asked every few milliseconds.
static bool child_watch(pid_t pid, uint32_t deadline_ms, int *status)
{
	struct mono end = mono_add_ms(clock_now().mono, deadline_ms);
	const struct timespec nap = {.tv_nsec = 5 * 1000 * 1000};

	while (mono_since_ms(clock_now().mono, end) < 0) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		nanosleep(&nap, NULL);
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	return false;
}

// True when it ended by itself before the deadline.
static bool child_wait(pid_t pid, uint32_t deadline_ms, int *status)
{
	SCOPED_FD int fd = pidfd_open(pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n = -1;

	if (fd < 0)
		return child_watch(pid, deadline_ms, status);
	do
		n = poll(&p, 1, (int)deadline_ms);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	return n > 0;
}

static enum err death_judge(int status, struct ingested *out)
{
	char text[200];

	if (WIFSIGNALED(status)) {
		int sig = WTERMSIG(status);
		if (sig == SIGXCPU || sig == SIGKILL)
			return refuse(
				out, PICTURE_TIMEOUT, "the picture takes too much work to decode");
		if (sig == SIGXFSZ)
			return refuse(out, PICTURE_TOO_LARGE, "the converted picture is too large");
		snprintf(text, sizeof text, "the decoder died of it (signal %d)", sig);
		return refuse(out, PICTURE_DAMAGED, text);
	}
	if (WEXITSTATUS(status) == INGEST_EXIT_CAGE)
		return err_set(ERR_IO, "the decoder cannot lock itself in on this machine");
	snprintf(text, sizeof text, "the decoder gave up (exit %d)", WEXITSTATUS(status));
	return refuse(out, PICTURE_DAMAGED, text);
}

// ---- answer

bool picture_probe(
	struct bytes head, enum picture_format *format, uint32_t *width, uint32_t *height)
{
	const uint8_t *b = head.data;
	size_t at = 2;

	if (head.size >= 24 && memcmp(b, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16) == 0) {
		*format = PICTURE_PNG;
		*width = (uint32_t)b[16] << 24 | (uint32_t)b[17] << 16 | (uint32_t)b[18] << 8 |
			 b[19];
		*height = (uint32_t)b[20] << 24 | (uint32_t)b[21] << 16 | (uint32_t)b[22] << 8 |
			  b[23];
		return true;
	}
	if (head.size < 4 || b[0] != 0xff || b[1] != 0xd8)
		return false;
	while (head.size - at >= 9 && b[at] == 0xff) {
		size_t n = (size_t)b[at + 2] << 8 | b[at + 3];
		if (b[at + 1] == 0xc0 || b[at + 1] == 0xc1) {
			*format = PICTURE_JPEG;
			*height = (uint32_t)b[at + 5] << 8 | b[at + 6];
			*width = (uint32_t)b[at + 7] << 8 | b[at + 8];
			return true;
		}
		if (n < 2 || n + 2 > head.size - at)
			return false;
		at += n + 2;
	}
	return false;
}

// The child was in the hands of the picture: its words count only as far as they are consistent.
static bool answer_is_sound(const struct ingest_header *h, struct bytes file)
{
	enum picture_format format = 0;
	uint32_t width = 0, height = 0;

	if (h->size == 0 || h->size > PICTURE_OUTPUT_MAX ||
		h->size != file.size - INGEST_HEADER_BYTES)
		return false;
	struct bytes picture = bytes_of(file.data + INGEST_HEADER_BYTES, (size_t)h->size);
	return picture_probe(picture, &format, &width, &height) && (uint32_t)format == h->format &&
	       width == h->width && height == h->height && width > 0 && height > 0 &&
	       width <= PICTURE_SIDE_MAX && height <= PICTURE_SIDE_MAX;
}

static enum err picture_take(const struct ingest_header *h, struct bytes file, struct ingested *out)
{
	SCOPED_FD int fd = -1;

	TRY(memory_file("helio-ingested", &fd));
	TRY(fd_write_all(fd, file.data + INGEST_HEADER_BYTES, (size_t)h->size));
	out->word = PICTURE_GOOD;
	out->format = (enum picture_format)h->format;
	out->width = h->width;
	out->height = h->height;
	out->size = (size_t)h->size;
	out->fd = fd;
	fd = -1;
	return ERR_OK;
}

static enum err answer_judge(struct bytes file, struct ingested *out)
{
	struct ingest_header h;

	memcpy(&h, file.data, sizeof h);
	h.text[sizeof h.text - 1] = 0;
	for (char *c = h.text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	if (h.magic != INGEST_MAGIC || h.word >= PICTURE_WORD_COUNT)
		return refuse(out, PICTURE_DAMAGED, "the decoder's answer makes no sense");
	if (h.word != PICTURE_GOOD)
		return refuse(out, (enum picture_word)h.word, h.text);
	if (!answer_is_sound(&h, file))
		return refuse(out, PICTURE_DAMAGED, "the decoder's answer contradicts itself");
	return picture_take(&h, file, out);
}

static enum err answer_read(int fd, struct ingested *out)
{
	off_t size = lseek(fd, 0, SEEK_END);

	if (size < (off_t)sizeof(struct ingest_header) ||
		size > (off_t)PICTURE_OUTPUT_MAX + INGEST_HEADER_BYTES)
		return refuse(out, PICTURE_DAMAGED, "the decoder gave no answer");
	void *map = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return err_set_errno("the decoder's answer cannot be mapped");
	enum err e = answer_judge(bytes_of(map, (size_t)size), out);
	munmap(map, (size_t)size);
	return e;
}

enum err ingest_run(int in_fd, const struct ingest_limits *limits, struct ingested *out)
{
	uint32_t deadline_ms =
		limits && limits->deadline_ms ? limits->deadline_ms : INGEST_DEADLINE_MS;
	SCOPED_FD int copy = -1;
	SCOPED_FD int answer = -1;
	size_t size = 0;
	pid_t pid = -1;
	int status = 0;

	*out = (struct ingested){.fd = -1};
	TRY(memory_file("helio-picture", &copy));
	TRY(memory_file("helio-answer", &answer));
	TRY(input_copy(in_fd, copy, &out->original, &size));
	if (size > PICTURE_INPUT_MAX)
		return refuse(out, PICTURE_TOO_LARGE, "the file has more than 64 MiB");
	TRY(child_spawn(limits, copy, answer, &pid));
	if (!child_wait(pid, deadline_ms, &status))
		return refuse(out, PICTURE_TIMEOUT, "the picture takes too long to decode");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return death_judge(status, out);
	return answer_read(answer, out);
}

enum err ingested_hash(const struct ingested *i, struct digest *out)
{
	void *map = mmap(NULL, i->size, PROT_READ, MAP_PRIVATE, i->fd, 0);

	if (map == MAP_FAILED)
		return err_set_errno("cannot map a picture");
	*out = sha256(map, i->size);
	munmap(map, i->size);
	return ERR_OK;
}

void ingested_close(struct ingested *i)
{
	if (i->fd >= 0)
		close(i->fd);
	i->fd = -1;
}
