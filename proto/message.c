// The words of the language's enums, for people and JSON.
#include "proto/message.h"

#define WORD(list, value)                                                                          \
	((unsigned)(value) < sizeof(list) / sizeof((list)[0]) && (list)[value] ? (list)[value]     \
									       : "?")

const char *response_kind_word(enum response_kind k)
{
	static const char *const words[] = {[KIND_NO_ACTION] = "no-action",
		[KIND_SEND_INFORMATION] = "send-information",
		[KIND_RETRIEVE_INFORMATION] = "retrieve-information",
		[KIND_EXECUTE_COMMAND] = "execute-command"};

	return WORD(words, k);
}

const char *ack_word(enum ack a)
{
	static const char *const words[] = {[ACK_NOTHING] = "nothing",
		[ACK_RESPONSE] = "response",
		[ACK_RESEND] = "resend",
		[ACK_BUSY] = "busy"};

	return WORD(words, a);
}

const char *op_status_word(enum op_status s)
{
	static const char *const words[] = {[OP_ACCEPTED] = "accepted",
		[OP_RUNNING] = "running",
		[OP_DONE] = "done",
		[OP_FAILED] = "failed",
		[OP_REFUSED] = "refused",
		[OP_CANCELLED] = "cancelled",
		[OP_UNKNOWN] = "unknown"};

	return WORD(words, s);
}

const char *client_state_word(enum client_state s)
{
	static const char *const words[] = {[CS_IDLE] = "idle",
		[CS_AWAIT_INFO] = "await-info",
		[CS_AWAIT_RETRIEVE] = "await-retrieve",
		[CS_AWAIT_COMMAND] = "await-command",
		[CS_RESYNC] = "resync",
		[CS_CLONE_SUSPECT] = "clone-suspect"};

	return WORD(words, s);
}

const char *reach_word(enum reach r)
{
	static const char *const words[] = {[REACH_NEVER] = "never",
		[REACH_ONLINE] = "online",
		[REACH_LATE] = "late",
		[REACH_SILENT] = "silent"};

	return WORD(words, r);
}

const char *info_kind_word(enum info_kind k)
{
	static const char *const words[] = {[INFO_DISPLAY] = "display",
		[INFO_USAGE] = "usage",
		[INFO_HOLDINGS] = "holdings",
		[INFO_SOFTWARE] = "software",
		[INFO_LOGS] = "logs",
		[INFO_SCREENSHOT] = "screenshot",
		[INFO_OUTPUT] = "output"};

	return WORD(words, k);
}

const char *shown_result_word(enum shown_result r)
{
	static const char *const words[] = {[SHOWN_WHOLE] = "whole",
		[SHOWN_CUT] = "cut",
		[SHOWN_SKIPPED] = "skipped",
		[SHOWN_FAILED] = "failed"};

	return WORD(words, r);
}

const char *package_kind_word(enum package_kind k)
{
	static const char *const words[] = {
		[PACKAGE_IMAGES] = "images", [PACKAGE_SOFTWARE] = "software"};

	return WORD(words, k);
}

const char *element_type_word(enum element_type t)
{
	static const char *const words[] = {[ELEMENT_HEAD] = "head",
		[ELEMENT_TAIL] = "tail",
		[ELEMENT_DISPLAY] = "display",
		[ELEMENT_CONTROL] = "control",
		[ELEMENT_REQUEST] = "request",
		[ELEMENT_COMMAND] = "command",
		[ELEMENT_SOFTWARE] = "software",
		[ELEMENT_INTERVAL] = "interval",
		[ELEMENT_COMMAND_REF] = "command-ref"};

	return WORD(words, t);
}

const char *role_word(enum role r)
{
	static const char *const words[] = {[ROLE_CLIENT] = "client",
		[ROLE_PUBLISHER] = "publisher",
		[ROLE_OPERATOR] = "operator",
		[ROLE_SERVER] = "server"};

	return WORD(words, r);
}

const char *reason_word(enum reason_code c)
{
	static const char *const words[] = {[REASON_CAUGHT_UP] = "caught-up",
		[REASON_OPERATION_OPEN] = "operation-open",
		[REASON_BUSY] = "busy",
		[REASON_EVENT] = "event",
		[REASON_RESEND_LOST] = "resend-lost",
		[REASON_RESEND_ASKED] = "resend-asked",
		[REASON_RESEND_MISMATCH] = "resend-mismatch",
		[REASON_RESYNC] = "resync",
		[REASON_CANCEL_UNKNOWN] = "cancel-unknown",
		[REASON_STALE_BOOT] = "stale-boot",
		[REASON_SNAPSHOT] = "snapshot",
		[REASON_RETRY] = "retry",
		[REASON_HOLD] = "hold",
		[REASON_CLONE_SUSPECT] = "clone-suspect",
		[REASON_DEGRADED] = "degraded",
		[REASON_ATTEMPTS_EXHAUSTED] = "attempts-exhausted",
		[REASON_INTERVAL] = "interval",
		[REASON_TURN] = "turn"};

	return WORD(words, c);
}

const char *publisher_state_word(enum publisher_state s)
{
	static const char *const words[] = {[PUB_SIGN_IN] = "sign-in",
		[PUB_OFFER] = "offer",
		[PUB_SENDING] = "sending",
		[PUB_STORED] = "stored",
		[PUB_STOPPED] = "stopped",
		[PUB_FAILED] = "failed",
		[PUB_WITHDRAWN] = "withdrawn",
		[PUB_ALIVE] = "alive",
		[PUB_ORDERED] = "ordered",
		[PUB_RECORDED] = "recorded"};

	return WORD(words, s);
}

const char *directive_word(enum directive_kind k)
{
	static const char *const words[] = {[DIRECTIVE_TRANSMIT] = "transmit",
		[DIRECTIVE_STOP] = "stop",
		[DIRECTIVE_WAIT] = "wait",
		[DIRECTIVE_DEFER] = "defer",
		[DIRECTIVE_REPAIR] = "repair",
		[DIRECTIVE_PACKAGE_ORDER] = "package-order",
		[DIRECTIVE_NOTED] = "noted",
		[DIRECTIVE_RECORD] = "record",
		[DIRECTIVE_CONTENT_KEY] = "content-key",
		[DIRECTIVE_MEDIUM_ENDED] = "medium-ended",
		[DIRECTIVE_SERVE_BASES] = "serve-bases"};

	return WORD(words, k);
}
