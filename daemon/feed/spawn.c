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

#include "daemon/feed/spawn.h"
#include "daemon/base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
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

struct spawn_request {
	bool talks; /* stdin is a pipe */
	char **argv; /* NULL-terminated, in one piece with the strings */
};

int
spawn_request_new(
    const struct conf_list *exec, struct spawn_request **ret_request)
{
	size_t i, bytes = sizeof(struct spawn_request);
	struct spawn_request *request;
	char *text;

	if (exec->count == 0)
		return -EINVAL;
	bytes += (exec->count + 1) * sizeof(char *);
	for (i = 0; i < exec->count; i++)
		bytes += strlen(exec->items[i]) + 1;
	request = memory_alloc(bytes);
	if (!request)
		return -ENOMEM;
	request->talks = false;
	request->argv = (char **)(request + 1);
	text = (char *)(request->argv + exec->count + 1);
	for (i = 0; i < exec->count; i++) {
		request->argv[i] = text;
		text = stpcpy(text, exec->items[i]) + 1;
	}
	request->argv[exec->count] = NULL;
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

/* NULL: no memory.  The strings stay where they are. */
static char **
spawn_env_new(void)
{
	size_t i, n = 0, count = 0;
	char **env;

	while (environ && environ[count])
		count++;
	env = memory_alloc((count + 1) * sizeof(*env));
	if (!env)
		return NULL;
	for (i = 0; i < count; i++)
		if (!spawn_env_is_ours(environ[i]))
			env[n++] = environ[i];
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
spawn_set_files(
    posix_spawn_file_actions_t *files, int in_fd, int out_fd, int err_fd)
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
spawn_run(
    char *const *argv, char *const *env, int in_fd, int out_fd, int err_fd)
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
	r = spawn_set_files(&files, in_fd, out_fd, err_fd);
	if (r == 0)
		r = spawn_set_attributes(&attributes);
	if (r == 0)
		r = posix_spawnp(&pid, argv[0], &files, &attributes, argv, env);
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

	env = spawn_env_new();
	if (!env)
		return -ENOMEM;
	r = spawn_pipe(out);
	if (r == 0)
		r = spawn_pipe(err);
	if (r == 0 && request->talks)
		r = spawn_pipe_in(in);
	if (r == 0) {
		process->pid =
		    spawn_run(request->argv, env, in[0], out[1], err[1]);
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
process_reap(struct process *process, char *ret_text, size_t size)
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
		(void)process_reap(process, how, sizeof(how));
	}
	process_release(process);
	memory_free(process);
}
