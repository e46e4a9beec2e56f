/* Products of four bytes, as each instruction set computes them. A test defines LK_PORTABLE to compile a vector width
 * that the processor lacks: without special instructions. */
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef int16_t vs __attribute__((vector_size(LK_WIDTH * 4)));

/* LK_PAIRS: the processor adds two products of bytes in 16 bits. With four- and six-bit weights, the sums of several
 * groups of four k fit in 16 bits. LK_SIGNED: such a sum saturates if both factors use all eight bits, so Q8_0
 * multiplies |w| by ±x, and needs no correction. vs_pairs: w · x + w · x of two neighbouring bytes, unsigned w, signed
 * x. vs_signed_pairs: the same with signed w. vi_from_pairs: the sum of both pairs of a lane. */
enum { LK_LARGEST_X = 127, LK_HALF_GROUPS = 8, LK_SIX_GROUPS = 2 }; /* groups that fit: 4-bit, 6-bit weights */
_Static_assert(LK_HALF_GROUPS * 2 * 15 * LK_LARGEST_X <= INT16_MAX, "sums of half bytes fit 16 bits");
_Static_assert(LK_SIX_GROUPS * 2 * 63 * LK_LARGEST_X <= INT16_MAX, "sums of six bits fit 16 bits");
_Static_assert(2 * 128 * LK_LARGEST_X <= INT16_MAX, "a pair of signed bytes fits 16 bits");

#if defined(LK_VNNI)
/* sums + Σ w · x over the four bytes of each lane: unsigned w, signed x. */
LK_INLINE vi vi_dot(vi sums, vu w, int32_t x) {
#if LK_WIDTH == 16
    return (vi)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)w, _mm512_set1_epi32(x));
#else
    return (vi)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)w, _mm256_set1_epi32(x));
#endif
}
#elif defined(LK_NEON_MIXED)
/* The same. */
LK_INLINE vi vi_dot(vi sums, vu w, int32_t x) {
    return (vi)vusdotq_s32((int32x4_t)sums, (uint8x16_t)w, (int8x16_t)vdupq_n_s32(x));
}
#elif defined(LK_NEON_SIGNED)
/* The same with signed w, which half bytes and six bits are, too. */
#define LK_SIGNED
LK_INLINE vi vi_dot(vi sums, vu w, int32_t x) {
    return (vi)vdotq_s32((int32x4_t)sums, (int8x16_t)w, (int8x16_t)vdupq_n_s32(x));
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
#if defined(LK_SIGNED) && !defined(LK_NEON_SIGNED)
/* As above, but with signed w: only Q8_0 uses this. */
LK_INLINE vi vi_dot(vi sums, vu w, int32_t x) { return sums + vi_from_pairs(vs_signed_pairs(w, x)); }
#endif
