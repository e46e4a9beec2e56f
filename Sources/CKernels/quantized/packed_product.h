/* The panels of a product with packed weights, and what becomes of their sums. */
#ifndef LYRA_KERNELS_PACKED_PRODUCT_H
#define LYRA_KERNELS_PACKED_PRODUCT_H

#include "packed_layout.h"
#include "../table.h"

enum { LK_PRODUCTS = 8 }; /* the most that share tiles of x */

static inline size_t lk_larger(size_t a, size_t b) { return a > b ? a : b; }

static inline size_t lk_first_panel(const lk_packed_product *p) { return p->weights.first / LK_PANEL; }
static inline size_t lk_panels_of(const lk_packed_product *p) {
    return p->weights.n == 0 ? 0 : (p->weights.first + p->weights.n + LK_PANEL - 1) / LK_PANEL - lk_first_panel(p);
}

/* Adds bias and epilogue to the requested columns of a panel, and stores them in `rows` rows of y from row r on. */
static inline void lk_finish_panel(const lk_packed_product *p, size_t r, size_t rows, size_t panel, const float *sums) {
    size_t start = panel * LK_PANEL, from = start < p->weights.first ? p->weights.first - start : 0;
    size_t columns = smaller(LK_PANEL, p->weights.first + p->weights.n - start) - from;
    size_t column = start + from - p->weights.first;
    lk_kernels()->finish(p->y + r * p->ldy + column, p->ldy, sums + from, rows, columns,
                         p->bias ? p->bias + column : NULL, p->epilogue);
}

#endif
