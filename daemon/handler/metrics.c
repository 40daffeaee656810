/*
 * metrics: the handlers' part of /metrics, and their state in words.
 *
 * To add a number: a field in struct handler_counts, a line in the table.
 */

#include "daemon/handler/exec.h"

#include <inttypes.h>
#include <stddef.h>

static const struct metric {
	const char *name, *help;
	size_t offset; /* of a uint64_t in struct handler_counts */
} metrics[] = {
#define COUNT(field, name, help)                                               \
	{                                                                      \
		name, help, offsetof(struct handler_counts, field)             \
	}
	COUNT(events, "handler_events_total",
	    "events given to callbacks: open, message, error, close"),
	COUNT(failed, "handler_failed_total", "callbacks that failed"),
	COUNT(refused, "handler_refused_total", "connections refused"),
	COUNT(pauses, "handler_pauses_total",
	    "times a connection was not read: limits queue_* send_bytes_max"),
	COUNT(late, "handler_late_total",
	    "callbacks longer than limit callback_timeout"),
	COUNT(restarts, "handler_restarts_total", "starts after the first"),
	COUNT(lost, "handler_lost_total",
	    "events a process died over, told as errors"),
	COUNT(commands, "handler_commands_total", "what processes asked for"),
	COUNT(bad_lines, "handler_bad_lines_total",
	    "lines of processes that were not taken"),
	COUNT(gaps, "handler_gaps_total",
	    "messages that were gone before a consuming handler had them"),
	COUNT(publishes, "handler_publishes_total",
	    "messages the handler was asked about before they were published"),
	COUNT(publishes_changed, "handler_publishes_changed_total",
	    "of those, changed"),
	COUNT(publishes_refused, "handler_publishes_refused_total",
	    "of those, refused"),
	COUNT(publishes_failed, "handler_publishes_failed_total",
	    "of those, refused because the handler failed: it died, or took "
	    "longer than limit callback_timeout"),
#undef COUNT
};

static int
put_head(
    struct buffer *out, const char *name, const char *type, const char *help)
{
	return buffer_printf(out, SIZE_MAX / 2,
	    "# HELP earshot_%s %s\n# TYPE earshot_%s %s\n", name, help, name,
	    type);
}

static int
put_value(struct buffer *out, const char *name, const struct handler *handler,
    uint64_t value)
{
	return buffer_printf(out, SIZE_MAX / 2,
	    "earshot_%s{handler=\"%s\"} %" PRIu64 "\n", name,
	    handler->conf->name, value);
}

/* One a name: the youngest, whose former ones are counted with it. */
static bool
is_shown(const struct handler *handler)
{
	return handler->later == NULL && handler->served &&
	       handler->state != HANDLER_ENDED;
}

static int
put_counter(struct buffer *out, const struct handlers *handlers,
    const struct metric *metric)
{
	int error = put_head(out, metric->name, "counter", metric->help);

	LIST_EACH_SAFE(node, next, &handlers->all)
	{
		const struct handler *shown =
		    LIST_ENTRY(node, struct handler, node);
		uint64_t sum = 0;

		for (const struct handler *each = shown; each != NULL;
		     each = each->former)
			sum += *(const uint64_t *)(const void
				*)((const char *)&each->counts +
				   metric->offset);
		if (error == 0 && is_shown(shown))
			error = put_value(out, metric->name, shown, sum);
	}
	return error;
}

enum gauge {
	FORMER,
	SESSIONS,
	QUEUED,
	BUSY,
	STUCK,
	PROCESSES,
	IN_FLIGHT,
	AGAIN
};

static const struct {
	const char *name, *type, *help;
} gauges[] = {
	[FORMER] = { "handler_former", "gauge",
	    "those of before a reload that still have connections" },
	[SESSIONS] = { "handler_connections", "gauge", "connections it has" },
	[QUEUED] = { "handler_queued", "gauge", "events not handled yet" },
	[BUSY] = { "handler_busy", "gauge", "callbacks given to a worker" },
	[STUCK] = { "handler_stuck", "gauge",
	    "callbacks longer than callback_timeout, still running" },
	[PROCESSES] = { "handler_processes", "gauge", "processes running" },
	[IN_FLIGHT] = { "handler_in_flight_bytes", "gauge",
	    "sends and publishes on their way onto the loop" },
	[AGAIN] = { "handler_again_total", "counter",
	    "calls refused by limits in_flight_bytes_max, send_bytes_max" },
};

static uint64_t
gauge_of(const struct handler *handler, enum gauge gauge)
{
	switch (gauge) {
	case FORMER:
		return handler->state != HANDLER_SERVING;
	case SESSIONS:
		return handler->session_count;
	case QUEUED:
		return (uint64_t)handler->queued_events;
	case BUSY:
		return handler->busy;
	case STUCK:
		return handler->late;
	case PROCESSES:
		return exec_running(handler->exec);
	case IN_FLIGHT:
		return (uint64_t)atomic_load(&handler->in_flight);
	case AGAIN:
		return atomic_load(&handler->again);
	}
	return 0;
}

static int
put_gauge(struct buffer *out, const struct handlers *handlers, enum gauge gauge)
{
	int error = put_head(
	    out, gauges[gauge].name, gauges[gauge].type, gauges[gauge].help);

	LIST_EACH_SAFE(node, next, &handlers->all)
	{
		const struct handler *shown =
		    LIST_ENTRY(node, struct handler, node);
		uint64_t sum = 0;

		for (const struct handler *each = shown; each != NULL;
		     each = each->former)
			sum += gauge_of(each, gauge);
		if (error == 0 && is_shown(shown))
			error = put_value(out, gauges[gauge].name, shown, sum);
	}
	return error;
}

/* What is there without a handler too. */
static int
put_all(struct buffer *out, const struct handlers *handlers)
{
	es_executor_stats stats = { 0 };
	int error = es_executor_get_stats(handlers->rooms.work, &stats);
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} rows[] = {
		{ "work_jobs_waiting", "gauge",
		    "batches of callbacks that wait for a thread",
		    stats.queued },
		{ "work_jobs_total", "counter",
		    "batches of callbacks done by limit work_threads threads",
		    stats.done },
		{ "handlers_former", "gauge",
		    "handlers of before a reload: limit 256",
		    handlers->former_count },
		{ "handlers_former_refused_total", "counter",
		    "reloads refused for so many former handlers",
		    handlers->former_refused },
		{ "plugin_copies", "gauge",
		    "plugins loaded anew since the start: limit 256",
		    handlers->copies },
		{ "plugin_copies_refused_total", "counter",
		    "reloads refused for so many plugins loaded anew",
		    handlers->copies_refused },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows) && error == 0;
	     i++) {
		error = put_head(out, rows[i].name, rows[i].type, rows[i].help);
		if (error == 0)
			error = buffer_printf(out, SIZE_MAX / 2,
			    "earshot_%s %" PRIu64 "\n", rows[i].name,
			    rows[i].value);
	}
	return error;
}

int
handlers_put_metrics(struct buffer *out, void *arg)
{
	const struct handlers *handlers = arg;
	int error = put_all(out, handlers);
	bool any = false;
	size_t i;

	LIST_EACH_SAFE(node, next, &handlers->all)
	any = any || is_shown(LIST_ENTRY(node, struct handler, node));
	if (!any)
		return error; /* no name without a value */
	for (i = 0; i < sizeof(gauges) / sizeof(*gauges) && error == 0; i++)
		error = put_gauge(out, handlers, (enum gauge)i);
	for (i = 0; i < sizeof(metrics) / sizeof(*metrics) && error == 0; i++)
		error = put_counter(out, handlers, &metrics[i]);
	return error;
}
