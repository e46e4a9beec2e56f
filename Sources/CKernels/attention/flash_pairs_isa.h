/* Attention in BF16: products of pairs with vectors of queries. */

static void pack_keys(uint32_t *to, const float *const *rows, size_t dim, size_t pairs) {
    pack_rows(to, GROUP, GROUP * pairs, rows, dim, 1);
}

static void pack_values(uint32_t *packed, const float *src, size_t stride, size_t count, size_t dim) {
    size_t pairs = (count + GROUP - 1) / GROUP * (GROUP / 2);
    for (size_t j = 0; j < pairs; j++) {
        for (size_t i = 0; i < dim; i += LANES) {
            __mmask16 here = first_lanes(dim - i), none = 0;
            __m512 a = _mm512_maskz_loadu_ps(2 * j < count ? here : none, src + 2 * j * stride + i);
            __m512 b = _mm512_maskz_loadu_ps(2 * j + 1 < count ? here : none, src + (2 * j + 1) * stride + i);
            __m512i both = zip_bf16(a, b);
            uint32_t *to = packed + (i / GROUP * pairs + j) * GROUP;
            _mm256_storeu_si256((__m256i *)(void *)to, _mm512_castsi512_si256(both));
            if (i + GROUP < dim)
                _mm256_storeu_si256((__m256i *)(void *)(to + pairs * GROUP), _mm512_extracti64x4_epi64(both, 1));
        }
    }
}

/* ------------------------------------------------------------------------------------------------------ products */

/* Scores of 8 keys with N vectors of queries. `top` becomes the maximum of `top` and the scores. If `masked`, keys
 * after a query's last get a score of -infinity. Callers pass constants for N and masked. */
LK_INLINE void score_tile(const int N, const int masked, const lk_flash_tile *t, const uint32_t *keys, int32_t key,
                          float *scores, __m512 *top) {
    __m512 acc[GROUP][LK_FLASH_VECTORS];
    LK_UNROLL for (int i = 0; i < GROUP; i++)
        LK_UNROLL for (int n = 0; n < N; n++) acc[i][n] = _mm512_setzero_ps();
    const uint32_t *q = t->q;
    for (size_t p = 0; p < t->pairs; p++, keys += GROUP, q += N * LANES) {
        __m512i v[LK_FLASH_VECTORS];
        LK_UNROLL for (int n = 0; n < N; n++) v[n] = _mm512_loadu_si512(q + n * LANES);
        LK_UNROLL for (int i = 0; i < GROUP; i++) {
            __m512i two = _mm512_set1_epi32((int)keys[i]);
            LK_UNROLL for (int n = 0; n < N; n++) {
                acc[i][n] = _mm512_dpbf16_ps(acc[i][n], (__m512bh)v[n], (__m512bh)two);
                LK_IN_ORDER(acc[i][n]);
            }
        }
    }
    LK_UNROLL for (int i = 0; i < GROUP; i++)
        LK_UNROLL for (int n = 0; n < N; n++) {
            if (masked) {
                __m512i last = _mm512_loadu_si512(t->last + n * LANES);
                __mmask16 hidden = _mm512_cmplt_epi32_mask(last, _mm512_set1_epi32(key + i));
                acc[i][n] = _mm512_mask_mov_ps(acc[i][n], hidden, _mm512_set1_ps(-INFINITY));
            }
            top[n] = _mm512_max_ps(acc[i][n], top[n]);
            _mm512_storeu_ps(scores + (i * N + n) * LANES, acc[i][n]);
        }
}

/* 8 of dim: sums = sums · keep + weights · values, N vectors of queries. */
LK_INLINE void mix_tile(const int N, float *sums, const __m512 *keep, const uint32_t *weights, const uint32_t *values,
                        size_t pairs) {
    __m512 acc[GROUP][LK_FLASH_VECTORS];
    LK_UNROLL for (int i = 0; i < GROUP; i++)
        LK_UNROLL for (int n = 0; n < N; n++)
            acc[i][n] = _mm512_mul_ps(_mm512_loadu_ps(sums + (i * N + n) * LANES), keep[n]);
    for (size_t p = 0; p < pairs; p++, values += GROUP, weights += N * LANES) {
        __m512i v[LK_FLASH_VECTORS];
        LK_UNROLL for (int n = 0; n < N; n++) v[n] = _mm512_loadu_si512(weights + n * LANES);
        LK_UNROLL for (int i = 0; i < GROUP; i++) {
            __m512i two = _mm512_set1_epi32((int)values[i]);
            LK_UNROLL for (int n = 0; n < N; n++) {
                acc[i][n] = _mm512_dpbf16_ps(acc[i][n], (__m512bh)v[n], (__m512bh)two);
                LK_IN_ORDER(acc[i][n]);
            }
        }
    }
    LK_UNROLL for (int i = 0; i < GROUP; i++)
        LK_UNROLL for (int n = 0; n < N; n++) _mm512_storeu_ps(sums + (i * N + n) * LANES, acc[i][n]);
}

LK_INLINE void add_keys_as(const int N, const lk_flash_tile *t, const uint32_t *keys, const uint32_t *values,
                           size_t first_key, size_t count, size_t packed, float *scores) {
    const size_t padded = (count + GROUP - 1) / GROUP * GROUP;
    const size_t strip = (packed + GROUP - 1) / GROUP * (GROUP / 2) * GROUP;
    __m512 top[LK_FLASH_VECTORS], keep[LK_FLASH_VECTORS];
    __m512i last = _mm512_loadu_si512(t->last);
    LK_UNROLL for (int n = 0; n < N; n++) {
        top[n] = _mm512_loadu_ps(t->row_max + n * LANES);
        last = _mm512_min_epi32(last, _mm512_loadu_si512(t->last + n * LANES));
    }
    const size_t seen_by_all = (size_t)_mm512_reduce_min_epi32(last) + 1;
    for (size_t i = 0; i < padded; i += GROUP) {
        const uint32_t *group = keys + i * t->pairs;
        float *to = scores + i * N * LANES;
        int32_t key = (int32_t)(first_key + i);
        if (first_key + i + GROUP > seen_by_all) score_tile(N, 1, t, group, key, to, top);
        else score_tile(N, 0, t, group, key, to, top);
    }
    LK_UNROLL for (int n = 0; n < N; n++)
        keep[n] = weigh(N, scores + n * LANES, padded, top[n], t->row_max + n * LANES, t->row_sum + n * LANES);
    for (size_t g = 0; g < t->groups; g++)
        mix_tile(N, t->sums + g * GROUP * N * LANES, keep, (const uint32_t *)(const void *)scores,
                 values + g * strip, padded / 2);
}
