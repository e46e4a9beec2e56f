/* The lock of the process's pool of buffers. */
#include "../include/lyra_kernels.h"
#include <pthread.h>

/* A pthread mutex with a static initializer, which ThreadSanitizer knows even while threads wait. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void lk_lock_buffers(void) { pthread_mutex_lock(&lock); }
void lk_unlock_buffers(void) { pthread_mutex_unlock(&lock); }

/* A fork waits until the lock is free. */
__attribute__((constructor)) static void watch_forks(void) {
    (void)pthread_atfork(lk_lock_buffers, lk_unlock_buffers, lk_unlock_buffers);
}
