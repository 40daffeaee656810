#ifndef DAEMON_NET_ACCESS_H
#define DAEMON_NET_ACCESS_H

/*
 * access: who a request is of, what it is refused with, and how long the
 * stream that comes of it may last.
 *
 * Life     A request's head -> access_identify() -> rights are asked of the hub
 *          -> refused; or a stream, with a lease (lease.c) if there is a token.
 * Order    A token is looked at before anything of its request is done.
 * Promise  A token's text is in no log line, metric, list or error of ours,
 *          and in nothing that handlers are given.
 * Memory   conn.who.token is the connection's reference, of its last request.
 * Units    Wall clock, as exp and nbf are.
 * Threads  The net loop.
 */

#include "daemon/auth/token.h"
#include "daemon/net/conn.h"

/*
 * The request's token, if there is one and tokens are looked at.  != 0:
 * refused, and answered: 400 two of them, 401 not to be believed, 503.
 */
int access_identify(struct conn *conn) LOOP_THREAD;
/* The request is over, or another one comes.  Its streams keep theirs. */
void access_forget(struct conn *conn);

/*
 * A right is missing, to do what `what` says ("publishing").  Answers with 401
 * who has no token and could have one, else with 403.  What is to be returned.
 */
int access_forbidden(struct conn *conn, const char *what) LOOP_THREAD;
/* Who comes without a token is refused, 401.  != 0: answered. */
int access_require(struct conn *conn) LOOP_THREAD;

/* Is a header of that name and value the token that was taken? */
bool access_is_header(
    const struct conn *conn, const char *name, size_t len, const char *value);
/* The same of an argument of the query. */
bool access_is_argument(const struct conn *conn, const char *text, size_t len);

/*
 * lease.c: a stream with a token ends with it, 4001.  At the upgrade;
 * != 0: refused for want of memory, and answered.  Without a token: nothing.
 */
int lease_begin(struct conn *conn) LOOP_THREAD;
void lease_end(struct conn *conn); /* or there is none */
/*
 * What tokens were believed by is another keyring now: who has one that it
 * does not know loses it, and a stream ends, 4001.
 */
void leases_revoke(struct net *net) LOOP_THREAD;
/* As time says: the entry of net.leases.tick. */
void leases_tick(struct net *net) LOOP_THREAD;

#endif
