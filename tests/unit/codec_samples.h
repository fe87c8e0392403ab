// Messages with every field set, and with as little as there may be: for the unit test of the
// codecs and for the seed corpus of the fuzz targets. Together they set every field of every table
// at least once; the unit test proves it.
#ifndef HELIO_TESTS_CODEC_SAMPLES_H
#define HELIO_TESTS_CODEC_SAMPLES_H

#include "proto/codec.h"
#include "proto/codec_envelope.h"
#include "proto/message.h"

struct sample {
	const char *name;
	const struct codec_table *table;
	void *message;
};

#define SAMPLE_BYTES(s)                                                                            \
	{                                                                                          \
		(const uint8_t *)(s), sizeof(s) - 1                                                \
	}
#define SAMPLE_IP4 SAMPLE_BYTES("\x0a\x00\x00\x07")
#define SAMPLE_IP6 SAMPLE_BYTES("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01")
#define SAMPLE_RESPONSE_ID (UINT64_C(1763700000) << 32 | 7)
#define SAMPLE_UNIX_MS 1763700000123
#define SAMPLE_SHA_A                                                                               \
	{                                                                                          \
		{                                                                                  \
			0xaa, 1, 2, 3                                                              \
		}                                                                                  \
	}
#define SAMPLE_SHA_B                                                                               \
	{                                                                                          \
		{                                                                                  \
			0xbb, 4, 5, 6                                                              \
		}                                                                                  \
	}
#define SAMPLE_ID16                                                                                \
	{                                                                                          \
		{                                                                                  \
			0xcc, 7, 8, 9                                                              \
		}                                                                                  \
	}

static struct address sample_address = {
	"data.1", "data1.example.net", "192.0.2.7", 8883, true, "helio/v1/inbox/screen-1"};
static struct address sample_address_ip6 = {.ip = "2001:db8::1", .port = 1};

static struct sealed_key sample_sealed[] = {
	{.key_id = SAMPLE_ID16, .nonce = {{1, 2, 3}}, .sealed = {{7, 8, 9}}},
	{.key_id = SAMPLE_ID16, .share = {{4, 5, 6}}, .sealed = {{7, 8, 9}}}};
static struct sign_in sample_sign_in = {SAMPLE_SHA_A, SAMPLE_ID16, SAMPLE_SHA_B, SAMPLE_ID16, 41,
	SAMPLE_ID16, SAMPLE_SHA_B, {{5, 6, 7}}};
static struct sign_in sample_sign_in_least = {.public_key = SAMPLE_SHA_A,
	.nonce = SAMPLE_ID16,
	.x25519_share = SAMPLE_SHA_B,
	.store_id = SAMPLE_ID16};

static struct software_version sample_software[] = {
	{"helio-agent", "0.1.0", SAMPLE_SHA_A}, {"firmware", "2.4~rc1+b2", SAMPLE_SHA_B}};

static struct holding sample_holding_items[] = {
	{SAMPLE_SHA_A, 77, true, 12, 12, 0},
	{SAMPLE_SHA_B, UINT64_MAX, false, 3, UINT32_MAX, 1700}};
static struct holdings sample_holdings = {true, sample_holding_items, 2};
static struct holdings sample_holdings_none = {true, NULL, 0};
static struct change sample_changes[] = {{5, "brightness", "80 %"}, {6, "title", "Grüße 日本 😀"}};
static struct operation sample_operation = {SAMPLE_RESPONSE_ID, OP_FAILED, "no space left", 100};
static struct update_status sample_updates[] = {
	{"firmware", "2.5", SAMPLE_SHA_A, "rolled-back", "health: rc=1", 2, SAMPLE_UNIX_MS},
	{.name = "app", .package = SAMPLE_SHA_B, .state = "trial"}};
static struct status sample_status = {"fetching", "0.1.0", 123456789012, SAMPLE_SHA_A,
	"0001-bridge.jpg", 30000, 3, "rpi4", sample_software, 2, 1920, 1080, sample_updates, 2};
static struct status sample_status_least = {.interval_ms = 200, .clock_quality = 1};

static struct heartbeat sample_heartbeat = {.client_id = "screen-1",
	.ip_address = SAMPLE_IP6,
	.session_id = 12,
	.seq = 300,
	.sent_unix_ms = SAMPLE_UNIX_MS,
	.last_response_id = SAMPLE_RESPONSE_ID,
	.ack = ACK_BUSY,
	.op = &sample_operation,
	.status = &sample_status,
	.holdings = &sample_holdings,
	.changes = sample_changes,
	.change_count = 2,
	.boot = SAMPLE_ID16};
static struct heartbeat sample_heartbeat_sign_in = {.client_id = "f1",
	.ip_address = SAMPLE_IP4,
	.ack = ACK_NOTHING,
	.status = &sample_status_least,
	.sign_in = &sample_sign_in};
static struct heartbeat sample_heartbeat_least = {.client_id = "f1",
	.ip_address = SAMPLE_IP4,
	.session_id = 1,
	.ack = ACK_NOTHING,
	.status = &sample_status_least};

static struct session_offer sample_offer = {"screen-1", 13, SAMPLE_SHA_A, SAMPLE_ID16, SAMPLE_ID16,
	SAMPLE_SHA_B, SAMPLE_ID16, 6, 9, SAMPLE_SHA_A, SAMPLE_UNIX_MS, 1763700000, SAMPLE_SHA_B};
static struct session_offer sample_offer_least = {.principal = "p",
	.session_id = 1,
	.x25519_share = SAMPLE_SHA_A,
	.nonce = SAMPLE_ID16,
	.boot = SAMPLE_ID16,
	.server_key_id = SAMPLE_SHA_A,
	.next_lineage = SAMPLE_ID16,
	.sign_in_sha256 = SAMPLE_SHA_B};

static struct reason sample_reason = {REASON_INTERVAL, "the operator set 30 s"};
static struct reason sample_reason_least = {.code = REASON_CAUGHT_UP};
static struct send_information sample_send = {INFO_LOGS, SAMPLE_UNIX_MS, &sample_address, 65536,
	"helio-agent.service", "error", 200, 0x6553f10000000007};
static struct package_ref sample_packages[] = {{SAMPLE_SHA_A, "studio.1", PACKAGE_IMAGES, "spring",
						       "2026-11", 1048576, true, 1700000000000},
	{.package = SAMPLE_SHA_B, .publisher = "p", .kind = PACKAGE_SOFTWARE, .name = "firmware"}};
static struct command_ref sample_command_ref = {"studio.1", SAMPLE_SHA_B, &sample_address_ip6};
static struct retrieve_information sample_retrieve = {
	sample_packages, 2, sample_changes, 2, &sample_command_ref, 60000};
static struct retrieve_information sample_retrieve_least = {.heartbeat_interval_ms = 200};
static const char *sample_args[] = {"--level", "", "3"};
static struct execute_command sample_execute = {
	"volume", sample_args, 3, 5000, SAMPLE_UNIX_MS, 4096};

static struct response_body sample_body_none = {.response_id = SAMPLE_RESPONSE_ID,
	.kind = KIND_NO_ACTION,
	.state = CS_IDLE,
	.reason = &sample_reason_least};
static struct response_body sample_body_send = {.response_id = UINT64_MAX,
	.kind = KIND_SEND_INFORMATION,
	.op_id = UINT64_MAX,
	.state = CS_AWAIT_INFO,
	.reason = &sample_reason,
	.channel = "lobby",
	.event_seq = 17,
	.flow_id = UINT64_MAX,
	.attempt = 2,
	.send = &sample_send};
static struct response_body sample_body_retrieve = {.response_id = 8,
	.kind = KIND_RETRIEVE_INFORMATION,
	.op_id = 8,
	.state = CS_AWAIT_RETRIEVE,
	.reason = &sample_reason,
	.retrieve = &sample_retrieve};
static struct response_body sample_body_interval = {.response_id = 8,
	.kind = KIND_RETRIEVE_INFORMATION,
	.op_id = 8,
	.state = CS_AWAIT_RETRIEVE,
	.reason = &sample_reason,
	.retrieve = &sample_retrieve_least};
static struct response_body sample_body_execute = {.response_id = 9,
	.kind = KIND_EXECUTE_COMMAND,
	.op_id = 9,
	.state = CS_CLONE_SUSPECT,
	.reason = &sample_reason,
	.execute = &sample_execute};

// body_bytes: set by samples_prepare.
static struct response sample_response = {.client_id = "screen-1",
	.session_id = 12,
	.in_reply_to_seq = 300,
	.boot = SAMPLE_ID16,
	.server_unix_ms = SAMPLE_UNIX_MS,
	.heartbeat_interval_ms = 30000,
	.rate_bytes_per_s = 1000000,
	.hold = true,
	.epoch = 3,
	.acked_change_id = 6,
	.acked_report_id = 2,
	.reconnect_spread_ms = 10000,
	.next_beat_ms = 700,
	.keys = sample_sealed,
	.key_count = 2,
	.open_report_id = 3,
	.open_report_parts = 17,
	.body = &sample_body_send};
static struct response sample_response_least = {.client_id = "f1",
	.session_id = 1,
	.heartbeat_interval_ms = 200,
	.body = &sample_body_none};

static struct display_info sample_display = {
	SAMPLE_SHA_A, "0001-bridge.jpg", 1920, 1080, 123456, "spring", "2026-11", true};
static struct shown sample_usage[] = {
	{1, 41, SAMPLE_SHA_A, "0001-bridge.jpg", SAMPLE_UNIX_MS, 8000, 3, 10000, SHOWN_CUT, "command"},
	{.image = "a", .clock_quality = 1}};
static struct report sample_report_display = {.client_id = "screen-1",
	.session_id = 12,
	.seq = 2,
	.boot = SAMPLE_ID16,
	.report_id = 3,
	.op_id = SAMPLE_RESPONSE_ID,
	.what = INFO_DISPLAY,
	.part = 1,
	.parts = 2,
	.display = &sample_display};
static struct report sample_report_usage = {.client_id = "f1",
	.session_id = 1,
	.report_id = 1,
	.what = INFO_USAGE,
	.parts = 1,
	.usage = sample_usage,
	.usage_count = 2};
static struct report sample_report_holdings = {.client_id = "f1",
	.session_id = 1,
	.report_id = 1,
	.what = INFO_HOLDINGS,
	.parts = 1,
	.holdings = &sample_holdings_none};
static struct report sample_report_software = {.client_id = "f1",
	.session_id = 1,
	.report_id = 1,
	.what = INFO_SOFTWARE,
	.parts = 1,
	.software = sample_software,
	.software_count = 2};
static struct report sample_report_logs = {.client_id = "f1",
	.session_id = 1,
	.report_id = 1,
	.what = INFO_LOGS,
	.parts = 1,
	.data = SAMPLE_BYTES("line 1\nline 2\n\0\xff"),
	.truncated = true};

static struct digest sample_digests[] = {SAMPLE_SHA_A, SAMPLE_SHA_B};
static struct fetch_request sample_fetch = {
	SAMPLE_SHA_A, "studio.1", UINT64_MAX, 5, 12, sample_digests, 2, "data.1", SAMPLE_SHA_B};
static struct fetch_release sample_release = {SAMPLE_SHA_A, 77, OP_CANCELLED, 5};
static struct want sample_want_fetch = {"screen-1", 12, 4, SAMPLE_ID16, &sample_fetch, NULL};
static struct want sample_want_release = {"f1", 1, 0, {{0}}, NULL, &sample_release};

static struct grant sample_grant = {.client_id = "screen-1",
	.session_id = 12,
	.seq = 5,
	.boot = SAMPLE_ID16,
	.request_id = 5,
	.package = SAMPLE_SHA_A,
	.granted = true,
	.reason = "least busy",
	.retry_after_ms = 1,
	.from = &sample_address,
	.lease = 77,
	.ttl_ms = 90000,
	.rate_bytes_per_s = 2000000,
	.window = 64,
	.publisher = "studio.1",
	.publisher_key = SAMPLE_SHA_B,
	.index_base = SAMPLE_SHA_B,
	.release_acked = true,
	.window_bytes = 2621440};
static struct grant sample_grant_refused = {
	.client_id = "f1", .session_id = 1, .package = SAMPLE_SHA_A};

static struct publisher_msg sample_pub_sign_in = {
	.publisher = "p", .state = PUB_SIGN_IN, .sign_in = &sample_sign_in_least};
static struct publisher_msg sample_pub_stored = {.publisher = "studio.1",
	.session_id = 3,
	.seq = 4,
	.boot = SAMPLE_ID16,
	.request_id = 9,
	.state = PUB_STORED,
	.package = SAMPLE_SHA_A,
	.manifest = SAMPLE_BYTES("an envelope"),
	.directive_id = 2,
	.broker_id = "data.1",
	.sent_bytes = 100,
	.total_bytes = 100,
	.objects = 7,
	.detail = "read back",
	.mark = SAMPLE_ID16,
	.index_sha256 = SAMPLE_SHA_B,
	.object_bytes = 99};
static struct publisher_msg sample_pub_alive = {
	.publisher = "p", .session_id = 1, .state = PUB_ALIVE};

static struct daypart sample_dayparts[] = {{0x1f, 480, 1080}, {0x60, 1320, 120}};
static struct plan_part sample_plans[] = {{.plan = "spring",
						  .expression = "sea and not night",
						  .max_images = 40,
						  .max_bytes = 1 << 30,
						  .order = "shuffle",
						  .seed = 7,
						  .duration_ms = 8000,
						  .fit = "fill",
						  .weight = 3,
						  .from_unix_ms = 1700000000000,
						  .until_unix_ms = 1800000000000,
						  .dayparts = sample_dayparts,
						  .daypart_count = 2},
	{.plan = "rest"}};
static struct show_defaults sample_order_show = {
	8000, 500, "fit", 0x102030, "shuffle", 99, "Europe/Athens"};
static struct package_order sample_order = {.order = "c.harbour.1920x1080",
	.revision = 4,
	.withdrawn = true,
	.customer = "harbour",
	.name = "harbour",
	.screen_width_px = 1920,
	.screen_height_px = 1080,
	.max_images = 100,
	.max_bytes = UINT64_C(8) << 30,
	.show = &sample_order_show,
	.parts = sample_plans,
	.part_count = 2,
	.flow_id = 12,
	.sealed = true};
static struct package_order sample_order_least = {
	.order = "c", .revision = 1, .customer = "h", .name = "h"};
static const char *sample_warnings[] = {"no picture has the tag night"};
static struct order_outcome sample_outcome = {.order = "c.harbour.1920x1080",
	.revision = 4,
	.package = SAMPLE_SHA_A,
	.matched = 60,
	.included = 40,
	.size_bytes = 123456789,
	.reason = "limit: 40 of 60",
	.warnings = sample_warnings,
	.warning_count = 1};
static struct publisher_msg sample_pub_ordered = {
	.publisher = "p", .session_id = 1, .state = PUB_ORDERED, .ordered = &sample_outcome};

static struct medium_outcome sample_recorded = {7, "iso9660",
	"/var/lib/heliograph/publisher/media/7.iso", SAMPLE_SHA_A, 4096, "no space left"};
static struct publisher_msg sample_pub_recorded = {
	.publisher = "p", .session_id = 1, .state = PUB_RECORDED, .recorded = &sample_recorded};

static struct directive sample_directive = {.publisher = "studio.1",
	.session_id = 3,
	.seq = 5,
	.boot = SAMPLE_ID16,
	.request_id = 9,
	.kind = DIRECTIVE_REPAIR,
	.directive_id = 2,
	.package = SAMPLE_SHA_A,
	.to = &sample_address,
	.retry_after_ms = 1000,
	.reason = "missing objects",
	.objects = sample_digests,
	.object_count = 2,
	.base = SAMPLE_SHA_B,
	.order = &sample_order};
static struct directive sample_directive_bases = {.publisher = "p",
	.session_id = 1,
	.kind = DIRECTIVE_SERVE_BASES,
	.package = SAMPLE_SHA_A,
	.held = sample_digests,
	.held_count = 2};
static struct publisher_msg sample_pub_delta = {.publisher = "p",
	.session_id = 1,
	.state = PUB_STORED,
	.mark = SAMPLE_ID16,
	.index_sha256 = SAMPLE_SHA_A,
	.broker_id = "data.1",
	.package = SAMPLE_SHA_A,
	.base = SAMPLE_SHA_B};
static struct directive sample_directive_order = {.publisher = "p",
	.session_id = 1,
	.kind = DIRECTIVE_PACKAGE_ORDER,
	.order = &sample_order_least};
static struct directive sample_directive_record = {.publisher = "p",
	.session_id = 1,
	.kind = DIRECTIVE_RECORD,
	.medium = {(const uint8_t *)"envelope", 8},
	.held = sample_digests,
	.held_count = 2};
static struct directive sample_directive_key = {.publisher = "p",
	.session_id = 1,
	.kind = DIRECTIVE_CONTENT_KEY,
	.customer = "acme",
	.key = &sample_sealed[0]};
static struct directive sample_directive_ended = {.publisher = "p",
	.session_id = 1,
	.kind = DIRECTIVE_MEDIUM_ENDED,
	.medium_order = (uint64_t)1 << 52};
static struct directive sample_directive_least = {
	.publisher = "p", .session_id = 1, .kind = DIRECTIVE_NOTED};

static struct envelope_signature sample_signatures[] = {
	{SAMPLE_SHA_A, {{1, 2, 3}}}, {SAMPLE_SHA_B, {{4, 5, 6}}}};
static struct envelope_parts sample_envelope = {
	SAMPLE_BYTES("the payload"), "application/x", sample_signatures, 2};
static struct envelope_parts sample_envelope_least = {SAMPLE_BYTES("x"), "t", sample_signatures, 1};

static struct page_ref sample_pages[] = {
	{SAMPLE_SHA_A, LIMIT_PAGE, 2000, 900}, {.sha256 = SAMPLE_SHA_B, .size_bytes = 1}};
static struct show_defaults sample_show = {8000, 1000, "fill", 0xffffff, "list", 3, "UTC"};
static struct show_group sample_groups[] = {
	{"spring", 5000, "fit", 2, 1700000000000, 1800000000000, sample_dayparts, 2},
	{.weight = 1}};
static struct manifest sample_manifest = {PACKAGE_IMAGES, "spring", "2026-11", "wall", "rpi4", 4,
	1800, UINT64_C(120) << 30, 4000, sample_pages, 2, "0.1.0", &sample_show, sample_groups, 2,
	SAMPLE_ID16};
static struct manifest sample_manifest_least = {.kind = PACKAGE_SOFTWARE,
	.name = "f",
	.version = "1",
	.file_count = 1,
	.pages = sample_pages,
	.page_count = 1};

static const char *sample_tags[] = {"spring", "bridge"};
static struct picture_info sample_picture = {1920, 1080, 5000, "center", "The bridge at Arta",
	sample_tags, 2, 1, 5, 1700000000000, 1800000000000};
static uint32_t sample_chunk_sizes[] = {1, 200000, LIMIT_CHUNK};
static struct file_entry sample_files[] = {
	{"0001-bridge.jpg", 1248577, SAMPLE_SHA_A, true,
		SAMPLE_BYTES("11111111111111111111111111111111222222222222222222222222222222223333"
			     "3333333333333333333333333333"),
		sample_chunk_sizes, 3, true, &sample_picture},
	{.path = "bin/a", .sha256 = SAMPLE_SHA_B}};
static struct manifest_page sample_manifest_page = {sample_files, 2, SAMPLE_ID16};
static struct manifest_page sample_manifest_page_least = {&sample_files[1], 1, {{0}}};

static uint32_t sample_base_sizes[] = {300, 70000};
static uint32_t sample_own_runs[] = {0, 2, 4, 1};
static struct object sample_objects[] = {{SAMPLE_SHA_A, LIMIT_OBJECT, CODING_ZSTD_PREFIX, 5, 2,
						 sample_digests, 2, sample_base_sizes, 2, sample_own_runs, 4},
	{.coding = CODING_RAW, .first_chunk = 1, .chunk_count = 1},
	{.sha256 = SAMPLE_SHA_B, .size_bytes = 1, .coding = CODING_ZSTD, .chunk_count = 4096}};
static struct index_page_ref sample_index_pages[] = {
	{SAMPLE_SHA_A, LIMIT_INDEX_PAGE, &sample_objects[0]},
	{SAMPLE_SHA_B, 1, &sample_objects[1]}};
static struct index sample_index = {
	SAMPLE_SHA_A, SAMPLE_SHA_B, 900, 123456789, sample_objects, 3, sample_index_pages, 2};
static struct index sample_index_least = {
	.package = SAMPLE_SHA_A, .pages = &sample_index_pages[1], .page_count = 1};
static struct index_page sample_index_page = {sample_objects, 3, SAMPLE_ID16};
static struct index_page sample_index_page_least = {NULL, 0, {{0}}};

static struct signed_command sample_command = {"screen-1", &sample_execute};
static struct execute_command sample_execute_least = {.verb = "v"};
static struct signed_command sample_command_least = {.command = &sample_execute_least};

static struct medium sample_medium = {
	"screen-1", (uint64_t)1 << 52, &sample_packages[0], SAMPLE_SHA_B, SAMPLE_UNIX_MS, "Gate 7", "acme",
	&sample_sealed[1]};
static struct medium sample_medium_least = {.client_id = "f1",
	.order = 1,
	.package = &sample_packages[0],
	.publisher_key = SAMPLE_SHA_A};
static struct medium_result sample_results[] = {
	{7, SAMPLE_SHA_A, "installed", SAMPLE_UNIX_MS}, {8, {{0}}, "other-client", 0}};
static struct medium_return sample_return = {"screen-1", SAMPLE_ID16, SAMPLE_UNIX_MS, 3, 1, 2,
	sample_usage, 2, sample_results, 2};
static struct medium_return sample_return_least = {
	.client_id = "f1", .store_id = SAMPLE_ID16, .clock_quality = 1, .parts = 1};

static struct key32 sample_keys[] = {SAMPLE_SHA_A, SAMPLE_SHA_B};
static struct root sample_root = {.version = 2,
	.fleet = "museum",
	.root_keys = sample_keys,
	.root_key_count = 2,
	.root_threshold = 2,
	.online_keys = sample_keys,
	.online_key_count = 2,
	.software_keys = sample_keys,
	.software_key_count = 2,
	.software_threshold = 1,
	.image_keys = sample_keys,
	.image_key_count = 1,
	.enrol_keys = sample_keys,
	.enrol_key_count = 1,
	.expires_unix_ms = 253402300799999};
static struct root sample_root_least = {.version = 1,
	.fleet = "f",
	.root_keys = sample_keys,
	.root_key_count = 1,
	.root_threshold = 1,
	.online_keys = sample_keys,
	.online_key_count = 1};

static struct enrolment sample_enrolment = {
	"screen-1", ROLE_SERVER, SAMPLE_SHA_A, SAMPLE_SHA_B, "Foyer, left"};
static struct enrolment sample_enrolment_least = {
	.id = "f1", .role = ROLE_CLIENT, .public_key = SAMPLE_SHA_A};

static struct host_state sample_host = {"server.1", 8, SAMPLE_ID16, SAMPLE_UNIX_MS, 10000, true};
static struct host_state sample_host_will = {.server = "server.1", .boot = SAMPLE_ID16};

static const char *sample_channels[] = {"urgent", "hall.7"};
static struct state_view sample_state_view = {"screen-1", CS_RESYNC, REACH_SILENT, 7, 6, OP_UNKNOWN,
	300, SAMPLE_UNIX_MS, SAMPLE_IP6, 2, "lobby", SAMPLE_SHA_A, "0001-bridge.jpg", 30000, 12,
	SAMPLE_UNIX_MS, "0.1.0", sample_software, 2, KIND_EXECUTE_COMMAND, sample_channels, 2};
static struct state_view sample_state_view_least = {
	.client_id = "f1", .state = CS_IDLE, .reach = REACH_NEVER};

static struct queue_element sample_elements[] = {
	{4, ELEMENT_COMMAND_REF, "restart", 88, 2, 17}, {.type = ELEMENT_HEAD}};
static struct queue_pointer sample_pointers[] = {
	{"screen-1", 4, ELEMENT_TAIL}, {.client_id = "f1", .at = ELEMENT_HEAD}};
static struct queue_view sample_queue_view = {"lobby", 3, sample_elements, 2, sample_pointers, 2,
	1000000, 250, 12, true, true, 65536, 1000};
static struct queue_view sample_queue_view_least = {.channel = "l"};

static struct media_order sample_media = {"screen-1", 2, SAMPLE_SHA_A, MEDIA_SUPERSEDED,
	"silent for 9 days", "iso", "/var/lib/helio/media/2.iso", SAMPLE_SHA_B, SAMPLE_UNIX_MS};
static struct media_order sample_media_least = {
	.client_id = "f1", .package = SAMPLE_SHA_A, .state = MEDIA_PENDING};

static struct data_server_load sample_load = {
	"data.1", true, true, 123456.75, 125000000, 4000000, 9, SAMPLE_UNIX_MS, 3};
static struct data_server_load sample_load_least = {.broker_id = "d"};

static struct arg sample_api_args[] = {{"channel", "lobby"}, {.name = "n"}};
static struct api_request sample_request = {.seat = "alice.1",
	.session_id = 3,
	.seq = 9,
	.boot = SAMPLE_ID16,
	.request_id = 5,
	.verb = "channel-publish",
	.args = sample_api_args,
	.arg_count = 2,
	.answer_level = "a1",
	.body = SAMPLE_BYTES("body")};
static struct api_request sample_request_sign_in = {
	.seat = "alice.1", .verb = "sign-in", .sign_in = &sample_sign_in, .answer_level = "a1"};

static struct api_answer sample_answer = {.seat = "alice.1",
	.session_id = 3,
	.seq = 10,
	.request_id = 5,
	.ok = true,
	.json = SAMPLE_BYTES("{\"ok\":true}"),
	.part = 1,
	.parts = 2};
static struct api_answer sample_answer_error = {.seat = "a",
	.session_id = 1,
	.error = "there is no such channel",
	.error_word = "not-found",
	.parts = 1};

// The larger one of each message comes first.
static const struct sample samples[] = {
	{"session", &codec_heartbeat, &sample_heartbeat},
	{"sign-in", &codec_heartbeat, &sample_heartbeat_sign_in},
	{"least", &codec_heartbeat, &sample_heartbeat_least},
	{"full", &codec_session_offer, &sample_offer},
	{"least", &codec_session_offer, &sample_offer_least},
	{"send", &codec_response_body, &sample_body_send},
	{"none", &codec_response_body, &sample_body_none},
	{"retrieve", &codec_response_body, &sample_body_retrieve},
	{"interval", &codec_response_body, &sample_body_interval},
	{"execute", &codec_response_body, &sample_body_execute},
	{"full", &codec_response, &sample_response},
	{"least", &codec_response, &sample_response_least},
	{"display", &codec_report, &sample_report_display},
	{"usage", &codec_report, &sample_report_usage},
	{"holdings", &codec_report, &sample_report_holdings},
	{"software", &codec_report, &sample_report_software},
	{"logs", &codec_report, &sample_report_logs},
	{"fetch", &codec_want, &sample_want_fetch},
	{"release", &codec_want, &sample_want_release},
	{"full", &codec_grant, &sample_grant},
	{"refused", &codec_grant, &sample_grant_refused},
	{"stored", &codec_publisher_msg, &sample_pub_stored},
	{"sign-in", &codec_publisher_msg, &sample_pub_sign_in},
	{"alive", &codec_publisher_msg, &sample_pub_alive},
	{"ordered", &codec_publisher_msg, &sample_pub_ordered},
	{"recorded", &codec_publisher_msg, &sample_pub_recorded},
	{"full", &codec_directive, &sample_directive},
	{"order", &codec_directive, &sample_directive_order},
	{"record", &codec_directive, &sample_directive_record},
	{"key", &codec_directive, &sample_directive_key},
	{"bases", &codec_directive, &sample_directive_bases},
	{"ended", &codec_directive, &sample_directive_ended},
	{"delta", &codec_publisher_msg, &sample_pub_delta},
	{"least", &codec_directive, &sample_directive_least},
	{"full", &codec_envelope_parts, &sample_envelope},
	{"least", &codec_envelope_parts, &sample_envelope_least},
	{"full", &codec_manifest, &sample_manifest},
	{"least", &codec_manifest, &sample_manifest_least},
	{"full", &codec_manifest_page, &sample_manifest_page},
	{"least", &codec_manifest_page, &sample_manifest_page_least},
	{"full", &codec_index, &sample_index},
	{"least", &codec_index, &sample_index_least},
	{"full", &codec_index_page, &sample_index_page},
	{"least", &codec_index_page, &sample_index_page_least},
	{"full", &codec_signed_command, &sample_command},
	{"least", &codec_signed_command, &sample_command_least},
	{"full", &codec_medium, &sample_medium},
	{"least", &codec_medium, &sample_medium_least},
	{"full", &codec_medium_return, &sample_return},
	{"least", &codec_medium_return, &sample_return_least},
	{"full", &codec_root, &sample_root},
	{"least", &codec_root, &sample_root_least},
	{"full", &codec_enrolment, &sample_enrolment},
	{"least", &codec_enrolment, &sample_enrolment_least},
	{"up", &codec_host_state, &sample_host},
	{"will", &codec_host_state, &sample_host_will},
	{"full", &codec_state_view, &sample_state_view},
	{"least", &codec_state_view, &sample_state_view_least},
	{"full", &codec_queue_view, &sample_queue_view},
	{"least", &codec_queue_view, &sample_queue_view_least},
	{"full", &codec_media_order, &sample_media},
	{"least", &codec_media_order, &sample_media_least},
	{"full", &codec_data_server_load, &sample_load},
	{"least", &codec_data_server_load, &sample_load_least},
	{"full", &codec_api_request, &sample_request},
	{"sign-in", &codec_api_request, &sample_request_sign_in},
	{"full", &codec_api_answer, &sample_answer},
	{"error", &codec_api_answer, &sample_answer_error},
};
#define SAMPLE_COUNT (sizeof(samples) / sizeof(samples[0]))

// Encodes the bodies that the responses carry. Both buffers live as long as the samples are used.
static inline enum err samples_prepare(struct buf bodies[2])
{
	struct response *responses[2] = {&sample_response, &sample_response_least};

	for (int i = 0; i < 2; i++) {
		buf_init(&bodies[i], LIMIT_RESPONSE);
		TRY(response_body_encode(responses[i]->body, &bodies[i]));
		responses[i]->body_bytes = buf_bytes(&bodies[i]);
	}
	return ERR_OK;
}

#endif
