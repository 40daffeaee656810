/*
 * Lines, as systemd reads them: `[section NAME]`, `key = value`, whole-line
 * comments with # or ;.  Nothing goes over the end of a line, so a bad line
 * costs itself only and the next one is read as if nothing had been.
 */

#include "conf/value.h"
#include "proto/utf8.h"

#include <assert.h>
#include <string.h>

struct text
text_trim(struct text text)
{
	while (text.len > 0 && (*text.at == ' ' || *text.at == '\t')) {
		text.at++;
		text.len--;
	}
	while (text.len > 0 &&
	       (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
		text.len--;
	return text;
}

bool
text_equals(struct text text, const char *word)
{
	return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

/* The next line without its end, be that \n, \r\n or the end of the text. */
static struct text
take_line(struct parse *parse)
{
	const char *end = memchr(parse->left.at, '\n', parse->left.len);
	struct text line = parse->left;

	assert(parse->left.len > 0);

	if (end)
		line.len = (size_t)(end - line.at);
	parse->left.at += line.len + (end ? 1 : 0);
	parse->left.len -= line.len + (end ? 1 : 0);
	parse->line++;
	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static struct item
fault_item(int line, const char *fault)
{
	return (
	    struct item){ .kind = ITEM_FAULT, .line = line, .fault = fault };
}

/* `text` is the line from its opening bracket on. */
static struct item
section_item(int line, struct text text)
{
	struct item item = { .kind = ITEM_SECTION, .line = line };
	struct text inside;
	size_t len = 0;

	if (text.at[text.len - 1] != ']')
		return fault_item(line,
		    "section without its bracket, expected [SECTION] or "
		    "[SECTION NAME] and nothing behind it");
	inside = text_trim((struct text){ text.at + 1, text.len - 2 });
	while (
	    len < inside.len && inside.at[len] != ' ' && inside.at[len] != '\t')
		len++;
	item.word = (struct text){ inside.at, len };
	item.rest =
	    text_trim((struct text){ inside.at + len, inside.len - len });
	return item;
}

static struct item
key_item(int line, struct text text)
{
	struct item item = { .kind = ITEM_KEY, .line = line };
	const char *equals = memchr(text.at, '=', text.len);
	size_t len;

	if (!equals)
		return fault_item(line,
		    "neither section nor key, expected [SECTION], key = value "
		    "or a comment");
	len = (size_t)(equals - text.at);
	item.word = text_trim((struct text){ text.at, len });
	item.rest = text_trim((struct text){ equals + 1, text.len - len - 1 });
	if (item.word.len == 0)
		return fault_item(
		    line, "nothing before the =, expected key = value");
	return item;
}

bool
parse_next(struct parse *parse, struct item *ret_item)
{
	while (parse->left.len > 0) {
		struct text text = text_trim(take_line(parse));

		if (text.len == 0)
			continue;
		if (memchr(text.at, '\0', text.len))
			*ret_item = fault_item(
			    parse->line, "a NUL byte, expected text");
		else if (!utf8_valid(text.at, text.len))
			*ret_item = fault_item(
			    parse->line, "not UTF-8, expected text in UTF-8");
		else if (*text.at == '#' || *text.at == ';')
			continue;
		else if (*text.at == '[')
			*ret_item = section_item(parse->line, text);
		else
			*ret_item = key_item(parse->line, text);
		return true;
	}
	return false;
}
