// The agent's settings: rows that decide, one struct that holds them.
#ifndef HELIO_CLIENT_SETTINGS_H
#define HELIO_CLIENT_SETTINGS_H

#include "client/output_shelf.h"
#include "proto/fleet_settings.h"

#define AGENT_COMMAND_ARGS 32

struct agent_settings {
	struct fleet_settings fleet;
	uint32_t control_keepalive_s, connect_timeout_s, backoff_min_ms, backoff_max_ms;
	char state_dir[240];
	uint32_t interval_ms, response_max_age_ms, window_kib;
	uint64_t reserve_bytes;
	char hw_class[65], product[65];
	struct setting_list report_hosts, log_units, seeds;
	bool inventory;
	struct setting_list commands;
	uint32_t outputs_kept, output_max_bytes;
	char reboot[512], reboot_check[512], journal[512]; // words of a program
	uint32_t reboot_defer_max_s, reboot_wait_s;
	// [update], taken apart by update_rows.c
	struct setting_list update_handlers, update_restarts, update_checks, update_commits,
		update_rollbacks, update_windows;
	uint32_t update_trial_beats, update_trial_s, update_trial_starts, update_install_tries,
		update_penalty_s, update_attempts, update_timeout_s;
	char box_key[256], medium_dir[256];
	char dump_session_key[256];
	char boot_id_file[256];
};

// A command that the settings name: NAME TIMEOUT_S PATH ARG... ; a last word ... lets the
// operator's arguments follow. Nothing is ever given to a shell.
struct named_command {
	char *line; // owned; the words below point into it
	const char *name;
	uint32_t timeout_ms;
	const char *argv[AGENT_COMMAND_ARGS + 1];
	size_t argc;
	bool takes_args;
};

// A program and its arguments, cut at blanks. Owns its text by value.
struct words {
	char text[512];
	const char *argv[AGENT_COMMAND_ARGS + 1]; // NULL-terminated, into text
	size_t argc;
};
// Errors: ERR_RANGE, ERR_FORMAT (no word, or no absolute path).
enum err words_split(struct words *w, const char *line) MUST_CHECK;

// A log that the settings name.
enum log_source_kind {
	LOG_FILE,
	LOG_JOURNAL,
	LOG_RUN
};
struct log_source {
	enum log_source_kind kind;
	char name[LIMIT_ID + 1];
	char text[512]; // file: its path; journal: the unit; run: the line for words_split
};
// Errors: ERR_FORMAT, ERR_RANGE.
enum err log_source_parse(const char *line, struct log_source *out) MUST_CHECK;

const struct setting *agent_setting_rows(size_t *count);
enum err agent_settings_check(const void *settings) MUST_CHECK;
// out: initialised by this; freed with named_command_fini. Errors: ERR_FORMAT, ERR_RANGE,
// ERR_MEMORY.
enum err named_command_parse(const char *line, struct named_command *out) MUST_CHECK;
void named_command_fini(struct named_command *c);

#endif
