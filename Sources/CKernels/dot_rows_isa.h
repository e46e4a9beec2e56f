/* y[m, n] = x[m, k] · w[n, k]ᵀ as dot products along k: a weight is loaded and widened once for MT rows of x. */

/* One tile of MT × NT values; MT, NT and type are constants wherever this is inlined. */
LK_INLINE void dot_tile(const int MT, const int NT, const lk_type type, float *y, size_t ldy, const float *x,
                        size_t ldx, size_t k, const char *w, size_t row_bytes) {
    vf acc[6][8];
    const size_t size = type == LK_F32 ? 4 : 2;
#pragma clang loop unroll(full)
    for (int m = 0; m < MT; m++)
#pragma clang loop unroll(full)
        for (int n = 0; n < NT; n++) acc[m][n] = vf_set(0);
    size_t i = 0;
    for (; i + LK_WIDTH <= k; i += LK_WIDTH) {
        vf wide[8];
#pragma clang loop unroll(full)
        for (int n = 0; n < NT; n++) {
            __builtin_prefetch(w + n * row_bytes + i * size + 512, 0, 3);
            wide[n] = vf_load_as(w + n * row_bytes, type, i);
        }
#pragma clang loop unroll(full)
        for (int m = 0; m < MT; m++) {
            vf v = vf_load(x + m * ldx + i);
#pragma clang loop unroll(full)
            for (int n = 0; n < NT; n++) acc[m][n] += v * wide[n];
        }
    }
    float rest_x[6][LK_WIDTH] = {{0}};
    for (int m = 0; m < MT && i < k; m++) memcpy(rest_x[m], x + m * ldx + i, (k - i) * sizeof(float));
    for (int n = 0; n < NT; n++) {
        char rest_w[LK_WIDTH * 4] = {0};
        memcpy(rest_w, w + n * row_bytes + i * size, (k - i) * size);
        vf wide = vf_load_as(rest_w, type, 0);
        for (int m = 0; m < MT; m++) y[m * ldy + n] = vf_sum(acc[m][n] + vf_load(rest_x[m]) * wide);
    }
}

/* More accumulators fit where there are 32 registers. */
#if LK_WIDTH == 16
#define LK_DOT_M 6
#else
#define LK_DOT_M 3
#endif

LK_INLINE void dot_rows_as(const lk_type type, float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k,
                           const char *w, size_t n) {
    const size_t row_bytes = k * (type == LK_F32 ? 4 : 2);
    size_t j = 0;
    if (m == 1)
        for (; j + 8 <= n; j += 8) dot_tile(1, 8, type, y + j, ldy, x, ldx, k, w + j * row_bytes, row_bytes);
    for (; j + 4 <= n; j += 4) {
        size_t r = 0;
        for (; r + LK_DOT_M <= m; r += LK_DOT_M)
            dot_tile(LK_DOT_M, 4, type, y + r * ldy + j, ldy, x + r * ldx, ldx, k, w + j * row_bytes, row_bytes);
        for (; r < m; r++) dot_tile(1, 4, type, y + r * ldy + j, ldy, x + r * ldx, ldx, k, w + j * row_bytes, row_bytes);
    }
    for (; j < n; j++)
        for (size_t r = 0; r < m; r++)
            dot_tile(1, 1, type, y + r * ldy + j, ldy, x + r * ldx, ldx, k, w + j * row_bytes, row_bytes);
}

static void dot_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *w, lk_type type,
                     size_t n) {
    if (type == LK_BF16) dot_rows_as(LK_BF16, y, ldy, x, ldx, m, k, w, n);
    else if (type == LK_F16) dot_rows_as(LK_F16, y, ldy, x, ldx, m, k, w, n);
    else dot_rows_as(LK_F32, y, ldy, x, ldx, m, k, w, n);
}
