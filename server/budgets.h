// Budgets: how many bytes a second, and how many transfers at once, an operator lets pass at a data
// broker, at a site, to a client. Pure, in memory.
//
//   [data] budget = KIND NAME BYTES_PER_S [FETCHES]   -> by settings --+
//   helioctl budget set KIND NAME ... -> a row of the store -> stored --+-> budgets_find
//
// KIND is broker, site or client; NAME its id, CUSTOMER/PLACE for a site, or * for all of the kind
// that have none of their own. What was said while running counts above the settings, until it is
// unset.
#ifndef HELIO_SERVER_BUDGETS_H
#define HELIO_SERVER_BUDGETS_H

#include "proto/base/err.h"
#include "proto/base/mem.h"
#include "proto/limits.h"
#include "server/customers.h"
#include <stdbool.h>
#include <stdint.h>

#define BUDGETS_MAX 10000
#define BUDGET_NAME SITE_MAX
#define BUDGET_RATE_MAX (UINT64_C(1) << 50)
#define BUDGET_FETCHES_MAX 1000000

enum budget_kind {
	BUDGET_BROKER = 1,
	BUDGET_SITE,
	BUDGET_CLIENT
};

struct budget {
	enum budget_kind kind;
	char name[BUDGET_NAME + 1];
	uint64_t bytes_per_s; // 0: no limit
	uint32_t fetches;     // at once, of a broker; 0: no limit
	bool is_stored;       // said while running
};

struct budgets;

struct budgets *budgets_new(void); // aborts when out of memory
void budgets_free(struct budgets *b);

const char *budget_word(enum budget_kind kind); // "broker"; "?" outside
// Errors: ERR_FORMAT.
enum err budget_kind_parse(const char *word, enum budget_kind *out) MUST_CHECK;
// What a budget may be. Errors: ERR_FORMAT (a name), ERR_RANGE.
enum err budget_check(const struct budget *b) MUST_CHECK;
// A line of the settings. Errors: those of budget_check.
enum err budget_parse(const char *line, struct budget *out) MUST_CHECK;

// One of the settings, or one that is stored, by its is_stored. Errors: ERR_FULL, ERR_EXISTS (the
// settings name it twice).
enum err budgets_put(struct budgets *b, const struct budget *one) MUST_CHECK;
// A line of the settings.
enum err budgets_line(struct budgets *b, const char *line) MUST_CHECK;
// Takes the stored one away; false: there is none.
bool budgets_unset(struct budgets *b, enum budget_kind kind, const char *name);
void budgets_unset_all(struct budgets *b); // what is stored
// What holds for the name: its own, else that of *, else NULL.
const struct budget *budgets_find(const struct budgets *b, enum budget_kind kind, const char *name);
// Each that holds, in no order; *cursor begins at NULL.
const struct budget *budgets_next(const struct budgets *b, void **cursor);

#endif
