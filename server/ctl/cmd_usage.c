// usage, usage export, usage gaps: what was shown, for people and for other programs.
//
// The export walks the server's pages; each page is written as it comes, so that its length is
// bounded by nothing here. CSV as RFC 4180, JSON as one array.
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static enum err span_add(struct api_verb *v, const struct args *a)
{
	TRY(api_verb_moment(v, a, "since"));
	TRY(api_verb_moment(v, a, "until"));
	api_verb_add(v, "client", a->word_count > 0 ? a->words[0] : args_get(a, "client", NULL));
	api_verb_add(v, "customer", args_get(a, "customer", NULL));
	return ERR_OK;
}

// ---- sums

static const char *hour_text(const char *key)
{
	static char text[40];
	time_t t = (time_t)strtoll(key, NULL, 10);
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(text, sizeof(text), "%Y-%m-%d %H:00 UTC", &tm) == 0)
		return key;
	return text;
}

static void span_show(struct table *t, double ms)
{
	double s = ms / 1000;

	if (s < 3600)
		table_addf(t, "%.1f s", s);
	else
		table_addf(t, "%.2f h", s / 3600);
}

static const char *by_head(const char *by)
{
	static const char *const words[][2] = {{"picture", "PICTURE"}, {"client", "CLIENT"},
		{"customer", "CUSTOMER"}, {"hour", "HOUR"}, {"package", "PACKAGE"},
		{"name", "PACKAGE"}};

	for (size_t i = 0; i < CTL_COUNT(words); i++) {
		if (strcmp(words[i][0], by) == 0)
			return words[i][1];
	}
	return "KEY";
}

static void lost_show(const struct ctl *c, const cJSON *document)
{
	uint64_t doubtful = json_u64(document, "doubtful");

	ctl_say(c,
		"%" PRIu64 " were cut short; %" PRIu64 " were passed over and %" PRIu64
		" could not be read",
		json_u64(document, "cut"), json_u64(document, "skipped"),
		json_u64(document, "failed"));
	if (doubtful > 0)
		ctl_say(c,
			"%" PRIu64 " are not counted: two devices of one name told them; helioctl "
			"doctor names it",
			doubtful);
}

static void sums_show(const struct ctl *c, const cJSON *document)
{
	const char *by = json_text(document, "by");
	const struct table_column columns[] = {{by_head(by), false, true, false},
		{"SHOWN", true, false, false}, {"TIME", true, false, false},
		{"CUT", true, false, false}, {"LOST", true, false, false},
		{"FIRST", false, false, true}, {"LAST", false, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "sums"))
	{
		const char *key = json_text(one, "key");

		table_add(t, strcmp(by, "hour") == 0 ? hour_text(key)
			     : key[0]                ? key
						     : "(nobody's)");
		table_addf(t, "%" PRIu64, json_u64(one, "shown"));
		span_show(t, json_number(one, "duration_ms"));
		table_addf(t, "%" PRIu64, json_u64(one, "cut"));
		table_addf(t, "%" PRIu64, json_u64(one, "skipped") + json_u64(one, "failed"));
		table_add(t, show_when(one, "first_unix_ms"));
		table_add(t, show_when(one, "last_unix_ms"));
	}
	if (table_rows(t) == 0) {
		ctl_say(c, "no showing of these has come: `helioctl ask CLIENT usage` asks for "
			   "them, [freshness] usage_s of heliod does by itself");
		table_free(t);
		return;
	}
	table_print(t, &c->out);
	table_free(t);
	ctl_say(c, "%" PRIu64 " showings, %.2f h%s", json_u64(document, "shown"),
		json_number(document, "duration_ms") / 3600000,
		json_text(document, "next")[0] ? " (more with --after)" : "");
	lost_show(c, document);
}

enum exit_code cmd_usage(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "usage"};

	if (span_add(&v, a) != ERR_OK)
		return ctl_usage(c, "%s", err_text());
	api_verb_add(&v, "by", args_get(a, "by", NULL));
	api_verb_add(&v, "after", args_get(a, "after", NULL));
	return api_show(c, &v, sums_show);
}

// ---- gaps

// Two that told what was shown at the same time.
static void twins_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"STORE", false, false, true},
		{"BOOT", false, false, true}, {"OTHER STORE", false, false, true},
		{"OTHER BOOT", false, false, true}, {"FROM", false, false, false},
		{"UNTIL", false, false, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "twins"))
	{
		table_add(t, show_digest(one, "store"));
		table_add(t, show_digest(one, "boot"));
		table_add(t, show_digest(one, "other_store"));
		table_add(t, show_digest(one, "other_boot"));
		table_add(t, show_when(one, "from_unix_ms"));
		table_add(t, show_when(one, "until_unix_ms"));
	}
	if (table_rows(t) > 0) {
		ctl_say(c, "two devices answer to this name; what both told of one time is in no "
			   "sum:");
		table_print(t, &c->out);
	}
	table_free(t);
	if (json_u64(document, "doubtful") > 0)
		ctl_say(c, "%" PRIu64 " showings are doubtful", json_u64(document, "doubtful"));
}

static void gaps_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"STORE", false, false, true},
		{"FROM", true, false, false}, {"TO", true, false, false},
		{"WHAT", false, true, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "gaps"))
	{
		table_add(t, show_digest(one, "store"));
		table_addf(t, "%" PRIu64, json_u64(one, "from_seq"));
		table_addf(t, "%" PRIu64, json_u64(one, "to_seq"));
		table_add(t, json_bool(one, "first") ? "before the first that is held: not asked "
						       "for, dropped, or too old"
						     : "missing between two that came");
	}
	table_print(t, &c->out);
	table_free(t);
	ctl_say(c, "%" PRIu64 " showings of %s are not here", json_u64(document, "missing"),
		ctl_safe(json_text(document, "client")));
	twins_show(c, document);
}

enum exit_code cmd_usage_gaps(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "usage-gaps"};

	api_verb_add(&v, "client", a->words[0]);
	return api_show(c, &v, gaps_show);
}

// ---- export

static const char *const fields[] = {"client", "customer", "store", "boot", "seq", "image",
	"package", "from_unix_ms", "duration_ms", "clock", "planned_ms", "result", "reason",
	"doubtful"};

// A field of CSV. One that a spreadsheet would take for a formula is a text to it as well; a record
// is one line, whatever stands in it.
static void csv_field(FILE *to, const char *text)
{
	bool formula = text[0] && strchr("=+-@\t\r\n", text[0]);
	SCOPED_BUF struct buf plain;

	// Full-width signs are signs, too.
	formula = formula || strncmp(text, "\uff1d", 3) == 0 || strncmp(text, "\uff0b", 3) == 0 ||
		  strncmp(text, "\uff0d", 3) == 0 || strncmp(text, "\uff20", 3) == 0;
	buf_init(&plain, 64 * 1024);
	if (text_escape(&plain, text, (size_t)text_most(text, 8192)) != ERR_OK)
		return;
	const char *s = (const char *)plain.data;
	bool quoted = formula;
	for (size_t i = 0; i < plain.size; i++)
		quoted = quoted || strchr("\",;", s[i]);
	fputs(formula ? "\"'" : quoted ? "\"" : "", to);
	for (size_t i = 0; i < plain.size; i++) {
		if (s[i] == '"')
			fputc('"', to);
		fputc(s[i], to);
	}
	if (quoted)
		fputc('"', to);
}

static void csv_row(FILE *to, const cJSON *row)
{
	for (size_t i = 0; i < CTL_COUNT(fields); i++) {
		const cJSON *value = cJSON_GetObjectItem(row, fields[i]);

		if (i > 0)
			fputc(',', to);
		if (cJSON_IsNumber(value))
			fprintf(to, "%" PRIu64, json_u64(row, fields[i]));
		else if (cJSON_IsBool(value))
			fputs(cJSON_IsTrue(value) ? "yes" : "no", to);
		else
			csv_field(to, json_text(row, fields[i]));
	}
	fputs("\r\n", to);
}

struct export
{
	FILE *to;
	bool csv;
	uint64_t rows;
};

static void head_write(struct export *x)
{
	if (!x->csv) {
		fputs("[\n", x->to);
		return;
	}
	for (size_t i = 0; i < CTL_COUNT(fields); i++)
		fprintf(x->to, "%s%s", i > 0 ? "," : "", fields[i]);
	fputs("\r\n", x->to);
}

static void row_write(struct export *x, const cJSON *row)
{
	if (x->csv) {
		csv_row(x->to, row);
	} else {
		fputs(x->rows > 0 ? "," : "", x->to);
		json_print(x->to, row, false);
	}
	x->rows++;
}

// Page after page.
static enum err pages_write(struct api *api, const struct api_verb *first, struct export *x)
{
	char next[256] = "";

	do {
		struct api_verb v = *first;
		struct api_result page;
		const cJSON *one;

		api_verb_add(&v, "after", next[0] ? next : NULL);
		TRY(api_call(api, v.verb, v.args, v.arg_count, bytes_of(NULL, 0), &page));
		cJSON_ArrayForEach(one, cJSON_GetObjectItem(page.document, "usage"))
			row_write(x, one);
		bool fits = str_copy(next, sizeof(next), json_text(page.document, "next"));
		api_result_free(&page);
		if (!fits)
			return err_set(ERR_FORMAT, "the server's answer cannot be read");
	} while (next[0]);
	return ERR_OK;
}

static enum err export_write(struct ctl *c, const struct api_verb *v, struct export *x)
{
	struct api *api = NULL;
	enum err e = api_open(c, &api);

	if (e == ERR_OK) {
		head_write(x);
		e = pages_write(api, v, x);
	}
	api_close(api);
	if (e == ERR_OK && !x->csv)
		fputs("]\n", x->to);
	if (e == ERR_OK && (fflush(x->to) != 0 || ferror(x->to)))
		e = err_set_errno("cannot write the export");
	return e;
}

enum exit_code cmd_usage_export(struct ctl *c, const struct args *a)
{
	struct export x = {.to = stdout, .csv = args_has(a, "csv")};
	const char *file = args_get(a, "out", NULL);
	struct api_verb v = {.verb = "usage-rows"};

	if (x.csv == c->json)
		return ctl_usage(c, "one of --csv and --json");
	if (span_add(&v, a) != ERR_OK)
		return ctl_usage(c, "%s", err_text());
	if (file)
		x.to = fopen(file, "we");
	enum err e =
		x.to ? export_write(c, &v, &x) : err_set_errno("cannot write %s", file ? file : "");
	if (file && x.to && fclose(x.to) != 0 && e == ERR_OK)
		e = err_set_errno("cannot write %s", file);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (file)
		ctl_note(c, "%" PRIu64 " showings in %s", x.rows, ctl_safe(file));
	return EXIT_DONE;
}
