// What devices and server say to each other.
#include "server/ctl/decode_messages.h"

#include "server/ctl/decode_fields.h"
#include <arpa/inet.h>

void ip_json(cJSON *j, const char *key, struct bytes ip)
{
	char text[INET6_ADDRSTRLEN];

	if ((ip.size == 4 || ip.size == 16) &&
		inet_ntop(ip.size == 4 ? AF_INET : AF_INET6, ip.data, text, sizeof(text)))
		cJSON_AddStringToObject(j, key, text);
}

static void address_json(cJSON *j, const struct address *m)
{
	TEXT(broker_id);
	TEXT(host);
	TEXT(ip);
	NUMBER(port);
	FLAG(tls);
	TEXT(topic);
}

static void sign_in_json(cJSON *j, const struct sign_in *m)
{
	FIXED(public_key);
	FIXED(nonce);
	FIXED(x25519_share);
	FIXED(store_id);
	NUMBER(boot_counter);
	FIXED(lineage);
	FIXED(next_key);
	FIXED(next_proof);
}

static void operation_json(cJSON *j, const struct operation *m)
{
	NUMBER(op_id);
	WORD(status, op_status_word);
	TEXT(detail);
	NUMBER(percent);
}

static void software_json(cJSON *j, const struct software_version *m)
{
	TEXT(name);
	TEXT(version);
	FIXED(package);
}

static void status_json(cJSON *j, const struct status *m)
{
	static const char *const clocks[] = {"", "none", "server", "ntp"};

	TEXT(state);
	TEXT(agent_version);
	NUMBER(free_bytes);
	FIXED(showing_package);
	TEXT(showing_image);
	NUMBER(interval_ms);
	field_text(j, "clock", m->clock_quality < 4 ? clocks[m->clock_quality] : "?");
	TEXT(hw_class);
	LIST("software", software, software_count, software_json);
	NUMBER(screen_width_px);
	NUMBER(screen_height_px);
}

static void holding_json(cJSON *j, const struct holding *m)
{
	FIXED(package);
	NUMBER(lease);
	FLAG(complete);
	NUMBER(chunks_have);
	NUMBER(chunks_total);
	NUMBER(looked_mb);
}

static void holdings_json(cJSON *j, const struct holdings *m)
{
	FLAG(full);
	LIST("items", items, item_count, holding_json);
}

static void change_json(cJSON *j, const struct change *m)
{
	NUMBER(change_id);
	TEXT(key);
	TEXT(value);
}

void heartbeat_json(cJSON *j, const struct heartbeat *m)
{
	TEXT(client_id);
	ip_json(j, "ip_address", m->ip_address);
	NUMBER(session_id);
	NUMBER(seq);
	TIME(sent_unix_ms);
	NUMBER(last_response_id);
	WORD(ack, ack_word);
	PART(op, operation_json);
	PART(status, status_json);
	PART(holdings, holdings_json);
	LIST("changes", changes, change_count, change_json);
	FIXED(boot);
	PART(sign_in, sign_in_json);
}

void session_offer_json(cJSON *j, const struct session_offer *m)
{
	TEXT(principal);
	NUMBER(session_id);
	FIXED(x25519_share);
	FIXED(nonce);
	FIXED(boot);
	FIXED(server_key_id);
	FIXED(next_lineage);
	NUMBER(highest_change_id);
	NUMBER(highest_report_id);
	FIXED(sign_in_sha256);
	TIME(server_unix_ms);
	NUMBER(incarnation);
	FIXED(identity_key_id);
}

static void reason_json(cJSON *j, const struct reason *m)
{
	WORD(code, reason_word);
	TEXT(text);
}

static void send_information_json(cJSON *j, const struct send_information *m)
{
	WORD(what, info_kind_word);
	TIME(since_unix_ms);
	PART(to, address_json);
	NUMBER(max_bytes);
	TEXT(unit);
	TEXT(pattern);
	NUMBER(lines);
	NUMBER(of_op);
}

static void package_ref_json(cJSON *j, const struct package_ref *m)
{
	FIXED(package);
	TEXT(publisher);
	WORD(kind, package_kind_word);
	TEXT(name);
	TEXT(version);
	NUMBER(size_bytes);
	FLAG(activate);
	TIME(activate_unix_ms);
}

static void command_ref_json(cJSON *j, const struct command_ref *m)
{
	TEXT(publisher);
	FIXED(sha256);
	PART(from, address_json);
}

static void retrieve_information_json(cJSON *j, const struct retrieve_information *m)
{
	LIST("packages", packages, package_count, package_ref_json);
	LIST("changes", changes, change_count, change_json);
	PART(command, command_ref_json);
	NUMBER(heartbeat_interval_ms);
}

static void execute_command_json(cJSON *j, const struct execute_command *m)
{
	TEXT(verb);
	TEXTS("args", args, arg_count);
	NUMBER(timeout_ms);
	TIME(expires_unix_ms);
	NUMBER(max_output_bytes);
}

static void response_body_json(cJSON *j, const struct response_body *m)
{
	NUMBER(response_id);
	WORD(kind, response_kind_word);
	NUMBER(op_id);
	WORD(state, client_state_word);
	PART(reason, reason_json);
	TEXT(channel);
	NUMBER(event_seq);
	NUMBER(flow_id);
	NUMBER(attempt);
	PART(send, send_information_json);
	PART(retrieve, retrieve_information_json);
	PART(execute, execute_command_json);
}

// Which key, never what it is sealed to.
static void sealed_key_json(cJSON *j, const struct sealed_key *m)
{
	FIXED(key_id);
}

void response_json(cJSON *j, const struct response *m)
{
	TEXT(client_id);
	NUMBER(session_id);
	NUMBER(in_reply_to_seq);
	FIXED(boot);
	TIME(server_unix_ms);
	NUMBER(heartbeat_interval_ms);
	NUMBER(rate_bytes_per_s);
	if (m->hold)
		FLAG(hold);
	NUMBER(epoch);
	NUMBER(acked_change_id);
	NUMBER(acked_report_id);
	NUMBER(reconnect_spread_ms);
	NUMBER(next_beat_ms);
	NUMBER(open_report_id);
	NUMBER(open_report_parts);
	LIST("keys", keys, key_count, sealed_key_json);
	PART(body, response_body_json);
}

static void display_info_json(cJSON *j, const struct display_info *m)
{
	FIXED(showing_package);
	TEXT(showing_image);
	NUMBER(width_px);
	NUMBER(height_px);
	NUMBER(free_bytes);
	TEXT(showing_name);
	TEXT(showing_version);
	FLAG(display_alive);
}

static void shown_json(cJSON *j, const struct shown *m)
{
	NUMBER(ledger_seq);
	NUMBER(boot_counter);
	FIXED(package);
	TEXT(image);
	TIME(from_unix_ms);
	NUMBER(duration_ms);
	NUMBER(clock_quality);
	NUMBER(planned_ms);
	if (m->result != 0)
		WORD(result, shown_result_word);
	TEXT(reason);
}

void report_json(cJSON *j, const struct report *m)
{
	TEXT(client_id);
	NUMBER(session_id);
	NUMBER(seq);
	FIXED(boot);
	NUMBER(report_id);
	NUMBER(op_id);
	WORD(what, info_kind_word);
	NUMBER(part);
	NUMBER(parts);
	PART(display, display_info_json);
	LIST("usage", usage, usage_count, shown_json);
	PART(holdings, holdings_json);
	LIST("software", software, software_count, software_json);
	field_u64(j, "data_bytes", m->data.size);
}

static void fetch_request_json(cJSON *j, const struct fetch_request *m)
{
	FIXED(package);
	TEXT(publisher);
	NUMBER(request_id);
	NUMBER(chunks_have);
	NUMBER(chunks_total);
	DIGESTS("missing_objects", missing_objects, missing_count);
	TEXT(failed_broker);
	FIXED(base);
}

static void fetch_release_json(cJSON *j, const struct fetch_release *m)
{
	FIXED(package);
	NUMBER(lease);
	WORD(outcome, op_status_word);
	NUMBER(request_id);
}

void want_json(cJSON *j, const struct want *m)
{
	TEXT(client_id);
	NUMBER(session_id);
	NUMBER(seq);
	FIXED(boot);
	PART(fetch, fetch_request_json);
	PART(release, fetch_release_json);
}

void grant_json(cJSON *j, const struct grant *m)
{
	TEXT(client_id);
	NUMBER(session_id);
	NUMBER(seq);
	FIXED(boot);
	NUMBER(request_id);
	FIXED(package);
	FLAG(granted);
	TEXT(reason);
	NUMBER(retry_after_ms);
	PART(from, address_json);
	NUMBER(lease);
	NUMBER(ttl_ms);
	NUMBER(rate_bytes_per_s);
	NUMBER(window);
	NUMBER(window_bytes);
	TEXT(publisher);
	FIXED(publisher_key);
	FIXED(index_base);
	if (m->release_acked)
		FLAG(release_acked);
}

static void medium_outcome_json(cJSON *j, const struct medium_outcome *m)
{
	NUMBER(order);
	TEXT(medium_kind);
	TEXT(path);
	FIXED(sha256);
	NUMBER(size_bytes);
	TEXT(failed);
}

void publisher_msg_json(cJSON *j, const struct publisher_msg *m)
{
	TEXT(publisher);
	NUMBER(session_id);
	NUMBER(seq);
	FIXED(boot);
	NUMBER(request_id);
	WORD(state, publisher_state_word);
	FIXED(package);
	field_u64(j, "manifest_bytes", m->manifest.size);
	NUMBER(directive_id);
	TEXT(broker_id);
	NUMBER(sent_bytes);
	NUMBER(total_bytes);
	NUMBER(objects);
	TEXT(detail);
	FIXED(mark);
	FIXED(index_sha256);
	PART(sign_in, sign_in_json);
	NUMBER(object_bytes);
	PART(ordered, order_outcome_json);
	PART(recorded, medium_outcome_json);
	FIXED(base);
}

void directive_json(cJSON *j, const struct directive *m)
{
	TEXT(publisher);
	NUMBER(session_id);
	NUMBER(seq);
	FIXED(boot);
	NUMBER(request_id);
	WORD(kind, directive_word);
	NUMBER(directive_id);
	FIXED(package);
	PART(to, address_json);
	NUMBER(retry_after_ms);
	TEXT(reason);
	DIGESTS("objects", objects, object_count);
	FIXED(base);
	PART(order, package_order_json);
	field_u64(j, "medium_bytes", m->medium.size);
	DIGESTS("held", held, held_count);
	TEXT(customer);
	PART(key, sealed_key_json);
	NUMBER(medium_order);
}

void api_request_json(cJSON *j, const struct api_request *m)
{
	TEXT(seat);
	NUMBER(session_id);
	NUMBER(seq);
	FIXED(boot);
	NUMBER(request_id);
	TEXT(verb);
	cJSON *args = m->arg_count > 0 ? cJSON_AddObjectToObject(j, "args") : NULL;
	for (size_t i = 0; i < m->arg_count; i++)
		cJSON_AddStringToObject(args, m->args[i].name, m->args[i].value);
	PART(sign_in, sign_in_json);
	TEXT(answer_level);
	field_u64(j, "body_bytes", m->body.size);
}

void api_answer_json(cJSON *j, const struct api_answer *m)
{
	SCOPED_JSON cJSON *document = NULL;

	TEXT(seat);
	NUMBER(session_id);
	NUMBER(seq);
	NUMBER(request_id);
	FLAG(ok);
	TEXT(error);
	TEXT(error_word);
	NUMBER(part);
	NUMBER(parts);
	if (m->json.size > 0 && m->parts <= 1 && json_parse(m->json, &document) == ERR_OK) {
		cJSON_AddItemToObject(j, "json", document);
		document = NULL;
	} else {
		field_u64(j, "json_bytes", m->json.size);
	}
}
