/* Attention of many rows in BF16 with AVX-512: what all products share. flash.h describes the layouts. */
#include "flash.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>
#define LK_WIDTH 16
#define LK_F16C
#include "../simd.h"

enum { LANES = LK_FLASH_LANES, GROUP = LK_FLASH_GROUP };

/* ------------------------------------------------------------------------------------------------------- packing */

LK_INLINE __mmask16 first_lanes(size_t count) { return (__mmask16)(count < LANES ? (1u << count) - 1 : 0xffff); }

/* Lane j of vector i becomes lane i of vector j: in squares of 1, 2, 4, 8 lanes. */
LK_INLINE void transpose(__m512i v[LANES]) {
    LK_UNROLL for (int step = 1; step < LANES; step *= 2) {
        int32_t low[LANES], high[LANES];
        LK_UNROLL for (int lane = 0; lane < LANES; lane++) {
            low[lane] = lane & step ? LANES + lane - step : lane;
            high[lane] = lane & step ? LANES + lane : lane + step;
        }
        const __m512i to_low = _mm512_loadu_si512(low), to_high = _mm512_loadu_si512(high);
        LK_UNROLL for (int i = 0; i < LANES; i++) {
            if (i & step) continue;
            __m512i a = v[i], b = v[i + step];
            v[i] = _mm512_permutex2var_epi32(a, to_low, b);
            v[i + step] = _mm512_permutex2var_epi32(a, to_high, b);
        }
    }
}

/* Values i … i + 31 of 16 rows[dim], times `factor`, in BF16; zeros from dim on. A null row is zeros, the first row is
 * not null. */
LK_INLINE void load_rows(__m512i v[LANES], const float *const *rows, size_t i, size_t dim, float factor) {
    const __mmask16 here = first_lanes(dim - i), after = dim - i > LANES ? first_lanes(dim - i - LANES) : 0;
    const __m512 by = _mm512_set1_ps(factor);
    LK_UNROLL for (int r = 0; r < LANES; r++) {
        const float *row = (rows[r] ? rows[r] : rows[0]) + i;
        __m512 a = _mm512_maskz_loadu_ps(rows[r] ? here : 0, row);
        __m512 b = _mm512_maskz_loadu_ps(rows[r] ? after : 0, row + LANES);
        v[r] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(b, by), _mm512_mul_ps(a, by));
    }
}

/* Pair p of the first half of 16 rows goes to to[p · pair_stride …], of the second half to to[p · pair_stride +
 * half_stride …]. */
LK_INLINE void pack_rows(uint32_t *to, size_t pair_stride, size_t half_stride, const float *const *rows, size_t dim,
                         float factor) {
    for (size_t i = 0; i < dim; i += 2 * LANES) {
        __m512i v[LANES];
        load_rows(v, rows, i, dim, factor);
        transpose(v);
        const size_t pairs = (dim - i + 1) / 2;
        LK_UNROLL for (size_t p = 0; p < LANES; p++) {
            if (p >= pairs) break;
            _mm256_storeu_si256((__m256i *)(void *)to, _mm512_castsi512_si256(v[p]));
            _mm256_storeu_si256((__m256i *)(void *)(to + half_stride), _mm512_extracti64x4_epi64(v[p], 1));
            to += pair_stride;
        }
    }
}

static void pack_queries(uint32_t *to, size_t queries, const float *const *rows, size_t dim, float factor) {
    pack_rows(to, queries, GROUP, rows, dim, factor);
}

/* a and b in BF16, interleaved: lane i is the pair (a[i], b[i]). */
LK_INLINE __m512i zip_bf16(__m512 a, __m512 b) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

/* ------------------------------------------------------------------------------------------------------- softmax */

/* 2^x with a relative error below 2e-7. Exactly 1 for 0, so that sums do not change while the maximum stays; 0 for
 * -infinity, NaN for NaN. A polynomial for 2^r, 0 ≤ r < 1. */
LK_INLINE __m512 power_of_2(__m512 x) {
    __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(1.86713017e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.01702978e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.57999127e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.40164444e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.93151295e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    return _mm512_scalef_ps(p, x);
}

/* Turns the scores of `count` keys into weights relative to `top`, the largest score of each query so far. Returns the
 * factors that earlier sums must be multiplied by. */
LK_INLINE __m512 weigh(const int N, float *scores, size_t count, __m512 top, float *row_max, float *row_sum) {
    __m512 old = _mm512_loadu_ps(row_max);
    _mm512_storeu_ps(row_max, top);
    /* A query that has seen no key yet: every weight is 2^-infinity. */
    __mmask16 none = _mm512_cmp_ps_mask(top, _mm512_set1_ps(-INFINITY), _CMP_EQ_OQ);
    top = _mm512_mask_mov_ps(top, none, _mm512_setzero_ps());
    __m512 keep = power_of_2(_mm512_sub_ps(old, top)), even = _mm512_setzero_ps(), odd = even;
    uint32_t *weights = (uint32_t *)(void *)scores;
    for (size_t i = 0; i < count; i += 2, scores += 2 * N * LANES, weights += N * LANES) {
        __m512 a = power_of_2(_mm512_sub_ps(_mm512_loadu_ps(scores), top));
        __m512 b = power_of_2(_mm512_sub_ps(_mm512_loadu_ps(scores + N * LANES), top));
        even = _mm512_add_ps(even, a);
        odd = _mm512_add_ps(odd, b);
        _mm512_storeu_si512(weights, zip_bf16(a, b));
    }
    _mm512_storeu_ps(row_sum, _mm512_fmadd_ps(_mm512_loadu_ps(row_sum), keep, _mm512_add_ps(even, odd)));
    return keep;
}

#ifdef LK_FLASH_TILES
#include "flash_tiles_isa.h"
#else
#include "flash_pairs_isa.h"
#endif

static void add_keys(const lk_flash_tile *tile, const uint32_t *keys, const uint32_t *values, size_t first_key,
                     size_t count, size_t packed, float *scores) {
    switch (tile->vectors) {
    case 1: add_keys_as(1, tile, keys, values, first_key, count, packed, scores); break;
    case 2: add_keys_as(2, tile, keys, values, first_key, count, packed, scores); break;
    default: add_keys_as(3, tile, keys, values, first_key, count, packed, scores); break;
    }
}

static void store_rows(const lk_flash_tile *tile, size_t vector, float *const *rows, size_t dim) {
    const float *sums = tile->sums + vector * LANES;
    const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1), _mm512_loadu_ps(tile->row_sum + vector * LANES));
    for (size_t d = 0; d < dim; d += LANES) {
        const __mmask16 here = first_lanes(dim - d);
        __m512i v[LANES];
        LK_UNROLL for (size_t i = 0; i < LANES; i++) {
            const size_t row = d + i < dim ? d + i : d;
            v[i] = (__m512i)_mm512_mul_ps(_mm512_loadu_ps(sums + row * tile->vectors * LANES), inverse);
        }
        transpose(v);
        LK_UNROLL for (int r = 0; r < LANES; r++)
            if (rows[r]) _mm512_mask_storeu_ps(rows[r] + d, here, (__m512)v[r]);
    }
}

const lk_flash_table LK_FLASH_TABLE = {
#ifdef LK_FLASH_TILES
    .begin = begin,
    .end = end,
    .depth = 32,
    .keys = 32,
    .rows = 16,
#else
    .depth = 2,
    .keys = LANES,
    .rows = GROUP,
#endif
    .pack_queries = pack_queries,
    .pack_keys = pack_keys,
    .pack_values = pack_values,
    .add_keys = add_keys,
    .store_rows = store_rows,
};
