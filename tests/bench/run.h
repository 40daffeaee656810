#ifndef TESTS_BENCH_RUN_H
#define TESTS_BENCH_RUN_H

/*
 * run: what the loaders of bench-consumers share: numbers of the command line,
 * faults, what a stretch of time cost, lines of the report.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/bench/sample.h"

/* Says what went wrong, once, on stderr; always -EBADMSG. */
int run_fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One option of the command line, each with an argument. */
struct run_option {
	char letter;
	enum { RUN_TEXT, RUN_PORT, RUN_PID, RUN_SIZE, RUN_COUNT, RUN_MS } type;
	void *field; /* const char *, uint16_t, pid_t, size_t, int64_t, us */
	int64_t min, max; /* of a number; max 0: any */
};

/* 0, or -EINVAL: an argument is left over, or it is told what is wrong. */
int run_options(
    const struct run_option *options, size_t count, int argc, char **argv);

/* All the descriptors one may have; -EMFILE when those are fewer. */
int run_raise_descriptors(size_t wanted);

/* A line "name<TAB>value" on stdout. */
void run_put(const char *name, int64_t value);

struct run_sample {
	int64_t at_us;
	struct sample_cpu server, loader;
};

/* 0 or run_fault()'s. */
int run_take_sample(pid_t server, struct run_sample *ret_sample);

/* wall_us, cpu_us, server_wait_us, loader_wait_us between the two. */
void run_put_difference(
    const struct run_sample *from, const struct run_sample *to);

#endif
