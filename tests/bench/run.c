/* What the loaders of bench-consumers share. */

#include "tests/bench/run.h"

#include "proto/decimal.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 20000
#define DESCRIPTORS_SPARE 64
#define OPTIONS_MAX 32

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

/* Digits only, within min and max; else a sentence and -EINVAL. */
static int
get_number(const char *text, int64_t min, int64_t max, int64_t *ret_value)
{
	int64_t value = 0;

	if (decimal_get(text, strlen(text), &value) < 0 || value < min ||
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

static int
set(const struct run_option *option, const char *text)
{
	const int64_t max = option->max > 0            ? option->max
			    : option->type == RUN_PORT ? UINT16_MAX
						       : INT32_MAX;
	int64_t value = 0;

	if (option->type == RUN_TEXT) {
		*(const char **)option->field = text;
		return 0;
	}
	if (get_number(text, option->min, max, &value) < 0)
		return -EINVAL;
	switch (option->type) {
	case RUN_PORT:
		*(uint16_t *)option->field = (uint16_t)value;
		break;
	case RUN_PID:
		*(pid_t *)option->field = (pid_t)value;
		break;
	case RUN_SIZE:
		*(size_t *)option->field = (size_t)value;
		break;
	case RUN_MS:
		value *= 1000;
		/* fall through */
	default:
		*(int64_t *)option->field = value;
		break;
	}
	return 0;
}

int
run_options(
    const struct run_option *options, size_t count, int argc, char **argv)
{
	char letters[2 * OPTIONS_MAX + 1] = "";
	int letter, r = 0;

	assert(count <= OPTIONS_MAX);
	for (size_t i = 0; i < count; i++) {
		letters[2 * i] = options[i].letter;
		letters[2 * i + 1] = ':';
	}
	while (r == 0 && (letter = getopt(argc, argv, letters)) != -1) {
		size_t i = 0;

		while (i < count && options[i].letter != letter)
			i++;
		r = i < count ? set(&options[i], optarg) : -EINVAL;
	}
	return r < 0 || optind != argc ? -EINVAL : 0;
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
