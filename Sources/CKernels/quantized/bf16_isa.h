/* Products with packed BF16 weights and convolutions in BF16, written once over vectors of LK_WIDTH lanes; bf16_*.c
 * compile them for each instruction set. packed.h describes the layouts of weights and x. */
#include "../simd.h"
#include "../table.h"
#include "packed.h"
#include "../peak_isa.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifdef LK_BF16_DOT
enum { LK_PAIR_BYTES = 4 };
LK_INLINE vf vf_dot_pairs(vf sums, vu w, const char *x) {
    return (vf)_mm512_dpbf16_ps((__m512)sums, (__m512bh)w, (__m512bh)_mm512_set1_epi32(int_at(x)));
}
#elif defined(LK_NEON_BF16)
enum { LK_PAIR_BYTES = 4 };
LK_INLINE vf vf_dot_pairs(vf sums, vu w, const char *x) {
    return (vf)vbfdotq_f32((float32x4_t)sums, (bfloat16x8_t)w, (bfloat16x8_t)vdupq_n_s32(int_at(x)));
}
#else
enum { LK_PAIR_BYTES = 8 };
LK_INLINE vf vf_dot_pairs(vf sums, vu w, const char *x) {
    sums += (vf)(w << 16) * vf_set(float_at(x));
    return sums + (vf)(w & 0xffff0000u) * vf_set(float_at(x + 4));
}
#endif

/* sums = R rows of x with a panel, TOGETHER vectors of the panel at a time. `ahead` as in integer_tile. */
LK_INLINE void bf16_tile(const int R, const int TOGETHER, float *sums, const char *x, const char *w, size_t slices,
                         size_t ahead) {
    vf totals[LK_TILE_ROWS_BF16][LK_PANEL_VECTORS];
    for (int vector = 0; vector < LK_PANEL_VECTORS; vector += TOGETHER) {
        LK_UNROLL for (int r = 0; r < R; r++)
            LK_UNROLL for (int p = 0; p < TOGETHER; p++)
                totals[r][p] = vf_set(0);
        const char *pair = x, *line = w + 4 * LK_WIDTH * vector;
        for (size_t u = 0; u < slices; u++, pair += LK_PAIR_BYTES * R, line += LK_BF16_SLICE) {
            vu v[LK_PANEL_VECTORS];
            if (ahead) lk_prefetch(line + ahead, 4 * LK_WIDTH * TOGETHER);
            LK_UNROLL for (int p = 0; p < TOGETHER; p++) v[p] = vu_load(line + 4 * LK_WIDTH * p);
            LK_UNROLL for (int r = 0; r < R; r++)
                LK_UNROLL for (int p = 0; p < TOGETHER; p++) {
                    totals[r][p] = vf_dot_pairs(totals[r][p], v[p], pair + LK_PAIR_BYTES * r);
                    LK_IN_ORDER(totals[r][p]);
                }
        }
        LK_UNROLL for (int r = 0; r < R; r++)
            LK_UNROLL for (int p = 0; p < TOGETHER; p++)
                vf_store(sums + r * LK_PANEL + (vector + p) * LK_WIDTH, totals[r][p]);
    }
}

static void multiply_bf16(float *sums, const char *x, size_t rows, const char *w, size_t slices, size_t ahead) {
    const int few = LK_WIDTH == 4 ? 2 : LK_PANEL_VECTORS;
    switch (rows) {
    case 1: bf16_tile(1, few, sums, x, w, slices, ahead); break;
    case 2: bf16_tile(2, few, sums, x, w, slices, ahead); break;
    case 3: bf16_tile(3, LK_TOGETHER, sums, x, w, slices, ahead); break;
    case 4: bf16_tile(4, LK_TOGETHER, sums, x, w, slices, ahead); break;
    case 5: bf16_tile(5, LK_TOGETHER, sums, x, w, slices, ahead); break;
    case 6: bf16_tile(6, LK_TOGETHER, sums, x, w, slices, ahead); break;
    default: bf16_tile(12, LK_TOGETHER, sums, x, w, slices, ahead); break;
    }
}

/* Stores the pairs of one vector of x, each `apart` bytes after the one before. */
LK_INLINE void put_pairs(char *pair, size_t apart, vu v, int pairs) {
    typedef uint64_t vw __attribute__((vector_size(LK_WIDTH * 4)));
    vw two = (vw)v;
    if (LK_PAIR_BYTES == 4) two = two >> 48 << 16 | (two >> 16 & 0xffff);
    LK_UNROLL for (int j = 0; j < LK_WIDTH / 2; j++)
        if (j < pairs) memcpy(pair + (size_t)j * apart, (const char *)&two + 8 * j, LK_PAIR_BYTES);
}

/* One vector of x, rounded as `form` says. */
LK_INLINE vu in_form(vf v, lk_bf16_form form) {
    vu rounded = vu_round_bf16(v);
    if (form == LK_BF16_ROUNDED) return rounded;
    if (form == LK_BF16_EXACT) return (vu)v;
    vf left = v - (vf)rounded;
    return vu_round_bf16(vf_select(left == left, left, vf_set(0)));
}

/* Row `row` of a tile, from k = i on. */
static void make_bf16_row(char *tile, const float *x, size_t row, size_t rows, size_t i, size_t k, lk_bf16_form form) {
    const size_t apart = LK_PAIR_BYTES * rows;
    char *pair = tile + LK_PAIR_BYTES * row + i / 2 * apart;
    for (; i + LK_WIDTH <= k; i += LK_WIDTH, pair += LK_WIDTH / 2 * apart)
        put_pairs(pair, apart, in_form(vf_load(x + i), form), LK_WIDTH / 2);
    float end[LK_WIDTH] = {0};
    memcpy(end, x + i, (k - i) * sizeof(float));
    put_pairs(pair, apart, in_form(vf_load(end), form), (int)(k - i + 1) / 2);
}

#ifdef LK_BF16_DOT
/* 32 values as pairs of BF16. Subnormal floats become zeros, as the BF16 products treat them. */
LK_INLINE __m512i bf16_pairs(const float *x, lk_bf16_form form) {
    vf low = vf_load(x), high = vf_load(x + LK_WIDTH);
    if (form == LK_BF16_REMAINDER) low = (vf)in_form(low, form), high = (vf)in_form(high, form);
    return (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

/* Writes four rows of a tile, from row `first` on. Their pairs of the same k are contiguous, and are stored together.
 * Returns the number of k written. */
static size_t make_four_rows(char *tile, const float *x, size_t ldx, size_t first, size_t rows, size_t k,
                             lk_bf16_form form) {
    size_t i = 0;
    for (; i + 2 * LK_WIDTH <= k; i += 2 * LK_WIDTH) {
        char *pairs = tile + 4 * (i / 2 * rows + first);
        __m512i row[4], two[4], four[4];
        LK_UNROLL for (int r = 0; r < 4; r++) row[r] = bf16_pairs(x + (size_t)r * ldx + i, form);
        LK_UNROLL for (int r = 0; r < 2; r++) {
            two[r] = _mm512_unpacklo_epi32(row[2 * r], row[2 * r + 1]);
            two[2 + r] = _mm512_unpackhi_epi32(row[2 * r], row[2 * r + 1]);
        }
        LK_UNROLL for (int half = 0; half < 2; half++) {
            four[2 * half] = _mm512_unpacklo_epi64(two[2 * half], two[2 * half + 1]);
            four[2 * half + 1] = _mm512_unpackhi_epi64(two[2 * half], two[2 * half + 1]);
        }
        /* four[j] holds pairs j, 4 + j, 8 + j and 12 + j. */
        LK_UNROLL for (int j = 0; j < 16; j++)
            memcpy(pairs + 4 * (size_t)j * rows, (const char *)&four[j % 4] + 16 * (j / 4), 16);
    }
    return i;
}
#endif

static void make_bf16_rows(char *tile, const float *x, size_t ldx, size_t first, size_t count, size_t rows, size_t k,
                           lk_bf16_form form) {
    size_t r = 0;
#ifdef LK_BF16_DOT
    for (; r + 4 <= count; r += 4) {
        size_t done = make_four_rows(tile, x + r * ldx, ldx, first + r, rows, k, form);
        for (size_t s = r; s < r + 4 && done < k; s++) make_bf16_row(tile, x + s * ldx, first + s, rows, done, k, form);
    }
#endif
    for (; r < count; r++) make_bf16_row(tile, x + r * ldx, first + r, rows, 0, k, form);
}

/* -------------------------------------------------------------------------------------------------- channel pairs */

#define LK_CONV_PAIRS
#include "../convolution/conv1d_isa.h"

/* lk_bf16_kernels describes this. */
static void make_channel_pairs(uint32_t *pairs, const float *even, const float *odd, size_t count) {
    for (size_t i = 0; i < count; i += LK_WIDTH) {
        size_t valid = count - i < LK_WIDTH ? count - i : LK_WIDTH;
        vu low = vu_round_bf16(vf_load_part(even + i, valid)) >> 16;
        vu high = odd ? vu_round_bf16(vf_load_part(odd + i, valid)) : (vu){0};
        vu both = low | high;
        memcpy(pairs + i, &both, valid * sizeof *pairs);
    }
}

static double bf16_peak(size_t rounds) {
    const vu weights = (vu){0} + 0x01010101u;
    const float pair[2] = {0.5f, 0.5f};
    LK_PEAK_LOOP(rounds, 2, sum = vf_dot_pairs(sum, weights, (const char *)pair))
}

const lk_bf16_kernels LK_BF16_KERNELS = {
    .pair_bytes = LK_PAIR_BYTES,
    .make_rows = make_bf16_rows,
    .multiply = multiply_bf16,
    .make_channel_pairs = make_channel_pairs,
    .conv1d = conv1d,
    .peak = bf16_peak,
};
