/* Functions on rows and on plain arrays. Large inputs are cut into chunks for the pool. */
#include "../table.h"
#include <math.h>
#include <string.h>

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


typedef struct values_job {
    float *y;
    size_t count;
    lk_epilogue activation;
    float factor;
    uint64_t seed;
    uint32_t limit;
} values_job;

static void scale_task(void *context, size_t i) {
    const values_job *j = context;
    lk_kernels()->scale(j->y + i * CHUNK, smaller(CHUNK, j->count - i * CHUNK), j->factor);
}

void lk_scale(float *y, size_t count, float factor) {
    values_job j = {.y = y, .count = count, .factor = factor};
    lk_parallel(divided_up(count, CHUNK), scale_task, &j);
}

static void activate_task(void *context, size_t i) {
    const values_job *j = context;
    const size_t count = smaller(CHUNK, j->count - i * CHUNK);
    if (j->activation == LK_QUICK_GELU) lk_kernels()->quick_gelu(j->y + i * CHUNK, count);
    else lk_kernels()->gelu(j->y + i * CHUNK, count);
}

void lk_activate(float *x, size_t count, lk_epilogue activation) {
    values_job j = {.y = x, .count = count, .activation = activation};
    lk_parallel(divided_up(count, CHUNK), activate_task, &j);
}

static void leaky_relu_task(void *context, size_t i) {
    const values_job *j = context;
    lk_kernels()->leaky_relu(j->y + i * CHUNK, smaller(CHUNK, j->count - i * CHUNK), j->factor);
}

void lk_leaky_relu(float *x, size_t count, float slope) {
    values_job j = {.y = x, .count = count, .factor = slope};
    lk_parallel(divided_up(count, CHUNK), leaky_relu_task, &j);
}

static void tanh_task(void *context, size_t i) {
    const values_job *j = context;
    lk_kernels()->tanh_(j->y + i * CHUNK, smaller(CHUNK, j->count - i * CHUNK));
}

void lk_tanh(float *x, size_t count) {
    values_job j = {.y = x, .count = count};
    lk_parallel(divided_up(count, CHUNK), tanh_task, &j);
}

static void clear_task(void *context, size_t i) {
    const values_job *j = context;
    memset(j->y + i * CHUNK, 0, smaller(CHUNK, j->count - i * CHUNK) * sizeof(float));
}

void lk_clear(float *y, size_t count) {
    values_job j = {.y = y, .count = count};
    lk_parallel(divided_up(count, CHUNK), clear_task, &j);
}

/* SplitMix64's output function on a counter. */
static uint32_t random_bits(uint64_t seed, uint64_t index) {
    uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static void dropout_task(void *context, size_t index) {
    const values_job *j = context;
    const size_t end = smaller(j->count, (index + 1) * CHUNK);
    for (size_t i = index * CHUNK; i < end; i++)
        j->y[i] = random_bits(j->seed, i) < j->limit ? 0 : j->y[i] * j->factor;
}

void lk_dropout(float *y, size_t count, float factor, uint64_t seed, uint32_t limit) {
    values_job j = {.y = y, .count = count, .factor = factor, .seed = seed, .limit = limit};
    lk_parallel(divided_up(count, CHUNK), dropout_task, &j);
}

static void copy_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t first = i * j->rows_each;
    for (size_t r = first; r < first + rows_of(j, i); r++)
        memcpy(j->y + r * j->ldy, j->x + r * j->ldx, j->columns * sizeof(float));
}

void lk_copy_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t columns) {
    rows_job j = {.y = y, .ldy = ldy, .x = x, .ldx = ldx, .rows = rows, .columns = columns};
    run(&j, columns, copy_task);
}

size_t lk_argmax(const float *x, size_t count) {
    size_t best = 0;
    float top = -INFINITY;
    for (size_t i = 0; i < count; i++)
        if (x[i] > top) top = x[i], best = i;
    return best;
}
