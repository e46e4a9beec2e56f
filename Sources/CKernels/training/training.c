/* Training's kernels on the pool's threads. */
#include "training.h"
#include "../include/lyra_kernels.h"

/* Elements of a chunk; with fewer in all, one thread is faster than waking others. */
enum { CHUNK = 32768 };

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t divided_up(size_t a, size_t b) { return a / b + (a % b != 0); }

/* Chosen here and not in dispatch.c, which every program links. A named set includes those before it. */
static const lk_training_kernels *kernels(void) {
#if defined(__x86_64__)
    const lk_isa isa = lk_current_isa();
    if (isa >= LK_ISA_AVX512) return &lk_training_avx512;
    if (isa >= LK_ISA_AVX2) return &lk_training_avx2;
#endif
    return &lk_training_generic;
}

typedef struct adamw_job {
    float *w, *m, *v;
    const float *g;
    size_t count;
    const lk_adamw_step *step;
} adamw_job;

static void adamw_task(void *context, size_t index) {
    const adamw_job *j = context;
    const size_t first = index * CHUNK;
    kernels()->adamw(j->w + first, j->m + first, j->v + first, j->g + first, smaller(CHUNK, j->count - first), j->step);
}

void lk_adamw(float *w, float *m, float *v, const float *g, size_t count, const lk_adamw_step *step) {
    adamw_job j = {w, m, v, g, count, step};
    lk_parallel(divided_up(count, CHUNK), adamw_task, &j);
}

enum { SLICES = 256 };

typedef struct square_sum_job {
    const float *x;
    size_t count, each; /* elements of a slice */
    double sums[SLICES];
} square_sum_job;

static void square_sum_task(void *context, size_t index) {
    square_sum_job *j = context;
    const size_t first = index * j->each;
    j->sums[index] = kernels()->square_sum(j->x + first, smaller(j->each, j->count - first));
}

double lk_square_sum(const float *x, size_t count) {
    square_sum_job j = {.x = x, .count = count, .each = CHUNK * divided_up(divided_up(count, CHUNK), SLICES)};
    const size_t slices = count > 0 ? divided_up(count, j.each) : 0;
    lk_parallel(slices, square_sum_task, &j);
    double sum = 0;
    for (size_t i = 0; i < slices; i++) sum += j.sums[i];
    return sum;
}

typedef struct cross_entropy_job {
    float *x;
    size_t ldx, rows, columns, rows_each;
    const int32_t *targets;
    float scale;
    double *losses;
} cross_entropy_job;

static void cross_entropy_row(const cross_entropy_job *j, size_t row) {
    float *x = j->x + row * j->ldx;
    if (j->targets[row] >= 0) {
        j->losses[row] = kernels()->cross_entropy(x, j->columns, (size_t)j->targets[row], j->scale);
        return;
    }
    for (size_t i = 0; i < j->columns; i++) x[i] = 0;
    j->losses[row] = 0;
}

static void cross_entropy_task(void *context, size_t index) {
    const cross_entropy_job *j = context;
    const size_t first = index * j->rows_each, last = smaller(j->rows, first + j->rows_each);
    for (size_t row = first; row < last; row++) cross_entropy_row(j, row);
}

void lk_cross_entropy(float *x, size_t ldx, size_t rows, size_t columns, const int32_t *targets, float scale,
                      double *losses) {
    if (rows == 0 || columns == 0) return;
    const size_t each = CHUNK / columns;
    cross_entropy_job j = {x, ldx, rows, columns, each > 0 ? each : 1, targets, scale, losses};
    lk_parallel(divided_up(rows, j.rows_each), cross_entropy_task, &j);
}
