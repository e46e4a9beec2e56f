/* What each thread keeps: memory to work in, and the word that interrupts it. */
#include "table.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct thread_state {
    float *memory[2];
    size_t floats[2];
    const int32_t *interrupt;
} thread_state;

static pthread_key_t key;
static int has_key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void free_state(void *p) {
    free(((thread_state *)p)->memory[0]);
    free(((thread_state *)p)->memory[1]);
    free(p);
}

/* The host may have used up all keys. */
static void make_key(void) { has_key = pthread_key_create(&key, free_state) == 0; }

/* The calling thread's; null if it has none yet. */
static thread_state *found_state(void) {
    pthread_once(&key_once, make_key);
    return has_key ? pthread_getspecific(key) : NULL;
}

/* The same, made if it is not there; null if there is no memory. */
static thread_state *made_state(void) {
    thread_state *s = found_state();
    if (s || !has_key) return s;
    s = calloc(1, sizeof *s);
    if (s && pthread_setspecific(key, s) == 0) return s;
    free(s);
    return NULL;
}

float *lk_scratch(int slot, size_t floats) {
    thread_state *s = made_state();
    if (!s) return NULL;
    if (s->floats[slot] < floats) {
        free(s->memory[slot]);
        s->floats[slot] = 0;
        s->memory[slot] = NULL;
        void *memory = NULL;
        if (posix_memalign(&memory, 64, (floats + 16) * sizeof(float)) != 0) return NULL;
        s->memory[slot] = memory;
        s->floats[slot] = floats;
    }
    return s->memory[slot];
}

/* -------------------------------------------------------------------------------------------------------- interruption */

static _Atomic(lk_look_hook) hook;

void lk_on_look(lk_look_hook called) { atomic_store(&hook, called); }

int lk_is_raised(const int32_t *interrupt) {
    if (!interrupt) return 0;
    lk_look_hook called = atomic_load_explicit(&hook, memory_order_relaxed);
    if (called) called(interrupt);
    return __atomic_load_n(interrupt, __ATOMIC_ACQUIRE) >= LK_INTERRUPTED;
}

/* Without memory for a state, work ends no earlier than it would. */
const int32_t *lk_bind_interrupt(const int32_t *interrupt) {
    thread_state *s = interrupt ? made_state() : found_state();
    const int32_t *before = s ? s->interrupt : NULL;
    if (s) s->interrupt = interrupt;
    return before;
}

const int32_t *lk_bound_interrupt(void) {
    thread_state *s = found_state();
    return s ? s->interrupt : NULL;
}

int lk_interrupted(void) { return lk_is_raised(lk_bound_interrupt()); }
