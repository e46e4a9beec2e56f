/* Functions on rows and on plain arrays. Large inputs are cut into chunks for the pool. */
#include "../table.h"
#include <math.h>

/* Elements of a chunk. One thread computes one chunk faster than it wakes others. */
enum { CHUNK = 32768 };

typedef struct rows_job {
    float *y;
    const float *x, *up, *weight, *bias;
    size_t ldy, ldx, ld_up;
    size_t rows, columns, rows_each;
    float epsilon;
} rows_job;

static size_t rows_of(const rows_job *j, size_t index) { return smaller(j->rows_each, j->rows - index * j->rows_each); }

static void run(rows_job *j, size_t columns_read, void (*task)(void *, size_t)) {
    if (j->rows == 0 || columns_read == 0) return;
    j->rows_each = CHUNK / columns_read > 0 ? CHUNK / columns_read : 1;
    lk_parallel((j->rows + j->rows_each - 1) / j->rows_each, task, j);
}

static void rms_norm_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t first = i * j->rows_each;
    lk_kernels()->rms_norm(j->y + first * j->ldy, j->ldy, j->x + first * j->ldx, j->ldx, j->weight, rows_of(j, i),
                           j->columns, j->epsilon);
}

void lk_rms_norm(float *y, size_t ldy, const float *x, size_t ldx, const float *weight, size_t rows, size_t columns,
                 float epsilon) {
    rows_job j = {.y = y, .ldy = ldy, .x = x, .ldx = ldx, .weight = weight, .rows = rows, .columns = columns,
                  .epsilon = epsilon};
    run(&j, columns, rms_norm_task);
}

static void layer_norm_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t first = i * j->rows_each;
    lk_kernels()->layer_norm(j->y + first * j->ldy, j->ldy, j->x + first * j->ldx, j->ldx, j->weight, j->bias,
                             rows_of(j, i), j->columns, j->epsilon);
}

void lk_layer_norm(float *y, size_t ldy, const float *x, size_t ldx, const float *weight, const float *bias,
                   size_t rows, size_t columns, float epsilon) {
    rows_job j = {.y = y, .ldy = ldy, .x = x, .ldx = ldx, .weight = weight, .bias = bias, .rows = rows,
                  .columns = columns, .epsilon = epsilon};
    run(&j, columns, layer_norm_task);
}

static void silu_mul_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t first = i * j->rows_each;
    for (size_t r = first; r < first + rows_of(j, i); r++)
        lk_kernels()->silu_mul(j->y + r * j->ldy, j->x + r * j->ldx, j->up + r * j->ld_up, j->columns);
}

void lk_silu_mul(float *y, size_t ldy, const float *gate, size_t ld_gate, const float *up, size_t ld_up, size_t rows,
                 size_t columns) {
    rows_job j = {.y = y, .ldy = ldy, .x = gate, .ldx = ld_gate, .up = up, .ld_up = ld_up, .rows = rows,
                  .columns = columns};
    run(&j, 2 * columns, silu_mul_task);
}

typedef struct rope_job {
    float *y;
    const float *x;
    size_t ldy, ldx, rows, rows_each, heads, dim;
    const float *cos, *sin;
} rope_job;

static void rope_task(void *context, size_t i) {
    const rope_job *j = context;
    const size_t first = i * j->rows_each, half = j->dim / 2;
    lk_kernels()->rope(j->y + first * j->ldy, j->ldy, j->x + first * j->ldx, j->ldx, j->cos + first * half,
                       j->sin + first * half, smaller(j->rows_each, j->rows - first), j->heads, j->dim);
}

void lk_rope(float *y, size_t ldy, const float *x, size_t ldx, const float *cos, const float *sin, size_t rows,
             size_t heads, size_t dim) {
    if (rows == 0 || heads * dim == 0) return;
    const size_t each = CHUNK / (heads * dim);
    rope_job j = {y, x, ldy, ldx, rows, each > 0 ? each : 1, heads, dim, cos, sin};
    lk_parallel((rows + j.rows_each - 1) / j.rows_each, rope_task, &j);
}

typedef struct add_job {
    float *y;
    const float *x;
    size_t count;
} add_job;

static void add_task(void *context, size_t i) {
    const add_job *j = context;
    lk_kernels()->add(j->y + i * CHUNK, j->x + i * CHUNK, smaller(CHUNK, j->count - i * CHUNK));
}

void lk_add(float *y, const float *x, size_t count) {
    add_job j = {y, x, count};
    lk_parallel((count + CHUNK - 1) / CHUNK, add_task, &j);
}

void lk_leaky_relu(float *x, size_t count, float slope) { lk_kernels()->leaky_relu(x, count, slope); }
void lk_tanh(float *x, size_t count) { lk_kernels()->tanh_(x, count); }
void lk_scale(float *y, size_t count, float factor) { lk_kernels()->scale(y, count, factor); }

size_t lk_argmax(const float *x, size_t count) {
    size_t best = 0;
    float top = -INFINITY;
    for (size_t i = 0; i < count; i++)
        if (x[i] > top) top = x[i], best = i;
    return best;
}
