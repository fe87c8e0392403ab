// completion bash|zsh|fish: scripts made from the tables of commands and options.
#include "server/ctl/ctl.h"
#include <string.h>

// Second words of the groups ("channel" -> "create list ..."), each group once.
static void group_words(const char *group, size_t n, const char *gap)
{
	const char *between = "";

	for (size_t i = 0; i < ctl_command_count; i++) {
		const char *name = ctl_commands[i].name;

		if (strncmp(name, group, n) == 0 && name[n] == ' ') {
			printf("%s%s", between, name + n + 1);
			between = gap;
		}
	}
}

static size_t first_word(const char *name)
{
	return strcspn(name, " ");
}

static bool is_first_of_group(size_t at)
{
	const char *name = ctl_commands[at].name;
	size_t n = first_word(name);

	for (size_t i = 0; i < at; i++) {
		if (first_word(ctl_commands[i].name) == n &&
			memcmp(ctl_commands[i].name, name, n) == 0)
			return false;
	}
	return true;
}

static void options_words(const struct option_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		printf(" --%s", rows[i].name);
}

static void top_words(void)
{
	for (size_t i = 0; i < ctl_command_count; i++) {
		if (is_first_of_group(i))
			printf(" %.*s", (int)first_word(ctl_commands[i].name),
				ctl_commands[i].name);
	}
}

static void cases_print(void)
{
	for (size_t i = 0; i < ctl_command_count; i++) {
		const struct command *k = &ctl_commands[i];

		printf("\t\"%s\") options=\"", k->name);
		options_words(k->options, k->option_count);
		puts("\" ;;");
	}
}

static void bash_print(void)
{
	printf("# bash completion of helioctl: source <(helioctl completion bash)\n"
	       "_helioctl() {\n"
	       "\tlocal current=${COMP_WORDS[COMP_CWORD]} words=() word options= i\n"
	       "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	       "\t\tword=${COMP_WORDS[i]}\n"
	       "\t\tcase $word in\n"
	       "\t\t--config|--timeout|--seat) ((i++)) ;;\n"
	       "\t\t-*) ;;\n"
	       "\t\t*) words+=(\"$word\") ;;\n"
	       "\t\tesac\n"
	       "\tdone\n"
	       "\tlocal group=${words[0]-} two=\"${words[0]-} ${words[1]-}\"\n"
	       "\tif [[ ${#words[@]} -eq 0 && $current != -* ]]; then\n"
	       "\t\tCOMPREPLY=($(compgen -W \"");
	top_words();
	printf("\" -- \"$current\"))\n\t\treturn\n\tfi\n"
	       "\tif [[ ${#words[@]} -eq 1 && $current != -* ]]; then\n\t\tcase $group in\n");
	for (size_t i = 0; i < ctl_command_count; i++) {
		const char *name = ctl_commands[i].name;
		size_t n = first_word(name);

		if (!name[n] || !is_first_of_group(i))
			continue;
		printf("\t\t%.*s) COMPREPLY=($(compgen -W \"", (int)n, name);
		group_words(name, n, " ");
		printf("\" -- \"$current\")); return ;;\n");
	}
	printf("\t\tcompletion) COMPREPLY=($(compgen -W \"bash zsh fish\" -- \"$current\")); "
	       "return ;;\n"
	       "\t\tenrol) COMPREPLY=($(compgen -W \"client publisher operator server broker "
	       "watcher\" "
	       "-- \"$current\")); return ;;\n"
	       "\t\tbroker-conf) COMPREPLY=($(compgen -W \"control data test\" -- \"$current\")); "
	       "return ;;\n"
	       "\t\tesac\n\tfi\n\tif [[ $current == -* ]]; then\n\tcase $two in\n");
	cases_print();
	printf("\t*) case $group in\n");
	cases_print();
	printf("\tesac ;;\n\tesac\n\t\tCOMPREPLY=($(compgen -W \"$options");
	options_words(ctl_global_options, ctl_global_option_count);
	printf("\" -- \"$current\"))\n\t\treturn\n\tfi\n\tCOMPREPLY=($(compgen -f -- "
	       "\"$current\"))\n}\n"
	       "complete -o filenames -F _helioctl helioctl\n");
}

static void zsh_print(void)
{
	puts("#compdef helioctl\n# zsh completion of helioctl: source <(helioctl completion zsh)\n"
	     "autoload -U +X bashcompinit && bashcompinit");
	bash_print();
}

// 'text' for fish: quotes and backslashes get a backslash.
static void fish_quote(const char *text)
{
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('\'');
}

static void fish_options(const struct option_row *rows, size_t count, const char *condition)
{
	for (size_t i = 0; i < count; i++) {
		printf("complete -c helioctl %s -l %s%s -d ", condition, rows[i].name,
			rows[i].value ? " -r" : "");
		fish_quote(rows[i].help);
		putchar('\n');
	}
}

static void fish_print(void)
{
	char condition[256];

	puts("# fish completion of helioctl: helioctl completion fish | source");
	fish_options(ctl_global_options, ctl_global_option_count, "");
	puts("complete -c helioctl -f -n '__fish_seen_subcommand_from broker-conf' -a 'control "
	     "data test'\n"
	     "complete -c helioctl -f -n '__fish_seen_subcommand_from completion' -a 'bash zsh "
	     "fish'\n"
	     "complete -c helioctl -f -n '__fish_seen_subcommand_from enrol' "
	     "-a 'client publisher operator server broker watcher'");
	for (size_t i = 0; i < ctl_command_count; i++) {
		const struct command *k = &ctl_commands[i];
		size_t n = first_word(k->name);

		if (is_first_of_group(i)) {
			printf("complete -c helioctl -f -n __fish_use_subcommand -a %.*s -d ",
				(int)n, k->name);
			fish_quote(k->name[n] ? "" : k->help);
			putchar('\n');
		}
		if (k->name[n]) {
			printf("complete -c helioctl -f -n '__fish_seen_subcommand_from %.*s' -a "
			       "%s -d ",
				(int)n, k->name, k->name + n + 1);
			fish_quote(k->help);
			putchar('\n');
		}
		snprintf(condition, sizeof(condition), "-n '__fish_seen_subcommand_from %.*s%s%s'",
			(int)n, k->name, k->name[n] ? "; and __fish_seen_subcommand_from " : "",
			k->name[n] ? k->name + n + 1 : "");
		fish_options(k->options, k->option_count, condition);
	}
}

enum exit_code cmd_completion(struct ctl *c, const struct args *a)
{
	if (strcmp(a->words[0], "bash") == 0)
		bash_print();
	else if (strcmp(a->words[0], "zsh") == 0)
		zsh_print();
	else if (strcmp(a->words[0], "fish") == 0)
		fish_print();
	else
		return ctl_usage(c, "a shell is bash, zsh or fish");
	return EXIT_DONE;
}
