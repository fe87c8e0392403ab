// The time of the display, its zone, and where a shuffle stands.
//
// The agent writes `clock` when it learned the server's time:
//   server  <boot id, 32 hex>  <unix_ms less the monotonic clock's ms>   of this boot only
//   floor   <unix_ms>          the newest moment that the server ever told
// A wall clock that NTP holds counts, unless it is far from the server's; else the server's time
// counts; else the wall clock as it stands. Without NTP and server a clock that stands before the
// floor is wrong for certain: then the time is unknown (schedule.h says what is shown).
#include "client/display/display_parts.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

static enum err path_of(const struct display *d, const char *name, char out[600])
{
	return path_join(out, 600, d->settings->folder, name);
}

// The text of a small file of the folder with a zero behind it; "" when there is none.
static void text_read(const struct display *d, const char *name, char *out, size_t room)
{
	SCOPED_BUF struct buf b;
	char path[600];

	out[0] = '\0';
	buf_init(&b, room - 1);
	if (path_of(d, name, path) != ERR_OK || file_read(path, &b) != ERR_OK || b.size == 0)
		return;
	memcpy(out, b.data, b.size);
	out[b.size] = '\0';
}

static void clock_read(struct display *d)
{
	char text[512], boot[33] = "", *line = text;
	struct display_clock *c = &d->clock;
	int64_t n;

	c->news = false;
	c->has_server = false;
	text_read(d, "clock", text, sizeof(text));
	while (line && *line) {
		if (sscanf(line, "server\t%32[0-9a-f]\t%" SCNd64, boot, &n) == 2) {
			c->has_server = strcmp(boot, d->ledger.boot) == 0;
			c->offset_ms = n;
		} else if (sscanf(line, "floor\t%" SCNd64, &n) == 1 && n > c->floor_ms) {
			c->floor_ms = n;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
}

static bool ntp_holds(void)
{
	struct timex t = {.modes = 0};

	return adjtimex(&t) != TIME_ERROR && !(t.status & STA_UNSYNC);
}

static void clock_look(struct display *d, struct now now)
{
	struct display_clock *c = &d->clock;
	bool first = c->quality == 0;

	if (c->floor_ms == 0)
		c->floor_ms = CLOCK_FLOOR_MS;
	if (first || c->news)
		clock_read(d);
	else if (mono_since_ms(now.mono, c->looked) < CLOCK_LOOK_MS)
		return;
	c->looked = now.mono;
	int64_t differs = c->has_server ? c->offset_ms + now.mono.ms - now.wall.ms : 0;

	if (ntp_holds() && differs < CLOCK_TRUST_MS && differs > -CLOCK_TRUST_MS)
		c->quality = 3;
	else
		c->quality = c->has_server ? 2 : 1;
}

struct now display_now(struct display *d)
{
	struct now now = clock_now();

	clock_look(d, now);
	if (d->clock.quality == 2)
		now.wall.ms = d->clock.offset_ms + now.mono.ms;
	return now;
}

struct show_time display_time(const struct display *d, struct now now)
{
	const struct display_clock *c = &d->clock;

	return (struct show_time){
		.mono = now.mono,
		.wall = {.unix_ms = now.wall.ms,
			.unknown = c->quality == 1 && now.wall.ms < c->floor_ms,
			.floor_ms = c->floor_ms},
	};
}

// ---- the zone

void zone_choose(struct display *d, const char *name, struct now now)
{
	struct zone zone;

	if (!*name)
		name = d->settings->time_zone;
	enum err e = zone_load(&zone, name);
	if (e != ERR_OK) {
		fault_add(d, now, "ZONE-UNKNOWN", name, err_text());
		e = zone_load(&zone, d->settings->time_zone);
	}
	if (e != ERR_OK && zone_load(&zone, "") != ERR_OK)
		log_warn("ZONE-ABSENT", "used=UTC why=%s", log_quote(err_text()));
	zone_fini(&d->zone);
	d->zone = zone;
}

// ---- the place of a shuffle: package TAB round TAB at

struct schedule_place place_read(const struct display *d, const struct digest *package)
{
	struct schedule_place place = {0};
	char text[256], hex[65] = "";
	uint64_t round, at;

	text_read(d, "show.place", text, sizeof(text));
	if (sscanf(text, "%64[0-9a-f]\t%" SCNu64 "\t%" SCNu64, hex, &round, &at) == 3 &&
		strcmp(hex, digest_hex(package)) == 0 && at <= UINT32_MAX)
		place = (struct schedule_place){.round = round, .at = (size_t)at};
	return place;
}

// Replaced by rename, not synced: lost, it costs a few pictures that come a second time.
void place_keep(struct display *d)
{
	struct schedule_place place = show_place(&d->show);
	char path[600], temporary[610];

	if (!d->list || d->list->order != ORDER_SHUFFLE ||
		(place.round == d->place.round && place.at == d->place.at))
		return;
	d->place = place;
	if (path_of(d, "show.place", path) != ERR_OK)
		return;
	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	FILE *f = fopen(temporary, "we");
	if (!f)
		return;
	fprintf(f, "%s\t%" PRIu64 "\t%zu\n", digest_hex(&d->list->package), place.round, place.at);
	bool ok = fclose(f) == 0 && rename(temporary, path) == 0;
	if (!ok)
		log_debug("PLACE-UNKEPT", "path=%s", path);
}
