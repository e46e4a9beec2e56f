/* The word that interrupts the work of a thread. */
#include "include/lyra_interruption.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

static pthread_key_t key;
static int has_key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

/* Fails if the host has used up all keys: work is then never interrupted. */
static void make_key(void) { has_key = pthread_key_create(&key, NULL) == 0; }

static _Atomic(lk_look_hook) hook;

void lk_on_look(lk_look_hook called) { atomic_store(&hook, called); }

int lk_is_raised(const int32_t *interrupt) {
    if (!interrupt) return 0;
    lk_look_hook called = atomic_load_explicit(&hook, memory_order_relaxed);
    if (called) called(interrupt);
    return __atomic_load_n(interrupt, __ATOMIC_ACQUIRE) >= LK_INTERRUPTED;
}

const int32_t *lk_bound_interrupt(void) {
    pthread_once(&key_once, make_key);
    return has_key ? pthread_getspecific(key) : NULL;
}

const int32_t *lk_bind_interrupt(const int32_t *interrupt) {
    const int32_t *before = lk_bound_interrupt();
    if (has_key && before != interrupt) (void)pthread_setspecific(key, interrupt);
    return before;
}

int lk_interrupted(void) { return lk_is_raised(lk_bound_interrupt()); }
