// Runs a fuzz target over files and folders of inputs, where there is no libFuzzer.
#include "tests/fuzz/fuzz.h"

#include "proto/base/file.h"
#include <dirent.h>
#include <sys/stat.h>

#define INPUT_MAX (4 * 1024 * 1024)

static size_t replayed;

static enum err replay_file(const char *path)
{
	SCOPED_BUF struct buf input;

	buf_init(&input, INPUT_MAX);
	TRY(file_read(path, &input));
	// exactly this long, so that a sanitizer sees one byte too many
	uint8_t *exact = malloc(input.size ? input.size : 1);
	if (!exact)
		return err_set(ERR_MEMORY, "no memory for %s", path);
	if (input.size)
		memcpy(exact, input.data, input.size);
	LLVMFuzzerTestOneInput(exact, input.size);
	free(exact);
	replayed++;
	return ERR_OK;
}

static enum err replay_folder(const char *path)
{
	DIR *dir = opendir(path);
	char name[4096];
	enum err e = ERR_OK;

	if (!dir)
		return err_set_errno("%s", path);
	for (struct dirent *d; e == ERR_OK && (d = readdir(dir));) {
		if (d->d_name[0] == '.')
			continue;
		e = path_join(name, sizeof(name), path, d->d_name);
		if (e == ERR_OK)
			e = replay_file(name);
	}
	closedir(dir);
	return e;
}

static enum err replay(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_set_errno("%s", path);
	return S_ISDIR(st.st_mode) ? replay_folder(path) : replay_file(path);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (replay(argv[i]) != ERR_OK) {
			fprintf(stderr, "%s\n", err_text());
			return 1;
		}
	}
	printf("replayed %zu inputs\n", replayed);
	return replayed == 0;
}
