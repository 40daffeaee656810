/*
 * spawn: posix_spawn(), because it neither copies our memory nor runs our
 * code in the child, and says in the parent why a program cannot run.
 *
 * - The happy path: two pipes, posix_spawnp(), pidfd_open().
 * - Nobody takes the result (the daemon is ending): process_drop() kills what
 *   was started.  Its zombie then stays until the daemon ends, because this
 *   may be a loop's thread, where nobody waits.
 * - Group and leader: kill(-pid) reaches the group with this number.  While
 *   the leader, even dead, is not reaped, the kernel gives the number to
 *   nobody else.  After that it may: only signal 0 is sent then, to look.
 */

#include "daemon/child/spawn.h"
#include "daemon/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#define SPAWN_LIMITS_MAX 96

/* Everything is in one piece of memory with the struct. */
struct spawn_request {
	bool talks; /* stdin is a pipe */
	char **argv, **environment; /* NULL-terminated */
	char *directory; /* NULL: ours */
};

/*
 * What sets the limits: they have to be there before the program runs its
 * first instruction, and outlive its becoming another.
 */
static size_t
spawn_limits(const struct conf_command *conf, char out[SPAWN_LIMITS_MAX])
{
	int len = 0;

	out[0] = '\0';
	if (conf->memory_max > 0)
		len += snprintf(out + len, SPAWN_LIMITS_MAX - (size_t)len,
		    "ulimit -v %" PRId64 " && ",
		    (conf->memory_max + 1023) / 1024);
	if (conf->cpu_max_us > 0)
		len += snprintf(out + len, SPAWN_LIMITS_MAX - (size_t)len,
		    "ulimit -t %" PRId64 " && ",
		    (conf->cpu_max_us + 999999) / 1000000);
	if (len > 0)
		len += snprintf(
		    out + len, SPAWN_LIMITS_MAX - (size_t)len, "exec \"$@\"");
	assert(len < SPAWN_LIMITS_MAX);
	return (size_t)len;
}

static size_t
strings_bytes(char *const *items, size_t count)
{
	size_t bytes = 0, i;

	for (i = 0; i < count; i++)
		bytes += strlen(items[i]) + 1;
	return bytes;
}

/* Copies count strings behind each other; where they end. */
static char *
strings_copy(char **to, char *text, char *const *items, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		to[i] = text;
		text = stpcpy(text, items[i]) + 1;
	}
	to[count] = NULL;
	return text;
}

int
spawn_request_new(
    const struct conf_command *conf, struct spawn_request **ret_request)
{
	const struct conf_list *exec = &conf->exec, *env = &conf->environment;
	char limits[SPAWN_LIMITS_MAX], sh[] = "/bin/sh", c[] = "-c";
	char *before[] = { sh, c, limits, sh };
	size_t shim = spawn_limits(conf, limits) > 0 ? 4 : 0, bytes;
	struct spawn_request *request;
	char *text;

	if (exec->count == 0)
		return -EINVAL;
	bytes = sizeof(*request) +
		(shim + exec->count + env->count + 2) * sizeof(char *) +
		strings_bytes(before, shim) +
		strings_bytes(exec->items, exec->count) +
		strings_bytes(env->items, env->count) +
		(conf->directory ? strlen(conf->directory) + 1 : 0);
	request = memory_alloc(bytes);
	if (!request)
		return -ENOMEM;
	request->talks = false;
	request->argv = (char **)(request + 1);
	request->environment = request->argv + shim + exec->count + 1;
	text = (char *)(request->environment + env->count + 1);
	text = strings_copy(request->argv, text, before, shim);
	text =
	    strings_copy(request->argv + shim, text, exec->items, exec->count);
	text = strings_copy(request->environment, text, env->items, env->count);
	request->directory = conf->directory ? text : NULL;
	if (conf->directory)
		text = stpcpy(text, conf->directory) + 1;
	assert(text == (char *)request + bytes);
	*ret_request = request;
	return 0;
}

void
spawn_request_talk(struct spawn_request *request)
{
	request->talks = true;
}

void
spawn_request_free(void *request)
{
	memory_free(request);
}

/* What systemd says to us and nobody else. */
static bool
spawn_env_is_ours(const char *entry)
{
	static const char *const names[] = { "NOTIFY_SOCKET=", "LISTEN_PID=",
		"LISTEN_FDS=", "LISTEN_FDNAMES=", "WATCHDOG_PID=",
		"WATCHDOG_USEC=" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* Is it set by one of the added ones? */
static bool
spawn_env_is_replaced(const char *entry, char *const *added)
{
	size_t len = strcspn(entry, "=");

	for (; *added; added++)
		if (strncmp(entry, *added, len) == 0 && (*added)[len] == '=')
			return true;
	return false;
}

/* NULL: no memory.  The strings stay where they are. */
static char **
spawn_env_new(char *const *added)
{
	size_t i, n = 0, count = 0, more = 0;
	char **env;

	while (environ && environ[count])
		count++;
	while (added[more])
		more++;
	env = memory_alloc((count + more + 1) * sizeof(*env));
	if (!env)
		return NULL;
	for (i = 0; i < count; i++)
		if (!spawn_env_is_ours(environ[i]) &&
		    !spawn_env_is_replaced(environ[i], added))
			env[n++] = environ[i];
	for (i = 0; i < more; i++)
		env[n++] = added[i];
	env[n] = NULL;
	return env;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* a pipe's end: nothing can be lost */
	*fd = -1;
}

/*
 * A pipe whose reading end does not block; its ends are above stderr even
 * where the daemon was started without the standard three, because the child
 * puts others there.
 */
static int
spawn_pipe(int fds[2])
{
	int r, i;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		r = -errno;
		fds[0] = fds[1] = -1;
		return r;
	}
	for (i = 0; i < 2; i++) {
		int old = fds[i];

		if (old > STDERR_FILENO)
			continue;
		fds[i] = fcntl(old, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		r = fds[i] < 0 ? -errno : 0;
		(void)close(old); /* as in close_fd() */
		if (r < 0)
			goto err_close;
	}
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0)
		return 0;
	r = -errno;
err_close:
	close_fd(&fds[0]);
	close_fd(&fds[1]);
	return r;
}

/* The other way round: we write without waiting, the child reads and waits. */
static int
spawn_pipe_in(int fds[2])
{
	int r = spawn_pipe(fds);

	if (r < 0)
		return r;
	if (fcntl(fds[0], F_SETFL, 0) == 0 &&
	    fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0)
		return 0;
	r = -errno;
	close_fd(&fds[0]);
	close_fd(&fds[1]);
	return r;
}

static int
spawn_set_files(posix_spawn_file_actions_t *files, const char *directory,
    int in_fd, int out_fd, int err_fd)
{
	int r;

	assert(out_fd > STDERR_FILENO);
	assert(err_fd > STDERR_FILENO);
	if (in_fd >= 0)
		r = posix_spawn_file_actions_adddup2(
		    files, in_fd, STDIN_FILENO);
	else
		r = posix_spawn_file_actions_addopen(
		    files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(
		    files, out_fd, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(
		    files, err_fd, STDERR_FILENO);
	/* Ours are close-on-exec; those systemd passed to us may not be. */
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(
		    files, STDERR_FILENO + 1);
	if (r == 0 && directory)
		r = posix_spawn_file_actions_addchdir_np(files, directory);
	return r;
}

static int
spawn_set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t all, none;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP |
						     POSIX_SPAWN_SETSIGDEF |
						     POSIX_SPAWN_SETSIGMASK);
	if (r == 0)
		r = posix_spawnattr_setpgroup(attributes, 0);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attributes, &none);
	return r;
}

/* The pid, or -errno. */
static pid_t
spawn_run(const struct spawn_request *request, char *const *env, int in_fd,
    int out_fd, int err_fd)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	pid_t pid = 0;
	int r;

	r = posix_spawn_file_actions_init(&files);
	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r != 0)
		goto err_files;
	r = spawn_set_files(&files, request->directory, in_fd, out_fd, err_fd);
	if (r == 0)
		r = spawn_set_attributes(&attributes);
	if (r == 0)
		r = posix_spawnp(&pid, request->argv[0], &files, &attributes,
		    request->argv, env);
	(void)posix_spawnattr_destroy(&attributes); /* cannot fail */
err_files:
	(void)posix_spawn_file_actions_destroy(&files); /* cannot fail */
	assert(r >= 0);
	return r == 0 ? pid : -r;
}

/* Without one we go on: ending.c has another way. */
static int
spawn_open_pidfd(struct process *process)
{
	int fd;

	/* Debian 12's valgrind does not know the call, and reports it. */
	if (RUNNING_ON_VALGRIND)
		return 0;
	fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	if (fd < 0 && errno != ENOSYS && errno != EPERM)
		return -errno;
	process->pidfd = fd;
	return 0;
}

static int
spawn_process(const struct spawn_request *request, struct process *process)
{
	int in[2] = { -1, -1 }, out[2], err[2] = { -1, -1 }, r;
	siginfo_t info;
	char **env;

	env = spawn_env_new(request->environment);
	if (!env)
		return -ENOMEM;
	r = spawn_pipe(out);
	if (r == 0)
		r = spawn_pipe(err);
	if (r == 0 && request->talks)
		r = spawn_pipe_in(in);
	if (r == 0) {
		process->pid = spawn_run(request, env, in[0], out[1], err[1]);
		r = process->pid < 0 ? process->pid : 0;
	}
	memory_free(env);
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&err[1]);
	process->in_fd = in[1];
	process->out_fd = out[0];
	process->err_fd = err[0];
	if (r < 0)
		return r;
	r = spawn_open_pidfd(process);
	if (r == 0)
		return 0;
	/* It was never anybody's: no zombie may stay either. */
	process_signal(process, SIGKILL);
	(void)waitid(P_PID, (id_t)process->pid, &info, WEXITED);
	process->reaped = true;
	return r;
}

int
spawn_job(void *request, es_value *ret)
{
	struct spawn_request *req = request;
	struct process *process = memory_alloc(sizeof(*process));
	int r;

	if (!process) {
		spawn_request_free(req);
		return -ENOMEM;
	}
	*process = (struct process){
		.pid = -1,
		.pidfd = -1,
		.in_fd = -1,
		.out_fd = -1,
		.err_fd = -1,
	};
	r = spawn_process(req, process);
	spawn_request_free(req);
	if (r < 0) {
		process_drop(process);
		return r;
	}
	*ret = ES_PTR(process, process_drop);
	return 0;
}

void
process_signal(const struct process *process, int signo)
{
	assert(process->pid > 1);
	assert(!process->reaped);
	if (kill(-process->pid, signo) == 0 || errno != ESRCH)
		return;
	/* The leader went over to another group; it is still ours. */
	(void)kill(process->pid, signo);
}

bool
process_has_ended(const struct process *process)
{
	siginfo_t info = { .si_pid = 0 };

	assert(!process->reaped);
	if (waitid(P_PID, (id_t)process->pid, &info,
		WEXITED | WNOHANG | WNOWAIT) < 0)
		return true;
	return info.si_pid != 0;
}

int
process_reap(
    struct process *process, char *ret_text, size_t size, bool *ret_failed)
{
	siginfo_t info = { .si_pid = 0 };
	const char *name;

	assert(process->pid > 1);
	assert(!process->reaped);
	if (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG) < 0) {
		(void)snprintf(ret_text, size, "ended, nobody knows how");
	} else if (info.si_pid == 0) {
		return -EAGAIN;
	} else if (info.si_code == CLD_EXITED) {
		(void)snprintf(
		    ret_text, size, "ended with status %d", info.si_status);
	} else {
		name = sigabbrev_np(info.si_status);
		(void)snprintf(
		    ret_text, size, "was ended by SIG%s", name ? name : "?");
	}
	if (ret_failed)
		*ret_failed = info.si_code != CLD_EXITED || info.si_status != 0;
	process->reaped = true;
	return 0;
}

bool
process_group_left(const struct process *process)
{
	siginfo_t info;

	assert(process->reaped);
	/* As process 1 of a container we inherit orphans. */
	do {
		info.si_pid = 0;
		if (waitid(P_PGID, (id_t)process->pid, &info,
			WEXITED | WNOHANG) < 0)
			break;
	} while (info.si_pid != 0);
	return kill(-process->pid, 0) == 0 || errno != ESRCH;
}

void
process_release(struct process *process)
{
	close_fd(&process->pidfd);
	close_fd(&process->in_fd);
	close_fd(&process->out_fd);
	close_fd(&process->err_fd);
}

void
process_drop(void *arg)
{
	struct process *process = arg;
	char how[64];

	assert(process);
	if (process->pid > 1 && !process->reaped) {
		process_signal(process, SIGKILL);
		/* If it is that quick. */
		(void)process_reap(process, how, sizeof(how), NULL);
	}
	process_release(process);
	memory_free(process);
}
