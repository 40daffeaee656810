#ifndef DAEMON_CTL_CONTROL_H
#define DAEMON_CTL_CONTROL_H

/*
 * control: the commands that look after a daemon, over its control socket.
 *
 * Shape    One request, one answer, one connection each; the socket blocks,
 *          because there is nothing else to do meanwhile, and not for ever.
 * Errors   What went wrong has been said; exit codes as in earshot.1.
 */

#include "daemon/ctl/ctl.h"

#include <jansson.h>

#define CONTROL_PATH_DEFAULT "/run/earshot/control.sock"

/*
 * One request; *ret_answer, which may be NULL, is the caller's and what was
 * answered with 200.  An exit code; quiet: nothing is said.
 */
int control_ask(const struct ctl_options *options, const char *method,
    const char *path, bool quiet, json_t **ret_answer);

/* "1.2k", "3.4M" of a count, decimal; of bytes, binary. */
const char *control_count(char out[static 32], double value);
const char *control_bytes(char out[static 32], double value);
const char *control_age(char out[static 32], double seconds);

/* The member's value; "" or 0 where there is none. */
const char *control_text(json_t *object, const char *key);
double control_number(json_t *object, const char *key);

/* As one line; false: stdout does not take it. */
bool control_print(json_t *object);

/* tables.c: channels, connections, feeds. */
int tables_run(const struct ctl_options *options, const char *what);

/* top.c */
int top_run(const struct ctl_options *options);

/* status, kick, drain, reload, log-level, and the ones above. */
int control_run(const struct ctl_options *options, const char *command);

#endif
