#ifndef DAEMON_BASE_THREADS_H
#define DAEMON_BASE_THREADS_H

/*
 * threads: the words that say which thread may call a function.
 *
 * ANY_THREAD   every thread, at any time
 * LOOP_THREAD  only the thread that is running the loop the object lives on
 * MAY_BLOCK    may wait for another thread: never on a loop's thread
 * PROVES_LOOP  after the call it is certain that this is the loop's thread;
 *              what foreign code calls back begins with such a function
 * LOOP_OWNED   a field only the loop's thread touches
 *
 * gcc sees nothing of this; clang -Wthread-safety checks it.  There is one
 * role for all loops: clang cannot tell two loops apart, the run-time
 * checks of daemon/loop can.
 */

#if defined(__clang__)
#define THREAD_ATTR(x) __attribute__((x))
#else
#define THREAD_ATTR(x)
#endif

struct THREAD_ATTR(capability("role")) thread_role {
	char unused;
};

extern struct thread_role ON_LOOP;

#define ANY_THREAD
#define LOOP_THREAD THREAD_ATTR(requires_capability(ON_LOOP))
#define MAY_BLOCK THREAD_ATTR(locks_excluded(ON_LOOP))
#define PROVES_LOOP THREAD_ATTR(assert_capability(ON_LOOP))
#define LOOP_OWNED THREAD_ATTR(guarded_by(ON_LOOP))

#endif
