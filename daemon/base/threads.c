/*
 * threads: the one object the thread words name.  Nothing ever reads it;
 * it exists so that clang has something to call a capability.
 */

#include "daemon/base/threads.h"

struct thread_role ON_LOOP;
