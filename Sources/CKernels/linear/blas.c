/* Loads OpenBLAS when a product first needs it, and lets a thread call it only while one of its buffers is free.
 *
 * This file declares OpenBLAS's functions itself, because their types are the same in every version. */
#define _GNU_SOURCE
#include "blas.h"
#include "lyra_loading.h"
#include "lyra_memory.h"
#include "../table.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ROW_MAJOR = 101, NOT_TRANSPOSED = 111, TRANSPOSED = 112 }; /* CBLAS_ORDER and CBLAS_TRANSPOSE */

typedef void sgemm_function(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                            const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

typedef struct blas {
    sgemm_function *sgemm;
    void (*set_threads)(int count);
    void *(*take_buffer)(int processor); /* both null where OpenBLAS does not export them */
    void (*give_buffer)(void *buffer);
    const char *core; /* the processor that it has kernels for; "" where OpenBLAS does not say */
} blas;

static const lyra_library library = {"libopenblas.so.0", "libopenblas0", NULL, 0};
static const char *const names[] = {"cblas_sgemm", "openblas_set_num_threads"};

/* OpenBLAS with libgfortran and libquadmath takes 39 MiB of address space. */
static const size_t library_room = (size_t)48 << 20;

static _Atomic(const blas *) loaded; /* set once */
static atomic_int is_absent;         /* set if it cannot be loaded, so that it is tried once */
static char absence[256];            /* why; not changed once is_absent is set */
static pthread_mutex_t absence_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---------------------------------------------------------------------------------------------------------- loading */

/* Binds the calling thread to one processor. On loading, OpenBLAS starts a thread for every processor that the calling
 * thread may use, and ends the process if the system refuses a thread. lyra needs none of these threads. */
static void stay_on_one_processor(void) {
    int processor = sched_getcpu();
    if (processor < 0) return;
    cpu_set_t *one = CPU_ALLOC(processor + 1);
    size_t bytes = CPU_ALLOC_SIZE(processor + 1);
    if (!one) return;
    CPU_ZERO_S(bytes, one);
    CPU_SET_S(processor, bytes, one);
    sched_setaffinity(0, bytes, one);
    CPU_FREE(one);
}

static int load_here(void) {
    if (atomic_load(&loaded)) return LK_OK;
    void *found[2];
    char reason[256];
    int status = lyra_load(&library, 1, names, found, 2, library_room, reason, sizeof reason);
    if (status == LYRA_LOAD_MEMORY) return LK_NO_MEMORY;
    if (status == LYRA_LOAD_IO) return LK_CLOSED_BLAS;
    if (status != LYRA_LOADED) {
        pthread_mutex_lock(&absence_lock);
        if (!atomic_load(&is_absent)) snprintf(absence, sizeof absence, "%s", reason);
        atomic_store(&is_absent, 1);
        pthread_mutex_unlock(&absence_lock);
        return LK_OK;
    }
    blas *b = malloc(sizeof *b);
    if (!b) return LK_NO_MEMORY;
    *b = (blas){(sgemm_function *)found[0], (void (*)(int))found[1], NULL, NULL, ""};
    void *handle = dlopen(library.file, RTLD_LAZY | RTLD_NOLOAD);
    char *(*core)(void) = (char *(*)(void))(handle ? dlsym(handle, "openblas_get_corename") : NULL);
    if (core) b->core = core();
    void *take = handle ? dlsym(handle, "blas_memory_alloc") : NULL;
    void *give = handle ? dlsym(handle, "blas_memory_free") : NULL;
    if (take && give) b->take_buffer = (void *(*)(int))take, b->give_buffer = (void (*)(void *))give;
    b->set_threads(1);
    const blas *none = NULL;
    if (!atomic_compare_exchange_strong(&loaded, &none, b)) free(b);
    return LK_OK;
}

static void *load_main(void *status) {
    stay_on_one_processor();
    *(int *)status = load_here();
    return NULL;
}

/* Loads on a thread of its own: the caller's stack may be too small for the library's initialization. */
int lk_blas_prepare(void) {
    if (atomic_load(&loaded) || atomic_load(&is_absent)) return LK_OK;
    int status = LK_NO_MEMORY;
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, usual; /* the host's signals are for the host's threads */
    sigfillset(&all);
    if (pthread_attr_init(&attributes) != 0) return LK_NO_MEMORY;
    pthread_attr_setstacksize(&attributes, 1 << 20);
    pthread_sigmask(SIG_BLOCK, &all, &usual);
    int started = pthread_create(&thread, &attributes, load_main, &status) == 0;
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    pthread_attr_destroy(&attributes);
    if (started) pthread_join(thread, NULL);
    return status;
}

/* ---------------------------------------------------------------------------------------------------------- buffers
 * Each thread in OpenBLAS uses a buffer of 128 MiB. OpenBLAS keeps as many buffers as it ever needed at once. If the
 * system has no memory for another buffer, OpenBLAS retries forever. So at most as many threads may be in OpenBLAS as
 * it has buffers. A buffer is added only while no thread is in OpenBLAS, after a check that there is memory for it. */

enum { MOST_BUFFERS = 64 }; /* every build of OpenBLAS supports this number */

/* The sum of: a buffer; OpenBLAS's other mappings; and glibc's temporary mapping if another thread makes its first
 * allocation between the check and OpenBLAS's allocation. */
static const size_t buffer_room = ((size_t)128 + 16 + 128) << 20;

enum { CLOSED = 1 << 30 };
static atomic_int inside;  /* the number of threads inside, plus CLOSED while no other may enter */
static atomic_int buffers; /* changed under `growth`, while closed */
static pthread_mutex_t growth = PTHREAD_MUTEX_INITIALIZER;

/* A forked child has no thread inside OpenBLAS, and cannot know which buffers the parent's threads held. */
static void forget_threads(void) {
    pthread_mutex_init(&growth, NULL);
    atomic_store(&inside, 0);
    atomic_store(&buffers, 0);
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_threads); }

static int enter(void) {
    int threads = atomic_load(&inside);
    while (threads < atomic_load(&buffers))
        if (atomic_compare_exchange_weak(&inside, &threads, threads + 1)) return 1;
    return 0;
}

static int has_room(void) {
    void *probe = mmap(NULL, buffer_room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED) return 0;
    munmap(probe, buffer_room);
    return 1;
}

/* Makes OpenBLAS allocate one more buffer: for that, all existing buffers must be taken. */
static int make_buffer(const blas *b) {
    void *taken[MOST_BUFFERS];
    int count = atomic_load(&buffers), made = 0;
    if (count == MOST_BUFFERS || (!has_room() && !(lyra_free_kept() && has_room()))) return 0;
    if (b->take_buffer)
        for (; made <= count; made++) taken[made] = b->take_buffer(0);
    for (int i = 0; i < made; i++) b->give_buffer(taken[i]);
    atomic_store(&buffers, count + 1);
    return 1;
}

/* Adds a buffer if possible. Returns whether there is any buffer to wait for. */
static int grow(const blas *b) {
    enum { PAUSE = 1000 }; /* calls without another attempt after the system refused memory */
    static int pause_left;
    pthread_mutex_lock(&growth);
    int any = atomic_load(&buffers) > 0;
    if (any && pause_left > 0) {
        pause_left--;
    } else if ((atomic_load(&inside) & ~CLOSED) >= atomic_load(&buffers)) {
        atomic_fetch_or(&inside, CLOSED);
        while (atomic_load(&inside) != CLOSED) sched_yield();
        pause_left = make_buffer(b) ? 0 : PAUSE;
        atomic_fetch_and(&inside, ~CLOSED);
        any = atomic_load(&buffers) > 0;
    }
    pthread_mutex_unlock(&growth);
    return any;
}

static int transposition(lk_factor factor) { return factor.transposed ? TRANSPOSED : NOT_TRANSPOSED; }

int lk_blas_sgemm(float *y, size_t ldy, lk_factor x, lk_factor w, size_t m, size_t n, size_t k, int accumulate) {
    const blas *b = atomic_load_explicit(&loaded, memory_order_acquire);
    if (!enter()) {
        if (!grow(b)) return LK_NO_MEMORY;
        while (!enter()) sched_yield(); /* another thread leaves soon */
    }
    b->sgemm(ROW_MAJOR, transposition(x), transposition(w), (int)m, (int)n, (int)k, 1, x.data, (int)x.ld, w.data,
             (int)w.ld, accumulate ? 1 : 0, y, (int)ldy);
    atomic_fetch_sub(&inside, 1);
    return LK_OK;
}

const char *lk_blas_absence(void) { return atomic_load(&is_absent) ? absence : ""; }

const char *lk_blas_core(void) {
    const blas *b = atomic_load_explicit(&loaded, memory_order_acquire);
    return b ? b->core : NULL;
}
