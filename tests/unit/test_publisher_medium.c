// What is written onto a medium.
#include "tests/unit/helper.h"

#include "client/medium_file.h"
#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/publisher/medium_set.h"
#include "server/publisher/medium_shelf.h"
#include "server/publisher/medium_write.h"
#include <fcntl.h>
#include <fts.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static void S001_c4_an_image_holds_what_it_was_given(void **state)
{
	char folder[] = "/tmp/helio-media-XXXXXX", path[64], objects[64];
	struct blob_store blobs;
	struct digest sum, name;
	SCOPED_BUF struct buf image;
	uint64_t size = 0;
	struct medium_entry entries[] = {
		{.path = "ORDER.txt", .bytes = {(const uint8_t *)"for f1", 6}},
		{.path = "helio/v1/chunk/pub/aa"},
	};
	struct medium_content m = {
		.entries = entries,
		.count = 2,
		.objects = &blobs,
		.volume = "HELIO_7",
		.created = {1700000000000},
	};

	(void)state;
	buf_init(&image, 1 << 20);
	assert_non_null(mkdtemp(folder));
	(void)snprintf(objects, sizeof(objects), "%s/objects", folder);
	(void)snprintf(path, sizeof(path), "%s/a.iso", folder);
	assert_int_equal(blob_store_open(&blobs, objects), ERR_OK);
	name = sha256("object", 6);
	entries[1].object = name;
	assert_int_equal(blob_put(&blobs, &name, bytes_of("object", 6)), ERR_OK);
	assert_int_equal(medium_write_iso(&m, path, &sum, &size), ERR_OK);
	assert_true(size > 17 * 2048 && size % 2048 == 0);
	assert_int_equal(file_read(path, &image), ERR_OK);
	assert_int_equal(image.size, size);
	struct digest again = sha256(image.data, image.size);
	assert_true(digest_equal(&sum, &again));
	assert_memory_equal(image.data + 16 * 2048, "\001CD001", 6);
	assert_non_null(memmem(image.data, image.size, "object", 6));
	assert_non_null(memmem(image.data, image.size, "HELIO_7", 7));
	(void)unlink(path);
	// An object that is not there makes no image.
	entries[1].object = sha256("no object", 9);
	assert_int_equal(medium_write_iso(&m, path, &sum, &size), ERR_NOT_FOUND);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(tree_remove(folder), ERR_OK);
}

// ---- what does not stay

static void a_folder_that_fails_leaves_nothing(void **state)
{
	char folder[] = "/tmp/helio-media-XXXXXX", path[64], objects[64];
	struct blob_store blobs;
	struct digest name = sha256("object", 6);
	struct medium_entry entries[] = {
		{.path = "ORDER.txt", .bytes = {(const uint8_t *)"for f1", 6}},
		{.path = "helio/v1/chunk/pub/aa", .object = name},
		{.path = "helio/v1/chunk/pub/bb", .object = sha256("no object", 9)},
	};
	struct medium_content m = {.entries = entries, .count = 3, .objects = &blobs};

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(objects, sizeof(objects), "%s/objects", folder);
	(void)snprintf(path, sizeof(path), "%s/7", folder);
	assert_int_equal(blob_store_open(&blobs, objects), ERR_OK);
	assert_int_equal(blob_put(&blobs, &name, bytes_of("object", 6)), ERR_OK);
	assert_int_equal(medium_write_folder(&m, path), ERR_NOT_FOUND);
	assert_non_null(strstr(err_text(), digest_hex(&entries[2].object)));
	assert_int_not_equal(access(path, F_OK), 0);
	m.count = 2; // the control: what can be written is
	assert_int_equal(medium_write_folder(&m, path), ERR_OK);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(tree_remove(folder), ERR_OK);
}

static void rest_put(const char *dir, const char *name, bool folder)
{
	char path[200];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!folder) {
		assert_int_equal(file_write_atomic(path, "00 0\n", 5, 0644), ERR_OK);
		return;
	}
	assert_int_equal(dir_make(path), ERR_OK);
	(void)snprintf(path, sizeof(path), "%s/%s/ORDER.txt", dir, name);
	assert_int_equal(file_write_atomic(path, "x", 1, 0644), ERR_OK);
}

static bool stays(const char *dir, const char *name)
{
	char path[500];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

// A publisher that knows where its media are, and nothing else.
struct home {
	char dir[40];
	struct publisher_settings settings;
	struct publisher p;
	struct medium_shelf *shelf;
};

static void home_make(struct home *h)
{
	*h = (struct home){.settings = {.medium_bytes_max = 1000, .medium_keep_s = 1000}};
	h->p.settings = &h->settings;
	(void)str_copy(h->dir, sizeof(h->dir), "/tmp/helio-media-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	(void)str_copy(h->settings.medium_dir, sizeof(h->settings.medium_dir), h->dir);
}

static void home_open(struct home *h)
{
	shelf_free(h->shelf);
	if (shelf_open(&h->p, &h->shelf) != ERR_OK)
		fail_msg("%s", err_text());
}

static void home_drop(struct home *h)
{
	shelf_free(h->shelf);
	assert_int_equal(unsetenv("TMPDIR"), 0); // shelf_open names a folder of ours
	assert_int_equal(tree_remove(h->dir), ERR_OK);
}

static void what_a_crash_left_of_media_goes_at_start(void **state)
{
	// Half made; and an order that nobody recorded.
	static const char *const go[] = {
		".making/8", ".making/10.iso", ".making/11.iso.recorded", "15.order"};
	// What somebody unpacked beside an order bears the name of a medium. Of 14 the note is that
	// of an image.
	static const char *const keep[] = {"7", "8.part", "9.iso", "14", "7.order", "8.order",
		"9.order", "10.order", "11.order", "12", "12.order", "12.recorded", "13.iso",
		"13.order", "13.iso.recorded", "2026", "2026.part", "14.order", "14.iso.recorded",
		"007", "other.part"};
	struct home h;
	char path[200];
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	(void)state;
	home_make(&h);
	(void)snprintf(path, sizeof(path), "%s/.making", h.dir);
	assert_int_equal(dir_make(path), ERR_OK);
	for (size_t i = 0; i < sizeof(go) / sizeof(go[0]); i++)
		rest_put(h.dir, go[i], i == 0);
	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		rest_put(h.dir, keep[i],
			strspn(keep[i], "0123456789") == strlen(keep[i]) ||
				strcmp(keep[i], "8.part") == 0 ||
				strcmp(keep[i], "2026.part") == 0);
	(void)snprintf(path, sizeof(path), "%s/15.order", h.dir);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	home_open(&h);
	for (size_t i = 0; i < sizeof(go) / sizeof(go[0]); i++)
		if (stays(h.dir, go[i]))
			fail_msg("%s is there", go[i]);
	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		if (!stays(h.dir, keep[i]))
			fail_msg("%s is gone", keep[i]);
	home_drop(&h);
}

static void made_put(struct home *h, uint64_t order, const char *kind)
{
	char name[40];

	(void)snprintf(name, sizeof(name), ".making/%u%s", (unsigned)order, kind);
	rest_put(h->dir, name, kind[0] == '\0');
}

static enum err placed(struct home *h, uint64_t order, const char *kind)
{
	const struct digest sha256 = {{1}};

	made_put(h, order, kind);
	return shelf_place(&h->p, order, kind, &sha256, 700);
}

static void moved(const struct home *h, const char *from, const char *to)
{
	char a[200], b[200];

	(void)snprintf(a, sizeof(a), "%s/%s", h->dir, from);
	(void)snprintf(b, sizeof(b), "%s/%s", h->dir, to);
	assert_int_equal(rename(a, b), 0);
}

static void a_note_that_a_crash_cut_off_follows_its_medium_alone(void **state)
{
	struct home h;

	(void)state;
	home_make(&h);
	home_open(&h);
	assert_int_equal(placed(&h, 7, ""), ERR_OK);
	assert_int_equal(placed(&h, 8, ".iso"), ERR_OK);
	assert_int_equal(placed(&h, 9, ""), ERR_OK);
	assert_true(stays(h.dir, "7") && stays(h.dir, "7.recorded") && stays(h.dir, "8.iso") &&
		    stays(h.dir, "8.iso.recorded"));
	moved(&h, "7.recorded", ".making/7.recorded");
	moved(&h, "8.iso.recorded", ".making/8.iso.recorded");
	moved(&h, "9.recorded", ".making/9.recorded");
	moved(&h, "9", "away"); // and another one takes its name
	rest_put(h.dir, "9", true);
	home_open(&h);
	assert_true(stays(h.dir, "7") && stays(h.dir, "7.recorded") && stays(h.dir, "8.iso") &&
		    stays(h.dir, "8.iso.recorded"));
	assert_true(stays(h.dir, "9") && !stays(h.dir, "9.recorded"));
	home_drop(&h);
}

static void ended(struct home *h, uint64_t order)
{
	shelf_add(h->shelf, order, 700);
	shelf_ended(h->shelf, order);
	assert_int_equal(shelf_room(h->shelf, 700), ERR_OK); // and so it goes
}

static void what_bears_the_name_of_a_medium_and_is_none_stays(void **state)
{
	struct home h;

	(void)state;
	home_make(&h);
	home_open(&h);
	// Something of that name was there before.
	rest_put(h.dir, "7", true);
	rest_put(h.dir, "8.iso", false);
	assert_int_equal(placed(&h, 7, ""), ERR_EXISTS);
	assert_non_null(strstr(err_text(), "move it away"));
	assert_int_equal(placed(&h, 8, ".iso"), ERR_EXISTS);
	assert_true(stays(h.dir, "7/ORDER.txt") && stays(h.dir, "8.iso"));
	assert_false(stays(h.dir, "7.recorded") || stays(h.dir, "8.iso.recorded"));
	// An image was unpacked beside itself; a folder was replaced; this one is ours.
	assert_int_equal(placed(&h, 9, ".iso"), ERR_OK);
	rest_put(h.dir, "9", true);
	ended(&h, 9);
	assert_false(stays(h.dir, "9.iso") || stays(h.dir, "9.iso.recorded"));
	assert_true(stays(h.dir, "9/ORDER.txt"));
	assert_int_equal(placed(&h, 10, ""), ERR_OK);
	moved(&h, "10", "away");
	rest_put(h.dir, "10", true);
	ended(&h, 10);
	assert_true(stays(h.dir, "10/ORDER.txt") && !stays(h.dir, "10.recorded"));
	assert_int_equal(placed(&h, 11, ""), ERR_OK);
	ended(&h, 11);
	assert_false(stays(h.dir, "11") || stays(h.dir, "11.recorded"));
	// Older notes do not say which it is.
	rest_put(h.dir, "12", true);
	rest_put(h.dir, "12.recorded", false);
	home_open(&h);
	ended(&h, 12);
	assert_true(stays(h.dir, "12")); // "00 0" is no note
	home_drop(&h);
}

static void an_older_note_is_believed(void **state)
{
	static const char note[] =
		"0000000000000000000000000000000000000000000000000000000000000000 700\n";
	struct home h;
	char path[200];

	(void)state;
	home_make(&h);
	rest_put(h.dir, "12", true);
	(void)snprintf(path, sizeof(path), "%s/12.recorded", h.dir);
	assert_int_equal(file_write_atomic(path, note, sizeof(note) - 1, 0644), ERR_OK);
	home_open(&h);
	ended(&h, 12);
	assert_false(stays(h.dir, "12") || stays(h.dir, "12.recorded"));
	home_drop(&h);
}

// ---- one folder, one publisher

static void two_publishers_do_not_share_a_folder_of_media(void **state)
{
	struct home h;
	struct medium_shelf *second = NULL;
	int channel[2];
	char byte;

	(void)state;
	home_make(&h);
	home_open(&h);
	assert_int_equal(shelf_open(&h.p, &second), ERR_EXISTS);
	assert_non_null(strstr(err_text(), h.dir));
	assert_non_null(strstr(err_text(), "another publisher"));
	shelf_free(second);
	shelf_free(h.shelf);
	h.shelf = NULL;
	// One that is killed holds nobody up.
	assert_int_equal(pipe(channel), 0);
	pid_t child = fork();
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		bool has = shelf_open(&h.p, &second) == ERR_OK;
		if (write(channel[1], has ? "y" : "n", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	assert_int_equal(read(channel[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	assert_int_equal(shelf_open(&h.p, &second), ERR_EXISTS);
	shelf_free(second);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	home_open(&h);
	close(channel[0]);
	close(channel[1]);
	home_drop(&h);
}

static void a_folder_that_is_not_there_yet_is_taken_when_it_is(void **state)
{
	static const char *const places[] = {"disk", "disk/media"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct medium_shelf *second = NULL;
		struct home h;
		char path[200];

		home_make(&h);
		rest_put(h.dir, "disk", false); // no folder
		(void)snprintf(h.settings.medium_dir, sizeof(h.settings.medium_dir), "%s/%s", h.dir,
			places[i]);
		home_open(&h);
		enum err e = shelf_ready(h.shelf);
		assert_true(e != ERR_OK && e != ERR_EXISTS);
		(void)snprintf(path, sizeof(path), "%s/disk", h.dir);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(shelf_ready(h.shelf), ERR_OK);
		assert_true(stays(h.settings.medium_dir, ".lock") &&
			    stays(h.settings.medium_dir, ".making"));
		assert_int_equal(shelf_open(&h.p, &second), ERR_EXISTS);
		shelf_free(second);
		home_drop(&h);
	}
}

static void an_image_is_collected_where_media_are_kept(void **state)
{
	char folder[] = "/tmp/helio-media-XXXXXX", path[64];
	struct medium_entry entry = {.path = "ORDER.txt", .bytes = {(const uint8_t *)"for f1", 6}};
	const struct medium_content m = {.entries = &entry, .count = 1, .volume = "HELIO_7"};
	struct publisher_settings settings = {.medium_keep_s = 1000};
	struct publisher p = {.settings = &settings};
	struct medium_shelf *shelf = NULL;
	struct digest sum;
	uint64_t size = 0;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/7.iso", folder);
	(void)snprintf(settings.medium_dir, sizeof(settings.medium_dir), "%s", folder);
	assert_int_equal(setenv("TMPDIR", "/proc/no/room/there", 1), 0);
	assert_int_not_equal(medium_write_iso(&m, path, &sum, &size), ERR_OK); // the control
	assert_int_equal(shelf_open(&p, &shelf), ERR_OK);
	if (medium_write_iso(&m, path, &sum, &size) != ERR_OK)
		fail_msg("%s", err_text());
	shelf_free(shelf);
	assert_int_equal(unsetenv("TMPDIR"), 0);
	assert_int_equal(tree_remove(folder), ERR_OK);
}

struct reader {
	int fd;
	struct buf got;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;
	uint8_t piece[1000];

	for (ssize_t n; (n = read(r->fd, piece, sizeof(piece))) > 0;)
		if (buf_append(&r->got, piece, (size_t)n) != ERR_OK)
			break;
	return NULL;
}

static void who_takes_nothing_of_a_stream_holds_nobody_up(void **state)
{
	static uint8_t much[300000];
	const _Atomic bool ends = true;
	struct medium_entry entry = {.path = "ORDER.txt", .bytes = {much, sizeof(much)}};
	struct medium_content m = {.entries = &entry, .count = 1};
	struct reader r;
	pthread_t thread;
	uint64_t size = 0;
	int fd[2];

	(void)state;
	for (size_t i = 0; i < sizeof(much); i++)
		much[i] = (uint8_t)(i * 31 >> 3);
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(medium_write_stream(&m, fd[1], 400, &size), ERR_TIMEOUT);
	m.cancel = &ends;
	assert_int_equal(medium_write_stream(&m, fd[1], UINT32_MAX / 2, &size), ERR_CLOSED);
	close(fd[0]);
	close(fd[1]);
	// The control: who takes it gets all of it.
	m.cancel = NULL;
	assert_int_equal(pipe(fd), 0);
	r.fd = fd[0];
	buf_init(&r.got, 1 << 20);
	assert_int_equal(pthread_create(&thread, NULL, reader_main, &r), 0);
	assert_int_equal(medium_write_stream(&m, fd[1], 60000, &size), ERR_OK);
	close(fd[1]);
	assert_int_equal(pthread_join(thread, NULL), 0);
	close(fd[0]);
	assert_int_equal(r.got.size, 6 + strlen(entry.path) + sizeof(much) + 6);
	assert_memory_equal(r.got.data + 6 + strlen(entry.path), much, sizeof(much));
	buf_fini(&r.got);
}

// ---- many files

struct many {
	char folder[40], objects[60], out[60];
	struct blob_store blobs;
	struct medium_entry *entries;
	struct medium_content m;
};

static int name_order(const void *a, const void *b)
{
	return digest_compare(a, b);
}

static void many_make(struct many *x, size_t count)
{
	(void)str_copy(x->folder, sizeof(x->folder), "/tmp/helio-media-XXXXXX");
	assert_non_null(mkdtemp(x->folder));
	(void)snprintf(x->objects, sizeof(x->objects), "%s/objects", x->folder);
	(void)snprintf(x->out, sizeof(x->out), "%s/out", x->folder);
	assert_int_equal(blob_store_open(&x->blobs, x->objects), ERR_OK);
	struct digest name = sha256("object", 6);
	assert_int_equal(blob_put(&x->blobs, &name, bytes_of("object", 6)), ERR_OK);
	x->entries = calloc(count, sizeof(*x->entries));
	struct digest *names = calloc(count, sizeof(*names));
	for (size_t i = 0; i < count; i++)
		names[i] = sha256(&i, sizeof(i));
	qsort(names, count, sizeof(*names), name_order);
	for (size_t i = 0; i < count; i++) {
		x->entries[i].object = name;
		(void)snprintf(x->entries[i].path, sizeof(x->entries[i].path),
			"helio/v1/chunk/pub/%s", digest_hex(&names[i]));
	}
	free(names);
	x->m = (struct medium_content){.entries = x->entries,
		.count = count,
		.objects = &x->blobs,
		.volume = "HELIO_7",
		.created = {1700000000000}};
}

static void many_drop(struct many *x)
{
	free(x->entries);
	assert_int_equal(tree_remove(x->folder), ERR_OK);
}

// Of this process, by the kernel, in kB.
static long peak_kb(void)
{
	struct rusage use;

	assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
	return use.ru_maxrss;
}

// Of this process's own work: what the machine and its disk do for others is not counted.
static double seconds(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t files_of(const char *path)
{
	char *const paths[2] = {(char *)(uintptr_t)path, NULL};
	FTS *walk = fts_open(paths, FTS_PHYSICAL, NULL);
	size_t n = 0;

	assert_non_null(walk);
	for (FTSENT *f = fts_read(walk); f; f = fts_read(walk))
		n += f->fts_info == FTS_F;
	fts_close(walk);
	return n;
}

// As many as a stick may come to hold: 50,000 with HELIO_LONG=1.
static void S001_c4_a_medium_of_many_files_takes_bounded_memory_and_time(void **state)
{
	const char *more = getenv("HELIO_LONG");
	size_t count = more && *more ? 50000 : 5000;
	struct many x;
	struct digest sum;
	uint64_t size = 0;

	(void)state;
	many_make(&x, count);
	long before = peak_kb();
	double began = seconds();
	assert_int_equal(medium_write_folder(&x.m, x.out), ERR_OK);
	double folder_s = seconds() - began;
	long folder_kb = peak_kb() - before;
	assert_int_equal(files_of(x.out), count);
	assert_int_equal(tree_remove(x.out), ERR_OK);
	began = seconds();
	assert_int_equal(medium_write_iso(&x.m, x.out, &sum, &size), ERR_OK);
	double iso_s = seconds() - began;
	long iso_kb = peak_kb() - before;
	print_message("%zu files: folder %.2f s, %ld kB more; image %.2f s, %ld kB more\n", count,
		folder_s, folder_kb, iso_s, iso_kb);
	assert_true(size >= count * 2048);
	if (!SANITIZED) {                          // whose allocator keeps what is freed
		assert_true(folder_kb < 4 * 1024); // nothing grows with their number
		assert_true(iso_kb < 8 * 1024 + (long)(count * 21 / 5)); // 4 kB each: names
	}
	assert_true(folder_s < 5 + (double)count / 1000);
	assert_true(iso_s < 5 + (double)count / 1000);
	many_drop(&x);
}

static void an_image_of_more_files_than_a_device_reads_is_not_made(void **state)
{
	struct many x;
	struct digest sum;
	uint64_t size = 0;

	(void)state;
	many_make(&x, 3);
	x.m.count = MEDIUM_IMAGE_FILES_MAX + 1;
	assert_int_equal(medium_write_iso(&x.m, x.out, &sum, &size), ERR_FULL);
	assert_non_null(strstr(err_text(), "record onto a stick"));
	assert_int_not_equal(access(x.out, F_OK), 0);
	x.m.count = 3;
	assert_int_equal(medium_write_iso(&x.m, x.out, &sum, &size), ERR_OK);
	many_drop(&x);
}

// Folders are no files, for who writes as for who reads.
static void what_a_publisher_writes_an_agent_reads(void **state)
{
	struct many x;
	struct digest sum;
	uint64_t size = 0;
	char into[80];
	struct medium_most most = {.files = 3, .folders = 5, .bytes = 1 << 20};

	(void)state;
	_Static_assert(MEDIUM_IMAGE_FOLDERS_MAX >= 16 + 2 * MEDIUM_SET_MAX, "of each order two");
	many_make(&x, 3);
	(void)snprintf(into, sizeof(into), "%s/into", x.folder);
	assert_int_equal(medium_write_iso(&x.m, x.out, &sum, &size), ERR_OK);
	// The root, helio, v1, chunk, pub: as many as an image of these files has.
	if (medium_image_open(x.out, into, &most) != ERR_OK)
		fail_msg("%s", err_text());
	assert_int_equal(files_of(into), 3);
	assert_int_equal(tree_remove(into), ERR_OK);
	most.files = 2;
	assert_int_equal(medium_image_open(x.out, into, &most), ERR_FULL);
	assert_int_equal(tree_remove(into), ERR_OK);
	most = (struct medium_most){.files = 3, .folders = 4, .bytes = 1 << 20};
	assert_int_equal(medium_image_open(x.out, into, &most), ERR_FULL);
	many_drop(&x);
}

static void a_publisher_that_ends_waits_for_no_medium(void **state)
{
	const _Atomic bool ends = true;
	struct many x;
	struct digest sum;
	uint64_t size = 0;

	(void)state;
	many_make(&x, 3);
	x.m.cancel = &ends;
	assert_int_equal(medium_write_folder(&x.m, x.out), ERR_CLOSED);
	assert_int_equal(medium_write_iso(&x.m, x.out, &sum, &size), ERR_CLOSED);
	assert_int_not_equal(access(x.out, F_OK), 0);
	many_drop(&x);
}

// libarchive writes all that it collected when it is freed.
static void an_image_that_fails_is_not_written_first(void **state)
{
	struct many x;
	struct stat st;
	struct digest sum;
	uint64_t size = 0;

	(void)state;
	many_make(&x, 300);
	SCOPED_FD int fd = open(x.out, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	x.entries[299].object = sha256("no object", 9);
	assert_int_equal(medium_write_image(&x.m, fd, &sum, &size), ERR_NOT_FOUND);
	assert_non_null(strstr(err_text(), digest_hex(&x.entries[299].object)));
	assert_true(fstat(fd, &st) == 0 && st.st_size == 0);
	// The control: one that does not fail is.
	x.m.count = 299;
	assert_int_equal(medium_write_image(&x.m, fd, &sum, &size), ERR_OK);
	assert_true(fstat(fd, &st) == 0 && st.st_size > 299 * 2048);
	many_drop(&x);
}

static void a_folder_that_was_cut_leaves_nothing_in_the_next(void **state)
{
	struct many x;
	char part[80];

	(void)state;
	many_make(&x, 3);
	(void)snprintf(part, sizeof(part), "%s/helio", x.out);
	assert_int_equal(dir_make(part), ERR_OK);
	(void)snprintf(part, sizeof(part), "%s/helio/stale", x.out);
	assert_int_equal(file_write_atomic(part, "old", 3, 0644), ERR_OK);
	assert_int_equal(medium_write_folder(&x.m, x.out), ERR_OK);
	assert_int_equal(files_of(x.out), 3);
	many_drop(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S001_c4_an_image_holds_what_it_was_given),
		cmocka_unit_test(a_folder_that_fails_leaves_nothing),
		cmocka_unit_test(what_a_crash_left_of_media_goes_at_start),
		cmocka_unit_test(a_note_that_a_crash_cut_off_follows_its_medium_alone),
		cmocka_unit_test(what_bears_the_name_of_a_medium_and_is_none_stays),
		cmocka_unit_test(an_older_note_is_believed),
		cmocka_unit_test(two_publishers_do_not_share_a_folder_of_media),
		cmocka_unit_test(a_folder_that_is_not_there_yet_is_taken_when_it_is),
		cmocka_unit_test(S001_c4_a_medium_of_many_files_takes_bounded_memory_and_time),
		cmocka_unit_test(an_image_of_more_files_than_a_device_reads_is_not_made),
		cmocka_unit_test(an_image_is_collected_where_media_are_kept),
		cmocka_unit_test(who_takes_nothing_of_a_stream_holds_nobody_up),
		cmocka_unit_test(a_publisher_that_ends_waits_for_no_medium),
		cmocka_unit_test(an_image_that_fails_is_not_written_first),
		cmocka_unit_test(what_a_publisher_writes_an_agent_reads),
		cmocka_unit_test(a_folder_that_was_cut_leaves_nothing_in_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
