#include "tests/bench/core/queue_rows.h"

#include "server/event_queue.h"
#include "tests/bench/core/fleet.h"
#include <stdio.h>
#include <stdlib.h>

#define ELEMENTS 1000

static enum err merge(void *ctx, struct element *const *run, size_t count, struct element_data *out)
{
	(void)ctx;
	*out = (struct element_data){
		.type = ELEMENT_DISPLAY, .body = run[count - 1]->body, .text = "", .author = ""};
	return ERR_OK;
}

static enum err merged(
	void *ctx, struct element *const *run, size_t count, const struct element *into)
{
	(void)ctx;
	(void)run;
	(void)count;
	(void)into;
	return ERR_OK;
}

static double per(struct meter begin, double count, double *instructions)
{
	struct meter m = meter_since(begin);

	*instructions = (double)m.instructions / count;
	return (double)m.cpu_ns / count;
}

static void measure(size_t clients)
{
	const struct element_data data = {
		.type = ELEMENT_DISPLAY, .body = bytes_of("body", 4), .text = "t", .author = "a"};
	const struct queue_merge how = {NULL, merge, merged};
	uint32_t *pointers = calloc(clients, sizeof(*pointers));
	double append_i, take_i, consolidate_i;
	struct event_queue q;
	struct element *element = NULL;
	size_t gone = 0;

	if (!pointers)
		bench_die("memory");
	queue_init(&q, "default", 1, 1);
	for (size_t i = 0; i < clients; i++) {
		pointers[i] = q.tail_seq;
		queue_stand(&q, pointers[i]);
	}
	struct meter m = meter_now();
	for (size_t i = 0; i < ELEMENTS; i++)
		MUST(queue_append(&q, &data, &element));
	double append_ns = per(m, ELEMENTS, &append_i);
	size_t elements = q.count;
	m = meter_now();
	MUST(queue_consolidate(&q, &how, &gone));
	double consolidate_ns = per(m, (double)elements, &consolidate_i);
	m = meter_now();
	for (uint32_t left = q.count; left > 0; left--)
		for (size_t i = 0; i < clients; i++)
			queue_advance(&q, &pointers[i]);
	double take_ns = per(m, (double)clients * q.count, &take_i);
	uint32_t up_to = 0;
	(void)queue_trim(&q, INT64_MAX, &up_to);
	if (elements != ELEMENTS || gone < ELEMENTS * 9 / 10 || q.count != 0)
		bench_die("the queue is not what it should be");
	printf("clients=%zu elements_per_broadcast=%.3f append_ns=%.0f append_instructions=%.0f "
	       "take_ns=%.1f take_instructions=%.1f consolidate_ns=%.0f "
	       "consolidate_instructions=%.0f\n",
		clients, (double)elements / ELEMENTS, append_ns, append_i, take_ns, take_i,
		consolidate_ns, consolidate_i);
	fflush(stdout);
	queue_fini(&q);
	free(pointers);
}

void queue_rows(void)
{
	measure(1000); // warm
	for (size_t clients = 1000; clients <= 1000000; clients *= 10)
		measure(clients);
}
