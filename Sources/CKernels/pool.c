/* One pool of threads for the process. A caller publishes a job, works on it itself, and waits for the workers that
 * joined it: one that the system does not run just then is not waited for. */
#define _GNU_SOURCE
#include "table.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_THREADS = 256, SPINS = 2000 };

typedef struct job {
    void (*task)(void *, size_t);
    void *context;
    size_t count;
} job;

static pthread_mutex_t owner_lock = PTHREAD_MUTEX_INITIALIZER; /* held by the caller whose job runs */
static pthread_mutex_t wake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_t workers[MAX_THREADS];
static int worker_count;          /* guarded by owner_lock */
static pid_t pool_process;        /* guarded by owner_lock */
static atomic_int wanted_threads; /* 0: not set yet */

/* Of the current job, in one word so that a worker joins it only while it is open: its number in the upper half, whether
 * it is open, and the workers that are at it. */
enum { OPEN = 1 << 30 };
static _Atomic uint64_t state;
static job current; /* written while no job is open */
static atomic_size_t next_index;
static atomic_int sleepers;
static atomic_int quitting;

static void work(void) {
    size_t i;
    while ((i = atomic_fetch_add_explicit(&next_index, 1, memory_order_relaxed)) < current.count)
        current.task(current.context, i);
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static unsigned number(uint64_t s) { return (unsigned)(s >> 32); }
static unsigned workers_at(uint64_t s) { return (unsigned)s & (OPEN - 1); }

/* One more worker at job `seen`, if it is open still. */
static int join(unsigned seen) {
    uint64_t s = atomic_load(&state);
    while (number(s) == seen && (s & OPEN))
        if (atomic_compare_exchange_weak(&state, &s, s + 1)) return 1;
    return 0;
}

/* Nobody joins after this; who has joined is waited for. */
static void close_job(void) {
    uint64_t s = atomic_load(&state);
    for (int i = 0;; i++) {
        if (workers_at(s) == 0 && atomic_compare_exchange_weak(&state, &s, s & ~(uint64_t)OPEN)) return;
        i < SPINS ? relax() : (void)sched_yield();
        s = atomic_load(&state);
    }
}

static void *worker_main(void *argument) {
    unsigned seen = (unsigned)(uintptr_t)argument;
    for (;;) {
        for (int i = 0; i < SPINS && number(atomic_load(&state)) == seen; i++) relax();
        if (number(atomic_load(&state)) == seen) {
            pthread_mutex_lock(&wake_lock);
            atomic_fetch_add(&sleepers, 1);
            while (number(atomic_load(&state)) == seen) pthread_cond_wait(&wake, &wake_lock);
            atomic_fetch_sub(&sleepers, 1);
            pthread_mutex_unlock(&wake_lock);
        }
        seen = number(atomic_load(&state));
        if (atomic_load(&quitting)) return NULL;
        if (!join(seen)) continue;
        work();
        atomic_fetch_sub(&state, 1);
    }
}

/* The next job, open or, to wake workers only, closed. No job is open. */
static void announce(uint64_t open) {
    uint64_t next = number(atomic_load(&state)) + 1u;
    atomic_store(&state, (next & 0xffffffffu) << 32 | open);
    if (atomic_load(&sleepers) > 0) {
        pthread_mutex_lock(&wake_lock);
        pthread_cond_broadcast(&wake);
        pthread_mutex_unlock(&wake_lock);
    }
}

static void stop_workers(void) {
    atomic_store(&quitting, 1);
    announce(0);
    for (int i = 0; i < worker_count; i++) pthread_join(workers[i], NULL);
    atomic_store(&quitting, 0);
    worker_count = 0;
}

/* Brings the pool to its wanted size; owner_lock is held. */
static void resize(void) {
    int wanted = lk_threads() - 1;
    if (pool_process != getpid()) { /* a fork took the memory along, but not the threads */
        worker_count = 0;
        pool_process = getpid();
        atomic_store(&state, 0);
        atomic_store(&sleepers, 0);
        pthread_mutex_init(&wake_lock, NULL);
        pthread_cond_init(&wake, NULL);
    }
    if (worker_count == wanted) return;
    stop_workers();
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    void *seen = (void *)(uintptr_t)number(atomic_load(&state));
    sigset_t all, usual; /* the host's signals are for the host's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &usual);
    while (worker_count < wanted && pthread_create(&workers[worker_count], &attributes, worker_main, seen) == 0)
        worker_count++;
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    pthread_attr_destroy(&attributes);
    if (worker_count < wanted) atomic_store(&wanted_threads, worker_count + 1); /* the system gives no more */
}

void lk_set_threads(int threads) {
    atomic_store(&wanted_threads, threads < 1 ? 0 : threads > MAX_THREADS ? MAX_THREADS : threads);
}

int lk_threads(void) {
    int threads = atomic_load(&wanted_threads);
    if (threads == 0) {
        cpu_set_t usable;
        threads = sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) : 1;
        threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
        atomic_store(&wanted_threads, threads);
    }
    return threads;
}

void lk_parallel(size_t count, void (*task)(void *, size_t), void *context) {
    if (count < 2 || lk_threads() == 1 || pthread_mutex_trylock(&owner_lock) != 0) {
        for (size_t i = 0; i < count; i++) task(context, i);
        return;
    }
    resize();
    current = (job){task, context, count};
    atomic_store(&next_index, 0);
    announce(OPEN);
    work();
    close_job();
    pthread_mutex_unlock(&owner_lock);
}

/* ------------------------------------------------------------------------------------------------ scratch per thread */

typedef struct scratch {
    float *memory[2];
    size_t floats[2];
} scratch;

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void free_scratch(void *p) {
    free(((scratch *)p)->memory[0]);
    free(((scratch *)p)->memory[1]);
    free(p);
}

static void make_key(void) { pthread_key_create(&scratch_key, free_scratch); }

float *lk_scratch(int slot, size_t floats) {
    pthread_once(&scratch_once, make_key);
    scratch *s = pthread_getspecific(scratch_key);
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s || pthread_setspecific(scratch_key, s) != 0) {
            free(s);
            return NULL;
        }
    }
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
