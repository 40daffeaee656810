#ifndef TESTS_LIB_TOLD_H
#define TESTS_LIB_TOLD_H

/*
 * told: what a configuration says of its faults, gathered for comparison.
 */

#include "conf/conf.h"

#include <stddef.h>

struct told { /* a line for each fault; what does not fit is counted only */
	char text[16384];
	size_t len;
	int count;
};

void told_clear(struct told *told);

/* A conf_fault_fn; arg is a struct told. */
void told_add(const char *text, void *arg);

/*
 * A new configuration of one text, called "f", read and finished; the caller
 * frees it.  Fails the test when faults are counted otherwise than told.
 */
struct conf *told_read(const char *text, struct told *told);

/* The same, failing the test when there is any fault. */
struct conf *told_nothing(const char *text);

/* Fails the test unless the text has exactly these faults, a line each. */
void told_exactly(const char *text, const char *faults);

#endif
