// The rules of accordance.c for people: a graph of the states and a table, in Markdown.
#include "server/accordance.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum err put(struct buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static enum err put(struct buf *out, const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line))
		return err_set(ERR_FULL, "a line of the description is too long");
	return buf_append(out, line, (size_t)n);
}

// ---- the graph

// Where a rule leads; 0: the state stays.
static enum client_state leads_to(const struct accordance_rule *r)
{
	if (r->ends)
		return CS_IDLE;
	switch (r->outcome) {
	case ACCORD_CANCEL:
		return CS_AWAIT_COMMAND;
	case ACCORD_RESYNC:
	case ACCORD_RESTORED:
		return CS_RESYNC;
	case ACCORD:
	case ACCORD_RESEND:
		break;
	}
	return 0;
}

static bool covers_state(const struct accordance_rule *r, unsigned state)
{
	return (r->covers & accordance_bit(AXIS_STATE, state)) != 0;
}

// States that the same rules cover are one node.
static const struct group {
	const char *node;
	unsigned first, last;
} groups[] = {
	{"IDLE", CS_IDLE, CS_IDLE},
	{"OPEN", CS_AWAIT_INFO, CS_AWAIT_COMMAND},
	{"RESYNC", CS_RESYNC, CS_RESYNC},
};

#define GROUP_COUNT (sizeof(groups) / sizeof(groups[0]))

static bool covers_group(const struct accordance_rule *r, const struct group *g)
{
	for (unsigned state = g->first; state <= g->last; state++)
		if (covers_state(r, state))
			return true;
	return false;
}

// One arrow from a group to another: the names of all rules that lead there.
static enum err arrow_put(struct buf *out, const struct group *from, const struct group *to)
{
	size_t count, said = 0;
	const struct accordance_rule *rules = accordance_rules(&count);

	for (size_t i = 0; i + 1 < count; i++) {
		unsigned there = leads_to(&rules[i]);
		if (!covers_group(&rules[i], from) || there < to->first || there > to->last)
			continue;
		if (said++ == 0)
			TRY(put(out, "    %s --> %s : %s (%zu)", from->node, to->node,
				rules[i].name, i + 1));
		else
			TRY(put(out, "<br/>%s (%zu)", rules[i].name, i + 1));
	}
	return said ? put(out, "\n") : ERR_OK;
}

static enum err graph_put(struct buf *out)
{
	TRY(put(out, "```mermaid\nstateDiagram-v2\n"
		     "    state \"IDLE\" as IDLE\n"
		     "    state \"AWAIT_INFO, AWAIT_RETRIEVE, AWAIT_COMMAND\" as OPEN\n"
		     "    state \"RESYNC\" as RESYNC\n"
		     "    state \"CLONE_SUSPECT\" as CLONE\n"
		     "    classDef fine fill:#d8f0d8,color:#000\n"
		     "    classDef work fill:#d8e6fa,color:#000\n"
		     "    classDef mend fill:#fde8c8,color:#000\n"
		     "    classDef stop fill:#f8d0d0,color:#000\n"
		     "    class IDLE fine\n"
		     "    class OPEN work\n"
		     "    class RESYNC mend\n"
		     "    class CLONE stop\n"
		     "    [*] --> IDLE : enrolled\n"
		     "    IDLE --> OPEN : SEND, RETRIEVE or EXECUTE given\n"
		     "    IDLE --> CLONE : stale lineage token\n"
		     "    CLONE --> IDLE : an operator decides\n"));
	for (size_t from = 0; from < GROUP_COUNT; from++)
		for (size_t to = 0; to < GROUP_COUNT; to++)
			TRY(arrow_put(out, &groups[from], &groups[to]));
	return put(out, "```\n\n");
}

// ---- the table

static bool covers_all(const struct accordance_rule *r, enum accordance_axis axis)
{
	for (unsigned place = 0; accordance_word(axis, place); place++)
		if (!(r->covers & accordance_bit(axis, place)) &&
			strcmp(accordance_word(axis, place), "-") != 0)
			return false;
	return true;
}

static enum err cell_put(
	struct buf *out, const struct accordance_rule *r, enum accordance_axis axis)
{
	size_t said = 0;

	if (covers_all(r, axis))
		return put(out, " |");
	if (axis == AXIS_STATE && covers_group(r, &groups[1]) && covers_state(r, CS_RESYNC))
		return put(out, covers_state(r, CS_IDLE) ? " any but clone-suspect |"
							 : " any with an open operation |");
	for (unsigned place = 0; accordance_word(axis, place); place++)
		if ((r->covers & accordance_bit(axis, place)) &&
			strcmp(accordance_word(axis, place), "-") != 0)
			TRY(put(out, "%s%s", said++ ? ", " : " ", accordance_word(axis, place)));
	return put(out, " |");
}

static const char *outcome_word(const struct accordance_rule *r)
{
	switch (r->outcome) {
	case ACCORD:
		return r->ends          ? "in accordance; the operation ends so"
		       : r->ends_passed ? "in accordance; the one being cancelled ends so"
		       : r->waits       ? "in accordance; two answers of patience"
					: "in accordance";
	case ACCORD_RESEND:
		return "**resend** the same id and body";
	case ACCORD_CANCEL:
		return "**execute** cancel";
	case ACCORD_RESYNC:
		return "**execute** resync";
	case ACCORD_RESTORED:
		return "higher incarnation, new epoch, **execute** resync";
	}
	return "?";
}

static enum err rule_put(struct buf *out, size_t number, const struct accordance_rule *r)
{
	TRY(put(out, "| %zu | %s |", number, r->name));
	for (enum accordance_axis axis = 0; axis < AXIS_COUNT; axis++)
		TRY(cell_put(out, r, axis));
	return put(out, " %s | %s | %s |\n", outcome_word(r), r->mismatch ? "yes" : "",
		r->why[0] ? r->why : "");
}

static enum err table_put(struct buf *out)
{
	size_t count;
	const struct accordance_rule *rules = accordance_rules(&count);

	TRY(put(out, "| | rule |"));
	for (enum accordance_axis axis = 0; axis < AXIS_COUNT; axis++)
		TRY(put(out, " %s |", accordance_axis_word(axis)));
	TRY(put(out, " then | mismatch | the reason told |\n|---|---|"));
	for (unsigned i = 0; i < AXIS_COUNT + 3u; i++)
		TRY(put(out, "---|"));
	TRY(put(out, "\n"));
	for (size_t i = 0; i + 1 < count; i++)
		TRY(rule_put(out, i + 1, &rules[i]));
	return ERR_OK;
}

enum err accordance_describe(struct buf *out)
{
	TRY(put(out,
		"# Accordance: is the client where the last response put it?\n\n"
		"Written by `heliod --accordance` from the rules in `server/accordance.c`; a test "
		"holds both equal.\n\n"
		"Every heartbeat is placed on eight axes. The first rule that covers its place "
		"judges it; an empty cell covers the whole axis.\n"
		"D is the id of the last response that asked for something, P the one before it, V "
		"the last id given at all.\n"
		"What follows is always one of the four kinds of response. It is bounded: after "
		"`mismatch_limit` resends a resync, after as many\n"
		"resyncs an alert, each further one at a growing distance.\n\n"));
	TRY(put(out, "## At a glance\n\n"
		     "What the heartbeat says of its operation, against the response it shows "
		     "as its last one. Numbers are those of the rules below;\n"
		     "after \"in the end\" stands what follows when it was told the same up "
		     "to the limit. A suspected clone is left alone (1).\n\n"));
	TRY(accordance_glance(out));
	TRY(put(out, "## The states\n\n"
		     "Arrows without a rule are the responses themselves. A rule that leads to no "
		     "other state is not drawn.\n\n"));
	TRY(graph_put(out));
	TRY(put(out, "## The rules\n\n"));
	return table_put(out);
}
