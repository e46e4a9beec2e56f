/* The lock of the buffers that the process keeps. */
#include "../include/lyra_kernels.h"
#include <pthread.h>

/* A statically made one of the system's, which ThreadSanitizer knows also where threads wait for each other. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void lk_lock_buffers(void) { pthread_mutex_lock(&lock); }
void lk_unlock_buffers(void) { pthread_mutex_unlock(&lock); }

/* Whichever thread holds it, a fork waits until it is free. */
__attribute__((constructor)) static void watch_forks(void) {
    (void)pthread_atfork(lk_lock_buffers, lk_unlock_buffers, lk_unlock_buffers);
}
