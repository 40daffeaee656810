#ifndef DAEMON_HANDLER_BRIDGE_INTERNAL_H
#define DAEMON_HANDLER_BRIDGE_INTERNAL_H

/*
 * bridge_internal: a request of a plugin on its way to the loop, for bridge.c
 * and channels.c.
 *
 * Life     request_new -> filled in -> request_post -> its fn on the loop.
 */

#include "daemon/handler/outbox.h"
#include "daemon/handler/session.h"
#include "proto/channel.h"

struct request {
	struct post post;
	struct handler *handler;
	void (*fn)(struct request *request, es_future *f);
	es_future *f; /* NULL: nobody waits */
	bool kept; /* its work goes on: not freed behind fn */
	es_conn conn;
	enum message_kind kind;
	uint16_t code;
	size_t limit;
	struct from from;
	char *channel; /* behind data */
	struct sending *sending; /* of a send whose future waits */
	struct line *line; /* where len is counted too; NULL: nowhere */
	size_t len;
	uint8_t data[];
};

/*
 * data is copied, and channel, which may be NULL.  -EMSGSIZE, -EAGAIN (too many
 * bytes), -ENOMEM.
 */
int request_new(struct handler *handler, const char *channel, const void *data,
    size_t len, bool answered, struct request **ret_request) ANY_THREAD;
/* A request about a channel.  -EINVAL, and as above. */
int channel_request(struct handler *handler, const char *channel,
    const char *from, bool answered, struct request **ret_request) ANY_THREAD;
/* It is the loop's, or, -ESHUTDOWN, freed. */
int request_post(struct request *request,
    void (*fn)(struct request *request, es_future *f),
    es_future **ret_future) ANY_THREAD;
void request_fail(struct request *request, int error);
void request_free(struct request *request);
/* The value is the future's, or nobody's. */
void give(es_future *f, void *value, es_drop drop);
void give_nothing(struct request *request, int error);

/* 0, -EINVAL, -EILSEQ, -EBADMSG. */
int check_payload(enum es_kind kind, const void *data, size_t len) ANY_THREAD;

/* channels.c: of the host's table. */
int bridge_publish(void *self, const char *channel, enum es_kind kind,
    const void *data, size_t len, es_future **ret_future) ANY_THREAD;
int bridge_history(void *self, const char *channel, const char *from,
    size_t limit, es_future **ret_future) ANY_THREAD;

/* verdict.c: of the host's table, on the worker that is asked. */
int bridge_change(void *self, es_verdict *verdict, enum es_kind kind,
    const void *data, size_t len);
int bridge_refuse(void *self, es_verdict *verdict, const char *reason);

#endif
