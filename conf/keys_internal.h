#ifndef CONF_KEYS_INTERNAL_H
#define CONF_KEYS_INTERNAL_H

/* keys_internal: rows of keys and setters, for keys*.c, auth.c,
 * handlers.c. */

#include "conf/conf_internal.h"

struct key {
	enum section_kind section;
	const char *name;
	int (*set)(struct reader *reader, const struct key *key, void *field,
	    struct text value);
	size_t offset; /* of the field in what section_object() gives */
	int64_t min, max;
	unsigned flags;
};

enum key_flags { MANDATORY = 1, LIST = 2, PREFIX = 4 };

struct choice {
	const char *word;
	int value;
};

/* The value of the word, or -1 when it is none of the choices. */
int choose(struct text word, const struct choice *choices, size_t count);
void fault_expected(struct reader *reader, const struct key *key,
    struct text value, const char *expected);

#define SETTER(name)                                                           \
	int name(struct reader *reader, const struct key *key, void *field,    \
	    struct text value)
SETTER(set_COUNT);
SETTER(set_BYTES);
SETTER(set_TIME);
SETTER(set_yes_no);
SETTER(set_path);
SETTER(set_channel);
SETTER(set_exec);

/* Puts a copy of value in *field, in place of what was there. */
int replace_string(char **field, struct text value);

/* The fields of a feed, but for its name: freed; compared. */
void keys_fini(enum section_kind section, void *object);
bool keys_equal(enum section_kind section, const void *a, const void *b);

extern const struct key feed_keys[];
extern const size_t feed_key_count;
extern const struct key handler_keys[];
extern const size_t handler_key_count;
extern const struct key auth_keys[];
extern const size_t auth_key_count;

#define CONF_MINUTE (60 * LIMITS_S)
#define CONF_HOUR (60 * CONF_MINUTE)
#define CONF_DAY (24 * CONF_HOUR)
#define CONF_GIB (1024 * LIMITS_MIB)

#endif
