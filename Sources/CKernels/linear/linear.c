/* y = x · wᵀ. Few rows: dot products that stream the stored weights once; the pool splits the output columns. Many rows
 * with weights in BF16, on a processor with tiles (AMX): multiplied there, without rounding x. Other products of many
 * rows: lk_sgemm multiplies on each thread of the pool. Weights that are floats are multiplied where they are, and the
 * larger side of y is split. Other weights are dequantized in pieces, and the output columns are split. */
#include "sgemm.h"
#include "../amx/amx.h"
#include "../table.h"
#include <pthread.h>
#include <stdatomic.h>

enum {
    FEW_ROWS = 32,      /* the most rows for which streaming the weights is faster than dequantizing them */
    DOT_COLUMNS = 64,   /* output columns of one task with few rows */
    TILE_COLUMNS = 128, /* output columns of one task with many rows */
    TILE_DEPTH = 1024   /* k of one tile of weights: 512 KB, which stay in cache; a task can end between tiles */
};

typedef struct linear_job {
    float *y;
    const float *x, *bias;
    const char *w;
    lk_type type;
    size_t ldy, ldx, m, k, n;
    lk_epilogue epilogue;
    lk_sgemm_split split; /* of weights in place */
    atomic_int status;
} linear_job;

static void finish(const linear_job *j, size_t first_row, size_t rows, size_t first, size_t columns) {
    for (size_t r = first_row; r < first_row + rows; r++) {
        float *y = j->y + r * j->ldy + first;
        if (j->bias) lk_kernels()->add(y, j->bias + first, columns);
        if (j->epilogue == LK_GELU) lk_kernels()->gelu(y, columns);
        if (j->epilogue == LK_QUICK_GELU) lk_kernels()->quick_gelu(y, columns);
    }
}

static void few_rows(void *context, size_t index) {
    linear_job *j = context;
    size_t first = index * DOT_COLUMNS, columns = smaller(DOT_COLUMNS, j->n - first);
    const char *w = j->w + first * j->k * (j->type == LK_F32 ? 4 : 2);
    if (j->epilogue == LK_ACCUMULATE) {
        float sums[FEW_ROWS * DOT_COLUMNS];
        lk_kernels()->dot_rows(sums, DOT_COLUMNS, j->x, j->ldx, j->m, j->k, w, j->k, j->type, columns);
        for (size_t r = 0; r < j->m; r++)
            lk_kernels()->add(j->y + r * j->ldy + first, sums + r * DOT_COLUMNS, columns);
    } else lk_kernels()->dot_rows(j->y + first, j->ldy, j->x, j->ldx, j->m, j->k, w, j->k, j->type, columns);
    finish(j, 0, j->m, first, columns);
}

/* Returns 1; on failure, sets the job's status and returns 0. */
static int gemm(linear_job *j, size_t first, size_t columns, size_t k0, size_t depth, const float *w, size_t ldw) {
    int status = lk_sgemm(j->y + first, j->ldy, j->x + k0, j->ldx, w, ldw, 1, j->m, columns, depth,
                          j->epilogue == LK_ACCUMULATE || k0 > 0);
    if (status != LK_OK) atomic_store(&j->status, status);
    return status == LK_OK;
}

static void many_rows(void *context, size_t index) {
    linear_job *j = context;
    size_t first = index * TILE_COLUMNS, columns = smaller(TILE_COLUMNS, j->n - first);
    size_t size = j->type == LK_F32 ? 4 : 2;
    float *tile = lk_scratch(0, TILE_COLUMNS * TILE_DEPTH);
    if (!tile) {
        atomic_store(&j->status, LK_NO_MEMORY);
        return;
    }
    for (size_t k0 = 0; k0 < j->k && !lk_interrupted(); k0 += TILE_DEPTH) {
        size_t depth = smaller(TILE_DEPTH, j->k - k0);
        const char *w = j->w + (first * j->k + k0) * size;
        for (size_t c = 0; c < columns; c++)
            lk_kernels()->dequantize(tile + c * depth, w + c * j->k * size, j->type, depth);
        if (!gemm(j, first, columns, k0, depth, tile, depth)) return;
    }
    finish(j, 0, j->m, first, columns);
}

static void floats_in_place(void *context, size_t index) {
    linear_job *j = context;
    const int by_columns = j->split.by_columns;
    const size_t start = index * j->split.each, size = smaller(j->split.each, (by_columns ? j->n : j->m) - start);
    const size_t row = by_columns ? 0 : start, rows = by_columns ? j->m : size;
    const size_t first = by_columns ? start : 0, columns = by_columns ? size : j->n;
    if (lk_interrupted()) return;
    const float *w = (const float *)(const void *)j->w;
    int status = lk_sgemm(j->y + row * j->ldy + first, j->ldy, j->x + row * j->ldx, j->ldx, w + first * j->k, j->k, 1,
                          rows, columns, j->k, j->epilogue == LK_ACCUMULATE);
    if (status != LK_OK) {
        atomic_store(&j->status, status);
        return;
    }
    finish(j, row, rows, first, columns);
}

int lk_linear(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *w, lk_type type,
              size_t n, const float *bias, lk_epilogue epilogue) {
    linear_job job = {y, x, bias, w, type, ldy, ldx, m, k, n, epilogue, lk_split_product(m, n), 0};
    if (m == 0 || n == 0) return LK_OK;
    if (type == LK_BF16 && m > FEW_ROWS && k % 2 == 0 && lk_amx_serves(m)) {
        const lk_packed_product product = {y, ldy, {w, type, 0, n}, bias, epilogue};
        return lk_amx_linear(&product, 1, 0, x, ldx, m, k, LK_AMX_EXACT);
    }
    if (m <= FEW_ROWS) lk_parallel((n + DOT_COLUMNS - 1) / DOT_COLUMNS, few_rows, &job);
    else {
        int status = lk_sgemm_prepare();
        if (status != LK_OK) return status;
        const int in_place = type == LK_F32 && (uintptr_t)w % 4 == 0;
        if (in_place) lk_parallel(job.split.tasks, floats_in_place, &job);
        else lk_parallel(divided_up(n, TILE_COLUMNS), many_rows, &job);
    }
    return job.status;
}
