/* Quantizes and dequantizes GGUF's block types with the arithmetic of gguf-py: in floats, and in the same order. */
#include "blocks.h"
#include "../table.h"
#include <math.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Computes no subnormal float, because a host may have set the processor to treat those as zeros. */
float lk_from_f16(uint16_t half) {
    uint32_t magnitude = half & 0x7fff, sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t wide = (magnitude << 13) + (112u << 23); /* the exponents' biases differ by 112 */
    if (magnitude < 0x400) wide = bits_of((float)magnitude * 0x1p-24f);
    if (magnitude >= 0x7c00) wide |= 0x7f800000u;
    return float_of(wide | sign);
}

uint16_t lk_to_f16(float value) {
    uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000);
    if (magnitude > 0x7f800000u) return sign | 0x7e00;
    if (magnitude >= 0x477ff000u) return sign | 0x7c00; /* rounds to 65536 or more */
    /* Below 2^-14: adding ½ leaves the multiples of 2^-24 in the lowest bits, rounded. */
    if (magnitude < 0x38800000u)
        return sign | (uint16_t)(bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u);
    uint32_t odd = (magnitude >> 13) & 1;
    return sign | (uint16_t)((magnitude - 0x38000000u + 0xfff + odd) >> 13);
}

size_t lk_block_elements(lk_type type) {
    switch (type) {
    case LK_Q8_0:
    case LK_Q4_0: return LK_BLOCK;
    case LK_Q4_K:
    case LK_Q6_K: return LK_SUPER;
    default: return 1;
    }
}

size_t lk_block_bytes(lk_type type) {
    switch (type) {
    case LK_F32: return 4;
    case LK_Q8_0: return sizeof(lk_q8_0);
    case LK_Q4_0: return sizeof(lk_q4_0);
    case LK_Q4_K: return sizeof(lk_q4_k);
    case LK_Q6_K: return sizeof(lk_q6_k);
    default: return 2;
    }
}

/* ---------------------------------------------------------------------------------------- the bits of Q4_K and Q6_K */

void lk_q4_k_unpack_scales(const uint8_t s[12], uint8_t scale[8], uint8_t minimum[8]) {
    for (int p = 0; p < 4; p++) {
        scale[p] = s[p] & 63;
        minimum[p] = s[4 + p] & 63;
        scale[4 + p] = (uint8_t)((s[8 + p] & 15) | (s[p] >> 6 << 4));
        minimum[4 + p] = (uint8_t)((s[8 + p] >> 4) | (s[4 + p] >> 6 << 4));
    }
}

void lk_q4_k_pack_scales(uint8_t s[12], const uint8_t scale[8], const uint8_t minimum[8]) {
    for (int p = 0; p < 4; p++) {
        s[p] = (uint8_t)(scale[p] | (scale[4 + p] >> 4 << 6));
        s[4 + p] = (uint8_t)(minimum[p] | (minimum[4 + p] >> 4 << 6));
        s[8 + p] = (uint8_t)((scale[4 + p] & 15) | (minimum[4 + p] & 15) << 4);
    }
}

void lk_q4_k_values(const lk_q4_k *block, uint8_t q[LK_SUPER]) {
    for (int e = 0; e < LK_SUPER; e++) q[e] = (block->q[e / 64 * 32 + e % 32] >> (e % 64 / 32 * 4)) & 15;
}

void lk_q4_k_set_values(lk_q4_k *block, const uint8_t q[LK_SUPER]) {
    for (int i = 0; i < LK_SUPER / 2; i++) {
        const uint8_t *low = q + i / 32 * 64 + i % 32;
        block->q[i] = (uint8_t)(low[0] | low[32] << 4);
    }
}

void lk_q6_k_values(const lk_q6_k *block, uint8_t q[LK_SUPER]) {
    for (int e = 0; e < LK_SUPER; e++) {
        int in_half = e % 128;
        int low = (block->low[e / 128 * 64 + in_half % 64] >> (in_half / 64 * 4)) & 15;
        int high = (block->high[e / 128 * 32 + in_half % 32] >> (in_half / 32 * 2)) & 3;
        q[e] = (uint8_t)(low | high << 4);
    }
}

void lk_q6_k_set_values(lk_q6_k *block, const uint8_t q[LK_SUPER]) {
    for (int i = 0; i < LK_SUPER / 2; i++) {
        const uint8_t *v = q + i / 64 * 128 + i % 64;
        block->low[i] = (uint8_t)((v[0] & 15) | (v[64] & 15) << 4);
    }
    for (int i = 0; i < LK_SUPER / 4; i++) {
        const uint8_t *v = q + i / 32 * 128 + i % 32;
        block->high[i] = (uint8_t)(v[0] >> 4 | v[32] >> 4 << 2 | v[64] >> 4 << 4 | v[96] >> 4 << 6);
    }
}

/* -------------------------------------------------------------------------------------------------------- to floats */

static void dequantize_q4_k(float *dst, const lk_q4_k *block) {
    uint8_t q[LK_SUPER], scale[8], minimum[8];
    lk_q4_k_values(block, q);
    lk_q4_k_unpack_scales(block->scales, scale, minimum);
    for (int p = 0; p < 8; p++) {
        float d = lk_from_f16(block->scale) * (float)scale[p], m = lk_from_f16(block->minimum) * (float)minimum[p];
        for (int i = 0; i < 32; i++) dst[p * 32 + i] = d * (float)q[p * 32 + i] - m;
    }
}

static void dequantize_q6_k(float *dst, const lk_q6_k *block) {
    uint8_t q[LK_SUPER];
    lk_q6_k_values(block, q);
    for (int p = 0; p < 16; p++) {
        float d = lk_from_f16(block->scale) * (float)block->scales[p];
        for (int i = 0; i < 16; i++) dst[p * 16 + i] = d * (float)(q[p * 16 + i] - 32);
    }
}

/* Copies the block first, because `src` can have any alignment. */
void lk_dequantize_block(float *dst, const void *src, lk_type type) {
    if (type == LK_Q8_0) {
        lk_q8_0 block;
        memcpy(&block, src, sizeof block);
        float d = lk_from_f16(block.scale);
        for (int i = 0; i < LK_BLOCK; i++) dst[i] = (float)block.q[i] * d;
    } else if (type == LK_Q4_0) {
        lk_q4_0 block;
        memcpy(&block, src, sizeof block);
        float d = lk_from_f16(block.scale);
        for (int i = 0; i < 16; i++) {
            dst[i] = d * (float)((block.q[i] & 15) - 8);
            dst[16 + i] = d * (float)((block.q[i] >> 4) - 8);
        }
    } else if (type == LK_Q4_K) {
        lk_q4_k block;
        memcpy(&block, src, sizeof block);
        dequantize_q4_k(dst, &block);
    } else {
        lk_q6_k block;
        memcpy(&block, src, sizeof block);
        dequantize_q6_k(dst, &block);
    }
}

void lk_dequantize(float *dst, const void *src, lk_type type, size_t count) {
    size_t elements = lk_block_elements(type), bytes = lk_block_bytes(type);
    if (elements == 1) {
        lk_kernels()->dequantize(dst, src, type, count);
        return;
    }
    for (size_t b = 0; b < count / elements; b++)
        lk_dequantize_block(dst + b * elements, (const char *)src + b * bytes, type);
}

/* ------------------------------------------------------------------------------------------------------ from floats */

/* Rounds halves away from zero, as gguf-py does. NaN, which no block type can hold, becomes 0. */
static int round_away(float value) {
    float a = fabsf(value), whole = floorf(a), rounded = whole + floorf(2 * (a - whole));
    return rounded <= 127 ? value < 0 ? -(int)rounded : (int)rounded : rounded > 127 ? value < 0 ? -127 : 127 : 0;
}

static void quantize_q8_0(lk_q8_0 *block, const float *x) {
    float most = 0;
    for (int i = 0; i < LK_BLOCK; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    float d = most / 127, inverse = d == 0 ? 0 : 1 / d;
    for (int i = 0; i < LK_BLOCK; i++) block->q[i] = (int8_t)round_away(x[i] * inverse);
    block->scale = lk_to_f16(d);
}

static int four_bits(float x, float inverse) {
    float v = x * inverse + 8.5f;
    return v >= 15 ? 15 : v >= 0 ? (int)v : 0;
}

/* The value with the largest magnitude (the first of equals) becomes -8. */
static void quantize_q4_0(lk_q4_0 *block, const float *x) {
    float largest = x[0];
    for (int i = 1; i < LK_BLOCK; i++) largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
    float d = largest / -8, inverse = d == 0 ? 0 : 1 / d;
    for (int i = 0; i < 16; i++)
        block->q[i] = (uint8_t)(four_bits(x[i], inverse) | four_bits(x[16 + i], inverse) << 4);
    block->scale = lk_to_f16(d);
}

static void quantize_block(void *dst, lk_type type, const float *x) {
    union {
        lk_q8_0 q8_0;
        lk_q4_0 q4_0;
        lk_q4_k q4_k;
        lk_q6_k q6_k;
        float plain;
    } block;
    switch (type) {
    case LK_Q8_0: quantize_q8_0(&block.q8_0, x); break;
    case LK_Q4_0: quantize_q4_0(&block.q4_0, x); break;
    case LK_Q4_K: lk_quantize_q4_k(&block.q4_k, x); break;
    case LK_Q6_K: lk_quantize_q6_k(&block.q6_k, x); break;
    default: block.plain = *x; break;
    }
    memcpy(dst, &block, lk_block_bytes(type));
}

/* Elements of one task: a multiple of the elements of every quantization block. */
enum { CHUNK = 16384 };

typedef struct quantize_job {
    char *dst;
    const float *src;
    lk_type type;
    size_t count;
} quantize_job;

static void quantize_task(void *context, size_t index) {
    const quantize_job *j = context;
    size_t elements = lk_block_elements(j->type), bytes = lk_block_bytes(j->type);
    size_t first = index * CHUNK, last = first + smaller(CHUNK, j->count - first);
    if (j->type == LK_F16 || j->type == LK_BF16) {
        lk_kv_type half = j->type == LK_F16 ? LK_KV_F16 : LK_KV_BF16;
        lk_kernels()->round_to_half(j->dst + bytes * first, j->src + first, half, last - first);
        return;
    }
    for (size_t i = first; i < last; i += elements)
        quantize_block(j->dst + i / elements * bytes, j->type, j->src + i);
}

void lk_quantize(void *dst, lk_type type, const float *src, size_t count) {
    quantize_job job = {dst, src, type, count};
    lk_parallel((count + CHUNK - 1) / CHUNK, quantize_task, &job);
}
