/*
 * Sections as they are opened, and how faults are told.
 *
 * A section is known by kind and name.  In one file it may stand once; a later
 * file may open it again to change single keys (drop-ins).  The keys of a
 * section that was refused are passed over: one fault, not one for each.
 */

#include "conf/conf_internal.h"
#include "daemon/base/memory.h"
#include "proto/channel.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * Values and file names come from outside: nothing in them may move a
 * terminal's cursor or begin a line.  The controls beyond ASCII are two bytes.
 */
static void
make_printable(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = '?';
	}
}

void
reader_fault(struct reader *reader, const char *format, ...)
{
	char text[PATH_MAX + CONF_FAULT_TEXT_MAX];
	int len;
	va_list args;

	assert(reader->file);

	reader->fault_count++;
	if (!reader->fault)
		return;
	len = snprintf(text, PATH_MAX, "%s", reader->file);
	if (len >= PATH_MAX)
		len = PATH_MAX - 1;
	if (reader->line > 0)
		len += snprintf(
		    text + len, sizeof(text) - len, ":%d", reader->line);
	len += snprintf(text + len, sizeof(text) - len, ": ");
	va_start(args, format);
	(void)vsnprintf(text + len, sizeof(text) - len, format, args);
	va_end(args); /* what does not fit is cut, QUOTE_MAX keeps it rare */
	make_printable(text);
	reader->fault(text, reader->arg);
}

struct quote
quote(struct text text)
{
	struct quote quote = { "" };
	size_t len = text.len;

	if (len > QUOTE_MAX) {
		len = QUOTE_MAX;
		while (len > 0 && (text.at[len] & 0xc0) == 0x80)
			len--; /* not in the middle of a character */
	}
	if (len > 0)
		memcpy(quote.text, text.at, len);
	if (len < text.len)
		memcpy(quote.text + len, "...", 4);
	return quote;
}

static struct quote
quote_word_and_name(const char *word, const char *name, size_t name_len)
{
	struct quote quote;

	(void)snprintf(quote.text, sizeof(quote.text), "[%s%s%.*s]", word,
	    name_len > 0 ? " " : "", (int)name_len, name);
	return quote;
}

struct quote
quote_section(const struct section *section)
{
	return quote_word_and_name(section_types[section->kind].word,
	    section->name, strlen(section->name));
}

void *
section_object(struct conf_private *conf, const struct section *section)
{
	switch (section->kind) {
	case SECTION_LISTENER:
		assert(section->index < conf->public.listener_count);
		return &conf->public.listeners[section->index];
	case SECTION_CHANNEL:
		assert(section->index < conf->public.channel_count);
		return &conf->public.channels[section->index];
	case SECTION_HANDLER:
		assert(section->index < conf->public.handler_count);
		return &conf->public.handlers[section->index];
	default:
		if (section_is_feed(section->kind))
			return feed_at(
			    &conf->public, section->kind, section->index);
		return &conf->public;
	}
}

static struct section *
find_section(
    struct conf_private *conf, enum section_kind kind, struct text name)
{
	for (size_t i = 0; i < conf->section_count; i++)
		if (conf->sections[i].kind == kind &&
		    text_equals(name, conf->sections[i].name))
			return &conf->sections[i];
	return NULL;
}

/* The object of a section, if its kind has one each.  0 or -ENOMEM. */
static int
add_object(struct reader *reader, struct section *section)
{
	struct conf *conf = &reader->conf->public;

	switch (section->kind) {
	case SECTION_LISTENER:
		section->index = conf->listener_count;
		return listener_add(conf, section->name, section->line);
	case SECTION_CHANNEL:
		section->index = conf->channel_count;
		return conf_add_channel(conf, section->name);
	case SECTION_HANDLER:
		section->index = conf->handler_count;
		return handler_add(conf, section);
	default:
		if (!section_is_feed(section->kind))
			return 0;
		section->index = feed_count(conf, section->kind);
		return feed_add(
			   conf, section->kind, section->name, section->line)
			   ? 0
			   : -ENOMEM;
	}
}

static int
add_section(struct reader *reader, enum section_kind kind, struct text name)
{
	struct conf_private *conf = reader->conf;
	struct section *section;

	section = memory_realloc(
	    conf->sections, (conf->section_count + 1) * sizeof(*section));
	if (!section)
		return -ENOMEM;
	conf->sections = section;
	section += conf->section_count;
	*section = (struct section){
		.kind = kind,
		.name = string_new(name),
		.file = string_new(
		    (struct text){ reader->file, strlen(reader->file) }),
		.line = reader->line,
		.opened = { conf->texts.count, reader->line },
	};
	if (!section->name || !section->file ||
	    add_object(reader, section) < 0) {
		memory_free(section->name);
		memory_free(section->file);
		return -ENOMEM;
	}
	conf->section_count++;
	reader->section = section;
	return 0;
}

/* Opened before: in this text, which is a fault, or in an earlier one. */
static void
reopen_section(struct reader *reader, struct section *section)
{
	if (section->opened.text == reader->conf->texts.count)
		reader_fault(reader,
		    "section %s a second time, expected once (it is in line "
		    "%d)",
		    quote_section(section).text, section->opened.line);
	section->opened =
	    (struct given){ reader->conf->texts.count, reader->line };
	reader->section = section;
}

static bool
name_fits(
    struct reader *reader, const struct section_type *type, struct text name)
{
	switch (type->name) {
	case NAME_NONE:
		if (name.len == 0)
			return true;
		reader_fault(reader, "section [%s %s], expected [%s]",
		    type->word, quote(name).text, type->word);
		return false;
	case NAME_OPTIONAL:
		if (name.len == 0 || channel_name_valid(name.at, name.len))
			return true;
		break;
	case NAME_PATTERN:
		if (channel_pattern_valid(name.at, name.len))
			return true;
		break;
	}
	reader_fault(reader,
	    "section [%s %s], expected [%s %s] with 1 to 128 of A-Z a-z 0-9 _ "
	    "- . :%s",
	    type->word, quote(name).text, type->word,
	    type->name == NAME_PATTERN ? "PATTERN" : "NAME",
	    type->name == NAME_PATTERN ? " and * or **" : "");
	return false;
}

static void
fault_unknown(struct reader *reader, struct text word)
{
	char known[CONF_FAULT_TEXT_MAX / 2] = "";
	size_t len = 0;

	for (size_t i = 0; i < SECTION_KINDS; i++)
		len += (size_t)snprintf(known + len, sizeof(known) - len,
		    "%s[%s]", i > 0 ? ", " : "", section_types[i].word);
	assert(len < sizeof(known));
	reader_fault(reader, "unknown section [%s], expected one of %s",
	    quote(word).text, known);
}

int
section_open(struct reader *reader, const struct item *item)
{
	enum section_kind kind = SECTION_LISTENER;
	struct section *section;

	assert(item->kind == ITEM_SECTION);

	reader->section = NULL;
	reader->before_sections = false;
	while (kind < SECTION_KINDS &&
	       !text_equals(item->word, section_types[kind].word))
		kind++;
	if (kind == SECTION_KINDS) {
		fault_unknown(reader, item->word);
		return 0;
	}
	if (!name_fits(reader, &section_types[kind], item->rest))
		return 0;
	section = find_section(reader->conf, kind, item->rest);
	if (section) {
		reopen_section(reader, section);
		return 0;
	}
	if (reader->conf->section_count == CONF_SECTIONS_MAX) {
		reader_fault(reader,
		    "one section too many, expected at most %d",
		    CONF_SECTIONS_MAX);
		return 0;
	}
	return add_section(reader, kind, item->rest);
}
