/* Attention in BF16: products of tiles, 16 keys or 16 of dim with vectors of 16 queries. Tiles 0 … 2: sums, 3: keys or
 * values, 4 … 6: queries or weights. */
#include "../amx/amx.h"
#include "../amx/amx_unit.h"

enum { STEP = LK_AMX_DEPTH, TILE_LANES = LK_AMX_TILE / 4 };

static void pack_keys(uint32_t *to, const float *const *rows, size_t dim, size_t pairs) {
    (void)pairs;
    for (size_t i = 0; i < dim; i += STEP, to += TILE_LANES) {
        __m512i v[LANES];
        load_rows(v, rows, i, dim, 1);
        LK_UNROLL for (int r = 0; r < LANES; r++) _mm512_storeu_si512(to + r * LANES, v[r]);
    }
}

static void pack_values(uint32_t *packed, const float *src, size_t stride, size_t count, size_t dim) {
    for (size_t d = 0; d < dim; d += LANES)
        for (size_t key = 0; key < count; key += STEP, packed += TILE_LANES) {
            const __mmask16 here = first_lanes(dim - d);
            __m512i v[LANES];
            LK_UNROLL for (size_t j = 0; j < LANES; j++) {
                const size_t even = key + 2 * j;
                const float *row = src + (even < count ? even : 0) * stride + d;
                v[j] = zip_bf16(_mm512_maskz_loadu_ps(even < count ? here : 0, row),
                                _mm512_maskz_loadu_ps(even + 1 < count ? here : 0, row + stride));
            }
            transpose(v);
            LK_UNROLL for (int r = 0; r < LANES; r++) _mm512_storeu_si512(packed + r * LANES, v[r]);
        }
}

/* A product of `steps` tiles at `a`, and at `b` tiles of N vectors of queries, stored at `sums` or added to it. */
LK_INLINE void tile_product(const int N, float *sums, const uint32_t *a, const uint32_t *b, size_t steps,
                            int accumulate) {
    const size_t row = (size_t)N * LANES * 4;
    if (accumulate) {
        tile_load(0, sums, row);
        if (N > 1) tile_load(1, sums + LANES, row);
        if (N > 2) tile_load(2, sums + 2 * LANES, row);
    } else {
        tile_zero(0);
        tile_zero(1);
        tile_zero(2);
    }
    for (size_t step = 0; step < steps; step++, a += TILE_LANES, b += N * TILE_LANES) {
        tile_load(3, a, 64);
        tile_load(4, b, row);
        tile_dot(0, 3, 4);
        if (N > 1) {
            tile_load(5, b + LANES, row);
            tile_dot(1, 3, 5);
        }
        if (N > 2) {
            tile_load(6, b + 2 * LANES, row);
            tile_dot(2, 3, 6);
        }
    }
    tile_store(0, sums, row);
    if (N > 1) tile_store(1, sums + LANES, row);
    if (N > 2) tile_store(2, sums + 2 * LANES, row);
}

/* Scores of keys after `last` become -infinity. Returns the maximum of `top` and all scores of a vector of queries. */
LK_INLINE __m512 hide_keys(const int N, float *scores, size_t count, int32_t first_key, __m512i last, __m512 top) {
    const size_t seen_by_all = (size_t)(_mm512_reduce_min_epi32(last) - first_key + 1);
    for (size_t i = 0; i < count; i++, scores += N * LANES) {
        __m512 s = _mm512_loadu_ps(scores);
        if (i >= seen_by_all) {
            const __mmask16 hidden = _mm512_cmplt_epi32_mask(last, _mm512_set1_epi32(first_key + (int32_t)i));
            s = _mm512_mask_mov_ps(s, hidden, _mm512_set1_ps(-INFINITY));
            _mm512_storeu_ps(scores, s);
        }
        top = _mm512_max_ps(s, top);
    }
    return top;
}

LK_INLINE void add_keys_as(const int N, const lk_flash_tile *t, const uint32_t *keys, const uint32_t *values,
                           size_t first_key, size_t count, size_t packed, float *scores) {
    const size_t padded = (count + STEP - 1) / STEP * STEP, strip = (packed + STEP - 1) / STEP * TILE_LANES;
    const __m512i end = _mm512_set1_epi32((int32_t)(first_key + count) - 1);
    __m512 keep[LK_FLASH_VECTORS];
    for (size_t i = 0; i < padded; i += LANES)
        tile_product(N, scores + i * N * LANES, keys + i * t->pairs, t->q, t->pairs / (STEP / 2), 0);
    LK_UNROLL for (int n = 0; n < N; n++) {
        float *row_max = t->row_max + n * LANES, *row_sum = t->row_sum + n * LANES;
        /* No query sees a key after the last of these; below the first of these, it sees none. */
        __m512i last = _mm512_min_epi32(_mm512_loadu_si512(t->last + n * LANES), end);
        last = _mm512_max_epi32(last, _mm512_set1_epi32((int32_t)first_key - 1));
        const __m512 top =
            hide_keys(N, scores + n * LANES, padded, (int32_t)first_key, last, _mm512_loadu_ps(row_max));
        keep[n] = weigh(N, scores + n * LANES, padded, top, row_max, row_sum);
    }
    for (size_t d = 0; d < t->groups * GROUP; d += LANES, values += strip) {
        float *sums = t->sums + d * N * LANES;
        LK_UNROLL for (int i = 0; i < LANES; i++)
            LK_UNROLL for (int n = 0; n < N; n++) {
                float *at = sums + (i * N + n) * LANES;
                _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), keep[n]));
            }
        tile_product(N, sums, values, (const uint32_t *)(const void *)scores, padded / STEP, 1);
    }
}
