/*
 * What arrives on a WebSocket connection of ours.
 *
 * The happy path: the library hands over a piece of a frame -> it is inflated
 * if its message is compressed, checked if it is text -> with the last one the
 * message is its owner's.
 *
 * What can go wrong:
 * - A message is too long, inflated or not (1009), its text is not UTF-8 or its
 *   bytes are not deflate (1007), a frame has reserved bits that nobody agreed
 *   on (1002): closed with that code.  Of a bomb no more than the longest
 *   message is ever there.
 * - The owner pauses, and what was read already would inflate to a thousand
 *   times as much: pieces wait as they came, no more than one read, until it
 *   resumes; or the peer closes, because what came before that is heard.
 * - A peer whose every read inflates to megabytes: after CLIENT_INFLATED_MAX
 *   others have their turn.
 */

#include "daemon/base/memory.h"
#include "daemon/lws/client_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define CLIENT_KEPT_BYTES 65536 /* of memory, between two messages */
#define CLIENT_INFLATED_MAX (1u << 20) /* bytes at a time, and one piece's */

enum { RSV1 = 0x40 }; /* of lws_get_reserved_bits() */

/* What the library hands over: some or all of one frame's payload. */
struct piece {
	const void *data;
	size_t len;
	bool first, last; /* of its message */
	bool text, packed;
	bool illegal; /* its frame has a bit it must not have */
};

struct held_piece {
	struct list node;
	struct piece piece;
	uint8_t data[];
};

/* NULL when its owner has freed it. */
static struct client *
client_of(struct lws *wsi)
{
	return lws_get_opaque_user_data(wsi);
}

void
client_sync_reading(struct client *client)
{
	struct glue *glue = client->outbound->glue;
	const bool unread =
	    client->paused || client->resting || !list_empty(&client->held);

	if (client->wsi == NULL || unread == client->unread)
		return;
	client->unread = unread;
	if (unread)
		glue_pause_reading(glue, lws_get_socket_fd(client->wsi));
	else
		glue_resume_reading(glue, lws_get_socket_fd(client->wsi));
}

static void
clear_again(struct client *client)
{
	if (client->again == NULL)
		return;
	(void)es_call_cancel(client->again); /* it may be the one running */
	es_call_unref(client->again);
	client->again = NULL;
}

void
client_drop_held(struct client *client)
{
	struct list *node;

	clear_again(client);
	while ((node = list_first(&client->held)) != NULL) {
		list_remove(node);
		memory_free(LIST_ENTRY(node, struct held_piece, node));
	}
	client->paused = client->resting = false;
}

void
client_fail(struct client *client, uint16_t code, const char *why)
{
	struct list *node;

	while ((node = list_first(&client->queue)) != NULL)
		client_drop_outgoing(
		    client, LIST_ENTRY(node, struct outgoing, node));
	client_close(client, code, why);
}

static int
deliver(struct client *client, struct lws *wsi, const void *data, size_t len)
{
	client->ops->on_message(client,
	    client->message_text ? CLIENT_TEXT : CLIENT_BINARY, data, len,
	    client->arg);
	client = client_of(wsi);
	if (client == NULL)
		return -1;
	if (client->message.size > CLIENT_KEPT_BYTES)
		buffer_fini(&client->message);
	else
		buffer_clear(&client->message);
	return 0;
}

/* 0, or the code to close with. */
static uint16_t
check_text(struct client *client, const void *data, size_t len, bool last)
{
	if (!client->message_text)
		return 0;
	if (!utf8_feed(&client->utf8, data, len) ||
	    (last && !utf8_complete(&client->utf8)))
		return 1007;
	return 0;
}

/* What a compressed piece says goes behind the message so far; as above. */
static uint16_t
inflate_piece(
    struct client *client, const struct piece *piece, const char **ret_why)
{
	struct buffer *message = &client->message;
	const size_t before = message->len;
	int error = inflate_feed(client->inflate, message,
	    client->message_bytes_max, piece->data, piece->len);

	if (error == 0 && piece->last)
		error = inflate_end(client->inflate, message,
		    client->message_bytes_max, client->keep_context);
	client->packed_bytes += piece->len;
	client->since_rest += message->len - before;
	switch (error) {
	case 0:
		*ret_why = "text is not UTF-8";
		return check_text(client,
		    message->len > before ? message->data + before : NULL,
		    message->len - before, piece->last);
	case -EMSGSIZE:
		*ret_why = "message too long";
		return 1009;
	case -ENOMEM:
		*ret_why = "out of memory";
		return 1011;
	default:
		*ret_why = "a message is not deflate";
		return 1007;
	}
}

/* Likewise; *ret_whole: it is all of the message, and was not copied. */
static uint16_t
copy_piece(struct client *client, const struct piece *piece, bool *ret_whole,
    const char **ret_why)
{
	const size_t max = client->message_bytes_max;
	uint16_t code;

	*ret_why = "message too long";
	if (piece->len > max - client->message.len)
		return 1009;
	*ret_why = "text is not UTF-8";
	code = check_text(client, piece->data, piece->len, piece->last);
	if (code != 0)
		return code;
	*ret_whole = piece->last && client->message.len == 0; /* as mostly */
	if (*ret_whole)
		return 0;
	*ret_why = "out of memory";
	return buffer_append(&client->message, piece->data, piece->len, max) < 0
		   ? 1011
		   : 0;
}

static int
take_piece(struct client *client, struct lws *wsi,
    const struct piece *piece) LOOP_THREAD
{
	const char *why = "reserved bits without a meaning";
	uint16_t code = 1002;
	bool whole = false;

	assert(client->state == OPEN);
	if (piece->first) {
		client->message_text = piece->text;
		client->message_packed = piece->packed;
		client->utf8 = UTF8_STATE_INIT;
	}
	if (!piece->illegal)
		code = client->message_packed
			   ? inflate_piece(client, piece, &why)
			   : copy_piece(client, piece, &whole, &why);
	if (code != 0)
		client_fail(client, code, why);
	if (code != 0 || !piece->last)
		return 0;
	if (whole)
		return deliver(client, wsi, piece->data, piece->len);
	return deliver(client, wsi,
	    client->message.len > 0 ? (const void *)client->message.data : "",
	    client->message.len);
}

/* Returns < 0 when the client was freed. */
static int
take_first_held(struct client *client, struct lws *wsi) LOOP_THREAD
{
	struct held_piece *held =
	    LIST_ENTRY(list_first(&client->held), struct held_piece, node);
	int result;

	list_remove(&held->node);
	result = take_piece(client, wsi, &held->piece);
	memory_free(held);
	return result;
}

int
client_take_held(struct client *client, struct lws *wsi)
{
	while (client->state == OPEN && !list_empty(&client->held))
		if (take_first_held(client, wsi) < 0)
			return -1;
	return 0;
}

static void rest_if_due(struct client *client) LOOP_THREAD;

static void
on_again(void *arg)
{
	struct client *client = arg;
	struct lws *wsi = client->wsi;

	es_loop_assert(client->outbound->loop);
	clear_again(client);
	client->resting = false;
	client->since_rest = 0;
	while (client->state == OPEN && !client->paused && !client->resting &&
	       !list_empty(&client->held)) {
		if (take_first_held(client, wsi) < 0)
			return;
		rest_if_due(client);
	}
	if (client->state == OPEN)
		client_sync_reading(client);
}

static bool
call_again(struct client *client)
{
	return client->again != NULL ||
	       es_call_soon(client->outbound->loop, "client.again", on_again,
		   client, NULL, &client->again) == 0;
}

static void
rest_if_due(struct client *client)
{
	if (client->state != OPEN || client->resting ||
	    client->since_rest < CLIENT_INFLATED_MAX)
		return;
	client->resting = call_again(client); /* no memory: no rest */
	client_sync_reading(client);
}

static int
hold_piece(struct client *client, const struct piece *piece) LOOP_THREAD
{
	struct held_piece *held = memory_alloc(sizeof(*held) + piece->len);

	if (held == NULL) {
		client_fail(client, 1011, "out of memory");
		return 0;
	}
	list_init(&held->node);
	held->piece = *piece;
	held->piece.data = held->data;
	if (piece->len > 0)
		memcpy(held->data, piece->data, piece->len);
	list_append(&client->held, &held->node);
	client_sync_reading(client);
	return 0;
}

int
client_receive(
    struct client *client, struct lws *wsi, const void *data, size_t len)
{
	const unsigned bits = lws_get_reserved_bits(wsi);
	const bool begins = !client->frame_open;
	struct piece piece = {
		.data = data,
		.len = len,
		.first = !client->arriving,
		.last = lws_is_final_fragment(wsi) != 0,
		.text = !lws_frame_is_binary(wsi),
		.packed = client->inflate != NULL && (bits & RSV1) != 0,
	};

	if (client->state != OPEN)
		return 0;
	piece.illegal =
	    begins && bits != 0 &&
	    (bits != RSV1 || !piece.first || client->inflate == NULL);
	client->frame_open = lws_remaining_packet_payload(wsi) > 0;
	client->arriving = !piece.last;
	if (client->inflate != NULL &&
	    (client->paused || client->resting || !list_empty(&client->held)))
		return hold_piece(client, &piece);
	if (take_piece(client, wsi, &piece) < 0)
		return -1;
	rest_if_due(client);
	return 0;
}

void
client_pause(struct client *client)
{
	es_loop_assert(client->outbound->loop);
	if (client->state != OPEN || client->paused)
		return;
	client->paused = true;
	client_sync_reading(client);
}

void
client_resume(struct client *client)
{
	es_loop_assert(client->outbound->loop);
	if (client->state != OPEN || !client->paused)
		return;
	client->paused = false;
	if (!list_empty(&client->held) && !call_again(client))
		client_fail(client, 1011, "out of memory"); /* or it stops */
	client_sync_reading(client);
}

bool
client_compresses(const struct client *client)
{
	es_loop_assert(client->outbound->loop);
	return client->inflate != NULL;
}

uint64_t
client_packed_bytes(const struct client *client)
{
	es_loop_assert(client->outbound->loop);
	return client->packed_bytes;
}
