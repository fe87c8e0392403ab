// The peer of row publish_speed: what one thread does at least for each byte that is published.
//
//   publish_loop FILE        Gear, SHA-256 of each chunk, zstd-3, SHA-256 of what lies on the
//   broker
//
// Nothing is written and nothing is sent. Prints bytes and seconds.
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/chunker.h"
#include "proto/content.h"
#include "proto/digest.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err file_map(const char *path, struct bytes *out)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat s;

	if (fd < 0 || fstat(fd, &s) != 0 || s.st_size == 0)
		return err_set_errno("cannot read %s", path);
	void *map = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		return err_set_errno("cannot map %s", path);
	*out = bytes_of(map, (size_t)s.st_size);
	return ERR_OK;
}

static enum err loop(struct bytes all, uint64_t *packed)
{
	const struct object_profile fast = {.zstd_level = 3, .keep_percent = 95};
	struct object_encoder *encoder = NULL;
	enum err e = object_encoder_new(&fast, &encoder);

	for (size_t at = 0; at < all.size && e == ERR_OK;) {
		struct object o = {.chunk_count = 1};
		struct bytes transported = {0};
		size_t n = chunk_cut(all.data + at, all.size - at);
		struct chunk_ref c = {.sha256 = sha256(all.data + at, n), .size = (uint32_t)n};
		e = object_encode(encoder, &c, bytes_of(all.data + at, n), &o, &transported);
		*packed += o.size_bytes;
		at += n;
	}
	object_encoder_free(encoder);
	return e;
}

int main(int argc, char **argv)
{
	struct bytes all = {0};
	uint64_t packed = 0;

	if (argc != 2) {
		fprintf(stderr, "publish_loop FILE\n");
		return 2;
	}
	enum err e = file_map(argv[1], &all);
	struct mono begun = clock_now().mono;
	if (e == ERR_OK)
		e = loop(all, &packed);
	if (e != ERR_OK) {
		fprintf(stderr, "publish_loop: %s\n", err_text());
		return 1;
	}
	int64_t ms = mono_since_ms(clock_now().mono, begun);
	printf("bytes=%zu packed=%llu seconds=%.3f\n", all.size, (unsigned long long)packed,
		(double)ms / 1000);
	return 0;
}
