// helio-sim: a fleet under a virtual clock and a seed; see sim.h.
//
//   helio-sim --seed N | --seeds A..B  [--agents N] [--beats N] [--faults WORD,WORD...]
//             [--twice] [--trace] [--store FILE] [--break WORD] [--jobs N]
//
// Faults: loss dup reorder delay damage link broker server stall store agent disk torn wipe clock
// doer restore full storm revoke; "all", "way" (loss dup reorder delay doer: nobody may disagree),
// "none". A leading minus takes one away: all,-wipe. Without --faults each seed chooses its own.
// --twice runs each seed twice: the trace hashes must be equal. --break makes a model wrong on
// purpose (disk resend fetch values command report state outcome kill pointer lost again open
// accord ids snapshot): the invariants must say so. --store
// leaves the server's record at the end, for other tools. --jobs: so many seeds at a time, each in
// a process of its own; without it as many as there are processors.
//
// One line for each seed that fails, with what was violated and how to run it again; one line at
// the end. 0: all held. 1: something was violated. 2: usage.
#include "tests/fleet/sim/sim.h"

#include "proto/base/log.h"
#include <getopt.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct word {
	const char *word;
	unsigned value;
};

static const struct word faults[] = {
	{"loss", FAULT_LOSS},
	{"dup", FAULT_DUP},
	{"reorder", FAULT_REORDER},
	{"delay", FAULT_DELAY},
	{"damage", FAULT_DAMAGE},
	{"link", FAULT_LINK},
	{"broker", FAULT_BROKER},
	{"server", FAULT_SERVER},
	{"stall", FAULT_STALL},
	{"store", FAULT_STORE},
	{"agent", FAULT_AGENT},
	{"disk", FAULT_DISK},
	{"torn", FAULT_TORN},
	{"wipe", FAULT_WIPE},
	{"clock", FAULT_CLOCK},
	{"doer", FAULT_DOER},
	{"restore", FAULT_RESTORE},
	{"full", FAULT_FULL},
	{"storm", FAULT_STORM},
	{"revoke", FAULT_REVOKE},
	{"restart", FAULT_SERVER | FAULT_AGENT | FAULT_BROKER},
	{"way", FAULTS_OF_THE_WAY},
	{"all", FAULTS_ALL},
	{"none", 0},
	{NULL, 0},
};

static const struct word breakages[] = {
	{"disk", BREAK_DISK},
	{"resend", BREAK_RESEND},
	{"fetch", BREAK_FETCH},
	{"values", BREAK_VALUES},
	{"command", BREAK_COMMAND},
	{"report", BREAK_REPORT},
	{"state", BREAK_STATE},
	{"outcome", BREAK_OUTCOME},
	{"kill", BREAK_KILL},
	{"pointer", BREAK_POINTER},
	{"lost", BREAK_LOST},
	{"again", BREAK_AGAIN},
	{"open", BREAK_OPEN},
	{"accord", BREAK_ACCORD},
	{"ids", BREAK_IDS},
	{"snapshot", BREAK_SNAPSHOT},
	{NULL, 0},
};

struct options {
	struct sim_config config;
	uint64_t first, last;
	bool faults_given, twice;
	unsigned jobs;
	struct sim_result sum;
	uint64_t failed;
	const char *faults_text, *break_text;
};

static bool word_find(const struct word *words, const char *word, size_t length, unsigned *out)
{
	for (; words->word; words++)
		if (strlen(words->word) == length && strncmp(words->word, word, length) == 0) {
			*out = words->value;
			return true;
		}
	return false;
}

static bool faults_parse(const char *text, unsigned *out)
{
	*out = 0;
	while (*text) {
		size_t length = strcspn(text, ",");
		bool minus = *text == '-';
		unsigned bits = 0;
		if (!word_find(faults, text + minus, length - minus, &bits))
			return false;
		*out = minus ? *out & ~bits : *out | bits;
		text += length + (text[length] == ',');
	}
	return true;
}

// Each seed has its own weather: one in four only what a network does, the others a few faults
// together, and now and then all of them.
static unsigned faults_of_seed(uint64_t seed)
{
	struct rng r = {seed * 77 + 5};
	unsigned out = 0;

	if (rng_chance(&r, 250))
		return FAULTS_OF_THE_WAY & ((unsigned)rng_next(&r) | FAULT_LOSS);
	if (rng_chance(&r, 200))
		return FAULTS_ALL & ~(unsigned)(FAULT_RESTORE | FAULT_TORN | FAULT_WIPE);
	if (rng_chance(&r, 200))
		return FAULTS_ALL;
	for (unsigned bit = 1; bit <= FAULTS_ALL; bit <<= 1)
		if (rng_chance(&r, 300))
			out |= bit;
	return out;
}

static void faults_print(unsigned bits)
{
	const char *comma = "";

	if (bits == 0)
		printf("none");
	for (const struct word *w = faults; w->value != (FAULT_SERVER | FAULT_AGENT | FAULT_BROKER);
		w++)
		if (bits & w->value) {
			printf("%s%s", comma, w->word);
			comma = ",";
		}
}

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void failure_print(const struct options *o, const struct sim_config *c, const char *what)
{
	printf("seed %llu violated: %s\n  again: helio-sim --seed %llu --agents %u --beats %u "
	       "--faults ",
		(unsigned long long)c->seed, what, (unsigned long long)c->seed, c->agents,
		c->beats);
	faults_print(c->faults);
	printf("%s%s --trace\n", o->break_text ? " --break " : "",
		o->break_text ? o->break_text : "");
	fflush(stdout);
}

static struct sim_config config_of(const struct options *o, uint64_t seed)
{
	struct sim_config c = o->config;

	c.seed = seed;
	if (!o->faults_given)
		c.faults = faults_of_seed(seed);
	return c;
}

static void seed_run(void *ctx, uint64_t seed, struct sim_result *r)
{
	const struct options *o = ctx;
	struct sim_config c = config_of(o, seed);
	struct sim_result again;

	sim_run(&c, r);
	if (!o->twice || r->violated[0])
		return;
	sim_run(&c, &again);
	r->heartbeats += again.heartbeats;
	if (again.hash != r->hash)
		snprintf(r->violated, sizeof(r->violated),
			"the second run of the seed was another: %016llx, then %016llx",
			(unsigned long long)r->hash, (unsigned long long)again.hash);
}

static void seed_take(void *ctx, uint64_t seed, const struct sim_result *r)
{
	struct options *o = ctx;
	struct sim_config c = config_of(o, seed);

	o->sum.heartbeats += r->heartbeats;
	o->sum.messages += r->messages;
	o->sum.operations += r->operations;
	o->sum.starts += r->starts;
	o->sum.virtual_ms += r->virtual_ms;
	o->sum.hash = o->sum.hash * 31 + r->hash;
	o->failed += r->violated[0] != '\0';
	if (r->violated[0])
		failure_print(o, &c, r->violated);
}

static int run(struct options *o)
{
	const struct sim_result *sum = &o->sum;
	double began = seconds_now();

	jobs_run(&(struct job_plan){o->first, o->last, o, seed_run, seed_take}, o->jobs);
	double took = seconds_now() - began;
	printf("%llu seeds of %u agents, %llu failed: %llu heartbeats (%.0f/s), %llu messages, "
	       "%llu operations, %llu server starts, %.1f virtual hours, %.1f s, trace %016llx\n",
		(unsigned long long)(o->last - o->first + 1), o->config.agents,
		(unsigned long long)o->failed, (unsigned long long)sum->heartbeats,
		(double)sum->heartbeats / took, (unsigned long long)sum->messages,
		(unsigned long long)sum->operations, (unsigned long long)sum->starts,
		(double)sum->virtual_ms / 3600000, took, (unsigned long long)sum->hash);
	return o->failed ? 1 : 0;
}

static bool seeds_parse(const char *text, struct options *o)
{
	char *end;

	o->first = o->last = strtoull(text, &end, 10);
	if (end == text)
		return false;
	if (strncmp(end, "..", 2) != 0)
		return *end == '\0';
	const char *second = end + 2;
	o->last = strtoull(second, &end, 10);
	return end != second && *end == '\0' && o->last >= o->first;
}

static bool option_take(struct options *o, int which, const char *value)
{
	unsigned found = 0;

	switch (which) {
	case 's':
		return seeds_parse(value, o);
	case 'a':
		o->config.agents = (uint32_t)strtoul(value, NULL, 10);
		return o->config.agents >= 1 && o->config.agents <= 100000;
	case 'b':
		o->config.beats = (uint32_t)strtoul(value, NULL, 10);
		return o->config.beats >= 1;
	case 'f':
		o->faults_given = true;
		return faults_parse(value, &o->config.faults);
	case 'x':
		o->break_text = value;
		if (!word_find(breakages, value, strlen(value), &found))
			return false;
		o->config.broken = (enum sim_breakage)found;
		return true;
	case 'j':
		o->jobs = (unsigned)strtoul(value, NULL, 10);
		return o->jobs >= 1 && o->jobs <= JOBS_MAX;
	case 'o':
		o->config.store = value;
		return true;
	case 't':
		o->config.trace = true;
		return true;
	case '2':
		o->twice = true;
		return true;
	case 'v':
		log_set_level(LOG_DEBUG);
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 's'},
		{"agents", required_argument, NULL, 'a'},
		{"beats", required_argument, NULL, 'b'},
		{"faults", required_argument, NULL, 'f'},
		{"break", required_argument, NULL, 'x'},
		{"store", required_argument, NULL, 'o'},
		{"jobs", required_argument, NULL, 'j'},
		{"trace", no_argument, NULL, 't'},
		{"twice", no_argument, NULL, '2'},
		{"log", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	struct options o = {.config = {.agents = 10, .beats = 100},
		.first = 1,
		.last = 1,
		.jobs = jobs_of_machine()};

	// What one run gives back the next one takes.
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 28);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
	log_init("helio-sim", LOG_ERROR);
	log_set_level((enum log_level)(LOG_ERROR + 1)); // what goes wrong here is meant to
	for (int which; (which = getopt_long(argc, argv, "", long_options, NULL)) != -1;)
		if (!option_take(&o, which, optarg)) {
			fprintf(stderr, "helio-sim: see the head of tests/fleet/sim/main.c\n");
			return 2;
		}
	if (o.config.trace || o.config.store)
		o.jobs = 1; // one after the other
	return run(&o);
}
