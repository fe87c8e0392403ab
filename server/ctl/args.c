// One pass over argv; rows decide what takes a value.
#include "server/ctl/args.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct option_row *row_find(
	const struct option_row *rows, size_t count, const char *name, size_t n)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0)
			return &rows[i];
	}
	return NULL;
}

static enum err option_take(const struct option_row *row, const char *equals, int argc, char **argv,
	int *at, struct args *out)
{
	const char *value = "";

	if (out->option_count >= ARGS_OPTIONS_MAX)
		return err_set(ERR_FULL, "more than %d options", ARGS_OPTIONS_MAX);
	if (!row->value && equals)
		return err_set(ERR_FORMAT, "--%s takes no value", row->name);
	if (row->value && equals)
		value = equals + 1;
	else if (row->value && *at + 1 >= argc)
		return err_set(ERR_FORMAT, "--%s needs a value: --%s %s", row->name, row->name,
			row->value);
	else if (row->value)
		value = argv[++*at];
	out->options[out->option_count++] = (struct args_option){row->name, value};
	return ERR_OK;
}

enum err args_parse(const struct option_row *rows, size_t count, const struct option_row *more,
	size_t more_count, int argc, char **argv, struct args *out)
{
	*out = (struct args){.words = calloc((size_t)argc + 1, sizeof(char *)),
		.options = calloc(ARGS_OPTIONS_MAX, sizeof(*out->options))};
	if (!out->words || !out->options)
		return err_set(ERR_MEMORY, "no memory for the command line");
	if (argc > ARGS_MAX)
		return err_set(ERR_FULL, "more than %d arguments", ARGS_MAX);
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i];

		if (strcmp(word, "--") == 0) {
			while (++i < argc)
				out->words[out->word_count++] = argv[i];
			break;
		}
		if (strcmp(word, "-h") == 0)
			word = "--help";
		if (strncmp(word, "--", 2) != 0) {
			out->words[out->word_count++] = word;
			continue;
		}
		const char *name = word + 2, *equals = strchr(word, '=');
		size_t n = equals ? (size_t)(equals - name) : strlen(name);
		const struct option_row *row = row_find(rows, count, name, n);

		if (!row)
			row = row_find(more, more_count, name, n);
		if (!row)
			return err_set(ERR_FORMAT, "unknown option %s", word);
		TRY(option_take(row, equals, argc, argv, &i, out));
	}
	return ERR_OK;
}

void args_free(struct args *a)
{
	free(a->words);
	free(a->options);
	*a = (struct args){0};
}

bool args_has(const struct args *a, const char *name)
{
	return args_get(a, name, NULL) != NULL;
}

const char *args_get(const struct args *a, const char *name, const char *otherwise)
{
	for (size_t i = a->option_count; i > 0; i--) {
		if (strcmp(a->options[i - 1].name, name) == 0)
			return a->options[i - 1].value;
	}
	return otherwise;
}

enum err number_parse(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno)
		return err_set(ERR_RANGE, "%s: %s is not a number", what, text);
	if (v < min || v > max)
		return err_set(ERR_RANGE, "%s: %s lies outside %llu..%llu", what, text,
			(unsigned long long)min, (unsigned long long)max);
	*out = v;
	return ERR_OK;
}

enum err args_number(
	const struct args *a, const char *name, uint64_t min, uint64_t max, uint64_t *out)
{
	const char *text = args_get(a, name, NULL);

	return text ? number_parse(text, name, min, max, out) : ERR_OK;
}

enum err ctl_moment(const char *text, const char *what, char out[24])
{
	struct tm tm = {.tm_mday = 1};
	const char *end = NULL;

	if (text[0] != '\0' && text[strspn(text, "0123456789")] == '\0') {
		uint64_t ms;

		TRY(number_parse(text, what, 0, INT64_MAX, &ms));
		snprintf(out, 24, "%" PRIu64, ms);
		return ERR_OK;
	}
	static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		tm = (struct tm){.tm_mday = 1};
		end = strptime(text, forms[i], &tm);
		if (end && (*end == '\0' || strcmp(end, "Z") == 0))
			break;
		end = NULL;
	}
	int64_t seconds = end ? (int64_t)timegm(&tm) : -1;
	if (seconds < 0)
		return err_set(ERR_RANGE,
			"--%s is a day (2026-11-21), a moment (2026-11-21T12:00) or unix ms", what);
	snprintf(out, 24, "%" PRId64 "000", seconds);
	return ERR_OK;
}
