// A folder in the place of a broker: a path on a medium is a topic (proto/medium.h). What is
// subscribed to is read in the pool, one file after the other, and comes as a message would; what
// is not there does not come, and the watchdog of the fetch says so; what cannot be read, because
// the stick was pulled or is worn, ends the fetch at once. One odd name, a pipe or a socket or a file
// without rights, is told and passed over, and comes as little as what is not there. Nothing is
// believed for lying here: links are not followed, and every byte goes the way of the wire's.
#include "client/fetcher_parts.h"

#include "client/medium_file.h"
#include "proto/base/text.h"

#include <string.h>

#define ODD_TOLD 8

static void medium_next(struct fetch *f);

static void read_run(uv_work_t *work)
{
	struct fetch *f = work->data;
	struct fetch_medium *m = f->medium;
	m->result = medium_file_read(m->dir, m->topics[m->first], &m->bytes);
	if (m->result != ERR_OK) // err_text is this thread's
		text_format(m->why, sizeof m->why, "%s%s",
			m->result == ERR_IO ? "the medium cannot be read: " : "", err_text());
}

static void odd_tell(struct fetch_medium *m)
{
	if (m->odd++ < ODD_TOLD)
		log_warn("MEDIUM-ODD", "word=%s why=%s", err_word(m->result), log_quote(m->why));
}

static void read_after(uv_work_t *work, int status)
{
	struct fetch *f = work->data;
	struct fetch_medium *m = f->medium;
	char topic[LIMIT_TOPIC];
	(void)status;
	m->busy = false;
	(void)str_copy(topic, sizeof topic, m->topics[m->first]);
	m->first = (m->first + 1) % MEDIUM_QUEUE;
	m->count--;
	if (f->phase == FETCH_OVER) {
		fetch_released(f);
		return;
	}
	if (m->result == ERR_IO) {
		fetch_fail(f, "io", m->why);
		return;
	}
	if (m->result != ERR_OK && m->result != ERR_NOT_FOUND)
		odd_tell(m);
	if (m->result == ERR_OK) {
		struct link_message message = {
			.topic = topic,
			.topic_length = strlen(topic),
			.payload = buf_bytes(&m->bytes),
			.qos = 1,
			.retained = true,
		};
		m->busy = true; // whatever the message leads to, this fetch lives until here
		fetch_message(f, &message);
		fetch_objects_pump(f);
		m->busy = false;
	}
	if (f->phase == FETCH_OVER)
		fetch_released(f);
	else
		medium_next(f);
}

static void medium_next(struct fetch *f)
{
	struct fetch_medium *m = f->medium;
	if (m->busy || m->count == 0)
		return;
	m->work.data = f;
	m->busy = uv_queue_work(f->owner->loop, &m->work, read_run, read_after) == 0;
}

void medium_subscribe(struct fetch *f, const struct topic *topics, size_t count)
{
	struct fetch_medium *m = f->medium;
	for (size_t i = 0; i < count && m->count < MEDIUM_QUEUE; i++)
		(void)str_copy(m->topics[(m->first + m->count++) % MEDIUM_QUEUE], LIMIT_TOPIC,
			topics[i].s);
	medium_next(f);
}
