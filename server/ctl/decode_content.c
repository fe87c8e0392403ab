// What is stored or shown to readers: manifests, indexes, trust, views.
#include "server/ctl/decode_messages.h"

#include "server/ctl/decode_fields.h"

static void page_json(cJSON *j, const struct page_ref *m)
{
	FIXED(sha256);
	NUMBER(size_bytes);
	NUMBER(chunk_count);
	NUMBER(file_count);
}

void manifest_json(cJSON *j, const struct manifest *m)
{
	WORD(kind, package_kind_word);
	TEXT(name);
	TEXT(version);
	TEXT(product);
	TEXT(hw_class);
	NUMBER(security_counter);
	NUMBER(file_count);
	NUMBER(size_bytes);
	NUMBER(chunk_count);
	LIST("pages", pages, page_count, page_json);
	TEXT(min_agent);
	PART(show, show_defaults_json);
	LIST("groups", groups, group_count, show_group_json);
	FIXED(key_id);
}

static void object_json(cJSON *j, const struct object *m)
{
	static const char *const codings[] = {"", "raw", "zstd", "zstd-prefix", "bsdiff-zstd"};

	FIXED(sha256);
	NUMBER(size_bytes);
	field_text(j, "coding", (unsigned)m->coding < 5 ? codings[m->coding] : "?");
	NUMBER(first_chunk);
	NUMBER(chunk_count);
	DIGESTS("base_chunks", base_chunks, base_count);
}

static void index_page_ref_json(cJSON *j, const struct index_page_ref *m)
{
	FIXED(sha256);
	NUMBER(size_bytes);
	PART(object, object_json);
}

void index_json(cJSON *j, const struct index *m)
{
	FIXED(package);
	FIXED(base);
	NUMBER(object_count);
	NUMBER(object_bytes);
	LIST("page_objects", page_objects, page_object_count, object_json);
	LIST("pages", pages, page_count, index_page_ref_json);
}

void signed_command_json(cJSON *j, const struct signed_command *m)
{
	TEXT(client_id);
	if (m->command) {
		field_text(j, "verb", m->command->verb);
		cJSON *args = cJSON_AddArrayToObject(j, "args");
		for (size_t i = 0; i < m->command->arg_count; i++)
			cJSON_AddItemToArray(args, cJSON_CreateString(m->command->args[i]));
		field_u64(j, "timeout_ms", m->command->timeout_ms);
		field_i64(j, "expires_unix_ms", m->command->expires_unix_ms);
	}
}

void root_json(cJSON *j, const struct root *m)
{
	NUMBER(version);
	TEXT(fleet);
	DIGESTS("root_keys", root_keys, root_key_count);
	NUMBER(root_threshold);
	DIGESTS("online_keys", online_keys, online_key_count);
	DIGESTS("software_keys", software_keys, software_key_count);
	NUMBER(software_threshold);
	DIGESTS("image_keys", image_keys, image_key_count);
	DIGESTS("enrol_keys", enrol_keys, enrol_key_count);
	TIME(expires_unix_ms);
}

void enrolment_json(cJSON *j, const struct enrolment *m)
{
	TEXT(id);
	WORD(role, role_word);
	FIXED(public_key);
	FIXED(box_key);
	TEXT(name);
}

void host_state_json(cJSON *j, const struct host_state *m)
{
	TEXT(server);
	NUMBER(counter);
	FIXED(boot);
	TIME(server_unix_ms);
	NUMBER(period_ms);
	FLAG(up);
}

static void software_json(cJSON *j, const struct software_version *m)
{
	TEXT(name);
	TEXT(version);
	FIXED(package);
}

void state_view_json(cJSON *j, const struct state_view *m)
{
	TEXT(client_id);
	WORD(state, client_state_word);
	WORD(reach, reach_word);
	NUMBER(response_id);
	NUMBER(op_id);
	WORD(op_status, op_status_word);
	NUMBER(seq);
	TIME(last_heard_unix_ms);
	ip_json(j, "ip_address", m->ip_address);
	NUMBER(mismatches);
	TEXT(channel);
	FIXED(showing_package);
	TEXT(showing_image);
	NUMBER(interval_ms);
	NUMBER(session_id);
	TIME(view_unix_ms);
	TEXT(agent_version);
	LIST("software", software, software_count, software_json);
	WORD(last_kind, response_kind_word);
	TEXTS("more_channels", more_channels, more_channel_count);
}

static void element_json(cJSON *j, const struct queue_element *m)
{
	NUMBER(seq);
	WORD(type, element_type_word);
	TEXT(text);
	NUMBER(flow_id);
	NUMBER(first_seq);
	NUMBER(standing);
}

static void pointer_json(cJSON *j, const struct queue_pointer *m)
{
	TEXT(client_id);
	NUMBER(seq);
	WORD(at, element_type_word);
}

void queue_view_json(cJSON *j, const struct queue_view *m)
{
	TEXT(channel);
	NUMBER(epoch);
	NUMBER(pointer_total);
	NUMBER(element_total);
	NUMBER(detached);
	FLAG(paused);
	FLAG(closed);
	NUMBER(rate_bytes_per_s);
	NUMBER(weight);
	LIST("elements", elements, element_count, element_json);
	LIST("pointers", pointers, pointer_count, pointer_json);
}

static const char *media_word(enum media_state s)
{
	static const char *const words[] = {
		"?", "pending", "recorded", "posted", "arrived", "cancelled", "superseded"};

	return (unsigned)s < 7 ? words[s] : "?";
}

void media_order_json(cJSON *j, const struct media_order *m)
{
	TEXT(client_id);
	NUMBER(order);
	FIXED(package);
	WORD(state, media_word);
	TEXT(reason);
	TEXT(medium_kind);
	TEXT(path);
	FIXED(sha256);
	TIME(created_unix_ms);
}

void data_server_load_json(cJSON *j, const struct data_server_load *m)
{
	TEXT(broker_id);
	FLAG(reachable);
	FLAG(stale);
	cJSON_AddNumberToObject(j, "sent_bytes_per_s", m->sent_bytes_per_s);
	NUMBER(capacity_bytes_per_s);
	NUMBER(granted_bytes_per_s);
	NUMBER(leases);
	TIME(last_target_unix_ms);
	NUMBER(placements);
}
