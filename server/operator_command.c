// Commands by reference: a signed command lies on a data broker, and clients are told where.
//
//   command-place -> the least busy data broker -> the publisher puts the command there
//   exec-ref      -> COMMAND_REF in the queue -> the client fetches, verifies and runs it once
//   command-withdraw -> nobody is told any more, who was told gives it up -> the publisher takes it
//   away
#include "proto/topics.h"
#include "server/db/rows.h"
#include "server/db/rows_content.h"
#include "server/operator.h"

static const struct data_broker *broker_least_busy(const struct operator_call *c)
{
	const struct data_brokers *all = c->room->presence->brokers;
	const struct data_broker *best = NULL;

	for (size_t i = 0; i < all->count; i++) {
		const struct data_broker *b = &all->items[i];

		if (data_broker_is_candidate(b, all->sys_interval_s, c->now.mono) &&
			(!best || data_broker_busy(b) < data_broker_busy(best)))
			best = b;
	}
	return best;
}

static void put_address(struct operator_call *c, const struct data_broker *b)
{
	struct address at = data_broker_address(b, "");

	put_text(c->json, "broker", at.broker_id);
	put_text(c->json, "host", at.host);
	put_text(c->json, "ip", at.ip);
	put_number(c->json, "port", at.port);
	put_bool(c->json, "tls", at.tls);
}

static enum err run_command_place(struct operator_call *c)
{
	const struct data_broker *b = broker_least_busy(c);

	if (!b)
		return err_set(ERR_NOT_NOW, "no data broker can be reached");
	put_address(c, b);
	return ERR_OK;
}

static enum err digest_of(const struct operator_call *c, const char *name, struct digest *out)
{
	const char *hex = call_text(c, name);

	return strlen(hex) == 2 * sizeof(out->b) ? hex_decode(hex, out->b, sizeof(out->b))
						 : err_set(ERR_FORMAT, "%s is 64 hex digits", name);
}

static enum err run_exec_ref(struct operator_call *c)
{
	struct command_ref ref = {.publisher = call_text(c, "publisher")};
	struct event e = {.type = ELEMENT_COMMAND_REF, .command_ref = &ref};
	const struct data_broker *b =
		data_brokers_find(c->room->presence->brokers, call_text(c, "broker"));
	struct address from;
	struct key32 key;
	const char *queue;
	bool withdrawn = false;

	if (!b)
		return err_set(ERR_NOT_FOUND, "no data broker %s", call_text(c, "broker"));
	TRY(core_principal_key(c->room->core, ref.publisher, ROLE_PUBLISHER, &key));
	TRY(digest_of(c, "sha256", &ref.sha256));
	TRY(core_command_is_withdrawn(c->room->core, &ref, &withdrawn));
	if (withdrawn)
		return err_set(ERR_DENIED, "this command was withdrawn: sign another one");
	struct topic topic = topic_cmd(ref.publisher, &ref.sha256);
	from = data_broker_address(b, arena_strdup(c->arena, topic.s));
	if (!from.topic)
		return err_set(ERR_FULL, "no memory for this request");
	ref.from = &from;
	TRY(call_queue(c, &queue));
	return call_append(c, queue, &e, NULL);
}

// ---- taking back

// What the event of a flow names. *broker: where it lay.
static enum err ref_of_flow(
	struct operator_call *c, uint64_t flow, struct command_ref *ref, const char **broker)
{
	struct db *db = core_db(c->room->core);
	struct response_body body;
	struct flow_row row;
	struct bytes said;

	TRY(rows_flow_find(db, flow, c->arena, &row));
	TRY(rows_event_body(db, row.queue, row.seq, c->arena, &said));
	TRY(response_body_decode(c->arena, said, &body));
	if (!body.retrieve || !body.retrieve->command)
		return err_set(
			ERR_UNSUPPORTED, "this flow gave no signed command: cancel ends others");
	*ref = *body.retrieve->command;
	*broker = ref->from ? ref->from->broker_id : "";
	return ERR_OK;
}

static enum err ref_named(struct operator_call *c, struct command_ref *ref, const char **broker)
{
	uint64_t flow = call_u64(c, "flow", 0);

	if (flow)
		return ref_of_flow(c, flow, ref, broker);
	ref->publisher = call_text(c, "publisher");
	*broker = call_text(c, "broker");
	if (!ref->publisher || !call_text(c, "sha256") || !*broker)
		return err_set(ERR_FORMAT, "a flow, or publisher, sha256 and broker");
	return digest_of(c, "sha256", &ref->sha256);
}

static enum err run_command_withdraw(struct operator_call *c)
{
	struct command_ref ref = {0};
	const char *broker = "";
	size_t cancelled = 0;

	TRY(ref_named(c, &ref, &broker));
	const struct data_broker *b = data_brokers_find(c->room->presence->brokers, broker);
	if (!b)
		return err_set(ERR_NOT_FOUND, "no data broker %s", broker);
	TRY(core_command_withdraw(c->room->core, &ref, c->seat, &cancelled));
	put_text(c->json, "publisher", ref.publisher);
	put_digest(c->json, "sha256", &ref.sha256);
	put_number(c->json, "cancelled", cancelled);
	put_address(c, b);
	return ERR_OK;
}

static const struct verb_row rows[] = {
	{.name = "command-place",
		.help = "the data broker where a signed command is best put",
		.run = run_command_place},
	{.name = "exec-ref",
		.help = "lets a client, or all of a channel, fetch a signed command and run it",
		.writes = true,
		.run = run_exec_ref,
		.args = {{"client", ARG_ID, false, NULL, "whom"},
			{"channel", ARG_ID, false, NULL, "or every client of it"},
			{"publisher", ARG_ID, true, NULL, "under whose name it lies"},
			{"sha256", ARG_ID, true, NULL, "of the signed command"},
			{"broker", ARG_ID, true, NULL, "the data broker where it lies"}}},
	{.name = "command-withdraw",
		.help = "takes a signed command back: nobody is told any more, who was told gives "
			"it up",
		.writes = true,
		.run = run_command_withdraw,
		.args = {{"flow", ARG_U64, false, NULL, "the command that this act gave"},
			{"publisher", ARG_ID, false, NULL, "or under whose name it lies"},
			{"sha256", ARG_ID, false, NULL, "of the signed command"},
			{"broker", ARG_ID, false, NULL, "the data broker where it lies"}}},
};

const struct verb_table operator_command_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
