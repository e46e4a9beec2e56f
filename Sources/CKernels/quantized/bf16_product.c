/* Products of two matrices of floats in BF16. The second factor is packed as BF16 weights are, and the kernels of those
 * multiply. packed.h describes the layout. */
#include "packed.h"
#include "packed_layout.h"
#include "../amx/amx.h"
#include "../table.h"
#include <string.h>

int lk_bf16_is_fast(void) { return lk_amx() || lk_bf16_kernels_in_use()->pair_bytes == 4; }

typedef struct pack_job {
    char *panels;
    lk_factor b;
    size_t n, k;
} pack_job;

/* b[k, n]: a slice holds two rows of b, interleaved. */
static void pack_rows(const pack_job *j, char *panel, size_t first, size_t columns) {
    for (size_t i = 0; i < j->k; i += 2, panel += LK_BF16_SLICE) {
        const float *even = j->b.data + i * j->b.ld + first;
        uint32_t pairs[LK_PANEL] = {0};
        lk_bf16_kernels_in_use()->make_channel_pairs(pairs, even, i + 1 < j->k ? even + j->b.ld : NULL, columns);
        memcpy(panel, pairs, sizeof pairs);
    }
}

/* b[n, k]: rows of b are rows of the panel. */
static void pack_transposed(const pack_job *j, char *panel, size_t first, size_t columns) {
    enum { STEP = 64 };
    memset(panel, 0, divided_up(j->k, 2) * LK_BF16_SLICE);
    for (size_t r = 0; r < columns; r++) {
        const float *row = j->b.data + (first + r) * j->b.ld;
        for (size_t i = 0; i < j->k; i += STEP) {
            const size_t count = smaller(STEP, j->k - i);
            uint16_t rounded[STEP] = {0};
            lk_kernels()->round_to_half(rounded, row + i, LK_KV_BF16, count);
            for (size_t pair = 0; pair < divided_up(count, 2); pair++)
                memcpy(panel + (i / 2 + pair) * LK_BF16_SLICE + 4 * r, rounded + 2 * pair, 4);
        }
    }
}

static void pack_task(void *context, size_t index) {
    const pack_job *j = context;
    char *panel = j->panels + index * lk_panel_bytes(LK_BF16, j->k);
    const size_t first = index * LK_PANEL, columns = smaller(LK_PANEL, j->n - first);
    if (j->b.transposed) pack_transposed(j, panel, first, columns);
    else pack_rows(j, panel, first, columns);
}

void lk_bf16_pack(void *packed, lk_factor b, size_t n, size_t k) {
    pack_job packing = {packed, b, n, k};
    lk_parallel(divided_up(n, LK_PANEL), pack_task, &packing);
}

typedef struct transpose_job {
    float *to;
    const float *from;
    size_t ld, rows, columns;
} transpose_job;

enum { BLOCK = 32 };

/* Rows of the result, in blocks that stay in the cache. */
static void transpose_task(void *context, size_t index) {
    const transpose_job *j = context;
    const size_t first = index * BLOCK, last = smaller(j->columns, first + BLOCK);
    for (size_t start = 0; start < j->rows; start += BLOCK)
        for (size_t c = first; c < last; c++)
            for (size_t r = start; r < smaller(j->rows, start + BLOCK); r++)
                j->to[c * j->rows + r] = j->from[r * j->ld + c];
}

size_t lk_bf16_product_floats(lk_factor a, size_t m, size_t n, size_t k) {
    return lk_packed_bytes(LK_BF16, n, k) / sizeof(float) + (a.transposed ? m * k : 0);
}

int lk_bf16_matrix_product(float *c, size_t ldc, lk_factor a, lk_factor b, size_t m, size_t n, size_t k, int accumulate,
                           float *memory) {
    if (m == 0 || n == 0) return LK_OK;
    if (k == 0) {
        for (size_t r = 0; r < m && !accumulate; r++) lk_clear(c + r * ldc, n);
        return LK_OK;
    }
    lk_bf16_pack(memory, b, n, k);
    float *rows = memory + lk_packed_bytes(LK_BF16, n, k) / sizeof(float);
    if (a.transposed) {
        transpose_job turning = {rows, a.data, a.ld, k, m};
        lk_parallel(divided_up(m, BLOCK), transpose_task, &turning);
    }
    const lk_packed_product product = {
        .y = c, .ldy = ldc, .weights = {memory, LK_BF16, 0, n}, .epilogue = accumulate ? LK_ACCUMULATE : LK_STORE};
    return lk_packed_linear(&product, 1, a.transposed ? rows : a.data, a.transposed ? k : a.ld, m, k);
}
