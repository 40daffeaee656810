/*
 * command: what processes ask for, done on the loop, and the replies.
 *
 * What can go wrong: the connection has gone, its peer does not read, the hub
 * refuses: an error to whoever wanted a reply, else counted or told to the
 * connection's on_error; replies that are not read: the process is killed.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/handler/wire.h"
#include "daemon/handler/worker.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct session *
command_session(struct worker *worker, es_conn conn)
{
	struct session *session =
	    session_find(worker->exec->handler->handlers, conn);

	return session != NULL && session->handler == worker->exec->handler &&
		       session->conn != NULL
		   ? session
		   : NULL;
}

static int
do_send(struct session *session, const struct wire_command *command) LOOP_THREAD
{
	struct line *line =
	    &session->handler->handlers->lines[conn_slot(session->name)];
	const int64_t before = atomic_load(&line->bytes);

	if (before > 0 && before + (int64_t)command->payload_len >
			      session->handler->conf->send_bytes_max) {
		atomic_fetch_add(&session->handler->again, 1);
		return -EAGAIN;
	}
	atomic_fetch_add(&line->bytes, (int64_t)command->payload_len);
	return session_send(session, command->message_kind, command->payload,
	    command->payload_len, NULL);
}

static int
do_publish(struct worker *worker, const struct wire_command *command,
    struct position *ret_position) LOOP_THREAD
{
	const struct hub_message message = {
		.kind = command->message_kind,
		.payload = command->payload,
		.len = command->payload_len,
		.checked = true, /* by wire_get_command() */
	};
	const int64_t offset =
	    hub_publish(worker->exec->handler->handlers->rooms.hub,
		command->channel, command->channel_len, HUB_INSIDE, &message,
		clock_wall_us(), ret_position);

	return offset < 0 ? (int)offset : 0;
}

/* A reason is lent without its NUL. */
static const char *
reason_of(const struct wire_command *command,
    char out[static SESSION_REASON_BYTES_MAX + 1])
{
	memcpy(out, command->reason != NULL ? command->reason : "",
	    command->reason_len);
	out[command->reason_len] = '\0';
	return out;
}

static int
do_refuse(
    struct session *session, const struct wire_command *command) LOOP_THREAD
{
	char reason[SESSION_REASON_BYTES_MAX + 1];

	if (session->in_flight == NULL ||
	    session->in_flight->kind != EVENT_OPEN)
		return -EPERM; /* it was accepted */
	session_refuse(session, command->code != 0 ? command->code : 4403,
	    reason_of(command, reason));
	return 0;
}

static int
do_conn(struct worker *worker, const struct wire_command *command,
    struct hub_answer *ret_answer) LOOP_THREAD
{
	struct session *session = command_session(worker, command->conn);
	char reason[SESSION_REASON_BYTES_MAX + 1];

	if (session == NULL)
		return -ENOTCONN;
	switch (command->kind) {
	case WIRE_SEND:
		return do_send(session, command);
	case WIRE_CLOSE:
		session->ops->close(session->conn,
		    command->code != 0 ? command->code : 1000,
		    reason_of(command, reason));
		return 0;
	case WIRE_REFUSE:
		return do_refuse(session, command);
	case WIRE_SUBSCRIBE:
		return session->ops->subscribe(session->conn, command->channel,
		    command->channel_len, &command->from, ret_answer);
	case WIRE_UNSUBSCRIBE:
		return session->ops->unsubscribe(
		    session->conn, command->channel, command->channel_len);
	default:
		return -EINVAL;
	}
}

static void
reply(struct worker *worker, const struct wire_command *command, int error,
    const struct position *position,
    const struct hub_answer *answer) LOOP_THREAD
{
	int r;

	if (command->id < 0)
		return;
	if (worker->in.len > EXEC_AHEAD_BYTES_MAX) {
		exec_on_bad(worker, "replies are not read", "", 0);
		worker_kill(worker, "does not read its replies");
		return;
	}
	const size_t before = worker->in.len;

	r = error < 0 ? wire_put_error(&worker->in, command->id, error)
		      : wire_put_ok(&worker->in, command->id, position, answer);
	worker->in_total += worker->in.len - before;
	if (r < 0)
		log_error("no memory for a reply handler=%s",
		    worker->exec->handler->conf->name);
	exec_pump_later(worker, 0);
}

void
command_run(struct worker *worker, const struct wire_command *command)
{
	struct position position = { 0 };
	struct hub_answer answer;
	int r;

	worker->exec->handler->counts.commands++;
	if (command->kind == WIRE_PUBLISH) {
		r = do_publish(worker, command, &position);
		reply(worker, command, r, &position, NULL);
		return;
	}
	r = do_conn(worker, command, &answer);
	if (command->kind == WIRE_SUBSCRIBE && r == 0) {
		position = answer.position;
		reply(worker, command, r, &position, &answer);
		return;
	}
	reply(worker, command, r, NULL, NULL);
	if (r == -ENOTCONN)
		exec_on_bad(
		    worker, "a command for a connection that has gone", "", 0);
	else if (r == -EAGAIN && command->id < 0)
		session_error(command_session(worker, command->conn), r,
		    "send_bytes_max: the peer does not read");
}
