/* Clock, CPU, memory and percentiles for the benches. */

#include "tests/bench/sample.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BUCKET_BITS 9 /* 512 buckets for each doubling */

int64_t
sample_now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* A thread that ended since the folder was read counts as 0. */
static void
add_thread_ns(pid_t pid, const char *tid, struct sample_cpu *sum)
{
	int64_t run_ns = 0, wait_ns = 0;
	char path[96];
	FILE *file;

	(void)snprintf(
	    path, sizeof(path), "/proc/%d/task/%.32s/schedstat", (int)pid, tid);
	file = fopen(path, "re");
	if (!file)
		return;
	if (fscanf(file, "%" SCNd64 " %" SCNd64, &run_ns, &wait_ns) == 2) {
		sum->run_us += run_ns;
		sum->wait_us += wait_ns;
	}
	(void)fclose(file); /* was only read */
}

int
sample_cpu(pid_t pid, struct sample_cpu *ret_cpu)
{
	struct sample_cpu sum = { 0 }; /* nanoseconds until the end */
	struct dirent *entry;
	char path[64];
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]))
			add_thread_ns(pid, entry->d_name, &sum);
	(void)closedir(dir); /* was only read */
	ret_cpu->run_us = sum.run_us / 1000;
	ret_cpu->wait_us = sum.wait_us / 1000;
	return 0;
}

int64_t
sample_rss_bytes(pid_t pid)
{
	char path[64], line[256];
	int64_t kib = -1;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (kib < 0 && fgets(line, sizeof(line), file))
		if (strncmp(line, "Rss:", 4) == 0 &&
		    sscanf(line + 4, "%" SCNd64, &kib) != 1)
			break;
	(void)fclose(file); /* was only read */
	return kib < 0 ? -EIO : kib * 1024;
}

/*
 * Values below 1024 have a bucket each; above, a value is shifted right until
 * it has BUCKET_BITS + 1 bits, and each shift has 512 buckets of its own.
 */
static unsigned
bucket_of(uint64_t value)
{
	unsigned shift = 0;
	unsigned bucket;

	while (value >> shift >= 2u << BUCKET_BITS)
		shift++;
	bucket = (shift << BUCKET_BITS) + (unsigned)(value >> shift);
	return bucket < SAMPLE_BUCKETS ? bucket : SAMPLE_BUCKETS - 1;
}

static uint64_t
bucket_top(unsigned bucket)
{
	unsigned shift = 0;
	uint64_t low;

	if (bucket >= 2u << BUCKET_BITS)
		shift = (bucket >> BUCKET_BITS) - 1;
	low = (uint64_t)(bucket - (shift << BUCKET_BITS)) << shift;
	return low + ((UINT64_C(1) << shift) - 1);
}

void
sample_add(struct sample_histogram *histogram, int64_t value_us)
{
	uint64_t value = value_us > 0 ? (uint64_t)value_us : 0;

	histogram->count++;
	histogram->buckets[bucket_of(value)]++;
	if (value > histogram->max)
		histogram->max = value;
}

int64_t
sample_percentile(const struct sample_histogram *histogram, double share)
{
	uint64_t wanted, seen = 0;

	assert(share >= 0 && share <= 1);
	wanted = (uint64_t)(share * (double)histogram->count);
	for (unsigned i = 0; i < SAMPLE_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen > 0 && seen >= wanted) {
			uint64_t top = bucket_top(i);

			return (int64_t)(top < histogram->max ? top
							      : histogram->max);
		}
	}
	return 0;
}
