// A topic as the broker delivers it, NUL and bad UTF-8 included: what is taken apart can be put
// together again to the same bytes.
#include "proto/topics.h"
#include "tests/fuzz/fuzz.h"

// zero_base: an index of base 000..0, whose proper name is "full".
static struct topic topic_of_parts(const struct topic_parts *p, bool *zero_base)
{
	struct digest base;

	switch (p->kind) {
	case TOPIC_HB:
		return topic_hb(p->id);
	case TOPIC_REPORT:
		return topic_report(p->id);
	case TOPIC_WANT:
		return topic_want(p->id);
	case TOPIC_BYE:
		return topic_bye(p->id);
	case TOPIC_APIR:
		return topic_apir(p->id, p->level);
	case TOPIC_VIEW_MEDIA:
		return topic_view_media(p->id, p->level);
	case TOPIC_PKG:
		return topic_pkg(p->id, &p->digest);
	case TOPIC_CHUNK:
		return topic_chunk(p->id, &p->digest);
	case TOPIC_CMD:
		return topic_cmd(p->id, &p->digest);
	case TOPIC_IDX:
		if (strcmp(p->level, "full") == 0)
			return topic_idx(p->id, &p->digest, NULL);
		FUZZ_HOLDS(hex_decode(p->level, base.b, sizeof(base.b)) == ERR_OK);
		*zero_base = digest_is_zero(&base);
		return topic_idx(p->id, &p->digest, &base);
	case TOPIC_OFFER:
	case TOPIC_RSP:
	case TOPIC_INBOX:
	case TOPIC_GRANT:
	case TOPIC_PUB:
	case TOPIC_PUBCMD:
	case TOPIC_VIEW_STATE:
	case TOPIC_VIEW_QUEUE:
	case TOPIC_VIEW_DS:
	case TOPIC_API:
	case TOPIC_HOST:
	case TOPIC_MARK:
		break;
	case TOPIC_KIND_COUNT:
		abort();
	}
	return topic_of(p->kind, p->id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct topic_parts parts;
	// exactly this long, so that a sanitizer sees one byte too many
	char *topic = malloc(size ? size : 1);

	FUZZ_HOLDS(topic);
	if (size)
		memcpy(topic, data, size);
	if (topic_parse(topic, size, &parts) == ERR_OK) {
		bool zero_base = false;
		struct topic again = topic_of_parts(&parts, &zero_base);
		bool same = strlen(again.s) == size && memcmp(again.s, topic, size) == 0;

		FUZZ_HOLDS(id_is_valid(parts.id));
		FUZZ_HOLDS(same || zero_base);
	}
	free(topic);
	return 0;
}
