// The messages as plain structs: what every room but the codecs sees. helio.proto says what each
// field means; here stand shapes and rules.
//
// Decoded: strings are never NULL (absent is ""), fixed bytes are all zero when absent, optional
// parts are NULL, lists are pointer and count; everything points into the arena of the decode.
// Encoded: NULL strings count as "". `auth` is never encoded: seal_* of session.h appends it.
// Every enum value lies inside its enum after a decode; every id is a valid topic level.
#ifndef HELIO_MESSAGE_H
#define HELIO_MESSAGE_H

#include "proto/base/mem.h"
#include "proto/limits.h"
#include "proto/shown.h"

enum response_kind { KIND_NO_ACTION = 1, KIND_SEND_INFORMATION, KIND_RETRIEVE_INFORMATION, KIND_EXECUTE_COMMAND };
enum ack { ACK_NOTHING = 1, ACK_RESPONSE, ACK_RESEND, ACK_BUSY };
enum op_status { OP_ACCEPTED = 1, OP_RUNNING, OP_DONE, OP_FAILED, OP_REFUSED, OP_CANCELLED, OP_UNKNOWN };
enum client_state { CS_IDLE = 1, CS_AWAIT_INFO, CS_AWAIT_RETRIEVE, CS_AWAIT_COMMAND, CS_RESYNC, CS_CLONE_SUSPECT };
enum reach { REACH_NEVER = 1, REACH_ONLINE, REACH_LATE, REACH_SILENT };
enum info_kind { INFO_DISPLAY = 1, INFO_USAGE, INFO_HOLDINGS, INFO_SOFTWARE, INFO_LOGS, INFO_SCREENSHOT, INFO_OUTPUT };
enum package_kind { PACKAGE_IMAGES = 1, PACKAGE_SOFTWARE };
enum coding { CODING_RAW = 1, CODING_ZSTD, CODING_ZSTD_PREFIX, CODING_BSDIFF_ZSTD };
enum element_type { ELEMENT_HEAD = 1, ELEMENT_TAIL, ELEMENT_DISPLAY, ELEMENT_CONTROL, ELEMENT_REQUEST,
	ELEMENT_COMMAND, ELEMENT_SOFTWARE, ELEMENT_INTERVAL, ELEMENT_COMMAND_REF };
enum role { ROLE_CLIENT = 1, ROLE_PUBLISHER, ROLE_OPERATOR, ROLE_SERVER };
enum reason_code { REASON_CAUGHT_UP = 1, REASON_OPERATION_OPEN, REASON_BUSY, REASON_EVENT, REASON_RESEND_LOST,
	REASON_RESEND_ASKED, REASON_RESEND_MISMATCH, REASON_RESYNC, REASON_CANCEL_UNKNOWN, REASON_STALE_BOOT,
	REASON_SNAPSHOT, REASON_RETRY, REASON_HOLD, REASON_CLONE_SUSPECT, REASON_DEGRADED,
	REASON_ATTEMPTS_EXHAUSTED, REASON_INTERVAL, REASON_TURN };
enum publisher_state { PUB_SIGN_IN = 1, PUB_OFFER, PUB_SENDING, PUB_STORED, PUB_STOPPED, PUB_FAILED, PUB_WITHDRAWN, PUB_ALIVE,
	PUB_ORDERED, PUB_RECORDED };
enum directive_kind { DIRECTIVE_TRANSMIT = 1, DIRECTIVE_STOP, DIRECTIVE_WAIT, DIRECTIVE_DEFER, DIRECTIVE_REPAIR,
	DIRECTIVE_PACKAGE_ORDER,
	DIRECTIVE_NOTED,
	DIRECTIVE_RECORD,
	DIRECTIVE_SERVE_BASES,
	DIRECTIVE_CONTENT_KEY,
	DIRECTIVE_MEDIUM_ENDED
};
enum media_state { MEDIA_PENDING = 1, MEDIA_RECORDED, MEDIA_POSTED, MEDIA_ARRIVED, MEDIA_CANCELLED, MEDIA_SUPERSEDED };

// Lower-case words for people and JSON ("no-action"); "?" outside the enum.
const char *response_kind_word(enum response_kind k);
const char *ack_word(enum ack a);
const char *op_status_word(enum op_status s);
const char *client_state_word(enum client_state s);    // "idle", "await-info" ...
const char *reach_word(enum reach r);
const char *info_kind_word(enum info_kind k);
const char *package_kind_word(enum package_kind k);
const char *element_type_word(enum element_type t);
const char *role_word(enum role r);
const char *reason_word(enum reason_code c);
const char *publisher_state_word(enum publisher_state s);
const char *directive_word(enum directive_kind k);

static inline bool op_status_is_final(enum op_status s)
{
	return s >= OP_DONE && s <= OP_UNKNOWN;
}

struct reason {
	enum reason_code code;
	const char *text;
};

struct address {
	const char *broker_id, *host, *ip;
	uint32_t port;             // 1..65535
	bool tls;
	const char *topic;
};

struct proof64 {
	uint8_t b[64];
};

// A customer's key, sealed for one receiver; see seal_content.h.
struct nonce12 {
	uint8_t b[12];
};
struct sealed32 {
	uint8_t b[48];
};
struct sealed_key {
	struct id16 key_id;
	struct key32 share;
	struct nonce12 nonce;
	struct sealed32 sealed;
};

struct sign_in {
	struct key32 public_key;
	struct id16 nonce;
	struct key32 x25519_share;
	struct id16 store_id;
	uint64_t boot_counter;
	struct id16 lineage;       // zero at the first sign-in
	struct key32 next_key;     // rotation (rotation.h); zero: none
	struct proof64 next_proof; // exactly with next_key
};

struct session_offer {
	const char *principal;
	uint64_t session_id;
	struct key32 x25519_share;
	struct id16 nonce, boot;
	struct digest server_key_id;
	struct id16 next_lineage;
	uint64_t highest_change_id, highest_report_id;
	struct digest sign_in_sha256;
	int64_t server_unix_ms;
	uint64_t incarnation;
	struct digest identity_key_id; // zero: not told
};

struct operation {
	uint64_t op_id;
	enum op_status status;
	const char *detail;
	uint32_t percent;          // 0..100
};

struct software_version {
	const char *name, *version;
	struct digest package;
};

struct status {
	const char *state, *agent_version;
	uint64_t free_bytes;
	struct digest showing_package;
	const char *showing_image;
	uint32_t interval_ms;
	uint32_t clock_quality;    // 1..3
	const char *hw_class;
	struct software_version *software;
	size_t software_count;
	uint32_t screen_width_px, screen_height_px;
	struct update_status *updates;
	size_t update_count;
};

// An update that is under way, or failed.
struct update_status {
	const char *name, *version;
	struct digest package;
	const char *state, *reason;
	uint32_t failures;         // above 0: a penalty holds
	int64_t until_unix_ms;     // of the penalty; 0: until an operator lifts it
};

struct holding {
	struct digest package;
	uint64_t lease;
	bool complete;
	uint32_t chunks_have, chunks_total;
	uint32_t looked_mb; // of its own files read so far while it looks; 0: it does not
};

struct holdings {
	bool full;
	struct holding *items;
	size_t item_count;
};

struct change {
	uint64_t change_id;
	const char *key, *value;
};

struct heartbeat {
	const char *client_id;
	struct bytes ip_address;   // 4 or 16 bytes
	uint64_t session_id, seq;
	int64_t sent_unix_ms;
	uint64_t last_response_id;
	enum ack ack;
	struct operation *op;      // NULL: none
	struct status *status;     // always present
	struct holdings *holdings;
	struct change *changes;
	size_t change_count;
	struct id16 boot;
	struct sign_in *sign_in;   // present exactly when session_id is 0
};

struct send_information {
	enum info_kind what;
	int64_t since_unix_ms;
	struct address *to;        // NULL: control broker, report topic
	uint32_t max_bytes;
	const char *unit, *pattern;
	uint32_t lines;
	uint64_t of_op;            // output: of this operation
};

struct package_ref {
	struct digest package;
	const char *publisher;
	enum package_kind kind;
	const char *name, *version;
	uint64_t size_bytes;
	bool activate;
	int64_t activate_unix_ms;
};

struct command_ref {
	const char *publisher;
	struct digest sha256;
	struct address *from;
};

struct retrieve_information {
	struct package_ref *packages;
	size_t package_count;
	struct change *changes;
	size_t change_count;
	struct command_ref *command;
	uint32_t heartbeat_interval_ms;
};

struct execute_command {
	const char *verb;
	const char **args;
	size_t arg_count;
	uint32_t timeout_ms;
	int64_t expires_unix_ms;
	uint32_t max_output_bytes;
};

struct response_body {
	uint64_t response_id;
	enum response_kind kind;
	uint64_t op_id;
	enum client_state state;
	struct reason *reason;     // always present
	const char *channel;
	uint64_t event_seq, flow_id;
	uint32_t attempt;
	struct send_information *send;           // exactly with its kind
	struct retrieve_information *retrieve;
	struct execute_command *execute;
};

struct response {
	const char *client_id;
	uint64_t session_id, in_reply_to_seq;
	struct id16 boot;
	int64_t server_unix_ms;
	uint32_t heartbeat_interval_ms;
	uint64_t rate_bytes_per_s;
	bool hold;
	uint64_t epoch, acked_change_id, acked_report_id;
	uint64_t open_report_id;       // 0: no report is held in part
	uint32_t open_report_parts;
	uint32_t reconnect_spread_ms;  // 0: not told
	uint32_t next_beat_ms;         // once; 0: as the interval says
	struct sealed_key *keys;
	size_t key_count;
	struct response_body *body;    // decode only
	struct bytes body_bytes;       // encode: an encoded ResponseBody; decode: the same bytes as received
};

struct display_info {
	struct digest showing_package;
	const char *showing_image;
	uint32_t width_px, height_px;
	uint64_t free_bytes;
	const char *showing_name, *showing_version;
	bool display_alive;
};

struct shown {
	uint64_t ledger_seq, boot_counter;
	struct digest package;
	const char *image;
	int64_t from_unix_ms;
	uint32_t duration_ms, clock_quality, planned_ms;
	enum shown_result result;
	const char *reason;            // a word, "" none; of one that was built here NULL counts as ""
};

struct report {
	const char *client_id;
	uint64_t session_id, seq;
	struct id16 boot;
	uint64_t report_id, op_id;
	enum info_kind what;
	uint32_t part, parts;
	struct display_info *display;
	struct shown *usage;
	size_t usage_count;
	struct holdings *holdings;
	struct software_version *software;
	size_t software_count;
	struct bytes data;
	bool truncated;                // a limit held something back
};

struct fetch_request {
	struct digest package;
	const char *publisher;
	uint64_t request_id;
	uint32_t chunks_have, chunks_total;
	struct digest *missing_objects;
	size_t missing_count;
	const char *failed_broker;
	struct digest base;
};

struct fetch_release {
	struct digest package;
	uint64_t lease;
	enum op_status outcome;
	uint64_t request_id;
};

struct want {
	const char *client_id;
	uint64_t session_id, seq;
	struct id16 boot;
	struct fetch_request *fetch;     // exactly one of the two
	struct fetch_release *release;
};

struct grant {
	const char *client_id;
	uint64_t session_id, seq;
	struct id16 boot;
	uint64_t request_id;
	struct digest package;
	bool granted;
	const char *reason;
	uint32_t retry_after_ms;
	struct address *from;            // present when granted
	uint64_t lease;
	uint32_t ttl_ms;
	uint64_t rate_bytes_per_s;
	uint32_t window;
	const char *publisher;
	struct key32 publisher_key;
	struct digest index_base;
	bool release_acked;
	uint64_t window_bytes; // 0: as many as the agent likes
};

// A part of the week in local time; until <= from crosses midnight.
struct daypart {
	uint32_t weekdays, from_minute, until_minute; // bit 0: Monday
};

struct plan_part {
	const char *plan, *expression;
	uint32_t max_images;
	uint64_t max_bytes;
	const char *order;
	uint64_t seed;
	uint32_t duration_ms;
	const char *fit;
	uint32_t weight;
	int64_t from_unix_ms, until_unix_ms; // 0: no bound
	struct daypart *dayparts;
	size_t daypart_count;
};

struct show_defaults {
	uint32_t duration_ms, transition_ms;
	const char *fit;
	uint32_t background_rgb;
	const char *order;
	uint64_t seed;
	const char *time_zone;
};

struct package_order {
	const char *order;
	uint64_t revision;
	bool withdrawn;
	const char *customer, *name;
	uint32_t screen_width_px, screen_height_px, max_images;
	uint64_t max_bytes;
	struct show_defaults *show;
	struct plan_part *parts;
	size_t part_count;
	uint64_t flow_id;
	bool sealed;
};

struct order_outcome {
	const char *order;
	uint64_t revision;
	struct digest package;
	uint32_t matched, included;
	uint64_t size_bytes;
	const char *reason;
	const char **warnings;
	size_t warning_count;
};

struct medium_outcome {
	uint64_t order;
	const char *medium_kind, *path;
	struct digest sha256;
	uint64_t size_bytes;
	const char *failed;              // "": recorded
};

struct publisher_msg {
	const char *publisher;
	uint64_t session_id, seq;
	struct id16 boot;
	uint64_t request_id;
	enum publisher_state state;
	struct digest package;
	struct bytes manifest;
	uint64_t directive_id;
	const char *broker_id;
	uint64_t sent_bytes, total_bytes;
	uint32_t objects;
	const char *detail;
	struct id16 mark;
	struct digest index_sha256;
	struct sign_in *sign_in;         // present exactly when session_id is 0
	uint64_t object_bytes;
	struct order_outcome *ordered;
	struct medium_outcome *recorded;
	struct digest base;
};

struct directive {
	const char *publisher;
	uint64_t session_id, seq;
	struct id16 boot;
	uint64_t request_id;
	enum directive_kind kind;
	uint64_t directive_id;
	struct digest package;
	struct address *to;
	uint32_t retry_after_ms;
	const char *reason;
	struct digest *objects;
	size_t object_count;
	struct digest base;
	struct package_order *order;
	struct bytes medium;
	struct digest *held;
	size_t held_count;
	const char *customer;
	struct sealed_key *key;
	uint64_t medium_order;
};

// What the envelope of a medium says.
struct medium {
	const char *client_id;
	uint64_t order;
	struct package_ref *package;
	struct key32 publisher_key;
	int64_t created_unix_ms;
	const char *client_name, *customer;
	struct sealed_key *key;
};

struct medium_result {
	uint64_t order;
	struct digest package;
	const char *outcome;
	int64_t at_unix_ms;
};

// What a client writes back to a stick.
struct medium_return {
	const char *client_id;
	struct id16 store_id;
	int64_t written_unix_ms;
	uint32_t clock_quality, part, parts;
	struct shown *usage;
	size_t usage_count;
	struct medium_result *results;
	size_t result_count;
};

struct page_ref {
	struct digest sha256;
	uint32_t size_bytes, chunk_count, file_count;
};

// What a run of pictures has in common.
struct show_group {
	const char *plan;
	uint32_t duration_ms;
	const char *fit;
	uint32_t weight;
	int64_t from_unix_ms, until_unix_ms;
	struct daypart *dayparts;
	size_t daypart_count;
};

struct manifest {
	enum package_kind kind;
	const char *name, *version, *product, *hw_class;
	uint64_t security_counter;
	uint32_t file_count;
	uint64_t size_bytes;
	uint32_t chunk_count;
	struct page_ref *pages;
	size_t page_count;
	const char *min_agent;
	struct show_defaults *show;
	struct show_group *groups;
	size_t group_count;
	struct id16 key_id; // zero: the package is not sealed
};

struct picture_info {
	uint32_t width_px, height_px, duration_ms;
	const char *fit, *title;
	const char **tags;
	size_t tag_count;
	uint32_t group, weight; // group: 1-based in the root, 0: none
	int64_t from_unix_ms, until_unix_ms;
};

struct file_entry {
	const char *path;
	uint64_t size_bytes;
	struct digest sha256;
	bool executable;
	struct bytes chunk_sha256;       // 32 each
	uint32_t *chunk_size;
	size_t chunk_count;              // 0: the file is one chunk (sha256, size_bytes)
	bool continued;
	struct picture_info *picture;
};

struct manifest_page {
	struct file_entry *files;
	size_t file_count;
	struct id16 salt;
};

struct object {
	struct digest sha256;            // zero with RAW: the chunk's own
	uint32_t size_bytes;             // 0 with RAW: the chunk's own
	enum coding coding;
	uint32_t first_chunk, chunk_count;
	struct digest *base_chunks;
	size_t base_count;
	uint32_t *base_sizes;
	size_t base_size_count;
	uint32_t *own_runs;              // pairs of ordinal and count, behind the base chunks
	size_t own_run_count;            // of numbers
};

struct index_page_ref {
	struct digest sha256;
	uint32_t size_bytes;
	struct object *object;           // always present
};

struct index {
	struct digest package, base;
	uint32_t object_count;
	uint64_t object_bytes;
	struct object *page_objects;
	size_t page_object_count;
	struct index_page_ref *pages;
	size_t page_count;
};

struct index_page {
	struct object *objects;
	size_t object_count;
	struct id16 salt;
};

struct signed_command {
	const char *client_id;
	struct execute_command *command; // always present
};

struct root {
	uint64_t version;
	const char *fleet;
	struct key32 *root_keys, *online_keys, *software_keys, *image_keys, *enrol_keys;
	size_t root_key_count, online_key_count, software_key_count, image_key_count, enrol_key_count;
	uint32_t root_threshold, software_threshold;
	int64_t expires_unix_ms;
};

struct enrolment {
	const char *id;
	enum role role;
	struct key32 public_key, box_key;
	const char *name;
};

struct host_state {
	const char *server;
	uint64_t counter;
	struct id16 boot;
	int64_t server_unix_ms;
	uint32_t period_ms;
	bool up;
};

struct state_view {
	const char *client_id;
	enum client_state state;
	enum reach reach;
	uint64_t response_id, op_id;
	enum op_status op_status;        // 0: none
	uint64_t seq;
	int64_t last_heard_unix_ms;
	struct bytes ip_address;
	uint32_t mismatches;
	const char *channel;
	struct digest showing_package;
	const char *showing_image;
	uint32_t interval_ms;
	uint64_t session_id;
	int64_t view_unix_ms;
	const char *agent_version;
	struct software_version *software;
	size_t software_count;
	enum response_kind last_kind;    // 0: none yet
	const char **more_channels;      // after the first
	size_t more_channel_count;
};

struct queue_element {
	uint64_t seq;
	enum element_type type;
	const char *text;
	uint64_t flow_id;
	uint64_t first_seq; // a consolidated one covers first_seq..seq
	uint64_t standing;  // pointers that show it
};

struct queue_pointer {
	const char *client_id;
	uint64_t seq;
	enum element_type at;
};

struct queue_view {
	const char *channel;
	uint64_t epoch;
	struct queue_element *elements;
	size_t element_count;
	struct queue_pointer *pointers;
	size_t pointer_count;
	uint64_t pointer_total, element_total, detached;
	bool paused, closed;
	uint64_t rate_bytes_per_s;
	uint32_t weight;
};

struct media_order {
	const char *client_id;
	uint64_t order;
	struct digest package;
	enum media_state state;
	const char *reason, *medium_kind, *path;
	struct digest sha256;
	int64_t created_unix_ms;
};

struct data_server_load {
	const char *broker_id;
	bool reachable, stale;
	double sent_bytes_per_s;
	uint64_t capacity_bytes_per_s, granted_bytes_per_s;
	uint32_t leases;
	int64_t last_target_unix_ms;
	uint32_t placements;
};

struct arg {
	const char *name, *value;
};

struct api_request {
	const char *seat;
	uint64_t session_id, seq;
	struct id16 boot;
	uint64_t request_id;
	const char *verb;
	struct arg *args;
	size_t arg_count;
	struct sign_in *sign_in;         // present exactly when session_id is 0
	const char *answer_level;
	struct bytes body;
};

struct api_answer {
	const char *seat;
	uint64_t session_id, seq, request_id;
	bool ok;
	const char *error, *error_word;
	struct bytes json;
	uint32_t part, parts;
};

// X(name): every message has
//   enum err NAME_encode(const struct NAME *m, struct buf *out);  clears out, writes the payload without auth
//   enum err NAME_decode(struct arena *a, struct bytes payload, struct NAME *out);  payload with or without auth
// encode: ERR_RANGE for a value that decode would refuse. decode: ERR_FORMAT, ERR_RANGE, ERR_FULL (budget),
// ERR_VERSION (schema other than 1); the sentence names the field.
#define HELIO_MESSAGES(X) \
	X(heartbeat) X(session_offer) X(response_body) X(response) X(report) X(want) X(grant) X(publisher_msg) \
	X(directive) X(manifest) X(manifest_page) X(index) X(index_page) X(signed_command) X(medium) X(medium_return) X(root) X(enrolment) \
	X(host_state) X(state_view) X(queue_view) X(media_order) X(data_server_load) X(api_request) X(api_answer) \
	X(package_order)

#define HELIO_DECLARE(name) \
	enum err name##_encode(const struct name *m, struct buf *out) MUST_CHECK; \
	enum err name##_decode(struct arena *a, struct bytes payload, struct name *out) MUST_CHECK;
HELIO_MESSAGES(HELIO_DECLARE)
#undef HELIO_DECLARE

// An authentic response of kinds 2 to 4 whose send, retrieve or execute part is not understood can still be refused by
// its operation's id: as decode, but those three parts are passed over unread and left NULL. Errors: as decode.
enum err response_outline(struct arena *a, struct bytes payload, struct response *out) MUST_CHECK;
enum err response_body_outline(struct arena *a, struct bytes payload, struct response_body *out) MUST_CHECK;

#endif
