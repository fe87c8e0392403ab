// Rotation of the identity key (verb rotate-key). The client id never changes.
//
//   next key on disk -> sign-in signed by both -> offer that names the next key
//                    -> first answer of that session -> the next key is the key
//
// Until that answer both keys are on disk, and sign-ins take turns: one that both keys signed (the
// server has the old one still), one of the next key alone (the server has it already). So a power
// cut at any moment leaves a device that can sign in. The server keeps the next key in the commit
// that makes the session current, before it answers; its offer says which key will be in force, and
// an offer that does not name the next one changes nothing here.
#include "client/agent_parts.h"

#include "proto/rotation.h"

#include <stdio.h>
#include <string.h>

static void key_name(const struct sign_key *key, char out[LIMIT_TEXT])
{
	struct digest id = key_id(sign_key_public(key));
	char hex[65];
	hex_encode(id.b, sizeof id.b, hex);
	(void)snprintf(out, LIMIT_TEXT, "key=%s", hex);
}

void rotate_execute(struct agent_core *c, struct now now)
{
	if (c->port->key_next == NULL || c->port->key_commit == NULL) {
		operation_end(c, now, OP_REFUSED, "unsupported: this agent keeps its key");
		return;
	}
	if (c->port->key_next(c->ctx, &c->next_key) != ERR_OK) {
		c->next_key = NULL;
		operation_end(c, now, OP_FAILED, "key: %s", err_text());
		return;
	}
	// The detail is how a later start knows that it was this operation's key.
	key_name(c->next_key, c->state.op.detail);
	if (agent_state_save(c) != ERR_OK) {
		c->next_key = NULL;
		operation_end(c, now, OP_FAILED, "state: %s", err_text());
		return;
	}
	c->session.ask_next = now.mono;
	c->session.ask_tries = 0;
}

bool rotate_recover(struct agent_core *c)
{
	struct op_record *op = &c->state.op;
	char name[LIMIT_TEXT];
	if (c->next_key != NULL) {
		op->status = OP_RUNNING;
		key_name(c->next_key, op->detail); // a cut before it was written
		return true;
	}
	key_name(c->key, name);
	if (strcmp(op->detail, name) != 0)
		return false;
	op->status = OP_DONE;
	op->percent = 100;
	return true;
}

// The keys of the next sign-in. A turn of the next key alone comes second.
void rotate_ask(struct agent_core *c, struct sign_in *in, const struct sign_key **signs)
{
	struct client_session *s = &c->session;
	*signs = c->key;
	if (c->next_key != NULL && s->ask_tries % 2 == 0)
		*signs = c->next_key;
	in->public_key = *sign_key_public(*signs);
	s->ask_rotates = c->next_key != NULL && *signs == c->key;
	s->ask_is_next = *signs == c->next_key;
	if (!s->ask_rotates)
		return;
	rotation_prove(c->config->client_id, in, c->next_key);
}

enum err rotate_offer_check(struct agent_core *c, struct now now, const struct session_offer *o)
{
	struct client_session *s = &c->session;
	if (!s->ask_rotates && !s->ask_is_next)
		return ERR_OK;
	struct digest next = key_id(sign_key_public(c->next_key));
	if (digest_equal(&o->identity_key_id, &next))
		return ERR_OK;
	// The key stays on disk; the next start tries once more.
	char name[LIMIT_TEXT];
	key_name(c->next_key, name);
	c->next_key = NULL;
	if (operation_is_open(c) && strcmp(c->state.op.detail, name) == 0)
		operation_end(c, now, OP_FAILED, "the server does not rotate keys");
	return err_set(ERR_UNSUPPORTED, "the offer does not name the next key");
}

// An answer inside a session that began with the next key: the server has it on disk.
void rotate_answered(struct agent_core *c, struct now now)
{
	struct client_session *s = &c->session;
	char name[LIMIT_TEXT];
	if (!s->with_next || c->next_key == NULL)
		return;
	if (c->port->key_commit(c->ctx) != ERR_OK) {
		log_error("KEY-NOT-KEPT", "client=%s why=%s", c->config->client_id,
			log_quote(err_text()));
		return; // the next answer tries again
	}
	s->with_next = false;
	c->key = c->next_key;
	c->next_key = NULL;
	key_name(c->key, name);
	log_info("KEY-ROTATED", "client=%s %s", c->config->client_id, name);
	if (operation_is_open(c) && strcmp(c->state.op.detail, name) == 0)
		operation_end(c, now, OP_DONE, "%s", name);
}
