#ifndef DAEMON_HANDLER_EARSHOT_H
#define DAEMON_HANDLER_EARSHOT_H

/*
 * earshot: what plugins are written against (earshot_plugin(3)).
 *
 * Life     earshot_plugin() once, before anything comes -> callbacks -> end(),
 *          once, after the last on_close.  A reload with another section
 *          makes another one beside it, with variables of its own.
 * Order    Callbacks of one connection come one at a time and in order,
 *          on_open first, on_close last, exactly once each; those of several
 *          come at the same time, on worker threads.  They may block.
 * Promise  Every function of the host may be called from any thread, never
 *          blocks (but es_await()), and needs no lock.  A connection that has
 *          gone is -ENOTCONN, never another one.
 * Memory   What a callback is given is lent until it returns, what a function
 *          is given is copied.  A future is the caller's, until es_unref().
 * Units    Microseconds; wall clock for messages.
 * Errors   0 or -errno.  -EAGAIN: too many bytes are on their way.  -EINVAL,
 *          -ENOMEM.  -ESHUTDOWN: the daemon has ended, or not begun.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ES_PLUGIN_VERSION 1u

typedef uint64_t es_conn; /* a connection's name; 0 is none, ever */
typedef struct es_future es_future; /* a result in flight */
typedef struct es_verdict es_verdict; /* on a message before its tape */
typedef void (*es_drop)(void *arg); /* releases arg; NULL: nothing to do */

enum es_kind { ES_TEXT, ES_JSON, ES_BINARY };
enum es_log_level { ES_LOG_ERROR, ES_LOG_WARN, ES_LOG_INFO, ES_LOG_DEBUG };
#define ES_WAIT_FOREVER INT64_MAX
struct es_header {
	const char *name, *value; /* name in lower case */
};

struct es_open {
	const char *path, *query, *peer; /* "" where there is none */
	const char *channel; /* bound by channel: that one, else "" */
	const char *upstream; /* of [upstream NAME]: NAME; peer: its url */
	const struct es_header *headers;
	size_t header_count;
	const char *claims; /* its token's, a JSON object; "": none */
};

struct es_position {
	uint64_t epoch;
	int64_t offset;
};

struct es_message {
	enum es_kind kind;
	const void *data;
	size_t len;
	const char *channel; /* consumed: where from; to be published: where */
	struct es_position position; /* consumed: its own */
	int64_t time_us; /* consumed: when it was published */
};

/* What a subscribe's future brings. */
struct es_subscribed {
	struct es_position position; /* just before the first that follows */
	bool recovered; /* nothing is missing */
	int64_t gap_from, gap_to; /* named when something is */
};

struct es_info { /* what es_info() brings */
	uint32_t subscriptions;
	bool closing;
	uint64_t unsent_bytes, queued_messages;
	struct es_open open;
};

struct es_history { /* what es_history() brings */
	uint64_t epoch;
	int64_t oldest, newest; /* kept by the channel */
	bool recovered; /* nothing between from and the first is missing */
	size_t count;
	const struct es_message *messages;
};

/* What the plugin gives, zero what it does not want; grows at its end. */
struct es_handler {
	uint32_t version; /* ES_PLUGIN_VERSION */
	void *state; /* given to every callback */
	/* 0; a close code or -errno refuses.  *user: for what follows. */
	int (*on_open)(
	    void *state, es_conn conn, const struct es_open *open, void **user);
	/* < 0: goes to on_error, the connection lives.  conn 0: consumed. */
	int (*on_message)(void *state, es_conn conn, void *user,
	    const struct es_message *message);
	void (*on_error)(
	    void *state, es_conn conn, void *user, int error, const char *text);
	/* Once for every on_open; 1006: it broke. */
	void (*on_close)(void *state, es_conn conn, void *user, uint16_t code,
	    const char *reason);
	es_drop drop_user; /* after on_close, unless user is NULL */
	/* Own threads must be joined here: the host is gone afterwards. */
	void (*end)(void *state);
	/* Before it is on its tape.  0: it may; < 0, es_refuse(): not. */
	int (*on_publish)(
	    void *state, const struct es_message *message, es_verdict *verdict);
};

/* The host's functions, of which the wrappers below are the readable form. */
struct es_host {
	uint32_t version, size; /* of this table, in bytes */
	void *self;
	const char *(*option)(void *self, const char *key);
	void (*log)(void *self, enum es_log_level level, const char *text);
	int (*send)(void *self, es_conn conn, enum es_kind kind,
	    const void *data, size_t len, es_future **ret_future);
	int (*close)(
	    void *self, es_conn conn, uint16_t code, const char *reason);
	int (*subscribe)(void *self, es_conn conn, const char *channel,
	    const char *from, es_future **ret_future);
	int (*unsubscribe)(void *self, es_conn conn, const char *channel,
	    es_future **ret_future);
	int (*info)(void *self, es_conn conn, es_future **ret_future);
	int (*publish)(void *self, const char *channel, enum es_kind kind,
	    const void *data, size_t len, es_future **ret_future);
	int (*history)(void *self, const char *channel, const char *from,
	    size_t limit, es_future **ret_future);
	int (*run)(void *self, int64_t delay_us, void (*fn)(void *arg),
	    void *arg, es_drop drop, es_future **ret_future);
	int (*await)(void *self, es_future *f, int64_t timeout_us);
	const void *(*result)(void *self, const es_future *f);
	int (*cancel)(void *self, es_future *f);
	void (*unref)(void *self, es_future *f);
	int (*change)(void *self, es_verdict *verdict, enum es_kind kind,
	    const void *data, size_t len);
	int (*refuse)(void *self, es_verdict *verdict, const char *reason);
};

#ifdef __cplusplus
extern "C"
#endif
    int /* The one symbol a plugin has.  < 0: it does not want to run. */
    earshot_plugin(const struct es_host *host, struct es_handler *handler);

#ifndef ES_NO_WRAPPERS
#include "daemon/handler/earshot_calls.h" /* installed: in this one */
#endif

#endif
