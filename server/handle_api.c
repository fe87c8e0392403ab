// One request of an operator's seat: the verb, its arguments, exactly one effect, one answer.
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "server/db/rows_content.h"
#include "server/operator.h"

static void answer(struct operator_room *room, const char *seat, const struct api_request *m,
	enum err e, const char *error, struct bytes json)
{
	char why[LIMIT_TEXT + 1];
	struct api_reply r = {
		.request_id = m->request_id,
		.answer_level = m->answer_level,
		.error_word = e == ERR_OK ? NULL : err_word(e),
		.error = e == ERR_OK ? NULL : why,
		.json = json,
	};

	text_format(why, sizeof(why), "%s", error);
	if (core_send_api_answer(room->core, seat, &r) != ERR_OK)
		log_warn("API-UNANSWERED", "seat=%s verb=%s why=%s", seat, log_quote(m->verb),
			log_quote(err_text()));
}

// The stored answer of a repeated request. True when the request is answered.
static bool answered_before(
	struct operator_room *room, const char *seat, const struct api_request *m, struct arena *a)
{
	struct api_answer_row row;
	enum err e = rows_api_find(core_db(room->core), seat, m->request_id, a, &row);

	if (e == ERR_NOT_FOUND)
		return false;
	if (e != ERR_OK) {
		answer(room, seat, m, e, err_text(), (struct bytes){0});
		return true;
	}
	if (strcmp(row.verb, m->verb) != 0) {
		answer(room, seat, m, ERR_EXISTS, "this request id was used for another request",
			(struct bytes){0});
		return true;
	}
	struct api_reply r = {
		.request_id = m->request_id,
		.answer_level = m->answer_level,
		.error_word = row.error_word[0] ? row.error_word : NULL,
		.error = row.error_word[0] ? row.error : NULL,
		.json = row.json,
	};
	if (core_send_api_answer(room->core, seat, &r) != ERR_OK)
		log_warn("API-UNANSWERED", "seat=%s verb=%s why=%s", seat, m->verb,
			log_quote(err_text()));
	return true;
}

static enum err remember(struct operator_room *room, const char *seat, const struct api_request *m,
	enum err result, const char *error, struct bytes json, struct now now)
{
	struct api_answer_row row = {
		.seat = seat,
		.verb = m->verb,
		.error_word = result == ERR_OK ? "" : err_word(result),
		.error = error,
		.request_id = m->request_id,
		.json = json,
		.at_ms = now.wall.ms,
	};

	return rows_api_put(core_db(room->core), &row);
}

static void run(struct operator_call *c, const struct api_request *m)
{
	SCOPED_FREE char *text = NULL;
	char error[LIMIT_TEXT + 1] = "";
	enum err e = operator_args_check(c->verb, c->args, c->arg_count, c->body);
	struct bytes json = {0};

	if (e == ERR_OK)
		e = c->verb->run(c);
	if (e == ERR_OK) {
		text = cJSON_PrintUnformatted(c->json);
		if (text)
			json = bytes_of(text, strlen(text));
		else
			e = err_set(ERR_MEMORY, "no memory for the answer");
	}
	if (e != ERR_OK)
		text_format(error, sizeof(error), "%s", err_text());
	if (c->verb->writes) {
		log_info("API", "seat=%s verb=%s request=%llu result=%s", c->seat, c->verb->name,
			(unsigned long long)m->request_id, e == ERR_OK ? "ok" : err_word(e));
		if (remember(c->room, c->seat, m, e, error, json, c->now) != ERR_OK) {
			log_error("API-STORE", "seat=%s why=%s", c->seat, log_quote(err_text()));
			return; // the turn fails; the seat asks again
		}
	}
	answer(c->room, c->seat, m, e, error, json);
}

void handle_api(struct operator_room *room, const char *seat, enum role role,
	const struct api_request *m, struct arena *a, struct now now)
{
	struct operator_call c = {
		.room = room,
		.verb = operator_verb_find(m->verb),
		.seat = seat,
		.args = m->args,
		.arg_count = m->arg_count,
		.body = m->body,
		.arena = a,
		.now = now,
	};

	if (role != ROLE_OPERATOR) {
		log_warn("API-REFUSED", "principal=%s role=%s", seat, role_word(role));
		return;
	}
	if (!c.verb) {
		answer(room, seat, m, ERR_NOT_FOUND, "no such verb; help lists them",
			(struct bytes){0});
		return;
	}
	if (c.verb->writes && answered_before(room, seat, m, a))
		return;
	c.json = cJSON_CreateObject();
	if (!c.json)
		abort();
	run(&c, m);
	cJSON_Delete(c.json);
}
