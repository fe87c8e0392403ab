// Tables over JSON documents. Every text passes ctl_safe() or a table cell, which escapes.
#include "server/ctl/show.h"

#include "server/ctl/progress.h"
#include "server/ctl/text.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *slot(void)
{
	static char slots[16][160];
	static unsigned next;

	return slots[next++ % 16];
}

const char *show_ago(const cJSON *object, const char *key, int64_t now_ms)
{
	int64_t at = (int64_t)json_number(object, key);

	if (at == 0)
		return "never";
	return age_text(now_ms > at ? now_ms - at : 0);
}

const char *show_when(const cJSON *object, const char *key)
{
	int64_t at = (int64_t)json_number(object, key);
	time_t seconds = (time_t)(at / 1000);
	struct tm tm;
	char *out = slot();

	if (at == 0 || !localtime_r(&seconds, &tm) ||
		strftime(out, 160, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		return "-";
	return out;
}

const char *show_digest(const cJSON *object, const char *key)
{
	char *out = slot();

	snprintf(out, 160, "%.12s", json_text(object, key));
	return out;
}

const char *show_package(const cJSON *object)
{
	const char *name = json_text(object, "name"), *version = json_text(object, "version");
	char *out = slot();

	if (!*name)
		return show_digest(object, "package");
	snprintf(out, 160, "%.*s@%.*s", text_most(name, 80), name, text_most(version, 70), version);
	return out;
}

// Today's need no date.
const char *show_time(const cJSON *object, const char *key)
{
	int64_t now_ms = clock_now().wall.ms;
	SCOPED_JSON cJSON *now = cJSON_CreateObject();

	cJSON_AddNumberToObject(now, "t", (double)now_ms);
	const char *then = show_when(object, key), *today = show_when(now, "t");
	return strncmp(then, today, 11) == 0 ? then + 11 : then;
}

void show_count(struct table *t, uint64_t n)
{
	if (n > 0)
		table_addf(t, "%" PRIu64, n);
	else
		table_add(t, "");
}

enum style show_reach_style(const char *reach)
{
	if (strcmp(reach, "online") == 0)
		return STYLE_GOOD;
	if (strcmp(reach, "late") == 0)
		return STYLE_WARN;
	return strcmp(reach, "silent") == 0 ? STYLE_BAD : STYLE_DIM;
}

// ---- a document without a form of its own

static const char *scalar_text(const cJSON *v, char out[64])
{
	if (cJSON_IsString(v))
		return v->valuestring;
	if (cJSON_IsBool(v))
		return cJSON_IsTrue(v) ? "yes" : "no";
	if (!cJSON_IsNumber(v))
		return "-";
	snprintf(out, 64, "%.15g", v->valuedouble);
	return out;
}

static const char *value_text(const cJSON *v, char out[64])
{
	size_t n = strlen(v->string ? v->string : "");

	if (n > 8 && strcmp(v->string + n - 8, "_unix_ms") == 0 && cJSON_IsNumber(v)) {
		SCOPED_JSON cJSON *one = cJSON_CreateObject();

		cJSON_AddNumberToObject(one, "t", v->valuedouble);
		return show_when(one, "t");
	}
	if (n > 6 && strcmp(v->string + n - 6, "_bytes") == 0 && cJSON_IsNumber(v))
		return amount_text((uint64_t)v->valuedouble);
	return scalar_text(v, out);
}

// Units stand at the end of a key and are told by the value itself.
static const char *key_text(const char *key)
{
	static const char *const units[] = {"_unix_ms", "_bytes"};
	char *out = slot();
	size_t n = strlen(key);

	for (size_t i = 0; i < 2; i++) {
		size_t u = strlen(units[i]);

		if (n > u && strcmp(key + n - u, units[i]) == 0) {
			n -= u;
			break;
		}
	}
	snprintf(out, 160, "%.*s", (int)(n > 100 ? 100 : n), key);
	for (char *p = out; *p; p++)
		*p = *p == '_' ? ' ' : *p;
	return out;
}

static bool has_parts(const cJSON *v)
{
	return cJSON_IsArray(v) || cJSON_IsObject(v) || !v->string;
}

// The values of one object, keys in a column.
static void part_show(const struct ctl *c, const cJSON *part)
{
	size_t width = 0;
	const cJSON *v;

	cJSON_ArrayForEach(v, part)
	{
		size_t n = has_parts(v) ? 0 : strlen(key_text(v->string));

		width = n > width ? n : width;
	}
	cJSON_ArrayForEach(v, part)
	{
		char number[64];

		if (has_parts(v))
			continue;
		const char *value = value_text(v, number);

		printf("%s%-*s%s  %s\n", term_begin(&c->out, STYLE_DIM), (int)width,
			ctl_safe(key_text(v->string)), term_end(&c->out, STYLE_DIM),
			*value ? ctl_safe(value) : "-");
	}
}

static void heading_show(const struct ctl *c, const char *name)
{
	printf("\n%s%s%s\n", term_begin(&c->out, STYLE_BOLD), ctl_safe(key_text(name)),
		term_end(&c->out, STYLE_BOLD));
}

static void title_make(char out[40], const char *key)
{
	snprintf(out, 40, "%s", key_text(key));
	for (char *p = out; *p; p++)
		*p = (char)toupper((unsigned char)*p);
}

static void rows_show(const struct ctl *c, const cJSON *list, const cJSON *first)
{
	struct table_column columns[TABLE_COLUMNS_MAX] = {{0}};
	const char *keys[TABLE_COLUMNS_MAX];
	char titles[TABLE_COLUMNS_MAX][40];
	size_t count = 0;
	const cJSON *item, *v;

	cJSON_ArrayForEach(v, first)
	{
		if (count == TABLE_COLUMNS_MAX || cJSON_IsObject(v) || cJSON_IsArray(v))
			continue;
		keys[count] = v->string;
		title_make(titles[count], v->string);
		columns[count] =
			(struct table_column){titles[count], cJSON_IsNumber(v), true, count > 3};
		count++;
	}
	if (count == 0)
		return;
	struct table *t = table_new(columns, count);
	cJSON_ArrayForEach(item, list)
	{
		for (size_t i = 0; i < count; i++) {
			const cJSON *cell = cJSON_GetObjectItemCaseSensitive(item, keys[i]);
			char number[64];

			table_add(t, cell ? value_text(cell, number) : "");
		}
	}
	table_print(t, &c->out);
	table_free(t);
}

static void list_show(const struct ctl *c, const char *name, const cJSON *list)
{
	const cJSON *item, *first = cJSON_GetArrayItem(list, 0);

	heading_show(c, name);
	if (cJSON_IsObject(first)) {
		rows_show(c, list, first);
		return;
	}
	cJSON_ArrayForEach(item, list)
	{
		char number[64];

		printf("  %s\n", ctl_safe(scalar_text(item, number)));
	}
}

void show_document(const struct ctl *c, const cJSON *document)
{
	const cJSON *v;

	part_show(c, document);
	cJSON_ArrayForEach(v, document)
	{
		if (cJSON_IsObject(v) && v->string && v->child) {
			heading_show(c, v->string);
			part_show(c, v);
		}
	}
	cJSON_ArrayForEach(v, document)
	{
		if (cJSON_IsArray(v) && v->string && cJSON_GetArraySize(v) > 0)
			list_show(c, v->string, v);
	}
}

// ---- the fleet

static const char *operation_text(const cJSON *client)
{
	const cJSON *op = cJSON_GetObjectItem(client, "op");
	char *out = slot();

	if (!cJSON_IsObject(op))
		return "";
	snprintf(out, 160, "%s %s %.0f%%", json_text(op, "kind"), json_text(op, "status"),
		json_number(op, "percent"));
	return out;
}

// All channels of a client, its first one first.
static const char *channels_text(const cJSON *client, char *out, size_t size)
{
	const cJSON *place;

	out[0] = '\0';
	cJSON_ArrayForEach(place, cJSON_GetObjectItem(client, "channels"))
	{
		text_join(out, size, "%s", json_text(place, "channel"));
	}
	return out[0] ? out : json_text(client, "channel");
}

void show_clients(const struct term *term, const cJSON *clients, int64_t now_ms, size_t limit)
{
	static const struct table_column columns[] = {{"CLIENT", false, true, false},
		{"REACH", false, false, false}, {"STATE", false, false, false},
		{"CHANNEL", false, true, false}, {"SHOWING", false, true, false},
		{"VERSION", false, true, true}, {"OPERATION", false, true, false},
		{"HEARD", true, false, false}, {"ADDRESS", false, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;
	char channels[512];

	cJSON_ArrayForEach(one, clients)
	{
		const char *reach = json_text(one, "reach"), *state = json_text(one, "state");
		bool revoked = json_bool(one, "revoked"), idle = strcmp(state, "idle") == 0;

		table_add_style(t, json_text(one, "id"), STYLE_BOLD);
		table_add_style(t, revoked ? "revoked" : reach,
			revoked ? STYLE_BAD : show_reach_style(reach));
		table_add_style(t, state, idle ? STYLE_DIM : STYLE_WARN);
		table_add(t, channels_text(one, channels, sizeof(channels)));
		table_add(t, json_text(cJSON_GetObjectItem(one, "showing"), "name"));
		table_add(t, json_text(one, "version"));
		table_add(t, operation_text(one));
		table_add(t, show_ago(one, "last_heard_unix_ms", now_ms));
		table_add_style(t, json_text(one, "ip"), STYLE_DIM);
	}
	table_print_head(t, term, limit ? limit : SIZE_MAX);
	table_free(t);
}

// ---- packages by name

static bool is_hex(const char *text)
{
	size_t n = strlen(text);

	return n >= 8 && n <= 64 && strspn(text, "0123456789abcdef") == n;
}

enum err package_choose(const cJSON *packages, const char *text, char out[65])
{
	const char *at = strrchr(text, '@');
	size_t name_size = at ? (size_t)(at - text) : strlen(text), found = 0;
	const cJSON *one;

	cJSON_ArrayForEach(one, packages)
	{
		const char *id = json_text(one, "package"), *name = json_text(one, "name");
		bool by_name = strlen(name) == name_size && memcmp(name, text, name_size) == 0 &&
			       (!at || strcmp(json_text(one, "version"), at + 1) == 0);

		if (strlen(id) != 64)
			continue;
		if (!by_name && !(is_hex(text) && strncmp(id, text, strlen(text)) == 0))
			continue;
		if (found > 0 && strcmp(out, id) == 0)
			continue;
		memcpy(out, id, 65);
		found++;
	}
	if (found == 0)
		return err_set(ERR_NOT_FOUND, "no package %.80s: helioctl package list", text);
	if (found > 1)
		return err_set(ERR_EXISTS,
			"%zu packages match %.80s: write NAME@VERSION or more of its id", found,
			text);
	return ERR_OK;
}

enum err package_resolve(struct api *a, const char *text, char out[65])
{
	struct api_result r;

	if (strlen(text) == 64 && is_hex(text)) {
		memcpy(out, text, 65);
		return ERR_OK;
	}
	TRY(api_call(a, "package-list", NULL, 0, bytes_of(NULL, 0), &r));
	enum err e = package_choose(cJSON_GetObjectItem(r.document, "packages"), text, out);
	api_result_free(&r);
	return e;
}
