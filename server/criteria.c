#include "server/criteria.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,
	TOKEN_QUOTED,
	TOKEN_COMPARE,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_STAR
};

struct token {
	enum token_kind kind;
	enum criteria_op op; // TOKEN_COMPARE
	size_t at, size;     // in the text, quotes included
};

struct parser {
	struct criteria *c;
	size_t at;
	struct token token; // the present one
	// Waiting operators: NOT, AND, OR, and CRITERIA_TAG for an open parenthesis.
	struct criteria_step waiting[CRITERIA_STEPS];
	size_t waiting_count, depth;
};

static bool is_word_byte(unsigned char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
	       ch == '.' || ch == '_' || ch == '-' || ch == ':' || ch >= 0x80;
}

static enum err refuse(const struct parser *p, const char *what)
{
	return err_set(ERR_FORMAT, "column %zu: %s", p->token.at + 1, what);
}

static enum err compare_take(struct parser *p, const char *s)
{
	bool with_equal = s[1] == '=';

	p->token.kind = TOKEN_COMPARE;
	p->token.size = with_equal ? 2 : 1;
	if (s[0] == '=' && !with_equal)
		p->token.op = CRITERIA_EQUAL;
	else if (s[0] == '!' && with_equal)
		p->token.op = CRITERIA_UNEQUAL;
	else if (s[0] == '<')
		p->token.op = with_equal ? CRITERIA_AT_MOST : CRITERIA_BELOW;
	else if (s[0] == '>')
		p->token.op = with_equal ? CRITERIA_AT_LEAST : CRITERIA_ABOVE;
	else
		return refuse(p, "none of = != < <= > >=");
	return ERR_OK;
}

static enum err quoted_take(struct parser *p, const char *s)
{
	const char *end = strchr(s + 1, '"');

	p->token.kind = TOKEN_QUOTED;
	if (!end)
		return refuse(p, "the text in quotes has no end");
	if (end == s + 1)
		return refuse(p, "the text in quotes is empty");
	p->token.size = (size_t)(end - s) + 1;
	return ERR_OK;
}

// Moves to the next token.
static enum err advance(struct parser *p)
{
	const char *text = p->c->text, *s;

	while (text[p->at] == ' ')
		p->at++;
	s = text + p->at;
	p->token = (struct token){.at = p->at, .size = 1};
	if (*s == '\0') {
		p->token.kind = TOKEN_END;
		p->token.size = 0;
	} else if (*s == '(') {
		p->token.kind = TOKEN_OPEN;
	} else if (*s == ')') {
		p->token.kind = TOKEN_CLOSE;
	} else if (*s == '*') {
		p->token.kind = TOKEN_STAR;
	} else if (*s == '"') {
		TRY(quoted_take(p, s));
	} else if (strchr("=!<>", *s)) {
		TRY(compare_take(p, s));
	} else if (is_word_byte((unsigned char)*s)) {
		p->token.kind = TOKEN_WORD;
		while (is_word_byte((unsigned char)s[p->token.size]))
			p->token.size++;
	} else {
		return refuse(p, "a letter that has no meaning here");
	}
	p->at += p->token.size;
	return ERR_OK;
}

static bool token_is(const struct parser *p, const char *word)
{
	return p->token.kind == TOKEN_WORD && p->token.size == strlen(word) &&
	       strncasecmp(p->c->text + p->token.at, word, p->token.size) == 0;
}

static bool token_is_name(const struct parser *p)
{
	return (p->token.kind == TOKEN_WORD && !token_is(p, "and") && !token_is(p, "or") &&
		       !token_is(p, "not")) ||
	       p->token.kind == TOKEN_QUOTED;
}

// The token without its quotes, as a word of the program. There is room: a word and its NUL take
// no more than its letters and the step that names it.
static uint16_t word_add(struct criteria *c, const struct token *t)
{
	size_t quotes = t->kind == TOKEN_QUOTED, size = t->size - 2 * quotes;
	uint16_t at = (uint16_t)c->words_size;

	memcpy(c->words + at, c->text + t->at + quotes, size);
	c->words[at + size] = '\0';
	c->words_size += size + 1;
	return at;
}

static enum err step_add(struct parser *p, const struct criteria_step *s)
{
	if (p->c->step_count == CRITERIA_STEPS)
		return err_set(ERR_RANGE, "the expression has more than %d terms", CRITERIA_STEPS);
	p->c->steps[p->c->step_count++] = *s;
	return ERR_OK;
}

static enum err wait_for(struct parser *p, enum criteria_op op)
{
	if (p->waiting_count == CRITERIA_STEPS)
		return err_set(ERR_RANGE, "the expression has more than %d terms", CRITERIA_STEPS);
	p->waiting[p->waiting_count++] = (struct criteria_step){
		.op = op, .at = (uint16_t)p->token.at, .size = (uint16_t)p->token.size};
	return ERR_OK;
}

// Moves waiting operators that bind at least as closely as op to the program.
static enum err release(struct parser *p, enum criteria_op op)
{
	while (p->waiting_count > 0) {
		const struct criteria_step *top = &p->waiting[p->waiting_count - 1];
		if (top->op == CRITERIA_TAG || top->op > op)
			break;
		TRY(step_add(p, top));
		p->waiting_count--;
	}
	return ERR_OK;
}

// A tag, a comparison or *; the present token begins it.
static enum err term_take(struct parser *p)
{
	struct criteria_step s = {.op = CRITERIA_ALL, .at = (uint16_t)p->token.at};
	size_t end = p->at;

	if (p->token.kind != TOKEN_STAR) {
		s.op = CRITERIA_TAG;
		s.name = word_add(p->c, &p->token);
	}
	TRY(advance(p));
	if (s.op == CRITERIA_TAG && p->token.kind == TOKEN_COMPARE) {
		s.op = p->token.op;
		TRY(advance(p));
		if (p->token.kind != TOKEN_WORD && p->token.kind != TOKEN_QUOTED)
			return refuse(p, "a value is missing after the comparison");
		s.value = word_add(p->c, &p->token);
		end = p->at;
		TRY(advance(p));
	}
	s.size = (uint16_t)(end - s.at);
	return step_add(p, &s);
}

// What may stand before a term: not and open parentheses.
static enum err prefix_take(struct parser *p)
{
	for (;;) {
		if (token_is(p, "not")) {
			TRY(wait_for(p, CRITERIA_NOT));
		} else if (p->token.kind == TOKEN_OPEN) {
			if (p->depth++ == CRITERIA_DEPTH)
				return err_set(ERR_RANGE,
					"column %zu: more than %d open parentheses",
					p->token.at + 1, CRITERIA_DEPTH);
			TRY(wait_for(p, CRITERIA_TAG));
		} else {
			return ERR_OK;
		}
		TRY(advance(p));
	}
}

static enum err close_take(struct parser *p)
{
	if (p->depth == 0)
		return refuse(p, "this parenthesis was never opened");
	TRY(release(p, CRITERIA_OR));
	p->waiting_count--;
	p->depth--;
	return advance(p);
}

static enum err expression_take(struct parser *p)
{
	for (;;) {
		TRY(prefix_take(p));
		if (!token_is_name(p) && p->token.kind != TOKEN_STAR)
			return refuse(p, "a tag or a comparison is missing");
		TRY(term_take(p));
		while (p->token.kind == TOKEN_CLOSE)
			TRY(close_take(p));
		if (p->token.kind == TOKEN_END)
			break;
		enum criteria_op op = token_is(p, "and") ? CRITERIA_AND : CRITERIA_OR;
		if (op == CRITERIA_OR && !token_is(p, "or"))
			return refuse(p, "`and` or `or` is missing");
		TRY(release(p, op));
		TRY(wait_for(p, op));
		TRY(advance(p));
	}
	if (p->depth > 0)
		return refuse(p, "a closing parenthesis is missing");
	return release(p, CRITERIA_OR);
}

enum err criteria_parse(const char *expression, struct criteria *out)
{
	struct parser p = {.c = out};
	size_t size = strlen(expression);

	out->step_count = out->words_size = 0;
	out->text[0] = '\0';
	if (size > LIMIT_EXPRESSION)
		return err_set(ERR_RANGE, "the expression has %zu bytes, at most %d", size,
			LIMIT_EXPRESSION);
	memcpy(out->text, expression, size + 1);
	enum err e = advance(&p);
	if (e == ERR_OK && p.token.kind != TOKEN_END)
		e = expression_take(&p);
	if (e != ERR_OK)
		out->step_count = 0;
	return e;
}

// ---------------------------------------------------------------- match

enum value_kind {
	VALUE_NONE,
	VALUE_NUMBER,
	VALUE_TEXT
};

struct value {
	enum value_kind kind;
	double number;
	const char *text;
};

static bool days_in_civil(int year, unsigned month, unsigned day, int64_t *days)
{
	static const uint8_t length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	if (year < 1970 || year > 9999 || month < 1 || month > 12 || day < 1 ||
		day > (unsigned)(length[month - 1] + (month == 2 && leap)))
		return false;
	*days = 0;
	int64_t before = year - 1, since = 1969;
	*days = 365 * (int64_t)(year - 1970) + (before / 4 - before / 100 + before / 400) -
		(since / 4 - since / 100 + since / 400);
	for (unsigned m = 1; m < month; m++)
		*days += length[m - 1] + (m == 2 && leap);
	*days += day - 1;
	return true;
}

static bool digits(const char *s, size_t count, unsigned *out)
{
	*out = 0;
	for (size_t i = 0; i < count; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		*out = *out * 10 + (unsigned)(s[i] - '0');
	}
	return true;
}

bool criteria_date(const char *text, int64_t *unix_ms)
{
	unsigned year, month, day;
	int64_t days;

	if (strlen(text) != 10 || text[4] != '-' || text[7] != '-' || !digits(text, 4, &year) ||
		!digits(text + 5, 2, &month) || !digits(text + 8, 2, &day) ||
		!days_in_civil((int)year, month, day, &days))
		return false;
	*unix_ms = days * 86400000;
	return true;
}

// A number, a date, else a text.
static struct value value_of_text(const char *text)
{
	struct value v = {VALUE_TEXT, 0, text};
	int64_t ms;
	char *end;

	if (criteria_date(text, &ms)) {
		v.kind = VALUE_NUMBER;
		v.number = (double)ms;
	} else if ((text[0] >= '0' && text[0] <= '9') || text[0] == '-' || text[0] == '.') {
		double d = strtod(text, &end);
		if (*end == '\0' && end != text) {
			v.kind = VALUE_NUMBER;
			v.number = d;
		}
	}
	return v;
}

static struct value value_of_number(double number, bool known)
{
	return (struct value){known ? VALUE_NUMBER : VALUE_NONE, number, NULL};
}

static struct value value_of_word(const char *text)
{
	return (struct value){text[0] ? VALUE_TEXT : VALUE_NONE, 0, text};
}

static const char *orientation_word(const struct criteria_picture *p)
{
	if (p->width_px == p->height_px)
		return "square";
	return p->width_px > p->height_px ? "landscape" : "portrait";
}

// The value of a typed tag NAME=VALUE.
static struct value value_of_tag(const struct criteria_picture *p, const char *name)
{
	size_t size = strlen(name);

	for (size_t i = 0; i < p->tag_count; i++) {
		if (strncasecmp(p->tags[i], name, size) == 0 && p->tags[i][size] == '=')
			return value_of_text(p->tags[i] + size + 1);
	}
	return (struct value){VALUE_NONE, 0, NULL};
}

static struct value attribute(const struct criteria_picture *p, const char *name)
{
	const struct {
		const char *name;
		struct value value;
	} known[] = {
		{"width", value_of_number(p->width_px, true)},
		{"height", value_of_number(p->height_px, true)},
		{"bytes", value_of_number((double)p->size_bytes, true)},
		{"weight", value_of_number(p->weight, true)},
		{"orientation", value_of_word(orientation_word(p))},
		{"title", value_of_word(p->title)},
		{"licence", value_of_word(p->licence)},
		{"added", value_of_number((double)p->added_unix_ms, p->added_unix_ms != 0)},
		{"released",
			value_of_number((double)p->released_unix_ms, p->released_unix_ms != 0)},
		{"expires", value_of_number((double)p->expires_unix_ms, p->expires_unix_ms != 0)},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcasecmp(name, known[i].name) == 0)
			return known[i].value;
	}
	return value_of_tag(p, name);
}

static bool compare(enum criteria_op op, const struct value *has, const char *wanted_text)
{
	struct value wanted = value_of_text(wanted_text);
	int order;

	if (has->kind == VALUE_NONE)
		return false;
	if (has->kind == VALUE_NUMBER && wanted.kind == VALUE_NUMBER)
		order = (has->number > wanted.number) - (has->number < wanted.number);
	else if (has->kind == VALUE_TEXT)
		order = strcasecmp(has->text, wanted_text);
	else // a number is not comparable with a text
		return op == CRITERIA_UNEQUAL;
	switch (op) {
	case CRITERIA_EQUAL:
		return order == 0;
	case CRITERIA_UNEQUAL:
		return order != 0;
	case CRITERIA_BELOW:
		return order < 0;
	case CRITERIA_AT_MOST:
		return order <= 0;
	case CRITERIA_ABOVE:
		return order > 0;
	case CRITERIA_AT_LEAST:
		return order >= 0;
	case CRITERIA_TAG:
	case CRITERIA_ALL:
	case CRITERIA_NOT:
	case CRITERIA_AND:
	case CRITERIA_OR:
		break;
	}
	return false;
}

static bool has_tag(const struct criteria_picture *p, const char *tag)
{
	for (size_t i = 0; i < p->tag_count; i++) {
		if (strcasecmp(p->tags[i], tag) == 0)
			return true;
	}
	return false;
}

static bool term_holds(
	const struct criteria *c, const struct criteria_step *s, const struct criteria_picture *p)
{
	if (s->op == CRITERIA_ALL)
		return true;
	if (s->op == CRITERIA_TAG)
		return has_tag(p, c->words + s->name);
	struct value has = attribute(p, c->words + s->name);
	return compare(s->op, &has, c->words + s->value);
}

struct outcome {
	bool holds;
	struct criteria_why why;
};

// Of two sides the one that decided: the first that holds of `or`, the first that fails of `and`;
// when both had to agree, the second.
static struct outcome join(enum criteria_op op, const struct outcome *a, const struct outcome *b)
{
	bool decides = op == CRITERIA_OR;

	if (a->holds == decides)
		return *a;
	return *b;
}

bool criteria_match(
	const struct criteria *c, const struct criteria_picture *p, struct criteria_why *why)
{
	struct outcome stack[CRITERIA_STEPS];
	size_t depth = 0;

	for (size_t i = 0; i < c->step_count; i++) {
		const struct criteria_step *s = &c->steps[i];
		if (s->op == CRITERIA_NOT) {
			stack[depth - 1].holds = !stack[depth - 1].holds;
		} else if (s->op == CRITERIA_AND || s->op == CRITERIA_OR) {
			depth--;
			stack[depth - 1] = join(s->op, &stack[depth - 1], &stack[depth]);
		} else {
			bool holds = term_holds(c, s, p);
			stack[depth++] = (struct outcome){holds, {s->at, s->size, holds}};
		}
	}
	if (why)
		*why = depth == 1 ? stack[0].why : (struct criteria_why){0, 0, false};
	return depth == 1 && stack[0].holds;
}

bool criteria_next_tag(const struct criteria *c, size_t *cursor, const char **tag)
{
	while (*cursor < c->step_count) {
		const struct criteria_step *s = &c->steps[(*cursor)++];
		if (s->op == CRITERIA_TAG) {
			*tag = c->words + s->name;
			return true;
		}
	}
	return false;
}
