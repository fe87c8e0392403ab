// What all handlers share: the table, argv from a row, the image in a package, and the package
// against its manifest; see update_handler.h.
#include "client/update_handler.h"

#include "proto/base/file.h"
#include "proto/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES (256 * 1024)

static const struct update_handler *const handlers[] = {
	&update_symlink, &update_rauc, &update_swupdate, &update_script};

const struct update_handler *update_handler_find(const char *word)
{
	for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
		if (strcmp(handlers[i]->word, word) == 0)
			return handlers[i];
	}
	return NULL;
}

const char *update_verb_word(enum update_verb v)
{
	static const char *const words[UPDATE_VERBS] = {
		"prepare", "install", "verify", "commit", "rollback"};
	return v >= 0 && v < UPDATE_VERBS ? words[v] : "?";
}

enum update_plan update_program(
	const struct words *program, struct update_argv *out, const char *const *more)
{
	const size_t room = sizeof out->argv / sizeof out->argv[0] - 1;
	out->argc = 0;
	for (size_t i = 0; i < program->argc && out->argc < room; i++)
		out->argv[out->argc++] = program->argv[i];
	for (; *more != NULL && out->argc < room; more++)
		out->argv[out->argc++] = *more;
	out->argv[out->argc] = NULL;
	return PLAN_PROGRAM;
}

// ---- verdicts

bool update_says(struct bytes output, const char *text)
{
	return output.size != 0 && memmem(output.data, output.size, text, strlen(text)) != NULL;
}

// What the C library says of a device in trouble. Programs are run without a language of their own.
static bool says_trouble(struct bytes output)
{
	static const int errors[] = {ENOSPC, EDQUOT, ENOMEM, EROFS, EIO, EMFILE, ENFILE};
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
		const char *text = strerrordesc_np(errors[i]);
		if (text != NULL && update_says(output, text))
			return true;
	}
	return false;
}

enum update_verdict update_weigh(const struct update_end *end)
{
	if (end->timed_out)
		return VERDICT_BAD;
	if (end->signal != 0)
		return end->signal == SIGKILL || end->signal == SIGTERM || end->signal == SIGHUP ||
				       end->signal == SIGINT
			       ? VERDICT_UNSURE
			       : VERDICT_BAD;
	if (end->exit_code == 0)
		return VERDICT_GOOD;
	return end->exit_code == UPDATE_EXIT_UNSURE || says_trouble(end->output) ? VERDICT_UNSURE
										 : VERDICT_BAD;
}

enum update_verdict update_weigh_error(enum err e)
{
	switch ((int)e) {
	case ERR_OK:
		return VERDICT_GOOD;
	case ERR_FORMAT:
	case ERR_RANGE:
	case ERR_AUTH:
	case ERR_CORRUPT:
	case ERR_STALE:
	case ERR_VERSION:
	case ERR_UNSUPPORTED:
		return VERDICT_BAD;
	case ERR_NO_SPACE:
	case ERR_READ_ONLY:
		return VERDICT_DEVICE;
	default:
		return VERDICT_UNSURE;
	}
}

// ---- the image

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);
	return n > s && strcmp(name + n - s, suffix) == 0;
}

enum err update_image_find(const char *folder, const char *suffix, char out[DEPOT_PATH])
{
	char path[DEPOT_PATH];
	char *const roots[] = {path, NULL};
	size_t found = 0;
	enum err e = ERR_OK;
	out[0] = '\0';
	if (!str_copy(path, sizeof path, folder))
		return err_set(ERR_RANGE, "the path of a package is too long");
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (tree == NULL)
		return err_set_errno("cannot look into %s", folder);
	for (FTSENT *at; e == ERR_OK && (at = fts_read(tree)) != NULL;) {
		if (at->fts_info != FTS_F || !ends_with(at->fts_name, suffix))
			continue;
		found++;
		if (!str_copy(out, DEPOT_PATH, at->fts_path))
			e = err_set(ERR_RANGE, "the path of an image is too long");
	}
	(void)fts_close(tree);
	TRY(e);
	if (found == 1)
		return ERR_OK;
	return err_set(found == 0 ? ERR_NOT_FOUND : ERR_FORMAT,
		"the package has %zu files that end with %s, and one is wanted", found, suffix);
}

// ---- the package

static enum err file_check(const char *path, const struct file_entry *f, uint8_t *room)
{
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t left = f->size_bytes;
	struct stat st;
	if (fd < 0)
		return err_set_errno("cannot open %s", path);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != left)
		return err_set(ERR_CORRUPT, "%s is not as long as the manifest says", f->path);
	struct sha256_stream *hash = sha256_new();
	if (hash == NULL)
		return err_set(ERR_MEMORY, "no memory for a hash");
	enum err e = ERR_OK;
	for (off_t at = 0; left != 0 && e == ERR_OK;) {
		size_t n = left < READ_BYTES ? (size_t)left : READ_BYTES;
		e = fd_pread_all(fd, room, n, at);
		if (e == ERR_OK)
			sha256_add(hash, room, n);
		at += (off_t)n;
		left -= n;
	}
	struct digest have = sha256_end(hash);
	sha256_free(hash);
	TRY(e);
	return digest_equal(&have, &f->sha256)
		       ? ERR_OK
		       : err_set(ERR_CORRUPT, "%s is not what the manifest says", f->path);
}

static enum err page_check(const struct depot *s, const struct digest *id,
	const struct page_ref *ref, uint32_t number, uint8_t *room)
{
	char path[DEPOT_PATH], rest[600];
	struct manifest_page page;
	SCOPED_BUF struct buf bytes;
	SCOPED_ARENA struct arena a;
	arena_init(&a, 2 * 1024 * 1024, 20000);
	buf_init(&bytes, LIMIT_PAGE);
	(void)snprintf(rest, sizeof rest, "pages/%03u", number);
	depot_package_path(s, id, rest, path);
	TRY(file_read(path, &bytes));
	struct digest have = sha256(bytes.data, bytes.size);
	if (!digest_equal(&have, &ref->sha256))
		return err_set(ERR_CORRUPT, "page %u of the package is damaged", number);
	TRY(manifest_page_decode(&a, buf_bytes(&bytes), &page));
	for (size_t i = 0; i < page.file_count; i++) {
		int n = snprintf(rest, sizeof rest, "files/%s", page.files[i].path);
		if (n < 0 || (size_t)n >= sizeof rest || !path_is_safe(page.files[i].path))
			return err_set(ERR_RANGE, "the path of a file is too long");
		depot_package_path(s, id, rest, path);
		if (!page.files[i].continued)
			TRY(file_check(path, &page.files[i], room));
	}
	return ERR_OK;
}

enum err update_package_check(const struct depot *s, const struct digest *id)
{
	struct manifest m;
	SCOPED_ARENA struct arena a;
	SCOPED_FREE uint8_t *room = malloc(READ_BYTES);
	arena_init(&a, 512 * 1024, 4096);
	if (room == NULL)
		return err_set(ERR_MEMORY, "no memory to read a package");
	TRY(depot_manifest(s, id, &a, &m));
	for (uint32_t i = 0; i < m.page_count; i++)
		TRY(page_check(s, id, &m.pages[i], i, room));
	return ERR_OK;
}
