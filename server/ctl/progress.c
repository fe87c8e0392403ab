// Drawn in place with a carriage return; cleared before anything else is printed.
#include "server/ctl/progress.h"

#include "server/ctl/text.h"
#include <string.h>

static char *slot(void)
{
	static char slots[8][32];
	static unsigned next;

	return slots[next++ % 8];
}

const char *amount_text(uint64_t bytes)
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
	char *out = slot();
	double v = (double)bytes / 1000;
	size_t unit = 0;

	if (bytes < 1000) {
		snprintf(out, 32, "%u B", (unsigned)bytes);
		return out;
	}
	while (v >= 999.5 && unit + 1 < CTL_COUNT(units)) {
		v /= 1000;
		unit++;
	}
	snprintf(out, 32, v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
	return out;
}

const char *age_text(int64_t ms)
{
	char *out = slot();
	long long s = (long long)(ms / 1000);

	if (ms < 0)
		return "-";
	if (ms < 9950)
		snprintf(out, 32, "%.1f s", (double)ms / 1000);
	else if (s < 120)
		snprintf(out, 32, "%lld s", s);
	else if (s < 7200)
		snprintf(out, 32, "%lld min", s / 60);
	else if (s < 172800)
		snprintf(out, 32, "%lld h", s / 3600);
	else
		snprintf(out, 32, "%lld d", s / 86400);
	return out;
}

void progress_begin(struct progress *p, const struct ctl *c, bool amounts_are_bytes)
{
	*p = (struct progress){.ctl = c,
		.began = clock_now().mono,
		.on = c->err.tty && !c->quiet,
		.bytes = amounts_are_bytes};
	p->drawn = mono_add_ms(p->began, -1000);
}

#define BAR_CELLS 28

static void bar_draw(const struct term *t, uint64_t done, uint64_t total)
{
	// Eighths of a cell, so that the bar moves smoothly.
	static const char *const parts[] = {
		"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589"};
	uint64_t eighths = total > 0 ? (uint64_t)((double)done / (double)total * BAR_CELLS * 8) : 0;

	eighths = eighths > BAR_CELLS * 8 ? BAR_CELLS * 8 : eighths;
	if (!t->utf8)
		eighths -= eighths % 8;
	fprintf(t->file, "%s", term_begin(t, STYLE_GOOD));
	for (uint64_t i = 0; i < eighths / 8; i++)
		fputs(t->utf8 ? "\u2588" : "#", t->file);
	fprintf(t->file, "%s%s%s", parts[eighths % 8], term_end(t, STYLE_GOOD),
		term_begin(t, STYLE_DIM));
	for (uint64_t i = (eighths + 7) / 8; i < BAR_CELLS; i++)
		fputs(t->utf8 ? "\u00b7" : ".", t->file);
	fprintf(t->file, "%s ", term_end(t, STYLE_DIM));
}

void progress_show(struct progress *p, uint64_t done, uint64_t total, const char *what)
{
	struct mono now = clock_now().mono;
	const struct term *t = &p->ctl->err;

	if (!p->on || (mono_since_ms(now, p->drawn) < 100 && done < total))
		return;
	p->drawn = now;
	p->visible = true;
	fputs("\r\x1b[K", t->file);
	bar_draw(t, done, total);
	if (p->bytes)
		fprintf(t->file, "%s of %s  ", amount_text(done), amount_text(total));
	else
		fprintf(t->file, "%llu of %llu  ", (unsigned long long)done,
			(unsigned long long)total);
	fprintf(t->file, "%s  ", age_text(mono_since_ms(now, p->began)));
	const char *safe = ctl_safe(what);
	size_t room = t->width > BAR_CELLS + 34 ? t->width - BAR_CELLS - 34 : 0;
	fwrite(safe, 1, text_cut(safe, room), t->file);
	fflush(t->file);
}

void progress_end(struct progress *p)
{
	if (p->visible)
		fputs("\r\x1b[K", p->ctl->err.file);
	p->visible = false;
}
