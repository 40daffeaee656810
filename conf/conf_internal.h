#ifndef CONF_CONF_INTERNAL_H
#define CONF_CONF_INTERNAL_H

/*
 * conf, inside: what conf.c, section.c, keys.c and files.c share.
 *
 * Life     A text is cut into items by parse_next(), an item goes to the
 *          section it opens or to the key it sets, a key's value is read by
 *          value_*().  Sections are remembered for the faults that only the
 *          whole can tell.
 * Memory   Everything hangs on struct conf_private and dies in conf_free().
 * Threads  Pure, but for files.c.
 */

#include "conf/conf.h"
#include "conf/value.h"

#include <stdatomic.h>

#define CONF_DROPINS_MAX 256 /* files in earshot.conf.d */
#define CONF_KEYS_MAX 160 /* rows of all tables of keys */
#define CONF_FAULT_TEXT_MAX 2048 /* bytes of one fault, its file apart */

/* section.c: sections and faults */

enum section_kind {
	SECTION_LISTENER,
	SECTION_TLS,
	SECTION_LIMITS,
	SECTION_DRAIN,
	SECTION_AUTH,
	SECTION_CHANNEL,
	SECTION_COMMAND,
	SECTION_FILE,
	SECTION_SOCKET,
	SECTION_UPSTREAM,
	SECTION_STATE,
	SECTION_HANDLER,
	SECTION_LOG,
	SECTION_CONTROL,
	SECTION_KINDS,
};

struct given { /* where a key was given last */
	size_t text; /* the n-th read, from 1 */
	int line; /* 0: nowhere */
};

struct section {
	enum section_kind kind;
	char *name;
	char *file; /* where it began */
	int line;
	struct given opened; /* where it was opened last */
	size_t index; /* in listeners, channels, commands, ... */
	struct given keys[CONF_KEYS_MAX];
};

struct conf_private {
	struct conf public; /* first: a struct conf * is one of these */
	atomic_int references;
	struct section *sections;
	size_t section_count;
	struct conf_list texts; /* their names, in the order they were read */
};

struct reader { /* one reading of one text, or one conf_finish() */
	struct conf_private *conf;
	const char *file;
	int line;
	int fault_count;
	conf_fault_fn fault;
	void *arg;
	struct section *section; /* NULL: none, or one that was refused */
	struct text word; /* the key as it is written */
	bool before_sections;
};

/* `file:line: ` and the rest; line 0: `file: `. */
__attribute__((format(printf, 2, 3))) void reader_fault(
    struct reader *reader, const char *format, ...);

/* What a fault cites: cut where it is long. */
#define QUOTE_MAX 160
struct quote {
	char text[QUOTE_MAX + 4];
};
struct quote quote(struct text text);
struct quote quote_section(const struct section *section); /* [word name] */

/* 0 or -ENOMEM; a fault is told and is no error. */
int section_open(struct reader *reader, const struct item *item);
void *section_object(struct conf_private *conf, const struct section *section);

/* conf.c: strings, and objects at the end of their arrays; 0 or -ENOMEM */

int list_add(struct conf_list *list, const char *text, size_t len);
void list_clear(struct conf_list *list);
char *string_new(struct text text); /* NULL: no memory */
int listener_add(struct conf *conf, const char *name, int line);
int conf_add_channel(struct conf *conf, const char *pattern);

/* feeds.c: feeds of all kinds */

bool section_is_feed(enum section_kind kind);
/* NULL: no memory. */
struct conf_feed *feed_add(
    struct conf *conf, enum section_kind kind, const char *name, int line);
size_t feed_count(const struct conf *conf, enum section_kind kind);
struct conf_feed *feed_at(
    const struct conf *conf, enum section_kind kind, size_t n);
void feeds_fini(struct conf *conf);
void feed_check(struct reader *reader, const struct section *section);

/* auth.c */

void auth_fini(struct conf_auth *auth);

/* handlers.c */

int handler_add(struct conf *conf, const struct section *section);
void handlers_fini(struct conf *conf);
void handler_check(struct reader *reader, const struct section *section);

/* keys.c: the table of sections and keys */

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum name_rule { NAME_NONE, NAME_OPTIONAL, NAME_PATTERN };

struct section_type {
	const char *word;
	enum name_rule name;
};

extern const struct section_type section_types[SECTION_KINDS];

/* Sets one key of reader->section.  0 or -ENOMEM; faults are told. */
int key_set(struct reader *reader, const struct item *item);

/* Tells of each key that section must have and has not. */
void keys_tell_missing(struct reader *reader, const struct section *section);

/* The kind's value as --limits prints it; kind: COUNT, BYTES, TIME. */
enum number_kind { COUNT, BYTES, TIME };
size_t number_put(
    char *out, size_t out_size, enum number_kind kind, int64_t value);

#endif
