/* OpenBLAS's product of matrices, on the thread that calls it: the pool shares the work. */
#ifndef LYRA_KERNELS_BLAS_H
#define LYRA_KERNELS_BLAS_H

#include <stddef.h>

/* Loads OpenBLAS, on a thread of its own, unless it is loaded. To be called before the pool's tasks multiply.
 * → LK_OK, LK_NO_BLAS, LK_CLOSED_BLAS or LK_NO_MEMORY; after a failure the next call tries again. */
int lk_blas_prepare(void);

/* y[m, n] = x[m, k] · w (+ y, to accumulate). w: [n, k], whose transpose is meant, if `transposed`, else [k, n].
 * → LK_OK, LK_NO_BLAS if it was not prepared, LK_NO_MEMORY. */
int lk_sgemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, int transposed, size_t m,
             size_t n, size_t k, int accumulate);

#endif
