// What a delta and a first install cost in bytes, without a broker: packages of the files named are
// built as the publisher builds them, and the delta between each two neighbours.
//
//   delta_bytes [-l LEVEL] FILE FILE...
//
// One line a step: bytes of objects, of the index as it lies on the wire without its signature, and
// how long the making took. `full` is what a first install of the last one takes.
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "server/publisher/delta_build.h"
#include "server/publisher/packager.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench {
	struct blob_store images, objects;
	struct known known;
	int level;
};

static enum err build(struct bench *b, const char *path, struct package_built *out)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct tree t = {0};

	if (fd < 0)
		return err_set_errno("%s", path);
	TRY(tree_single(fd, "bundle", UINT64_MAX, &t));
	struct pack_file file = {
		.path = t.files[0].path, .tree = &t.files[0], .size = t.files[0].size};
	struct pack_job job = {.info = {.kind = PACKAGE_SOFTWARE, .name = "bench", .version = "1"},
		.root_fd = fd,
		.single_file = true,
		.images = &b->images,
		.objects = &b->objects,
		.known = &b->known,
		.files = &file,
		.file_count = 1,
		.small = b->level > 9,
		.profile = {.zstd_level = b->level, .keep_percent = 95}};
	enum err e = package_build(&job, out);
	tree_fini(&t);
	return e;
}

static enum err payload_copy(const struct buf *from, struct buf *to)
{
	buf_init(to, from->max);
	return buf_append(to, from->data, from->size);
}

static enum err delta(struct bench *b, const struct package_built *olds,
	const struct package_built *news, const char *name)
{
	struct delta_job job = {.objects = &b->objects};
	struct delta_built d;
	struct mono begun = clock_now().mono;

	TRY(payload_copy(&news->manifest, &job.manifest));
	TRY(payload_copy(&news->index, &job.index));
	TRY(payload_copy(&olds->manifest, &job.base_manifest));
	TRY(payload_copy(&olds->index, &job.base_index));
	enum err e = delta_build(&job, &d);
	if (e == ERR_OK)
		printf("delta to=%s objects=%zu object_bytes=%llu new_bytes=%llu index_bytes=%zu "
		       "manifest_bytes=%zu full_object_bytes=%llu ms=%lld\n",
			name, d.count, (unsigned long long)d.object_bytes,
			(unsigned long long)d.new_bytes, d.index.size, news->manifest.size,
			(unsigned long long)news->object_bytes,
			(long long)mono_since_ms(clock_now().mono, begun));
	if (e == ERR_OK)
		delta_built_fini(&d);
	buf_fini(&job.manifest);
	buf_fini(&job.index);
	buf_fini(&job.base_manifest);
	buf_fini(&job.base_index);
	return e;
}

static enum err run(struct bench *b, char **files, int count)
{
	struct package_built built[2] = {0};
	char folder[] = "/tmp/helio-delta-XXXXXX", path[64];

	if (!mkdtemp(folder))
		return err_set_errno("no folder");
	TRY(path_join(path, sizeof path, folder, "objects"));
	TRY(blob_store_open(&b->objects, path));
	known_init(&b->known);
	for (int i = 0; i < count; i++) {
		struct mono begun = clock_now().mono;
		TRY(build(b, files[i], &built[i % 2]));
		printf("full of=%s object_bytes=%llu ms=%lld\n", files[i],
			(unsigned long long)built[i % 2].object_bytes,
			(long long)mono_since_ms(clock_now().mono, begun));
		if (i > 0)
			TRY(delta(b, &built[(i + 1) % 2], &built[i % 2], files[i]));
		if (i > 0)
			package_built_fini(&built[(i + 1) % 2]);
	}
	package_built_fini(&built[(count + 1) % 2]);
	return tree_remove(folder);
}

int main(int argc, char **argv)
{
	struct bench b = {.level = 3};
	int first = 1;

	if (argc > 2 && strcmp(argv[1], "-l") == 0) {
		b.level = (int)strtol(argv[2], NULL, 10);
		first = 3;
	}
	if (argc - first < 1) {
		fprintf(stderr, "delta_bytes [-l LEVEL] FILE FILE...\n");
		return 2;
	}
	if (run(&b, argv + first, argc - first) == ERR_OK)
		return 0;
	fprintf(stderr, "%s\n", err_text());
	return 1;
}
