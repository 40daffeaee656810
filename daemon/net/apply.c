/*
 * A new configuration, applied while connections are there.
 *
 * What the listeners, the library and the tables were made of stays: such
 * pieces change places, so that the new configuration holds what is in force
 * and every pointer into the old one that anybody keeps goes on being good;
 * the difference is told.  All else is read through net.conf, the hub and the
 * listeners when it is needed, and so holds from the next time on.
 */

#include "daemon/net/access.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct changes {
	void (*tell)(const char *text, void *arg);
	void *arg;
};

__attribute__((format(printf, 2, 3))) static void
tell(const struct changes *changes, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* cut is fine */
	va_end(args);
	changes->tell(text, changes->arg);
}

#define EXCHANGE(a, b)                                                         \
	do {                                                                   \
		__typeof__(a) exchanged = (a);                                 \
		(a) = (b);                                                     \
		(b) = exchanged;                                               \
	} while (0)

/* Limits that something was made of at the start. */
enum fixed { ALL_OF_IT, ITS_RAISE };

static void
keep_limit(const struct changes *changes, const char *name, enum fixed fixed,
    int64_t born, int64_t *next)
{
	const bool time = strstr(name, "_timeout") != NULL;
	const int64_t unit = !time                   ? 1
			     : *next % LIMITS_S == 0 ? LIMITS_S
						     : LIMITS_MS;

	if (*next == born || (fixed == ITS_RAISE && *next < born))
		return;
	tell(changes, "limits.%s = %lld%s", name, (long long)(*next / unit),
	    !time              ? ""
	    : unit == LIMITS_S ? "s"
			       : "ms");
	*next = born;
}

static void
keep_limits(
    const struct net *net, struct conf *next, const struct changes *changes)
{
#define KEEP(name, fixed)                                                      \
	keep_limit(changes, #name, fixed, net->born.name, &next->limits.name)
	KEEP(connections_max, ITS_RAISE); /* the table, the descriptors */
	KEEP(head_bytes_max, ALL_OF_IT); /* the library's buffers */
	KEEP(span_bytes_max, ALL_OF_IT); /* its largest write */
	KEEP(work_threads, ALL_OF_IT); /* the threads that are there */
	/* Its own timers are a little behind ours, as those were then. */
	KEEP(handshake_timeout, ITS_RAISE);
	KEEP(request_timeout, ITS_RAISE);
	KEEP(keepalive_timeout, ITS_RAISE);
#undef KEEP
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static struct conf_listener *
find_listener(struct conf *conf, const char *name)
{
	size_t i;

	for (i = 0; i < conf->listener_count; i++)
		if (strcmp(conf->listeners[i].name, name) == 0)
			return &conf->listeners[i];
	return NULL;
}

static bool
same_place(const struct conf_listener *a, const struct conf_listener *b)
{
	return a->kind == b->kind && a->port == b->port && a->tls == b->tls &&
	       same_text(a->host, b->host) && same_text(a->path, b->path);
}

static const char *
title(const struct conf_listener *listener, char out[static 160])
{
	(void)snprintf(out, 160, "[listener%s%s]",
	    *listener->name != '\0' ? " " : "", listener->name);
	return out;
}

/* What runs is next's from now on; what can change comes from the file. */
static void
keep_listeners(
    struct conf *now, struct conf *next, const struct changes *changes)
{
	char text[160];
	size_t i;

	EXCHANGE(now->listeners, next->listeners);
	EXCHANGE(now->listener_count, next->listener_count);
	for (i = 0; i < next->listener_count; i++) {
		struct conf_listener *running = &next->listeners[i];
		struct conf_listener *wanted =
		    find_listener(now, running->name);

		if (wanted == NULL) {
			tell(changes, "%s is gone", title(running, text));
		} else if (!same_place(running, wanted)) {
			tell(changes, "%s is another: listen = %s, tls = %s",
			    title(running, text), wanted->address,
			    wanted->tls ? "yes" : "no");
		} else {
			EXCHANGE(running->origins, wanted->origins);
			running->compression = wanted->compression;
			running->line = wanted->line;
		}
	}
	for (i = 0; i < now->listener_count; i++)
		if (find_listener(next, now->listeners[i].name) == NULL)
			tell(changes, "%s is new",
			    title(&now->listeners[i], text));
}

/* true: the files are where they were, and may be others. */
static bool
keep_tls(const struct net *net, struct conf *now, struct conf *next,
    const struct changes *changes)
{
	const bool same =
	    same_text(now->tls_certificate, next->tls_certificate) &&
	    same_text(now->tls_key, next->tls_key);

	if (net->vhost_tls == NULL)
		return false; /* nobody has looked at them yet */
	if (!same)
		tell(changes, "[tls] certificate = %s, key = %s",
		    next->tls_certificate != NULL ? next->tls_certificate : "",
		    next->tls_key != NULL ? next->tls_key : "");
	/* The library goes on looking at these very strings. */
	EXCHANGE(now->tls_certificate, next->tls_certificate);
	EXCHANGE(now->tls_key, next->tls_key);
	return same;
}

static void
keep_control(struct conf *now, struct conf *next, const struct changes *changes)
{
	if (same_text(now->control_path, next->control_path))
		return;
	tell(changes, "[control] listen = %s",
	    next->control_path == NULL    ? "(not given)"
	    : *next->control_path == '\0' ? "none"
					  : next->control_path);
	EXCHANGE(now->control_path, next->control_path);
}

void
net_apply(struct net *net, struct conf *next, struct keyring *keyring,
    void (*fn)(const char *text, void *arg), void *arg)
{
	const struct changes changes = { fn, arg };
	struct conf *now = net->conf;
	struct keyring *former = net->keyring;
	bool same_files;

	assert(next != now);
	keep_limits(net, next, &changes);
	keep_listeners(now, next, &changes);
	same_files = keep_tls(net, now, next, &changes);
	keep_control(now, next, &changes);
	net->conf = conf_ref(next);
	hub_apply(net->hub, next);
	if (same_files)
		tls_reload(net);
	LIST_EACH_SAFE(node, more, &net->conns)
	{
		LIST_ENTRY(node, struct conn, node)->who.rights =
		    next->auth.anonymous;
	}
	net->keyring = keyring != NULL ? keyring_ref(keyring) : NULL;
	leases_revoke(net);
	keyring_unref(former);
	conf_free(now);
}
