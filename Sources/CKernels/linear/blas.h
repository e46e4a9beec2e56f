/* OpenBLAS's matrix product, on the calling thread. */
#ifndef LYRA_KERNELS_BLAS_H
#define LYRA_KERNELS_BLAS_H

#include "../include/lyra_kernels.h"

/* Loads OpenBLAS on a thread of its own, unless it is loaded. Returns LK_OK, also if OpenBLAS is not installed or is
 * damaged; LK_CLOSED_BLAS or LK_NO_MEMORY, after which the next call tries again. */
int lk_blas_prepare(void);

/* As lk_sgemm_factors. Only if lk_blas_core is not null. */
int lk_blas_sgemm(float *y, size_t ldy, lk_factor x, lk_factor w, size_t m, size_t n, size_t k, int accumulate);

/* The processor that OpenBLAS computes for, such as "Zen"; "" if it does not say, null if it is not loaded. */
const char *lk_blas_core(void);

/* Why it was not loaded; "" if it was, or has not been needed yet. */
const char *lk_blas_absence(void);

#endif
