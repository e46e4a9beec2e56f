#include "include/lyra_interruption.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

static pthread_key_t key;
static int has_key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

/* Fails if the host has used up all keys: work is then never interrupted. */
static void make_key(void) { has_key = pthread_key_create(&key, NULL) == 0; }

static _Atomic(lk_check_hook) check_hook;

void lk_on_check(lk_check_hook hook) { atomic_store(&check_hook, hook); }

int lk_is_raised(const int32_t *interrupt) {
    if (!interrupt) return 0;
    lk_check_hook hook = atomic_load_explicit(&check_hook, memory_order_relaxed);
    if (hook) hook(interrupt);
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
