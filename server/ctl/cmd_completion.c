// completion bash|zsh|fish: scripts made from the tables of commands and options.
#include "server/ctl/ctl.h"
#include <string.h>

// First arguments out of a closed list.
static const struct {
	const char *command, *words;
} choices[] = {
	{"completion", "bash zsh fish"},
	{"enrol", "client publisher operator server broker watcher"},
	{"broker-conf", "control data test"},
};

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

// The global options that take a value: "--config|--seat".
static void value_options(void)
{
	const char *between = "";

	for (size_t i = 0; i < ctl_global_option_count; i++) {
		if (!ctl_global_options[i].value)
			continue;
		printf("%s--%s", between, ctl_global_options[i].name);
		between = "|";
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
	       "\t\t");
	value_options();
	printf(") ((i++)) ;;\n"
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
	for (size_t i = 0; i < CTL_COUNT(choices); i++)
		printf("\t\t%s) COMPREPLY=($(compgen -W \"%s\" -- \"$current\")); return ;;\n",
			choices[i].command, choices[i].words);
	printf("\t\tesac\n\tfi\n\tif [[ $current == -* ]]; then\n\tcase $two in\n");
	cases_print();
	printf("\t*) case $group in\n");
	cases_print();
	printf("\tesac ;;\n\tesac\n\t\tCOMPREPLY=($(compgen -W \"$options");
	options_words(ctl_global_options, ctl_global_option_count);
	printf("\" -- \"$current\"))\n\t\treturn\n\tfi\n\tCOMPREPLY=($(compgen -f -- "
	       "\"$current\"))\n}\n"
	       "complete -o filenames -F _helioctl helioctl\n");
}

// ---- zsh

// 'name:help' for _describe, in quotes that nothing ends early.
static void zsh_item(const char *dashes, const char *name, const char *help)
{
	printf(" '%s%s:", dashes, name);
	for (; *help; help++) {
		if (*help == '\'')
			printf("'\\''");
		else
			putchar(*help);
	}
	putchar('\'');
}

static void zsh_options(const struct option_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		zsh_item("--", rows[i].name, rows[i].help);
}

// Options by command: one word or two.
static void zsh_cases(bool two)
{
	for (size_t i = 0; i < ctl_command_count; i++) {
		const struct command *k = &ctl_commands[i];

		if ((k->name[first_word(k->name)] != '\0') != two || k->option_count == 0)
			continue;
		printf("\t'%s') options=(", k->name);
		zsh_options(k->options, k->option_count);
		puts(" ) ;;");
	}
}

static void zsh_first_words(void)
{
	printf("\tif (( $#given == 0 )); then\n\t\tchoices=(");
	for (size_t i = 0; i < ctl_command_count; i++) {
		const char *name = ctl_commands[i].name;
		size_t n = first_word(name);
		char group[32];

		if (!is_first_of_group(i))
			continue;
		snprintf(group, sizeof(group), "%.*s", (int)n, name);
		zsh_item("", group, name[n] ? "..." : ctl_commands[i].help);
	}
	puts(" )\n\t\t_describe command choices\n\t\treturn\n\tfi");
}

static void zsh_group(size_t first)
{
	const char *group = ctl_commands[first].name;
	size_t n = first_word(group);

	printf("\t\t%.*s) choices=(", (int)n, group);
	for (size_t i = first; i < ctl_command_count; i++) {
		const char *name = ctl_commands[i].name;

		if (strncmp(name, group, n + 1) == 0)
			zsh_item("", name + n + 1, ctl_commands[i].help);
	}
	puts(" ) ;;");
}

static void zsh_second_words(void)
{
	puts("\tif (( $#given == 1 )); then\n\t\tcase $given[1] in");
	for (size_t i = 0; i < ctl_command_count; i++) {
		if (ctl_commands[i].name[first_word(ctl_commands[i].name)] && is_first_of_group(i))
			zsh_group(i);
	}
	for (size_t i = 0; i < CTL_COUNT(choices); i++)
		printf("\t\t%s) choices=( %s ) ;;\n", choices[i].command, choices[i].words);
	puts("\t\tesac\n"
	     "\t\tif (( $#choices )); then _describe argument choices; return; fi\n"
	     "\tfi");
}

static void zsh_print(void)
{
	puts("#compdef helioctl\n"
	     "# zsh completion of helioctl: source <(helioctl completion zsh), or save it as\n"
	     "# _helioctl in a folder of $fpath.\n"
	     "_helioctl() {\n"
	     "\tlocal -a given options choices\n"
	     "\tlocal -i i\n"
	     "\tfor ((i = 2; i < CURRENT; i++)); do\n"
	     "\t\tcase $words[i] in");
	printf("\t\t");
	value_options();
	puts(") ((i++)) ;;\n"
	     "\t\t-*) ;;\n"
	     "\t\t*) given+=($words[i]) ;;\n"
	     "\t\tesac\n"
	     "\tdone\n"
	     "\tif [[ $PREFIX == -* ]]; then\n"
	     "\tcase $given[1] in");
	zsh_cases(false);
	puts("\tesac\n\tcase \"$given[1] $given[2]\" in");
	zsh_cases(true);
	printf("\tesac\n\toptions+=(");
	zsh_options(ctl_global_options, ctl_global_option_count);
	puts(" )\n\t_describe -o option options\n\treturn\n\tfi");
	zsh_first_words();
	zsh_second_words();
	puts("\t_files\n"
	     "}\n"
	     "if [[ $funcstack[1] == _helioctl ]]; then\n"
	     "\t_helioctl \"$@\"\n"
	     "else\n"
	     "\t(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"
	     "\tcompdef _helioctl helioctl\n"
	     "fi");
}

// ---- fish

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

static void fish_command(const struct command *k, bool begins_group)
{
	size_t n = first_word(k->name);
	char condition[128];

	if (begins_group) {
		printf("complete -c helioctl -f -n __helioctl_at -a %.*s -d ", (int)n, k->name);
		fish_quote(k->name[n] ? "..." : k->help);
		putchar('\n');
	}
	if (k->name[n]) {
		printf("complete -c helioctl -f -n '__helioctl_at %.*s' -a %s -d ", (int)n, k->name,
			k->name + n + 1);
		fish_quote(k->help);
		putchar('\n');
	}
	snprintf(condition, sizeof(condition), "-n '__helioctl_in %s'", k->name);
	fish_options(k->options, k->option_count, condition);
}

static void fish_print(void)
{
	puts("# fish completion of helioctl: helioctl completion fish | source\n"
	     "function __helioctl_given -d 'the words that are no options'\n"
	     "\tset -l words (commandline -opc)\n"
	     "\tset -l skip no\n"
	     "\tfor word in $words[2..-1]\n"
	     "\t\tif test $skip = yes\n"
	     "\t\t\tset skip no\n"
	     "\t\t\tcontinue\n"
	     "\t\tend\n"
	     "\t\tswitch $word");
	printf("\t\tcase");
	for (size_t i = 0; i < ctl_global_option_count; i++) {
		if (ctl_global_options[i].value)
			printf(" --%s", ctl_global_options[i].name);
	}
	puts("\n\t\t\tset skip yes\n"
	     "\t\tcase '-*'\n"
	     "\t\tcase '*'\n"
	     "\t\t\techo $word\n"
	     "\t\tend\n"
	     "\tend\n"
	     "end\n"
	     "function __helioctl_at -d 'the words so far are these'\n"
	     "\tset -l given (__helioctl_given)\n"
	     "\ttest \"$given\" = \"$argv\"\n"
	     "end\n"
	     "function __helioctl_in -d 'the words so far begin with these'\n"
	     "\tset -l given (__helioctl_given)\n"
	     "\tstring match -q -- \"$argv *\" \"$given \"\n"
	     "end");
	fish_options(ctl_global_options, ctl_global_option_count, "");
	for (size_t i = 0; i < CTL_COUNT(choices); i++)
		printf("complete -c helioctl -f -n '__helioctl_at %s' -a '%s'\n",
			choices[i].command, choices[i].words);
	for (size_t i = 0; i < ctl_command_count; i++)
		fish_command(&ctl_commands[i], is_first_of_group(i));
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
