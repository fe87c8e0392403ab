// Criteria: what an expression means, what it refuses, and which term decided.
#include "tests/unit/helper.h"

#include "server/criteria.h"
#include <string.h>

static const char *const tags[] = {"sea", "City", "rating=4", "old town", "taken=2026-05-01"};
static const struct criteria_picture harbour = {.title = "Harbour at dawn",
	.licence = "CC0-1.0",
	.tags = tags,
	.tag_count = 5,
	.width_px = 1920,
	.height_px = 1080,
	.weight = 2,
	.size_bytes = 400000,
	.added_unix_ms = 1767225600000}; // 2026-01-01

static bool matches(const char *expression)
{
	static struct criteria c;

	assert_int_equal(criteria_parse(expression, &c), ERR_OK);
	return criteria_match(&c, &harbour, NULL);
}

static void S001_c9b_tags_and_comparisons_mean_what_they_say(void **state)
{
	static const struct {
		const char *expression;
		bool holds;
	} cases[] = {
		{"sea", true},
		{"SEA", true},
		{"city", true},
		{"night", false},
		{"se", false},
		{"*", true},
		{"not *", false},
		{"sea and city", true},
		{"sea and night", false},
		{"night or city", true},
		{"not night", true},
		{"not not sea", true},
		{"not sea or city", true}, // (not sea) or city
		{"not (sea or city)", false},
		{"sea or night and night", true}, // sea or (night and night)
		{"(sea or night) and night", false},
		{"((((sea))))", true},
		{"\"old town\"", true},
		{"\"old town\" and not \"new town\"", true},
		{"orientation = landscape", true},
		{"orientation=portrait", false},
		{"width >= 1920 and height < 1081", true},
		{"width > 1920", false},
		{"bytes <= 400000", true},
		{"rating > 3", true},
		{"rating >= 4.5", false},
		{"rating = 4", true},
		{"rating != 4", false},
		{"taken >= 2026-05-01 and taken < 2026-05-02", true},
		{"added >= 2026-01-01", true},
		{"added > 2026-01-01", false},
		{"title = \"harbour at dawn\"", true},
		{"licence = cc0-1.0", true},
		{"weight = 2", true},
		// What is not there equals nothing and unequals nothing.
		{"released < 2027-01-01", false},
		{"released != 2027-01-01", false},
		{"stars > 1", false},
		{"not stars > 1", true},
		{"width = wide", false},
		{"width != wide", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (matches(cases[i].expression) != cases[i].holds)
			fail_msg("%s", cases[i].expression);
	}
}

static void S001_c9b_an_empty_criterion_matches_nothing(void **state)
{
	(void)state;
	assert_false(matches(""));
	assert_false(matches("    "));
	assert_true(matches("*"));
}

static void what_makes_no_sense_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *expression, *sentence;
	} cases[] = {
		{"sea and", "column 8: a tag or a comparison is missing"},
		{"and sea", "column 1: a tag or a comparison is missing"},
		{"sea city", "column 5: `and` or `or` is missing"},
		{"(sea", "column 5: a closing parenthesis is missing"},
		{"sea)", "column 4: this parenthesis was never opened"},
		{"()", "column 2: a tag or a comparison is missing"},
		{"width >", "column 8: a value is missing after the comparison"},
		{"width > and", NULL}, // a value may be any word
		{"width ! 3", "column 7: none of = != < <= > >="},
		{"\"sea", "column 1: the text in quotes has no end"},
		{"\"\"", "column 1: the text in quotes is empty"},
		{"sea & city", "column 5: a letter that has no meaning here"},
		{"sea\tand city", "column 4: a letter that has no meaning here"},
		{"not", "column 4: a tag or a comparison is missing"},
	};
	static struct criteria c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum err e = criteria_parse(cases[i].expression, &c);
		if (!cases[i].sentence) {
			assert_int_equal(e, ERR_OK);
			continue;
		}
		assert_int_equal(e, ERR_FORMAT);
		assert_string_equal(err_text(), cases[i].sentence);
		assert_false(criteria_match(&c, &harbour, NULL));
	}
}

static void what_is_too_long_or_too_deep_is_refused(void **state)
{
	static struct criteria c;
	char text[LIMIT_EXPRESSION + 2];

	(void)state;
	memset(text, 'a', sizeof(text));
	text[LIMIT_EXPRESSION + 1] = 0;
	assert_int_equal(criteria_parse(text, &c), ERR_RANGE);
	text[LIMIT_EXPRESSION] = 0;
	assert_int_equal(criteria_parse(text, &c), ERR_OK);
	memset(text, '(', CRITERIA_DEPTH + 1);
	text[CRITERIA_DEPTH + 1] = 'a';
	text[CRITERIA_DEPTH + 2] = 0;
	assert_int_equal(criteria_parse(text, &c), ERR_RANGE);
	for (size_t i = 0; i + 4 < LIMIT_EXPRESSION; i += 4)
		memcpy(text + i, "not ", 5);
	assert_int_equal(criteria_parse(text, &c), ERR_FORMAT); // 255 of them and no term
	for (size_t i = 0; i + 4 < LIMIT_EXPRESSION; i += 3)
		memcpy(text + i, "*or", 4);
	assert_int_equal(criteria_parse(text, &c), ERR_RANGE); // more steps than there are
}

static void why_is(const char *expression, const char *term, bool holds)
{
	static struct criteria c;
	struct criteria_why why;

	assert_int_equal(criteria_parse(expression, &c), ERR_OK);
	criteria_match(&c, &harbour, &why);
	assert_int_equal(why.size, strlen(term));
	assert_memory_equal(c.text + why.at, term, why.size);
	assert_int_equal(why.holds, holds);
}

static void the_term_that_decided_is_named(void **state)
{
	(void)state;
	why_is("sea and night", "night", false);
	why_is("night and sea", "night", false);
	why_is("sea and city", "city", true);
	why_is("sea or night", "sea", true);
	why_is("night or fog", "fog", false);
	why_is("city and not (sea or night)", "sea", true);
	why_is("city and width  >=  4000", "width  >=  4000", false);
	why_is("\"old town\" and *", "*", true);
	why_is("", "", false);
}

static void every_tag_is_told_and_no_comparison(void **state)
{
	static struct criteria c;
	static const char *const expected[] = {"sea", "old town", "night"};
	size_t cursor = 0, count = 0;
	const char *tag;

	(void)state;
	assert_int_equal(
		criteria_parse("sea and rating > 3 and not (\"old town\" or night) and *", &c),
		ERR_OK);
	while (criteria_next_tag(&c, &cursor, &tag))
		assert_string_equal(tag, expected[count++]);
	assert_int_equal(count, 3);
}

static void dates_are_days_of_the_calendar(void **state)
{
	int64_t ms;

	(void)state;
	assert_true(criteria_date("1970-01-01", &ms) && ms == 0);
	assert_true(criteria_date("2000-02-29", &ms) && ms == INT64_C(951782400000));
	assert_true(criteria_date("2026-11-21", &ms) && ms == INT64_C(1795219200000));
	assert_true(criteria_date("2100-03-01", &ms) && ms == INT64_C(4107542400000));
	assert_false(criteria_date("2026-02-29", &ms));
	assert_false(criteria_date("2026-13-01", &ms));
	assert_false(criteria_date("2026-1-01", &ms));
	assert_false(criteria_date("1969-12-31", &ms));
}

// Random expressions over a..d, written with all parentheses by a generator that knows the truth,
// for every assignment of the four tags.
struct made {
	char text[400];
	uint16_t truth; // bit k: holds under assignment k
};

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 16) % below;
}

static struct made leaf(void)
{
	struct made m = {.truth = 0};
	uint32_t which = draw(4);

	snprintf(m.text, sizeof(m.text), "%c", "abcd"[which]);
	for (unsigned k = 0; k < 16; k++)
		m.truth |= (uint16_t)(((k >> which) & 1) << k);
	return m;
}

static struct made joined(const struct made *x, const struct made *y)
{
	struct made m;
	uint32_t how = draw(5);
	const char *op = how & 1 ? "and" : "or";
	uint16_t truth = how & 1 ? x->truth & y->truth : x->truth | y->truth;
	bool negated = how >= 3;

	if (snprintf(m.text, sizeof(m.text), "%s(%s %s %s)", negated ? "not " : "", x->text, op,
		    y->text) >= (int)sizeof(m.text))
		return *x;
	m.truth = negated ? (uint16_t)~truth : truth;
	return m;
}

static void random_expressions_agree_with_their_truth_tables(void **state)
{
	static struct criteria c;
	static const char *const letters[] = {"a", "b", "c", "d"};

	(void)state;
	for (seed = 1; seed < 4000; seed++) {
		struct made parts[8];
		uint32_t keep = seed, count = 1 + draw(8);
		for (uint32_t i = 0; i < count; i++)
			parts[i] = leaf();
		while (count > 1) {
			count--;
			parts[0] = joined(&parts[0], &parts[count]);
		}
		assert_int_equal(criteria_parse(parts[0].text, &c), ERR_OK);
		for (unsigned k = 0; k < 16; k++) {
			const char *held[4];
			struct criteria_picture p = {.title = "", .licence = "", .tags = held};
			for (unsigned t = 0; t < 4; t++)
				if (k >> t & 1)
					held[p.tag_count++] = letters[t];
			if (criteria_match(&c, &p, NULL) != (parts[0].truth >> k & 1))
				fail_msg("%s under %u", parts[0].text, k);
		}
		seed = keep;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S001_c9b_tags_and_comparisons_mean_what_they_say),
		cmocka_unit_test(S001_c9b_an_empty_criterion_matches_nothing),
		cmocka_unit_test(what_makes_no_sense_is_refused_with_its_place),
		cmocka_unit_test(what_is_too_long_or_too_deep_is_refused),
		cmocka_unit_test(the_term_that_decided_is_named),
		cmocka_unit_test(every_tag_is_told_and_no_comparison),
		cmocka_unit_test(dates_are_days_of_the_calendar),
		cmocka_unit_test(random_expressions_agree_with_their_truth_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
