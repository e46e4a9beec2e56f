/* Turns the sums of a panel into rows of y. */
#include "packed.h"

/* The new value of y. Callers pass a constant epilogue. */
LK_INLINE vf finished(const lk_epilogue epilogue, vf sum, vf old) {
    switch (epilogue) {
    case LK_ACCUMULATE: return old + sum;
    case LK_GELU: return vf_gelu(sum);
    case LK_QUICK_GELU: return vf_quick_gelu(sum);
    default: return sum;
    }
}

/* Stores rows of a whole panel. */
LK_INLINE void finish_panel(const lk_epilogue epilogue, float *y, size_t ldy, const float *sums, size_t rows,
                            const vf bias[LK_PANEL_VECTORS]) {
    for (size_t r = 0; r < rows; r++, y += ldy, sums += LK_PANEL)
        LK_UNROLL for (int p = 0; p < LK_PANEL_VECTORS; p++) {
            vf old = epilogue == LK_ACCUMULATE ? vf_load(y + p * LK_WIDTH) : vf_set(0);
            vf_store(y + p * LK_WIDTH, finished(epilogue, vf_load(sums + p * LK_WIDTH) + bias[p], old));
        }
}

static void finish_as(lk_epilogue epilogue, float *y, size_t ldy, const float *sums, size_t rows,
                      const vf bias[LK_PANEL_VECTORS]) {
    switch (epilogue) {
    case LK_STORE: finish_panel(LK_STORE, y, ldy, sums, rows, bias); break;
    case LK_ACCUMULATE: finish_panel(LK_ACCUMULATE, y, ldy, sums, rows, bias); break;
    case LK_GELU: finish_panel(LK_GELU, y, ldy, sums, rows, bias); break;
    case LK_QUICK_GELU: finish_panel(LK_QUICK_GELU, y, ldy, sums, rows, bias); break;
    }
}

static void finish(float *y, size_t ldy, const float *sums, size_t rows, size_t columns, const float *bias,
                   lk_epilogue epilogue) {
    vf biases[LK_PANEL_VECTORS] = {{0}};
    if (bias) memcpy(biases, bias, columns * sizeof(float));
    if (columns == LK_PANEL) {
        finish_as(epilogue, y, ldy, sums, rows, biases);
        return;
    }
    /* Some columns of a panel: copies each row to a whole panel and back. */
    for (size_t r = 0; r < rows; r++, y += ldy, sums += LK_PANEL) {
        float sum[LK_PANEL] = {0}, row[LK_PANEL] = {0};
        memcpy(sum, sums, columns * sizeof(float));
        memcpy(row, y, columns * sizeof(float));
        finish_as(epilogue, row, LK_PANEL, sum, 1, biases);
        memcpy(y, row, columns * sizeof(float));
    }
}
