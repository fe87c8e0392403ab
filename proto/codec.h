// The engine of the codecs: one row per protobuf field does both directions.
//
// A message is a table; row i belongs to field i of its protobuf-c descriptor (fields stand there
// in ascending order), so no name and no tag is looked up at run time. A row says where the value
// lives in the plain struct of message.h, what kind it is and what range it has;
// tests/unit/test_codec.c holds every table complete against its descriptor.
//
//   encode   one walk over the plain struct, checked as it is written, from the last field to the
//            first: what comes out is byte for byte what protobuf-c packs
//   decode   one walk over the bytes, straight into the plain struct: wire types, unknown fields,
//            duplicates, counts of lists, ranges, UTF-8 and ids are judged as the bytes pass,
//            before memory is spent on them; then the table's `check`, for rules between fields
//
// protobuf_c_message_unpack does not stand in the way of hostile bytes: it multiplies memory by 69,
// cuts numbers to 32 bits, takes invalid UTF-8 and embedded NUL, and of duplicates the last one
// (trust-and-faults.md M8 to M10); a walk that judges all this has decoded already, and is twice as
// fast. The unit test and the fuzz targets hold it as a witness: what is accepted here it reads as
// the same message.
//
// Only codec*.c include this header, and their tests.
#ifndef HELIO_CODEC_H
#define HELIO_CODEC_H

#include "proto/base/mem.h"
#include "proto/limits.h"
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

enum codec_kind {
	CODEC_SCHEMA, // field 1: always 1; has no place in the plain struct
	CODEC_AUTH,   // field 2047: may be there when decoding, never written; seal_* is its room
	CODEC_U32,
	CODEC_U64,
	CODEC_I64,
	CODEC_DOUBLE, // finite
	CODEC_BOOL,
	CODEC_ENUM,
	CODEC_ID,    // topic level
	CODEC_TEXT,  // UTF-8 without control characters
	CODEC_FIXED, // exactly `size` bytes, or absent = all zero
	CODEC_BYTES,
	CODEC_MESSAGE, // pointer or NULL
	CODEC_SKIP, // of an outline: wire type and length are judged, the content is not looked at
	CODEC_MESSAGES, // lists: pointer and count
	CODEC_TEXTS,
	CODEC_FIXEDS, // no element is all zero
	CODEC_U32S
};

enum codec_flag {
	CODEC_REQUIRED = 1, // 0, "", all zero, NULL and the empty list are refused
	CODEC_OR_ZERO = 2,  // 0 or min..max
	CODEC_RECEIVED =
		4, // the struct bytes at `received` borrows the field's bytes as they came in
	CODEC_SPLICED = 8 // encode takes the bytes at `received` for the whole submessage
};

struct codec_table;

struct codec_row {
	const char *name; // as in helio.proto
	const struct codec_table *table;
	uint64_t min, max;  // number: its value; ID, TEXT, BYTES: at most max bytes
	uint32_t count_max; // lists: at most so many elements; min and max are an element's
	enum codec_kind kind : 8;
	unsigned flags : 8;    // enum codec_flag
	uint16_t at, count_at; // offsets in the plain struct; count_at of lists only
	uint16_t size;         // FIXED: bytes; MESSAGE: of the plain struct
	uint16_t received;
};

// One message on its way, for sentences such as "heartbeat.op.percent is 130, at most 100".
struct codec_path {
	const struct codec_path *up;
	const char *name;
	size_t index; // in a list, else CODEC_NO_INDEX
};
#define CODEC_NO_INDEX SIZE_MAX

struct codec_table {
	const char *name; // of the plain struct
	const ProtobufCMessageDescriptor *descriptor;
	size_t size; // of the plain struct
	const struct codec_row *rows;
	size_t row_count;
	// Rules between fields of a message whose fields are each in range. May be NULL.
	enum err (*check)(const struct codec_path *path, const void *message);
	// The rest counts for the outermost message only.
	size_t limit;         // bytes of a payload, auth included
	size_t factor;        // memory of a decode: at most 64 KiB + factor x payload; 0: 8
	size_t allocations;   // 0: 4096
	bool unknown_allowed; // signed and stored, so a later program may have written more
};

#define CODEC_ROWS_MAX 24
#define CODEC_DEPTH_MAX 8
#define CODEC_AUTH_BYTES (2 + 1 + 64)

enum err codec_encode(const struct codec_table *t, const void *message, struct buf *out) MUST_CHECK;
enum err codec_decode(const struct codec_table *t, struct arena *a, struct bytes payload,
	void *message) MUST_CHECK;

// "PATH.FIELD SENTENCE", or "PATH SENTENCE" when field is NULL. Returns e.
enum err codec_refuse(const struct codec_path *path, const char *field, enum err e,
	const char *format, ...) PRINTF_LIKE(4, 5);

// ---- codec_check.c: values, the same for both directions

enum err codec_check_number(
	const struct codec_path *path, const struct codec_row *row, uint64_t value) MUST_CHECK;
enum err codec_check_double(
	const struct codec_path *path, const struct codec_row *row, double value) MUST_CHECK;
// ID, TEXT and an element of TEXTS.
enum err codec_check_text(
	const struct codec_path *path, const struct codec_row *row, struct bytes text) MUST_CHECK;
// AUTH, FIXED, BYTES and an element of FIXEDS.
enum err codec_check_bytes(
	const struct codec_path *path, const struct codec_row *row, struct bytes value) MUST_CHECK;
enum err codec_check_count(
	const struct codec_path *path, const struct codec_row *row, uint64_t count) MUST_CHECK;
enum err codec_check_present(
	const struct codec_path *path, const struct codec_row *row, bool present) MUST_CHECK;

// ---- codec_shared.c: rules that several messages have

struct sign_in;

// sign_in stands there exactly in session 0.
enum err codec_check_sign_in(const struct codec_path *path, uint64_t session_id,
	const struct sign_in *sign_in) MUST_CHECK;
enum err codec_check_part(const struct codec_path *path, uint32_t part, uint32_t parts) MUST_CHECK;
// Absent, 4 or 16 bytes.
enum err codec_check_ip(const struct codec_path *path, struct bytes ip) MUST_CHECK;
// A word, or none.
enum err codec_check_fit(const struct codec_path *path, const char *fit) MUST_CHECK;
enum err codec_check_order(const struct codec_path *path, const char *order) MUST_CHECK;
// "Europe/Athens": letters, digits, _ + - and / between; no path can be made of it.
enum err codec_check_time_zone(const struct codec_path *path, const char *zone) MUST_CHECK;
// 0: no bound.
enum err codec_check_validity(
	const struct codec_path *path, int64_t from_unix_ms, int64_t until_unix_ms) MUST_CHECK;

#define CODEC_VERSION_MAX 64     // "2.41.3+deb12u1~rc1"
#define CODEC_KEY_MAX 128        // of a change; a word or a path
#define CODEC_ARG_MAX 1024       // of a command: 32 of them fit a response twice
#define CODEC_API_VALUE_MAX 4096 // of an API argument; documents travel in `body`
#define CODEC_PATH_MAX 512       // path_is_safe has the same number
#define CODEC_TAG_MAX 64
#define CODEC_PIXELS_MAX 65535 // a side of a picture: what JPEG can say
#define CODEC_PARTS_MAX 4096
#define CODEC_KEYS_MAX 16 // of one role in a root
#define CODEC_LOG_LINES_MAX 100000
// Entries of a page. A file takes 41 bytes or more, so a full page has fewer; an object may take
// only 8, and a full page has fewer distinct chunks than this.
#define CODEC_PAGE_ENTRIES_MAX 4096

// ---- rows. s: struct tag, m: member; the field in helio.proto is called f.

// An offset that compiles only when the member has the type.
#define CODEC_AT(s, m, type)                                                                       \
	(offsetof(struct s, m) +                                                                   \
		0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((struct s *)0)->m), type) \
					? 1                                                        \
					: -1]))
#define CODEC_NEEDED(least) ((least) > 0 ? CODEC_REQUIRED : 0)
// Counters, sizes and times fit a signed 64-bit number: SQLite has no other, and nothing turns
// negative.
#define CODEC_COUNTER_MAX INT64_MAX
#define CODEC_TIME_MAX 253402300799999 // the last millisecond of the year 9999

#define ROW_SCHEMA                                                                                 \
	{                                                                                          \
		.name = "schema", .kind = CODEC_SCHEMA, .flags = CODEC_REQUIRED, .min = 1,         \
		.max = 1                                                                           \
	}
#define ROW_AUTH                                                                                   \
	{                                                                                          \
		.name = "auth", .kind = CODEC_AUTH, .max = 64                                      \
	}
#define ROW_U32(s, m, least, most)                                                                 \
	{                                                                                          \
		.name = #m, .kind = CODEC_U32, .flags = CODEC_NEEDED(least),                       \
		.at = CODEC_AT(s, m, uint32_t), .min = (least), .max = (most)                      \
	}
#define ROW_U32_OR_ZERO(s, m, least, most)                                                         \
	{                                                                                          \
		.name = #m, .kind = CODEC_U32, .flags = CODEC_OR_ZERO,                             \
		.at = CODEC_AT(s, m, uint32_t), .min = (least), .max = (most)                      \
	}
#define ROW_U64_AS(s, f, m, least, most)                                                           \
	{                                                                                          \
		.name = #f, .kind = CODEC_U64, .flags = CODEC_NEEDED(least),                       \
		.at = CODEC_AT(s, m, uint64_t), .min = (least), .max = (most)                      \
	}
#define ROW_U64(s, m, least, most) ROW_U64_AS(s, m, m, least, most)
#define ROW_COUNTER(s, m, least) ROW_U64(s, m, least, CODEC_COUNTER_MAX)
#define ROW_TIME(s, m)                                                                             \
	{                                                                                          \
		.name = #m, .kind = CODEC_I64, .at = CODEC_AT(s, m, int64_t),                      \
		.max = CODEC_TIME_MAX                                                              \
	}
#define ROW_DOUBLE(s, m, most)                                                                     \
	{                                                                                          \
		.name = #m, .kind = CODEC_DOUBLE, .at = CODEC_AT(s, m, double), .max = (most)      \
	}
#define ROW_BOOL(s, m)                                                                             \
	{                                                                                          \
		.name = #m, .kind = CODEC_BOOL, .at = CODEC_AT(s, m, bool), .max = 1               \
	}
#define ROW_ENUM(s, m, type, last)                                                                 \
	{                                                                                          \
		.name = #m, .kind = CODEC_ENUM, .flags = CODEC_REQUIRED,                           \
		.at = CODEC_AT(s, m, enum type), .size = sizeof(enum type), .min = 1,              \
		.max = (last)                                                                      \
	}
#define ROW_ENUM_OR_ZERO(s, m, type, last)                                                         \
	{                                                                                          \
		.name = #m, .kind = CODEC_ENUM, .flags = CODEC_OR_ZERO,                            \
		.at = CODEC_AT(s, m, enum type), .size = sizeof(enum type), .min = 1,              \
		.max = (last)                                                                      \
	}
#define ROW_ID(s, m, flag)                                                                         \
	{                                                                                          \
		.name = #m, .kind = CODEC_ID, .flags = (flag), .at = CODEC_AT(s, m, const char *), \
		.max = LIMIT_ID                                                                    \
	}
#define ROW_TEXT(s, m, most, flag)                                                                 \
	{                                                                                          \
		.name = #m, .kind = CODEC_TEXT, .flags = (flag),                                   \
		.at = CODEC_AT(s, m, const char *), .max = (most)                                  \
	}
#define ROW_FIXED_AS(s, f, m, flag)                                                                \
	{                                                                                          \
		.name = #f, .kind = CODEC_FIXED, .flags = (flag), .at = offsetof(struct s, m),     \
		.size = sizeof(((struct s *)0)->m)                                                 \
	}
#define ROW_FIXED(s, m, flag) ROW_FIXED_AS(s, m, m, flag)
#define ROW_BYTES(s, m, most, flag)                                                                \
	{                                                                                          \
		.name = #m, .kind = CODEC_BYTES, .flags = (flag),                                  \
		.at = CODEC_AT(s, m, struct bytes), .max = (most),                                 \
		.received = offsetof(struct s, m)                                                  \
	}
#define ROW_MESSAGE(s, m, type, flag)                                                              \
	{                                                                                          \
		.name = #m, .kind = CODEC_MESSAGE, .flags = (flag),                                \
		.at = CODEC_AT(s, m, struct type *), .size = sizeof(struct type),                  \
		.table = &codec_##type                                                             \
	}
#define ROW_SPLICED(s, m, type, bytes_m, most)                                                     \
	{                                                                                          \
		.name = #m, .kind = CODEC_MESSAGE,                                                 \
		.flags = CODEC_REQUIRED | CODEC_RECEIVED | CODEC_SPLICED,                          \
		.at = CODEC_AT(s, m, struct type *), .size = sizeof(struct type), .max = (most),   \
		.received = CODEC_AT(s, bytes_m, struct bytes), .table = &codec_##type             \
	}
// A field of an outline that is passed over.
#define ROW_SKIP(m)                                                                                \
	{                                                                                          \
		.name = #m, .kind = CODEC_SKIP                                                     \
	}
#define ROW_MESSAGES(s, m, count_m, type, most, flag)                                              \
	{                                                                                          \
		.name = #m, .kind = CODEC_MESSAGES, .flags = (flag),                               \
		.at = CODEC_AT(s, m, struct type *), .count_at = CODEC_AT(s, count_m, size_t),     \
		.size = sizeof(struct type), .count_max = (most), .table = &codec_##type           \
	}
#define ROW_TEXTS(s, m, count_m, count_most, most)                                                 \
	{                                                                                          \
		.name = #m, .kind = CODEC_TEXTS, .at = CODEC_AT(s, m, const char **),              \
		.count_at = CODEC_AT(s, count_m, size_t), .count_max = (count_most), .max = (most) \
	}
#define ROW_FIXEDS(s, m, count_m, count_most, flag)                                                \
	{                                                                                          \
		.name = #m, .kind = CODEC_FIXEDS, .flags = (flag), .at = offsetof(struct s, m),    \
		.count_at = CODEC_AT(s, count_m, size_t), .size = sizeof(*((struct s *)0)->m),     \
		.count_max = (count_most)                                                          \
	}
#define ROW_U32S(s, m, count_m, count_most, least, most)                                           \
	{                                                                                          \
		.name = #m, .kind = CODEC_U32S, .at = CODEC_AT(s, m, uint32_t *),                  \
		.count_at = CODEC_AT(s, count_m, size_t), .count_max = (count_most),               \
		.min = (least), .max = (most)                                                      \
	}

// Defines codec_TYPE from TYPE_rows; further members of struct codec_table may follow.
#define CODEC_TABLE(type, message, ...)                                                            \
	const struct codec_table codec_##type = {.name = #message,                                 \
		.descriptor = &helio__v1__##message##__descriptor,                                 \
		.size = sizeof(struct type),                                                       \
		.rows = type##_rows,                                                               \
		.row_count = sizeof(type##_rows) / sizeof(type##_rows[0]),                         \
		__VA_ARGS__};

// Defines TYPE_encode and TYPE_decode of message.h.
#define CODEC_DOOR(type)                                                                           \
	enum err type##_encode(const struct type *m, struct buf *out)                              \
	{                                                                                          \
		return codec_encode(&codec_##type, m, out);                                        \
	}                                                                                          \
	enum err type##_decode(struct arena *a, struct bytes payload, struct type *out)            \
	{                                                                                          \
		return codec_decode(&codec_##type, a, payload, out);                               \
	}

// Every table of the schema: plain struct, message of helio.proto in lower case.
#define CODEC_TABLES(X)                                                                            \
	X(reason, reason)                                                                          \
	X(address, address)                                                                        \
	X(sealed_key, sealed_key)                                                                  \
	X(sign_in, sign_in)                                                                        \
	X(session_offer, session_offer)                                                            \
	X(operation, operation)                                                                    \
	X(status, status)                                                                          \
	X(update_status, update_status)                                                            \
	X(software_version, software_version)                                                      \
	X(holding, holding)                                                                        \
	X(holdings, holdings)                                                                      \
	X(change, change)                                                                          \
	X(heartbeat, heartbeat) X(send_information, send_information) X(                           \
		package_ref, package_ref) X(command_ref, command_ref) X(retrieve_information,      \
		retrieve_information) X(execute_command, execute_command) X(response_body,         \
		response_body) X(response, response) X(display_info, display_info) X(shown,        \
		shown) X(report, report) X(fetch_request, fetch_request) X(fetch_release,          \
		fetch_release) X(want, want) X(grant, grant) X(daypart, daypart) X(plan_part,      \
		plan_part) X(package_order, package_order) X(order_outcome,                        \
		order_outcome) X(show_group, show_group) X(publisher_msg,                          \
		publisher_msg) X(directive, directive) X(envelope_parts,                           \
		envelope) X(envelope_signature, signature) X(manifest, manifest) X(page_ref,       \
		page) X(show_defaults, show_defaults) X(manifest_page, manifest_page)              \
		X(file_entry, file_entry) X(picture_info, picture_info) X(index, index) X(         \
			index_page_ref, index_page_ref) X(object, object) X(index_page,            \
			index_page) X(signed_command, signed_command) X(medium, medium)            \
			X(medium_result, medium_result) X(medium_return, medium_return)            \
			X(medium_outcome, medium_outcome) X(root, root) X(enrolment, enrolment) X( \
				host_state, host_state) X(state_view, state_view)                  \
				X(queue_element, queue_element) X(queue_pointer, queue_pointer)    \
					X(queue_view, queue_view) X(media_order, media_order)      \
						X(data_server_load, data_server_load)              \
							X(api_request, api_request) X(arg, arg)    \
								X(api_answer, api_answer)

#define CODEC_DECLARE_TABLE(type, message) extern const struct codec_table codec_##type;
CODEC_TABLES(CODEC_DECLARE_TABLE)
#undef CODEC_DECLARE_TABLE

#endif
