/* What OpenBLAS reaches by itself, for benchmarks to stand beside. */
#include "include/lyra_kernels.h"
#include <cblas.h>

void lk_sgemm_square(float *c, const float *a, const float *b, size_t size) {
    int n = (int)size;
    openblas_set_num_threads(lk_threads());
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1, a, n, b, n, 0, c, n);
    openblas_set_num_threads(1);
}
