/*
 * Who a request is of: its token, found and checked.
 *
 * The happy path: a header `Authorization: Bearer TOKEN` (RFC 6750 section
 * 2.1), or `access_token=TOKEN` in the query for browsers, which cannot set
 * headers for WebSockets and event streams (section 2.3) -> token_check() ->
 * conn.who.
 *
 * What can go wrong: two tokens 400, one that is not to be believed 401, a
 * right that it does not give 403; without one 401 where one would help.  The
 * challenges are those of RFC 6750 section 3.
 *
 * Without token keys nobody looks: both are a handler's then.
 */

#include "daemon/net/access.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ARGUMENT "access_token=" /* of the query */
#define AUTHORIZATION "authorization"
#define SCHEME "Bearer"
#define CHALLENGE "WWW-Authenticate: Bearer realm=\"earshot\""
#define CHALLENGE_BYTES 384

/* A token, as it came. */
struct found {
	char text[TOKEN_BYTES_MAX + 1]; /* one more: it is too long */
	size_t len;
	unsigned count; /* of tokens */
	unsigned fields; /* of the header, ours or not */
	bool in_query;
};

static bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* What follows the scheme, or NULL: it is another one. */
static const char *
after_scheme(const char *value)
{
	const size_t len = sizeof(SCHEME) - 1;

	while (is_space(*value))
		value++;
	if (strncasecmp(value, SCHEME, len) != 0 ||
	    (value[len] != '\0' && !is_space(value[len])))
		return NULL;
	value += len;
	while (is_space(*value))
		value++;
	return value;
}

/* Too long a one is cut, and still too long. */
static void
take(struct found *found, const char *text, size_t len)
{
	found->count++;
	found->len = len < sizeof(found->text) ? len : sizeof(found->text);
	memcpy(found->text, text, found->len);
}

static void
take_header(struct found *found, const char *value)
{
	const char *text = after_scheme(value);
	size_t len;

	if (text == NULL)
		return; /* not ours */
	len = strlen(text);
	while (len > 0 && is_space(text[len - 1]))
		len--;
	take(found, text, len);
}

/*
 * Each of the header's fields, or arguments of the query, through one buffer.
 */
static int
each_fragment(struct conn *conn, enum lws_token_indexes which,
    void (*fn)(struct found *found, const char *text, size_t len),
    struct found *found)
{
	const int all = lws_hdr_total_length(conn->wsi, which);
	char *text;
	int len, i;

	if (all <= 0)
		return 0;
	text = memory_alloc((size_t)all + 1);
	if (text == NULL)
		return -ENOMEM;
	for (i = 0; (len = lws_hdr_copy_fragment(
			 conn->wsi, text, all + 1, which, i)) >= 0;
	     i++) {
		text[len] = '\0';
		fn(found, text, (size_t)len);
	}
	memory_free(text);
	return 0;
}

static void
on_field(struct found *found, const char *text, size_t len)
{
	(void)len;
	found->fields++;
	take_header(found, text);
}

static void
on_argument(struct found *found, const char *text, size_t len)
{
	const size_t name = sizeof(ARGUMENT) - 1;

	if (len < name || memcmp(text, ARGUMENT, name) != 0)
		return;
	take(found, text + name, len - name);
	found->in_query = true;
}

static int
challenge(struct conn *conn, unsigned status, const char *error,
    const char *code, const char *text) LOOP_THREAD
{
	char headers[CHALLENGE_BYTES];
	int len;

	if (error == NULL)
		len = snprintf(headers, sizeof(headers), CHALLENGE "\r\n");
	else
		len = snprintf(headers, sizeof(headers),
		    CHALLENGE ", error=\"%s\", error_description=\"%s\"\r\n",
		    error, text);
	assert(len > 0);
	assert((size_t)len < sizeof(headers));
	return http_refuse(conn, status, headers, code, text);
}

static int
check(struct conn *conn, const struct found *found) LOOP_THREAD
{
	struct net *net = conn->net;
	enum token_fault fault = TOKEN_MALFORMED;
	int error = -EACCES;

	if (found->len <= TOKEN_BYTES_MAX)
		error = token_check(net->keyring, found->text, found->len,
		    clock_wall_us(), &conn->who.token, &fault);
	if (error == 0) {
		net->counts.tokens_accepted++;
		return 0;
	}
	if (error == -ENOMEM)
		return http_error(conn, 503, "no_memory", "out of memory");
	net->counts.tokens_refused[fault]++;
	return challenge(conn, 401, "invalid_token", "invalid_token",
	    token_fault_text(fault));
}

int
access_identify(struct conn *conn)
{
	struct found found;
	int error;

	access_forget(conn);
	if (conn->net->keyring == NULL)
		return 0;
	found.count = found.fields = 0; /* not 8 KiB of zeroes each time */
	found.in_query = false;
	error =
	    each_fragment(conn, WSI_TOKEN_HTTP_AUTHORIZATION, on_field, &found);
	if (error == 0)
		error = each_fragment(
		    conn, WSI_TOKEN_HTTP_URI_ARGS, on_argument, &found);
	if (error < 0)
		return http_error(conn, 503, "no_memory", "out of memory");
	if (found.count == 0)
		return 0;
	if (found.in_query && conn->state == CONN_REQUEST)
		http_keep_private(conn);
	/* Several fields would be one to who sees them joined, a handler. */
	if (found.count == 1 && found.fields <= 1)
		return check(conn, &found);
	conn->net->counts.tokens_twice++;
	return challenge(conn, 400, "invalid_request", "two_tokens",
	    "expected one token, in the header or in the query");
}

void
access_forget(struct conn *conn)
{
	assert(conn->lease == NULL);
	token_unref(conn->who.token);
	conn->who.token = NULL;
}

int
access_forbidden(struct conn *conn, const char *what)
{
	char text[96];

	if (conn->who.token == NULL && conn->net->keyring != NULL) {
		(void)snprintf(text, sizeof(text), "%s takes a token", what);
		return challenge(conn, 401, NULL, "no_token", text);
	}
	(void)snprintf(text, sizeof(text), "%s is not allowed", what);
	if (conn->who.token == NULL)
		return http_refuse(conn, 403, NULL, "not_allowed", text);
	return challenge(conn, 403, "insufficient_scope", "not_allowed", text);
}

int
access_require(struct conn *conn)
{
	if (conn->who.token != NULL)
		return 0;
	return challenge(conn, 401, NULL, "no_token", "this takes a token");
}

bool
access_is_header(
    const struct conn *conn, const char *name, size_t len, const char *value)
{
	return conn->who.token != NULL && len == sizeof(AUTHORIZATION) - 1 &&
	       strncasecmp(name, AUTHORIZATION, len) == 0 &&
	       after_scheme(value) != NULL;
}

bool
access_is_argument(const struct conn *conn, const char *text, size_t len)
{
	const size_t name = sizeof(ARGUMENT) - 1;

	return conn->who.token != NULL && len >= name &&
	       memcmp(text, ARGUMENT, name) == 0;
}
