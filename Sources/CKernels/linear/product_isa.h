/* A product of two matrices of floats on one thread, written once over vectors of LK_WIDTH floats.
 *
 * Both factors are copied into panels, in which what one step of k needs is contiguous: LK_PRODUCT_ROWS rows of x, a
 * multiple of 3 and at most LK_WIDTH, and two vectors of columns of w. A slice of w (PRODUCT_DEPTH of k, PRODUCT_SLICE
 * columns) stays in L2, and a panel of x in L1: w is copied once, x once for each slice of columns. Rows and columns
 * that a panel lacks are zeros.
 *
 * Each element of y is a sum in the order of k, whatever its place in y. */
#include "../simd.h"
#include "../table.h"
#include "../transpose_isa.h"

enum {
    PRODUCT_COLUMNS = 2 * LK_WIDTH, /* of a tile */
    PRODUCT_DEPTH = 256,            /* k of a slice */
    PRODUCT_SLICE = 256,            /* columns of a slice */
    PRODUCT_FLOATS = PRODUCT_DEPTH * (PRODUCT_SLICE + LK_PRODUCT_ROWS) + LK_WIDTH
};

/* ---------------------------------------------------------------------------------------------------------- packing */

/* panel[p · apart + i] = rows[i · ld + p] for p < depth and i < count; zeros up to `width`, at most LK_WIDTH. Each
 * store writes LK_WIDTH floats; the next one overwrites what exceeds `width`. After the last, up to LK_WIDTH - width
 * floats behind the panel are overwritten. */
LK_INLINE void pack_columns(float *panel, size_t apart, size_t width, const float *rows, size_t ld, size_t count,
                            size_t depth) {
    size_t p = 0;
    for (; p + LK_WIDTH <= depth; p += LK_WIDTH) {
        vf square[LK_WIDTH];
        LK_UNROLL for (size_t i = 0; i < LK_WIDTH; i++) square[i] = i < count ? vf_load(rows + i * ld + p) : (vf){0};
        transpose_square(square);
        LK_UNROLL for (size_t i = 0; i < LK_WIDTH; i++) vf_store(panel + (p + i) * apart, square[i]);
    }
    for (; p < depth; p++)
        for (size_t i = 0; i < width; i++) panel[p * apart + i] = i < count ? rows[i * ld + p] : 0;
}

/* panel[p · width + i] = rows[p · ld + i] for p < depth and i < count; zeros up to `width`. */
LK_INLINE void pack_rows(float *panel, size_t width, const float *rows, size_t ld, size_t count, size_t depth) {
    for (size_t p = 0; p < depth; p++, panel += width, rows += ld) {
        if (count == width) memcpy(panel, rows, width * sizeof(float));
        else
            for (size_t i = 0; i < width; i++) panel[i] = i < count ? rows[i] : 0;
    }
}

/* Rows first … first + count of x, k from `start` on. */
LK_INLINE void pack_x(float *panel, lk_factor x, size_t first, size_t count, size_t start, size_t depth) {
    if (x.transposed) pack_rows(panel, LK_PRODUCT_ROWS, x.data + start * x.ld + first, x.ld, count, depth);
    else
        pack_columns(panel, LK_PRODUCT_ROWS, LK_PRODUCT_ROWS, x.data + first * x.ld + start, x.ld, count, depth);
}

/* Columns first … first + count of w, k from `start` on. */
LK_INLINE void pack_w(float *panel, lk_factor w, size_t first, size_t count, size_t start, size_t depth) {
    if (!w.transposed) {
        pack_rows(panel, PRODUCT_COLUMNS, w.data + start * w.ld + first, w.ld, count, depth);
        return;
    }
    const size_t left = smaller(LK_WIDTH, count);
    const float *rows = w.data + first * w.ld + start;
    pack_columns(panel, PRODUCT_COLUMNS, LK_WIDTH, rows, w.ld, left, depth);
    pack_columns(panel + LK_WIDTH, PRODUCT_COLUMNS, LK_WIDTH, rows + left * w.ld, w.ld, count - left, depth);
}

/* ------------------------------------------------------------------------------------------------------ multiplying */

/* A tile of y, from a panel of x and one of w: R rows and V vectors of columns, of which `rows` and `columns` are in
 * y. */
LK_INLINE void product_tile(const int R, const int V, float *y, size_t ldy, const float *x, const float *w,
                            size_t depth, size_t rows, size_t columns, int accumulate) {
    vf sums[LK_PRODUCT_ROWS][2];
    LK_UNROLL for (int r = 0; r < R; r++) sums[r][0] = sums[r][1] = vf_set(0);
    for (size_t p = 0; p < depth; p++, x += LK_PRODUCT_ROWS, w += PRODUCT_COLUMNS) {
        vf line[2];
        LK_UNROLL for (int v = 0; v < V; v++) line[v] = vf_load(w + v * LK_WIDTH);
        LK_UNROLL for (int r = 0; r < R; r++) {
            const vf factor = vf_set(x[r]);
            LK_UNROLL for (int v = 0; v < V; v++) {
                sums[r][v] += factor * line[v];
                LK_IN_ORDER(sums[r][v]);
            }
        }
    }
    if (rows == (size_t)R && columns == (size_t)(V * LK_WIDTH)) {
        LK_UNROLL for (int r = 0; r < R; r++)
            LK_UNROLL for (int v = 0; v < V; v++) {
                float *to = y + (size_t)r * ldy + (size_t)v * LK_WIDTH;
                vf_store(to, accumulate ? vf_load(to) + sums[r][v] : sums[r][v]);
            }
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        float line[PRODUCT_COLUMNS];
        memcpy(line, sums[r], sizeof line);
        for (size_t c = 0; c < columns; c++) y[r * ldy + c] = accumulate ? y[r * ldy + c] + line[c] : line[c];
    }
}

/* The smallest of the compiled tiles that holds `rows` and `columns`. */
static void product_tile_for(float *y, size_t ldy, const float *x, const float *w, size_t depth, size_t rows,
                             size_t columns, int accumulate) {
    enum { THIRD = LK_PRODUCT_ROWS / 3 };
    const int thirds = rows <= THIRD ? 1 : rows <= 2 * THIRD ? 2 : 3;
    if (columns > LK_WIDTH) {
        if (thirds == 1) product_tile(THIRD, 2, y, ldy, x, w, depth, rows, columns, accumulate);
        else if (thirds == 2) product_tile(2 * THIRD, 2, y, ldy, x, w, depth, rows, columns, accumulate);
        else product_tile(LK_PRODUCT_ROWS, 2, y, ldy, x, w, depth, rows, columns, accumulate);
    } else {
        if (thirds == 1) product_tile(THIRD, 1, y, ldy, x, w, depth, rows, columns, accumulate);
        else if (thirds == 2) product_tile(2 * THIRD, 1, y, ldy, x, w, depth, rows, columns, accumulate);
        else product_tile(LK_PRODUCT_ROWS, 1, y, ldy, x, w, depth, rows, columns, accumulate);
    }
}

static void product(float *y, size_t ldy, lk_factor x, lk_factor w, size_t m, size_t n, size_t k, int accumulate,
                    float *memory) {
    for (size_t r = 0; r < m && k == 0 && !accumulate; r++) memset(y + r * ldy, 0, n * sizeof(float));
    float *slice = memory, *panel = memory + (size_t)PRODUCT_DEPTH * PRODUCT_SLICE;
    for (size_t first = 0; first < n; first += PRODUCT_SLICE) {
        const size_t columns = smaller(PRODUCT_SLICE, n - first);
        for (size_t start = 0; start < k; start += PRODUCT_DEPTH) {
            const size_t depth = smaller(PRODUCT_DEPTH, k - start);
            for (size_t c = 0; c < columns; c += PRODUCT_COLUMNS)
                pack_w(slice + c * depth, w, first + c, smaller(PRODUCT_COLUMNS, columns - c), start, depth);
            for (size_t r = 0; r < m; r += LK_PRODUCT_ROWS) {
                const size_t rows = smaller(LK_PRODUCT_ROWS, m - r);
                pack_x(panel, x, r, rows, start, depth);
                for (size_t c = 0; c < columns; c += PRODUCT_COLUMNS)
                    product_tile_for(y + r * ldy + first + c, ldy, panel, slice + c * depth, depth, rows,
                                     smaller(PRODUCT_COLUMNS, columns - c), accumulate || start > 0);
            }
        }
    }
}
