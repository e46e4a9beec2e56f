/* Attention of few queries: products with keys and values as they are stored. */

/* Callers pass a constant type. */
LK_INLINE size_t kv_size(const lk_kv_type type) { return type == LK_KV_F32 ? 4 : type == LK_KV_Q8 ? 1 : 2; }

LK_INLINE vf vf_load_kv(const char *p, const lk_kv_type type) {
    if (type == LK_KV_Q8) return vf_from_s8(p);
    return vf_load_as(p, type == LK_KV_F16 ? LK_F16 : type == LK_KV_BF16 ? LK_BF16 : LK_F32, 0);
}

/* The distance, in rows, at which rows are prefetched into L2 during the products. Without prefetching, attention of
 * one token over many keys measured a quarter slower. */
enum { LK_KEYS_AHEAD = 12, LK_VALUES_AHEAD = 32 };

/* ---------------------------------------------------------------------------------------------------- few rows: mix */

/* MT rows × NT vectors of columns; if `valid` is not 0, `valid` columns of one vector. Callers pass constants for MT,
 * NT and type. */
LK_INLINE void mix_tile(const int MT, const int NT, const lk_kv_type type, const size_t valid, float *y, size_t ldy,
                        const float *x, size_t ldx, size_t k, const char *w, size_t row_bytes) {
    vf acc[6][4];
    const size_t size = kv_size(type);
    char rest[LK_WIDTH * 4] = {0};
#pragma clang loop unroll(full)
    for (int m = 0; m < MT; m++)
#pragma clang loop unroll(full)
        for (int n = 0; n < NT; n++)
            acc[m][n] = valid ? vf_load_part(y + m * ldy, valid) : vf_load(y + m * ldy + n * LK_WIDTH);
    for (size_t i = 0; i < k; i++, w += row_bytes) {
        vf row[4];
        if (valid) memcpy(rest, w, valid * size);
#pragma clang loop unroll(full)
        for (size_t at = 0; at < NT * LK_WIDTH * size; at += LK_LINE)
            __builtin_prefetch(w + LK_VALUES_AHEAD * row_bytes + at, 0, 2);
#pragma clang loop unroll(full)
        for (int n = 0; n < NT; n++) row[n] = vf_load_kv(valid ? rest : w + n * LK_WIDTH * size, type);
#pragma clang loop unroll(full)
        for (int m = 0; m < MT; m++)
#pragma clang loop unroll(full)
            for (int n = 0; n < NT; n++) acc[m][n] += vf_set(x[m * ldx + i]) * row[n];
    }
#pragma clang loop unroll(full)
    for (int m = 0; m < MT; m++)
#pragma clang loop unroll(full)
        for (int n = 0; n < NT; n++) {
            if (valid) memcpy(y + m * ldy, &acc[m][n], valid * sizeof(float));
            else vf_store(y + m * ldy + n * LK_WIDTH, acc[m][n]);
        }
}

LK_INLINE void mix_columns(const int NT, const lk_kv_type type, const size_t valid, float *y, size_t ldy,
                           const float *x, size_t ldx, size_t m, size_t k, const char *w, size_t row_bytes) {
    size_t r = 0;
    for (; r + 6 <= m; r += 6) mix_tile(6, NT, type, valid, y + r * ldy, ldy, x + r * ldx, ldx, k, w, row_bytes);
    for (; r + 3 <= m; r += 3) mix_tile(3, NT, type, valid, y + r * ldy, ldy, x + r * ldx, ldx, k, w, row_bytes);
    for (; r < m; r++) mix_tile(1, NT, type, valid, y + r * ldy, ldy, x + r * ldx, ldx, k, w, row_bytes);
}

/* The number of rows whose columns are all added before the next rows, so that memory is read in order. */
enum { LK_MIX_ROWS = 16 };

LK_INLINE void mix_as(const lk_kv_type type, float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k,
                      const char *w, size_t ldw, size_t n) {
    const size_t size = kv_size(type), row_bytes = ldw * size;
    for (size_t i = 0, rows; i < k; i += rows, x += rows, w += rows * row_bytes) {
        rows = k - i < LK_MIX_ROWS ? k - i : LK_MIX_ROWS;
        size_t j = 0;
        for (; j + 2 * LK_WIDTH <= n; j += 2 * LK_WIDTH)
            mix_columns(2, type, 0, y + j, ldy, x, ldx, m, rows, w + j * size, row_bytes);
        for (; j + LK_WIDTH <= n; j += LK_WIDTH)
            mix_columns(1, type, 0, y + j, ldy, x, ldx, m, rows, w + j * size, row_bytes);
        if (j < n) mix_columns(1, type, n - j, y + j, ldy, x, ldx, m, rows, w + j * size, row_bytes);
    }
}

static void mix_rows(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *w, size_t ldw,
                     lk_kv_type type, size_t n) {
    if (type == LK_KV_Q8) mix_as(LK_KV_Q8, y, ldy, x, ldx, m, k, w, ldw, n);
    else if (type == LK_KV_BF16) mix_as(LK_KV_BF16, y, ldy, x, ldx, m, k, w, ldw, n);
    else if (type == LK_KV_F16) mix_as(LK_KV_F16, y, ldy, x, ldx, m, k, w, ldw, n);
    else mix_as(LK_KV_F32, y, ldy, x, ldx, m, k, w, ldw, n);
}

/* --------------------------------------------------------------------------------------------------- few rows: dot */

typedef float v4f __attribute__((vector_size(16)));

/* out[i] = vf_sum(v[i]) for four vectors at once. Rows of keys are short, so sums across lanes are half of the work. */
LK_INLINE void vf_sum4(float *out, const vf v[4]) {
#if LK_WIDTH == 4
    vf a = v[0], b = v[1], c = v[2], d = v[3];
#elif LK_WIDTH == 8
#define LK_FOLD(v) (__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7))
    v4f a = LK_FOLD(v[0]), b = LK_FOLD(v[1]), c = LK_FOLD(v[2]), d = LK_FOLD(v[3]);
#else
#define LK_FOLD(v, w)                                                                                                  \
    (__builtin_shufflevector(v, w, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +                           \
     __builtin_shufflevector(v, w, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
    vf ab = LK_FOLD(v[0], v[1]), cd = LK_FOLD(v[2], v[3]);
    vf all = __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
             __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    v4f a = __builtin_shufflevector(all, all, 0, 1, 2, 3), b = __builtin_shufflevector(all, all, 4, 5, 6, 7);
    v4f c = __builtin_shufflevector(all, all, 8, 9, 10, 11), d = __builtin_shufflevector(all, all, 12, 13, 14, 15);
#endif
    v4f e = __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
    v4f f = __builtin_shufflevector(c, d, 0, 1, 4, 5) + __builtin_shufflevector(c, d, 2, 3, 6, 7);
    v4f sums = __builtin_shufflevector(e, f, 0, 2, 4, 6) + __builtin_shufflevector(e, f, 1, 3, 5, 7);
    memcpy(out, &sums, sizeof sums);
}

/* Adds the products of one vector of k, or of `valid` elements if `valid` is not 0, to MT × NT sums. */
LK_INLINE void keys_step(const int MT, const int NT, const lk_kv_type type, const size_t valid, vf acc[6][4],
                         const float *x, size_t ldx, const char *w, size_t row_bytes) {
    char rest[LK_WIDTH * 4] = {0};
    vf v[6];
#pragma clang loop unroll(full)
    for (int m = 0; m < MT; m++) v[m] = valid ? vf_load_part(x + m * ldx, valid) : vf_load(x + m * ldx);
#pragma clang loop unroll(full)
    for (int n = 0; n < NT; n++) {
        if (valid) memcpy(rest, w + n * row_bytes, valid * kv_size(type));
        vf wide = vf_load_kv(valid ? rest : w + n * row_bytes, type);
#pragma clang loop unroll(full)
        for (int m = 0; m < MT; m++) acc[m][n] += v[m] * wide;
#pragma clang loop unroll(full)
        for (int m = 0; m < MT; m++) LK_IN_ORDER(acc[m][n]);
    }
}

/* MT × NT values. Callers pass constants for MT, NT (1 or 4) and type. */
LK_INLINE void keys_tile(const int MT, const int NT, const lk_kv_type type, float *y, size_t ldy, const float *x,
                         size_t ldx, size_t k, const char *w, size_t row_bytes) {
    vf acc[6][4];
#pragma clang loop unroll(full)
    for (int m = 0; m < MT; m++)
#pragma clang loop unroll(full)
        for (int n = 0; n < NT; n++) acc[m][n] = vf_set(0);
    const size_t line = LK_LINE / kv_size(type);
    size_t i = 0;
    for (; i + line <= k; i += line) {
#pragma clang loop unroll(full)
        for (int n = 0; n < NT; n++)
            __builtin_prefetch(w + (n + LK_KEYS_AHEAD) * row_bytes + i * kv_size(type), 0, 2);
#pragma clang loop unroll(full)
        for (size_t at = 0; at < line; at += LK_WIDTH)
            keys_step(MT, NT, type, 0, acc, x + i + at, ldx, w + (i + at) * kv_size(type), row_bytes);
    }
    for (; i + LK_WIDTH <= k; i += LK_WIDTH)
        keys_step(MT, NT, type, 0, acc, x + i, ldx, w + i * kv_size(type), row_bytes);
    if (i < k) keys_step(MT, NT, type, k - i, acc, x + i, ldx, w + i * kv_size(type), row_bytes);
#pragma clang loop unroll(full)
    for (int m = 0; m < MT; m++) {
        if (NT == 4) vf_sum4(y + m * ldy, acc[m]);
        else y[m * ldy] = vf_sum(acc[m][0]);
    }
}

LK_INLINE void keys_columns(const int NT, const lk_kv_type type, float *y, size_t ldy, const float *x, size_t ldx,
                            size_t m, size_t k, const char *w, size_t row_bytes) {
    size_t r = 0;
#if LK_WIDTH == 16
    for (; r + 6 <= m; r += 6) keys_tile(6, NT, type, y + r * ldy, ldy, x + r * ldx, ldx, k, w, row_bytes);
#endif
    for (; r + 3 <= m; r += 3) keys_tile(3, NT, type, y + r * ldy, ldy, x + r * ldx, ldx, k, w, row_bytes);
    for (; r < m; r++) keys_tile(1, NT, type, y + r * ldy, ldy, x + r * ldx, ldx, k, w, row_bytes);
}

LK_INLINE void dot_keys_as(const lk_kv_type type, float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k,
                           const char *w, size_t ldw, size_t n) {
    const size_t row_bytes = ldw * kv_size(type);
    size_t j = 0;
    for (; j + 4 <= n; j += 4) keys_columns(4, type, y + j, ldy, x, ldx, m, k, w + j * row_bytes, row_bytes);
    for (; j < n; j++) keys_columns(1, type, y + j, ldy, x, ldx, m, k, w + j * row_bytes, row_bytes);
}

static void dot_keys(float *y, size_t ldy, const float *x, size_t ldx, size_t m, size_t k, const void *w, size_t ldw,
                     lk_kv_type type, size_t n) {
    if (type == LK_KV_Q8) dot_keys_as(LK_KV_Q8, y, ldy, x, ldx, m, k, w, ldw, n);
    else if (type == LK_KV_BF16) dot_keys_as(LK_KV_BF16, y, ldy, x, ldx, m, k, w, ldw, n);
    else if (type == LK_KV_F16) dot_keys_as(LK_KV_F16, y, ldy, x, ldx, m, k, w, ldw, n);
    else dot_keys_as(LK_KV_F32, y, ldy, x, ldx, m, k, w, ldw, n);
}

/* y[r, c] *= factors[c] */
static void scale_columns(float *y, size_t ldy, size_t rows, size_t columns, const float *factors) {
    for (size_t r = 0; r < rows; r++, y += ldy) {
        size_t i = 0;
        for (; i + LK_WIDTH <= columns; i += LK_WIDTH) vf_store(y + i, vf_load(y + i) * vf_load(factors + i));
        for (; i < columns; i++) y[i] *= factors[i];
    }
}
