/* Products of two matrices in floats. The pool splits the larger side of the result; lk_sgemm multiplies. */
#include "../linear/sgemm.h"
#include "../table.h"
#include <stdatomic.h>

typedef struct product_job {
    float *c;
    size_t ldc, m, n, k;
    lk_factor a, b;
    lk_sgemm_split split;
    int accumulate;
    atomic_int status;
} product_job;

static void product_task(void *context, size_t index) {
    product_job *j = context;
    const int by_columns = j->split.by_columns;
    const size_t first = index * j->split.each, size = smaller(j->split.each, (by_columns ? j->n : j->m) - first);
    lk_factor a = j->a, b = j->b;
    if (by_columns) b.data += b.transposed ? first * b.ld : first;
    else a.data += a.transposed ? first : first * a.ld;
    float *c = j->c + (by_columns ? first : first * j->ldc);
    int status = lk_sgemm_factors(c, j->ldc, a, b, by_columns ? j->m : size, by_columns ? size : j->n, j->k,
                                  j->accumulate);
    if (status != LK_OK) atomic_store(&j->status, status);
}

int lk_matrix_product(float *c, size_t ldc, lk_factor a, lk_factor b, size_t m, size_t n, size_t k, int accumulate) {
    if (m == 0 || n == 0) return LK_OK;
    int status = lk_sgemm_prepare();
    if (status != LK_OK) return status;
    product_job j = {.c = c, .ldc = ldc, .m = m, .n = n, .k = k,
                     .a = a, .b = b, .split = lk_split_product(m, n), .accumulate = accumulate};
    lk_parallel(j.split.tasks, product_task, &j);
    return j.status;
}
