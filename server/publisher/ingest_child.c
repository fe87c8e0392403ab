// The child that decodes. Descriptor 0 is the picture, 3 the answer: a header of one page, then the
// converted picture. It gives up everything before it looks at the first byte: limits of memory,
// time, file size and descriptors, the right to gain rights, and all system calls but the few that
// a decoder needs; another one ends it on the spot.
#include "proto/base/file.h"
#include "server/publisher/colour.h"
#include "server/publisher/ingest.h"
#include "server/publisher/ingest_wire.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1 // maps terabytes and needs calls of its own
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#define OUR_ARCH 0 // no filter: limits and no_new_privs only
#endif

static void limit(__rlimit_resource_t what, rlim_t value)
{
	struct rlimit r = {.rlim_cur = value, .rlim_max = value};

	if (setrlimit(what, &r) != 0)
		_exit(INGEST_EXIT_CAGE);
}

// Calls of malloc, memory files, the clock, and the end.
static const unsigned calls_allowed[] = {SYS_read, SYS_write, SYS_pwrite64, SYS_lseek, SYS_close,
	SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_futex,
	SYS_clock_gettime, SYS_getrandom, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_exit,
	SYS_exit_group, SYS_ftruncate};
#define CALLS (sizeof calls_allowed / sizeof calls_allowed[0])

static void seccomp_enter(void)
{
	struct sock_filter f[CALLS + 6];
	size_t n = 0;

	f[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	f[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < CALLS; i++)
		f[n++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, calls_allowed[i], (uint8_t)(CALLS - i), 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {.len = (unsigned short)n, .filter = f};
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(INGEST_EXIT_CAGE);
}

static void cage_enter(void)
{
	if (close_range(4, ~0u, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		_exit(INGEST_EXIT_CAGE);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_CPU, INGEST_CPU_S);
	limit(RLIMIT_FSIZE, PICTURE_OUTPUT_MAX + INGEST_HEADER_BYTES);
	limit(RLIMIT_NOFILE, 4);
	if (UNDER_SANITIZER)
		return;
	limit(RLIMIT_AS, INGEST_MEMORY_BYTES);
	if (OUR_ARCH != 0)
		seccomp_enter();
}

static void answer_write(const struct picture *p, enum picture_word word)
{
	struct ingest_header h = {.magic = INGEST_MAGIC,
		.word = (uint32_t)word,
		.format = (uint32_t)p->out_format,
		.width = p->width,
		.height = p->height,
		.size = word == PICTURE_GOOD ? p->out.size : 0};

	memcpy(h.text, p->text, sizeof h.text);
	if (word == PICTURE_GOOD &&
		fd_pwrite_all(3, p->out.data, p->out.size, INGEST_HEADER_BYTES) != ERR_OK)
		_exit(INGEST_EXIT_ANSWER);
	if (fd_pwrite_all(3, &h, sizeof h, 0) != ERR_OK)
		_exit(INGEST_EXIT_ANSWER);
}

NORETURN static void child_run(uint32_t width, uint32_t height)
{
	struct picture p = {0};
	struct stat s;

	if (fstat(0, &s) != 0 || s.st_size < 0 || (uint64_t)s.st_size > PICTURE_INPUT_MAX)
		_exit(INGEST_EXIT_CAGE);
	size_t size = (size_t)s.st_size;
	const void *data = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, 0, 0) : NULL;
	if (data == MAP_FAILED)
		_exit(INGEST_EXIT_CAGE);
	colour_ready();
	cage_enter();
	buf_init(&p.out, PICTURE_OUTPUT_MAX);
	p.in = bytes_of(data, size);
	answer_write(&p, width ? picture_resize(&p, width, height) : picture_convert(&p));
	_exit(0);
}

void ingest_child_enter(int argc, char **argv)
{
	unsigned width = 0, height = 0;

	if (argc < 2 || argc > 3 || strcmp(argv[1], INGEST_CHILD_OPTION) != 0)
		return;
	if (argc == 3 &&
		(sscanf(argv[2], "%ux%u", &width, &height) != 2 || width == 0 || height == 0 ||
			width > PICTURE_SIDE_MAX || height > PICTURE_SIDE_MAX))
		_exit(INGEST_EXIT_CAGE);
	child_run(width, height);
}
