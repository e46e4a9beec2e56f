/* GGUF's quantization blocks, as a file stores them. */
#ifndef LYRA_KERNELS_BLOCKS_H
#define LYRA_KERNELS_BLOCKS_H

#include "../include/lyra_kernels.h"

enum { LK_BLOCK = 32, LK_SUPER = 256 };

typedef struct lk_q8_0 {
    uint16_t scale;
    int8_t q[LK_BLOCK];
} lk_q8_0;

/* Element e is the low half of q[e], element 16 + e the high one. */
typedef struct lk_q4_0 {
    uint16_t scale;
    uint8_t q[LK_BLOCK / 2];
} lk_q4_0;

/* w = scale · scales[p] · q - minimum · minimums[p] in sub-block p, of 32 elements. Every 64 elements take 32 bytes:
 * the first 32 elements the low halves, the others the high halves. */
typedef struct lk_q4_k {
    uint16_t scale, minimum;
    uint8_t scales[12]; /* 8 scales and 8 minimums of 6 bits, see lk_q4_k_unpack_scales */
    uint8_t q[LK_SUPER / 2];
} lk_q4_k;

/* w = scale · scales[p] · (q - 32) in sub-block p, of 16 elements. For every 128 elements, the lower four bits of q
 * take 64 bytes (the first 64 elements in the low halves), and the upper two bits take 32 bytes (each pair of bits of
 * these bytes belongs to 32 elements). */
typedef struct lk_q6_k {
    uint8_t low[LK_SUPER / 2];
    uint8_t high[LK_SUPER / 4];
    int8_t scales[LK_SUPER / 16];
    uint16_t scale;
} lk_q6_k;

float lk_from_f16(uint16_t half);
uint16_t lk_to_f16(float value); /* to nearest even */

/* The 6-bit scales and minimums of a Q4_K block, one in each byte; and back. */
void lk_q4_k_unpack_scales(const uint8_t scales[12], uint8_t scale[8], uint8_t minimum[8]);
void lk_q4_k_pack_scales(uint8_t scales[12], const uint8_t scale[8], const uint8_t minimum[8]);
/* The quantized values of a quantization block of 256, one in each byte, in the order of the elements; and back. */
void lk_q4_k_values(const lk_q4_k *block, uint8_t q[LK_SUPER]);
void lk_q4_k_set_values(lk_q4_k *block, const uint8_t q[LK_SUPER]);
void lk_q6_k_values(const lk_q6_k *block, uint8_t q[LK_SUPER]);
void lk_q6_k_set_values(lk_q6_k *block, const uint8_t q[LK_SUPER]);

/* Quantize a block with the scales that fit best. */
void lk_quantize_q4_k(lk_q4_k *block, const float *x);
void lk_quantize_q6_k(lk_q6_k *block, const float *x);

/* Dequantizes one quantization block. */
void lk_dequantize_block(float *dst, const void *block, lk_type type);

#endif
