#ifndef DAEMON_BASE_LOG_LINE_H
#define DAEMON_BASE_LOG_LINE_H

/*
 * log_line: what a line of the log looks like; private to the log.
 *
 * Shape    One line of text with its '\n', and no other control character than
 *          tabs, the terminal's colours and LOG_FIELD_END.
 *            LOG_PLAIN   LEVEL text what it is about
 *            LOG_COLOUR  the same for a terminal
 *            LOG_PREFIX  <N>text what it is about
 *            LOG_FIELDS  PRIORITY=N, MESSAGE=..., EARSHOT_CHANNEL=..., each but
 *                        the last ended by LOG_FIELD_END
 * Threads  Pure functions.
 */

#include "daemon/base/log.h"

#include <stdarg.h>
#include <stddef.h>

#define LOG_FIELD_END '\x1f'
#define LOG_FIELDS_MAX 7
#define LOG_VALUE_BYTES_MAX 160
#define LOG_ABOUT_BYTES_MAX (4 * (LOG_VALUE_BYTES_MAX + 10))
#define LOG_RECORD_BYTES_MAX                                                   \
	(LOG_LINE_BYTES_MAX + LOG_ABOUT_BYTES_MAX +                            \
	    LOG_FIELDS_MAX * (LOG_VALUE_BYTES_MAX + 20))
_Static_assert(LOG_FIELDS_MAX >= 7, "priority, text, id, four of about");

enum log_shape { LOG_UNKNOWN, LOG_PLAIN, LOG_COLOUR, LOG_PREFIX, LOG_FIELDS };

/* The length; about may be NULL. */
size_t log_line_put(char out[LOG_RECORD_BYTES_MAX], enum log_shape shape,
    enum log_level level, const struct log_about *about, const char *fmt,
    va_list ap) __attribute__((format(printf, 5, 0)));

size_t log_line_putf(char out[LOG_RECORD_BYTES_MAX], enum log_shape shape,
    enum log_level level, const struct log_about *about, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

#endif
