// What publishers say (S002-3, S002-6, S002-7, S002-11, S002-12). Every message obtains one
// directive: the one in force for its package, or NOTED. A refused offer obtains NOTED with a
// reason that begins with "refused: ", and no directive id.
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "server/bases.h"
#include "server/copies.h"
#include "server/db/rows_content.h"
#include "server/offer.h"
#include "server/presence.h"
#include <inttypes.h>
#include <stdio.h>

struct pub {
	struct presence *p;
	const struct root *root;
	const char *publisher;
	const struct publisher_msg *m;
	struct arena *arena;
	struct now now;
};

static void noted(const struct pub *c, const char *reason)
{
	if (!c->m->request_id && !reason[0])
		return; // it was told, not asked
	struct directive m = {
		.request_id = c->m->request_id,
		.kind = DIRECTIVE_NOTED,
		.package = c->m->package,
		.reason = reason,
	};

	if (c->p->ports.send_directive(c->p->ports.ctx, c->publisher, &m) != ERR_OK)
		log_info("DIRECTIVE-UNSENT", "publisher=%s kind=noted why=%s", c->publisher,
			log_quote(err_text()));
}

static void refused(const struct pub *c, const char *why)
{
	char reason[LIMIT_TEXT + 1];
	static struct log_gate gate;

	text_format(reason, sizeof(reason), "refused: %s", why);
	if (log_gate_open(&gate, c->now.mono.ms, 1000))
		log_warn("PUB-REFUSED", "publisher=%s state=%s package=%s why=%s", c->publisher,
			publisher_state_word(c->m->state), digest_short(&c->m->package),
			log_quote(why));
	noted(c, reason);
}

// ---------------------------------------------------------------- offers

// A name belongs to the publisher that first used it.
static enum err name_check(const struct pub *c, const char *name)
{
	struct package *k, *next;

	HASH_ITER(hh, c->p->packages, k, next)
	{
		if (strcmp(k->name, name) == 0 && strcmp(k->publisher, c->publisher) != 0)
			return err_set(ERR_DENIED, "the name %s belongs to publisher %s", name,
				k->publisher);
	}
	return ERR_OK;
}

static enum err package_new(const struct pub *c, const struct manifest *man,
	const struct digest *id, struct package **out)
{
	struct package *k;
	struct package_row row = {
		.id = *id,
		.publisher = c->publisher,
		.name = man->name,
		.version = man->version,
		.kind = man->kind,
		.size_bytes = man->size_bytes,
		.object_bytes = c->m->object_bytes,
		.envelope = c->m->manifest,
		.offered_ms = c->now.wall.ms,
	};

	TRY(name_check(c, man->name));
	if (HASH_COUNT(c->p->packages) >= PRESENCE_PACKAGES_MAX)
		return err_set(ERR_FULL, "%d packages are known", PRESENCE_PACKAGES_MAX);
	TRY(rows_package_put(c->p->db, &row));
	k = calloc(1, sizeof(*k));
	if (!k)
		abort();
	k->id = *id;
	k->kind = man->kind;
	k->size_bytes = man->size_bytes;
	k->object_bytes = c->m->object_bytes;
	k->offered = c->now.wall;
	k->since = c->now.wall;
	k->state = PLACE_OFFERED;
	k->idle_since_attended_ms = c->p->attended_ms;
	str_copy(k->publisher, sizeof(k->publisher), c->publisher);
	str_copy(k->name, sizeof(k->name), man->name);
	str_copy(k->version, sizeof(k->version), man->version);
	HASH_ADD(hh, c->p->packages, id, sizeof(k->id), k);
	log_info("PACKAGE-OFFERED",
		"publisher=%s package=%s kind=%s name=%s version=%s size_bytes=%" PRIu64,
		c->publisher, digest_short(id), package_kind_word(k->kind), log_quote(k->name),
		log_quote(k->version), k->size_bytes);
	package_store(c->p, k);
	*out = k;
	return ERR_OK;
}

static enum err offer_known(const struct pub *c, struct package *k)
{
	if (strcmp(k->publisher, c->publisher) != 0)
		return err_set(ERR_DENIED, "the package belongs to publisher %s", k->publisher);
	if (k->state == PLACE_WITHDRAWN && k->barred)
		return err_set(
			ERR_DENIED, "an operator withdrew the package; package-restore allows it");
	if (k->state == PLACE_WITHDRAWN) {
		k->viewed = false;
		package_step(c->p, k, PLACE_EV_OFFER, "offered again", c->now);
	}
	if (k->state == PLACE_OFFERED)
		package_place(c->p, k, c->m->request_id, "offered", c->now);
	else
		directive_send(c->p, k, c->m->request_id, c->now);
	copies_send(c->p, k, c->now);
	bases_again(k); // a session began: it has forgotten them
	return ERR_OK;
}

static enum err offer_take(const struct pub *c)
{
	struct manifest man;
	struct digest id;
	struct package *k;

	TRY(offer_open(c->root, c->m->manifest, c->arena, &man, &id));
	if (!digest_equal(&id, &c->m->package))
		return err_set(ERR_FORMAT, "the manifest has another id than the one named");
	k = presence_find(c->p, &id);
	if (k)
		return offer_known(c, k);
	TRY(package_new(c, &man, &id, &k));
	package_place(c->p, k, c->m->request_id, "offered", c->now);
	return ERR_OK;
}

static void pub_offer(const struct pub *c)
{
	enum err e = offer_take(c);

	if (e != ERR_OK)
		refused(c, err_text());
}

// ---------------------------------------------------------------- answers to directives

// The package of a message, when it is the publisher's own; otherwise says why not and returns
// NULL.
static struct package *own_package(const struct pub *c)
{
	struct package *k = presence_find(c->p, &c->m->package);

	if (!k)
		refused(c, "no such package was offered");
	else if (strcmp(k->publisher, c->publisher) != 0)
		refused(c, "the package belongs to another publisher");
	else
		return k;
	return NULL;
}

// Only the answer to the directive in force counts.
static bool answers(const struct pub *c, struct package *k)
{
	if (c->m->directive_id != k->directive_id || !k->directive) {
		noted(c, "another directive is in force");
		if (k->directive && !k->answered)
			directive_send(c->p, k, 0, c->now);
		return false;
	}
	if (!k->answered) {
		k->answered = true;
		package_store(c->p, k);
	}
	return true;
}

static bool is_transmit(const struct package *k)
{
	return k->directive == DIRECTIVE_TRANSMIT || k->directive == DIRECTIVE_REPAIR;
}

static void pub_sending(const struct pub *c, struct package *k)
{
	if (!answers(c, k))
		return;
	k->sent_bytes = c->m->sent_bytes;
	k->total_bytes = c->m->total_bytes;
	noted(c, "");
}

static void object_bytes_learn(const struct pub *c, struct package *k)
{
	if (c->m->object_bytes)
		k->object_bytes = c->m->object_bytes;
	k->sent_bytes = k->total_bytes = 0;
}

static void pub_stored(const struct pub *c, struct package *k)
{
	bool is_same = memcmp(&k->mark, &c->m->mark, sizeof(k->mark)) == 0 &&
		       digest_equal(&k->index_sha256, &c->m->index_sha256);

	if (!answers(c, k))
		return;
	noted(c, "");
	if (!is_transmit(k) || strcmp(c->m->broker_id, k->broker) != 0)
		return;
	if (k->state != PLACE_SENDING && is_same)
		return; // said again
	object_bytes_learn(c, k);
	k->mark = c->m->mark;
	k->index_sha256 = c->m->index_sha256;
	k->reading_back = false;
	if (place_is_stored(k->state))
		package_step(c->p, k, PLACE_EV_DOUBT, "the publisher stored it anew", c->now);
	else
		package_step(
			c->p, k, PLACE_EV_CLAIMED, "the publisher says that it is stored", c->now);
	package_read_back(c->p, k);
}

static void pub_stopped(const struct pub *c, struct package *k)
{
	if (k->state == PLACE_WAITING) {
		directive_send(c->p, k, c->m->request_id, c->now);
		return;
	}
	if (!answers(c, k))
		return;
	if (k->state != PLACE_STOPPING) {
		noted(c, "");
		return;
	}
	if (!package_step(c->p, k, PLACE_EV_STOPPED, "the publisher stopped and withdrew", c->now))
		return;
	copies_yield(c->p, k, k->broker);
	k->broker[0] = 0;
	k->failures = 0;
	k->viewed = true;
	directive_issue(c->p, k, DIRECTIVE_WAIT, c->m->request_id, c->now);
	if (package_is_wanted(k))
		package_place(c->p, k, 0, "a client asked meanwhile", c->now);
}

static void package_failed(const struct pub *c, struct package *k)
{
	memcpy(k->avoid, k->broker, sizeof(k->avoid));
	log_warn("PUB-FAILED", "publisher=%s package=%s broker=%s why=%s", c->publisher,
		digest_short(&k->id), k->broker, log_quote(c->m->detail));
	if (k->failures < 16)
		k->failures++;
	k->retry_at_ms = c->now.mono.ms + (INT64_C(1000) << (k->failures > 6 ? 6 : k->failures));
	package_step(c->p, k, PLACE_EV_FAILED,
		c->m->detail[0] ? c->m->detail : "the publisher could not", c->now);
}

// What it could not withdraw lies there on, and is no less to go: it is told again, as of a copy.
static void withdrawal_failed(const struct pub *c, struct package *k)
{
	char broker[LIMIT_ID + 1];

	if (!str_copy(broker, sizeof(broker), c->m->broker_id) || !broker[0])
		memcpy(broker, k->broker, sizeof(broker));
	if (k->state == PLACE_STOPPING) {
		package_failed(c, k);
		k->broker[0] = 0;
		directive_issue(c->p, k, DIRECTIVE_WAIT, 0, c->now);
	} else {
		k->broker[0] = 0;
		package_store(c->p, k);
	}
	copies_leave(c->p, k, broker, "what lies there could not be withdrawn", c->now);
}

static void pub_failed(const struct pub *c, struct package *k)
{
	// Whatever it was told when it failed: nothing of it is to lie anywhere.
	if (k->state == PLACE_WITHDRAWN || k->state == PLACE_WAITING) {
		k->answered |= c->m->directive_id == k->directive_id;
		noted(c, "");
		withdrawal_failed(c, k);
		return;
	}
	if (!answers(c, k))
		return;
	noted(c, "");
	if (k->state == PLACE_STOPPING) {
		withdrawal_failed(c, k);
		return;
	}
	if (is_transmit(k) && place_step(k->state, PLACE_EV_FAILED))
		package_failed(c, k);
}

static void pub_withdrawn(const struct pub *c, struct package *k)
{
	if (k->state != PLACE_WITHDRAWN) {
		void *cursor = NULL;

		for (struct lease *l; (l = leases_next(c->p->leases, &cursor));)
			if (digest_equal(&l->package, &k->id))
				lease_end(c->p, l, "the publisher withdrew the package", c->now);
		package_step(c->p, k, PLACE_EV_WITHDRAW, "withdrawn by the publisher", c->now);
		copies_drop(c->p, k);
		k->directive_id = ++k->directive_top; // no earlier directive is in force any more
		k->directive = DIRECTIVE_NOTED;
		k->answered = true;
		k->broker[0] = 0;
		package_store(c->p, k);
	}
	noted(c, "");
}

// A sign of life; with a package, the question what is in force for it.
static void pub_alive(const struct pub *c)
{
	struct package *k, *next;

	if (!digest_is_zero(&c->m->package)) {
		k = own_package(c);
		if (k && k->directive && k->state != PLACE_WITHDRAWN)
			directive_send(c->p, k, c->m->request_id, c->now);
		else if (k)
			noted(c, place_state_word(k->state));
		return;
	}
	noted(c, "");
	HASH_ITER(hh, c->p->packages, k, next)
	{
		if (strcmp(k->publisher, c->publisher) == 0 && k->directive && !k->answered)
			directive_send(c->p, k, 0, c->now);
	}
}

static void pub_ordered(const struct pub *c)
{
	const struct presence_ports *ports = &c->p->ports;

	if (!ports->ordered)
		refused(c, "no such order stands here");
	else if (ports->ordered(ports->ctx, c->publisher, c->m->ordered) != ERR_OK)
		refused(c, err_text());
	else
		noted(c, "");
}

void handle_pub(struct presence *p, const struct root *root, const char *publisher,
	const struct publisher_msg *m, struct arena *a, struct now now)
{
	const struct pub c = {p, root, publisher, m, a, now};
	struct package *k = NULL;

	if (m->state == PUB_OFFER) {
		pub_offer(&c);
		return;
	}
	if (m->state == PUB_ALIVE || m->state == PUB_SIGN_IN) {
		pub_alive(&c);
		return;
	}
	if (m->state == PUB_ORDERED) {
		pub_ordered(&c);
		return;
	}
	if (m->state == PUB_RECORDED) {
		noted(&c, "");
		return;
	}
	k = own_package(&c);
	if (!k)
		return;
	if (!digest_is_zero(&m->base)) {
		noted(&c, "");
		bases_said(k, m);
		return;
	}
	if (copies_said(p, k, m, now)) {
		noted(&c, "");
		return;
	}
	switch (m->state) {
	case PUB_SENDING:
		pub_sending(&c, k);
		break;
	case PUB_STORED:
		pub_stored(&c, k);
		break;
	case PUB_STOPPED:
		pub_stopped(&c, k);
		break;
	case PUB_FAILED:
		pub_failed(&c, k);
		break;
	case PUB_WITHDRAWN:
		pub_withdrawn(&c, k);
		break;
	case PUB_SIGN_IN:
	case PUB_OFFER:
	case PUB_ALIVE:
	case PUB_ORDERED:
	case PUB_RECORDED:
		break;
	}
}
