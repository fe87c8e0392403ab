// From argv to a command, and from an error to a sentence and an exit code.
#include "server/ctl/ctl.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "server/ctl/text.h"
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT(field) SETTING_AT(struct ctl_settings, field)

const struct setting ctl_setting_rows[] = {
	LOG_LEVEL_ROW(struct ctl_settings, log_level, "warn"),
	{"identity", "seats", SETTING_PATH, AT(seats), 0, 0, "", NULL,
		"folder prefix of the seats: out/alice means out/alice.1, out/alice.2 ..."},
	{"identity", "root_file", SETTING_PATH, AT(root_file), 0, 0, "", NULL,
		"signed root of trust (default: root.bin in the seat's folder)"},
	{"identity", "root_key", SETTING_PATH, AT(root_key), 0, 0, "", NULL,
		"root public key, 64 hex digits (default: root.pub in the seat's folder)"},
	TLS_ENABLED_ROW(struct ctl_settings, tls),
	{"tls", "ca", SETTING_PATH, AT(tls_ca), 0, 0, "", NULL,
		"authority of the broker's certificate (default: ca.crt in the seat's folder)"},
	CONTROL_ROWS(struct ctl_settings, control),
	{"publisher", "socket", SETTING_PATH, AT(publisher_socket), 0, 0, "", NULL,
		"socket of helio-publisher on this machine"},
	{"ca", "dir", SETTING_PATH, AT(ca_dir), 0, 0, "", NULL,
		"folder of `helioctl ca init`: release keys and certificates"},
	{"wait", "timeout_s", SETTING_U32, AT(timeout_s), 3, 86400, "30", NULL,
		"longest wait for an answer (--timeout)"},
};
const size_t ctl_setting_count = CTL_COUNT(ctl_setting_rows);

const struct option_row ctl_global_options[] = {
	{"config", "FILE", "settings (else HELIOCTL_CONFIG, ~/.config/heliograph/helioctl.ini)"},
	{"json", NULL, "one JSON document on standard output"},
	{"timeout", "SECONDS", "longest wait for an answer"},
	{"seat", "ID", "this seat instead of the first free one"},
	{"quiet", NULL, "no remarks, no progress bars"},
	{"help", NULL, "what a command does and takes"},
	{"version", NULL, "version of this program"},
	{"check-config", NULL, "read the settings and say whether they are good"},
};
const size_t ctl_global_option_count = CTL_COUNT(ctl_global_options);

// ---- speaking

const char *ctl_safe(const char *text)
{
	static char slots[8][1024];
	static unsigned next;
	char *out = slots[next++ % 8];
	SCOPED_BUF struct buf safe;

	buf_init(&safe, sizeof(slots[0]) - 1);
	// Longer ones are cut where the buffer is full.
	if (text_escape(&safe, text, (size_t)text_most(text, 512)) != ERR_OK && safe.size == 0)
		return "?";
	if (safe.size > 0)
		memcpy(out, safe.data, safe.size);
	out[safe.size] = '\0';
	return out;
}

// One line, whatever stands in its parts.
static void line_print(FILE *to, const char *format, va_list args) PRINTF_LIKE(2, 0);

static void line_print(FILE *to, const char *format, va_list args)
{
	SCOPED_FREE char *line = NULL;

	if (vasprintf(&line, format, args) < 0)
		line = NULL;
	else
		text_print(to, line);
	fputc('\n', to);
}

void ctl_say(const struct ctl *c, const char *format, ...)
{
	va_list args;

	if (c->json || c->quiet)
		return;
	va_start(args, format);
	line_print(stdout, format, args);
	va_end(args);
}

void ctl_note(const struct ctl *c, const char *format, ...)
{
	va_list args;

	if (c->quiet)
		return;
	va_start(args, format);
	line_print(stderr, format, args);
	va_end(args);
}

enum exit_code ctl_exit_code(enum err e)
{
	switch (e) {
	case ERR_OK:
		return EXIT_DONE;
	case ERR_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case ERR_DENIED:
	case ERR_AUTH:
	case ERR_EXISTS:
	case ERR_NOT_NOW:
	case ERR_STALE:
		return EXIT_REFUSED;
	case ERR_TIMEOUT:
	case ERR_CLOSED:
		return EXIT_UNREACHABLE;
	case ERR_FORMAT:
	case ERR_RANGE:
	case ERR_FULL:
	case ERR_NO_SPACE:
	case ERR_READ_ONLY:
	case ERR_IO:
	case ERR_CORRUPT:
	case ERR_VERSION:
	case ERR_UNSUPPORTED:
	case ERR_MEMORY:
	case ERR_COUNT:
		return EXIT_FAILED;
	}
	return EXIT_FAILED;
}

static void failure_json(const struct ctl *c, const char *word, const char *why)
{
	SCOPED_JSON cJSON *j = cJSON_CreateObject();

	if (!c->json)
		return;
	cJSON_AddBoolToObject(j, "ok", false);
	cJSON_AddStringToObject(j, "error_word", word);
	cJSON_AddStringToObject(j, "error", why);
	json_print(stdout, j, true);
}

enum exit_code ctl_fail(const struct ctl *c, enum err e)
{
	failure_json(c, err_word(e), err_text());
	fprintf(stderr, "helioctl: %s\n", ctl_safe(err_text()));
	return ctl_exit_code(e);
}

enum exit_code ctl_usage(const struct ctl *c, const char *format, ...)
{
	char why[512];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	failure_json(c, "usage", why);
	fprintf(stderr, "helioctl: %s", ctl_safe(why));
	if (c->command)
		fprintf(stderr, "\nusage: helioctl %s %s\n", c->command->name, c->command->args);
	else
		fputs("; see helioctl --help\n", stderr);
	return EXIT_USAGE;
}

// ---- help

static void options_explain(const struct option_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char left[48];

		snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].value ? " " : "",
			rows[i].value ? rows[i].value : "");
		printf("  %-24s %s\n", left, rows[i].help);
	}
}

static void command_explain(const struct command *k)
{
	printf("helioctl %s: %s\n\nusage: helioctl %s %s\n", k->name, k->help, k->name, k->args);
	if (k->option_count > 0)
		puts("\noptions:");
	options_explain(k->options, k->option_count);
	puts("\nfor every command:");
	options_explain(ctl_global_options, ctl_global_option_count);
	if (k->more)
		printf("\n%s\n", k->more);
}

static void program_explain(void)
{
	printf("helioctl: runs a Heliograph fleet from the command line\n\n"
	       "usage: helioctl COMMAND [ARGUMENTS] [OPTIONS]\n\ncommands:\n");
	for (size_t i = 0; i < ctl_command_count; i++)
		printf("  %-18s %s\n", ctl_commands[i].name, ctl_commands[i].help);
	puts("\nfor every command (helioctl COMMAND --help says more):");
	options_explain(ctl_global_options, ctl_global_option_count);
	puts("\nexit codes: 0 done, 1 failed, 2 wrong use, 3 nobody answered, 4 refused, 5 not "
	     "found\n"
	     "\nsettings:");
	settings_explain(ctl_setting_rows, ctl_setting_count, stdout);
}

// ---- the command line

// Index of the n-th argument that is not a global option; argc when there are fewer.
static int word_at(int argc, char **argv, int n)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-') {
			for (size_t k = 0; k < ctl_global_option_count; k++) {
				if (ctl_global_options[k].value && strncmp(argv[i], "--", 2) == 0 &&
					strcmp(argv[i] + 2, ctl_global_options[k].name) == 0) {
					i++;
					break;
				}
			}
			continue;
		}
		if (n-- == 0)
			return i;
	}
	return argc;
}

// The row whose one or two words stand first. The words are blanked out of argv by *used.
static const struct command *command_find(int argc, char **argv, int used[2])
{
	used[0] = word_at(argc, argv, 0);
	used[1] = word_at(argc, argv, 1);
	for (size_t i = 0; used[0] < argc && i < ctl_command_count; i++) {
		const char *name = ctl_commands[i].name, *blank = strchr(name, ' ');
		size_t n = blank ? (size_t)(blank - name) : strlen(name);

		if (strlen(argv[used[0]]) != n || memcmp(argv[used[0]], name, n) != 0)
			continue;
		if (!blank) {
			used[1] = argc;
			return &ctl_commands[i];
		}
		if (used[1] < argc && strcmp(argv[used[1]], blank + 1) == 0)
			return &ctl_commands[i];
	}
	return NULL;
}

// The second word of a command whose first word is the group; NULL: it is of another group.
static const char *word_in_group(const struct command *k, const char *group)
{
	size_t n = strlen(group);

	return strncmp(k->name, group, n) == 0 && k->name[n] == ' ' ? k->name + n + 1 : NULL;
}

static bool group_explain(const char *group)
{
	bool is_any = false;

	for (size_t i = 0; i < ctl_command_count; i++) {
		const struct command *k = &ctl_commands[i];

		if (!word_in_group(k, group))
			continue;
		if (!is_any)
			printf("helioctl %s: several commands\n\ncommands:\n", group);
		is_any = true;
		printf("  %s %s\n      %s\n", k->name, k->args, k->help);
	}
	if (is_any)
		printf("\nhelioctl %s WORD --help says more of one.\n", group);
	return is_any;
}

static enum exit_code unknown_command(const struct ctl *c, int argc, char **argv, const int used[2])
{
	char group[400] = "";

	if (used[0] >= argc)
		return ctl_usage(c, "a command is missing");
	for (size_t i = 0; i < ctl_command_count; i++) {
		const char *word = word_in_group(&ctl_commands[i], argv[used[0]]);

		if (word)
			text_join(group, sizeof(group), "%s", word);
	}
	if (*group && used[1] < argc)
		return ctl_usage(c, "unknown command %s %s: after %s comes one of: %s",
			ctl_safe(argv[used[0]]), ctl_safe(argv[used[1]]), argv[used[0]], group);
	if (*group)
		return ctl_usage(c, "after %s comes one of: %s", argv[used[0]], group);
	return ctl_usage(c, "unknown command %s", ctl_safe(argv[used[0]]));
}

// ---- settings

static enum err config_find(struct ctl *c, const struct args *a)
{
	const char *path = args_get(a, "config", NULL), *home = getenv("HOME");
	const char *base = getenv("XDG_CONFIG_HOME");

	if (!path)
		path = getenv("HELIOCTL_CONFIG");
	if (path && *path) {
		if (!str_copy(c->config, sizeof(c->config), path))
			return err_set(ERR_RANGE, "the path of the settings is too long");
		return ERR_OK;
	}
	int n = base && *base
			? snprintf(c->config, sizeof(c->config), "%s/heliograph/helioctl.ini", base)
			: snprintf(c->config, sizeof(c->config),
				  "%s/.config/heliograph/helioctl.ini", home ? home : "");
	if (n < 0 || (size_t)n >= sizeof(c->config) || access(c->config, R_OK) != 0)
		c->config[0] = '\0';
	return ERR_OK;
}

static enum err settings_take(struct ctl *c, const struct args *a, bool needed)
{
	enum log_level level;
	uint64_t timeout_s = 0;

	TRY(config_find(c, a));
	if (!*c->config && needed)
		return err_set(ERR_NOT_FOUND,
			"no settings: give --config FILE or HELIOCTL_CONFIG, or "
			"write ~/.config/heliograph/helioctl.ini (helioctl --help)");
	TRY(settings_read(*c->config ? c->config : "/dev/null", ctl_setting_rows, ctl_setting_count,
		&c->settings));
	if (log_level_parse(c->settings.log_level, &level))
		log_set_level(level);
	timeout_s = c->settings.timeout_s;
	TRY(args_number(a, "timeout", 1, 86400, &timeout_s));
	c->timeout_ms = (uint32_t)timeout_s * 1000;
	c->seat = args_get(a, "seat", NULL);
	return ERR_OK;
}

static enum exit_code command_run(struct ctl *c, const struct args *a)
{
	const struct command *k = c->command;

	if (args_has(a, "help")) {
		command_explain(k);
		return EXIT_DONE;
	}
	enum err e = settings_take(c, a, k->need == NEED_SETTINGS);
	if (e != ERR_OK) {
		ctl_fail(c, e);
		return EXIT_USAGE;
	}
	if (a->word_count < k->words_min)
		return ctl_usage(c, "%s needs more arguments", k->name);
	if (a->word_count > k->words_max)
		return ctl_usage(
			c, "%s takes no argument %s", k->name, ctl_safe(a->words[k->words_max]));
	enum exit_code code = k->run(c, a);
	if (fflush(stdout) != 0 && code == EXIT_DONE)
		return EXIT_FAILED;
	return code;
}

static enum exit_code without_command(struct ctl *c, int argc, char **argv, const int used[2])
{
	struct args a;
	enum err e = args_parse(
		ctl_global_options, ctl_global_option_count, NULL, 0, argc - 1, argv + 1, &a);
	enum exit_code code = EXIT_DONE;

	if (used[0] < argc && e == ERR_OK && args_has(&a, "help") && used[1] >= argc &&
		group_explain(argv[used[0]])) {
		code = EXIT_DONE;
	} else if (used[0] < argc || (e == ERR_OK && a.option_count == 0)) {
		code = unknown_command(c, argc, argv, used);
	} else if (e != ERR_OK) {
		code = ctl_usage(c, "%s", ctl_safe(err_text()));
	} else if (args_has(&a, "help")) {
		program_explain();
	} else if (args_has(&a, "version")) {
		printf("helioctl %s\n", HELIO_VERSION);
	} else if (args_has(&a, "check-config")) {
		e = settings_take(c, &a, true);
		code = e == ERR_OK ? EXIT_DONE : EXIT_USAGE;
		if (e == ERR_OK)
			printf("helioctl: %s is good\n", c->config);
		else
			ctl_fail(c, e);
	} else {
		code = unknown_command(c, argc, argv, used);
	}
	args_free(&a);
	return code;
}

enum exit_code ctl_main(int argc, char **argv)
{
	static struct ctl c;
	int used[2];
	struct args a;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	log_init("helioctl", LOG_WARN);
	c = (struct ctl){.out = term_of(stdout), .err = term_of(stderr)};
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		c.json = c.json || strcmp(argv[i], "--json") == 0;
	static char help[] = "--help";
	int first = word_at(argc, argv, 0);
	if (first < argc && strcmp(argv[first], "help") == 0)
		argv[first] = help; // helioctl help customer plan
	c.command = command_find(argc, argv, used);
	if (!c.command)
		return without_command(&c, argc, argv, used);
	SCOPED_FREE char **rest = calloc((size_t)argc + 1, sizeof(char *));
	int count = 0;
	if (!rest)
		return EXIT_FAILED;
	for (int i = 1; i < argc; i++) {
		if (i != used[0] && i != used[1])
			rest[count++] = argv[i];
	}
	enum err e = args_parse(c.command->options, c.command->option_count, ctl_global_options,
		ctl_global_option_count, count, rest, &a);
	c.quiet = args_has(&a, "quiet");
	enum exit_code code =
		e == ERR_OK ? command_run(&c, &a) : ctl_usage(&c, "%s", ctl_safe(err_text()));
	args_free(&a);
	return code;
}
