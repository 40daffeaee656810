#ifndef TESTS_BENCH_SAMPLE_H
#define TESTS_BENCH_SAMPLE_H

/*
 * sample: what a bench measures with: clock, CPU and memory of a process,
 * percentiles.
 *
 * Errors  int and int64_t results: a value >= 0 or -errno.
 */

#include <stdint.h>
#include <sys/types.h>

/* CLOCK_MONOTONIC, microseconds. */
int64_t sample_now_us(void);

/* Of all threads of a process, in microseconds. */
struct sample_cpu {
	int64_t run_us; /* user and system */
	int64_t wait_us; /* able to run, but others had the core */
};

/*
 * The sums of the first two numbers of /proc/PID/task/TID/schedstat; 0 or
 * -errno.  What a server's sends cost on loopback, the receiving half of TCP
 * included, is in its run time.
 */
int sample_cpu(pid_t pid, struct sample_cpu *ret_cpu);

/* Resident memory of a process in bytes (smaps_rollup: exact, and slow). */
int64_t sample_rss_bytes(pid_t pid);

/* A histogram of microseconds whose buckets are 0.2 % wide or 1 us. */
#define SAMPLE_BUCKETS (512 * 32)
struct sample_histogram {
	uint64_t count;
	uint64_t max;
	uint64_t buckets[SAMPLE_BUCKETS];
};

void sample_add(struct sample_histogram *histogram, int64_t value_us);

/* The value that `share` (0 to 1) of what was added does not exceed. */
int64_t sample_percentile(
    const struct sample_histogram *histogram, double share);

#endif
