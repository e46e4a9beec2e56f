/* The kernels on packed weights, written once over vectors of LK_WIDTH floats; packed_*.c compile them for each
 * instruction set. packed.h says how weights and x lie. LK_PORTABLE: without the processor's own products, for a test of
 * a width that it lacks. */
#include "blocks.h"
#include "packed.h"
#include "../simd.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif

/* Vectors that cover a panel's rows. */
#define LK_PARTS (LK_PANEL / LK_WIDTH)
/* Those whose sums stay in registers together. */
#define LK_TOGETHER (LK_WIDTH == 16 ? 2 : 1)

LK_INLINE vu vu_load(const void *p) {
    vu v;
    memcpy(&v, p, sizeof v);
    return v;
}
LK_INLINE int32_t int_at(const char *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
LK_INLINE float float_at(const char *p) {
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}
LK_INLINE vf vf_from_u8(const void *p) {
    vub v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vf);
}

/* ---------------------------------------------------------------------------------------------- products of bytes */

typedef int16_t vs __attribute__((vector_size(LK_WIDTH * 4)));

/* LK_PAIRS: the processor adds products of two bytes in 16 bits. Of small weights the sums of some groups of four k fit.
 * LK_SIGNED: such a sum saturates where both factors use all eight bits. Q8_0 then takes |w| · ±x, and needs no
 * correction. vs_pairs: w · x + w · x of two neighbouring bytes, unsigned w, signed x; vs_signed_pairs: signed w;
 * vi_from_pairs: the sum of both pairs of a lane. */
enum { LK_LARGEST_X = 127, LK_HALF_GROUPS = 8, LK_SIX_GROUPS = 2 }; /* groups that fit, of four bits and of six */
_Static_assert(LK_HALF_GROUPS * 2 * 15 * LK_LARGEST_X <= INT16_MAX, "sums of half bytes fit 16 bits");
_Static_assert(LK_SIX_GROUPS * 2 * 63 * LK_LARGEST_X <= INT16_MAX, "sums of six bits fit 16 bits");
_Static_assert(2 * 128 * LK_LARGEST_X <= INT16_MAX, "a pair of signed bytes fits 16 bits");

#if defined(LK_VNNI)
/* sums + Σ w · x over the four bytes of each lane: unsigned w, signed x. */
LK_INLINE vi vi_dot(vi sums, vu w, int32_t x) {
    return (vi)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)w, _mm512_set1_epi32(x));
}
#elif LK_WIDTH == 16 && !defined(LK_PORTABLE)
#define LK_PAIRS
#define LK_SIGNED
LK_INLINE vs vs_pairs(vu w, int32_t x) { return (vs)_mm512_maddubs_epi16((__m512i)w, _mm512_set1_epi32(x)); }
LK_INLINE vs vs_signed_pairs(vu w, int32_t x) {
    __m512i bytes = _mm512_set1_epi32(x);
    bytes = _mm512_mask_sub_epi8(bytes, _mm512_movepi8_mask((__m512i)w), _mm512_setzero_si512(), bytes);
    return (vs)_mm512_maddubs_epi16(_mm512_abs_epi8((__m512i)w), bytes);
}
LK_INLINE vi vi_from_pairs(vs pairs) { return (vi)_mm512_madd_epi16((__m512i)pairs, _mm512_set1_epi16(1)); }
#elif LK_WIDTH == 8
#define LK_PAIRS
#define LK_SIGNED
LK_INLINE vs vs_pairs(vu w, int32_t x) { return (vs)_mm256_maddubs_epi16((__m256i)w, _mm256_set1_epi32(x)); }
LK_INLINE vs vs_signed_pairs(vu w, int32_t x) {
    __m256i bytes = _mm256_sign_epi8(_mm256_set1_epi32(x), (__m256i)w);
    return (vs)_mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)w), bytes);
}
LK_INLINE vi vi_from_pairs(vs pairs) { return (vi)_mm256_madd_epi16((__m256i)pairs, _mm256_set1_epi16(1)); }
#else
LK_INLINE vi vi_dot(vi sums, vu w, int32_t x) {
    for (int j = 0; j < 4; j++) sums += (vi)((w >> (8 * j)) & 0xff) * (int32_t)(int8_t)((uint32_t)x >> (8 * j));
    return sums;
}
#ifdef LK_PORTABLE
#define LK_PAIRS
LK_INLINE vs vs_pairs(vu w, int32_t x) {
    vs even = (vs)(w & 0x00ff00ffu), odd = (vs)(w >> 8 & 0x00ff00ffu), four = (vs)(x - (vi){0});
    return even * (four << 8 >> 8) + odd * (four >> 8);
}
LK_INLINE vi vi_from_pairs(vs pairs) { return ((vi)pairs << 16 >> 16) + ((vi)pairs >> 16); }
#endif
#endif
#ifdef LK_SIGNED
/* As VNNI's, but signed w: only Q8_0 comes here. */
LK_INLINE vi vi_dot(vi sums, vu w, int32_t x) { return sums + vi_from_pairs(vs_signed_pairs(w, x)); }
#endif

/* Weights of group `i` of a block of 32 k, rows of vector `part`. */
LK_INLINE vu block_weights(const lk_type type, const char *w, int i, int part) {
    if (type == LK_Q8_0) {
        vu v = vu_load(w + LK_Q8_0_LINE * i + 4 * LK_WIDTH * part);
#ifdef LK_SIGNED
        v ^= 0x80808080u;
#endif
        return v;
    }
    int at = 4 * (LK_WIDTH * part % 16), half = LK_WIDTH * part / 16;
    vu v = (vu_load(w + LK_HALF_LINE * i + at) >> (4 * half)) & 0x0f0f0f0fu;
    if (type == LK_Q6_K) {
        int vector = 2 * i + half;
        v |= ((vu_load(w + LK_HALVES + LK_HALF_LINE * (vector / 4) + at) >> (2 * (vector % 4))) & 0x03030303u) << 4;
    }
    return v;
}

/* Scales of the rows of vector `part` in a block; `super` is the header of a super-block. `half` counts for Q6_K. */
LK_INLINE vf block_scales(const lk_type type, const char *w, const char *super, int half, int part) {
    if (type == LK_Q8_0) return vf_from_f16(w + LK_Q8_0_SCALES + 2 * LK_WIDTH * part);
    if (type == LK_Q4_0) return vf_from_f16(w + LK_HALVES + 2 * LK_WIDTH * part);
    vf d = vf_from_f16(super + 2 * LK_WIDTH * part);
    if (type == LK_Q4_K) return d * vf_from_u8(w + LK_HALVES + LK_WIDTH * part);
    return d * vf_from_s8(w + LK_Q6_K_SCALES + LK_PANEL * half + LK_WIDTH * part);
}

LK_INLINE vf block_minimums(const char *w, const char *super, int part) {
    return vf_from_f16(super + LK_MINIMUMS + 2 * LK_WIDTH * part) * vf_from_u8(w + LK_Q4_K_MINIMUMS + LK_WIDTH * part);
}

/* What sums of row `r` start from. */
LK_INLINE vi first_sums(const lk_type type, const char *corrections, int r) {
    return type == LK_Q4_K ? (vi){0} : int_at(corrections + 4 * r) - (vi){0};
}

/* sums = groups first … last - 1 of a block, and the corrections: R rows of x, the rows of T vectors from `part` on.
 * Everything but the pointers is constant wherever these and what follows are inlined. */
LK_INLINE void sum_groups(const int R, const int T, const lk_type type, vi sums[LK_TILE_ROWS][LK_PARTS], const char *x,
                          const char *corrections, const char *w, const int first, const int last, const int part) {
    LK_UNROLL for (int r = 0; r < R; r++)
        LK_UNROLL for (int p = 0; p < T; p++)
            sums[r][p] = first_sums(type, corrections, r);
    LK_UNROLL for (int i = first; i < last; i++) {
        vu v[LK_PARTS];
        LK_UNROLL for (int p = 0; p < T; p++) v[p] = block_weights(type, w, i, part + p);
        LK_UNROLL for (int r = 0; r < R; r++) {
            int32_t four = int_at(x + 4 * (i * R + r));
            LK_UNROLL for (int p = 0; p < T; p++) {
                sums[r][p] = vi_dot(sums[r][p], v[p], four);
                LK_IN_ORDER(sums[r][p]);
            }
        }
    }
}

#ifdef LK_PAIRS
/* The same, in 16 bits as long as they have room. */
LK_INLINE void sum_small_groups(const int R, const int T, const lk_type type, vi sums[LK_TILE_ROWS][LK_PARTS],
                                const char *x, const char *corrections, const char *w, const int first, const int last,
                                const int part) {
    const int together = type == LK_Q6_K ? LK_SIX_GROUPS : LK_HALF_GROUPS;
    LK_UNROLL for (int start = first; start < last; start += together) {
        vs pairs[LK_TILE_ROWS][LK_PARTS];
        LK_UNROLL for (int i = start; i < start + together; i++) {
            vu v[LK_PARTS];
            LK_UNROLL for (int p = 0; p < T; p++) v[p] = block_weights(type, w, i, part + p);
            LK_UNROLL for (int r = 0; r < R; r++) {
                int32_t four = int_at(x + 4 * (i * R + r));
                LK_UNROLL for (int p = 0; p < T; p++) {
                    vs two = vs_pairs(v[p], four);
                    pairs[r][p] = i == start ? two : pairs[r][p] + two;
                    LK_IN_ORDER(pairs[r][p]);
                }
            }
        }
        LK_UNROLL for (int r = 0; r < R; r++)
            LK_UNROLL for (int p = 0; p < T; p++)
                sums[r][p] = vi_from_pairs(pairs[r][p]) +
                             (start == first ? first_sums(type, corrections, r) : sums[r][p]);
    }
}
#endif

/* totals += one block of 32 k. */
LK_INLINE void block_step(const int R, const int T, const lk_type type, vf totals[LK_TILE_ROWS][LK_PARTS],
                          const char *x, const char *w, const char *super, const int part) {
    const int halves = type == LK_Q6_K ? 2 : 1, groups = 8 / halves;
    const char *scales = x + 32 * R, *corrections = scales + 4 * R;
    LK_UNROLL for (int half = 0; half < halves; half++) {
        vi sums[LK_TILE_ROWS][LK_PARTS];
        const char *first_of_half = corrections + 4 * half * R;
#ifdef LK_PAIRS
        if (type != LK_Q8_0)
            sum_small_groups(R, T, type, sums, x, first_of_half, w, half * groups, (half + 1) * groups, part);
        else
#endif
            sum_groups(R, T, type, sums, x, first_of_half, w, half * groups, (half + 1) * groups, part);
        LK_UNROLL for (int p = 0; p < T; p++) {
            vf scale = block_scales(type, w, super, half, part + p);
            LK_UNROLL for (int r = 0; r < R; r++)
                totals[r][p] += __builtin_convertvector(sums[r][p], vf) * (scale * vf_set(float_at(scales + 4 * r)));
            if (type != LK_Q4_K) continue;
            vf minimum = block_minimums(w, super, part + p);
            LK_UNROLL for (int r = 0; r < R; r++)
                totals[r][p] -= minimum * vf_set(float_at(corrections + 4 * r));
        }
    }
}

/* One super-block, or a block of a type that has none. */
LK_INLINE void unit_step(const int R, const int T, const lk_type type, vf totals[LK_TILE_ROWS][LK_PARTS],
                         const char *x, const char *w, int part) {
    const int blocks = type == LK_Q4_K || type == LK_Q6_K ? 8 : 1;
    const int header = type == LK_Q4_K ? LK_Q4_K_HEADER : type == LK_Q6_K ? LK_Q6_K_HEADER : 0;
    const int bytes = type == LK_Q8_0 ? LK_Q8_0_UNIT : type == LK_Q6_K ? LK_Q6_K_BLOCK : LK_Q4_BLOCK;
    const char *block = w + header;
    for (int b = 0; b < blocks; b++, block += bytes, x += LK_X_BLOCK * R) block_step(R, T, type, totals, x, block, w, part);
}

/* Units of `bytes` of a panel that are taken T vectors at a time, all of them, before the next units: where a vector is
 * half of a line, they stay in the first cache until the other half's turn. */
LK_INLINE size_t units_together(const int T, size_t bytes, size_t units) {
    enum { CACHED = 16 << 10 };
    return LK_WIDTH == 16 || T == LK_PARTS || bytes > CACHED ? units : CACHED / bytes;
}

LK_INLINE void integer_tile(const int R, const lk_type type, float *sums, const char *x, const char *w, size_t units) {
    const size_t bytes = type == LK_Q8_0   ? LK_Q8_0_UNIT
                         : type == LK_Q4_0 ? LK_Q4_0_UNIT
                         : type == LK_Q4_K ? LK_Q4_K_UNIT
                                           : LK_Q6_K_UNIT;
    const size_t x_bytes = (size_t)(LK_X_BLOCK * R * (type == LK_Q4_K || type == LK_Q6_K ? 8 : 1));
    /* One row leaves registers for the whole panel, so that its lines are read in order. Of Q4_0 two vectors, whose totals
     * wait in memory while a block is summed, measured faster than one; of Q4_K, which has minimums too, they did not. */
    const int whole = LK_WIDTH == 8 && R == 1, two = LK_WIDTH == 8 && type == LK_Q4_0;
    const int T = whole ? LK_PARTS : two ? 2 : LK_TOGETHER;
    const size_t step = units_together(T, bytes, units);
    for (size_t first = 0, last; first < units; first = last) {
        last = units - first < step ? units : first + step;
        for (int part = 0; part < LK_PARTS; part += T) {
            vf totals[LK_TILE_ROWS][LK_PARTS];
            LK_UNROLL for (int r = 0; r < R; r++)
                LK_UNROLL for (int p = 0; p < T; p++)
                    totals[r][p] = first == 0 ? vf_set(0) : vf_load(sums + r * LK_PANEL + (part + p) * LK_WIDTH);
            for (size_t u = first; u < last; u++) unit_step(R, T, type, totals, x + u * x_bytes, w + u * bytes, part);
            LK_UNROLL for (int r = 0; r < R; r++)
                LK_UNROLL for (int p = 0; p < T; p++)
                    vf_store(sums + r * LK_PANEL + (part + p) * LK_WIDTH, totals[r][p]);
        }
    }
}

#define LK_INTEGER_TILES(name, type)                                                                                   \
    static void name(float *sums, const char *x, size_t rows, const char *w, size_t units) {                           \
        switch (rows) {                                                                                                \
        case 1: integer_tile(1, type, sums, x, w, units); break;                                                       \
        case 2: integer_tile(2, type, sums, x, w, units); break;                                                       \
        case 3: integer_tile(3, type, sums, x, w, units); break;                                                       \
        case 4: integer_tile(4, type, sums, x, w, units); break;                                                       \
        case 5: integer_tile(5, type, sums, x, w, units); break;                                                       \
        default: integer_tile(6, type, sums, x, w, units); break;                                                      \
        }                                                                                                              \
    }

LK_INTEGER_TILES(tile_q8_0, LK_Q8_0)
LK_INTEGER_TILES(tile_q4_0, LK_Q4_0)
LK_INTEGER_TILES(tile_q4_k, LK_Q4_K)
LK_INTEGER_TILES(tile_q6_k, LK_Q6_K)

/* The largest and the sum of all lanes, without a way through memory where the compiler does not find one. */
#if LK_WIDTH == 16 && !defined(LK_PORTABLE)
LK_INLINE int32_t vi_most(vi v) { return _mm512_reduce_max_epi32((__m512i)v); }
LK_INLINE int32_t vi_total(vi v) { return _mm512_reduce_add_epi32((__m512i)v); }
#elif LK_WIDTH == 8
LK_INLINE int32_t vi_most(vi v) {
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
LK_INLINE int32_t vi_total(vi v) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
#else
LK_INLINE int32_t vi_most(vi v) {
    int32_t most = v[0];
    for (int i = 1; i < LK_WIDTH; i++) most = v[i] > most ? v[i] : most;
    return most;
}
LK_INLINE int32_t vi_total(vi v) {
    int32_t total = 0;
    for (int i = 0; i < LK_WIDTH; i++) total += v[i];
    return total;
}
#endif

/* Rounds 32 values of x to bytes of -127 … 127 at q, groups of four `apart` bytes from each other; gives the sums of both
 * halves. Where one is not finite the bytes are zeros and the scale is NaN. */
LK_INLINE float make_block(char *q, size_t apart, const float *x, int32_t halves[2]) {
#pragma clang fp contract(off) /* the same bytes with every instruction set */
    /* Magnitudes compare as whole numbers do, and NaN is above infinity then. */
    vi magnitudes = {0};
    LK_UNROLL for (int i = 0; i < LK_BLOCK; i += LK_WIDTH) {
        vi magnitude = (vi)(vu_load(x + i) & 0x7fffffffu);
        magnitudes = (vi)vf_select(magnitude > magnitudes, (vf)magnitude, (vf)magnitudes);
    }
    const int32_t most = vi_most(magnitudes);
    if (most >= 0x7f800000) {
        for (int i = 0; i < LK_BLOCK / 4; i++) memset(q + (size_t)i * apart, 0, 4);
        halves[0] = halves[1] = 0;
        return NAN;
    }
    float largest = float_at((const char *)&most), inverse = largest > 1e-30f ? 127 / largest : 0;
    LK_UNROLL for (int half = 0; half < 2; half++) {
        vi total = {0};
        LK_UNROLL for (int i = 16 * half; i < 16 * half + 16; i += LK_WIDTH) {
            /* Adding 1.5 · 2^23 rounds to an integer in the lowest bits. */
            vi rounded = (vi)(vf_load(x + i) * vf_set(inverse) + vf_set(12582912.0f)) - (vi)vf_set(12582912.0f);
            vsb bytes = __builtin_convertvector(rounded, vsb);
            LK_UNROLL for (int j = 0; j < LK_WIDTH; j += 4)
                memcpy(q + (size_t)(i + j) / 4 * apart, (const char *)&bytes + j, 4);
            total += rounded;
        }
        halves[half] = vi_total(total);
    }
    return largest / 127;
}

static void make_integer_tile(char *tile, const float *x, size_t ldx, size_t rows, size_t k, lk_type type) {
    int32_t added = type == LK_Q4_0 ? 8 : type == LK_Q6_K ? 32 : 0;
#ifndef LK_SIGNED
    if (type == LK_Q8_0) added = 128;
#endif
    for (size_t r = 0; r < rows; r++) {
        char *block = tile;
        for (size_t i = 0; i < k; i += LK_BLOCK, block += LK_X_BLOCK * rows) {
            int32_t halves[2];
            float scale = make_block(block + 4 * r, 4 * rows, x + r * ldx + i, halves);
            int32_t correction[2] = {-added * halves[0], -added * halves[1]};
            float minimum = scale * (float)(halves[0] + halves[1]);
            if (type == LK_Q4_K) memcpy(correction, &minimum, 4);
            else if (type != LK_Q6_K) correction[0] += correction[1];
            memcpy(block + 32 * rows + 4 * r, &scale, 4);
            memcpy(block + 36 * rows + 4 * r, correction, 4);
            memcpy(block + 40 * rows + 4 * r, correction + 1, 4);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ products of BF16 */

#ifdef LK_BF16_DOT
enum { LK_PAIR_BYTES = 4 };
LK_INLINE vf vf_dot_pairs(vf sums, vu w, const char *x) {
    return (vf)_mm512_dpbf16_ps((__m512)sums, (__m512bh)w, (__m512bh)_mm512_set1_epi32(int_at(x)));
}
#else
enum { LK_PAIR_BYTES = 8 };
LK_INLINE vf vf_dot_pairs(vf sums, vu w, const char *x) {
    sums += (vf)(w << 16) * vf_set(float_at(x));
    return sums + (vf)(w & 0xffff0000u) * vf_set(float_at(x + 4));
}
#endif

/* TOGETHER vectors of a panel at a time. */
LK_INLINE void bf16_tile(const int R, const int TOGETHER, float *sums, const char *x, const char *w, size_t units) {
    vf totals[LK_TILE_ROWS_BF16][LK_PARTS];
    for (int part = 0; part < LK_PARTS; part += TOGETHER) {
        LK_UNROLL for (int r = 0; r < R; r++)
            LK_UNROLL for (int p = 0; p < TOGETHER; p++)
                totals[r][p] = vf_set(0);
        const char *pair = x, *line = w + 4 * LK_WIDTH * part;
        for (size_t u = 0; u < units; u++, pair += LK_PAIR_BYTES * R, line += LK_BF16_UNIT) {
            vu v[LK_PARTS];
            LK_UNROLL for (int p = 0; p < TOGETHER; p++) v[p] = vu_load(line + 4 * LK_WIDTH * p);
            LK_UNROLL for (int r = 0; r < R; r++)
                LK_UNROLL for (int p = 0; p < TOGETHER; p++) {
                    totals[r][p] = vf_dot_pairs(totals[r][p], v[p], pair + LK_PAIR_BYTES * r);
                    LK_IN_ORDER(totals[r][p]);
                }
        }
        LK_UNROLL for (int r = 0; r < R; r++)
            LK_UNROLL for (int p = 0; p < TOGETHER; p++)
                vf_store(sums + r * LK_PANEL + (part + p) * LK_WIDTH, totals[r][p]);
    }
}

static void tile_bf16(float *sums, const char *x, size_t rows, const char *w, size_t units) {
    const int few = LK_WIDTH == 4 ? 2 : LK_PARTS;
    switch (rows) {
    case 1: bf16_tile(1, few, sums, x, w, units); break;
    case 2: bf16_tile(2, few, sums, x, w, units); break;
    case 3: bf16_tile(3, LK_TOGETHER, sums, x, w, units); break;
    case 4: bf16_tile(4, LK_TOGETHER, sums, x, w, units); break;
    case 5: bf16_tile(5, LK_TOGETHER, sums, x, w, units); break;
    case 6: bf16_tile(6, LK_TOGETHER, sums, x, w, units); break;
    default: bf16_tile(12, LK_TOGETHER, sums, x, w, units); break;
    }
}

/* Pairs of one vector of x, `apart` bytes from each other. */
LK_INLINE void put_pairs(char *pair, size_t apart, vu v, int pairs) {
    typedef uint64_t vw __attribute__((vector_size(LK_WIDTH * 4)));
    vw two = (vw)v;
    if (LK_PAIR_BYTES == 4) two = two >> 48 << 16 | (two >> 16 & 0xffff);
    LK_UNROLL for (int j = 0; j < LK_WIDTH / 2; j++)
        if (j < pairs) memcpy(pair + (size_t)j * apart, (const char *)&two + 8 * j, LK_PAIR_BYTES);
}

/* One vector of x as its tile wants it: rounded, what rounding left, or whole. */
LK_INLINE vu bf16_part(vf v, lk_bf16_part part) {
    vu rounded = vu_round_bf16(v);
    if (part == LK_BF16_ROUNDED) return rounded;
    if (part == LK_BF16_WHOLE) return (vu)v;
    vf left = v - (vf)rounded;
    return vu_round_bf16(vf_select(left == left, left, vf_set(0)));
}

/* Row `row` of a tile, from k = i on. */
static void make_bf16_row(char *tile, const float *x, size_t row, size_t rows, size_t i, size_t k, lk_bf16_part part) {
    const size_t apart = LK_PAIR_BYTES * rows;
    char *pair = tile + LK_PAIR_BYTES * row + i / 2 * apart;
    for (; i + LK_WIDTH <= k; i += LK_WIDTH, pair += LK_WIDTH / 2 * apart)
        put_pairs(pair, apart, bf16_part(vf_load(x + i), part), LK_WIDTH / 2);
    float end[LK_WIDTH] = {0};
    memcpy(end, x + i, (k - i) * sizeof(float));
    put_pairs(pair, apart, bf16_part(vf_load(end), part), (int)(k - i + 1) / 2);
}

#ifdef LK_BF16_DOT
/* 32 values as pairs of BF16. What is below the normal floats becomes zero, as the products have it too. */
LK_INLINE __m512i bf16_pairs(const float *x, lk_bf16_part part) {
    vf low = vf_load(x), high = vf_load(x + LK_WIDTH);
    if (part == LK_BF16_REST) low = (vf)bf16_part(low, part), high = (vf)bf16_part(high, part);
    return (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

/* Four rows, from row `first` of a tile on: their pairs of one k are neighbours, and are stored together. → the k done */
static size_t make_four_rows(char *tile, const float *x, size_t ldx, size_t first, size_t rows, size_t k,
                             lk_bf16_part part) {
    size_t i = 0;
    for (; i + 2 * LK_WIDTH <= k; i += 2 * LK_WIDTH) {
        char *pairs = tile + 4 * (i / 2 * rows + first);
        __m512i row[4], two[4], four[4];
        LK_UNROLL for (int r = 0; r < 4; r++) row[r] = bf16_pairs(x + (size_t)r * ldx + i, part);
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
                           lk_bf16_part part) {
    size_t r = 0;
#ifdef LK_BF16_DOT
    for (; r + 4 <= count; r += 4) {
        size_t done = make_four_rows(tile, x + r * ldx, ldx, first + r, rows, k, part);
        for (size_t s = r; s < r + 4 && done < k; s++) make_bf16_row(tile, x + s * ldx, first + s, rows, done, k, part);
    }
#endif
    for (; r < count; r++) make_bf16_row(tile, x + r * ldx, first + r, rows, 0, k, part);
}

/* ---------------------------------------------------------------------------------------------- from sums to results */

/* y's new value. The epilogue is a constant wherever this is inlined. */
LK_INLINE vf finished(const lk_epilogue epilogue, vf sum, vf old) {
    switch (epilogue) {
    case LK_ACCUMULATE: return old + sum;
    case LK_GELU: return vf_gelu(sum);
    case LK_QUICK_GELU: return vf_quick_gelu(sum);
    default: return sum;
    }
}

/* Rows of a whole panel, whose bias fills `bias`. */
LK_INLINE void finish_panel(const lk_epilogue epilogue, float *y, size_t ldy, const float *sums, size_t rows,
                            const vf bias[LK_PARTS]) {
    for (size_t r = 0; r < rows; r++, y += ldy, sums += LK_PANEL)
        LK_UNROLL for (int p = 0; p < LK_PARTS; p++) {
            vf old = epilogue == LK_ACCUMULATE ? vf_load(y + p * LK_WIDTH) : vf_set(0);
            vf_store(y + p * LK_WIDTH, finished(epilogue, vf_load(sums + p * LK_WIDTH) + bias[p], old));
        }
}

static void finish_as(lk_epilogue epilogue, float *y, size_t ldy, const float *sums, size_t rows,
                      const vf bias[LK_PARTS]) {
    switch (epilogue) {
    case LK_STORE: finish_panel(LK_STORE, y, ldy, sums, rows, bias); break;
    case LK_ACCUMULATE: finish_panel(LK_ACCUMULATE, y, ldy, sums, rows, bias); break;
    case LK_GELU: finish_panel(LK_GELU, y, ldy, sums, rows, bias); break;
    case LK_QUICK_GELU: finish_panel(LK_QUICK_GELU, y, ldy, sums, rows, bias); break;
    }
}

static void finish(float *y, size_t ldy, const float *sums, size_t rows, size_t columns, const float *bias,
                   lk_epilogue epilogue) {
    vf biases[LK_PARTS] = {{0}};
    if (bias) memcpy(biases, bias, columns * sizeof(float));
    if (columns == LK_PANEL) {
        finish_as(epilogue, y, ldy, sums, rows, biases);
        return;
    }
    /* A row at a time through a panel's room. */
    for (size_t r = 0; r < rows; r++, y += ldy, sums += LK_PANEL) {
        float sum[LK_PANEL] = {0}, row[LK_PANEL] = {0};
        memcpy(sum, sums, columns * sizeof(float));
        memcpy(row, y, columns * sizeof(float));
        finish_as(epilogue, row, LK_PANEL, sum, 1, biases);
        memcpy(y, row, columns * sizeof(float));
    }
}

/* ---------------------------------------------------------------------------------------------------- the functions */

static void multiply(float *sums, const char *tile, size_t rows, const char *panel, lk_type type, size_t units) {
    switch (type) {
    case LK_BF16: tile_bf16(sums, tile, rows, panel, units); break;
    case LK_Q8_0: tile_q8_0(sums, tile, rows, panel, units); break;
    case LK_Q4_0: tile_q4_0(sums, tile, rows, panel, units); break;
    case LK_Q4_K: tile_q4_k(sums, tile, rows, panel, units); break;
    default: tile_q6_k(sums, tile, rows, panel, units); break;
    }
}

#define LK_CONV_PAIRS
#include "../convolution/conv1d_isa.h"
#include "limits_isa.h"

/* Channel `even` and, unless it is null, `odd` as pairs of BF16. */
static void make_channel_pairs(uint32_t *pairs, const float *even, const float *odd, size_t count) {
    for (size_t i = 0; i < count; i += LK_WIDTH) {
        size_t part = count - i < LK_WIDTH ? count - i : LK_WIDTH;
        vu low = vu_round_bf16(vf_load_part(even + i, part)) >> 16;
        vu high = odd ? vu_round_bf16(vf_load_part(odd + i, part)) : (vu){0};
        vu both = low | high;
        memcpy(pairs + i, &both, part * sizeof *pairs);
    }
}

const lk_packed_table LK_PACKED_TABLE = {
    .bf16_bytes = LK_PAIR_BYTES,
    .make_integer_tile = make_integer_tile,
    .make_bf16_rows = make_bf16_rows,
    .multiply = multiply,
    .finish = finish,
    .make_channel_pairs = make_channel_pairs,
    .conv1d = conv1d,
    .read_bytes = read_bytes,
    .peak = peak,
};
