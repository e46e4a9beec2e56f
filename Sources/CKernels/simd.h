/* Vectors of LK_WIDTH 32-bit lanes, and functions on them. A file that compiles kernels for an instruction set defines
 * LK_WIDTH before it includes this. */
#ifndef LYRA_KERNELS_SIMD_H
#define LYRA_KERNELS_SIMD_H

#include "include/lyra_kernels.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float vf __attribute__((vector_size(LK_WIDTH * 4)));
typedef int32_t vi __attribute__((vector_size(LK_WIDTH * 4)));
typedef uint32_t vu __attribute__((vector_size(LK_WIDTH * 4)));
typedef uint16_t vh __attribute__((vector_size(LK_WIDTH * 2)));
typedef uint8_t vub __attribute__((vector_size(LK_WIDTH)));
typedef int8_t vsb __attribute__((vector_size(LK_WIDTH)));

#define LK_INLINE static inline __attribute__((always_inline))
#define LK_UNROLL _Pragma("clang loop unroll(full)")

LK_INLINE vf vf_load(const void *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
LK_INLINE void vf_store(void *p, vf v) { memcpy(p, &v, sizeof v); }
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
/* Prefetches the cache lines of `bytes` bytes into L2. */
LK_INLINE void lk_prefetch(const char *p, size_t bytes) {
    LK_UNROLL for (size_t line = 0; line < bytes; line += 64) __builtin_prefetch(p + line, 0, 2);
}
/* The first `count` floats, zeros after them. */
LK_INLINE vf vf_load_part(const float *p, size_t count) {
    if (count == LK_WIDTH) return vf_load(p);
    float rest[LK_WIDTH] = {0};
    memcpy(rest, p, count * sizeof(float));
    return vf_load(rest);
}
LK_INLINE vf vf_set(float x) { return x - (vf){0}; }
LK_INLINE vf vf_select(vi mask, vf a, vf b) { return (vf)(((vi)a & mask) | ((vi)b & ~mask)); }
/* The result is b where a or b is NaN. */
LK_INLINE vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
LK_INLINE vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }

/* Adds halves, in the same order for every use. */
LK_INLINE float vf_sum(vf v) {
    float lanes[LK_WIDTH];
    memcpy(lanes, &v, sizeof v);
    for (int half = LK_WIDTH / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}
LK_INLINE float vf_largest(vf v) {
    float best = v[0];
    for (int i = 1; i < LK_WIDTH; i++) best = v[i] > best ? v[i] : best;
    return best;
}

LK_INLINE vf vf_from_s8(const void *p) {
    vsb v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vf);
}

LK_INLINE vf vf_from_u8(const void *p) {
    vub v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vf);
}

/* Rounds to BF16, to nearest even, in the upper half of each lane; NaN stays NaN. */
LK_INLINE vu vu_round_bf16(vf v) {
    vu bits = (vu)v, odd = (bits >> 16) & 1;
    vu rounded = bits + 0x7fff + odd;
    return (vu)vf_select(v == v, (vf)rounded, (vf)(bits | 0x00400000u)) & 0xffff0000u;
}
LK_INLINE vf vf_from_bf16(const void *p) {
    vh h;
    memcpy(&h, p, sizeof h);
    return (vf)(__builtin_convertvector(h, vu) << 16);
}

#ifdef LK_F16C
LK_INLINE vf vf_from_f16(const void *p) {
    typedef _Float16 halves __attribute__((vector_size(LK_WIDTH * 2)));
    halves h;
    memcpy(&h, p, sizeof h);
    return __builtin_convertvector(h, vf);
}
#else
/* Moves exponent and mantissa into place, and adds the difference of the biases to the exponent; infinities and NaN get
 * an exponent of ones. Subnormal halves are multiples of 2^-24. No subnormal float arises on the way: a host may have
 * set the processor to treat those as zeros. */
LK_INLINE vf vf_from_f16(const void *p) {
    vh h;
    memcpy(&h, p, sizeof h);
    vu u = __builtin_convertvector(h, vu), magnitude = u & 0x7fff;
    vf small = __builtin_convertvector((vi)magnitude, vf) * vf_set(0x1p-24f);
    vu special = (vu)((vi)magnitude >= 0x7c00) & 0x7f800000u;
    vu wide = ((magnitude << 13) + (112u << 23)) | special;
    return (vf)((vu)vf_select((vi)magnitude < 0x400, small, (vf)wide) | ((u & 0x8000) << 16));
}
#endif

/* `type` is a constant wherever this is inlined. */
LK_INLINE vf vf_load_as(const void *base, lk_type type, size_t index) {
    if (type == LK_BF16) return vf_from_bf16((const char *)base + 2 * index);
    if (type == LK_F16) return vf_from_f16((const char *)base + 2 * index);
    return vf_load((const char *)base + 4 * index);
}

/* e^x with a relative error below 2e-7; 0 below -87.3, e^88.37 above 88.37, undefined for NaN. Range reduction by ln 2
 * as a sum of two floats, then a degree-6 polynomial for e^r on [-ln2/2, ln2/2]. */
LK_INLINE vf vf_exp(vf x) {
    vf clamped = vf_min(vf_set(88.37f), vf_max(vf_set(-87.33654f), x));
    vf shifted = clamped * vf_set(1.44269504f) + vf_set(12582912.0f);
    vu n = (vu)shifted - (vu)vf_set(12582912.0f);
    vf whole = shifted - vf_set(12582912.0f);
    vf r = clamped - whole * vf_set(0.693145752f);
    r = r - whole * vf_set(1.42860677e-6f);
    vf p = vf_set(1.0f / 720);
    p = p * r + vf_set(1.0f / 120);
    p = p * r + vf_set(1.0f / 24);
    p = p * r + vf_set(1.0f / 6);
    p = p * r + vf_set(0.5f);
    p = p * r + vf_set(1.0f);
    p = p * r + vf_set(1.0f);
    vf y = (vf)((vu)p + (n << 23));
    return vf_select(x < vf_set(-87.33654f), vf_set(0), y);
}

/* erf by Abramowitz and Stegun 7.1.26: absolute error below 3e-7 in float. */
LK_INLINE vf vf_erf(vf x) {
    vf a = vf_max(x, -x);
    vf t = vf_set(1.0f) / (vf_set(1.0f) + vf_set(0.3275911f) * a);
    vf p = vf_set(1.061405429f);
    p = p * t + vf_set(-1.453152027f);
    p = p * t + vf_set(1.421413741f);
    p = p * t + vf_set(-0.284496736f);
    p = p * t + vf_set(0.254829592f);
    vf y = vf_set(1.0f) - p * t * vf_exp(-a * a);
    return vf_select(x < vf_set(0), -y, y);
}

LK_INLINE vf vf_gelu(vf x) { return x * vf_set(0.5f) * (vf_set(1.0f) + vf_erf(x * vf_set(0.70710678f))); }
LK_INLINE vf vf_quick_gelu(vf x) { return x / (vf_set(1.0f) + vf_exp(x * vf_set(-1.702f))); }

/* Keeps the compiler from moving uses of v across this point. A tile uses every register; without this, the compiler
 * loads the next weight early and spills an accumulator, which halves the speed. */
#ifdef LK_IN_ORDER /* defined by a test that compiles wide vectors for a processor without wide registers */
#elif defined(__x86_64__) && LK_WIDTH == 16
#define LK_IN_ORDER(v) __asm__ volatile("" : "+v"(v))
#elif defined(__x86_64__)
#define LK_IN_ORDER(v) __asm__ volatile("" : "+x"(v))
#else
#define LK_IN_ORDER(v) (void)0
#endif

#endif
