// Which format a file is, and whether its size is bearable.
#include "client/display/picture.h"

#include "client/display/display_limits.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum err picture_size_check(uint64_t w, uint64_t h)
{
	if (w == 0 || h == 0)
		return err_set(ERR_FORMAT, "the picture has no pixels");
	if (w > PICTURE_SIDE_MAX || h > PICTURE_SIDE_MAX || w * h > PICTURE_PIXELS_MAX)
		return err_set(ERR_RANGE,
			"the picture has %llu x %llu pixels; at most %d a side and %d million in "
			"all",
			(unsigned long long)w, (unsigned long long)h, PICTURE_SIDE_MAX,
			PICTURE_PIXELS_MAX / 1000000);
	return ERR_OK;
}

void frame_fill(struct frame frame, uint32_t rgb)
{
	size_t count = (size_t)frame.w * frame.h;

	for (size_t i = 0; i < count; i++)
		frame.px[i] = rgb;
}

static enum err file_check(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set_errno("cannot look at the picture");
	if (!S_ISREG(st.st_mode))
		return err_set(ERR_FORMAT, "the picture is not a file");
	if (st.st_size > PICTURE_FILE_MAX)
		return err_set(ERR_RANGE, "the picture's file has %lld bytes; at most %d",
			(long long)st.st_size, PICTURE_FILE_MAX);
	return ERR_OK;
}

enum err picture_decode(
	int fd, const struct picture_wish *wish, struct frame frame, struct picture_facts *facts)
{
	static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
	uint8_t head[8] = {0};

	*facts = (struct picture_facts){0};
	TRY(file_check(fd));
	ssize_t n = pread(fd, head, sizeof(head), 0);
	if (n < 0)
		return err_set_errno("cannot read the picture");
	if (n >= 3 && head[0] == 0xff && head[1] == 0xd8 && head[2] == 0xff)
		return picture_decode_jpeg(fd, wish, frame, facts);
	if (n == 8 && memcmp(head, png, 8) == 0)
		return picture_decode_png(fd, wish, frame, facts);
	return err_set(ERR_FORMAT,
		n == 0 ? "the picture's file is empty" : "the file is neither JPEG nor PNG");
}

FILE *picture_file_open(int fd, const char *mode)
{
	int copy = dup(fd);

	if (copy < 0)
		return NULL;
	FILE *f = fdopen(copy, mode);
	if (!f) {
		close(copy);
		return NULL;
	}
	rewind(f);
	return f;
}
