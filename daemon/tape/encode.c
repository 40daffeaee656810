/*
 * What each view is made of: an envelope or none, compressed or not, framed or
 * not.  Nothing else in the house knows one derived view from another.
 *
 * - No memory at any step: nothing was made, scratch stays for the next try.
 * - Compressing does not make it shorter: the message goes as it is, which the
 *   extension allows for each message.
 */

#include "daemon/tape/encode.h"

#include "proto/deflate.h"
#include "proto/sse.h"
#include "proto/v1.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SCRATCH_KEPT_BYTES (64u * 1024)

/*
 * What compressing a message costs at least, however short it is: resetting
 * zlib takes as long as encoding that many bytes.
 */
#define COMPRESS_COST_MIN 1024u

static const struct form {
	int (*envelope)(
	    struct buffer *out, size_t max, const struct message *message);
	bool deflated, framed;
} forms[VIEW_KINDS] = {
	[VIEW_RAW] = { NULL, false, true },
	[VIEW_RAW_DEFLATED] = { NULL, true, true },
	[VIEW_V1] = { v1_put_message, false, true },
	[VIEW_V1_DEFLATED] = { v1_put_message, true, true },
	[VIEW_SSE] = { sse_put_message, false, false },
};

static int
compress(struct encoder *encoder, struct encoded *encoded)
{
	int rc = encoder->deflate ? 0 : deflate_new(&encoder->deflate);

	if (rc < 0)
		return rc;
	buffer_clear(&encoder->packed);
	rc = deflate_put(encoder->deflate, &encoder->packed, ENCODED_BYTES_MAX,
	    encoded->data, encoded->len);
	if (rc < 0)
		return rc;
	encoded->compressed = true;
	encoded->cost =
	    encoded->len > COMPRESS_COST_MIN ? encoded->len : COMPRESS_COST_MIN;
	if (rc == 0)
		return 0;
	assert(encoder->packed.len < encoded->len);
	encoded->data = encoder->packed.data;
	encoded->len = encoder->packed.len;
	encoded->rsv = 4; /* RSV1 */
	return 0;
}

int
encode(struct encoder *encoder, enum view_kind view,
    const struct message *message, struct encoded *ret_encoded)
{
	const struct form *form = &forms[view];
	struct encoded encoded = {
		.data = message->payload,
		.len = message->len,
		.framed = form->framed,
		.opcode = message->kind == MESSAGE_BINARY && !form->envelope
			      ? FRAME_BINARY
			      : FRAME_TEXT,
	};
	int rc = 0;

	assert((unsigned)view < VIEW_KINDS);
	if (form->envelope) {
		buffer_clear(&encoder->text);
		rc = form->envelope(&encoder->text, ENCODED_BYTES_MAX, message);
		encoded.data = encoder->text.data;
		encoded.len = encoder->text.len;
	}
	if (rc == 0 && form->deflated)
		rc = compress(encoder, &encoded);
	if (rc < 0)
		return -ENOMEM; /* no payload of a tape is too long */
	encoded.bytes =
	    form->framed ? frame_message_bytes(encoded.len) : encoded.len;
	assert(encoded.bytes > 0);
	if (encoded.cost < encoded.bytes)
		encoded.cost = encoded.bytes;
	*ret_encoded = encoded;
	return 0;
}

void
encoded_put(const struct encoded *encoded, uint8_t *out)
{
	if (encoded->framed)
		(void)frame_put_message_rsv(out, encoded->opcode, encoded->rsv,
		    encoded->data, encoded->len); /* encoded->bytes */
	else
		memcpy(out, encoded->data, encoded->bytes);
}

bool
encode_framed(enum view_kind view)
{
	assert((unsigned)view < VIEW_KINDS);
	return forms[view].framed;
}

bool
encode_deflated(enum view_kind view)
{
	assert((unsigned)view < VIEW_KINDS);
	return forms[view].deflated;
}

static void
tidy(struct buffer *buffer)
{
	if (buffer->size > SCRATCH_KEPT_BYTES)
		buffer_fini(buffer);
}

void
encoder_tidy(struct encoder *encoder)
{
	tidy(&encoder->payload);
	tidy(&encoder->text);
	tidy(&encoder->packed);
}

void
encoder_drop_deflate(struct encoder *encoder)
{
	deflate_free(encoder->deflate);
	encoder->deflate = NULL;
}

void
encoder_fini(struct encoder *encoder)
{
	encoder_drop_deflate(encoder);
	buffer_fini(&encoder->payload);
	buffer_fini(&encoder->text);
	buffer_fini(&encoder->packed);
}
