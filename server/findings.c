#include "server/findings.h"

#include "proto/base/log.h"
#include <string.h>

static const char *const words[] = {
	[FINDING_OK] = "ok",
	[FINDING_WARN] = "warn",
	[FINDING_ERROR] = "error",
};

const char *finding_level_word(enum finding_level l)
{
	return l >= FINDING_OK && l <= FINDING_ERROR ? words[l] : "?";
}

static struct finding *find(struct findings *f, const char *where, const char *id)
{
	for (size_t i = 0; i < f->count; i++)
		if (strcmp(f->items[i].where, where) == 0 && strcmp(f->items[i].id, id) == 0)
			return &f->items[i];
	if (f->count >= FINDINGS_MAX)
		return NULL;
	return &f->items[f->count++];
}

static void text_cut(char *out, size_t size, const char *s)
{
	size_t n = strlen(s);

	n = n < size ? n : size - 1;
	memcpy(out, s, n);
	out[n] = 0;
}

void finding_add(struct findings *f, enum finding_level level, const char *where, const char *id,
	const char *what, const char *mend)
{
	struct finding *one = find(f, where, id);

	if (!one)
		return;
	one->level = level;
	text_cut(one->where, sizeof(one->where), where);
	text_cut(one->id, sizeof(one->id), id);
	text_cut(one->what, sizeof(one->what), what);
	text_cut(one->mend, sizeof(one->mend), mend);
}

void finding_tell(struct findings *f, enum finding_level level, const char *where, const char *id,
	const char *what, const char *mend)
{
	enum log_level loud = level == FINDING_ERROR  ? LOG_ERROR
			      : level == FINDING_WARN ? LOG_WARN
						      : LOG_INFO;

	finding_add(f, level, where, id, what, mend);
	log_write(loud, "PROBE-FINDING", "broker=%s finding=%s what=%s mend=%s", where, id,
		log_quote(what), log_quote(mend));
}

void findings_forget(struct findings *f, const char *where)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->count; i++)
		if (strcmp(f->items[i].where, where) != 0)
			f->items[kept++] = f->items[i];
	f->count = kept;
}

bool findings_have_error(const struct findings *f, const char *where)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->items[i].level == FINDING_ERROR && strcmp(f->items[i].where, where) == 0)
			return true;
	return false;
}
