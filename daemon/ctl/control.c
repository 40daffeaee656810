/*
 * A request to the control socket, and the commands that are little more.
 *
 * What can go wrong: no socket, or nobody behind it: 4; it is not for us: 5;
 * the daemon drains: 3; it says no: 1 and its words.
 */

#include "daemon/ctl/control.h"
#include "daemon/ctl/session.h"
#include "daemon/ctl/words.h"
#include "daemon/lws/http_answer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define LOOK_S 10 /* without a byte */
#define ACT_S 75 /* a reload has the daemon's own deadlines behind it */
#define QUERY_BYTES_MAX 1024

static const char *
path_of(const struct ctl_options *options)
{
	const char *path = getenv("EARSHOT_CONTROL");

	if (options->control_path != NULL)
		return options->control_path;
	return path != NULL && path[0] != '\0' ? path : CONTROL_PATH_DEFAULT;
}

static int
connect_to(const char *path, int timeout_s)
{
	const struct timeval timeout = { .tv_sec = timeout_s };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	(void)strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) <
		0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) <
		0 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) <
		0) {
		const int error = -errno;

		(void)close(fd);
		return error;
	}
	return fd;
}

static int
send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		const ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
receive(int fd, struct http_answer *answer)
{
	char data[65536];
	size_t used;
	int more = 0;

	while (more == 0) {
		const ssize_t n = recv(fd, data, sizeof(data), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		more = n == 0
			   ? http_answer_end(answer)
			   : http_answer_feed(answer, data, (size_t)n, &used);
	}
	return more < 0 ? more : 0;
}

static int
exchange(const char *socket_path, const char *method, const char *path,
    struct http_answer *answer)
{
	const bool act = strcmp(method, "POST") == 0;
	char head[QUERY_BYTES_MAX + 256];
	int fd, error, len;

	len = snprintf(head, sizeof(head),
	    "%s %s HTTP/1.1\r\nHost: control\r\n%s\r\n", method, path,
	    act ? "Content-Length: 0\r\n" : "");
	assert(len > 0 && (size_t)len < sizeof(head));
	fd = connect_to(socket_path, act ? ACT_S : LOOK_S);
	if (fd < 0)
		return fd;
	error = send_all(fd, head, (size_t)len);
	if (error == 0)
		error = receive(fd, answer);
	(void)close(fd); /* all was said */
	return error;
}

static int
unreachable(const char *path, int error, bool quiet)
{
	if (!quiet)
		ctl_say("%s: %s%s", path, strerror(-error),
		    error == -ENOENT ? "; is earshotd running, with [control]?"
				     : "");
	return error == -EACCES || error == -EPERM ? CTL_NOT_ALLOWED
						   : CTL_UNREACHABLE;
}

/* Faults of a configuration, a line each, for who has to mend them. */
static void
say_faults(json_t *answer)
{
	char text[CTL_TEXT_MAX];
	json_t *faults = json_object_get(answer, "faults");
	size_t i;

	for (i = 0; i < json_array_size(faults); i++) {
		const char *value =
		    json_string_value(json_array_get(faults, i));

		if (value == NULL)
			continue;
		words_printable(text, sizeof(text), value, strlen(value));
		(void)fprintf(stderr, "%s\n", text);
	}
}

static int
refused(const struct http_answer *answer, json_t *object, bool quiet)
{
	char text[CTL_TEXT_MAX];

	if (!quiet) {
		say_faults(object);
		if (session_error_text(
			answer->body.data, answer->body.len, text))
			ctl_say("%s", text);
		else
			ctl_say("answered with %u", answer->status);
	}
	if (answer->status == 403)
		return CTL_NOT_ALLOWED;
	return answer->status == 409 ? CTL_DRAINING : CTL_FAILED;
}

int
control_ask(const struct ctl_options *options, const char *method,
    const char *path, bool quiet, json_t **ret_answer)
{
	struct http_answer answer;
	json_t *object = NULL;
	int code = CTL_OK, error;

	http_answer_init(&answer, ANSWER_BYTES_MAX);
	error = exchange(path_of(options), method, path, &answer);
	if (error == 0)
		object = json_loadb(
		    (const char *)answer.body.data, answer.body.len, 0, NULL);
	if (error < 0)
		code = unreachable(path_of(options), error, quiet);
	else if (answer.status != 200)
		code = refused(&answer, object, quiet);
	else if (!json_is_object(object))
		code = unreachable(path_of(options), -EPROTO, quiet);
	http_answer_fini(&answer);
	if (code == CTL_OK && ret_answer != NULL)
		*ret_answer = object;
	else
		json_decref(object);
	return code;
}

/* Words and numbers */

const char *
control_text(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

double
control_number(json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static const char *
scaled(char out[static 32], double value, double step)
{
	static const char units[] = " kMGT";
	size_t unit = 0;

	while (value >= step - 0.5 && units[unit + 1] != '\0') {
		value /= step;
		unit++;
	}
	if (unit == 0)
		(void)snprintf(out, 32, "%.0f", value);
	else
		(void)snprintf(out, 32, value < 9.95 ? "%.1f%c" : "%.0f%c",
		    value, units[unit]);
	return out;
}

const char *
control_count(char out[static 32], double value)
{
	return scaled(out, value, 1000);
}

const char *
control_bytes(char out[static 32], double value)
{
	return scaled(out, value, 1024);
}

const char *
control_age(char out[static 32], double seconds)
{
	if (seconds < 100)
		(void)snprintf(
		    out, 32, seconds < 10 ? "%.1fs" : "%.0fs", seconds);
	else if (seconds < 6000)
		(void)snprintf(out, 32, "%.0fm", seconds / 60);
	else if (seconds < 360000)
		(void)snprintf(out, 32, "%.0fh", seconds / 3600);
	else
		(void)snprintf(out, 32, "%.0fd", seconds / 86400);
	return out;
}

/* The commands */

bool
control_print(json_t *object)
{
	return json_dumpf(object, stdout, JSON_COMPACT) == 0 &&
	       putchar('\n') != EOF && fflush(stdout) == 0;
}

static int
print_json(json_t *answer)
{
	return control_print(answer) ? CTL_OK : CTL_FAILED;
}

static int
print_lines(json_t *list)
{
	char text[CTL_TEXT_MAX];
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		const char *value = json_string_value(json_array_get(list, i));

		if (value == NULL)
			continue;
		words_printable(text, sizeof(text), value, strlen(value));
		(void)puts(text);
	}
	return fflush(stdout) == 0 ? CTL_OK : CTL_FAILED;
}

static int
status(const struct ctl_options *options)
{
	json_t *answer;
	int code =
	    control_ask(options, "GET", "/control/status", false, &answer);

	if (code != CTL_OK)
		return code;
	code = options->json ? print_json(answer)
			     : print_lines(json_object_get(answer, "report"));
	if (code == CTL_OK &&
	    strcmp(control_text(answer, "state"), "serving") != 0)
		code = CTL_DRAINING;
	json_decref(answer);
	return code;
}

/* Appends "NAME=VALUE", the value escaped; out has room for it. */
static void
put_argument(char *out, size_t size, const char *name, const char *value)
{
	size_t len = strlen(out);

	len += (size_t)snprintf(out + len, size - len,
	    "%c%s=", strchr(out, '?') != NULL ? '&' : '?', name);
	for (; *value != '\0' && len + 4 < size; value++)
		if ((*value >= 'a' && *value <= 'z') ||
		    (*value >= 'A' && *value <= 'Z') ||
		    (*value >= '0' && *value <= '9') || *value == '.' ||
		    *value == '-' || *value == '_') {
			out[len++] = *value;
			out[len] = '\0';
		} else {
			len += (size_t)snprintf(out + len, size - len, "%%%02X",
			    (unsigned char)*value);
		}
}

static int
act(const struct ctl_options *options, const char *path, json_t **ret_answer)
{
	int code = control_ask(options, "POST", path, false, ret_answer);

	if (code == CTL_OK && options->json)
		code = print_json(*ret_answer);
	return code;
}

static int
kick(const struct ctl_options *options)
{
	char path[QUERY_BYTES_MAX] = "/control/kick", number[24];
	json_t *answer = NULL;
	int code;

	if (options->channel_count > 0)
		put_argument(path, sizeof(path), "conn", options->channels[0]);
	else
		put_argument(
		    path, sizeof(path), "channel", options->kick_channel);
	if (options->kick_code > 0) {
		(void)snprintf(
		    number, sizeof(number), "%" PRId64, options->kick_code);
		put_argument(path, sizeof(path), "code", number);
	}
	if (options->kick_reason != NULL)
		put_argument(
		    path, sizeof(path), "reason", options->kick_reason);
	code = act(options, path, &answer);
	if (code == CTL_OK && !options->json)
		(void)printf("%.0f kicked\n", control_number(answer, "kicked"));
	json_decref(answer);
	return code;
}

static int
drain(const struct ctl_options *options)
{
	json_t *answer = NULL;
	const int code = act(options, "/control/drain", &answer);

	json_decref(answer);
	return code;
}

static int
reload(const struct ctl_options *options)
{
	json_t *answer = NULL, *restart;
	int code = act(options, "/control/reload", &answer);
	char text[CTL_TEXT_MAX];
	size_t i;

	restart = json_object_get(answer, "restart");
	for (i = 0; !options->json && i < json_array_size(restart); i++) {
		const char *value =
		    json_string_value(json_array_get(restart, i));

		if (value == NULL)
			continue;
		words_printable(text, sizeof(text), value, strlen(value));
		ctl_say("takes a restart: %s", text);
	}
	json_decref(answer);
	return code;
}

static int
log_level(const struct ctl_options *options)
{
	char path[QUERY_BYTES_MAX] = "/control/log-level";
	json_t *answer = NULL;
	int code;

	if (options->channel_count == 0) {
		code = control_ask(
		    options, "GET", "/control/status", false, &answer);
		if (code == CTL_OK)
			(void)puts(control_text(answer, "log_level"));
	} else {
		put_argument(path, sizeof(path), "level", options->channels[0]);
		code = act(options, path, &answer);
	}
	json_decref(answer);
	return code;
}

int
control_run(const struct ctl_options *options, const char *command)
{
	static const struct {
		const char *name;
		int (*run)(const struct ctl_options *options);
	} commands[] = {
		{ "status", status },
		{ "kick", kick },
		{ "drain", drain },
		{ "reload", reload },
		{ "log-level", log_level },
		{ "top", top_run },
	};
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(commands[i].name, command) == 0)
			return commands[i].run(options);
	return tables_run(options, command);
}
