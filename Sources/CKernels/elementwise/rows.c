/* Row-wise functions: large ones are cut into pieces for the pool. */
#include "../table.h"
#include <math.h>

/* Elements below which one thread is faster than waking others. */
enum { PIECE = 32768 };

typedef struct rows_job {
    float *y;
    const float *x, *weight, *bias;
    size_t rows, columns, rows_each;
    float number;
} rows_job;

static size_t rows_of(const rows_job *j, size_t index) {
    size_t first = index * j->rows_each;
    return j->rows - first < j->rows_each ? j->rows - first : j->rows_each;
}

static void run(rows_job *j, size_t columns_read, void (*task)(void *, size_t)) {
    if (j->rows == 0 || columns_read == 0) return;
    j->rows_each = PIECE / columns_read > 0 ? PIECE / columns_read : 1;
    lk_parallel((j->rows + j->rows_each - 1) / j->rows_each, task, j);
}

static void rms_norm_task(void *context, size_t i) {
    rows_job *j = context;
    size_t at = i * j->rows_each * j->columns;
    lk_kernels()->rms_norm(j->y + at, j->x + at, j->weight, rows_of(j, i), j->columns, j->number);
}

void lk_rms_norm(float *y, const float *x, const float *weight, size_t rows, size_t columns, float epsilon) {
    rows_job j = {y, x, weight, NULL, rows, columns, 0, epsilon};
    run(&j, columns, rms_norm_task);
}

static void layer_norm_task(void *context, size_t i) {
    rows_job *j = context;
    size_t at = i * j->rows_each * j->columns;
    lk_kernels()->layer_norm(j->y + at, j->x + at, j->weight, j->bias, rows_of(j, i), j->columns, j->number);
}

void lk_layer_norm(float *y, const float *x, const float *weight, const float *bias, size_t rows, size_t columns,
                   float epsilon) {
    rows_job j = {y, x, weight, bias, rows, columns, 0, epsilon};
    run(&j, columns, layer_norm_task);
}

static void silu_mul_task(void *context, size_t i) {
    rows_job *j = context;
    size_t first = i * j->rows_each;
    for (size_t r = first; r < first + rows_of(j, i); r++) {
        const float *gate = j->x + 2 * r * j->columns;
        lk_kernels()->silu_mul(j->y + r * j->columns, gate, gate + j->columns, j->columns);
    }
}

void lk_silu_mul(float *y, const float *gate_up, size_t rows, size_t columns) {
    rows_job j = {y, gate_up, NULL, NULL, rows, columns, 0, 0};
    run(&j, 2 * columns, silu_mul_task);
}

/* The functions on plain arrays see them as rows of one piece each; the last is shorter. */
static size_t piece(const rows_job *j, size_t i) {
    return j->columns - i * PIECE < PIECE ? j->columns - i * PIECE : PIECE;
}

static void gelu_task(void *context, size_t i) {
    rows_job *j = context;
    lk_kernels()->gelu(j->y + i * PIECE, piece(j, i));
}

void lk_gelu(float *x, size_t count) {
    rows_job j = {.y = x, .columns = count};
    lk_parallel((count + PIECE - 1) / PIECE, gelu_task, &j);
}

static void quick_gelu_task(void *context, size_t i) {
    rows_job *j = context;
    lk_kernels()->quick_gelu(j->y + i * PIECE, piece(j, i));
}

void lk_quick_gelu(float *x, size_t count) {
    rows_job j = {.y = x, .columns = count};
    lk_parallel((count + PIECE - 1) / PIECE, quick_gelu_task, &j);
}

static void add_task(void *context, size_t i) {
    rows_job *j = context;
    lk_kernels()->add(j->y + i * PIECE, j->x + i * PIECE, piece(j, i));
}

void lk_add(float *y, const float *x, size_t count) {
    rows_job j = {.y = y, .x = x, .columns = count};
    lk_parallel((count + PIECE - 1) / PIECE, add_task, &j);
}

void lk_leaky_relu(float *x, size_t count, float slope) { lk_kernels()->leaky_relu(x, count, slope); }
void lk_tanh(float *x, size_t count) { lk_kernels()->tanh_(x, count); }
void lk_scale(float *y, size_t count, float factor) { lk_kernels()->scale(y, count, factor); }

typedef struct rope_job {
    float *x;
    size_t row_stride, rows, rows_each, heads, dim;
    const float *cos, *sin;
} rope_job;

static void rope_task(void *context, size_t i) {
    rope_job *j = context;
    size_t first = i * j->rows_each, left = j->rows - first, half = j->dim / 2;
    lk_kernels()->rope(j->x + first * j->row_stride, j->row_stride, j->cos + first * half, j->sin + first * half,
                       left < j->rows_each ? left : j->rows_each, j->heads, j->dim);
}

void lk_rope(float *x, size_t row_stride, const float *cos, const float *sin, size_t rows, size_t heads, size_t dim) {
    if (rows == 0 || heads * dim == 0) return;
    size_t each = PIECE / (heads * dim);
    rope_job j = {x, row_stride, rows, each > 0 ? each : 1, heads, dim, cos, sin};
    lk_parallel((rows + j.rows_each - 1) / j.rows_each, rope_task, &j);
}

size_t lk_argmax(const float *x, size_t count) {
    size_t best = 0;
    float top = -INFINITY;
    for (size_t i = 0; i < count; i++)
        if (x[i] > top) top = x[i], best = i;
    return best;
}
