// What is written onto a medium.
#include "tests/unit/helper.h"

#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/publisher/medium_write.h"
#include <stdlib.h>
#include <unistd.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S001_c4_an_image_holds_what_it_was_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
