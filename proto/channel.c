/*
 * Names of channels and patterns.
 *
 * Matching keeps, for each prefix of the name, whether the pattern read so far
 * can stand for it, and updates that row once per pattern element.  Greedy
 * matching with one step back, as usual for globs, would not do: with two
 * kinds of star it needs a place to go back to for each.
 */

#include "proto/channel.h"

#include <string.h>

static bool
letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

static bool
name_character(char c)
{
	return letter_or_digit(c) || c == '_' || c == '-' || c == '.' ||
	       c == ':';
}

bool
channel_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > CHANNEL_NAME_MAX || !letter_or_digit(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!name_character(name[i]))
			return false;
	return true;
}

bool
channel_pattern_valid(const char *pattern, size_t len)
{
	size_t stars = 0;

	if (len == 0 || len > CHANNEL_NAME_MAX)
		return false;
	if (pattern[0] != '*' && !letter_or_digit(pattern[0]))
		return false;
	for (size_t i = 0; i < len; i++) {
		stars = pattern[i] == '*' ? stars + 1 : 0;
		/* Three say nothing that two do not: a slip of the pen. */
		if (stars > 2 || (stars == 0 && !name_character(pattern[i])))
			return false;
	}
	return true;
}

/* One literal: what matched a prefix now matches that prefix and c. */
static void
row_literal(bool *row, const char *name, size_t len, char c)
{
	for (size_t i = len; i > 0; i--)
		row[i] = row[i - 1] && name[i - 1] == c;
	row[0] = false;
}

static void
row_star(bool *row, const char *name, size_t len, bool dots_too)
{
	for (size_t i = 1; i <= len; i++)
		if (row[i - 1] && (dots_too || name[i - 1] != '.'))
			row[i] = true;
}

bool
channel_pattern_match(
    const char *pattern, size_t pattern_len, const char *name, size_t name_len)
{
	bool row[CHANNEL_NAME_MAX + 1] = { true };

	if (name_len > CHANNEL_NAME_MAX)
		return false;
	for (size_t i = 0; i < pattern_len; i++) {
		if (pattern[i] != '*') {
			row_literal(row, name, name_len, pattern[i]);
		} else if (i + 1 < pattern_len && pattern[i + 1] == '*') {
			row_star(row, name, name_len, true);
			i++;
		} else {
			row_star(row, name, name_len, false);
		}
	}
	return row[name_len];
}
