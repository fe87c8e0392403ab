#include "tests/fleet/fleet_fetch.h"

#include "proto/digest.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum err fleet_content_read(const char *path, struct fleet_content *out)
{
	char topic[512];
	unsigned stage;
	enum err e = ERR_OK;
	FILE *in = fopen(path, "r");

	*out = (struct fleet_content){0};
	if (!in)
		return err_set_errno("cannot read %s", path);
	while (e == ERR_OK && fscanf(in, "%u %511s", &stage, topic) == 2) {
		if (stage >= FETCH_STAGES || out->count[stage] == FETCH_STAGE_TOPICS)
			e = err_set(ERR_RANGE, "%s: stage %u of %d, at most %d topics each", path,
				stage, FETCH_STAGES, FETCH_STAGE_TOPICS);
		else if (!(out->topics[stage][out->count[stage]++] = strdup(topic)))
			e = err_set(ERR_MEMORY, "no memory for a topic");
	}
	fclose(in);
	return e;
}

void fleet_content_fini(struct fleet_content *c)
{
	for (size_t s = 0; s < FETCH_STAGES; s++)
		for (size_t i = 0; i < c->count[s]; i++)
			free(c->topics[s][i]);
	*c = (struct fleet_content){0};
}

static void end(struct fleet_fetch *f, bool good)
{
	mini_close(&f->link);
	f->over(f->ctx, good);
}

static size_t awaited(const struct fleet_fetch *f)
{
	const size_t *n = f->content->count;

	return f->at_once ? n[0] + n[1] + n[2] : n[f->stage];
}

// As an agent that installs, which has it on its disk before it says so.
static bool is_kept(const struct fleet_fetch *f, struct bytes payload)
{
	return f->file < 0 || write(f->file, payload.data, payload.size) == (ssize_t)payload.size;
}

static bool is_synced(const struct fleet_fetch *f)
{
	return f->file < 0 || fsync(f->file) == 0;
}

static enum err stage_ask(struct fleet_fetch *f, size_t stage, bool ask)
{
	const char *const *topics = (const char *const *)f->content->topics[stage];
	size_t count = f->content->count[stage];

	if (count == 0)
		return ERR_OK;
	return ask ? mini_subscribe(&f->link, topics, count, 1)
		   : mini_unsubscribe(&f->link, topics, count);
}

static enum err stages_ask(struct fleet_fetch *f)
{
	if (!f->at_once)
		return stage_ask(f, f->stage, true);
	for (size_t s = 0; s < FETCH_STAGES; s++)
		TRY(stage_ask(f, s, true));
	return ERR_OK;
}

static void on_up(struct mini_client *c, uint8_t reason)
{
	struct fleet_fetch *f = c->ctx;

	f->up(f->ctx);
	if (reason != 0 || stages_ask(f) != ERR_OK)
		end(f, false);
}

static void on_down(struct mini_client *c)
{
	end(c->ctx, false);
}

// An object's name is its hash.
static bool is_named(const char *topic, struct bytes payload)
{
	const char *name = strrchr(topic, '/');
	struct digest d;

	if (!strstr(topic, "/chunk/"))
		return true;
	d = sha256(payload.data, payload.size);
	return name && strcmp(name + 1, digest_hex(&d)) == 0;
}

static void on_message(
	struct mini_client *c, const char *topic, struct bytes payload, bool retained)
{
	struct fleet_fetch *f = c->ctx;

	(void)retained;
	if (!is_named(topic, payload) || !is_kept(f, payload)) {
		end(f, false);
		return;
	}
	if (++f->arrived < awaited(f))
		return;
	f->arrived = 0;
	if (f->at_once || f->stage + 1 == FETCH_STAGES) {
		end(f, is_synced(f));
		return;
	}
	if (stage_ask(f, f->stage++, false) != ERR_OK || stage_ask(f, f->stage, true) != ERR_OK)
		end(f, false);
}

static const struct mini_events events = {.up = on_up, .down = on_down, .message = on_message};

enum err fleet_fetch_begin(struct fleet_fetch *f, struct mini_loop *loop,
	const struct sockaddr_in *to, const struct sockaddr_in *from)
{
	mini_client_fini(&f->link);
	f->link.events = &events;
	f->link.ctx = f;
	f->link.keepalive_s = 120;
	f->stage = f->arrived = 0;
	return mini_connect(&f->link, loop, to, from, NULL, "localhost");
}
