// Several servers on one store (shards.h), all of which answer: what of the core is whose.
//
//   of the owner of a client's shard (a byte of SHA-256 of its id), and of nobody else
//     session, offers, boot, numbers of messages        gate, sign_in
//     pointers, holdings, profile, reach, the one row    handle_heartbeat, memberships, reach
//     open operation, answers, reports, usage, its view  operations, respond, handle_report, views
//     what waits in its private queue, as read           give, letters
//   of the leader, who has the lease `lead`
//     channels and private queues: append, consolidate, trim, epochs     channels, channel_control
//     packages, placements, leases, read-back            presence
//     publishers' and operators' sessions, enrolment, the API            principals, operator
//     customers, orders, media, freshness, what follows from silence     rooms above the core
//     history's end
//   of everybody, read only: trust, settings, what channels hold
//
// Who owns a place says the port `owns`; the gate drops quietly what is another's. The rest meets
// in the store, by letters (rows_letter.h) that are written and taken in the transaction of what
// they are about, so each is obeyed once, whoever is killed when:
//
//   owner -> lead     a client's wish, how far it fetched, an end of an operation, changes for its
//                     channel ...
//   lead -> shard     an operator's act upon a client, a grant, how fast it may fetch from now on,
//   a
//                     new element of a private queue
//   lead -> everybody a channel holds something else: read by its sequence (followed.c)
//
// Letters are asked for at each tick (100 ms) and not announced by LISTEN/NOTIFY: one small query
// ten times a second costs the same however many there are, outlives a lost connection without a
// word, needs no second reader on the connection that turns wait for; and NOTIFY makes all commits
// of a database wait in one line. A heartbeat interval is ten times as long.
//
// The leader knows of every other client what its row says (mirrors.c). Such a client is
// `elsewhere`: it stands in its queues, so that nothing is trimmed that it waits for, and nothing
// of it is written here.
//
// Who is removed is let go of by its owner in memory alone, and the owner says so: what it still
// wrote meanwhile is then deleted by the leader. Until that is said the id is not enrolled again,
// so two lives of one id never meet in the store.
//
// Ids of responses rise per client also when it moves: each time a server comes to own shards it
// takes a new incarnation of the store for them.
#ifndef HELIO_SERVER_SHARE_H
#define HELIO_SERVER_SHARE_H

#include "server/core.h"
#include "server/db/rows_shard.h"

// Inside the transaction that gives these shards away: what their rows do not hold yet.
enum err core_share_leave(struct core *core, const unsigned *shards, size_t count) MUST_CHECK;
// After a commit that changed what the port `owns` says. A failure is the turn's.
void core_share_changed(struct core *core, struct now now);
// About ten times a second, between turns: letters, and what the leader knows of others' clients.
void core_share_tick(struct core *core, struct now now);
bool core_leads(const struct core *core); // alone, or of several

// ---- letters of other rooms, as they were posted

enum letter {
	LETTER_WANT = 1, // to the lead: a client's Want; a: its told interval
	LETTER_RENEW,    // a: lease, b: told interval; text: how far it is, and how fast
			 // (told_rates.h)
	LETTER_ENDED,    // an operation ended; body: operation_info
	LETTER_HELD,     // what the client holds changed
	LETTER_SCREEN,   // its screen has another size
	LETTER_CHANGES,  // changes for its first channel; body: a ResponseBody
	LETTER_OLDER,    // a client remembers a later start than the store
	LETTER_GRANT,    // to the owner: body: a Grant
	LETTER_QUEUE,    // its private queue has a new element
	LETTER_CHANNELS, // text: names, each behind a tab
	LETTER_INTERVAL, // a: ms
	LETTER_CLONE,    // the suspicion is cleared
	LETTER_CANCEL,   // a: operation, b: flow
	LETTER_MEDIUM,   // text: why
	LETTER_RESUME,   // its private queue goes on
	LETTER_ENROLLED,
	LETTER_REVOKED,
	LETTER_REMOVED,
	LETTER_CHANNEL,   // to everybody: text: a channel that holds something else
	LETTER_WITHDRAWN, // body: a CommandRef that was taken back; text: its publisher
	LETTER_RATE,      // to the owner: a: lease, b: the rate that its client is to be told
	LETTER_LEFT,      // to the lead: who answered a removed client has let go of it
	LETTER_KINDS
};

// What a room posts by itself, and is handed as hook `letter` where it is of its own kind.
struct letter_said {
	enum letter kind;
	const char *client, *text;
	uint64_t a, b;
	struct bytes body;
};
enum err core_letter_to_lead(struct core *core, const struct letter_said *l) MUST_CHECK;
// To whoever answers l->client.
enum err core_letter_to_owner(struct core *core, const struct letter_said *l) MUST_CHECK;

#endif
