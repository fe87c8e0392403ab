// Customers: who owns which screens, and what is to be seen on them (requirements c9.b, c10, c12,
// c13). This room knows the shapes, what makes them valid, and how they are written as text; the
// rows are the state (db/rows_customer), orders follow from them (order_plan, orders).
//
//   customer ─┬─ places   where its screens stand, each with its time zone
//             ├─ clients  client systems: each belongs to one customer, stands at one place, has a
//             │           screen: as the operator says, else as the device reports it
//             └─ plans    image plans: an expression over tags (criteria.h), limits, order, hours,
//                         and where they apply: at which places, on which way of standing
//
// Each edit names the revision that it edits and makes the next one; who changed what, and what it
// was before, stands in the history. An empty expression matches nothing.
#ifndef HELIO_SERVER_CUSTOMERS_H
#define HELIO_SERVER_CUSTOMERS_H

#include "proto/message.h"

#define CUSTOMERS_MAX 10000
#define CUSTOMER_ID_MAX 36 // c.<customer>.<class>.<12 digits> is one topic level
#define SITE_MAX (CUSTOMER_ID_MAX + 1 + LIMIT_ID) // CUSTOMER/PLACE
#define CUSTOMER_PLANS_MAX 128 // of one customer; LIMIT_PLANS of them apply to one screen
#define CUSTOMER_PLACES_MAX 1000
#define CUSTOMER_CLIENTS_MAX 100000
#define CUSTOMER_PLAN_PLACES 16
#define CUSTOMER_PLACES_TEXT (CUSTOMER_PLAN_PLACES * (LIMIT_ID + 1))
#define CUSTOMER_DAYPARTS_TEXT 512
#define CUSTOMER_SEED_MAX ((UINT64_C(1) << 53) - 1) // exact in every reader of JSON

// CUSTOMER/PLACE; all_places: CUSTOMER/* too. Errors: ERR_FORMAT.
enum err site_check(const char *site, bool all_places) MUST_CHECK;

// Texts are never NULL; owned by whoever filled it.
struct customer {
	const char *id, *name, *publisher; // publisher: makes and signs its packages
	const char *time_zone;             // IANA name, "": UTC
	uint64_t revision;                 // of the whole customer
	bool removed;
	const char *order; // of the package: list, shuffle, weight
	uint64_t seed;     // of shuffle
	uint32_t duration_ms, transition_ms;
	const char *fit; // fit, fill, stretch, center
	uint32_t background_rgb;
	uint32_t max_images; // of a package; 0: no limit of its own
	uint64_t max_bytes;
	int64_t created_ms, changed_ms;
};

struct customer_place {
	const char *id, *name, *address;
	const char *time_zone; // "": the customer's
};

struct customer_client {
	const char *client, *place, *name; // place "": none
	uint32_t width_px, height_px;      // 0: as the device reports
	const char *orientation; // how it hangs: landscape, portrait; "": as its pixels say
};

struct customer_plan {
	const char *id, *expression;
	uint32_t min_width_px, min_height_px; // of its pictures; 0: any
	uint32_t max_images;
	uint64_t max_bytes;
	const char *order; // how it chooses within its limits: list, shuffle, weight, newest
	uint64_t seed;
	uint32_t duration_ms; // 0: the customer's
	const char *fit;      // "": the customer's
	uint32_t weight;      // share of showings
	int64_t from_unix_ms, until_unix_ms;
	const char *dayparts;    // "mon-fri 08:00-18:00; sat,sun 10:00-16:00"; "": always
	const char *places;      // "lobby,bar"; "": everywhere
	const char *orientation; // landscape, portrait, square; "": any
	bool paused;
};

// A customer with all but its clients, of which there may be many.
struct customer_whole {
	struct customer customer;
	struct customer_place *places; // by id
	size_t place_count;
	struct customer_plan *plans; // by id
	size_t plan_count;
};

const struct customer_place *customer_place_find(const struct customer_whole *w, const char *id);
struct customer_plan *customer_plan_find(const struct customer_whole *w, const char *id);

// ---- what is valid. Errors: ERR_RANGE, ERR_FORMAT, ERR_NOT_FOUND (a place), with a sentence.

enum err customer_check(const struct customer *c) MUST_CHECK;
enum err customer_place_check(const struct customer_place *p) MUST_CHECK;
enum err customer_client_check(
	const struct customer_whole *w, const struct customer_client *c) MUST_CHECK;
// And that its places exist. Texts that mean the same become the same: see the two below.
enum err customer_plan_check(
	const struct customer_whole *w, const struct customer_plan *p) MUST_CHECK;

// ---- texts

// "mon-fri 08:00-18:00; sat 10:00-24:00": days as ranges and lists, or `daily`; a begin after the
// end crosses midnight and belongs to the day on which it begins. Errors: ERR_FORMAT, ERR_RANGE.
enum err dayparts_parse(
	const char *text, struct daypart out[LIMIT_DAYPARTS], size_t *count) MUST_CHECK;
enum err dayparts_format(
	const struct daypart *parts, size_t count, char out[CUSTOMER_DAYPARTS_TEXT]) MUST_CHECK;

// "a,b,c" in ascending order, each once. Errors: ERR_FORMAT, ERR_RANGE, ERR_FULL.
enum err places_normal(const char *text, char out[CUSTOMER_PLACES_TEXT]) MUST_CHECK;
// Whether a normal list names the place. "" names none.
bool places_name(const char *list, const char *place);

#endif
