#ifndef CONF_VALUE_H
#define CONF_VALUE_H

/*
 * value: the text of a configuration cut into lines, and its values read.
 * parse.c and value.c.
 *
 * Memory   A struct text points into what is read; nothing is allocated.
 * Threads  Pure functions: any thread.
 * Errors   value_*: 0, or -EINVAL: none of those; -EDOM: a unit is missing;
 *          -ERANGE: too large to be told.
 */

#include "conf/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text { /* a piece of the text being read, not NUL-terminated */
	const char *at;
	size_t len;
};

/* parse.c: lines */

enum item_kind { ITEM_SECTION, ITEM_KEY, ITEM_FAULT };

struct item {
	enum item_kind kind;
	int line;
	struct text word; /* kind of section, or key */
	struct text rest; /* name of section, or value */
	const char *fault; /* of ITEM_FAULT: "what, what was expected" */
};

struct parse {
	struct text left;
	int line; /* the last one read; 0 at the start */
};

/* The next line that says something.  false: the text has ended. */
bool parse_next(struct parse *parse, struct item *ret_item);
struct text text_trim(struct text text); /* spaces and tabs, both ends */
bool text_equals(struct text text, const char *word);

/* value.c: values */

struct address {
	enum conf_address_kind kind;
	char host[64];
	uint16_t port;
	char path[108];
};

int value_count(struct text text, int64_t *ret_count);
int value_bytes(struct text text, int64_t *ret_bytes);
int value_time(struct text text, int64_t *ret_us);
int value_address(struct text text, struct address *ret_address);
bool value_origin_valid(struct text text);
bool value_path_valid(struct text text); /* absolute */

/* The next word at spaces and tabs.  false: there is none. */
bool value_next_word(struct text *text, struct text *ret_word);

/*
 * The next argument of a command line, quotes and escapes undone, into out
 * (text->len + 1 bytes of room, NUL added).  1: an argument; 0: the end;
 * -EINVAL: *ret_fault says what is wrong.
 */
int value_next_argument(struct text *text, char *out, const char **ret_fault);

/* As written in a file: with the largest unit that divides it. */
size_t value_put_bytes(char *out, size_t out_size, int64_t bytes);
size_t value_put_time(char *out, size_t out_size, int64_t us);

#endif
