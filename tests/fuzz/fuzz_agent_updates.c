// The agent's updates file, as a disk may give it back: what is read is written again to the same.
#include "client/update_file.h"
#include "tests/fuzz/fuzz_text.h"

static void updates_try(struct bytes text)
{
	static struct update_list list, again;
	SCOPED_BUF struct buf one, two;

	buf_init(&one, 2 * UPDATE_FILE_MAX);
	buf_init(&two, 2 * UPDATE_FILE_MAX);
	if (update_list_decode(text, &list) != ERR_OK || update_list_encode(&list, &one) != ERR_OK)
		return;
	FUZZ_HOLDS(update_list_decode(buf_bytes(&one), &again) == ERR_OK);
	FUZZ_HOLDS(update_list_encode(&again, &two) == ERR_OK);
	FUZZ_HOLDS(one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_BUF struct buf ended;

	buf_init(&ended, UPDATE_FILE_MAX + 128);
	if (size > UPDATE_FILE_MAX)
		return 0;
	updates_try(bytes_of(data, size));
	text_ended(data, size, &ended);
	updates_try(buf_bytes(&ended));
	return 0;
}
