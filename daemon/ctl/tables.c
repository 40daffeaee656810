/* earshot channels, connections, feeds: what there is, a line each. */

#include "daemon/ctl/control.h"
#include "daemon/ctl/table.h"

#include <stdio.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define SUBJECT_BYTES 40

struct kind {
	const char *name; /* of the command, the path and the list */
	const char *const *titles;
	size_t columns;
	void (*add)(struct table *table, json_t *item);
};

static void
add_channel(struct table *table, json_t *item)
{
	json_t *lag = json_object_get(item, "lag");
	char text[6][32];

	table_add(table,
	    (const char *const[]){ control_text(item, "channel"),
		control_count(text[0], control_number(item, "consumers")),
		control_count(text[1], control_number(item, "messages")),
		control_bytes(text[2], control_number(item, "bytes")),
		control_bytes(text[3], control_number(item, "memory_bytes")),
		control_count(text[4], control_number(lag, "messages")),
		control_age(text[5], control_number(lag, "seconds")) });
}

/* The first, and how many more. */
static const char *
names_of(json_t *item, char *out, size_t size)
{
	json_t *names = json_object_get(item, "channels");
	const char *first = json_string_value(json_array_get(names, 0));
	const double more = control_number(item, "subscriptions") - 1;

	if (first == NULL)
		return "-";
	(void)snprintf(out, size, more > 0 ? "%s +%.0f" : "%s", first, more);
	return out;
}

/* Whose token it came with; what is longer is cut, at a character. */
static const char *
subject_of(json_t *item, char *out, size_t size)
{
	const char *subject = control_text(item, "subject");
	size_t len = strlen(subject);

	if (len >= size)
		for (len = size - 1; (subject[len] & 0xc0) == 0x80;)
			len--;
	memcpy(out, subject, len);
	out[len] = '\0';
	return len > 0 ? out : "-";
}

static void
add_connection(struct table *table, json_t *item)
{
	json_t *lag = json_object_get(item, "lag");
	char text[4][32], names[192], subject[SUBJECT_BYTES + 1];

	table_add(table,
	    (const char *const[]){ control_text(item, "conn"),
		control_text(item, "state"), control_text(item, "endpoint"),
		control_text(item, "peer"),
		control_age(text[0], control_number(item, "age")),
		control_bytes(text[1], control_number(item, "bytes")),
		control_count(text[2], control_number(lag, "messages")),
		control_age(text[3], control_number(lag, "seconds")),
		names_of(item, names, sizeof(names)),
		subject_of(item, subject, sizeof(subject)) });
}

static void
add_feed(struct table *table, json_t *item)
{
	const char *error = control_text(item, "last_error");
	char text[3][32];

	table_add(table,
	    (const char *const[]){ control_text(item, "name"),
		control_text(item, "kind"), control_text(item, "channel"),
		control_text(item, "state"),
		control_age(text[0], control_number(item, "since")),
		control_count(text[1], control_number(item, "messages")),
		control_count(text[2], control_number(item, "restarts")),
		*error != '\0' ? error : "-" });
}

static const char *const channel_titles[] = { "CHANNEL", ">CONSUMERS",
	">MESSAGES", ">BYTES", ">MEMORY", ">LAG", ">BEHIND" };
static const char *const connection_titles[] = { "CONN", "STATE", "ENDPOINT",
	"PEER", ">AGE", ">BYTES", ">LAG", ">BEHIND", "CHANNELS", "SUBJECT" };
static const char *const feed_titles[] = { "FEED", "KIND", "CHANNEL", "STATE",
	">SINCE", ">MESSAGES", ">RESTARTS", "LAST ERROR" };

static const struct kind kinds[] = {
	{ "channels", channel_titles, LENGTH(channel_titles), add_channel },
	{ "connections", connection_titles, LENGTH(connection_titles),
	    add_connection },
	{ "feeds", feed_titles, LENGTH(feed_titles), add_feed },
};

static int
print(const struct kind *kind, json_t *answer)
{
	struct table table = { .titles = kind->titles,
		.columns = kind->columns };
	json_t *list = json_object_get(answer, kind->name);
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		kind->add(&table, json_array_get(list, i));
	table_print(&table, stdout, 0);
	table_fini(&table);
	return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}

int
tables_run(const struct ctl_options *options, const char *what)
{
	const struct kind *kind = kinds;
	char path[64];
	json_t *answer;
	int code;

	while (strcmp(kind->name, what) != 0)
		kind++;
	(void)snprintf(path, sizeof(path), "/control/%s", kind->name);
	code = control_ask(options, "GET", path, false, &answer);
	if (code != CTL_OK)
		return code;
	if (!options->json)
		code = print(kind, answer);
	else if (!control_print(answer))
		code = CTL_FAILED;
	json_decref(answer);
	return code;
}
