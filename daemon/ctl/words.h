#ifndef DAEMON_CTL_WORDS_H
#define DAEMON_CTL_WORDS_H

/*
 * words: what a server says, made fit for a terminal.
 *
 * Threads   Pure functions: any thread.
 */

#include <stddef.h>

/* Control characters become '?'; at most size - 1 bytes, and a NUL. */
void words_printable(char *out, size_t size, const char *text, size_t len);

#endif
