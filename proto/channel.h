#ifndef PROTO_CHANNEL_H
#define PROTO_CHANNEL_H

/*
 * channel: names of channels and the one pattern language.
 *
 * Shape    A name is 1 to 128 of A-Z a-z 0-9 _ - . : and begins with a letter
 *          or digit.  In a pattern `*` stands for any characters but `.`, `**`
 *          for any characters; both may stand for none.
 * Threads  Pure functions: any thread.  Matching takes no recursion and at
 *          most len(pattern) * len(name) steps.
 */

#include <stdbool.h>
#include <stddef.h>

#define CHANNEL_NAME_MAX 128

bool channel_name_valid(const char *name, size_t len);
bool channel_pattern_valid(const char *pattern, size_t len);
bool channel_pattern_match(
    const char *pattern, size_t pattern_len, const char *name, size_t name_len);

#endif
