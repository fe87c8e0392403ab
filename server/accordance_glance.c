// The rules of accordance.c on one screen: what a heartbeat says of its operation, against what it
// shows as the last response it got. Each cell is judged by the rules themselves, place by place.
#include "server/accordance.h"

#include <stdio.h>
#include <string.h>

#define LINE_MAX 600

// Places of the axes that differ between lines and columns, one bit of each place: bit n of a field
// is place n.
struct span {
	const char *text;
	unsigned states, shows, op, status, proof;
};

#define AT(place) (1u << (place))
#define IDLE AT(CS_IDLE)
#define OPEN (AT(CS_AWAIT_INFO) | AT(CS_AWAIT_RETRIEVE) | AT(CS_AWAIT_COMMAND) | AT(CS_RESYNC))
#define GOES_ON (AT(OP_ACCEPTED) | AT(OP_RUNNING))
#define NOT_DONE (AT(OP_FAILED) | AT(OP_REFUSED) | AT(OP_CANCELLED) | AT(OP_UNKNOWN))
#define ENDED (AT(OP_DONE) | NOT_DONE)
#define THERE AT(PROOF_THERE)
#define RECEIVED (AT(SHOWS_D) | AT(SHOWS_AFTER_D) | AT(SHOWS_OLDER))
#define LOST (AT(SHOWS_P) | AT(SHOWS_BETWEEN))
#define STRANGE (AT(SHOWS_BEFORE) | AT(SHOWS_BEYOND))

static const struct span open_lines[] = {
	{"it is at work on it", OPEN, 0, AT(NAMES_OPEN), GOES_ON, THERE},
	{"done, and the proof is there", OPEN, 0, AT(NAMES_OPEN), AT(OP_DONE), THERE},
	{"done, its report may be on the way", AT(CS_AWAIT_INFO), 0, AT(NAMES_OPEN), AT(OP_DONE),
		AT(PROOF_AWAITED)},
	{"done, without proof", OPEN & ~AT(CS_AWAIT_COMMAND), 0, AT(NAMES_OPEN), AT(OP_DONE),
		AT(PROOF_MISSING)},
	{"failed, refused, cancelled, unknown", OPEN, 0, AT(NAMES_OPEN), NOT_DONE, THERE},
	{"still at the one being cancelled", OPEN, 0, AT(NAMES_PASSED), GOES_ON, THERE},
	{"the one being cancelled has ended", OPEN, 0, AT(NAMES_PASSED), ENDED, THERE},
	{"nothing of any operation", OPEN, 0, AT(NAMES_NONE), AT(0), THERE},
	{"another operation", OPEN, 0, AT(NAMES_LAST) | AT(NAMES_OTHER) | AT(NAMES_NEVER),
		GOES_ON | ENDED, THERE},
};

static const struct span idle_lines[] = {
	{"nothing of any operation", IDLE, 0, AT(NAMES_NONE), AT(0), THERE},
	{"how one ended", IDLE, 0, AT(NAMES_LAST) | AT(NAMES_OTHER), ENDED, THERE},
	{"it is at work on one that has ended", IDLE, 0, AT(NAMES_LAST), GOES_ON, THERE},
	{"it is at work on one of which we know nothing", IDLE, 0,
		AT(NAMES_OTHER) | AT(NAMES_NEVER), GOES_ON, THERE},
	{"how one ended that was never given", IDLE, 0, AT(NAMES_NEVER), ENDED, THERE},
};

static const struct span open_columns[] = {
	{.text = "D, or later", .shows = RECEIVED},
	{.text = "P, or between P and D", .shows = LOST},
	{.text = "before P, or beyond V", .shows = STRANGE},
	{.text = "a higher incarnation", .shows = AT(SHOWS_HIGHER)},
};

static const struct span idle_columns[] = {
	{.text = "D, or later", .shows = RECEIVED},
	{.text = "before D, or beyond V", .shows = STRANGE},
	{.text = "a higher incarnation", .shows = AT(SHOWS_HIGHER)},
};

// ---- a cell

// Rules that judge some place of a line and a column, one bit of each: bit n is rule n + 1. limit:
// what was said to the client was said up to the limit.
static uint64_t rules_of(const struct span *line, const struct span *column, unsigned limit)
{
	const unsigned masks[AXIS_COUNT] = {line->states, column->shows, line->op, line->status,
		AT(ACK_NOTHING) | AT(ACK_RESPONSE), line->proof, AT(limit), AT(limit)};
	unsigned at[AXIS_COUNT] = {0};
	size_t count, axis;
	const struct accordance_rule *rules = accordance_rules(&count);
	uint64_t found = 0;

	do {
		struct accordance_place place = {0};
		bool covered = true;
		for (axis = 0; axis < AXIS_COUNT; axis++) {
			covered = covered && (masks[axis] & AT(at[axis]));
			place.bits |= accordance_bit((enum accordance_axis)axis, at[axis]);
		}
		if (covered)
			found |= (uint64_t)1 << (accordance_rule(place) - rules);
		for (axis = 0; axis < AXIS_COUNT; axis++) {
			if (accordance_word((enum accordance_axis)axis, ++at[axis]))
				break;
			at[axis] = 0;
		}
	} while (axis < AXIS_COUNT);
	return found;
}

static const char *short_word(const struct accordance_rule *r)
{
	switch (r->outcome) {
	case ACCORD:
		return r->ends          ? "ends it"
		       : r->ends_passed ? "ends that one"
		       : r->waits       ? "waits"
					: "fine";
	case ACCORD_RESEND:
		return "**resend**";
	case ACCORD_CANCEL:
		return "**cancel**";
	case ACCORD_RESYNC:
		return "**resync**";
	case ACCORD_RESTORED:
		return "**new epoch, resync**";
	}
	return "?";
}

// "**resend** 5, 6", for each word that the rules have.
static void words_put(char line[LINE_MAX], size_t *n, uint64_t found)
{
	size_t count;
	const struct accordance_rule *rules = accordance_rules(&count);
	const char *said = "";

	for (size_t i = 0; i < count; i++) {
		if (!(found & (uint64_t)1 << i))
			continue;
		const char *word = short_word(&rules[i]);
		bool same = strcmp(word, said) == 0;
		*n += (size_t)snprintf(line + *n, LINE_MAX - *n, "%s%s%s%zu",
			same      ? ","
			: said[0] ? "; "
				  : "",
			same ? "" : word, " ", i + 1);
		said = word;
	}
}

static enum err text_put(struct buf *out, const char *text)
{
	return buf_append(out, text, strlen(text));
}

static enum err line_put(
	struct buf *out, const struct span *line, const struct span *columns, size_t count)
{
	char text[LINE_MAX];
	size_t n = (size_t)snprintf(text, sizeof(text), "| %s |", line->text);

	for (size_t i = 0; i < count; i++) {
		uint64_t first = rules_of(line, &columns[i], 0);
		uint64_t later = rules_of(line, &columns[i], 1) & ~first;
		n += (size_t)snprintf(text + n, sizeof(text) - n, " ");
		words_put(text, &n, first);
		if (later)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "; in the end ");
		words_put(text, &n, later);
		n += (size_t)snprintf(text + n, sizeof(text) - n, " |");
	}
	if (n + 2 > sizeof(text))
		return err_set(ERR_FULL, "a line of the description is too long");
	text[n++] = '\n';
	return buf_append(out, text, n);
}

static enum err matrix_put(struct buf *out, const char *title, const struct span *lines,
	size_t line_count, const struct span *columns, size_t column_count)
{
	TRY(text_put(out, title));
	TRY(text_put(out, "\n\n| it says \\ it shows |"));
	for (size_t i = 0; i < column_count; i++) {
		TRY(text_put(out, " "));
		TRY(text_put(out, columns[i].text));
		TRY(text_put(out, " |"));
	}
	TRY(text_put(out, "\n|---|"));
	for (size_t i = 0; i < column_count; i++)
		TRY(text_put(out, "---|"));
	TRY(text_put(out, "\n"));
	for (size_t i = 0; i < line_count; i++)
		TRY(line_put(out, &lines[i], columns, column_count));
	return text_put(out, "\n");
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum err accordance_glance(struct buf *out)
{
	TRY(matrix_put(out,
		"**An operation is open** (await-info, await-retrieve, await-command, "
		"resync)",
		open_lines, COUNT(open_lines), open_columns, COUNT(open_columns)));
	return matrix_put(out, "**Nothing is open** (idle)", idle_lines, COUNT(idle_lines),
		idle_columns, COUNT(idle_columns));
}
