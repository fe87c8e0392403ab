// Writing the status file.
#include "client/display/status.h"

#include "proto/base/file.h"
#include "proto/base/text.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

void status_fault_add(struct status *s, struct wall now, const char *what, const char *why)
{
	struct status_fault *f = &s->faults[s->fault_count++ % FAULTS_MAX];

	f->when = now;
	text_format(f->what, sizeof(f->what), "%s", what);
	text_format(f->why, sizeof(f->why), "%s", why);
}

static enum err percent_append(struct buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f || c == '%')
			TRY(buf_printf(b, "%%%02x", c));
		else
			TRY(buf_append(b, s, 1));
	}
	return ERR_OK;
}

static enum err faults_append(const struct status *s, struct buf *b)
{
	size_t first = s->fault_count > FAULTS_MAX ? s->fault_count - FAULTS_MAX : 0;

	for (size_t i = first; i < s->fault_count; i++) {
		const struct status_fault *f = &s->faults[i % FAULTS_MAX];

		TRY(buf_printf(b, "fault\t%" PRId64 "\t", f->when.ms));
		TRY(percent_append(b, f->what));
		TRY(buf_append(b, "\t", 1));
		TRY(percent_append(b, f->why));
		TRY(buf_append(b, "\n", 1));
	}
	return ERR_OK;
}

static enum err text_make(const struct status *s, struct wall now, struct buf *b)
{
	char hex[65];

	hex_encode(s->package.b, 32, hex);
	TRY(buf_printf(b, "state\t%s\n", show_state_word(s->state)));
	if (s->state != SHOW_WAITING)
		TRY(buf_printf(b, "package\t%s\nimage\t%s\n", hex, s->image));
	TRY(buf_printf(b, "screen\t%u\t%u\npid\t%d\nunix_ms\t%" PRId64 "\n", s->screen_w,
		s->screen_h, (int)getpid(), now.ms));
	return faults_append(s, b);
}

enum err status_write(const struct status *s, struct wall now)
{
	SCOPED_BUF struct buf b;
	char temporary[610];

	buf_init(&b, 64 * 1024);
	TRY(text_make(s, now, &b));
	snprintf(temporary, sizeof(temporary), "%s.tmp", s->path);
	SCOPED_FD int fd =
		open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_set_errno("cannot create %s", temporary);
	TRY(fd_write_all(fd, b.data, b.size));
	if (rename(temporary, s->path) < 0)
		return err_set_errno("cannot rename %s", temporary);
	return ERR_OK;
}
