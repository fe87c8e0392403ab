// What a customer wants, and what became of it.
#include "server/ctl/decode_messages.h"

#include "server/ctl/decode_fields.h"

// "mon,tue 08:00-18:00"
static void daypart_json(cJSON *j, const struct daypart *m)
{
	static const char *const names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
	char days[32] = "", hours[40];
	size_t used = 0;

	for (size_t i = 0; i < 7; i++)
		if (m->weekdays & 1u << i)
			used += (size_t)snprintf(days + used, sizeof(days) - used, "%s%s",
				used ? "," : "", names[i]);
	snprintf(hours, sizeof(hours), "%02u:%02u-%02u:%02u", m->from_minute / 60,
		m->from_minute % 60, m->until_minute / 60, m->until_minute % 60);
	field_text(j, "days", days);
	field_text(j, "hours", hours);
}

static void plan_part_json(cJSON *j, const struct plan_part *m)
{
	TEXT(plan);
	TEXT(expression);
	NUMBER(max_images);
	NUMBER(max_bytes);
	TEXT(order);
	NUMBER(seed);
	NUMBER(duration_ms);
	TEXT(fit);
	NUMBER(weight);
	TIME(from_unix_ms);
	TIME(until_unix_ms);
	LIST("dayparts", dayparts, daypart_count, daypart_json);
}

void show_group_json(cJSON *j, const struct show_group *m)
{
	TEXT(plan);
	NUMBER(duration_ms);
	TEXT(fit);
	NUMBER(weight);
	TIME(from_unix_ms);
	TIME(until_unix_ms);
	LIST("dayparts", dayparts, daypart_count, daypart_json);
}

void show_defaults_json(cJSON *j, const struct show_defaults *m)
{
	char colour[8];

	NUMBER(duration_ms);
	NUMBER(transition_ms);
	TEXT(fit);
	snprintf(colour, sizeof(colour), "#%06x", (unsigned)(m->background_rgb & 0xffffff));
	field_text(j, "background", colour);
	TEXT(order);
	NUMBER(seed);
	TEXT(time_zone);
}

void package_order_json(cJSON *j, const struct package_order *m)
{
	TEXT(order);
	NUMBER(revision);
	if (m->withdrawn)
		FLAG(withdrawn);
	TEXT(customer);
	TEXT(name);
	NUMBER(screen_width_px);
	NUMBER(screen_height_px);
	NUMBER(max_images);
	NUMBER(max_bytes);
	PART(show, show_defaults_json);
	LIST("parts", parts, part_count, plan_part_json);
	NUMBER(flow_id);
	if (m->sealed)
		FLAG(sealed);
}

void order_outcome_json(cJSON *j, const struct order_outcome *m)
{
	TEXT(order);
	NUMBER(revision);
	FIXED(package);
	NUMBER(matched);
	NUMBER(included);
	NUMBER(size_bytes);
	TEXT(reason);
	TEXTS("warnings", warnings, warning_count);
}
