#ifndef SYSTEMD_JOURNAL_H
#define SYSTEMD_JOURNAL_H

/*
 * journal: the log's lines with their fields, to systemd's journal.
 *
 * Threads  The sink may wait for the journal: the log's writer calls it.
 */

#include "daemon/base/log.h"

/* For log_set_sink(); NULL where stderr is not the journal's. */
log_sink_fn journal_sink(void) ANY_THREAD;

#endif
