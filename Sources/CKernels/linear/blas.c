/* OpenBLAS is loaded when a product first needs it, and called by threads that hold one of its buffers each.
 *
 * Its header is not needed: these functions have been the same in every version. */
#define _GNU_SOURCE
#include "blas.h"
#include "lyra_loading.h"
#include "../table.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112 }; /* CBLAS_ORDER and CBLAS_TRANSPOSE */

typedef void sgemm_function(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                            const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

typedef struct blas {
    sgemm_function *sgemm;
    void (*set_threads)(int count);
    void *(*take_buffer)(int processor); /* null, both, where OpenBLAS does not export them */
    void (*give_buffer)(void *buffer);
} blas;

static const lyra_library library = {"libopenblas.so.0", "libopenblas0", NULL, 0};
static const char *const names[] = {"cblas_sgemm", "openblas_set_num_threads"};

/* With libgfortran and libquadmath it took 39 MiB of addresses. */
static const size_t library_room = (size_t)48 << 20;

static _Atomic(const blas *) loaded; /* once set, it stays */

/* ---------------------------------------------------------------------------------------------------------- loading */

/* As many threads as OpenBLAS finds processors for the thread that loads it, it starts at once, and it ends the process
 * if the system gives fewer. lyra needs none of them. */
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
    if (status != LYRA_LOADED) return LK_NO_BLAS;
    blas *b = malloc(sizeof *b);
    if (!b) return LK_NO_MEMORY;
    *b = (blas){(sgemm_function *)found[0], (void (*)(int))found[1], NULL, NULL};
    void *handle = dlopen(library.file, RTLD_LAZY | RTLD_NOLOAD);
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

/* The caller's stack may be too small for what a library does as it is opened. */
int lk_blas_prepare(void) {
    if (atomic_load(&loaded)) return LK_OK;
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
 * Each thread inside of OpenBLAS has a buffer of 128 MiB, of which the library keeps as many as it ever needed at once.
 * Where the system has no room for another one, it tries for ever: so no more threads are let in than there are buffers,
 * and more buffers are made one at a time, while nobody is inside, after such room was found. */

enum { MOST_BUFFERS = 64 }; /* of which even a small build keeps account */

/* A buffer, what OpenBLAS maps beside it, and what glibc maps for a moment when another thread makes its first
 * allocation between the look for room and OpenBLAS's own. */
static const size_t buffer_room = ((size_t)128 + 16 + 128) << 20;

enum { CLOSED = 1 << 30 };
static atomic_int inside;  /* threads, and whether others may enter */
static atomic_int buffers; /* changed under `growth`, while closed */
static pthread_mutex_t growth = PTHREAD_MUTEX_INITIALIZER;

/* A child has no thread that is inside; of what the parent's had taken nothing is known. */
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

/* One buffer more than there are, all of which must be taken for that. */
static int make_buffer(const blas *b) {
    void *taken[MOST_BUFFERS];
    int count = atomic_load(&buffers), made = 0;
    if (count == MOST_BUFFERS || !has_room()) return 0;
    if (b->take_buffer)
        for (; made <= count; made++) taken[made] = b->take_buffer(0);
    for (int i = 0; i < made; i++) b->give_buffer(taken[i]);
    atomic_store(&buffers, count + 1);
    return 1;
}

/* → whether there is a buffer to wait for, at least. */
static int grow(const blas *b) {
    enum { RESTS = 1000 }; /* calls that are content with what there is, after the system gave no more */
    static int rests;
    pthread_mutex_lock(&growth);
    int any = atomic_load(&buffers) > 0;
    if (any && rests > 0) {
        rests--;
    } else if ((atomic_load(&inside) & ~CLOSED) >= atomic_load(&buffers)) {
        atomic_fetch_or(&inside, CLOSED);
        while (atomic_load(&inside) != CLOSED) sched_yield();
        rests = make_buffer(b) ? 0 : RESTS;
        atomic_fetch_and(&inside, ~CLOSED);
        any = atomic_load(&buffers) > 0;
    }
    pthread_mutex_unlock(&growth);
    return any;
}

int lk_sgemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, int transposed, size_t m,
             size_t n, size_t k, int accumulate) {
    const blas *b = atomic_load_explicit(&loaded, memory_order_acquire);
    if (!b) return LK_NO_BLAS;
    if (!enter()) {
        if (!grow(b)) return LK_NO_MEMORY;
        while (!enter()) sched_yield(); /* another thread's turn ends soon */
    }
    b->sgemm(ROW_MAJOR, AS_IT_IS, transposed ? TRANSPOSED : AS_IT_IS, (int)m, (int)n, (int)k, 1, x, (int)ldx, w,
             (int)ldw, accumulate ? 1 : 0, y, (int)ldy);
    atomic_fetch_sub(&inside, 1);
    return LK_OK;
}

int lk_sgemm_square(float *c, const float *a, const float *b, size_t size) {
    int n = (int)size, status = lk_blas_prepare();
    if (status != LK_OK) return status;
    const blas *found = atomic_load(&loaded);
    found->set_threads(lk_threads());
    found->sgemm(ROW_MAJOR, AS_IT_IS, TRANSPOSED, n, n, n, 1, a, n, b, n, 0, c, n);
    found->set_threads(1);
    return LK_OK;
}
