// See medium_note.h. One line: SHA-256, bytes, inode, when that was made.
#include "medium_note.h"

#include "proto/base/file.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

enum err medium_note_mark(struct medium_note *n, const char *medium)
{
	struct statx s;

	if (statx(AT_FDCWD, medium, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &s) != 0)
		return err_set_errno("%s", medium);
	n->inode = s.stx_ino;
	n->born_ns = s.stx_mask & STATX_BTIME
			     ? (int64_t)s.stx_btime.tv_sec * 1000000000 + s.stx_btime.tv_nsec
			     : 0;
	return ERR_OK;
}

enum err medium_note_write(const struct medium_note *n, const char *path)
{
	char line[200];
	int size = snprintf(line, sizeof(line), "%s %" PRIu64 " %" PRIu64 " %" PRId64 "\n",
		digest_hex(&n->sha256), n->size, n->inode, n->born_ns);

	return file_write_atomic(path, line, (size_t)size, 0644);
}

enum err medium_note_read(struct medium_note *n, const char *path)
{
	char hex[65] = "";
	SCOPED_BUF struct buf text;

	*n = (struct medium_note){0};
	buf_init(&text, 256);
	TRY(file_read(path, &text));
	TRY(buf_append(&text, "", 1));
	int fields = sscanf((const char *)text.data, "%64s %" SCNu64 " %" SCNu64 " %" SCNd64, hex,
		&n->size, &n->inode, &n->born_ns);
	if (fields != 2 && fields != 4)
		return err_set(ERR_FORMAT, "%s is no note of a medium", path);
	return hex_decode(hex, n->sha256.b, sizeof(n->sha256.b));
}

bool medium_note_is_of(const struct medium_note *n, const char *medium)
{
	struct medium_note now = {0};

	return medium_note_mark(&now, medium) == ERR_OK &&
	       (n->inode == 0 || (n->inode == now.inode && n->born_ns == now.born_ns));
}
