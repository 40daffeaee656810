#ifndef DAEMON_BASE_EVENTS_H
#define DAEMON_BASE_EVENTS_H

/*
 * events: the messages of the log that machines may wait for, MESSAGE_ID=.
 *
 * Shape    32 hex digits each, for ever: an id never changes its meaning.
 * To add   `systemd-id128 new`, a line here, an entry in
 *          systemd/earshot.catalog (a test compares the two).
 */

/* The life of the daemon */
#define EVENT_CONFIGURATION_FAULT "164bd0a630794c2a93d85c70f19ad2cb"
#define EVENT_START_FAILED "70ad1e3dd4d74b11b91c1ef719336161"
#define EVENT_READY "253cc6de0b00460fac20fe9584ba517e"
#define EVENT_RELOADED "0efc0b456dc4469981aa025b778a9d49"
#define EVENT_RELOAD_FAILED "d7d71eb12b314cc0b0680648d7913c90"
#define EVENT_DRAIN_BEGUN "749f9d4c4eb84e6d9ef11893222bc052"
#define EVENT_DRAIN_FORCED "72409b263d69491bbf5ce526e10330d5"
#define EVENT_DRAINED "4d761c5953704412b0d684c7eef59647"

/* Sockets */
#define EVENT_SOCKET_UNUSABLE "23035ca1e4da46aa8fdee7461478d7b8"
#define EVENT_SOCKET_UNWANTED "19c5b537eb9c41f0a123becabb8f230d"
#define EVENT_ACCEPT_PAUSED "7706357a86d74411a3d4dd6f60a9acc9"

/* Consumers and feeds */
#define EVENT_CONSUMER_CUT "87d122f85a204be2bdb8a1dd74db2f2f"
#define EVENT_FEED_DOWN "ea986da4c02e4fbdb9a0ade6277584d8"

/* The data path, the log itself */
#define EVENT_LOOP_STUCK "1de691de89d343f7a58aa3010c545f5c"
#define EVENT_LINES_DROPPED "100fa07de7d34e98a02cf10514cd38cc"

#endif
