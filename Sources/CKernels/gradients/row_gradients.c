/* Gradients of functions on rows, cut into chunks for the pool. */
#include "gradients.h"

/* Elements of a chunk; with fewer in all, one thread is faster than waking others. */
enum { CHUNK = 32768 };

/* Columns of a task that sums over rows. */
enum { SUM_COLUMNS = 64 };

/* The table that fits the forward kernels in use. */
const lk_gradient_kernels *lk_gradients(void) {
#if defined(__x86_64__)
    if (lk_kernels() == &lk_float_avx512) return &lk_gradients_avx512;
    if (lk_kernels() == &lk_float_avx2) return &lk_gradients_avx2;
#endif
    return &lk_gradients_generic;
}

typedef struct rows_job {
    float *dx, *dup, *dweight, *dbias, *statistics;
    const float *dy, *x, *up, *weight;
    size_t ld_dx, ld_dup, lddy, ldx, ld_up, rows, columns, rows_each;
    float epsilon;
    int centred;
} rows_job;

static void run(rows_job *j, void (*task)(void *, size_t)) {
    if (j->rows == 0 || j->columns == 0) return;
    j->rows_each = CHUNK / j->columns > 0 ? CHUNK / j->columns : 1;
    lk_parallel((j->rows + j->rows_each - 1) / j->rows_each, task, j);
}

static size_t rows_of(const rows_job *j, size_t i) { return smaller(j->rows_each, j->rows - i * j->rows_each); }

static void add_task(void *context, size_t i) {
    const rows_job *j = context;
    for (size_t r = i * j->rows_each; r < i * j->rows_each + rows_of(j, i); r++)
        lk_kernels()->add(j->dx + r * j->ld_dx, j->x + r * j->ldx, j->columns);
}

void lk_add_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t columns) {
    rows_job j = {.dx = y, .ld_dx = ldy, .x = x, .ldx = ldx, .rows = rows, .columns = columns};
    run(&j, add_task);
}

/* Every column is summed in the order of the rows, so the number of threads changes no bit. */
static void sum_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t first = i * SUM_COLUMNS, columns = smaller(SUM_COLUMNS, j->columns - first);
    for (size_t r = 0; r < j->rows; r++) lk_kernels()->add(j->dbias + first, j->x + r * j->ldx + first, columns);
}

void lk_add_column_sums(float *sums, const float *x, size_t ldx, size_t rows, size_t columns) {
    rows_job j = {.dbias = sums, .x = x, .ldx = ldx, .rows = rows, .columns = columns};
    lk_parallel((columns + SUM_COLUMNS - 1) / SUM_COLUMNS, sum_task, &j);
}

static void norm_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t first = i * j->rows_each;
    lk_gradients()->norm(j->dx + first * j->columns, j->dy + first * j->lddy, j->lddy, j->x + first * j->ldx, j->ldx,
                    j->weight, rows_of(j, i), j->columns, j->epsilon, j->centred, j->statistics + 2 * first);
}

static void norm_weight_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t first = i * SUM_COLUMNS, columns = smaller(SUM_COLUMNS, j->columns - first);
    lk_gradients()->norm_weight(j->dweight ? j->dweight + first : NULL, j->dbias ? j->dbias + first : NULL,
                                j->dy + first, j->lddy, j->x + first, j->ldx, j->rows, columns, j->statistics);
}

static void norm(rows_job *j) {
    run(j, norm_task);
    if (j->dweight || j->dbias) lk_parallel((j->columns + SUM_COLUMNS - 1) / SUM_COLUMNS, norm_weight_task, j);
}

void lk_rms_norm_gradient(float *dx, float *dweight, const float *dy, size_t lddy, const float *x, size_t ldx,
                          const float *weight, size_t rows, size_t columns, float epsilon, float *statistics) {
    rows_job j = {.dx = dx, .dweight = dweight, .dy = dy, .lddy = lddy, .x = x, .ldx = ldx, .weight = weight,
                  .rows = rows, .columns = columns, .epsilon = epsilon, .statistics = statistics};
    norm(&j);
}

void lk_layer_norm_gradient(float *dx, float *dweight, float *dbias, const float *dy, size_t lddy, const float *x,
                            size_t ldx, const float *weight, size_t rows, size_t columns, float epsilon,
                            float *statistics) {
    rows_job j = {.dx = dx, .dweight = dweight, .dbias = dbias, .dy = dy, .lddy = lddy, .x = x, .ldx = ldx,
                  .weight = weight, .rows = rows, .columns = columns, .epsilon = epsilon, .centred = 1,
                  .statistics = statistics};
    norm(&j);
}

static void silu_mul_task(void *context, size_t i) {
    const rows_job *j = context;
    for (size_t r = i * j->rows_each; r < i * j->rows_each + rows_of(j, i); r++)
        lk_gradients()->silu_mul(j->dx + r * j->ld_dx, j->dup + r * j->ld_dup, j->dy + r * j->lddy, j->x + r * j->ldx,
                            j->up + r * j->ld_up, j->columns);
}

void lk_silu_mul_gradient(float *dgate, size_t ld_dgate, float *dup, size_t ld_dup, const float *dy, size_t lddy,
                          const float *gate, size_t ld_gate, const float *up, size_t ld_up, size_t rows,
                          size_t columns) {
    rows_job j = {.dx = dgate, .ld_dx = ld_dgate, .dup = dup, .ld_dup = ld_dup, .dy = dy, .lddy = lddy, .x = gate,
                  .ldx = ld_gate, .up = up, .ld_up = ld_up, .rows = rows, .columns = columns};
    run(&j, silu_mul_task);
}

static void activation_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t first = i * CHUNK;
    lk_gradients()->activation(j->dx + first, j->dy + first, j->x + first, smaller(CHUNK, j->columns - first),
                               j->centred);
}

static void leaky_relu_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t end = smaller(j->columns, (i + 1) * CHUNK);
    for (size_t e = i * CHUNK; e < end; e++) j->dx[e] = j->x[e] > 0 ? j->dy[e] : j->epsilon * j->dy[e];
}

void lk_leaky_relu_gradient(float *dx, const float *dy, const float *y, size_t count, float slope) {
    rows_job j = {.dx = dx, .dy = dy, .x = y, .columns = count, .epsilon = slope};
    lk_parallel(divided_up(count, CHUNK), leaky_relu_task, &j);
}

static void tanh_task(void *context, size_t i) {
    const rows_job *j = context;
    const size_t end = smaller(j->columns, (i + 1) * CHUNK);
    for (size_t e = i * CHUNK; e < end; e++) j->dx[e] = j->dy[e] * (1 - j->x[e] * j->x[e]);
}

void lk_tanh_gradient(float *dx, const float *dy, const float *y, size_t count) {
    rows_job j = {.dx = dx, .dy = dy, .x = y, .columns = count};
    lk_parallel(divided_up(count, CHUNK), tanh_task, &j);
}

void lk_activation_gradient(float *dx, const float *dy, const float *x, size_t count, lk_epilogue activation) {
    rows_job j = {.dx = dx, .dy = dy, .x = x, .columns = count, .centred = activation == LK_QUICK_GELU};
    lk_parallel((count + CHUNK - 1) / CHUNK, activation_task, &j);
}
