// Every limit of the display in one place, each with its reason.
#ifndef HELIO_DISPLAY_LIMITS_H
#define HELIO_DISPLAY_LIMITS_H

// Playlist: 100,000 images of a package at some 300 bytes a line.
#define PLAYLIST_BYTES_MAX (32 * 1024 * 1024)
#define PLAYLIST_LINE_MAX 4096
#define PLAYLIST_ARENA_MAX (64 * 1024 * 1024)
#define PLAYLIST_FIELDS_MAX 8
#define PLAYLIST_GROUPS_MAX 32   // LIMIT_PLANS
#define PLAYLIST_HOURS_MAX 16    // LIMIT_DAYPARTS
#define PLAYLIST_WEIGHT_MAX 1000 // LIMIT_WEIGHT
#define DURATION_MIN_MS 250      // below, a picture is a flicker and the ledger is noise
#define DURATION_MAX_MS (24 * 3600 * 1000)
#define TRANSITION_MAX_MS 10000

// Pictures: what the ingest lets through, and some air. Checked before anything is allocated.
#define PICTURE_FILE_MAX (128 * 1024 * 1024)
#define PICTURE_SIDE_MAX 30000
#define PICTURE_PIXELS_MAX (128 * 1000 * 1000)
#define PICTURE_SCANS_MAX 64 // of a progressive JPEG: each costs a pass over all coefficients
#define SCREEN_SIDE_MAX 16384

// The decoding child: what it may take beyond what it was born with, and how long.
#define DECODE_MEMORY_BYTES (96 * 1024 * 1024)
#define DECODE_CPU_S 30
#define DECODE_WALL_MS 60000
#define DECODER_RESTART_MS 1000 // its keeper is forked anew at most this often

// A picture that could not be read is tried again after this time; when no picture at all could
// be read, sooner, so that a passing lack of memory does not cost an hour of screen.
#define RETRY_BAD_MS (30 * 60 * 1000)
#define RETRY_ALL_BAD_MS 10000

// Ledger: two parts; at 10 s a picture and 160 bytes a row, each holds 12 days.
#define SHOWN_PART_BYTES (16 * 1024 * 1024)
#define SHOWN_SYNC_ROWS 64
#define SHOWN_SYNC_MS 30000
#define SHOWN_OPEN_MS 10000 // the note of the running play is renewed this often

#define TICKET_SCREENSHOT UINT64_MAX // no picture has this one
// A screenshot that must take fewer bytes is made smaller until a side is this short.
#define SCREENSHOT_SIDE_MIN 16

#define FAULTS_MAX                                                                                 \
	5 // with everything escaped the status stays below the 8 KiB that its reader takes
// A synchronised switch is prepared this long before its moment: time to decode the largest
// picture.
#define SWITCH_AHEAD_MS 8000
// No clock is right that stands before this program was written: 2026-01-01.
#define CLOCK_FLOOR_MS 1767225600000LL
// NTP has no keys, the server has: a clock that differs by more than this from the server's is not
// believed.
#define CLOCK_TRUST_MS 60000
#define CLOCK_LOOK_MS 1000     // the kernel is asked at most this often whether NTP holds its clock
#define STATUS_PERIOD_MS 15000 // the status is renewed so that its age shows a display that hangs

#endif
