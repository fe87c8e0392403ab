// servers: who answers which shards of the fleet, and who leads.
#include "server/ctl/progress.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <inttypes.h>
#include <stdio.h>

static void ranges_text(const cJSON *o, char *out, size_t size)
{
	const cJSON *r;

	out[0] = '\0';
	cJSON_ArrayForEach(r, cJSON_GetObjectItem(o, "ranges"))
	{
		text_join(out, size, "%s", r->valuestring ? r->valuestring : "?");
	}
}

static void server_row(struct table *t, const cJSON *s, bool is_shared)
{
	char ranges[2048];

	ranges_text(s, ranges, sizeof(ranges));
	table_add_style(t, json_text(s, "server"), STYLE_BOLD);
	table_add_style(t, json_bool(s, "leads") ? "leads" : "", STYLE_GOOD);
	table_addf(t, "%" PRIu64, json_u64(s, "shards"));
	if (is_shared)
		table_addf(t, "%.1f s", json_number(s, "left_ms") / 1000);
	else
		table_add(t, "-");
	table_addf(t, "%" PRIu64, json_u64(s, "letters"));
	table_addf(t, "%" PRIu64, json_u64(s, "fencing"));
	table_add(t, ranges);
}

static void servers_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"SERVER", false, false, false},
		{"LEAD", false, false, false}, {"SHARDS", true, false, false},
		{"LEASE", true, false, false}, {"LETTERS", true, false, false},
		{"FENCING", true, false, true}, {"RANGES", false, true, false}};
	const cJSON *nobody = cJSON_GetObjectItem(document, "nobody"), *s;
	struct table *t = table_new(columns, CTL_COUNT(columns));
	char ranges[2048];

	cJSON_ArrayForEach(s, cJSON_GetObjectItem(document, "servers"))
		server_row(t, s, json_bool(document, "shared"));
	table_print(t, &c->out);
	table_free(t);
	ranges_text(nobody, ranges, sizeof(ranges));
	if (json_u64(nobody, "shards"))
		printf("nobody answers %" PRIu64 " shards (%s); %" PRIu64 " letters wait there\n",
			json_u64(nobody, "shards"), ctl_safe(ranges), json_u64(nobody, "letters"));
}

enum exit_code cmd_servers(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "servers"};

	(void)a;
	return api_show(c, &v, servers_show);
}
