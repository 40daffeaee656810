#ifndef DAEMON_CTL_CTL_H
#define DAEMON_CTL_CTL_H

/*
 * ctl: the `earshot` command line; what its commands share.
 *
 * Life      main() reads the options -> pub_run(), sub_run() or
 *           control_run() -> exit code.
 * Errors    Messages go to stderr; exit codes are CTL_*, as in earshot.1.
 */

#include "daemon/lws/outbound.h"
#include "proto/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_OK 0
#define CTL_FAILED 1
#define CTL_USAGE 2
#define CTL_DRAINING 3
#define CTL_UNREACHABLE 4 /* the control socket */
#define CTL_NOT_ALLOWED 5

#define CTL_URL_DEFAULT "ws://127.0.0.1:8080"
#define CTL_CHANNELS_MAX 1000 /* of one `sub` */
#define CTL_TEXT_MAX 512 /* of a server's words in a message */

/* Attempts in a row that may fail after the first, before any succeeded. */
#define CTL_RETRIES_DEFAULT 5
/* Refused tokens in a row, after one that was believed. */
#define CTL_REFUSALS_MAX 5
#define CTL_SILENCE_DEFAULT 30 /* seconds */
#define CTL_SILENCE_MIN 3
#define CTL_SILENCE_MAX 86400

struct ctl_options {
	const char *url_text;
	struct url url;
	struct outbound_options trust;
	int64_t retries; /* -1: not given */
	int verbosity; /* 1: states; 2: the debug log too */
	const char *const *channels;
	size_t channel_count;
	bool whole, binary; /* pub */
	const char *from; /* sub; NULL: live */
	int64_t count; /* sub, frames of top; 0: for ever */
	bool json, raw; /* sub; json: what looks after a daemon as well */
	bool compress; /* sub: asks for it */
	int64_t silence; /* sub: seconds without a word; then it is lost */
	const char *state_path; /* sub; NULL: nothing is kept */
	const char *token_path; /* NULL: not given */
	const char *token_text; /* of the environment; NULL: none */
	const char *control_path; /* NULL: EARSHOT_CONTROL, or the usual one */
	const char *kick_channel, *kick_reason; /* NULL: not given */
	int64_t kick_code; /* 0: not given */
};

int pub_run(const struct ctl_options *options);
int sub_run(const struct ctl_options *options);

/* A line on stderr, "earshot: " before it. */
void ctl_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
