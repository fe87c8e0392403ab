// In place of the disk, for a crowd that verifies and keeps nothing: what a raw subscriber that
// only hashes does too. Everything else of the agent is as it is, also its files and their sizes.
#include <sys/types.h>
#include <unistd.h>

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	(void)fd;
	(void)data;
	(void)at;
	return (ssize_t)size;
}
