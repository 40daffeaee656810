/*
 * log_line: prefix, text, what the line is about, fields.
 *
 * What a line is about stands in its text in every shape, because that is
 * what people read; as fields it stands there once more, for machines.
 */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log_line.h"

static const char *const log_prefixes[][LOG_LEVEL_DEBUG + 1] = {
	[LOG_PLAIN] = { "ERROR ", "WARN ", "INFO ", "DEBUG " },
	[LOG_COLOUR] = { "\033[1;31mERROR\033[0m ", "\033[33mWARN\033[0m ",
	    "\033[32mINFO\033[0m ", "\033[2mDEBUG\033[0m " },
	[LOG_PREFIX] = { "<3>", "<4>", "<6>", "<7>" },
	[LOG_FIELDS] = { "PRIORITY=3\x1fMESSAGE=", "PRIORITY=4\x1fMESSAGE=",
	    "PRIORITY=6\x1fMESSAGE=", "PRIORITY=7\x1fMESSAGE=" },
};

/* What came from outside must not steer a terminal or forge a line. */
static size_t
log_clean(char *text, size_t len)
{
	size_t i;

	while (len > 0 && text[len - 1] == '\n')
		len--;
	for (i = 0; i < len; i++)
		if (((unsigned char)text[i] < 0x20 && text[i] != '\t') ||
		    text[i] == 0x7f)
			text[i] = '?';
	return len;
}

/* What snprintf() said against what there was room for. */
static size_t
log_cut(int n, size_t room)
{
	if (n <= 0)
		return 0;
	return (size_t)n < room ? (size_t)n : room - 1;
}

struct log_part {
	const char *word, *field, *value;
};

#define LOG_PARTS 4

static void
log_parts(const struct log_about *about, struct log_part parts[LOG_PARTS])
{
	parts[0] = (struct log_part){ "conn", "EARSHOT_CONN", about->conn };
	parts[1] = (struct log_part){ "feed", "EARSHOT_FEED", about->feed };
	parts[2] =
	    (struct log_part){ "channel", "EARSHOT_CHANNEL", about->channel };
	parts[3] = (struct log_part){ "peer", "EARSHOT_PEER", about->peer };
}

/* " conn=12.7 channel=ticks", as far as there is any of it. */
static size_t
log_put_about(char *out, size_t room, const struct log_about *about)
{
	struct log_part parts[LOG_PARTS];
	size_t len = 0, i;

	log_parts(about, parts);
	for (i = 0; i < LOG_PARTS; i++)
		if (parts[i].value != NULL)
			len += log_cut(snprintf(out + len, room - len,
					   " %s=%.*s", parts[i].word,
					   LOG_VALUE_BYTES_MAX, parts[i].value),
			    room - len);
	return len;
}

static size_t
log_put_field(char *out, const char *field, const char *value)
{
	const int n = snprintf(out, LOG_VALUE_BYTES_MAX + 20, "_%s=%.*s", field,
	    LOG_VALUE_BYTES_MAX, value);

	assert(n > 0 && n < LOG_VALUE_BYTES_MAX + 20);
	(void)log_clean(out, (size_t)n);
	out[0] = LOG_FIELD_END;
	return (size_t)n;
}

static size_t
log_put_fields(char *out, const struct log_about *about)
{
	struct log_part parts[LOG_PARTS];
	size_t len = 0, i;

	log_parts(about, parts);
	if (about->event != NULL)
		len += log_put_field(out, "MESSAGE_ID", about->event);
	for (i = 0; i < LOG_PARTS; i++)
		if (parts[i].value != NULL)
			len += log_put_field(
			    out + len, parts[i].field, parts[i].value);
	return len;
}

size_t
log_line_put(char out[LOG_RECORD_BYTES_MAX], enum log_shape shape,
    enum log_level level, const struct log_about *about, const char *fmt,
    va_list ap)
{
	const char *prefix = log_prefixes[shape][level];
	const size_t start = strlen(prefix);
	size_t len;

	assert(shape != LOG_UNKNOWN);
	memcpy(out, prefix, start);
	len = log_cut(vsnprintf(out + start, LOG_LINE_BYTES_MAX, fmt, ap),
	    LOG_LINE_BYTES_MAX);
	len = log_clean(out + start, len);
	if (about != NULL)
		len += log_put_about(out + start + len,
		    LOG_LINE_BYTES_MAX + LOG_ABOUT_BYTES_MAX - len, about);
	len = start + log_clean(out + start, len);
	if (about != NULL && shape == LOG_FIELDS)
		len += log_put_fields(out + len, about);
	assert(len < LOG_RECORD_BYTES_MAX);
	out[len] = '\n';
	return len + 1;
}

size_t
log_line_putf(char out[LOG_RECORD_BYTES_MAX], enum log_shape shape,
    enum log_level level, const struct log_about *about, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	n = log_line_put(out, shape, level, about, fmt, ap);
	va_end(ap);
	return n;
}
