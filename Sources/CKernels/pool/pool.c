/* The process's pool of threads. A caller publishes a job, works on it too, and waits for the workers that joined the
 * job. The caller does not wait for workers that the system has not scheduled yet. */
#define _GNU_SOURCE
#include "quota.h"
#include "../table.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MAX_THREADS = 256,
    SPINS = 2000,
    RETRY_JOBS = 1000 /* jobs until the pool retries to start threads that the system refused */
};

typedef struct job {
    void (*task)(void *, size_t);
    void *context;
    size_t count;
    const int32_t *interrupt; /* the caller's */
} job;

static pthread_mutex_t owner_lock = PTHREAD_MUTEX_INITIALIZER; /* held by the caller whose job runs */
static pthread_mutex_t wake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_t workers[MAX_THREADS];
static atomic_int worker_count;   /* changed under owner_lock */
static int jobs_until_retry;      /* guarded by owner_lock */
static atomic_int wanted_threads; /* 0: as many as there are processors */
static int forks_are_watched;     /* set when the library is loaded */

/* The processors that the pool uses. */
static pthread_once_t usable_once = PTHREAD_ONCE_INIT;
static cpu_set_t *usable; /* null if the system does not tell */
static size_t usable_bytes;
static int usable_count;

/* The state of the current job in one word: the job's number in the upper half, the OPEN bit, and the number of workers
 * that have joined. One word, so that a worker can join the job only while the job is open. */
enum { OPEN = 1 << 30 };
static _Atomic uint64_t state;
static job current; /* written while no job is open */
static atomic_size_t next_index;
static atomic_int sleepers;
static atomic_int quitting;

/* Skips the remaining tasks once the caller is interrupted, because the caller then discards the results. */
static void work(void) {
    size_t i;
    while (!lk_is_raised(current.interrupt) &&
           (i = atomic_fetch_add_explicit(&next_index, 1, memory_order_relaxed)) < current.count)
        current.task(current.context, i);
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static unsigned number(uint64_t s) { return (unsigned)(s >> 32); }
static unsigned workers_at(uint64_t s) { return (unsigned)s & (OPEN - 1); }

/* Joins job `seen`. Returns 0 if it is closed. */
static int join(unsigned seen) {
    uint64_t s = atomic_load(&state);
    while (number(s) == seen && (s & OPEN))
        if (atomic_compare_exchange_weak(&state, &s, s + 1)) return 1;
    return 0;
}

/* Waits for the workers that have joined the job, then closes the job. */
static void close_job(void) {
    uint64_t s = atomic_load(&state);
    for (int i = 0;; i++) {
        if (workers_at(s) == 0 && atomic_compare_exchange_weak(&state, &s, s & ~(uint64_t)OPEN)) return;
        i < SPINS ? relax() : (void)sched_yield();
        s = atomic_load(&state);
    }
}

/* glibc reserves 64 MiB of addresses for a thread when the thread makes its first allocation. This allocation makes
 * glibc do so now, and not while blas.c checks for memory. */
static void reserve_allocations(void) {
    void *volatile first = malloc(1);
    free(first);
}

static void *worker_main(void *argument) {
    unsigned seen = (unsigned)(uintptr_t)argument;
    reserve_allocations();
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
        lk_bind_interrupt(current.interrupt); /* for tasks that check for interruption */
        work();
        lk_bind_interrupt(NULL);
        atomic_fetch_sub(&state, 1);
    }
}

/* Publishes the next job: OPEN, or 0 to wake the workers only. The previous job must be closed. */
static void announce(uint64_t open) {
    uint64_t next = number(atomic_load(&state)) + 1u;
    atomic_store(&state, (next & 0xffffffffu) << 32 | open);
    if (atomic_load(&sleepers) > 0) {
        pthread_mutex_lock(&wake_lock);
        pthread_cond_broadcast(&wake);
        pthread_mutex_unlock(&wake_lock);
    }
}

/* Reads the affinity of the calling thread joined with that of the main thread. Returns 0 if the sets are too small for
 * the system's processors. */
static int read_usable(cpu_set_t *all, cpu_set_t *one, size_t bytes) {
    const pid_t threads[] = {0, getpid()};
    CPU_ZERO_S(bytes, all);
    for (int i = 0; i < 2; i++) {
        CPU_ZERO_S(bytes, one);
        if (sched_getaffinity(threads[i], bytes, one) == 0) CPU_OR_S(bytes, all, all, one);
        else if (errno == EINVAL) return 0;
    }
    return 1;
}

/* Finds the usable processors. A host may have bound each thread to another processor, or the whole process through its
 * main thread. */
static void find_usable(void) {
    enum { LEAST = 64, MOST = 1 << 20 };
    cpu_set_t *old = usable; /* a parent's */
    usable = NULL;
    usable_count = 1;
    if (old) CPU_FREE(old);
    for (int processors = LEAST, done = 0; processors <= MOST && !done; processors *= 2) {
        cpu_set_t *all = CPU_ALLOC(processors), *one = CPU_ALLOC(processors);
        size_t bytes = CPU_ALLOC_SIZE(processors);
        done = !all || !one || read_usable(all, one, bytes);
        if (all && one && done && CPU_COUNT_S(bytes, all) > 0) {
            usable = all;
            usable_bytes = bytes;
            usable_count = CPU_COUNT_S(bytes, all);
            all = NULL;
        }
        if (all) CPU_FREE(all);
        if (one) CPU_FREE(one);
    }
    int quota = lk_quota_processors(""); /* more threads would only wait for processor time */
    if (quota > 0 && usable_count > quota) usable_count = quota;
    if (usable_count > MAX_THREADS) usable_count = MAX_THREADS;
}

/* owner_lock is held. */
static void stop_workers(void) {
    atomic_store(&quitting, 1);
    announce(0);
    for (int i = 0; i < worker_count; i++) pthread_join(workers[i], NULL);
    atomic_store(&quitting, 0);
    atomic_store(&worker_count, 0);
}

/* Starts a worker that may run on any usable processor, even if the calling thread is bound to one. */
static int start_worker(pthread_t *worker) {
    void *seen = (void *)(uintptr_t)number(atomic_load(&state));
    int status = EINVAL;
    for (int bound = usable != NULL; bound >= 0 && status == EINVAL; bound--) { /* unbound if processors are gone */
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 1 << 20);
        if (!bound || pthread_attr_setaffinity_np(&attributes, usable_bytes, usable) == 0)
            status = pthread_create(worker, &attributes, worker_main, seen);
        pthread_attr_destroy(&attributes);
    }
    return status == 0;
}

/* Resizes the pool to the wanted size, or as close as the system allows. owner_lock is held. */
static void resize(void) {
    int wanted = forks_are_watched ? lk_threads() - 1 : 0;
    if (worker_count > wanted) stop_workers();
    if (worker_count == wanted || --jobs_until_retry > 0) return;
    pthread_once(&usable_once, find_usable);
    sigset_t all, usual; /* the host's signals are for the host's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &usual);
    while (worker_count < wanted && start_worker(&workers[worker_count])) atomic_fetch_add(&worker_count, 1);
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    jobs_until_retry = worker_count < wanted ? RETRY_JOBS : 0;
}

/* Resets the pool in a forked child. The child has a copy of the memory, where locks and changes are in any state, but
 * not the threads. */
static void forget_workers(void) {
    pthread_mutex_init(&owner_lock, NULL);
    pthread_mutex_init(&wake_lock, NULL);
    pthread_cond_init(&wake, NULL);
    atomic_store(&state, 0);
    atomic_store(&sleepers, 0);
    atomic_store(&quitting, 0);
    atomic_store(&worker_count, 0);
    jobs_until_retry = 0;
    usable_once = (pthread_once_t)PTHREAD_ONCE_INIT; /* the child may have another affinity */
}

__attribute__((constructor)) static void watch_forks(void) {
    forks_are_watched = pthread_atfork(NULL, NULL, forget_workers) == 0;
}

void lk_set_threads(int threads) {
    pthread_once(&usable_once, find_usable);
    atomic_store(&wanted_threads, threads < 1 ? 0 : threads > MAX_THREADS ? MAX_THREADS : threads);
    if (pthread_mutex_trylock(&owner_lock) != 0) return; /* the next job resizes the pool */
    jobs_until_retry = 0;
    if (worker_count > lk_threads() - 1) stop_workers();
    pthread_mutex_unlock(&owner_lock);
}

int lk_threads(void) {
    int threads = atomic_load(&wanted_threads);
    if (threads > 0) return threads;
    pthread_once(&usable_once, find_usable);
    return usable_count;
}

void lk_parallel(size_t count, void (*task)(void *, size_t), void *context) {
    int alone = count < 2 || (lk_threads() == 1 && worker_count == 0);
    if (alone || pthread_mutex_trylock(&owner_lock) != 0) {
        for (size_t i = 0; i < count && !lk_interrupted(); i++) task(context, i);
        return;
    }
    resize();
    current = (job){task, context, count, lk_bound_interrupt()};
    atomic_store(&next_index, 0);
    announce(OPEN);
    work();
    close_job();
    pthread_mutex_unlock(&owner_lock);
}
