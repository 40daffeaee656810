/*
 * resolve: getaddrinfo() may wait for many seconds, and cannot be told not to:
 * whoever stops waiting leaves the job to its end, and its value is dropped.
 * All lookups have one of two keys, so that names nobody answers for take two
 * workers of `sys` and not all.
 */

#include "daemon/feed/resolve.h"
#include "daemon/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct lookup {
	char host[256];
};

int
resolve_parse(const char *text, struct url *ret_url, char *room,
    size_t room_size, const char **ret_path)
{
	const char *host = strstr(text, "://"), *rest;
	char authority[512];
	size_t len;

	if (!host)
		return -EINVAL;
	rest = host + 3 + strcspn(host + 3, "/?");
	len = (size_t)(rest - text);
	if (len >= sizeof(authority))
		return -EINVAL;
	memcpy(authority, text, len);
	authority[len] = '\0';
	if (url_parse(authority, ret_url) < 0)
		return -EINVAL;
	*ret_path = rest;
	if (rest[0] == '/')
		return 0;
	if (snprintf(room, room_size, "/%s", rest) >= (int)room_size)
		return -EINVAL;
	*ret_path = room;
	return 0;
}

static void
resolved_add(struct resolved *resolved, const struct addrinfo *info)
{
	char *to = resolved->addresses[resolved->count];

	assert(resolved->count < RESOLVE_ADDRESSES_MAX);
	if (getnameinfo(info->ai_addr, info->ai_addrlen, to,
		RESOLVE_ADDRESS_BYTES, NULL, 0, NI_NUMERICHOST) == 0)
		resolved->count++;
}

static int
resolve_job(void *arg, es_value *ret)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	struct lookup *lookup = arg;
	struct resolved *resolved = memory_zalloc(sizeof(*resolved));
	struct addrinfo *list = NULL, *info;
	int error;

	if (!resolved) {
		memory_free(lookup);
		return -ENOMEM;
	}
	error = getaddrinfo(lookup->host, NULL, &hints, &list);
	for (info = list;
	     error == 0 && info && resolved->count < RESOLVE_ADDRESSES_MAX;
	     info = info->ai_next)
		resolved_add(resolved, info);
	if (resolved->count == 0)
		(void)snprintf(resolved->error, sizeof(resolved->error), "%s",
		    error ? gai_strerror(error) : "it has no address");
	if (list)
		freeaddrinfo(list);
	memory_free(lookup);
	*ret = ES_PTR(resolved, memory_free);
	return 0;
}

int
resolve_submit(
    es_executor *sys, es_loop *home, const char *host, es_future **ret_future)
{
	static const char keys[2];
	struct lookup *lookup = memory_alloc(sizeof(*lookup));
	size_t sum = 0, i;
	int r;

	if (!lookup)
		return -ENOMEM;
	(void)snprintf(lookup->host, sizeof(lookup->host), "%s", host);
	for (i = 0; host[i]; i++)
		sum += (unsigned char)host[i];
	r = es_executor_submit(sys, (uint64_t)(uintptr_t)&keys[sum % 2],
	    "resolve", resolve_job, lookup, memory_free, home, ret_future);
	if (r < 0)
		memory_free(lookup);
	return r;
}
