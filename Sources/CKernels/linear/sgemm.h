/* A product of two matrices of floats on the calling thread: the pool splits the work. OpenBLAS multiplies, or lyra's
 * own kernels where OpenBLAS has none for the processor, or is not installed. */
#ifndef LYRA_KERNELS_SGEMM_H
#define LYRA_KERNELS_SGEMM_H

#include "../include/lyra_kernels.h"

/* Call this before the pool's tasks call lk_sgemm. Returns LK_OK, LK_CLOSED_BLAS or LK_NO_MEMORY; after a failure the
 * next call tries again. */
int lk_sgemm_prepare(void);

/* y[m, n] = x[m, k] · wᵀ with w[n, k] if `transposed`, else x · w with w[k, n]; added to y if `accumulate`. Returns
 * LK_OK or LK_NO_MEMORY. */
int lk_sgemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, int transposed, size_t m,
             size_t n, size_t k, int accumulate);

/* The same with either factor transposed: y[m, n] (+)= x · w, with x[k, m] if it is transposed, w[n, k] if it is. */
int lk_sgemm_factors(float *y, size_t ldy, lk_factor x, lk_factor w, size_t m, size_t n, size_t k, int accumulate);

/* How the pool's tasks split a result [m, n]: `each` rows, or columns if `by_columns`. Every call copies both factors
 * into an order of its own, so the larger side is split, and a task computes much of what it copies. The split does not
 * depend on the number of threads: OpenBLAS sums in another order at the edges of a result. */
typedef struct lk_sgemm_split {
    int by_columns;
    size_t each, tasks;
} lk_sgemm_split;
lk_sgemm_split lk_split_product(size_t m, size_t n);

#endif
