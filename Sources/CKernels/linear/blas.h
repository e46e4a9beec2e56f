/* OpenBLAS's matrix product, on the calling thread: the pool splits the work. */
#ifndef LYRA_KERNELS_BLAS_H
#define LYRA_KERNELS_BLAS_H

#include <stddef.h>

/* Loads OpenBLAS on a thread of its own, unless it is loaded. Call this before the pool's tasks call lk_sgemm. Returns
 * LK_OK, LK_NO_BLAS, LK_CLOSED_BLAS or LK_NO_MEMORY; after a failure the next call tries again. */
int lk_blas_prepare(void);

/* y[m, n] = x[m, k] · wᵀ with w[n, k] if `transposed`, else x · w with w[k, n]; added to y if `accumulate`. Returns
 * LK_OK, LK_NO_MEMORY, or LK_NO_BLAS before a successful lk_blas_prepare. */
int lk_sgemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, int transposed, size_t m,
             size_t n, size_t k, int accumulate);

/* The same with either factor transposed: y[m, n] (+)= x · w, with x[k, m] if it is transposed, w[n, k] if it is. */
typedef struct lk_blas_factor {
    const float *data;
    size_t ld;
    int transposed;
} lk_blas_factor;
int lk_sgemm_factors(float *y, size_t ldy, lk_blas_factor x, lk_blas_factor w, size_t m, size_t n, size_t k,
                     int accumulate);

/* How the pool's tasks split a result [m, n]: `each` rows, or columns if `by_columns`. OpenBLAS copies both factors of
 * every call into its own order, so the larger side is split, and a task computes much of what it copies. The split does
 * not depend on the number of threads: OpenBLAS sums in another order at the edges of a result. */
typedef struct lk_blas_split {
    int by_columns;
    size_t each, tasks;
} lk_blas_split;
lk_blas_split lk_split_product(size_t m, size_t n);

#endif
