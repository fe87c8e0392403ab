// Reading the playlist: check the end, count, then take one line after the other by a table.
#include "client/display/playlist.h"

#include "client/display/display_limits.h"
#include "proto/base/file.h"
#include "proto/end_line.h"
#include "proto/limits.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct playlist *list;
	size_t line, image_max;
	bool has_package, has_dir, has_defaults;
};

// The fields of one line after its word, decoded.
struct fields {
	const char *f[PLAYLIST_FIELDS_MAX];
	size_t count;
};

// Undoes %HH in place.
static enum err percent_decode(char *s, size_t line)
{
	char *out = s;

	for (; *s; s++) {
		if (*s != '%') {
			*out++ = *s;
			continue;
		}
		int hi = hex_value(s[1]), lo = hi < 0 ? -1 : hex_value(s[2]);

		if (hi < 0 || lo < 0 || hi + lo == 0)
			return err_set(ERR_FORMAT, "line %zu of the playlist has a bad %%HH", line);
		*out++ = (char)(hi * 16 + lo);
		s += 2;
	}
	*out = '\0';
	return ERR_OK;
}

static enum err number_read(
	const struct reader *r, const char *text, uint64_t max, const char *what, uint64_t *out)
{
	uint64_t value = 0;

	if (!*text || strlen(text) > 20)
		return err_set(
			ERR_FORMAT, "line %zu of the playlist: %s is not a number", r->line, what);
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return err_set(ERR_FORMAT, "line %zu of the playlist: %s is not a number",
				r->line, what);
		uint64_t digit = (uint64_t)(*text - '0');

		if (digit > max || value > (max - digit) / 10)
			return err_set(ERR_RANGE, "line %zu of the playlist: %s is above %" PRIu64,
				r->line, what, max);
		value = value * 10 + digit;
	}
	*out = value;
	return ERR_OK;
}

static uint32_t clamp(uint64_t v, uint32_t min, uint32_t max)
{
	if (v < min)
		return min;
	return v > max ? max : (uint32_t)v;
}

static enum err fit_read(const struct reader *r, const char *word, enum fit def, enum fit *out)
{
	*out = def;
	if (!*word || strcmp(word, "-") == 0 || fit_parse(word, out))
		return ERR_OK;
	return err_set(ERR_RANGE, "line %zu of the playlist: the fit \"%.40s\" is not known",
		r->line, word);
}

// ---- one function a record

static enum err package_take(struct reader *r, const struct fields *f)
{
	r->has_package = true;
	r->list->name = f->f[1];
	r->list->version = f->f[2];
	if (hex_decode(f->f[0], r->list->package.b, 32) != ERR_OK)
		return err_set(ERR_FORMAT,
			"line %zu of the playlist: the package is not 64 hex digits", r->line);
	return ERR_OK;
}

static enum err dir_take(struct reader *r, const struct fields *f)
{
	r->has_dir = true;
	r->list->dir = f->f[0];
	if (f->f[0][0] != '/')
		return err_set(
			ERR_RANGE, "line %zu of the playlist: the dir is not absolute", r->line);
	return ERR_OK;
}

static enum err defaults_take(struct reader *r, const struct fields *f)
{
	uint64_t duration, transition;
	uint8_t rgb[3];

	r->has_defaults = true;
	TRY(number_read(r, f->f[0], UINT32_MAX, "the duration", &duration));
	TRY(number_read(r, f->f[1], UINT32_MAX, "the transition", &transition));
	TRY(fit_read(r, f->f[2], FIT_CONTAIN, &r->list->fit));
	if (hex_decode(f->f[3], rgb, 3) != ERR_OK)
		return err_set(ERR_FORMAT, "line %zu of the playlist: the background is not rrggbb",
			r->line);
	r->list->duration_ms = clamp(duration, DURATION_MIN_MS, DURATION_MAX_MS);
	r->list->transition_ms = clamp(transition, 0, TRANSITION_MAX_MS);
	r->list->background_rgb = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
	return ERR_OK;
}

static enum playlist_verb verb_of(const char *word)
{
	if (strcmp(word, "show") == 0)
		return VERB_SHOW;
	if (strcmp(word, "pause") == 0)
		return VERB_PAUSE;
	return strcmp(word, "resume") == 0 ? VERB_RESUME : VERB_UNKNOWN;
}

static enum err command_take(struct reader *r, const struct fields *f)
{
	struct playlist_command *c = &r->list->command;
	uint64_t n;

	TRY(number_read(r, f->f[0], INT64_MAX, "the command's number", &n));
	if (n <= c->n)
		return err_set(
			ERR_RANGE, "line %zu of the playlist: command numbers must rise", r->line);
	c->n = n;
	c->verb = verb_of(f->f[1]);
	c->arg = f->count > 2 ? f->f[2] : "";
	return ERR_OK;
}

// ---- order, moment, groups

static enum err time_read(const struct reader *r, const char *text, const char *what, int64_t *out)
{
	uint64_t value;

	TRY(number_read(r, text, INT64_MAX, what, &value));
	*out = (int64_t)value;
	return ERR_OK;
}

static enum err order_take(struct reader *r, const struct fields *f)
{
	static const char *const words[] = {"list", "shuffle", "weight"};
	size_t i = 0;

	while (i < 3 && strcmp(f->f[0], words[i]) != 0)
		i++;
	if (i == 3)
		return err_set(ERR_RANGE,
			"line %zu of the playlist: the order \"%.40s\" is not known", r->line,
			f->f[0]);
	r->list->order = (enum show_order)i;
	r->list->time_zone = f->f[2];
	return number_read(r, f->f[1], UINT64_MAX, "the seed", &r->list->seed);
}

static enum err activate_take(struct reader *r, const struct fields *f)
{
	return time_read(r, f->f[0], "the moment", &r->list->activate_unix_ms);
}

static bool small_number(const char **s, uint32_t max, char end, uint32_t *out)
{
	uint32_t n = 0;
	int digits = 0;

	for (; **s >= '0' && **s <= '9' && digits < 5; ++*s, digits++)
		n = n * 10 + (uint32_t)(**s - '0');
	*out = n;
	if (digits == 0 || n > max || **s != end)
		return false;
	*s += end != '\0';
	return true;
}

// 31:480-1080,96:1320-120
static bool hours_parse(const char *s, struct playlist_group *g)
{
	while (*s) {
		struct playlist_hours *h = &g->hours[g->hour_count++];
		const char *comma = strchr(s, ',');

		if (g->hour_count > PLAYLIST_HOURS_MAX ||
			!small_number(&s, 127, ':', &h->weekdays) ||
			!small_number(&s, 1439, '-', &h->from_minute) ||
			!small_number(&s, 1440, comma ? ',' : '\0', &h->until_minute) ||
			h->weekdays == 0 || (comma && !*s))
			return false;
	}
	return true;
}

static enum err group_take(struct reader *r, const struct fields *f)
{
	struct playlist *list = r->list;
	uint64_t duration, weight;

	if (list->count > 0)
		return err_set(
			ERR_FORMAT, "line %zu of the playlist: a group after the images", r->line);
	if (list->group_count == PLAYLIST_GROUPS_MAX)
		return err_set(
			ERR_FULL, "the playlist has more than %d groups", PLAYLIST_GROUPS_MAX);
	if (!list->groups)
		list->groups =
			arena_array(&list->arena, PLAYLIST_GROUPS_MAX, sizeof(*list->groups));
	struct playlist_group *g = list->groups ? &list->groups[list->group_count] : NULL;
	if (!g ||
		!(g->hours = arena_array(&list->arena, PLAYLIST_HOURS_MAX + 1, sizeof(*g->hours))))
		return err_set(ERR_FULL, "the playlist is too large");
	g->plan = f->f[0];
	TRY(number_read(r, f->f[1], UINT32_MAX, "the duration", &duration));
	TRY(fit_read(r, f->f[2], list->fit, &g->fit));
	TRY(number_read(r, f->f[3], UINT32_MAX, "the weight", &weight));
	TRY(time_read(r, f->f[4], "the begin", &g->from_unix_ms));
	TRY(time_read(r, f->f[5], "the end", &g->until_unix_ms));
	if (!hours_parse(f->f[6], g))
		return err_set(ERR_RANGE, "line %zu of the playlist: the hours \"%.60s\" are none",
			r->line, f->f[6]);
	g->duration_ms = duration == 0 ? 0 : clamp(duration, DURATION_MIN_MS, DURATION_MAX_MS);
	g->weight = clamp(weight, 1, PLAYLIST_WEIGHT_MAX);
	list->group_count++;
	return ERR_OK;
}

// What version 2 says of an image beyond its title.
static enum err image_more(struct reader *r, const struct fields *f, struct playlist_image *i)
{
	uint64_t group, weight;

	TRY(number_read(r, f->f[4], r->list->group_count, "the group", &group));
	TRY(number_read(r, f->f[5], UINT32_MAX, "the weight", &weight));
	TRY(time_read(r, f->f[6], "the begin", &i->from_unix_ms));
	TRY(time_read(r, f->f[7], "the end", &i->until_unix_ms));
	i->group = (uint32_t)group;
	i->weight = clamp(weight, 1, PLAYLIST_WEIGHT_MAX);
	return ERR_OK;
}

static enum err image_take(struct reader *r, const struct fields *f)
{
	uint64_t duration;

	if (!r->has_defaults)
		return err_set(ERR_FORMAT, "line %zu of the playlist: an image before the defaults",
			r->line);
	if (!path_is_safe(f->f[0]))
		return err_set(ERR_RANGE,
			"line %zu of the playlist: the path \"%.80s\" is not safe", r->line,
			f->f[0]);
	struct playlist_image *i = &r->list->images[r->list->count];
	const struct playlist_group *g = NULL;

	i->weight = 1;
	if (f->count > 7)
		TRY(image_more(r, f, i));
	if (i->group != 0)
		g = &r->list->groups[i->group - 1];
	TRY(number_read(r, f->f[1], UINT32_MAX, "the duration", &duration));
	TRY(fit_read(r, f->f[2], g ? g->fit : r->list->fit, &i->fit));
	i->path = f->f[0];
	i->title = f->count > 3 ? f->f[3] : "";
	i->duration_ms = g && g->duration_ms != 0 ? g->duration_ms : r->list->duration_ms;
	if (duration != 0)
		i->duration_ms = clamp(duration, DURATION_MIN_MS, DURATION_MAX_MS);
	r->list->count++;
	return ERR_OK;
}

static const struct record {
	const char *word;
	size_t min, max; // fields after the word
	enum err (*take)(struct reader *r, const struct fields *f);
} records[] = {
	{"package", 3, PLAYLIST_FIELDS_MAX, package_take},
	{"dir", 1, PLAYLIST_FIELDS_MAX, dir_take},
	{"defaults", 4, PLAYLIST_FIELDS_MAX, defaults_take},
	{"order", 3, PLAYLIST_FIELDS_MAX, order_take},
	{"activate", 1, PLAYLIST_FIELDS_MAX, activate_take},
	{"group", 7, PLAYLIST_FIELDS_MAX, group_take},
	{"command", 2, PLAYLIST_FIELDS_MAX, command_take},
	{"image", 3, PLAYLIST_FIELDS_MAX, image_take},
};

static const struct record *record_find(const char *word)
{
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		if (strcmp(word, records[i].word) == 0)
			return &records[i];
	}
	return NULL;
}

static enum err fields_split(const struct reader *r, char *text, struct fields *out)
{
	out->count = 0;
	while (text) {
		char *tab = strchr(text, '\t');

		if (tab)
			*tab++ = '\0';
		if (out->count == PLAYLIST_FIELDS_MAX)
			return err_set(ERR_FULL, "line %zu of the playlist has more than %d fields",
				r->line, PLAYLIST_FIELDS_MAX);
		TRY(percent_decode(text, r->line));
		out->f[out->count++] = text;
		text = tab;
	}
	return ERR_OK;
}

static enum err line_take(struct reader *r, struct bytes line)
{
	struct fields f;

	if (line.size > PLAYLIST_LINE_MAX)
		return err_set(ERR_FULL, "line %zu of the playlist is longer than %d bytes",
			r->line, PLAYLIST_LINE_MAX);
	char *text = arena_alloc(&r->list->arena, line.size + 1);
	if (!text)
		return err_set(ERR_FULL, "the playlist is too large");
	memcpy(text, line.data, line.size);
	for (size_t i = 0; i < line.size; i++) {
		if ((unsigned char)text[i] < 0x20 && text[i] != '\t')
			return err_set(ERR_FORMAT,
				"line %zu of the playlist has a control character", r->line);
	}
	char *rest = strchr(text, '\t');
	if (rest)
		*rest++ = '\0';
	const struct record *rec = record_find(text);
	if (!rec)
		return ERR_OK;
	TRY(fields_split(r, rest, &f));
	if (f.count < rec->min || f.count > rec->max)
		return err_set(ERR_FORMAT, "line %zu of the playlist: %s has %zu fields", r->line,
			rec->word, f.count);
	return rec->take(r, &f);
}

// ---- the whole file

static size_t lines_count(struct bytes text)
{
	size_t count = 0;

	for (size_t i = 0; i < text.size; i++)
		count += text.data[i] == '\n';
	return count;
}

static struct bytes line_next(struct bytes *text)
{
	const uint8_t *end = memchr(text->data, '\n', text->size);
	size_t size = (size_t)(end - text->data);
	struct bytes line = {text->data, size};

	text->data += size + 1;
	text->size -= size + 1;
	return line;
}

static enum err first_line_check(struct bytes line)
{
	static const char word[] = "helio-playlist";
	const size_t n = sizeof(word) - 1;

	if (line.size < n + 2 || memcmp(line.data, word, n) != 0 ||
		(line.data[n] != ' ' && line.data[n] != '\t'))
		return err_set(ERR_FORMAT, "this is not a playlist");
	if (line.size != n + 2 || (line.data[n + 1] != '1' && line.data[n + 1] != '2'))
		return err_set(ERR_VERSION,
			"the playlist is of a version that this display does not know");
	return ERR_OK;
}

static enum err lines_take(struct reader *r, struct bytes text)
{
	if (text.size == 0)
		return err_set(ERR_FORMAT, "the playlist is empty");
	r->line = 1;
	TRY(first_line_check(line_next(&text)));
	while (text.size > 0) {
		r->line++;
		TRY(line_take(r, line_next(&text)));
	}
	if (!r->has_package || !r->has_dir || !r->has_defaults)
		return err_set(ERR_FORMAT, "the playlist lacks its %s line",
			!r->has_package ? "package" : (!r->has_dir ? "dir" : "defaults"));
	return ERR_OK;
}

static enum err list_fill(struct playlist *list, struct bytes text)
{
	struct reader r = {.list = list};

	TRY(end_line_take(&text, "the playlist", &list->sum));
	r.image_max = lines_count(text);
	if (r.image_max > LIMIT_FILES + 1000)
		return err_set(ERR_FULL, "the playlist has more than %d lines", LIMIT_FILES + 1000);
	arena_init(&list->arena, PLAYLIST_ARENA_MAX, r.image_max + PLAYLIST_GROUPS_MAX + 8);
	list->images = arena_array(&list->arena, r.image_max + 1, sizeof(*list->images));
	if (!list->images)
		return err_set(ERR_MEMORY, "no memory for a playlist");
	list->name = list->version = list->dir = list->command.arg = list->time_zone = "";
	return lines_take(&r, text);
}

enum err playlist_parse(struct bytes text, struct playlist **out)
{
	struct playlist *list = calloc(1, sizeof(*list));

	*out = NULL;
	if (!list)
		return err_set(ERR_MEMORY, "no memory for a playlist");
	enum err e = list_fill(list, text);
	if (e != ERR_OK) {
		playlist_free(list);
		return e;
	}
	*out = list;
	return ERR_OK;
}

enum err playlist_read(const char *path, struct playlist **out)
{
	SCOPED_BUF struct buf b;

	*out = NULL;
	buf_init(&b, PLAYLIST_BYTES_MAX);
	TRY(file_read(path, &b));
	return playlist_parse(buf_bytes(&b), out);
}

void playlist_free(struct playlist *p)
{
	if (!p)
		return;
	arena_fini(&p->arena);
	free(p);
}

// ---- questions

static bool image_same(const struct playlist_image *a, const struct playlist_image *b)
{
	return strcmp(a->path, b->path) == 0 && a->duration_ms == b->duration_ms &&
	       a->fit == b->fit && a->group == b->group && a->weight == b->weight &&
	       a->from_unix_ms == b->from_unix_ms && a->until_unix_ms == b->until_unix_ms;
}

static bool group_same(const struct playlist_group *a, const struct playlist_group *b)
{
	return a->weight == b->weight && a->from_unix_ms == b->from_unix_ms &&
	       a->until_unix_ms == b->until_unix_ms && a->hour_count == b->hour_count &&
	       (a->hour_count == 0 ||
		       memcmp(a->hours, b->hours, a->hour_count * sizeof(*a->hours)) == 0);
}

static bool plan_same(const struct playlist *a, const struct playlist *b)
{
	if (a->order != b->order || a->seed != b->seed || a->group_count != b->group_count ||
		strcmp(a->time_zone, b->time_zone) != 0)
		return false;
	for (size_t i = 0; i < a->group_count; i++) {
		if (!group_same(&a->groups[i], &b->groups[i]))
			return false;
	}
	return true;
}

bool playlist_same_show(const struct playlist *a, const struct playlist *b)
{
	if (!digest_equal(&a->package, &b->package) || a->count != b->count ||
		a->transition_ms != b->transition_ms || a->background_rgb != b->background_rgb ||
		strcmp(a->dir, b->dir) != 0 || !plan_same(a, b))
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!image_same(&a->images[i], &b->images[i]))
			return false;
	}
	return true;
}

static size_t find_number(const struct playlist *p, const char *arg)
{
	size_t n = 0;

	for (; *arg; arg++) {
		n = n * 10 + (size_t)(*arg - '0');
		if (n > p->count)
			return p->count;
	}
	return n == 0 ? p->count : n - 1;
}

size_t playlist_find(const struct playlist *p, const char *arg)
{
	if (!*arg)
		return p->count;
	if (arg[strspn(arg, "0123456789")] == '\0')
		return find_number(p, arg);
	for (size_t i = 0; i < p->count; i++) {
		const char *slash = strrchr(p->images[i].path, '/');

		if (strcmp(arg, p->images[i].path) == 0 || (slash && strcmp(arg, slash + 1) == 0) ||
			strcmp(arg, p->images[i].title) == 0)
			return i;
	}
	return p->count;
}
