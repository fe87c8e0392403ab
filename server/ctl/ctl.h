// helioctl: the operator's command line.
//
// One command is one row of a table and one function in a file of its own; what they share is here:
// options that every command takes, settings, exit codes, and the two ways to speak: tables for
// people, JSON documents for scripts. Nothing here keeps state between two calls of the program but
// a seat's counters (api_session.h).
#ifndef HELIO_CTL_CTL_H
#define HELIO_CTL_CTL_H

#include "proto/fleet_settings.h"
#include "server/ctl/args.h"
#include "server/ctl/json.h"
#include "server/ctl/table.h"
#include "server/ctl/term.h"

struct ctl_settings {
	char log_level[LOG_LEVEL_ROOM];
	char seats[PATH_MAX];
	char root_file[PATH_MAX], root_key[PATH_MAX];
	bool tls;
	char tls_ca[PATH_MAX];
	struct control_settings control;
	char publisher_socket[PATH_MAX];
	char ca_dir[PATH_MAX];
	uint32_t timeout_s;
};

extern const struct setting ctl_setting_rows[];
extern const size_t ctl_setting_count;

struct ctl {
	struct ctl_settings settings;
	char config[PATH_MAX]; // the settings file that was read; "" when there is none
	bool json, quiet;
	const char *seat; // --seat, NULL: a free one
	uint32_t timeout_ms;
	struct term out, err;
	const struct command *command;
};

enum ctl_need {
	NEED_NOTHING,  // settings are read when there are any
	NEED_SETTINGS, // a settings file must be there
};

struct command {
	const char *name; // one or two words
	const char *args; // for help
	const char *help; // one line
	enum ctl_need need;
	size_t words_min, words_max;
	const struct option_row *options;
	size_t option_count;
	enum exit_code (*run)(struct ctl *c, const struct args *a);
	const char *more; // further paragraphs of --help; NULL: none
};

extern const struct command ctl_commands[];
extern const size_t ctl_command_count;
extern const struct option_row ctl_global_options[];
extern const size_t ctl_global_option_count;

// The whole program. argv[0] is its name.
enum exit_code ctl_main(int argc, char **argv);

// Says err_text() on standard error, or as a JSON document with --json, and gives the exit code of
// e.
enum exit_code ctl_fail(const struct ctl *c, enum err e);
enum exit_code ctl_exit_code(enum err e);
// Wrong use of the command line: one sentence, the usage line, EXIT_USAGE.
enum exit_code ctl_usage(const struct ctl *c, const char *format, ...) PRINTF_LIKE(2, 3);
// A line for people on standard output: not with --json, not with --quiet. Escaped by the caller.
void ctl_say(const struct ctl *c, const char *format, ...) PRINTF_LIKE(2, 3);
// A remark on standard error: not with --quiet.
void ctl_note(const struct ctl *c, const char *format, ...) PRINTF_LIKE(2, 3);
// text escaped, in one of 8 rotating buffers.
const char *ctl_safe(const char *text);

#define CTL_COUNT(array) (sizeof(array) / sizeof((array)[0]))

// ---- the commands, one file each

#define CTL_COMMAND(name) enum exit_code cmd_##name(struct ctl *c, const struct args *a)
CTL_COMMAND(ca_init);
CTL_COMMAND(ca_revoke);
CTL_COMMAND(enrol);
CTL_COMMAND(image_add);
CTL_COMMAND(image_list);
CTL_COMMAND(image_set);
CTL_COMMAND(image_retire);
CTL_COMMAND(image_restore);
CTL_COMMAND(image_gc);
CTL_COMMAND(image_thumb);
CTL_COMMAND(image_why);
CTL_COMMAND(image_remove);
CTL_COMMAND(package_build);
CTL_COMMAND(package_orders);
CTL_COMMAND(package_list);
CTL_COMMAND(package_show);
CTL_COMMAND(package_publish);
CTL_COMMAND(package_withdraw);
CTL_COMMAND(channel_create);
CTL_COMMAND(channel_list);
CTL_COMMAND(channel_publish);
CTL_COMMAND(channel_rollback);
CTL_COMMAND(channel_pause);
CTL_COMMAND(channel_resume);
CTL_COMMAND(channel_rate);
CTL_COMMAND(channel_close);
CTL_COMMAND(channel_weight);
CTL_COMMAND(consolidate);
CTL_COMMAND(client_list);
CTL_COMMAND(client_show);
CTL_COMMAND(client_add);
CTL_COMMAND(client_remove);
CTL_COMMAND(client_revoke);
CTL_COMMAND(client_channel);
CTL_COMMAND(client_accept);
CTL_COMMAND(ask);
CTL_COMMAND(output);
CTL_COMMAND(command_withdraw);
CTL_COMMAND(exec);
CTL_COMMAND(interval);
CTL_COMMAND(silence_release);
CTL_COMMAND(cancel);
CTL_COMMAND(status);
CTL_COMMAND(why);
CTL_COMMAND(queue);
CTL_COMMAND(brokers);
CTL_COMMAND(servers);
CTL_COMMAND(leases);
CTL_COMMAND(budget_list);
CTL_COMMAND(budget_set);
CTL_COMMAND(budget_unset);
CTL_COMMAND(operations);
CTL_COMMAND(reports);
CTL_COMMAND(freshness);
CTL_COMMAND(usage);
CTL_COMMAND(usage_export);
CTL_COMMAND(usage_gaps);
CTL_COMMAND(media_list);
CTL_COMMAND(media_show);
CTL_COMMAND(media_route);
CTL_COMMAND(media_order);
CTL_COMMAND(media_posted);
CTL_COMMAND(media_cancel);
CTL_COMMAND(media_merge);
CTL_COMMAND(customer_add);
CTL_COMMAND(customer_set);
CTL_COMMAND(customer_remove);
CTL_COMMAND(customer_list);
CTL_COMMAND(customer_encrypt);
CTL_COMMAND(customer_keys);
CTL_COMMAND(customer_show);
CTL_COMMAND(customer_plan);
CTL_COMMAND(customer_plan_remove);
CTL_COMMAND(customer_place);
CTL_COMMAND(customer_place_remove);
CTL_COMMAND(customer_client);
CTL_COMMAND(customer_client_remove);
CTL_COMMAND(customer_history);
CTL_COMMAND(customer_preview);
CTL_COMMAND(customer_diff);
CTL_COMMAND(media_record);
CTL_COMMAND(counters);
CTL_COMMAND(flow);
CTL_COMMAND(watch);
CTL_COMMAND(decode);
CTL_COMMAND(replay);
CTL_COMMAND(topics);
CTL_COMMAND(doctor);
CTL_COMMAND(broker_conf);
CTL_COMMAND(completion);

#endif
