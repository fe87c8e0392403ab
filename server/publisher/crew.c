// See crew.h.
#include "server/publisher/crew.h"
#include <stdlib.h>
#include <uv.h>

struct hand {
	struct crew *crew;
	uv_thread_t thread;
	size_t member;
};

struct crew {
	struct hand hands[CREW_MAX]; // beside the caller
	size_t count;
	uv_mutex_t mutex;
	uv_cond_t begun, ended;
	uint64_t round;
	size_t busy;
	bool over;
	// of the round
	crew_step *step;
	void *ctx;
	size_t steps;
	_Atomic size_t next;
};

static void steps_take(struct crew *c, size_t member)
{
	for (size_t i = c->next++; i < c->steps; i = c->next++)
		c->step(c->ctx, i, member);
}

static bool round_await(struct crew *c, uint64_t *seen)
{
	uv_mutex_lock(&c->mutex);
	while (c->round == *seen && !c->over)
		uv_cond_wait(&c->begun, &c->mutex);
	*seen = c->round;
	bool over = c->over;
	uv_mutex_unlock(&c->mutex);
	return !over;
}

static void hand_main(void *arg)
{
	struct hand *h = arg;
	struct crew *c = h->crew;
	uint64_t seen = 0;

	while (round_await(c, &seen)) {
		steps_take(c, h->member);
		uv_mutex_lock(&c->mutex);
		if (--c->busy == 0)
			uv_cond_signal(&c->ended);
		uv_mutex_unlock(&c->mutex);
	}
}

static size_t members_of(size_t wanted)
{
	size_t processors = uv_available_parallelism();

	wanted = wanted < CREW_MAX ? wanted : CREW_MAX;
	return processors < wanted ? processors : wanted;
}

enum err crew_new(size_t members, struct crew **out)
{
	struct crew *c = calloc(1, sizeof *c);

	if (!c)
		return err_set(ERR_MEMORY, "no memory for threads");
	if (uv_mutex_init(&c->mutex) != 0 || uv_cond_init(&c->begun) != 0 ||
		uv_cond_init(&c->ended) != 0)
		abort(); // out of memory
	for (size_t i = 1; i < members_of(members); i++) {
		struct hand *h = &c->hands[c->count];
		*h = (struct hand){.crew = c, .member = c->count + 1};
		if (uv_thread_create(&h->thread, hand_main, h) != 0)
			break; // fewer do it too
		c->count++;
	}
	*out = c;
	return ERR_OK;
}

void crew_free(struct crew *c)
{
	if (!c)
		return;
	uv_mutex_lock(&c->mutex);
	c->over = true;
	uv_cond_broadcast(&c->begun);
	uv_mutex_unlock(&c->mutex);
	for (size_t i = 0; i < c->count; i++)
		uv_thread_join(&c->hands[i].thread);
	uv_cond_destroy(&c->begun);
	uv_cond_destroy(&c->ended);
	uv_mutex_destroy(&c->mutex);
	free(c);
}

size_t crew_size(const struct crew *c)
{
	return c->count + 1;
}

void crew_run(struct crew *c, size_t steps, crew_step *step, void *ctx)
{
	uv_mutex_lock(&c->mutex);
	c->step = step;
	c->ctx = ctx;
	c->steps = steps;
	c->next = 0;
	c->busy = c->count;
	c->round++;
	uv_cond_broadcast(&c->begun);
	uv_mutex_unlock(&c->mutex);
	steps_take(c, 0);
	uv_mutex_lock(&c->mutex);
	while (c->busy > 0)
		uv_cond_wait(&c->ended, &c->mutex);
	uv_mutex_unlock(&c->mutex);
}
