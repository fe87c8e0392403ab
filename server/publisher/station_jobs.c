// Jobs that a station is given: they wait in a queue, one takes the place of another of the same
// package, and the one that runs ends within an object when it is replaced or paused.
#include "station_inside.h"

#include "delta_store.h"
#include "proto/base/log.h"
#include <stdlib.h>
#include <string.h>

static struct job job_of(enum job_kind kind, const struct digest *package, uint64_t directive_id)
{
	return (struct job){
		.kind = kind, .package = *package, .key = *package, .directive_id = directive_id};
}

bool station_has(const struct station *s, enum job_kind kind, const struct digest *package,
	uint64_t directive_id)
{
	for (size_t i = 0; i < s->job_count; i++)
		if (s->jobs[i].kind == kind && s->jobs[i].directive_id == directive_id &&
			digest_equal(&s->jobs[i].key, package))
			return i > 0 || !s->run.replaced;
	return false;
}

static enum err job_add(struct station *s, const struct job *j)
{
	for (size_t i = s->job_count; i-- > 1;)
		if (digest_equal(&s->jobs[i].key, &j->key))
			station_job_drop(s, i);
	if (s->job_count > 0 && digest_equal(&s->jobs[0].key, &j->key))
		s->run.replaced = true;
	if (s->job_count == JOBS_MAX)
		return err_set(ERR_FULL, "%d packages wait for broker %s", JOBS_MAX, s->broker);
	s->jobs[s->job_count++] = *j;
	s->progress_at = clock_now().mono;
	if (!s->link)
		TRY(station_link_start(s));
	station_advance(s);
	return ERR_OK;
}

enum err station_transmit(struct station *s, const struct digest *package, uint64_t directive_id,
	const struct digest *resend, size_t resend_count)
{
	struct job j = job_of(JOB_TRANSMIT, package, directive_id);

	if (resend_count > 0) {
		j.resend = calloc(resend_count, sizeof *j.resend);
		if (!j.resend)
			return err_set(ERR_MEMORY, "no memory for a list of objects");
		memcpy(j.resend, resend, resend_count * sizeof *j.resend);
		j.resend_count = resend_count;
	}
	enum err e = job_add(s, &j);
	if (e == ERR_FULL)
		free(j.resend);
	return e;
}

enum err station_withdraw(struct station *s, const struct digest *package, uint64_t directive_id)
{
	struct job j = job_of(JOB_WITHDRAW, package, directive_id);

	return job_add(s, &j);
}

void station_pause(struct station *s, const struct digest *package)
{
	for (size_t i = s->job_count; i-- > 0;) {
		const struct job *j = &s->jobs[i];
		if (j->kind != JOB_TRANSMIT || !digest_is_zero(&j->base) ||
			!digest_equal(&j->key, package) || (i == 0 && s->run.replaced))
			continue;
		log_info("PUBLISH-PAUSED", "broker=%s package=%s sent_bytes=%llu", s->broker,
			digest_short(package),
			(unsigned long long)(i == 0 ? s->run.sent_bytes : 0));
		if (i == 0)
			s->run.replaced = true;
		else
			station_job_drop(s, i);
	}
	station_advance(s);
}

enum err station_delta(struct station *s, enum job_kind kind, const struct digest *package,
	const struct digest *base)
{
	struct job j = job_of(kind, package, 0);

	j.base = *base;
	j.key = delta_id(package, base);
	return station_has(s, kind, &j.key, 0) ? ERR_OK : job_add(s, &j);
}

enum err station_command(struct station *s, const struct digest *sha256, struct bytes envelope)
{
	struct job j = job_of(JOB_COMMAND, sha256, 0);

	j.envelope_size = envelope.size;
	j.envelope = malloc(envelope.size + 1);
	if (!j.envelope)
		return err_set(ERR_MEMORY, "no memory for a command");
	if (envelope.size > 0)
		memcpy(j.envelope, envelope.data, envelope.size);
	enum err e = job_add(s, &j);
	if (e == ERR_FULL)
		free(j.envelope);
	return e;
}
