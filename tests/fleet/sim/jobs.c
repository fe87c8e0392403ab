// Seeds are independent: each processor runs its share of them in a process of its own. Job i of n
// runs the seeds i, i + n, i + 2n ... and writes each result into its pipe; they are taken in the
// order of the seeds, so that what is printed does not depend on how many jobs there were.
#include "tests/fleet/sim/sim.h"

#include "proto/base/file.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
	pid_t pid;
	int results;
};

unsigned jobs_of_machine(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return count < JOBS_MAX ? (unsigned)count : JOBS_MAX;
}

static bool result_read(int fd, struct sim_result *r)
{
	char *at = (char *)r;

	for (size_t left = sizeof(*r); left;) {
		ssize_t n = read(fd, at, left);
		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		if (n > 0) {
			at += n;
			left -= (size_t)n;
		}
	}
	return true;
}

static void job_run(const struct job_plan *plan, unsigned number, unsigned count, int fd)
{
	struct sim_result r;

	for (uint64_t seed = plan->first + number; seed <= plan->last; seed += count) {
		plan->run(plan->ctx, seed, &r);
		if (fd_write_all(fd, &r, sizeof(r)) != ERR_OK)
			break; // nobody reads any more
	}
}

static void job_start(
	const struct job_plan *plan, struct job *jobs, unsigned number, unsigned count)
{
	int ends[2];

	if (pipe(ends) != 0)
		abort();
	fflush(stdout);
	jobs[number] = (struct job){.pid = fork(), .results = ends[0]};
	if (jobs[number].pid < 0)
		abort();
	if (jobs[number].pid == 0) {
		for (unsigned i = 0; i <= number; i++)
			close(jobs[i].results);
		job_run(plan, number, count, ends[1]);
		_exit(0);
	}
	close(ends[1]);
}

void jobs_run(const struct job_plan *plan, unsigned count)
{
	struct job jobs[JOBS_MAX];
	struct sim_result r;

	if (count > plan->last - plan->first + 1)
		count = (unsigned)(plan->last - plan->first + 1);
	for (unsigned i = 0; i < count && count > 1; i++)
		job_start(plan, jobs, i, count);
	for (uint64_t seed = plan->first; seed <= plan->last; seed++) {
		if (count == 1)
			plan->run(plan->ctx, seed, &r);
		else if (!result_read(jobs[(seed - plan->first) % count].results, &r))
			r = (struct sim_result){.violated = "the process that ran it is gone"};
		plan->take(plan->ctx, seed, &r);
	}
	for (unsigned i = 0; i < count && count > 1; i++) {
		close(jobs[i].results);
		(void)waitpid(jobs[i].pid, NULL, 0);
	}
}
