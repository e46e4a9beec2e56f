/* Products of two matrices in floats. The pool splits the larger side of the result; OpenBLAS multiplies. */
#include "../linear/blas.h"
#include "../table.h"
#include <stdatomic.h>

/* The least rows or columns of a task: for fewer, OpenBLAS spends more on packing the other factor than on products. */
enum { LEAST = 96 };

typedef struct product_job {
    float *c;
    size_t ldc, m, n, k, each;
    lk_blas_factor a, b;
    int by_rows, accumulate;
    atomic_int status;
} product_job;

static void product_task(void *context, size_t index) {
    product_job *j = context;
    const size_t first = index * j->each, size = smaller(j->each, (j->by_rows ? j->m : j->n) - first);
    lk_blas_factor a = j->a, b = j->b;
    if (j->by_rows) a.data += a.transposed ? first : first * a.ld;
    else b.data += b.transposed ? first * b.ld : first;
    float *c = j->c + (j->by_rows ? first * j->ldc : first);
    int status = lk_sgemm_factors(c, j->ldc, a, b, j->by_rows ? size : j->m, j->by_rows ? j->n : size, j->k,
                                  j->accumulate);
    if (status != LK_OK) atomic_store(&j->status, status);
}

int lk_matrix_product(float *c, size_t ldc, lk_factor a, lk_factor b, size_t m, size_t n, size_t k, int accumulate) {
    if (m == 0 || n == 0) return LK_OK;
    int status = lk_blas_prepare();
    if (status != LK_OK) return status;
    product_job j = {.c = c, .ldc = ldc, .m = m, .n = n, .k = k, .a = {a.data, a.ld, a.transposed},
                     .b = {b.data, b.ld, b.transposed}, .by_rows = m > n, .accumulate = accumulate};
    const size_t size = j.by_rows ? m : n, parts = 2 * (size_t)lk_threads();
    j.each = (size + parts - 1) / parts;
    j.each = j.each > LEAST ? (j.each + 15) / 16 * 16 : LEAST;
    lk_parallel((size + j.each - 1) / j.each, product_task, &j);
    return j.status;
}
