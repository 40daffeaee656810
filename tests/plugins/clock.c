/*
 * clock: no plugin; loaded by LD_PRELOAD it puts the wall clock as many seconds
 * ahead as the file says that CLOCK_AHEAD names.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	static int (*real)(clockid_t, struct timespec *);
	const char *path = getenv("CLOCK_AHEAD");
	char text[32];
	ssize_t n;
	int fd, result;

	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(
		    RTLD_NEXT, "clock_gettime");
	result = real(clock, time);
	if (result < 0 || clock != CLOCK_REALTIME || !path)
		return result;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return result;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	time->tv_sec += atol(text);
	return result;
}
