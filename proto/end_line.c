#include "proto/end_line.h"

#include <string.h>

void end_line_make(const struct digest *sum, char line[END_LINE_SIZE + 1])
{
	memcpy(line, "end\t", 4);
	hex_encode(sum->b, sizeof(sum->b), line + 4);
	line[END_LINE_SIZE - 1] = '\n';
	line[END_LINE_SIZE] = '\0';
}

enum err end_line_take(struct bytes *text, const char *what, struct digest *sum)
{
	char want[END_LINE_SIZE + 1];

	if (text->size < END_LINE_SIZE)
		return err_set(ERR_CORRUPT, "%s has no end line", what);
	size_t size = text->size - END_LINE_SIZE;
	const uint8_t *line = text->data + size;
	if ((size > 0 && line[-1] != '\n') || memcmp(line, "end\t", 4) != 0 ||
		line[END_LINE_SIZE - 1] != '\n')
		return err_set(ERR_CORRUPT, "%s has no end line", what);
	struct digest real = sha256(text->data, size);
	end_line_make(&real, want);
	if (memcmp(line, want, END_LINE_SIZE) != 0)
		return err_set(ERR_CORRUPT, "%s does not match its end line", what);
	if (sum)
		*sum = real;
	text->size = size;
	return ERR_OK;
}
