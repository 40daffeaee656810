/*
 * journal: is stderr the journal, and if so, how it gets fields.
 *
 * The happy path: systemd connected stderr to the journal and says which one
 * it is in JOURNAL_STREAM; so what we write natively stands where our stderr
 * would stand, in the right order.
 *
 * What can go wrong: somebody in between took stderr for himself (a wrapper,
 * a test): then he wants to read it and gets lines of text.
 */

#include "systemd/journal.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* As systemd advises, device and inode; and a pipe is no journal. */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;

	return stream != NULL &&
	       sscanf(stream, "%ju:%ju", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && S_ISSOCK(st.st_mode) &&
	       st.st_dev == device && st.st_ino == inode;
}

log_sink_fn
journal_sink(void)
{
	/* Where there is no journal, sd_journal_sendv() says nothing of it. */
	if (!stderr_is_journal() || access(JOURNAL_SOCKET, W_OK) < 0)
		return NULL;
	return sd_journal_sendv;
}
