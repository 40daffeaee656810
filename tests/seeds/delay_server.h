#ifndef TESTS_SEEDS_DELAY_SERVER_H
#define TESTS_SEEDS_DELAY_SERVER_H

/*
 * delay_server: an HTTP server on loopback that answers each request after a
 * fixed delay, with the path it was asked for.  It has a loop in a thread of
 * its own, a task for each connection, and stands for the services out there
 * that the texts ask.
 */

#include "daemon/loop/loop.h"

struct delay_server;

/* -ENOMEM, and whatever sockets say. */
int delay_server_start(es_usec delay, struct delay_server **ret_server);
unsigned short delay_server_port(const struct delay_server *server);
/* How many requests were answered. */
unsigned delay_server_answered(const struct delay_server *server);
/* The most that were being answered at the same time. */
unsigned delay_server_at_once_max(const struct delay_server *server);
void delay_server_stop(struct delay_server *server);

#endif
