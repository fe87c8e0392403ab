#include "server/customer_json.h"

#include "server/operator.h"
#include <inttypes.h>
#include <stdio.h>

void json_customer(cJSON *o, const struct customer *c)
{
	char colour[8];

	(void)snprintf(colour, sizeof(colour), "%06" PRIx32, c->background_rgb & 0xffffff);
	put_text(o, "customer", c->id);
	put_text(o, "name", c->name);
	put_text(o, "publisher", c->publisher);
	put_text(o, "time_zone", c->time_zone);
	put_text(o, "order", c->order);
	put_number(o, "seed", c->seed);
	put_number(o, "duration_ms", c->duration_ms);
	put_number(o, "transition_ms", c->transition_ms);
	put_text(o, "fit", c->fit);
	put_text(o, "background", colour);
	put_number(o, "max_images", c->max_images);
	put_number(o, "max_bytes", c->max_bytes);
}

void json_customer_place(cJSON *o, const struct customer_place *p)
{
	put_text(o, "place", p->id);
	put_text(o, "name", p->name);
	put_text(o, "address", p->address);
	put_text(o, "time_zone", p->time_zone);
}

void json_customer_plan(cJSON *o, const struct customer_plan *p)
{
	put_text(o, "plan", p->id);
	put_text(o, "expression", p->expression);
	put_number(o, "min_width", p->min_width_px);
	put_number(o, "min_height", p->min_height_px);
	put_number(o, "max_images", p->max_images);
	put_number(o, "max_bytes", p->max_bytes);
	put_text(o, "order", p->order);
	put_number(o, "seed", p->seed);
	put_number(o, "duration_ms", p->duration_ms);
	put_text(o, "fit", p->fit);
	put_number(o, "weight", p->weight);
	put_number(o, "from_unix_ms", (uint64_t)p->from_unix_ms);
	put_number(o, "until_unix_ms", (uint64_t)p->until_unix_ms);
	put_text(o, "dayparts", p->dayparts);
	put_text(o, "places", p->places);
	put_text(o, "orientation", p->orientation);
	put_bool(o, "paused", p->paused);
}

void json_customer_client(cJSON *o, const struct customer_client *c)
{
	put_text(o, "client", c->client);
	put_text(o, "place", c->place);
	put_text(o, "name", c->name);
	put_number(o, "width", c->width_px);
	put_number(o, "height", c->height_px);
	put_text(o, "orientation", c->orientation);
}

// ---------------------------------------------------------------- text

static enum err text_take(struct arena *a, cJSON *o, const char **out)
{
	char *text = cJSON_PrintUnformatted(o);

	*out = text ? arena_strdup(a, text) : NULL;
	free(text);
	cJSON_Delete(o);
	return *out ? ERR_OK : err_set(ERR_FULL, "no room for what an edit changes");
}

enum err customer_json_text(struct arena *a, const struct customer *c, const char **out)
{
	cJSON *o = cJSON_CreateObject();

	json_customer(o, c);
	return text_take(a, o, out);
}

enum err place_json_text(struct arena *a, const struct customer_place *p, const char **out)
{
	cJSON *o = cJSON_CreateObject();

	json_customer_place(o, p);
	return text_take(a, o, out);
}

enum err plan_json_text(struct arena *a, const struct customer_plan *p, const char **out)
{
	cJSON *o = cJSON_CreateObject();

	json_customer_plan(o, p);
	return text_take(a, o, out);
}

enum err customer_client_json_text(
	struct arena *a, const struct customer_client *c, const char **out)
{
	cJSON *o = cJSON_CreateObject();

	json_customer_client(o, c);
	return text_take(a, o, out);
}
