/*
 * What a member may get, and when.
 *
 * A gap is held to the policy: after `skip` at least buffer_bytes of messages
 * follow, so no more was lost than had to be; after `latest` nothing that was
 * there when reading was resumed; with `close` there is none.
 */

#include "tests/bench/stall.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "tests/bench/dial.h"
#include "tests/bench/run.h"

#define IN_BYTES_MAX (1u << 20)
#define CLOSE_GAP 4009
#define CLOSE_OVERRUN 1013

static const char *const form_names[STALL_FORMS] = { "raw", "silent", "v1" };

static int
fault(const struct stall_member *member, const char *what, const uint8_t *data,
    size_t len)
{
	return run_fault("%s consumer of %s%s, at message %" PRIu64
			 " of %" PRIu64 " (%" PRIu64 " on return): %s: %.*s",
	    form_names[member->form], member->channel->name,
	    member->stalls ? " that stalled" : "", member->next,
	    member->channel->source.next, member->channel->resumed_at, what,
	    len > 160 ? 160 : (int)len, (const char *)data);
}

/* --- the beginning --- */

/* EPOCH:OFFSET; nothing is published yet, so it is the same for all. */
static int
take_position(struct stall_member *member, const char *text)
{
	struct stall_channel *channel = member->channel;
	unsigned long long base = 0;
	char epoch[17] = "";

	if (sscanf(text, "%16[0-9a-f]:%llu", epoch, &base) != 2 ||
	    strlen(epoch) != 16)
		return fault(
		    member, "position", (const uint8_t *)text, strlen(text));
	if (channel->epoch[0] == '\0') {
		memcpy(channel->epoch, epoch, sizeof(epoch));
		channel->base = base;
	}
	if (strcmp(channel->epoch, epoch) != 0 || channel->base != base)
		return fault(member, "another position", (const uint8_t *)text,
		    strlen(text));
	member->state = STALL_READING;
	return 0;
}

int
stall_answered(struct stall_member *member, const char *answer)
{
	static const char name[] = "\r\nEarshot-Position: ";
	const char *position = strcasestr(answer, name);
	uint8_t frame[256];
	char text[128];
	int len, r;

	if (!dial_is_upgraded(answer))
		return fault(
		    member, "answer", (const uint8_t *)answer, strlen(answer));
	if (member->form != STALL_V1)
		return take_position(
		    member, position ? position + sizeof(name) - 1 : "");
	len = snprintf(text, sizeof(text),
	    "{\"id\":1,\"subscribe\":{\"channel\":\"%s\"}}",
	    member->channel->name);
	r = dial_send(member->fd, frame,
	    dial_put_frame(frame, FRAME_TEXT, text, (size_t)len));
	member->state = STALL_SUBSCRIBED;
	return r < 0 ? run_fault("subscribe: %s", strerror(-r)) : 0;
}

/* --- overtaken --- */

/* Messages from `next` to `to` - 1 will not come. */
static int
overtaken(struct stall_member *member, uint64_t to)
{
	const struct stall_channel *channel = member->channel;
	uint64_t published = channel->source.next;
	bool good = member->stalls && !member->away && !member->overtaken &&
		    to > member->next && to <= published;

	if (channel->policy == STALL_SKIP)
		good =
		    good && (published - to) * channel->source.message_bytes >=
				channel->kept_bytes;
	else
		good = good && channel->policy == STALL_LATEST &&
		       to >= channel->resumed_at;
	if (!good)
		return run_fault("%s consumer of %s: gap from message %" PRIu64
				 " to before %" PRIu64 " of %" PRIu64
				 ", %" PRIu64 " on return, stalled %d",
		    form_names[member->form], channel->name, member->next, to,
		    published, channel->resumed_at, member->stalls);
	member->overtaken = true;
	member->lost = to - member->next;
	member->next = to;
	return 0;
}

/* Offsets as the server tells them; the first must be the one that is due. */
static int
take_gap(
    struct stall_member *member, unsigned long long from, unsigned long long to)
{
	uint64_t due = member->channel->base + 1 + member->next;

	if (from != due)
		return run_fault("%s consumer of %s: the gap begins at %llu, "
				 "%" PRIu64 " was due",
		    form_names[member->form], member->channel->name, from, due);
	return overtaken(member, to - member->channel->base);
}

static int
take_close(struct stall_member *member, const uint8_t *data, size_t len)
{
	const struct stall_channel *channel = member->channel;
	unsigned code = len >= 2 ? (unsigned)data[0] << 8 | data[1] : 0;
	unsigned long long from = 0, to = 0;
	char epoch[17] = "", reason[124] = "";
	uint8_t frame[FRAME_HEADER_MAX + 2];

	if (len > 2)
		memcpy(reason, data + 2, len - 2);
	/* It has ended for us; whether the answer arrives is its matter. */
	if (len >= 2)
		(void)dial_send(member->fd, frame,
		    dial_put_frame(frame, FRAME_CLOSE, data, 2));
	member->state = STALL_CLOSED;
	if (!member->stalls || member->away || member->overtaken)
		return fault(member, "closed", data + 2, len > 2 ? len - 2 : 0);
	if (channel->policy == STALL_CLOSE && code == CLOSE_OVERRUN) {
		member->overtaken = true;
		return 0;
	}
	if (member->form != STALL_RAW || channel->policy == STALL_CLOSE ||
	    code != CLOSE_GAP ||
	    sscanf(reason, "gap %16[0-9a-f]:%llu-%llu", epoch, &from, &to) !=
		3 ||
	    strcmp(epoch, channel->epoch) != 0)
		return fault(
		    member, "wrong close", data + 2, len > 2 ? len - 2 : 0);
	return take_gap(member, from, to);
}

/* --- messages --- */

static int
take_message(struct stall_member *member, const uint8_t *data, size_t len)
{
	const struct stall_channel *channel = member->channel;
	unsigned long long sequence = 0;
	char head[SOURCE_HEAD_BYTES] = "";
	int r = 0;

	if (len != channel->source.message_bytes)
		return fault(member, "length", data, len);
	memcpy(head, data, sizeof(head) - 1);
	if (sscanf(head, "%*8[0-9a-f] %16llx", &sequence) != 1)
		return fault(member, "not ours", data, len);
	/* Who asked for silence sees a gap by what comes next. */
	if (sequence > member->next && member->form == STALL_SILENT)
		r = overtaken(member, sequence);
	if (r < 0)
		return r;
	if (sequence != member->next ||
	    !source_check(&channel->source, sequence, 0, data, len))
		return fault(member, "not what was due", data, len);
	member->next++;
	member->deliveries++;
	if (!member->stalls && sequence >= channel->latency_from)
		sample_add(channel->latency,
		    sample_now_us() -
			source_sent_us(&channel->source, sequence));
	return 0;
}

/* One of: the answer to subscribe, a gap, a message. */
static int
take_object(struct stall_member *member, const uint8_t *data, size_t len)
{
	static const char mark[] = "\"text\":\"";
	const struct stall_channel *channel = member->channel;
	unsigned long long from = 0, to = 0;
	char head[160] = "", begins[64];
	const char *at;

	memcpy(head, data, len < sizeof(head) - 1 ? len : sizeof(head) - 1);
	if (member->state == STALL_SUBSCRIBED) {
		at = strstr(head, "\"position\":\"");
		return take_position(member,
		    at && strncmp(head, "{\"id\":1,\"ok\":", 13) == 0 ? at + 12
								      : head);
	}
	(void)snprintf(begins, sizeof(begins),
	    "{\"gap\":{\"channel\":\"%s\",\"from\":", channel->name);
	if (strncmp(head, begins, strlen(begins)) == 0 &&
	    sscanf(head + strlen(begins), "%llu,\"to\":%llu}}", &from, &to) ==
		2)
		return take_gap(member, from, to);
	(void)snprintf(begins, sizeof(begins),
	    "{\"channel\":\"%s\",\"offset\":%" PRIu64 ",", channel->name,
	    channel->base + 1 + member->next);
	at = strstr(head, mark);
	if (strncmp(head, begins, strlen(begins)) != 0 || !at ||
	    memcmp(data + len - 2, "\"}", 2) != 0)
		return fault(member, "not the object that was due", data, len);
	from = (unsigned long long)(at - head) + sizeof(mark) - 1;
	return take_message(member, data + from, len - (size_t)from - 2);
}

static int
take_frame(struct stall_member *member, const struct frame_header *frame,
    const uint8_t *data)
{
	size_t len = (size_t)frame->payload_bytes;
	uint8_t pong[FRAME_HEADER_MAX + 125];

	if (frame->opcode == FRAME_CLOSE)
		return take_close(member, data, len);
	if (frame->opcode == FRAME_PING)
		return dial_send(member->fd, pong,
			   dial_put_frame(pong, FRAME_PONG, data, len)) < 0
			   ? fault(member, "pong", data, len)
			   : 0;
	if (frame->opcode != FRAME_TEXT || !frame->fin || frame->rsv != 0)
		return fault(member, "not a frame that was due", data, len);
	return member->form == STALL_V1 ? take_object(member, data, len)
					: take_message(member, data, len);
}

int
stall_take(struct stall_member *member, const uint8_t *data, size_t len)
{
	struct frame_header frame;
	size_t at = 0;
	int r = 0;

	assert(!member->away);
	if (len == 0)
		return fault(member, "ended without a close", data, 0);
	if (buffer_append(&member->in, data, len, IN_BYTES_MAX) < 0)
		return fault(member, "a frame without end", data, len);
	while (r == 0 && member->state != STALL_CLOSED) {
		const uint8_t *from = member->in.data + at;
		size_t left = member->in.len - at;
		int header = frame_get_header(from, left, &frame);

		if (header == -EAGAIN)
			break;
		if (header < 0 || frame.masked)
			return fault(member, "not a frame", from, left);
		if (left - (size_t)header < frame.payload_bytes)
			break;
		r = take_frame(member, &frame, from + header);
		at += (size_t)header + (size_t)frame.payload_bytes;
	}
	buffer_consume(&member->in, at);
	return r;
}

bool
stall_is_done(const struct stall_member *member)
{
	if (member->stalls && !member->overtaken)
		return false;
	return member->state == STALL_CLOSED ||
	       member->next == member->channel->source.next;
}
