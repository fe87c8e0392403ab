// Settings of helio-publisher: rows that decide.
#include "publisher.h"

#define AT(field) SETTING_AT(struct publisher_settings, field)

static const struct setting rows[] = {
	FLEET_ROWS(struct publisher_settings, fleet, "publisher",
		"identity key, signs sign-ins and indexes"),
	{"publisher", "state_dir", SETTING_PATH, AT(state_dir), 1, 0,
		"/var/lib/heliograph/publisher", NULL, "pictures, objects and rows"},
	{"publisher", "socket", SETTING_PATH, AT(socket), 1, 0, "/run/heliograph/publisher.sock",
		NULL, "Unix socket for helioctl; mode 0600"},
	{"publisher", "package_bytes_max", SETTING_U64, AT(package_bytes_max), 1024,
		UINT64_C(1) << 40, "17179869184", NULL, "plain bytes of the largest package"},
	{"publisher", "seen_bytes_max", SETTING_U64, AT(seen_bytes_max), 0, UINT64_C(1) << 32,
		"67108864", NULL,
		"what is remembered of files of software, so that unchanged ones are not read "
		"again: about 0.03 % of them; 0: every file is read"},
	{"publisher", "medium_dir", SETTING_PATH, AT(medium_dir), 0, 0, "", NULL,
		"where media are recorded; empty: media below state_dir"},
	{"publisher", "medium_kind", SETTING_WORD, AT(medium_kind), 1, 0, "iso9660",
		"iso9660|folder", "an image to burn, or a folder to copy to a stick"},
	{"publisher", "medium_bytes_max", SETTING_U64, AT(medium_bytes_max), 1 << 20,
		UINT64_C(1) << 50, "68719476736", NULL,
		"bytes of recorded media that are kept; then none is recorded until some are over"},
	{"publisher", "medium_keep_s", SETTING_U32, AT(medium_keep_s), 0, 365 * 86400, "86400",
		NULL,
		"how long a medium stays that nobody needs any more; less where room is wanted"},
	{"publisher", "zstd_level", SETTING_U32, AT(zstd_level), 0, 19, "3", NULL,
		"compression of software; 0: none"},
	{"publisher", "broker_patience_ms", SETTING_U32, AT(station_patience_ms), 1000, 600000,
		"30000", NULL,
		"how long a data broker may be out of reach before the server is told"},
	{"packager", "image_key", SETTING_PATH, AT(image_key), 0, 0, "", NULL,
		"key that signs the packages of customers' orders; the root lists it; empty: none "
		"is "
		"made"},
	{"packager", "period_s", SETTING_U32, AT(period_s), 1, 86400, "60", NULL,
		"how often orders are held against the day"},
	{"packager", "settle_ms", SETTING_U32, AT(settle_ms), 0, 600000, "2000", NULL,
		"how long pictures must be left alone before orders are held against them"},
	{"packager", "keep", SETTING_U32, AT(keep), 1, 100, "3", NULL,
		"packages of an order that stay offered behind its present one"},
};

const struct setting *publisher_rows(size_t *count)
{
	*count = sizeof rows / sizeof rows[0];
	return rows;
}

enum err publisher_settings_check(const void *settings)
{
	const struct publisher_settings *s = settings;

	return fleet_settings_check(&s->fleet, false);
}
