// helioctl.
#include "server/ctl/ctl.h"
#include <sys/prctl.h>

int main(int argc, char **argv)
{
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); // no core with keys in it
	return (int)ctl_main(argc, argv);
}
