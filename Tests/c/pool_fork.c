/* A child that a fork made has the pool's memory but none of its threads, and computes all the same. Forked twice: from
 * a process whose pool rests, and while another thread keeps the pool busy. */
#define _GNU_SOURCE
#include "../../Sources/CKernels/include/lyra_kernels.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* SECONDS is far more than a child needs: one that hangs is ended then. */
enum { M = 20, K = 64, N = 600, VALUES = 200000, BUSY_FORKS = 100, SECONDS = 20 };

static float x[M * K], w[N * K], pages[M * K];

static void fill(float *values, size_t count) {
    for (size_t i = 0; i < count; i++) values[i] = (float)(i * 7919 % 1009) / 504.5f - 1;
}

/* A matrix product, attention over it, and a function of many values. */
static int compute(float *product, float *attended, float *values) {
    const void *page = pages;
    lk_attention_shape shape = {.rows = M, .kv_rows = M, .heads = 4, .kv_heads = 4, .dim = K / 4, .q_row_stride = K,
                                .out_row_stride = K, .kv_row_stride = K, .page_rows = M, .causal = 1, .scale = 1};
    fill(values, VALUES);
    lk_gelu(values, VALUES);
    return lk_linear(product, N, x, K, M, K, w, LK_F32, N, NULL, 0) == LK_OK &&
           lk_attention(attended, x, &page, &page, NULL, NULL, &shape) == LK_OK;
}

static float product[2][M * N], attended[2][M * K], values[2][VALUES];

/* Only what is computed without OpenBLAS, whose own locks a fork may catch. */
static int child_of_busy_pool(void) {
    fill(values[1], VALUES);
    lk_gelu(values[1], VALUES);
    return memcmp(values[0], values[1], sizeof values[0]) == 0;
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

static int forked(int (*task)(void)) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS);
        _exit(task() ? 0 : 1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) return 0;
    if (status != 0) printf("# the child ended with status %#x\n", (unsigned)status);
    return status == 0;
}

static atomic_int enough;

static void *keep_busy(void *unused) {
    static float own[VALUES];
    while (!atomic_load(&enough)) lk_gelu(own, VALUES);
    return unused;
}

int main(void) {
    int failures = 0;
    pthread_t busy;
    fill(x, M * K), fill(w, N * K), fill(pages, M * K);
    lk_set_threads(4);
    if (!compute(product[0], attended[0], values[0])) return 2;
    failures += !forked(child_of_resting_pool);
    if (pthread_create(&busy, NULL, keep_busy, NULL) != 0) return 2;
    for (int i = 0; i < BUSY_FORKS && !failures; i++) failures += !forked(child_of_busy_pool);
    atomic_store(&enough, 1);
    pthread_join(busy, NULL);
    /* and the parent's own pool still works */
    failures += !child_of_resting_pool();
    return failures != 0;
}
