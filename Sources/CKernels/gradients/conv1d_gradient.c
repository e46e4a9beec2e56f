/* Gradients of 1-D convolutions, as products with one matrix for each tap. */
#include "../linear/sgemm.h"
#include "../table.h"
#include <stdatomic.h>
#include <string.h>

enum { ELEMENTS = 8192 }; /* of a task */

typedef struct taps_job {
    float *to;
    const float *from;
    size_t count, kernel;
} taps_job;

static void taps_task(void *context, size_t index) {
    const taps_job *t = context;
    const size_t end = smaller(t->count, (index + 1) * ELEMENTS);
    for (size_t i = index * ELEMENTS; i < end; i++)
        for (size_t j = 0; j < t->kernel; j++) t->to[j * t->count + i] = t->from[i * t->kernel + j];
}

void lk_conv1d_taps(float *taps, const float *w, size_t count, size_t kernel) {
    taps_job job = {taps, w, count, kernel};
    lk_parallel(divided_up(count, ELEMENTS), taps_task, &job);
}

static void add_taps_task(void *context, size_t index) {
    const taps_job *t = context;
    const size_t end = smaller(t->count, (index + 1) * ELEMENTS);
    for (size_t i = index * ELEMENTS; i < end; i++)
        for (size_t j = 0; j < t->kernel; j++) t->to[i * t->kernel + j] += t->from[j * t->count + i];
}

void lk_conv1d_add_taps(float *w, const float *taps, size_t count, size_t kernel) {
    taps_job job = {w, taps, count, kernel};
    lk_parallel(divided_up(count, ELEMENTS), add_taps_task, &job);
}

void lk_add_row_sums(float *sums, const float *x, size_t ldx, size_t rows, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t c = 0; c < columns; c++) sum += x[r * ldx + c];
        sums[r] += (float)sum;
    }
}

void lk_collect(float *y, size_t ldy, const float *x, size_t ldx, size_t step, size_t channels, size_t columns) {
    for (size_t c = 0; c < channels; c++)
        for (size_t t = 0; t < columns; t++) y[c * ldy + t] = x[c * ldx + t * step];
}

/* --------------------------------------------------------------------------------------------------------- products */

enum { COLUMNS = 512 /* of dx in a task */ };

typedef struct gradient_job {
    const lk_conv1d_gradient *g;
    float *to;
    size_t ld;
    const float *other; /* x, or the taps */
    size_t ld_other;
    int by_inputs;
    atomic_int status;
} gradient_job;

/* All taps into the same columns of dx, which stay in the cache. Tap j takes column s of dx from column s - j ·
 * dilation of dy. */
static void input_task(void *context, size_t index) {
    gradient_job *j = context;
    const lk_conv1d_gradient *g = j->g;
    const size_t first = index * COLUMNS, all = g->columns + (g->kernel - 1) * g->dilation;
    const size_t end = smaller(all, first + COLUMNS);
    for (size_t tap = 0; tap < g->kernel && !lk_interrupted(); tap++) {
        const size_t shift = tap * g->dilation, last = smaller(end, g->columns + shift);
        const size_t start = first > shift ? first : shift;
        if (start >= last) continue;
        const lk_factor w = {j->other + tap * g->out_channels * g->in_channels, g->in_channels, 1};
        const lk_factor dy = {g->dy + start - shift, g->ld_dy, 0};
        int status = lk_sgemm_factors(j->to + start, j->ld, w, dy, g->in_channels, last - start, g->out_channels, 1);
        if (status != LK_OK) atomic_store(&j->status, status);
    }
}

int lk_conv1d_input_gradient(float *dx, size_t ldx, const lk_conv1d_gradient *gradient, const float *taps) {
    if (gradient->columns == 0) return LK_OK;
    int status = lk_sgemm_prepare();
    if (status != LK_OK) return status;
    gradient_job job = {.g = gradient, .to = dx, .ld = ldx, .other = taps};
    const size_t columns = gradient->columns + (gradient->kernel - 1) * gradient->dilation;
    lk_parallel(divided_up(columns, COLUMNS), input_task, &job);
    return job.status;
}

static void weight_task(void *context, size_t tap) {
    gradient_job *j = context;
    const lk_conv1d_gradient *g = j->g;
    if (lk_interrupted()) return;
    const float *x = j->other + tap * g->dilation;
    float *to = j->to + tap * g->out_channels * g->in_channels;
    int status;
    if (j->by_inputs)
        status = lk_sgemm_factors(to, g->out_channels, (lk_factor){x, j->ld_other, 0},
                                  (lk_factor){g->dy, g->ld_dy, 1}, g->in_channels, g->out_channels, g->columns, 0);
    else
        status = lk_sgemm_factors(to, g->in_channels, (lk_factor){g->dy, g->ld_dy, 0},
                                  (lk_factor){x, j->ld_other, 1}, g->out_channels, g->in_channels, g->columns, 0);
    if (status != LK_OK) atomic_store(&j->status, status);
}

int lk_conv1d_weight_gradient(float *taps, const lk_conv1d_gradient *gradient, const float *x, size_t ldx,
                              int by_inputs) {
    if (gradient->columns == 0) {
        lk_clear(taps, gradient->kernel * gradient->out_channels * gradient->in_channels);
        return LK_OK;
    }
    int status = lk_sgemm_prepare();
    if (status != LK_OK) return status;
    gradient_job job = {.g = gradient, .to = taps, .other = x, .ld_other = ldx, .by_inputs = by_inputs};
    lk_parallel(gradient->kernel, weight_task, &job);
    return job.status;
}
