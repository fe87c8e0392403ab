// Messages as JSON objects: one function each, fields in the order of helio.proto.
#ifndef HELIO_CTL_DECODE_MESSAGES_H
#define HELIO_CTL_DECODE_MESSAGES_H

#include "proto/message.h"
#include "server/ctl/json.h"

void heartbeat_json(cJSON *j, const struct heartbeat *m);
void session_offer_json(cJSON *j, const struct session_offer *m);
void response_json(cJSON *j, const struct response *m);
void report_json(cJSON *j, const struct report *m);
void want_json(cJSON *j, const struct want *m);
void grant_json(cJSON *j, const struct grant *m);
void publisher_msg_json(cJSON *j, const struct publisher_msg *m);
void directive_json(cJSON *j, const struct directive *m);
void manifest_json(cJSON *j, const struct manifest *m);
void index_json(cJSON *j, const struct index *m);
void signed_command_json(cJSON *j, const struct signed_command *m);
void root_json(cJSON *j, const struct root *m);
void enrolment_json(cJSON *j, const struct enrolment *m);
void host_state_json(cJSON *j, const struct host_state *m);
void state_view_json(cJSON *j, const struct state_view *m);
void queue_view_json(cJSON *j, const struct queue_view *m);
void media_order_json(cJSON *j, const struct media_order *m);
void data_server_load_json(cJSON *j, const struct data_server_load *m);
void api_request_json(cJSON *j, const struct api_request *m);
void api_answer_json(cJSON *j, const struct api_answer *m);
void show_defaults_json(cJSON *j, const struct show_defaults *m);
void show_group_json(cJSON *j, const struct show_group *m);
void package_order_json(cJSON *j, const struct package_order *m);
void order_outcome_json(cJSON *j, const struct order_outcome *m);
// "10.0.0.7" or "fd00::7"; left out for any other size than 4 and 16.
void ip_json(cJSON *j, const char *key, struct bytes ip);

#endif
