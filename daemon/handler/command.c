/*
 * command: what processes ask for, done on the loop, and the replies.
 *
 * What can go wrong: the connection has gone, its peer does not read, the hub
 * refuses: an error to whoever wanted a reply, else counted or told to the
 * connection's on_error; replies that are not read: the process is killed;
 * its stdin has ended: what wanted a reply is told in the log, and at the end
 * of the daemon, when nobody is left to hear it, nothing is published.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/handler/filter.h"
#include "daemon/handler/wire.h"
#include "daemon/handler/worker.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define NO_REPLY "no reply, its stdin has ended"
#define ASK_COST 256 /* counted for a publish that waits, beside its bytes */

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

	if (command->payload_len >
	    (size_t)atomic_load(&session->handler->handlers->message_bytes_max))
		return -EMSGSIZE;
	if (before > 0 && before + (int64_t)command->payload_len >
			      session->handler->conf->send_bytes_max) {
		atomic_fetch_add(&session->handler->again, 1);
		return -EAGAIN;
	}
	atomic_fetch_add(&line->bytes, (int64_t)command->payload_len);
	return session_send(session, command->message_kind, command->payload,
	    command->payload_len, NULL);
}

/* The connections are gone, and the processes are to go. */
static bool
is_too_late(const struct worker *worker)
{
	return worker->exec->stopping &&
	       worker->exec->handler->handlers->waiting.end;
}

/* -EINPROGRESS: a filter has it, the reply comes when that is through. */
static int
do_publish(struct worker *worker, const struct wire_command *command,
    struct position *ret_position) LOOP_THREAD
{
	struct handler *handler = worker->exec->handler;
	const int64_t len = (int64_t)command->payload_len;
	const struct hub_message message = {
		.kind = command->message_kind,
		.payload = command->payload,
		.len = command->payload_len,
		.checked = true, /* by wire_get_command() */
		.publisher = &worker->publisher,
		.cookie = (uint64_t)command->id,
	};
	int64_t offset;

	if (is_too_late(worker))
		return -ESHUTDOWN;
	if (worker->asked_bytes > 0 &&
	    worker->asked_bytes + len > handler->conf->in_flight_bytes_max) {
		atomic_fetch_add(&handler->again, 1);
		return -EAGAIN;
	}
	offset = hub_publish(handler->handlers->rooms.hub, command->channel,
	    command->channel_len, HUB_INSIDE, &message, clock_wall_us(),
	    ret_position);
	if (offset == -EINPROGRESS)
		worker->asked_bytes += len + ASK_COST;
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

/* What is said of a message before its tape; done comes after it. */
static int
do_verdict(
    struct worker *worker, const struct wire_command *command) LOOP_THREAD
{
	struct session *session = exec_flying(worker, command->seq);
	struct es_verdict *verdict;
	char reason[SESSION_REASON_BYTES_MAX + 1];

	if (session == NULL || session->in_flight->kind != EVENT_PUBLISH)
		return -ENOENT;
	verdict = &ask_of(session->in_flight)->verdict;
	if (command->kind == WIRE_REFUSE)
		return verdict_refuse(
		    verdict, reason_of(command, reason), command->reason_len);
	if (command->payload_len >
	    (size_t)atomic_load(&session->handler->handlers->message_bytes_max))
		return -EMSGSIZE;
	return verdict_change(verdict, command->message_kind, command->payload,
	    command->payload_len);
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
reply(struct worker *worker, int64_t id, int error, const char *text,
    const struct position *position,
    const struct hub_answer *answer) LOOP_THREAD
{
	int r;

	if (id < 0 || worker->in_fd < 0) /* what_is_wrong() tells of it */
		return;
	if (worker->in.len > EXEC_AHEAD_BYTES_MAX) {
		exec_on_bad(worker, "replies are not read", "", 0);
		worker_kill(worker, "does not read its replies");
		return;
	}
	const size_t before = worker->in.len;

	r = error < 0 ? wire_put_error(&worker->in, id, error, text)
		      : wire_put_ok(&worker->in, id, position, answer);
	worker->in_total += worker->in.len - before;
	if (r < 0)
		log_error("no memory for a reply handler=%s",
		    worker->exec->handler->conf->name);
	exec_pump_later(worker, 0);
}

void
command_reply(struct worker *worker, int64_t id, int error, const char *text)
{
	reply(worker, id, error, text, NULL, NULL);
}

/* A filter had what the process published. */
static void
on_verdict(struct hub_publisher *publisher, const struct hub_verdict *verdict)
{
	struct worker *worker = LIST_ENTRY(publisher, struct worker, publisher);

	es_loop_assert(worker->exec->handler->handlers->rooms.loop);
	worker->asked_bytes -= (int64_t)verdict->len + ASK_COST;
	reply(worker, (int64_t)verdict->cookie,
	    verdict->offset < 0 ? (int)verdict->offset : 0, verdict->text,
	    &verdict->position, NULL);
	if (worker->in_fd < 0 && (int64_t)verdict->cookie >= 0)
		exec_on_bad(worker, NO_REPLY, "", 0);
	if (worker->state == WORKER_ENDING)
		exec_pump_later(worker, 0); /* its stdin may end now */
}

void
command_init(struct worker *worker)
{
	static const struct hub_publisher_ops ops = { .verdict = on_verdict };

	hub_publisher_init(&worker->publisher, &ops, worker->exec->handler);
	worker->asked_bytes = 0;
}

void
command_forget(struct worker *worker)
{
	hub_publisher_end(
	    worker->exec->handler->handlers->rooms.hub, &worker->publisher);
	worker->asked_bytes = 0;
}

static bool
is_verdict(const struct wire_command *command)
{
	return command->kind == WIRE_CHANGE ||
	       (command->kind == WIRE_REFUSE && command->seq != 0);
}

/*
 * What is wrong with a command is told in the log where no reply says it, and
 * where the process should not have made it.  NULL: not told.
 */
static const char *
what_is_wrong(
    const struct worker *worker, const struct wire_command *command, int error)
{
	if (error == -ENOTCONN)
		return "a command for a connection that has gone";
	if (error < 0 && is_verdict(command))
		return error == -ENOENT ? "seq: no such publish"
					: "change: cannot be done";
	if (error == -ESHUTDOWN)
		return "not published, the daemon ends";
	if (command->id >= 0)
		return worker->in_fd < 0 ? NO_REPLY : NULL;
	if (error == -EAGAIN && command->kind == WIRE_PUBLISH)
		return "publish: in_flight_bytes_max";
	/* Of a send that is EAGAIN its connection's on_error is told. */
	return error < 0 && error != -EAGAIN ? strerrordesc_np(-error) : NULL;
}

void
command_run(struct worker *worker, const struct wire_command *command,
    const void *text, size_t len)
{
	const char *wrong;
	struct position position = { 0 };
	struct hub_answer answer = { .recovered = false };
	int r;

	worker->exec->handler->counts.commands++;
	if (command->kind == WIRE_PUBLISH) {
		r = do_publish(worker, command, &position);
		if (r != -EINPROGRESS)
			reply(worker, command->id, r, NULL, &position, NULL);
	} else if (is_verdict(command)) {
		r = do_verdict(worker, command);
		reply(worker, command->id, r, NULL, NULL, NULL);
	} else {
		r = do_conn(worker, command, &answer);
		position = answer.position;
		if (command->kind == WIRE_SUBSCRIBE && r == 0)
			reply(worker, command->id, r, NULL, &position, &answer);
		else
			reply(worker, command->id, r, NULL, NULL, NULL);
	}
	if (r == -EINPROGRESS)
		return; /* on_verdict() goes on */
	wrong = what_is_wrong(worker, command, r);
	if (wrong != NULL)
		exec_on_bad(worker, wrong, text, len);
	else if (r == -EAGAIN && command->id < 0)
		exec_tell(command_session(worker, command->conn), r,
		    "send_bytes_max: the peer does not read");
}
