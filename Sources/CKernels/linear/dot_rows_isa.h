/* Products of few rows: y[m, n] = x[m, k] · w[n, k]ᵀ as dot products along k. Each weight is loaded and converted once
 * for MT rows of x. */

/* The distance, in bytes, at which a row of weights is prefetched: about 100 ns of reading. */
#define LK_AHEAD 384
#define LK_LINE 64

/* Adds the products of one vector of k, from i on, to MT × NT sums. */
LK_INLINE void dot_step(const int MT, const int NT, const lk_type type, vf acc[6][8], const float *x, size_t ldx,
                        const char *w, size_t distance, size_t i) {
    vf v[6];
#pragma clang loop unroll(full)
    for (int m = 0; m < MT; m++) v[m] = vf_load(x + m * ldx + i);
#pragma clang loop unroll(full)
    for (int n = 0; n < NT; n++) {
        vf wide = vf_load_as(w + n * distance, type, i);
        LK_IN_ORDER(wide);
#pragma clang loop unroll(full)
        for (int m = 0; m < MT; m++) acc[m][n] += v[m] * wide;
#pragma clang loop unroll(full)
        for (int m = 0; m < MT; m++) LK_IN_ORDER(acc[m][n]);
    }
}

/* One tile of MT × NT values whose columns are `apart` columns from each other: NT sequential reads, which the
 * processor prefetches. Callers pass constants for MT, NT and type. */
LK_INLINE void dot_tile(const int MT, const int NT, const lk_type type, float *y, size_t ldy, const float *x,
                        size_t ldx, size_t k, const char *w, size_t ldw, size_t apart) {
    vf acc[6][8];
    const size_t size = type == LK_F32 ? 4 : 2, line = LK_LINE / size, distance = apart * ldw * size;
#pragma clang loop unroll(full)
    for (int m = 0; m < MT; m++)
#pragma clang loop unroll(full)
        for (int n = 0; n < NT; n++) acc[m][n] = vf_set(0);
    size_t i = 0;
    for (; i + line <= k; i += line) {
#pragma clang loop unroll(full)
        for (int n = 0; n < NT; n++) __builtin_prefetch(w + n * distance + i * size + LK_AHEAD, 0, 3);
#pragma clang loop unroll(full)
        for (size_t at = 0; at < line; at += LK_WIDTH)
            dot_step(MT, NT, type, acc, x, ldx, w, distance, i + at);
    }
    for (; i + LK_WIDTH <= k; i += LK_WIDTH) dot_step(MT, NT, type, acc, x, ldx, w, distance, i);
    float rest_x[6][LK_WIDTH] = {{0}};
    for (int m = 0; m < MT && i < k; m++) memcpy(rest_x[m], x + m * ldx + i, (k - i) * sizeof(float));
    for (int n = 0; n < NT; n++) {
        char rest_w[LK_WIDTH * 4] = {0};
        memcpy(rest_w, w + n * distance + i * size, (k - i) * size);
        vf wide = vf_load_as(rest_w, type, 0);
        for (int m = 0; m < MT; m++) y[m * ldy + n * apart] = vf_sum(acc[m][n] + vf_load(rest_x[m]) * wide);
    }
}

/* NT columns of all rows. With 32 registers, six rows fit at a time. */
LK_INLINE void dot_columns(const int NT, const lk_type type, float *y, size_t ldy, const float *x, size_t ldx, size_t m,
                           size_t k, const char *w, size_t ldw, size_t apart) {
    size_t r = 0;
#if LK_WIDTH == 16
    for (; r + 6 <= m; r += 6) dot_tile(6, NT, type, y + r * ldy, ldy, x + r * ldx, ldx, k, w, ldw, apart);
#endif
    for (; r + 3 <= m; r += 3) dot_tile(3, NT, type, y + r * ldy, ldy, x + r * ldx, ldx, k, w, ldw, apart);
    if (m - r == 2) dot_tile(2, NT, type, y + r * ldy, ldy, x + r * ldx, ldx, k, w, ldw, apart);
    if (m - r == 1) dot_tile(1, NT, type, y + r * ldy, ldy, x + r * ldx, ldx, k, w, ldw, apart);
}

LK_INLINE void dot_rows_as(const lk_type type, float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k,
                           const char *w, size_t ldw, size_t n) {
    const size_t row_bytes = ldw * (type == LK_F32 ? 4 : 2), together = m == 1 ? 8 : 4, apart = n / together;
    for (size_t j = 0; j < apart; j++) {
        if (m == 1) dot_tile(1, 8, type, y + j, ldy, x, ldx, k, w + j * row_bytes, ldw, apart);
        else dot_columns(4, type, y + j, ldy, x, ldx, m, k, w + j * row_bytes, ldw, apart);
    }
    for (size_t j = apart * together; j < n; j++)
        dot_columns(1, type, y + j, ldy, x, ldx, m, k, w + j * row_bytes, ldw, 1);
}

static void dot_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *w, size_t ldw,
                     lk_type type, size_t n) {
    if (type == LK_BF16) dot_rows_as(LK_BF16, y, ldy, x, ldx, m, k, w, ldw, n);
    else if (type == LK_F16) dot_rows_as(LK_F16, y, ldy, x, ldx, m, k, w, ldw, n);
    else dot_rows_as(LK_F32, y, ldy, x, ldx, m, k, w, ldw, n);
}
