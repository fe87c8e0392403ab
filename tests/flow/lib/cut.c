// Runs a program and ends it by SIGKILL before its N-th system call that changes a file: counted
// over all threads and children together, so that a row of N from 1 on leaves no moment out.
//
//   cut N REPORT FOLDER PROGRAM ARG...     N 0: only counted
//   cut N:full ...     from the N-th on, what needs space fails with ENOSPC instead
//   cut N:sync ...     the N-th fails with EIO, if it is a sync
//   cut N:out ...      of the calls that look at FOLDER, or at a file below it, all from the N-th
//   on
//                      fail with EIO: what lies there was pulled out
//
// FOLDER: writes and syncs count only on files below it. REPORT gets the names of the calls that
// were counted, one a line, and of a rename =NAME behind it. The exit code is the program's, 137
// when it was killed.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ALWAYS,
	BY_FD,
	BY_FLAGS,
	IF_THERE,
	IF_NOT_THERE,
	BELOW // a path, beside the descriptor of the folder that it begins in
};

static const struct row {
	long number;
	const char *name;
	int kind, argument; // argument: of the descriptor, the flags, or the path
} rows[] = {
	{SYS_write, "write", BY_FD, 0},
	{SYS_pwrite64, "pwrite64", BY_FD, 0},
	{SYS_writev, "writev", BY_FD, 0},
	{SYS_pwritev, "pwritev", BY_FD, 0},
	{SYS_copy_file_range, "copy_file_range", BY_FD, 2},
	{SYS_sendfile, "sendfile", BY_FD, 0},
	{SYS_fsync, "fsync", BY_FD, 0},
	{SYS_fdatasync, "fdatasync", BY_FD, 0},
	{SYS_syncfs, "syncfs", BY_FD, 0},
	{SYS_ftruncate, "ftruncate", BY_FD, 0},
	{SYS_fallocate, "fallocate", BY_FD, 0},
	{SYS_fchmod, "fchmod", BY_FD, 0},
	{SYS_utimensat, "utimensat", ALWAYS, 0},
	{SYS_chmod, "chmod", ALWAYS, 0},
	{SYS_fchmodat, "fchmodat", ALWAYS, 0},
	{SYS_rename, "rename", ALWAYS, 0},
	{SYS_renameat, "renameat", ALWAYS, 0},
	{SYS_renameat2, "renameat2", ALWAYS, 0},
	{SYS_link, "link", ALWAYS, 0},
	{SYS_linkat, "linkat", ALWAYS, 0},
	{SYS_symlink, "symlink", ALWAYS, 0},
	{SYS_symlinkat, "symlinkat", ALWAYS, 0},
	{SYS_unlink, "unlink", IF_THERE, 0},
	{SYS_unlinkat, "unlinkat", ALWAYS, 0},
	{SYS_mkdir, "mkdir", IF_NOT_THERE, 0},
	{SYS_mkdirat, "mkdirat", ALWAYS, 0},
	{SYS_rmdir, "rmdir", ALWAYS, 0},
	{SYS_truncate, "truncate", ALWAYS, 0},
	{SYS_open, "open", BY_FLAGS, 1},
	{SYS_openat, "openat", BY_FLAGS, 2},
};

// Of N:out.
static const struct row looks[] = {
	{SYS_open, "open", BELOW, 0},
	{SYS_openat, "openat", BELOW, 1},
	{SYS_openat2, "openat2", BELOW, 1},
	{SYS_read, "read", BY_FD, 0},
	{SYS_readv, "readv", BY_FD, 0},
	{SYS_pread64, "pread64", BY_FD, 0},
	{SYS_preadv, "preadv", BY_FD, 0},
	{SYS_getdents64, "getdents64", BY_FD, 0},
	{SYS_copy_file_range, "copy_file_range", BY_FD, 0},
	{SYS_sendfile, "sendfile", BY_FD, 1},
	{SYS_stat, "stat", BELOW, 0},
	{SYS_lstat, "lstat", BELOW, 0},
	{SYS_fstat, "fstat", BY_FD, 0},
	{SYS_newfstatat, "newfstatat", BELOW, 1},
	{SYS_statx, "statx", BELOW, 1},
	{SYS_mkdirat, "mkdirat", BELOW, 1},
	{SYS_write, "write", BY_FD, 0},
	{SYS_fsync, "fsync", BY_FD, 0},
	{SYS_renameat, "renameat", BELOW, 1},
	{SYS_unlinkat, "unlinkat", BELOW, 1},
};

static long wanted, counted;
static const char *how = "";
static struct {
	pid_t tid;
	int error;
} failing[64]; // calls that the kernel does not do, until they return
static const char *folder;
static FILE *report;
static pid_t leader;

static void fail(const char *what)
{
	perror(what);
	exit(125);
}

static int is_below(pid_t tid, int fd)
{
	char link[64], path[PATH_MAX];
	(void)snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)tid, fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return 0;
	path[n] = '\0';
	return strncmp(path, folder, strlen(folder)) == 0;
}

// Of the traced program's memory; "" when it cannot be read.
static void path_read(pid_t tid, unsigned long long address, char path[PATH_MAX])
{
	char name[64];
	(void)snprintf(name, sizeof name, "/proc/%d/mem", (int)tid);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, path, PATH_MAX - 1, (off_t)address);
	if (fd >= 0)
		close(fd);
	path[n > 0 ? n : 0] = '\0';
}

// 1: yes, 0: no, -1: not an absolute path, nobody knows.
static int is_there(pid_t tid, unsigned long long address)
{
	char path[PATH_MAX];
	struct stat st;
	path_read(tid, address, path);
	return path[0] != '/' ? -1 : lstat(path, &st) == 0;
}

// The call, and of a rename the new name.
static void tell(pid_t tid, const struct row *r, const struct __ptrace_syscall_info *info)
{
	char path[PATH_MAX] = "";
	if (strncmp(r->name, "rename", 6) == 0)
		path_read(tid, info->entry.args[r->number == SYS_rename ? 1 : 3], path);
	const char *base = strrchr(path, '/');
	(void)fprintf(report, "%s%s%s\n", r->name, path[0] ? "=" : "", base ? base + 1 : path);
}

// The folder itself, too. Of stat and open, which have no folder, the path is absolute here.
static int looks_below(pid_t tid, const struct row *r, const struct __ptrace_syscall_info *info)
{
	char path[PATH_MAX];
	path_read(tid, info->entry.args[r->argument], path);
	if (path[0] == '/')
		return strncmp(path, folder, strlen(folder)) == 0;
	return r->argument == 1 && is_below(tid, (int)info->entry.args[0]);
}

static const struct row *row_of(pid_t tid, const struct __ptrace_syscall_info *info)
{
	int out = strcmp(how, ":out") == 0;
	const struct row *table = out ? looks : rows;
	size_t size = out ? sizeof looks / sizeof looks[0] : sizeof rows / sizeof rows[0];

	for (size_t i = 0; i < size; i++) {
		const struct row *r = &table[i];
		if (r->number != (long)info->entry.nr)
			continue;
		unsigned long long a = info->entry.args[r->argument];
		int counts = r->kind == ALWAYS || (r->kind == BY_FD && is_below(tid, (int)a)) ||
			     (r->kind == BY_FLAGS && (a & (O_CREAT | O_TRUNC)) != 0) ||
			     (r->kind == IF_THERE && is_there(tid, a) != 0) ||
			     (r->kind == IF_NOT_THERE && is_there(tid, a) != 1) ||
			     (r->kind == BELOW && looks_below(tid, r, info));
		return counts ? r : NULL;
	}
	return NULL;
}

#ifdef __x86_64__
static void skip_call(pid_t tid, int error)
{
	for (size_t i = 0; i < sizeof failing / sizeof failing[0]; i++) {
		if (failing[i].tid != 0)
			continue;
		failing[i].tid = tid;
		failing[i].error = error;
		(void)ptrace(PTRACE_POKEUSER, tid, offsetof(struct user, regs.orig_rax), -1L);
		return;
	}
}

static void call_ends(pid_t tid)
{
	for (size_t i = 0; i < sizeof failing / sizeof failing[0]; i++) {
		if (failing[i].tid != tid)
			continue;
		failing[i].tid = 0;
		(void)ptrace(PTRACE_POKEUSER, tid, offsetof(struct user, regs.rax),
			(long)-failing[i].error);
	}
}
#else
static void skip_call(pid_t tid, int error)
{
	(void)tid;
	(void)error;
	(void)fprintf(stderr, "cut: calls can be failed on x86-64 only\n");
	exit(124);
}

static void call_ends(pid_t tid)
{
	(void)tid;
}
#endif

static int needs_space(const char *name)
{
	static const char *const words[] = {
		"write", "open", "mkdir", "link", "symlink", "copy_file_range", "fallocate"};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		const char *at = strstr(name, words[i]);
		if (at != NULL && strncmp(name, "unlink", 6) != 0)
			return 1;
	}
	return 0;
}

// True: it ends here.
static int count(pid_t tid)
{
	struct __ptrace_syscall_info info;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) <= 0)
		return 0;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		call_ends(tid);
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return 0;
	const struct row *r = row_of(tid, &info);
	if (r == NULL)
		return 0;
	tell(tid, r, &info);
	counted++;
	if (strcmp(how, ":full") == 0 && counted >= wanted && needs_space(r->name))
		skip_call(tid, ENOSPC);
	if (strcmp(how, ":out") == 0 && wanted != 0 && counted >= wanted)
		skip_call(tid, EIO);
	if (strcmp(how, ":sync") == 0 && counted == wanted && strstr(r->name, "sync") != NULL)
		skip_call(tid, EIO);
	return how[0] == '\0' && counted == wanted;
}

static int signal_to_pass(int status)
{
	int signal = WSTOPSIG(status);
	if (status >> 16 != 0 || signal == (SIGTRAP | 0x80) || signal == SIGTRAP)
		return 0;
	return signal;
}

// Returns the leader's wait status.
static int follow(void)
{
	for (;;) {
		int status;
		pid_t tid = waitpid(-1, &status, __WALL);
		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			fail("cut: waitpid");
		if (!WIFSTOPPED(status)) {
			if (tid == leader)
				return status;
			continue;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80) && count(tid))
			(void)kill(leader, SIGKILL);
		else if (status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP)
			(void)ptrace(PTRACE_LISTEN, tid, 0, 0);
		else
			(void)ptrace(PTRACE_SYSCALL, tid, 0, (long)signal_to_pass(status));
	}
}

static void pass_on(int signal)
{
	(void)kill(leader, signal);
}

static void start(char **argv)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
			     PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	int gate[2], status;
	char byte;
	if (pipe(gate) != 0 || (leader = fork()) < 0)
		fail("cut: fork");
	if (leader == 0) {
		close(gate[1]);
		if (read(gate[0], &byte, 1) != 1)
			_exit(125);
		close(gate[0]);
		execv(argv[0], argv);
		perror(argv[0]);
		_exit(125);
	}
	close(gate[0]);
	if (ptrace(PTRACE_SEIZE, leader, 0, options) != 0)
		fail("cut: ptrace");
	if (ptrace(PTRACE_INTERRUPT, leader, 0, 0) != 0 || waitpid(leader, &status, __WALL) < 0)
		fail("cut: interrupt");
	signal(SIGTERM, pass_on);
	(void)ptrace(PTRACE_SYSCALL, leader, 0, 0);
	if (write(gate[1], "g", 1) != 1)
		fail("cut: gate");
	close(gate[1]);
}

int main(int argc, char **argv)
{
	if (argc < 5) {
		(void)fprintf(stderr, "usage: cut N REPORT FOLDER PROGRAM ARG...\n");
		return 125;
	}
	char *end;
	wanted = strtol(argv[1], &end, 10);
	how = end;
	folder = argv[3];
	report = fopen(argv[2], "we");
	if (report == NULL)
		fail("cut: report");
	start(argv + 4);
	int status = follow();
	if (fclose(report) != 0)
		fail("cut: report");
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
