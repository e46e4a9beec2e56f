/* Threads that call lyra may have little stack: coroutines, fibers, and threads of hosts that start many. */
#ifndef LYRA_CALLERS_H
#define LYRA_CALLERS_H

/* Runs body(context) on the calling thread if enough stack is left, otherwise on a new thread. In the second case the
 * calling thread waits, and runs the callbacks that the body passes to lyra_on_caller. Returns after the body.
 * → 0, or an error number if no thread could be started; the body then did not run. */
int lyra_with_stack(void (*body)(void *context), void *context);

/* Runs body(context), a callback of the host, on the thread that called lyra_with_stack. */
void lyra_on_caller(void (*body)(void *context), void *context);

#endif
