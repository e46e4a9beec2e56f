/* The pool after a fork: the child has the pool's memory but none of its threads, and must compute with threads of its
 * own. Each check runs in a child of a process that has computed, or keeps its pool busy. */
#define _GNU_SOURCE
#include "../../Sources/CKernels/include/lyra_kernels.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* After SECONDS, far more than a child needs, a child that hangs is ended. */
enum { M = 20, K = 64, N = 600, VALUES = 200000, BUSY_FORKS = 100, SECONDS = 20, ROUNDS = 200 };

static float x[M * K], w[N * K], pages[M * K];

static void fill(float *values, size_t count) {
    for (size_t i = 0; i < count; i++) values[i] = (float)(i * 7919 % 1009) / 504.5f - 1;
}

/* A matrix product, attention over it, and a function of many values. */
static int compute(float *product, float *attended, float *values) {
    const lk_kv_page page = {.data = pages, .type = LK_KV_F32};
    const lk_queries queries = {.data = x, .rows = M, .heads = 4, .dim = K / 4, .row_stride = K, .head_stride = K / 4};
    const lk_keys_values keys_values = {.keys = &page, .values = &page, .rows = M, .heads = 4, .page_rows = M,
                                        .row_stride = K, .head_stride = K / 4};
    const lk_attention_output output = {.data = attended, .row_stride = K, .head_stride = K / 4};
    const lk_attention_options options = {.scale = 1, .causal = 1};
    fill(values, VALUES);
    lk_rms_norm(values, 100, values, 100, w, VALUES / 100, 100, 1e-6f);
    return lk_linear(product, N, x, K, M, K, w, LK_F32, N, NULL, 0) == LK_OK &&
           lk_attention(&output, &queries, &keys_values, &options) == LK_OK;
}

static float product[2][M * N], attended[2][M * K], values[2][VALUES];

/* -------------------------------------------------------------------------------------------------- who takes part */

typedef struct party {
    pthread_t caller;
    int processors; /* that every other thread must be bound to */
    atomic_int others, wrong;
} party;

/* System calls of the pool, replaced to simulate a kernel with more processors than a small set can hold, and a system
 * without more threads. */
static size_t least_bytes;
static int no_threads;

int sched_getaffinity(pid_t thread, size_t bytes, cpu_set_t *set) {
    if (bytes < least_bytes) return errno = EINVAL, -1;
    return syscall(SYS_sched_getaffinity, thread, bytes, set) < 0 ? -1 : 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : real(thread, attributes, start, argument);
}

static int processors(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

static void come(void *context, size_t index) {
    party *p = context;
    (void)index;
    usleep(200);
    if (pthread_equal(pthread_self(), p->caller)) return;
    atomic_fetch_add(&p->others, 1);
    if (p->processors && p->processors != processors()) atomic_fetch_add(&p->wrong, 1);
}

/* Whether another thread takes part in a job within some rounds, with the right number of processors (0: any). */
static int others_come(int bound_to) {
    party p = {.caller = pthread_self(), .processors = bound_to};
    for (int round = 0; round < ROUNDS && p.others == 0; round++) lk_parallel(16, come, &p);
    return p.others > 0 && p.wrong == 0;
}

static int threads_here(void) {
    char line[256];
    int threads = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Threads: %d", &threads) == 1) break;
    if (file) fclose(file);
    return threads;
}

/* --------------------------------------------------------------------------------------------------------- children */

/* Computes without OpenBLAS, whose locks may be held at the fork. */
static int child_of_busy_pool(void) {
    fill(values[1], VALUES);
    lk_rms_norm(values[1], 100, values[1], 100, w, VALUES / 100, 100, 1e-6f);
    return memcmp(values[0], values[1], sizeof values[0]) == 0 && others_come(0);
}

static int child_of_resting_pool(void) {
    for (int threads = 4; threads > 0; threads--) {
        lk_set_threads(threads);
        if (!compute(product[1], attended[1], values[1])) return 0;
        if (memcmp(product[0], product[1], sizeof product[0]) || memcmp(attended[0], attended[1], sizeof attended[0]) ||
            memcmp(values[0], values[1], sizeof values[0]))
            return 0;
    }
    return 1;
}

/* With one thread, all others end. */
static int one_thread_is_alone(void) {
    int before = threads_here(); /* includes OpenBLAS's threads */
    lk_set_threads(5);
    if (!others_come(0) || threads_here() != before + 4) return 0;
    lk_set_threads(1);
    return threads_here() == before;
}

static void bind(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) _exit(3);
}

static int first_processor(int after) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return -1;
    for (int i = after + 1; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set)) return i;
    return -1;
}

static void *from_bound_thread(void *result) {
    const int all = processors();
    bind(first_processor(-1));
    lk_set_threads(0);
    int counted = lk_threads() == all;
    lk_set_threads(3);
    *(int *)result = counted && others_come(all);
    return NULL;
}

/* A thread of the host that is bound to a processor computes first. */
static int a_bound_thread_binds_no_others(void) {
    int result = 0;
    pthread_t thread;
    return pthread_create(&thread, NULL, from_bound_thread, &result) == 0 && pthread_join(thread, NULL) == 0 && result;
}

/* The whole process is bound to a processor. */
static int a_bound_process_stays_bound(void) {
    bind(first_processor(-1));
    lk_set_threads(0);
    if (lk_threads() != 1) return 0;
    lk_set_threads(3);
    return others_come(1);
}

static int many_processors_are_counted(void) {
    least_bytes = 64;
    return a_bound_thread_binds_no_others();
}

static void do_nothing(void *context, size_t index) { (void)context, (void)index; }

/* Threads that the system refuses are created later: when the number is set again, or after some jobs. */
static int too_few_threads_become_enough(void) {
    for (int is_set = 0; is_set < 2; is_set++) {
        lk_set_threads(1);
        lk_set_threads(4);
        no_threads = 1;
        if (others_come(0) || lk_threads() != 4) return 0;
        no_threads = 0;
        if (is_set) lk_set_threads(4);
        for (int i = 0; i < 2000 && !is_set; i++) lk_parallel(2, do_nothing, NULL);
        if (!others_come(0)) return 0;
    }
    return 1;
}

/* A process without free keys for thread-specific data. */
static int no_key_is_no_memory(void) {
    static char mine;
    pthread_key_t key, first;
    if (pthread_key_create(&first, NULL) != 0 || pthread_setspecific(first, &mine) != 0) return 0;
    while (pthread_key_create(&key, NULL) == 0) {}
    static uint16_t weights[N * K];
    lk_set_threads(1);
    static float tall[40 * K], result[40 * N];
    return lk_linear(result, N, tall, K, 40, K, weights, LK_BF16, N, NULL, LK_STORE) == LK_NO_MEMORY &&
           pthread_getspecific(first) == &mine;
}

static int forked(const char *name, int (*task)(void)) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS);
        _exit(task() ? 0 : 1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) return 0;
    if (status != 0) printf("# %s: the child ended with status %#x\n", name, (unsigned)status);
    return status == 0;
}

#define FORKED(task) forked(#task, task)

static atomic_int enough;

static void *keep_busy(void *unused) {
    static float own[VALUES];
    while (!atomic_load(&enough)) lk_rms_norm(own, 100, own, 100, w, VALUES / 100, 100, 1e-6f);
    return unused;
}

int main(void) {
    int failures = 0;
    pthread_t busy;
    fill(x, M * K), fill(w, N * K), fill(pages, M * K);
    failures += !FORKED(no_key_is_no_memory); /* before the pool of this process takes a key */
    failures += !FORKED(many_processors_are_counted) + !FORKED(a_bound_thread_binds_no_others);
    lk_set_threads(4);
    if (!compute(product[0], attended[0], values[0])) return 2;
    failures += !FORKED(child_of_resting_pool) + !FORKED(one_thread_is_alone) + !FORKED(too_few_threads_become_enough);
    failures += !FORKED(a_bound_thread_binds_no_others) + !FORKED(a_bound_process_stays_bound);
    if (pthread_create(&busy, NULL, keep_busy, NULL) != 0) return 2;
    for (int i = 0; i < BUSY_FORKS && !failures; i++) failures += !FORKED(child_of_busy_pool);
    atomic_store(&enough, 1);
    pthread_join(busy, NULL);
    /* the parent's pool still works */
    failures += !child_of_resting_pool();
    return failures != 0;
}
