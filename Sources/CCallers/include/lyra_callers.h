/* Threads that call lyra may have little stack: coroutines, fibers, and threads of hosts that start many. */
#ifndef LYRA_CALLERS_H
#define LYRA_CALLERS_H

/* Runs body(context) and returns when it has: on the calling thread if that has enough stack left, or else on a thread that
 * is made for it, while the caller waits and runs what the body hands to lyra_on_caller.
 * → 0, or an error number if no thread could be made: then the body did not run. */
int lyra_with_stack(void (*body)(void *context), void *context);

/* Runs body(context) on the thread that called lyra, which may not be the calling one: for a host's callbacks. */
void lyra_on_caller(void (*body)(void *context), void *context);

#endif
