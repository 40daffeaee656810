/* What the loaders of bench-consumers share. */

#include "tests/bench/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 20000
#define DESCRIPTORS_SPARE 64

int
run_fault(const char *fmt, ...)
{
	static bool told;
	va_list args;

	if (!told) {
		va_start(args, fmt);
		(void)vfprintf(stderr, fmt, args);
		(void)fputc('\n', stderr);
		va_end(args);
	}
	told = true;
	return -EBADMSG;
}

int
run_number(const char *text, int64_t min, int64_t max, int64_t *ret_value)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < min ||
	    value > max) {
		(void)fprintf(stderr,
		    "\"%s\": a number from %" PRId64 " to %" PRId64
		    " was expected\n",
		    text, min, max);
		return -EINVAL;
	}
	*ret_value = value;
	return 0;
}

int
run_raise_descriptors(size_t wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_max > DESCRIPTORS_MAX)
		limit.rlim_max = DESCRIPTORS_MAX;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	return wanted + DESCRIPTORS_SPARE > limit.rlim_cur ? -EMFILE : 0;
}

void
run_put(const char *name, int64_t value)
{
	(void)printf("%s\t%" PRId64 "\n", name, value);
}

int
run_take_sample(pid_t server, struct run_sample *ret_sample)
{
	int r = sample_cpu(server, &ret_sample->server);

	if (r == 0)
		r = sample_cpu(getpid(), &ret_sample->loader);
	ret_sample->at_us = sample_now_us();
	return r < 0 ? run_fault("schedstat: %s", strerror(-r)) : 0;
}

void
run_put_difference(const struct run_sample *from, const struct run_sample *to)
{
	run_put("wall_us", to->at_us - from->at_us);
	run_put("cpu_us", to->server.run_us - from->server.run_us);
	run_put("server_wait_us", to->server.wait_us - from->server.wait_us);
	run_put("loader_wait_us", to->loader.wait_us - from->loader.wait_us);
	run_put("loader_cpu_us", to->loader.run_us - from->loader.run_us);
}
